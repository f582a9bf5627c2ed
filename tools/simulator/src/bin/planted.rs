//! Plants one bug after the other, and plays seeds until a checker fails (`engine/docs/planted-bugs.md`).
//!
//! `cargo run --profile planted -p logothete-simulator --features planted-bugs --bin planted`
#![forbid(unsafe_code)]

use clap::Parser;
use logothete_engine::planted::{Bug, plant};
use logothete_simulator::matrix::hunt::{Budget, hunt, play};
use logothete_simulator::matrix::table;
use std::process::ExitCode;
use std::time::Duration;

/// Plants bugs, and tells which checker finds each.
#[derive(Parser)]
struct Arguments {
    /// Only these, all variants of them: PB-05, PB-05a; "control" plants nothing.
    #[arg(long, value_name = "ID")]
    bug: Vec<String>,
    /// Seeds follow from it; may be given more than once.
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    master_seed: Vec<u64>,
    /// The most seeds for each bug.
    #[arg(long, value_name = "COUNT", default_value_t = 2000)]
    budget_seeds: usize,
    /// The most seconds for each bug.
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    budget_seconds: u64,
    /// Threads that play seeds.
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    threads: usize,
    /// Print the table of the documentation.
    #[arg(long)]
    markdown: bool,
    /// Play this seed alone, with the bug, and tell all that happens.
    #[arg(long, value_name = "SEED", value_parser = seed)]
    seed: Option<u64>,
}

fn seed(text: &str) -> Result<u64, std::num::ParseIntError> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let wanted = |id: &str| {
        let is = |prefix: &String| id.strip_prefix(prefix.as_str()).is_some_and(|variant| variant.len() <= 1);
        arguments.bug.is_empty() || arguments.bug.iter().any(is)
    };
    let bugs: Vec<Option<Bug>> = [None]
        .into_iter()
        .chain(Bug::ALL.iter().copied().map(Some))
        .filter(|bug| wanted(bug.map_or("control", Bug::id)))
        .collect();
    if let Some(seed) = arguments.seed {
        plant(bugs.first().copied().flatten());
        return match play(seed, true) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                println!("{failure}");
                ExitCode::FAILURE
            }
        };
    }
    let budget = Budget {
        seeds: arguments.budget_seeds,
        time: Duration::from_secs(arguments.budget_seconds),
        threads: arguments.threads,
    };
    let mut hunts = Vec::new();
    for bug in &bugs {
        for master in &arguments.master_seed {
            let hunted = hunt(*bug, *master, budget);
            eprintln!("{}", table::line(&hunted));
            hunts.push(hunted);
        }
    }
    if arguments.markdown {
        print!("{}", table::markdown(&arguments.master_seed, &hunts));
    }
    if !bugs.is_empty() && hunts.iter().all(|hunted| hunted.is_well()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
