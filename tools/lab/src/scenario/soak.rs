//! Everything in turn, for long: what leaks shows here.

use super::{CATCH_UP, FAILOVER, Scenario, When, standard};
use crate::network::Host::{self, Driver, Replica};
use crate::network::rules::{Rule, for_all, partition};
use crate::run::Run;
use logothete::failure::Failure;
use logothete_bench::load::Pace;
use logothete_bench::processes::usage;
use std::time::{Duration, Instant};

/// How long it goes on.
const LENGTH: Duration = Duration::from_secs(1800);

/// Descriptors may come and go with sessions and files; more than so many more are a leak.
const DESCRIPTORS_MORE: usize = 8;

pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "RP-26",
    name: "soak",
    about: "30 minutes of kills, pauses, loss, partitions and loose cables in random turn: memory and descriptors stay",
    seconds: 1830,
    when: When::Named,
    setup: |seed| {
        let mut setup = standard(seed);
        // The history of half an hour is kept in a file, and judged in memory.
        setup.load.pace = Pace::Open { rate_per_s: 500.0 };
        setup
    },
    conduct: soak,
}];

fn soak(run: &mut Run<'_>) -> Result<(), Failure> {
    let begin = Instant::now();
    let mut first = None;
    while begin.elapsed() < LENGTH {
        match run.chance.below(6) {
            0 => kill(run)?,
            1 => pause(run)?,
            2 => lose(run)?,
            3 => separate(run)?,
            4 => flap(run)?,
            _ => run.pass(Duration::from_secs(5))?,
        }
        run.await_answer("after a fault", FAILOVER * 2)?;
        for id in 0..4 {
            run.await_back(id, CATCH_UP * 2)?;
        }
        run.pass(Duration::from_secs(3))?;
        let footprint = footprint(run)?;
        // After a tenth of the time everything has been used once.
        if first.is_none() && begin.elapsed() > LENGTH / 10 {
            first = Some(footprint);
        }
    }
    let (Some((rss, descriptors)), (rss_last, descriptors_last)) = (first, footprint(run)?) else {
        return Err(Failure::Failed(String::from("the soak was too short to compare anything")));
    };
    run.tell(|| {
        format!("driver: {rss} bytes and {descriptors} descriptors; in the end {rss_last} and {descriptors_last}")
    });
    // The driver is never restarted: 2 %, and a megabyte of what the system counts late.
    run.require(rss_last <= rss + rss / 50 + (1 << 20), || format!("the driver grew from {rss} to {rss_last} bytes"));
    run.require(descriptors_last <= descriptors + DESCRIPTORS_MORE, || {
        format!("the driver had {descriptors} descriptors, and has {descriptors_last}")
    });
    Ok(())
}

fn kill(run: &mut Run<'_>) -> Result<(), Failure> {
    let victim = run.chance.below(4);
    run.kill(victim)?;
    run.pass(Duration::from_secs(1))?;
    run.restart(victim, false)
}

fn pause(run: &mut Run<'_>) -> Result<(), Failure> {
    let victim = run.chance.below(4);
    run.tell(|| format!("replica {victim} sleeps"));
    run.cluster.pause(victim);
    run.pass(Duration::from_secs(2))?;
    run.cluster.resume(victim);
    Ok(())
}

fn lose(run: &mut Run<'_>) -> Result<(), Failure> {
    let percent = 1 + run.chance.below(10) as u32;
    run.tell(|| format!("{percent} % of all packets are lost"));
    run.network().set_rules(&for_all(|host| Rule::loss(host, percent)))?;
    run.pass(Duration::from_secs(3))?;
    run.network().set_rules(&[])
}

fn separate(run: &mut Run<'_>) -> Result<(), Failure> {
    let victim = run.chance.below(4);
    run.tell(|| format!("replica {victim} is alone"));
    let others: Vec<Host> = (0..4).filter(|id| *id != victim).map(Replica).chain([Driver]).collect();
    run.network().set_rules(&partition(&[Replica(victim)], &others))?;
    run.pass(Duration::from_secs(2))?;
    run.network().set_rules(&[])
}

fn flap(run: &mut Run<'_>) -> Result<(), Failure> {
    let victim = run.chance.below(4);
    run.tell(|| format!("the cable of replica {victim} is loose"));
    for up in [false, true, false, true] {
        run.network().set_link(Replica(victim), up)?;
        run.pass(Duration::from_millis(200))?;
    }
    Ok(())
}

/// Resident bytes and open descriptors of the driver.
fn footprint(run: &Run<'_>) -> Result<(u64, usize), Failure> {
    let processes = run.cluster.processes();
    let (_, driver) = processes.last().expect("the driver is among them");
    let usage = usage(driver.pid).map_err(|error| Failure::Failed(error.to_string()))?;
    let place = format!("/proc/{}/fd", driver.pid);
    let descriptors = std::fs::read_dir(&place).map_err(|error| Failure::of_file("read", place.as_ref(), &error))?;
    Ok((usage.rss_bytes, descriptors.count()))
}
