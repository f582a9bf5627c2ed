//! C9, no self-contradiction: everything that a correct replica ever sends is kept, in whatever life and for whatever reason it is sent, and nothing of
//! it excludes anything else of it.

use super::violations::{Checker, Violations};
use super::vote::{Ballot, Round, Vote};
use logothete_crypto::Digest;
use logothete_engine::numbers::ReplicaId;
use logothete_engine::wire::agreement::Vote as WireVote;
use logothete_engine::wire::view_change::{NewView, ViewChange};
use std::collections::{BTreeMap, BTreeSet};

/// What one replica said.
#[derive(Debug, Default)]
struct Said {
    votes: BTreeMap<Ballot, Digest>,
    /// What of it was said first in the present life, and what was forgotten since.
    now: BTreeSet<Ballot>,
    lost: BTreeSet<Ballot>,
    checkpoints: BTreeMap<u64, Digest>,
    /// What it claims to have committed.
    claims: BTreeMap<u64, Digest>,
    /// Its view changes, by epoch and view, and its new views.
    view_changes: BTreeMap<(u64, u64), Digest>,
    new_views: BTreeMap<u64, Digest>,
    /// The highest view that it voted in or asked for, before this duty cycle and with it.
    view: u64,
    view_now: u64,
    /// The last number that it sent a commit for and remembers, before this duty cycle and with it.
    committed: u64,
    committed_now: u64,
}

/// What all of them said.
#[derive(Debug)]
pub struct Contradictions(Vec<Said>);

impl Contradictions {
    pub fn new(replicas: usize) -> Self {
        Self((0..replicas).map(|_| Said::default()).collect())
    }

    fn of(&mut self, id: ReplicaId) -> &mut Said {
        &mut self.0[usize::from(id.0)]
    }

    /// A proposal or vote. Whether it was said first in the present life.
    pub fn on_vote(&mut self, by: ReplicaId, vote: Vote, violations: &mut Violations) -> bool {
        let said = self.of(by);
        let Vote { ballot, batch } = vote;
        let new = !said.votes.contains_key(&ballot);
        let first = *said.votes.entry(ballot).or_insert(batch);
        if new {
            said.now.insert(ballot);
        }
        said.lost.remove(&ballot);
        if ballot.view < said.view {
            let higher = said.view;
            violations.add(
                Checker::Contradiction,
                format!("{by} sent a {ballot} after it had asked for or voted in view {higher}"),
            );
        }
        said.view_now = said.view_now.max(ballot.view);
        if ballot.round == Round::Commit {
            said.committed_now = said.committed_now.max(ballot.sequence);
        }
        if first != batch {
            violations.add(Checker::Contradiction, format!("{by} sent two {ballot}"));
        }
        said.now.contains(&ballot)
    }

    /// A vote on a state.
    pub fn on_checkpoint(&mut self, by: ReplicaId, sequence: u64, digest: Digest, violations: &mut Violations) {
        if *self.of(by).checkpoints.entry(sequence).or_insert(digest) != digest {
            violations.add(Checker::Contradiction, format!("{by} voted for two states after s{sequence}"));
        }
    }

    /// A claim of what committed.
    pub fn on_claim(&mut self, by: ReplicaId, sequence: u64, batch: Digest, violations: &mut Violations) {
        if *self.of(by).claims.entry(sequence).or_insert(batch) != batch {
            violations.add(Checker::Contradiction, format!("{by} claims two batches committed at s{sequence}"));
        }
    }

    /// A view change of its own; `statement` is its digest. It says all that its replica remembers to have voted for above its checkpoint.
    pub fn on_view_change(
        &mut self,
        by: ReplicaId,
        content: &ViewChange<'_>,
        statement: Digest,
        violations: &mut Violations,
    ) {
        let said = self.of(by);
        let wanted = content.view.0;
        said.view_now = said.view_now.max(wanted);
        match said.view_changes.insert((content.epoch, wanted), statement) {
            Some(first) if first == statement => return,
            Some(_) => violations.add(Checker::Contradiction, format!("{by} asks for view {wanted} in two ways")),
            None => {}
        }
        let above = Ballot { sequence: content.stable.0 + 1, round: Round::Proposal, view: 0 };
        let remembered = said.votes.range(above..).filter(|(ballot, _)| !said.lost.contains(ballot));
        for (ballot, batch) in remembered.filter(|(ballot, _)| ballot.view < wanted) {
            let of_number = |votes: &[WireVote], says: &dyn Fn(&WireVote) -> bool| {
                votes.iter().any(|vote| vote.sequence().0 == ballot.sequence && says(vote))
            };
            let same = |vote: &WireVote| vote.digest == *batch && vote.view().0 >= ballot.view;
            let says = match ballot.round {
                Round::Commit => of_number(content.prepared, &|vote| same(vote) || vote.view().0 > ballot.view),
                Round::Proposal | Round::Prepare => of_number(content.pre_prepared, &same),
            };
            if !says {
                let text = format!("{by} sent a {ballot}, and asks for view {wanted} without it");
                violations.add(Checker::Contradiction, text);
            }
        }
    }

