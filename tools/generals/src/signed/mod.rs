//! SM(m), the algorithm of signed messages (BGP82 section 4).
//!
//! ```text
//! (1)  the commander signs his order and sends it to every lieutenant: v:0
//! (2A) a lieutenant i who receives v:0 from the commander, and no order before: V_i = {v}; he sends v:0:i to all other lieutenants
//! (2B) one who receives v:0:j1:...:jk, and v is not in V_i: adds v; if k < m, he sends v:0:j1:...:jk:i to all lieutenants but j1 ... jk
//! (3)  when no more can come, he obeys choice(V_i): the order, if there is one; RETREAT, if there is none or more than one
//! ```
//!
//! It is no recursion: an order is relayed once, whoever it came from, and each relay adds a signature over order and path (A4). A message with `k`
//! signatures is awaited up to round `k`; one that comes later would be new to the last lieutenant only, and does not count. That loyal
//! signatures cannot be forged is not assumed here but done: they are Ed25519.

mod chain;
mod general;
mod lieutenant;
mod treason;

pub use chain::{Army, Known, Signed};
pub use lieutenant::{Lieutenant, choice};
pub use treason::{of_script, of_strategy};

use crate::oral::Path;
use crate::order::Order;
use crate::problem::{General, Problem};
use crate::rounds::{Outcome, Participant, play};
use general::{loyal, traitor};
use std::sync::{Arc, Mutex};

/// A general of this algorithm, loyal or not.
pub type Party = dyn Participant<Message = Signed> + Send;

/// What a traitor wants to send: an order with who signed it, and to whom.
pub type Wish = (General, Order, Path);

/// What a traitor sends in a round. All traitors know what each of them has seen, and sign for each other.
pub trait Treason: Send {
    /// `loyal` is what a loyal general would send; `known` what there are signatures for.
    fn send(&mut self, round: usize, own: General, loyal: Vec<Wish>, known: &Known) -> Vec<Wish>;
}

/// The messages that SM(m) sends among `n` loyal lieutenants of a commander who says `orders` different orders: each lieutenant
/// relays each once, the first of them signed by the commander alone.
pub fn messages(generals: usize, bears: usize, orders: usize) -> u64 {
    let (n, d) = (generals as u64, orders as u64);
    match (bears, d) {
        (_, 0) => 0,
        (0, _) => n - 1,
        // With one relay an order that came late is not passed on.
        (1, _) => (n - 1) * (n - 1),
        _ => (n - 1) * (1 + (n - 2) + (d - 1) * n.saturating_sub(3)),
    }
}

/// All generals of a problem; `treason` makes what a traitor sends.
pub fn generals(
    problem: &Problem,
    army: &Arc<Army>,
    mut treason: impl FnMut(General) -> Box<dyn Treason>,
) -> Vec<Box<Party>> {
    let known = Arc::new(Mutex::new(Known::new(problem.traitors)));
    (0..problem.generals as General)
        .map(|general| match problem.is_traitor(general) {
            true => traitor(general, problem, army, &known, treason(general)),
            false => loyal(general, problem, army),
        })
        .collect()
}

/// Plays SM(m) in one process.
pub fn run(problem: &Problem, seed: u64, treason: impl FnMut(General) -> Box<dyn Treason>) -> Outcome<Signed> {
    let army = Arc::new(Army::new(problem.generals, seed));
    play(&mut generals(problem, &army, treason), problem.bears + 1)
}

#[cfg(test)]
mod tests;
