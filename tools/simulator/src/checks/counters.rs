//! C15, promised counters: what a correct replica cannot have taken is counted as rejected, counters never go back, and a replica whose state is not that
//! of a quorum of others says so: that is beyond what `f` faulty ones can bring about, and an operator has to know.

use super::quorums::Quorums;
use super::violations::{Checker, Violations};
use logothete_crypto::Digest;
use logothete_engine::numbers::{Principal, ReplicaId, ReplicaSet};
use logothete_engine::replica::{Reject, RejectCounters};
use logothete_engine::wire::{Message, Messages};
use std::collections::BTreeMap;

/// What one replica was told of states, and said of its own.
#[derive(Debug, Default)]
struct Told {
    /// By checkpoint: what each replica voted for, first.
    votes: BTreeMap<u64, BTreeMap<ReplicaId, Digest>>,
    own: BTreeMap<u64, Digest>,
    /// It raised the alarm in its present life.
    alarmed: bool,
}

/// What each of them was told.
#[derive(Debug)]
pub struct Counters {
    quorums: Quorums,
    replicas: Vec<Told>,
}

impl Counters {
    pub fn new(quorums: Quorums) -> Self {
        let replicas = (0..quorums.replicas).map(|_| Told::default()).collect();
        Self { quorums, replicas }
    }

    /// A correct replica took a packet; its counters before and after.
    pub fn on_taken(
        &mut self,
        at: ReplicaId,
        from: Principal,
        body: &[u8],
        (before, after): (&RejectCounters, &RejectCounters),
        violations: &mut Violations,
    ) {
        let wrong =
            Messages::new(body, from).filter(|message| self.is_wrong(from, message.as_ref().ok().map(|held| &held.0)));
        let (wrong, counted) = (wrong.count() as u64, after.total().saturating_sub(before.total()));
        if counted < wrong {
            let text = format!("{at} took a packet of {from:?} with {wrong} wrong messages, and counted {counted}");
            violations.add(Checker::Counters, text);
        }
        if let Some(reason) = Reject::ALL.iter().find(|reason| after.of(**reason) < before.of(**reason)) {
            violations.add(Checker::Counters, format!("{at} counts {} backwards", reason.label()));
        }
    }

    /// Whether no correct replica ever takes a message of this sender, whatever it knows.
    fn is_wrong(&self, from: Principal, message: Option<&Message<'_>>) -> bool {
        let Some(message) = message else { return true };
        let primary = |view: u64| Principal::Replica(ReplicaId((view % self.quorums.replicas as u64) as u8));
        match message {
            Message::PrePrepare(proposal) => primary(proposal.view.0) != from,
            Message::Prepare(vote) => primary(vote.view().0) == from,
            Message::Request(request) => Principal::Client(request.name.client) != from,
            Message::RequestPart(part) => Principal::Client(part.name.client) != from,
            _ => false,
        }
    }

    /// A vote on a state reached a correct replica.
    pub fn on_checkpoint(&mut self, at: ReplicaId, from: ReplicaId, sequence: u64, digest: Digest) {
        let votes = &mut self.replicas[usize::from(at.0)].votes;
        votes.entry(sequence).or_default().entry(from).or_insert(digest);
    }

    /// A correct replica voted on its own state.
    pub fn on_own_checkpoint(&mut self, by: ReplicaId, sequence: u64, digest: Digest) {
        self.replicas[usize::from(by.0)].own.insert(sequence, digest);
    }

    pub fn on_alarm(&mut self, by: ReplicaId) {
        self.replicas[usize::from(by.0)].alarmed = true;
    }

    /// A duty cycle is over, and this is stable.
    pub fn on_cycle_end(&mut self, by: ReplicaId, stable: u64, violations: &mut Violations) {
        let strong = self.quorums.strong;
        let told = &mut self.replicas[usize::from(by.0)];
        told.votes = told.votes.split_off(&(stable + 1));
        told.own = told.own.split_off(&(stable + 1));
        for (sequence, own) in told.own.iter().filter(|_| !told.alarmed) {
            let votes = told.votes.get(sequence).into_iter().flatten();
            let others = votes.filter(|(id, digest)| **id != by && *digest != own);
            let others = others.fold(ReplicaSet::EMPTY, |set, (id, _)| ReplicaSet(set.0 | ReplicaSet::only(*id).0));
            if others.count() >= strong {
                let text = format!(
                    "{by} was told by {others:?} that its state after s{sequence} is wrong, and raised no alarm"
                );
                violations.add(Checker::Counters, text);
            }
        }
    }

    pub fn on_restarted(&mut self, by: ReplicaId) {
        self.replicas[usize::from(by.0)] = Told::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_engine::numbers::{SequenceNumber, View};
    use logothete_engine::wire::agreement::Vote;

    const AT: ReplicaId = ReplicaId(1);

    fn prepare(view: u64) -> Vec<u8> {
        let mut body = Vec::new();
        Vote::new(View(view), SequenceNumber(1), Digest::ZERO).append_prepare(&mut body);
        body
    }

    fn taken(from: u8, body: &[u8]) -> usize {
        let (mut counters, mut violations) = (Counters::new(Quorums::of(4)), Violations::default());
        let nothing = RejectCounters::default();
        counters.on_taken(AT, Principal::Replica(ReplicaId(from)), body, (&nothing, &nothing), &mut violations);
        violations.checkers().len()
    }

    #[test]
    fn what_nobody_takes_is_counted() {
        assert_eq!(taken(2, &prepare(0)), 0);
        assert_eq!(taken(0, &prepare(0)), 1, "the primary's own");
        assert_eq!(taken(0, &prepare(1)), 0);
        assert_eq!(taken(2, &[prepare(0), vec![0xff; 16]].concat()), 1, "no message");
    }

    fn diverges(told: &[(u8, u8)], own: u8, alarmed: bool, stable: u64) -> usize {
        let (mut counters, mut violations) = (Counters::new(Quorums::of(4)), Violations::default());
        counters.on_own_checkpoint(AT, 8, Digest([own; 32]));
        for (from, state) in told {
            counters.on_checkpoint(AT, ReplicaId(*from), 8, Digest([*state; 32]));
        }
        if alarmed {
            counters.on_alarm(AT);
        }
        counters.on_cycle_end(AT, stable, &mut violations);
        violations.checkers().len()
    }

    #[test]
    fn who_differs_from_a_quorum_says_so() {
        let others = [(0, 1), (2, 1), (3, 1)];
        assert_eq!(diverges(&others, 2, false, 0), 1);
        assert_eq!(diverges(&others, 2, true, 0), 0);
        assert_eq!(diverges(&others, 1, false, 0), 0);
        assert_eq!(diverges(&others[..2], 2, false, 0), 0, "two may be wrong");
        assert_eq!(diverges(&[(0, 1), (0, 1), (2, 1)], 2, false, 0), 0, "each counts once");
        assert_eq!(diverges(&others, 2, false, 8), 0, "it is past");
    }
}
