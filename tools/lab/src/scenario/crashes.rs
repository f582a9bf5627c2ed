//! Processes that die, sleep and start again.

use super::{CATCH_UP, FAILOVER, Scenario, When, standard};
use crate::run::{Run, Setup};
use logothete::failure::Failure;
use logothete_engine::cluster::Journal;
use logothete_engine::replica::Progress;
use std::time::{Duration, Instant};

/// How often something happens in a scenario that repeats it.
const TIMES: u32 = 4;

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "RP-04",
        name: "kill-primary",
        about: "SIGKILL of the primary every 5 s, each restarted after 1 s",
        seconds: 35,
        when: When::Ci,
        setup: standard,
        conduct: kill_primary,
    },
    Scenario {
        id: "RP-05",
        name: "kill-backup",
        about: "SIGKILL of a random backup every 2 s, each restarted: the view stays",
        seconds: 30,
        when: When::All,
        setup: standard,
        conduct: kill_backup,
    },
    Scenario {
        id: "RP-05",
        name: "crash-loop",
        about: "SIGKILL of a backup 100 ms after each start, for 10 s: the others go on, and so does it in the end",
        seconds: 28,
        when: When::All,
        setup: standard,
        conduct: crash_loop,
    },
    Scenario {
        id: "RP-06",
        name: "pause",
        about: "SIGSTOP of the primary for 3 s, then of a backup for 6 s: one view change, both catch up",
        seconds: 32,
        when: When::Ci,
        setup: standard,
        conduct: pause,
    },
    Scenario {
        id: "RP-07",
        name: "power-cut",
        about: "SIGKILL of all replicas at once, restarted in random order, three times: nothing accepted is lost",
        seconds: 30,
        when: When::Ci,
        setup: standard,
        conduct: power_cut,
    },
    Scenario {
        id: "RP-08",
        name: "power-cut-memory",
        about: "the same without a journal: the cluster says that it has forgotten, and answers nothing",
        seconds: 15,
        when: When::All,
        setup: |_| Setup { journal: Journal::Off, survives: false, ..Setup::default() },
        conduct: power_cut_memory,
    },
    Scenario {
        id: "RP-09",
        name: "rolling-durable",
        about: "SIGTERM and restart of each replica in turn, twice, with a journal",
        seconds: 40,
        when: When::All,
        setup: standard,
        conduct: rolling,
    },
    Scenario {
        id: "RP-09",
        name: "rolling-memory",
        about: "SIGTERM and restart of each replica in turn, twice, without a journal",
        seconds: 40,
        when: When::All,
        setup: |_| Setup { journal: Journal::Off, ..Setup::default() },
        conduct: rolling,
    },
    Scenario {
        id: "RP-21",
        name: "wiped-disk",
        about: "a replica loses its disk and recovers from the others under load; one of these is killed meanwhile",
        seconds: 32,
        when: When::All,
        setup: standard,
        conduct: wiped_disk,
    },
];

fn kill_primary(run: &mut Run<'_>) -> Result<(), Failure> {
    run.claim_gap(FAILOVER);
    let begin = Instant::now();
    for _ in 0..TIMES {
        let primary = run.primary()?;
        run.kill(primary)?;
        run.pass(Duration::from_secs(1))?;
        run.restart(primary, false)?;
        run.await_back(primary, CATCH_UP)?;
        run.pass(Duration::from_secs(4))?;
    }
    let rate = run.goodput_between(begin, Instant::now())?;
    run.claim_goodput("a dead primary every 5 s", rate, 0.4);
    // More than one a kill would be a choice of primaries that are not there.
    run.claim_views(2 * u64::from(TIMES));
    Ok(())
}

fn kill_backup(run: &mut Run<'_>) -> Result<(), Failure> {
    run.claim_views(0);
    let begin = Instant::now();
    for _ in 0..2 * TIMES {
        let backup = run.any_backup()?;
        run.kill(backup)?;
        run.pass(Duration::from_millis(200))?;
        run.restart(backup, false)?;
        run.await_back(backup, CATCH_UP)?;
        run.pass(Duration::from_millis(1500))?;
    }
    let rate = run.goodput_between(begin, Instant::now())?;
    run.claim_goodput("a dead backup every 2 s", rate, 0.4);
    Ok(())
}

