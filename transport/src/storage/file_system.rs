//! What storage needs of a file system: the host's, or one that a simulation stands in for.
//!
//! These are the calls of the kernel and no more: what order they come in, and what an error of one means, is the business of those who
//! call them, so that a simulation runs the very same code.

use super::pace::Pace;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read and write a file that is made, and must not be there yet.
    Create,
    /// To write a file that is made, or emptied.
    Replace,
    /// To read and write a file that is there.
    Write,
    /// To read and write a file, which is made where there is none.
    WriteOrCreate,
    /// To read a file or synchronise a directory that is there.
    Read,
}

/// A file system.
pub trait FileSystem: Debug + Send + Sync {
    /// Opens a file; or a directory, to synchronise it.
    ///
    /// # Errors
    ///
    /// Those of `open(2)`.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn OpenFile>>;

    /// Opens a file past the page cache, or through it where the file system refuses.
    ///
    /// # Errors
    ///
    /// Those of `open(2)`.
    fn open_direct(&self, path: &Path, access: Access) -> io::Result<Box<dyn OpenFile>>;

    /// Renames a file within its directory.
    ///
    /// # Errors
    ///
    /// Those of `rename(2)`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// Those of `unlink(2)`.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory and those above it, where there are none.
    ///
    /// # Errors
    ///
    /// Those of `mkdir(2)`.
    fn make_directory(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, in any order.
    ///
    /// # Errors
    ///
    /// Those of `readdir(3)`.
    fn names(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// Whether there is a file or directory of this name.
    ///
    /// # Errors
    ///
    /// Those of `stat(2)`, other than that there is none.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Locks a file, which is made where there is none, for as long as what is returned lives.
    ///
    /// # Errors
    ///
    /// Those of `open(2)` and `flock(2)`; [`ErrorKind::WouldBlock`] when another process has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;

    /// How a worker's time passes, where that is simulated. On a host workers are threads.
    fn pace(&self, worker: &'static str) -> Option<Box<dyn Pace>>;
}

/// A file that is open.
pub trait OpenFile: Debug + Send + Sync {
    /// Its size.
    ///
    /// # Errors
    ///
    /// Those of `fstat(2)`.
    fn bytes(&self) -> io::Result<u64>;

    /// Reads some bytes from `offset` on; none at its end.
    ///
    /// # Errors
    ///
    /// Those of `pread(2)`.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// Those of `pwrite(2)`; any part may then be written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reserves space for so many bytes from its beginning on.
    ///
    /// # Errors
    ///
    /// Those of `fallocate(2)`.
    fn allocate(&self, bytes: u64) -> io::Result<()>;

    /// Waits until what was written is on the disk, and whatever it takes to read it.
    ///
    /// # Errors
    ///
    /// Those of `fdatasync(2)`.
    fn sync_data(&self) -> io::Result<()>;

    /// Waits until what was written, and all that is to be known of the file, is on the disk; of a directory its entries.
    ///
    /// # Errors
    ///
    /// Those of `fsync(2)`.
    fn sync_all(&self) -> io::Result<()>;

    /// Whether reads and writes go past the page cache.
    fn is_direct(&self) -> bool;

    /// What a ring of the kernel calls it by; none where it is not the kernel's.
    fn descriptor(&self) -> Option<RawFd>;
}

/// A lock that is held until this is dropped.
pub trait Lock: Debug + Send {}

/// Reads a whole file.
///
/// # Errors
///
/// When it cannot be opened or read.
pub fn read_file(file_system: &dyn FileSystem, path: &Path) -> io::Result<Vec<u8>> {
    let file = file_system.open(path, Access::Read)?;
    let mut bytes = vec![0; file.bytes()? as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], filled as u64) {
            // It was cut meanwhile.
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// The host's file system.
#[derive(Clone, Copy, Debug)]
pub struct HostFileSystem;

impl HostFileSystem {
    /// As those take it who do not ask which one it is.
    pub fn shared() -> Arc<dyn FileSystem> {
        Arc::new(Self)
    }
}

impl FileSystem for HostFileSystem {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn OpenFile>> {
        Ok(Box::new(HostFile { file: options(access).open(path)?, direct: false }))
    }

    fn open_direct(&self, path: &Path, access: Access) -> io::Result<Box<dyn OpenFile>> {
        match options(access).custom_flags(libc::O_DIRECT).open(path) {
            Ok(file) => Ok(Box::new(HostFile { file, direct: true })),
            // Whether the refused call made the file before it looked at the flag is the file system's choice.
            Err(error) if error.kind() == ErrorKind::InvalidInput => match access {
                Access::Create => self.open(path, Access::WriteOrCreate),
                other => self.open(path, other),
            },
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(HostLock { _file: file })),
            Err(TryLockError::WouldBlock) => Err(ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn pace(&self, _worker: &'static str) -> Option<Box<dyn Pace>> {
        None
    }
}

fn options(access: Access) -> OpenOptions {
    let mut options = OpenOptions::new();
    match access {
        Access::Create => options.read(true).write(true).create_new(true),
        Access::Replace => options.write(true).create(true).truncate(true),
        Access::Write => options.read(true).write(true),
        Access::WriteOrCreate => options.read(true).write(true).create(true).truncate(false),
        Access::Read => options.read(true),
    };
    options
}

#[derive(Debug)]
struct HostFile {
    file: File,
    direct: bool,
}

impl OpenFile for HostFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
            // A file system without the call gets its blocks when they are written.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn is_direct(&self) -> bool {
        self.direct
    }

    fn descriptor(&self) -> Option<RawFd> {
        Some(self.file.as_raw_fd())
    }
}

/// The kernel unlocks it when the process ends, in whatever way.
#[derive(Debug)]
struct HostLock {
    _file: File,
}

impl Lock for HostLock {}
