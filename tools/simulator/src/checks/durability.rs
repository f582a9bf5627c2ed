//! C10, the order of effects: with a journal nothing that binds a replica leaves before its record is durable. And without memory nothing that binds
//! leaves at all, before the replica has recovered.

use super::violations::{Checker, Violations};
use super::vote::{Round, Vote};
use logothete_crypto::Digest;
use logothete_engine::journal::Record;
use logothete_engine::numbers::{ReplicaId, SequenceNumber, View};
use logothete_engine::wire::agreement::batch_digest;
use std::collections::BTreeSet;

/// What binds a replica that says it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    Vote(Vote),
    /// A view change or new view, by its digest.
    Statement(Digest),
    /// What a replica signed before this epoch counts no more.
    EpochAcknowledged(ReplicaId, u64),
}

impl Promise {
    fn of(record: &Record<'_>) -> Option<Self> {
        let vote = |round, view: View, sequence: SequenceNumber, digest| {
            Some(Self::Vote(Vote::new(round, view.0, sequence.0, digest)))
        };
        match *record {
            Record::Proposal { view, sequence, timestamp_ns, entries } => {
                vote(Round::Proposal, view, sequence, batch_digest(timestamp_ns, entries))
            }
            Record::Prepare { view, sequence, digest } => vote(Round::Prepare, view, sequence, digest),
            Record::Commit { view, sequence, digest } => vote(Round::Commit, view, sequence, digest),
            Record::ViewChange { bytes } | Record::NewView { bytes } => {
                Some(Self::Statement(logothete_crypto::digest(bytes)))
            }
            Record::EpochAcknowledged { replica, epoch } => Some(Self::EpochAcknowledged(replica, epoch)),
            Record::Body { .. }
            | Record::Batch { .. }
            | Record::ViewEntered { .. }
            | Record::Committed { .. }
            | Record::Stable { .. } => None,
        }
    }
}

/// What one replica's disk holds for good.
#[derive(Debug, Default)]
struct Kept {
    /// How many records of its journal were looked at.
    records: usize,
    promises: BTreeSet<Promise>,
    /// Numbers at which it prepared, by its commits.
    prepared: BTreeSet<u64>,
    /// It forgot what it said, and has not recovered.
    recovers: bool,
}

/// What all disks hold.
#[derive(Debug)]
pub struct Durability {
    journal: bool,
    replicas: Vec<Kept>,
}

impl Durability {
    pub fn new(replicas: usize, journal: bool) -> Self {
        Self { journal, replicas: (0..replicas).map(|_| Kept::default()).collect() }
    }

    /// How many records of a replica's journal were looked at.
    pub fn records(&self, of: ReplicaId) -> usize {
        self.replicas[usize::from(of.0)].records
    }

    /// The next record of a replica's journal is durable. Whether it is a promise that was not there yet.
    pub fn on_record(&mut self, of: ReplicaId, record: &Record<'_>) -> bool {
        let kept = &mut self.replicas[usize::from(of.0)];
        kept.records += 1;
        let Some(promise) = Promise::of(record) else { return false };
        if let Promise::Vote(Vote { ballot, .. }) = promise
            && ballot.round == Round::Commit
        {
            kept.prepared.insert(ballot.sequence);
        }
        kept.promises.insert(promise)
    }

    /// Whether a replica's disk holds a promise.
    pub fn holds(&self, by: ReplicaId, promise: &Promise) -> bool {
        self.replicas[usize::from(by.0)].promises.contains(promise)
    }

    /// A correct replica sends what binds it.
    pub fn on_promised(&self, by: ReplicaId, promise: &Promise, violations: &mut Violations) {
        if self.replicas[usize::from(by.0)].recovers {
            violations.add(Checker::Contradiction, format!("{by} forgot what it said, and sent {promise:?}"));
        }
        if self.journal && !self.holds(by, promise) {
            violations.add(Checker::Durability, format!("{by} sent {promise:?}, which is not durable"));
        }
    }

    /// A correct replica sends the result of what it executed tentatively: that its batch prepared, which is what the client takes it for, is
    /// durable.
    pub fn on_tentative_reply(&self, by: ReplicaId, sequence: u64, violations: &mut Violations) {
        if self.replicas[usize::from(by.0)].recovers {
            let text = format!("{by} forgot what it said, and replied from s{sequence}, which has not committed");
            violations.add(Checker::Contradiction, text);
        } else if self.journal && !self.replicas[usize::from(by.0)].prepared.contains(&sequence) {
            let text = format!("{by} replied from s{sequence}, of which it is not durable that it prepared");
            violations.add(Checker::Durability, text);
        }
    }

    /// A process ended, and another began.
    pub fn on_restarted(&mut self, by: ReplicaId, forgot: bool) {
        let kept = &mut self.replicas[usize::from(by.0)];
        if forgot {
            *kept = Kept { recovers: true, ..Kept::default() };
        }
    }

    /// It may promise again.
    pub fn on_recovered(&mut self, by: ReplicaId) {
        self.replicas[usize::from(by.0)].recovers = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY: ReplicaId = ReplicaId(1);

    fn commit(sequence: u64) -> (Record<'static>, Promise) {
        let digest = Digest([sequence as u8; 32]);
        let record = Record::Commit { view: View(0), sequence: SequenceNumber(sequence), digest };
        (record, Promise::Vote(Vote::new(Round::Commit, 0, sequence, digest)))
    }

    #[test]
    fn a_promise_leaves_when_its_record_is_durable() {
        let (mut durability, mut violations) = (Durability::new(4, true), Violations::default());
        let (record, promise) = commit(1);
        durability.on_record(BY, &record);
        durability.on_promised(BY, &promise, &mut violations);
        durability.on_tentative_reply(BY, 1, &mut violations);
        assert_eq!((violations.take(), durability.records(BY)), (Ok(()), 1));
        durability.on_promised(BY, &commit(2).1, &mut violations);
        durability.on_promised(ReplicaId(2), &promise, &mut violations);
        durability.on_tentative_reply(BY, 2, &mut violations);
        durability.on_promised(BY, &Promise::EpochAcknowledged(ReplicaId(2), 5), &mut violations);
        assert_eq!(violations.checkers(), [Checker::Durability; 4]);
    }

    #[test]
    fn who_forgot_promises_nothing_before_it_has_recovered() {
        let (mut durability, mut violations) = (Durability::new(4, false), Violations::default());
        durability.on_promised(BY, &commit(1).1, &mut violations);
        assert_eq!(violations.take(), Ok(()), "there is no journal");
        durability.on_restarted(BY, true);
        durability.on_promised(BY, &commit(1).1, &mut violations);
        durability.on_tentative_reply(BY, 1, &mut violations);
        assert_eq!(violations.checkers(), [Checker::Contradiction; 2]);
        let mut violations = Violations::default();
        durability.on_recovered(BY);
        durability.on_promised(BY, &commit(1).1, &mut violations);
        assert_eq!(violations.take(), Ok(()));
    }
}
