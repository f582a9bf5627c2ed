//! The memory of a drill's processes over time.

use super::shared::Shared;
use logothete_bench::processes::{Watched, usage};
use std::collections::BTreeMap;

/// Between two looks: a soak of 20 minutes has 1,200 of them.
const PERIOD_NS: u64 = 1_000_000_000;

/// How long a process may take to come to the memory that it keeps; half of the run, where that is shorter.
pub const SETTLING_NS: u64 = 300_000_000_000;

/// What a process may grow by after it has settled, percent.
pub const GROWTH_MAX_PERCENT: f64 = 2.0;

/// Looks in a row whose median counts as memory that a process keeps: less is a moment.
const SUSTAINED: usize = 5;

/// Values of a series in a report at most: longer ones are thinned out.
const REPORTED_MAX: usize = 240;

/// The resident memory of one process at one moment.
#[derive(Clone, Copy, Debug)]
struct Look {
    at_ns: u64,
    pid: u32,
    rss_bytes: u64,
}

/// The resident memory of every process of a run, one value a second. A process that was started again goes on under
/// its name.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    looks: BTreeMap<String, Vec<Look>>,
    next_ns: u64,
}

impl Memory {
    /// Looks at the processes, if it is time.
    pub fn look(&mut self, shared: &Shared, processes: impl FnOnce() -> Vec<(String, Watched)>) {
        let now_ns = shared.now_ns();
        if now_ns < self.next_ns {
            return;
        }
        self.next_ns = now_ns + PERIOD_NS;
        for (name, watched) in processes() {
            // A process that has just ended has no memory.
            if let Ok(usage) = usage(watched.pid) {
                self.add(&name, now_ns, watched.pid, usage.rss_bytes);
            }
        }
    }

    /// Keeps what a process had at a moment.
    pub(super) fn add(&mut self, name: &str, at_ns: u64, pid: u32, rss_bytes: u64) {
        self.looks.entry(name.to_owned()).or_default().push(Look { at_ns, pid, rss_bytes });
    }

    /// How long the processes were looked at.
    pub fn duration_ns(&self) -> u64 {
        let looks = || self.looks.values().flatten().map(|look| look.at_ns);
        looks().max().unwrap_or(0) - looks().min().unwrap_or(0)
    }

    /// How much each process grew after it had settled, percent: the most that it kept afterwards against the most that it
    /// kept before. A process that was started again, or whose state was replaced, fills its memory anew: that is why the
    /// highest values are compared, and not the last with an early one. Nothing of a process that was looked at too little.
    pub fn growth_percent(&self) -> BTreeMap<String, f64> {
        let settling_ns = SETTLING_NS.min(self.duration_ns() / 2);
        let grown = self.looks.iter().filter_map(|(name, looks)| {
            let settled_at_ns = looks.first()?.at_ns + settling_ns;
            let (before, after): (Vec<Look>, Vec<Look>) = looks.iter().partition(|look| look.at_ns < settled_at_ns);
            let (before, after) = (most_kept(&before)?, most_kept(&after)?);
            Some((name.clone(), (after as f64 - before as f64) / before.max(1) as f64 * 100.0))
        });
        grown.collect()
    }

    /// The series of each process, thinned out evenly.
    pub fn series(&self) -> BTreeMap<String, Vec<u64>> {
        let thinned = |looks: &[Look]| {
            let step = looks.len().div_ceil(REPORTED_MAX).max(1);
            looks.iter().step_by(step).map(|look| look.rss_bytes).collect()
        };
        self.looks.iter().map(|(name, looks)| (name.clone(), thinned(looks))).collect()
    }
}

/// The most memory that a process kept for [`SUSTAINED`] looks of one life; none if it was never looked at as often.
fn most_kept(looks: &[Look]) -> Option<u64> {
    let of_one_life = |looks: &&[Look]| looks.iter().all(|look| look.pid == looks[0].pid);
    let kept = |looks: &[Look]| median(&looks.iter().map(|look| look.rss_bytes).collect::<Vec<_>>());
    looks.windows(SUSTAINED).filter(of_one_life).map(kept).max()
}

/// The median of at least one value; the upper one of two.
pub fn median(values: &[u64]) -> u64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn memory(values: impl IntoIterator<Item = (u32, u64)>) -> Memory {
        let mut memory = Memory::default();
        for (second, (pid, rss_bytes)) in values.into_iter().enumerate() {
            memory.add("replica 0", second as u64 * SECOND_NS, pid, rss_bytes);
        }
        memory
    }

    #[test]
    fn growth_is_that_after_settling() {
        // Fills up within five minutes, then grows by a tenth.
        let filling = (0..300).map(|second: u64| (7, second.min(200) * 6));
        let growing = (300..1200).map(|second| (7, 1200 + (second - 300) * 120 / 900));
        let growth = memory(filling.chain(growing)).growth_percent()["replica 0"];
        assert!((9.0..10.5).contains(&growth), "{growth}");
        // Half of a run that is shorter.
        let short = memory((0..100).map(|second| (7, if second < 50 { 100 } else { 103 })));
        assert_eq!(short.growth_percent()["replica 0"], 3.0);
        assert_eq!(median(&[3, 1, 2]), 2);
    }

    #[test]
    fn filling_again_is_no_growth_and_a_moment_is_no_level() {
        // Every minute a new life, which begins low; the last one does not come as far.
        let lives = (0..1200u64).map(|second| (second as u32 / 60, 1000 + (second % 60).min(40) * 50));
        assert_eq!(memory(lives).growth_percent()["replica 0"], 0.0);
        let spiky = (0..1200u64).map(|second| (7, if second % 100 < 2 { 5000 } else { 1000 + second / 600 }));
        assert_eq!(memory(spiky).growth_percent()["replica 0"], 0.1);
        // A leak that only later lives have.
        let leaky = (0..1200u64).map(|second| (second as u32 / 60, 1000 + second / 60));
        assert!(memory(leaky).growth_percent()["replica 0"] > 1.0);
    }

    #[test]
    fn a_process_that_was_hardly_looked_at_has_no_growth() {
        assert!(memory([(7, 1000), (7, 1000), (7, 9000)]).growth_percent().is_empty());
        assert!(memory((0..1000).map(|life| (life, 1000))).growth_percent().is_empty());
        let long = memory((0..1000).map(|second| (7, second)));
        assert_eq!(long.series()["replica 0"].len(), 200);
        assert_eq!(long.duration_ns(), 999 * SECOND_NS);
    }
}
