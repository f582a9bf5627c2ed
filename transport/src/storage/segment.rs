//! A file of a fixed size, all of whose blocks exist.

use super::buffer::{AlignedBuffer, BLOCK_BYTES};
use super::durable::{parent, refused, sync_directory};
use super::faults::Faults;
use super::file_system::{Access, FileSystem, OpenFile};
use crate::HostError;
use std::io::ErrorKind;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

/// Bytes written at a time while a file is filled: large enough that the disk's latency does not count.
const FILL_BYTES: usize = 1 << 20;

/// A file whose writes are overwrites.
///
/// Allocation alone is not enough: an extent that was allocated and never written changes the file system's metadata at
/// its first write, which a durable write then has to wait for. So the whole file is written once when it is made.
#[derive(Debug)]
pub struct SegmentFile {
    file: Box<dyn OpenFile>,
    path: PathBuf,
    bytes: u64,
}

impl SegmentFile {
    /// Makes a file of `bytes` zeros, on the disk and entered in its directory when this returns. Takes as long as
    /// writing it takes.
    ///
    /// # Errors
    ///
    /// When there is such a file, no space, or the disk fails; what was made is removed again.
    ///
    /// # Panics
    ///
    /// When `bytes` is not a positive number of blocks.
    pub fn create(
        file_system: &dyn FileSystem,
        path: &Path,
        bytes: u64,
        faults: Option<&Faults>,
    ) -> Result<SegmentFile, HostError> {
        assert!(bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES as u64), "a file of {bytes} bytes is not whole blocks");
        let file = file_system.open_direct(path, Access::Create).map_err(|error| refused("open", &error, path))?;
        let segment = SegmentFile { file, path: path.to_owned(), bytes };
        let made = match faults.and_then(Faults::creation) {
            Some(errno) => Err(HostError::new("fallocate", errno, path.display().to_string())),
            None => segment.fill(),
        };
        if let Err(error) = made.and_then(|()| sync_directory(file_system, parent(path))) {
            // The space that it took may be what is lacking. A file that stays is found at the next start.
            let _ = file_system.remove(path);
            return Err(error);
        }
        Ok(segment)
    }

    /// Opens a file that was made before.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or its size is not a positive number of blocks.
    pub fn open(file_system: &dyn FileSystem, path: &Path) -> Result<SegmentFile, HostError> {
        Self::open_for(file_system, path, Access::Write)
    }

    /// Opens a file that was made before, to read it only.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_to_read(file_system: &dyn FileSystem, path: &Path) -> Result<SegmentFile, HostError> {
        Self::open_for(file_system, path, Access::Read)
    }

    fn open_for(file_system: &dyn FileSystem, path: &Path, access: Access) -> Result<SegmentFile, HostError> {
        let file = file_system.open_direct(path, access).map_err(|error| refused("open", &error, path))?;
        let bytes = file.bytes().map_err(|error| refused("fstat", &error, path))?;
        if bytes == 0 || !bytes.is_multiple_of(BLOCK_BYTES as u64) {
            let what = format!("{} of {bytes} bytes", path.display());
            let mend = "the file was cut or written to by something else: restore it, or recover from the others";
            return Err(HostError::new("open", libc::EINVAL, what).with_mend(mend));
        }
        Ok(SegmentFile { file, path: path.to_owned(), bytes })
    }

    /// Reads whole blocks from `offset` on: as many as `into` has.
    ///
    /// Past the page cache where the file system allows it: after a failed write the cache may hold what the disk does
    /// not.
    ///
    /// # Errors
    ///
    /// When the disk fails, or the file ends before.
    pub fn read(&self, offset: u64, into: &mut AlignedBuffer) -> Result<(), HostError> {
        let mut filled = 0;
        while filled < into.len() {
            match self.file.read_at(&mut into[filled..], offset + filled as u64) {
                Ok(0) => return Err(refused("pread", &ErrorKind::UnexpectedEof.into(), &self.path)),
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(refused("pread", &error, &self.path)),
            }
        }
        Ok(())
    }

    /// Waits until everything written is on the disk.
    ///
    /// # Errors
    ///
    /// When the disk fails; nothing written since the last success may then be relied on.
    pub fn sync(&self) -> Result<(), HostError> {
        self.file.sync_data().map_err(|error| refused("fdatasync", &error, &self.path))
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where it was made or opened; a rename since then is not seen.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether reads and writes go past the page cache.
    pub fn is_direct(&self) -> bool {
        self.file.is_direct()
    }

    /// The device to which nothing can be written, for tests.
    #[cfg(test)]
    pub(super) fn full() -> SegmentFile {
        let path = PathBuf::from("/dev/full");
        let file = super::file_system::HostFileSystem.open(&path, Access::Write).unwrap();
        SegmentFile { file, path, bytes: BLOCK_BYTES as u64 }
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.file.descriptor().expect("io_uring writes to files of the host")
    }

    /// Writes and waits until it is on the disk.
    pub(super) fn write_durably(&self, offset: u64, bytes: &[u8]) -> Result<(), HostError> {
        self.write(offset, bytes)?;
        self.sync()
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), HostError> {
        self.file.write_all_at(bytes, offset).map_err(|error| refused("pwrite", &error, &self.path))
    }

    fn fill(&self) -> Result<(), HostError> {
        self.file.allocate(self.bytes).map_err(|error| refused("fallocate", &error, &self.path))?;
        let zeros = AlignedBuffer::new(FILL_BYTES.min(self.bytes as usize));
        let mut offset = 0;
        while offset < self.bytes {
            let length = (zeros.len() as u64).min(self.bytes - offset);
            self.write(offset, &zeros[..length as usize])?;
            offset += length;
        }
        self.file.sync_all().map_err(|error| refused("fsync", &error, &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::super::file_system::HostFileSystem;
    use super::*;
    use std::fs;

    #[test]
    fn a_new_file_is_zeros_and_reads_back_what_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("segment");
        let bytes = 3 * FILL_BYTES as u64 / 2;
        let segment = SegmentFile::create(&HostFileSystem, &path, bytes, None).unwrap();
        assert_eq!((segment.bytes(), fs::metadata(&path).unwrap().len()), (bytes, bytes));
        let mut block = AlignedBuffer::new(BLOCK_BYTES);
        block.fill(7);
        segment.write_durably(bytes - BLOCK_BYTES as u64, &block).unwrap();
        drop(segment);
        let segment = SegmentFile::open(&HostFileSystem, &path).unwrap();
        let mut read = AlignedBuffer::new(2 * BLOCK_BYTES);
        segment.read(bytes - 2 * BLOCK_BYTES as u64, &mut read).unwrap();
        assert!(read[..BLOCK_BYTES].iter().all(|byte| *byte == 0));
        assert!(read[BLOCK_BYTES..].iter().all(|byte| *byte == 7));
        assert!(segment.read(bytes, &mut read).is_err());
    }

    #[test]
    fn what_cannot_be_made_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("segment");
        let faults = Faults::default();
        faults.fail_creation(Some(libc::ENOSPC));
        let error = SegmentFile::create(&HostFileSystem, &path, 8192, Some(&faults)).unwrap_err();
        assert_eq!(error.errno, libc::ENOSPC);
        assert!(!path.exists());
        faults.fail_creation(None);
        SegmentFile::create(&HostFileSystem, &path, 8192, Some(&faults)).unwrap();
        assert_eq!(SegmentFile::create(&HostFileSystem, &path, 8192, None).unwrap_err().errno, libc::EEXIST);
        assert!(path.exists());
    }

    #[test]
    fn a_cut_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("segment");
        for bytes in [0, 1, 4097] {
            fs::write(&path, vec![0; bytes]).unwrap();
            assert_eq!(SegmentFile::open(&HostFileSystem, &path).unwrap_err().errno, libc::EINVAL, "{bytes}");
        }
    }
}
