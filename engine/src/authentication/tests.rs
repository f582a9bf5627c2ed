//! What was recorded is of no use: packets of former generations and former epochs are refused before anything of their body is read.

use super::{Incoming, Refused, Sealer, Verifier};
use crate::numbers::{ClientId, Principal, ReplicaId, ReplicaSet};
use crate::wire::Audience;
use crate::wire::packet::{ENTRY_BYTES, HEADER_BYTES};
use logothete_crypto::{Digest, Identity, KeyRing, KeyRingConfig, MacAlgorithm, digest};

const CLUSTER: u64 = 0xc1;

fn principal(id: u8) -> Principal {
    Principal::Replica(ReplicaId(id))
}

fn identity(id: u8) -> Identity {
    Identity::from_secret_bytes([id + 1; 32])
}

struct Side {
    own: Principal,
    peer: Principal,
    keys: KeyRing,
    sealer: Sealer,
    verifier: Verifier,
}

impl Side {
    /// Replica `id` of two, at its `start`-th start.
    fn new(id: u8, start: u8) -> Self {
        Self::between(principal(id), principal(1 - id), id, start)
    }

    /// One of two who know each other; `id` tells them apart.
    fn between(own: Principal, peer: Principal, id: u8, start: u8) -> Self {
        let mut drawn = 0u64;
        let entropy = move |bytes: &mut [u8]| {
            for chunk in bytes.chunks_mut(32) {
                drawn += 1;
                let seed = [u64::from(id), u64::from(start), drawn].map(u64::to_le_bytes).concat();
                chunk.copy_from_slice(&digest(&seed).0[..chunk.len()]);
            }
        };
        let config = KeyRingConfig {
            context: Digest([3; 32]),
            algorithm: MacAlgorithm::Aes256Gmac,
            own: own.code(),
            identity: identity(id),
            peers: vec![(peer.code(), identity(1 - id).public())],
        };
        Self {
            own,
            peer,
            keys: KeyRing::new(config, Box::new(entropy)),
            sealer: Sealer::new(own, CLUSTER),
            verifier: Verifier::new(own, CLUSTER, 2, 1),
        }
    }

    fn announce(&mut self, to: &mut Side) {
        let announcement = self.keys.announcement(to.own.code(), 0).unwrap();
        to.keys.accept_announcement(&announcement).unwrap();
    }

    fn introduce(&mut self, other: &mut Side) {
        for _ in 0..2 {
            self.announce(other);
            other.announce(self);
        }
    }

    /// A packet for the other replica; its body is no message, which nobody gets to see.
    fn seal(&mut self) -> Vec<u8> {
        let body = [8, 0, 0, 0, 8, 0, 0, 0];
        let mut packet = vec![0; HEADER_BYTES + body.len() + ENTRY_BYTES];
        packet[HEADER_BYTES..HEADER_BYTES + body.len()].copy_from_slice(&body);
        let Principal::Replica(to) = self.peer else { panic!("packets go to replicas here") };
        let audience = Audience::Replicas(ReplicaSet::only(to));
        self.sealer.seal(&mut self.keys, &mut packet, body.len(), audience, 1);
        packet
    }

    fn verdict(&mut self, packet: &[u8]) -> Result<(), Refused> {
        self.verifier.verify(&self.keys, packet, |_| false).map(|_| ()).map_err(|(reason, _)| reason)
    }

    /// Of a client's packet that another replica relayed: whether it is authentic, and whether it is spoilt.
    fn relayed(&mut self, packet: &[u8]) -> (bool, bool) {
        match self.verifier.verify(&self.keys, packet, |_| true) {
            Ok(Incoming::Relayed(relayed)) => (relayed.is_authentic(), relayed.is_spoilt()),
            other => panic!("{other:?}"),
        }
    }
}

/// `protocol.md AN-6`, `PK-5`, `KY-3`
#[test]
fn a_recorded_packet_of_a_dropped_generation_is_refused() {
    let (mut a, mut b) = (Side::new(0, 0), Side::new(1, 0));
    a.introduce(&mut b);
    let recorded: Vec<_> = (0..6).map(|_| a.seal()).collect();
    assert_eq!(b.verdict(&recorded[0]), Ok(()));
    a.keys.rotate();
    a.introduce(&mut b);
    assert_eq!(b.verdict(&recorded[1]), Ok(()), "two generations overlap");
    assert_eq!(b.verdict(&a.seal()), Ok(()));
    b.keys.retire_of(principal(0).code());
    for packet in &recorded[2..] {
        assert_eq!(b.verdict(packet), Err(Refused::KeyStale));
    }
    assert_eq!(b.verdict(&recorded[0]), Err(Refused::Replayed), "what was taken once is not looked at again");
    assert_eq!(b.verifier.refused().of(Refused::KeyStale), 4);
    assert_eq!(b.verdict(&a.seal()), Ok(()));

    // The receiver's own rotation ends a generation in the same way.
    let recorded: Vec<_> = (0..2).map(|_| a.seal()).collect();
    b.keys.rotate();
    b.introduce(&mut a);
    assert_eq!(b.verdict(&recorded[0]), Ok(()));
    b.keys.retire();
    assert_eq!(b.verdict(&recorded[1]), Err(Refused::KeyStale));
    assert_eq!(b.verdict(&a.seal()), Ok(()));
}

