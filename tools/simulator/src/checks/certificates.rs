//! C11, ghost certificates: whenever a correct replica says or acts as if something had prepared, committed or become stable, so many distinct replicas
//! really sent the votes that it takes. Of the correct ones it is known what they sent; each faulty one may have sent anything, once.
//!
//! What the replica says that it received plays no part in it. That it waited for what it needs is looked at besides, from what really reached
//! it ([`super::received`]).

use super::quorums::Quorums;
use super::violations::{Checker, Violations};
use super::vote::{Ballot, Round, Vote};
use logothete_crypto::Digest;
use logothete_engine::numbers::{ReplicaId, ReplicaSet};
use logothete_engine::wire::view_change::{NewView, ViewChange};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Who really sent what.
#[derive(Debug)]
pub struct Certificates {
    quorums: Quorums,
    /// Who was ever faulty otherwise than by being silent for good.
    faulty: ReplicaSet,
    /// Who of the correct ones stands for a batch in a round of a view: the primary of the first round by its proposal, or by its new view.
    votes: BTreeMap<(Ballot, Digest), ReplicaSet>,
    checkpoints: BTreeMap<(u64, Digest), ReplicaSet>,
    /// Which correct one says in a view change that it holds a checkpoint.
    holders: BTreeMap<(u64, Digest), ReplicaSet>,
    /// Checkpoints from which right new views start.
    starts: BTreeSet<(u64, Digest)>,
    /// The highest stable checkpoint of each that was looked at, and what it fetched last.
    stable: Vec<u64>,
    fetched: Vec<u64>,
    /// What was said in the present duty cycle, whose packets leave in no particular order.
    claims: Vec<(ReplicaId, Claim)>,
}

/// What a correct replica says, or acts by.
#[derive(Debug)]
enum Claim {
    /// A batch prepared in a view.
    Prepared(Vote),
    /// It committed, in whatever view.
    Committed(u64, Digest),
    /// Some batch of a number did: prepare, or commit.
    Replied(u64, Round),
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prepared(vote) => write!(f, "sent a {}", vote.ballot),
            Self::Committed(sequence, _) => write!(f, "takes s{sequence} for committed"),
            Self::Replied(sequence, round) => write!(f, "replied from s{sequence} after a quorum's {round}"),
        }
    }
}

impl Certificates {
    pub fn new(quorums: Quorums) -> Self {
        Self {
            quorums,
            faulty: ReplicaSet::EMPTY,
            votes: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            holders: BTreeMap::new(),
            starts: BTreeSet::new(),
            stable: vec![0; quorums.replicas],
            fetched: vec![0; quorums.replicas],
            claims: Vec::new(),
        }
    }

    /// A replica is faulty, from its first turn as such on and for good.
    pub fn on_faulty(&mut self, id: ReplicaId) {
        self.faulty.insert(id);
    }

    pub fn faulty(&self) -> ReplicaSet {
        self.faulty
    }

    /// Who may have sent something that these correct ones sent.
    fn may_have(&self, correct: ReplicaSet) -> ReplicaSet {
        ReplicaSet(self.faulty.0 | correct.0)
    }

    /// A correct replica sent a vote, or has it on its disk for good, where it counts for itself.
    pub fn on_vote(&mut self, by: ReplicaId, vote: Vote) {
        // A primary's proposal counts in the round of the prepares: it sends none.
        let round = if vote.ballot.round == Round::Commit { Round::Commit } else { Round::Prepare };
        let ballot = Ballot { round, ..vote.ballot };
        self.votes.entry((ballot, vote.batch)).or_insert(ReplicaSet::EMPTY).insert(by);
    }

    /// A correct primary's new view proposes all that it selects.
    pub fn on_new_view(&mut self, by: ReplicaId, content: &NewView<'_>) {
        let first = content.checkpoint.0.0 + 1;
        for (sequence, batch) in (first..).zip(content.selection) {
            self.on_vote(by, Vote::new(Round::Proposal, content.view.0, sequence, *batch));
        }
    }

