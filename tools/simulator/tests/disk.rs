//! Disks that tear, rot, stall and fail, under the engine's own journal and checkpoint store.

use logothete_crypto::Digest;
use logothete_engine::journal::{Journal, JournalError, Mark, Origin, Record, Salt};
use logothete_engine::numbers::ReplicaId;
use logothete_engine::pipeline::MemoryConfig;
use logothete_simulator::adversary::faults::{Behaviour, Fault};
use logothete_simulator::world::cluster::Cluster;
use logothete_simulator::world::disk::faults::{DiskFault, DiskFaults};
use logothete_simulator::world::disk::{Disk, Loss};
use logothete_simulator::world::hosts::ReplicaHost;
use logothete_simulator::world::settings::Settings;
use std::path::Path;

const MILLISECOND_NS: u64 = 1_000_000;

/// So many that checkpoints are written too.
const ROUNDS: u64 = 24;

fn config(disk: &Disk) -> MemoryConfig {
    disk.config(ReplicaId(1), Digest([7; 32]), 64, 512)
}

/// A journal with several segments; the last group of it, which begins a segment if `begins`, is written and not waited for.
fn journal_with_a_write_under_way(begins: bool) -> Disk {
    let disk = Disk::new(7);
    let journal = &config(&disk).journal;
    let mut writing =
        Journal::create(Path::new("/data/journal"), journal, Origin::Birth, Salt::draw(&mut disk.entropy())).unwrap();
    let blocks = journal.segment_bytes as usize / 4096;
    // Each group takes a block, and the first of a segment one more for the header.
    let groups = if begins { 2 * (blocks - 1) } else { 2 * (blocks - 1) + 3 };
    for group in 0..=groups as u64 {
        for record in 0..3 {
            writing.append(&Record::Body { packet: &[group as u8; 100][..60 + record] }).unwrap();
        }
        disk.set_time(group * MILLISECOND_NS);
        assert_eq!(writing.poll(), Mark(3 * group));
    }
    disk
}

/// `protocol.md JR-3`, D-01: wherever the last write is cut, the engine reads what the disk holds, and no less than what was waited for.
#[test]
fn a_write_cut_at_any_byte_is_whole_or_gone() {
    for begins in [false, true] {
        let disk = journal_with_a_write_under_way(begins);
        let durable = disk.durable_from(0).len();
        let mut whole = 0;
        for cut in 0..=2 * 4096 {
            let copy = disk.copy(0);
            copy.crash_with(Loss::After(cut));
            assert_eq!(copy.unread(), Ok(0), "cut at {cut}");
            match copy.durable_from(0).len() - durable {
                0 => {}
                3 => whole += 1,
                other => panic!("{other} records of three, cut at {cut}"),
            }
        }
        // What was cut may have been zeros anyway.
        assert!(whole > 0 && whole < 2 * 4096 + 1, "{whole}");
    }
}

/// `protocol.md JR-3`, D-03: whichever sectors of it are left.
#[test]
fn a_write_of_which_any_sectors_are_left_is_whole_or_gone() {
    for begins in [false, true] {
        let disk = journal_with_a_write_under_way(begins);
        let durable = disk.durable_from(0).len();
        for seed in 0..300 {
            let copy = disk.copy(seed);
            copy.crash_with(Loss::Sectors);
            assert_eq!(copy.unread(), Ok(0), "seed {seed}");
            assert!([0, 3].contains(&(copy.durable_from(0).len() - durable)), "seed {seed}");
        }
    }
}

/// `protocol.md JR-3`, D-02, D-04: a file of another size, and what has anything valid behind it is never taken for a torn end.
#[test]
fn damage_in_the_middle_is_refused() {
    let disk = journal_with_a_write_under_way(false);
    disk.crash_with(Loss::Nothing);
    let kinds = [DiskFault::Rot, DiskFault::Zeroed, DiskFault::Stale, DiskFault::Misdirected, DiskFault::Short];
    for kind in kinds {
        for seed in 0..200 {
            let copy = disk.copy(seed);
            let damaged = copy.damage(kind).expect("there are groups");
            let opened = Journal::open(Path::new("/data/journal"), &config(&copy).journal, Mark(1), &mut |_, _| {});
            let refused = match kind {
                DiskFault::Short => matches!(opened, Err(JournalError::Host(_))),
                _ => matches!(opened, Err(JournalError::Corrupt { .. })),
            };
            assert!(refused, "{damaged:?}: {opened:?}");
        }
    }
}

/// `protocol.md JR-3`: the limit of it. The last group is all that is lost, and nobody is told.
#[test]
fn damage_to_the_end_takes_the_last_group_only() {
    let disk = journal_with_a_write_under_way(false);
    disk.crash_with(Loss::Nothing);
    for seed in 0..50 {
        let copy = disk.copy(seed);
        copy.damage(DiskFault::End).expect("there are groups");
        assert_eq!(copy.unread(), Ok(3), "seed {seed}");
    }
}

