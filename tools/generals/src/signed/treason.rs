//! What traitors send where messages are signed.

use super::{Known, Treason, Wish};
use crate::order::Order;
use crate::problem::{COMMANDER, General, Problem};
use crate::script::Line;
use crate::strategy::{Strategy, is_upper};
use logothete_simulator::world::random::Random;

struct Silent;

impl Treason for Silent {
    fn send(&mut self, _: usize, _: General, _: Vec<Wish>, _: &Known) -> Vec<Wish> {
        Vec::new()
    }
}

/// To each loyal lieutenant, of each order, any message that can be made, or none.
struct Chance {
    problem: Problem,
    random: Random,
}

impl Treason for Chance {
    fn send(&mut self, _: usize, _: General, _: Vec<Wish>, known: &Known) -> Vec<Wish> {
        let mut wishes = Vec::new();
        for to in self.problem.lieutenants().filter(|to| !self.problem.is_traitor(*to)) {
            for order in [Order::ATTACK, Order::RETREAT] {
                let paths: Vec<_> = known.paths(order, self.problem.bears + 1).into_iter().collect();
                if !paths.is_empty() && self.random.below(2) == 0 {
                    wishes.push((to, order, paths[self.random.below(paths.len())].clone()));
                }
            }
        }
        wishes
    }
}

/// The upper half is told the contrary by a traitorous commander, and nothing by other traitors.
struct Split(Problem);

impl Treason for Split {
    fn send(&mut self, _: usize, own: General, loyal: Vec<Wish>, _: &Known) -> Vec<Wish> {
        let upper = |to| is_upper(to, self.0.generals);
        match own {
            COMMANDER => loyal
                .into_iter()
                .map(|(to, order, path)| (to, if upper(to) { order.contrary() } else { order }, path))
                .collect(),
            _ => loyal.into_iter().filter(|(to, ..)| !upper(*to)).collect(),
        }
    }
}

/// One order for all; the other is shown to one lieutenant, with the signatures of all traitors, in the last round in which it counts.
struct Collude(Problem);

impl Treason for Collude {
    fn send(&mut self, round: usize, own: General, loyal: Vec<Wish>, known: &Known) -> Vec<Wish> {
        let fellows: Vec<General> = self.0.traitors.iter().collect();
        let victim = self.0.lieutenants().find(|lieutenant| !self.0.is_traitor(*lieutenant));
        let (order, last) = (self.0.order.contrary(), fellows.last() == Some(&own));
        match victim {
            Some(victim) if last && round == fellows.len() && known.can_make(order, &fellows) => {
                let mut wishes = if own == COMMANDER { loyal } else { Vec::new() };
                wishes.retain(|(to, ..)| *to != victim);
                wishes.push((victim, order, fellows));
                wishes
            }
            _ if own == COMMANDER => loyal,
            _ => Vec::new(),
        }
    }
}

/// As a script says it; what it does not name, as a loyal general would.
struct Script(Vec<Line>);

impl Treason for Script {
    fn send(&mut self, now: usize, own: General, loyal: Vec<Wish>, known: &Known) -> Vec<Wish> {
        let lines = self.0.iter().filter_map(|line| match line {
            Line::Signed { round, from, to, order } if (*round, *from) == (now, own) => Some((*to, order)),
            _ => None,
        });
        let lines: Vec<_> = lines.collect();
        let mut wishes = loyal;
        wishes.retain(|(to, ..)| !lines.iter().any(|(named, _)| named == to));
        for (to, order) in lines {
            // A script cannot forge: what it has no signatures for is not sent.
            wishes.extend(
                order
                    .clone()
                    .filter(|(order, path)| known.can_make(*order, path))
                    .map(|(order, path)| (to, order, path)),
            );
        }
        wishes
    }
}

/// What traitors of a strategy send.
pub fn of_strategy(strategy: Strategy, problem: &Problem, traitor: General, seed: u64) -> Box<dyn Treason> {
    match strategy {
        Strategy::Silent => Box::new(Silent),
        Strategy::Random => {
            Box::new(Chance { problem: *problem, random: Random::new(seed ^ u64::from(traitor) << 32) })
        }
        Strategy::Split => Box::new(Split(*problem)),
        Strategy::Collude => Box::new(Collude(*problem)),
    }
}

/// What a script says.
pub fn of_script(lines: &[Line]) -> Box<dyn Treason> {
    Box::new(Script(lines.to_vec()))
}
