//! Who sent what: the harness's proof that nobody's tags were made but with that one's keys.

use crate::world::cluster::Cluster;
use crate::world::fingerprint::Fingerprint;
use logothete_engine::authentication::Incoming;
use logothete_engine::numbers::Principal;
use std::collections::{BTreeMap, HashMap};

/// The bodies that each honest principal sealed, and when whose process began.
#[derive(Default)]
pub struct Ledger {
    /// How many processes had begun anew when a body was sealed last. Nobody walks through it: its order is not the same in every process.
    sealed: HashMap<(Principal, Fingerprint), u64>,
    begun: BTreeMap<Principal, u64>,
    restarts: u64,
}

impl Ledger {
    /// A principal sends a packet of its own.
    pub fn on_sealed(&mut self, by: Principal, body: &[u8]) {
        self.sealed.insert((by, Fingerprint::of(body)), self.restarts);
    }

    /// A principal's process begins anew.
    pub fn on_restarted(&mut self, who: Principal) {
        self.restarts += 1;
        self.begun.insert(who, self.restarts);
    }

    /// A packet of somebody honest is authentic to somebody.
    ///
    /// # Panics
    /// If it was never sent: somebody made a tag without the key, which is a bug of the harness or the end of the MAC. Or if it was sent before one of the two
    /// began anew: keys of a former process are in force.
    pub fn on_authentic(&self, of: Principal, to: Principal, body: &[u8]) {
        let Some(sealed) = self.sealed.get(&(of, Fingerprint::of(body))) else {
            panic!("a packet of {of:?} is authentic, and it never sent it")
        };
        let begun = [of, to].map(|who| self.begun.get(&who).copied().unwrap_or(0));
        assert!(
            begun.iter().all(|begun| begun <= sealed),
            "a packet of {of:?} to {to:?} is of a former process's time"
        );
    }
}

impl Cluster {
    /// Looks an authentic packet up. What the operator asks does not go through the network.
    pub(crate) fn prove_authentic(&self, to: Principal, incoming: &Incoming<'_>, body: &[u8]) {
        let of = match incoming {
            Incoming::Packet(packet) => packet.sender(),
            Incoming::Relayed(packet) if packet.is_authentic() => packet.client(),
            Incoming::Relayed(_) => return,
        };
        if self.is_honest(of) {
            self.ledger.on_authentic(of, to, body);
        }
    }
}
