//! Chance in place of a script: one seed, one cluster, up to `f` faulty replicas, primaries among them, and a network that loses, doubles, reorders
//! and falls apart for a while.
//!
//! A client may spoil its tags for some replicas now and then. Everything that clients submit must complete, nobody else may be demoted, and once the network is kind again every correct replica must come to where the others are.

use crate::adversary::faults::{Behaviour, Fault};
use crate::adversary::liar::lie;
use crate::scenario::report::Detail;
use crate::world::cluster::Cluster;
use crate::world::hosts::{ReplicaHost, Settings};
use crate::world::network::Filter;
use crate::world::random::Random;
use logothete_engine::numbers::{Principal, ReplicaId, ReplicaSet};

const MILLISECOND_NS: u64 = 1_000_000;

/// The longest that a run may take, in virtual time.
const PATIENCE_NS: u64 = 240_000 * MILLISECOND_NS;

/// The most that a replica's or a client's wall clock is off.
const SKEW_NS: i64 = 300_000_000;

/// How long replicas have to even out when nothing is lost any more.
const SETTLE_NS: u64 = 3_000 * MILLISECOND_NS;

/// How long a replica without memory has to come to where it may vote, while nobody asks for anything.
const RECOVERY_NS: u64 = 30 * SETTLE_NS;

/// How much of what goes on after a failure is told.
const AFTERMATH_NS: u64 = 300 * MILLISECOND_NS;

/// Plays one seed; `tell` prints everything that happens.
///
/// # Errors
/// What a checker found, or what did not complete.
pub fn play(seed: u64, tell: bool) -> Result<(), String> {
    let (settings, mut random) = settings(seed);
    let mut cluster = Cluster::new(settings);
    if tell {
        cluster.begin(Detail::Full);
    }
    let outcome = play_on(&mut cluster, &mut random);
    if tell {
        println!("{}", cluster.end());
    }
    outcome
}

fn settings(seed: u64) -> (Settings, Random) {
    let mut random = Random::new(seed);
    let replicas = if random.percent(15) { 7 } else { 4 };
    let settings = Settings {
        replicas,
        clients: 1 + random.below(2),
        checkpoint_interval: [2, 4, 8, 16][random.below(4)],
        pipeline_depth: 1 + random.below(4) as u64,
        batch_requests_max: 1 + random.below(8),
        client_window: 1 + random.below(8) as u64,
        tentative: random.percent(40),
        journal: random.percent(50),
        seed: random.draw(),
        ..Settings::default()
    };
    (settings, random)
}

