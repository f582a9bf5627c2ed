//! A disk that can be full: a file system in memory, whose size can be changed while it is used.

use crate::network::command;
use logothete::failure::Failure;
use std::path::Path;
use tempfile::TempDir;

/// Such a disk, mounted for this program and its children alone. Dropping it takes it away.
#[derive(Debug)]
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// A disk of so many bytes.
    ///
    /// # Errors
    ///
    /// When it cannot be mounted.
    pub fn mount(bytes: u64) -> Result<Self, Failure> {
        let place =
            tempfile::tempdir().map_err(|error| Failure::Failed(format!("no directory for a disk: {error}")))?;
        let size = format!("size={bytes}");
        command("mount", ["-t", "tmpfs", "-o", &size, "lab", &place.path().display().to_string()])?;
        Ok(Self(place))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Changes its size; to less than it holds cannot be.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn resize(&self, bytes: u64) -> Result<(), Failure> {
        let options = format!("remount,size={bytes}");
        command("mount", ["-o", &options, &self.path().display().to_string()])
    }

    /// How many bytes of it are used.
    ///
    /// # Errors
    ///
    /// When the kernel does not say.
    pub fn used(&self) -> Result<u64, Failure> {
        let status = rustix::fs::statvfs(self.path());
        let status = status.map_err(|error| Failure::of_file("measure", self.path(), &error.into()))?;
        Ok((status.f_blocks - status.f_bfree) * status.f_frsize)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that has not quite ended keeps it a moment longer. Should it fail, the disk is gone with this
        // program's view of the mounts.
        let _ = command("umount", ["-l", &self.path().display().to_string()]);
    }
}
