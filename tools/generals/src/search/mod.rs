//! All that traitors can do, where that is finite; a search where it is too much; and what no rule of three generals can do.

mod oral;
mod signed;
pub mod three;

pub use oral::search_oral;
pub use signed::search_signed;

use crate::order::Order;
use crate::problem::{Generals, Problem};

/// The most behaviours of one placement of traitors that are all tried.
pub const BEHAVIOURS_MAX: u64 = 200_000;

/// What a search found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Placements of traitors, each with each order of a loyal commander.
    pub placements: u64,
    /// Behaviours of traitors that were played.
    pub behaviours: u64,
    /// For each placement all behaviours were.
    pub exhaustive: bool,
    /// How many of them broke IC1 or IC2.
    pub violations: u64,
    /// The first that did.
    pub first: Option<Violation>,
}

/// A behaviour that breaks a condition.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Who the traitors are, and what the commander orders.
    pub problem: Problem,
    /// What each lieutenant decided.
    pub decisions: Vec<Order>,
    /// What the traitors said, in the language of scripts.
    pub script: String,
}

/// All placements of `1..=m` traitors, and of none, with each order.
fn placements(generals: usize, bears: usize) -> impl Iterator<Item = Problem> {
    let sets = (0..1u32 << generals).map(Generals::from_bits).filter(move |set| set.count() <= bears);
    sets.flat_map(move |traitors| {
        let orders = [Order::ATTACK, Order::RETREAT];
        orders.map(|order| Problem { generals, bears, traitors, order })
    })
}

impl Found {
    fn note(&mut self, problem: &Problem, decisions: &[Order], script: impl FnOnce() -> String) -> bool {
        self.behaviours += 1;
        let good = problem.judge(decisions).is_good();
        if !good {
            self.violations += 1;
            let violation = || Violation { problem: *problem, decisions: decisions.to_vec(), script: script() };
            self.first.get_or_insert_with(violation);
        }
        good
    }
}

#[cfg(test)]
mod tests;
