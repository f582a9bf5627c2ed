//! Why a journal cannot be read, or not be written.

use super::Mark;
use super::foreign::{ForeignFile, RECOVER};
use logothete_transport::HostError;
use std::path::PathBuf;

/// A journal that cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The host refused something.
    #[error(transparent)]
    Host(#[from] HostError),
    /// There is a journal already.
    #[error("{path} holds a journal already; a new one would forget what the replica promised: open it instead")]
    Exists {
        /// The journal's directory.
        path: PathBuf,
    },
    /// There is none.
    #[error("{path} holds no journal; {RECOVER}")]
    Absent {
        /// The journal's directory.
        path: PathBuf,
    },
    /// Of another version, or somebody else's (`protocol.md JR-5`).
    #[error(transparent)]
    Foreign(#[from] ForeignFile),
    /// What was durable is damaged (`protocol.md JR-3`).
    #[error("journal segment {segment} is damaged at byte {offset}: {reason}; {RECOVER}")]
    Corrupt {
        /// The segment's number.
        segment: u64,
        /// Where the damage begins.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// The file that says whose journal it is, is damaged.
    #[error("{path} is damaged; {RECOVER}")]
    Identity {
        /// Which file.
        path: PathBuf,
    },
    /// A segment is not there.
    #[error("journal segment {segment} is missing; restore the file, or {RECOVER}")]
    Missing {
        /// Its number.
        segment: u64,
    },
    /// The journal begins after the first record that is needed.
    #[error("the journal begins with record {first}, and records from {needed} on are needed; {RECOVER}")]
    BeginsLate {
        /// The first record there is.
        first: Mark,
        /// The first that is needed.
        needed: Mark,
    },
    /// The journal ends before the first record that is needed: it is older than what was written after it (`protocol.md JR-6`).
    #[error("the journal ends with record {last}, and a checkpoint needs records from {needed} on; {RECOVER}")]
    EndsEarly {
        /// The last record there is.
        last: Mark,
        /// The first that is needed.
        needed: Mark,
    },
    /// There is no room for the next segment.
    #[error("the journal cannot be closed: {0}")]
    Full(FullReason),
}

/// Why the journal has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FullReason {
    /// The file system has none.
    #[error("the file system has no room for another journal segment: make room; the replica then goes on")]
    Disk,
    /// The bound that was configured is reached: checkpoints do not become durable.
    #[error("the journal has as many segments as it may have, and none can be trimmed before the next checkpoint")]
    Bound,
}

/// Why a record was not taken. Nothing of it was written, and nothing may be promised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Records come faster than the disk takes them: try again after a write completed.
    #[error("the journal's buffer is full until a write completes")]
    Busy,
    /// There is no room for the next segment: try again later.
    #[error(transparent)]
    Full(FullReason),
    /// The disk failed (`protocol.md JR-4`): this journal takes no record any more.
    #[error("the journal failed: {0}")]
    Failed(HostError),
    /// Longer than a group.
    #[error("a record of {bytes} bytes is longer than the {bytes_max} of a group")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The longest that is taken.
        bytes_max: usize,
    },
}
