//! `logothete`: the command-line program.
//!
//! What this crate is for: tying the engine, the client and the load generator to a command line: one file a command in
//! `commands/`, and the supervision of the processes that commands start in `children`. What may enter: options,
//! orchestration, words for people. What must never: anything of the protocol, or a measurement; those live in `engine`
//! and `bench`.
//!
//! It is a library so that another program can be it: the lab starts replicas that are certainly of its own build.

pub mod children;
mod commands;
mod doctor;
mod drill;
pub mod failure;
mod inspect;
mod operator;
mod options;
mod output;
mod publish;
#[cfg(test)]
mod scripted_driver;
pub mod signals;
mod simulate;
mod trial;

pub use commands::replica::{Arguments as ReplicaArguments, run_within as run_replica_within};
pub use drill::cluster::{DrillCluster, Hosts, Place, ThisHost, supported};

use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

/// A Byzantine-fault-tolerant replication engine for low-latency clusters.
///
/// 3f+1 replicas agree on one order of operations while up to f of them behave arbitrarily. Programs append to that
/// order and read it back through shared memory.
#[derive(Parser)]
#[command(name = "logothete", version, after_help = "Example: logothete demo", max_term_width = 120)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(commands::demo::Arguments),
    Init(commands::init::Arguments),
    Replica(commands::replica::Arguments),
    Driver(commands::driver::Arguments),
    Local(commands::local::Arguments),
    Publish(commands::publish::Arguments),
    Subscribe(commands::subscribe::Arguments),
    Bench(commands::bench::Arguments),
    Drill(commands::drill::Arguments),
    Status(commands::status::Arguments),
    RotateKeys(commands::rotate_keys::Arguments),
    Doctor(commands::doctor::Arguments),
    Inspect(commands::inspect::Arguments),
    Simulate(commands::simulate::Arguments),
    Generals(commands::generals::Arguments),
    #[command(hide = true)]
    Unreplicated(commands::unreplicated::Arguments),
    #[command(hide = true)]
    NullReplica(commands::null_replica::Arguments),
}

/// The whole program: `arguments` are its name and what follows on the command line.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    // Wrong usage ends here, with status 2 and a text on standard error.
    let arguments = Arguments::parse_from(arguments);
    let outcome = match arguments.command {
        Command::Demo(arguments) => commands::demo::run(&arguments),
        Command::Init(arguments) => commands::init::run(&arguments),
        Command::Replica(arguments) => commands::replica::run(&arguments),
        Command::Driver(arguments) => commands::driver::run(&arguments),
        Command::Local(arguments) => commands::local::run(&arguments),
        Command::Publish(arguments) => commands::publish::run(&arguments),
        Command::Subscribe(arguments) => commands::subscribe::run(&arguments),
        Command::Bench(arguments) => commands::bench::run(&arguments),
        Command::Drill(arguments) => commands::drill::run(&arguments),
        Command::Status(arguments) => commands::status::run(&arguments),
        Command::RotateKeys(arguments) => commands::rotate_keys::run(&arguments),
        Command::Doctor(arguments) => commands::doctor::run(&arguments),
        Command::Inspect(arguments) => commands::inspect::run(&arguments),
        Command::Simulate(arguments) => commands::simulate::run(&arguments),
        Command::Generals(arguments) => commands::generals::run(&arguments),
        Command::Unreplicated(arguments) => commands::unreplicated::run(&arguments),
        Command::NullReplica(arguments) => commands::null_replica::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("logothete: {failure}");
            failure.exit_code()
        }
    }
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
    fn every_command_shows_an_example() {
        for command in Arguments::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let example = format!("logothete {}", command.get_name());
            assert!(help.contains(&example), "{}: {help:?}", command.get_name());
        }
    }
}