    /// A new view follows from what it names: what it starts from is stable.
    pub fn on_start(&mut self, sequence: u64, digest: Digest) {
        self.starts.insert((sequence, digest));
    }

    pub fn on_checkpoint(&mut self, by: ReplicaId, sequence: u64, digest: Digest) {
        self.checkpoints.entry((sequence, digest)).or_insert(ReplicaSet::EMPTY).insert(by);
    }

    pub fn on_view_change(&mut self, by: ReplicaId, content: &ViewChange<'_>) {
        for held in content.checkpoints {
            self.holders.entry((held.sequence().0, held.digest)).or_insert(ReplicaSet::EMPTY).insert(by);
        }
    }

    fn voters(&self, vote: Vote) -> ReplicaSet {
        self.may_have(self.votes.get(&(vote.ballot, vote.batch)).copied().unwrap_or(ReplicaSet::EMPTY))
    }

    /// The votes of a round on a number, in whatever view.
    fn of_number(&self, round: Round, sequence: u64) -> impl Iterator<Item = (Digest, ReplicaSet)> {
        let ballot = |view| Ballot { sequence, round, view };
        let range = (ballot(0), Digest::ZERO)..=(ballot(u64::MAX), Digest([0xff; 32]));
        self.votes.range(range).map(|((_, batch), voters)| (*batch, self.may_have(*voters)))
    }

    /// A correct replica sends a commit: the batch prepared there.
    pub fn on_commit_sent(&mut self, by: ReplicaId, vote: Vote) {
        self.claims.push((by, Claim::Prepared(vote)));
    }

    /// A correct replica takes a batch for committed, or says that it does.
    pub fn on_committed(&mut self, by: ReplicaId, sequence: u64, batch: Digest) {
        self.claims.push((by, Claim::Committed(sequence, batch)));
    }

    /// A correct replica replied with what it executed at a number, as committed or as tentative.
    pub fn on_replied(&mut self, by: ReplicaId, sequence: u64, committed: bool) {
        let round = if committed { Round::Commit } else { Round::Prepare };
        self.claims.push((by, Claim::Replied(sequence, round)));
    }

    /// A duty cycle is over: what was said in it is looked at.
    pub fn on_cycle_end(&mut self, violations: &mut Violations) {
        let strong = self.quorums.strong;
        for (by, claim) in std::mem::take(&mut self.claims) {
            let voters = match claim {
                Claim::Prepared(vote) => {
                    let Ballot { view, sequence, .. } = vote.ballot;
                    self.voters(Vote::new(Round::Prepare, view, sequence, vote.batch))
                }
                Claim::Committed(sequence, batch) => {
                    largest(self.of_number(Round::Commit, sequence).filter(|(held, _)| *held == batch))
                }
                Claim::Replied(sequence, round) => largest(self.of_number(round, sequence)),
            };
            if voters.count() < strong {
                let text = format!("{by} {claim}, and of its votes only {voters:?} may have sent any");
                violations.add(Checker::Certificates, text);
            }
        }
    }

    /// A correct replica fetched the state after a number.
    pub fn on_fetched(&mut self, by: ReplicaId, sequence: u64) {
        self.fetched[usize::from(by.0)] = sequence;
    }

    /// Who may say in view changes that it holds a checkpoint: nobody, where no correct one does.
    pub fn may_hold(&self, sequence: u64, digest: Digest) -> ReplicaSet {
        self.holders.get(&(sequence, digest)).map_or(ReplicaSet::EMPTY, |holders| self.may_have(*holders))
    }

