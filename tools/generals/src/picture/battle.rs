//! Generals and what they say to each other: the commander above, the lieutenants in a row below.

use super::style::{INK, LOYAL, PAPER, STYLE, TRAITOR, arc, arrow, label};
use crate::oral::Oral;
use crate::problem::{COMMANDER, General, Problem};
use crate::rounds::Sent;
use crate::signed::Signed;
use logothete_bench::plot::svg::{Anchor, Canvas};

/// The radius of a general.
const RADIUS: f64 = 24.0;
/// Between two lieutenants.
const PITCH: f64 = 170.0;
/// On each side.
const MARGIN: f64 = 90.0;
/// The width of a title's letter, at most.
const LETTER: f64 = 9.8;
/// Where the commander is, and where the row of lieutenants is, below the top of a panel.
const COMMANDER_Y: f64 = 75.0;
const ROW_Y: f64 = 265.0;
/// From one panel to the next.
const PANEL: f64 = 430.0;

/// What one general says to another.
#[derive(Clone, Debug)]
pub struct Arrow {
    /// Who speaks.
    pub from: General,
    /// Who hears it.
    pub to: General,
    /// What is written beside it.
    pub label: String,
}

/// The arrow of an oral message: the value, by its first letter.
pub fn oral_arrow(sent: &Sent<Oral>) -> Arrow {
    Arrow { from: sent.from, to: sent.to, label: sent.message.value.letter() }
}

/// The arrow of a signed message: the order and its signers.
pub fn signed_arrow(sent: &Sent<Signed>) -> Arrow {
    let signers: String = sent.message.path.iter().map(|signer| format!(":{signer}")).collect();
    Arrow { from: sent.from, to: sent.to, label: format!("{}{signers}", sent.message.order.letter()) }
}

/// Panels one below the other: a round, or several.
pub struct Battle<'a> {
    problem: &'a Problem,
    panels: Vec<(String, Vec<Arrow>)>,
    /// What is written below the lieutenants of the last panel.
    conclusions: Vec<(General, String)>,
}

impl<'a> Battle<'a> {
    /// Of these generals.
    pub fn new(problem: &'a Problem) -> Self {
        Self { problem, panels: Vec::new(), conclusions: Vec::new() }
    }

    /// Adds a panel.
    #[must_use]
    pub fn panel(mut self, title: impl Into<String>, arrows: Vec<Arrow>) -> Self {
        self.panels.push((title.into(), arrows));
        self
    }

    /// Says what a lieutenant does in the end.
    #[must_use]
    pub fn conclude(mut self, lieutenant: General, text: impl Into<String>) -> Self {
        self.conclusions.push((lieutenant, text.into()));
        self
    }

    /// The drawing.
    pub fn svg(&self) -> String {
        let titles_width = self.panels.iter().map(|(title, _)| LETTER * title.len() as f64).fold(0.0, f64::max);
        let width = (2.0 * MARGIN + PITCH * self.gaps()).max(titles_width + 40.0);
        let height = PANEL * self.panels.len() as f64 + 20.0;
        let titles: Vec<&str> = self.panels.iter().map(|(title, _)| title.as_str()).collect();
        let mut canvas = Canvas::new(width, height, PAPER, STYLE, &titles.join("; "));
        for (index, (title, arrows)) in self.panels.iter().enumerate() {
            let top = PANEL * index as f64;
            canvas.text((width / 2.0, top + 28.0), Anchor::Middle, "title", title);
            arrows.iter().for_each(|arrow| self.draw_arrow(&mut canvas, top, width, arrow));
            for general in 0..self.problem.generals as General {
                self.draw_general(&mut canvas, top, width, general);
            }
            if index + 1 == self.panels.len() {
                for (lieutenant, text) in &self.conclusions {
                    let (x, y) = self.place(top, width, *lieutenant);
                    canvas.text((x, y + 130.0), Anchor::Middle, "note", text);
                }
            }
        }
        canvas.finish()
    }

    /// Between the first lieutenant and the last.
    fn gaps(&self) -> f64 {
        self.problem.generals as f64 - 2.0
    }

    fn place(&self, top: f64, width: f64, general: General) -> (f64, f64) {
        let first = (width - PITCH * self.gaps()) / 2.0;
        match general {
            COMMANDER => (width / 2.0, top + COMMANDER_Y),
            lieutenant => (first + PITCH * (f64::from(lieutenant) - 1.0), top + ROW_Y),
        }
    }

    fn colour(&self, general: General) -> &'static str {
        if self.problem.is_traitor(general) { TRAITOR } else { LOYAL }
    }

    fn draw_general(&self, canvas: &mut Canvas, top: f64, width: f64, general: General) {
        let at = self.place(top, width, general);
        canvas.circle(at, RADIUS, &format!("fill:{};stroke:{INK};stroke-width:1", self.colour(general)));
        let name = if general == COMMANDER { "C".to_owned() } else { format!("L{general}") };
        canvas.text((at.0, at.1 + 5.0), Anchor::Middle, "name", &name);
        if self.problem.is_traitor(general) {
            canvas.text((at.0 + RADIUS + 6.0, at.1 - 12.0), Anchor::Start, "note", "traitor");
        }
    }

    fn draw_arrow(&self, canvas: &mut Canvas, top: f64, width: f64, said: &Arrow) {
        let (from, to) = (self.place(top, width, said.from), self.place(top, width, said.to));
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        if said.from == COMMANDER {
            let length = dx.hypot(dy);
            let edge = |at: (f64, f64), by: f64| (at.0 + dx / length * by, at.1 + dy / length * by);
            arrow(canvas, &[edge(from, RADIUS), edge(to, -RADIUS - 2.0)], self.colour(said.from));
            let (aside, anchor) = if dx < 0.0 { (-8.0, Anchor::End) } else { (8.0, Anchor::Start) };
            label(canvas, (from.0 + dx * 0.45 + aside, from.1 + dy * 0.45), anchor, &said.label);
            return;
        }
        // To the right above the row, to the left below it; the farther, the higher.
        let apart = (f64::from(said.to) - f64::from(said.from)).abs();
        let rise = (18.0 + 26.0 * apart) * dx.signum();
        let (from, to) = (
            (from.0 + dx.signum() * 16.0, from.1 - dx.signum() * 19.0),
            (to.0 - dx.signum() * 14.0, to.1 - dx.signum() * 22.0),
        );
        let points = arc(from, to, rise);
        arrow(canvas, &points, self.colour(said.from));
        let at = points[8];
        let below = if rise > 0.0 { -5.0 } else { 15.0 };
        label(canvas, (at.0, at.1 + below), Anchor::Middle, &said.label);
    }
}
