//! Time, as an argument, read as seldom as is honest.

use std::time::Instant;

/// Nanoseconds since some fixed moment.
pub trait Clock {
    /// The time now; never goes back.
    fn now_ns(&self) -> u64;
}

/// The system's monotonic clock, counted from when this was made.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock(Instant);

impl MonotonicClock {
    /// Starts at zero.
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for MonotonicClock {
    #[inline]
    fn now_ns(&self) -> u64 {
        // 580 years fit.
        self.0.elapsed().as_nanos() as u64
    }
}

/// Uses of one reading before the clock is read again. A reading costs 25 to 50 ns, sending or counting an operation
/// about as much: 32 operations make a reading at most a few microseconds old, and its cost vanish.
const USES_MAX: u32 = 32;

/// A clock that answers from its last reading for a bounded number of uses.
#[derive(Debug)]
pub(super) struct BatchedClock<'c, C> {
    clock: &'c C,
    now_ns: u64,
    uses_left: u32,
    uses_max: u32,
}

impl<'c, C: Clock> BatchedClock<'c, C> {
    /// `exact`: read for every use, for histories, whose intervals must cover what really happened.
    pub(super) fn new(clock: &'c C, exact: bool) -> Self {
        let uses_max = if exact { 0 } else { USES_MAX };
        Self { clock, now_ns: clock.now_ns(), uses_left: 0, uses_max }
    }

    /// Reads the clock.
    #[inline]
    pub(super) fn read(&mut self) -> u64 {
        self.now_ns = self.clock.now_ns();
        self.uses_left = self.uses_max;
        self.now_ns
    }

    /// The last reading, or a new one when that has been used up.
    #[inline]
    pub(super) fn now(&mut self) -> u64 {
        if self.uses_left == 0 {
            return self.read();
        }
        self.uses_left -= 1;
        self.now_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    struct Counting(Cell<u64>);

    impl Clock for Counting {
        fn now_ns(&self) -> u64 {
            self.0.set(self.0.get() + 1);
            self.0.get()
        }
    }

    #[test]
    fn one_reading_serves_a_bounded_number_of_uses() {
        let clock = Counting(Cell::new(0));
        let mut batched = BatchedClock::new(&clock, false);
        let first = batched.read();
        for _ in 0..USES_MAX {
            assert_eq!(batched.now(), first);
        }
        assert_eq!(batched.now(), first + 1);
    }

    #[test]
    fn an_exact_clock_is_read_every_time() {
        let clock = Counting(Cell::new(0));
        let mut batched = BatchedClock::new(&clock, true);
        let first = batched.read();
        assert_eq!((batched.now(), batched.now()), (first + 1, first + 2));
    }
}
