//! `cargo run --release -p logothete-fuzz -- run [TARGET]...`; `--help` says the rest.

use clap::{Parser, Subcommand};
use logothete_fuzz::run::{Extent, keep_findings, play, run};
use logothete_fuzz::{TARGETS, Target, corpus, target};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Feeds every place that reads foreign bytes with hostile ones.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Plays the corpus, and mutations of it.
    Run {
        /// Which targets; all without.
        targets: Vec<String>,
        /// For how long each.
        #[arg(long, conflicts_with = "runs")]
        seconds: Option<u64>,
        /// How many inputs each.
        #[arg(long, default_value_t = 10_000)]
        runs: u64,
        /// The same seed makes the same inputs.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Where an input is kept that makes a target panic.
        #[arg(long, default_value = "target/fuzz-findings")]
        findings: PathBuf,
    },
    /// Plays files.
    Play {
        /// Which target.
        target: String,
        /// Its inputs.
        files: Vec<PathBuf>,
    },
    /// Lists the targets.
    List,
    /// Writes the samples of the corpus anew.
    Corpus,
}

fn named(name: &str) -> Result<&'static Target, String> {
    target(name).ok_or_else(|| format!("no target is called {name}; `list` says which there are"))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match Arguments::parse().command {
        Command::Run { targets, seconds, runs, seed, findings } => {
            keep_findings(findings);
            let chosen: Vec<&Target> = match targets.is_empty() {
                true => TARGETS.iter().collect(),
                false => targets.iter().map(|name| named(name)).collect::<Result<_, _>>()?,
            };
            let extent = seconds.map_or(Extent::Inputs(runs), |seconds| Extent::Time(Duration::from_secs(seconds)));
            for target in chosen {
                let begun = Instant::now();
                let played = run(target, seed, extent)?;
                let rate = played as f64 / begun.elapsed().as_secs_f64();
                println!("{:<16} {played:>9} inputs, {rate:>9.0} a second: passed", target.name);
            }
        }
        Command::Play { target, files } => {
            let target = named(&target)?;
            for file in files {
                play(target, &std::fs::read(&file)?);
                println!("{}: passed", file.display());
            }
        }
        Command::List => TARGETS.iter().for_each(|target| println!("{:<16} {}", target.name, target.about)),
        Command::Corpus => {
            for target in TARGETS {
                println!("{:<16} {} samples", target.name, corpus::write(target)?);
            }
        }
    }
    Ok(())
}
