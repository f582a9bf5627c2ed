//! `logothete simulate`: the engine under a seeded adversary, in virtual time.

use crate::failure::Failure;
use crate::output::{Progress, print_line, write_json};
use crate::signals::stop_flag;
use crate::simulate::alarm;
use crate::simulate::exhaustive::{self, parse_bound};
use crate::simulate::report::Report;
use crate::simulate::shrink::write_shrunk;
use crate::simulate::sweep::{Sweep, verified};
use crate::simulate::trace;
use logothete_simulator::exhaustive::Bound;
use logothete_simulator::swarm::mix::Mix;
use logothete_simulator::swarm::plan::Plan;
use logothete_simulator::swarm::run::{Outcome, play};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Distance between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// Plays the engine under a seeded adversary, in virtual time.
///
/// One seed is one run: it draws a cluster, its network, clocks and disks, what clients ask for and what goes wrong. Real replicas and clients
/// run in it, in one thread, and checkers look at everything from outside. After a phase with faults a core of correct
/// replicas is healed, and everything asked for must complete within the bound. The same seed gives the same run. The
/// exit status is 1 when a property is violated; then the seed, the property, the command that plays it again and the
/// end of its trace are printed. After SIGINT no further seed begins, and what was played is reported.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  logothete simulate --seed 42
  logothete simulate --seeds 0..5000 --marks --json -
  logothete simulate --seed 42 --fault-mix network --replicas 7 --trace trace.html
  logothete simulate --seeds 0..1000 --shrink=small.json
  logothete simulate --seed 42 --print-plan > plan.json; logothete simulate --plan plan.json")]
pub struct Arguments {
    /// One seed
    #[arg(long, value_name = "S", conflicts_with_all = ["seeds", "plan"])]
    seed: Option<u64>,
    /// Seeds from A up to before B [default: 0..200]
    #[arg(long, value_name = "A..B", value_parser = parse_range, conflicts_with = "plan")]
    seeds: Option<Range<u64>>,
    /// Play a plan that --print-plan wrote, perhaps edited
    #[arg(long, value_name = "FILE", conflicts_with_all = ["replicas", "fault_mix", "operations"])]
    plan: Option<PathBuf>,
    /// Print the plan of the seed as JSON instead of playing it
    #[arg(long, requires = "seed")]
    print_plan: bool,
    /// Number of replicas: 4, 7, 10, 13 or 16 [default: the seed draws 4, 7 or 10]
    #[arg(long, value_name = "N", value_parser = parse_replicas)]
    replicas: Option<usize>,
    /// How many replicas take part when nothing is wrong: all, for the time being
    #[arg(long, value_name = "all", default_value = "all", value_parser = ["all"])]
    active: String,
    /// What goes wrong: none, network, crash, byzantine or all
    #[arg(long, value_name = "MIX", default_value = "all", value_parser = parse_mix)]
    fault_mix: Mix,
    /// Stop each seed after K deliveries and turns, wherever it is then
    #[arg(long, value_name = "K", default_value_t = u64::MAX, hide_default_value = true, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Operations that the clients of a seed ask for in the phase with faults
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    operations: u32,
    /// Seeds played, or searches made, at the same time [default: one a processor]
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Play every seed twice and compare; otherwise one in a hundred is
    #[arg(long)]
    verify: bool,
    /// Plant a violation in each seed, which must come out as a failure
    #[arg(long)]
    canary: bool,
    /// Make the plan that fails smaller, for two minutes at most, and write what is left to FILE [default: shrunk.json]
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "shrunk.json")]
    shrink: Option<PathBuf>,
    /// Print how often each coverage mark was hit, and fail if one was missed
    #[arg(long)]
    marks: bool,
    /// Write all that happens to FILE, as a page with a lane for each agent if its name ends in .html: one seed only
    #[arg(long, value_name = "FILE", conflicts_with = "seeds")]
    trace: Option<PathBuf>,
    /// Write the sums to FILE as JSON (- for standard output, instead of the table)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Search everything that may happen to four replicas within a bound, one of them faulty, instead of playing seeds
    #[arg(long, conflicts_with_all = ["seed", "seeds", "plan", "replicas", "marks", "trace", "json", "verify", "canary", "shrink"])]
    exhaustive: bool,
    /// The bound: sequence numbers, views, moves with a lie, time-outs [default: 2,3,1,2 and then 1,3,1,3]
    #[arg(long, value_name = "N,V,L,T", requires = "exhaustive", value_parser = parse_bound)]
    bound: Option<Bound>,
}

