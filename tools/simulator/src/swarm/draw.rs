//! Drawing a plan from a seed (RELIABILITY 3.2): sizes, configuration, network, clocks, loads, and what goes wrong when.

use crate::adversary::plan::Level;
use crate::swarm::fault::{Fault, FaultEvent, Hearing, Speech, Target};
use crate::swarm::load::Load;
use crate::swarm::mix::{Feature, Features, Mix};
use crate::swarm::plan::{ClockSettings, Core, INBOX_PACKETS_MAX, Plan};
use crate::world::disk::faults::{DiskFault, DiskFaults};
use crate::world::links::{LinkSettings, Tail};
use crate::world::random::Random;
use crate::world::settings::Settings;
use crate::world::timeline::Pace;
use logothete_engine::limits::TIMEOUT_VIEW_MAX_NS;

const MICROSECOND_NS: u64 = 1_000;
const MILLISECOND_NS: u64 = 1_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// The most that a wall clock is off at the beginning: two differ by 600 ms at most, so that a proposal beyond the bound of 500 waits, and is
/// accepted in the end.
const WALL_OFFSET_NS: u64 = 300 * MILLISECOND_NS;

/// How many seeds in a hundred have real session keys and tags (RELIABILITY 3.1: a fifth at least).
const REAL_KEYS_PERCENT: u32 = 25;

/// How many seeds in a hundred have the key-value service in place of the log.
const KEY_VALUE_PERCENT: u32 = 25;

/// The adversary has so many clients at most.
const CLIENTS_MORE_MAX: usize = 4;

/// How long no view works in a run that is about nothing else: the shortest time-out doubles to its cap in two minutes.
const NO_VIEW_NS: u64 = 160 * SECOND_NS;
/// Links with a longer delay than this are slow.
const SLOW_NS: u64 = MILLISECOND_NS;

/// Draws the plan of a seed.
pub fn plan(seed: u64, mix: Mix, operations: u32, replicas: Option<usize>) -> Plan {
    let features = Features::of(seed, mix);
    match features.draw(Feature::NoViews) {
        Some(_) => no_view_works(drawn(seed, &Features::of(seed, Mix::None), operations, replicas)),
        None => drawn(seed, &features, operations, replicas),
    }
}

/// The same with no proposal and no new view coming through for minutes.
fn no_view_works(plan: Plan) -> Plan {
    let silence = |number, of| FaultEvent { number, at_ns: 0, for_ns: NO_VIEW_NS, fault: Fault::Silence { of } };
    let faults = vec![silence(0, Speech::Proposals), silence(1, Speech::NewViews)];
    Plan { safety_ns: NO_VIEW_NS, faults, ..plan }
}

fn drawn(seed: u64, features: &Features, operations: u32, replicas: Option<usize>) -> Plan {
    let (mut cluster, links) = (cluster(seed, replicas), links(seed, features));
    if links.base_ns.1 > SLOW_NS {
        // No view works where its time-out is shorter than what its messages need.
        cluster.timeout_view_max_ns = TIMEOUT_VIEW_MAX_NS;
    }
    let mut time = Random::named(seed, "time");
    let safety_ns = time.pick(&[300, 1000, 2000, 2000, 4000, 4000, 8000]) * MILLISECOND_NS;
    let mut faults = Faults { safety_ns, cluster, events: Vec::new() };
    faults.draw(features);
    let replicas = cluster.replicas;
    let mut plan = Plan {
        seed,
        cluster,
        links,
        disks: disks(&cluster, features),
        inbox_packets_max: features
            .draw(Feature::SmallInboxes)
            .map_or(INBOX_PACKETS_MAX, |mut random| random.pick(&[16, 64, 256])),
        pace: pace(seed),
        clocks: clocks(replicas, features),
        loads: loads(seed, &cluster, operations, safety_ns),
        adversary: None,
        safety_ns,
        faults: faults.in_order(),
        core: time.pick(&[Core::Quorum, Core::Everybody]),
        liveness_requests: time.between(1, 4) as u32,
        canary: false,
    };
    let clients =
        features.draw(Feature::Clients).map_or(0, |mut random| random.between(1, CLIENTS_MORE_MAX as u64) as usize);
    match features.draw(Feature::Replicas).map(|mut random| Level::draw(&mut random)) {
        Some(level) => plan.besiege(level, clients),
        None if clients > 0 => plan.besiege(Level::Client, clients),
        None => {}
    }
    if let Some(random) = features.draw(Feature::Schedule) {
        plan.schedule(random);
    }
    if !plan.spoilers().is_empty() {
        // Views have to last until a client is disputed (`protocol.md DM-2`, `DM-4`).
        plan.cluster.timeout_view_max_ns = TIMEOUT_VIEW_MAX_NS;
    }
    plan
}

