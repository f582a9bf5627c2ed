//! What a process has at the network: its keys, and the real verifier and sealer over them.

use crate::world::keys::Keys;
use crate::world::random::Random;
use crate::world::stand_ins::StandIns;
use logothete_crypto::{Digest, Identity, KeyRingConfig, MacAlgorithm, PublicIdentity, digest};
use logothete_engine::authentication::{Incoming, Refused, RequestSigner, Sealer, Signatures, Verifier};
use logothete_engine::numbers::{ClientId, Principal, ReplicaId, ReplicaSet};
use logothete_engine::wire::Audience;
use logothete_engine::wire::packet::{ENTRY_BYTES, Envelope, HEADER_BYTES, PacketParts, write_header};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The number of the cluster in all scenarios.
pub const CLUSTER: u64 = 0x5ce7_a210;

/// The digest of its configuration.
pub const CONTEXT: Digest = Digest([7; 32]);

/// Everybody who has keys.
#[derive(Clone, Copy, Debug)]
pub struct Register {
    pub replicas: usize,
    pub clients: usize,
    /// Their session keys and tags are not real ones ([`crate::world::stand_ins`]).
    pub stand_ins: bool,
}

impl Register {
    pub fn replicas(self) -> impl Iterator<Item = Principal> {
        (0..self.replicas as u8).map(|id| Principal::Replica(ReplicaId(id)))
    }

    fn everybody(self) -> impl Iterator<Item = Principal> {
        self.replicas().chain((0..self.clients as u16).map(|id| Principal::Client(ClientId(id))))
    }

    fn identity(self, of: Principal) -> Identity {
        Identity::from_secret_bytes(digest(&of.code().to_le_bytes()).0)
    }

    fn public(self, of: Principal) -> PublicIdentity {
        thread_local! {
            static KNOWN: RefCell<BTreeMap<u16, PublicIdentity>> = const { RefCell::new(BTreeMap::new()) };
        }
        KNOWN.with_borrow_mut(|known| *known.entry(of.code()).or_insert_with(|| self.identity(of).public()))
    }

    /// With what a replica signs.
    pub fn signatures(self, of: ReplicaId) -> Signatures {
        let public = self.replicas().map(|replica| self.public(replica)).collect();
        let clients = (0..self.clients as u16).map(|id| self.public(Principal::Client(ClientId(id)))).collect();
        Signatures::new(self.identity(Principal::Replica(of)), public, clients, CONTEXT)
    }

    /// With what a client signs.
    pub fn signer(self, of: ClientId) -> RequestSigner {
        RequestSigner::new(self.identity(Principal::Client(of)), CONTEXT)
    }
}

/// One process at the network.
pub struct Seat {
    own: Principal,
    keys: Keys,
    verifier: Verifier,
    sealer: Sealer,
    /// Of each whose keys overlap with this one's former: the epoch, and the last packet that was sealed under those.
    former: BTreeMap<u16, (u64, u64)>,
}

impl Seat {
    /// A process that has just started, and knows nobody's keys yet.
    pub fn new(own: Principal, register: Register, random: &mut Random) -> Self {
        let client = matches!(own, Principal::Client(_));
        let peers = register.everybody().filter(|peer| *peer != own);
        let peers = peers.filter(|peer| !client || matches!(peer, Principal::Replica(_)));
        let config = || KeyRingConfig {
            context: CONTEXT,
            algorithm: MacAlgorithm::Blake3,
            own: own.code(),
            identity: register.identity(own),
            peers: peers.map(|peer| (peer.code(), register.public(peer))).collect(),
        };
        let entropy = Random::new(random.draw());
        Self {
            own,
            keys: if register.stand_ins { Keys::stand_in(own, entropy) } else { Keys::real(config(), entropy) },
            verifier: Verifier::new(own, CLUSTER, register.replicas, register.clients),
            sealer: Sealer::new(own, CLUSTER),
            former: BTreeMap::new(),
        }
    }

