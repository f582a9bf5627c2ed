//! How long a request takes, learned from those that were answered: when to send one again (`protocol.md CL-1`, the
//! scheme of RFC 6298).

use crate::limits::{RETRANSMIT_INITIAL_NS, RETRANSMIT_MAX_NS, RETRANSMIT_MIN_NS};

/// A smoothed round trip and its variation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoundTrip {
    smoothed_ns: u64,
    variation_ns: u64,
}

impl RoundTrip {
    /// A request that was sent once was answered after so long.
    pub(super) fn measured(&mut self, sample_ns: u64) {
        if self.smoothed_ns == 0 {
            (self.smoothed_ns, self.variation_ns) = (sample_ns.max(1), sample_ns / 2);
            return;
        }
        self.variation_ns = (3 * self.variation_ns + self.smoothed_ns.abs_diff(sample_ns)) / 4;
        self.smoothed_ns = ((7 * self.smoothed_ns + sample_ns) / 8).max(1);
    }

    /// How long to wait for a request that was sent `tries` times.
    pub(super) fn timeout_ns(&self, tries: u32) -> u64 {
        let first = match self.smoothed_ns {
            0 => RETRANSMIT_INITIAL_NS,
            smoothed => (smoothed + 4 * self.variation_ns).max(RETRANSMIT_MIN_NS),
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
}
