//! From slices of time, as the generator cuts them, to the figures of a run.
//!
//! The generator's thread only counts. Every quarter of a second it hands its full [`Slice`] to a [`SliceSink`] and goes
//! on with an empty one; adding up, percentiles and progress lines happen on another thread ([`Background`]), so that
//! they do not show as latency.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use super::target::Failures;
use crate::latency::{Interval, Latencies};

/// The part of the run to which a slice belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Before measuring.
    #[default]
    Warmup,
    /// Measuring.
    Measured,
    /// Nothing new is sent; outstanding answers are awaited.
    Drain,
}

/// Reads that were answered well.
#[derive(Clone, Debug, Default)]
pub struct Reads {
    /// Their latencies, which are among all latencies too.
    pub latencies: Latencies,
    /// Those that a quorum answered alike at once; the others had to be ordered.
    pub one_round_trip: u64,
}

impl Reads {
    #[inline]
    pub(super) fn record(&mut self, latency_ns: u64, ordered: bool) {
        self.latencies.record(latency_ns);
        self.one_round_trip += u64::from(!ordered);
    }

    fn add(&mut self, other: &Reads) {
        self.latencies.add(&other.latencies);
        self.one_round_trip += other.one_round_trip;
    }

    fn clear(&mut self) {
        self.latencies.clear();
        self.one_round_trip = 0;
    }
}

/// What happened in one slice of time.
#[derive(Clone, Debug, Default)]
pub struct Slice {
    /// Where it belongs.
    pub phase: Phase,
    /// Start, on the generator's clock.
    pub start_ns: u64,
    /// End, on the generator's clock.
    pub end_ns: u64,
    /// Answers that came in it and were good, of warm-up operations too.
    pub acknowledged: u64,
    /// Operations that failed in it.
    pub failed: u64,
    /// Latencies of the measured operations answered in it.
    pub latencies: Latencies,
    /// The reads among them.
    pub reads: Reads,
}

impl Slice {
    fn clear(&mut self) {
        // Field by field: the histogram keeps its memory.
        self.phase = Phase::default();
        (self.start_ns, self.end_ns) = (0, 0);
        (self.acknowledged, self.failed) = (0, 0);
        self.latencies.clear();
        self.reads.clear();
    }
}

/// Takes full slices.
pub trait SliceSink {
    /// Takes what `slice` holds and leaves an empty one.
    fn exchange(&mut self, slice: &mut Slice);
}

/// One second of the measured time (the last one may be shorter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Second {
    /// Start, from the beginning of the measured time.
    pub start_ns: u64,
    /// Length.
    pub duration_ns: u64,
    /// Answers that came in it and were good.
    pub acknowledged: u64,
    /// Operations that failed in it.
    pub failed: u64,
    /// Median latency; 0 without answers.
    pub p50_ns: u64,
    /// 99 % of the answers were not slower.
    pub p99_ns: u64,
    /// The slowest answer.
    pub max_ns: u64,
}

impl Second {
    /// Good answers a second.
    pub fn acknowledged_per_s(&self) -> f64 {
        self.acknowledged as f64 * 1e9 / self.duration_ns.max(1) as f64
    }
}

/// A sign of life while the load runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// The part of the run.
    pub phase: Phase,
    /// Time since the generator started.
    pub elapsed: Duration,
    /// Good answers a second, over the last slice.
    pub rate_per_s: f64,
    /// Median latency over the last slice; 0 while warming up or without answers.
    pub p50_ns: u64,
    /// Operations that failed so far.
    pub failed: u64,
}

/// What a run of the load generator found.
#[derive(Clone, Debug)]
pub struct LoadResult {
    /// Measured operations that were answered well.
    pub acknowledged: u64,
    /// Measured operations that failed, by kind.
    pub failures: Failures,
    /// Operations of the warm-up that failed, by kind.
    pub failures_warmup: Failures,
    /// From the start of the measured time to its end, or to the last answer of a measured operation if that is later.
    pub duration_ns: u64,
    /// The longest time without any good answer within the measured time, its two ends included.
    pub acknowledgement_gap_max_ns: u64,
    /// Latencies of the measured operations; in an open loop from the intended time of sending.
    pub latencies: Latencies,
    /// The reads among the measured operations.
    pub reads: Reads,
    /// The measured time, second by second.
    pub seconds: Vec<Second>,
    /// The same seconds with all their latencies, for an interval log; empty unless asked for.
    pub intervals: Vec<Interval>,
    /// Whether the run ended before its time because it was told to.
    pub stopped: bool,
}

