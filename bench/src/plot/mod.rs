//! Pictures of runs, as SVG without scripts or outside references.
//!
//! What may enter: drawing measured figures truthfully (whole axes, logarithms said so). What must never: choosing which
//! figures to show, or smoothing them.

mod scale;
pub mod svg;

use scale::{Scale, Tick};
use svg::{Anchor, Canvas};

use crate::latency::Latencies;
use crate::load::{LoadResult, Second};
use crate::report;

/// One run in the picture.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Its name in the legend.
    pub label: &'a str,
    /// Its latencies.
    pub latencies: &'a Latencies,
    /// Its throughput over time; may be empty.
    pub seconds: &'a [Second],
}

impl<'a> Run<'a> {
    /// The run of the load generator named `label`.
    pub fn of(label: &'a str, load: &'a LoadResult) -> Self {
        Self { label, latencies: &load.latencies, seconds: &load.seconds }
    }
}

/// Told apart by people with the usual kinds of colour blindness (Okabe and Ito's palette, its darker half first).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9"];

const WIDTH: f64 = 960.0;
const LEFT: f64 = 92.0;
const RIGHT: f64 = WIDTH - 36.0;
const LEGEND_TOP: f64 = 88.0;
const LEGEND_ROW: f64 = 22.0;
const LATENCY_HEIGHT: f64 = 330.0;
const STRIP_HEIGHT: f64 = 110.0;
/// Where the columns of figures in the legend end.
const COLUMNS: [(&str, f64); 5] = [("p50", 560.0), ("p99", 650.0), ("p99.9", 740.0), ("max", 830.0), ("ops/s", RIGHT)];

const STYLE: &str = "\
text{font-family:'Inter','Segoe UI','Helvetica Neue','DejaVu Sans',Arial,sans-serif;fill:#1f2933}\
.title{font-size:21px;font-weight:600}.subtitle{font-size:13.5px;fill:#52606d}\
.axis{font-size:12.5px;fill:#52606d}.name{font-size:13px;font-weight:600;fill:#323f4b}\
.label{font-size:13.5px}.head{font-size:12px;fill:#7b8794}.figure{font-size:13.5px}\
.fine line{stroke:#eef1f4;stroke-width:1}.grid line{stroke:#d5dbe1;stroke-width:1}\
.frame line{stroke:#7b8794;stroke-width:1.2}";

/// Draws latency by percentile (both axes logarithmic) and, where a run has seconds, throughput over time.
///
/// Any number of runs; from the seventh on, colours repeat. Runs without any latency appear in the legend only.
pub fn render(title: &str, subtitle: &str, runs: &[Run<'_>]) -> String {
    let latency_top = LEGEND_TOP + LEGEND_ROW * runs.len() as f64 + 50.0;
    let latency_bottom = latency_top + LATENCY_HEIGHT;
    let strip = runs.iter().any(|run| !run.seconds.is_empty());
    let strip_top = latency_bottom + 74.0;
    let height = if strip { strip_top + STRIP_HEIGHT + 42.0 } else { latency_bottom + 42.0 };
    let mut canvas = Canvas::new(WIDTH, height, "#ffffff", STYLE, title);
    canvas.text((LEFT - 60.0, 38.0), Anchor::Start, "title", title);
    canvas.text((LEFT - 60.0, 60.0), Anchor::Start, "subtitle", subtitle);
    legend(&mut canvas, runs);
    latency(&mut canvas, runs, latency_top, latency_bottom);
    if strip {
        throughput(&mut canvas, runs, strip_top, strip_top + STRIP_HEIGHT);
    }
    canvas.finish()
}

fn colour(at: usize) -> &'static str {
    COLOURS[at % COLOURS.len()]
}

