//! `lab`: real processes of Logothete in network namespaces, hurt and judged.
//!
//! What this crate is for: what the simulator cannot show, because it has neither this kernel nor these processes. A
//! [`network`] of namespaces, a cluster of `logothete` processes in it, a judged [`load`] on it, whoever means harm
//! ([`hostile`]), and the stories ([`scenario`]) that are told with these. [`run`] holds one of them together, [`report`]
//! says what was found, [`sandbox`] leaves nothing behind. What must never be here: a way of its own to judge a history,
//! to start a cluster, or to speak the protocol.
//!
//! The program is `logothete`, too, when its first argument is a command of that: the replicas are of the same build.

mod hostile;
mod load;
mod needs;
mod network;
mod process;
mod report;
mod run;
mod sandbox;
mod scenario;

use clap::{Parser, Subcommand};
use hostile::application::{Abuse, misbehave};
use logothete::children::die_with_parent;
use logothete::failure::Failure;
use logothete::signals::stop_flag;
use report::Report;
use run::{Terms, run_once};
use scenario::{Scenario, When, all};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Commands of `logothete` that the lab starts.
const OF_LOGOTHETE: [&str; 3] = ["replica", "driver", "rotate-keys"];

/// How much less an abuser wants the processor than the others: as much as there is.
const NICE_MORE: i32 = 19;

/// Hurts clusters of real processes in network namespaces and judges what becomes of what they promised.
#[derive(Parser)]
#[command(name = "lab", version, after_help = "Example: lab run kill-primary loss-5 --times 3", max_term_width = 120)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the scenarios
    #[command(after_help = "Example: lab list")]
    List,
    /// Runs scenarios, all of them if none is named, and prints a table
    ///
    /// The exit status is 1 when one failed, 2 for wrong usage. It needs root, and the programs ip, tc and nft.
    #[command(after_help = "Examples:
  lab run
  lab run --ci --json -
  lab run kill-primary RP-10 --seed 7 --times 3 --verbose")]
    Run(RunArguments),
    #[command(hide = true)]
    Abuse(AbuseArguments),
    #[command(hide = true)]
    LyingReplica(logothete::ReplicaArguments),
}

#[derive(clap::Args)]
struct RunArguments {
    /// Scenarios, by name or by their entry of the test plan (RP-10)
    #[arg(value_name = "NAMES")]
    names: Vec<String>,
    /// The short selection, at most eight minutes; judged as generously as a small, shared machine needs
    #[arg(long)]
    ci: bool,
    /// Where the random choices begin; each run has the next
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Runs of each scenario
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    times: u32,
    /// Write one line of JSON a run to FILE (- for standard output, instead of the table)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Tell on standard error what happens
    #[arg(long)]
    verbose: bool,
    /// The process of this program that started this one
    #[arg(long, value_name = "PID", hide = true)]
    child_of: Option<u32>,
}

#[derive(clap::Args)]
struct AbuseArguments {
    abuse: Abuse,
    #[arg(long)]
    session: PathBuf,
    #[arg(long)]
    seed: u64,
    #[arg(long)]
    seconds: u64,
    #[arg(long)]
    child_of: u32,
}

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|first| OF_LOGOTHETE.contains(&first.as_str())) {
        return logothete::run(std::env::args_os());
    }
    let outcome = match Arguments::parse().command {
        Command::List => list(),
        Command::Run(arguments) => run_scenarios(&arguments),
        Command::Abuse(arguments) => abuse(&arguments),
        Command::LyingReplica(arguments) => hostile::liar::run(&arguments).map(|()| ExitCode::SUCCESS),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("lab: {failure}");
            failure.exit_code()
        }
    }
}

