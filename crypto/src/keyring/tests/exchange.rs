//! The exchange under an adversary that loses, delays, reorders, repeats and replays, while
//! processes restart and rotate.

use super::*;
use std::collections::HashMap;

/// Announcements that one round of announcing may cause before all answers have been given.
const ANNOUNCEMENTS_A_ROUND_MAX: usize = 12;

/// Rounds after which both sides must be settled once datagrams arrive.
const ROUNDS_MAX: usize = 2;

/// Two principals and the network between them.
struct World {
    entropy: Entropy,
    rings: [KeyRing; 2],
    starts: u64,
    /// When the process of an epoch started.
    started: HashMap<u64, u64>,
    /// The start time of the latest process of the peer that each present process has established.
    established: [u64; 2],
    /// (receiver, bytes) on their way.
    flying: Vec<(usize, [u8; ANNOUNCEMENT_BYTES])>,
    /// Everything ever sent.
    recorded: Vec<(usize, [u8; ANNOUNCEMENT_BYTES])>,
    /// Packets of processes that have ended: (sender, epoch, counter, digest, entry).
    packets: Vec<(usize, u64, u64, Digest, [u8; TAG_ENTRY_BYTES])>,
}

impl World {
    fn new(seed: u64) -> World {
        let rings = [ring(0, 2, MacAlgorithm::Blake3, 0), ring(1, 2, MacAlgorithm::Blake3, 0)];
        World {
            entropy: seeded(&[seed, 99]),
            started: rings.iter().map(|ring| (ring.epoch(), 0)).collect(),
            rings,
            starts: 0,
            established: [0; 2],
            flying: Vec::new(),
            recorded: Vec::new(),
            packets: Vec::new(),
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        let mut bytes = [0; 8];
        (self.entropy)(&mut bytes);
        (u64::from_le_bytes(bytes) % bound as u64) as usize
    }

    fn announce(&mut self, from: usize) {
        let to = 1 - from;
        let bytes = self.rings[from].announcement(to as u16, 0).unwrap();
        self.flying.push((to, bytes));
        self.recorded.push((to, bytes));
    }

    /// Lets one datagram arrive, answers it where an answer is wanted, and checks what must always
    /// hold.
    fn arrive(&mut self, to: usize, bytes: &[u8]) {
        let result = self.rings[to].accept_announcement(bytes);
        if let Some(epoch) = self.rings[to].established(1 - to as u16) {
            let started = self.started[&epoch];
            assert!(started >= self.established[to], "an old epoch came back");
            self.established[to] = started;
        }
        self.check_packets();
        if result.is_ok_and(|accepted| accepted.answer_wanted) {
            self.announce(to);
        }
    }

    fn check_packets(&mut self) {
        // Once each has a receipt from the other, a packet never lacks its key (AN-6). Before, one
        // side may rotate between the announcement that establishes it and its first
        // packet.
        let has_receipt = |ring: &KeyRing, peer: &KeyRing| {
            let session = ring.peers[0].session.as_ref();
            session.is_some_and(|session| session.epoch == peer.epoch() && session.receipt.is_some())
        };
        let [a, b] = &mut self.rings;
        if has_receipt(a, b) && has_receipt(b, a) {
            assert_eq!((talks(a, b), talks(b, a)), (Ok(()), Ok(())), "settled, and yet keys differ");
        }
        for (from, epoch, counter, packet, entry) in &self.packets {
            let receiver = &self.rings[1 - from];
            if receiver.established(*from as u16) != Some(*epoch) {
                let verdict = receiver.verify(*from as u16, *epoch, *counter, packet, entry);
                assert_eq!(verdict, Err(TagError::NoSession), "a packet of an epoch that is over");
            }
        }
    }

    fn restart(&mut self, own: usize) {
        let ended = &mut self.rings[own];
        let packet = digest(&self.starts.to_le_bytes());
        let counter = u64::MAX;
        let entry = seal_one(ended, 1 - own as u16, &packet, counter);
        self.packets.push((own, ended.epoch(), counter, packet, entry));
        self.starts += 1;
        self.rings[own] = ring(own as u16, 2, MacAlgorithm::Blake3, self.starts);
        self.started.insert(self.rings[own].epoch(), self.starts);
        // A new process remembers nothing of whom it had established.
        self.established[own] = 0;
    }

    fn step(&mut self) {
        let own = self.below(2);
        match self.below(100) {
            0..20 => self.announce(own),
            20..60 if !self.flying.is_empty() => {
                let index = self.below(self.flying.len());
                let (to, bytes) = self.flying.swap_remove(index);
                self.arrive(to, &bytes);
            }
            60..75 if !self.flying.is_empty() => {
                let index = self.below(self.flying.len());
                self.flying.swap_remove(index);
            }
            75..92 if !self.recorded.is_empty() => self.replay(),
            92..96 => self.restart(own),
            // AN-6 promises that no packet is lost if a process rotates when it is settled.
            96.. if self.rings[own].settled(1 - own as u16) => self.rings[own].rotate(),
            _ => (),
        }
    }

    fn replay(&mut self) {
        let index = self.below(self.recorded.len());
        let (to, bytes) = self.recorded[index];
        self.arrive(to, &bytes);
    }

    /// Every unsettled side announces once, and everything arrives, in any order, among replays of
    /// recordings.
    fn round(&mut self) {
        let sent_before = self.recorded.len();
        for own in 0..2 {
            if !self.rings[own].settled(1 - own as u16) {
                self.announce(own);
            }
        }
        while !self.flying.is_empty() {
            let index = self.below(self.flying.len());
            let (to, bytes) = self.flying.swap_remove(index);
            self.arrive(to, &bytes);
            let sent = self.recorded.len() - sent_before;
            assert!(sent <= ANNOUNCEMENTS_A_ROUND_MAX, "answers do not end: {sent} announcements");
        }
    }

    fn is_settled(&self) -> bool {
        let [a, b] = &self.rings;
        let mutual = a.established(1) == Some(b.epoch()) && b.established(0) == Some(a.epoch());
        mutual && a.settled(1) && b.settled(0)
    }
}

#[test]
fn any_history_settles_soon_after_loss_stops_and_no_old_epoch_comes_back() {
    for seed in 0..200 {
        let mut world = World::new(seed);
        for _ in 0..5 {
            (0..40).for_each(|_| world.step());
            world.flying.clear();
            // A restart is news to the other side only when the restarted process speaks, which it
            // does as it is unsettled.
            let rounds = (1..=ROUNDS_MAX).find(|_| {
                world.round();
                world.is_settled()
            });
            assert!(rounds.is_some(), "seed {seed}: not settled after {ROUNDS_MAX} rounds");
            world.check_packets();
        }
        assert!(world.starts > 0, "seed {seed} restarted nothing");
    }
}

/// Replays go on while the two sides try: each announcement that arrives is surrounded by
/// recordings, and still answers, being immediate, echo what the live process asked.
#[test]
fn recordings_do_not_keep_two_live_processes_apart() {
    for seed in 0..50 {
        let mut world = World::new(1000 + seed);
        (0..200).for_each(|_| world.step());
        for own in 0..2 {
            world.restart(own);
        }
        world.flying.clear();
        let recordings = world.recorded.clone();
        let rounds = (1..=2 * ROUNDS_MAX).find(|_| {
            for own in 0..2 {
                world.announce(own);
            }
            for _ in 0..ANNOUNCEMENTS_A_ROUND_MAX {
                for _ in 0..3 {
                    let index = world.below(recordings.len());
                    let (to, bytes) = recordings[index];
                    let answered = world.rings[to].accept_announcement(&bytes).is_ok_and(|a| a.answer_wanted);
                    if answered {
                        world.announce(to);
                    }
                }
                if !world.flying.is_empty() {
                    let (to, bytes) = world.flying.remove(0);
                    world.arrive(to, &bytes);
                }
            }
            world.is_settled()
        });
        assert!(rounds.is_some(), "seed {seed}: recordings kept the two apart");
    }
}
