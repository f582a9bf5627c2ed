//! Durable checkpoints: the pages of a snapshot in files, written in the background.
//!
//! ```text
//! pages-a   page i at byte 4096 * i     two places for each page
//! pages-b   page i at byte 4096 * i
//! table-0   sequence, digest, blob, and for each page: absent, a or b      of even generations
//! table-1   the same                                                       of odd generations
//! ```
//!
//! A checkpoint writes the pages that changed since the last durable one, each to the place that the last one's table
//! does not name, waits for the disk, and only then replaces the older table (`protocol.md JR-10`). So the last durable
//! checkpoint is whole at every moment of writing the next, each page is written once, and after the next is durable the
//! last one is there still: until the next but one is begun.
//!
//! - `table`: the layout of a table.
//! - `worker`: the thread that writes.

mod table;
#[cfg(test)]
mod tests;
mod worker;

pub use table::StoredCheckpoint;

use self::worker::{Files, Job, Worker};
use super::foreign::{ForeignFile, check_owner};
use crate::numbers::{ReplicaId, SequenceNumber};
use crate::state::{Snapshot, State};
use logothete_crypto::Digest;
use logothete_transport::HostError;
use logothete_transport::storage::{EventFd, sync_directory};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

/// Whose checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointConfig {
    /// The digest of the cluster's configuration.
    pub context: Digest,
    /// Which replica's.
    pub replica: ReplicaId,
    /// The capacity of the state, pages.
    pub pages: u64,
}

/// Checkpoints that cannot be opened or loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The host refused something.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Of another version, or somebody else's (`protocol.md JR-5`).
    #[error(transparent)]
    Foreign(#[from] ForeignFile),
    /// The pages are not those that were written.
    #[error(
        "checkpoint {sequence} has state digest {found} and was written with {expected}: its pages are damaged; \
         load the one before, or recover from the others"
    )]
    Damaged {
        /// Which checkpoint.
        sequence: SequenceNumber,
        /// What the pages give.
        found: Digest,
        /// What the table says.
        expected: Digest,
    },
}

/// Why a checkpoint is not begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BeginError {
    /// One is being written.
    #[error("a checkpoint is being written; begin the next one when it is durable")]
    Busy,
    /// The disk failed: none is written any more.
    #[error("checkpoints are not written any more: {0}")]
    Failed(HostError),
}

/// What a directory holds.
#[derive(Debug)]
pub struct OpenedCheckpoints {
    /// The store.
    pub store: CheckpointStore,
    /// The checkpoints whose tables verify, newest first. Their pages are checked by [`CheckpointStore::load`].
    pub stored: Vec<StoredCheckpoint>,
    /// Tables that do not verify.
    pub damaged: Vec<PathBuf>,
}

/// What a look at a directory's checkpoints shows.
#[derive(Debug)]
pub struct InspectedCheckpoints {
    /// The checkpoints whose tables verify, newest first, each with the digest of its pages as they are.
    pub stored: Vec<(StoredCheckpoint, Digest)>,
    /// Tables that do not verify.
    pub damaged: Vec<PathBuf>,
}

/// Durable checkpoints of one replica.
#[derive(Debug)]
pub struct CheckpointStore {
    config: CheckpointConfig,
    directory: PathBuf,
    jobs: Option<SyncSender<Job>>,
    outcomes: Receiver<Result<SequenceNumber, HostError>>,
    /// Present until the first checkpoint is begun, so that loading can still say what it builds on.
    idle: Option<Worker>,
    thread: Option<JoinHandle<()>>,
    event: EventFd,
    writing: bool,
    durable: Option<SequenceNumber>,
    failed: Option<HostError>,
}

