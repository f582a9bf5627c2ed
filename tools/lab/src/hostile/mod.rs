//! Whoever means harm, or is a harm.
//!
//! What this room is for: the stranger on the segment ([`flood`]), applications that abuse their session's memory
//! ([`application`]), neighbours on the processor ([`busy`]), a disk that is full ([`disk`]), and replicas that lie
//! ([`liar`]), in the words of the simulator's adversary. What must never be here: a replica of its own, or another's key.

pub mod application;
pub mod busy;
pub mod disk;
pub mod flood;
pub mod liar;
