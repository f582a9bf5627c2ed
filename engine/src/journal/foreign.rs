//! Files of a data directory that are whole, and not for this program or this replica (`protocol.md JR-5`).

use std::path::{Path, PathBuf};
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

/// The advice for whatever only the other replicas can mend.
pub(super) const RECOVER: &str =
    "move the data directory away and let the replica recover from the others with --rejoin";

/// A file that is refused for what it says about itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForeignFile {
    /// Written by another format version.
    #[error(
        "{path} has format version {found}, this program reads {expected}; \
         start the program that wrote it, or {RECOVER}"
    )]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// This build's.
        expected: u32,
    },
    /// Somebody else's.
    #[error(
        "{path} belongs to {what} {found}, this replica is of {what} {expected}; \
         check data_directory and --id, and that the cluster's configuration was not changed"
    )]
    Owner {
        /// Which file.
        path: PathBuf,
        /// Cluster configuration, replica, or capacity.
        what: &'static str,
        /// What the file says.
        found: String,
        /// What this replica is.
        expected: String,
    },
}

/// What a file says of its owner, and what this replica is: the name of a thing, and its two values.
pub(super) type Owned = (&'static str, String, String);

/// The version that a file's beginning names, where it begins with `magic`. It is looked at first: it says what the
/// rest is.
pub(super) fn version(bytes: &[u8], magic: [u8; 8]) -> Option<u32> {
    let (version, _) = U32::read_from_prefix(bytes.strip_prefix(&magic)?).ok()?;
    Some(version.get())
}

/// Refuses a file that says something else of its owner than this replica is.
pub(super) fn check_owner<const N: usize>(path: &Path, owned: [Owned; N]) -> Result<(), ForeignFile> {
    match owned.into_iter().find(|(_, found, expected)| found != expected) {
        None => Ok(()),
        Some((what, found, expected)) => Err(ForeignFile::Owner { path: path.to_owned(), what, found, expected }),
    }
}
