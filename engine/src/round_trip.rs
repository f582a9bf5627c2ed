//! How long an exchange with the other replicas takes, learned from those that came to an end: when to ask again for what may be lost (`protocol.md CL-1`,
//! `RD-2`, `RT-1`; the scheme of RFC 6298, bounded by a multiple of what quick ones take: where packets are lost, what others had to ask each
//! other for again must not make one as slow as they were).

use crate::limits::{
    QUERY_PATIENCE_MIN_NS, RETRANSMIT_EAGER, RETRANSMIT_INITIAL_NS, RETRANSMIT_MAX_NS, RETRANSMIT_MIN_NS, STATUS_EAGER,
    STATUS_STUCK_MAX_NS, STATUS_STUCK_MIN_NS, STATUS_STUCK_NS,
};

/// How many times what quick ones take is waited at most.
const QUICK_FACTOR: u64 = 4;

/// Between what a learned wait lies, nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The first wait while nothing was measured.
    unmeasured_ns: u64,
    shortest_ns: u64,
    /// The longest first wait.
    first_ns: u64,
    /// So many further ones are sent at the first distance before it doubles: one of them, or what it is answered, may be lost.
    eager: u32,
    /// The longest wait, doublings included.
    longest_ns: u64,
}

impl Bounds {
    /// A client's requests: how long replies are waited for.
    pub(crate) const REQUESTS: Self = Self {
        unmeasured_ns: RETRANSMIT_INITIAL_NS,
        shortest_ns: RETRANSMIT_MIN_NS,
        first_ns: RETRANSMIT_MAX_NS,
        eager: RETRANSMIT_EAGER,
        longest_ns: RETRANSMIT_MAX_NS,
    };

    /// A client's queries: how long answers are waited for, before one is ordered.
    pub(crate) const QUERIES: Self = Self { shortest_ns: QUERY_PATIENCE_MIN_NS, ..Self::REQUESTS };

    /// A replica's statuses: how long one that has work is without progress before it says what it lacks.
    pub(crate) const STATUSES: Self = Self {
        unmeasured_ns: STATUS_STUCK_NS,
        shortest_ns: STATUS_STUCK_MIN_NS,
        first_ns: STATUS_STUCK_NS,
        eager: STATUS_EAGER,
        longest_ns: STATUS_STUCK_MAX_NS,
    };
}

/// A smoothed round trip and its variation, and what the quicker ones take: a figure that falls faster than it rises.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RoundTrip {
    smoothed_ns: u64,
    variation_ns: u64,
    quick_ns: u64,
}

impl RoundTrip {
    /// One came to an end after so long.
    pub(crate) fn measured(&mut self, sample_ns: u64) {
        if self.smoothed_ns == 0 {
            (self.smoothed_ns, self.variation_ns, self.quick_ns) = (sample_ns.max(1), sample_ns / 2, sample_ns);
            return;
        }
        self.variation_ns = (3 * self.variation_ns + self.smoothed_ns.abs_diff(sample_ns)) / 4;
        self.smoothed_ns = ((7 * self.smoothed_ns + sample_ns) / 8).max(1);
        self.quick_ns = match sample_ns < self.quick_ns {
            true => (self.quick_ns + sample_ns) / 2,
            false => self.quick_ns + (sample_ns - self.quick_ns) / 16,
        };
    }

    /// How long to wait for what was sent `tries` times.
    pub(crate) fn timeout_ns(&self, bounds: Bounds, tries: u32) -> u64 {
        let first = match self.smoothed_ns {
            0 => bounds.unmeasured_ns,
            smoothed => (smoothed + 4 * self.variation_ns)
                .min(QUICK_FACTOR * self.quick_ns)
                .clamp(bounds.shortest_ns, bounds.first_ns),
        };
        first.saturating_mul(1 << tries.saturating_sub(1 + bounds.eager).min(16)).min(bounds.longest_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_follows_what_is_measured_and_doubles() {
        let mut trips = RoundTrip::default();
        let wait_ns = |trips: &RoundTrip, tries| trips.timeout_ns(Bounds::REQUESTS, tries);
        assert_eq!(wait_ns(&trips, 1), RETRANSMIT_INITIAL_NS);
        for _ in 0..100 {
            trips.measured(20_000_000);
        }
        let settled = wait_ns(&trips, 1);
        assert!((20_000_000..30_000_000).contains(&settled), "{settled}");
        assert_eq!(wait_ns(&trips, 2), settled);
        assert_eq!(wait_ns(&trips, 3), 2 * settled);
        assert_eq!(wait_ns(&trips, 40), RETRANSMIT_MAX_NS);
        for _ in 0..100 {
            trips.measured(50_000);
        }
        assert_eq!(wait_ns(&trips, 1), RETRANSMIT_MIN_NS);
        assert_eq!(trips.timeout_ns(Bounds::QUERIES, 1), QUERY_PATIENCE_MIN_NS);
    }

    #[test]
    fn where_packets_are_lost_the_quick_ones_say_how_long_to_wait() {
        let mut trips = RoundTrip::default();
        for at in 0..1000 {
            // Every third had to be asked for again, by replicas.
            trips.measured(if at % 3 == 0 { 80_000_000 } else { 2_000_000 });
        }
        let wait_ns = trips.timeout_ns(Bounds::REQUESTS, 1);
        assert!((10_000_000..70_000_000).contains(&wait_ns), "{wait_ns}");
        // All are slow: the cluster has much to do, and nobody sends again before its time.
        for _ in 0..100 {
            trips.measured(80_000_000);
        }
        assert!(trips.timeout_ns(Bounds::REQUESTS, 1) > 80_000_000);
    }

    #[test]
    fn a_replica_says_what_it_lacks_after_what_batches_take_and_never_later_than_at_first() {
        let mut gaps = RoundTrip::default();
        assert_eq!(gaps.timeout_ns(Bounds::STATUSES, 1), STATUS_STUCK_NS);
        for _ in 0..100 {
            gaps.measured(200_000);
        }
        assert_eq!(gaps.timeout_ns(Bounds::STATUSES, 1), STATUS_STUCK_MIN_NS);
        for _ in 0..100 {
            gaps.measured(1_500_000);
        }
        let wait_ns = gaps.timeout_ns(Bounds::STATUSES, 1);
        assert!((1_500_000..2_000_000).contains(&wait_ns), "{wait_ns}");
        for _ in 0..100 {
            gaps.measured(40_000_000);
        }
        assert_eq!(gaps.timeout_ns(Bounds::STATUSES, 1), STATUS_STUCK_NS);
        assert_eq!(gaps.timeout_ns(Bounds::STATUSES, 3), STATUS_STUCK_NS);
        assert_eq!(gaps.timeout_ns(Bounds::STATUSES, 5), 4 * STATUS_STUCK_NS);
        assert_eq!(gaps.timeout_ns(Bounds::STATUSES, 30), STATUS_STUCK_MAX_NS);
    }
}
