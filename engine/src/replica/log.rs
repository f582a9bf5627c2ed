//! The log: one slot a sequence number, for the window and for the one before it.
//!
//! ```text
//!        h - L              h                h + L
//!   ------|-----------------|-----------------|------
//!         | kept for others |     window      |
//! ```
//!
//! Agreement happens in the window `h < s ≤ h + L` only (`protocol.md CK-4`). What is stable stays for one more window,
//! because the primary is never more than one window ahead of a live backup (`protocol.md BP-1`): so whatever that
//! backup lacks is still here.

use super::bodies::{Bodies, BodyRef};
use crate::limits::{PRE_PREPARED_MAX, REPLICAS_MAX};
use crate::numbers::{ReplicaId, ReplicaSet, SequenceNumber, View};
use crate::planted::{self, Bug};
use crate::wire::agreement::BatchEntry;
use crate::wire::view_change::null_batch;
use logothete_crypto::Digest;
use std::hash::{Hash, Hasher};

/// One replica, one vote: the first counts (`protocol.md NC-6`).
#[derive(Clone, Debug)]
pub struct Votes {
    from: ReplicaSet,
    digests: [Digest; REPLICAS_MAX],
}

/// What became of a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteOutcome {
    /// It is the replica's first.
    Counted,
    /// The replica said the same before.
    Repeated,
    /// The replica said something else before: this.
    Contradicts(Digest),
}

impl Votes {
    pub(super) fn new() -> Self {
        Self { from: ReplicaSet::EMPTY, digests: [Digest::default(); REPLICAS_MAX] }
    }

    /// Records a vote.
    pub fn record(&mut self, from: ReplicaId, digest: Digest) -> VoteOutcome {
        let next = ReplicaId(self.from.count().min(REPLICAS_MAX - 1) as u8);
        let from = if planted::is(Bug::VotesByMessage) { next } else { from };
        let held = &mut self.digests[usize::from(from.0)];
        if self.from.insert(from) {
            *held = digest;
            VoteOutcome::Counted
        } else if *held == digest {
            if planted::is(Bug::DuplicateSpoilsVotes) {
                self.digests.fill(Digest::ZERO);
            }
            VoteOutcome::Repeated
        } else {
            VoteOutcome::Contradicts(*held)
        }
    }

    /// How many distinct replicas voted for a digest.
    pub fn matching(&self, digest: &Digest) -> usize {
        self.voters(digest).count()
    }

    fn is_empty(&self) -> bool {
        self.count() == 0
    }

    fn count(&self) -> usize {
        self.from.count()
    }

    fn voters(&self, digest: &Digest) -> impl Iterator<Item = ReplicaId> {
        let alike = |id: &ReplicaId| self.digests[usize::from(id.0)] == *digest;
        self.from.iter().filter(move |id| alike(id) || planted::is(Bug::VotesWithoutDigest))
    }

    /// How many distinct replicas voted alike for something other than a digest: the largest such group.
    pub fn others(&self, digest: &Digest) -> usize {
        let other = |id: &ReplicaId| Some(self.digests[usize::from(id.0)]).filter(|held| held != digest);
        self.from.iter().filter_map(|id| other(&id)).map(|held| self.matching(&held)).max().unwrap_or(0)
    }

    pub(super) fn clear(&mut self) {
        self.from = ReplicaSet::EMPTY;
    }
}

impl Hash for Votes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.from.hash(state);
        self.from.iter().for_each(|id| self.digests[usize::from(id.0)].hash(state));
    }
}

/// What this replica knows of the batch with one digest.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Its digest.
    pub digest: Digest,
    /// Whether its content is here: the time and the entries.
    pub known: bool,
    /// The primary's clock.
    pub timestamp_ns: u64,
    /// Its requests, in the order of their execution.
    pub entries: Vec<BatchEntry>,
    /// The bodies that its entries name, as far as they are here.
    pub bodies: Vec<Option<BodyRef>>,
    /// How many of them are not here.
    pub bodies_missing: usize,
    /// When what is missing is asked for next.
    pub fetch_at_ns: u64,
    /// How often it was asked for.
    pub fetch_tries: u32,
    /// Its content is in the journal.
    pub persisted: bool,
}

