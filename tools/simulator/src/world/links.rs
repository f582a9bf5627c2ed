//! The network of a swarm: a link from each agent to each other, with delays, losses, duplicates and queues of its own; now and then a packet from long
//! ago. What a script's network does on command, this one does by chance and at its time.

use crate::scenario::words::kind;
use crate::world::fingerprint::Fingerprint;
use crate::world::network::Packet;
use crate::world::random::Random;
use logothete_engine::numbers::Principal;
use logothete_engine::wire::Messages;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;

/// The longest that chance alone delays a packet.
pub const DELAY_MAX_NS: u64 = 50_000_000;

/// Packets of long ago that an eavesdropper keeps.
const ANCIENT_MAX: usize = 256;

/// How the delay of a packet spreads beyond its link's base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tail {
    /// Hardly: a tenth of the base.
    Narrow,
    /// Exponentially, with this mean.
    Exponential { mean_ns: u64 },
    /// By Pareto's law with exponent 1: mostly little, now and then very long.
    Pareto { scale_ns: u64 },
}

/// What the links of a run are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkSettings {
    /// Each link's base is between these.
    pub base_ns: (u64, u64),
    pub tail: Tail,
    pub loss_per_mille: u32,
    pub duplicate_per_mille: u32,
    /// How many packets in a thousand are followed by one of long ago.
    pub replay_per_mille: u32,
    /// A packet to a group is lost for all of it or for none.
    pub losses_correlated: bool,
    /// Packets under way on one link at most; what comes beyond is lost.
    pub capacity: u32,
}

impl Default for LinkSettings {
    fn default() -> Self {
        Self {
            base_ns: (20_000, 60_000),
            tail: Tail::Narrow,
            loss_per_mille: 0,
            duplicate_per_mille: 0,
            replay_per_mille: 0,
            losses_correlated: false,
            capacity: u32::MAX,
        }
    }
}

/// One link, in one direction.
#[derive(Debug)]
struct Link {
    stream: Random,
    base_ns: u64,
    sent: u64,
    under_way: u32,
    /// Reasons why nothing gets onto it: partitions and bursts, which may overlap.
    cuts: u32,
    /// What is on it waits until then.
    clogged_until_ns: u64,
    /// It loses nothing any more, whatever the settings say.
    healed: bool,
}

/// What of packets to groups or to single receivers is lost for everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outage {
    pub group: u32,
    pub single: u32,
}

/// A packet under way: when it arrives, by a tie-break that the seed draws, and by its number.
#[derive(Debug)]
struct UnderWay {
    due: (u64, u64, u64),
    link: usize,
    packet: Packet,
}

impl PartialEq for UnderWay {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for UnderWay {}

impl PartialOrd for UnderWay {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for UnderWay {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.due.cmp(&other.due)
    }
}

/// All links of a run.
#[derive(Debug)]
pub struct Links {
    settings: LinkSettings,
    replicas: usize,
    agents: usize,
    links: Vec<Link>,
    outage: Outage,
    /// Kinds of messages that nobody gets.
    silenced: Vec<&'static str>,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    ties: Random,
    groups: Random,
    eavesdropper: Random,
    ancient: Vec<Packet>,
    /// Packets sent so far, each counted once for each receiver.
    sent: u64,
    /// All packets that were sent, in their order.
    pub fingerprint: Fingerprint,
}

impl Links {
    /// Between so many replicas and clients.
    pub fn new(settings: LinkSettings, replicas: usize, clients: usize, seed: u64) -> Self {
        let agents = replicas + clients;
        let link = |index: usize| {
            let mut stream = Random::named(seed, &format!("link {} {}", index / agents, index % agents));
            let base_ns = stream.between(settings.base_ns.0, settings.base_ns.1);
            Link { stream, base_ns, sent: 0, under_way: 0, cuts: 0, clogged_until_ns: 0, healed: false }
        };
        Self {
            settings,
            replicas,
            agents,
            links: (0..agents * agents).map(link).collect(),
            outage: Outage::default(),
            silenced: Vec::new(),
            under_way: BinaryHeap::new(),
            ties: Random::named(seed, "ties"),
            groups: Random::named(seed, "groups"),
            eavesdropper: Random::named(seed, "eavesdropper"),
            ancient: Vec::new(),
            sent: 0,
            fingerprint: Fingerprint::default(),
        }
    }