fn legend(canvas: &mut Canvas, runs: &[Run<'_>]) {
    for (name, right) in COLUMNS {
        canvas.text((right, LEGEND_TOP), Anchor::End, "head", name);
    }
    for (at, run) in runs.iter().enumerate() {
        let y = LEGEND_TOP + LEGEND_ROW * (at + 1) as f64;
        canvas.rectangle(LEFT - 60.0, y - 10.0, 22.0, 10.0, &format!("fill:{}", colour(at)));
        canvas.text((LEFT - 30.0, y), Anchor::Start, "label", run.label);
        let summary = run.latencies.summary();
        let latencies = [summary.p50, summary.p99, summary.p99_9, summary.max];
        let mut figures: Vec<String> = latencies.into_iter().map(report::time).collect();
        let duration_ns: u64 = run.seconds.iter().map(|second| second.duration_ns).sum();
        let acknowledged: u64 = run.seconds.iter().map(|second| second.acknowledged).sum();
        if duration_ns > 0 {
            let per_s = acknowledged as f64 * 1e9 / duration_ns as f64;
            figures.push(report::count(per_s.round() as u64));
        }
        for ((_, right), figure) in COLUMNS.into_iter().zip(figures) {
            canvas.text((right, y), Anchor::End, "figure", &figure);
        }
    }
}

/// Lines across and texts beside a plot for marks of the vertical axis.
fn rows(canvas: &mut Canvas, y: &Scale, ticks: &[Tick]) {
    for (class, labelled) in [("fine", false), ("grid", true)] {
        canvas.group(class);
        for tick in ticks.iter().filter(|tick| tick.label.is_empty() != labelled) {
            canvas.line((LEFT, y.at(tick.value)), (RIGHT, y.at(tick.value)));
        }
        canvas.group_end();
    }
    for tick in ticks.iter().filter(|tick| !tick.label.is_empty()) {
        canvas.text((LEFT - 9.0, y.at(tick.value) + 4.5), Anchor::End, "axis", &tick.label);
    }
}

/// The same for the horizontal axis.
fn columns(canvas: &mut Canvas, x: &Scale, y: &Scale, ticks: &[Tick]) {
    let (bottom, top) = y.pixels();
    canvas.group("grid");
    for tick in ticks {
        canvas.line((x.at(tick.value), top), (x.at(tick.value), bottom));
    }
    canvas.group_end();
    canvas.group("frame");
    canvas.line((LEFT, bottom), (RIGHT, bottom));
    canvas.group_end();
    for tick in ticks {
        canvas.text((x.at(tick.value), bottom + 19.0), Anchor::Middle, "axis", &tick.label);
    }
}

fn latency(canvas: &mut Canvas, runs: &[Run<'_>], top: f64, bottom: f64) {
    canvas.text((LEFT - 60.0, top - 14.0), Anchor::Start, "name", "Latency by percentile, both axes logarithmic");
    let measured = || runs.iter().map(|run| run.latencies).filter(|latencies| latencies.count() > 0);
    let lowest = measured().map(|latencies| latencies.quantile_ns(0.0)).min().unwrap_or(1_000);
    let highest = measured().map(|latencies| latencies.summary().max).max().unwrap_or(1_000_000);
    // The slowest of N is drawn at 1 - 1/2N, the middle of the step that it makes.
    let last = |latencies: &Latencies| 2.0 * latencies.count() as f64;
    let widest = measured().map(last).fold(100.0, f64::max);
    let x = Scale::logarithmic((1.0, widest), (LEFT, RIGHT));
    let bounds = scale::time_bounds(lowest, highest);
    let y = Scale::logarithmic(bounds, (bottom, top));
    rows(canvas, &y, &scale::time_ticks(bounds));
    columns(canvas, &x, &y, &scale::percentile_ticks(widest));
    for (at, run) in runs.iter().enumerate() {
        let latencies = run.latencies;
        let place = |(quantile, latency_ns): (f64, u64)| {
            let rest = (1.0 - quantile).max(1.0 / last(latencies));
            (x.at(1.0 / rest), y.at(latency_ns as f64))
        };
        let points: Vec<(f64, f64)> = latencies.curve(20).into_iter().map(place).collect();
        if points.is_empty() {
            continue;
        }
        let colour = colour(at);
        canvas.path(
            &points,
            false,
            &format!("fill:none;stroke:{colour};stroke-width:2.4;stroke-linejoin:round;stroke-linecap:round"),
        );
        for quantile in [0.5, 0.99, 0.999] {
            let point = place((quantile, latencies.quantile_ns(quantile)));
            canvas.circle(point, 3.6, &format!("fill:#ffffff;stroke:{colour};stroke-width:2"));
        }
    }
}

fn throughput(canvas: &mut Canvas, runs: &[Run<'_>], top: f64, bottom: f64) {
    canvas.text(
        (LEFT - 60.0, top - 14.0),
        Anchor::Start,
        "name",
        "Acknowledged operations a second, over the measured time",
    );
    let seconds = |second: &Second| (second.start_ns as f64 / 1e9, (second.start_ns + second.duration_ns) as f64 / 1e9);
    let all = || runs.iter().flat_map(|run| run.seconds);
    let end = all().map(|second| seconds(second).1).fold(0.0, f64::max);
    let highest = all().map(Second::acknowledged_per_s).fold(0.0, f64::max);
    let y_ticks = scale::linear_ticks(highest, 3, scale::rate);
    let y = Scale::linear((0.0, y_ticks.last().map_or(1.0, |tick| tick.value)), (bottom, top));
    let x = Scale::linear((0.0, end), (LEFT, RIGHT));
    let x_ticks = scale::linear_ticks(end, 6, |value| format!("{} s", scale::rate(value)));
    let x_ticks: Vec<Tick> = x_ticks.into_iter().filter(|tick| tick.value <= end * 1.001).collect();
    let filled = runs.iter().filter(|run| !run.seconds.is_empty()).count() == 1;
    rows(canvas, &y, &y_ticks);
    columns(canvas, &x, &y, &x_ticks);
    for (at, run) in runs.iter().enumerate().filter(|(_, run)| !run.seconds.is_empty()) {
        let mut points = Vec::with_capacity(2 * run.seconds.len() + 2);
        for second in run.seconds {
            let ((from, to), height) = (seconds(second), y.at(second.acknowledged_per_s()));
            points.extend([(x.at(from), height), (x.at(to), height)]);
        }
        let colour = colour(at);
        canvas.path(&points, false, &format!("fill:none;stroke:{colour};stroke-width:2;stroke-linejoin:round"));
        // Areas of several runs would mix their colours into one that is none of them.
        if filled {
            points.push((points[points.len() - 1].0, bottom));
            points.push((points[0].0, bottom));
            canvas.path(&points, true, &format!("fill:{colour};fill-opacity:0.10;stroke:none"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Elements opened and closed in order, attributes quoted, no stray `<` or `&`: enough to call a text well formed.
    fn assert_well_formed(text: &str) {
        let mut open: Vec<&str> = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('<') {
            assert!(!rest[..at].contains('>'), "a stray > before {}", &rest[at..]);
            let end = at + rest[at..].find('>').expect("every tag ends");
            let tag = &rest[at + 1..end];
            assert_eq!(tag.matches('"').count() % 2, 0, "quotes of {tag}");
            let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name));
            } else if !tag.ends_with('/') {
                open.push(name);
            }
            rest = &rest[end + 1..];
        }
        assert!(open.is_empty(), "{open:?}");
        for (at, _) in text.match_indices('&') {
            assert!(["&lt;", "&gt;", "&amp;", "&quot;"].iter().any(|entity| text[at..].starts_with(entity)));
        }
        assert!(!text.contains("NaN") && !text.contains("inf"), "every coordinate is a number");
    }

    fn latencies(scale_ns: u64, count: u64) -> Latencies {
        let mut latencies = Latencies::new();
        for at in 1..=count {
            // Most are quick, every thousandth is thirty times slower.
            let slow = if at % 1_000 == 0 { 30 } else { 1 };
            latencies.record(scale_ns * slow + scale_ns * (at * 7_919 % count) / (2 * count));
        }
        latencies
    }

    fn seconds(rates: &[u64]) -> Vec<Second> {
        let second = |(at, &acknowledged): (usize, &u64)| Second {
            start_ns: at as u64 * 1_000_000_000,
            duration_ns: 1_000_000_000,
            acknowledged,
            failed: 0,
            p50_ns: 0,
            p99_ns: 0,
            max_ns: 0,
        };
        rates.iter().enumerate().map(second).collect()
    }

    #[test]
    fn a_picture_is_well_formed_and_shows_every_run() {
        let (quick, slow) = (latencies(25_000, 100_000), latencies(120_000, 3_000));
        let (steady, failing) = (seconds(&[1_000_000; 5]), seconds(&[900_000, 0, 0, 1_100_000]));
        let runs = [
            Run { label: "PBFT <1>", latencies: &quick, seconds: &steady },
            Run { label: "R&D", latencies: &slow, seconds: &failing },
        ];
        let picture = render("Latency \"now\"", "4 replicas & 1 driver", &runs);
        assert_well_formed(&picture);
        for part in ["PBFT &lt;1&gt;", "R&amp;D", "99.9 %", "50 µs", "1,000,000", COLOURS[0], COLOURS[1]] {
            assert!(picture.contains(part), "{part} is not in the picture");
        }
        assert_eq!(picture.matches("<circle").count(), 6);
    }

    #[test]
    fn a_picture_of_nothing_is_still_a_picture() {
        assert_well_formed(&render("none", "", &[]));
        let nothing = Latencies::new();
        let picture = render("none", "", &[Run { label: "empty", latencies: &nothing, seconds: &[] }]);
        assert_well_formed(&picture);
        assert!(picture.contains("empty") && !picture.contains("<path"));
        let mut one = Latencies::new();
        one.record(5);
        assert_well_formed(&render("one", "", &[Run { label: "one", latencies: &one, seconds: &seconds(&[0]) }]));
    }
}