    /// A new view of its own.
    pub fn on_new_view(
        &mut self,
        by: ReplicaId,
        content: &NewView<'_>,
        statement: Digest,
        violations: &mut Violations,
    ) {
        let (said, view) = (self.of(by), content.view.0);
        said.view_now = said.view_now.max(view);
        if *said.new_views.entry(view).or_insert(statement) != statement {
            violations.add(Checker::Contradiction, format!("{by} opens view {view} in two ways"));
        }
    }

    /// It tells one that forgot how far it has prepared: the asker may have voted as far as a window beyond that.
    pub fn on_recovery_answer(&mut self, by: ReplicaId, prepared: u64, violations: &mut Violations) {
        let last = self.of(by).committed;
        if prepared < last {
            let text = format!("{by} sent a commit for s{last}, and says that it has prepared up to s{prepared}");
            violations.add(Checker::Contradiction, text);
        }
    }

    /// It learned from the others from which number on it may vote again: its former self voted for nothing beyond.
    pub fn on_recovery_point(&self, by: ReplicaId, point: u64, violations: &mut Violations) {
        let last = self.0[usize::from(by.0)].lost.last().map_or(0, |ballot| ballot.sequence);
        if last > point {
            let text = format!("{by} may vote again after s{point}, and its former self voted for s{last}");
            violations.add(Checker::Contradiction, text);
        }
    }

    /// Another caught it at contradicting itself, it says.
    pub fn on_accused(&self, by: ReplicaId, accused: ReplicaId, violations: &mut Violations) {
        violations.add(Checker::Contradiction, format!("{by} caught {accused} contradicting itself, which is correct"));
    }

    /// A duty cycle is over: what was said in it binds from now on. The order within it is the outbox's.
    pub fn on_cycle_end(&mut self, by: ReplicaId) {
        let said = self.of(by);
        said.view = said.view_now;
        said.committed = said.committed_now;
    }

