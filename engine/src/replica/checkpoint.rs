//! Checkpoints: agreement on the state every `K` batches, after which the log below is truncated (`protocol.md CK-1` to `CK-3`, PBFT-99 section 4.3).

use super::clients::Admission;
use super::engine_pages::{EngineHeader, EnginePagesError};
use super::evidence::{Evidence, EvidenceKind, Proof};
use super::log::{VoteOutcome, Votes};
use super::output::{Event, Output};
use super::{Now, Reject, Replica};
use crate::journal::Record;
use crate::limits::{STALLED_NS, STATE_RETARGET_DOUBLINGS, STATE_RETARGET_NS};
use crate::numbers::{ReplicaId, ReplicaSet, SequenceNumber};
use crate::planted::{self, Bug};
use crate::state::State;
use crate::wire::agreement::CheckpointVote;
use logothete_crypto::Digest;

/// Checkpoints voted on at a time: those of two windows above the stable one, since a replica may be a window behind the others.
const CHECKPOINTS_OPEN: usize = 4;

#[derive(Clone, Debug, Hash)]
struct Ballot {
    sequence: SequenceNumber,
    votes: Votes,
}

/// A state that the host fetches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fetching {
    pub(super) target: (SequenceNumber, Digest),
    since_ns: u64,
    /// How many others it took the place of: where none is here before the next, each is given twice the time of the one before.
    replaced: u32,
    /// Who is asked.
    sources: ReplicaSet,
    /// Who of them does not hold it.
    refused: ReplicaSet,
}

/// The votes on checkpoints, and this replica's own digests.
#[derive(Clone, Debug, Hash)]
pub(super) struct Checkpoints {
    interval: u64,
    ballots: [Ballot; CHECKPOINTS_OPEN],
    own: [(SequenceNumber, Digest); CHECKPOINTS_OPEN],
    /// The host is to take this checkpoint now: nothing more is executed until it has.
    taking: Option<SequenceNumber>,
    /// Taken, and the digest is on its way: oldest first.
    awaited: Vec<SequenceNumber>,
    /// Known, but of a batch that is not committed yet: nothing is said of it.
    withheld: Option<(SequenceNumber, Digest)>,
}

impl Checkpoints {
    pub(super) fn new(interval: u64) -> Self {
        Self {
            interval,
            ballots: std::array::from_fn(|_| Ballot { sequence: SequenceNumber(0), votes: Votes::new() }),
            own: [(SequenceNumber(0), Digest::default()); CHECKPOINTS_OPEN],
            taking: None,
            awaited: Vec::with_capacity(CHECKPOINTS_OPEN),
            withheld: None,
        }
    }

    /// Whether a checkpoint is taken after a number.
    pub(super) fn due_after(&self, sequence: SequenceNumber) -> bool {
        sequence.0.is_multiple_of(self.interval)
    }

    /// Whether the host is to take a checkpoint before anything more is executed.
    pub(super) fn is_taking(&self) -> bool {
        self.taking.is_some()
    }

    /// The state after a number is known to have this digest.
    pub(super) fn note_own(&mut self, sequence: SequenceNumber, digest: Digest) {
        let index = self.index(sequence);
        self.own[index] = (sequence, digest);
    }

    pub(super) fn take(&mut self, sequence: SequenceNumber) {
        assert_eq!(self.taking, None, "one checkpoint is taken at a time");
        self.taking = Some(sequence);
    }

    /// The highest checkpoint at or below a number whose state the host has.
    fn taken_at_most(&self, sequence: SequenceNumber) -> SequenceNumber {
        let own = self.own.iter().map(|(held, _)| *held);
        own.chain(self.awaited.iter().copied()).filter(|held| *held <= sequence).max().unwrap_or_default()
    }

