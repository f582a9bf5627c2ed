//! The pipeline: agents, and how they are put on threads.
//!
//! *For*: moving packets from the network through verification to the core, and what the core says back to the network. *Enters*: a checked
//! configuration, an identity, a flag to stop. *Never*: a decision of the protocol; those are the core's.
//!
//! ```text
//!              +----------------------- network -----------------------+
//!   datagrams  |  receiver → verifier                  sender          |  datagrams
//!   ---------> |      |                                  ^             | --------->
//!              +------|----------------------------------|-------------+
//!                     v  authentic packets               |  packed, unsealed packets
//!              +------|----------------------------------|-------------+
//!              |   orderer (replica) → executor (service) → outbox     |
//!              +-------------------------------------------------------+
//! ```
//!
//! Arrangement `shared` runs both boxes in turn on one thread, `split` each on its own.

mod checkpoints;
mod clock;
mod counters;
mod evidence_log;
mod idle;
mod keeper;
mod memory;
mod network;
mod opening;
mod orderer;
mod outbox;
mod process;
mod reader;
mod split;
mod state_transfer;
mod unreplicated;

pub use clock::Clock;
pub use counters::{NetworkCounters, OrdererCounters, counters_path};
pub use evidence_log::evidence_path;
pub use idle::{Idler, Pause};
pub use keeper::{Keeper, MemoryConfig, MemoryError, MemoryPlan};
pub use memory::Memory;
pub use network::{AnnouncementCounts, Network, NetworkConfig, RotationPolicy};
pub use opening::{Opened, ProcessError, StartReport, open_network};
pub use orderer::Orderer;
pub use outbox::{Departures, Outbox, Outgoing};
pub use process::{ReplicaProcess, run_replica, run_unreplicated};
pub use unreplicated::Unreplicated;

use crate::authentication::{Incoming, RefusedCounters};
use crate::limits::REPLICAS_MAX;
use crate::replica::{Event, Now};

/// What the network's side knows and the operator wants to hear.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplicaFacts {
    /// Datagrams sent since the start.
    pub datagrams_sent: u64,
    /// Datagrams received since the start.
    pub datagrams_received: u64,
    /// Datagrams refused by the verifier since the start, by reason.
    pub refused: RefusedCounters,
    /// Datagrams of each replica dropped because it flooded.
    pub isolated: [u64; REPLICAS_MAX],
}

/// What stands behind the network: a replica with its service, or the unreplicated baseline.
pub trait Core {
    /// Takes what the verifier let through.
    fn on_incoming(&mut self, now: Now, incoming: &Incoming<'_>);

    /// Ends a duty cycle: does what is due, and leaves in the outbox what is to be sent.
    fn on_duty_end(&mut self, now: Now, facts: &ReplicaFacts, outbox: &mut Outbox);

    /// When [`Core::on_duty_end`] is to be called at the latest, by the monotonic clock.
    fn deadline_ns(&self) -> u64;

    /// The process ends as it should.
    fn on_stop(&mut self) {}

    /// Hands over what happened since the last call.
    fn take_events(&mut self, take: &mut dyn FnMut(Event));
}
