//! The targets, one file a boundary.

pub mod client;
pub mod decision;
pub mod files;
pub mod follower;
pub mod keys;
pub mod records;
pub mod replica;
pub mod service;
pub mod session;
mod stage;
pub mod transfer;
pub mod verifier;
pub mod wire;

/// A folder for the files of one input, in memory where the host has a file system there: an input takes less time than a disk.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a host has a place for temporary files")
}
