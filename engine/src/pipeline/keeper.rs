//! Where a memory keeps its records and checkpoints: the data directory (`protocol.md JR-1` to `JR-10`), or what stands in for it in tests.

use super::memory::Memory;
use crate::cluster::{Cluster, Journal as Keeping};
use crate::journal::birth::{DataDirectory, DataDirectoryError};
use crate::journal::checkpoint_store::{
    BeginError, CheckpointConfig, CheckpointError, CheckpointStore, OpenedCheckpoints, StoredCheckpoint,
};
use crate::journal::{
    AppendError, Identity, Journal, JournalConfig, JournalError, JournalMode, JournalState, Mark, Origin, Record, Salt,
};
use crate::numbers::{ReplicaId, SequenceNumber};
use crate::replica::engine_pages::EnginePagesError;
use crate::service::RestoreError;
use crate::state::{Snapshot, State};
use logothete_crypto::Digest;
use logothete_transport::HostError;
use std::path::PathBuf;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A checkpoint is written when the journal has taken so much of its disk since the last one: two segments of the usual size.
const CHECKPOINT_EVERY_BYTES: u64 = 128 << 20;

/// A journal and a place for checkpoints, as a memory uses them.
pub trait Keeper: Send {
    /// Takes a record.
    ///
    /// # Errors
    /// There is no room for it now, or the disk failed.
    fn append(&mut self, record: &Record<'_>) -> Result<Mark, AppendError>;

    /// Looks how far the disk is, and begins the next write. Returns up to which record everything is durable.
    fn poll(&mut self) -> Mark;

    /// What the journal has taken of its disk: blocks, of which a record by itself fills one.
    fn written_bytes(&self) -> u64;

    /// How the journal fares.
    fn state(&self) -> &JournalState;

    /// Begins to write a checkpoint in the background. A start from it needs the records from `needed` on.
    ///
    /// # Errors
    /// One is being written, or the disk failed.
    fn begin_checkpoint(
        &mut self,
        sequence: SequenceNumber,
        snapshot: Snapshot,
        needed: Mark,
    ) -> Result<(), BeginError>;

    /// The checkpoint that has become durable since the last call.
    ///
    /// # Errors
    /// It could not be written.
    fn poll_checkpoint(&mut self) -> Result<Option<SequenceNumber>, HostError>;

    /// Lets go of the records below a mark.
    fn trim(&mut self, below: Mark);

    /// Waits until everything is durable.
    ///
    /// # Errors
    /// The disk failed.
    fn flush(&mut self) -> Result<Mark, JournalError>;

    /// Waits until everything is durable, and says that this was all.
    ///
    /// # Errors
    /// The disk failed.
    fn close(self: Box<Self>) -> Result<Mark, JournalError>;
}

/// What stands beside a checkpoint: which journal goes on from it, and the first record that a start from it needs. Those of another journal, of a life
/// that the replica forgot, say nothing of this one's records.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Beside {
    journal: Salt,
    needed: U64,
}

impl Beside {
    fn bytes(journal: Salt, needed: Mark) -> Vec<u8> {
        Self { journal, needed: needed.0.into() }.as_bytes().to_vec()
    }
}

/// The files in a data directory.
struct Files {
    /// Stays locked.
    _directory: DataDirectory,
    journal: Journal,
    store: CheckpointStore,
}

impl Keeper for Files {
    fn append(&mut self, record: &Record<'_>) -> Result<Mark, AppendError> {
        self.journal.append(record)
    }

    fn poll(&mut self) -> Mark {
        self.journal.poll()
    }

    fn written_bytes(&self) -> u64 {
        self.journal.written_bytes()
    }

    fn state(&self) -> &JournalState {
        self.journal.state()
    }

    fn begin_checkpoint(
        &mut self,
        sequence: SequenceNumber,
        snapshot: Snapshot,
        needed: Mark,
    ) -> Result<(), BeginError> {
        self.store.begin(sequence, snapshot, Beside::bytes(self.journal.salt(), needed))
    }

    fn poll_checkpoint(&mut self) -> Result<Option<SequenceNumber>, HostError> {
        self.store.poll()
    }

    fn trim(&mut self, below: Mark) {
        self.journal.trim(below);
    }

    fn flush(&mut self) -> Result<Mark, JournalError> {
        self.journal.flush()
    }

    fn close(self: Box<Self>) -> Result<Mark, JournalError> {
        self.journal.close()
    }
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
    /// Without that one, what the journal says is about nothing.
    #[error(
        "the checkpoint with which the journal begins is lost or damaged, and so is every later one; \
         to recover from the other replicas, start with --rejoin"
    )]
    CheckpointLost,
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

/// How a memory is kept.
#[derive(Clone, Debug)]
pub struct MemoryConfig {
    /// The journal.
    pub journal: JournalConfig,
    /// The checkpoints.
    pub checkpoints: CheckpointConfig,
    /// A checkpoint is written when the journal has taken so many bytes of its disk since the last one.
    pub checkpoint_every_bytes: u64,
}

