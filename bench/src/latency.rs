//! Latencies in a histogram of constant relative error, and the files made from it.
//!
//! One kind of histogram for the whole crate: values in nanoseconds from 1 to [`LATENCY_NS_MAX`], three significant
//! decimal digits, which takes about 260 KB and some five nanoseconds a record whatever the number of values.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use serde::{Deserialize, Serialize};

/// The largest latency told apart; longer ones are recorded as this. 1,000 seconds, beyond every time-out of a run.
pub const LATENCY_NS_MAX: u64 = 1_000_000_000_000;

/// Significant decimal digits kept of every value: an error of at most one part in a thousand.
const DIGITS: u8 = 3;

/// Latencies in nanoseconds.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl Latencies {
    /// An empty histogram; the only allocation of its life.
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_NS_MAX, DIGITS);
        Self(histogram.expect("the bounds are constants that the histogram accepts"))
    }

    /// Counts one latency. Values beyond the bounds count at the bound.
    #[inline]
    pub fn record(&mut self, latency_ns: u64) {
        self.0.saturating_record(latency_ns);
    }

    /// Adds everything that `other` counted.
    pub fn add(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("all histograms have the same bounds");
    }

    /// What this counted and `part`, a part of it, did not.
    pub fn without(&self, part: &Latencies) -> Latencies {
        let mut rest = self.0.clone();
        rest.subtract(&part.0).expect("a part has the same bounds, and no more of anything");
        Latencies(rest)
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// Number of latencies counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that the fraction `quantile` (0 to 1) of the operations did not exceed; 0 when nothing was counted.
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        // The histogram answers with the top of a bucket; the top of the last one may lie above every value seen.
        self.0.value_at_quantile(quantile).min(self.0.max())
    }

    /// The summary that reports carry.
    pub fn summary(&self) -> LatencySummary {
        LatencySummary {
            p50: self.quantile_ns(0.50),
            p90: self.quantile_ns(0.90),
            p99: self.quantile_ns(0.99),
            p99_9: self.quantile_ns(0.999),
            max: if self.0.is_empty() { 0 } else { self.0.max() },
            mean: if self.0.is_empty() { 0 } else { self.0.mean().round() as u64 },
        }
    }

    /// Points of the latency-by-percentile curve: `(quantile, latency_ns)`, both growing, ending at the first quantile
    /// that covers every value. `points_per_halving` points are taken each time that the rest `1 - quantile` halves.
    pub fn curve(&self, points_per_halving: u32) -> Vec<(f64, u64)> {
        let mut points = Vec::new();
        if self.0.is_empty() {
            return points;
        }
        for step in self.0.iter_quantiles(points_per_halving) {
            points.push((step.quantile_iterated_to().min(1.0), step.value_iterated_to().min(self.0.max())));
        }
        points
    }
}

/// What a report says about latencies, in nanoseconds. The field names are those of the command line's contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// Median.
    pub p50: u64,
    /// 90 % were not slower.
    pub p90: u64,
    /// 99 % were not slower.
    pub p99: u64,
    /// 99.9 % were not slower.
    pub p99_9: u64,
    /// The slowest.
    pub max: u64,
    /// Arithmetic mean.
    pub mean: u64,
}

/// One interval of a run: its place on the time axis and what was measured in it.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Start, from the beginning of the measured time.
    pub start: Duration,
    /// Length.
    pub duration: Duration,
    /// Latencies of the operations answered in it.
    pub latencies: Latencies,
}