/// `protocol.md JR-5`, D-10
#[test]
fn another_replicas_journal_is_refused() {
    let disk = journal_with_a_write_under_way(false);
    disk.crash_with(Loss::Nothing);
    disk.damage(DiskFault::Foreign).expect("there is a journal");
    let opened = Journal::open(Path::new("/data/journal"), &config(&disk).journal, Mark(1), &mut |_, _| {});
    let error = opened.unwrap_err();
    assert!(matches!(error, JournalError::Foreign(_)), "{error}");
    assert!(error.to_string().contains("replica 0") && error.to_string().contains("replica 1"), "{error}");
}

fn cluster(seed: u64) -> Cluster {
    let settings = Settings {
        journal: true,
        checkpoint_interval: 2,
        tentative: seed.is_multiple_of(3),
        seed,
        ..Settings::default()
    };
    let mut cluster = Cluster::new(settings);
    cluster.open_clients().unwrap();
    cluster
}

/// Lets time pass until everything is answered.
fn complete(cluster: &mut Cluster) -> Result<(), String> {
    for _ in 0..1500 {
        if cluster.clients.iter().all(|client| client.outstanding() == 0) {
            cluster.checks.on_end();
            return cluster.checks.verdict();
        }
        cluster.run(10 * MILLISECOND_NS)?;
        for at in 0..cluster.replicas.len() {
            if cluster.replicas[at].is_crashed() {
                cluster.restart_replica(at, false)?;
            }
        }
    }
    let standing = |host: &ReplicaHost| {
        let (replica, fault) = (host.orderer.replica(), host.fault.as_ref().map(|fault| fault.behaviour));
        let (view, active) = (replica.view(), if replica.is_active() { "in" } else { "wants" });
        let (executed, stable) = (replica.executed(), replica.stable());
        let (failed, recovers) = (host.failed, host.recovers);
        format!(
            "{active} v{view}, executed {executed}, stable {stable}, {fault:?}, failed {failed}, recovers {recovers}"
        )
    };
    let standing: Vec<String> = cluster.replicas.iter().map(standing).collect();
    Err(format!("what clients submitted does not complete\n{}", standing.join("\n")))
}

/// A run in which some disks' power fails after so many steps; whoever is down is started again a little later.
fn run_with_cuts(cuts: &[(usize, u64)]) -> Result<Vec<u64>, String> {
    let mut cluster = cluster(3);
    for host in &cluster.replicas {
        host.disk.set_faults(DiskFaults::of(&[DiskFault::Torn, DiskFault::Reordered]));
    }
    let before: Vec<u64> = cluster.replicas.iter().map(|host| host.disk.steps()).collect();
    for &(at, steps) in cuts {
        cluster.replicas[at].disk.cut_after(steps);
    }
    for round in 0..ROUNDS {
        cluster.append(0, vec![vec![round as u8; 500]; 2])?;
        // The first primary stops for a while: what is said of a view is a promise too.
        let stopped = (5..8).contains(&round);
        if round == 5 {
            cluster.replicas[0].fault = Some(Fault::new(Behaviour::Crashed));
        }
        for _ in 0..4 {
            cluster.run(if stopped { 15 } else { 1 } * MILLISECOND_NS)?;
        }
        for at in 0..cluster.replicas.len() {
            if cluster.replicas[at].is_crashed() && !(stopped && at == 0) {
                cluster.restart_replica(at, false)?;
            }
        }
    }
    complete(&mut cluster)?;
    let checkpoints: Vec<u64> = cluster.replicas.iter().map(|host| host.disk.checkpoint()).collect();
    assert!(!cuts.is_empty() || checkpoints.iter().all(|number| *number > 0), "none is written: {checkpoints:?}");
    let after = cluster.replicas.iter().map(|host| host.disk.steps());
    Ok(after.zip(before).map(|(after, before)| after - before).collect())
}

/// C-08: the power of one replica, or of all at once, fails before and after each thing that a disk does; nobody contradicts what it said, and
/// everything completes.
#[test]
fn power_fails_at_every_step_and_nobody_contradicts_itself() {
    let steps = run_with_cuts(&[]).unwrap();
    let mut failures = Vec::new();
    let mut play = |cuts: &[(usize, u64)]| {
        failures.extend(run_with_cuts(cuts).err().map(|failure| format!("{cuts:?}: {failure}")));
    };
    for at in [0, 2] {
        (0..steps[at]).for_each(|cut| play(&[(at, cut)]));
    }
    for cut in (0..steps[1]).step_by(3) {
        play(&[(0, cut), (1, cut), (2, cut), (3, cut)]);
    }
    assert!(failures.is_empty(), "{steps:?}\n{}", failures.join("\n"));
}
