//! What the threads of a drill share: one clock, and where the drill is.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

/// Which part of a drill latencies count for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Nothing is measured yet.
    Warmup = 0,
    /// Measured, before the first fault.
    Before = 1,
    /// From a fault until its repair has taken effect.
    During = 2,
    /// After the last repair.
    After = 3,
}

impl Phase {
    fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Warmup,
            1 => Self::Before,
            2 => Self::During,
            _ => Self::After,
        }
    }
}

/// Where the drill is, written by its main thread, and how far its other threads are. All of these are figures on their
/// own: none says that other memory may be read.
#[derive(Debug)]
pub struct Shared {
    started: Instant,
    phase: AtomicU8,
    round: AtomicU32,
    /// Operations acknowledged so far.
    acknowledged: AtomicU64,
    /// One after the highest position acknowledged so far.
    acknowledged_end: AtomicU64,
    /// How far the two subscribers have read.
    read_ends: [AtomicU64; 2],
    /// The load shall send nothing more, and end when nothing is in flight.
    drain: AtomicBool,
    /// The load shall end without waiting for answers.
    abandon: AtomicBool,
    /// Where subscribers shall end; [`u64::MAX`] until that is known.
    order_end: AtomicU64,
    /// Everybody shall end now.
    end_now: AtomicBool,
}

impl Shared {
    /// The clock starts here.
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
            phase: AtomicU8::new(Phase::Warmup as u8),
            round: AtomicU32::new(0),
            acknowledged: AtomicU64::new(0),
            acknowledged_end: AtomicU64::new(0),
            read_ends: [AtomicU64::new(0), AtomicU64::new(0)],
            drain: AtomicBool::new(false),
            abandon: AtomicBool::new(false),
            order_end: AtomicU64::new(u64::MAX),
            end_now: AtomicBool::new(false),
        }
    }

    /// Nanoseconds since the start, by the monotonic clock.
    pub fn now_ns(&self) -> u64 {
        // 580 years fit.
        self.started.elapsed().as_nanos() as u64
    }

    /// The same of a moment.
    pub fn at_ns(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.started).as_nanos() as u64
    }

    pub fn phase(&self) -> Phase {
        Phase::from_code(self.phase.load(Ordering::Relaxed))
    }

    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// The round: the time without acknowledgements is kept for each.
    pub fn round(&self) -> u32 {
        self.round.load(Ordering::Relaxed)
    }

    pub fn set_round(&self, round: u32) {
        self.round.store(round, Ordering::Relaxed);
    }

    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// The load: so many more were acknowledged, up to before position `end`.
    pub fn add_acknowledged(&self, count: u64, end: u64) {
        self.acknowledged.fetch_add(count, Ordering::Relaxed);
        self.acknowledged_end.fetch_max(end, Ordering::Relaxed);
    }

    pub fn acknowledged_end(&self) -> u64 {
        self.acknowledged_end.load(Ordering::Relaxed)
    }

    /// A subscriber has read up to before position `end`.
    pub fn set_read_end(&self, reader: usize, end: u64) {
        self.read_ends[reader].store(end, Ordering::Relaxed);
    }

    /// How far the slower subscriber lies behind the acknowledgements, positions.
    pub fn lag(&self) -> u64 {
        let read = self.read_ends.iter().map(|end| end.load(Ordering::Relaxed)).min().unwrap_or(0);
        self.acknowledged_end().saturating_sub(read)
    }

    /// Ends the load; `wait`: for what is in flight.
    pub fn drain(&self, wait: bool) {
        self.abandon.store(!wait, Ordering::Relaxed);
        self.drain.store(true, Ordering::Relaxed);
    }

    pub fn draining(&self) -> bool {
        self.drain.load(Ordering::Relaxed)
    }

    pub fn abandoned(&self) -> bool {
        self.abandon.load(Ordering::Relaxed)
    }

    /// Lets subscribers end before position `end`.
    pub fn set_order_end(&self, end: u64) {
        self.order_end.store(end, Ordering::Relaxed);
    }

    pub fn order_end(&self) -> u64 {
        self.order_end.load(Ordering::Relaxed)
    }

    /// Ends every thread without more ado.
    pub fn end_now(&self) {
        self.drain(false);
        self.end_now.store(true, Ordering::Relaxed);
    }

    pub fn ending_now(&self) -> bool {
        self.end_now.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_pass_between_threads() {
        let shared = Shared::start();
        for phase in [Phase::Warmup, Phase::Before, Phase::During, Phase::After] {
            shared.set_phase(phase);
            assert_eq!(shared.phase(), phase);
        }
    }

    #[test]
    fn the_lag_is_that_of_the_slower_subscriber() {
        let shared = Shared::start();
        shared.add_acknowledged(10, 10);
        assert_eq!(shared.lag(), 10);
        shared.set_read_end(0, 12);
        shared.set_read_end(1, 7);
        assert_eq!(shared.lag(), 3);
        shared.set_read_end(1, 12);
        assert_eq!(shared.lag(), 0, "subscribers may be ahead of the acknowledgements");
    }
}
