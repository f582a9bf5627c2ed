//! The null protocol: the datagrams of PBFT's normal case, and nothing behind them.
//!
//! Replicas and a client exchange what four replicas and a driver of the engine exchange when nothing goes wrong:
//! the client's requests to all replicas, the primary's pre-prepare that names them, prepares, commits (unless
//! *tentative*: then replicas answer when prepared, and the client waits for `2f+1` replies instead of `f+1`), replies.
//! Datagrams go through the engine's own transport and have the sizes of the engine's own, tags included; but nothing is
//! authenticated, digested, kept or recovered. What it reaches is what the transport and the scheduler leave to the
//! engine, so an engine's figure is worth quoting as a ratio to it.
//!
//! What may enter: what the datagrams need in order to be sent and counted. What must never: work that the engine does
//! behind a datagram, and any mercy with errors. Every result is checked, every replica must answer every request, and a
//! lost datagram fails the run: a bound that silently did less work would be none.
//!
//! [`run_replica`] is one replica, for a process or thread of its own; [`run_client`] drives them and measures.

mod client;
mod outbox;
mod packet;
mod replica;
mod run;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use logothete_engine::replica::Quorum;
use logothete_transport::HostError;
use logothete_transport::datagram::BackendChoice;
use thiserror::Error;

use crate::latency::Latencies;
use crate::load::{Failures, LoadResult, Reads};

pub use run::{run_client, run_replica};

/// The traffic, on which all parties have to agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Byzantine replicas tolerated: there are `3f+1`.
    pub faults: usize,
    /// Four message delays instead of five: no commits.
    pub tentative: bool,
    /// Operations in a request; a request is one datagram.
    pub operations_per_request: usize,
    /// Bytes of an operation, and of its result.
    pub payload_bytes: usize,
    /// Requests in a pre-prepare, at most.
    pub requests_per_batch: usize,
    /// Pre-prepares in flight, at most.
    pub pipeline_depth: u64,
    /// Requests that the client has outstanding.
    pub requests_outstanding: usize,
    /// What goes into one datagram.
    pub packing: Packing,
}

/// What goes into one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// One message, as in the drawings of the papers.
    Message,
    /// Whatever one turn of the loop has to say to the same audience, as the engine packs; a request has a datagram to
    /// itself.
    Turn,
}

impl Shape {
    /// One operation at a time: the shape in which latency is measured.
    pub fn latency(tentative: bool) -> Self {
        Self {
            faults: 1,
            tentative,
            operations_per_request: 1,
            payload_bytes: 8,
            requests_per_batch: 64,
            pipeline_depth: 8,
            requests_outstanding: 1,
            packing: Packing::Turn,
        }
    }

    /// 32 operations a request, 64 a pre-prepare, 1,024 outstanding. With [`Packing::Message`] it is what literature on
    /// PBFT counts as a batch of 64; with [`Packing::Turn`], the default here, it is what the engine makes of the same.
    pub fn throughput(tentative: bool) -> Self {
        Self { operations_per_request: 32, requests_per_batch: 2, requests_outstanding: 32, ..Self::latency(tentative) }
    }

    /// Replicas.
    pub fn replicas(&self) -> usize {
        self.quorum().replicas()
    }

    fn quorum(&self) -> Quorum {
        Quorum::bearing(self.faults)
    }

    /// Places for requests, and for batches, at every party. A client sends no request before all replicas have answered
    /// the one whose place it takes, so no replica can fall further behind, and none runs over.
    fn places(&self) -> usize {
        (8 * self.requests_outstanding).next_power_of_two().max(64)
    }

    /// Matching replies that make a result.
    fn replies_needed(&self) -> u32 {
        let quorum = self.quorum();
        (if self.tentative { quorum.strong() } else { quorum.weak() }) as u32
    }

    /// The largest message with its packet around it.
    fn datagram_bytes(&self) -> usize {
        let tags = self.replicas() * packet::ENTRY_BYTES;
        let request = packet::request_bytes(self.operations_per_request, self.payload_bytes);
        let reply = packet::reply_bytes(self.operations_per_request, self.payload_bytes);
        let pre_prepare = packet::pre_prepare_bytes(self.requests_per_batch);
        packet::HEADER_BYTES + request.max(reply).max(pre_prepare) + tags
    }
}

