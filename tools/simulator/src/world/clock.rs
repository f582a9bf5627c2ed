//! A host's two clocks as functions of the virtual time: fast or slow, standing still for a while, set forward or back.

use logothete_engine::replica::Now;

/// The wall clock at the beginning of a run, nanoseconds since 1970.
const WALL_BEGIN_NS: u64 = 1_700_000_000_000_000_000;

/// Parts of a million.
const MILLION: u128 = 1_000_000;

/// The clocks of one host. As made, both go as the virtual time does.
#[derive(Clone, Debug, Default)]
pub struct LocalClock {
    /// From this virtual moment on the present rate holds, and the monotonic clock showed so much then.
    since_ns: u64,
    shown_ns: u64,
    /// How much faster than the virtual time it goes, in parts of a million; below zero: slower.
    rate_ppm: i64,
    frozen: bool,
    /// The wall clock does not follow the monotonic one any more.
    set_right: bool,
    /// What the wall clock has beyond the monotonic one's advance, or beyond the time once it is set right.
    pub wall_offset_ns: i64,
}

impl LocalClock {
    /// What the host sees at a virtual moment, which never goes back.
    pub fn now(&self, virtual_ns: u64) -> Now {
        let monotonic_ns = self.monotonic_ns(virtual_ns);
        let passed_ns = if self.set_right { virtual_ns } else { monotonic_ns };
        Now { monotonic_ns, wall_ns: (WALL_BEGIN_NS + passed_ns).saturating_add_signed(self.wall_offset_ns) }
    }

    fn monotonic_ns(&self, virtual_ns: u64) -> u64 {
        let elapsed_ns = if self.frozen { 0 } else { virtual_ns - self.since_ns };
        self.shown_ns + (u128::from(elapsed_ns) * self.per_million() / MILLION) as u64
    }

    fn per_million(&self) -> u128 {
        u128::from(1_000_000_u64.saturating_add_signed(self.rate_ppm))
    }

    /// The first virtual moment at which the monotonic clock shows `monotonic_ns` or more; never, while it stands still before that.
    pub fn virtual_ns(&self, monotonic_ns: u64) -> u64 {
        match monotonic_ns {
            u64::MAX => u64::MAX,
            _ if monotonic_ns <= self.shown_ns => 0,
            _ if self.frozen => u64::MAX,
            _ => {
                let left_ns = u128::from(monotonic_ns - self.shown_ns) * MILLION;
                self.since_ns + u64::try_from(left_ns.div_ceil(self.per_million())).unwrap_or(u64::MAX / 2)
            }
        }
    }

    /// From now on it goes at this rate.
    pub fn set_rate(&mut self, virtual_ns: u64, rate_ppm: i64) {
        self.settle(virtual_ns);
        self.rate_ppm = rate_ppm;
    }

    /// From now on it stands still, or it goes on from what it shows.
    pub fn freeze(&mut self, virtual_ns: u64, frozen: bool) {
        self.settle(virtual_ns);
        self.frozen = frozen;
    }

    /// The monotonic clock shows so much more at once, and the wall clock with it: as after the host was suspended.
    pub fn leap(&mut self, virtual_ns: u64, by_ns: u64) {
        self.settle(virtual_ns);
        self.shown_ns += by_ns;
    }

    /// From now on the wall clock is off by what it was at the beginning, and by no more: something sets it, as hosts' wall clocks are set.
    pub fn set_right(&mut self) {
        self.set_right = true;
    }

    fn settle(&mut self, virtual_ns: u64) {
        (self.shown_ns, self.since_ns) = (self.monotonic_ns(virtual_ns), virtual_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::random::Random;

    #[test]
    fn as_made_it_shows_the_virtual_time() {
        let clock = LocalClock::default();
        let shown = clock.now(7);
        assert_eq!((shown.monotonic_ns, shown.wall_ns), (7, WALL_BEGIN_NS + 7));
        assert_eq!(clock.virtual_ns(7), 7);
        assert_eq!(clock.virtual_ns(u64::MAX), u64::MAX);
    }

    #[test]
    fn what_is_due_is_due_at_the_first_moment_that_shows_it() {
        let mut random = Random::new(5);
        for _ in 0..1000 {
            let mut clock = LocalClock::default();
            clock.set_rate(1_000, random.below(200_001) as i64 - 100_000);
            clock.leap(2_000, random.below(5_000) as u64);
            let due_ns = clock.now(3_000).monotonic_ns + 1 + random.below(1_000_000) as u64;
            let at_ns = clock.virtual_ns(due_ns);
            assert!(clock.now(at_ns).monotonic_ns >= due_ns);
            assert!(clock.now(at_ns - 1).monotonic_ns < due_ns);
        }
    }

    #[test]
    fn a_wall_clock_that_is_set_right_stays_right() {
        let mut clock = LocalClock { wall_offset_ns: 5, ..LocalClock::default() };
        clock.set_rate(0, 100_000);
        assert_eq!(clock.now(1_000).wall_ns, WALL_BEGIN_NS + 1_105);
        clock.set_right();
        clock.set_rate(1_000, -100_000);
        let shown = clock.now(2_000);
        assert_eq!((shown.monotonic_ns, shown.wall_ns), (2_000, WALL_BEGIN_NS + 2_005));
    }

    #[test]
    fn a_frozen_clock_makes_nothing_due() {
        let mut clock = LocalClock::default();
        clock.freeze(10, true);
        assert_eq!(clock.now(500).monotonic_ns, 10);
        assert_eq!(clock.virtual_ns(11), u64::MAX);
        clock.freeze(1_000, false);
        assert_eq!(clock.now(1_005).monotonic_ns, 15);
        assert_eq!(clock.virtual_ns(11), 1_001);
    }
}
