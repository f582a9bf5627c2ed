//! Whether a recorded history of the key-value service is one that a single copy of it could have produced.
//!
//! What may enter: a history file as [`crate::history`] writes it, of puts and gets whose values are all different. What must never: trust in
//! who wrote it; a history that makes no sense is an error, and never passes.
//!
//! Linearizability is local (Herlihy and Wing, TOPLAS 1990, theorem 1): a history is linearizable exactly when the part of each key is, so
//! each key is checked alone ([`register`]).

mod recorded;
pub mod register;

pub use recorded::{HistoryError, Recorded};

use register::{Initial, Violation};

/// A check that found nothing wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Keys that the history names.
    pub keys: usize,
    /// Reads and writes that were checked.
    pub operations: usize,
}

/// A key whose part of the history no single copy could have produced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the history is not linearizable: key {}: {violation}", register::hexadecimal(.key))]
pub struct NotLinearizable {
    /// Which key.
    pub key: Vec<u8>,
    /// What is wrong with it.
    pub violation: Violation,
}

/// Checks every key of a history.
///
/// # Errors
/// The first key, in the keys' order, whose part is not linearizable.
pub fn check(history: &Recorded, initial: Initial) -> Result<Checked, NotLinearizable> {
    let mut checked = Checked::default();
    for (key, operations) in history.keys() {
        register::check(operations, initial).map_err(|violation| NotLinearizable { key: key.to_vec(), violation })?;
        checked.keys += 1;
        checked.operations += operations.len();
    }
    Ok(checked)
}
