//! A3: what a primary can do to the order, and a backup to those that are to follow it (RELIABILITY 2.5 and 2.6).

use crate::adversary::agent::Owned;
use crate::adversary::byzantine_clients::{Requests, all};
use crate::adversary::equivocation::some_replicas;
use crate::adversary::faults::Behaviour;
use crate::adversary::impostors::made_up_request;
use crate::adversary::letter::Letter;
use crate::adversary::strategy::{Deed, Forgery, Strategy};
use crate::world::cluster::Cluster;
use crate::world::hosts::ReplicaHost;
use crate::world::network::Packet;
use crate::world::random::Random;
use crate::world::settings::Settings;
use logothete_crypto::digest;
use logothete_engine::numbers::{ClientId, Principal, ReplicaId, ReplicaSet, SequenceNumber, View};
use logothete_engine::wire::agreement::{BatchEntry, append_pre_prepare};
use logothete_engine::wire::{Audience, Message};
use std::collections::VecDeque;

const MILLISECOND_NS: u64 = 1_000_000;

/// Of up to `f` correct replicas the owned tell nothing of the normal case: they depend on what the others pass on.
struct Starve {
    starved: Option<ReplicaSet>,
    random: Random,
}

pub fn starve(random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(Starve { starved: None, random })
}

/// The messages of the normal case, and what repairs it.
pub const NORMAL: &[&str] = &["pre-prepare", "prepare", "commit", "claim", "batch", "checkpoint"];

impl Strategy for Starve {
    fn on_outgoing(&mut self, cluster: &Cluster, letter: Letter, out: &mut Vec<Letter>) {
        let random = &mut self.random;
        let starved = *self.starved.get_or_insert_with(|| {
            let owned =
                |host: &&ReplicaHost| host.fault.as_ref().is_some_and(|fault| fault.behaviour == Behaviour::Owned);
            let others: Vec<_> = cluster.replicas.iter().filter(|host| !owned(host)).map(|host| host.id).collect();
            let mut some = ReplicaSet::EMPTY;
            (0..cluster.settings.quorum().faults()).for_each(|_| _ = some.insert(random.pick(&others)));
            some
        });
        let (hungry, fed) = letter.split(starved, false);
        out.extend(fed);
        out.extend(hungry.and_then(|letter| letter.parted(NORMAL).1));
    }

    fn on_relay(&mut self, _: &Cluster, to: ReplicaId, _: &mut Vec<u8>) -> bool {
        self.starved.is_none_or(|starved| !starved.contains(to))
    }
}

/// Its tags are good for some of the receivers only.
struct SelectTags {
    percent: u32,
    to: ReplicaSet,
    fickle: bool,
    random: Random,
}

pub fn select_tags(mut random: Random, settings: &Settings) -> Box<dyn Strategy> {
    let (percent, to) = ([20, 60, 100][random.below(3)], some_replicas(&mut random, settings));
    Box::new(SelectTags { percent, to, fickle: random.percent(50), random })
}

impl Strategy for SelectTags {
    fn on_outgoing(&mut self, cluster: &Cluster, mut letter: Letter, out: &mut Vec<Letter>) {
        if self.random.percent(self.percent) && letter.replica().is_some() {
            if self.fickle {
                self.to = some_replicas(&mut self.random, &cluster.settings);
            }
            letter.spoilt.extend(self.to.iter().map(Principal::Replica));
        }
        out.push(letter);
    }
}

/// As a primary it proposes everything later than it could.
struct SlowPrimary {
    delay_ns: u64,
}

pub fn slow_primary(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    let most_ms = [5, 50, 250][random.below(3)];
    Box::new(SlowPrimary { delay_ns: (1 + random.below(most_ms) as u64) * MILLISECOND_NS })
}

impl Strategy for SlowPrimary {
    fn on_outgoing(&mut self, _: &Cluster, letter: Letter, out: &mut Vec<Letter>) {
        let (proposals, rest) = letter.parted(&["pre-prepare"]);
        out.extend(proposals.map(|late| Letter { delay_ns: late.delay_ns + self.delay_ns, ..late }));
        out.extend(rest);
    }
}

/// It never commits, so that what was executed tentatively stays so; now and then it does to one replica alone.
struct WithholdCommits {
    random: Random,
}

pub fn withhold_commits(random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(WithholdCommits { random })
}

impl Strategy for WithholdCommits {
    fn on_outgoing(&mut self, cluster: &Cluster, letter: Letter, out: &mut Vec<Letter>) {
        let (commits, rest) = letter.parted(&["commit", "claim"]);
        out.extend(rest);
        let one = ReplicaSet::only(ReplicaId(self.random.below(cluster.settings.replicas) as u8));
        out.extend(commits.filter(|_| self.random.percent(30)).and_then(|commits| commits.split(one, false).0));
    }
}

/// As a new primary it keeps its new views back: for good, for a while, or from some.
struct WithholdNewViews {
    random: Random,
}

pub fn withhold_new_views(random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(WithholdNewViews { random })
}

