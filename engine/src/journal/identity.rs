//! Whose journal it is: the file `identity` beside the segments, written when the journal is made.

use super::error::JournalError;
use super::foreign::{self, ForeignFile};
use super::segment::{Checksum, Salt, VERSION, checksum};
use super::{JournalConfig, JournalMode};
use crate::numbers::ReplicaId;
use logothete_crypto::Digest;
use logothete_transport::HostError;
use logothete_transport::storage::{FileSystem, read_file, write_durably};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const MAGIC: [u8; 8] = *b"LGTHJRID";
const CHECKSUM_BYTES: usize = size_of::<Checksum>();

/// What the first record of a journal follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing: its replica had promised nothing before.
    Birth,
    /// A checkpoint that was durable before it, of a replica that recovered. Its records mean nothing without that one, or a later one that names this
    /// journal (`protocol.md JR-6`).
    Checkpoint,
}

/// What the file says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The digest of the cluster's configuration.
    pub context: Digest,
    /// Whose journal.
    pub replica: ReplicaId,
    /// Whether every promise was in the journal before it left. Once it was not, only closing in good order makes the
    /// journal whole again (`protocol.md JR-9`).
    pub mode: JournalMode,
    /// The size of each segment.
    pub segment_bytes: u64,
    /// What it begins with.
    pub origin: Origin,
    /// Which one of its replica's.
    pub salt: Salt,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Layout {
    magic: [u8; 8],
    version: U32,
    replica: u8,
    mode: u8,
    origin: u8,
    reserved: u8,
    context: Digest,
    segment_bytes: U64,
    salt: Salt,
    checksum: Checksum,
}

const _: () = assert!(size_of::<Layout>() == 88);

impl Layout {
    fn computed(&self) -> Checksum {
        let bytes = self.as_bytes();
        checksum("logothete journal identity", &self.salt, &[&bytes[..bytes.len() - CHECKSUM_BYTES]])
    }
}

/// Where the file is.
pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join("identity")
}

impl Identity {
    /// Whether a directory holds a journal.
    pub(super) fn exists(file_system: &dyn FileSystem, directory: &Path) -> Result<bool, JournalError> {
        let path = path(directory);
        let refused = |error| HostError::from_io("stat", &error, path.display().to_string()).into();
        file_system.exists(&path).map_err(refused)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// It is not there, damaged, or of another version.
    pub fn read(file_system: &dyn FileSystem, directory: &Path) -> Result<Self, JournalError> {
        let path = path(directory);
        let bytes = match read_file(file_system, &path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(JournalError::Absent { path: directory.to_owned() });
            }
            Err(error) => return Err(HostError::from_io("open", &error, path.display().to_string()).into()),
        };
        let damaged = || JournalError::Identity { path: path.clone() };
        let version = foreign::version(&bytes, MAGIC).ok_or_else(damaged)?;
        if version != VERSION {
            return Err(ForeignFile::Version { path, found: version, expected: VERSION }.into());
        }
        let layout = Layout::ref_from_bytes(&bytes).map_err(|_| damaged())?;
        if layout.computed() != layout.checksum {
            return Err(damaged());
        }
        let mode = match layout.mode {
            0 => JournalMode::Sync,
            1 => JournalMode::Async,
            _ => return Err(damaged()),
        };
        let origin = match layout.origin {
            0 => Origin::Birth,
            1 => Origin::Checkpoint,
            _ => return Err(damaged()),
        };
        Ok(Self {
            context: layout.context,
            replica: ReplicaId(layout.replica),
            mode,
            segment_bytes: layout.segment_bytes.get(),
            origin,
            salt: layout.salt,
        })
    }

    /// Writes the file durably.
    pub(super) fn write(&self, file_system: &dyn FileSystem, directory: &Path) -> Result<(), HostError> {
        let mut layout = Layout {
            magic: MAGIC,
            version: VERSION.into(),
            replica: self.replica.0,
            mode: match self.mode {
                JournalMode::Sync => 0,
                JournalMode::Async => 1,
            },
            origin: match self.origin {
                Origin::Birth => 0,
                Origin::Checkpoint => 1,
            },
            reserved: 0,
            context: self.context,
            segment_bytes: self.segment_bytes.into(),
            salt: self.salt,
            checksum: Checksum::default(),
        };
        layout.checksum = layout.computed();
        write_durably(file_system, &path(directory), layout.as_bytes())
    }

    /// Refuses a journal that is not this replica's (`protocol.md JR-5`).
    pub(super) fn check(&self, directory: &Path, config: &JournalConfig) -> Result<(), JournalError> {
        let owned = [
            ("cluster configuration", self.context.to_string(), config.context.to_string()),
            ("replica", self.replica.to_string(), config.replica.to_string()),
        ];
        Ok(foreign::check_owner(&path(directory), owned)?)
    }
}
