//! The one place where the time is read.

use crate::replica::Now;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The process's clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// Monotonic time counts from now.
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// The time.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { monotonic_ns: self.started.elapsed().as_nanos() as u64, wall_ns: wall.as_nanos() as u64 }
    }
}