fn cluster(seed: u64, replicas: Option<usize>) -> Settings {
    let mut random = Random::named(seed, "cluster");
    let drawn = random.pick(&[4, 4, 4, 4, 4, 4, 4, 7, 7, 10]);
    let checkpoint_interval = random.pick(&[1, 2, 4, 8, 8, 16, 32, 128]);
    let clients = random.pick(&[1, 1, 2, 2, 3, 4, 6, 8]);
    let reads = random.percent(40);
    let mut service = Random::named(seed, "service");
    let (key_value, retention) = (service.percent(KEY_VALUE_PERCENT), service.pick(&[1 << 20, 1 << 20, 1 << 20, 4096]));
    let mut store = Random::named(seed, "store");
    let (small, waiting) = (store.percent(25), store.pick(&[2, 4]));
    Settings {
        replicas: replicas.unwrap_or(drawn),
        clients,
        checkpoint_interval,
        pipeline_depth: random.between(1, 8.min(checkpoint_interval)),
        batch_requests_max: random.pick(&[1, 2, 8, 16, 64]),
        client_window: random.pick(&[1, 2, 8, 16]),
        datagram_bytes_max: random.pick(&[1232, 1472, 1472]),
        bodies_bytes_least: if small { 2 * (clients + CLIENTS_MORE_MAX + 1) * waiting * 4096 } else { 1 << 20 },
        operation_bytes_max: if random.percent(15) { random.pick(&[4_000, 20_000]) } else { 0 },
        tentative: random.percent(50),
        key_value,
        // What it may store is soon full now and then.
        retention_bytes: if key_value { retention } else { Settings::default().retention_bytes },
        reads: reads || key_value,
        journal: random.percent(50),
        timeout_view_max_ns: match random.percent(50) {
            true => random.pick(&[1, 2, 4]) * SECOND_NS / 2,
            false => TIMEOUT_VIEW_MAX_NS,
        },
        question_turns: random.pick(&[16, 64, 256]),
        stand_in_keys: !Random::named(seed, "keys").percent(REAL_KEYS_PERCENT),
        seed: random.draw(),
    }
}

fn links(seed: u64, features: &Features) -> LinkSettings {
    let mut random = Random::named(seed, "links");
    let low = random.pick(&[5, 20, 50, 150]);
    let mut base_ns = (low * MICROSECOND_NS, (low + random.between(1, 50)) * MICROSECOND_NS);
    if let Some(mut random) = features.draw(Feature::SlowLinks) {
        // Slower than the shortest time-out of a view.
        let low = random.between(40, 150);
        base_ns = (low * MILLISECOND_NS, (low + random.between(1, 150)) * MILLISECOND_NS);
    }
    let drawn = |feature, among: &[u32]| features.draw(feature).map_or(0, |mut random| random.pick(among));
    let tail = |mut random: Random| match random.below(2) {
        0 => Tail::Exponential { mean_ns: random.pick(&[50, 500, 5000]) * MICROSECOND_NS },
        _ => Tail::Pareto { scale_ns: random.pick(&[5, 20, 100]) * MICROSECOND_NS },
    };
    LinkSettings {
        base_ns,
        tail: features.draw(Feature::Tails).map_or(Tail::Narrow, tail),
        loss_per_mille: drawn(Feature::Loss, &[1, 10, 50, 150, 300]),
        duplicate_per_mille: drawn(Feature::Duplicates, &[10, 100, 500]),
        replay_per_mille: drawn(Feature::Replays, &[1, 10, 50]),
        losses_correlated: features.draw(Feature::CorrelatedLoss).is_some_and(|mut random| random.percent(50)),
        capacity: features.draw(Feature::Capacity).map_or(u32::MAX, |mut random| random.pick(&[2, 8, 64])),
    }
}

/// Who is fast has a turn for each packet; to who is slow they come together, as they do under load.
fn pace(seed: u64) -> Pace {
    let (turn_ns, packet_ns) =
        Random::named(seed, "pace").pick(&[(500, 250), (10_000, 500), (50_000, 1_000), (100_000, 2_000)]);
    Pace { turn_ns, packet_ns }
}

