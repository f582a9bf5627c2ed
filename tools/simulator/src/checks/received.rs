//! C11 from the receiver's side: a correct replica acts on what really reached it, counted by who really sent it. Whoever commits before it was told so
//! has counted something twice, or something else, even where enough was sent that is still on its way.

use super::quorums::Quorums;
use super::violations::{Checker, Violations};
use super::vote::{Ballot, Round, Vote};
use logothete_crypto::Digest;
use logothete_engine::numbers::{ReplicaId, ReplicaSet};
use std::collections::{BTreeMap, BTreeSet};

/// What reached one replica in its present life, its own votes among it.
#[derive(Debug, Default)]
struct Told {
    votes: BTreeMap<(Ballot, Digest), ReplicaSet>,
    /// Who claims to have committed what.
    claims: BTreeMap<(u64, Digest), ReplicaSet>,
    /// Who voted for which state, in all lives: what is stable on the strength of it stays so.
    checkpoints: BTreeMap<(u64, Digest), ReplicaSet>,
    /// What its journal says it decided; it was looked at when it was written.
    decided: BTreeSet<(u64, Digest)>,
    /// It remembers nothing of its former life.
    forgot: bool,
}

/// What reached each of them.
#[derive(Debug)]
pub struct Received {
    quorums: Quorums,
    replicas: Vec<Told>,
    /// What new views carry over: which batch for a number of a view.
    carried: BTreeSet<(u64, u64, Digest)>,
}

impl Received {
    pub fn new(quorums: Quorums) -> Self {
        let replicas = (0..quorums.replicas).map(|_| Told::default()).collect();
        Self { quorums, replicas, carried: BTreeSet::new() }
    }

    fn of(&mut self, id: ReplicaId) -> &mut Told {
        &mut self.replicas[usize::from(id.0)]
    }

    /// A vote of `from` reached a correct replica, or is its own.
    pub fn on_vote(&mut self, at: ReplicaId, from: ReplicaId, vote: Vote) {
        self.of(at).votes.entry((vote.ballot, vote.batch)).or_insert(ReplicaSet::EMPTY).insert(from);
    }

    pub fn on_claim(&mut self, at: ReplicaId, from: ReplicaId, sequence: u64, batch: Digest) {
        self.of(at).claims.entry((sequence, batch)).or_insert(ReplicaSet::EMPTY).insert(from);
    }

    /// A vote of `from` on a state reached a correct replica, or is its own.
    pub fn on_checkpoint(&mut self, at: ReplicaId, from: ReplicaId, sequence: u64, state: Digest) {
        self.of(at).checkpoints.entry((sequence, state)).or_insert(ReplicaSet::EMPTY).insert(from);
    }

    /// Who told a replica that it has a state, itself included.
    pub fn told_of(&self, by: ReplicaId, sequence: u64, state: Digest) -> ReplicaSet {
        let told = self.replicas[usize::from(by.0)].checkpoints.get(&(sequence, state));
        told.copied().unwrap_or(ReplicaSet::EMPTY)
    }

    /// A correct replica asks for a state: `f+1` others told it that they have it (`protocol.md CK-5`), or said so in view changes (`VC-7`), as `holders` did.
    pub fn on_state_asked(
        &self,
        by: ReplicaId,
        (sequence, state): (u64, Digest),
        holders: ReplicaSet,
        violations: &mut Violations,
    ) {
        let told = self.told_of(by, sequence, state).without(by);
        // Who forgot may learn from others what it said itself in a view change.
        let holders = if self.replicas[usize::from(by.0)].forgot { holders } else { holders.without(by) };
        if told.count() < self.quorums.weak && holders.count() < self.quorums.weak {
            let text = format!("{by} asks for the state after s{sequence}, of which {told:?} told it");
            violations.add(Checker::Certificates, text);
        }
    }

    /// A new view of its primary was seen.
    pub fn on_carried(&mut self, view: u64, sequence: u64, batch: Digest) {
        self.carried.insert((view, sequence, batch));
    }

