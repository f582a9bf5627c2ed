//! The loops that move datagrams between the parties and the transport.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use logothete_transport::HostError;
use logothete_transport::datagram::{Endpoint, EndpointConfig, GroupConfig, Received};
use logothete_transport::pool::{Pool, PoolConfig};

use super::client::Client;
use super::outbox::{Outbox, To};
use super::packet;
use super::replica::Replica;
use super::{ClientOptions, Network, NullError, NullResult, ReplicaOptions, ReplicaResult, Shape};

/// Datagrams taken in one turn.
const RECEIVE_MAX: usize = 64;

/// Frames of a party: what the endpoint keeps ready for receiving, one turn's datagrams in and out, and those that the
/// kernel has not taken yet.
const FRAMES: usize = 1024;

/// Polling with `sched_yield` before sleeping: a few round trips.
const POLL: Duration = Duration::from_micros(50);

/// The longest sleep, after which the stop flag is looked at.
const SLEEP_MAX: Duration = Duration::from_millis(10);

/// How often a replica that has not appeared is greeted again.
const GREETING_PERIOD: Duration = Duration::from_millis(20);

/// One party's connection to the network.
struct Party {
    endpoint: Endpoint,
    outbox: Outbox,
    /// Where a message for all (other) replicas goes.
    replicas: Vec<SocketAddr>,
    inbox: Vec<Received>,
    idle_since: Option<Instant>,
}

impl Party {
    /// `sender`: the replica's index, or the number of replicas for the client.
    fn open(shape: &Shape, network: &Network, sender: usize, address: SocketAddr) -> Result<Self, NullError> {
        check(shape, network)?;
        let pool = Pool::new(PoolConfig { frame_bytes: network.datagram_bytes_max, frames: FRAMES })?;
        let mut config = EndpointConfig::new(pool.clone(), address);
        config.backend = network.backend;
        let is_replica = sender < shape.replicas();
        let replicas = match &network.multicast {
            None => network.replicas.iter().enumerate().filter(|&(id, _)| id != sender).map(|(_, &to)| to).collect(),
            Some(multicast) => {
                let others = multicast.groups.iter().enumerate().filter(|&(slot, _)| is_replica && slot != sender);
                let groups_join = others.map(|(_, &group)| group).collect();
                config.group = Some(GroupConfig { groups_join, port: multicast.port, interface: multicast.interface });
                vec![SocketAddr::new(multicast.groups[sender], multicast.port)]
            }
        };
        let endpoint = Endpoint::open(config)?;
        let peers = shape.replicas() - usize::from(is_replica);
        let outbox = Outbox::new(pool, shape.packing, network.run, sender, peers);
        Ok(Self { endpoint, outbox, replicas, inbox: Vec::with_capacity(2 * RECEIVE_MAX), idle_since: None })
    }

    /// Sends what the outbox holds, then takes in what has come.
    fn turn(&mut self) -> Result<(), HostError> {
        for (frame, to) in self.outbox.fetch() {
            match to {
                To::Replicas => self.endpoint.send_all(frame, &self.replicas),
                To::One(address) => self.endpoint.send(frame, address),
            }
        }
        self.endpoint.flush()?;
        self.inbox.clear();
        if self.endpoint.receive(&mut self.inbox, RECEIVE_MAX) > 0 {
            self.idle_since = None;
            return Ok(());
        }
        let since = *self.idle_since.get_or_insert_with(Instant::now);
        if since.elapsed() < POLL {
            std::thread::yield_now();
            return Ok(());
        }
        self.endpoint.wait(SLEEP_MAX)
    }
}

/// Refuses options that contradict each other before any datagram is sent.
fn check(shape: &Shape, network: &Network) -> Result<(), NullError> {
    let options = |what: String| Err(NullError::Options(what));
    let replicas = shape.replicas();
    if replicas > 16 || network.replicas.len() != replicas {
        return options(format!(
            "{replicas} replicas need as many addresses (16 at most), not {}",
            network.replicas.len()
        ));
    }
    if network.multicast.as_ref().is_some_and(|multicast| multicast.groups.len() != replicas + 1) {
        return options(format!("{replicas} replicas and a client need {} multicast groups", replicas + 1));
    }
    let counts = [shape.operations_per_request, shape.requests_per_batch, shape.requests_outstanding];
    if counts.contains(&0) || shape.pipeline_depth == 0 {
        return options("operations, requests, window and pipeline must be at least 1".into());
    }
    if shape.operations_per_request > 4096 {
        return options("a request holds at most 4096 operations".into());
    }
    if shape.datagram_bytes() > network.datagram_bytes_max {
        let (needed, most) = (shape.datagram_bytes(), network.datagram_bytes_max);
        return options(format!("this shape needs datagrams of {needed} bytes, but they may have {most} at most"));
    }
    Ok(())
}