impl CheckpointStore {
    /// Opens the checkpoints of a directory, which is made where there is none.
    ///
    /// # Errors
    ///
    /// When the host refuses, or the checkpoints are another replica's or version's. Damage is no error here.
    pub fn open(directory: &Path, config: &CheckpointConfig) -> Result<OpenedCheckpoints, CheckpointError> {
        let refused = |call, error: &std::io::Error| HostError::from_io(call, error, directory.display().to_string());
        fs::create_dir_all(directory).map_err(|error| refused("mkdir", &error))?;
        let (mut stored, mut damaged) = (Vec::new(), Vec::new());
        for index in 0..2 {
            let path = directory.join(table::name(index));
            match StoredCheckpoint::read(&path) {
                Ok(Some(found)) => {
                    check(&path, &found, config)?;
                    stored.push(found);
                }
                Ok(None) => {}
                Err(fault) => match fault.into_error(path.clone()) {
                    Some(error) => return Err(error),
                    None => damaged.push(path),
                },
            }
        }
        stored.sort_by_key(|found| std::cmp::Reverse(found.generation()));
        let files = Files::open(directory)?;
        if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_directory(parent)?;
        }
        sync_directory(directory)?;
        let event = EventFd::new()?;
        // Where nothing is loaded, the newest is not built on, but not written over either.
        let worker = Worker::new(*config, directory, files, stored.first(), None);
        let (_, outcomes) = sync_channel(1);
        let store = Self {
            config: *config,
            directory: directory.to_owned(),
            jobs: None,
            outcomes,
            idle: Some(worker),
            thread: None,
            event,
            writing: false,
            durable: None,
            failed: None,
        };
        Ok(OpenedCheckpoints { store, stored, damaged })
    }

    /// The checkpoints of a directory and what their pages give, newest first, without changing anything. The newest must
    /// be whole; the one before may have been written over in part.
    ///
    /// # Errors
    ///
    /// When the host refuses, or a table is of another version.
    pub fn inspect(directory: &Path) -> Result<InspectedCheckpoints, CheckpointError> {
        let mut inspected = InspectedCheckpoints { stored: Vec::new(), damaged: Vec::new() };
        for index in 0..2 {
            let path = directory.join(table::name(index));
            match StoredCheckpoint::read(&path) {
                Ok(Some(stored)) => {
                    let files = Files::open_to_read(directory)?;
                    let state = files.load(&stored, stored.config.pages)?;
                    inspected.stored.push((stored, state.snapshot().digest()));
                }
                Ok(None) => {}
                Err(fault) => match fault.into_error(path.clone()) {
                    Some(error) => return Err(error),
                    None => inspected.damaged.push(path),
                },
            }
        }
        inspected.stored.sort_by_key(|(stored, _)| std::cmp::Reverse(stored.generation()));
        Ok(inspected)
    }

    /// Reads a checkpoint's pages, checks them against its digest, and builds the next ones on it. When the newest is
    /// damaged, the one before may still be whole: it will do if the journal's records reach back to it.
    ///
    /// # Errors
    ///
    /// When the host refuses, or the pages are damaged.
    ///
    /// # Panics
    ///
    /// When a checkpoint was begun already.
    pub fn load(&mut self, stored: &StoredCheckpoint) -> Result<State, CheckpointError> {
        let worker = self.idle.as_mut().expect("checkpoints are loaded before one is begun");
        let state = worker.files().load(stored, self.config.pages)?;
        let snapshot = state.snapshot();
        let found = snapshot.digest();
        if found != stored.digest {
            return Err(CheckpointError::Damaged { sequence: stored.sequence, found, expected: stored.digest });
        }
        let files = Files::open(&self.directory)?;
        *worker = Worker::new(self.config, &self.directory, files, Some(stored), Some(snapshot));
        self.durable = Some(stored.sequence);
        Ok(state)
    }

    /// Begins to write a checkpoint in the background: the snapshot after `sequence`, and bytes that belong to it.
    ///
    /// # Errors
    ///
    /// [`BeginError`].
    ///
    /// # Panics
    ///
    /// When the snapshot has another capacity than the configuration says.
    pub fn begin(&mut self, sequence: SequenceNumber, snapshot: Snapshot, blob: Vec<u8>) -> Result<(), BeginError> {
        assert_eq!(snapshot.pages(), self.config.pages, "a snapshot of another capacity");
        if let Some(error) = &self.failed {
            return Err(BeginError::Failed(error.clone()));
        }
        if self.writing {
            return Err(BeginError::Busy);
        }
        if let Some(worker) = self.idle.take() {
            self.start(worker).map_err(BeginError::Failed)?;
        }
        let jobs = self.jobs.as_ref().expect("it was started");
        jobs.send(Job { sequence, snapshot, blob }).expect("the thread ends only when this end is dropped");
        self.writing = true;
        Ok(())
    }

    /// The number of the checkpoint that has become durable, or why it has not. Never waits. After
    /// [`HostError::is_no_room`] the next one may be begun; any other error is final.
    ///
    /// # Errors
    ///
    /// What the host refused.
    pub fn poll(&mut self) -> Result<Option<SequenceNumber>, HostError> {
        match self.outcomes.try_recv() {
            Ok(outcome) => self.over(outcome).map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) if self.writing => {
                panic!("the thread that writes checkpoints has died");
            }
            Err(TryRecvError::Disconnected) => Ok(None),
        }
    }

    /// Waits for the checkpoint that is being written, if there is one.
    ///
    /// # Errors
    ///
    /// As [`poll`](Self::poll).
    pub fn wait(&mut self) -> Result<Option<SequenceNumber>, HostError> {
        if !self.writing {
            return Ok(None);
        }
        let outcome = self.outcomes.recv().expect("the thread ends only when this end is dropped");
        self.over(outcome).map(Some)
    }

    /// Whether one is being written.
    pub fn is_writing(&self) -> bool {
        self.writing
    }

    /// The last checkpoint that is durable, and was loaded or written since the store was opened.
    pub fn durable(&self) -> Option<SequenceNumber> {
        self.durable
    }

    /// Becomes readable when [`poll`](Self::poll) has something to say; whoever waits on it empties it.
    pub fn waker(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    fn over(&mut self, outcome: Result<SequenceNumber, HostError>) -> Result<SequenceNumber, HostError> {
        self.writing = false;
        match &outcome {
            Ok(sequence) => self.durable = Some(*sequence),
            // Every page of the next attempt is written anew, so that nothing rests on what failed.
            Err(error) if error.is_no_room() => {}
            Err(error) => self.failed = Some(error.clone()),
        }
        outcome
    }

    fn start(&mut self, mut worker: Worker) -> Result<(), HostError> {
        let signal = self.event.share()?;
        let (jobs, taken) = sync_channel::<Job>(1);
        let (done, outcomes) = sync_channel(1);
        let work = move || {
            for job in taken {
                if done.send(worker.write(job)).is_err() {
                    return;
                }
                signal.signal();
            }
        };
        let thread = std::thread::Builder::new().name("logothete-chkp".into()).spawn(work);
        let thread = thread.map_err(|error| HostError::from_io("clone", &error, "a thread for checkpoints"))?;
        (self.jobs, self.outcomes, self.thread) = (Some(jobs), outcomes, Some(thread));
        Ok(())
    }
}

impl Drop for CheckpointStore {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of it was reported where it happened.
            let _ = thread.join();
        }
    }
}

/// Refuses another replica's checkpoint.
fn check(path: &Path, found: &StoredCheckpoint, config: &CheckpointConfig) -> Result<(), CheckpointError> {
    let own = &found.config;
    let owned = [
        ("cluster configuration", own.context.to_string(), config.context.to_string()),
        ("replica", own.replica.to_string(), config.replica.to_string()),
        ("state capacity", own.pages.to_string(), config.pages.to_string()),
    ];
    Ok(check_owner(path, owned)?)
}
