//! Who sent what: the harness's proof that nobody's tags were made but with that one's keys.

use crate::world::cluster::Cluster;
use logothete_crypto::{Digest, digest};
use logothete_engine::authentication::Incoming;
use logothete_engine::numbers::Principal;
use std::collections::BTreeSet;

/// The bodies that each honest principal sealed.
#[derive(Default)]
pub struct Ledger(BTreeSet<(Principal, Digest)>);

impl Ledger {
    /// A principal sends a packet of its own.
    pub fn on_sealed(&mut self, by: Principal, body: &[u8]) {
        self.0.insert((by, digest(body)));
    }

    /// An authentic packet of somebody honest arrived.
    ///
    /// # Panics
    /// If that one never sent it: somebody made a tag without the key, which is a bug of the harness or the end of the MAC.
    pub fn on_authentic(&self, of: Principal, body: &[u8]) {
        assert!(self.0.contains(&(of, digest(body))), "a packet of {of:?} is authentic, and it never sent it");
    }
}

impl Cluster {
    /// Looks an authentic packet up. What the operator asks does not go through the network.
    pub(crate) fn prove_authentic(&self, incoming: &Incoming<'_>, body: &[u8]) {
        let of = match incoming {
            Incoming::Packet(packet) => packet.sender(),
            Incoming::Relayed(packet) if packet.is_authentic() => packet.client(),
            Incoming::Relayed(_) => return,
        };
        if self.is_honest(of) {
            self.ledger.on_authentic(of, body);
        }
    }
}
