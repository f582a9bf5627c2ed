//! One run of a scenario: the network, the cluster in it, the load on it, and what is found.
//!
//! [`setup`] has what a scenario may ask for and makes it, [`Run`] is what it is told in the words of, [`ending`] looks at
//! what is left when it is over. What must never be here: what a single scenario wants.

mod ending;
mod setup;

pub use setup::Setup;

use crate::hostile::disk::SmallDisk;
use crate::hostile::liar::{self, Lie};
use crate::load::Load;
use crate::network::{Host, Network};
use crate::report::{Claim, Report};
use crate::scenario::Scenario;
use logothete::failure::Failure;
use logothete::{DrillCluster, supported};
use logothete_engine::client::status::ReplicaStatus;
use logothete_engine::cluster::DriverLocal;
use logothete_simulator::world::random::Random;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Between two looks at the run.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Between two questions to the replicas.
const ASK_INTERVAL: Duration = Duration::from_millis(50);

/// Before anything is measured: sessions, first memory, the cluster's learning of its own latencies.
const WARMUP: Duration = Duration::from_secs(2);

/// How long the goodput without a fault is measured, before and after.
const CLEAN: Duration = Duration::from_secs(3);

/// A run in progress.
pub struct Run<'a> {
    load: Option<Load>,
    /// The cluster, to be hurt.
    pub cluster: DrillCluster<Network>,
    /// The small disk of the setup.
    pub disk: Option<SmallDisk>,
    /// What the seed decides.
    pub chance: Random,
    /// Measure generously: the machine is small or busy.
    pub ci: bool,
    stop: &'a AtomicBool,
    started: Instant,
    verbose: bool,
    clean_per_s: f64,
    view_begin: u64,
    report: Report,
}

/// What every run of the lab has in common.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// Judge as generously as a small, shared machine needs.
    pub ci: bool,
    /// Tell what happens while it does.
    pub verbose: bool,
    /// Set when the program is to end.
    pub stop: &'a AtomicBool,
}

/// Runs a scenario once. What the cluster did wrong is in the report.
///
/// # Errors
///
/// When the run cannot be made, or the program is asked to end.
pub fn run_once(scenario: &Scenario, seed: u64, terms: Terms<'_>) -> Result<Report, Failure> {
    let setup = (scenario.setup)(seed);
    let mut run = Run::start(scenario, &setup, seed, terms)?;
    let outcome = (scenario.conduct)(&mut run).and_then(|()| run.finish(setup.survives));
    if let Err(failure) = outcome {
        check_stop(terms.stop)?;
        run.give_up(&failure);
    }
    let Run { mut report, .. } = run;
    report.judge();
    Ok(report)
}

impl<'a> Run<'a> {
    fn start(scenario: &Scenario, setup: &Setup, seed: u64, terms: Terms<'a>) -> Result<Self, Failure> {
        let (cluster, disk) = setup::start(setup, terms.stop)?;
        let load = Load::start(&cluster.session()?, setup.load, seed)?;
        let mut run = Self {
            load: Some(load),
            cluster,
            disk,
            chance: Random::new(seed),
            ci: terms.ci,
            stop: terms.stop,
            started: Instant::now(),
            verbose: terms.verbose,
            clean_per_s: 0.0,
            view_begin: 0,
            report: Report::new(scenario, seed),
        };
        run.pass(WARMUP)?;
        run.view_begin = run.cluster.view()?;
        run.clean_per_s = run.goodput_over(CLEAN)?;
        let rate = run.clean_per_s;
        run.tell(|| format!("without a fault {rate:.0} operations/s"));
        Ok(run)
    }

