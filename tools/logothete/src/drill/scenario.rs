//! The drills: what is done to a cluster, in which order, and what is waited for.

use super::run::Run;
use super::shared::Phase;
use super::story::seconds;
use crate::failure::Failure;
use std::time::Duration;

/// Which drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Drill {
    /// SIGKILL of the primary
    KillPrimary,
    /// SIGSTOP of the primary, and SIGCONT after --pause
    StopPrimary,
    /// SIGKILL of a backup
    KillBackup,
    /// SIGSTOP of a backup, and SIGCONT after --pause; it must catch up
    StopBackup,
    /// SIGKILL of the driver, and a new start; sessions must go on
    KillDriver,
    /// SIGKILL of all replicas and the driver at once, and a start on what their directories hold
    PowerCut,
    /// SIGTERM and a new start of each replica in turn
    RollingRestart,
    /// a replica starts again with nothing, and recovers from the others
    LostDisk,
    /// three faults a minute, in turn over kinds and replicas
    Soak,
    /// no fault at all: no view may change
    Quiet,
}

/// What a soak does to a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// SIGKILL, and a new start after --pause
    Kill,
    /// SIGSTOP, and SIGCONT after --pause
    Stop,
    /// SIGKILL, and a new start after --pause with nothing
    Rejoin,
}

impl Drill {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::KillPrimary => "kill-primary",
            Self::StopPrimary => "stop-primary",
            Self::KillBackup => "kill-backup",
            Self::StopBackup => "stop-backup",
            Self::KillDriver => "kill-driver",
            Self::PowerCut => "power-cut",
            Self::RollingRestart => "rolling-restart",
            Self::LostDisk => "lost-disk",
            Self::Soak => "soak",
            Self::Quiet => "quiet",
        }
    }

    /// How often it is done, where that can be chosen: by default.
    pub fn times_default(self) -> Option<u32> {
        match self {
            Self::KillPrimary => Some(10),
            Self::PowerCut => Some(20),
            Self::StopPrimary
            | Self::KillBackup
            | Self::StopBackup
            | Self::KillDriver
            | Self::RollingRestart
            | Self::LostDisk => Some(1),
            Self::Soak | Self::Quiet => None,
        }
    }

    /// How long a replica is away, where that can be chosen: by default.
    pub fn pause_default(self) -> Option<Duration> {
        match self {
            Self::StopPrimary | Self::LostDisk => Some(Duration::from_secs(1)),
            Self::StopBackup => Some(Duration::from_secs(30)),
            Self::Soak => Some(Duration::from_secs(5)),
            _ => None,
        }
    }

    /// How long it goes on, where that can be chosen: by default.
    pub fn duration_default(self) -> Option<Duration> {
        match self {
            Self::Soak => Some(Duration::from_secs(20 * 60)),
            Self::Quiet => Some(Duration::from_secs(10 * 60)),
            _ => None,
        }
    }

    /// Runs on the same cluster each time, instead of a fresh one.
    pub fn repeats_on_one_cluster(self) -> bool {
        self == Self::PowerCut
    }

    /// Faults that a primary does not see must change no view.
    pub fn keeps_the_view(self) -> bool {
        matches!(self, Self::KillBackup | Self::StopBackup | Self::KillDriver | Self::Quiet)
    }

    /// No operation fails and no session ends: clients notice nothing but time.
    pub fn keeps_sessions(self) -> bool {
        !matches!(self, Self::KillDriver | Self::PowerCut)
    }
}

/// How a drill is done.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How often, on one cluster.
    pub rounds: u32,
    /// How long a replica is away.
    pub pause: Duration,
    /// How long a soak or a quiet drill goes on.
    pub duration: Duration,
    /// Load without a fault, before the first and after the last.
    pub settle: Duration,
    /// From one fault of a soak to the next.
    pub every: Duration,
    /// What a soak does, in turn.
    pub faults: Vec<Fault>,
    /// A soak spares the primary.
    pub backups_only: bool,
    /// Which of several fresh clusters this is: another backup is chosen on each.
    pub turn: usize,
}

/// Does the drill to a running cluster.
///
/// # Errors
///
/// When a process died that should not, one cannot be started, or the program is asked to end. What the cluster did
/// wrong is kept in the run.
pub fn conduct(run: &mut Run<'_>, drill: Drill, settings: &Settings) -> Result<(), Failure> {
    match drill {
        Drill::KillPrimary => kill(run, settings, true),
        Drill::KillBackup => kill(run, settings, false),
        Drill::StopPrimary => stop(run, settings, true),
        Drill::StopBackup => stop(run, settings, false),
        Drill::KillDriver => kill_driver(run, settings),
        Drill::PowerCut => power_cut(run, settings),
        Drill::RollingRestart => rolling_restart(run, settings),
        Drill::LostDisk => lost_disk(run, settings),
        Drill::Soak => soak(run, settings),
        Drill::Quiet => run.pass(settings.duration),
    }
}

/// The primary, or the backup whose turn it is, and what to call it.
fn victim(run: &Run<'_>, primary_wanted: bool, turn: usize) -> Result<(usize, String), Failure> {
    let (primary, replicas) = (run.cluster.primary()?, run.cluster.cluster.replica_count());
    Ok(if primary_wanted {
        (primary, format!("replica {primary}, the primary"))
    } else {
        let backup = (primary + 1 + turn % (replicas - 1)) % replicas;
        (backup, format!("replica {backup}, a backup"))
    })
}

fn kill(run: &mut Run<'_>, settings: &Settings, primary_wanted: bool) -> Result<(), Failure> {
    run.pass(settings.settle)?;
    let (id, name) = victim(run, primary_wanted, settings.turn)?;
    run.set_phase(Phase::During);
    run.tell(format!("SIGKILL of {name}"));
    run.cluster.kill(id)?;
    run.await_progress(&format!("SIGKILL of {name}"))?;
    run.set_phase(Phase::After);
    run.pass(settings.settle)
}