    /// What was taken above a number is void.
    fn forget_above(&mut self, sequence: SequenceNumber) {
        self.taking = None;
        self.awaited.retain(|awaited| *awaited <= sequence);
        self.withheld.take_if(|(withheld, _)| *withheld > sequence);
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

    pub(super) fn own(&self, sequence: SequenceNumber) -> Option<Digest> {
        let (held, digest) = self.own[self.index(sequence)];
        (held == sequence).then_some(digest)
    }

    /// The checkpoints that this replica has, from a number on, in ascending order. The initial state is one.
    pub(super) fn own_from(&self, sequence: SequenceNumber) -> impl Iterator<Item = CheckpointVote> {
        let mut own = self.own;
        own.sort_unstable_by_key(|(held, _)| *held);
        // Places that were never used hold the initial state.
        let first = own.iter().rposition(|(held, _)| held.0 == 0).unwrap_or(0);
        let held = own.into_iter().skip(first).filter(move |(held, _)| *held >= sequence);
        held.map(|(held, digest)| CheckpointVote::new(held, digest))
    }
}

impl Replica {
    /// Brings the engine's own pages of the state up to what was executed (`SP-2`); with the service's they are the whole replicated
    /// state, and its digest is what is voted on (`CK-1`).
    pub fn write_engine_pages(&self, state: &mut State) {
        let header = EngineHeader { sequence: self.executed, timestamp_ns: self.executed_timestamp_ns };
        self.clients.write_to(state, header);
    }

    /// Whether a checkpoint is still to be taken: what was executed tentatively may have been undone.
    pub fn is_taking(&self, sequence: SequenceNumber) -> bool {
        self.checkpoints.taking == Some(sequence)
    }

    /// The host took a checkpoint for [`super::Action::Checkpoint`]; execution goes on.
    ///
    /// # Panics
    /// If none was to be taken.
    pub fn on_checkpoint_taken(&mut self, now: Now, output: &mut Output) {
        let sequence = self.checkpoints.taking.take().expect("a checkpoint is taken when it was asked for");
        assert_eq!(sequence, self.executed, "nothing is executed while a checkpoint is taken");
        self.checkpoints.awaited.push(sequence);
        self.execute_committed(now, output);
    }

    /// The host knows the digest of a checkpoint that it took. One that was undone meanwhile is nothing.
    pub fn on_state_digest(&mut self, sequence: SequenceNumber, digest: Digest, output: &mut Output) {
        let Some(at) = self.checkpoints.awaited.iter().position(|awaited| *awaited == sequence) else { return };
        self.checkpoints.awaited.remove(at);
        if sequence <= self.stable() {
            return;
        }
        // No vote on what may be undone (`EX-2`).
        let may_be_undone = self.tentative.is_some_and(|tentative| tentative.0 == sequence);
        if may_be_undone && !planted::is(Bug::CheckpointOfTentative) {
            self.checkpoints.withheld = Some((sequence, digest));
        } else {
            self.vote_on_state(sequence, digest, output);
        }
    }

    /// Tells the others of a checkpoint whose digest was withheld until its batch committed.
    pub(super) fn release_checkpoint(&mut self, output: &mut Output) {
        if let Some((sequence, digest)) = self.checkpoints.withheld.take() {
            self.vote_on_state(sequence, digest, output);
        }
    }

    fn vote_on_state(&mut self, sequence: SequenceNumber, digest: Digest, output: &mut Output) {
        self.checkpoints.note_own(sequence, digest);
        let id = self.config.id;
        self.checkpoints.ballot(sequence).votes.record(id, digest);
        if !self.is_silent() {
            let vote = CheckpointVote::new(sequence, digest);
            output.promise(self.others(), |bytes| vote.append(bytes));
        }
        self.stabilise(sequence, output);
    }

    /// Undoes what was executed and did not commit: the host goes back to the last checkpoint at or below what committed, and what
    /// committed after that is executed again (`EX-3`).
    pub(super) fn undo_tentative(&mut self, output: &mut Output) {
        let Some((sequence, digest)) = self.tentative.take().filter(|_| !planted::is(Bug::TentativeKept)) else {
            return;
        };
        let committed = SequenceNumber(sequence.0 - 1);
        let checkpoint = self.checkpoints.taken_at_most(committed);
        assert!(checkpoint >= self.stable(), "what is stable committed");
        self.checkpoints.forget_above(committed);
        self.undoing = Some((sequence, digest));
        output.event(Event::RolledBack { from: sequence, to: checkpoint });
        output.restore(checkpoint);
    }

    /// The host restored the state of [`super::Action::Restore`].
    ///
    /// # Errors
    /// The pages are not this engine's.
    ///
    /// # Panics
    /// If nothing was to be restored.
    pub fn on_restored(&mut self, now: Now, state: &State, output: &mut Output) -> Result<(), EnginePagesError> {
        let (sequence, digest) = self.undoing.take().expect("a state is restored when that was asked for");
        self.read_engine_pages(state)?;
        self.hold_again(sequence, digest);
        self.execute_committed(now, output);
        Ok(())
    }

