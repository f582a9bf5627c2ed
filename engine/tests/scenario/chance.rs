//! Chance in place of a script: one seed, one cluster, one faulty backup, and a network that loses, doubles and reorders.
//!
//! With a correct primary everything that clients submit must complete, and once the network is kind again every correct replica must come to
//! where the others are.

use super::cluster::Cluster;
use super::faults::{Behaviour, Fault};
use super::hosts::Settings;
use super::network::Filter;
use super::random::Random;
use super::report::Detail;
use logothete_engine::numbers::{Principal, ReplicaId, ReplicaSet};

const MILLISECOND_NS: u64 = 1_000_000;

/// The longest that a run may take, in virtual time.
const PATIENCE_NS: u64 = 60_000 * MILLISECOND_NS;

/// The most that a replica's or a client's wall clock is off.
const SKEW_NS: i64 = 300_000_000;

/// How long replicas have to even out when nothing is lost any more.
const SETTLE_NS: u64 = 3_000 * MILLISECOND_NS;

/// How much of what goes on after a failure is told.
const AFTERMATH_NS: u64 = 300 * MILLISECOND_NS;

/// Plays one seed.
///
/// # Errors
/// What a checker found, or what did not complete.
pub fn play(seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed);
    let replicas = if random.percent(15) { 7 } else { 4 };
    let settings = Settings {
        replicas,
        clients: 1 + random.below(2),
        checkpoint_interval: [2, 4, 8, 16][random.below(4)],
        pipeline_depth: 1 + random.below(4) as u64,
        batch_requests_max: 1 + random.below(8),
        client_window: 1 + random.below(8) as u64,
        seed: random.next(),
        ..Settings::default()
    };
    let mut cluster = Cluster::new(settings);
    cluster.open_clients()?;
    for _ in 0..random.below(settings.quorum().faults() + 1) {
        let at = 1 + random.below(replicas - 1);
        cluster.replicas[at].fault = Some(Fault::new(behaviour(&mut random)));
    }
    cluster.network.loss_percent = [0, 5, 15, 30][random.below(4)];
    cluster.network.duplicate_percent = [0, 10][random.below(2)];
    let unordered = random.percent(60);
    for host in &mut cluster.replicas {
        // At most 600 ms between two clocks: beyond the bound of 500 a proposal waits, and is accepted in the end.
        host.skew_ns = if random.percent(20) { SKEW_NS - random.below(2 * SKEW_NS as usize) as i64 } else { 0 };
    }
    for _ in 0..1 + random.below(30) {
        if random.percent(10) {
            cut_off_one(&mut cluster, &mut random, unordered)?;
        }
        let client = random.below(settings.clients);
        if random.percent(3) {
            restart_in_peace(&mut cluster, client, &mut random, unordered)?;
        }
        for _ in 0..1 + random.below(4) {
            let text = format!("{}", cluster.clients[client].submitted);
            cluster.append(client, vec![text.into_bytes(); 1 + random.below(3)])?;
        }
        pass(&mut cluster, random.below(20) as u64 * MILLISECOND_NS / 4, unordered)?;
    }
    let begun_ns = cluster.wall_ns();
    while cluster.clients.iter().any(|client| client.outstanding() > 0) {
        pass(&mut cluster, 10 * MILLISECOND_NS, unordered)?;
        if cluster.wall_ns() - begun_ns > PATIENCE_NS {
            return Err(format!("what clients submitted does not complete\n{}", standing(&mut cluster)));
        }
    }
    (cluster.network.loss_percent, cluster.network.duplicate_percent) = (0, 0);
    pass(&mut cluster, SETTLE_NS, unordered)?;
    let mut executed = cluster.replicas.iter().filter(|host| host.is_correct()).map(|host| host.executed);
    let first = executed.next().expect("most replicas are correct");
    if executed.all(|other| other == first) {
        Ok(())
    } else {
        Err(format!("a correct replica stays behind\n{}", standing(&mut cluster)))
    }
}

/// For a while, less than makes the others give it up, one replica hears and says nothing.
fn cut_off_one(cluster: &mut Cluster, random: &mut Random, unordered: bool) -> Result<(), String> {
    let one = Some(vec![Principal::Replica(ReplicaId(random.below(cluster.settings.replicas) as u8))]);
    cluster.network.block(Filter { from: one.clone(), ..Filter::default() });
    cluster.network.block(Filter { to: one, ..Filter::default() });
    pass(cluster, random.below(400) as u64 * MILLISECOND_NS, unordered)?;
    cluster.network.unblock();
    // Time for heartbeats: cut off again at once, a replica would be silent for more than a second in all.
    pass(cluster, 400 * MILLISECOND_NS, unordered)
}

/// A client's process ends when every replica has what it sent. A request that reached the primary alone, of a client whose former keys nobody
/// has any more, stops this version (`24_client_restarts_too_early.txt`).
fn restart_in_peace(cluster: &mut Cluster, client: usize, random: &mut Random, unordered: bool) -> Result<(), String> {
    let unkind = (cluster.network.loss_percent, cluster.network.duplicate_percent);
    (cluster.network.loss_percent, cluster.network.duplicate_percent) = (0, 0);
    pass(cluster, SETTLE_NS, unordered)?;
    cluster.restart_client(client, SKEW_NS - random.below(2 * SKEW_NS as usize) as i64)?;
    (cluster.network.loss_percent, cluster.network.duplicate_percent) = unkind;
    Ok(())
}

fn behaviour(random: &mut Random) -> Behaviour {
    match random.below(3) {
        0 => Behaviour::Silent,
        1 => Behaviour::GarbageTags,
        _ => Behaviour::Equivocates(ReplicaSet(random.next() as u16)),
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
        text += &format!("  {}: executed {}, stable {}, {fault:?}\n", host.id, replica.executed(), replica.stable());
    }
    for host in &cluster.clients {
        text += &format!("  c{}: accepted {}, waits for {}\n", host.id, host.accepted, host.outstanding());
    }
    cluster.begin(Detail::Full);
    let outcome = cluster.run(AFTERMATH_NS);
    let said = cluster.end();
    text + said.as_str() + &outcome.err().unwrap_or_default()
}
