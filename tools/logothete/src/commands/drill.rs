//! `logothete drill`: faults on a real cluster, and what becomes of what it promised.

use super::init::faults;
use crate::drill::entry::ENTRY_BYTES_MIN;
use crate::drill::report::{Report, Subject};
use crate::drill::run::{LoadOptions, Outcome, Run, RunPlan};
use crate::drill::scenario::{Drill, Fault, Settings, conduct};
use crate::failure::Failure;
use crate::options::{parse_duration, parse_rate};
use crate::output::{print_line, write_json};
use crate::signals::stop_flag;
use logothete_engine::cluster::init::Plan;
use logothete_engine::cluster::{Arrangement, FanOut, Journal, Transport};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What the log of a drill's cluster keeps: as in `bench`, full soon, so that a drill shows a cluster in the long run.
const RETENTION_BYTES: u64 = 64 << 20;

/// Hurts a throw-away cluster under load, puts it right again, and checks everything that it promised.
///
/// Replicas and a driver run as processes on loopback. Sessions append numbered entries with a check each, and two
/// subscribers read the order beside them. Then it is checked, without asking the engine: every acknowledged entry is in
/// the order, once, at the position acknowledged; every session's entries are in the session's order; what was in flight
/// when a connection broke is there at most once; there are no gaps; both subscribers, and one more that reads
/// everything retained again, read the same. The replicas must agree in the end. The exit status is 1 when a check
/// fails, and the cluster's directory is kept then.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  logothete drill kill-primary --times 10
  logothete drill stop-backup --pause 30s --json -
  logothete drill power-cut --journal sync --times 20
  logothete drill soak --duration 20m --sessions 4 --outstanding 256
  logothete drill quiet --duration 10m")]
pub struct Arguments {
    /// What is done to the cluster
    #[arg(value_name = "DRILL", value_enum)]
    drill: Drill,
    /// How often: on a fresh cluster each time; power-cut: on the same [default: kill-primary 10, power-cut 20, others 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    times: Option<u32>,
    /// How long a replica is away [default: stop-primary and lost-disk 1s, stop-backup 30s, soak 5s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pause: Option<Duration>,
    /// How long soak and quiet go on [default: soak 20m, quiet 10m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Load without a fault before the first fault and after the last repair; power-cut, rolling-restart: between them
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    settle: Duration,
    /// How long the cluster may take for anything before that is a failure: to go on after a fault, to have a replica
    /// back, to answer the last operations
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    patience: Duration,
    /// Do not fail where the view changed without a fault of the primary: for a host that is busy with other things
    #[arg(long)]
    busy_host: bool,
    /// soak: from the end of one fault to the next
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = parse_duration)]
    every: Duration,
    /// soak: what is done to replicas, in turn
    #[arg(long, value_name = "LIST", value_enum, value_delimiter = ',', default_value = "kill,stop,rejoin")]
    faults: Vec<Fault>,
    /// soak: spare the primary
    #[arg(long)]
    backups_only: bool,
    #[command(flatten)]
    load: LoadArguments,
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Write the report to FILE as JSON (- for standard output, instead of the table)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The load of a drill.
#[derive(clap::Args)]
struct LoadArguments {
    /// Sessions
    #[arg(long, value_name = "S", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=60))]
    sessions: u32,
    /// Operations in flight a session
    #[arg(long, value_name = "W", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    outstanding: u32,
    /// Operations a second of an open loop, over all sessions [default: a closed loop]
    #[arg(long, value_name = "R", value_parser = parse_rate)]
    rate: Option<f64>,
    /// Bytes of an entry: 16 at least
    #[arg(long, value_name = "BYTES", default_value_t = ENTRY_BYTES_MIN)]
    payload: usize,
}

/// The cluster of a drill.
#[derive(clap::Args)]
struct ClusterArguments {
    /// Number of replicas: 4, 7, 10, 13 or 16
    #[arg(long, value_name = "N", default_value_t = 4)]
    replicas: usize,
    /// Whether what a replica promised survives its restart [default: what `init` writes]
    #[arg(long, value_name = "sync|async|off")]
    journal: Option<Journal>,
    /// Bytes of entries that the log keeps
    #[arg(long, value_name = "BYTES", default_value_t = RETENTION_BYTES)]
    retention: u64,
    /// How a replica's agents are put on threads
    #[arg(long, value_name = "auto|shared|split", default_value_t = Arrangement::Auto)]
    arrangement: Arrangement,
    /// How datagrams reach the kernel
    #[arg(long, value_name = "auto|io_uring|mmsg", default_value_t = Transport::Auto)]
    transport: Transport,
    /// How a packet for many reaches them
    #[arg(long, value_name = "auto|multicast|unicast", default_value_t = FanOut::Auto)]
    fan_out: FanOut,
}

