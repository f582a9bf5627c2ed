//! `logothete simulate --shrink`: what is left of a plan that fails, in a file that plays it again.

use crate::failure::Failure;
use crate::output::{Progress, print_line};
use logothete_simulator::swarm::plan::Plan;
use logothete_simulator::swarm::run::{Outcome, play};
use logothete_simulator::swarm::shrink::{property, shrink};
use std::path::Path;
use std::time::{Duration, Instant};

/// What shrinking may take.
const TIME_MAX: Duration = Duration::from_secs(120);

/// A smaller plan may go on for so many times the steps of the one that it is made of before it counts as one that passes.
const STEPS_FACTOR: u64 = 4;

/// Makes a plan smaller that fails in an outcome, and writes it to a file, also each time that it becomes smaller: a smaller one may end the program.
///
/// # Errors
///
/// When the file cannot be written.
pub fn write_shrunk(plan: &Plan, outcome: &Outcome, path: &Path) -> Result<(), Failure> {
    let Some((violation, _)) = &outcome.violation else { return Ok(()) };
    let steps_max = STEPS_FACTOR * (outcome.deliveries + outcome.turns) + 1000;
    let (begin, mut played, mut progress, mut written) = (Instant::now(), 0, Progress::new(), Ok(()));
    let fails = |smaller: &Plan| {
        if begin.elapsed() >= TIME_MAX || written.is_err() {
            return None;
        }
        played += 1;
        progress.show(&format!("shrinking: {played} plans played, {} s", begin.elapsed().as_secs()));
        let found = play(smaller, steps_max, None).violation;
        let same = found.is_some_and(|(text, _)| property(&text) == property(violation));
        if same {
            written = std::fs::write(path, smaller.to_text());
        }
        Some(same)
    };
    let least = shrink(plan, fails);
    progress.end();
    written
        .and_then(|()| std::fs::write(path, least.to_text()))
        .map_err(|error| Failure::of_file("write", path, &error))?;
    print_line(&format!("shrunk by {played} plans in {:.1} s, to\n{least}", begin.elapsed().as_secs_f64()))?;
    print_line(&format!("again     logothete simulate --plan {} --trace trace.html", path.display()))
}