/// Runs one replica on the calling thread until `stop` becomes true. It serves one run of a client.
///
/// # Errors
/// The host does not work, the options contradict each other, or a datagram of the run makes no sense.
pub fn run_replica(options: &ReplicaOptions, stop: &AtomicBool) -> Result<ReplicaResult, NullError> {
    let ReplicaOptions { id, shape, network } = options;
    let Some(&address) = network.replicas.get(*id) else {
        return Err(NullError::Options(format!("there is no replica {id} among {}", network.replicas.len())));
    };
    let mut party = Party::open(shape, network, *id, address)?;
    let mut replica = Replica::new(*id, *shape);
    while !stop.load(Ordering::Relaxed) {
        party.turn()?;
        for received in party.inbox.drain(..) {
            replica.on_datagram(&received.frame, received.from, network.run, &mut party.outbox)?;
        }
        if *id == 0 {
            replica.propose(&mut party.outbox)?;
        }
    }
    let counters = party.endpoint.counters();
    Ok(ReplicaResult {
        datagrams_sent: counters.sent.value(),
        datagrams_received: counters.received.value(),
        ..replica.result()
    })
}

/// Runs the client on the calling thread: waits for the replicas, warms up, measures, and waits until every replica has
/// answered everything.
///
/// # Errors
/// As [`run_replica`], and when replicas do not appear or anything was lost.
pub fn run_client(options: &ClientOptions) -> Result<NullResult, NullError> {
    let ClientOptions { shape, network, silence_max, .. } = options;
    let mut party = Party::open(shape, network, shape.replicas(), options.address)?;
    let mut client = Client::new(*shape);
    greet(&mut party, &mut client, options)?;

    let start = Instant::now();
    let now = || start.elapsed().as_nanos() as u64;
    let measured_from_ns = options.warmup.as_nanos() as u64;
    let measured_to_ns = measured_from_ns + options.duration.as_nanos() as u64;
    client.measure(measured_from_ns, measured_to_ns);
    let mut now_ns = now();
    let mut heard_ns = now_ns;
    while now_ns < measured_to_ns || !client.complete() {
        if now_ns < measured_to_ns {
            client.send(now_ns, &mut party.outbox)?;
        }
        party.turn()?;
        // One reading serves for all datagrams of a turn, and for the requests that they make room for.
        now_ns = now();
        if !party.inbox.is_empty() {
            heard_ns = now_ns;
        } else if now_ns - heard_ns > silence_max.as_nanos() as u64 {
            let (number, replies) = client.oldest_incomplete();
            let (replicas, waited) = (shape.replicas(), *silence_max);
            let kernel_drops = party.endpoint.counters().kernel_drops.value();
            return Err(NullError::Lost { number, replies, replicas, waited, kernel_drops });
        }
        for received in party.inbox.drain(..) {
            client.on_datagram(&received.frame, received.from, network.run, now_ns)?;
        }
    }
    let duration_ns = measured_to_ns - measured_from_ns;
    let (operations, gap_max_ns, latencies) = client.measured();
    let datagrams_sent = party.endpoint.counters().sent.value();
    Ok(NullResult {
        latencies,
        operations,
        duration_ns,
        result_gap_max_ns: gap_max_ns,
        datagrams_sent,
        backend: party.endpoint.backend().0.to_string(),
    })
}

/// Greets every replica until it greets back, so that no request goes to somebody who is not there yet.
fn greet(party: &mut Party, client: &mut Client, options: &ClientOptions) -> Result<(), NullError> {
    let start = Instant::now();
    let mut greeted: Option<Instant> = None;
    while !client.absent().is_empty() {
        if start.elapsed() > options.silence_max {
            return Err(NullError::Absent { missing: client.absent(), waited: options.silence_max });
        }
        if greeted.is_none_or(|at| at.elapsed() > GREETING_PERIOD) {
            greeted = Some(Instant::now());
            for id in client.absent() {
                let to = To::One(options.network.replicas[id]);
                party.outbox.post(to, packet::greeting_bytes(), packet::write_greeting)?;
            }
        }
        party.turn()?;
        for received in party.inbox.drain(..) {
            client.on_datagram(&received.frame, received.from, options.network.run, 0)?;
        }
    }
    Ok(())
}
