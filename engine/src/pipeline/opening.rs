//! Opening a process's network as the configuration says, and telling what was decided.

use super::keeper::MemoryError;
use super::network::{Network, NetworkConfig, RotationPolicy};
use crate::cluster::{Arrangement, Cluster, FanOut, Transport};
use crate::limits::POOL_FRAMES;
use crate::numbers::{ClientId, Principal, ReplicaId};
use logothete_crypto::{Identity, KeyRing, KeyRingConfig, os_entropy};
use logothete_transport::datagram::{Backend, BackendChoice, DatagramCounters, Endpoint, EndpointConfig, GroupConfig};
use logothete_transport::pool::{Pool, PoolConfig};
use logothete_transport::{HostError, multicast};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Why a process cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The host refused something.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Multicast is demanded by the configuration and does not work.
    #[error(
        "fan_out is \"multicast\", and multicast does not work on {interface}: {reason}. Set fan_out to \"auto\" or \"unicast\", or see `logothete doctor`"
    )]
    Multicast {
        /// The host's address in the cluster.
        interface: IpAddr,
        /// What was tried, and what came of it.
        reason: String,
    },
    /// What the replica should remember of its former life.
    #[error("{0}")]
    Memory(Box<MemoryError>),
    /// More threads would spin than there are cores: each would wait for the others' time slices.
    #[error(
        "idle = \"spin\" needs {threads} cores to itself, and this process may use {cores}: use \"adaptive\" or \"yield\""
    )]
    SpinWithoutCores {
        /// Threads that would spin.
        threads: usize,
        /// Cores that the process may use.
        cores: usize,
    },
}

impl From<MemoryError> for ProcessError {
    fn from(error: MemoryError) -> Self {
        Self::Memory(Box::new(error))
    }
}

/// What was decided at start, for a person and for reports.
#[derive(Clone, Debug)]
pub struct StartReport {
    /// Where the process receives unicasts.
    pub address: SocketAddr,
    /// The back-end in use.
    pub backend: Backend,
    /// Why that one.
    pub backend_reason: String,
    /// Whether packets for all go out by multicast; peers that turn out not to hear it change that.
    pub multicast: bool,
    /// Why, or why not.
    pub fan_out_reason: String,
    /// How the agents are on threads.
    pub arrangement: Arrangement,
    /// Why so.
    pub arrangement_reason: String,
    /// The kernel's receive buffer, each socket.
    pub receive_buffer_bytes: usize,
    /// The most memory that the process's pools, bodies and service take.
    pub memory_bytes_max: u64,
}

impl fmt::Display for StartReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "address      {}, receive buffer {} KiB", self.address, self.receive_buffer_bytes / 1024)?;
        writeln!(f, "transport    {}: {}", self.backend, self.backend_reason)?;
        let fan_out = if self.multicast { "multicast" } else { "unicast" };
        writeln!(f, "fan-out      {fan_out}: {}", self.fan_out_reason)?;
        writeln!(f, "arrangement  {}: {}", self.arrangement, self.arrangement_reason)?;
        write!(f, "memory       at most {} MiB", self.memory_bytes_max.div_ceil(1 << 20))
    }
}

/// A process's network, and how it came to be as it is.
pub struct Opened {
    /// The network.
    pub network: Network,
    /// The frames of its datagrams.
    pub pool: Pool,
    /// What was decided; arrangement and memory are for the caller to complete.
    pub report: StartReport,
}

/// Opens the network of a process of the cluster, on the thread that will use it.
///
/// # Errors
/// The host refuses a socket or memory, or multicast is demanded and does not work.
pub fn open_network(
    cluster: &Cluster,
    own: Principal,
    identity: Identity,
    transport: Transport,
    fan_out: FanOut,
    counters: DatagramCounters,
) -> Result<Opened, ProcessError> {
    let replicas: Vec<SocketAddr> = cluster.replicas.iter().map(|replica| replica.address).collect();
    // A client's own address is that of the first replica's loopback, or the one that the kernel routes from.
    let (unicast, slot) = match own {
        Principal::Replica(id) => (replicas[usize::from(id.0)], usize::from(id.0)),
        Principal::Client(_) => (SocketAddr::new(unspecified_or_loopback(replicas[0].ip()), 0), replicas.len()),
    };
    let interface = unicast.ip();
    let own_group = cluster.multicast.group(slot);
    let tried = match fan_out {
        FanOut::Unicast => Err("it was asked for".to_owned()),
        _ if replicas.len() == 1 => Err("there is one server".to_owned()),
        FanOut::Auto | FanOut::Multicast => multicast::probe(interface, own_group, 0),
    };
    if let (FanOut::Multicast, Err(reason)) = (fan_out, &tried) {
        return Err(ProcessError::Multicast { interface, reason: reason.clone() });
    }
    let pool = Pool::new(PoolConfig { frame_bytes: cluster.datagram_bytes_max, frames: POOL_FRAMES })?;
    let mut config = EndpointConfig::new(pool.clone(), unicast);
    config.counters = counters;
    config.backend = match transport {
        Transport::Auto => BackendChoice::Auto,
        Transport::IoUring => BackendChoice::IoUring,
        Transport::Mmsg => BackendChoice::Mmsg,
    };
    let mut group = None;
    if tried.is_ok() {
        let others = (0..=replicas.len()).filter(|other| *other != slot).map(|other| cluster.multicast.group(other));
        let groups_join = if matches!(own, Principal::Replica(_)) { others.collect() } else { Vec::new() };
        config.group = Some(GroupConfig { groups_join, port: cluster.multicast.port, interface });
        group = Some(multicast::destination(own_group, cluster.multicast.port, interface)?);
    }
    let endpoint = Endpoint::open(config)?;
    let (backend, backend_reason) = endpoint.backend();
    let report = StartReport {
        address: endpoint.local_address(),
        backend,
        backend_reason: backend_reason.to_owned(),
        multicast: tried.is_ok(),
        fan_out_reason: tried.err().unwrap_or_else(|| format!("group {own_group} through {interface} works here")),
        arrangement: Arrangement::Shared,
        arrangement_reason: String::new(),
        receive_buffer_bytes: endpoint.receive_buffer_bytes(),
        memory_bytes_max: (POOL_FRAMES * cluster.datagram_bytes_max) as u64,
    };
    let mut peers: Vec<_> = Vec::with_capacity(replicas.len() + cluster.clients.len());
    for (id, replica) in cluster.replicas.iter().enumerate() {
        peers.push((Principal::Replica(ReplicaId(id as u8)).code(), replica.public_key));
    }
    if matches!(own, Principal::Replica(_)) {
        for (id, client) in cluster.clients.iter().enumerate() {
            peers.push((Principal::Client(ClientId(id as u16)).code(), *client));
        }
    }
    peers.retain(|(code, _)| *code != own.code());
    let keys = KeyRing::new(
        KeyRingConfig { context: cluster.digest(), algorithm: cluster.mac, own: own.code(), identity, peers },
        Box::new(os_entropy),
    );
    let network = Network::new(NetworkConfig {
        own,
        cluster: cluster.cluster_id,
        endpoint,
        pool: pool.clone(),
        keys,
        replicas,
        clients: cluster.clients.len(),
        group,
        rotation: RotationPolicy::of_lifetime_s(cluster.key_lifetime_s),
    });
    Ok(Opened { network, pool, report })
}

/// Where a client sends from: loopback if the replicas are there, else wherever the kernel routes from.
fn unspecified_or_loopback(replica: IpAddr) -> IpAddr {
    match replica {
        _ if replica.is_loopback() => replica,
        IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    }
}
