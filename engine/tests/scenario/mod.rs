//! A cluster in a box: real replicas and real clients, their packets in the hands of a script.
//!
//! *For*: showing what the protocol does, in files that read as a story, and trying it with seeds. *Enters*: the engine's public parts as
//! production uses them: orderer, verifier, sealer, key ring, client, follower. *Never*: a socket, a thread, a clock of the host, or randomness without
//! a seed.
//!
//! [`script`] reads the files, [`command`] is their language, [`cluster`] the virtual time in which [`hosts`] take turns (`clients` has the clients', `restarts` what ends and begins again, [`disk`] what is left then), [`network`] what is
//! in flight between them, [`faults`] how the faulty speak, [`words`] and [`report`] how it is told (`statements` puts signed ones together), [`checks`] what must hold whatever happens (`judge` decides
//! view changes once more), `say` what scripts put in the mouths of the faulty. [`chance`] puts seeds in
//! place of scripts, and a `liar` in place of a faulty replica.

pub mod chance;
pub mod checks;
mod clients;
pub mod cluster;
pub mod command;
pub mod disk;
pub mod faults;
pub mod hosts;
mod judge;
mod liar;
pub mod network;
pub mod random;
pub mod report;
mod restarts;
mod say;
pub mod script;
pub mod seat;
mod statements;
pub mod witness;
pub mod words;