impl Batch {
    /// Whether everything that its execution takes is here.
    pub fn is_complete(&self) -> bool {
        self.known && self.bodies_missing == 0
    }

    fn release(&mut self, bodies: &mut Bodies) {
        (self.known, self.timestamp_ns, self.persisted) = (false, 0, false);
        self.entries.clear();
        self.bodies.drain(..).flatten().for_each(|body| bodies.release(body));
        self.bodies_missing = 0;
    }
}

impl Hash for Batch {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The digest is over time and entries. Whom it is asked for next is the replica's to say.
        let Self {
            digest,
            known,
            timestamp_ns: _,
            entries: _,
            bodies,
            bodies_missing: _,
            fetch_at_ns: _,
            fetch_tries: _,
            persisted,
        } = self;
        (digest, known, persisted).hash(state);
        bodies.iter().for_each(|body| body.is_some().hash(state));
    }
}

/// How far the agreement on a number is in the present view; it only grows within a view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Nothing is accepted; a proposal may be held.
    #[default]
    Empty,
    /// A proposal is accepted, and voted for.
    PrePrepared,
    /// `2f` prepares match it.
    Prepared,
    /// `2f+1` commits match it.
    Committed,
}

/// Everything about one sequence number.
#[derive(Clone, Debug)]
pub struct Slot {
    sequence: SequenceNumber,
    /// The first proposal of the present view: a pre-prepare, or the selection of its new view.
    pub proposal: Option<Digest>,
    /// The present view's new view selected the proposal: it was agreed on before, perhaps.
    pub carried: bool,
    /// Prepares of the present view by sender.
    pub prepares: Votes,
    /// Commits of the present view by sender.
    pub commits: Votes,
    /// Who claims to have committed what, in whatever view.
    pub claims: Votes,
    /// How far it is in the present view.
    pub stage: Stage,
    /// The proposal breaks a bound: it is never accepted in this view, nor anything after it.
    pub refused: bool,
    /// What committed here, in whatever view.
    pub committed: Option<Digest>,
    /// Of set P: what prepared here last, and in which view.
    pub prepared: Option<(View, Digest)>,
    /// Of set Q: what was pre-prepared here, and in which view last.
    pub pre_prepared: Vec<(View, Digest)>,
    /// The batches that the above name. The first `batches_used` count; the rest are empty and wait to be used again.
    batches: Vec<Batch>,
    batches_used: usize,
}

impl Slot {
    fn new() -> Self {
        Self {
            sequence: SequenceNumber(0),
            proposal: None,
            carried: false,
            prepares: Votes::new(),
            commits: Votes::new(),
            claims: Votes::new(),
            stage: Stage::Empty,
            refused: false,
            committed: None,
            prepared: None,
            pre_prepared: Vec::new(),
            batches: Vec::new(),
            batches_used: 0,
        }
    }

    fn reset(&mut self, sequence: SequenceNumber, bodies: &mut Bodies) {
        self.sequence = sequence;
        self.leave_view();
        self.claims.clear();
        self.committed = None;
        self.prepared = None;
        self.pre_prepared.clear();
        self.batches[..self.batches_used].iter_mut().for_each(|batch| batch.release(bodies));
        self.batches_used = 0;
    }

    /// Forgets what is of one view only.
    pub fn leave_view(&mut self) {
        self.proposal = None;
        self.carried = false;
        self.prepares.clear();
        self.commits.clear();
        self.stage = Stage::Empty;
        self.refused = false;
    }

    /// Its place.
    pub fn sequence(&self) -> SequenceNumber {
        self.sequence
    }

    /// What is known of a batch.
    pub fn batch(&self, digest: &Digest) -> Option<&Batch> {
        self.batches().iter().find(|batch| batch.digest == *digest)
    }

