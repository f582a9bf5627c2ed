//! A4: the network is the adversary's, which sees everything that anybody sends and knows: it decides what arrives late, until it is made to deliver.

use crate::adversary::strategy::Strategy;
use crate::world::cluster::Cluster;
use crate::world::network::Packet;
use crate::world::random::Random;
use crate::world::settings::Settings;
use logothete_engine::numbers::{Principal, ReplicaId, ReplicaSet};
use logothete_engine::wire::{Message, Messages};
use std::collections::BTreeMap;

const MILLISECOND_NS: u64 = 1_000_000;

/// How long what is held back waits: longer than it takes to suspect a primary, or not.
fn long_ns(random: &mut Random) -> u64 {
    let most_ms = [50, 400, 900][random.below(3)];
    (20 + random.below(most_ms) as u64) * MILLISECOND_NS
}

/// Of a packet between replicas: to whom, and its messages.
fn between<'a>(packet: &'a Packet) -> Option<(ReplicaId, impl Iterator<Item = Message<'a>>)> {
    let (Principal::Replica(_), Principal::Replica(to)) = (packet.from, packet.to) else { return None };
    Some((to, Messages::new(packet.body(), packet.sender()).flatten().map(|(message, _)| message)))
}

/// Which replicas each batch of a view may prepare at: others get its votes late.
struct Preparing {
    /// How many may prepare, where it is always the same.
    count: Option<usize>,
    /// Commits are late as well, so many times in a hundred.
    commits_percent: u32,
    chosen: BTreeMap<(u64, u64), ReplicaSet>,
    delay_ns: u64,
    random: Random,
}

/// Each number of each view prepares at other replicas, so that a view change finds as many different sets P as can be.
pub fn split_what_prepares(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    let (commits_percent, delay_ns) = ([0, 50, 100][random.below(3)], long_ns(&mut random));
    Box::new(Preparing { count: None, commits_percent, chosen: BTreeMap::new(), delay_ns, random })
}

/// Each batch prepares, and is executed tentatively, at exactly f+1 replicas, and does not commit.
pub fn few_tentative(mut random: Random, settings: &Settings) -> Box<dyn Strategy> {
    let (count, delay_ns) = (Some(settings.quorum().weak()), long_ns(&mut random));
    Box::new(Preparing { count, commits_percent: 100, chosen: BTreeMap::new(), delay_ns, random })
}

impl Preparing {
    fn may_prepare(&mut self, place: (u64, u64), replicas: usize) -> ReplicaSet {
        let (random, count) = (&mut self.random, self.count);
        *self.chosen.entry(place).or_insert_with(|| {
            let count = count.unwrap_or_else(|| 1 + random.below(replicas));
            let mut set = ReplicaSet::EMPTY;
            while set.count() < count {
                set.insert(ReplicaId(random.below(replicas) as u8));
            }
            set
        })
    }
}

impl Strategy for Preparing {
    fn delay_ns(&mut self, cluster: &Cluster, packet: &Packet) -> u64 {
        let Some((to, messages)) = between(packet) else { return 0 };
        for message in messages {
            let late = match message {
                Message::Prepare(vote) => {
                    let place = (vote.view().0, vote.sequence().0);
                    !self.may_prepare(place, cluster.settings.replicas).contains(to)
                }
                Message::Commit(_) => self.random.percent(self.commits_percent),
                _ => false,
            };
            if late {
                return self.delay_ns;
            }
        }
        0
    }
}

/// What makes a replica be cut off, as soon as it says so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    Prepared,
    Committed,
}

/// Who was the first to come to a point is cut off from everybody at that moment, for a while.
struct Cut {
    moment: Moment,
    percent: u32,
    /// Who is cut off, and until when.
    present: Option<(ReplicaId, u64)>,
    /// The number for which it was decided last.
    decided: u64,
    random: Random,
}

pub fn cut_who_prepared(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(Cut { moment: Moment::Prepared, percent: [10, 40][random.below(2)], present: None, decided: 0, random })
}

pub fn cut_who_committed(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(Cut { moment: Moment::Committed, percent: [10, 40][random.below(2)], present: None, decided: 0, random })
}

impl Cut {
    /// The number that a packet shows to have come to the point at its sender.
    fn reached(&self, cluster: &Cluster, packet: &Packet) -> Option<(ReplicaId, u64)> {
        let Principal::Replica(from) = packet.from else { return None };
        if self.moment == Moment::Committed {
            return Some((from, cluster.replicas[usize::from(from.0)].executed));
        }
        let commits =
            Messages::new(packet.body(), packet.sender()).flatten().filter_map(|(message, _)| match message {
                Message::Commit(vote) => Some(vote.sequence().0),
                _ => None,
            });
        commits.max().map(|number| (from, number))
    }
}

