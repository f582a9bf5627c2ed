//! What there is: agents that take turns, the network between them, their disks and clocks. Nothing here judges, and nothing here lies.
//!
//! [`cluster`] is the virtual time in which the [`hosts`] take turns (`clients` has the clients', `rounds` the time of scripts, `restarts` what ends and begins again, `narration` says it, [`disk`] what is
//! left then); [`network`] is what is in flight between them, [`settings`] the numbers of all that, [`seat`] the keys that each has (`keys`, real ones or
//! `stand_ins`), [`witness`] what its service was asked to do.

pub(crate) mod clients;
pub mod clock;
pub mod cluster;
pub mod disk;
pub mod fingerprint;
pub mod hosts;
mod keys;
pub mod links;
mod narration;
pub mod network;
pub mod operations;
pub mod random;
mod restarts;
pub mod rounds;
pub mod seat;
pub mod settings;
mod stand_ins;
pub mod timeline;
pub mod witness;
