//! Tests of the key ring: the exchange step by step (here), under an adversary (`exchange`),
//! packets (`packets`).

mod exchange;
mod packets;

use super::*;
use crate::digest::digest;

/// A repeatable source of randomness: the extended output of BLAKE3 over the seed.
pub(crate) fn seeded(seed: &[u64]) -> Entropy {
    let mut hasher = blake3::Hasher::new();
    seed.iter().for_each(|part| _ = hasher.update(&part.to_le_bytes()));
    let mut output = hasher.finalize_xof();
    Box::new(move |buf| output.fill(buf))
}

fn identity_of(principal: u16) -> Identity {
    Identity::from_secret_bytes([principal as u8 + 1; 32])
}

/// The ring of `own` among principals `0..count`, at its `start`-th process start.
fn ring(own: u16, count: u16, algorithm: MacAlgorithm, start: u64) -> KeyRing {
    let peers = (0..count).filter(|peer| *peer != own).map(|peer| (peer, identity_of(peer).public())).collect();
    let config = KeyRingConfig { context: digest(b"context"), algorithm, own, identity: identity_of(own), peers };
    KeyRing::new(config, seeded(&[u64::from(own), start]))
}

fn pair() -> (KeyRing, KeyRing) {
    (ring(0, 2, MacAlgorithm::Blake3, 0), ring(1, 2, MacAlgorithm::Blake3, 0))
}

/// One announcement from `sender` to `receiver` (numbered as in `ring`).
fn announce(sender: &mut KeyRing, receiver: &mut KeyRing) -> Result<Accepted, AnnouncementError> {
    let bytes = sender.announcement(receiver.own, 0).expect("they are peers");
    receiver.accept_announcement(&bytes)
}

/// The four announcements after which both sides are settled.
fn settle(a: &mut KeyRing, b: &mut KeyRing) {
    for _ in 0..2 {
        announce(a, b).unwrap();
        announce(b, a).unwrap();
    }
    assert!(a.settled(b.own) && b.settled(a.own));
}

/// Principals 0 and 1, settled.
pub(crate) fn established_pair(algorithm: MacAlgorithm) -> (KeyRing, KeyRing) {
    let (mut a, mut b) = (ring(0, 2, algorithm, 0), ring(1, 2, algorithm, 0));
    settle(&mut a, &mut b);
    (a, b)
}

/// Seals one packet for `to` and returns its only entry.
fn seal_one(ring: &mut KeyRing, to: u16, packet: &Digest, counter: u64) -> [u8; TAG_ENTRY_BYTES] {
    let mut entry = [0xff; TAG_ENTRY_BYTES];
    ring.seal(&[to], packet, counter, &mut entry);
    entry
}

/// Whether a packet from `from` verifies at `to`.
fn talks(from: &mut KeyRing, to: &KeyRing) -> Result<(), TagError> {
    let counter = from.counter_sealed.unwrap_or(0) + 1;
    let packet = digest(&counter.to_le_bytes());
    let entry = seal_one(from, to.own, &packet, counter);
    to.verify(from.own, from.epoch(), counter, &packet, &entry)
}

/// `protocol.md AN-3` to `AN-5`: challenge, echo, receipt; and answers end.
#[test]
fn the_drawn_exchange() {
    let (mut a, mut b) = pair();
    let accepted = |from: &KeyRing, outcome, answer_wanted| {
        Ok(Accepted { from: from.own, epoch: from.epoch(), attributes: 0, outcome, rotated: false, answer_wanted })
    };
    assert_eq!(announce(&mut a, &mut b), accepted(&a, Outcome::Challenged, true));
    assert_eq!((a.established(1), b.established(0)), (None, None));
    assert_eq!(announce(&mut b, &mut a), accepted(&b, Outcome::Established, true));
    assert_eq!((a.established(1), b.established(0)), (Some(b.epoch()), None));
    assert!(!a.settled(1));
    assert_eq!(announce(&mut a, &mut b), accepted(&a, Outcome::Established, true));
    assert!(b.settled(0) && !a.settled(1));
    assert_eq!(announce(&mut b, &mut a), accepted(&b, Outcome::Refreshed, false));
    assert!(b.settled(0) && a.settled(1));
    assert_eq!((talks(&mut a, &b), talks(&mut b, &a)), (Ok(()), Ok(())));
    assert_eq!(announce(&mut a, &mut b), accepted(&a, Outcome::Refreshed, false));
}