    /// The place of an agent among all.
    pub fn index(&self, agent: Principal) -> usize {
        match agent {
            Principal::Replica(id) => usize::from(id.0),
            Principal::Client(id) => self.replicas + usize::from(id.0),
        }
    }

    /// Sends one packet to all its receivers. Returns those for whom it is lost.
    pub fn send(&mut self, from: Principal, receivers: &[Principal], bytes: &Rc<[u8]>, now_ns: u64) -> Vec<Principal> {
        self.fingerprint.fold(now_ns);
        self.fingerprint.fold_bytes(bytes);
        let group = receivers.len() > 1;
        let out = if group { self.outage.group } else { self.outage.single } > 0 || self.is_silenced(from, bytes);
        let mut common = self.groups.of_event(self.sent);
        let lost_for_all = group && self.settings.losses_correlated && common.per_mille(self.settings.loss_per_mille);
        let mut lost = Vec::new();
        for &to in receivers {
            let packet = Packet { from, to, bytes: bytes.clone() };
            if !self.launch(packet, out || lost_for_all, group, now_ns) {
                lost.push(to);
            }
        }
        lost
    }

    fn is_silenced(&self, from: Principal, bytes: &Rc<[u8]>) -> bool {
        if self.silenced.is_empty() {
            return false;
        }
        let packet = Packet { from, to: from, bytes: bytes.clone() };
        let mut messages = Messages::new(packet.body(), packet.sender()).flatten();
        messages.any(|(message, _)| self.silenced.contains(&kind(&message)))
    }

    fn launch(&mut self, packet: Packet, out: bool, group: bool, now_ns: u64) -> bool {
        let settings = self.settings;
        let at = self.index(packet.from) * self.agents + self.index(packet.to);
        let link = &mut self.links[at];
        let mut chance = link.stream.of_event(link.sent);
        link.sent += 1;
        self.sent += 1;
        // Whatever is made of them, each packet draws the same.
        let own_loss = chance.per_mille(settings.loss_per_mille) && !(group && settings.losses_correlated);
        let doubled = chance.per_mille(settings.duplicate_per_mille);
        let replayed = chance.per_mille(settings.replay_per_mille);
        let delays_ns = [(); 3].map(|()| delay_ns(&settings, link.base_ns, &mut chance));
        let full = link.under_way >= settings.capacity;
        let lost = !link.healed && (out || own_loss || link.cuts > 0 || full);
        if lost {
            return false;
        }
        let copies = if doubled { 2 } else { 1 };
        for delay_ns in &delays_ns[..copies] {
            self.put(now_ns + delay_ns, at, packet.clone());
        }
        if replayed && !self.ancient.is_empty() {
            let old = self.ancient[chance.below(self.ancient.len())].clone();
            let at = self.index(old.from) * self.agents + self.index(old.to);
            if self.links[at].cuts == 0 {
                self.put(now_ns + delays_ns[2], at, old);
            }
        }
        self.overhear(packet);
        true
    }

    /// Keeps a sample of all that was ever sent.
    fn overhear(&mut self, packet: Packet) {
        if self.settings.replay_per_mille == 0 {
            return;
        }
        if self.ancient.len() < ANCIENT_MAX {
            self.ancient.push(packet);
        } else if let Some(place) = self.ancient.get_mut(self.eavesdropper.below(self.sent as usize)) {
            *place = packet;
        }
    }

    fn put(&mut self, due_ns: u64, link: usize, packet: Packet) {
        let number = self.sent;
        self.links[link].under_way += 1;
        self.under_way.push(Reverse(UnderWay { due: (due_ns, self.ties.draw(), number), link, packet }));
    }

