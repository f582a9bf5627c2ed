//! Sealing and verifying: lanes and scalar agree, every receiver verifies its own entry and no
//! other.

use super::*;
use proptest::prelude::*;

/// `count` rings, all settled with ring 0.
fn star(count: u16, algorithm: MacAlgorithm) -> (KeyRing, Vec<KeyRing>) {
    let mut centre = ring(0, count, algorithm, 0);
    let mut others: Vec<KeyRing> = (1..count).map(|own| ring(own, count, algorithm, 0)).collect();
    others.iter_mut().for_each(|other| settle(&mut centre, other));
    (centre, others)
}

#[test]
fn every_receiver_verifies_its_entry() {
    for algorithm in MacAlgorithm::ALL {
        let (mut centre, others) = star(18, algorithm);
        for set in InstructionSet::available() {
            centre.instructions = set;
            for count in 1..=17u16 {
                let to: Vec<u16> = (1..=count).collect();
                let counter = centre.counter_sealed.unwrap_or(0) + 1;
                let packet = digest(&counter.to_le_bytes());
                let mut vector = vec![0xff; to.len() * TAG_ENTRY_BYTES];
                centre.seal(&to, &packet, counter, &mut vector);
                let entries: Vec<[u8; TAG_ENTRY_BYTES]> =
                    vector.chunks(TAG_ENTRY_BYTES).map(|entry| entry.try_into().unwrap()).collect();
                for (index, other) in others.iter().enumerate() {
                    let verify = |entry| other.verify(0, centre.epoch(), counter, &packet, entry);
                    for (place, entry) in entries.iter().enumerate() {
                        let expected = if place == index { Ok(()) } else { Err(TagError::StaleKey) };
                        assert_eq!(verify(entry), expected, "{algorithm}, {set:?}, {count} receivers");
                    }
                }
            }
        }
    }
}

#[test]
fn a_tag_holds_for_its_packet_epoch_and_direction() {
    for algorithm in MacAlgorithm::ALL {
        let (mut a, b) = established_pair(algorithm);
        let (packet, epoch) = (digest(b"packet"), a.epoch());
        let entry = seal_one(&mut a, 1, &packet, 3);
        assert_eq!(b.verify(0, epoch, 3, &packet, &entry), Ok(()));
        assert_eq!(b.verify(0, epoch, 3, &digest(b"other"), &entry), Err(TagError::BadTag));
        assert_eq!(b.verify(0, epoch ^ 1, 3, &packet, &entry), Err(TagError::NoSession));
        assert_eq!(b.verify(5, epoch, 3, &packet, &entry), Err(TagError::NoSession));
        assert_eq!(b.verify(1, epoch, 3, &packet, &entry), Err(TagError::NoSession));
        assert_eq!(b.verify(0, epoch, 3, &packet, &[0; TAG_ENTRY_BYTES]), Err(TagError::StaleKey));
        assert_eq!(a.verify(1, b.epoch(), 3, &packet, &entry), Err(TagError::StaleKey), "reflected");
        for bit in 0..8 * TAG_ENTRY_BYTES {
            let mut changed = entry;
            changed[bit / 8] ^= 1 << (bit % 8);
            let expected = if bit < 32 { TagError::StaleKey } else { TagError::BadTag };
            assert_eq!(b.verify(0, epoch, 3, &packet, &changed), Err(expected), "{algorithm}, bit {bit}");
        }
    }
}

#[test]
fn who_has_no_key_gets_zeros_and_costs_the_others_nothing() {
    for algorithm in MacAlgorithm::ALL {
        let mut a = ring(0, 4, algorithm, 0);
        let mut b = ring(2, 4, algorithm, 0);
        settle(&mut a, &mut b);
        let packet = digest(b"packet");
        // 1 is not established, 9 not even a peer.
        let mut vector = [0xff; 3 * TAG_ENTRY_BYTES];
        a.seal(&[1, 2, 9], &packet, 1, &mut vector);
        assert_eq!(vector[..TAG_ENTRY_BYTES], [0; TAG_ENTRY_BYTES]);
        assert_eq!(vector[2 * TAG_ENTRY_BYTES..], [0; TAG_ENTRY_BYTES]);
        let entry = vector[TAG_ENTRY_BYTES..2 * TAG_ENTRY_BYTES].try_into().unwrap();
        assert_eq!(b.verify(0, a.epoch(), 1, &packet, entry), Ok(()));
        // Once 1 has announced itself the same audience reaches it.
        let mut c = ring(1, 4, algorithm, 0);
        settle(&mut a, &mut c);
        a.seal(&[1, 2, 9], &packet, 2, &mut vector);
        let entry = vector[..TAG_ENTRY_BYTES].try_into().unwrap();
        assert_eq!(c.verify(0, a.epoch(), 2, &packet, entry), Ok(()));
    }
}

#[test]
fn an_empty_audience_has_an_empty_vector() {
    let (mut a, _) = established_pair(MacAlgorithm::Blake3);
    a.seal(&[], &Digest::ZERO, 1, &mut []);
    assert_eq!(a.counter_sealed, Some(1));
}

#[test]
#[should_panic(expected = "must strictly increase")]
fn a_counter_is_never_used_twice() {
    let (mut a, _) = established_pair(MacAlgorithm::Aes256Gmac);
    seal_one(&mut a, 1, &digest(b"one"), 4);
    seal_one(&mut a, 1, &digest(b"two"), 4);
}

#[test]
#[should_panic(expected = "size of the vector")]
fn the_vector_has_the_size_of_the_audience() {
    let (mut a, _) = established_pair(MacAlgorithm::Blake3);
    a.seal(&[1, 1], &Digest::ZERO, 1, &mut [0; TAG_ENTRY_BYTES]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Many audiences in any order, more than the cache holds: lanes, scalar and a ring without cache agree.
    #[test]
    fn lanes_equal_scalar_for_any_sequence_of_audiences(
        audiences in prop::collection::vec(prop::collection::vec(0u16..22, 0..40), 1..40),
        rotate_at in 0usize..40,
    ) {
        let (mut lanes, mut others) = star(20, MacAlgorithm::Blake3);
        let (mut scalar, mut others_scalar) = star(20, MacAlgorithm::Blake3);
        scalar.instructions = InstructionSet::Scalar;
        for set in InstructionSet::available() {
            lanes.instructions = set;
            for (index, to) in audiences.iter().enumerate() {
                if index == rotate_at {
                    let stars = [(&mut lanes, &mut others), (&mut scalar, &mut others_scalar)];
                    for (ring, peers) in stars {
                        ring.rotate();
                        settle(ring, &mut peers[index % 19]);
                    }
                }
                let counter = lanes.counter_sealed.unwrap_or(0) + 1;
                let packet = digest(&counter.to_le_bytes());
                let size = to.len() * TAG_ENTRY_BYTES;
                let mut out = [vec![0xff; size], vec![0xee; size]];
                lanes.seal(to, &packet, counter, &mut out[0]);
                scalar.seal(to, &packet, counter, &mut out[1]);
                prop_assert_eq!(&out[0], &out[1], "{:?}, audience {:?}", set, to);
            }
        }
    }
}
