//! Making a new cluster: identities, addresses on free ports, and the files.

use super::agreed::{Cluster, MulticastGroups, Replica};
use super::local::beside;
use super::{
    Active, Arrangement, ConfigError, DriverLocal, FanOut, Fault, Journal, ReplicaLocal, ServiceKind, Transport,
    is_group_of_family, keys,
};
use crate::journal::birth::{BIRTH_TEXT, DataDirectory};
use crate::limits;
use crate::replica::Quorum;
use logothete_crypto::{Identity, MacAlgorithm};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Where free ports are looked for: above the well-known ones, below those that the kernel gives to ephemeral sockets
/// (32768 by default), so that no short-lived socket of another program takes one between `init` and the start of a
/// replica.
const PORTS_FREE: Range<u16> = 10_000..32_000;

/// Random bases that are tried before a host is said to have no free ports.
const PORT_ATTEMPTS_MAX: usize = 256;

/// What a new cluster shall be. [`Plan::default`] is four replicas on loopback.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Faulty replicas to tolerate, `f`.
    pub faults: u8,
    /// The replicas' hosts: one for all of them, or one each.
    pub hosts: Vec<IpAddr>,
    /// Drivers; the operator's identity is made in addition.
    pub drivers: u16,
    /// How many replicas take part in ordering while nothing fails.
    pub active: Active,
    /// Whether what a replica promised survives its restart.
    pub journal: Journal,
    /// What the replicas execute.
    pub service: ServiceKind,
    /// Bytes of every result of the null service.
    pub null_reply_bytes: usize,
    /// Bytes of entries that the ordered log keeps, or of state that the key-value service stores.
    pub retention_bytes: u64,
    /// How packets are authenticated.
    pub mac: MacAlgorithm,
    /// Replica I receives on this port + I, the groups have this port + N; none: free ports, found now.
    pub port_base: Option<u16>,
    /// The first multicast group; none: derived from the cluster id.
    pub multicast: Option<IpAddr>,
    /// Goes into every local file.
    pub transport: Transport,
    /// Goes into every local file.
    pub fan_out: FanOut,
    /// Goes into every replica's local file.
    pub arrangement: Arrangement,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            faults: 1,
            hosts: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            drivers: 1,
            active: Active::All,
            journal: Journal::Sync,
            service: ServiceKind::Log,
            null_reply_bytes: 0,
            retention_bytes: Cluster::RETENTION_BYTES_DEFAULT,
            mac: MacAlgorithm::default(),
            port_base: None,
            multicast: None,
            transport: Transport::Auto,
            fan_out: FanOut::Auto,
            arrangement: Arrangement::Auto,
        }
    }
}

/// A new cluster with its secrets, in memory.
pub struct Generated {
    /// The configuration that must agree everywhere.
    pub cluster: Cluster,
    /// The replicas' identities, by id.
    pub replicas: Vec<Identity>,
    /// The clients' identities, by index; the last is the operator.
    pub clients: Vec<Identity>,
}

/// Makes a new cluster in memory; `entropy` fills a buffer with random bytes.
///
/// # Errors
///
/// A plan that makes no sense, or hosts of this machine without free ports. The error names `cluster.toml` as the file.
pub fn generate(plan: &Plan, entropy: &mut dyn FnMut(&mut [u8])) -> Result<Generated, ConfigError> {
    generate_checked(plan, entropy).map_err(|fault| fault.at(Path::new("cluster.toml"), None))
}