#[test]
fn two_processes_that_start_at_once_settle() {
    let (mut a, mut b) = pair();
    // Everything crosses: both send before they hear.
    for _ in 0..3 {
        let (from_a, from_b) = (a.announcement(1, 0).unwrap(), b.announcement(0, 0).unwrap());
        b.accept_announcement(&from_a).unwrap();
        a.accept_announcement(&from_b).unwrap();
    }
    assert!(a.settled(1) && b.settled(0));
    assert_eq!((talks(&mut a, &b), talks(&mut b, &a)), (Ok(()), Ok(())));
}

/// `protocol.md AN-3`, `AN-4`
#[test]
fn a_restarted_peer_replaces_its_old_epoch_and_recordings_do_not_bring_it_back() {
    let (mut a, mut b) = pair();
    let mut recorded = Vec::new();
    for _ in 0..3 {
        recorded.push(a.announcement(1, 0).unwrap());
        b.accept_announcement(recorded.last().unwrap()).unwrap();
        announce(&mut b, &mut a).unwrap();
    }
    let packet = digest(b"from the old epoch");
    let entry = seal_one(&mut a, 1, &packet, 1);
    assert_eq!(b.verify(0, a.epoch(), 1, &packet, &entry), Ok(()));

    let epoch_old = a.epoch();
    let mut a = ring(0, 2, MacAlgorithm::Blake3, 1);
    assert_eq!(announce(&mut a, &mut b).unwrap().outcome, Outcome::Challenged);
    assert_eq!(b.established(0), Some(epoch_old), "a signature alone ends no epoch");
    announce(&mut b, &mut a).unwrap();
    assert_eq!(announce(&mut a, &mut b).unwrap().outcome, Outcome::Established);
    assert_eq!(b.established(0), Some(a.epoch()));
    assert_eq!(b.verify(0, epoch_old, 1, &packet, &entry), Err(TagError::NoSession));
    assert_eq!(b.verify(0, a.epoch(), 1, &packet, &entry), Err(TagError::StaleKey));
    for bytes in &recorded {
        assert_eq!(b.accept_announcement(bytes), Err(AnnouncementError::Superseded { sender: 0 }));
    }

    // A receiver that restarted has no memory of the old epoch, and its challenge is new.
    let mut b = ring(1, 2, MacAlgorithm::Blake3, 1);
    for bytes in &recorded {
        assert_eq!(b.accept_announcement(bytes).unwrap().outcome, Outcome::Challenged);
    }
    assert_eq!(b.established(0), None);
    settle(&mut a, &mut b);
    assert_eq!(b.established(0), Some(a.epoch()));
}

/// More restarts than are remembered by name: what then keeps the first epoch out is its echo.
#[test]
fn an_epoch_that_is_forgotten_by_name_still_lacks_the_echo() {
    let (mut a, mut b) = pair();
    settle(&mut a, &mut b);
    let epoch_first = a.epoch();
    let recorded: Vec<_> = (0..3).map(|_| a.announcement(1, 0).unwrap()).collect();
    for start in 1..20 {
        a = ring(0, 2, MacAlgorithm::Blake3, start);
        settle(&mut a, &mut b);
    }
    for bytes in &recorded {
        let accepted = b.accept_announcement(bytes).unwrap();
        assert_eq!((accepted.epoch, accepted.outcome), (epoch_first, Outcome::Challenged));
    }
    assert_eq!(b.established(0), Some(a.epoch()));
    assert_eq!((talks(&mut a, &b), talks(&mut b, &a)), (Ok(()), Ok(())));
    settle(&mut a, &mut b);
}

