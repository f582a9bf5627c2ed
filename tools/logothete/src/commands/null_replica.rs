//! `logothete null-replica`: one replica of the null protocol that `bench --null` measures; for this program's own use.

use super::process::Parent;
use crate::failure::Failure;
use crate::output::tell_parent;
use crate::signals::stop_flag;
use crate::trial::null_protocol::{Traffic, network};
use logothete_bench::null_protocol::{ReplicaOptions, run_replica};
use logothete_engine::cluster::{Cluster, Transport};
use std::path::PathBuf;

/// Runs one replica of the null protocol.
#[derive(clap::Args)]
#[command(hide = true)]
pub struct Arguments {
    #[arg(long)]
    config: PathBuf,
    #[arg(long)]
    id: usize,
    #[command(flatten)]
    traffic: Traffic,
    #[arg(long)]
    transport: Transport,
    #[arg(long)]
    multicast: bool,
    #[command(flatten)]
    parent: Parent,
}

/// Runs the command, until SIGINT or SIGTERM; tells then what it did.
///
/// # Errors
///
/// When the host does not work, or a datagram makes no sense.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    arguments.parent.bind()?;
    let stop = stop_flag()?;
    let cluster = Cluster::load(&arguments.config)?;
    let shape = arguments.traffic.shape(usize::from(cluster.faults));
    let network = network(&cluster, arguments.transport, arguments.multicast);
    let options = ReplicaOptions { id: arguments.id, shape, network };
    let done = run_replica(&options, &stop).map_err(|error| Failure::Failed(error.to_string()))?;
    tell_parent(&format!("done operations={} datagrams_sent={}", done.operations, done.datagrams_sent))
}