impl LoadResult {
    /// Good answers a second.
    pub fn throughput_per_s(&self) -> f64 {
        if self.duration_ns == 0 { 0.0 } else { self.acknowledged as f64 * 1e9 / self.duration_ns as f64 }
    }
}

/// Adds slices up.
pub struct Collector {
    latencies: Latencies,
    reads: Reads,
    second: Slice,
    measured_from_ns: Option<u64>,
    seconds: Vec<Second>,
    intervals: Option<Vec<Interval>>,
    failed: u64,
    on_progress: Box<dyn FnMut(&Progress) + Send>,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collector").field("seconds", &self.seconds.len()).field("failed", &self.failed).finish()
    }
}

/// The figures that a [`Collector`] added up.
#[derive(Clone, Debug)]
pub struct Collected {
    /// All latencies.
    pub latencies: Latencies,
    /// The reads among them.
    pub reads: Reads,
    /// The measured time, second by second.
    pub seconds: Vec<Second>,
    /// The same with all latencies, if they were kept.
    pub intervals: Vec<Interval>,
}

const SECOND_NS: u64 = 1_000_000_000;

impl Collector {
    /// `intervals_keep`: keep the histogram of every second, some 260 KB each, for an interval log.
    pub fn new(intervals_keep: bool, on_progress: Box<dyn FnMut(&Progress) + Send>) -> Self {
        Self {
            latencies: Latencies::new(),
            reads: Reads::default(),
            second: Slice::default(),
            measured_from_ns: None,
            seconds: Vec::new(),
            intervals: intervals_keep.then(Vec::new),
            failed: 0,
            on_progress,
        }
    }

    /// Adds one slice.
    pub fn add(&mut self, slice: &Slice) {
        self.failed += slice.failed;
        let duration_ns = (slice.end_ns - slice.start_ns).max(1);
        (self.on_progress)(&Progress {
            phase: slice.phase,
            elapsed: Duration::from_nanos(slice.end_ns),
            rate_per_s: slice.acknowledged as f64 * 1e9 / duration_ns as f64,
            p50_ns: slice.latencies.quantile_ns(0.5),
            failed: self.failed,
        });
        // Measured operations answered while draining belong to the run's latencies, not to a second of its time.
        self.latencies.add(&slice.latencies);
        if slice.reads.latencies.count() > 0 {
            self.reads.add(&slice.reads);
        }
        if slice.phase != Phase::Measured {
            self.second_end();
            return;
        }
        if self.second.end_ns == 0 {
            self.second.start_ns = slice.start_ns;
        }
        self.second.end_ns = slice.end_ns;
        self.second.acknowledged += slice.acknowledged;
        self.second.failed += slice.failed;
        self.second.latencies.add(&slice.latencies);
        if self.second.end_ns - self.second.start_ns >= SECOND_NS {
            self.second_end();
        }
    }

    fn second_end(&mut self) {
        let second = &mut self.second;
        if second.end_ns == second.start_ns {
            return;
        }
        let start_ns = second.start_ns - *self.measured_from_ns.get_or_insert(second.start_ns);
        let duration_ns = second.end_ns - second.start_ns;
        let summary = second.latencies.summary();
        self.seconds.push(Second {
            start_ns,
            duration_ns,
            acknowledged: second.acknowledged,
            failed: second.failed,
            p50_ns: summary.p50,
            p99_ns: summary.p99,
            max_ns: summary.max,
        });
        if let Some(intervals) = &mut self.intervals {
            let (start, duration) = (Duration::from_nanos(start_ns), Duration::from_nanos(duration_ns));
            intervals.push(Interval { start, duration, latencies: second.latencies.clone() });
        }
        second.clear();
    }

