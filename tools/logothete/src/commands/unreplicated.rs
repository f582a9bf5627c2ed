//! `logothete unreplicated`: the baseline that `bench --unreplicated` measures; for this program's own use.

use super::process::{NetworkOverrides, Parent, announce};
use crate::failure::Failure;
use crate::signals::stop_flag;
use logothete_engine::cluster::{Cluster, ReplicaLocal};
use logothete_engine::pipeline::run_unreplicated;
use std::path::PathBuf;

/// Runs the service of replica 0 behind one server with no protocol.
#[derive(clap::Args)]
#[command(hide = true)]
pub struct Arguments {
    #[arg(long)]
    config: PathBuf,
    #[command(flatten)]
    network: NetworkOverrides,
    #[command(flatten)]
    parent: Parent,
}

/// Runs the command.
///
/// # Errors
///
/// When the configuration is refused, or the host refuses what the server needs.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    arguments.parent.bind()?;
    let stop = stop_flag()?;
    let cluster = Cluster::load(&arguments.config)?;
    let mut local = ReplicaLocal::load(&ReplicaLocal::file(&arguments.config, 0))?;
    arguments.network.apply(&mut local.transport, &mut local.fan_out);
    let identity = local.identity(&cluster, 0)?;
    let announce = &mut |report: &_| announce("role=unreplicated id=0", report);
    run_unreplicated(&cluster.unreplicated(), &local, identity, &stop, announce)
        .map_err(|error| Failure::Failed(error.to_string()))
}