    /// The requests of a batch that was undone wait again: their clients may not send them once more, and who does not know of them suspects nobody.
    fn hold_again(&mut self, sequence: SequenceNumber, digest: Digest) {
        let (clients, bodies) = (&mut self.clients, &mut self.bodies);
        let batch = self.log.slot(sequence).and_then(|slot| slot.batch(&digest));
        let entries = batch.into_iter().flat_map(|batch| batch.entries.iter().zip(&batch.bodies));
        for (name, body) in entries.filter_map(|(entry, body)| Some((entry.name(), (*body)?))) {
            if clients.knows(name.client)
                && bodies.is_authentic(body)
                && clients.admission(name, bodies) == Admission::New
                && clients.has_room(name.client, bodies.packet_bytes(body))
            {
                bodies.retain(body);
                clients.hold(name, body, bodies);
            }
        }
    }

    pub(super) fn read_engine_pages(&mut self, state: &State) -> Result<(), EnginePagesError> {
        let header = self.clients.read_from(state, &mut self.bodies)?;
        (self.executed, self.executed_timestamp_ns) = (header.sequence, header.timestamp_ns);
        Ok(())
    }

    /// Asks for the state of a checkpoint that `f+1` replicas vouch for, where it is out of this replica's reach otherwise (`CK-5`).
    pub(super) fn seek_state(&mut self, now: Now, output: &mut Output) {
        let weak = if planted::is(Bug::StateOfOne) { 1 } else { self.config.quorum.weak() };
        let Some((target, sources)) = self.peers.vouched_checkpoint(self.committed(), weak) else { return };
        // Whoever has what is lacking may have got it with a state, and cannot say what committed.
        let stalled = |since| now.monotonic_ns.saturating_sub(since) >= STALLED_NS;
        let reach = self.stable().0 + self.log.window();
        let out_of_reach = target.0.0 > reach
            || self.fell_behind
            || self.lacks_state()
            || self.pulse.stuck_since_ns.is_some_and(stalled);
        if out_of_reach {
            self.fetch_state(now, target, sources, output);
            // What was executed tentatively need not be what committed, and nobody who came to this by its state can say what did.
            if self.tentative.is_some_and(|(sequence, _)| sequence <= target.0) {
                self.undo_tentative(output);
            }
        }
    }

    /// Has the host fetch a state, or a later one than it is fetching.
    pub(super) fn fetch_state(
        &mut self,
        now: Now,
        target: (SequenceNumber, Digest),
        sources: ReplicaSet,
        output: &mut Output,
    ) {
        let now_ns = now.monotonic_ns;
        let mut fetching = Fetching { target, since_ns: now_ns, replaced: 0, sources, refused: ReplicaSet::EMPTY };
        if let Some(former) = &self.fetching {
            let more = target == former.target && sources.iter().any(|id| !former.sources.contains(id));
            let patience_ns = STATE_RETARGET_NS << former.replaced.min(STATE_RETARGET_DOUBLINGS);
            let later = target.0 > former.target.0 && now_ns.saturating_sub(former.since_ns) >= patience_ns;
            if !more && !later {
                return;
            }
            fetching.replaced = former.replaced + 1;
            if more {
                let asked = ReplicaSet(former.sources.0 | sources.0);
                fetching = Fetching { sources: asked, ..*former };
            }
        }
        self.fetching = Some(fetching);
        output.fetch_state(target, sources);
    }

    /// A replica does not hold the state that the host fetches, whatever it voted for. When `f+1` say so one of them is correct, the others may have let go of it as
    /// well, and it gives way to a later one at once; and where it is not vouched for any more, to an earlier one (`ST-7`).
    pub fn on_state_refused(&mut self, by: ReplicaId) {
        let weak = self.config.quorum.weak();
        let Some(fetching) = &mut self.fetching else { return };
        fetching.refused.insert(by);
        if fetching.refused.count() >= weak {
            fetching.since_ns = 0;
        }
        self.peers.lost_checkpoint(by, fetching.target.0);
        if !self.peers.is_vouched(fetching.target, weak) {
            self.fetching = None;
        }
    }

    /// Whether a state that the host fetched is still of use; if so it is to be installed, and given with [`Replica::on_state_fetched`].
    pub fn wants_state(&self, sequence: SequenceNumber) -> bool {
        sequence > self.executed && self.undoing.is_none() && self.checkpoints.taking.is_none()
    }