    /// Something happens.
    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        let line = format!("{:8.3} s  {}", self.started.elapsed().as_secs_f64(), what());
        if self.verbose {
            eprintln!("{line}");
        }
        self.report.story.push(line);
    }

    /// Something must hold; `what` says what is wrong where it does not.
    pub fn require(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            let what = what();
            self.tell(|| format!("wrong: {what}"));
            self.report.problems.push(what);
        }
    }

    /// Lets time pass.
    ///
    /// # Errors
    ///
    /// When a process died that should not, or the program is asked to end.
    pub fn pass(&mut self, duration: Duration) -> Result<(), Failure> {
        let begin = Instant::now();
        while begin.elapsed() < duration {
            check_stop(self.stop)?;
            self.cluster.check_alive()?;
            for (_, line) in self.cluster.news() {
                self.tell(|| line);
            }
            std::thread::sleep(LOOK_INTERVAL.min(duration.saturating_sub(begin.elapsed())));
        }
        Ok(())
    }

    /// Lets time pass; returns how many operations of the judged clients were answered well a second.
    ///
    /// # Errors
    ///
    /// As [`Run::pass`], and when the load has ended.
    pub fn goodput_over(&mut self, duration: Duration) -> Result<f64, Failure> {
        let begin = Instant::now();
        self.pass(duration)?;
        self.judged_load().goodput(begin, Instant::now())
    }

    /// Good answers a second between two moments of late.
    ///
    /// # Errors
    ///
    /// When the load has ended.
    pub fn goodput_between(&self, from: Instant, to: Instant) -> Result<f64, Failure> {
        self.judged_load().goodput(from, to)
    }

    /// The network, to be hurt.
    pub fn network(&self) -> &Network {
        &self.cluster.hosts
    }

    fn judged_load(&self) -> &Load {
        self.load.as_ref().expect("it runs until the run is finished")
    }

    /// The judged clients' goodput was so much and must have been this part of what it is without a fault, as measured
    /// before or after, whichever was less.
    pub fn claim_goodput(&mut self, what: &'static str, rate_per_s: f64, least: f64) {
        let view = self.view().ok();
        self.tell(|| format!("{what}: {rate_per_s:.0} operations/s, in view {view:?}"));
        self.report.claims.push(Claim { what, rate_per_s, least });
    }

    /// No more view changes than this in the whole run; one more on a machine where other programs may keep a primary
    /// from the processor for longer than a time-out.
    pub fn claim_views(&mut self, most: u64) {
        self.report.view_changes_most = Some(most + u64::from(self.ci));
    }

    /// No longer time without any answer than this in the whole run.
    pub fn claim_gap(&mut self, most: Duration) {
        self.report.gap_most = Some(most);
    }

    /// Waits until an operation is answered that was called after now; that none is within `most`, is wrong. Returns how
    /// long it took.
    ///
    /// # Errors
    ///
    /// As [`Run::pass`].
    pub fn await_answer(&mut self, what: &str, most: Duration) -> Result<Duration, Failure> {
        let begin = Instant::now();
        loop {
            if let Some(answered) = self.judged_load().first_answer_after(begin) {
                let took = answered - begin;
                self.require(took <= most, || {
                    format!("{what}: the first answer came after {took:.1?} ({most:?} allowed)")
                });
                self.tell(|| format!("{what}: answers after {took:.3?}"));
                return Ok(took);
            }
            if begin.elapsed() > most + Duration::from_secs(1) {
                return Err(Failure::Failed(format!("{what}: no operation was answered within {most:?}")));
            }
            self.pass(LOOK_INTERVAL)?;
        }
    }

    /// Waits until replica `id` takes part again; that it does not within `most`, is wrong.
    ///
    /// # Errors
    ///
    /// As [`Run::pass`], and when the replicas cannot be asked.
    pub fn await_back(&mut self, id: usize, most: Duration) -> Result<(), Failure> {
        let begin = Instant::now();
        while begin.elapsed() < most {
            let answers = self.cluster.ask()?;
            if self.cluster.is_back(id, &answers) {
                let view = answers[id].as_ref().map(|own| own.view);
                self.tell(|| format!("replica {id} is back after {:.3?}, in view {view:?}", begin.elapsed()));
                return Ok(());
            }
            self.pass(ASK_INTERVAL)?;
        }
        let answer = self.cluster.ask()?.swap_remove(id).map(|status| (status.view, status.executed, status.progress));
        self.require(false, || format!("replica {id} was not back within {most:?}; view, executed, state: {answer:?}"));
        Ok(())
    }

    /// Waits until the cluster is in a view or a later one; that it is not within `most`, is wrong.
    ///
    /// # Errors
    ///
    /// As [`Run::pass`], and when the replicas cannot be asked.
    pub fn await_view(&mut self, view: u64, most: Duration) -> Result<(), Failure> {
        let begin = Instant::now();
        while begin.elapsed() < most {
            if self.view()? >= view {
                self.tell(|| format!("view {view} after {:.3?}", begin.elapsed()));
                return Ok(());
            }
            self.pass(ASK_INTERVAL)?;
        }
        self.require(false, || format!("view {view} was not reached within {most:?}"));
        Ok(())
    }

    /// The primary of now.
    ///
    /// # Errors
    ///
    /// When too few replicas say.
    pub fn primary(&self) -> Result<usize, Failure> {
        self.cluster.primary()
    }

    /// A backup that the seed chooses.
    ///
    /// # Errors
    ///
    /// When too few replicas say which is the primary.
    pub fn any_backup(&mut self) -> Result<usize, Failure> {
        let (primary, count) = (self.primary()?, self.cluster.cluster.replica_count());
        Ok((primary + 1 + self.chance.below(count - 1)) % count)
    }

    /// The view that `f+1` replicas report.
    ///
    /// # Errors
    ///
    /// When fewer answer.
    pub fn view(&self) -> Result<u64, Failure> {
        self.cluster.view()
    }

    /// Starts a replica that is down; `disk_lost`: it has nothing.
    ///
    /// # Errors
    ///
    /// When it does not become ready.
    pub fn restart(&mut self, id: usize, disk_lost: bool) -> Result<(), Failure> {
        self.tell(|| format!("replica {id} is started again"));
        self.cluster.restart(id, disk_lost, self.stop)
    }

    /// Kills a replica.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub fn kill(&mut self, id: usize) -> Result<(), Failure> {
        self.tell(|| format!("SIGKILL of replica {id}"));
        self.cluster.kill(id)
    }

    /// Tells a replica of a cluster of liars to lie, or to behave.
    ///
    /// # Errors
    ///
    /// When it cannot be told.
    pub fn order(&mut self, id: usize, lie: Option<Lie>) -> Result<(), Failure> {
        self.tell(|| lie.map_or(format!("replica {id} behaves"), |lie| format!("replica {id} lies: {lie:?}")));
        liar::order(&self.cluster.config(), id, lie)
    }

    /// Starts the second driver, whose clients nobody judges, and returns its session socket. It runs until what is
    /// returned beside it is dropped.
    ///
    /// # Errors
    ///
    /// When it does not become ready.
    pub fn start_guest(&mut self) -> Result<(logothete::children::Children, PathBuf), Failure> {
        let config = self.cluster.config();
        let _inside = self.network().enter(Host::Guest)?;
        let guest =
            crate::process::start(&["driver", "--config", &config.display().to_string(), "--client", "1"], self.stop)?;
        Ok((guest, DriverLocal::load(&DriverLocal::file(&config, 1))?.session))
    }

    /// Set when the program is to end.
    pub fn stop_flag(&self) -> &'a AtomicBool {
        self.stop
    }

    /// How many replicas say of themselves what `is` asks.
    ///
    /// # Errors
    ///
    /// When the replicas cannot be asked.
    pub fn count(&self, is: impl Fn(&ReplicaStatus) -> bool) -> Result<usize, Failure> {
        Ok(self.cluster.ask()?.iter().flatten().filter(|status| is(status)).count())
    }

    /// The last number that `f+1` replicas have executed.
    ///
    /// # Errors
    ///
    /// When fewer answer.
    pub fn executed(&self) -> Result<u64, Failure> {
        let executed = supported(&self.cluster.ask()?, self.cluster.cluster.quorum().weak(), |status| status.executed);
        executed.ok_or_else(|| Failure::Failed(String::from("too few replicas say what they have executed")))
    }
}

/// Whether a signal asked this program to end.
///
/// # Errors
///
/// When one did.
pub fn check_stop(stop: &AtomicBool) -> Result<(), Failure> {
    if stop.load(Ordering::Relaxed) { Err(Failure::Failed(String::from("interrupted"))) } else { Ok(()) }
}
