//! The tree of messages of OM(m): one branch for each path (the notes' figure 7).

use super::style::{INK, PAPER, STYLE};
use crate::oral::{self, expected_paths};
use crate::problem::GENERALS_MAX;
use logothete_bench::plot::svg::{Anchor, Canvas};

/// Room for a leaf, and from one layer to the next.
const LEAF: f64 = 34.0;
const LAYER: f64 = 95.0;
/// Leaves that a drawing has at most.
const LEAVES_MAX: usize = 64;

/// The tree for so many generals and traitors; none where it has more leaves than a drawing can have.
pub fn message_tree(generals: usize, bears: usize) -> Option<String> {
    let nobody = GENERALS_MAX as u8;
    // Of the paths of all messages, those of the last round are the leaves.
    let layers: Vec<_> = (1..=bears + 1).map(|length| expected_paths(generals, length + 1, nobody)).collect();
    let leaves = layers.last()?.len();
    if leaves > LEAVES_MAX {
        return None;
    }
    let width = leaves as f64 * LEAF + 220.0;
    let height = LAYER * (bears as f64 + 2.0) + 60.0;
    let title = format!("OM({bears}) of {generals} generals: {} messages", oral::messages(generals, bears));
    let mut canvas = Canvas::new(width, height, PAPER, STYLE, &title);
    canvas.text((width / 2.0, 28.0), Anchor::Middle, "title", &title);
    let place = |path: &[u8]| {
        let below: Vec<usize> =
            layers[bears].iter().enumerate().filter(|(_, leaf)| leaf.starts_with(path)).map(|(at, _)| at).collect();
        let middle = (below[0] + below[below.len() - 1]) as f64 / 2.0;
        (20.0 + LEAF * (middle + 0.5), 60.0 + LAYER * (path.len() as f64 - 1.0))
    };
    for layer in &layers {
        for path in layer {
            canvas.group("lane");
            canvas.line(place(&path[..path.len() - 1]), place(path));
            canvas.group_end();
        }
    }
    for path in std::iter::once(&vec![0]).chain(layers.iter().flatten()) {
        let at = place(path);
        canvas.circle(at, 13.0, &format!("fill:{PAPER};stroke:{INK};stroke-width:1.2"));
        let name = if path.len() == 1 { "C".to_owned() } else { path[path.len() - 1].to_string() };
        canvas.text((at.0, at.1 + 5.0), Anchor::Middle, "note", &name);
    }
    for (round, layer) in (1..).zip(&layers) {
        let y = 60.0 + LAYER * f64::from(round);
        let text = format!("round {round}: {} messages", layer.len());
        canvas.text((width - 15.0, y + 5.0), Anchor::End, "note", &text);
    }
    Some(canvas.finish())
}