    /// The same, to change.
    pub fn batch_mut(&mut self, digest: &Digest) -> Option<&mut Batch> {
        self.batches[..self.batches_used].iter_mut().find(|batch| batch.digest == *digest)
    }

    /// All batches of the number.
    pub fn batches(&self) -> &[Batch] {
        &self.batches[..self.batches_used]
    }

    /// Whether anything is known of the number.
    pub fn is_used(&self) -> bool {
        self.votes() > 0
            || self.proposal.or(self.committed).is_some()
            || self.prepared.is_some()
            || !self.pre_prepared.is_empty()
            || self.batches_used > 0
    }

    /// How many votes of the kind of which there are most.
    pub fn votes(&self) -> usize {
        self.prepares.count().max(self.commits.count()).max(self.claims.count())
    }

    /// The batch of the present view's proposal.
    pub fn proposed_batch(&self) -> Option<&Batch> {
        self.batch(&self.proposal?)
    }

    /// A batch of that digest, new and unknown if there is none yet.
    pub fn batch_or_new(&mut self, digest: Digest) -> &mut Batch {
        let held = self.batches().iter().position(|batch| batch.digest == digest);
        let at = held.unwrap_or_else(|| {
            if self.batches_used == self.batches.len() {
                self.batches.push(Batch {
                    digest,
                    known: false,
                    timestamp_ns: 0,
                    entries: Vec::new(),
                    bodies: Vec::new(),
                    bodies_missing: 0,
                    fetch_at_ns: 0,
                    fetch_tries: 0,
                    persisted: false,
                });
            }
            let batch = &mut self.batches[self.batches_used];
            let empty = !batch.known && batch.timestamp_ns == 0 && batch.bodies.is_empty();
            assert!(empty, "an unused batch holds nothing");
            (batch.digest, batch.fetch_at_ns, batch.fetch_tries) = (digest, 0, 0);
            self.batches_used += 1;
            self.batches_used - 1
        });
        &mut self.batches[at]
    }

    /// Lets go of the batches that nothing names any more.
    pub fn drop_unnamed_batches(&mut self, bodies: &mut Bodies) {
        let named = |digest: &Digest| {
            self.proposal.as_ref() == Some(digest)
                || self.committed.as_ref() == Some(digest)
                || self.pre_prepared.iter().any(|(_, held)| held == digest)
        };
        let kept: Vec<bool> = self.batches[..self.batches_used].iter().map(|batch| named(&batch.digest)).collect();
        let mut used = 0;
        for (at, kept) in kept.into_iter().enumerate() {
            if kept {
                self.batches.swap(used, at);
                used += 1;
            }
        }
        self.batches[used..self.batches_used].iter_mut().for_each(|batch| batch.release(bodies));
        self.batches_used = used;
    }

    /// How many distinct replicas committed to a digest: in this view, or in whatever view they claim. Who has committed a batch asks for nothing more
    /// of it, and may never be able to vote for it in a later view (`protocol.md NC-10`).
    pub fn committing(&self, digest: &Digest) -> usize {
        if self.claims.is_empty() {
            return self.commits.matching(digest);
        }
        let mut all = ReplicaSet::EMPTY;
        self.commits.voters(digest).chain(self.claims.voters(digest)).for_each(|id| {
            all.insert(id);
        });
        all.count()
    }

    /// Notes that a batch was pre-prepared here in a view: set Q (`protocol.md VC-3`).
    pub fn note_pre_prepared(&mut self, view: View, digest: Digest) {
        match self.pre_prepared.iter_mut().find(|(_, held)| *held == digest) {
            Some((last, _)) => *last = view,
            None => self.pre_prepared.push((view, digest)),
        }
    }

    /// Whether one more batch may be pre-prepared here without set Q growing beyond its bound.
    pub fn may_pre_prepare(&self, digest: &Digest) -> bool {
        !self.is_full() || *digest == null_batch() || self.pre_prepared.iter().any(|(_, held)| held == digest)
    }

