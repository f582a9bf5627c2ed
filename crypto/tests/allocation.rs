//! Sealing, verifying and hashing must not allocate once an audience is known: they run for every
//! datagram.

#[path = "../../transport/tests/allocations/mod.rs"]
mod allocations;

use allocations::allocations_of;
use logothete_crypto::{
    Digest, Entropy, Identity, KeyRing, KeyRingConfig, MacAlgorithm, TAG_ENTRY_BYTES, digest, digest_many, os_entropy,
};
const REPLICAS: u16 = 4;

fn ring(own: u16, algorithm: MacAlgorithm) -> KeyRing {
    let identity = |principal: u16| Identity::from_secret_bytes([principal as u8 + 1; 32]);
    let others = (0..REPLICAS).filter(|peer| *peer != own);
    let config = KeyRingConfig {
        context: digest(b"context"),
        algorithm,
        own,
        identity: identity(own),
        peers: others.map(|peer| (peer, identity(peer).public())).collect(),
    };
    KeyRing::new(config, Box::new(os_entropy) as Entropy)
}

#[test]
fn packets_allocate_nothing_once_their_audience_is_known() {
    for algorithm in MacAlgorithm::ALL {
        let mut own = ring(0, algorithm);
        let mut peers: Vec<KeyRing> = (1..REPLICAS).map(|peer| ring(peer, algorithm)).collect();
        for (index, peer) in peers.iter_mut().enumerate() {
            let principal = index as u16 + 1;
            for _ in 0..2 {
                peer.accept_announcement(&own.announcement(principal, 0).unwrap()).unwrap();
                own.accept_announcement(&peer.announcement(0, 0).unwrap()).unwrap();
            }
        }
        let audiences: [&[u16]; 4] = [&[1, 2, 3], &[2], &[1, 3], &[]];
        let mut counter = 0;
        let mut talk = || {
            for to in audiences {
                counter += 1;
                let packet = digest(&[counter as u8]);
                let mut vector = [0; REPLICAS as usize * TAG_ENTRY_BYTES];
                own.seal(to, &packet, counter, &mut vector[..to.len() * TAG_ENTRY_BYTES]);
                for (receiver, entry) in to.iter().zip(vector.chunks_exact(TAG_ENTRY_BYTES)) {
                    let peer = &peers[usize::from(*receiver) - 1];
                    let verdict = peer.verify(0, own.epoch(), counter, &packet, entry.try_into().unwrap());
                    assert_eq!(verdict, Ok(()));
                }
            }
        };
        talk();
        assert_eq!(allocations_of(|| (0..10).for_each(|_| talk())), 0, "{algorithm}");
    }
}

#[test]
fn digests_allocate_nothing() {
    let bytes = [7; 5000];
    let inputs: [&[u8]; 40] = std::array::from_fn(|index| &bytes[..index * index * 3]);
    let mut out = [Digest::ZERO; 40];
    assert_eq!(allocations_of(|| digest_many(&inputs, &mut out)), 0);
    assert_eq!(out[39], digest(inputs[39]));
}