fn disks(cluster: &Settings, features: &Features) -> DiskFaults {
    let drawn = features.draw(Feature::Disks).filter(|_| cluster.journal);
    drawn.map_or(DiskFaults::NONE, |mut random| DiskFaults::draw_nature(&mut random))
}

fn clocks(replicas: usize, features: &Features) -> Vec<ClockSettings> {
    let (mut rates, mut walls) = (features.draw(Feature::ClockRates), features.draw(Feature::WallClocks));
    let mut clock = || ClockSettings {
        rate_ppm: rates.as_mut().map_or(0, |random| random.between(0, 200_000) as i64 - 100_000),
        wall_offset_ns: walls.as_mut().map_or(0, |random| {
            let off = random.percent(50);
            let by_ns = random.between(0, 2 * WALL_OFFSET_NS) as i64 - WALL_OFFSET_NS as i64;
            if off { by_ns } else { 0 }
        }),
    };
    (0..replicas).map(|_| clock()).collect()
}

fn loads(seed: u64, cluster: &Settings, operations: u32, safety_ns: u64) -> Vec<Load> {
    let load = |client: usize| {
        let mut random = Random::named(seed, &format!("client {client}"));
        let operations = (operations / cluster.clients as u32).max(1);
        let request_operations_max = random.pick(&[1_u32, 1, 2, 4]);
        let burst_requests_max = random.pick(&[1_u32, 1, 4, 16]);
        let idle_percent = if random.percent(30) { 2 } else { 0 };
        // Asked for at even pace, all of them would take about the whole phase; some take half of it.
        let bursts = operations / request_operations_max.div_ceil(2) / burst_requests_max.div_ceil(2);
        Load {
            operations,
            request_operations_max,
            outstanding_max: random.pick(&[1, 4, 8, 32]),
            gap_ns: (safety_ns / u64::from(bursts.max(1)) / random.between(1, 2)).max(1),
            burst_requests_max,
            idle_percent,
            read_percent: random.pick(&[0, 10, 50, 95]),
            operation_bytes_max: random.pick(&[1, 8, 32, 250]),
            // Entries are given out when they are executed: no configuration has a log that is executed tentatively.
            subscribes: random.percent(30) && !cluster.tentative && !cluster.key_value,
        }
    };
    (0..cluster.clients).map(load).collect()
}

/// Draws the events of a run.
struct Faults {
    safety_ns: u64,
    cluster: Settings,
    events: Vec<FaultEvent>,
}

impl Faults {
    fn draw(&mut self, features: &Features) {
        let agents = self.cluster.replicas + self.cluster.clients;
        let link = move |random: &mut Random| (random.below(agents), random.below(agents));
        let (short, long) = (10 * MILLISECOND_NS, 5 * SECOND_NS);
        let replicas = self.cluster.replicas;
        let clients = self.cluster.clients;
        let all = (1_u64 << replicas) - 1;
        self.some(features, Feature::Bursts, (12, MILLISECOND_NS, 500 * MILLISECOND_NS), |random| {
            let (from, to) = link(random);
            Fault::Burst { from, to }
        });
        self.some(features, Feature::Clogs, (6, short, long), |random| {
            let (from, to) = link(random);
            Fault::Clog { from, to }
        });
        self.some(features, Feature::Partitions, (6, short, 2 * SECOND_NS), |random| partition(random, replicas, all));
        self.some(features, Feature::Outages, (2, short, SECOND_NS), |random| Fault::Outage {
            group: random.percent(50),
        });
        self.some(features, Feature::Silences, (4, MILLISECOND_NS, 8 * SECOND_NS), |random| {
            // Mostly of what nothing is decided without: views change in vain then.
            let of = if random.percent(50) { &Speech::ALL[..3] } else { &Speech::ALL[..] };
            Fault::Silence { of: random.pick(of) }
        });
        self.some(features, Feature::Pauses, (6, MILLISECOND_NS, 2 * SECOND_NS), |random| Fault::Pause {
            who: target(random, replicas),
        });
        self.some(features, Feature::Crashes, (6, short, SECOND_NS), |random| Fault::Crash {
            who: target(random, replicas),
            lost: random.percent(20),
        });
        self.some(features, Feature::PowerLoss, (2, short, SECOND_NS), |_| Fault::PowerLoss);
        if self.cluster.journal {
            self.draw_of_disks(features);
        }
        self.some(features, Feature::RollingRestarts, (1, 100 * MILLISECOND_NS, 2 * SECOND_NS), |_| {
            Fault::RollingRestart
        });
        self.some(features, Feature::ClientRestarts, (3, 0, 0), |random| Fault::RestartClient {
            client: random.below(clients) as u16,
        });
        self.some(features, Feature::ClockJumps, (4, MILLISECOND_NS, SECOND_NS), |random| {
            let who = target(random, replicas);
            match random.below(3) {
                0 => Fault::ClockFreeze { who },
                1 => Fault::ClockLeap { who, by_ns: random.between(MILLISECOND_NS, SECOND_NS / 5) },
                _ => Fault::ClockRate { who, rate_ppm: random.between(0, 200_000) as i64 - 100_000 },
            }
        });
        self.some(features, Feature::KeyRotation, (8, short, SECOND_NS), |random| Fault::RotateKeys {
            who: target(random, replicas),
        });
        let spoiler = Random::named(self.cluster.seed, "spoiler").below(clients) as u16;
        self.some(features, Feature::SpoiltTags, (4, short, SECOND_NS), |random| Fault::SpoilTags {
            client: spoiler,
            replicas: random.between(1, all) as u16,
        });
    }

