//! What a replica remembers over a restart: the journal and the durable checkpoints, as the orderer's agent uses them (`protocol.md JR-1`,
//! `RC-1`).
//!
//! The core hands over records and messages in order. Records go to the journal; a message that bears a promise waits until the records
//! before it are durable. Every so often the newest stable checkpoint is written in the background, and lets segments of the journal go.

use super::outbox::Outbox;
use crate::cluster::{Cluster, Journal as Keeping};
use crate::journal::birth::{DataDirectory, DataDirectoryError};
use crate::journal::checkpoint_store::{BeginError, CheckpointConfig, CheckpointError, CheckpointStore};
use crate::journal::{AppendError, Journal, JournalConfig, JournalError, JournalMode, JournalState, Mark, Record, Trouble};
use crate::numbers::{ReplicaId, SequenceNumber};
use crate::state::{Snapshot, State};
use crate::wire::Audience;
use crate::replica::engine_pages::EnginePagesError;
use crate::service::RestoreError;
use logothete_crypto::{Digest, os_entropy};
use logothete_transport::HostError;
use std::path::PathBuf;
use std::collections::VecDeque;
use std::ops::Range;

/// A checkpoint is written when so many bytes of records came after the last one: two segments of the usual size.
const CHECKPOINT_EVERY_BYTES: u64 = 128 << 20;

/// While a write is under way its end is looked for this often.
const POLL_NS: u64 = 50_000;

/// Records that wait because the disk has no room; with more of them the replica gives up.
const BACKLOG_BYTES_MAX: usize = 64 << 20;

/// Messages that wait for one record.
#[derive(Debug, Default)]
struct Held {
    record: u64,
    bytes: Vec<u8>,
    messages: Vec<(Audience, Range<usize>)>,
}

/// The journal and the checkpoints of one replica.
pub struct Memory {
    /// Keeps the directory locked.
    _directory: DataDirectory,
    journal: Journal,
    store: CheckpointStore,
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
    bytes_since_checkpoint: u64,
    /// The checkpoint that is being written, and the first record that it needs.
    writing: Option<(SequenceNumber, Mark)>,
    poll_due_ns: u64,
    backlog_bytes: usize,
    trouble: Option<Trouble>,
    trouble_told: Option<Trouble>,
}