fn play_on(cluster: &mut Cluster, random: &mut Random) -> Result<(), String> {
    let (settings, replicas) = (cluster.settings, cluster.settings.replicas);
    cluster.open_clients()?;
    // Half of the faulty are primaries of the first views.
    for _ in 0..random.below(settings.quorum().faults() + 1) {
        let among = if random.percent(50) { 2 } else { replicas };
        let at = random.below(among);
        cluster.replicas[at].fault = Some(Fault::new(behaviour(random)));
    }
    // Whatever else chance decides stays as it is without these.
    let mut attack = Random::new(settings.seed ^ 0x7a65);
    let spoiler = attack.percent(30).then(|| attack.below(settings.clients));
    for host in cluster.replicas.iter_mut().filter(|host| host.fault.is_some()) {
        if attack.percent(20) {
            host.fault = Some(Fault::new(Behaviour::SpoilsCopies));
        }
    }
    let lies = random.percent(50);
    let restarts = random.percent(50);
    cluster.network.loss_percent = [0, 5, 15, 30][random.below(4)];
    cluster.network.duplicate_percent = [0, 10][random.below(2)];
    let unordered = random.percent(60);
    for host in &mut cluster.replicas {
        // At most 600 ms between two clocks: beyond the bound of 500 a proposal waits, and is accepted in the end.
        host.skew_ns = if random.percent(20) { SKEW_NS - random.below(2 * SKEW_NS as usize) as i64 } else { 0 };
    }
    for _ in 0..1 + random.below(30) {
        if random.percent(10) {
            cut_off(cluster, random, unordered)?;
        }
        if random.percent(5) {
            crash_one(cluster, random);
        }
        if restarts && random.percent(15) {
            restart_some(cluster, random)?;
        }
        if random.percent(3) {
            stall_disk(cluster, random, unordered)?;
        }
        for _ in 0..if lies { random.below(4) } else { 0 } {
            lie_one(cluster, random);
        }
        if let Some(at) = spoiler.filter(|_| attack.percent(30)) {
            let spoilt = ReplicaSet(attack.draw() as u16 & ReplicaSet::first(replicas).0);
            cluster.clients[at].spoils = spoilt.iter().map(Principal::Replica).collect();
        }
        let client = random.below(settings.clients);
        if random.percent(3) {
            restart_in_peace(cluster, client, random, unordered)?;
        }
        for _ in 0..1 + random.below(4) {
            let text = format!("{}", cluster.clients[client].submitted);
            cluster.append(client, vec![text.into_bytes(); 1 + random.below(3)])?;
        }
        pass(cluster, random.below(20) as u64 * MILLISECOND_NS / 4, unordered)?;
    }
    // What it submitted completes when it wants that.
    cluster.clients.iter_mut().for_each(|client| client.spoils.clear());
    let begun_ns = cluster.wall_ns();
    let mut lies_left = if lies { random.below(40) } else { 0 };
    while cluster.clients.iter().any(|client| client.outstanding() > 0) {
        pass(cluster, 10 * MILLISECOND_NS, unordered)?;
        if lies_left > 0 {
            lies_left -= 1;
            lie_one(cluster, random);
        }
        if cluster.wall_ns() - begun_ns > PATIENCE_NS {
            return Err(format!("what clients submitted does not complete\n{}", standing(cluster)));
        }
    }
    (cluster.network.loss_percent, cluster.network.duplicate_percent) = (0, 0);
    pass(cluster, SETTLE_NS, unordered)?;
    cluster.checks.on_end();
    cluster.checks.verdict()?;
    for _ in 0..RECOVERY_NS / SETTLE_NS {
        if cluster.replicas.iter().any(|host| host.is_correct() && host.recovers) {
            pass(cluster, SETTLE_NS, unordered)?;
        }
    }
    if cluster.replicas.iter().any(|host| host.is_correct() && host.recovers) {
        return Err(format!("a replica does not recover\n{}", standing(cluster)));
    }
    let demoted = |host: &ReplicaHost| host.orderer.replica().demoted_clients().map(|id| usize::from(id.0)).collect();
    for host in cluster.replicas.iter().filter(|host| host.is_correct()) {
        let demoted: Vec<usize> = demoted(host);
        if demoted.iter().any(|client| Some(*client) != spoiler) {
            return Err(format!("{} has {demoted:?} demoted, of which none spoilt a tag but {spoiler:?}", host.id));
        }
    }
    if !even_out(cluster, unordered)? {
        Err(format!("a correct replica stays behind\n{}", standing(cluster)))
    } else {
        Ok(())
    }
}

/// For a while some replicas and the others do not hear each other: one, the primary, or half of them. So much is asked for meanwhile that who is cut
/// off may fall out of the others' windows, and needs their state.
fn cut_off(cluster: &mut Cluster, random: &mut Random, unordered: bool) -> Result<(), String> {
    for _ in 0..1 + random.below(3 * cluster.settings.checkpoint_interval as usize) {
        let text = format!("{}", cluster.clients[0].submitted);
        cluster.append(0, vec![text.into_bytes()])?;
    }
    let replicas = cluster.settings.replicas;
    let primary =
        cluster.replicas.iter().map(|host| host.orderer.replica().view().0).max().unwrap_or(0) as usize % replicas;
    let some = match random.below(3) {
        0 => ReplicaSet::only(ReplicaId(primary as u8)),
        1 => ReplicaSet::only(ReplicaId(random.below(replicas) as u8)),
        _ => ReplicaSet(random.draw() as u16 & ReplicaSet::first(replicas).0),
    };
    let side = |inside: bool| {
        let all = ReplicaSet::first(replicas).iter();
        Some(all.filter(|id| some.contains(*id) == inside).map(Principal::Replica).collect())
    };
    cluster.network.block(Filter { from: side(true), to: side(false), ..Filter::default() });
    cluster.network.block(Filter { from: side(false), to: side(true), ..Filter::default() });
    pass(cluster, random.below(400) as u64 * MILLISECOND_NS, unordered)?;
    cluster.network.unblock();
    // Time for heartbeats: cut off again at once, a replica would be silent for more than a second in all.
    pass(cluster, 400 * MILLISECOND_NS, unordered)
}

/// Some processes of replicas are killed and others begin: with what is durable any number, crashed ones among them; without as many as
/// the protocol bears, those that are crashed or have not recovered from an earlier time among them.
fn restart_some(cluster: &mut Cluster, random: &mut Random) -> Result<(), String> {
    let (replicas, faults) = (cluster.settings.replicas, cluster.settings.quorum().faults());
    let count = if random.percent(20) { replicas } else { 1 + random.below(2) };
    for _ in 0..count {
        let at = random.below(replicas);
        let host = &cluster.replicas[at];
        if !host.is_correct() && !host.is_crashed() {
            continue;
        }
        let wrong = |host: &&ReplicaHost| host.id.0 as usize != at && (!host.is_correct() || host.recovers);
        let others = cluster.replicas.iter().filter(wrong).count();
        let lost = random.percent(25);
        if others < faults || (!lost && host.disk.remembers()) {
            cluster.restart_replica(at, lost)?;
        }
    }
    Ok(())
}