    /// What goes wrong with disks, where replicas keep journals.
    fn draw_of_disks(&mut self, features: &Features) {
        let replicas = self.cluster.replicas;
        let short = 10 * MILLISECOND_NS;
        self.some(features, Feature::CrashesWriting, (6, short, SECOND_NS), |random| Fault::CrashWriting {
            who: target(random, replicas),
            steps: random.between(1, 40),
        });
        self.some(features, Feature::DiskStalls, (4, MILLISECOND_NS, SECOND_NS), |random| Fault::DiskStall {
            who: target(random, replicas),
        });
        self.some(features, Feature::DiskErrors, (4, short, SECOND_NS), |random| Fault::DiskFails {
            who: target(random, replicas),
            kind: random.pick(&DiskFault::ERRORS),
        });
        self.some(features, Feature::DiskDamage, (3, short, SECOND_NS), |random| Fault::DiskDamage {
            who: target(random, replicas),
            kind: random.pick(&DiskFault::DAMAGE),
        });
    }

    /// Up to `count` events of a feature, each lasting between two times, at any time of the phase.
    fn some(
        &mut self,
        features: &Features,
        feature: Feature,
        (count, least_ns, most_ns): (u64, u64, u64),
        mut what: impl FnMut(&mut Random) -> Fault,
    ) {
        let Some(random) = features.draw(feature) else { return };
        let count = random.of_event(u64::MAX).between(1, count);
        for number in 0..count {
            let mut random = random.of_event(number);
            // Short ones are as frequent as long ones: uniform in the logarithm.
            let span = (most_ns / least_ns.max(1)).max(1).ilog2() + 1;
            let for_ns = (least_ns << random.below(span as usize)).min(most_ns);
            let at_ns = random.between(0, self.safety_ns);
            self.events.push(FaultEvent { number: 0, at_ns, for_ns, fault: what(&mut random) });
        }
    }

    fn in_order(mut self) -> Vec<FaultEvent> {
        self.events.sort_by_key(|event| event.at_ns);
        (0..).zip(&mut self.events).for_each(|(number, event)| event.number = number);
        self.events
    }
}

fn target(random: &mut Random, replicas: usize) -> Target {
    if random.percent(40) { Target::Primary } else { Target::Replica(random.below(replicas) as u8) }
}

fn partition(random: &mut Random, replicas: usize, all: u64) -> Fault {
    let hearing = random.pick(&[Hearing::Neither, Hearing::Neither, Hearing::Outside, Hearing::Inside]);
    match random.below(4) {
        0 => Fault::IsolatePrimary { hearing },
        1 => {
            // One missing edge, in both directions or in one.
            let (one, other) = (random.below(replicas), random.below(replicas));
            Fault::Burst { from: one, to: other }
        }
        2 => Fault::Partition { inside: 1 << random.below(replicas), hearing, clients_too: random.percent(50) },
        _ => Fault::Partition { inside: random.between(1, all) as u16, hearing, clients_too: random.percent(50) },
    }
}
