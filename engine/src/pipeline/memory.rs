//! What a replica remembers over a restart: the journal and the durable checkpoints, as the orderer's agent uses them (`protocol.md JR-1`,
//! `RC-1`).
//!
//! The core hands over records and messages in order. Records go to the journal; a message that bears a promise waits until the records
//! before it are durable. Every so often the newest stable checkpoint is written in the background, and lets segments of the journal go.

use super::keeper::Keeper;
use super::outbox::Outbox;
use crate::journal::checkpoint_store::BeginError;
use crate::journal::{AppendError, FullReason, JournalError, JournalState, Mark, Record, Trouble};
use crate::numbers::SequenceNumber;
use crate::state::Snapshot;
use crate::wire::Audience;
use std::collections::VecDeque;
use std::ops::Range;

/// While a write is under way its end is looked for this often.
const POLL_NS: u64 = 50_000;

/// Messages that wait for the disk; beyond that they are dropped.
const HELD_BYTES_MAX: usize = 16 << 20;

/// Records that wait because the disk has no room; with more of them the replica gives up.
const BACKLOG_BYTES_MAX: usize = 64 << 20;

/// A journal that is at its bound for so long, with no checkpoint under way, has no room any more. What a checkpoint let go of is at hand sooner.
const STUCK_NS: u64 = 1_000_000_000;

/// Messages that wait for one record.
#[derive(Debug, Default)]
struct Held {
    record: u64,
    bytes: Vec<u8>,
    messages: Vec<(Audience, Range<usize>)>,
}

/// A checkpoint that is to be written when everything up to a record is durable.
#[derive(Debug)]
struct Planned {
    sequence: SequenceNumber,
    snapshot: Snapshot,
    needed: Mark,
    after: u64,
}

/// The journal and the checkpoints of one replica.
pub struct Memory {
    keeper: Box<dyn Keeper>,
    /// A checkpoint is written when the journal has taken so many bytes of its disk since the last one.
    checkpoint_every_bytes: u64,
    /// The mark of the last record of a former life.
    base: Mark,
    /// The first record that the last durable checkpoint needs.
    needed: Mark,
    /// Records handed over so far.
    records: u64,
    durable: u64,
    /// Records that the journal had no room for yet, encoded.
    backlog: VecDeque<Vec<u8>>,
    held: VecDeque<Held>,
    spare: Vec<Held>,
    /// What the journal had taken of its disk when the last checkpoint was planned.
    written_before: u64,
    /// The next checkpoint is due at once.
    hurried: bool,
    /// The checkpoint that is being written, and the first record that it needs.
    writing: Option<(SequenceNumber, Mark)>,
    planned: Option<Planned>,
    /// The last checkpoint that became durable: to write it once more would let nothing go.
    written: SequenceNumber,
    held_bytes: usize,
    poll_due_ns: u64,
    backlog_bytes: usize,
    /// No checkpoint will be written any more.
    checkpoints_failed: bool,
    /// Since when the journal has been at its bound, with no checkpoint under way that could make room.
    stuck_since_ns: Option<u64>,
    trouble: Option<Trouble>,
    trouble_told: Option<Trouble>,
}

impl Memory {
    /// Over a keeper. `base` is the mark of the last record of a former life, `needed` that of the first record that its checkpoint needs.
    pub fn new(keeper: Box<dyn Keeper>, base: Mark, needed: Mark, checkpoint_every_bytes: u64) -> Self {
        Self {
            keeper,
            checkpoint_every_bytes,
            base,
            needed,
            records: 0,
            durable: 0,
            backlog: VecDeque::new(),
            held: VecDeque::new(),
            spare: Vec::new(),
            written_before: 0,
            hurried: false,
            writing: None,
            planned: None,
            written: SequenceNumber(0),
            held_bytes: 0,
            poll_due_ns: u64::MAX,
            backlog_bytes: 0,
            checkpoints_failed: false,
            stuck_since_ns: None,
            trouble: None,
            trouble_told: None,
        }
    }

