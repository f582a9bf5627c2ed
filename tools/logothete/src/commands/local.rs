//! `logothete local`: a whole cluster on this host.

use super::process::{ArrangementOverride, NetworkOverrides};
use crate::children::{Children, Diagnostics};
use crate::failure::Failure;
use crate::output::print_line;
use crate::signals::stop_flag;
use logothete_engine::cluster::{Cluster, DriverLocal};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long all processes together may take to start: keys, memory and sockets take well under a second on an idle
/// host.
pub const START_WAIT: Duration = Duration::from_secs(30);

/// Distance between two looks at the children.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);

/// Runs all replicas and one driver as child processes, until SIGINT or SIGTERM.
///
/// Prints the session address that clients use. A child that dies is reported and not restarted.
#[derive(clap::Args)]
#[command(after_help = "Example: logothete local --config /tmp/cluster/cluster.toml")]
pub struct Arguments {
    /// The cluster.toml, with the local files and keys of all replicas and driver 0 beside it
    #[arg(long, value_name = "DIR/cluster.toml")]
    config: PathBuf,
    #[command(flatten)]
    overrides: Overrides,
}

/// Options that replace what the local files say.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Overrides {
    #[command(flatten)]
    pub network: NetworkOverrides,
    #[command(flatten)]
    pub threads: ArrangementOverride,
}

/// Runs the command.
///
/// # Errors
///
/// When the configuration is refused or a child does not become ready; and when every replica has died.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let cluster = Cluster::load(&arguments.config)?;
    let driver = DriverLocal::load(&DriverLocal::file(&arguments.config, 0))?;
    let stop = stop_flag()?;
    let mut children = Children::new(Diagnostics::PassOn);
    spawn_cluster(&mut children, &arguments.config, cluster.replica_count(), &arguments.overrides)?;
    children.wait_ready(START_WAIT, &stop).map_err(|error| Failure::Failed(error.to_string()))?;
    eprintln!("{} replicas and a driver run; stop them with SIGINT or SIGTERM", cluster.replica_count());
    print_line(&format!("session {}", driver.session.display()))?;
    while !stop.load(Ordering::Relaxed) {
        for death in children.deaths() {
            eprintln!("logothete: {death}");
        }
        if children.living() == 0 {
            return Err(Failure::Failed(String::from("every child process has ended")));
        }
        std::thread::sleep(WATCH_INTERVAL);
    }
    children.stop();
    Ok(())
}

/// Starts every replica and driver 0 of the cluster whose `cluster.toml` is at `config`.
///
/// # Errors
///
/// When a process cannot be started.
pub fn spawn_cluster(
    children: &mut Children,
    config: &Path,
    replica_count: usize,
    overrides: &Overrides,
) -> Result<(), Failure> {
    for id in 0..replica_count {
        spawn_replica(children, "replica", config, id as u8, false, overrides)?;
    }
    spawn_driver(children, config, overrides)?;
    Ok(())
}

/// Starts replica `id` by this program's `subcommand`; with `rejoin` it recovers from the others. Returns its process id.
///
/// # Errors
///
/// When the process cannot be started.
pub fn spawn_replica(
    children: &mut Children,
    subcommand: &str,
    config: &Path,
    id: u8,
    rejoin: bool,
    overrides: &Overrides,
) -> Result<u32, Failure> {
    let mut command = program(subcommand)?;
    command.arg("--config").arg(config).arg("--id").arg(id.to_string());
    overrides.network.pass_to(&mut command);
    if let Some(arrangement) = overrides.threads.arrangement {
        command.arg("--arrangement").arg(arrangement.name());
    }
    if rejoin {
        command.arg("--rejoin");
    }
    spawn(children, &format!("replica {id}"), &mut command)
}

/// Starts driver 0. Returns its process id.
///
/// # Errors
///
/// When the process cannot be started.
pub fn spawn_driver(children: &mut Children, config: &Path, overrides: &Overrides) -> Result<u32, Failure> {
    let mut command = program("driver")?;
    command.arg("--config").arg(config).arg("--client").arg("0");
    overrides.network.pass_to(&mut command);
    spawn(children, "driver 0", &mut command)
}

fn spawn(children: &mut Children, name: &str, command: &mut Command) -> Result<u32, Failure> {
    children.spawn(name, command).map_err(|error| Failure::Failed(error.to_string()))
}

/// A command line of this program, beginning with `subcommand`.
///
/// # Errors
///
/// When the program does not know its own file.
pub fn program(subcommand: &str) -> Result<Command, Failure> {
    let file = std::env::current_exe()
        .map_err(|error| Failure::Failed(format!("the program's own file is not known: {error}")))?;
    let mut command = Command::new(file);
    command.arg(subcommand);
    Ok(command)
}
