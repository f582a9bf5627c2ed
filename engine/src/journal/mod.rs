//! What a replica keeps over a restart: the journal of its promises, its durable checkpoints, and its data directory.
//!
//! - `record`: [`Record`], what stands in a journal.
//! - `segment`: the layout of the files: segments, groups, checksums that chain them.
//! - `identity`: whose journal it is.
//! - `foreign`: files that are another's, or of another version.
//! - `writer`: [`Journal`]: records collect in a buffer while one group of them is written.
//! - `supply`: the worker that makes, and recycles, segments.
//! - `recovery`: reading a journal; a torn end is told from damage here.
//! - [`checkpoint_store`]: the last checkpoints as pages in files, written in the background.
//! - [`birth`]: the data directory: first start, resumption, or loss of memory.
//! - [`inspection`]: reading all of it without owning it, for people.
//!
//! What enters: records in the order in which the replica promised them, and snapshots. What must never happen here:
//! a mark reported as durable that is not (`protocol.md JR-1`, `JR-2`), a write tried again after the disk failed
//! (`JR-4`), damage taken for a torn end (`JR-3`), or waiting in [`Journal::append`] and [`Journal::poll`]. Nothing here
//! decides what a record means.

pub mod birth;
pub mod checkpoint_store;
mod error;
mod files;
mod foreign;
mod identity;
pub mod inspection;
mod record;
mod recovery;
mod segment;
mod supply;
#[cfg(test)]
mod tests;
mod writer;

pub use error::{AppendError, FullReason, JournalError};
pub use foreign::ForeignFile;
pub use identity::{Identity, Origin};
pub use record::{Record, RecordError};
pub use recovery::{Contents, SegmentSummary, Torn};
pub use segment::{Salt, VERSION};
pub use writer::{Journal, JournalState, Recovered};

use crate::numbers::ReplicaId;
use logothete_crypto::Digest;
use logothete_transport::storage::{BLOCK_BYTES, Faults, FileSystem, HostFileSystem, StorageChoice};
use std::fmt;
use std::sync::Arc;

/// The place of a record in a journal: the first has 1. A mark is durable when its record and all before it are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(pub u64);

impl Mark {
    /// The mark after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a replica's memory does not do what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The disk, or the bound on the journal, leaves no room: promises wait until there is some.
    Full,
    /// The disk failed, or there is no room and no checkpoint will make any: nothing is promised until a restart.
    Failed,
    /// A checkpoint could not be written: the journal grows to its bound.
    Checkpoint,
    /// After a recovery no journal could be made: nothing is promised.
    Unmade,
}

/// When a record counts as kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalMode {
    /// When it is on the disk.
    Sync,
    /// At once; it is written in the background, and all of it when the journal is closed.
    Async,
}

/// How a journal is kept.
#[derive(Clone, Debug)]
pub struct JournalConfig {
    /// When a record counts as kept.
    pub mode: JournalMode,
    /// The size of a segment, bytes; whole blocks, and room for the longest group.
    pub segment_bytes: u64,
    /// The most segments, spares included: with the size, the bound of what the journal takes on the disk.
    pub segments_max: usize,
    /// The longest group's records, bytes: so much collects while a group is written.
    pub group_bytes_max: usize,
    /// The digest of the cluster's configuration.
    pub context: Digest,
    /// Whose journal.
    pub replica: ReplicaId,
    /// Where its files are.
    pub file_system: Arc<dyn FileSystem>,
    /// How it reaches the disk.
    pub storage: StorageChoice,
    /// Faults that a test arranges.
    pub faults: Option<Arc<Faults>>,
}

impl JournalConfig {
    /// 64 MiB: a segment is made in some 50 ms, and lasts for some hundred milliseconds of the fastest disks.
    pub const SEGMENT_BYTES: u64 = 64 << 20;

    /// 64 segments of the usual size are 4 GiB.
    pub const SEGMENTS_MAX: usize = 64;

    /// 4 MiB: what a disk of 2 GB/s writes in 2 ms, and more than a window of proposals and votes.
    pub const GROUP_BYTES_MAX: usize = 4 << 20;

    /// The usual sizes.
    pub fn new(mode: JournalMode, context: Digest, replica: ReplicaId) -> Self {
        Self {
            mode,
            segment_bytes: Self::SEGMENT_BYTES,
            segments_max: Self::SEGMENTS_MAX,
            group_bytes_max: Self::GROUP_BYTES_MAX,
            context,
            replica,
            file_system: HostFileSystem::shared(),
            storage: StorageChoice::Auto,
            faults: None,
        }
    }

    fn check(&self) {
        let blocks = self.segment_bytes / BLOCK_BYTES as u64;
        assert!(self.segment_bytes.is_multiple_of(BLOCK_BYTES as u64) && blocks <= u64::from(u32::MAX));
        let longest = segment::GROUPS_OFFSET + segment::group_extent(self.group_bytes_max);
        assert!(longest as u64 <= self.segment_bytes, "a segment has room for the longest group");
        assert!(self.segments_max >= 2, "one segment is written to while the next is made");
    }
}
