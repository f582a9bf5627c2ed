//! One run of a drill: the cluster, the threads beside it, and what they found.

use super::cluster::{DrillCluster, check_stop};
use super::history::Violations;
use super::ledger::Ledger;
use super::load::{LoadFigures, LoadPlan};
use super::memory::Memory;
use super::readers::{Reading, lock, read_again};
use super::shared::{Phase, Shared};
use super::story::{Story, seconds};
use super::threads::{Threads, start_threads};
use crate::failure::Failure;
use crate::output::Progress;
use crate::trial::local_cluster::own_process;
use logothete_bench::report::{count, orders_agree};
use logothete_client::Options;
use logothete_client::record::message_footprint_bytes;
use logothete_engine::cluster::init::Plan;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks at the run.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Between two lines of progress.
const PROGRESS_NS: u64 = 1_000_000_000;

/// Before measuring begins: connections, first memory.
const WARMUP: Duration = Duration::from_secs(1);

/// Between two queries of replicas that do not agree yet.
const AGREE_INTERVAL: Duration = Duration::from_millis(50);

/// Bounds of a session's rings: what drivers give without being asked, and what they give at most.
const RING_BYTES_MIN: usize = 256 << 10;
const RING_BYTES_MAX: usize = 16 << 20;

/// Bytes of result of an append: its position.
const RESULT_BYTES: usize = 8;

/// What an entry of the log takes beside its own bytes, generously: with the retention it says how far subscribers may
/// lag before what they lack is trimmed.
const ENTRY_OVERHEAD_BYTES: u64 = 64;

/// The load of a drill, as it was asked for.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Sessions.
    pub sessions: usize,
    /// Operations in flight a session.
    pub outstanding: usize,
    /// Bytes of an entry.
    pub payload_bytes: usize,
    /// Operations a second; none: a closed loop.
    pub rate_per_s: Option<f64>,
}

/// What every run of a drill needs.
#[derive(Clone, Debug)]
pub struct RunPlan {
    /// The cluster.
    pub cluster: Plan,
    /// The load.
    pub load: LoadOptions,
    /// How long the cluster may take for anything: to go on after a fault, to have a replica back, to answer the last
    /// operation.
    pub patience: Duration,
}

/// What a run found.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What the load measured.
    pub load: LoadFigures,
    /// Each of its longest times without acknowledgements in words.
    pub gaps_explained: Vec<String>,
    /// Entries that were read and checked.
    pub entries_checked: u64,
    /// What the order has wrong.
    pub violations: Violations,
    /// Everything that is wrong, in words.
    pub problems: Vec<String>,
    /// The view that the cluster ended in; it began in view 0.
    pub view_changes: u64,
    /// Whether all replicas that run have the same state.
    pub orders_agree: bool,
    /// How long replicas took to be back.
    pub catch_up_ns: Vec<u64>,
    /// Memory of the processes.
    pub memory: Memory,
    /// What happened.
    pub story: Story,
}

/// A run in progress.
pub struct Run<'a> {
    /// The cluster, to be hurt.
    pub cluster: DrillCluster,
    plan: &'a RunPlan,
    stop: &'a AtomicBool,
    label: String,
    shared: Arc<Shared>,
    ledger: Arc<Mutex<Ledger>>,
    threads: Threads,
    driver: PathBuf,
    outcome: Outcome,
    /// The cluster does not go on: nothing is waited for any more.
    stuck: bool,
    progress: Progress,
    progress_at_ns: u64,
    progress_acknowledged: u64,
}

