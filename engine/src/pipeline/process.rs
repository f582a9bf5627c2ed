//! Running a process: opening its network as the configuration says, and turning its duty cycles until it is told to stop.

use super::Core;
use super::clock::Clock;
use super::counters::{EvidenceCounters, NetworkCounters, OrdererCounters};
use super::evidence_log::EvidenceLog;
use super::idle::{Idler, Pause};
use super::keeper::{MemoryConfig, MemoryError, MemoryPlan};
use super::memory::Memory;
use super::network::Network;
use super::opening::{ProcessError, StartReport, open_network};
use super::orderer::Orderer;
use super::outbox::Outbox;
use super::split;
use super::unreplicated::Unreplicated;
use crate::authentication::Signatures;
use crate::cluster::{Arrangement, Cluster, Idle, Journal, ReplicaLocal};
use crate::journal::birth::{DataDirectory, Opened};
use crate::limits::{LARGE_BYTES_IN_FLIGHT, TIMEOUT_VIEW_MAX_NS};
use crate::numbers::{Principal, ReplicaId, ReplicaSet};
use crate::replica::{Event, Quorum, ReplicaConfig};
use crate::service::{Service, ServiceSettings, built_in};
use crate::wire::agreement::batch_requests_fitting;
use crate::wire::parts::reply_piece_bytes;
use crate::wire::view_change::statement_piece_bytes;
use crate::wire::{Audience, packet};
use logothete_crypto::{Identity, os_entropy};
use logothete_transport::storage::HostFileSystem;
use logothete_transport::{HostError, cores};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

/// The replica that a process runs.
#[derive(Debug)]
pub struct ReplicaProcess<'a> {
    /// The cluster's configuration.
    pub cluster: &'a Cluster,
    /// What concerns this host alone.
    pub local: &'a ReplicaLocal,
    /// Which replica.
    pub id: ReplicaId,
    /// Its private key.
    pub identity: Identity,
    /// Whether it recovers from the others, whatever its data directory remembers.
    pub rejoin: bool,
}

