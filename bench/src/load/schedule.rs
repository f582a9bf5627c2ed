//! When operations are sent: the pace, the warm-up and the end.

use std::time::Duration;

use super::{Extent, LoadOptions, Pace};

/// When operations are due and when sending ends.
#[derive(Debug)]
pub(super) struct Schedule {
    start_ns: u64,
    pub(super) measured_from_ns: u64,
    /// Only where the run has a duration.
    pub(super) measured_to_ns: Option<u64>,
    /// Measured operations still to be sent, where the run has a number of them.
    operations_left: Option<u64>,
    /// Open loop: nanoseconds between operations.
    period_ns: Option<f64>,
    /// Open loop: operations that have been sent.
    index_next: u64,
}

impl Schedule {
    pub(super) fn new(options: &LoadOptions, start_ns: u64) -> Self {
        let measured_from_ns = start_ns + nanoseconds(options.warmup);
        let (measured_to_ns, operations_left) = match options.extent {
            Extent::Duration(duration) => (Some(measured_from_ns + nanoseconds(duration)), None),
            Extent::Operations(operations) => (None, Some(operations)),
        };
        let period_ns = match options.pace {
            Pace::Closed => None,
            Pace::Open { rate_per_s } => {
                assert!(rate_per_s > 0.0, "the rate of an open loop is positive");
                Some(1e9 / rate_per_s)
            }
        };
        Self { start_ns, measured_from_ns, measured_to_ns, operations_left, period_ns, index_next: 0 }
    }

    /// Whether operations are due at times of their own.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.period_ns.is_some()
    }

    /// Open loop: when the next operation is due.
    pub(super) fn due_next_ns(&self) -> Option<u64> {
        self.period_ns.map(|period_ns| self.due_ns(period_ns, self.index_next))
    }

    /// Open loop: when operation `index` is due. Computed from the start, so that rounding does not add up.
    #[inline]
    fn due_ns(&self, period_ns: f64, index: u64) -> u64 {
        self.start_ns + (index as f64 * period_ns) as u64
    }

    /// The intended time of the next operation, if one may be sent now.
    #[inline]
    pub(super) fn next(&self, now_ns: u64) -> Option<u64> {
        if self.operations_left == Some(0) {
            return None;
        }
        let intended_ns = match self.period_ns {
            None => now_ns,
            Some(period_ns) => self.due_ns(period_ns, self.index_next),
        };
        let within = self.measured_to_ns.is_none_or(|to| intended_ns < to);
        (intended_ns <= now_ns && within).then_some(intended_ns)
    }

    /// An operation was handed over, or refused for good.
    #[inline]
    pub(super) fn sent(&mut self, intended_ns: u64) {
        self.index_next += 1;
        if intended_ns >= self.measured_from_ns
            && let Some(left) = &mut self.operations_left
        {
            *left -= 1;
        }
    }

    /// Whether nothing more will be sent.
    pub(super) fn over(&self, now_ns: u64, silence_max_ns: u64) -> bool {
        match (self.operations_left, self.measured_to_ns, self.period_ns) {
            (Some(left), _, _) => left == 0,
            (None, Some(to), None) => now_ns >= to,
            // What fell due within the time is still sent after it, or a stall at the end would go unseen.
            (None, Some(to), Some(period)) => {
                let all_sent = self.due_ns(period, self.index_next) >= to;
                now_ns >= to && (all_sent || now_ns - to >= silence_max_ns)
            }
            (None, None, _) => unreachable!("a run has a duration or a number of operations"),
        }
    }

    /// Open loop: measured operations that were due before `end_ns` and never sent.
    pub(super) fn unsent(&self, end_ns: u64) -> u64 {
        let Some(period_ns) = self.period_ns else {
            return 0;
        };
        let end_ns = self.measured_to_ns.map_or(end_ns, |to| to.min(end_ns));
        let due_before = |at_ns: u64| (at_ns.saturating_sub(self.start_ns) as f64 / period_ns).ceil() as u64;
        let unsent = due_before(end_ns).saturating_sub(self.index_next.max(due_before(self.measured_from_ns)));
        self.operations_left.map_or(unsent, |left| unsent.min(left))
    }
}

/// Nanoseconds; centuries, far from overflow in a sum, for what does not fit.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn schedule(pace: Pace, extent: Extent) -> Schedule {
        let options = LoadOptions { pace, extent, warmup: Duration::from_secs(1), ..LoadOptions::default() };
        Schedule::new(&options, 5 * SECOND)
    }

    #[test]
    fn an_open_loop_is_due_by_the_clock_and_rounding_does_not_add_up() {
        let mut open = schedule(Pace::Open { rate_per_s: 3.0 }, Extent::Duration(Duration::from_secs(1_000_000)));
        assert_eq!(open.next(5 * SECOND), Some(5 * SECOND));
        open.sent(5 * SECOND);
        assert_eq!(open.next(5 * SECOND + SECOND / 3 - 1), None);
        assert_eq!(open.due_next_ns(), Some(5 * SECOND + SECOND / 3));
        open.index_next = 3_000_000;
        assert_eq!(open.due_next_ns(), Some(1_000_005 * SECOND));
    }

    #[test]
    fn what_was_due_and_never_sent_is_known() {
        let mut open = schedule(Pace::Open { rate_per_s: 10.0 }, Extent::Duration(Duration::from_secs(2)));
        // Due from 5 s on; measured from 6 s to 8 s.
        assert_eq!(open.unsent(100 * SECOND), 20);
        assert_eq!(open.unsent(7 * SECOND), 10);
        assert_eq!(open.unsent(5 * SECOND), 0);
        open.index_next = 15;
        assert_eq!(open.unsent(7 * SECOND), 5);
        assert_eq!(schedule(Pace::Closed, Extent::Operations(7)).unsent(100 * SECOND), 0);
    }

    #[test]
    fn an_open_loop_ends_with_its_time_but_not_before_its_backlog() {
        let mut open = schedule(Pace::Open { rate_per_s: 10.0 }, Extent::Duration(Duration::from_secs(2)));
        let end = 8 * SECOND;
        assert!(!open.over(end, SECOND), "nothing was sent");
        assert!(open.over(end + SECOND, SECOND), "but there is a limit to patience");
        open.index_next = 30;
        assert!(!open.over(end - 1, SECOND));
        assert!(open.over(end, SECOND));
    }

    #[test]
    fn only_measured_operations_count_towards_their_number() {
        let mut closed = schedule(Pace::Closed, Extent::Operations(2));
        closed.sent(5 * SECOND);
        assert!(!closed.over(100 * SECOND, 0));
        closed.sent(6 * SECOND);
        closed.sent(6 * SECOND);
        assert!(closed.over(6 * SECOND, 0));
        assert_eq!(closed.next(7 * SECOND), None);
    }
}
