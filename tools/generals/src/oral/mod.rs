//! OM(m), the algorithm of oral messages (BGP82 section 3).
//!
//! ```text
//! OM(0): the commander sends his order; each lieutenant uses what he receives, or RETREAT if he receives nothing.
//! OM(m): (1) the commander sends his order to every lieutenant
//!        (2) each lieutenant i, with the value v_i that he received (or RETREAT), is the commander of OM(m-1) towards the n-2 others
//!        (3) i uses majority(v_1 ... v_{n-1}), where v_j, j != i, is what he got from j in step (2)
//! ```
//!
//! All the recursions of one depth run side by side, so that OM(m) has `m+1` rounds. What keeps them apart is the *path* that every message
//! carries: who was the commander of the recursion, of the one around it, and so on.

mod general;
mod lies;
mod tree;

pub(crate) use lies::Written;
pub use lies::{of_script, of_strategy};
pub use tree::{Received, expected_paths};

use crate::order::Order;
use crate::problem::{GENERALS_MAX, General, Problem};
use crate::rounds::{Outcome, Participant, play};
use crate::sockets::Travels;
use general::{loyal, traitor};

/// Who passed a value on: the commander first, its sender last.
pub type Path = Vec<General>;

/// An oral message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oral {
    /// Whose word about whose word it is.
    pub path: Path,
    /// The value.
    pub value: Order,
}

impl Travels for Oral {
    /// The value, and the path behind it.
    fn to_bytes(&self) -> Vec<u8> {
        [&self.value.bytes()[..], &self.path].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (value, path) = bytes.split_first_chunk()?;
        let sound = (1..=GENERALS_MAX).contains(&path.len());
        sound.then(|| Some(Self { value: Order::from_bytes(*value)?, path: path.to_vec() }))?
    }

    fn round(&self) -> usize {
        self.path.len()
    }
}

/// What a traitor says where a loyal general would say something; `None`: nothing.
pub trait Lies: Send {
    /// `truth` is what a loyal general would say to `to` with this path, which ends with the traitor.
    fn say(&mut self, path: &[General], to: General, truth: Order) -> Option<Order>;
}

/// A general of this algorithm, loyal or not.
pub type Party = dyn Participant<Message = Oral> + Send;

/// The messages that OM(m) sends among `n` generals: `sum over k = 1 ... m+1 of (n-1)(n-2)...(n-k)`, whatever is said.
pub fn messages(generals: usize, bears: usize) -> u64 {
    let layers = (1..=bears as u64 + 1).scan(1u64, |layer, k| {
        *layer = layer.saturating_mul((generals as u64).saturating_sub(k));
        Some(*layer)
    });
    layers.fold(0, u64::saturating_add)
}

/// The same, if all that one general says to another in one round travels in one message: `(n-1) + m(n-1)(n-2)`.
pub fn messages_packed(generals: usize, bears: usize) -> u64 {
    let (n, m) = (generals as u64, bears as u64);
    (n - 1) + m * (n - 1) * (n - 2)
}

/// All generals of a problem; `lies` makes the words of a traitor.
pub fn generals(problem: &Problem, mut lies: impl FnMut(General) -> Box<dyn Lies>) -> Vec<Box<Party>> {
    (0..problem.generals as General)
        .map(|general| match problem.is_traitor(general) {
            true => traitor(general, problem, lies(general)),
            false => loyal(general, problem),
        })
        .collect()
}

/// Plays OM(m) in one process.
pub fn run(problem: &Problem, lies: impl FnMut(General) -> Box<dyn Lies>) -> Outcome<Oral> {
    play(&mut generals(problem, lies), problem.bears + 1)
}

#[cfg(test)]
mod tests;
