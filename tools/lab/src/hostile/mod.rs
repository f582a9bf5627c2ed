//! Whoever means harm, or is a harm, without being a replica.
//!
//! What this room is for: the stranger on the segment ([`flood`]), applications that abuse their session's memory
//! ([`application`]), neighbours on the processor ([`busy`]), and a disk that is full ([`disk`]). What must never be
//! here: a replica's key. Replicas that lie are the simulator's.

pub mod application;
pub mod busy;
pub mod disk;
pub mod flood;
