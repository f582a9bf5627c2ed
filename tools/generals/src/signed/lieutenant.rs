//! What a loyal lieutenant does about orders whose signatures are good: pure, so that the search plays it too.

use crate::oral::Path;
use crate::order::Order;
use crate::problem::General;
use std::collections::BTreeSet;

/// One loyal lieutenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lieutenant {
    own: General,
    bears: usize,
    orders: BTreeSet<Order>,
    relays: Vec<(Order, Path)>,
}

impl Lieutenant {
    /// One that has heard nothing.
    pub fn new(own: General, bears: usize) -> Self {
        Self { own, bears, orders: BTreeSet::new(), relays: Vec::new() }
    }

    /// Takes an order signed along a path, in a round: step (2).
    pub fn take(&mut self, round: usize, order: Order, path: &[General]) {
        // With k signatures it is awaited up to round k, and nobody signs after the last round.
        let late = path.len() < round;
        if late || path.len() > self.bears + 1 || path.contains(&self.own) || !self.orders.insert(order) {
            return;
        }
        // Besides the commander, k lieutenants have signed.
        if path.len() - 1 < self.bears {
            self.relays.push((order, path.to_vec()));
        }
    }

    /// The orders that it passes on next, with who signed them so far; none twice.
    pub fn relays(&mut self) -> Vec<(Order, Path)> {
        std::mem::take(&mut self.relays)
    }

    /// The orders that it has: `V_i`.
    pub fn orders(&self) -> &BTreeSet<Order> {
        &self.orders
    }

    /// What it obeys: step (3).
    pub fn decide(&self) -> Order {
        choice(&self.orders)
    }
}

/// The order, if there is one; RETREAT if there is none or more than one.
pub fn choice(orders: &BTreeSet<Order>) -> Order {
    match (orders.first(), orders.len()) {
        (Some(order), 1) => *order,
        _ => Order::RETREAT,
    }
}