    /// A process ended, and another began. One that forgot is held to what it said, but need not repeat it.
    pub fn on_restarted(&mut self, by: ReplicaId, forgot: bool) {
        let said = self.of(by);
        said.now.clear();
        if forgot {
            said.lost.extend(said.votes.keys());
            (said.view, said.view_now, said.committed, said.committed_now) = (0, 0, 0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_engine::numbers::{SequenceNumber, View};

    const BY: ReplicaId = ReplicaId(1);

    fn vote(round: Round, view: u64, sequence: u64, tag: u8) -> Vote {
        Vote::new(round, view, sequence, Digest([tag; 32]))
    }

    fn wire(view: u64, sequence: u64, tag: u8) -> WireVote {
        WireVote::new(View(view), SequenceNumber(sequence), Digest([tag; 32]))
    }

    fn asks(view: u64, prepared: &[WireVote], pre_prepared: &[WireVote], check: impl FnOnce(&ViewChange<'_>)) {
        let stable = SequenceNumber(8);
        check(&ViewChange {
            view: View(view),
            stable,
            epoch: 7,
            replica: BY,
            checkpoints: &[],
            prepared,
            pre_prepared,
        });
    }

    #[test]
    fn one_vote_a_ballot_in_all_lives() {
        let (mut said, mut violations) = (Contradictions::new(4), Violations::default());
        assert!(said.on_vote(BY, vote(Round::Prepare, 0, 1, 1), &mut violations));
        assert!(said.on_vote(BY, vote(Round::Prepare, 0, 1, 1), &mut violations), "it is of this life all the same");
        said.on_vote(ReplicaId(2), vote(Round::Prepare, 0, 1, 2), &mut violations);
        said.on_vote(BY, vote(Round::Commit, 0, 1, 2), &mut violations);
        said.on_vote(BY, vote(Round::Prepare, 1, 1, 2), &mut violations);
        said.on_restarted(BY, true);
        assert!(!said.on_vote(BY, vote(Round::Prepare, 0, 1, 1), &mut violations), "it was of a former life");
        assert_eq!(violations.take(), Ok(()));
        said.on_vote(BY, vote(Round::Prepare, 0, 1, 2), &mut violations);
        assert_eq!(violations.checkers(), [Checker::Contradiction]);
    }

    #[test]
    fn no_vote_in_a_view_that_was_left() {
        let (mut said, mut violations) = (Contradictions::new(4), Violations::default());
        said.on_vote(BY, vote(Round::Commit, 0, 9, 1), &mut violations);
        asks(1, &[wire(0, 9, 1)], &[], |content| said.on_view_change(BY, content, Digest([1; 32]), &mut violations));
        // What leaves in the same cycle may have been said before it.
        said.on_vote(BY, vote(Round::Commit, 0, 9, 1), &mut violations);
        said.on_cycle_end(BY);
        assert_eq!(violations.take(), Ok(()));
        said.on_vote(BY, vote(Round::Commit, 0, 9, 1), &mut violations);
        assert_eq!(violations.checkers(), [Checker::Contradiction]);
    }

    #[test]
    fn a_view_change_says_what_was_voted_for() {
        let (mut said, mut violations) = (Contradictions::new(4), Violations::default());
        said.on_vote(BY, vote(Round::Prepare, 0, 8, 1), &mut violations);
        said.on_vote(BY, vote(Round::Prepare, 0, 9, 1), &mut violations);
        said.on_vote(BY, vote(Round::Commit, 0, 9, 1), &mut violations);
        let whole = ([wire(0, 9, 1)], [wire(0, 9, 1)]);
        asks(1, &whole.0, &whole.1, |content| said.on_view_change(BY, content, Digest([1; 32]), &mut violations));
        assert_eq!(violations.take(), Ok(()));
        asks(2, &[], &whole.1, |content| said.on_view_change(BY, content, Digest([2; 32]), &mut violations));
        asks(3, &whole.0, &[], |content| said.on_view_change(BY, content, Digest([3; 32]), &mut violations));
        asks(4, &whole.0, &[wire(0, 9, 2)], |content| {
            said.on_view_change(BY, content, Digest([4; 32]), &mut violations)
        });
        assert_eq!(violations.checkers(), [Checker::Contradiction; 3]);
        // Who forgot cannot say it.
        let mut violations = Violations::default();
        said.on_restarted(BY, true);
        asks(5, &[], &[], |content| said.on_view_change(BY, content, Digest([5; 32]), &mut violations));
        assert_eq!(violations.take(), Ok(()));
    }

    #[test]
    fn statements_claims_and_checkpoints_stay_the_same() {
        let (mut said, mut violations) = (Contradictions::new(4), Violations::default());
        for digest in [Digest([1; 32]), Digest([1; 32])] {
            asks(1, &[], &[], |content| said.on_view_change(BY, content, digest, &mut violations));
            said.on_claim(BY, 3, digest, &mut violations);
            said.on_checkpoint(BY, 8, digest, &mut violations);
            said.on_new_view(BY, &new_view(), digest, &mut violations);
        }
        assert_eq!(violations.take(), Ok(()));
        let other = Digest([2; 32]);
        asks(1, &[], &[], |content| said.on_view_change(BY, content, other, &mut violations));
        said.on_claim(BY, 3, other, &mut violations);
        said.on_checkpoint(BY, 8, other, &mut violations);
        said.on_new_view(BY, &new_view(), other, &mut violations);
        assert_eq!(violations.checkers(), [Checker::Contradiction; 4]);
    }

    #[test]
    fn who_forgot_votes_again_beyond_what_it_voted_for() {
        let (mut said, mut violations) = (Contradictions::new(4), Violations::default());
        said.on_vote(BY, vote(Round::Prepare, 0, 9, 1), &mut violations);
        said.on_recovery_point(BY, 0, &mut violations);
        said.on_restarted(BY, true);
        said.on_recovery_point(BY, 9, &mut violations);
        assert_eq!(violations.take(), Ok(()));
        said.on_recovery_point(BY, 8, &mut violations);
        assert_eq!(violations.checkers(), [Checker::Contradiction]);
    }

    #[test]
    fn what_prepared_is_told_to_who_forgot() {
        let (mut said, mut violations) = (Contradictions::new(4), Violations::default());
        said.on_recovery_answer(BY, 0, &mut violations);
        said.on_vote(BY, vote(Round::Commit, 0, 9, 1), &mut violations);
        said.on_vote(BY, vote(Round::Prepare, 0, 10, 1), &mut violations);
        said.on_recovery_answer(BY, 8, &mut violations);
        said.on_cycle_end(BY);
        said.on_recovery_answer(BY, 9, &mut violations);
        assert_eq!(violations.take(), Ok(()));
        said.on_recovery_answer(BY, 8, &mut violations);
        said.on_accused(BY, ReplicaId(2), &mut violations);
        assert_eq!(violations.checkers(), [Checker::Contradiction; 2]);
    }

    fn new_view() -> NewView<'static> {
        let checkpoint = (SequenceNumber(0), Digest([0; 32]));
        NewView { view: View(1), epoch: 7, replica: BY, checkpoint, named: &[], selection: &[] }
    }
}