    /// Has a former process's keys, and knows none of the packets that it had seen: a planted bug.
    pub fn keep_keys_of(&mut self, former: Seat) {
        (self.keys, self.sealer) = (former.keys, former.sealer);
    }

    /// The epoch that its packets name.
    pub fn epoch(&self) -> u64 {
        self.keys.of_packets().epoch()
    }

    /// Has this process and a peer learn each other's keys.
    pub fn introduce(&mut self, peer: &mut Seat) {
        self.keys.introduce(self.own, &mut peer.keys, peer.own);
    }

    /// Makes the next generation of its key; who is introduced next learns it.
    pub fn rotate(&mut self) {
        self.keys.rotate();
    }

    /// What a peer sealed so far is under keys that overlap from now on with those that follow.
    pub fn overlap(&mut self, peer: &Self) {
        self.former.insert(peer.own.code(), (peer.epoch(), peer.sealer.sealed()));
    }

    /// Ends the overlap of a process's last two generations, its own or a peer's.
    pub fn retire(&mut self, of: Principal) {
        match of == self.own {
            true => self.keys.retire(),
            false => self.keys.retire_of(of),
        }
    }

    /// Whether a datagram was sealed under keys that a rotation replaced since.
    pub fn is_former(&self, datagram: &[u8]) -> bool {
        if self.former.is_empty() {
            return false;
        }
        let Ok(parts) = PacketParts::parse(datagram) else { return false };
        let held = self.former.get(&parts.header.sender.get());
        held.is_some_and(|(epoch, counter)| {
            parts.header.epoch.get() == *epoch && parts.header.counter.get() <= *counter
        })
    }

    /// A datagram of messages for an audience.
    pub fn seal(&mut self, audience: Audience, body: &[u8], message_count: u16) -> Vec<u8> {
        let mut packet = vec![0; HEADER_BYTES + body.len() + audience.tag_count() * ENTRY_BYTES];
        packet[HEADER_BYTES..HEADER_BYTES + body.len()].copy_from_slice(body);
        let length = self.sealer.seal(self.keys.of_packets_mut(), &mut packet, body.len(), audience, message_count);
        assert_eq!(length, packet.len());
        packet
    }

    /// A datagram in somebody else's name and epoch, under the keys that this process has: a forgery.
    pub fn forge(&mut self, name: Principal, epoch: u64, audience: ReplicaSet, body: &[u8]) -> Vec<u8> {
        let to: Vec<u16> = audience.iter().map(|id| Principal::Replica(id).code()).collect();
        // Its own sealer goes on to the next number, with keys for nobody.
        let mut nobody = StandIns::new(self.own.code(), Random::new(0));
        let audience = Audience::Replicas(audience);
        let mut packet = vec![0; HEADER_BYTES + body.len() + to.len() * ENTRY_BYTES];
        packet[HEADER_BYTES..HEADER_BYTES + body.len()].copy_from_slice(body);
        self.sealer.seal(&mut nobody, &mut packet, body.len(), audience, 1);
        let counter = self.sealer.sealed();
        let sender = name.code();
        let envelope = Envelope { sender, cluster: CLUSTER, epoch, counter, audience, message_count: 1 };
        let digest = write_header(&mut packet, body.len(), &envelope);
        self.keys.of_packets_mut().seal(&to, &digest, counter, &mut packet[HEADER_BYTES + body.len()..]);
        packet
    }

    /// Checks a datagram that `sender` transmitted: what a client did not transmit itself is relayed.
    pub fn verify<'a>(&mut self, transmitter: Principal, datagram: &'a [u8]) -> Result<Incoming<'a>, Refused> {
        let from_replica = matches!(transmitter, Principal::Replica(_));
        let relayed = |sender| matches!(sender, Principal::Client(_)) && from_replica;
        self.verifier.verify(self.keys.of_packets(), datagram, relayed).map_err(|(reason, _)| reason)
    }
}
