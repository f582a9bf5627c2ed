//! Files whose writes are promises: a write that completed without an error is on the disk.
//!
//! - `file_system`: [`FileSystem`], the calls of the kernel that are needed here: the host's, or a simulation's.
//! - `pace`: [`Background`], work that waits for the disk, on a thread or in simulated time.
//! - `buffer`: memory at the alignment that direct writes need.
//! - `segment`: [`SegmentFile`], a file of a fixed size whose blocks all exist before the first write, so that writing
//!   to it changes no metadata and cannot run out of space.
//! - `writer`: [`GroupWriter`], one durable write at a time, polled without blocking; `uring` and `threaded` are its
//!   back-ends, `job` what these are given and give back.
//! - `event`: [`EventFd`], what wakes the owner's wait when a write has completed.
//! - `durable`: creating, renaming and removing files so that the directory remembers it.
//! - `faults`: [`Faults`], the shim with which tests make writes fail; system call injection does not reach io_uring.
//!
//! What enters are bytes and offsets; what they mean is the caller's. What must never happen here: a write or a sync
//! that failed being tried again as if it had not failed. After a failed sync the kernel may have marked the pages clean
//! (Rebello and others, "Can Applications Recover from fsync Failures?", ATC 2020), so a second one that succeeds proves
//! nothing: the first error is kept and given to every later write.

mod buffer;
mod durable;
mod event;
mod faults;
mod file_system;
mod job;
mod pace;
mod segment;
mod threaded;
mod uring;
mod writer;

pub use buffer::{AlignedBuffer, BLOCK_BYTES};
pub use durable::{remove_durably, rename_durably, sync_directory, write_durably};
pub use event::EventFd;
pub use faults::{Faults, WriteFault};
pub use file_system::{Access, FileSystem, HostFileSystem, Lock, OpenFile, read_file};
pub use job::Written;
pub use pace::{Background, Pace, Worker};
pub use segment::SegmentFile;
pub use writer::{GroupWriter, StorageBackend, StorageChoice};
