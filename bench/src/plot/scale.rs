//! From values to pixels, and which values deserve a line across the plot.

use crate::report;

/// Maps values to pixels along one axis, linearly or by their logarithm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    logarithmic: bool,
    values: (f64, f64),
    pixels: (f64, f64),
}

/// A marked value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) value: f64,
    /// Empty: a fine line without a text.
    pub(super) label: String,
}

impl Scale {
    pub(super) fn linear(values: (f64, f64), pixels: (f64, f64)) -> Self {
        Self { logarithmic: false, values, pixels }
    }

    /// Both values positive.
    pub(super) fn logarithmic(values: (f64, f64), pixels: (f64, f64)) -> Self {
        assert!(values.0 > 0.0 && values.1 > values.0, "a logarithmic axis needs growing positive bounds");
        Self { logarithmic: true, values, pixels }
    }

    /// The pixel of `value`, held within the axis.
    pub(super) fn at(&self, value: f64) -> f64 {
        let value = value.clamp(self.values.0, self.values.1);
        let place = |v: f64| if self.logarithmic { v.log10() } else { v };
        let (from, to) = (place(self.values.0), place(self.values.1));
        let part = if to > from { (place(value) - from) / (to - from) } else { 0.0 };
        self.pixels.0 + part * (self.pixels.1 - self.pixels.0)
    }

    pub(super) fn pixels(&self) -> (f64, f64) {
        self.pixels
    }
}

/// Bounds of a time axis around `low` to `high` nanoseconds: from a 1, 2 or 5 below to a 1, 2 or 5 above.
pub(super) fn time_bounds(low_ns: u64, high_ns: u64) -> (f64, f64) {
    let steps = || (0..=13).flat_map(|power| [1.0, 2.0, 5.0].map(|mantissa| mantissa * 10f64.powi(power)));
    let (low, high) = (low_ns.max(1) as f64, high_ns.max(2) as f64);
    let from = steps().take_while(|&step| step <= low).last().unwrap_or(1.0);
    let to = steps().find(|&step| step >= high * 1.05).unwrap_or(1e13);
    (from, if to > from { to } else { from * 2.0 })
}

/// Marks of a logarithmic time axis: decades with their text, 2 and 5 with a text where there are few decades.
pub(super) fn time_ticks((from, to): (f64, f64)) -> Vec<Tick> {
    let decades = (to / from).log10();
    let mut ticks = Vec::new();
    for power in 0..=13 {
        for mantissa in 1..=9u32 {
            let value = f64::from(mantissa) * 10f64.powi(power);
            if value < from * 0.999 || value > to * 1.001 {
                continue;
            }
            let labelled = mantissa == 1 || (decades <= 4.0 && (mantissa == 2 || mantissa == 5));
            let label = if labelled { whole_time(value as u64) } else { String::new() };
            ticks.push(Tick { value, label });
        }
    }
    ticks
}

/// A time that is a round number of its unit, without decimals.
fn whole_time(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{} µs", ns / 1_000),
        1_000_000..1_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ => format!("{} s", report::count(ns / 1_000_000_000)),
    }
}

/// Marks of the percentile axis, whose value is `1 / (1 - quantile)`: the median, then every further nine.
pub(super) fn percentile_ticks(to: f64) -> Vec<Tick> {
    let mut ticks = vec![Tick { value: 1.0, label: "0 %".into() }, Tick { value: 2.0, label: "50 %".into() }];
    let mut value = 10.0;
    for nines in 1..=12usize {
        if value > to {
            break;
        }
        let label = match nines {
            1 => "90 %".into(),
            2 => "99 %".into(),
            more => format!("99.{} %", "9".repeat(more - 2)),
        };
        ticks.push(Tick { value, label });
        value *= 10.0;
    }
    ticks
}

/// Some `steps` round steps from 0 to above `high`; the last one is the axis' bound.
pub(super) fn linear_ticks(high: f64, steps: u32, label: impl Fn(f64) -> String) -> Vec<Tick> {
    let high = if high > 0.0 { high } else { 1.0 };
    let rough = high / f64::from(steps);
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|m| m * power).into_iter().find(|&s| s >= rough).unwrap_or(power * 10.0);
    let steps = (high * 1.02 / step).ceil() as u32;
    (0..=steps).map(|at| f64::from(at) * step).map(|value| Tick { value, label: label(value) }).collect()
}

/// A rate with a prefix: 1.5 M.
pub(super) fn rate(value: f64) -> String {
    let short = |value: f64| {
        let text = format!("{value:.2}");
        text.trim_end_matches('0').trim_end_matches('.').to_string()
    };
    match value {
        v if v >= 1e6 => format!("{} M", short(v / 1e6)),
        v if v >= 1e3 => format!("{} k", short(v / 1e3)),
        v => short(v),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithmic_scale_gives_every_decade_the_same_room() {
        let scale = Scale::logarithmic((10.0, 1_000.0), (200.0, 0.0));
        assert_eq!([10.0, 100.0, 1_000.0, 1.0, 1e9].map(|v| scale.at(v).round()), [200.0, 100.0, 0.0, 200.0, 0.0]);
        let scale = Scale::linear((0.0, 4.0), (10.0, 50.0));
        assert_eq!([0.0, 1.0, 4.0].map(|v| scale.at(v)), [10.0, 20.0, 50.0]);
        assert_eq!(Scale::linear((3.0, 3.0), (10.0, 50.0)).at(3.0), 10.0);
    }

    #[test]
    fn time_bounds_enclose_at_round_values() {
        assert_eq!(time_bounds(27_000, 83_000), (20_000.0, 100_000.0));
        assert_eq!(time_bounds(0, 0), (1.0, 5.0));
        assert_eq!(time_bounds(1_000, 1_000), (1_000.0, 2_000.0));
        let labels: Vec<String> = time_ticks((20_000.0, 1_000_000.0)).into_iter().map(|t| t.label).collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).filter(|l| !l.is_empty()).collect();
        assert_eq!(labels, ["20 µs", "50 µs", "100 µs", "200 µs", "500 µs", "1 ms"]);
    }

    #[test]
    fn percentiles_stop_where_the_data_does() {
        let labels: Vec<String> = percentile_ticks(20_000.0).into_iter().map(|t| t.label).collect();
        assert_eq!(labels, ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
    }

    #[test]
    fn linear_marks_are_round_and_cover() {
        for high in [0.0, 1.0, 7.0, 99.0, 1_000_000.0, 1_234_567.0] {
            let ticks = linear_ticks(high, 3, rate);
            assert!((3..=6).contains(&ticks.len()), "{high}: {ticks:?}");
            assert!(ticks.last().unwrap().value >= high);
        }
        assert_eq!([0.0, 2.5, 12_500.0, 1e6, 2_500_000.0].map(rate), ["0", "2.5", "12.5 k", "1 M", "2.5 M"]);
    }
}
