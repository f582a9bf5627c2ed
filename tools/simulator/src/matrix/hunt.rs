//! One bug, one master seed: seeds are played until one fails, or the budget is used up.

use crate::checks::panics::caught;
use crate::swarm::mix::Mix;
use crate::swarm::plan::Plan;
use crate::swarm::run;
use crate::world::random::Random;
use logothete_engine::planted::{Bug, plant};
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Operations of each seed.
const OPERATIONS: u32 = 100;

/// What may be spent on one bug.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub seeds: usize,
    pub time: Duration,
    pub threads: usize,
}

/// How a seed failed.
#[derive(Clone, Debug)]
pub struct Catch {
    /// How many seeds were played up to it, it included, in the order of the master seed: the same however many threads play.
    pub after: usize,
    pub seed: u64,
    pub failure: String,
}

/// What came of a hunt.
#[derive(Clone, Debug)]
pub struct Hunted {
    pub bug: Option<Bug>,
    /// `None` where all seeds passed.
    pub catch: Option<Catch>,
    /// How many seeds were played.
    pub played: usize,
    pub took: Duration,
}

impl Hunted {
    /// Whether it ended as it should: a bug is caught, and nothing where there is none.
    pub fn is_well(&self) -> bool {
        self.bug.is_some() == self.catch.is_some()
    }
}

/// Plays the seeds of a master seed with a bug in force, or with none.
pub fn hunt(bug: Option<Bug>, master: u64, budget: Budget) -> Hunted {
    plant(bug);
    let mut random = Random::new(master);
    let seeds: Vec<u64> = (0..budget.seeds).map(|_| random.draw()).collect();
    let (begun, next, failed) = (Instant::now(), AtomicUsize::new(0), AtomicBool::new(false));
    let first: Mutex<Option<Catch>> = Mutex::new(None);
    let work = || {
        while !failed.load(Ordering::Relaxed) && begun.elapsed() < budget.time {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(&seed) = seeds.get(at) else { return };
            if let Err(failure) = play(seed, false) {
                failed.store(true, Ordering::Relaxed);
                // What another thread plays came before or after: the first in the order of the seeds counts.
                let mut first = first.lock().expect("nobody panics with it");
                if first.as_ref().is_none_or(|held| at < held.after) {
                    *first = Some(Catch { after: at + 1, seed, failure });
                }
            }
        }
    };
    thread::scope(|scope| (0..budget.threads).for_each(|_| drop(scope.spawn(work))));
    let catch = first.into_inner().expect("nobody panics with it");
    let played = next.into_inner().min(seeds.len());
    Hunted { bug, catch, played, took: begun.elapsed() }
}

/// Plays one seed, and prints what happens where that is wanted; a panic is a failure like another.
///
/// # Errors
/// What failed.
pub fn play(seed: u64, tell: bool) -> Result<(), String> {
    let plan = Plan::draw(seed, Mix::All, OPERATIONS, None);
    let mut print = |line: &str| println!("{line}");
    let listener: Option<&mut run::Tell<'_>> = if tell { Some(&mut print) } else { None };
    if tell {
        println!("{plan}");
    }
    let run = || run::play(&plan, u64::MAX, listener).violation.map_or(Ok(()), |(failure, _)| Err(failure));
    caught(&format!("seed {seed:#x}"), AssertUnwindSafe(run))
}