impl<'a> Run<'a> {
    /// Starts a cluster, the load and the subscribers, and lets them run for a while. `label` stands before the progress.
    ///
    /// # Errors
    ///
    /// When the cluster or a thread cannot be started, or `stop` is set.
    pub fn start(plan: &'a RunPlan, label: String, stop: &'a AtomicBool) -> Result<Self, Failure> {
        let cluster = DrillCluster::start(&plan.cluster, stop)?;
        let driver = cluster.session()?;
        let shared = Arc::new(Shared::start());
        let ledger =
            Arc::new(Mutex::new(Ledger::keeping(plan.cluster.retention_bytes / plan.load.payload_bytes as u64)));
        let threads = start_threads(load_plan(plan, driver.clone()), &shared, &ledger)?;
        let mut run = Self {
            cluster,
            plan,
            stop,
            label,
            shared,
            ledger,
            threads,
            driver,
            outcome: Outcome::default(),
            stuck: false,
            progress: Progress::new(),
            progress_at_ns: 0,
            progress_acknowledged: 0,
        };
        run.tell("the load begins");
        run.pass(WARMUP)?;
        run.set_phase(Phase::Before);
        Ok(run)
    }

    /// Something happens.
    pub fn tell(&mut self, what: impl Into<String>) {
        self.outcome.story.tell(self.shared.now_ns(), what);
    }

    /// Something is wrong.
    pub fn problem(&mut self, what: String) {
        // The last words of a process are not for the story.
        self.tell(what.lines().next().unwrap_or_default());
        self.outcome.problems.push(what);
    }

    /// The drill cannot go on: what is left is to look at what there is, without waiting for more.
    pub fn give_up(&mut self, failure: &Failure) {
        self.problem(failure.to_string());
        self.stuck = true;
    }

    /// Whether going on makes no sense. What the checker found is heard at the end.
    pub fn is_broken(&self) -> bool {
        self.stuck
            || !self.outcome.problems.is_empty()
            || self.threads.any_ended()
            || lock(&self.ledger).verdict().is_some()
    }

    /// Which phase latencies count for from now on.
    pub fn set_phase(&mut self, phase: Phase) {
        self.shared.set_phase(phase);
    }

    /// Which round the gaps count for from now on.
    pub fn set_round(&mut self, round: u32) {
        self.shared.set_round(round);
    }

    /// The time by the drill's clock.
    pub fn now_ns(&self) -> u64 {
        self.shared.now_ns()
    }

    /// Lets time pass; ends early where the cluster is stuck or a thread has given up.
    ///
    /// # Errors
    ///
    /// When a process died that should not, or `stop` is set.
    pub fn pass(&mut self, duration: Duration) -> Result<(), Failure> {
        let begin = Instant::now();
        while begin.elapsed() < duration && !self.stuck && !self.threads.any_ended() {
            self.look()?;
            std::thread::sleep(LOOK_INTERVAL.min(duration.saturating_sub(begin.elapsed())));
        }
        Ok(())
    }

    fn look(&mut self) -> Result<(), Failure> {
        check_stop(self.stop)?;
        self.cluster.check_alive()?;
        for (at, line) in self.cluster.news() {
            self.outcome.story.tell(self.shared.at_ns(at), line);
        }
        let processes = || {
            let mut processes = self.cluster.processes();
            processes.push((String::from("load"), own_process()));
            processes
        };
        self.outcome.memory.look(&self.shared, processes);
        let now_ns = self.shared.now_ns();
        if now_ns >= self.progress_at_ns + PROGRESS_NS {
            let acknowledged = self.shared.acknowledged();
            let elapsed_ns = (now_ns - self.progress_at_ns).max(1);
            let rate = (acknowledged - self.progress_acknowledged) as f64 / elapsed_ns as f64 * 1e9;
            self.progress.show(&format!(
                "{}: {:5.1} s  {} operations/s",
                self.label,
                now_ns as f64 / 1e9,
                count(rate as u64)
            ));
            (self.progress_at_ns, self.progress_acknowledged) = (now_ns, acknowledged);
        }
        Ok(())
    }

