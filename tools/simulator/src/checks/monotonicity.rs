//! C8, monotonicity: what only rises does: the view that a replica says it is in, what it has executed for good, its stable checkpoint. Over a restart
//! with a journal, it comes back with what was durable at the least. And it tells the others of no more than there is.

use super::violations::{Checker, Violations};
use logothete_crypto::Digest;
use logothete_engine::journal::Record;
use logothete_engine::numbers::ReplicaId;
use logothete_engine::wire::agreement::batch_digest;
use logothete_engine::wire::view_change::null_batch;
use std::collections::BTreeSet;

/// How far one replica is.
#[derive(Debug, Default)]
struct Standing {
    view: u64,
    executed: u64,
    stable: u64,
    /// It began again, and its state may still be behind its log.
    lags: bool,
    /// What its disk had when it began again.
    durable: u64,
    /// What it told the others in this duty cycle that it has executed for good, and has stable.
    told: (u64, u64),
    /// The highest view that its journal knows of.
    view_durable: u64,
    /// The batches of which it has the content.
    contents: BTreeSet<(u64, Digest)>,
}

/// How far each of them is.
#[derive(Debug)]
pub struct Monotonicity(Vec<Standing>);

impl Monotonicity {
    pub fn new(replicas: usize) -> Self {
        Self((0..replicas).map(|_| Standing::default()).collect())
    }

    fn of(&mut self, id: ReplicaId) -> &mut Standing {
        &mut self.0[usize::from(id.0)]
    }

    /// Up to here everything that a replica executed is committed.
    pub fn executed(&self, by: ReplicaId) -> u64 {
        self.0[usize::from(by.0)].executed
    }

    /// What a correct replica has executed for good, at the end of a duty cycle.
    pub fn on_executed(&mut self, by: ReplicaId, executed: u64, violations: &mut Violations) {
        let standing = self.of(by);
        let before = std::mem::replace(&mut standing.executed, executed);
        if before > executed {
            violations.add(Checker::Monotonicity, format!("{by} went back from s{before} to s{executed}"));
        }
        // It goes on behind a checkpoint in its first duty cycle.
        let durable = std::mem::take(&mut standing.durable);
        if executed < durable {
            let text = format!("{by} came back with s{executed} executed, and its disk had what comes to s{durable}");
            violations.add(Checker::Monotonicity, text);
        }
    }

    /// A correct replica tells others how far it is.
    pub fn on_status(&mut self, by: ReplicaId, executed: u64, stable: u64) {
        let told = &mut self.of(by).told;
        *told = (told.0.max(executed), told.1.max(stable));
    }

    /// The view that a correct replica says that it is in or wants.
    pub fn on_view(&mut self, by: ReplicaId, view: u64, violations: &mut Violations) {
        let before = std::mem::replace(&mut self.of(by).view, view);
        if before > view {
            violations.add(Checker::Monotonicity, format!("{by} went back from view {before} to view {view}"));
        }
    }

    /// What a correct replica says that it has executed, tentatively or not, and has stable.
    pub fn on_stable(&mut self, by: ReplicaId, (executed, stable): (u64, u64), violations: &mut Violations) {
        let standing = self.of(by);
        let told = std::mem::take(&mut standing.told);
        if told.0 > standing.executed || told.1 > stable {
            let executed = standing.executed;
            let text = format!(
                "{by} told others of s{} and s{}, and has executed s{executed} and s{stable} stable",
                told.0, told.1
            );
            violations.add(Checker::Monotonicity, text);
        }
        let before = std::mem::replace(&mut standing.stable, stable);
        if before > stable {
            let text = format!("{by} went back from a stable checkpoint at s{before} to one at s{stable}");
            violations.add(Checker::Monotonicity, text);
        }
        standing.lags &= stable > executed;
        if stable > executed && !standing.lags {
            let text = format!("{by} has executed s{executed} with a stable checkpoint at s{stable}");
            violations.add(Checker::Monotonicity, text);
        }
    }

    /// A record of a replica's journal is durable.
    pub fn on_record(&mut self, of: ReplicaId, record: &Record<'_>) {
        if let Record::Proposal { sequence, timestamp_ns, entries, .. }
        | Record::Batch { sequence, timestamp_ns, entries } = record
        {
            self.of(of).contents.insert((sequence.0, batch_digest(*timestamp_ns, entries)));
        }
        let view = match record {
            Record::Proposal { view, .. }
            | Record::Prepare { view, .. }
            | Record::Commit { view, .. }
            | Record::ViewEntered { view } => view.0,
            _ => return,
        };
        let standing = self.of(of);
        standing.view_durable = standing.view_durable.max(view);
    }