    /// When the next packet arrives.
    pub fn next_ns(&self) -> u64 {
        self.under_way.peek().map_or(u64::MAX, |Reverse(first)| first.due.0)
    }

    /// Takes the next packet if its time has come and its link lets it through.
    pub fn arrive(&mut self, now_ns: u64) -> Option<Packet> {
        while self.next_ns() <= now_ns {
            let Reverse(first) = self.under_way.pop()?;
            let link = &mut self.links[first.link];
            link.under_way -= 1;
            if link.clogged_until_ns > now_ns {
                // All that waited comes at once, in the order in which it would have.
                let due_ns = link.clogged_until_ns;
                self.put(due_ns, first.link, first.packet);
                continue;
            }
            return Some(first.packet);
        }
        None
    }

    /// Packets sent so far, each counted once for each receiver.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// From now on nothing gets onto a link, or for one reason less.
    pub fn cut(&mut self, from: usize, to: usize, cut: bool) {
        let cuts = &mut self.links[from * self.agents + to].cuts;
        *cuts = if cut { *cuts + 1 } else { cuts.saturating_sub(1) };
    }

    /// What is on a link waits until then.
    pub fn clog(&mut self, from: usize, to: usize, until_ns: u64) {
        let link = &mut self.links[from * self.agents + to];
        link.clogged_until_ns = link.clogged_until_ns.max(until_ns);
    }

    /// Packets to groups, or to single receivers, are lost for everybody, or for one reason less.
    pub fn outage(&mut self, group: bool, begins: bool) {
        let count = if group { &mut self.outage.group } else { &mut self.outage.single };
        *count = if begins { *count + 1 } else { count.saturating_sub(1) };
    }

    /// Packets with a message of a kind are lost for everybody, or for one reason less.
    pub fn silence(&mut self, kind: &'static str, begins: bool) {
        if begins {
            self.silenced.push(kind);
        } else if let Some(at) = self.silenced.iter().position(|held| *held == kind) {
            self.silenced.swap_remove(at);
        }
    }

