//! Measured runs: starting what is measured, loading it, and asking afterwards whether it was right.
//!
//! What this room is for: the processes of a run ([`local_cluster`], [`null_protocol`]), its sequence ([`measure`]), and the
//! verdict on its history ([`judge`]).
//! What must never be here: measuring and rendering, which are `logothete_bench`'s.

pub mod judge;
pub mod local_cluster;
pub mod measure;
pub mod null_protocol;
