//! Running a process: opening its network as the configuration says, and turning its duty cycles until it is told to stop.

use super::clock::Clock;
use super::counters::{NetworkCounters, OrdererCounters};
use super::idle::{Idler, Pause};
use super::network::{Network, NetworkConfig};
use super::orderer::Orderer;
use super::outbox::Outbox;
use super::split;

use super::Core;
use super::unreplicated::Unreplicated;
use crate::cluster::{Arrangement, Cluster, FanOut, Idle, ReplicaLocal, Transport};
use crate::limits::{BODIES_BYTES_MAX, POOL_FRAMES};
use crate::numbers::{Principal, ReplicaId};
use crate::replica::{Event, Quorum, ReplicaConfig};
use crate::service::{Service, ServiceSettings, built_in};
use crate::wire::reply::REPLY_OVERHEAD_BYTES;
use crate::wire::request::request_bytes_max;
use crate::wire::{Audience, packet};
use logothete_crypto::{Identity, KeyRing, KeyRingConfig, os_entropy};
use logothete_transport::cores;
use logothete_transport::datagram::{Backend, BackendChoice, DatagramCounters, Endpoint, EndpointConfig, GroupConfig};
use logothete_transport::pool::{Pool, PoolConfig};
use logothete_transport::{HostError, multicast};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

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
            peers.push((Principal::Client(crate::numbers::ClientId(id as u16)).code(), *client));
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
    });
    Ok(Opened { network, pool, report })
}

/// Runs one replica until `stop`. `announce` is called once, when it receives; `event` for each thing worth a line in a log.
///
/// # Errors
/// The host refuses what the replica needs.
pub fn run_replica(
    cluster: &Cluster,
    local: &ReplicaLocal,
    id: ReplicaId,
    identity: Identity,
    stop: &AtomicBool,
    announce: &mut dyn FnMut(&StartReport),
    event: &mut (dyn FnMut(Event) + Send),
) -> Result<(), ProcessError> {
    let config = ReplicaConfig {
        id,
        quorum: Quorum::of(cluster.replica_count()).expect("a checked configuration has 3f+1 replicas"),
        clients: cluster.clients.len(),
        checkpoint_interval: cluster.checkpoint_interval,
        pipeline_depth: cluster.pipeline_depth as u64,
        batch_requests_max: batch_requests_max(cluster),
        request_bytes_max: request_bytes_max(cluster.datagram_bytes_max, cluster.replica_count()),
        reply_bytes_max: reply_bytes_max(cluster),
        client_window: cluster.client_window as u64,
        clock_bound_ns: cluster.clock_bound_ms * 1_000_000,
        bodies_bytes_max: BODIES_BYTES_MAX,
    };
    let (mut counters, datagrams) = NetworkCounters::create(&local.data_directory)?;
    let gauges = OrdererCounters::create(&mut counters)?;
    let core = Orderer::new(config, service(cluster), reply_bytes_max(cluster), gauges);
    let opened = open_network(cluster, Principal::Replica(id), identity, local.transport, local.fan_out, datagrams)?;
    run(cluster, local, opened, core, counters, stop, announce, event)
}

/// Runs the unreplicated baseline, as replica 0 of [`Cluster::unreplicated`], until `stop`.
///
/// # Errors
/// The host refuses what it needs.
pub fn run_unreplicated(
    cluster: &Cluster,
    local: &ReplicaLocal,
    identity: Identity,
    stop: &AtomicBool,
    announce: &mut dyn FnMut(&StartReport),
) -> Result<(), ProcessError> {
    let window = cluster.client_window as u64;
    let (counters, datagrams) = NetworkCounters::create(&local.data_directory)?;
    let core = Unreplicated::new(
        cluster.clients.len(),
        window,
        request_bytes_max(cluster.datagram_bytes_max, 1),
        service(cluster),
        reply_bytes_max(cluster),
    );
    let own = Principal::Replica(ReplicaId(0));
    let opened = open_network(cluster, own, identity, local.transport, local.fan_out, datagrams)?;
    run(cluster, local, opened, core, counters, stop, announce, &mut |_| {})
}

