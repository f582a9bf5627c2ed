//! Hosts in trouble: full disks, busy processors, keys that change, and a replica that runs twice.

use super::{CATCH_UP, Scenario, When, attacks, standard};
use crate::hostile::busy::BusyLoops;
use crate::network::rules::{Rule, for_all};
use crate::network::{Host, address, command};
use crate::process;
use crate::run::{Run, Setup};
use logothete::failure::Failure;
use std::time::Duration;

/// The replica whose disk is small: a backup in view 0.
const SMALL: usize = 2;

/// Room for all that a replica writes in a scenario.
const DISK_BYTES: u64 = 1 << 30;

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "RP-15",
        name: "twin",
        about: "a running replica is started a second time on its directory: refused, and nobody notices",
        seconds: 18,
        when: When::All,
        setup: standard,
        conduct: twin,
    },
    Scenario {
        id: "RP-15",
        name: "twin-elsewhere",
        about: "a backup's files are copied to another host with its address and started there for 4 s",
        seconds: 24,
        when: When::All,
        setup: standard,
        conduct: twin_elsewhere,
    },
    Scenario {
        id: "RP-19",
        name: "full-disk",
        about: "a backup's disk is full: it promises nothing and says so, the others go on; with room it comes back",
        seconds: 45,
        when: When::Ci,
        setup: |_| Setup { small_disk: Some((SMALL, DISK_BYTES)), ..Setup::default() },
        conduct: full_disk,
    },
    Scenario {
        id: "RP-22",
        name: "rotation",
        about: "session keys change everywhere, three times, with 5 % loss",
        seconds: 22,
        when: When::All,
        setup: standard,
        conduct: rotation,
    },
    Scenario {
        id: "RP-24",
        name: "busy-host",
        about: "two busy loops beside the cluster for 10 s",
        seconds: 22,
        when: When::All,
        setup: standard,
        conduct: busy_host,
    },
];

fn twin(run: &mut Run<'_>) -> Result<(), Failure> {
    run.claim_views(0);
    let twice = run.any_backup()?;
    run.tell(|| format!("replica {twice} is started again while it runs"));
    let config = run.cluster.config().display().to_string();
    let inside = run.network().enter(Host::Replica(twice))?;
    let second = process::program(&["replica", "--config", &config, "--id", &twice.to_string()])?.output();
    drop(inside);
    let second = second.map_err(|error| Failure::Failed(format!("the twin could not be started: {error}")))?;
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    run.require(second.status.code() == Some(1), || format!("the twin ended with {}: {words}", second.status));
    run.require(words.contains("is in use by process"), || {
        format!("the twin does not say what keeps it from running: {words}")
    });
    let rate = run.goodput_over(Duration::from_secs(4))?;
    run.claim_goodput("a refused twin", rate, 0.4);
    Ok(())
}

/// Two processes with one identity are one faulty replica, whatever they do.
fn twin_elsewhere(run: &mut Run<'_>) -> Result<(), Failure> {
    let twice = run.any_backup()?;
    let config = run.cluster.config();
    let copy = tempfile::tempdir().map_err(|error| Failure::Failed(format!("no directory for a copy: {error}")))?;
    let source = format!("{}/.", config.parent().expect("it is in a directory").display());
    command("cp", ["-r", &source, &copy.path().display().to_string()])?;
    run.tell(|| format!("replica {twice} is started on another host, too, from a copy of its files"));
    let inside = run.network().enter(Host::Stranger)?;
    command("ip", ["address", "add", &format!("{}/24", address(Host::Replica(twice))), "dev", "eth0"])?;
    let config = copy.path().join("cluster.toml").display().to_string();
    let second = process::start(&["replica", "--config", &config, "--id", &twice.to_string()], run.stop_flag())?;
    let rate = run.goodput_over(Duration::from_secs(4))?;
    drop(second);
    command("ip", ["address", "delete", &format!("{}/24", address(Host::Replica(twice))), "dev", "eth0"])?;
    drop(inside);
    run.claim_goodput("a replica that runs twice", rate, 0.2);
    run.claim_views(1);
    // What its owner does when it is told of it. The other hosts take some time to forget at which port it last was.
    run.kill(twice)?;
    run.restart(twice, false)?;
    run.await_back(twice, CATCH_UP * 3)
}

fn full_disk(run: &mut Run<'_>) -> Result<(), Failure> {
    run.claim_views(1);
    let disk = run.disk.take().expect("the setup asks for it");
    let (guest, session) = run.start_guest()?;
    let filling = attacks::fill(&session)?;
    disk.resize(disk.used()?)?;
    run.tell(|| format!("the disk of replica {SMALL} is full"));
    let told = |run: &Run<'_>| run.cluster.last_words().contains("no room");
    for _ in 0..40 {
        if told(run) {
            break;
        }
        run.pass(Duration::from_millis(500))?;
    }
    let told = told(run);
    run.require(told, || String::from("no replica told its operator that its disk is full"));
    drop(filling);
    drop(guest);
    run.pass(Duration::from_secs(1))?;
    let rate = run.goodput_over(Duration::from_secs(4))?;
    run.claim_goodput("a full disk", rate, 0.4);
    disk.resize(DISK_BYTES)?;
    run.tell(|| format!("the disk of replica {SMALL} has room"));
    run.disk = Some(disk);
    run.await_back(SMALL, CATCH_UP * 3)
}

fn rotation(run: &mut Run<'_>) -> Result<(), Failure> {
    run.claim_views(2);
    run.network().set_rules(&for_all(|host| Rule::loss(host, 5)))?;
    let config = run.cluster.config().display().to_string();
    for _ in 0..3 {
        run.tell(|| String::from("all keys are changed"));
        let inside = run.network().enter(Host::Operator)?;
        let wish = process::program(&["rotate-keys", "--config", &config])?.output();
        drop(inside);
        let wish = wish.map_err(|error| Failure::Failed(format!("rotate-keys could not be started: {error}")))?;
        let words = String::from_utf8_lossy(&wish.stderr).into_owned();
        run.require(wish.status.success(), || format!("rotate-keys: {words}"));
        run.pass(Duration::from_secs(3))?;
    }
    let rate = run.goodput_over(Duration::from_secs(2))?;
    run.network().set_rules(&[])?;
    run.claim_goodput("loss and new keys", rate, 0.2);
    Ok(())
}

fn busy_host(run: &mut Run<'_>) -> Result<(), Failure> {
    run.claim_views(1);
    run.tell(|| String::from("two busy loops"));
    let loops = BusyLoops::start(2);
    let rate = run.goodput_over(Duration::from_secs(10))?;
    drop(loops);
    run.claim_goodput("busy loops", rate, 0.05);
    Ok(())
}