/// A replica's memory that cannot be used, or made.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The data directory.
    #[error(transparent)]
    Directory(#[from] DataDirectoryError),
    /// The journal.
    #[error("{0}; to recover from the other replicas instead, start with --rejoin")]
    Journal(#[from] JournalError),
    /// A checkpoint.
    #[error("{0}; to recover from the other replicas instead, start with --rejoin")]
    Checkpoint(#[from] CheckpointError),
    /// A checkpoint could not be begun.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// The host refused something.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The pages of a checkpoint are not this version's.
    #[error(transparent)]
    EnginePages(#[from] EnginePagesError),
    /// The pages of a checkpoint are not this service's.
    #[error(transparent)]
    Service(#[from] RestoreError),
    /// What stands beside a checkpoint is not this version's.
    #[error("the checkpoint does not say which records it needs; to recover from the other replicas, start with --rejoin")]
    Blob,
    /// A journal that was kept in the background, and not closed.
    #[error("the journal was kept in the background and not closed: promises may be missing; start with --rejoin")]
    Incomplete,
    /// The directory does not say what the replica promised.
    #[error(
        "{path} has neither a journal nor the birth marker: this replica does not remember what it promised; \
         start it with --rejoin, and it recovers from the others"
    )]
    Lost {
        /// The data directory.
        path: PathBuf,
    },
}

/// How a replica that recovers is to make its memory when it has.
#[derive(Debug)]
pub struct MemoryPlan {
    directory: DataDirectory,
    journal: JournalConfig,
    checkpoints: CheckpointConfig,
}

impl MemoryPlan {
    /// In a data directory.
    pub fn new(directory: DataDirectory, cluster: &Cluster, id: ReplicaId, pages: u64) -> Self {
        Self { directory, journal: journal_config(cluster, id), checkpoints: checkpoint_config(cluster, id, pages) }
    }

    /// Makes it, with a checkpoint from which it begins. Waits for the disk: the replica has nothing to say meanwhile.
    ///
    /// # Errors
    /// The host refuses.
    pub(super) fn make(self, sequence: SequenceNumber, snapshot: Snapshot) -> Result<Memory, MemoryError> {
        let mut store = CheckpointStore::open(&self.directory.checkpoints(), &self.checkpoints)?.store;
        store.begin(sequence, snapshot, Mark(1).0.to_le_bytes().to_vec())?;
        store.wait()?;
        let journal = Journal::create(&self.directory.journal(), &self.journal, &mut os_entropy)?;
        Ok(Memory::start(self.directory, journal, store, Mark(0), Mark(1)))
    }
}

fn journal_config(cluster: &Cluster, id: ReplicaId) -> JournalConfig {
    let mode = match cluster.journal {
        Keeping::Async => JournalMode::Async,
        _ => JournalMode::Sync,
    };
    JournalConfig::new(mode, cluster.digest(), id)
}

fn checkpoint_config(cluster: &Cluster, id: ReplicaId, pages: u64) -> CheckpointConfig {
    CheckpointConfig { context: cluster.digest(), replica: id, pages }
}

impl Memory {
    /// The memory of a replica that has nothing to remember yet; its state has so many pages.
    ///
    /// # Errors
    /// The host refuses, or there is a journal already.
    pub fn create(directory: DataDirectory, cluster: &Cluster, id: ReplicaId, pages: u64) -> Result<Self, MemoryError> {
        let journal = Journal::create(&directory.journal(), &journal_config(cluster, id), &mut os_entropy)?;
        let store = CheckpointStore::open(&directory.checkpoints(), &checkpoint_config(cluster, id, pages))?.store;
        directory.begin()?;
        Ok(Self::start(directory, journal, store, Mark(0), Mark(1)))
    }

    /// Opens the memory of a former life. `begin` is called with its checkpoint, then `visit` with each record that came after; both before
    /// this returns.
    ///
    /// # Errors
    /// The memory is damaged, incomplete, or another's: what `begin` and `visit` were given is then worth nothing.
    pub fn open<T>(
        directory: DataDirectory,
        cluster: &Cluster,
        id: ReplicaId,
        pages: u64,
        begin: impl FnOnce(Option<(SequenceNumber, Digest, State)>) -> T,
        visit: &mut dyn FnMut(&mut T, Record<'_>),
    ) -> Result<(Self, T), MemoryError> {
        let opened = CheckpointStore::open(&directory.checkpoints(), &checkpoint_config(cluster, id, pages))?;
        let mut store = opened.store;
        let (mut checkpoint, mut needed) = (None, Mark(1));
        if let Some(stored) = opened.stored.first() {
            let state = store.load(stored)?;
            let digest = state.snapshot().digest();
            let blob: [u8; 8] = stored.blob[..].try_into().map_err(|_| MemoryError::Blob)?;
            needed = Mark(u64::from_le_bytes(blob));
            checkpoint = Some((stored.sequence, digest, state));
        }
        let mut target = begin(checkpoint);
        let config = journal_config(cluster, id);
        let (journal, recovered) = Journal::open(&directory.journal(), &config, needed, &mut |mark, record| {
            if mark >= needed {
                visit(&mut target, record);
            }
        })?;
        if !recovered.complete {
            return Err(MemoryError::Incomplete);
        }
        let base = journal.appended();
        Ok((Self::start(directory, journal, store, base, needed), target))
    }

    fn start(directory: DataDirectory, journal: Journal, store: CheckpointStore, base: Mark, needed: Mark) -> Self {
        Self {
            _directory: directory,
            journal,
            store,
            base,
            needed,
            records: 0,
            durable: 0,
            backlog: VecDeque::new(),
            held: VecDeque::new(),
            spare: Vec::new(),
            bytes_since_checkpoint: 0,
            writing: None,
            poll_due_ns: u64::MAX,
            backlog_bytes: 0,
            trouble: None,
            trouble_told: None,
        }
    }

    /// Takes a record, encoded.
    pub(super) fn persist(&mut self, bytes: &[u8]) {
        self.records += 1;
        self.bytes_since_checkpoint += bytes.len() as u64;
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
    }

    fn append(&mut self, bytes: &[u8]) -> bool {
        let (record, _) = Record::decode(bytes).expect("a record that was just encoded");
        match self.journal.append(&record) {
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
        let mark = self.journal.poll();
        while let Some(bytes) = self.backlog.pop_front() {
            if !self.append(&bytes) {
                self.backlog.push_front(bytes);
                break;
            }
            self.backlog_bytes -= bytes.len();
        }
        match self.journal.state() {
            JournalState::Writing if self.trouble == Some(Trouble::Full) => self.trouble = None,
            JournalState::Full(_) if self.trouble.is_none() => self.trouble = Some(Trouble::Full),
            JournalState::Failed(_) if self.trouble != Some(Trouble::Failed) => self.give_up(),
            _ => {}
        }
        if self.trouble == Some(Trouble::Failed) {
            return None;
        }
        let durable = mark.0.saturating_sub(self.base.0);
        self.poll_due_ns = if durable < self.records || self.writing.is_some() { now_ns + POLL_NS } else { u64::MAX };
        self.finish_checkpoint();
        if durable <= self.durable {
            return None;
        }
        self.durable = durable;
        while let Some(mut held) = self.held.pop_front_if(|held| held.record <= durable) {
            for (audience, range) in held.messages.drain(..) {
                outbox.add(audience, &held.bytes[range]);
            }
            held.bytes.clear();
            self.spare.push(held);
        }
        Some(durable)
    }

    /// When [`Memory::poll`] has something to look for.
    pub(super) fn deadline_ns(&self) -> u64 {
        self.poll_due_ns
    }

    /// Whether a checkpoint is due.
    pub(super) fn wants_checkpoint(&self) -> bool {
        self.writing.is_none() && self.bytes_since_checkpoint >= CHECKPOINT_EVERY_BYTES && self.trouble.is_none()
    }

    /// Writes a stable checkpoint in the background. `record` is the first that a start from it needs, 0 for one of a former life.
    pub(super) fn write_checkpoint(&mut self, sequence: SequenceNumber, snapshot: Snapshot, record: u64) {
        let needed = if record == 0 { self.needed } else { Mark(self.base.0 + record) };
        match self.store.begin(sequence, snapshot, needed.0.to_le_bytes().to_vec()) {
            Ok(()) => {
                self.writing = Some((sequence, needed));
                self.bytes_since_checkpoint = 0;
            }
            Err(_) => self.trouble = Some(Trouble::Checkpoint),
        }
    }

    fn finish_checkpoint(&mut self) {
        match self.store.poll() {
            Ok(None) => {}
            Ok(Some(_)) => {
                let (_, needed) = self.writing.take().expect("only what was begun ends");
                self.needed = needed;
                self.journal.trim(needed);
            }
            Err(_) => {
                self.writing = None;
                self.trouble = Some(Trouble::Checkpoint);
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
                self.journal.flush()?;
                self.backlog.push_front(bytes);
            }
        }
        self.journal.close().map(|_| ())
    }
}
