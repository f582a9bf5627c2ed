//! The back-end over io_uring: one write with `RWF_DSYNC`, whose completion is found by reading memory.
//!
//! The ring has the default flags, other than that for datagrams: it may be made on one thread and used on another, and
//! one interrupt for each write that takes a hundred microseconds does not count.

use super::buffer::BLOCK_BYTES;
use super::event::EventFd;
use super::job::{Job, Written};
use crate::HostError;
use io_uring::types::Fd;
use io_uring::{IoUring, opcode};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// How often one write is tried that was interrupted, or done in part.
const TRIES_MAX: u32 = 16;

/// See the module's documentation.
pub(super) struct Uring {
    ring: IoUring,
    event: EventFd,
    flight: Option<Flight>,
}

/// A write under way: the kernel reads from its buffer, which is given back or freed only after the completion.
struct Flight {
    job: ManuallyDrop<Job>,
    /// Bytes of the range that are written.
    done: usize,
    tries: u32,
}

impl Uring {
    pub(super) fn new() -> Result<Uring, HostError> {
        let ring = IoUring::builder().dontfork().build(2);
        let ring = ring.map_err(|error| HostError::from_io("io_uring_setup", &error, "a ring for the journal"))?;
        let event = EventFd::new()?;
        ring.submitter()
            .register_eventfd(event.as_fd().as_raw_fd())
            .map_err(|error| HostError::from_io("io_uring_register", &error, "the journal's waker"))?;
        Ok(Uring { ring, event, flight: None })
    }

    /// Starts a write; gives it back at once when the kernel does not take it.
    pub(super) fn start(&mut self, job: Job) -> Option<Written> {
        assert!(self.flight.is_none(), "one write at a time");
        self.flight = Some(Flight { job: ManuallyDrop::new(job), done: 0, tries: 0 });
        self.submit().err().map(|errno| self.finish(Err(errno)))
    }

    pub(super) fn poll(&mut self) -> Option<Written> {
        let completed = self.ring.completion().next()?;
        self.completed(completed.result())
    }

    pub(super) fn wait(&mut self) -> Written {
        loop {
            if let Some(written) = self.poll() {
                return written;
            }
            match self.ring.submit_and_wait(1) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                // The kernel knows the ring and the write: a refusal to wait is a bug of this file.
                Err(error) => panic!("io_uring_enter refuses to wait for a write: {error}"),
            }
        }
    }

    pub(super) fn waker(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    pub(super) fn share_waker(&self) -> Result<EventFd, HostError> {
        self.event.share()
    }

    fn submit(&mut self) -> Result<(), i32> {
        let flight = self.flight.as_mut().expect("a write is under way");
        flight.tries += 1;
        let Job { file, offset, buffer, range } = &*flight.job;
        let rest = &buffer[range.start + flight.done..range.end];
        let entry = opcode::Write::new(Fd(file.descriptor()), rest.as_ptr(), rest.len() as u32)
            .offset(offset + flight.done as u64)
            .rw_flags(libc::RWF_DSYNC)
            .build();
        // SAFETY: the job, with buffer and file, stays in `flight` until the completion was taken; see `drop` as well.
        unsafe { self.ring.submission().push(&entry) }.expect("an empty queue has room");
        for _ in 0..TRIES_MAX {
            match self.ring.submit() {
                Ok(_) => return Ok(()),
                Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY)) => {}
                Err(error) => return Err(error.raw_os_error().unwrap_or(libc::EIO)),
            }
        }
        Err(libc::EAGAIN)
    }

    fn completed(&mut self, result: i32) -> Option<Written> {
        let flight = self.flight.as_mut()?;
        let left = flight.job.range.len() - flight.done;
        let again = match result {
            _ if result >= 0 && result as usize == left => return Some(self.finish(Ok(()))),
            // Written in part: no error, and a hole unless the rest follows.
            1.. if (result as usize).is_multiple_of(BLOCK_BYTES) => {
                flight.done += result as usize;
                true
            }
            _ => matches!(-result, libc::EINTR | libc::EAGAIN),
        };
        let errno = if result < 0 { -result } else { libc::EIO };
        if !again || flight.tries >= TRIES_MAX {
            return Some(self.finish(Err(errno)));
        }
        self.submit().err().map(|errno| self.finish(Err(errno)))
    }

    /// Takes the write out: the kernel has completed it, or never got it.
    fn finish(&mut self, outcome: Result<(), i32>) -> Written {
        let flight = self.flight.take().expect("a write is under way");
        let Job { file, buffer, .. } = ManuallyDrop::into_inner(flight.job);
        let outcome = outcome.map_err(|errno| HostError::new("pwritev2", errno, file.path().display().to_string()));
        Written { buffer, outcome }
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        if self.flight.is_some() {
            // The kernel reads from the buffer until then.
            let _ = self.wait();
        }
    }
}