/// `protocol.md AN-2`
#[test]
fn a_repeated_or_overtaken_announcement_changes_nothing() {
    let (mut a, mut b) = established_pair(MacAlgorithm::Blake3);
    let (early, late) = (a.announcement(1, 7).unwrap(), a.announcement(1, 8).unwrap());
    assert_eq!(b.accept_announcement(&late).unwrap().attributes, 8);
    for bytes in [early, late] {
        assert_eq!(b.accept_announcement(&bytes), Err(AnnouncementError::Repeated { sender: 0 }));
    }
    // The same holds before anything is established.
    let (mut a, mut b) = pair();
    let first = a.announcement(1, 0).unwrap();
    b.accept_announcement(&first).unwrap();
    assert_eq!(b.accept_announcement(&first), Err(AnnouncementError::Repeated { sender: 0 }));
}

/// `protocol.md AN-1`
#[test]
fn what_is_not_for_us_or_not_from_a_peer_is_refused() {
    let (mut a, mut b) = established_pair(MacAlgorithm::Blake3);
    let bytes = a.announcement(1, 0).unwrap();
    assert_eq!(a.accept_announcement(&bytes), Err(AnnouncementError::OwnIdentity), "reflected");
    let mut c = ring(2, 3, MacAlgorithm::Blake3, 0);
    assert_eq!(c.accept_announcement(&bytes), Err(AnnouncementError::OtherReceiver { receiver: 1 }));
    let from_c = c.announcement(1, 0).unwrap();
    assert_eq!(b.accept_announcement(&from_c), Err(AnnouncementError::UnknownSender { sender: 2 }));
    assert_eq!(c.announcement(9, 0), None);
    assert_eq!(c.announcement(2, 0), None, "not to itself");
    assert_eq!(b.accept_announcement(&bytes[1..]), Err(AnnouncementError::Malformed));
    for byte in 0..ANNOUNCEMENT_BYTES {
        let mut changed = bytes;
        changed[byte] ^= 0x40;
        assert!(b.accept_announcement(&changed).is_err(), "byte {byte}");
    }
    b.accept_announcement(&bytes).expect("the forgeries changed nothing");
}

/// `protocol.md AN-1`
#[test]
fn another_key_or_another_configuration_is_told_apart() {
    let (_, mut b) = pair();
    let make = |identity, context| {
        let peers = vec![(1, identity_of(1).public())];
        let config = KeyRingConfig { context, algorithm: MacAlgorithm::Blake3, own: 0, identity, peers };
        KeyRing::new(config, seeded(&[5])).announcement(1, 0).unwrap()
    };
    let forged = make(identity_of(7), digest(b"context"));
    assert_eq!(b.accept_announcement(&forged), Err(AnnouncementError::BadSignature { sender: 0 }));
    let elsewhere = make(identity_of(0), digest(b"another context"));
    assert_eq!(b.accept_announcement(&elsewhere), Err(AnnouncementError::ContextDiffers { sender: 0 }));
}

/// An announcement that a hostile peer 0 makes: fields of a real one, changed, and signed with its
/// true identity.
fn hostile(a: &mut KeyRing, change: impl FnOnce(&mut Announcement)) -> [u8; ANNOUNCEMENT_BYTES] {
    let bytes = a.announcement(1, 0).unwrap();
    let mut announcement = Announcement::parse(&bytes).unwrap();
    change(&mut announcement);
    announcement.sign(&identity_of(0))
}

#[test]
fn a_weak_exchange_key_establishes_and_refreshes_nothing() {
    let (mut a, mut b) = pair();
    announce(&mut a, &mut b).unwrap();
    announce(&mut b, &mut a).unwrap();
    let weak = hostile(&mut a, |announcement| announcement.exchange_key = [0; 32]);
    assert_eq!(b.accept_announcement(&weak), Err(AnnouncementError::WeakKey { sender: 0 }));
    assert_eq!(b.established(0), None);
    settle(&mut a, &mut b);
    let weak = hostile(&mut a, |announcement| {
        announcement.exchange_key = [0; 32];
        announcement.generation = U32::new(1);
    });
    assert_eq!(b.accept_announcement(&weak), Err(AnnouncementError::WeakKey { sender: 0 }));
    assert_eq!((talks(&mut a, &b), talks(&mut b, &a)), (Ok(()), Ok(())));
}

