//! The load generator: one thread, any number of sessions, a bounded number of operations outstanding in each.
//!
//! What may enter: pacing, counting and timing. What must never: an allocation, a lock or a system call of its own for
//! an operation; at a million operations a second and half a processor there are 500 ns for each.
//!
//! **Closed loop**: every session keeps its window full, so the service sets the pace. **Open loop**: operations are due
//! at a constant rate whatever the service does, and a latency counts from the moment when the operation was *due*, not
//! from when there was room to send it. A service that stalls for a second is thus charged with all the operations that
//! waited during this second, not with one (Tene's "coordinated omission").
//!
//! A *measured* operation is one that was sent, or in an open loop due, within the measured time: after the warm-up,
//! until the duration is over or the given number is sent. Its answer counts whenever it comes until the end of the
//! drain, and the duration that throughput is divided by reaches to the last such answer.

mod clock;
mod collect;
mod generator;
pub mod history;
mod lane;
mod schedule;
mod session;
mod target;
mod workload;

use std::time::Duration;

pub use clock::{Clock, MonotonicClock};
pub use collect::{Background, Collected, Collector, LoadResult, Phase, Progress, Reads, Second, Slice, SliceSink};
pub use generator::{Figures, Generator};
pub use session::connect;
pub use target::{Access, Answer, Failure, Failures, Refusal, Target};
pub use workload::{KeyValueWorkload, LogWorkload, NullWorkload, Workload};

use self::history::HistoryWriter;

/// When operations are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As soon as a session's window has room.
    Closed,
    /// At this constant rate over all sessions together, operations a second.
    Open {
        /// Operations a second; positive.
        rate_per_s: f64,
    },
}

/// When a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// After this much measured time.
    Duration(Duration),
    /// After this many measured operations.
    Operations(u64),
}

/// How to run the load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadOptions {
    /// Operations in flight a session; at least 1.
    pub outstanding: usize,
    /// Closed or open loop.
    pub pace: Pace,
    /// When it ends.
    pub extent: Extent,
    /// Time before measuring begins, under the same load.
    pub warmup: Duration,
    /// How long nothing may be answered while operations are outstanding, and how long outstanding answers are awaited
    /// at the end. What is missing then has failed as [`Failure::NotAnswered`].
    pub silence_max: Duration,
    /// How often a progress report is made.
    pub slice: Duration,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            outstanding: 1,
            pace: Pace::Closed,
            extent: Extent::Duration(Duration::from_secs(5)),
            warmup: Duration::from_secs(1),
            silence_max: Duration::from_secs(10),
            slice: Duration::from_millis(250),
        }
    }
}

/// Where the by-products of a run go.
pub struct Outlets<'h, H: std::io::Write> {
    /// Called from a thread of its own after every slice.
    pub on_progress: Box<dyn FnMut(&Progress) + Send>,
    /// Gets every call and answer.
    pub history: Option<&'h mut HistoryWriter<H>>,
    /// Keep every second's histogram for an interval log.
    pub intervals_keep: bool,
}

impl Outlets<'static, std::io::Sink> {
    /// No by-products.
    pub fn none() -> Self {
        Self { on_progress: Box::new(|_| ()), history: None, intervals_keep: false }
    }
}

impl<H: std::io::Write> std::fmt::Debug for Outlets<'_, H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlets")
            .field("history", &self.history.is_some())
            .field("intervals_keep", &self.intervals_keep)
            .finish_non_exhaustive()
    }
}

/// Runs the load of `workload` over `targets` on the calling thread until its end or until `stop` becomes true.
///
/// Failures of operations are results, not errors.
///
/// # Errors
/// When the thread that adds the figures up cannot be started.
pub fn run<T: Target, W: Workload, H: std::io::Write>(
    targets: &mut [T],
    workload: &mut W,
    options: &LoadOptions,
    outlets: Outlets<'_, H>,
    stop: &std::sync::atomic::AtomicBool,
) -> std::io::Result<LoadResult> {
    let collector = Collector::new(outlets.intervals_keep, outlets.on_progress);
    let mut background = Background::start(collector)?;
    let clock = MonotonicClock::start();
    let figures = Generator::new(targets, workload, options, &clock, outlets.history).run(stop, &mut background);
    Ok(figures.with(background.finish()))
}
