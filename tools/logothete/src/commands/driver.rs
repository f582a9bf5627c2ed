//! `logothete driver`: one host agent in the foreground.

use super::process::{NetworkOverrides, Parent, announce};
use crate::failure::Failure;
use crate::signals::stop_flag;
use logothete_engine::cluster::{Cluster, DriverLocal};
use logothete_engine::driver::run_driver;
use logothete_engine::numbers::ClientId;
use std::path::PathBuf;

/// Runs one driver, the host's agent between its applications and the replicas, in the foreground, until SIGINT or
/// SIGTERM.
///
/// Prints one line that begins with `ready` once applications can open sessions.
#[derive(clap::Args)]
#[command(after_help = "Example: logothete driver --config /tmp/cluster/cluster.toml --client 0")]
pub struct Arguments {
    /// The cluster.toml, with the driver's local file and key beside it
    #[arg(long, value_name = "DIR/cluster.toml")]
    config: PathBuf,
    /// Which driver
    #[arg(long, value_name = "C")]
    client: u16,
    #[command(flatten)]
    network: NetworkOverrides,
    /// Drive the unreplicated baseline of the cluster
    #[arg(long, hide = true)]
    unreplicated: bool,
    #[command(flatten)]
    parent: Parent,
}

/// Runs the command.
///
/// # Errors
///
/// When the configuration is refused, the host refuses what the driver needs, or the replicas no longer take its
/// requests.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    arguments.parent.bind()?;
    let stop = stop_flag()?;
    let mut cluster = Cluster::load(&arguments.config)?;
    let mut local = DriverLocal::load(&DriverLocal::file(&arguments.config, arguments.client))?;
    arguments.network.apply(&mut local.transport, &mut local.fan_out);
    let identity = local.identity(&cluster, arguments.client)?;
    if arguments.unreplicated {
        cluster = cluster.unreplicated();
    }
    let name = format!("role=driver client={} session={}", arguments.client, local.session.display());
    run_driver(&cluster, &local, ClientId(arguments.client), identity, &stop, &mut |report| announce(&name, report))
        .map_err(|error| Failure::Failed(error.to_string()))
}