/// Runs the command.
///
/// # Errors
///
/// When a property is violated, a mark is missed, or a file cannot be read or written.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.exhaustive {
        let bounds = arguments.bound.map_or_else(|| Bound::STANDARD.to_vec(), |bound| vec![bound]);
        bounds.into_iter().try_for_each(|bound| exhaustive::search(bound, arguments.jobs()))?;
        return print_line("passed");
    }
    let (sweep, own) = (arguments.sweep(), arguments.own());
    alarm::arm(move |seed| own.iter().map(|word| word.replace("SEED", &seed.to_string())).collect());
    let begin = Instant::now();
    let mut report = Report::default();
    match (arguments.seed, &arguments.plan) {
        (Some(seed), _) if arguments.print_plan => return print_line(&sweep.plan(seed).to_text()),
        (Some(seed), _) => arguments.play_one(&sweep.plan(seed), &mut report)?,
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path).map_err(|error| Failure::of_file("read", path, &error))?;
            let plan =
                Plan::from_text(&text).map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
            arguments.play_one(&plan, &mut report)?;
        }
        (None, None) => arguments.play_many(&sweep, &mut report)?,
    }
    arguments.conclude(&report, begin.elapsed())
}

impl Arguments {
    fn sweep(&self) -> Sweep {
        Sweep {
            mix: self.fault_mix,
            replicas: self.replicas,
            operations: self.operations,
            steps_max: self.steps,
            verify: self.verify,
            canary: self.canary,
            jobs: self.jobs(),
        }
    }

    /// How many threads work.
    fn jobs(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.jobs.map_or_else(processors, usize::from)
    }

    /// The command that plays a seed of this one alone, with `SEED` in its place.
    fn own(&self) -> Vec<String> {
        let mut words = vec!["simulate".to_owned()];
        let mut option = |name: &str, value: String| words.extend([format!("--{name}"), value]);
        match &self.plan {
            Some(path) => option("plan", path.display().to_string()),
            None => {
                option("seed", "SEED".to_owned());
                option("fault-mix", self.fault_mix.name().to_owned());
                option("operations", self.operations.to_string());
            }
        }
        if let Some(replicas) = self.replicas {
            option("replicas", replicas.to_string());
        }
        if self.steps != u64::MAX {
            option("steps", self.steps.to_string());
        }
        if self.canary {
            words.push("--canary".to_owned());
        }
        words
    }

    /// Plays one plan, and tells of it.
    fn play_one(&self, plan: &Plan, report: &mut Report) -> Result<(), Failure> {
        alarm::seed_begins(plan.seed);
        let mut outcome = match self.trace.as_deref() {
            Some(path) => trace::write(plan, self.steps, path)?,
            None => play(plan, self.steps, Some(&mut alarm::told)),
        };
        if self.verify {
            outcome = verified(plan, self.steps, outcome);
        }
        if self.json.is_none() {
            print_line(&format!("seed {}\n{plan}", plan.seed))?;
            print_line(&format!("ended     in view {}, fingerprint {}", outcome.view, outcome.fingerprint))?;
        }
        if outcome.violation.is_some() {
            eprintln!("the end of what happened:");
            alarm::tail().iter().for_each(|line| eprintln!("{line}"));
            self.shrink(plan, &outcome)?;
        }
        report.add(outcome);
        Ok(())
    }

