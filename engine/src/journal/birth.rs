//! A replica's data directory: what is in it, who holds it, and whether the replica remembers what it promised.
//!
//! ```text
//! lock          held by the one process that runs on the directory
//! birth         this replica never sent a packet; written by `init`, removed before the first one
//! journal/      see `writer`
//! checkpoints/  see `checkpoint_store`
//! ```
//!
//! A replica that has forgotten what it promised must not vote as if it had promised nothing. An empty directory does
//! not say whether the replica is new or has lost its memory; the birth marker does, in every journal mode
//! (`protocol.md JR-7`).

use super::identity::{self, Identity};
use super::{JournalError, Mark, inspection};
use logothete_transport::HostError;
use logothete_transport::storage::{Access, FileSystem, Lock, read_file, remove_durably, sync_directory};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the birth marker's file says to those who find it.
pub const BIRTH_TEXT: &str = "This replica has never sent a packet. Its first start removes this file.\n\
    Do not put it back: a replica that forgot what it promised may break the cluster's agreement.\n";

/// What a replica's memory is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It never sent a packet: there is nothing to remember. [`DataDirectory::begin`] comes before the first one.
    FirstStart,
    /// It has a journal.
    Resumed,
    /// It sent packets and does not remember them: it must recover from the others. A new journal is created only when
    /// it has: a journal that is there says that the replica remembers.
    Lost,
}

/// A data directory that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataDirectoryError {
    /// The host refused something.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Another process runs on it.
    #[error("{path} is in use by {holder}: two processes must not be one replica; stop the other one first")]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Who holds it, as far as it said.
        holder: String,
    },
    /// The journal beside the marker cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// There is a marker, and there are promises.
    #[error(
        "{path} says that the replica never sent a packet, and there is a journal with {records} records: \
         remove the marker if the journal is this replica's latest, or else the journal, and use --rejoin"
    )]
    BornTwice {
        /// The marker.
        path: PathBuf,
        /// How many records.
        records: u64,
    },
}

/// A data directory, locked until this is dropped.
#[derive(Debug)]
pub struct DataDirectory {
    file_system: Arc<dyn FileSystem>,
    path: PathBuf,
    _lock: Box<dyn Lock>,
}

impl DataDirectory {
    /// The birth marker of a data directory; `init` writes [`BIRTH_TEXT`] to it.
    pub fn birth_marker(directory: &Path) -> PathBuf {
        directory.join("birth")
    }

    /// Locks a directory, and finds out whether the replica remembers. With `keeps_journal` false it is not going to: a
    /// journal that is there would not know what is promised from now on, so it is durably disowned.
    ///
    /// # Errors
    ///
    /// [`DataDirectoryError`].
    pub fn open(
        file_system: Arc<dyn FileSystem>,
        path: &Path,
        keeps_journal: bool,
    ) -> Result<(Self, Opened), DataDirectoryError> {
        let lock = lock(&*file_system, path)?;
        let directory = Self { file_system: Arc::clone(&file_system), path: path.to_owned(), _lock: lock };
        let marker = Self::birth_marker(path);
        let born = file_system.exists(&marker).map_err(|error| refused("stat", &error, &marker))?;
        let journal = directory.journal();
        let remembers = Identity::exists(&*file_system, &journal)?;
        let opened = match (born, remembers) {
            (true, true) => {
                // The first start ended before it removed the marker, so no packet left: unless the marker is a copy.
                let (_, contents) = inspection::journal(&*file_system, &journal, &mut |_, _| {})?;
                if contents.last != Mark(0) {
                    return Err(DataDirectoryError::BornTwice { path: marker, records: contents.last.0 });
                }
                directory.disown_journal()?;
                Opened::FirstStart
            }
            (true, false) => Opened::FirstStart,
            (false, true) if keeps_journal => Opened::Resumed,
            (false, true) => {
                directory.disown_journal()?;
                Opened::Lost
            }
            (false, false) => Opened::Lost,
        };
        Ok((directory, opened))
    }

    /// Removes the birth marker durably. The journal, where there is to be one, exists by then; packets leave only
    /// afterwards.
    ///
    /// # Errors
    ///
    /// When the host refuses: then no packet may leave.
    pub fn begin(&self) -> Result<(), HostError> {
        remove_durably(&*self.file_system, &Self::birth_marker(&self.path))
    }

    /// Makes the journal durably one that nobody relies on: a new one can be created in its place. For a replica that is
    /// to recover from the others.
    ///
    /// # Errors
    ///
    /// When the host refuses.
    pub fn disown_journal(&self) -> Result<(), HostError> {
        let journal = self.journal();
        match self.file_system.exists(&journal) {
            Ok(true) => remove_durably(&*self.file_system, &identity::path(&journal)),
            Ok(false) => Ok(()),
            Err(error) => Err(refused("stat", &error, &journal)),
        }
    }