impl Strategy for WithholdNewViews {
    fn on_outgoing(&mut self, cluster: &Cluster, letter: Letter, out: &mut Vec<Letter>) {
        let (new_views, rest) = letter.parted(&["new-view"]);
        out.extend(rest);
        let Some(late) = new_views else { return };
        match self.random.below(4) {
            0 => {}
            1 => out.extend(late.split(some_replicas(&mut self.random, &cluster.settings), false).0),
            _ => {
                let delay_ns = late.delay_ns + self.random.below(250) as u64 * MILLISECOND_NS;
                out.push(Letter { delay_ns, ..late });
            }
        }
    }
}

/// It does as if one client did not exist.
struct Censor {
    client: ClientId,
}

pub fn censor(mut random: Random, settings: &Settings) -> Box<dyn Strategy> {
    Box::new(Censor { client: ClientId(random.below(settings.clients) as u16) })
}

impl Strategy for Censor {
    fn hears(&mut self, _: &Cluster, _: ReplicaId, packet: &Packet) -> bool {
        packet.sender() != Principal::Client(self.client)
    }

    fn on_outgoing(&mut self, _: &Cluster, letter: Letter, out: &mut Vec<Letter>) {
        if letter.audience != Audience::Client(self.client) {
            out.push(letter);
        }
    }
}

/// As a primary it proposes what no correct one would: gaps, places outside the window, other orders, requests twice, requests that are done, requests that
/// nobody made, null batches; to everybody, so that it may be agreed on, or to some, so that the others have something else.
struct ProposeWrongly {
    percent: u32,
    /// What it proposed last.
    done: VecDeque<BatchEntry>,
    requests: Requests,
    /// Requests that nobody made and that it proposed: the owned that hand them out, as if they had been sent them.
    made_up: Vec<(ReplicaId, ClientId, Vec<u8>)>,
    random: Random,
}

/// How many requests it remembers.
const REMEMBERED_MAX: usize = 64;

pub fn propose_wrongly(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    let (percent, requests) = ([10, 40, 90][random.below(3)], Requests::new(&mut random));
    Box::new(ProposeWrongly { percent, done: VecDeque::new(), requests, made_up: Vec::new(), random })
}

impl ProposeWrongly {
    /// A proposal in place of a true one.
    fn twist(
        &mut self,
        cluster: &Cluster,
        own: ReplicaId,
        (view, sequence, time): (View, SequenceNumber, u64),
        entries: &[BatchEntry],
    ) -> Vec<u8> {
        let (random, window) = (&mut self.random, cluster.settings.window());
        let (mut sequence, mut time, mut entries) = (sequence, time, entries.to_vec());
        match random.below(12) {
            0 => sequence.0 = sequence.0.saturating_add(1 + random.below(3) as u64),
            1 => sequence.0 = [0, sequence.0 + window, u64::MAX][random.below(3)],
            2 => entries.reverse(),
            3 => entries.extend(entries.first().copied()),
            4 | 9 => entries.extend((!self.done.is_empty()).then(|| self.done[random.below(self.done.len())])),
            10 => entries = self.done.iter().rev().take(1 + random.below(4)).copied().collect(),
            11 => {
                let (name, request) = made_up_request(&self.requests, cluster, random);
                entries.push(BatchEntry::new(name, digest(&request)));
                self.made_up.push((own, name.client, request));
            }
            5 => entries.iter_mut().take(1).for_each(|entry| entry.digest.0[5] ^= 1),
            6 => entries.truncate(entries.len() / 2),
            7 => {
                time = [1, time.saturating_sub(3_600_000_000_000), time + 3_600_000_000_000, u64::MAX][random.below(4)]
            }
            _ => entries.clear(),
        }
        let mut body = Vec::new();
        append_pre_prepare(&mut body, view, sequence, if entries.is_empty() { 0 } else { time }, &entries);
        body
    }
}

impl Strategy for ProposeWrongly {
    fn on_outgoing(&mut self, cluster: &Cluster, letter: Letter, out: &mut Vec<Letter>) {
        let Some(own) = letter.replica() else { return out.push(letter) };
        let mut body = Vec::new();
        let mut wrong = false;
        for (message, bytes) in letter.messages() {
            match message {
                Message::PrePrepare(proposal) => {
                    if self.random.percent(self.percent) {
                        wrong = true;
                        let place = (proposal.view, proposal.sequence, proposal.timestamp_ns);
                        body.extend(self.twist(cluster, own, place, proposal.entries));
                    } else {
                        body.extend_from_slice(bytes);
                    }
                    self.done.extend(proposal.entries);
                    self.done.drain(..self.done.len().saturating_sub(REMEMBERED_MAX));
                }
                _ => body.extend_from_slice(bytes),
            }
        }
        if !wrong {
            return out.push(letter);
        }
        let told = match self.random.percent(50) {
            true => all(cluster),
            false => some_replicas(&mut self.random, &cluster.settings),
        };
        let (lied_to, others) = letter.split(told, false);
        out.extend(others);
        out.extend(lied_to.and_then(|letter| letter.with_body(body)));
    }

    fn on_tick(&mut self, cluster: &Cluster, _: &Owned) -> Vec<Deed> {
        let handed_out = self.made_up.drain(..).map(|(by, client, body)| {
            Deed::Forge(Forgery { by, name: Principal::Client(client), relayed: true, audience: all(cluster), body })
        });
        handed_out.collect()
    }
}
