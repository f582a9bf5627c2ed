//! The largest of the figures of late: what a replica learns from while all goes well, and forgets with time.

/// The largest figure of the last one to two spans of time.
#[derive(Clone, Debug)]
pub(super) struct Largest {
    span_ns: u64,
    since_ns: u64,
    present: u64,
    former: u64,
}

impl Largest {
    /// Nothing is learned yet; figures are forgotten after one to two spans.
    pub(super) const fn over(span_ns: u64) -> Self {
        Self { span_ns, since_ns: 0, present: 0, former: 0 }
    }

    pub(super) fn learn(&mut self, now_ns: u64, figure: u64) {
        if now_ns.saturating_sub(self.since_ns) >= self.span_ns {
            (self.since_ns, self.former, self.present) = (now_ns, self.present, 0);
        }
        self.present = self.present.max(figure);
    }

    pub(super) fn figure(&self) -> u64 {
        self.present.max(self.former)
    }
}
