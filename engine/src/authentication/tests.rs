//! What was recorded is of no use: packets of former generations and former epochs are refused before anything of their body is read.

use super::{Refused, Sealer, Verifier};
use crate::numbers::{Principal, ReplicaId, ReplicaSet};
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
    id: u8,
    keys: KeyRing,
    sealer: Sealer,
    verifier: Verifier,
}

impl Side {
    /// Replica `id` of two, at its `start`-th start.
    fn new(id: u8, start: u8) -> Self {
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
            own: principal(id).code(),
            identity: identity(id),
            peers: vec![(principal(1 - id).code(), identity(1 - id).public())],
        };
        Self {
            id,
            keys: KeyRing::new(config, Box::new(entropy)),
            sealer: Sealer::new(principal(id), CLUSTER),
            verifier: Verifier::new(principal(id), CLUSTER, 2, 1),
        }
    }

    fn announce(&mut self, to: &mut Side) {
        let announcement = self.keys.announcement(principal(to.id).code(), 0).unwrap();
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
        let audience = Audience::Replicas(ReplicaSet::only(ReplicaId(1 - self.id)));
        self.sealer.seal(&mut self.keys, &mut packet, body.len(), audience, 1);
        packet
    }

    fn verdict(&mut self, packet: &[u8]) -> Result<(), Refused> {
        self.verifier.verify(&self.keys, packet, |_| false).map(|_| ()).map_err(|(reason, _)| reason)
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
