//! An io_uring with its queues, set up for one thread that polls.

use crate::HostError;
use io_uring::types::{CancelBuilder, SubmitArgs, Timespec};
use io_uring::{CompletionQueue, IoUring, SubmissionQueue, Submitter, cqueue, squeue};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::time::Duration;

/// The ring and its three halves.
///
/// The halves borrow the ring, and the registered descriptor, which saves a look-up a call, is known to this one
/// submitter only: so all of them are made once and kept.
pub(super) struct Ring {
    submitter: ManuallyDrop<Submitter<'static>>,
    submissions: ManuallyDrop<SubmissionQueue<'static>>,
    completions: ManuallyDrop<CompletionQueue<'static>>,
    owner: NonNull<IoUring>,
    registered: bool,
}

impl Ring {
    /// Makes a ring whose completion queue holds `completions`.
    pub(super) fn new(submissions: u32, completions: u32) -> Result<Ring, HostError> {
        let mut builder = IoUring::builder();
        // Completions are worked off when this thread asks for them, never by interrupting it; the flag in the
        // submission queue tells when there is something to ask for, so that polling reads memory only.
        builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
        builder.setup_submit_all().setup_cqsize(completions).dontfork();
        let ring = builder.build(submissions).map_err(|e| unavailable(&e))?;
        let owner = NonNull::from(Box::leak(Box::new(ring)));
        // SAFETY: the box is freed by this value's drop, after the halves' last use.
        let (submitter, submissions, completions) = unsafe { &mut *owner.as_ptr() }.split();
        let mut ring = Ring {
            submitter: ManuallyDrop::new(submitter),
            submissions: ManuallyDrop::new(submissions),
            completions: ManuallyDrop::new(completions),
            owner,
            registered: false,
        };
        // A thread has 16 such descriptors; a seventeenth ring works without.
        ring.registered = ring.submitter.register_ring_fd().is_ok();
        Ok(ring)
    }

    pub(super) fn submitter(&self) -> &Submitter<'static> {
        &self.submitter
    }

    /// Queues an entry, submitting when the queue is full; false when the kernel does not take entries now.
    ///
    /// # Safety
    ///
    /// What the entry points to must stay valid until its completion.
    #[inline]
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: the caller's promise.
        if unsafe { self.submissions.push(entry) }.is_ok() {
            return true;
        }
        let _ = self.enter(0, None);
        // SAFETY: the caller's promise.
        unsafe { self.submissions.push(entry) }.is_ok()
    }

    /// How many entries wait for being submitted.
    #[inline]
    pub(super) fn unsubmitted(&self) -> usize {
        self.submissions.len()
    }

    /// Submits, lets the kernel complete what it can, and waits for `want` completions or the timeout. Errors are
    /// those that break the ring; being interrupted, having to empty the completion queue first, or timing out is not
    /// among them.
    #[inline]
    pub(super) fn enter(&mut self, want: usize, timeout: Option<Duration>) -> Result<(), i32> {
        self.submissions.sync();
        let result = match timeout {
            None => self.submitter.submit_and_wait(want),
            Some(timeout) => {
                let time = Timespec::from(timeout);
                self.submitter.submit_with_args(want, &SubmitArgs::new().timespec(&time))
            }
        };
        self.submissions.sync();
        self.completions.sync();
        match result.map_err(|e| e.raw_os_error().unwrap_or(libc::EIO)) {
            Ok(_) | Err(libc::EINTR | libc::EBUSY | libc::EAGAIN | libc::ETIME | libc::ENOMEM) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Whether the kernel has completions that only an enter brings forth: deferred work, or overflow. Reads memory
    /// only.
    #[inline]
    pub(super) fn has_work(&self) -> bool {
        self.submissions.taskrun() || self.submissions.cq_overflow()
    }

    /// Whether completions are kept back by the kernel because the queue was full.
    #[inline]
    pub(super) fn overflowed(&self) -> bool {
        self.submissions.cq_overflow()
    }

    /// The next completion that is in the queue already.
    #[inline]
    pub(super) fn next(&mut self) -> Option<cqueue::Entry> {
        self.completions.next()
    }

    /// Publishes which completions were taken and looks for new ones.
    #[inline]
    pub(super) fn sync(&mut self) {
        self.completions.sync();
    }

    /// Cancels everything in flight; the completions still have to be taken.
    pub(super) fn cancel_all(&mut self) {
        // Nothing to cancel is an error, and any other one shows in completions that do not come.
        let timeout = Timespec::from(Duration::from_secs(1));
        let _ = self.submitter.register_sync_cancel(Some(timeout), CancelBuilder::any());
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.registered {
            // It belongs to the thread and would outlive the ring. A failure leaves one of 16 places taken.
            let _ = self.submitter.unregister_ring_fd();
        }
        // SAFETY: the box was leaked in `new`; the halves, which are never dropped, are not used again.
        drop(unsafe { Box::from_raw(self.owner.as_ptr()) });
    }
}

/// Why there is no ring.
fn unavailable(error: &std::io::Error) -> HostError {
    let host_error = HostError::from_io("io_uring_setup", error, "a ring");
    let mend = match host_error.errno {
        libc::EPERM | libc::EACCES => {
            "io_uring is forbidden here: set `kernel.io_uring_disabled` to 0, or allow it in the seccomp profile"
        }
        libc::ENOSYS => "this kernel or seccomp profile has no io_uring: use the mmsg transport",
        libc::EINVAL => "io_uring needs Linux 6.1 or newer here: use the mmsg transport",
        libc::ENOMEM => "the memory lock limit is too small: raise `ulimit -l`",
        _ => return host_error,
    };
    host_error.with_mend(mend)
}