impl MemoryConfig {
    /// As a cluster's configuration says, for a replica whose state has so many pages.
    pub fn new(cluster: &Cluster, id: ReplicaId, pages: u64) -> Self {
        let mode = match cluster.journal {
            Keeping::Async => JournalMode::Async,
            _ => JournalMode::Sync,
        };
        Self {
            journal: JournalConfig::new(mode, cluster.digest(), id),
            checkpoints: CheckpointConfig { context: cluster.digest(), replica: id, pages },
            checkpoint_every_bytes: CHECKPOINT_EVERY_BYTES,
        }
    }

    fn store(&self, directory: &DataDirectory) -> Result<OpenedCheckpoints, CheckpointError> {
        CheckpointStore::open(&self.journal.file_system, &directory.checkpoints(), &self.checkpoints)
    }
}

/// How a replica that recovers is to make its memory when it has.
#[derive(Debug)]
pub struct MemoryPlan {
    directory: DataDirectory,
    config: MemoryConfig,
}

impl MemoryPlan {
    /// In a data directory.
    pub fn new(directory: DataDirectory, config: MemoryConfig) -> Self {
        Self { directory, config }
    }

    /// Makes it, with a checkpoint from which it begins. Waits for the disk: the replica has nothing to say meanwhile.
    ///
    /// # Errors
    /// The host refuses.
    pub fn make(
        self,
        sequence: SequenceNumber,
        snapshot: Snapshot,
        entropy: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Memory, MemoryError> {
        let Self { directory, config } = self;
        let mut store = config.store(&directory)?.store;
        let salt = Salt::draw(entropy);
        store.begin(sequence, snapshot, Beside::bytes(salt, Mark(1)))?;
        store.wait()?;
        let journal = Journal::create(&directory.journal(), &config.journal, Origin::Checkpoint, salt)?;
        Ok(kept(directory, &config, journal, store, Mark(0), Mark(1)))
    }
}

impl Memory {
    /// The memory of a replica that has nothing to remember yet.
    ///
    /// # Errors
    /// The host refuses, or there is a journal already.
    pub fn create(
        directory: DataDirectory,
        config: &MemoryConfig,
        entropy: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Self, MemoryError> {
        let journal = Journal::create(&directory.journal(), &config.journal, Origin::Birth, Salt::draw(entropy))?;
        let store = config.store(&directory)?.store;
        directory.begin()?;
        Ok(kept(directory, config, journal, store, Mark(0), Mark(1)))
    }

    /// Opens the memory of a former life. `begin` is called with its checkpoint, then `visit` with each record that came after; both before
    /// this returns.
    ///
    /// # Errors
    /// The memory is damaged, incomplete, or another's: what `begin` and `visit` were given is then worth nothing.
    pub fn open<T>(
        directory: DataDirectory,
        config: &MemoryConfig,
        begin: impl FnOnce(Option<(SequenceNumber, Digest, State)>) -> T,
        visit: &mut dyn FnMut(&mut T, Record<'_>),
    ) -> Result<(Self, T), MemoryError> {
        let opened = config.store(&directory)?;
        let mut store = opened.store;
        let identity = Identity::read(&*config.journal.file_system, &directory.journal())?;
        let of_this_journal = |beside: &Beside| beside.journal == identity.salt;
        let beside = |stored: &StoredCheckpoint| Beside::read_from_bytes(&stored.blob).ok().filter(of_this_journal);
        let newest = opened.stored.iter().find_map(|stored| Some((stored, beside(stored)?)));
        let (checkpoint, needed) = match newest {
            Some((stored, beside)) => {
                let state = store.load(stored)?;
                let digest = state.snapshot().digest();
                (Some((stored.sequence, digest, state)), Mark(beside.needed.get()))
            }
            None if identity.origin == Origin::Birth => (None, Mark(1)),
            None => return Err(MemoryError::CheckpointLost),
        };
        let mut target = begin(checkpoint);
        let mut take = |mark, record: Record<'_>| {
            if mark >= needed {
                visit(&mut target, record);
            }
        };
        let (journal, recovered) = Journal::open(&directory.journal(), &config.journal, needed, &mut take)?;
        if !recovered.complete {
            return Err(MemoryError::Incomplete);
        }
        let base = journal.appended();
        Ok((kept(directory, config, journal, store, base, needed), target))
    }
}

fn kept(
    directory: DataDirectory,
    config: &MemoryConfig,
    journal: Journal,
    store: CheckpointStore,
    base: Mark,
    needed: Mark,
) -> Memory {
    let files = Files { _directory: directory, journal, store };
    Memory::new(Box::new(files), base, needed, config.checkpoint_every_bytes)
}

#[cfg(test)]
mod tests;