    /// The host installed a state that it had fetched; its digest is that of a checkpoint that `f+1` replicas vouched for.
    ///
    /// # Errors
    /// The pages are not this engine's: the replicas run different versions.
    pub fn on_state_fetched(
        &mut self,
        now: Now,
        target: (SequenceNumber, Digest),
        state: &State,
        output: &mut Output,
    ) -> Result<(), EnginePagesError> {
        assert!(self.wants_state(target.0), "the host asks before it installs a state");
        self.read_engine_pages(state)?;
        assert_eq!(self.executed, target.0, "a checkpoint's state is that of its number");
        self.tentative = None;
        self.fetching = None;
        self.fell_behind = false;
        self.checkpoints.forget_above(SequenceNumber(0));
        self.checkpoints.note_own(target.0, target.1);
        if target.0 > self.stable() {
            self.make_stable(target.0, output);
        }
        self.highest_seen = self.highest_seen.max(target.0);
        output.event(Event::StateFetched(target.0));
        self.vote_on_state(target.0, target.1, output);
        self.enter_view(now, output);
        self.execute_committed(now, output);
        Ok(())
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
        self.peers.checkpointed(from, sequence, vote.digest);
        self.seek_state(now, output);
        if sequence <= self.stable() {
            return Err(Reject::Duplicate);
        }
        if sequence.0 - self.stable().0 > open {
            return Err(Reject::OutsideWindow);
        }
        match self.checkpoints.ballot(sequence).votes.record(from, vote.digest) {
            VoteOutcome::Counted => {}
            VoteOutcome::Repeated => return Err(Reject::Duplicate),
            VoteOutcome::Contradicts(held) => {
                let (kind, other, proof) = (EvidenceKind::Checkpoint, vote.digest, Proof::Mac);
                let evidence = Evidence { replica: from, kind, view: None, sequence, held, other, proof };
                self.evidence.record(evidence, output);
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
        let quorum = self.config.quorum;
        let strong = if planted::is(Bug::StableWeak) { quorum.weak() } else { quorum.strong() };
        if sequence > self.stable() && self.checkpoints.ballot(sequence).votes.matching(&own) >= strong {
            self.make_stable(sequence, output);
        } else if sequence > self.stable()
            && !self.diverged
            && self.checkpoints.ballot(sequence).votes.others(&own) >= strong
        {
            self.diverged = true;
            output.event(Event::Diverged(sequence));
        }
    }

    pub(super) fn make_stable(&mut self, sequence: SequenceNumber, output: &mut Output) {
        let digest = self.checkpoints.own(sequence).expect("only a checkpoint that is here becomes stable");
        self.promises.record(&Record::Stable { sequence, digest }, output);
        self.promises.note_stable(sequence);
        self.checkpoints.awaited.retain(|awaited| *awaited > sequence);
        self.log.truncate(sequence, &mut self.bodies);
        let log = &self.log;
        self.incomplete.retain(|(sequence, _)| log.in_window(*sequence));
        self.accepted = self.accepted.max(sequence);
        self.proposed = self.proposed.max(sequence);
        output.event(Event::Stable(sequence));
    }

    /// Whether the state is at a checkpoint from which a new view starts, or above: `f+1` replicas hold it, so it is right (`VC-7`).
    /// Where it is below, the state is fetched from those that hold it.
    pub(super) fn reach_checkpoint(
        &mut self,
        now: Now,
        checkpoint: (SequenceNumber, Digest),
        holders: ReplicaSet,
        output: &mut Output,
    ) -> bool {
        if let Some((sequence, digest)) = self.checkpoints.withheld.filter(|withheld| withheld.0 == checkpoint.0) {
            // f+1 hold it, so what was executed tentatively up to it committed, or something else did.
            if digest == checkpoint.1 {
                self.tentative.take_if(|tentative| tentative.0 == sequence);
                self.release_checkpoint(output);
            } else {
                self.undo_tentative(output);
                return false;
            }
        }
        match self.checkpoints.own(checkpoint.0) {
            Some(own) if own == checkpoint.1 => {
                self.make_stable(checkpoint.0, output);
                true
            }
            Some(_) => {
                if !std::mem::replace(&mut self.diverged, true) {
                    output.event(Event::Diverged(checkpoint.0));
                }
                false
            }
            None => {
                if checkpoint.0 > self.executed {
                    self.fetch_state(now, checkpoint, holders, output);
                }
                false
            }
        }
    }
}
