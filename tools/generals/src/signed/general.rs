//! The generals of SM(m), with their keys.

use super::{Army, Known, Lieutenant, Party, Signed, Treason, Wish};
use crate::order::Order;
use crate::problem::{COMMANDER, General, Problem};
use crate::rounds::Participant;
use std::sync::{Arc, Mutex, PoisonError};

struct Loyal {
    own: General,
    problem: Problem,
    army: Arc<Army>,
    lieutenant: Lieutenant,
    /// Of the orders that wait to be relayed: the messages in which they came.
    came: Vec<Signed>,
}

/// What a traitor is to the rest: one that hears like a loyal general, and sends what it likes.
struct Traitor {
    loyal: Loyal,
    known: Arc<Mutex<Known>>,
    treason: Box<dyn Treason>,
}

/// A loyal general.
pub(super) fn loyal(own: General, problem: &Problem, army: &Arc<Army>) -> Box<Party> {
    Box::new(Loyal::new(own, problem, army))
}

/// A traitor, who shares what it sees with the others.
pub(super) fn traitor(
    own: General,
    problem: &Problem,
    army: &Arc<Army>,
    known: &Arc<Mutex<Known>>,
    treason: Box<dyn Treason>,
) -> Box<Party> {
    Box::new(Traitor { loyal: Loyal::new(own, problem, army), known: Arc::clone(known), treason })
}

impl Loyal {
    fn new(own: General, problem: &Problem, army: &Arc<Army>) -> Self {
        let lieutenant = Lieutenant::new(own, problem.bears);
        Self { own, problem: *problem, army: Arc::clone(army), lieutenant, came: Vec::new() }
    }

    /// What it signs in a round, and for whom.
    fn signs(&mut self, round: usize) -> Vec<(General, Signed)> {
        let signed: Vec<Signed> = match (self.own, round) {
            (COMMANDER, 1) => vec![self.army.sign(self.problem.order, &Vec::new(), &[], COMMANDER)],
            (COMMANDER, _) => Vec::new(),
            _ => {
                let relays = self.lieutenant.relays();
                let came = std::mem::take(&mut self.came);
                let message = |(order, path)| came.iter().find(|came| came.order == order && came.path == path);
                let relays = relays.into_iter().filter_map(message);
                relays.map(|came| self.army.sign(came.order, &came.path, &came.signatures, self.own)).collect()
            }
        };
        let hearers = |signed: Signed| {
            let to = self.problem.lieutenants().filter(|to| !signed.path.contains(to)).collect::<Vec<_>>();
            to.into_iter().map(move |to| (to, signed.clone()))
        };
        signed.into_iter().flat_map(hearers).collect()
    }
}

impl Participant for Loyal {
    type Message = Signed;

    fn send(&mut self, round: usize) -> Vec<(General, Signed)> {
        self.signs(round)
    }

    fn receive(&mut self, round: usize, _: General, message: Signed) {
        if self.own != COMMANDER && self.army.verifies(&message) {
            self.lieutenant.take(round, message.order, &message.path);
            self.came.push(message);
        }
    }

    fn decide(&self) -> Order {
        if self.own == COMMANDER { self.problem.order } else { self.lieutenant.decide() }
    }
}

impl Participant for Traitor {
    type Message = Signed;

    fn send(&mut self, round: usize) -> Vec<(General, Signed)> {
        let due = self.loyal.signs(round);
        let loyal: Vec<Wish> = due.into_iter().map(|(to, signed)| (to, signed.order, signed.path)).collect();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let wishes = self.treason.send(round, self.loyal.own, loyal, &known);
        wishes.into_iter().map(|(to, order, path)| (to, known.make(&self.loyal.army, order, &path))).collect()
    }

    fn receive(&mut self, round: usize, from: General, message: Signed) {
        if self.loyal.army.verifies(&message) {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).see(&message);
            self.loyal.receive(round, from, message);
        }
    }

    fn decide(&self) -> Order {
        self.loyal.decide()
    }
}