fn generate_checked(plan: &Plan, entropy: &mut dyn FnMut(&mut [u8])) -> Result<Generated, Fault> {
    let count = Quorum::bearing(usize::from(plan.faults)).replicas();
    let hosts = hosts(&plan.hosts, count)?;
    let port_base = match plan.port_base {
        Some(base) if base == 0 || usize::from(base) + count > usize::from(u16::MAX) => {
            let problem = format!("leaves no room for the ports of {count} replicas and the multicast groups");
            let mend = format!("use a base port from 1 to {}", usize::from(u16::MAX) - count);
            return Err(Fault::new("base port", base, problem, mend));
        }
        Some(base) => base,
        None => ports_free(&hosts, entropy)?,
    };
    let cluster_id = random_id(entropy);
    let mut identity = || {
        let mut secret = zeroize::Zeroizing::new([0u8; 32]);
        entropy(secret.as_mut_slice());
        Identity::from_secret_bytes(*secret)
    };
    let replicas: Vec<Identity> = (0..count).map(|_| identity()).collect();
    let clients: Vec<Identity> = (0..=plan.drivers).map(|_| identity()).collect();
    let mut cluster = Cluster {
        cluster_id,
        faults: plan.faults,
        active: plan.active,
        journal: plan.journal,
        service: plan.service,
        null_reply_bytes: plan.null_reply_bytes,
        mac: plan.mac,
        datagram_bytes_max: if hosts.iter().all(IpAddr::is_loopback) {
            limits::DATAGRAM_BYTES_LOOPBACK
        } else {
            limits::DATAGRAM_BYTES_DEFAULT
        },
        operation_bytes_max: limits::OPERATION_BYTES_MAX,
        checkpoint_interval: Cluster::CHECKPOINT_INTERVAL_DEFAULT,
        pipeline_depth: Cluster::PIPELINE_DEPTH_DEFAULT,
        batch_requests_max: Cluster::BATCH_REQUESTS_MAX_DEFAULT,
        client_window: Cluster::CLIENT_WINDOW_DEFAULT,
        clock_bound_ms: Cluster::CLOCK_BOUND_MS_DEFAULT,
        retention_bytes: plan.retention_bytes,
        key_lifetime_s: Cluster::KEY_LIFETIME_S_DEFAULT,
        multicast: MulticastGroups {
            group: plan.multicast.unwrap_or_else(|| group_of(cluster_id, hosts[0])),
            port: port_base + count as u16,
        },
        replicas: hosts
            .iter()
            .zip(&replicas)
            .zip(port_base..)
            .map(|((host, identity), port)| Replica {
                address: SocketAddr::new(*host, port),
                public_key: identity.public(),
            })
            .collect(),
        clients: clients.iter().map(Identity::public).collect(),
    };
    cluster.operation_bytes_max = cluster.operation_bytes_fitting();
    cluster.check()?;
    Ok(Generated { cluster, replicas, clients })
}

/// Makes a new cluster and writes it to `directory`: `cluster.toml`, a local file, a key file and a data directory for
/// each replica and driver, and the operator's key file. Either everything is written or nothing stays behind.
///
/// # Errors
///
/// As [`generate`]; and when one of the files exists already, or cannot be written.
pub fn create(directory: &Path, plan: &Plan, entropy: &mut dyn FnMut(&mut [u8])) -> Result<Cluster, ConfigError> {
    let cluster_file = directory.join("cluster.toml");
    let generated = generate_checked(plan, entropy).map_err(|fault| fault.at(&cluster_file, None))?;
    let mut written = Written::default();
    write_all(directory, plan, &generated, &mut written)?;
    written.keep();
    Ok(generated.cluster)
}

/// The file of the operator's secret key, beside the `cluster.toml` at `cluster_file`.
pub fn operator_key_file(cluster_file: &Path) -> PathBuf {
    beside(cluster_file, "operator.key")
}

/// Reads the operator's secret key from beside the `cluster.toml` at `cluster_file`.
///
/// # Errors
///
/// When the key file is refused: see [`keys::read`].
pub fn operator_identity(cluster_file: &Path, cluster: &Cluster) -> Result<Identity, ConfigError> {
    let public_key = &cluster.clients[cluster.operator_index()];
    keys::read(&operator_key_file(cluster_file), "the operator", public_key)
}

fn write_all(directory: &Path, plan: &Plan, generated: &Generated, written: &mut Written) -> Result<(), ConfigError> {
    written.directory(directory, true)?;
    let cluster_file = directory.join("cluster.toml");
    // First, so that a directory that holds a cluster is refused by the name of the file that people know.
    written.file(&cluster_file, &generated.cluster.render())?;
    for (id, identity) in (0u8..).zip(&generated.replicas) {
        let local = ReplicaLocal {
            transport: plan.transport,
            fan_out: plan.fan_out,
            arrangement: plan.arrangement,
            ..ReplicaLocal::standard(directory, id)
        };
        written.file(&ReplicaLocal::file(&cluster_file, id), &local.render(directory))?;
        written.key(&local.key, identity)?;
        written.directory(&local.data_directory, false)?;
        written.file(&DataDirectory::birth_marker(&local.data_directory), BIRTH_TEXT)?;
    }
    let (operator, drivers) = generated.clients.split_last().expect("checked: two clients or more");
    for (client, identity) in (0u16..).zip(drivers) {
        let local = DriverLocal {
            transport: plan.transport,
            fan_out: plan.fan_out,
            ..DriverLocal::standard(directory, client)
        };
        written.file(&DriverLocal::file(&cluster_file, client), &local.render(directory))?;
        written.key(&local.key, identity)?;
        written.directory(&local.data_directory, false)?;
    }
    written.key(&operator_key_file(&cluster_file), operator)
}

/// What was made so far; removed again unless it is kept.
#[derive(Default)]
struct Written {
    files: Vec<PathBuf>,
    directories: Vec<PathBuf>,
}

