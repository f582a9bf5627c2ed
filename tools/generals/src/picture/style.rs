//! Colours, letters and the strokes that all drawings share.

use logothete_bench::plot::svg::{Anchor, Canvas};

/// Paper.
pub const PAPER: &str = "#ffffff";
/// Loyal generals and what they say.
pub const LOYAL: &str = "#1f5fa8";
/// Traitors and what they say.
pub const TRAITOR: &str = "#b3261e";
/// Everything else.
pub const INK: &str = "#222222";

/// The classes of texts.
pub const STYLE: &str = "text{font-family:Helvetica,Arial,sans-serif;fill:#222222}\
    .title{font-size:17px;font-weight:bold}.name{font-size:15px;font-weight:bold;fill:#ffffff}\
    .label{font-size:14px}.halo{font-size:14px;fill:#ffffff;stroke:#ffffff;stroke-width:5px}.note{font-size:13px}.small{font-size:11px;fill:#555555}\
    .lane{stroke:#999999;stroke-width:1}.mark{stroke:#cccccc;stroke-width:1;stroke-dasharray:4 4}";

/// How long an arrow's head is.
const HEAD: f64 = 9.0;

/// A line through points with a head at its end.
pub fn arrow(canvas: &mut Canvas, points: &[(f64, f64)], colour: &str) {
    let [.., before, end] = points else { return };
    canvas.path(points, false, &format!("fill:none;stroke:{colour};stroke-width:1.6"));
    let (dx, dy) = (end.0 - before.0, end.1 - before.1);
    let length = dx.hypot(dy).max(0.001);
    let (ux, uy) = (dx / length, dy / length);
    let back = (end.0 - ux * HEAD, end.1 - uy * HEAD);
    let wing = HEAD * 0.42;
    let head = [*end, (back.0 - uy * wing, back.1 + ux * wing), (back.0 + uy * wing, back.1 - ux * wing)];
    canvas.path(&head, true, &format!("fill:{colour};stroke:none"));
}

/// Points of an arc from one point to another, `rise` above the middle between them (below, where it is negative).
pub fn arc(from: (f64, f64), to: (f64, f64), rise: f64) -> Vec<(f64, f64)> {
    const STEPS: usize = 20;
    let control = ((from.0 + to.0) / 2.0, (from.1 + to.1) / 2.0 - 2.0 * rise);
    let at = |step: usize| {
        let t = step as f64 / STEPS as f64;
        let mix = |a: f64, b: f64, c: f64| (1.0 - t).powi(2) * a + 2.0 * t * (1.0 - t) * b + t * t * c;
        (mix(from.0, control.0, to.0), mix(from.1, control.1, to.1))
    };
    (0..=STEPS).map(at).collect()
}

/// What stands beside an arrow, readable also where it crosses another.
pub fn label(canvas: &mut Canvas, at: (f64, f64), anchor: Anchor, text: &str) {
    canvas.text(at, anchor, "halo", text);
    canvas.text(at, anchor, "label", text);
}