    /// A correct replica's last stable checkpoint, the digest that correct replicas told of the state after it, and who told this one of it.
    pub fn on_stable(
        &mut self,
        by: ReplicaId,
        sequence: u64,
        (digest, told_by): (Option<Digest>, ReplicaSet),
        violations: &mut Violations,
    ) {
        let at = usize::from(by.0);
        if sequence <= self.stable[at] {
            return;
        }
        self.stable[at] = sequence;
        let Some(digest) = digest else {
            violations.add(Checker::Certificates, format!("{by} has s{sequence} stable, on whose state nobody voted"));
            return;
        };
        let told = |by: &BTreeMap<(u64, Digest), ReplicaSet>| by.get(&(sequence, digest)).map_or(0, |voters| voters.0);
        let voted = ReplicaSet(told_by.0 | ReplicaSet::only(by).0);
        let held = self.may_have(ReplicaSet(told(&self.checkpoints) | told(&self.holders)));
        let fetched = self.fetched[at] == sequence && held.without(by).count() >= self.quorums.weak;
        if voted.count() < self.quorums.strong && !fetched && !self.starts.contains(&(sequence, digest)) {
            let text = format!("{by} has s{sequence} stable, on whose state {voted:?} voted, as far as it was told");
            violations.add(Checker::Certificates, text);
        }
    }

    /// A process ended, and another began: what was stable there before is again, where it did not forget it.
    pub fn on_restarted(&mut self, by: ReplicaId, forgot: bool) {
        if forgot {
            self.stable[usize::from(by.0)] = 0;
        }
    }
}

