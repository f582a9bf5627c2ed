//! The back-end without io_uring: a worker writes and synchronises.

use super::event::EventFd;
use super::file_system::FileSystem;
use super::job::{Job, Written};
use super::pace::{Background, Worker};
use crate::HostError;
use std::os::fd::{AsFd, BorrowedFd};

/// See the module's documentation.
pub(super) struct Threaded {
    background: Background<Durably>,
    /// None in simulated time: there is nothing to sleep on.
    event: Option<EventFd>,
}

struct Durably;

impl Worker for Durably {
    type Job = Job;
    type Outcome = Written;

    fn work(&mut self, Job { file, offset, buffer, range }: Job) -> Option<Written> {
        let outcome = file.write_durably(offset, &buffer[range]);
        Some(Written { buffer, outcome })
    }
}

impl Threaded {
    pub(super) fn new(file_system: &dyn FileSystem) -> Result<Threaded, HostError> {
        let name = "logothete-disk";
        let pace = file_system.pace(name);
        let event = if pace.is_none() { Some(EventFd::new()?) } else { None };
        let signal = event.as_ref().map(EventFd::share).transpose()?;
        // One job is under way at most, so neither end ever waits for room.
        Ok(Threaded { background: Background::start(name, 1, Durably, signal, pace)?, event })
    }

    pub(super) fn start(&mut self, job: Job) {
        self.background.send(job);
    }

    pub(super) fn poll(&mut self) -> Option<Written> {
        self.background.poll()
    }

    pub(super) fn wait(&mut self) -> Written {
        self.background.wait()
    }

    pub(super) fn waker(&self) -> Option<BorrowedFd<'_>> {
        self.event.as_ref().map(AsFd::as_fd)
    }

    pub(super) fn share_waker(&self) -> Result<Option<EventFd>, HostError> {
        self.event.as_ref().map(EventFd::share).transpose()
    }
}
