//! A cluster in a box: the real replicas and the real clients in virtual time, their packets in the hands of a script or of a seed.
//!
//! *For*: showing what the protocol does, in files that read as a story, and searching with seeds for what it does wrong. *Enters*: the engine's public
//! parts as production uses them: orderer, verifier, sealer, key ring, client, follower. *Never*: a socket, a thread, a clock of the host,
//! or randomness without a seed.
//!
//! [`world`] is what there is: agents that take turns, the network between them, their disks. [`adversary`] is how the faulty speak.
//! [`checks`] is what must hold whatever happens, found out without asking a replica, and [`marks`] what should have happened in some seed at least.
//! [`scenario`] plays files, [`swarm`] plays seeds, [`trace`] draws what happened in one.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

pub mod adversary;
pub mod checks;
pub mod exhaustive;
pub mod marks;
#[cfg(feature = "planted-bugs")]
pub mod matrix;
pub mod scenario;
pub mod swarm;
pub mod trace;
pub mod world;