/// Runs one replica until `stop`. `announce` is called once, when it receives; `event` for each thing worth a line in a log.
///
/// `around` puts something between the replica and the network, which has all that passes: what is to show how correct replicas bear a faulty one does;
/// others leave the replica as it is.
///
/// # Errors
/// The host refuses what the replica needs, or the replica does not remember what it promised.
pub fn run_replica<C: Core + Send>(
    process: ReplicaProcess<'_>,
    around: impl FnOnce(Orderer) -> C,
    stop: &AtomicBool,
    announce: &mut dyn FnMut(&StartReport),
    event: &mut (dyn FnMut(Event) + Send),
) -> Result<(), ProcessError> {
    let ReplicaProcess { cluster, local, id, identity, rejoin } = process;
    std::fs::create_dir_all(&local.data_directory).map_err(|error| {
        MemoryError::Host(HostError::from_io("mkdir", &error, local.data_directory.display().to_string()))
    })?;
    let keeps = cluster.journal != Journal::Off;
    let (directory, found) =
        DataDirectory::open(HostFileSystem::shared(), &local.data_directory, keeps).map_err(MemoryError::from)?;
    let found = match found {
        Opened::Resumed if rejoin => {
            directory.disown_journal()?;
            Opened::Lost
        }
        Opened::Lost if keeps && !rejoin => {
            return Err(MemoryError::Lost { path: local.data_directory.clone() }.into());
        }
        found => found,
    };
    let signing = Identity::from_secret_bytes(*identity.secret_bytes());
    let public: Vec<_> = cluster.replicas.iter().map(|replica| replica.public_key).collect();
    let signatures = Signatures::new(signing, public, cluster.clients.clone(), cluster.digest());
    let (mut counters, datagrams) = NetworkCounters::create(&local.data_directory)?;
    let gauges = OrdererCounters::create(&mut counters, cluster.replica_count())?;
    let mut evidence_log = EvidenceLog::open(&local.data_directory)?;
    let evidence_counters: EvidenceCounters = counters.add("evidence")?;
    let opened = open_network(cluster, Principal::Replica(id), identity, local.transport, local.fan_out, datagrams)?;
    let config = ReplicaConfig {
        cluster_id: cluster.cluster_id,
        id,
        quorum: Quorum::of(cluster.replica_count()).expect("a checked configuration has 3f+1 replicas"),
        clients: cluster.clients.len(),
        checkpoint_interval: cluster.checkpoint_interval,
        pipeline_depth: cluster.pipeline_depth as u64,
        batch_requests_max: batch_requests_max(cluster),
        request_bytes_max: cluster.request_bytes_max(),
        request_packet_bytes_max: cluster.request_packet_bytes_max(),
        parts: cluster.part_shape(),
        reply_bytes_max: cluster.reply_bytes_max(),
        reply_packet_bytes_max: cluster.reply_packet_bytes_max(),
        reply_piece_bytes: reply_piece_bytes(cluster.datagram_bytes_max),
        client_window: cluster.client_window as u64,
        clock_bound_ns: cluster.clock_bound_ms * 1_000_000,
        bodies_bytes_max: cluster.bodies_bytes_max(),
        tentative: cluster.service.reads(),
        timeout_view_max_ns: TIMEOUT_VIEW_MAX_NS,
        keeps_journal: keeps && found == Opened::FirstStart,
        makes_journal: keeps,
        forgot: found == Opened::Lost,
        epoch: opened.network.epoch(),
        statement_piece_bytes: statement_piece_bytes(cluster.datagram_bytes_max, cluster.replica_count()),
    };
    let (replies, datagrams) = (cluster.reply_bytes_max(), cluster.datagram_bytes_max);
    let core = Orderer::new(config, signatures, service(cluster), replies, datagrams, gauges);
    let memory = MemoryConfig::new(cluster, id, core.state_pages());
    let core = match found {
        Opened::FirstStart if keeps => core.with_memory(Memory::create(directory, &memory, &mut os_entropy)?),
        Opened::FirstStart => {
            directory.begin()?;
            core.with_directory(directory)
        }
        Opened::Lost if keeps => {
            let plan = MemoryPlan::new(directory, memory);
            core.with_plan(move |sequence, snapshot| plan.make(sequence, snapshot, &mut os_entropy))
        }
        Opened::Lost => core.with_directory(directory),
        Opened::Resumed => {
            let mut outbox = Outbox::new(opened.pool.clone(), cluster.datagram_bytes_max);
            core.resumed(Clock::start().now(), directory, &memory, &mut outbox)?
        }
    };
    core.make_ready();
    let mut on_event = move |happened: Event| {
        if let Event::Contradiction(evidence) = &happened {
            // A disk that is full must not stop a correct replica; what is lost is counted.
            evidence_counters.count(matches!(evidence_log.append(evidence), Ok(true)));
        }
        event(happened);
    };
    run(cluster, local, opened, around(core), counters, stop, announce, &mut on_event)
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
    let (counters, datagrams) = NetworkCounters::create(&local.data_directory)?;
    let core = Unreplicated::new(cluster, service(cluster));
    let own = Principal::Replica(ReplicaId(0));
    let opened = open_network(cluster, own, identity, local.transport, local.fan_out, datagrams)?;
    run(cluster, local, opened, core, counters, stop, announce, &mut |_| {})
}

#[expect(clippy::too_many_arguments, reason = "each is a different thing that only the caller knows")]
fn run<C: Core + Send>(
    cluster: &Cluster,
    local: &ReplicaLocal,
    mut opened: super::opening::Opened,
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
    // In the client table, and in the engine's pages of the state.
    let replies = 2 * cluster.clients.len() * cluster.client_window * cluster.reply_bytes_max();
    let state = service_settings(cluster).memory_bytes_max(cluster.service);
    // Copies of queries' results that fit no packet (`protocol.md LR-5`).
    let long = cluster.reply_bytes_max() > cluster.reply_packet_bytes_max();
    let answers = if long { cluster.clients.len() * LARGE_BYTES_IN_FLIGHT } else { 0 };
    opened.report.memory_bytes_max += (cluster.bodies_bytes_max() + replies + answers) as u64 + state;
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
    core.on_stop();
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
    built_in(cluster.service, &service_settings(cluster))
}

fn service_settings(cluster: &Cluster) -> ServiceSettings {
    ServiceSettings {
        state_bytes_max: cluster.retention_bytes,
        message_bytes_max: cluster.request_bytes_max(),
        null_reply_bytes: cluster.null_reply_bytes,
    }
}

/// The most requests of a batch whose pre-prepare fits one packet.
fn batch_requests_max(cluster: &Cluster) -> usize {
    let others = Audience::Replicas(ReplicaSet::first(cluster.replica_count() - 1));
    cluster.batch_requests_max.min(batch_requests_fitting(packet::body_bytes_max(cluster.datagram_bytes_max, others)))
}
