//! `logothete simulate`: seeds on threads, the alarm for what panics, and the report.
//!
//! What is for: spreading seeds over threads and saying what came of them. What must never enter: a fault, a checker, or anything drawn; those are the
//! simulator's (`tools/simulator`).

pub mod alarm;
pub mod exhaustive;
pub mod report;
pub mod shrink;
pub mod sweep;
pub mod trace;