    /// A correct replica votes for the first time. `kept`: it had the proposal in a former life, and kept it.
    pub fn on_cast(&mut self, by: ReplicaId, vote: Vote, kept: bool, violations: &mut Violations) {
        let primary = ReplicaId((vote.ballot.view % self.quorums.replicas as u64) as u8);
        let Ballot { sequence, view, .. } = vote.ballot;
        let told = |round| {
            let ballot = Ballot { round, ..vote.ballot };
            let votes = &self.replicas[usize::from(by.0)].votes;
            votes.get(&(ballot, vote.batch)).copied().unwrap_or(ReplicaSet::EMPTY)
        };
        let carried = self.carried.contains(&(view, sequence, vote.batch));
        if !kept && !carried && !told(Round::Proposal).contains(primary) {
            let text = format!("{by} sent a {} that its primary has not proposed", vote.ballot);
            violations.add(Checker::Certificates, text);
        }
        let prepares = told(Round::Prepare).without(primary).count();
        if vote.ballot.round == Round::Commit && prepares + 1 < self.quorums.strong {
            let text = format!("{by} sent a {}, and {prepares} backups told it that they prepared", vote.ballot);
            violations.add(Checker::Certificates, text);
        }
    }

    /// Whether `f+1` others claim that a batch is committed.
    pub fn is_claimed(&self, by: ReplicaId, sequence: u64, batch: Digest) -> bool {
        let claims = self.replicas[usize::from(by.0)].claims.get(&(sequence, batch));
        claims.is_some_and(|claims| claims.count() >= self.quorums.weak)
    }

    /// Whether what a replica was told in its present life, and said itself, makes a batch committed.
    fn is_decided(&self, by: ReplicaId, sequence: u64, batch: Digest) -> bool {
        let told = &self.replicas[usize::from(by.0)];
        let claimed = told.claims.get(&(sequence, batch)).copied().unwrap_or(ReplicaSet::EMPTY);
        let ballot = |view| Ballot { sequence, round: Round::Commit, view };
        let in_any_view = (ballot(0), Digest::ZERO)..=(ballot(u64::MAX), Digest([0xff; 32]));
        let mut commits = told.votes.range(in_any_view).filter(|((_, held), _)| *held == batch);
        // A claim to have committed is a commit in whatever view.
        let with_claims = |from: &ReplicaSet| ReplicaSet(from.0 | claimed.0).count();
        claimed.count() >= self.quorums.weak || commits.any(|(_, from)| with_claims(from) >= self.quorums.strong)
    }

    /// A correct replica acts as if a batch had committed.
    pub fn on_committed(&self, by: ReplicaId, sequence: u64, batch: Digest, violations: &mut Violations) {
        let kept = self.replicas[usize::from(by.0)].decided.contains(&(sequence, batch));
        if !kept && !self.is_decided(by, sequence, batch) {
            let text =
                format!("{by} takes s{sequence} for committed, and was told of neither 2f+1 commits nor f+1 claims");
            violations.add(Checker::Certificates, text);
        }
    }

    /// That a batch committed is durable at a correct replica, which executes it again after a restart.
    pub fn on_decided(&mut self, by: ReplicaId, sequence: u64, batch: Digest, violations: &mut Violations) {
        self.on_committed(by, sequence, batch, violations);
        self.of(by).decided.insert((sequence, batch));
    }

    /// The batches of which it is durable at a replica that they committed.
    pub fn decided(&self, by: ReplicaId) -> impl Iterator<Item = (u64, Digest)> {
        self.replicas[usize::from(by.0)].decided.iter().copied()
    }