    /// The links among these agents lose nothing from now on; what is wrong with others stays.
    pub fn heal(&mut self, among: &[usize], now_ns: u64) {
        for (from, to) in among.iter().flat_map(|from| among.iter().map(move |to| (*from, *to))) {
            let link = &mut self.links[from * self.agents + to];
            link.healed = true;
            link.clogged_until_ns = link.clogged_until_ns.min(now_ns);
        }
    }
}

/// What a packet needs on a link with this base.
fn delay_ns(settings: &LinkSettings, base_ns: u64, chance: &mut Random) -> u64 {
    let beyond_ns = match settings.tail {
        Tail::Narrow => chance.draw() % (base_ns / 10 + 1),
        Tail::Exponential { mean_ns } => chance.exponential(mean_ns),
        Tail::Pareto { scale_ns } => (scale_ns << 16) / (1 + (chance.draw() & 0xffff)),
    };
    (base_ns + beyond_ns).min(base_ns + DELAY_MAX_NS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::seat::{Register, Seat};
    use logothete_crypto::Digest;
    use logothete_engine::numbers::{ReplicaId, ReplicaSet, SequenceNumber, View};
    use logothete_engine::wire::Audience;
    use logothete_engine::wire::agreement::Vote;

    const fn replica(id: u8) -> Principal {
        Principal::Replica(ReplicaId(id))
    }

    fn links(settings: LinkSettings) -> Links {
        Links::new(settings, 4, 1, 3)
    }

    fn arrivals(links: &mut Links) -> Vec<(u64, Principal)> {
        let mut all = Vec::new();
        while links.next_ns() != u64::MAX {
            let now_ns = links.next_ns();
            all.extend(links.arrive(now_ns).map(|packet| (now_ns, packet.to)));
        }
        all
    }

    fn send(links: &mut Links, count: usize, to: &[Principal]) -> usize {
        let bytes: Rc<[u8]> = vec![1; 100].into();
        (0..count).map(|_| links.send(replica(0), to, &bytes, 0).len()).sum()
    }

    #[test]
    fn losses_and_duplicates_are_as_frequent_as_asked() {
        let mut links =
            links(LinkSettings { loss_per_mille: 300, duplicate_per_mille: 500, ..LinkSettings::default() });
        let lost = send(&mut links, 4000, &[replica(1)]);
        assert!((1100..1300).contains(&lost), "{lost}");
        let arrived = arrivals(&mut links).len();
        assert!((3900..4500).contains(&arrived), "{arrived}");
    }

    #[test]
    fn a_correlated_loss_is_everybodys() {
        let settings = LinkSettings { loss_per_mille: 300, losses_correlated: true, ..LinkSettings::default() };
        let mut links = links(settings);
        let all = [replica(1), replica(2), replica(3)];
        let bytes: Rc<[u8]> = vec![1; 100].into();
        let lost: Vec<usize> = (0..100).map(|_| links.send(replica(0), &all, &bytes, 0).len()).collect();
        assert!(lost.iter().all(|count| [0, 3].contains(count)));
        assert!(lost.contains(&0) && lost.contains(&3));
    }

    #[test]
    fn a_full_link_takes_no_more_and_a_clogged_one_gives_all_at_once() {
        let mut links = links(LinkSettings { capacity: 2, ..LinkSettings::default() });
        links.clog(0, 1, 1_000_000_000);
        assert_eq!(send(&mut links, 3, &[replica(1)]), 1);
        assert_eq!(arrivals(&mut links), [(1_000_000_000, replica(1)); 2]);
    }

    #[test]
    fn cuts_overlap_and_end_and_healing_ends_them_for_good() {
        let mut links = links(LinkSettings { loss_per_mille: 1000, ..LinkSettings::default() });
        links.cut(0, 1, true);
        links.cut(0, 1, true);
        links.cut(0, 1, false);
        assert_eq!(send(&mut links, 1, &[replica(1), replica(2)]), 2);
        links.heal(&[0, 1], 0);
        assert_eq!(send(&mut links, 1, &[replica(1), replica(2)]), 1);
    }

    #[test]
    fn a_kind_that_is_lost_is_lost_for_everybody() {
        let mut links = links(LinkSettings::default());
        let mut seat =
            Seat::new(replica(0), Register { replicas: 4, clients: 1, stand_ins: true }, &mut Random::new(1));
        let mut peer =
            Seat::new(replica(1), Register { replicas: 4, clients: 1, stand_ins: true }, &mut Random::new(2));
        seat.introduce(&mut peer);
        let mut body = Vec::new();
        Vote::new(View(0), SequenceNumber(1), Digest::ZERO).append_prepare(&mut body);
        let bytes: Rc<[u8]> = seat.seal(Audience::Replicas(ReplicaSet::only(ReplicaId(1))), &body, 1).into();
        let mut send = |kinds: &[&'static str], begins| {
            kinds.iter().for_each(|kind| links.silence(kind, begins));
            links.send(replica(0), &[replica(1)], &bytes, 0).len()
        };
        assert_eq!(send(&["commit"], true), 0);
        assert_eq!(send(&["prepare", "prepare"], true), 1);
        assert_eq!(send(&["prepare"], false), 1);
        assert_eq!(send(&["prepare"], false), 0);
    }

    #[test]
    fn outages_hit_groups_or_single_receivers() {
        let mut links = links(LinkSettings::default());
        links.outage(true, true);
        assert_eq!(send(&mut links, 1, &[replica(1), replica(2)]), 2);
        assert_eq!(send(&mut links, 1, &[replica(1)]), 0);
        links.outage(true, false);
        assert_eq!(send(&mut links, 1, &[replica(1), replica(2)]), 0);
    }
}