/// For a while a disk writes nothing.
fn stall_disk(cluster: &mut Cluster, random: &mut Random, unordered: bool) -> Result<(), String> {
    let at = random.below(cluster.settings.replicas);
    cluster.replicas[at].disk.hold(true);
    pass(cluster, random.below(200) as u64 * MILLISECOND_NS, unordered)?;
    cluster.replicas[at].disk.hold(false);
    Ok(())
}

/// A client's process ends when every replica has what it sent.
fn restart_in_peace(cluster: &mut Cluster, client: usize, random: &mut Random, unordered: bool) -> Result<(), String> {
    let unkind = (cluster.network.loss_percent, cluster.network.duplicate_percent);
    (cluster.network.loss_percent, cluster.network.duplicate_percent) = (0, 0);
    pass(cluster, SETTLE_NS, unordered)?;
    cluster.restart_client(client, SKEW_NS - random.below(2 * SKEW_NS as usize) as i64)?;
    (cluster.network.loss_percent, cluster.network.duplicate_percent) = unkind;
    Ok(())
}

/// Waits until everything is answered and all correct replicas are equally far; `false` if that takes too long.
fn even_out(cluster: &mut Cluster, unordered: bool) -> Result<bool, String> {
    for _ in 0..SETTLE_NS / (10 * MILLISECOND_NS) {
        let waits = cluster.clients.iter().any(|client| client.outstanding() > 0);
        let mut executed = cluster.replicas.iter().filter(|host| host.is_correct()).map(|host| host.executed);
        let first = executed.next().expect("most replicas are correct");
        if !waits && executed.all(|other| other == first) {
            return Ok(true);
        }
        pass(cluster, 10 * MILLISECOND_NS, unordered)?;
    }
    Ok(false)
}

/// One more replica stops, if the protocol bears it: the present primary or another. What a liar said outlives it, so that it must not come back as a correct one.
fn crash_one(cluster: &mut Cluster, random: &mut Random) {
    let (replicas, faults) = (cluster.settings.replicas, cluster.settings.quorum().faults());
    let view = cluster.replicas.iter().map(|host| host.orderer.replica().view().0).max().unwrap_or(0);
    let at = if random.percent(60) { view as usize % replicas } else { random.below(replicas) };
    let faulty = cluster.replicas.iter().filter(|host| !host.is_correct() || host.recovers).count();
    if faulty < faults && cluster.replicas[at].is_correct() {
        cluster.replicas[at].fault = Some(Fault::new(Behaviour::Crashed));
    }
}

/// A faulty replica lies about views.
fn lie_one(cluster: &mut Cluster, random: &mut Random) {
    let speaks = |fault: &Fault| !matches!(fault.behaviour, Behaviour::Silent | Behaviour::GarbageTags);
    let liars: Vec<_> =
        cluster.replicas.iter().filter(|host| host.fault.as_ref().is_some_and(speaks)).map(|host| host.id).collect();
    if !liars.is_empty() {
        lie(cluster, liars[random.below(liars.len())], random);
    }
}

fn behaviour(random: &mut Random) -> Behaviour {
    match random.below(5) {
        0 => Behaviour::Silent,
        1 => Behaviour::GarbageTags,
        2 => Behaviour::Crashed,
        3 => Behaviour::Scripted,
        _ => Behaviour::Equivocates(ReplicaSet(random.draw() as u16)),
    }
}

fn pass(cluster: &mut Cluster, duration_ns: u64, unordered: bool) -> Result<(), String> {
    if unordered { cluster.run_unordered(duration_ns) } else { cluster.run(duration_ns) }
}

/// Where everybody is, and what goes on then: what a failed seed has to say.
fn standing(cluster: &mut Cluster) -> String {
    let mut text = format!("{:?}, loss {}%\n", cluster.settings, cluster.network.loss_percent);
    for host in &cluster.replicas {
        let (replica, fault) = (host.orderer.replica(), host.fault.as_ref().map(|fault| fault.behaviour));
        let (view, active) = (replica.view(), if replica.is_active() { "in" } else { "wants" });
        let (executed, stable) = (replica.executed(), replica.stable());
        text += &format!("  {}: {active} v{view}, executed {executed}, stable {stable}, {fault:?}\n", host.id);
        if host.recovers {
            text += "     it recovers\n";
        }
    }
    for host in &cluster.clients {
        text += &format!("  c{}: accepted {}, waits for {}\n", host.id, host.accepted, host.outstanding());
    }
    cluster.begin(Detail::Full);
    let outcome = cluster.run(AFTERMATH_NS);
    let said = cluster.end();
    text + said.as_str() + &outcome.err().unwrap_or_default()
}