    /// No further slice comes.
    pub fn finish(mut self) -> Collected {
        self.second_end();
        Collected {
            latencies: self.latencies,
            reads: self.reads,
            seconds: self.seconds,
            intervals: self.intervals.unwrap_or_default(),
        }
    }
}

impl SliceSink for Collector {
    fn exchange(&mut self, slice: &mut Slice) {
        self.add(slice);
        slice.clear();
    }
}

/// A [`Collector`] on a thread of its own.
#[derive(Debug)]
pub struct Background {
    full: Sender<Slice>,
    empty: Receiver<Slice>,
    thread: JoinHandle<Collected>,
}

impl Background {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system refuses one.
    pub fn start(mut collector: Collector) -> io::Result<Self> {
        let (full, fulls) = mpsc::channel::<Slice>();
        let (empties, empty) = mpsc::channel();
        let collect = move || {
            for mut slice in fulls {
                collector.add(&slice);
                slice.clear();
                // When the generator is gone nobody needs the slice.
                let _ = empties.send(slice);
            }
            collector.finish()
        };
        let thread = std::thread::Builder::new().name("collector".into()).spawn(collect)?;
        Ok(Self { full, empty, thread })
    }

    /// Waits for everything to be added up.
    pub fn finish(self) -> Collected {
        drop(self.full);
        self.thread.join().expect("the collector's thread does not panic")
    }
}

impl SliceSink for Background {
    fn exchange(&mut self, slice: &mut Slice) {
        // Two slices go round; another is made only while the collector is behind.
        let full = std::mem::replace(slice, self.empty.try_recv().unwrap_or_default());
        self.full.send(full).expect("the collector lives as long as this");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    fn slice(phase: Phase, quarter: u64, latency_ns: u64, count: u64) -> Slice {
        let mut slice =
            Slice { phase, start_ns: quarter * 250_000_000, end_ns: (quarter + 1) * 250_000_000, ..Slice::default() };
        slice.acknowledged = count;
        if phase != Phase::Warmup {
            (0..count).for_each(|_| slice.latencies.record(latency_ns));
        }
        slice
    }

    #[test]
    fn slices_become_seconds_and_the_last_may_be_short() {
        let mut collector = Collector::new(true, Box::new(|_| ()));
        collector.add(&slice(Phase::Warmup, 0, 1_000, 999));
        for quarter in 1..=6 {
            collector.add(&slice(Phase::Measured, quarter, quarter * 1_000, 10));
        }
        collector.add(&slice(Phase::Drain, 7, 50_000, 5));
        let collected = collector.finish();
        assert_eq!(collected.latencies.count(), 65);
        assert_eq!(collected.seconds.len(), 2);
        let (first, last) = (collected.seconds[0], collected.seconds[1]);
        assert_eq!((first.start_ns, first.duration_ns, first.acknowledged), (0, SECOND_NS, 40));
        assert_eq!((last.start_ns, last.duration_ns, last.acknowledged), (SECOND_NS, SECOND_NS / 2, 20));
        assert_eq!((first.max_ns / 1_000, last.p50_ns / 1_000), (4, 5));
        assert_eq!(collected.intervals.iter().map(|i| i.latencies.count()).sum::<u64>(), 60);
    }

    #[test]
    fn the_background_collects_the_same_and_reports_progress() {
        let rates = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&rates);
        let collector = Collector::new(false, Box::new(move |p| seen.lock().unwrap().push((p.phase, p.rate_per_s))));
        let mut background = Background::start(collector).unwrap();
        for quarter in 0..4 {
            let mut current = slice(Phase::Measured, quarter, 2_000, 25);
            background.exchange(&mut current);
            assert_eq!((current.acknowledged, current.latencies.count()), (0, 0));
        }
        let collected = background.finish();
        assert_eq!(collected.latencies.count(), 100);
        assert_eq!(collected.seconds.len(), 1);
        assert!(collected.intervals.is_empty());
        assert_eq!(*rates.lock().unwrap(), [(Phase::Measured, 100.0); 4]);
    }
}