    /// A process ended, and another began: of what it was told only what is on its disk is left.
    pub fn on_restarted(&mut self, by: ReplicaId, forgot: bool) {
        let former = std::mem::take(self.of(by));
        let mut told = Told { checkpoints: former.checkpoints, forgot, ..Told::default() };
        if !forgot {
            let own = former.votes.into_iter().filter(|(_, from)| from.contains(by));
            told.votes = own.map(|(vote, _)| (vote, ReplicaSet::only(by))).collect();
            told.decided = former.decided;
        }
        *self.of(by) = told;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: Digest = Digest([1; 32]);
    const BY: ReplicaId = ReplicaId(1);

    fn vote(round: Round) -> Vote {
        Vote::new(round, 0, 5, BATCH)
    }

    fn sent(received: &mut Received, round: Round, kept: bool) -> usize {
        let mut violations = Violations::default();
        received.on_vote(BY, BY, vote(round));
        received.on_cast(BY, vote(round), kept, &mut violations);
        violations.checkers().len()
    }

    #[test]
    fn a_prepare_follows_a_proposal_of_the_primary() {
        let mut received = Received::new(Quorums::of(4));
        received.on_vote(BY, ReplicaId(2), vote(Round::Proposal));
        assert_eq!(sent(&mut received, Round::Prepare, false), 1, "another than the primary proposed it");
        assert_eq!(sent(&mut received, Round::Prepare, true), 0, "it is on the disk");
        received.on_vote(BY, ReplicaId(0), vote(Round::Proposal));
        assert_eq!(sent(&mut received, Round::Prepare, false), 0);
        received.on_restarted(BY, true);
        assert_eq!(sent(&mut received, Round::Prepare, false), 1);
        received.on_carried(0, 5, BATCH);
        assert_eq!(sent(&mut received, Round::Prepare, false), 0, "the view takes it over");
    }

    #[test]
    fn a_commit_follows_the_prepares_of_two_backups() {
        let mut received = Received::new(Quorums::of(4));
        received.on_vote(BY, ReplicaId(0), vote(Round::Proposal));
        received.on_vote(BY, ReplicaId(0), vote(Round::Prepare));
        assert_eq!(sent(&mut received, Round::Prepare, false), 0);
        assert_eq!(sent(&mut received, Round::Commit, false), 1, "the primary is no backup");
        received.on_vote(BY, ReplicaId(3), vote(Round::Prepare));
        assert_eq!(sent(&mut received, Round::Commit, false), 0);
    }

    #[test]
    fn a_state_is_asked_for_that_two_others_have() {
        let asks = |received: &Received, holders: u16| {
            let mut violations = Violations::default();
            received.on_state_asked(BY, (8, BATCH), ReplicaSet(holders), &mut violations);
            violations.checkers().is_empty()
        };
        let mut received = Received::new(Quorums::of(4));
        received.on_checkpoint(BY, BY, 8, BATCH);
        received.on_checkpoint(BY, ReplicaId(0), 8, BATCH);
        received.on_checkpoint(BY, ReplicaId(2), 8, Digest([2; 32]));
        assert!(!asks(&received, 0b0011), "itself is nobody else, and one of the two has another");
        assert!(asks(&received, 0b1001), "two hold it, as they say in view changes");
        received.on_restarted(BY, true);
        assert!(!asks(&received, 0b0001), "one of the others");
        // Found by seed 13666: a new view named what it had said itself before it forgot.
        assert!(asks(&received, 0b0011));
        received.on_checkpoint(BY, ReplicaId(3), 8, BATCH);
        assert!(asks(&received, 0) && received.told_of(BY, 8, BATCH).count() == 3);
    }

    #[test]
    fn what_counts_as_committed_was_told() {
        let committed = |received: &Received| {
            let mut violations = Violations::default();
            received.on_committed(BY, 5, BATCH, &mut violations);
            violations.checkers().is_empty()
        };
        let mut received = Received::new(Quorums::of(4));
        for from in [0, 1] {
            received.on_vote(BY, ReplicaId(from), vote(Round::Commit));
        }
        received.on_vote(BY, ReplicaId(2), Vote::new(Round::Commit, 1, 5, BATCH));
        assert!(!committed(&received), "two of one view, and one of another");
        received.on_claim(BY, ReplicaId(2), 5, BATCH);
        assert!(committed(&received), "a claim counts in every view");
        let mut received = Received::new(Quorums::of(4));
        received.on_claim(BY, ReplicaId(2), 5, BATCH);
        received.on_claim(BY, ReplicaId(2), 5, BATCH);
        assert!(!committed(&received) && !received.is_claimed(BY, 5, BATCH));
        received.on_claim(BY, ReplicaId(3), 5, BATCH);
        assert!(committed(&received) && received.is_claimed(BY, 5, BATCH));
        // What is durable holds in later lives, and nothing else.
        let mut violations = Violations::default();
        received.on_restarted(BY, false);
        assert!(!committed(&received));
        received.on_decided(BY, 5, BATCH, &mut violations);
        assert_eq!(violations.checkers(), [Checker::Certificates]);
        assert!(committed(&received) && received.decided(BY).eq([(5, BATCH)]));
    }
}