    /// Where the journal is.
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// Where the checkpoints are.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }
}

fn lock(file_system: &dyn FileSystem, directory: &Path) -> Result<Box<dyn Lock>, DataDirectoryError> {
    let path = directory.join("lock");
    let lock = match file_system.lock(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            // Only words for a person.
            let holder = read_file(file_system, &path).unwrap_or_default();
            let holder = match String::from_utf8_lossy(&holder).trim() {
                "" => String::from("another process"),
                pid => format!("process {pid}"),
            };
            return Err(DataDirectoryError::InUse { path: directory.to_owned(), holder });
        }
        Err(error) => return Err(refused("flock", &error, &path).into()),
    };
    let pid = format!("{}\n", std::process::id());
    let written = file_system.open(&path, Access::Replace).and_then(|file| file.write_all_at(pid.as_bytes(), 0));
    written.map_err(|error| refused("write", &error, &path))?;
    sync_directory(file_system, directory)?;
    Ok(lock)
}

fn refused(call: &'static str, error: &std::io::Error, path: &Path) -> HostError {
    HostError::from_io(call, error, path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::super::{Journal, JournalConfig, JournalMode, Origin, Record, Salt};
    use super::*;
    use crate::numbers::{ReplicaId, View};
    use logothete_crypto::Digest;
    use logothete_transport::storage::HostFileSystem;

    fn config() -> JournalConfig {
        JournalConfig {
            segment_bytes: 64 * 1024,
            group_bytes_max: 16 * 1024,
            ..JournalConfig::new(JournalMode::Sync, Digest([7; 32]), ReplicaId(0))
        }
    }

    fn create(directory: &DataDirectory) -> Journal {
        Journal::create(&directory.journal(), &config(), Origin::Birth, Salt([1; 16])).unwrap()
    }

    fn mark_birth(directory: &Path) {
        std::fs::write(DataDirectory::birth_marker(directory), BIRTH_TEXT).unwrap();
    }

    fn open(path: &Path, keeps_journal: bool) -> (DataDirectory, Opened) {
        DataDirectory::open(HostFileSystem::shared(), path, keeps_journal).unwrap()
    }

    /// `protocol.md JR-7`
    #[test]
    fn a_first_start_happens_once() {
        for keeps_journal in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            mark_birth(folder.path());
            // Starts that end before the first packet could leave.
            for _ in 0..3 {
                let (directory, opened) = open(folder.path(), keeps_journal);
                assert_eq!(opened, Opened::FirstStart);
                if keeps_journal {
                    create(&directory);
                }
            }
            let (directory, _) = open(folder.path(), keeps_journal);
            if keeps_journal {
                create(&directory);
            }
            directory.begin().unwrap();
            drop(directory);
            let expected = if keeps_journal { Opened::Resumed } else { Opened::Lost };
            assert_eq!(open(folder.path(), keeps_journal).1, expected);
        }
    }

    /// `protocol.md JR-7`: neither an empty directory nor a journal that missed something is a memory.
    #[test]
    fn a_replica_without_memory_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(open(folder.path(), true).1, Opened::Lost);
        let (directory, _) = open(folder.path(), true);
        drop(create(&directory));
        drop(directory);
        assert_eq!(open(folder.path(), true).1, Opened::Resumed);
        // It ran without its journal once.
        assert_eq!(open(folder.path(), false).1, Opened::Lost);
        assert_eq!(open(folder.path(), true).1, Opened::Lost);
        // And makes a new one when it has recovered.
        let (directory, _) = open(folder.path(), true);
        drop(create(&directory));
    }

    #[test]
    fn a_marker_beside_promises_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (directory, _) = open(folder.path(), true);
        let mut journal = create(&directory);
        journal.append(&Record::ViewEntered { view: View(1) }).unwrap();
        journal.close().unwrap();
        drop(directory);
        mark_birth(folder.path());
        let error = DataDirectory::open(HostFileSystem::shared(), folder.path(), true).unwrap_err();
        assert!(matches!(error, DataDirectoryError::BornTwice { records: 1, .. }), "{error}");
    }

    #[test]
    fn two_processes_cannot_have_one_directory() {
        let folder = tempfile::tempdir().unwrap();
        let (directory, _) = open(folder.path(), true);
        let error = DataDirectory::open(HostFileSystem::shared(), folder.path(), true).unwrap_err();
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(directory);
        open(folder.path(), true);
        let missing = DataDirectory::open(HostFileSystem::shared(), &folder.path().join("none"), true).unwrap_err();
        assert!(matches!(missing, DataDirectoryError::Host(_)));
    }
}
