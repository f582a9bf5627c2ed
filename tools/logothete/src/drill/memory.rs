//! The memory of a drill's processes over time.

use super::shared::Shared;
use logothete_bench::processes::{Watched, usage};
use std::collections::BTreeMap;

/// Between two looks: a soak of 20 minutes has 1,200 of them.
const PERIOD_NS: u64 = 1_000_000_000;

/// Looks that a growth is made of at least; a process that lived for less has none.
const LOOKS_MIN: usize = 20;

/// Values of a series in a report at most: longer ones are thinned out.
const REPORTED_MAX: usize = 240;

/// The resident memory of one process.
#[derive(Clone, Debug)]
struct Series {
    name: String,
    pid: u32,
    rss_bytes: Vec<u64>,
}

/// The resident memory of every process of a run, one value a second.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    series: Vec<Series>,
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
                self.add(name, watched.pid, usage.rss_bytes);
            }
        }
    }

    fn add(&mut self, name: String, pid: u32, rss_bytes: u64) {
        match self.series.iter_mut().find(|series| series.pid == pid && series.name == name) {
            Some(series) => series.rss_bytes.push(rss_bytes),
            None => self.series.push(Series { name, pid, rss_bytes: vec![rss_bytes] }),
        }
    }

    /// How much each process grew after the first quarter of its life, percent: the median of its last twentieth against
    /// that of the twentieth after the first quarter. Of a process that was started several times, the one that lived
    /// longest; nothing of those that lived for less than [`LOOKS_MIN`] looks.
    pub fn growth_percent(&self) -> BTreeMap<String, f64> {
        let longest = self.longest().filter(|series| series.rss_bytes.len() >= LOOKS_MIN);
        longest.map(|series| (series.name.clone(), growth_percent(&series.rss_bytes))).collect()
    }

    /// The series of each process, of the one that lived longest where it was started several times; thinned out evenly.
    pub fn series(&self) -> BTreeMap<String, Vec<u64>> {
        let thinned = |values: &[u64]| {
            let step = values.len().div_ceil(REPORTED_MAX).max(1);
            values.iter().step_by(step).copied().collect()
        };
        self.longest().map(|series| (series.name.clone(), thinned(&series.rss_bytes))).collect()
    }

    fn longest(&self) -> impl Iterator<Item = &Series> {
        let mut longest: BTreeMap<&str, &Series> = BTreeMap::new();
        for series in &self.series {
            let known = longest.entry(&series.name).or_insert(series);
            if series.rss_bytes.len() > known.rss_bytes.len() {
                *known = series;
            }
        }
        longest.into_values()
    }
}

fn growth_percent(values: &[u64]) -> f64 {
    let twentieth = values.len().div_ceil(20);
    let quarter = values.len() / 4;
    let early = median(&values[quarter..(quarter + twentieth)]);
    let late = median(&values[values.len() - twentieth..]);
    (late as f64 - early as f64) / (early.max(1) as f64) * 100.0
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

    #[test]
    fn growth_is_that_after_the_first_quarter() {
        // Fills up, then grows by a tenth.
        let mut values: Vec<u64> = (0..25).map(|second| second * 40).collect();
        values.extend((25..100).map(|second| 1000 + (second - 25) * 100 / 74));
        let growth = growth_percent(&values);
        assert!((9.0..10.5).contains(&growth), "{growth}");
        assert_eq!(growth_percent(&[500; 40]), 0.0);
        assert_eq!(median(&[3, 1, 2]), 2);
    }

    #[test]
    fn the_longest_life_of_each_process_counts() {
        let mut memory = Memory::default();
        for second in 0..100 {
            memory.add(String::from("replica 0"), 7, 1000);
            memory.add(String::from("driver 0"), 8, 1000 + second);
        }
        for _ in 0..50 {
            memory.add(String::from("replica 0"), 9, 5000);
        }
        memory.add(String::from("replica 1"), 10, 1);
        let growth = memory.growth_percent();
        assert_eq!(growth["replica 0"], 0.0);
        assert!(growth["driver 0"] > 5.0);
        assert!(!growth.contains_key("replica 1"), "it lived too short");
        assert_eq!(memory.series()["replica 0"], vec![1000; 100]);
        for _ in 0..1000 {
            memory.add(String::from("replica 1"), 11, 1);
        }
        assert_eq!(memory.series()["replica 1"].len(), 200);
    }
}