    /// Waits until operations are acknowledged that were submitted after now; `after` says what for. That none is, is a
    /// problem, and the cluster counts as stuck.
    ///
    /// # Errors
    ///
    /// As [`Run::pass`].
    pub fn await_progress(&mut self, after: &str) -> Result<(), Failure> {
        let begin = Instant::now();
        // What was in flight may still be answered.
        let in_flight = self.plan.load.sessions * self.plan.load.outstanding;
        let wanted = self.shared.acknowledged() + in_flight as u64 + 1;
        while self.shared.acknowledged() < wanted && !self.threads.any_ended() {
            if begin.elapsed() > self.plan.patience {
                self.stuck = true;
                let waited = self.plan.patience.as_secs_f64();
                self.problem(format!("the cluster did not go on within {waited} s after {after}"));
                return Ok(());
            }
            self.pass(LOOK_INTERVAL)?;
        }
        Ok(())
    }

    /// Waits until replica `id` is back, and keeps how long it took since `since_ns`. That it does not come back is a
    /// problem.
    ///
    /// # Errors
    ///
    /// As [`Run::pass`].
    pub fn await_back(&mut self, id: usize, since_ns: u64) -> Result<(), Failure> {
        let begin = Instant::now();
        while !self.stuck && !self.threads.any_ended() {
            let answers = self.cluster.ask()?;
            if self.cluster.is_back(id, &answers) {
                let took_ns = self.now_ns() - since_ns;
                self.outcome.catch_up_ns.push(took_ns);
                self.tell(format!("replica {id} is back after {}", seconds(took_ns)));
                return Ok(());
            }
            if begin.elapsed() > self.plan.patience {
                let waited = self.plan.patience.as_secs_f64();
                let state = match &answers[id] {
                    None => String::from("it does not answer"),
                    Some(own) => format!(
                        "it is in view {} and has executed {}, the others up to {}; it hears {} replicas; {:?}",
                        own.view,
                        own.executed,
                        answers.iter().flatten().map(|status| status.executed).max().unwrap_or(0),
                        own.peers_reachable.count(),
                        own.progress
                    ),
                };
                self.problem(format!("replica {id} was not back as a full member within {waited} s: {state}"));
                return Ok(());
            }
            self.pass(LOOK_INTERVAL)?;
        }
        Ok(())
    }

    /// Reads everything that is retained again, for the comparison with what was read before.
    pub fn read_again(&mut self) {
        if self.stuck {
            return;
        }
        self.tell("everything retained is read again");
        if let Err(text) = read_again(&self.driver, &self.ledger, self.plan.patience) {
            self.problem(text);
        }
    }

    /// Starts every process again after a power cut.
    ///
    /// # Errors
    ///
    /// When one does not start.
    pub fn start_all(&mut self) -> Result<(), Failure> {
        self.cluster.start_all(self.stop)
    }