fn list() -> Result<ExitCode, Failure> {
    for scenario in all() {
        let when = match scenario.when {
            When::Ci => "ci",
            When::All => "",
            When::Named => "named",
        };
        let Scenario { id, name, seconds, about, .. } = scenario;
        print(&format!("{id:<6} {name:<22} {seconds:>5} s  {when:<6} {about}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn abuse(arguments: &AbuseArguments) -> Result<ExitCode, Failure> {
    die_with_parent(arguments.child_of).map_err(Failure::Failed)?;
    // What is looked for is harm done through the driver, not through the processor.
    rustix::process::nice(NICE_MORE).map_err(|error| Failure::Failed(format!("nice failed: {error}")))?;
    misbehave(&arguments.session, arguments.abuse, Duration::from_secs(arguments.seconds), arguments.seed)?;
    Ok(ExitCode::SUCCESS)
}

fn run_scenarios(arguments: &RunArguments) -> Result<ExitCode, Failure> {
    let chosen = choose(&arguments.names, arguments.ci)?;
    let Some(parent) = arguments.child_of else {
        needs::check()?;
        return sandbox::run_again_inside();
    };
    die_with_parent(parent).map_err(Failure::Failed)?;
    let stop = stop_flag()?;
    sandbox::files_in_memory()?;
    let mut out = Outputs::open(arguments.json.as_deref())?;
    let mut failed = false;
    for scenario in &chosen {
        for seed in (arguments.seed..).take(arguments.times as usize) {
            let terms = Terms { ci: arguments.ci, verbose: arguments.verbose, stop: &stop };
            let report = run_once(scenario, seed, terms)?;
            out.tell(&report, arguments.verbose)?;
            failed |= !report.passed();
        }
    }
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// The scenarios that are named, or the selection.
///
/// # Errors
///
/// Wrong usage: a name that is none.
fn choose(names: &[String], ci: bool) -> Result<Vec<Scenario>, Failure> {
    let all = all();
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|scenario| is_named(scenario, name))) {
        return Err(Failure::Usage(format!("no scenario is called {unknown}: see `lab list`")));
    }
    let wanted = |scenario: &Scenario| match names {
        [] if ci => scenario.when == When::Ci,
        [] => scenario.when != When::Named,
        names => names.iter().any(|name| is_named(scenario, name)),
    };
    Ok(all.into_iter().filter(wanted).collect())
}

fn is_named(scenario: &Scenario, name: &str) -> bool {
    scenario.name == name || scenario.id == name
}

/// Where reports go.
struct Outputs {
    json: Option<File>,
    table: bool,
    /// JSON goes to standard output.
    json_only: bool,
}

impl Outputs {
    fn open(json: Option<&Path>) -> Result<Self, Failure> {
        let json_only = json == Some(Path::new("-"));
        let json = json
            .filter(|_| !json_only)
            .map(|path| File::create(path).map_err(|error| Failure::of_file("write", path, &error)));
        if !json_only {
            print(&Report::heading())?;
        }
        Ok(Self { json: json.transpose()?, table: !json_only, json_only })
    }

    /// Tells of a run; where it failed, with its story, unless that was told already.
    fn tell(&mut self, report: &Report, told: bool) -> Result<(), Failure> {
        if let Some(file) = &mut self.json {
            writeln!(file, "{}", report.to_json()).map_err(|error| Failure::of_output(&error))?;
        }
        if self.json_only {
            print(&report.to_json().to_string())?;
        }
        if self.table {
            report.to_lines().iter().try_for_each(|line| print(line))?;
        }
        if !report.passed() && !told {
            report.story.iter().for_each(|line| eprintln!("  {line}"));
        }
        Ok(())
    }
}

fn print(line: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{line}").map_err(|error| Failure::of_output(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn scenarios_are_chosen_by_name_by_entry_or_all() {
        let names = |names: &[&str], ci| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            choose(&names, ci).map(|chosen| chosen.iter().map(|scenario| scenario.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["clean"], false).unwrap(), ["clean"]);
        assert_eq!(names(&["RP-02"], true).unwrap(), ["loss-1", "loss-5", "loss-20"]);
        let (ci, every) = (names(&[], true).unwrap(), names(&[], false).unwrap());
        assert!(ci.iter().all(|name| every.contains(name)) && ci.len() < every.len());
        assert!(!every.contains(&"soak"));
        assert!(matches!(names(&["nonsense"], false), Err(Failure::Usage(_))));
    }
}
