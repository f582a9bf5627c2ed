//! Seeds on threads: each plays the next one until there is none.

use logothete_simulator::swarm::mix::Mix;
use logothete_simulator::swarm::plan::Plan;
use logothete_simulator::swarm::run::{Outcome, play};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

/// Of so many seeds one is played twice, to see that both runs are the same.
const VERIFIED_ONE_IN: u64 = 100;

/// What is played of each seed.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    pub mix: Mix,
    pub replicas: Option<usize>,
    pub operations: u32,
    pub steps_max: u64,
    /// Play every seed twice.
    pub verify: bool,
    pub canary: bool,
    pub jobs: usize,
}

impl Sweep {
    /// The plan of a seed.
    pub fn plan(&self, seed: u64) -> Plan {
        Plan { canary: self.canary, ..Plan::draw(seed, self.mix, self.operations, self.replicas) }
    }

    /// Plays all seeds until `stop`, and hands over each outcome as it comes.
    pub fn run(&self, seeds: Range<u64>, stop: &AtomicBool, mut on_outcome: impl FnMut(Outcome)) {
        let next = AtomicU64::new(seeds.start);
        std::thread::scope(|scope| {
            let (sender, outcomes) = mpsc::channel();
            for _ in 0..self.jobs {
                let (sender, next, end) = (sender.clone(), &next, seeds.end);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= end || sender.send(self.play(seed)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            outcomes.into_iter().for_each(&mut on_outcome);
        });
    }

    fn play(&self, seed: u64) -> Outcome {
        super::alarm::seed_begins(seed);
        let plan = self.plan(seed);
        let outcome = play(&plan, self.steps_max, None);
        if self.verify || seed.is_multiple_of(VERIFIED_ONE_IN) {
            verified(&plan, self.steps_max, outcome)
        } else {
            outcome
        }
    }
}

/// Plays a plan once more: it has to come out the same.
pub fn verified(plan: &Plan, steps_max: u64, first: Outcome) -> Outcome {
    let again = play(plan, steps_max, None);
    if again.fingerprint == first.fingerprint {
        return first;
    }
    let text = format!("two runs of the seed differ: {} and {}", first.fingerprint, again.fingerprint);
    Outcome { violation: Some((text, first.virtual_ns)), ..first }
}