impl Written {
    fn refuse(path: &Path, error: &std::io::Error) -> ConfigError {
        let (problem, mend) = if error.kind() == std::io::ErrorKind::AlreadyExists {
            (
                String::from("exists already and is not overwritten"),
                "name another directory, or move the old cluster away",
            )
        } else {
            (format!("cannot be written: {error}"), "name a directory that this user may write to")
        };
        Fault::of_file(problem, mend).at(path, None)
    }

    /// Makes a directory; the one of the cluster itself may exist.
    fn directory(&mut self, path: &Path, may_exist: bool) -> Result<(), ConfigError> {
        if may_exist && path.is_dir() {
            return Ok(());
        }
        let made = if may_exist { std::fs::create_dir_all(path) } else { std::fs::create_dir(path) };
        made.map_err(|error| Self::refuse(path, &error))?;
        self.directories.push(path.to_path_buf());
        Ok(())
    }

    fn file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let mut file = std::fs::File::create_new(path).map_err(|error| Self::refuse(path, &error))?;
        self.files.push(path.to_path_buf());
        file.write_all(text.as_bytes()).map_err(|error| Self::refuse(path, &error))
    }

    fn key(&mut self, path: &Path, identity: &Identity) -> Result<(), ConfigError> {
        if path.exists() {
            return Err(Self::refuse(path, &std::io::ErrorKind::AlreadyExists.into()));
        }
        keys::write(path, identity)?;
        self.files.push(path.to_path_buf());
        Ok(())
    }

    fn keep(mut self) {
        self.files.clear();
        self.directories.clear();
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        // Best effort: the error that led here is the one to report. Only what was made here is removed, and a
        // directory only while it is empty.
        for file in &self.files {
            let _ = std::fs::remove_file(file);
        }
        for directory in self.directories.iter().rev() {
            let _ = std::fs::remove_dir(directory);
        }
    }
}

/// The host of each of `count` replicas.
fn hosts(hosts: &[IpAddr], count: usize) -> Result<Vec<IpAddr>, Fault> {
    match hosts {
        [host] => Ok(vec![*host; count]),
        hosts if hosts.len() == count => Ok(hosts.to_vec()),
        hosts => Err(Fault::new(
            "hosts",
            hosts.len(),
            format!("is the number of hosts, and there are {count} replicas"),
            format!("name one host for all replicas, or {count}"),
        )),
    }
}

fn random_id(entropy: &mut dyn FnMut(&mut [u8])) -> u64 {
    loop {
        let mut bytes = [0u8; 8];
        entropy(&mut bytes);
        match u64::from_le_bytes(bytes) {
            0 => {}
            id => return id,
        }
    }
}

/// The first multicast group of a cluster, for hosts with addresses like `host`. The last byte is zero, so that there
/// is room for the other senders' groups.
fn group_of(cluster_id: u64, host: IpAddr) -> IpAddr {
    let [a, b, c, d, ..] = cluster_id.to_le_bytes();
    let group = match host {
        // 239.192.0.0 and above: administratively scoped (RFC 2365), organisation-local or narrower.
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(239, 192 | a, b, 0)),
        IpAddr::V6(host) => {
            // Loopback and link-local hosts share a link; others may be one router apart: site-local scope (RFC 4291,
            // 2.7).
            let link = host.is_loopback() || host.is_unicast_link_local();
            let scope = if link { 0xff02 } else { 0xff05 };
            let (high, low) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
            IpAddr::V6(Ipv6Addr::new(scope, 0, 0, 0, 0x4c47, high, low, 0))
        }
    };
    debug_assert!(is_group_of_family(group, host));
    group
}

/// A base such that every port that a cluster on `hosts` uses is free on those of them that belong to this machine.
fn ports_free(hosts: &[IpAddr], entropy: &mut dyn FnMut(&mut [u8])) -> Result<u16, Fault> {
    let count = hosts.len() as u16;
    for _ in 0..PORT_ATTEMPTS_MAX {
        let mut bytes = [0u8; 8];
        entropy(&mut bytes);
        let span = u64::from(PORTS_FREE.end - PORTS_FREE.start - count);
        let base = PORTS_FREE.start + (u64::from_le_bytes(bytes) % span) as u16;
        let any = match hosts[0] {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let mut addresses =
            hosts.iter().zip(base..).chain([(&any, base + count)]).map(|(host, port)| SocketAddr::new(*host, port));
        if addresses.all(is_free) {
            return Ok(base);
        }
    }
    Err(Fault::new(
        "base port",
        "",
        format!("{PORT_ATTEMPTS_MAX} runs of {} UDP ports were tried and none was free", count + 1),
        "name a base port",
    ))
}

/// Whether a UDP socket can be bound to the address, or the address belongs to another machine, which is not asked.
fn is_free(address: SocketAddr) -> bool {
    match UdpSocket::bind(address) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::AddrNotAvailable,
    }
}