/// Writes `intervals` as an interval log (`.hlog`), the text format that the viewers of HdrHistogram open. Values are
/// nanoseconds; the column of maxima is in milliseconds, as the viewers expect.
///
/// # Errors
/// Those of `writer`.
pub fn write_interval_log(
    mut writer: impl Write,
    label: &str,
    started: SystemTime,
    intervals: &[Interval],
) -> io::Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment("Logothete: latencies in nanoseconds, maxima in milliseconds");
    builder.with_start_time(started).with_base_time(started).with_max_value_divisor(1e6);
    let mut log = builder.begin_log_with(&mut writer, &mut serializer)?;
    // A tag may not hold commas or white space; a label that does is left out rather than mangled.
    let tag = Tag::new(label);
    for interval in intervals {
        log.write_histogram(&interval.latencies.0, interval.start, interval.duration, tag)
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
    }
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        let mut latencies = Latencies::new();
        let mut values: Vec<u64> = (0..10_000u64).map(|i| 1_000 + (i * 7_919) % 1_000_003).collect();
        values.iter().for_each(|&v| latencies.record(v));
        values.sort_unstable();
        for quantile in [0.0, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let rank = ((quantile * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1] as f64;
            let got = latencies.quantile_ns(quantile) as f64;
            assert!((got - exact).abs() <= exact / 1_000.0 + 1.0, "quantile {quantile}: {got} for {exact}");
        }
        let mean = values.iter().sum::<u64>() as f64 / values.len() as f64;
        assert!((latencies.summary().mean as f64 - mean).abs() < mean / 1_000.0);
    }

    #[test]
    fn nothing_counted_is_all_zero() {
        assert_eq!(Latencies::new().summary(), LatencySummary::default());
        assert!(Latencies::new().curve(5).is_empty());
    }

    #[test]
    fn values_beyond_the_bounds_count_at_the_bound() {
        let mut latencies = Latencies::new();
        latencies.record(0);
        latencies.record(u64::MAX);
        assert_eq!(latencies.count(), 2);
        assert!(latencies.summary().max >= LATENCY_NS_MAX);
    }

    #[test]
    fn a_sum_is_what_one_histogram_would_have_counted() {
        let (mut all, mut even, mut odd) = (Latencies::new(), Latencies::new(), Latencies::new());
        for value in 1..5_000u64 {
            all.record(value * 17);
            if value % 2 == 0 { &mut even } else { &mut odd }.record(value * 17);
        }
        even.add(&odd);
        assert_eq!(even.summary(), all.summary());
        even.clear();
        assert_eq!(even.count(), 0);
    }

    #[test]
    fn the_curve_grows_and_covers_the_slowest() {
        let mut latencies = Latencies::new();
        (1..=100_000u64).for_each(|v| latencies.record(v * 10));
        let curve = latencies.curve(5);
        assert!(curve.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1));
        let (quantile, latency_ns) = *curve.last().unwrap();
        assert_eq!(quantile, 1.0);
        assert_eq!(latency_ns, latencies.summary().max);
    }

    #[test]
    fn an_interval_log_reads_back() {
        let intervals: Vec<Interval> = (0..3u64)
            .map(|second| {
                let mut latencies = Latencies::new();
                (1..=100).for_each(|v| latencies.record(v * 1_000 * (second + 1)));
                Interval { start: Duration::from_secs(second), duration: Duration::from_secs(1), latencies }
            })
            .collect();
        let mut bytes = Vec::new();
        write_interval_log(&mut bytes, "load", SystemTime::UNIX_EPOCH + Duration::from_secs(1_000), &intervals)
            .unwrap();
        let mut maxima = Vec::new();
        for entry in IntervalLogIterator::new(&bytes) {
            if let LogEntry::Interval(interval) = entry.unwrap() {
                assert_eq!(interval.tag().unwrap().as_str(), "load");
                let raw = base64_decode(interval.encoded_histogram());
                let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut raw.as_slice()).unwrap();
                maxima.push((interval.start_timestamp().as_secs(), histogram.len(), histogram.max() / 10_000));
            }
        }
        assert_eq!(maxima, [(0, 100, 10), (1, 100, 20), (2, 100, 30)]);
    }

    /// Plain base64, for this test alone.
    fn base64_decode(text: &str) -> Vec<u8> {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let (mut bytes, mut bits, mut filled) = (Vec::new(), 0u32, 0);
        for letter in text.bytes().take_while(|&b| b != b'=') {
            bits = bits << 6 | ALPHABET.iter().position(|&a| a == letter).unwrap() as u32;
            filled += 6;
            if filled >= 8 {
                filled -= 8;
                bytes.push((bits >> filled) as u8);
            }
        }
        bytes
    }
}