#[test]
fn contradictions_are_refused_and_foreign_receipts_are_harmless() {
    let (mut a, mut b) = established_pair(MacAlgorithm::Blake3);
    let contradiction = Err(AnnouncementError::Contradiction { sender: 0 });
    let other_key = hostile(&mut a, |announcement| announcement.exchange_key[0] ^= 1);
    assert_eq!(b.accept_announcement(&other_key), contradiction);
    a.rotate();
    announce(&mut a, &mut b).unwrap();
    let older = hostile(&mut a, |announcement| announcement.generation = U32::new(0));
    assert_eq!(b.accept_announcement(&older), contradiction);
    // A receipt for a generation that never was: b finds no keys to send under, and says so with
    // zeros.
    let receipt = hostile(&mut a, |announcement| announcement.receipt_generation = U32::new(1234));
    assert!(b.accept_announcement(&receipt).unwrap().answer_wanted);
    assert!(!b.settled(0));
    assert_eq!(seal_one(&mut b, 0, &digest(b"packet"), 50), [0; TAG_ENTRY_BYTES]);
    settle(&mut a, &mut b);
    assert_eq!((talks(&mut a, &b), talks(&mut b, &a)), (Ok(()), Ok(())));
}

/// `protocol.md AN-6`
#[test]
fn a_rotation_loses_no_packet() {
    let (mut a, mut b) = established_pair(MacAlgorithm::Blake3);
    let talk = |a: &mut KeyRing, b: &mut KeyRing| assert_eq!((talks(a, b), talks(b, a)), (Ok(()), Ok(())));
    for generation in 1..5 {
        let packet = digest(b"on its way during the rotation");
        let counter = 100 * u64::from(generation);
        let entry = seal_one(&mut a, 1, &packet, counter);
        a.rotate();
        assert_eq!(a.generation(), generation);
        assert!(!a.settled(1));
        talk(&mut a, &mut b);
        // The first announcement of the generation is lost.
        a.announcement(1, 0).unwrap();
        talk(&mut a, &mut b);
        let accepted = announce(&mut a, &mut b).unwrap();
        assert_eq!((accepted.outcome, accepted.answer_wanted), (Outcome::Refreshed, true));
        talk(&mut a, &mut b);
        assert_eq!(b.verify(0, a.epoch(), counter, &packet, &entry), Ok(()), "two generations overlap");
        assert!(!announce(&mut b, &mut a).unwrap().answer_wanted);
        assert!(a.settled(1) && b.settled(0));
        talk(&mut a, &mut b);
        b.rotate();
        announce(&mut b, &mut a).unwrap();
        announce(&mut a, &mut b).unwrap();
        talk(&mut a, &mut b);
        let sessions = [&a.peers[0], &b.peers[0]].map(|peer| peer.session.as_ref().unwrap().keys().count());
        assert!(sessions.iter().all(|count| *count <= 4), "keys pile up: {sessions:?}");
    }
    let packet = digest(b"of an old generation");
    let entry = seal_one(&mut a, 1, &packet, 10_000);
    for _ in 0..2 {
        a.rotate();
        settle(&mut a, &mut b);
    }
    assert_eq!(b.verify(0, a.epoch(), 10_000, &packet, &entry), Err(TagError::StaleKey));
}