fn kill_driver(run: &mut Run<'_>, settings: &Settings) -> Result<(), Failure> {
    run.pass(settings.settle)?;
    run.set_phase(Phase::During);
    run.tell("SIGKILL of the driver");
    run.cluster.kill_driver()?;
    run.restart_driver()?;
    run.tell("the driver runs again");
    run.await_progress("the restart of the driver")?;
    run.set_phase(Phase::After);
    run.pass(settings.settle)
}

fn stop(run: &mut Run<'_>, settings: &Settings, primary_wanted: bool) -> Result<(), Failure> {
    run.pass(settings.settle)?;
    let (id, name) = victim(run, primary_wanted, settings.turn)?;
    run.set_phase(Phase::During);
    run.tell(format!("SIGSTOP of {name}"));
    run.cluster.pause(id);
    run.pass(settings.pause)?;
    run.tell(format!("SIGCONT of replica {id}"));
    let since_ns = run.now_ns();
    run.cluster.resume(id);
    run.await_progress(&format!("SIGCONT of {name}"))?;
    run.await_back(id, since_ns)?;
    run.set_phase(Phase::After);
    run.pass(settings.settle)
}

fn power_cut(run: &mut Run<'_>, settings: &Settings) -> Result<(), Failure> {
    for round in 0..settings.rounds {
        run.set_round(round);
        run.pass(settings.settle)?;
        if run.is_broken() {
            return Ok(());
        }
        run.set_phase(Phase::During);
        run.tell(format!("power cut {} of {}: SIGKILL of every process", round + 1, settings.rounds));
        let since_ns = run.now_ns();
        run.cluster.cut_power()?;
        run.start_all()?;
        run.tell(format!("every process runs again after {}", seconds(run.now_ns() - since_ns)));
        run.await_progress("the power cut")?;
        run.read_again();
        run.set_phase(Phase::After);
    }
    run.pass(settings.settle)
}

fn rolling_restart(run: &mut Run<'_>, settings: &Settings) -> Result<(), Failure> {
    run.pass(settings.settle)?;
    for id in 0..run.cluster.cluster.replica_count() {
        if run.is_broken() {
            return Ok(());
        }
        run.set_round(id as u32);
        run.set_phase(Phase::During);
        run.tell(format!("SIGTERM of replica {id}"));
        let since_ns = run.now_ns();
        run.cluster.terminate(id)?;
        run.restart(id, false)?;
        run.tell(format!("replica {id} runs again"));
        run.await_progress(&format!("the restart of replica {id}"))?;
        run.await_back(id, since_ns)?;
        run.set_phase(Phase::After);
        run.pass(settings.settle)?;
    }
    Ok(())
}

fn lost_disk(run: &mut Run<'_>, settings: &Settings) -> Result<(), Failure> {
    run.pass(settings.settle)?;
    let (id, name) = victim(run, false, settings.turn)?;
    run.set_phase(Phase::During);
    hurt(run, Fault::Rejoin, id, &name, settings.pause)?;
    run.set_phase(Phase::After);
    run.pass(settings.settle)
}

/// Hurts one replica, and waits until it is back.
fn hurt(run: &mut Run<'_>, fault: Fault, id: usize, name: &str, away: Duration) -> Result<(), Failure> {
    let signal = if fault == Fault::Stop { "SIGSTOP" } else { "SIGKILL" };
    run.tell(format!("{signal} of {name}"));
    match fault {
        Fault::Stop => run.cluster.pause(id),
        Fault::Kill | Fault::Rejoin => run.cluster.kill(id)?,
    }
    run.pass(away)?;
    let since_ns = run.now_ns();
    match fault {
        Fault::Stop => {
            run.tell(format!("SIGCONT of replica {id}"));
            run.cluster.resume(id);
        }
        Fault::Kill => {
            run.tell(format!("replica {id} is started again"));
            run.restart(id, false)?;
        }
        Fault::Rejoin => {
            run.tell(format!("replica {id} is started again, with nothing"));
            run.cluster.wipe(id)?;
            run.restart(id, true)?;
        }
    }
    run.await_progress(&format!("{signal} of {name}"))?;
    run.await_back(id, since_ns)
}

fn soak(run: &mut Run<'_>, settings: &Settings) -> Result<(), Failure> {
    let end_ns = run.now_ns().saturating_add(settings.duration.as_nanos() as u64);
    let every_ns = settings.every.as_nanos() as u64;
    let replicas = run.cluster.cluster.replica_count();
    // Each kind meets each replica, where their numbers have no common divisor; else kinds shift by one each time round.
    let kinds = settings.faults.len();
    let mut number = 0;
    while !run.is_broken() {
        let fault_at_ns = run.now_ns() + every_ns;
        if fault_at_ns >= end_ns {
            let rest = end_ns.saturating_sub(run.now_ns());
            return run.pass(Duration::from_nanos(rest));
        }
        run.pass(settings.every)?;
        if run.is_broken() || kinds == 0 {
            continue;
        }
        let primary = run.cluster.primary()?;
        let mut id = number % replicas;
        if settings.backups_only {
            id = (primary + 1 + number % (replicas - 1)) % replicas;
        }
        let fault = settings.faults[(number + number / (kinds * replicas)) % kinds];
        let role = if id == primary { "the primary" } else { "a backup" };
        run.set_round(number as u32);
        run.set_phase(Phase::During);
        hurt(run, fault, id, &format!("replica {id}, {role}"), settings.pause)?;
        run.set_phase(Phase::After);
        number += 1;
    }
    Ok(())
}
