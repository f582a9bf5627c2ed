//! What a lieutenant received, by path, and what follows from it.

use super::{Oral, Path};
use crate::order::{Order, majority};
use crate::problem::{COMMANDER, General, Problem};
use crate::rounds::Outcome;
use std::collections::BTreeMap;

/// The paths of a length that a general can pass on or be told: they begin with the commander, name nobody twice, and `without` never.
pub fn expected_paths(generals: usize, length: usize, without: General) -> Vec<Path> {
    let mut paths: Vec<Path> = vec![vec![COMMANDER]];
    if without == COMMANDER {
        return Vec::new();
    }
    for _ in 1..length {
        let longer = |path: Path| {
            let others = (0..generals as General).filter(|next| *next != without);
            let others: Vec<General> = others.filter(|next| !path.contains(next)).collect();
            others.into_iter().map(move |next| [&path[..], &[next]].concat())
        };
        paths = paths.into_iter().flat_map(longer).collect();
    }
    paths
}

/// The values that a lieutenant received.
#[derive(Clone, Debug)]
pub struct Received {
    own: General,
    generals: usize,
    bears: usize,
    values: BTreeMap<Path, Order>,
}

impl Received {
    pub(super) fn new(own: General, generals: usize, bears: usize) -> Self {
        Self { own, generals, bears, values: BTreeMap::new() }
    }

    /// What one lieutenant received in a run.
    pub fn of(problem: &Problem, outcome: &Outcome<Oral>, lieutenant: General) -> Self {
        let mut received = Self::new(lieutenant, problem.generals, problem.bears);
        for sent in outcome.sent.iter().filter(|sent| sent.to == lieutenant) {
            received.take(sent.round, sent.from, &sent.message.path, sent.message.value);
        }
        received
    }

    /// Takes a value if it can be: in its round, from the last of its path, the first with this path.
    pub(super) fn take(&mut self, round: usize, from: General, path: &[General], value: Order) {
        let distinct = path.iter().enumerate().all(|(at, general)| !path[..at].contains(general));
        let sound = path.len() == round
            && path.first() == Some(&COMMANDER)
            && path.last() == Some(&from)
            && distinct
            && path.iter().all(|general| usize::from(*general) < self.generals && *general != self.own);
        if sound {
            self.values.entry(path.to_vec()).or_insert(value);
        }
    }

    /// What came with a path; RETREAT where nothing did (A3: its absence is seen).
    pub fn value(&self, path: &[General]) -> Order {
        self.values.get(path).copied().unwrap_or(Order::RETREAT)
    }

    /// Whether something came with a path.
    pub fn came(&self, path: &[General]) -> bool {
        self.values.contains_key(path)
    }

    /// The other lieutenants that pass on what came with a path; none in the last round.
    pub fn below(&self, path: &[General]) -> Vec<Path> {
        if path.len() > self.bears {
            return Vec::new();
        }
        let others = (1..self.generals as General).filter(|next| *next != self.own && !path.contains(next));
        others.map(|next| [path, &[next]].concat()).collect()
    }

    /// What the lieutenant takes for the value of the recursion that a path names: step (3).
    pub fn settled(&self, path: &[General]) -> Order {
        let below = self.below(path);
        if below.is_empty() {
            return self.value(path);
        }
        let told = below.iter().map(|path| self.settled(path));
        majority(&std::iter::once(self.value(path)).chain(told).collect::<Vec<_>>())
    }
}
