//! How long a request takes, learned from those that were answered: when to send one again (`protocol.md CL-1`, the
//! scheme of RFC 6298, bounded by a multiple of what quick ones take: where packets are lost, what replicas had to ask each other for again
//! must not make the client as slow).

use crate::limits::{RETRANSMIT_INITIAL_NS, RETRANSMIT_MAX_NS, RETRANSMIT_MIN_NS};

/// How many times what quick requests take is waited at most.
const QUICK_FACTOR: u64 = 8;

/// A smoothed round trip and its variation, and what the quicker ones take: a figure that falls faster than it rises.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoundTrip {
    smoothed_ns: u64,
    variation_ns: u64,
    quick_ns: u64,
}

impl RoundTrip {
    /// A request that was sent once was answered after so long.
    pub(super) fn measured(&mut self, sample_ns: u64) {
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

    /// How long to wait for a request that was sent `tries` times.
    pub(super) fn timeout_ns(&self, tries: u32) -> u64 {
        let first = match self.smoothed_ns {
            0 => RETRANSMIT_INITIAL_NS,
            smoothed => (smoothed + 4 * self.variation_ns).min(QUICK_FACTOR * self.quick_ns).max(RETRANSMIT_MIN_NS),
        };
        first.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(RETRANSMIT_MAX_NS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_follows_what_is_measured_and_doubles() {
        let mut trips = RoundTrip::default();
        assert_eq!(trips.timeout_ns(1), RETRANSMIT_INITIAL_NS);
        for _ in 0..100 {
            trips.measured(20_000_000);
        }
        let settled = trips.timeout_ns(1);
        assert!((20_000_000..30_000_000).contains(&settled), "{settled}");
        assert_eq!(trips.timeout_ns(2), 2 * settled);
        assert_eq!(trips.timeout_ns(40), RETRANSMIT_MAX_NS);
        for _ in 0..100 {
            trips.measured(50_000);
        }
        assert_eq!(trips.timeout_ns(1), RETRANSMIT_MIN_NS);
    }

    #[test]
    fn where_packets_are_lost_the_quick_ones_say_how_long_to_wait() {
        let mut trips = RoundTrip::default();
        for at in 0..1000 {
            // Every third had to be asked for again, by replicas.
            trips.measured(if at % 3 == 0 { 80_000_000 } else { 2_000_000 });
        }
        let wait_ns = trips.timeout_ns(1);
        assert!((10_000_000..70_000_000).contains(&wait_ns), "{wait_ns}");
        // All are slow: the cluster has much to do, and nobody sends again before its time.
        for _ in 0..100 {
            trips.measured(80_000_000);
        }
        assert!(trips.timeout_ns(1) > 80_000_000);
    }
}
