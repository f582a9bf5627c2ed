//! Which of what a replica's service executed stands for good. What was executed tentatively may be undone; what came before pages were replaced was undone, or is
//! part of the state that was fetched, whose digest is compared with the others'.

use crate::world::witness::{Executed, Happened};
use logothete_engine::numbers::ReplicaId;

/// What of it stands after a duty cycle.
#[derive(Debug, Default)]
pub struct Settled {
    /// What was executed for good, of the numbers `from..=upto`, in its order.
    pub executed: Vec<Executed>,
    pub from: u64,
    pub upto: u64,
}

/// What each replica executed and may undo.
#[derive(Debug)]
pub struct Execution {
    tentative: Vec<Vec<Executed>>,
    /// Whether batches are executed before they commit at all.
    allowed: bool,
}

impl Execution {
    pub fn new(replicas: usize, allowed: bool) -> Self {
        Self { tentative: vec![Vec::new(); replicas], allowed }
    }

    /// What happened in a duty cycle of a correct replica, which had executed up to `before` for good. It has executed up to `upto`, which is
    /// `uncommitted` if it cannot say which batch committed there, and not in its stable checkpoint. `restored` is the number of the state that it went
    /// back to or fetched, if it said so.
    pub fn on_happened(
        &mut self,
        by: ReplicaId,
        happened: &Happened,
        before: u64,
        (upto, uncommitted): (u64, bool),
        restored: Option<u64>,
    ) -> Settled {
        let tentative = &mut self.tentative[usize::from(by.0)];
        let all = match happened.restored {
            Some(at) => happened.executed[at..].to_vec(),
            None => [&std::mem::take(tentative)[..], &happened.executed].concat(),
        };
        let begins = all.iter().map(|request| request.sequence).min();
        // What was fetched need not have committed here.
        let new = match happened.restored {
            // What a batch asks for need not have been executed, and then only its number tells of it.
            Some(_) => restored.or(begins.map(|begins| begins - 1)).is_some_and(|restored| restored < upto),
            None => upto > before,
        };
        // One batch may be ahead of what committed.
        let upto = if self.allowed && new && uncommitted { upto - 1 } else { upto };
        let from = match happened.restored {
            // What asks for nothing, like a null batch, shows by its number alone.
            Some(_) => restored.map(|restored| restored + 1).or(begins).map_or(upto + 1, |begins| begins.min(upto + 1)),
            None => before + 1,
        };
        let (executed, ahead) = all.into_iter().partition(|request| request.sequence <= upto);
        *tentative = ahead;
        Settled { executed, from, upto }
    }

    pub fn on_restarted(&mut self, by: ReplicaId) {
        self.tentative[usize::from(by.0)].clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_crypto::Digest;

    const BY: ReplicaId = ReplicaId(1);

    fn happened(sequences: &[u64], restored: Option<usize>) -> Happened {
        let request = |sequence: &u64| Executed {
            sequence: *sequence,
            timestamp_ns: 1,
            client: 0,
            digest: Digest::ZERO,
            operations: Vec::new(),
        };
        Happened { executed: sequences.iter().map(request).collect(), restored }
    }

    fn numbers(settled: &Settled) -> (Vec<u64>, u64, u64) {
        (settled.executed.iter().map(|request| request.sequence).collect(), settled.from, settled.upto)
    }

    #[test]
    fn what_is_tentative_counts_when_it_has_committed() {
        let mut execution = Execution::new(4, true);
        assert_eq!(numbers(&execution.on_happened(BY, &happened(&[1, 2], None), 0, (2, true), None)), (vec![1], 1, 1));
        assert_eq!(numbers(&execution.on_happened(BY, &happened(&[], None), 1, (2, false), None)), (vec![2], 2, 2));
        let mut strict = Execution::new(4, false);
        assert_eq!(numbers(&strict.on_happened(BY, &happened(&[1, 2], None), 0, (2, true), None)), (vec![1, 2], 1, 2));
    }

    #[test]
    fn what_was_undone_is_apart() {
        let mut execution = Execution::new(4, true);
        execution.on_happened(BY, &happened(&[9], None), 8, (9, true), None);
        let settled = execution.on_happened(BY, &happened(&[9, 9, 10], Some(1)), 8, (10, false), None);
        assert_eq!(numbers(&settled), (vec![9, 10], 9, 10));
        // Of what was executed anew after that nothing shows: it is no less tentative.
        let mut execution = Execution::new(4, true);
        execution.on_happened(BY, &happened(&[1], None), 0, (1, true), None);
        let settled = execution.on_happened(BY, &happened(&[1], Some(1)), 0, (1, true), Some(0));
        assert_eq!(numbers(&settled), (vec![], 1, 0));
        // A state that was fetched is there without having been executed.
        let settled = execution.on_happened(BY, &happened(&[], Some(0)), 10, (16, true), Some(16));
        assert_eq!(numbers(&settled), (vec![], 17, 16));
        // Found by seed 36484: a null batch after it shows by its number alone.
        let settled = execution.on_happened(BY, &happened(&[], Some(0)), 10, (17, false), Some(16));
        assert_eq!(numbers(&settled), (vec![], 17, 17));
    }
}