#[expect(clippy::too_many_arguments, reason = "each is a different thing that only the caller knows")]
fn run<C: Core + Send>(
    cluster: &Cluster,
    local: &ReplicaLocal,
    mut opened: Opened,
    core: C,
    counters: NetworkCounters,
    stop: &AtomicBool,
    announce: &mut dyn FnMut(&StartReport),
    event: &mut (dyn FnMut(Event) + Send),
) -> Result<(), ProcessError> {
    let usable = cores::usable().len();
    let (arrangement, reason) = arrange(cluster, local.arrangement, opened.report.address.ip(), usable);
    let threads = if arrangement == Arrangement::Split { 2 } else { 1 };
    if local.idle == Idle::Spin && threads >= usable {
        return Err(ProcessError::SpinWithoutCores { threads, cores: usable });
    }
    (opened.report.arrangement, opened.report.arrangement_reason) = (arrangement, reason);
    let replies = cluster.clients.len() * cluster.client_window * reply_bytes_max(cluster);
    opened.report.memory_bytes_max += (BODIES_BYTES_MAX + replies) as u64 + cluster.retention_bytes;
    if let Some(core) = local.cores.first() {
        cores::pin_current_thread(usize::from(*core))?;
    }
    announce(&opened.report);
    let outbox = Outbox::new(opened.pool.clone(), cluster.datagram_bytes_max);
    match arrangement {
        Arrangement::Split => split::run(opened, core, outbox, counters, local, stop, event),
        Arrangement::Auto | Arrangement::Shared => {
            run_shared(opened.network, core, outbox, counters, local.idle, stop, event)
        }
    }
}

/// All agents in turn, on the calling thread.
fn run_shared<C: Core>(
    mut network: Network,
    mut core: C,
    mut outbox: Outbox,
    mut counters: NetworkCounters,
    idle: Idle,
    stop: &AtomicBool,
    event: &mut (dyn FnMut(Event) + Send),
) -> Result<(), ProcessError> {
    let clock = Clock::start();
    let mut idler = Idler::new(idle);
    while !stop.load(Ordering::Relaxed) {
        let now = clock.now();
        let received = network.receive(now.monotonic_ns, |incoming| core.on_incoming(now, incoming));
        if received > 0 || core.deadline_ns() <= now.monotonic_ns {
            core.on_duty_end(now, &network.facts(), &mut outbox);
            outbox.drain_into(&mut network);
            core.take_events(event);
        }
        network.on_duty_end(now.monotonic_ns)?;
        counters.publish(now.monotonic_ns, &network);
        if received > 0 {
            counters.worked(now.monotonic_ns, clock.now().monotonic_ns);
            idler.worked();
        } else if let Pause::Sleep(timeout) =
            idler.pause(now.monotonic_ns, core.deadline_ns().min(network.deadline_ns()))
        {
            network.wait(timeout)?;
        }
    }
    Ok(())
}

/// What `auto` means here: `split` where every process of the cluster on this host can have a core for each of its threads.
fn arrange(cluster: &Cluster, wanted: Arrangement, host: IpAddr, usable: usize) -> (Arrangement, String) {
    if wanted != Arrangement::Auto {
        return (wanted, "it was asked for".to_owned());
    }
    let here = cluster.replicas.iter().filter(|replica| replica.address.ip() == host).count();
    // Two threads a replica, one for a driver and one for its applications.
    let wanted = 2 * here + 2;
    let reason = format!("{usable} cores for {here} replicas on this host, a driver and a load");
    (if usable >= wanted { Arrangement::Split } else { Arrangement::Shared }, reason)
}

fn service(cluster: &Cluster) -> Box<dyn Service> {
    let settings = ServiceSettings {
        state_bytes_max: cluster.retention_bytes,
        message_bytes_max: request_bytes_max(cluster.datagram_bytes_max, cluster.replica_count()),
        null_reply_bytes: cluster.null_reply_bytes,
    };
    built_in(cluster.service, &settings)
}

/// The room for the results of one request in a reply.
pub fn reply_bytes_max(cluster: &Cluster) -> usize {
    let audience = Audience::Client(crate::numbers::ClientId(0));
    packet::body_bytes_max(cluster.datagram_bytes_max, audience) - REPLY_OVERHEAD_BYTES
}

/// The most requests of a batch whose pre-prepare fits one packet.
fn batch_requests_max(cluster: &Cluster) -> usize {
    use crate::wire::agreement::batch_requests_fitting;
    let others = Audience::Replicas(crate::numbers::ReplicaSet::first(cluster.replica_count() - 1));
    cluster.batch_requests_max.min(batch_requests_fitting(packet::body_bytes_max(cluster.datagram_bytes_max, others)))
}

/// Where a client sends from: loopback if the replicas are there, else wherever the kernel routes from.
fn unspecified_or_loopback(replica: IpAddr) -> IpAddr {
    match replica {
        _ if replica.is_loopback() => replica,
        IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    }
}