    /// Takes a record, encoded.
    pub(super) fn persist(&mut self, bytes: &[u8]) {
        self.records += 1;
        if self.trouble == Some(Trouble::Failed) || (self.backlog.is_empty() && self.append(bytes)) {
            return;
        }
        self.backlog_bytes += bytes.len();
        if self.backlog_bytes > BACKLOG_BYTES_MAX {
            // From now on the journal has gaps: nothing may ever be promised on it again.
            self.give_up();
            return;
        }
        self.backlog.push_back(bytes.to_vec());
    }

    fn give_up(&mut self) {
        self.trouble = Some(Trouble::Failed);
        self.backlog.clear();
        self.held.clear();
        self.held_bytes = 0;
    }

    fn append(&mut self, bytes: &[u8]) -> bool {
        let (record, _) = Record::decode(bytes).expect("a record that was just encoded");
        match self.keeper.append(&record) {
            Ok(_) => true,
            Err(AppendError::Busy | AppendError::Full(_) | AppendError::Failed(_)) => false,
            Err(error @ AppendError::TooLong { .. }) => panic!("records are sized to fit a group: {error}"),
        }
    }

    /// Holds a message that bears a promise until everything persisted so far is durable; at once where it is.
    pub(super) fn hold(&mut self, audience: Audience, message: &[u8], outbox: &mut Outbox) {
        if self.trouble == Some(Trouble::Failed) {
            return;
        }
        if self.durable >= self.records && self.held.is_empty() {
            outbox.add(audience, message);
            return;
        }
        if self.held_bytes + message.len() > HELD_BYTES_MAX {
            // To the others it is lost, and they ask for it again.
            return;
        }
        self.held_bytes += message.len();
        if self.held.back().is_none_or(|held| held.record != self.records) {
            let mut held = self.spare.pop().unwrap_or_default();
            held.record = self.records;
            self.held.push_back(held);
        }
        let held = self.held.back_mut().expect("one was just added");
        let start = held.bytes.len();
        held.bytes.extend_from_slice(message);
        held.messages.push((audience, start..held.bytes.len()));
    }

    /// Looks how far the disk is, and starts the next write. Returns up to which record everything is durable, if that is news; what waited
    /// for it leaves.
    pub(super) fn poll(&mut self, now_ns: u64, outbox: &mut Outbox) -> Option<u64> {
        let mark = self.keeper.poll();
        while let Some(bytes) = self.backlog.pop_front() {
            if !self.append(&bytes) {
                self.backlog.push_front(bytes);
                break;
            }
            self.backlog_bytes -= bytes.len();
        }
        let durable = mark.0.saturating_sub(self.base.0);
        self.look_for_trouble(now_ns, durable);
        if self.trouble == Some(Trouble::Failed) {
            self.poll_due_ns = u64::MAX;
            return None;
        }
        let busy = durable < self.records || self.writing.is_some() || self.planned.is_some();
        self.poll_due_ns = if busy { now_ns + POLL_NS } else { u64::MAX };
        self.finish_checkpoint();
        if durable <= self.durable {
            return None;
        }
        self.durable = durable;
        self.begin_checkpoint();
        while self.held.front().is_some_and(|held| held.record <= durable) {
            let mut held = self.held.pop_front().expect("it was just looked at");
            for (audience, range) in held.messages.drain(..) {
                outbox.add(audience, &held.bytes[range]);
            }
            self.held_bytes -= held.bytes.len();
            held.bytes.clear();
            self.spare.push(held);
        }
        Some(durable)
    }

