//! What traitors say where messages are oral.

use super::{Lies, Path};
use crate::order::Order;
use crate::problem::{General, Problem};
use crate::script::Line;
use crate::strategy::{Strategy, is_upper};
use logothete_simulator::world::random::Random;
use std::collections::BTreeMap;

struct Silent;

impl Lies for Silent {
    fn say(&mut self, _: &[General], _: General, _: Order) -> Option<Order> {
        None
    }
}

struct Chance(Random);

impl Lies for Chance {
    fn say(&mut self, _: &[General], _: General, _: Order) -> Option<Order> {
        [Some(Order::ATTACK), Some(Order::RETREAT), None][self.0.below(3)]
    }
}

/// The upper half hears the contrary of the truth.
struct Split(usize);

impl Lies for Split {
    fn say(&mut self, _: &[General], to: General, truth: Order) -> Option<Order> {
        Some(if is_upper(to, self.0) { truth.contrary() } else { truth })
    }
}

/// Each half hears one order from all traitors, whatever the truth and whoever said it.
struct Collude(Problem);

impl Lies for Collude {
    fn say(&mut self, _: &[General], to: General, _: Order) -> Option<Order> {
        let order = self.0.order;
        Some(if is_upper(to, self.0.generals) { order.contrary() } else { order })
    }
}

/// What was written down before; the truth elsewhere.
pub(crate) struct Written(pub(crate) BTreeMap<(Path, General), Option<Order>>);

impl Lies for Written {
    fn say(&mut self, path: &[General], to: General, truth: Order) -> Option<Order> {
        self.0.get(&(path.to_vec(), to)).copied().unwrap_or(Some(truth))
    }
}

/// The lies of a strategy; those by chance differ with the traitor and the seed.
pub fn of_strategy(strategy: Strategy, problem: &Problem, traitor: General, seed: u64) -> Box<dyn Lies> {
    match strategy {
        Strategy::Silent => Box::new(Silent),
        Strategy::Random => Box::new(Chance(Random::new(seed ^ u64::from(traitor) << 32))),
        Strategy::Split => Box::new(Split(problem.generals)),
        Strategy::Collude => Box::new(Collude(*problem)),
    }
}

/// The lies that a script says.
pub fn of_script(lines: &[Line]) -> Box<dyn Lies> {
    let said = lines.iter().filter_map(|line| match line {
        Line::Oral { path, to, value } => Some(((path.clone(), *to), *value)),
        Line::Signed { .. } => None,
    });
    Box::new(Written(said.collect()))
}
