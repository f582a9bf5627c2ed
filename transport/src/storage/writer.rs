//! One durable write at a time.

use super::buffer::{AlignedBuffer, BLOCK_BYTES};
use super::event::EventFd;
use super::faults::Faults;
use super::file_system::FileSystem;
use super::job::{Job, Written};
use super::segment::SegmentFile;
use super::threaded::Threaded;
use super::uring::Uring;
use crate::{HostError, cores};
use std::fmt;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// With so few usable cores none is free for the kernel's own workers.
const CORES_SHARED_MAX: usize = 2;

/// Which back-end is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StorageChoice {
    /// io_uring where the host allows it and there are more than two cores to use, else the thread. Where cores are shared
    /// with whatever else runs, the kernel's worker that completes a durable write waits for one, often for a tick of
    /// 4 ms; the thread's own calls were measured at 0.1 to 0.2 ms on the same two cores.
    #[default]
    Auto,
    /// io_uring, or an error.
    IoUring,
    /// A thread that writes and synchronises.
    Threaded,
}

/// Which back-end is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageBackend {
    /// io_uring.
    IoUring,
    /// A thread that writes and synchronises.
    Threaded,
}

impl fmt::Display for StorageBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IoUring => "io_uring",
            Self::Threaded => "a thread with fdatasync",
        })
    }
}

enum Backend {
    IoUring(Box<Uring>),
    Threaded(Threaded),
}

/// Writes to segment files, one write at a time, each durable when it completes. The first failure is final: every later
/// write gets the same error, and touches no file.
pub struct GroupWriter {
    backend: Backend,
    in_flight: bool,
    /// A write that was over before it began.
    refused: Option<Written>,
    failed: Option<HostError>,
    faults: Option<Arc<Faults>>,
}

impl GroupWriter {
    /// Sets up a back-end. io_uring knows files of the host only: where the file system is a simulation, [`StorageChoice::Threaded`]
    /// is what there is.
    ///
    /// # Errors
    ///
    /// When the host refuses the one that is wanted, or any.
    pub fn new(
        file_system: &dyn FileSystem,
        choice: StorageChoice,
        faults: Option<Arc<Faults>>,
    ) -> Result<GroupWriter, HostError> {
        let threaded = || Threaded::new(file_system).map(Backend::Threaded);
        let backend = match choice {
            StorageChoice::IoUring => Backend::IoUring(Box::new(Uring::new()?)),
            StorageChoice::Threaded => threaded()?,
            StorageChoice::Auto if cores::usable().len() <= CORES_SHARED_MAX => threaded()?,
            StorageChoice::Auto => match Uring::new() {
                Ok(uring) => Backend::IoUring(Box::new(uring)),
                Err(_) => threaded()?,
            },
        };
        Ok(GroupWriter { backend, in_flight: false, refused: None, failed: None, faults })
    }

    /// Which back-end it is.
    pub fn backend(&self) -> StorageBackend {
        match self.backend {
            Backend::IoUring(_) => StorageBackend::IoUring,
            Backend::Threaded(_) => StorageBackend::Threaded,
        }
    }

    /// Whether a write was submitted whose outcome was not taken yet.
    pub fn is_in_flight(&self) -> bool {
        self.in_flight
    }

    /// Starts to write `buffer[range]` at `offset` of the file. The buffer comes back with the outcome.
    ///
    /// # Panics
    ///
    /// When a write is in flight, or what is to be written is not whole blocks within file and buffer.
    pub fn submit(&mut self, file: &Arc<SegmentFile>, offset: u64, buffer: AlignedBuffer, range: Range<usize>) {
        assert!(!self.in_flight, "one write at a time");
        let whole = |bytes: u64| bytes.is_multiple_of(BLOCK_BYTES as u64);
        assert!(whole(offset) && whole(range.start as u64) && whole(range.len() as u64) && !range.is_empty());
        assert!(range.end <= buffer.len() && offset + range.len() as u64 <= file.bytes());
        self.in_flight = true;
        if let Some(error) = &self.failed {
            self.refused = Some(Written { buffer, outcome: Err(error.clone()) });
            return;
        }
        if let Some(fault) = self.faults.as_ref().and_then(|faults| faults.take_write()) {
            let kept = fault.bytes_kept.min(range.len()) / BLOCK_BYTES * BLOCK_BYTES;
            let outcome = file.write(offset, &buffer[range.start..range.start + kept]);
            let error = HostError::new("pwritev2", fault.errno, file.path().display().to_string());
            self.refused = Some(Written { buffer, outcome: outcome.and(Err(error)) });
            return;
        }
        let job = Job { file: Arc::clone(file), offset, buffer, range };
        match &mut self.backend {
            Backend::IoUring(uring) => self.refused = uring.start(job),
            Backend::Threaded(threaded) => threaded.start(job),
        }
    }

    /// The outcome of the write in flight, if it is there. Never blocks.
    pub fn poll(&mut self) -> Option<Written> {
        if !self.in_flight {
            return None;
        }
        let written = self.refused.take().or_else(|| match &mut self.backend {
            Backend::IoUring(uring) => uring.poll(),
            Backend::Threaded(threaded) => threaded.poll(),
        })?;
        Some(self.over(written))
    }

    /// Waits for the write in flight; `None` when there is none.
    pub fn wait(&mut self) -> Option<Written> {
        if !self.in_flight {
            return None;
        }
        let written = self.refused.take().unwrap_or_else(|| match &mut self.backend {
            Backend::IoUring(uring) => uring.wait(),
            Backend::Threaded(threaded) => threaded.wait(),
        });
        Some(self.over(written))
    }