    fn play_many(&self, sweep: &Sweep, report: &mut Report) -> Result<(), Failure> {
        let seeds = self.seeds.clone().unwrap_or(0..200);
        let (begin, of) = (Instant::now(), seeds.end - seeds.start);
        let (mut progress, mut shown) = (Progress::new(), Instant::now());
        let stop = stop_flag()?;
        sweep.run(seeds, &stop, |outcome| {
            if let Some((property, at_ns)) = &outcome.violation {
                progress.end();
                eprintln!("{}", self.failure(outcome.seed, property, *at_ns));
            }
            report.add(outcome);
            if shown.elapsed() >= PROGRESS_EVERY {
                shown = Instant::now();
                progress.show(&report.progress(of, begin.elapsed()));
            }
        });
        progress.end();
        report.interrupted_of = Some(of).filter(|of| report.seeds < *of);
        // Whichever was played first.
        report.failed.sort_unstable_by_key(|failed| failed.seed);
        let Some(first) = report.failed.first() else { return Ok(()) };
        // Alone it tells what happened.
        let plan = sweep.plan(first.seed);
        let outcome = play(&plan, self.steps, Some(&mut alarm::told));
        eprintln!("the end of what happened in seed {}:", first.seed);
        alarm::tail().iter().for_each(|line| eprintln!("{line}"));
        self.shrink(&plan, &outcome)
    }

    fn shrink(&self, plan: &Plan, outcome: &Outcome) -> Result<(), Failure> {
        self.shrink.as_deref().map_or(Ok(()), |path| write_shrunk(plan, outcome, path))
    }

    fn failure(&self, seed: u64, property: &str, at_ns: u64) -> String {
        let again = self.own().join(" ").replace("SEED", &seed.to_string());
        let at_ms = at_ns as f64 / 1e6;
        format!("seed {seed} FAILED at {at_ms:.3} ms of virtual time: {property}\nagain: logothete {again}")
    }

    /// Says what came of it, and whether that is a success.
    fn conclude(&self, report: &Report, elapsed: Duration) -> Result<(), Failure> {
        if let Some(path) = &self.json {
            write_json(path, &report.json(elapsed))?;
        }
        if self.json.as_deref() != Some(Path::new("-")) {
            report.lines(elapsed).iter().try_for_each(|line| print_line(line))?;
            if self.marks {
                print_line(report.marks.to_string().trim_end())?;
            }
        }
        if let Some(first) = report.failed.first() {
            let seeds: Vec<String> = report.failed.iter().map(|failed| failed.seed.to_string()).collect();
            let text = self.failure(first.seed, &first.property, first.virtual_ns);
            return Err(Failure::Failed(match seeds.len() {
                1 => text,
                count => format!("{count} seeds failed: {}\n{text}", seeds.join(" ")),
            }));
        }
        if let Some(of) = report.interrupted_of {
            return Err(Failure::Failed(format!("interrupted after {} of {of} seeds, which passed", report.seeds)));
        }
        let missed = report.marks.missed();
        if self.marks && !missed.is_empty() {
            return Err(Failure::Failed(format!("no seed came through: {}", missed.join(", "))));
        }
        if self.json.as_deref() == Some(Path::new("-")) { Ok(()) } else { print_line("passed") }
    }
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let wanted = || String::from("write A..B, such as 0..1000");
    let (from, to) = text.split_once("..").ok_or_else(wanted)?;
    let (from, to): (u64, u64) = (from.parse().map_err(|_| wanted())?, to.parse().map_err(|_| wanted())?);
    if from < to { Ok(from..to) } else { Err(String::from("the range is empty")) }
}

fn parse_replicas(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(replicas @ (4 | 7 | 10 | 13 | 16)) => Ok(replicas),
        _ => Err(String::from("write 4, 7, 10, 13 or 16")),
    }
}

fn parse_mix(text: &str) -> Result<Mix, String> {
    text.parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_not_empty() {
        assert_eq!(parse_range("3..5"), Ok(3..5));
        for text in ["", "3", "5..3", "3..3", "..", "a..b"] {
            assert!(parse_range(text).is_err(), "{text}");
        }
    }
}
