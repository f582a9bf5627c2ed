//! Who sent what, and who took it: nobody's tags are made but with that one's keys, and nobody takes one packet twice (RELIABILITY N-15, X-09).

use crate::world::cluster::Cluster;
use crate::world::fingerprint::Fingerprint;
use crate::world::network::Packet;
use logothete_engine::authentication::Incoming;
use logothete_engine::numbers::Principal;
use logothete_engine::wire::packet::PacketParts;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The bodies that each honest principal sealed, and when whose process began.
#[derive(Default)]
pub struct Ledger {
    /// How many processes had begun anew, or taken new keys, when a body was sealed last. Nobody walks through it: its order is not the same in every process.
    sealed: HashMap<(Principal, Fingerprint), u64>,
    begun: BTreeMap<Principal, u64>,
    /// When whose keys were replaced last; what was sealed before is good until the former ones are forgotten.
    rotated: BTreeMap<Principal, u64>,
    restarts: u64,
    /// Packets that were taken, by whom: sender, epoch and number of each. Nobody walks through these either.
    taken: HashSet<(Principal, u16, u64, u64)>,
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

    /// A principal's process takes new keys.
    pub fn on_rotated(&mut self, who: Principal) {
        self.restarts += 1;
        self.rotated.insert(who, self.restarts);
    }

    /// Its former keys are forgotten, by everybody.
    pub fn on_retired(&mut self, who: Principal) {
        if let Some(rotated) = self.rotated.remove(&who) {
            let begun = self.begun.entry(who).or_default();
            *begun = rotated.max(*begun);
        }
    }

    /// What is wrong with it that somebody takes a datagram as it comes from its sender.
    pub fn on_taken(&mut self, to: Principal, datagram: &[u8]) -> Option<String> {
        let parts = PacketParts::parse(datagram).expect("it was just found authentic");
        let (sender, epoch, counter) =
            (parts.header.sender.get(), parts.header.epoch.get(), parts.header.counter.get());
        let again = !self.taken.insert((to, sender, epoch, counter));
        again.then(|| format!("{to:?} takes packet {counter} of {:?} twice", Principal::from_code(sender)))
    }

    /// What is wrong with it that a packet of somebody honest is authentic to somebody. It may never have been sent: then somebody made a tag without the key.
    /// Or it was sent before one of the two began anew, or with keys that were replaced since: then keys of a former time are in force.
    pub fn on_authentic(&self, of: Principal, to: Principal, body: &[u8]) -> Option<String> {
        let Some(sealed) = self.sealed.get(&(of, Fingerprint::of(body))) else {
            return Some(format!("a packet of {of:?} is authentic to {to:?}, and it never sent it"));
        };
        let begun = [of, to].map(|who| self.begun.get(&who).copied().unwrap_or(0));
        let former = begun.iter().any(|begun| begun > sealed);
        former.then(|| format!("a packet of {of:?} is authentic to {to:?}, and of a former time"))
    }
}

impl Cluster {
    /// Looks an authentic packet up. What the operator asks does not go through the network.
    pub(crate) fn prove_authentic(&mut self, to: Principal, incoming: &Incoming<'_>, packet: &Packet) {
        let body = packet.body();
        let of = match incoming {
            Incoming::Packet(authentic) => {
                if let Some(text) = self.ledger.on_taken(to, &packet.bytes) {
                    self.checks.on_unsent(text);
                }
                authentic.sender()
            }
            Incoming::Relayed(packet) if packet.is_authentic() => packet.client(),
            Incoming::Relayed(_) => return,
        };
        if self.is_honest(of)
            && let Some(text) = self.ledger.on_authentic(of, to, body)
        {
            self.checks.on_unsent(text);
        }
    }
}
