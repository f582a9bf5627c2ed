//! `logothete init`: makes a new cluster.

use crate::failure::Failure;
use crate::output::print_line;
use logothete_crypto::{MacAlgorithm, os_entropy};
use logothete_engine::cluster::init::{Plan, create};
use logothete_engine::cluster::{Active, Arrangement, Cluster, FanOut, Journal, ServiceKind, Transport};
use std::net::IpAddr;
use std::path::PathBuf;

/// Writes the configuration and the keys of a new cluster.
///
/// DIR gets cluster.toml, and for each replica and each driver a local file, a secret key and a data directory. Nothing
/// is overwritten.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  logothete init /tmp/cluster
  logothete init cluster --hosts 192.0.2.11,192.0.2.12,192.0.2.13,192.0.2.14 --base-port 7400")]
pub struct Arguments {
    /// The directory to write to; made if it does not exist
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Number of replicas: 4, 7, 10, 13 or 16 (n = 3f+1) [default: 4]
    #[arg(long, value_name = "N")]
    replicas: Option<usize>,
    /// Faulty replicas to tolerate, instead of --replicas
    #[arg(long, value_name = "F", conflicts_with = "replicas")]
    faults: Option<u8>,
    /// Addresses of the replicas' hosts: one for all, or one a replica; IPv4 or IPv6
    #[arg(long, value_name = "A,B,C,D", value_delimiter = ',', default_value = "127.0.0.1")]
    hosts: Vec<IpAddr>,
    /// Number of drivers: one a host with applications
    #[arg(long, value_name = "C", default_value_t = 1)]
    clients: u16,
    /// Replicas that take part in ordering while nothing fails
    #[arg(long, value_name = "all", default_value_t = Active::All)]
    active: Active,
    /// Whether what a replica promised survives its restart
    #[arg(long, value_name = "sync|async|off", default_value_t = Journal::Sync)]
    journal: Journal,
    /// What is replicated
    #[arg(long, value_name = "log|kv|null", default_value_t = ServiceKind::Log)]
    service: ServiceKind,
    /// Bytes of entries that the ordered log keeps, or of state that the key-value service stores
    #[arg(long, value_name = "BYTES", default_value_t = Cluster::RETENTION_BYTES_DEFAULT)]
    retention: u64,
    /// How packets are authenticated
    #[arg(long, value_name = "blake3|hmac-sha256|aes-256-gmac", default_value_t = MacAlgorithm::Blake3)]
    mac: MacAlgorithm,
    /// How datagrams reach the kernel
    #[arg(long, value_name = "auto|io_uring|mmsg", default_value_t = Transport::Auto)]
    transport: Transport,
    /// How a packet for many reaches them
    #[arg(long, value_name = "auto|multicast|unicast", default_value_t = FanOut::Auto)]
    fan_out: FanOut,
    /// How a replica's agents are put on threads
    #[arg(long, value_name = "auto|shared|split", default_value_t = Arrangement::Auto)]
    arrangement: Arrangement,
    /// First port: P to P+N are used [default: free ports, found now]
    #[arg(long, value_name = "P")]
    base_port: Option<u16>,
    /// First multicast group: N+1 are used [default: derived from the cluster id]
    #[arg(long, value_name = "GROUP")]
    multicast: Option<IpAddr>,
}

/// Runs the command.
///
/// # Errors
///
/// When the options do not fit together, or the files cannot be written.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let plan = Plan {
        faults: faults(arguments.replicas, arguments.faults)?,
        hosts: arguments.hosts.clone(),
        drivers: arguments.clients,
        active: arguments.active,
        journal: arguments.journal,
        service: arguments.service,
        retention_bytes: arguments.retention,
        mac: arguments.mac,
        port_base: arguments.base_port,
        multicast: arguments.multicast,
        transport: arguments.transport,
        fan_out: arguments.fan_out,
        arrangement: arguments.arrangement,
        ..Plan::default()
    };
    let cluster = create(&arguments.directory, &plan, &mut os_entropy)?;
    let file = arguments.directory.join("cluster.toml");
    eprintln!(
        "{} replicas tolerate {} faulty one{}; ports {} to {}, groups from {}",
        cluster.replica_count(),
        cluster.faults,
        if cluster.faults == 1 { "" } else { "s" },
        cluster.replicas[0].address.port(),
        cluster.multicast.port,
        cluster.multicast.group,
    );
    eprintln!("next: logothete local --config {}", file.display());
    print_line(&file.display().to_string())
}

/// The number of faults to tolerate, by either option.
///
/// # Errors
///
/// Wrong usage, when the number of replicas is not `3f+1`.
pub fn faults(replicas: Option<usize>, faults: Option<u8>) -> Result<u8, Failure> {
    match (replicas, faults) {
        (None, faults) => Ok(faults.unwrap_or(1)),
        (Some(count), _) if (4..=16).contains(&count) && count % 3 == 1 => Ok(((count - 1) / 3) as u8),
        (Some(count), _) => Err(Failure::Usage(format!(
            "--replicas {count}: the number of replicas is n = 3f+1; use 4, 7, 10, 13 or 16"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_three_times_the_faults_and_one() {
        for (replicas, wanted) in [(4, 1), (7, 2), (10, 3), (13, 4), (16, 5)] {
            assert_eq!(faults(Some(replicas), None).unwrap(), wanted);
        }
        for replicas in [0, 1, 3, 5, 6, 8, 17, 19] {
            let error = faults(Some(replicas), None).unwrap_err();
            assert!(matches!(error, Failure::Usage(_)), "{error}");
        }
        assert_eq!(faults(None, None).unwrap(), 1);
        assert_eq!(faults(None, Some(2)).unwrap(), 2);
    }
}