    /// Whether set Q is at its bound: only the null batch, for which there is room beyond it, and what it holds are pre-prepared from now on
    /// (`protocol.md RB-8`).
    pub fn is_full(&self) -> bool {
        self.pre_prepared.len() >= PRE_PREPARED_MAX
    }
}

impl Hash for Slot {
    /// Votes are counted until they suffice; those that came after, and who sent the first, decide nothing any more. Nor do commits and claims of a
    /// number that is decided, in whatever view.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self {
            sequence,
            proposal,
            carried,
            prepares,
            commits,
            claims,
            stage,
            refused,
            committed,
            prepared,
            pre_prepared,
            batches,
            batches_used,
        } = self;
        (sequence, proposal, carried, (*stage).min(Stage::Prepared), refused, committed, prepared).hash(state);
        if *stage < Stage::Prepared {
            prepares.hash(state);
        }
        if committed.is_none() {
            (commits, claims).hash(state);
        }
        let mut pre_prepared = pre_prepared.clone();
        pre_prepared.sort_unstable();
        pre_prepared.hash(state);
        let mut batches: Vec<&Batch> = batches[..*batches_used].iter().collect();
        batches.sort_unstable_by_key(|batch| batch.digest);
        batches.hash(state);
    }
}

/// The slots.
#[derive(Clone, Debug, Hash)]
pub struct Log {
    slots: Box<[Slot]>,
    window: u64,
    stable: SequenceNumber,
}

impl Log {
    /// An empty log with a window of `L` numbers.
    pub fn new(window: u64) -> Self {
        let slots = (0..2 * window).map(|_| Slot::new()).collect();
        let mut log = Self { slots, window, stable: SequenceNumber(0) };
        for sequence in 1..=2 * window {
            let at = log.index(SequenceNumber(sequence));
            log.slots[at].sequence = SequenceNumber(sequence);
        }
        log
    }

    /// The last stable checkpoint, `h`.
    pub fn stable(&self) -> SequenceNumber {
        self.stable
    }

    /// The width of the window, `L`.
    pub fn window(&self) -> u64 {
        self.window
    }

    /// Whether agreement on a number may go on: `h < s ≤ h + L`.
    pub fn in_window(&self, sequence: SequenceNumber) -> bool {
        let window = self.window + u64::from(planted::is(Bug::WindowTooLong));
        sequence > self.stable && sequence.0 - self.stable.0 <= window
    }

    /// The slot of a number in the window, or of one that is kept for others.
    pub fn slot(&self, sequence: SequenceNumber) -> Option<&Slot> {
        Some(&self.slots[self.index(sequence)]).filter(|slot| slot.sequence == sequence)
    }

    /// The same, to change.
    pub fn slot_mut(&mut self, sequence: SequenceNumber) -> Option<&mut Slot> {
        let at = self.index(sequence);
        Some(&mut self.slots[at]).filter(|slot| slot.sequence == sequence)
    }

    /// Moves `h` up, and empties the slots that fall out below.
    ///
    /// # Panics
    /// If `h` would go back: a broken invariant of this replica.
    pub fn truncate(&mut self, stable: SequenceNumber, bodies: &mut Bodies) {
        assert!(stable >= self.stable, "the stable checkpoint never goes back");
        // Slots in use are numbered (h - L, h + L]; a ring of 2L holds exactly them.
        let top = |stable: SequenceNumber| stable.0.max(self.window) + self.window;
        let (from, to) = (top(self.stable), top(stable));
        self.stable = stable;
        for sequence in from.max(to.saturating_sub(2 * self.window)) + 1..=to {
            let at = self.index(SequenceNumber(sequence));
            self.slots[at].reset(SequenceNumber(sequence), bodies);
        }
    }

    /// All slots.
    pub fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter()
    }

    /// All slots, to change.
    pub fn slots_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut()
    }

    fn index(&self, sequence: SequenceNumber) -> usize {
        (sequence.0 % self.slots.len() as u64) as usize
    }
}

#[cfg(test)]
mod tests;
