//! `logothete generals`: the Byzantine generals' problem, its algorithms, its bound, and the same faults against the replicas.

mod exhaustive;
mod impossible;
mod pbft;
mod run;

use crate::failure::Failure;
use crate::options::parse_duration;
use crate::output::{print_line, write_text};
use clap::Subcommand;
use logothete_generals::Order;
use logothete_generals::problem::{Algorithm, Generals};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The Byzantine generals' problem, executable: OM(m), SM(m), their bound, and the same against the real replicas.
///
/// General 0 is the commander, the others are lieutenants. What the algorithms promise (Lamport, Shostak, Pease, 1982): IC1, all loyal
/// lieutenants obey the same order; IC2, if the commander is loyal, they obey his. The exit status is 1 when a run breaks one of them.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  logothete generals om --generals 4 --traitors 3, --show
  logothete generals om --generals 4 --exhaustive
  logothete generals sm --generals 3 --traitors 0, --strategy split --svg sm.svg
  logothete generals impossible
  logothete generals pbft --faulty 0 --svg pbft.svg")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// OM(m): oral messages, for n >= 3m+1 generals
    #[command(after_help = "Example: logothete generals om --generals 7 --traitors 0,6 --strategy collude --show")]
    Om(Play),
    /// SM(m): signed messages, for any number of generals
    #[command(after_help = "Example: logothete generals sm --generals 4 --traitors 2 --strategy collude --show")]
    Sm(Play),
    /// Why three generals cannot bear one traitor: all deterministic rules, one by one
    #[command(after_help = "Example: logothete generals impossible")]
    Impossible(impossible::Arguments),
    /// The five phases of PBFT, played by the real replicas, one of them faulty
    #[command(after_help = "Example: logothete generals pbft --faulty 3 --strategy silent --show --svg pbft.svg")]
    Pbft(pbft::Arguments),
    /// Writes the ten figures of the lecture notes, redrawn from runs
    #[command(after_help = "Example: logothete generals figures figures/")]
    Figures {
        /// Where
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

/// A run of OM(m) or SM(m).
#[derive(clap::Args)]
struct Play {
    /// Generals, the commander included
    #[arg(long, value_name = "N", default_value_t = 4)]
    generals: usize,
    /// Who the traitors are: a list such as 0,3 (one alone: 3,), or how many, drawn by --seed [default: none; --exhaustive: m as large as n bears]
    #[arg(long, value_name = "LIST|K", value_parser = parse_traitors)]
    traitors: Option<Traitors>,
    /// How many traitors the algorithm is to bear, m: it has m+1 rounds [default: as many as there are, at least 1]
    #[arg(long, value_name = "M")]
    rounds: Option<usize>,
    /// What the commander orders: attack, retreat, or another word
    #[arg(long, value_name = "ORDER", default_value = "attack")]
    commander_order: Order,
    /// What traitors do: silent, random, split, collude, or script=FILE
    #[arg(long, value_name = "STRATEGY", default_value = "split", value_parser = parse_strategy)]
    strategy: Means,
    /// Decides what is left to chance
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Let generals try who are too few, or have more traitors than the algorithm bears
    #[arg(long)]
    any: bool,
    /// Print what each lieutenant was told, as a tree
    #[arg(long)]
    show: bool,
    /// Draw the run, round by round
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Over loopback sockets, one thread a general, with the time-out rule
    #[arg(long)]
    sockets: bool,
    /// --sockets: the longest that a message may take
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = parse_duration, requires = "sockets")]
    delivery: Duration,
    /// --sockets: a general who is late with all that he says, such as 2=200ms
    #[arg(long, value_name = "G=TIME", value_parser = parse_slow, requires = "sockets")]
    slow: Option<(u8, Duration)>,
    /// Try all that traitors can do, for every placement of them; where that is too much, search
    #[arg(long, conflicts_with_all = ["sockets", "show", "svg", "slow"])]
    exhaustive: bool,
    /// --exhaustive: behaviours tried of a placement that has too many for all
    #[arg(long, value_name = "N", default_value_t = 2_000, requires = "exhaustive")]
    tries: u64,
    /// Write one JSON object; - for standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Who the traitors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traitors {
    These(Generals, usize),
    Count(usize),
}

/// What they do.
#[derive(Clone, Debug)]
enum Means {
    Strategy(logothete_generals::strategy::Strategy),
    Script(PathBuf),
}

fn parse_traitors(text: &str) -> Result<Traitors, String> {
    let number = |word: &str| word.trim().parse::<usize>().map_err(|_| format!("`{word}` is no general's number"));
    if !text.contains(',') {
        return number(text).map(Traitors::Count);
    }
    let words = text.split(',').filter(|word| !word.trim().is_empty());
    let numbers = words.map(number).collect::<Result<Vec<usize>, String>>()?;
    let largest = numbers.iter().copied().max().unwrap_or(0);
    // A number beyond all generals is told with the bound, later.
    let set = numbers.iter().filter(|general| **general < 32).map(|general| *general as u8).collect();
    Ok(Traitors::These(set, largest))
}

fn parse_strategy(text: &str) -> Result<Means, String> {
    match text.strip_prefix("script=") {
        Some(file) => Ok(Means::Script(PathBuf::from(file))),
        None => text
            .parse()
            .map(Means::Strategy)
            .map_err(|error: logothete_generals::strategy::NoStrategy| error.to_string()),
    }
}

fn parse_slow(text: &str) -> Result<(u8, Duration), String> {
    let (general, time) = text.split_once('=').ok_or("it should look like 2=200ms")?;
    let general = general.parse().map_err(|_| format!("`{general}` is no general's number"))?;
    Ok((general, parse_duration(time)?))
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Om(play) if play.exhaustive => exhaustive::run(play, Algorithm::Oral),
        Command::Sm(play) if play.exhaustive => exhaustive::run(play, Algorithm::Signed),
        Command::Om(play) => run::oral(play),
        Command::Sm(play) => run::signed(play),
        Command::Impossible(arguments) => impossible::run(arguments),
        Command::Pbft(arguments) => pbft::run(arguments),
        Command::Figures { directory } => figures(directory),
    }
}

fn figures(directory: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(directory).map_err(|error| Failure::of_file("make", directory, &error))?;
    for (name, svg) in logothete_generals::picture::figures() {
        let path = directory.join(name);
        write_text(&path, &svg)?;
        print_line(&path.display().to_string())?;
    }
    Ok(())
}
