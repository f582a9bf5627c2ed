//! A descriptor that becomes readable when something has happened.

use crate::HostError;
use rustix::event::EventfdFlags;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// An eventfd. Whoever waits on it also empties it: [`Endpoint::wait`](crate::datagram::Endpoint::wait) does for the
/// wakers registered with it.
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// A new one, not signalled.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left.
    pub fn new() -> Result<EventFd, HostError> {
        rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map(EventFd)
            .map_err(|errno| HostError::new("eventfd", errno.raw_os_error(), "a waker of the journal"))
    }

    /// Wakes whoever waits, or the next to wait.
    pub fn signal(&self) {
        // The count can only refuse to grow when it is near 2^64: then it is signalled anyway.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Another descriptor of the same event, for another thread.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left.
    pub fn share(&self) -> Result<EventFd, HostError> {
        self.0.try_clone().map(EventFd).map_err(|error| HostError::from_io("fcntl", &error, "a waker of the journal"))
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