impl Strategy for Cut {
    fn delay_ns(&mut self, cluster: &Cluster, packet: &Packet) -> u64 {
        let now_ns = cluster.now_ns;
        self.present = self.present.filter(|(_, until_ns)| *until_ns > now_ns);
        if self.present.is_none()
            && let Some((from, number)) = self.reached(cluster, packet)
            && number > self.decided
        {
            self.decided = number;
            if self.random.percent(self.percent) {
                self.present = Some((from, now_ns + long_ns(&mut self.random)));
            }
        }
        match self.present {
            Some((who, until_ns)) if [packet.from, packet.to].contains(&Principal::Replica(who)) => until_ns - now_ns,
            _ => 0,
        }
    }
}

/// One correct replica at a time is to prepare alone: it hears the others' prepares in time, and the others do not. Once it prepared, what it says is late, so that
/// the others change the view without knowing of it, and what it executed tentatively is undone.
struct Strand {
    percent: u32,
    /// Who is stranded, until when, and whether it has prepared yet.
    present: Option<(ReplicaId, u64, bool)>,
    random: Random,
}

pub fn strand(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(Strand { percent: [2, 10, 50][random.below(3)], present: None, random })
}

impl Strategy for Strand {
    fn delay_ns(&mut self, cluster: &Cluster, packet: &Packet) -> u64 {
        let now_ns = cluster.now_ns;
        self.present = self.present.filter(|(_, until_ns, _)| *until_ns > now_ns);
        let Some((to, messages)) = between(packet) else { return 0 };
        let (mut proposes, mut prepares, mut commits) = (false, false, false);
        for message in messages {
            proposes |= matches!(message, Message::PrePrepare(_));
            prepares |= matches!(message, Message::Prepare(_));
            commits |= matches!(message, Message::Commit(_));
        }
        if self.present.is_none() && proposes && self.random.percent(self.percent) {
            // Longer than it takes to suspect a primary that talks.
            let until_ns = now_ns + (300 + self.random.below(900) as u64) * MILLISECOND_NS;
            self.present = Some((to, until_ns, false));
        }
        let Some((who, until_ns, prepared)) = &mut self.present else { return 0 };
        let own = packet.from == Principal::Replica(*who);
        *prepared |= own && commits;
        let late = (own && *prepared) || (prepares && to != *who);
        if late { *until_ns - now_ns } else { 0 }
    }
}

/// While a correct replica is primary, what it says is late now and then for long enough for it to be suspected, until one that is owned is primary.
struct Depose {
    percent: u32,
    /// Until when, and for which view it was decided last.
    until_ns: u64,
    decided: Option<u64>,
    random: Random,
}

pub fn depose(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(Depose { percent: [30, 70, 100][random.below(3)], until_ns: 0, decided: None, random })
}

impl Strategy for Depose {
    fn delay_ns(&mut self, cluster: &Cluster, packet: &Packet) -> u64 {
        let Principal::Replica(from) = packet.from else { return 0 };
        let host = &cluster.replicas[usize::from(from.0)];
        let (replica, now_ns) = (host.orderer.replica(), cluster.now_ns);
        if !host.is_correct() || !replica.is_primary() || !replica.is_active() {
            return 0;
        }
        let view = replica.view().0;
        if self.decided.replace(view) != Some(view) && self.random.percent(self.percent) {
            self.until_ns = now_ns + long_ns(&mut self.random);
        }
        self.until_ns.saturating_sub(now_ns)
    }
}

/// View changes and new views reach some of the replicas late, others each time.
struct SplitViewChanges {
    random: Random,
}

pub fn split_view_changes(random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(SplitViewChanges { random })
}

impl Strategy for SplitViewChanges {
    fn delay_ns(&mut self, _: &Cluster, packet: &Packet) -> u64 {
        let Some((_, mut messages)) = between(packet) else { return 0 };
        let late = messages.any(|message| matches!(message, Message::Part(_))) && self.random.percent(50);
        if late { long_ns(&mut self.random) } else { 0 }
    }
}

/// Every packet takes another time, so that hardly anything arrives in the order in which it was sent.
struct Reorder {
    most_ns: usize,
    random: Random,
}

pub fn reorder(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(Reorder { most_ns: [500_000, 5_000_000, 30_000_000][random.below(3)], random })
}

impl Strategy for Reorder {
    fn delay_ns(&mut self, _: &Cluster, _: &Packet) -> u64 {
        self.random.below(self.most_ns) as u64
    }
}