    /// What the journal says of its disk, where so many records are durable.
    fn look_for_trouble(&mut self, now_ns: u64, durable: u64) {
        let stuck_since_ns = self.stuck_since_ns.take();
        match self.keeper.state() {
            _ if self.trouble == Some(Trouble::Failed) => {}
            JournalState::Writing if self.trouble == Some(Trouble::Full) => self.trouble = None,
            JournalState::Writing => {}
            JournalState::Full(reason) => {
                self.trouble = Some(Trouble::Full);
                let begins = self.planned.as_ref().is_some_and(|planned| planned.after <= durable);
                if *reason == FullReason::Bound && self.writing.is_none() && !begins {
                    let since_ns = stuck_since_ns.unwrap_or(now_ns);
                    self.stuck_since_ns = Some(since_ns);
                    // A checkpoint begins with a record, for which there will be no room.
                    if now_ns.saturating_sub(since_ns) >= STUCK_NS {
                        self.give_up();
                    }
                }
            }
            JournalState::Failed(_) => self.give_up(),
        }
    }

    /// When [`Memory::poll`] has something to look for.
    pub(super) fn deadline_ns(&self) -> u64 {
        self.poll_due_ns
    }

    /// Whether a checkpoint is due, where `stable` is the newest that there is.
    pub(super) fn wants_checkpoint(&self, stable: SequenceNumber) -> bool {
        // What failed for want of room is tried again when as much was written once more.
        let hopeless = matches!(self.trouble, Some(Trouble::Failed));
        self.writing.is_none()
            && self.planned.is_none()
            && stable > self.written
            && (self.hurried || self.keeper.written_bytes() >= self.written_before + self.checkpoint_every_bytes)
            && !hopeless
            && !self.checkpoints_failed
    }

    /// Writes a stable checkpoint in the background, once the records up to `after` are durable, which say how the replica stands to its
    /// view. `record` is the first that a start from it needs, 0 for one of a former life.
    pub(super) fn plan_checkpoint(&mut self, sequence: SequenceNumber, snapshot: Snapshot, record: u64, after: u64) {
        let needed = if record == 0 { self.needed } else { Mark(self.base.0 + record) };
        self.planned = Some(Planned { sequence, snapshot, needed, after });
        (self.written_before, self.hurried) = (self.keeper.written_bytes(), false);
    }

    /// The next checkpoint is due at once.
    pub(super) fn hurry_checkpoint(&mut self) {
        self.hurried = true;
    }

    /// Begins the checkpoint that is planned when the standing is durable that was recorded with it.
    fn begin_checkpoint(&mut self) {
        let durable = self.durable;
        let Some(planned) = self.planned.take_if(|planned| planned.after <= durable) else { return };
        match self.keeper.begin_checkpoint(planned.sequence, planned.snapshot, planned.needed) {
            Ok(()) => self.writing = Some((planned.sequence, planned.needed)),
            Err(BeginError::Busy) => self.on_checkpoint_lost(true),
            Err(BeginError::Failed(error)) => self.on_checkpoint_lost(error.is_no_room()),
        }
    }

    /// A checkpoint was not written; whether the next one may be.
    fn on_checkpoint_lost(&mut self, may_be_tried_again: bool) {
        self.checkpoints_failed |= !may_be_tried_again;
        self.trouble = self.trouble.or(Some(Trouble::Checkpoint));
    }

    fn finish_checkpoint(&mut self) {
        match self.keeper.poll_checkpoint() {
            Ok(None) => {}
            Ok(Some(_)) => {
                let (sequence, needed) = self.writing.take().expect("only what was begun ends");
                (self.written, self.needed) = (sequence, needed);
                self.keeper.trim(needed);
            }
            Err(error) => {
                self.writing = None;
                self.on_checkpoint_lost(error.is_no_room());
            }
        }
    }

    /// What does not work, if that was not told yet.
    pub(super) fn trouble_that_is_news(&mut self) -> Option<Trouble> {
        let news = self.trouble.filter(|_| self.trouble != self.trouble_told);
        self.trouble_told = self.trouble;
        news
    }

    /// Writes what was taken, and closes the journal: the process ends as it should.
    pub(super) fn close(mut self) -> Result<(), JournalError> {
        while let Some(bytes) = self.backlog.pop_front() {
            if !self.append(&bytes) {
                self.keeper.flush()?;
                self.backlog.push_front(bytes);
            }
        }
        self.keeper.close().map(|_| ())
    }
}

#[cfg(test)]
mod tests;