/// Where the datagrams go.
#[derive(Clone, Debug)]
pub struct Network {
    /// The replicas' unicast addresses, by index.
    pub replicas: Vec<SocketAddr>,
    /// Multicast; without it every copy is sent for itself.
    pub multicast: Option<Multicast>,
    /// Which back-end to use.
    pub backend: BackendChoice,
    /// The largest datagram.
    pub datagram_bytes_max: usize,
    /// Tells this run's datagrams from any others.
    pub run: u64,
}

/// Multicast addresses.
#[derive(Clone, Debug)]
pub struct Multicast {
    /// The groups: that of replica `i`, for what it says to the others, at `i`; the client's last.
    pub groups: Vec<IpAddr>,
    /// The port of all groups.
    pub port: u16,
    /// An address of the interface that carries them.
    pub interface: IpAddr,
}

/// What a replica needs to know.
#[derive(Clone, Debug)]
pub struct ReplicaOptions {
    /// Which replica; 0 is the primary.
    pub id: usize,
    /// The traffic.
    pub shape: Shape,
    /// The addresses.
    pub network: Network,
}

/// What the client needs to know.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The traffic.
    pub shape: Shape,
    /// The addresses.
    pub network: Network,
    /// An own address, with port 0.
    pub address: SocketAddr,
    /// Time before measuring begins.
    pub warmup: Duration,
    /// The measured time.
    pub duration: Duration,
    /// How long no reply may come before the run has failed; also how long the replicas may take to appear.
    pub silence_max: Duration,
}

/// What a replica did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaResult {
    /// Operations executed.
    pub operations: u64,
    /// Batches executed.
    pub batches: u64,
    /// Datagrams sent; one to a group counts once.
    pub datagrams_sent: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
}

/// What the client measured.
#[derive(Clone, Debug)]
pub struct NullResult {
    /// From sending a request until enough replies to it have come.
    pub latencies: Latencies,
    /// Operations completed within the measured time.
    pub operations: u64,
    /// The measured time.
    pub duration_ns: u64,
    /// The longest time without a result within the measured time.
    pub result_gap_max_ns: u64,
    /// Datagrams that the client sent, warm-up included; one to a group counts once.
    pub datagrams_sent: u64,
    /// The back-end that was used.
    pub backend: String,
}

impl NullResult {
    /// The same as a result of the load generator, for a report. Latencies are those of requests: operations that travel
    /// together have one.
    pub fn into_load(self) -> LoadResult {
        LoadResult {
            acknowledged: self.operations,
            failures: Failures::default(),
            failures_warmup: Failures::default(),
            duration_ns: self.duration_ns,
            acknowledgement_gap_max_ns: self.result_gap_max_ns,
            latencies: self.latencies,
            reads: Reads::default(),
            seconds: Vec::new(),
            intervals: Vec::new(),
            stopped: false,
        }
    }
}

/// Why a run failed.
#[derive(Debug, Error)]
pub enum NullError {
    /// The host does not work.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The options contradict each other.
    #[error("{0}")]
    Options(String),
    /// All frames are in use.
    #[error("no frame is free of {frames}; fewer requests outstanding need fewer")]
    Pool {
        /// How many there are.
        frames: usize,
    },
    /// A replica did not answer the greeting.
    #[error(
        "replicas {missing:?} did not answer within {waited:?}; are they running, and do addresses and groups agree?"
    )]
    Absent {
        /// Which.
        missing: Vec<usize>,
        /// How long.
        waited: Duration,
    },
    /// A datagram of this run does not make sense.
    #[error("a datagram from {from} makes no sense: {what}")]
    Damaged {
        /// Who sent it.
        from: SocketAddr,
        /// What is wrong.
        what: &'static str,
    },
    /// Replies stopped: datagrams were lost.
    #[error(
        "request {number} was answered by {replies} of {replicas} replicas, then nothing came for {waited:?}: datagrams \
         were lost ({kernel_drops} at this socket); larger receive buffers (net.core.rmem_max) or a smaller window help"
    )]
    Lost {
        /// The oldest request without all replies.
        number: u64,
        /// The replies that it has.
        replies: u32,
        /// The replies that it should have.
        replicas: usize,
        /// How long nothing came.
        waited: Duration,
        /// Datagrams that the kernel dropped at the client.
        kernel_drops: u64,
    },
}

#[cfg(test)]
mod tests;
