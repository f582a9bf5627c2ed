//! A3: messages of the future, of the edges of all numbers, and of the past: what is true of one view, said in another.

use crate::adversary::agent::Owned;
use crate::adversary::letter::Letter;
use crate::adversary::liar::{some_batch, some_number, some_view};
use crate::adversary::strategy::{Deed, Strategy};
use crate::adversary::views::{one_of, told_by};
use crate::scenario::say::parts;
use crate::world::cluster::Cluster;
use crate::world::network::Packet;
use crate::world::random::Random;
use crate::world::settings::Settings;
use logothete_engine::numbers::{Principal, ReplicaId, SequenceNumber, View};
use logothete_engine::wire::agreement::{CommitClaim, Vote, append_pre_prepare};
use logothete_engine::wire::retransmission::{Fetch, FetchBatch};
use logothete_engine::wire::{Audience, Message, Messages};

/// Messages of the normal case for views to come, and for numbers at the edges of the window and of all numbers.
struct BombTheFuture {
    random: Random,
}

pub fn bomb_the_future(random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(BombTheFuture { random })
}

impl BombTheFuture {
    fn place(&mut self, cluster: &Cluster) -> (View, SequenceNumber) {
        let random = &mut self.random;
        let host = &cluster.replicas[random.below(cluster.settings.replicas)];
        let (present, stable, window) = (host.orderer.replica().view().0, host.stable, cluster.settings.window());
        let ahead = [0, 1, 1, 2, 3, cluster.settings.replicas as u64][random.below(6)];
        let view = [present + ahead, present + ahead, present.saturating_sub(1), 1 << 63, u64::MAX][random.below(5)];
        let edges = [0, 1, stable, stable + 1, stable + window, stable + window + 1, 1 << 63, u64::MAX - 1, u64::MAX];
        let sequence = match random.percent(50) {
            true => some_number(cluster, random).0,
            false => edges[random.below(edges.len())],
        };
        (View(view), SequenceNumber(sequence))
    }
}

impl Strategy for BombTheFuture {
    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let Some(own) = one_of(owned, &mut self.random) else { return Vec::new() };
        let mut deeds = Vec::new();
        for _ in 0..1 + self.random.below(6) {
            let (view, sequence) = self.place(cluster);
            let Some(told) = told_by(own, cluster, &mut self.random) else { continue };
            let batch = some_batch(cluster, &mut self.random);
            let mut body = Vec::new();
            match self.random.below(6) {
                0 => {
                    let entries = cluster.seen.entries_of(&batch);
                    let time = if entries.is_empty() { 0 } else { cluster.wall_ns() };
                    append_pre_prepare(&mut body, view, sequence, time, entries);
                }
                1 | 2 => Vote::new(view, sequence, batch).append_prepare(&mut body),
                3 => Vote::new(view, sequence, batch).append_commit(&mut body),
                4 => CommitClaim::new(sequence, batch).append(&mut body),
                _ => {
                    let mut fetch = Fetch::new(sequence, batch);
                    (0..8).for_each(|at| fetch.set(at * 31));
                    fetch.append(&mut body);
                    FetchBatch::new(sequence, batch).append(&mut body);
                }
            }
            deeds.push(Deed::Say(Letter::between(own, told, body)));
        }
        deeds
    }
}

/// Votes that others truly cast, said as its own in another view or at another place, and signed statements under the label of another view.
struct GlueCertificates {
    votes: Vec<(bool, Vote)>,
    random: Random,
}

/// How many votes of others it keeps.
const VOTES_KEPT_MAX: usize = 256;

pub fn glue_certificates(random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(GlueCertificates { votes: Vec::new(), random })
}

impl Strategy for GlueCertificates {
    fn hears(&mut self, _: &Cluster, _: ReplicaId, packet: &Packet) -> bool {
        for (message, _) in Messages::new(packet.body(), packet.sender()).flatten() {
            let vote = match message {
                Message::Prepare(vote) => (true, *vote),
                Message::Commit(vote) => (false, *vote),
                _ => continue,
            };
            if self.votes.len() < VOTES_KEPT_MAX {
                self.votes.push(vote);
            } else {
                self.votes[self.random.below(VOTES_KEPT_MAX)] = vote;
            }
        }
        true
    }

    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let random = &mut self.random;
        let Some(own) = one_of(owned, random) else { return Vec::new() };
        let Some(told) = told_by(own, cluster, random) else { return Vec::new() };
        let seen = cluster.seen.statements_seen();
        if !seen.is_empty() && random.percent(30) {
            let seen = seen[random.below(seen.len())];
            let label = some_view(cluster, random, 0);
            let bodies = parts(cluster, (seen.kind, seen.replica, label), &seen.bytes);
            return bodies.into_iter().map(|body| Deed::Say(Letter::between(own, told, body))).collect();
        }
        if self.votes.is_empty() {
            return Vec::new();
        }
        let mut body = Vec::new();
        for _ in 0..1 + random.below(4) {
            let (prepare, vote) = self.votes[random.below(self.votes.len())];
            let view = if random.percent(70) { some_view(cluster, random, 0) } else { vote.view() };
            let sequence = if random.percent(70) { vote.sequence() } else { some_number(cluster, random) };
            let glued = Vote::new(view, sequence, vote.digest);
            if prepare != random.percent(20) { glued.append_prepare(&mut body) } else { glued.append_commit(&mut body) }
        }
        vec![Deed::Say(Letter::between(own, told, body))]
    }
}

/// It says again what it said truly once, to others and at other times, and sends true packets of everybody once more.
struct RepeatFragments {
    own: Vec<Letter>,
    packets: Vec<Packet>,
    random: Random,
}

/// How many fragments of each kind it keeps.
const FRAGMENTS_MAX: usize = 128;

pub fn repeat_fragments(random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(RepeatFragments { own: Vec::new(), packets: Vec::new(), random })
}

impl RepeatFragments {
    fn keep<T>(kept: &mut Vec<T>, one: T, random: &mut Random) {
        if kept.len() < FRAGMENTS_MAX {
            kept.push(one);
        } else {
            kept[random.below(FRAGMENTS_MAX)] = one;
        }
    }
}

impl Strategy for RepeatFragments {
    fn hears(&mut self, _: &Cluster, _: ReplicaId, packet: &Packet) -> bool {
        Self::keep(&mut self.packets, packet.clone(), &mut self.random);
        true
    }

    fn on_outgoing(&mut self, _: &Cluster, letter: Letter, out: &mut Vec<Letter>) {
        Self::keep(&mut self.own, letter.clone(), &mut self.random);
        out.push(letter);
    }

    fn on_tick(&mut self, cluster: &Cluster, _: &Owned) -> Vec<Deed> {
        let random = &mut self.random;
        let mut deeds = Vec::new();
        if !self.own.is_empty() && random.percent(60) {
            let mut letter = self.own[random.below(self.own.len())].clone();
            if let (Audience::Replicas(_), Principal::Replica(own)) = (letter.audience, letter.from) {
                let Some(told) = told_by(own, cluster, random) else { return deeds };
                letter.audience = Audience::Replicas(told);
            }
            deeds.push(Deed::Say(letter));
        }
        if !self.packets.is_empty() && random.percent(30) {
            let mut packet = self.packets[random.below(self.packets.len())].clone();
            // It reaches whom it was for, or anybody else.
            let to = ReplicaId(random.below(cluster.settings.replicas) as u8);
            packet.to = if random.percent(50) { packet.to } else { Principal::Replica(to) };
            deeds.push(Deed::Replay(packet));
        }
        deeds
    }
}