/// `protocol.md PK-5`, `KY-3`
#[test]
fn a_recorded_packet_of_a_former_epoch_is_refused_and_asks_for_nothing() {
    let (mut a, mut b) = (Side::new(0, 0), Side::new(1, 0));
    a.introduce(&mut b);
    let recorded: Vec<_> = (0..5).map(|_| a.seal()).collect();
    assert_eq!(b.verdict(&recorded[0]), Ok(()));
    let mut a = Side::new(0, 1);
    assert_eq!(b.verdict(&a.seal()), Err(Refused::NoSession), "a new epoch is not believed before it is established");
    a.introduce(&mut b);
    for packet in &recorded {
        let refused = b.verifier.verify(&b.keys, packet, |_| false).map(|_| ()).unwrap_err();
        assert_eq!(refused, (Refused::EpochOver, None), "no announcement answers a recording");
    }
    assert_eq!(b.verifier.refused().of(Refused::EpochOver), 5);
    assert_eq!(b.verdict(&a.seal()), Ok(()));
}

/// `protocol.md PK-8`: over rotations as well, since the counter is the nonce.
#[test]
fn counters_go_on_over_rotations() {
    let (mut a, mut b) = (Side::new(0, 0), Side::new(1, 0));
    a.introduce(&mut b);
    let mut counter_before = 0;
    for _ in 0..20 {
        let packet = a.seal();
        let counter = u64::from_le_bytes(*packet[24..].first_chunk().unwrap());
        assert!(counter > counter_before, "{counter} after {counter_before}");
        counter_before = counter;
        assert_eq!(b.verdict(&packet), Ok(()));
        a.keys.rotate();
        a.introduce(&mut b);
        a.keys.retire();
    }
    assert_eq!(a.sealer.sealed(), counter_before);
}

const AUTHENTIC: (bool, bool) = (true, false);
const UNPROVEN: (bool, bool) = (false, false);
const SPOILT: (bool, bool) = (false, true);

/// `protocol.md DM-2`: a copy speaks against its client only if the client had a key with this replica when it sealed it.
#[test]
fn a_copy_is_spoilt_only_if_its_client_could_have_made_a_good_tag() {
    let client = Principal::Client(ClientId(0));
    let (mut c, mut replica) = (Side::between(client, principal(1), 0, 0), Side::between(principal(1), client, 1, 0));
    let entry = |packet: &[u8]| packet.len() - ENTRY_BYTES;
    let without_tag = |packet: &[u8]| [&packet[..entry(packet)], &[0; ENTRY_BYTES][..]].concat();
    let before = c.seal();
    assert_eq!(replica.relayed(&before), UNPROVEN, "no session");
    c.introduce(&mut replica);
    let early = c.seal();
    assert_eq!(replica.relayed(&before), UNPROVEN, "no tag, and no proof that there could be one");
    assert_eq!(replica.relayed(&without_tag(&early)), UNPROVEN);
    assert_eq!(replica.verdict(&c.seal()), Ok(()));
    let late = c.seal();
    assert_eq!((replica.relayed(&early), replica.relayed(&late)), (AUTHENTIC, AUTHENTIC));
    assert_eq!(replica.relayed(&without_tag(&early)), UNPROVEN, "sealed before what proves that it had the key");
    assert_eq!(replica.relayed(&without_tag(&late)), SPOILT);
    let mut wrong = early.clone();
    *wrong.last_mut().unwrap() ^= 1;
    assert_eq!(replica.relayed(&wrong), SPOILT, "a wrong tag under a key that is held");
    // What was sealed under a key that is gone by now is just late.
    c.keys.rotate();
    c.introduce(&mut replica);
    replica.keys.retire_of(client.code());
    assert_eq!((replica.relayed(&late), replica.relayed(&without_tag(&late))), (UNPROVEN, UNPROVEN));
    // A client that began anew is not held to its former life.
    let mut again = Side::between(client, principal(1), 0, 1);
    assert_eq!(replica.relayed(&again.seal()), UNPROVEN);
}

/// `protocol.md DM-4`: nobody has the engine's own name but who relays what proves itself.
#[test]
fn a_packet_in_the_engines_name_is_relayed_or_nothing() {
    let system = Principal::Client(ClientId::SYSTEM);
    let mut replica = Side::new(1, 0);
    let packet = Side::between(system, principal(1), 0, 0).seal();
    assert_eq!(replica.relayed(&packet), UNPROVEN);
    assert_eq!(replica.verdict(&packet), Err(Refused::SenderUnknown));
}