/// Runs the command.
///
/// # Errors
///
/// When a check fails, or the drill cannot be done.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let drill = arguments.drill;
    let plan = arguments.plan()?;
    let times = arguments.times()?;
    let (clusters, rounds) = if drill.repeats_on_one_cluster() { (1, times) } else { (times, 1) };
    let (stop, subject) = (stop_flag()?, arguments.subject(&plan));
    let begin = Instant::now();
    let (mut outcomes, mut kept) = (Vec::new(), Vec::new());
    for turn in 0..clusters {
        let settings = arguments.settings(rounds, turn as usize);
        let label = match clusters {
            1 => drill.name().to_owned(),
            _ => format!("{} {} of {clusters}", drill.name(), turn + 1),
        };
        let (outcome, place) = drill_once(&plan, (drill, &subject), &settings, label, &stop)?;
        outcomes.push(outcome);
        kept.extend(place);
    }
    let report = Report::new(subject, outcomes, begin.elapsed().as_nanos() as u64);
    if let Some(path) = &arguments.json {
        write_json(path, &report.to_json())?;
    }
    if arguments.json.as_deref() != Some(Path::new("-")) {
        for line in report.to_lines() {
            print_line(&line)?;
        }
    }
    match report.failure() {
        None => Ok(()),
        Some(failure) => Err(Failure::Failed(failure + &kept_text(&kept))),
    }
}

/// Does the drill on a fresh cluster. Returns what was found, and where the cluster's directory was kept because
/// something is wrong.
fn drill_once(
    plan: &RunPlan,
    (drill, subject): (Drill, &Subject),
    settings: &Settings,
    label: String,
    stop: &AtomicBool,
) -> Result<(Outcome, Option<PathBuf>), Failure> {
    let mut run = Run::start(plan, label, stop)?;
    if let Err(failure) = conduct(&mut run, drill, settings) {
        if stop.load(Ordering::Relaxed) {
            return Err(failure);
        }
        run.give_up(&failure);
    }
    let finished = run.finish().map(|mut outcome| {
        subject.judge(&mut outcome);
        outcome
    });
    match finished {
        Ok(outcome) if outcome.problems.is_empty() => Ok((outcome, None)),
        Ok(outcome) => {
            let place = run.keep(&outcome.story, &outcome.problems);
            Ok((outcome, Some(place)))
        }
        Err(failure) if stop.load(Ordering::Relaxed) => Err(failure),
        Err(failure) => {
            let story = run.story();
            let place = run.keep(&story, &[failure.to_string()]);
            Err(Failure::Failed(format!("{failure}{}", kept_text(&[place]))))
        }
    }
}

fn kept_text(places: &[PathBuf]) -> String {
    places.iter().map(|place| format!("\nthe cluster's directory is kept: {}", place.display())).collect()
}

impl Arguments {
    fn plan(&self) -> Result<RunPlan, Failure> {
        let default = Plan::default();
        let cluster = Plan {
            faults: faults(Some(self.cluster.replicas), None)?,
            journal: self.cluster.journal.unwrap_or(default.journal),
            retention_bytes: self.cluster.retention,
            arrangement: self.cluster.arrangement,
            transport: self.cluster.transport,
            fan_out: self.cluster.fan_out,
            ..default
        };
        if self.drill == Drill::PowerCut && cluster.journal.name() != "sync" {
            return Err(Failure::Usage(format!(
                "power-cut with journal {}: only --journal sync promises that anything survives it",
                cluster.journal
            )));
        }
        if self.load.payload < ENTRY_BYTES_MIN {
            return Err(Failure::Usage(format!(
                "--payload {}: an entry that proves itself has at least {ENTRY_BYTES_MIN} bytes",
                self.load.payload
            )));
        }
        let load = LoadOptions {
            sessions: self.load.sessions as usize,
            outstanding: self.load.outstanding as usize,
            payload_bytes: self.load.payload,
            rate_per_s: self.load.rate,
        };
        Ok(RunPlan { cluster, load, patience: self.patience })
    }

    /// How often, after a look at whether the drill takes the options that were given.
    fn times(&self) -> Result<u32, Failure> {
        let drill = self.drill;
        for (option, given, taken) in [
            ("--times", self.times.is_some(), drill.times_default().is_some()),
            ("--pause", self.pause.is_some(), drill.pause_default().is_some()),
            ("--duration", self.duration.is_some(), drill.duration_default().is_some()),
        ] {
            if given && !taken {
                return Err(Failure::Usage(format!("{option} is not for the drill {}", drill.name())));
            }
        }
        Ok(self.times.or(drill.times_default()).unwrap_or(1))
    }

    fn settings(&self, rounds: u32, turn: usize) -> Settings {
        Settings {
            rounds,
            pause: self.pause.or(self.drill.pause_default()).unwrap_or_default(),
            duration: self.duration.or(self.drill.duration_default()).unwrap_or_default(),
            settle: self.settle,
            every: self.every,
            faults: self.faults.clone(),
            backups_only: self.backups_only,
            turn,
        }
    }

    fn subject(&self, plan: &RunPlan) -> Subject {
        Subject {
            drill: self.drill.name(),
            replicas: self.cluster.replicas,
            journal: plan.cluster.journal.to_string(),
            sessions: plan.load.sessions,
            outstanding: plan.load.outstanding,
            payload_bytes: plan.load.payload_bytes,
            view_kept: self.drill.keeps_the_view() && !self.busy_host,
            undisturbed: self.drill.keeps_sessions(),
        }
    }
}
