//! Faults on demand.

use std::sync::Mutex;

/// What happens to one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteFault {
    /// The error that the write reports.
    pub errno: i32,
    /// How many of its bytes reach the file all the same.
    pub bytes_kept: usize,
}

/// Faults that a test arranges, shared with the writer and the files that shall meet them. Nothing else makes one.
#[derive(Debug, Default)]
pub struct Faults {
    armed: Mutex<Armed>,
}

#[derive(Debug, Default)]
struct Armed {
    write: Option<WriteFault>,
    create: Option<i32>,
}

impl Faults {
    /// The next write fails.
    pub fn fail_next_write(&self, fault: WriteFault) {
        self.armed().write = Some(fault);
    }

    /// Every preallocation fails with this error number, until `None` is set.
    pub fn fail_creation(&self, errno: Option<i32>) {
        self.armed().create = errno;
    }

    pub(super) fn take_write(&self) -> Option<WriteFault> {
        self.armed().write.take()
    }

    pub(super) fn creation(&self) -> Option<i32> {
        self.armed().create
    }

    fn armed(&self) -> std::sync::MutexGuard<'_, Armed> {
        self.armed.lock().expect("nobody panics while holding the faults")
    }
}
