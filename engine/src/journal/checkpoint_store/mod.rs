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
//! - `worker`: what writes them, beside the orderer.

mod table;
#[cfg(test)]
mod tests;
mod worker;

pub use table::StoredCheckpoint;

use self::worker::{Files, Job, Scribe};
use super::foreign::{ForeignFile, check_owner};
use crate::numbers::{ReplicaId, SequenceNumber};
use crate::state::{Snapshot, State};
use logothete_crypto::Digest;
use logothete_transport::HostError;
use logothete_transport::storage::{Background, FileSystem, sync_directory};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    file_system: Arc<dyn FileSystem>,
    config: CheckpointConfig,
    directory: PathBuf,
    /// Present until the first checkpoint is begun, so that loading can still say what it builds on.
    idle: Option<Scribe>,
    /// Present from then on.
    working: Option<Background<Scribe>>,
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
    pub fn open(
        file_system: &Arc<dyn FileSystem>,
        directory: &Path,
        config: &CheckpointConfig,
    ) -> Result<OpenedCheckpoints, CheckpointError> {
        let refused = |call, error: &std::io::Error| HostError::from_io(call, error, directory.display().to_string());
        file_system.make_directory(directory).map_err(|error| refused("mkdir", &error))?;
        let (mut stored, mut damaged) = (Vec::new(), Vec::new());
        for index in 0..2 {
            let path = directory.join(table::name(index));
            match StoredCheckpoint::read(&**file_system, &path) {
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
        let files = Files::open(&**file_system, directory)?;
        if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_directory(&**file_system, parent)?;
        }
        sync_directory(&**file_system, directory)?;
        // Where nothing is loaded, the newest is not built on, but not written over either.
        let scribe = Scribe::new(Arc::clone(file_system), *config, directory, files, stored.first(), None);
        let store = Self {
            file_system: Arc::clone(file_system),
            config: *config,
            directory: directory.to_owned(),
            idle: Some(scribe),
            working: None,
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
    pub fn inspect(file_system: &dyn FileSystem, directory: &Path) -> Result<InspectedCheckpoints, CheckpointError> {
        let mut inspected = InspectedCheckpoints { stored: Vec::new(), damaged: Vec::new() };
        for index in 0..2 {
            let path = directory.join(table::name(index));
            match StoredCheckpoint::read(file_system, &path) {
                Ok(Some(stored)) => {
                    let files = Files::open_to_read(file_system, directory)?;
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
        let scribe = self.idle.as_mut().expect("checkpoints are loaded before one is begun");
        let state = scribe.files().load(stored, self.config.pages)?;
        let snapshot = state.snapshot();
        let found = snapshot.digest();
        if found != stored.digest {
            return Err(CheckpointError::Damaged { sequence: stored.sequence, found, expected: stored.digest });
        }
        let (file_system, base) = (Arc::clone(&self.file_system), Some(snapshot));
        let files = Files::open(&*file_system, &self.directory)?;
        *scribe = Scribe::new(file_system, self.config, &self.directory, files, Some(stored), base);
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
        if let Some(scribe) = self.idle.take() {
            let name = "logothete-chkp";
            let started = Background::start(name, 1, scribe, None, self.file_system.pace(name));
            self.working = Some(started.map_err(BeginError::Failed)?);
        }
        self.working.as_mut().expect("it was started").send(Job { sequence, snapshot, blob });
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
        match self.working.as_mut().and_then(Background::poll) {
            Some(outcome) => self.over(outcome).map(Some),
            None => Ok(None),
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
        let outcome = self.working.as_mut().expect("it was started").wait();
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