    /// A process ended, and another began, with so much executed. `decided` are the batches of which it is durable that they committed, and
    /// `checkpoint` is the number of the last durable checkpoint.
    pub fn on_restarted(
        &mut self,
        by: ReplicaId,
        forgot: bool,
        (view, executed): (u64, u64),
        (checkpoint, decided): (u64, impl Iterator<Item = (u64, Digest)>),
        violations: &mut Violations,
    ) {
        let standing = self.of(by);
        *standing = Standing {
            executed,
            lags: true,
            view,
            view_durable: standing.view_durable,
            contents: std::mem::take(&mut standing.contents),
            ..Standing::default()
        };
        if forgot {
            (standing.view_durable, standing.contents) = (0, BTreeSet::new());
            return;
        }
        if view < standing.view_durable {
            let text = format!("{by} came back in view {view}, and its journal has view {}", standing.view_durable);
            violations.add(Checker::Monotonicity, text);
        }
        // Of what was claimed by others the content may come later.
        let is_here = |batch: &(u64, Digest)| batch.1 == null_batch() || standing.contents.contains(batch);
        let decided: BTreeSet<u64> =
            decided.filter(|batch| batch.0 > checkpoint && is_here(batch)).map(|(sequence, _)| sequence).collect();
        let missing = (checkpoint + 1..).find(|sequence| !decided.contains(sequence));
        standing.durable = missing.map_or(0, |missing| missing - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_engine::numbers::{ClientId, Incarnation, RequestNumber, SequenceNumber, View};
    use logothete_engine::wire::agreement::BatchEntry;
    use logothete_engine::wire::request::RequestName;

    const BY: ReplicaId = ReplicaId(1);

    #[test]
    fn numbers_only_rise() {
        let (mut monotonicity, mut violations) = (Monotonicity::new(4), Violations::default());
        for number in [1, 1, 2] {
            monotonicity.on_view(BY, number, &mut violations);
            monotonicity.on_executed(BY, number * 8, &mut violations);
            monotonicity.on_stable(BY, (number * 8, number * 8), &mut violations);
        }
        assert_eq!((violations.take(), monotonicity.executed(BY)), (Ok(()), 16));
        monotonicity.on_view(BY, 1, &mut violations);
        monotonicity.on_executed(BY, 15, &mut violations);
        monotonicity.on_stable(BY, (16, 8), &mut violations);
        monotonicity.on_stable(BY, (15, 16), &mut violations);
        assert_eq!(violations.checkers(), [Checker::Monotonicity; 4]);
    }

    #[test]
    fn what_is_durable_is_there_again() {
        let restarted = |forgot, came_back, checkpoint, decided: &[u64]| {
            let (mut monotonicity, mut violations) = (Monotonicity::new(4), Violations::default());
            monotonicity.on_record(BY, &Record::ViewEntered { view: View(3) });
            monotonicity.on_executed(BY, 20, &mut violations);
            let name = RequestName { client: ClientId(0), incarnation: Incarnation(1), number: RequestNumber(1) };
            let entries = [BatchEntry::new(name, Digest::ZERO)];
            let content = |sequence: u64| Record::Batch {
                sequence: SequenceNumber(sequence),
                timestamp_ns: sequence,
                entries: &entries,
            };
            // Of s13 there is no content.
            (9..13).for_each(|sequence| monotonicity.on_record(BY, &content(sequence)));
            let batch = |sequence: &u64| (*sequence, batch_digest(*sequence, &entries));
            let durable = (checkpoint, decided.iter().map(batch));
            monotonicity.on_restarted(BY, forgot, came_back, durable, &mut violations);
            monotonicity.on_executed(BY, came_back.1, &mut violations);
            monotonicity.on_executed(BY, came_back.1 + 1, &mut violations);
            violations.checkers().len()
        };
        assert_eq!(restarted(false, (3, 10), 8, &[9, 10, 12]), 0, "s11 is not durable");
        assert_eq!(restarted(false, (4, 12), 8, &[9, 10]), 0);
        assert_eq!(restarted(false, (3, 12), 8, &[9, 10, 11, 12, 13]), 0);
        assert_eq!(restarted(false, (3, 9), 8, &[9, 10, 12]), 1);
        assert_eq!(restarted(false, (2, 10), 8, &[9, 10]), 1);
        assert_eq!(restarted(true, (0, 0), 0, &[]), 0);
    }

    #[test]
    fn nobody_claims_more_than_it_has() {
        let (mut monotonicity, mut violations) = (Monotonicity::new(4), Violations::default());
        monotonicity.on_status(BY, 8, 8);
        monotonicity.on_executed(BY, 8, &mut violations);
        monotonicity.on_stable(BY, (8, 8), &mut violations);
        assert_eq!(violations.take(), Ok(()));
        monotonicity.on_status(BY, 9, 8);
        monotonicity.on_stable(BY, (9, 8), &mut violations);
        monotonicity.on_status(BY, 8, 16);
        monotonicity.on_stable(BY, (8, 8), &mut violations);
        assert_eq!(violations.checkers(), [Checker::Monotonicity; 2], "s9 is tentative, s16 is not there");
    }

    /// The state may be behind the log right after a restart, and at no other time.
    #[test]
    fn a_stable_checkpoint_is_executed() {
        let (mut monotonicity, mut violations) = (Monotonicity::new(4), Violations::default());
        monotonicity.on_restarted(BY, false, (0, 8), (8, std::iter::empty()), &mut violations);
        monotonicity.on_stable(BY, (8, 16), &mut violations);
        monotonicity.on_stable(BY, (16, 16), &mut violations);
        assert_eq!(violations.take(), Ok(()));
        monotonicity.on_stable(BY, (16, 24), &mut violations);
        assert_eq!(violations.checkers(), [Checker::Monotonicity]);
    }
}
