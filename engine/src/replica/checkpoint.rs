//! Checkpoints: agreement on the state every `K` batches, after which the log below is truncated (`protocol.md CK-1` to `CK-3`, PBFT-99 section 4.3).

use super::engine_pages::EngineHeader;
use super::log::{VoteOutcome, Votes};
use super::output::{Event, Output};
use super::{Now, Reject, Replica};
use crate::numbers::{ReplicaId, SequenceNumber};
use crate::state::State;
use crate::wire::agreement::CheckpointVote;
use logothete_crypto::Digest;

/// Checkpoints voted on at a time: those of two windows above the stable one, since a replica may be a window behind the others.
const CHECKPOINTS_OPEN: usize = 4;

#[derive(Debug)]
struct Ballot {
    sequence: SequenceNumber,
    votes: Votes,
}

/// The votes on checkpoints, and this replica's own digests.
#[derive(Debug)]
pub(super) struct Checkpoints {
    interval: u64,
    ballots: [Ballot; CHECKPOINTS_OPEN],
    own: [(SequenceNumber, Digest); CHECKPOINTS_OPEN],
    pending: Option<SequenceNumber>,
}

impl Checkpoints {
    pub(super) fn new(interval: u64) -> Self {
        Self {
            interval,
            ballots: std::array::from_fn(|_| Ballot { sequence: SequenceNumber(0), votes: Votes::new() }),
            own: [(SequenceNumber(0), Digest::default()); CHECKPOINTS_OPEN],
            pending: None,
        }
    }

    /// Whether a checkpoint is taken after a number.
    pub(super) fn due_after(&self, sequence: SequenceNumber) -> bool {
        sequence.0.is_multiple_of(self.interval)
    }

    /// Whether the host owes the digest of a state.
    pub(super) fn digest_pending(&self) -> bool {
        self.pending.is_some()
    }

    pub(super) fn await_digest(&mut self, sequence: SequenceNumber) {
        assert_eq!(self.pending, None, "execution waits for one digest at a time");
        self.pending = Some(sequence);
    }

    fn index(&self, sequence: SequenceNumber) -> usize {
        (sequence.0 / self.interval) as usize % CHECKPOINTS_OPEN
    }

    /// The ballot on a number; a later number takes the place of one that fell out of the range voted on.
    fn ballot(&mut self, sequence: SequenceNumber) -> &mut Ballot {
        let ballot = &mut self.ballots[(sequence.0 / self.interval) as usize % CHECKPOINTS_OPEN];
        if ballot.sequence < sequence {
            ballot.sequence = sequence;
            ballot.votes.clear();
        }
        ballot
    }

    fn own(&self, sequence: SequenceNumber) -> Option<Digest> {
        let (held, digest) = self.own[self.index(sequence)];
        (held == sequence).then_some(digest)
    }

    /// This replica's own votes above a number, oldest first.
    pub(super) fn own_above(&self, sequence: SequenceNumber) -> impl Iterator<Item = CheckpointVote> {
        let first = sequence.0 / self.interval + 1;
        (first..first + CHECKPOINTS_OPEN as u64).filter_map(|multiple| {
            // A peer may claim any number.
            let sequence = SequenceNumber(multiple.checked_mul(self.interval)?);
            self.own(sequence).map(|digest| CheckpointVote::new(sequence, digest))
        })
    }
}

impl Replica {
    /// Brings the engine's own pages of the state up to what was executed (`SP-2`); with the service's they are the whole replicated
    /// state, and its digest is what is voted on (`CK-1`).
    pub fn write_engine_pages(&self, state: &mut State) {
        let header = EngineHeader { sequence: self.executed, timestamp_ns: self.executed_timestamp_ns };
        self.clients.write_to(state, header);
    }

    /// The host took the digest of the state for [`super::Action::Checkpoint`].
    ///
    /// # Panics
    /// If no digest is awaited.
    pub fn on_state_digest(&mut self, digest: Digest, output: &mut Output) {
        let sequence = self.checkpoints.pending.take().expect("a digest is given when it was asked for");
        assert_eq!(sequence, self.executed, "nothing is executed while a digest is awaited");
        let index = self.checkpoints.index(sequence);
        self.checkpoints.own[index] = (sequence, digest);
        let id = self.config.id;
        self.checkpoints.ballot(sequence).votes.record(id, digest);
        let vote = CheckpointVote::new(sequence, digest);
        output.send(self.others(), |bytes| vote.append(bytes));
        self.stabilise(sequence, output);
        self.execute_committed(output);
    }

    pub(super) fn on_checkpoint(
        &mut self,
        now: Now,
        from: ReplicaId,
        vote: &CheckpointVote,
        output: &mut Output,
    ) -> Result<(), Reject> {
        let sequence = vote.sequence();
        let open = self.checkpoints.interval * CHECKPOINTS_OPEN as u64;
        if !self.checkpoints.due_after(sequence) {
            return Err(Reject::OutsideWindow);
        }
        self.peers.progressed(from, sequence, self.executed, now.monotonic_ns);
        if sequence <= self.stable() {
            return Err(Reject::Duplicate);
        }
        if sequence.0 - self.stable().0 > open {
            return Err(Reject::OutsideWindow);
        }
        match self.checkpoints.ballot(sequence).votes.record(from, vote.digest) {
            VoteOutcome::Counted => {}
            VoteOutcome::Repeated => return Err(Reject::Duplicate),
            VoteOutcome::Contradicts => {
                output.event(Event::Contradiction { replica: from, sequence });
                return Err(Reject::VoteConflict);
            }
        }
        self.highest_seen = self.highest_seen.max(SequenceNumber(sequence.0.min(self.stable().0 + self.log.window())));
        let differs = self.checkpoints.own(sequence).is_some_and(|own| own != vote.digest);
        self.stabilise(sequence, output);
        if differs { Err(Reject::CheckpointDiffers) } else { Ok(()) }
    }

    /// Moves `h` to a checkpoint that `2f+1` replicas have, this one included (`CK-2`). If that many have another state, this replica's
    /// is wrong, and it says so.
    fn stabilise(&mut self, sequence: SequenceNumber, output: &mut Output) {
        let Some(own) = self.checkpoints.own(sequence) else { return };
        let strong = self.config.quorum.strong();
        if sequence > self.stable() && self.checkpoints.ballot(sequence).votes.matching(&own) >= strong {
            self.log.truncate(sequence, &mut self.bodies);
            let log = &self.log;
            self.incomplete.retain(|sequence| log.in_window(*sequence));
            output.event(Event::Stable(sequence));
        } else if sequence > self.stable()
            && !self.diverged
            && self.checkpoints.ballot(sequence).votes.others(&own) >= strong
        {
            self.diverged = true;
            output.event(Event::Diverged(sequence));
        }
    }
}
