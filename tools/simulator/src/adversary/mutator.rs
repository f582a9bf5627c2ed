//! A2, small-scope mutation (Winter and others, "Randomized testing of Byzantine fault tolerant algorithms", OOPSLA 2023): what a correct replica truly says
//! leaves with one number or digest changed a little, or replaced by one that was seen before; or twice, to others, or not at all. For each receiver it
//! may be another.

use crate::adversary::agent::Owned;
use crate::adversary::equivocation::some_replicas;
use crate::adversary::fields::{Sort, digest_at, fields, number_at};
use crate::adversary::letter::Letter;
use crate::adversary::statements::Twister;
use crate::adversary::strategy::Strategy;
use crate::world::cluster::Cluster;
use crate::world::random::Random;
use crate::world::settings::Settings;
use logothete_crypto::Digest;
use logothete_engine::numbers::{ClientId, Principal};
use logothete_engine::wire::view_change::null_batch;
use logothete_engine::wire::{Audience, Message};
use std::collections::BTreeMap;

/// Values of one sort that are remembered.
const SEEN_MAX: usize = 48;

/// Values that were seen.
#[derive(Default)]
pub struct Seen {
    numbers: BTreeMap<Sort, Vec<u64>>,
    digests: Vec<Digest>,
}

impl Seen {
    pub fn learn(&mut self, message: &[u8]) {
        for (place, sort) in fields(message) {
            match sort {
                Sort::Digest => remember(&mut self.digests, digest_at(message, place)),
                Sort::Client | Sort::Byte => {}
                _ => remember(self.numbers.entry(sort).or_default(), number_at(message, place)),
            }
        }
    }

    /// Another value in place of a number.
    pub fn number(&self, sort: Sort, value: u64, random: &mut Random) -> u64 {
        let known = self.numbers.get(&sort).map_or(&[][..], |known| known);
        match random.below(10) {
            0..=2 => value.wrapping_add(1),
            3..=5 => value.wrapping_sub(1),
            6..=8 if !known.is_empty() => known[random.below(known.len())],
            _ => [0, 1, u64::MAX - 1, u64::MAX][random.below(4)],
        }
    }

    /// Another value in place of a digest.
    pub fn digest(&self, value: Digest, random: &mut Random) -> Digest {
        match random.below(8) {
            0 => null_batch(),
            1 => {
                let mut other = value;
                other.0[random.below(32)] ^= 1;
                other
            }
            _ if self.digests.is_empty() => Digest::ZERO,
            _ => self.digests[random.below(self.digests.len())],
        }
    }
}

fn remember<T: PartialEq>(known: &mut Vec<T>, value: T) {
    if !known.contains(&value) {
        if known.len() == SEEN_MAX {
            known.remove(0);
        }
        known.push(value);
    }
}

/// Changes one field of a message.
fn mutate_message(message: &mut [u8], seen: &Seen, random: &mut Random) {
    let all = fields(message);
    if all.is_empty() {
        return;
    }
    let (place, sort) = all[random.below(all.len())];
    match sort {
        Sort::Digest => {
            let other = seen.digest(digest_at(message, place), random);
            message[place..place + 32].copy_from_slice(&other.0);
        }
        Sort::Client => {
            let clients = [0, 1, 2, ClientId::SYSTEM.0, u16::MAX];
            message[place..place + 2].copy_from_slice(&clients[random.below(clients.len())].to_le_bytes());
        }
        Sort::Byte => message[place] = message[place].wrapping_add([1, 2, 255][random.below(3)]),
        _ => {
            let other = seen.number(sort, number_at(message, place), random);
            message[place..place + 8].copy_from_slice(&other.to_le_bytes());
        }
    }
}

struct Mutate {
    percent: u32,
    seen: Seen,
    statements: Twister,
    /// What it said before, to be said again.
    last: Option<Letter>,
    random: Random,
}

pub fn mutate(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    let percent = [5, 20, 50][random.below(3)];
    Box::new(Mutate { percent, seen: Seen::default(), statements: Twister::default(), last: None, random })
}

impl Mutate {
    /// The letter with one message of it changed in one place.
    fn mutated(&mut self, letter: &Letter) -> Option<Letter> {
        let chosen = self.random.below(letter.messages().count().max(1));
        let mut at = 0;
        let body = letter.rewritten(|_, bytes, out| {
            let start = out.len();
            out.extend_from_slice(bytes);
            if at == chosen {
                mutate_message(&mut out[start..], &self.seen, &mut self.random);
            }
            at += 1;
        });
        letter.with_body(body)
    }

    /// A reply for another client, or what was for some replicas for others.
    fn redirected(&mut self, cluster: &Cluster, letter: Letter) -> Letter {
        let random = &mut self.random;
        let audience = match (letter.audience, letter.replica()) {
            (Audience::Client(_), _) => Audience::Client(ClientId(random.below(cluster.settings.clients) as u16)),
            (Audience::Replicas(all), own) => {
                let others = some_replicas(random, &cluster.settings);
                let others = own.map_or(others, |own| others.without(own));
                Audience::Replicas(if others.count() == 0 { all } else { others })
            }
        };
        Letter { audience, ..letter }
    }
}

impl Strategy for Mutate {
    fn on_outgoing(&mut self, cluster: &Cluster, letter: Letter, out: &mut Vec<Letter>) {
        let Some(own) = letter.replica() else { return out.push(letter) };
        letter.messages().for_each(|(_, bytes)| self.seen.learn(bytes));
        if letter.messages().any(|(message, _)| matches!(message, Message::Part(part) if part.replica == own)) {
            let owned = Owned { replicas: vec![own], clients: Vec::new() };
            let wanted = self.random.percent(self.percent.max(30));
            return self.statements.twist(cluster, &owned, letter, wanted, (&self.seen, &mut self.random), out);
        }
        let repeated = self.last.replace(letter.clone());
        if !self.random.percent(self.percent) {
            return out.push(letter);
        }
        match self.random.below(10) {
            0 => {}
            1 => out.extend([letter.clone(), letter]),
            2 => out.push(self.redirected(cluster, letter)),
            3 => out.extend([letter].into_iter().chain(repeated)),
            _ => {
                let told = some_replicas(&mut self.random, &cluster.settings);
                let (lied_to, others) = letter.split(told, self.random.percent(50));
                out.extend(others);
                out.extend(lied_to.and_then(|letter| self.mutated(&letter)));
            }
        }
    }

    fn on_relay(&mut self, _: &Cluster, to: logothete_engine::numbers::ReplicaId, datagram: &mut Vec<u8>) -> bool {
        // A tag that is not its own it can only spoil.
        if self.random.percent(self.percent / 4) {
            let audience = logothete_engine::wire::packet::PacketParts::parse(datagram).map(|parts| parts.audience);
            let receiver = Principal::Replica(to);
            if audience.is_ok_and(|audience| crate::adversary::faults::receivers(audience).contains(&receiver)) {
                crate::adversary::faults::spoil_copy(datagram, to);
            }
        }
        true
    }
}