/// `protocol.md KY-3`: the end of an overlap, at either end, makes the former generation stale.
#[test]
fn a_retired_generation_is_stale_at_once() {
    let (mut a, mut b) = established_pair(MacAlgorithm::Aes256Gmac);
    let packet = digest(b"under the former generation");
    let (from_a, from_b) = (seal_one(&mut a, 1, &packet, 10), seal_one(&mut b, 0, &packet, 10));
    a.rotate();
    assert!(announce(&mut a, &mut b).unwrap().rotated);
    assert!(!announce(&mut b, &mut a).unwrap().rotated);
    assert!(a.overlaps() && !b.overlaps());
    for (ring, from, entry) in [(&a, &b, &from_b), (&b, &a, &from_a)] {
        assert_eq!(ring.names_held_key(from.own, from.epoch(), entry), Ok(()));
        assert_eq!(ring.verify(from.own, from.epoch(), 10, &packet, entry), Ok(()));
    }
    a.retire();
    b.retire_of(0);
    assert!(!a.overlaps());
    for (ring, from, entry) in [(&a, &b, &from_b), (&b, &a, &from_a)] {
        assert_eq!(ring.names_held_key(from.own, from.epoch(), entry), Err(TagError::StaleKey));
        assert_eq!(ring.verify(from.own, from.epoch(), 10, &packet, entry), Err(TagError::StaleKey));
    }
    assert_eq!((talks(&mut a, &b), talks(&mut b, &a)), (Ok(()), Ok(())));
    b.retire_of(7);
}

/// The receipt was lost, the announcement was not: after the overlap the only key left is used, and it is right.
#[test]
fn what_was_announced_is_used_after_the_overlap() {
    let (mut a, mut b) = established_pair(MacAlgorithm::Blake3);
    a.rotate();
    announce(&mut a, &mut b).unwrap();
    a.retire();
    assert!(!a.settled(1));
    assert_eq!((talks(&mut a, &b), talks(&mut b, &a)), (Ok(()), Ok(())));
}

/// `protocol.md AN-8`: what a claim says is what decides about its signature.
#[test]
fn a_claim_echoes_only_what_was_heard_last() {
    let (mut a, mut b) = pair();
    let first = a.announcement(1, 0).unwrap();
    assert_eq!(b.claim(&first), Ok(Claim { from: 0, echoes: false }));
    b.accept_announcement(&first).unwrap();
    assert_eq!(b.claim(&first), Err(AnnouncementError::Repeated { sender: 0 }));
    announce(&mut b, &mut a).unwrap();
    let third = a.announcement(1, 0).unwrap();
    assert_eq!(b.claim(&third), Ok(Claim { from: 0, echoes: true }));
    settle(&mut a, &mut b);
    assert_eq!(b.claim(&third).ok(), None);
    // A settled peer's refresh echoes too: its receipts are not starved by a flood.
    assert_eq!(b.claim(&a.announcement(1, 0).unwrap()), Ok(Claim { from: 0, echoes: true }));
    assert_eq!(b.claim(&[0; 7]), Err(AnnouncementError::Malformed));
}

#[test]
fn epochs_that_ended_are_known_by_name() {
    let (mut a, mut b) = established_pair(MacAlgorithm::Blake3);
    let epoch = a.epoch();
    assert!(!b.is_over(0, epoch));
    a = ring(0, 2, MacAlgorithm::Blake3, 1);
    settle(&mut a, &mut b);
    assert!(b.is_over(0, epoch) && !b.is_over(0, a.epoch()) && !b.is_over(7, epoch));
}

#[test]
fn rotating_twice_before_a_peer_confirms_heals_with_announcements() {
    let (mut a, mut b) = established_pair(MacAlgorithm::Blake3);
    a.rotate();
    a.rotate();
    assert_eq!(seal_one(&mut a, 1, &digest(b"packet"), 50), [0; TAG_ENTRY_BYTES]);
    assert_eq!(talks(&mut b, &a), Err(TagError::StaleKey));
    settle(&mut a, &mut b);
    assert_eq!((talks(&mut a, &b), talks(&mut b, &a)), (Ok(()), Ok(())));
}

#[test]
#[should_panic(expected = "named as its own peer")]
fn a_ring_has_no_session_with_itself() {
    let peers = vec![(0, identity_of(0).public())];
    let config = KeyRingConfig {
        context: Digest::ZERO,
        algorithm: MacAlgorithm::Blake3,
        own: 0,
        identity: identity_of(0),
        peers,
    };
    KeyRing::new(config, seeded(&[1]));
}
