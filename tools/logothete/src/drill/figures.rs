//! What the load's thread measures: times without acknowledgements, and latencies by phase.

use super::shared::Phase;
use logothete_bench::latency::{Latencies, LatencySummary};

/// Gaps that are kept to be explained.
const LONGEST_MAX: usize = 5;

/// A time without any acknowledgement, nanoseconds of the drill's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// The last acknowledgement before it, or the begin of the measured time.
    pub begin_ns: u64,
    /// The first acknowledgement after it, or the end of the measured time.
    pub end_ns: u64,
}

impl Gap {
    /// How long it was.
    pub fn length_ns(self) -> u64 {
        self.end_ns - self.begin_ns
    }
}

/// Times without acknowledgements: the longest of each round, and the longest of all.
#[derive(Clone, Debug, Default)]
pub struct Gaps {
    /// The last acknowledgement; none while nothing is measured.
    last_ns: Option<u64>,
    /// The longest gap that ended in each round.
    pub rounds: Vec<Gap>,
    /// The longest of all, longest first.
    pub longest: Vec<Gap>,
}

impl Gaps {
    /// Measured time begins, unless it has begun.
    pub fn begin(&mut self, now_ns: u64) {
        self.last_ns.get_or_insert(now_ns);
    }

    /// Something was acknowledged, or the measured time ends, in `round`.
    #[inline]
    pub fn on_acknowledged(&mut self, now_ns: u64, round: u32) {
        let Some(last_ns) = &mut self.last_ns else {
            return;
        };
        let gap = Gap { begin_ns: *last_ns, end_ns: now_ns.max(*last_ns) };
        *last_ns = gap.end_ns;
        let round = round as usize;
        if round >= self.rounds.len() {
            self.rounds.resize(round + 1, Gap::default());
        }
        if gap.length_ns() > self.rounds[round].length_ns() {
            self.rounds[round] = gap;
        }
        if self.longest.len() < LONGEST_MAX
            || self.longest.last().is_some_and(|shortest| gap.length_ns() > shortest.length_ns())
        {
            let place = self.longest.partition_point(|longer| longer.length_ns() >= gap.length_ns());
            self.longest.insert(place, gap);
            self.longest.truncate(LONGEST_MAX);
        }
    }
}

/// Latencies of the measured phases.
#[derive(Clone, Debug, Default)]
pub struct PhaseLatencies {
    before: Latencies,
    during: Latencies,
    after: Latencies,
}

impl PhaseLatencies {
    /// An operation was acknowledged in `phase`.
    #[inline]
    pub fn record(&mut self, phase: Phase, latency_ns: u64) {
        match phase {
            Phase::Warmup => {}
            Phase::Before => self.before.record(latency_ns),
            Phase::During => self.during.record(latency_ns),
            Phase::After => self.after.record(latency_ns),
        }
    }

    /// Adds what another run measured.
    pub fn add(&mut self, other: &Self) {
        self.before.add(&other.before);
        self.during.add(&other.during);
        self.after.add(&other.after);
    }

    /// Name, count and summary of each phase that had operations.
    pub fn summaries(&self) -> impl Iterator<Item = (&'static str, u64, LatencySummary)> {
        let phases = [("before", &self.before), ("during", &self.during), ("after", &self.after)];
        phases.into_iter().filter(|(_, all)| all.count() > 0).map(|(name, all)| (name, all.count(), all.summary()))
    }

    /// Operations acknowledged while measuring.
    pub fn count(&self) -> u64 {
        self.before.count() + self.during.count() + self.after.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_kept_by_round_with_when_they_were() {
        let mut gaps = Gaps::default();
        gaps.on_acknowledged(50, 0);
        gaps.begin(100);
        gaps.begin(120);
        for (now_ns, round) in [(110, 0), (150, 0), (155, 0), (255, 1), (256, 1), (266, 3)] {
            gaps.on_acknowledged(now_ns, round);
        }
        let lengths: Vec<_> = gaps.rounds.iter().map(|gap| gap.length_ns()).collect();
        assert_eq!(lengths, [40, 100, 0, 10], "nothing before the measured time counts");
        assert_eq!(gaps.longest[0], Gap { begin_ns: 155, end_ns: 255 });
        assert_eq!(gaps.longest[1], Gap { begin_ns: 110, end_ns: 150 });
        assert_eq!(gaps.longest.len(), 5);
    }

    #[test]
    fn latencies_are_kept_by_phase() {
        let mut latencies = PhaseLatencies::default();
        latencies.record(Phase::Warmup, 1);
        latencies.record(Phase::Before, 1000);
        latencies.record(Phase::After, 2000);
        let mut sum = latencies.clone();
        sum.add(&latencies);
        let names: Vec<_> = sum.summaries().map(|(name, count, summary)| (name, count, summary.max)).collect();
        assert_eq!(names, [("before", 2, 1000), ("after", 2, 2000)]);
        assert_eq!(sum.count(), 4);
    }
}
