//! Drills: a real cluster under load is hurt and put right again, and everything that it promised is checked.
//!
//! What this room is for: the faults and repairs ([`scenario`], on a [`cluster`] of real processes), a [`load`] whose
//! entries prove themselves ([`entry`]), the checks of what was acknowledged against what is in the order ([`history`])
//! and of subscribers against each other ([`ledger`], fed by [`readers`]), and the figures that come of it ([`figures`],
//! [`memory`], [`report`]). [`run`] holds one run together, [`threads`] what goes on beside it.
//!
//! What must never be here: a check that takes the engine's word for what it checks. Replicas are asked which of them
//! is the primary, how far they are and whether their states agree; what was lost, doubled or reordered is found without
//! asking them.

pub mod cluster;
pub mod entry;
pub mod figures;
pub mod history;
pub mod ledger;
pub mod load;
pub mod memory;
pub mod readers;
pub mod report;
pub mod run;
pub mod scenario;
pub mod shared;
pub mod story;
pub mod threads;

#[cfg(test)]
mod tests;
