//! A0: what is owned behaves well, as far as it behaves: it stops, leaves out, is late, does not listen, does not relay.

use crate::adversary::letter::Letter;
use crate::adversary::strategy::Strategy;
use crate::scenario::words::kind;
use crate::world::cluster::Cluster;
use crate::world::network::Packet;
use crate::world::random::Random;
use crate::world::settings::Settings;
use logothete_engine::numbers::{ReplicaId, ReplicaSet};
use logothete_engine::wire::Messages;

const MILLISECOND_NS: u64 = 1_000_000;

/// What replicas say to each other and to clients, in the words of filters.
pub const KINDS: &[&str] = &[
    "pre-prepare",
    "prepare",
    "commit",
    "checkpoint",
    "reply",
    "status",
    "fetch",
    "forward",
    "state-query",
    "state-nodes",
    "state-pages",
    "view-change",
    "new-view",
    "claim",
    "fetch-batch",
    "batch",
    "recovery-answer",
    "dispute",
    "fetch-parts",
];

/// Messages of some kinds, to some receivers, so many times in a hundred.
struct Rule {
    kinds: Vec<&'static str>,
    to: ReplicaSet,
    clients: bool,
    percent: u32,
}

impl Rule {
    fn draw(random: &mut Random, settings: &Settings) -> Self {
        let mut kinds: Vec<&'static str> = KINDS.to_vec();
        if random.percent(80) {
            let count = 1 + random.below(4);
            kinds = (0..count).map(|_| KINDS[random.below(KINDS.len())]).collect();
        }
        let to = ReplicaSet(random.draw() as u16 & ReplicaSet::first(settings.replicas).0);
        Self { kinds, to, clients: random.percent(30), percent: [30, 70, 100][random.below(3)] }
    }

    /// What of a letter is meant, and the rest.
    fn part(&self, letter: Letter, random: &mut Random) -> (Option<Letter>, Vec<Letter>) {
        let (told, others) = letter.split(self.to, self.clients);
        let mut rest: Vec<Letter> = others.into_iter().collect();
        let Some(told) = told else { return (None, rest) };
        if !random.percent(self.percent) {
            rest.push(told);
            return (None, rest);
        }
        let (meant, spared) = told.parted(&self.kinds);
        rest.extend(spared);
        (meant, rest)
    }
}

/// It stops at some moment, for good.
struct Crash {
    after_ns: u64,
    begun_ns: Option<u64>,
}

pub fn crash(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(Crash { after_ns: random.below(400) as u64 * MILLISECOND_NS, begun_ns: None })
}

impl Crash {
    fn lives(&mut self, cluster: &Cluster) -> bool {
        let begun_ns = *self.begun_ns.get_or_insert(cluster.now_ns);
        cluster.now_ns < begun_ns + self.after_ns
    }
}

impl Strategy for Crash {
    fn hears(&mut self, cluster: &Cluster, _: ReplicaId, _: &Packet) -> bool {
        self.lives(cluster)
    }

    fn on_outgoing(&mut self, cluster: &Cluster, letter: Letter, out: &mut Vec<Letter>) {
        // Clients that are owned live on.
        if letter.replica().is_none() || self.lives(cluster) {
            out.push(letter);
        }
    }

    fn on_relay(&mut self, cluster: &Cluster, _: ReplicaId, _: &mut Vec<u8>) -> bool {
        self.lives(cluster)
    }
}

/// It leaves out what rules say.
struct Omit {
    rules: Vec<Rule>,
    random: Random,
}

pub fn omit(mut random: Random, settings: &Settings) -> Box<dyn Strategy> {
    let rules = (0..1 + random.below(3)).map(|_| Rule::draw(&mut random, settings)).collect();
    Box::new(Omit { rules, random })
}

impl Strategy for Omit {
    fn on_outgoing(&mut self, _: &Cluster, letter: Letter, out: &mut Vec<Letter>) {
        let mut left = vec![letter];
        for rule in &self.rules {
            left = left.into_iter().flat_map(|letter| rule.part(letter, &mut self.random).1).collect();
        }
        out.extend(left);
    }
}

/// It says later what rules say.
struct Delay {
    rules: Vec<(Rule, u64)>,
    random: Random,
}

pub fn delay(mut random: Random, settings: &Settings) -> Box<dyn Strategy> {
    let rule = |random: &mut Random| {
        let (rule, most_ms) = (Rule::draw(random, settings), [10, 60, 400][random.below(3)]);
        (rule, (1 + random.below(most_ms) as u64) * MILLISECOND_NS)
    };
    let rules = (0..1 + random.below(2)).map(|_| rule(&mut random)).collect();
    Box::new(Delay { rules, random })
}

impl Strategy for Delay {
    fn on_outgoing(&mut self, _: &Cluster, letter: Letter, out: &mut Vec<Letter>) {
        let mut left = vec![letter];
        for (rule, delay_ns) in &self.rules {
            let parted: Vec<_> = left.into_iter().map(|letter| rule.part(letter, &mut self.random)).collect();
            left = Vec::new();
            for (late, rest) in parted {
                out.extend(late.map(|late| Letter { delay_ns: late.delay_ns + delay_ns, ..late }));
                left.extend(rest);
            }
        }
        out.extend(left);
    }
}

/// It does not hear some of what others say.
struct Deaf {
    kinds: Vec<&'static str>,
    from: ReplicaSet,
    percent: u32,
    random: Random,
}

pub fn deaf(mut random: Random, settings: &Settings) -> Box<dyn Strategy> {
    let Rule { kinds, to: from, percent, .. } = Rule::draw(&mut random, settings);
    Box::new(Deaf { kinds, from, percent, random })
}

impl Strategy for Deaf {
    fn hears(&mut self, _: &Cluster, _: ReplicaId, packet: &Packet) -> bool {
        let from = matches!(packet.from, logothete_engine::numbers::Principal::Replica(id) if self.from.contains(id));
        let mut messages = Messages::new(packet.body(), packet.sender()).flatten();
        let meant = from && messages.any(|(message, _)| self.kinds.contains(&kind(&message)));
        !meant || !self.random.percent(self.percent)
    }
}

/// It relays no client's packet, so that whoever lacks one waits for others.
struct RelayNothing;

pub fn relay_nothing(_: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(RelayNothing)
}

impl Strategy for RelayNothing {
    fn on_relay(&mut self, _: &Cluster, _: ReplicaId, _: &mut Vec<u8>) -> bool {
        false
    }
}