    /// Starts the driver again.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn restart_driver(&mut self) -> Result<(), Failure> {
        self.cluster.restart_driver(self.stop)
    }

    /// Starts a replica again.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn restart(&mut self, id: usize, disk_lost: bool) -> Result<(), Failure> {
        self.cluster.restart(id, disk_lost, self.stop)
    }

    /// Ends the load, reads the order to its end, compares the replicas, and puts together what was found.
    ///
    /// # Errors
    ///
    /// When the replicas cannot be asked, a process died, or `stop` is set.
    pub fn finish(&mut self) -> Result<Outcome, Failure> {
        self.tell("the load ends");
        let mut load = self.end_load()?;
        self.tell("everything retained is read again");
        let end = match self.stuck {
            true => self.shared.acknowledged_end(),
            false => read_again(&self.driver, &self.ledger, self.plan.patience).unwrap_or_else(|text| {
                self.problem(text);
                self.shared.acknowledged_end()
            }),
        };
        let readings = self.end_readers(end)?;
        self.compare_replicas()?;
        self.progress.end();
        let mut outcome = std::mem::take(&mut self.outcome);
        outcome.problems.extend(load.misuse.take());
        for reading in readings {
            outcome.problems.extend(reading.failure);
            outcome.problems.extend(reading.violations.told.iter().map(ToString::to_string));
            outcome.entries_checked = outcome.entries_checked.max(reading.entries);
            if reading.violations.total() > 0 {
                outcome.violations = reading.violations;
            }
        }
        outcome.problems.extend(lock(&self.ledger).verdict());
        outcome.gaps_explained = load.gaps.longest.iter().map(|gap| outcome.story.explain(*gap)).collect();
        outcome.load = load;
        Ok(outcome)
    }

    fn end_load(&mut self) -> Result<LoadFigures, Failure> {
        self.shared.drain(!self.stuck);
        let begin = Instant::now();
        while self.threads.load.as_ref().is_some_and(|load| !load.is_finished()) {
            self.look()?;
            if begin.elapsed() > self.plan.patience && !self.shared.abandoned() {
                let waited = self.plan.patience.as_secs_f64();
                self.problem(format!("operations in flight at the end were not answered within {waited} s"));
                self.shared.drain(false);
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        match self.threads.load.take().map(JoinHandle::join) {
            Some(Ok(figures)) => Ok(figures),
            _ => Err(Failure::Failed(String::from("the load's thread failed"))),
        }
    }

    fn end_readers(&mut self, end: u64) -> Result<Vec<Reading>, Failure> {
        self.shared.set_order_end(end);
        let begin = Instant::now();
        while self.threads.readers.iter().any(|reader| !reader.is_finished()) {
            self.look()?;
            // Readers of a cluster that is stuck get what is there at once, or never.
            let patience = if self.stuck { Duration::from_secs(1) } else { self.plan.patience };
            if begin.elapsed() > patience {
                self.shared.end_now();
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        let readings = self.threads.readers.drain(..).map(JoinHandle::join).collect::<Result<_, _>>();
        readings.map_err(|_| Failure::Failed(String::from("a subscriber's thread failed")))
    }

    /// Asks the replicas until all that run report the same sequence number and state, or patience ends.
    fn compare_replicas(&mut self) -> Result<(), Failure> {
        let begin = Instant::now();
        loop {
            self.look()?;
            let answers = self.cluster.ask()?;
            let reports: Vec<_> =
                answers.iter().flatten().map(|status| (status.executed, status.state_digest)).collect();
            let faults = u32::from(self.cluster.cluster.faults);
            if reports.len() >= self.cluster.running() && orders_agree(&reports, faults) {
                self.outcome.orders_agree = true;
                break;
            }
            if self.stuck || begin.elapsed() > self.plan.patience {
                let executed = answers.iter().map(|answer| match answer {
                    Some(status) => status.executed.to_string(),
                    None => String::from("no answer"),
                });
                let executed = executed.collect::<Vec<_>>().join(", ");
                self.problem(format!("the replicas do not agree; they have executed: {executed}"));
                break;
            }
            std::thread::sleep(AGREE_INTERVAL);
        }
        match self.cluster.view() {
            Ok(view) => self.outcome.view_changes = view,
            Err(failure) => self.problem(failure.to_string()),
        }
        Ok(())
    }

    /// What happened so far, where no outcome has it.
    pub fn story(&self) -> Story {
        self.outcome.story.clone()
    }

    /// Ends everything and keeps the cluster's directory, with what happened. Returns where.
    pub fn keep(self, story: &Story, problems: &[String]) -> PathBuf {
        drop(self.threads);
        self.cluster.keep(&format!("{}\n{}\n", story.text(), problems.join("\n")))
    }
}

fn load_plan(plan: &RunPlan, driver: PathBuf) -> LoadPlan {
    let LoadOptions { sessions, outstanding, payload_bytes, rate_per_s } = plan.load;
    let ring = |length: usize| {
        let bytes = message_footprint_bytes(length).saturating_mul(2 * outstanding);
        bytes.clamp(RING_BYTES_MIN, RING_BYTES_MAX).next_power_of_two() as u32
    };
    let options =
        Options { requests_bytes: ring(payload_bytes), responses_bytes: ring(RESULT_BYTES), ..Options::default() };
    // A quarter of what is retained: what is in flight and a pause of a subscriber come on top.
    let lag_max = plan.cluster.retention_bytes / (payload_bytes as u64 + ENTRY_OVERHEAD_BYTES) / 4;
    LoadPlan { driver, options, sessions, outstanding, payload_bytes, rate_per_s, lag_max }
}
