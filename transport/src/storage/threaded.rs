//! The back-end without io_uring: a thread writes and synchronises.

use super::event::EventFd;
use super::job::{Job, Written};
use crate::HostError;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

/// See the module's documentation.
pub(super) struct Threaded {
    /// Closed by drop, which ends the thread.
    jobs: Option<SyncSender<Job>>,
    written: Receiver<Written>,
    event: EventFd,
    thread: Option<JoinHandle<()>>,
}

impl Threaded {
    pub(super) fn new() -> Result<Threaded, HostError> {
        let event = EventFd::new()?;
        let signal = event.share()?;
        // One job is under way at most, so neither end ever waits for room.
        let (jobs, taken) = sync_channel::<Job>(1);
        let (done, written) = sync_channel(1);
        let work = move || {
            for Job { file, offset, buffer, range } in taken {
                let outcome = file.write_durably(offset, &buffer[range]);
                if done.send(Written { buffer, outcome }).is_err() {
                    return;
                }
                signal.signal();
            }
        };
        let thread = std::thread::Builder::new().name("logothete-disk".into()).spawn(work);
        let thread = thread.map_err(|error| HostError::from_io("clone", &error, "a thread that writes to the disk"))?;
        Ok(Threaded { jobs: Some(jobs), written, event, thread: Some(thread) })
    }

    pub(super) fn start(&mut self, job: Job) {
        let jobs = self.jobs.as_ref().expect("it is closed by drop only");
        jobs.send(job).expect("the thread ends only when this end is dropped");
    }

    pub(super) fn poll(&mut self) -> Option<Written> {
        match self.written.try_recv() {
            Ok(written) => Some(written),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => panic!("the thread that writes to the disk has died"),
        }
    }

    pub(super) fn wait(&mut self) -> Written {
        self.written.recv().expect("the thread ends only when this end is dropped")
    }

    pub(super) fn waker(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    pub(super) fn share_waker(&self) -> Result<EventFd, HostError> {
        self.event.share()
    }
}

impl Drop for Threaded {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of it was reported where it happened.
            let _ = thread.join();
        }
    }
}