    /// Becomes readable when a write completes; whoever waits on it empties it. None in simulated time.
    pub fn waker(&self) -> Option<BorrowedFd<'_>> {
        match &self.backend {
            Backend::IoUring(uring) => Some(uring.waker()),
            Backend::Threaded(threaded) => threaded.waker(),
        }
    }

    /// The same waker, for a thread that has news for the same owner.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left.
    pub fn share_waker(&self) -> Result<Option<EventFd>, HostError> {
        match &self.backend {
            Backend::IoUring(uring) => uring.share_waker().map(Some),
            Backend::Threaded(threaded) => threaded.share_waker(),
        }
    }

    fn over(&mut self, written: Written) -> Written {
        self.in_flight = false;
        if let Err(error) = &written.outcome {
            self.failed.get_or_insert_with(|| error.clone());
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::super::faults::WriteFault;
    use super::super::file_system::HostFileSystem;
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    const CHOICES: [StorageChoice; 2] = [StorageChoice::IoUring, StorageChoice::Threaded];

    /// A writer, where this host offers the back-end.
    fn writer(choice: StorageChoice, faults: Option<Arc<Faults>>) -> Option<GroupWriter> {
        let made = GroupWriter::new(&HostFileSystem, choice, faults);
        assert!(made.is_ok() || choice == StorageChoice::IoUring, "a thread is always to be had");
        made.ok()
    }

    fn segment(directory: &tempfile::TempDir) -> Arc<SegmentFile> {
        Arc::new(
            SegmentFile::create(&HostFileSystem, &directory.path().join("segment"), 16 * BLOCK_BYTES as u64, None)
                .unwrap(),
        )
    }

    fn read(file: &SegmentFile) -> AlignedBuffer {
        let mut all = AlignedBuffer::new(file.bytes() as usize);
        file.read(0, &mut all).unwrap();
        all
    }

    #[test]
    fn writes_complete_wake_and_are_read_back() {
        for choice in CHOICES {
            let directory = tempfile::tempdir().unwrap();
            let file = segment(&directory);
            let Some(mut writer) = writer(choice, None) else { continue };
            assert!(writer.poll().is_none() && writer.wait().is_none());
            let mut buffer = AlignedBuffer::new(4 * BLOCK_BYTES);
            for block in 0..16 {
                buffer[BLOCK_BYTES..].fill(block as u8 + 1);
                writer.submit(&file, (block * BLOCK_BYTES) as u64, buffer, BLOCK_BYTES..2 * BLOCK_BYTES);
                // A bound, not an expectation: the event must come.
                let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
                let waker = writer.waker().expect("a host wakes");
                let ready = poll(&mut [PollFd::new(&waker, PollFlags::IN)], Some(&patience)).unwrap_or(1);
                assert_eq!(ready, 1, "{choice:?}");
                let written = writer.wait().unwrap();
                assert_eq!(written.outcome, Ok(()), "{choice:?}");
                buffer = written.buffer;
                assert!(!writer.is_in_flight());
            }
            for (block, bytes) in read(&file).chunks(BLOCK_BYTES).enumerate() {
                assert!(bytes.iter().all(|byte| *byte == block as u8 + 1), "{choice:?}, block {block}");
            }
        }
    }

    #[test]
    fn the_first_failure_is_final() {
        for choice in CHOICES {
            let directory = tempfile::tempdir().unwrap();
            let file = segment(&directory);
            let faults = Arc::new(Faults::default());
            let Some(mut writer) = writer(choice, Some(Arc::clone(&faults))) else { continue };
            let mut buffer = AlignedBuffer::new(2 * BLOCK_BYTES);
            buffer.fill(9);
            faults.fail_next_write(WriteFault { errno: libc::EIO, bytes_kept: BLOCK_BYTES });
            writer.submit(&file, 0, buffer, 0..2 * BLOCK_BYTES);
            let written = writer.poll().unwrap();
            let error = written.outcome.unwrap_err();
            assert_eq!(error.errno, libc::EIO);
            writer.submit(&file, 4 * BLOCK_BYTES as u64, written.buffer, 0..BLOCK_BYTES);
            assert_eq!(writer.wait().unwrap().outcome, Err(error));
            let all = read(&file);
            assert!(all[..BLOCK_BYTES].iter().all(|byte| *byte == 9));
            assert!(all[BLOCK_BYTES..].iter().all(|byte| *byte == 0), "{choice:?}");
        }
    }

    #[test]
    fn what_the_kernel_refuses_is_an_error() {
        for choice in CHOICES {
            let full = Arc::new(SegmentFile::full());
            let Some(mut writer) = writer(choice, None) else { continue };
            writer.submit(&full, 0, AlignedBuffer::new(BLOCK_BYTES), 0..BLOCK_BYTES);
            assert_eq!(writer.wait().unwrap().outcome.unwrap_err().errno, libc::ENOSPC, "{choice:?}");
        }
    }

    #[test]
    fn a_writer_that_is_dropped_waits_for_its_write() {
        for choice in CHOICES {
            let directory = tempfile::tempdir().unwrap();
            let file = segment(&directory);
            let Some(mut writer) = writer(choice, None) else { continue };
            let mut buffer = AlignedBuffer::new(8 * BLOCK_BYTES);
            buffer.fill(3);
            writer.submit(&file, 0, buffer, 0..8 * BLOCK_BYTES);
            drop(writer);
            assert!(read(&file)[..8 * BLOCK_BYTES].iter().all(|byte| *byte == 3), "{choice:?}");
        }
    }
}
