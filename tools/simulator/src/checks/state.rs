//! C2: equal states after equal numbers, client table and replies among them, since these are part of the state whose digest it is.

use super::violations::{Checker, Violations};
use logothete_crypto::Digest;
use logothete_engine::numbers::ReplicaId;
use std::collections::BTreeMap;

/// The state after each number, and the chain digest at each position of the log, as the first correct replica to say it had it.
#[derive(Debug, Default)]
pub struct States {
    states: BTreeMap<u64, (Digest, ReplicaId)>,
    chain: BTreeMap<u64, (Digest, ReplicaId)>,
}

impl States {
    /// A correct replica votes on its state after a number, or reports it.
    pub fn on_state(&mut self, by: ReplicaId, sequence: u64, digest: Digest, violations: &mut Violations) {
        let (held, first) = *self.states.entry(sequence).or_insert((digest, by));
        if held != digest {
            violations.add(Checker::State, format!("{first} and {by} have different states after s{sequence}"));
        }
    }

    /// A correct replica tells a subscriber the chain digest at a position of the log.
    pub fn on_chain(&mut self, by: ReplicaId, position: u64, digest: Digest, violations: &mut Violations) {
        let (held, first) = *self.chain.entry(position).or_insert((digest, by));
        if held != digest {
            violations
                .add(Checker::State, format!("{first} and {by} have different entries before position {position}"));
        }
    }

    /// How many entries a correct replica's log has after a number, and how many operations were executed up to it.
    pub fn on_log_end(&self, by: ReplicaId, sequence: u64, (end, operations): (u64, u64), violations: &mut Violations) {
        if end != operations {
            violations.add(Checker::State, format!("{by} has {end} log entries after s{sequence}, not {operations}"));
        }
    }

    /// The state after a number, where a correct replica told it.
    pub fn after(&self, sequence: u64) -> Option<Digest> {
        self.states.get(&sequence).map(|(digest, _)| *digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_after_one_number_are_equal() {
        let (mut states, mut violations) = (States::default(), Violations::default());
        states.on_state(ReplicaId(0), 8, Digest([1; 32]), &mut violations);
        states.on_state(ReplicaId(1), 8, Digest([1; 32]), &mut violations);
        states.on_state(ReplicaId(1), 16, Digest([2; 32]), &mut violations);
        states.on_log_end(ReplicaId(1), 16, (5, 5), &mut violations);
        states.on_chain(ReplicaId(1), 3, Digest([4; 32]), &mut violations);
        states.on_chain(ReplicaId(2), 3, Digest([4; 32]), &mut violations);
        assert_eq!(violations.take(), Ok(()));
        assert_eq!((states.after(8), states.after(24)), (Some(Digest([1; 32])), None));
        states.on_state(ReplicaId(0), 8, Digest([3; 32]), &mut violations);
        states.on_log_end(ReplicaId(0), 16, (4, 5), &mut violations);
        states.on_chain(ReplicaId(0), 3, Digest([5; 32]), &mut violations);
        assert_eq!(violations.checkers(), [Checker::State; 3]);
    }
}