/// The largest of these sets.
fn largest(votes: impl Iterator<Item = (Digest, ReplicaSet)>) -> ReplicaSet {
    votes.map(|(_, voters)| voters).max_by_key(|voters| voters.count()).unwrap_or(ReplicaSet::EMPTY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_engine::numbers::{SequenceNumber, View};
    use logothete_engine::wire::agreement::CheckpointVote;

    const BATCH: Digest = Digest([1; 32]);

    fn vote(round: Round, by: u8, certificates: &mut Certificates) {
        certificates.on_vote(ReplicaId(by), Vote::new(round, 0, 5, BATCH));
    }

    fn commit() -> Vote {
        Vote::new(Round::Commit, 0, 5, BATCH)
    }

    fn found(certificates: &mut Certificates, says: impl FnOnce(&mut Certificates)) -> usize {
        let mut violations = Violations::default();
        says(certificates);
        certificates.on_cycle_end(&mut violations);
        violations.checkers().len()
    }

    #[test]
    fn a_commit_takes_a_quorum_that_prepared() {
        let mut certificates = Certificates::new(Quorums::of(4));
        vote(Round::Proposal, 0, &mut certificates);
        vote(Round::Prepare, 1, &mut certificates);
        // The primary's prepare, were it to send one, makes no second vote, and a repetition none either.
        vote(Round::Prepare, 0, &mut certificates);
        vote(Round::Prepare, 1, &mut certificates);
        assert_eq!(found(&mut certificates, |held| held.on_commit_sent(ReplicaId(1), commit())), 1);
        assert_eq!(found(&mut certificates, |held| held.on_replied(ReplicaId(1), 5, false)), 1);
        vote(Round::Prepare, 2, &mut certificates);
        assert_eq!(found(&mut certificates, |held| held.on_commit_sent(ReplicaId(1), commit())), 0);
        assert_eq!(found(&mut certificates, |held| held.on_replied(ReplicaId(1), 5, false)), 0);
        let other = Vote::new(Round::Commit, 0, 5, Digest([2; 32]));
        assert_eq!(found(&mut certificates, |held| held.on_commit_sent(ReplicaId(1), other)), 1);
        let later = Vote::new(Round::Commit, 1, 5, BATCH);
        assert_eq!(found(&mut certificates, |held| held.on_commit_sent(ReplicaId(1), later)), 1);
    }

    #[test]
    fn a_faulty_replica_may_have_voted_once() {
        let mut certificates = Certificates::new(Quorums::of(4));
        certificates.on_faulty(ReplicaId(3));
        vote(Round::Commit, 3, &mut certificates);
        vote(Round::Commit, 0, &mut certificates);
        assert_eq!(found(&mut certificates, |held| held.on_committed(ReplicaId(0), 5, BATCH)), 1);
        assert_eq!(found(&mut certificates, |held| held.on_replied(ReplicaId(0), 5, true)), 1);
        vote(Round::Commit, 1, &mut certificates);
        assert_eq!(found(&mut certificates, |held| held.on_committed(ReplicaId(0), 5, BATCH)), 0);
        assert_eq!(found(&mut certificates, |held| held.on_replied(ReplicaId(0), 5, true)), 0);
    }

    /// Votes of several views make no commit together.
    #[test]
    fn a_commit_is_of_one_view() {
        let mut certificates = Certificates::new(Quorums::of(4));
        vote(Round::Commit, 0, &mut certificates);
        vote(Round::Commit, 1, &mut certificates);
        certificates.on_vote(ReplicaId(2), Vote::new(Round::Commit, 1, 5, BATCH));
        assert_eq!(found(&mut certificates, |held| held.on_committed(ReplicaId(0), 5, BATCH)), 1);
    }

    #[test]
    fn a_new_view_proposes_what_it_selects() {
        let mut certificates = Certificates::new(Quorums::of(4));
        let (checkpoint, selection) = ((SequenceNumber(4), Digest([0; 32])), [BATCH]);
        let named = &[][..];
        let content =
            NewView { view: View(1), epoch: 0, replica: ReplicaId(1), checkpoint, named, selection: &selection };
        certificates.on_new_view(ReplicaId(1), &content);
        for backup in [2, 3] {
            certificates.on_vote(ReplicaId(backup), Vote::new(Round::Prepare, 1, 5, BATCH));
        }
        let vote = Vote::new(Round::Commit, 1, 5, BATCH);
        assert_eq!(found(&mut certificates, |held| held.on_commit_sent(ReplicaId(2), vote)), 0);
    }

    #[test]
    fn a_stable_checkpoint_takes_a_quorum_or_a_right_way_to_it() {
        let state = Digest([7; 32]);
        let stable_by = |certificates: &mut Certificates, by: u8, sequence: u64, told_by: u16| {
            let mut violations = Violations::default();
            certificates.on_stable(ReplicaId(by), sequence, (Some(state), ReplicaSet(told_by)), &mut violations);
            violations.checkers().len()
        };
        let stable =
            |certificates: &mut Certificates, by: u8, sequence: u64| stable_by(certificates, by, sequence, 0b0101);
        let mut certificates = Certificates::new(Quorums::of(4));
        assert_eq!(stable_by(&mut certificates, 1, 8, 0b0001), 1, "itself and one more");
        assert_eq!(stable_by(&mut certificates, 3, 8, 0b0101), 0, "two, and itself");
        assert_eq!(stable(&mut certificates, 1, 8), 0, "it was told");
        let stable = |certificates: &mut Certificates, by: u8, sequence: u64| stable_by(certificates, by, sequence, 0);
        // What two vouch for is good enough for who fetched it.
        certificates.on_checkpoint(ReplicaId(0), 16, state);
        certificates.on_fetched(ReplicaId(1), 16);
        assert_eq!(stable(&mut certificates, 1, 16), 1, "one vouches for it");
        let checkpoints = [CheckpointVote::new(SequenceNumber(16), state)];
        let (view, epoch, replica, stable_last) = (View(1), 0, ReplicaId(2), SequenceNumber(8));
        let content = ViewChange {
            view,
            epoch,
            replica,
            stable: stable_last,
            checkpoints: &checkpoints,
            prepared: &[],
            pre_prepared: &[],
        };
        certificates.on_view_change(ReplicaId(2), &content);
        certificates.on_fetched(ReplicaId(3), 16);
        assert_eq!(stable(&mut certificates, 3, 16), 0, "two do");
        // And so is what a new view starts from.
        assert_eq!(stable(&mut certificates, 0, 24), 1);
        certificates.on_start(24, state);
        assert_eq!(stable(&mut certificates, 2, 24), 0);
        let mut violations = Violations::default();
        certificates.on_stable(ReplicaId(2), 32, (None, ReplicaSet(0b1111)), &mut violations);
        assert_eq!(violations.checkers(), [Checker::Certificates]);
    }
}