fn crash_loop(run: &mut Run<'_>) -> Result<(), Failure> {
    run.claim_views(0);
    let backup = run.any_backup()?;
    let (begin, mut times) = (Instant::now(), 0);
    while begin.elapsed() < Duration::from_secs(10) {
        run.kill(backup)?;
        run.restart(backup, false)?;
        run.pass(Duration::from_millis(100))?;
        times += 1;
    }
    let rate = run.goodput_between(begin, Instant::now())?;
    run.claim_goodput("a backup that dies again and again", rate, 0.3);
    run.require(times >= 20, || format!("it came to die {times} times only"));
    run.await_back(backup, CATCH_UP)
}

fn pause(run: &mut Run<'_>) -> Result<(), Failure> {
    run.claim_gap(FAILOVER);
    run.claim_views(1);
    let primary = run.primary()?;
    run.tell(|| format!("SIGSTOP of replica {primary}, the primary"));
    run.cluster.pause(primary);
    run.pass(Duration::from_secs(3))?;
    run.tell(|| format!("SIGCONT of replica {primary}"));
    run.cluster.resume(primary);
    run.await_back(primary, CATCH_UP)?;
    let backup = run.any_backup()?;
    run.tell(|| format!("SIGSTOP of replica {backup}, a backup"));
    run.cluster.pause(backup);
    let rate = run.goodput_over(Duration::from_secs(6))?;
    run.claim_goodput("a silent backup", rate, 0.4);
    run.tell(|| format!("SIGCONT of replica {backup}"));
    run.cluster.resume(backup);
    run.await_back(backup, CATCH_UP)
}

fn power_cut(run: &mut Run<'_>) -> Result<(), Failure> {
    for _ in 0..3 {
        run.tell(|| String::from("SIGKILL of all replicas"));
        run.cluster.kill_replicas()?;
        for id in run.chance.order(4) {
            run.restart(id, false)?;
        }
        run.await_answer("after the power cut", CATCH_UP)?;
        run.pass(Duration::from_secs(2))?;
    }
    Ok(())
}

fn power_cut_memory(run: &mut Run<'_>) -> Result<(), Failure> {
    run.tell(|| String::from("SIGKILL of all replicas"));
    run.cluster.kill_replicas()?;
    for id in run.chance.order(4) {
        run.restart(id, true)?;
    }
    let begin = Instant::now();
    run.pass(Duration::from_secs(3))?;
    let rate = run.goodput_between(begin, Instant::now())?;
    run.require(rate == 0.0, || format!("a cluster without memory answered {rate:.0} operations/s"));
    let forgot = run.count(|status| status.progress == Progress::Recovering)?;
    run.require(forgot == 4, || format!("{forgot} of 4 replicas say that they have forgotten"));
    let told = run.cluster.last_words().contains("more than f replicas have forgotten");
    run.require(told, || String::from("no replica told its operator that too many have forgotten"));
    Ok(())
}

fn rolling(run: &mut Run<'_>) -> Result<(), Failure> {
    run.claim_gap(FAILOVER);
    let begin = Instant::now();
    for id in [0, 1, 2, 3, 0, 1, 2, 3] {
        run.tell(|| format!("SIGTERM of replica {id}"));
        run.cluster.terminate(id)?;
        run.restart(id, false)?;
        run.await_back(id, CATCH_UP)?;
        run.pass(Duration::from_millis(500))?;
    }
    let rate = run.goodput_between(begin, Instant::now())?;
    run.claim_goodput("rolling restart", rate, 0.3);
    Ok(())
}

fn wiped_disk(run: &mut Run<'_>) -> Result<(), Failure> {
    let (guest, session) = run.start_guest()?;
    let filling = super::attacks::fill(&session)?;
    run.tell(|| String::from("the state grows"));
    run.pass(Duration::from_secs(4))?;
    drop(filling);
    drop(guest);
    let wiped = run.any_backup()?;
    run.kill(wiped)?;
    run.cluster.wipe(wiped)?;
    let begin = Instant::now();
    run.restart(wiped, true)?;
    run.pass(Duration::from_millis(50))?;
    let source = (0..4).find(|id| *id != wiped && Ok(*id) != run.primary().map_err(|_| ()));
    let source = source.expect("there are two other backups");
    run.kill(source)?;
    run.restart(source, false)?;
    run.await_back(source, CATCH_UP)?;
    run.await_back(wiped, CATCH_UP * 2)?;
    run.pass(Duration::from_secs(3))?;
    let rate = run.goodput_between(begin, Instant::now())?;
    run.claim_goodput("state transfer", rate, 0.2);
    // Two are away at once, one more than is borne: until one is back nothing is decided, and the time-outs of the others double.
    run.claim_views(3);
    Ok(())
}
