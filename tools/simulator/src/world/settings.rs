//! The numbers of a cluster, and what follows from them.

use crate::world::disk;
use crate::world::seat::Register;
use logothete_engine::limits::TIMEOUT_VIEW_MAX_NS;
use logothete_engine::numbers::{ClientId, ReplicaSet};
use logothete_engine::replica::Quorum;
use logothete_engine::replica::bodies::PartShape;
use logothete_engine::service::{RESULT_HEADER_BYTES, ServiceKind};
use logothete_engine::wire::Audience;
use logothete_engine::wire::agreement::batch_requests_fitting;
use logothete_engine::wire::packet;
use logothete_engine::wire::reply::REPLY_OVERHEAD_BYTES;
use logothete_engine::wire::request::{SIGNED_REQUEST_OVERHEAD_BYTES, lone_request_bytes, request_bytes_max};
use logothete_engine::wire::view_change::statement_piece_bytes;
use serde::{Deserialize, Serialize};

/// The numbers of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub replicas: usize,
    /// Clients, the operator not counted.
    pub clients: usize,
    pub checkpoint_interval: u64,
    pub pipeline_depth: u64,
    pub batch_requests_max: usize,
    pub client_window: u64,
    pub datagram_bytes_max: usize,
    /// The longest operation; one of a packet's size at least is always taken.
    pub operation_bytes_max: usize,
    pub retention_bytes: u64,
    /// The memory for requests, if what has to fit takes less.
    pub bodies_bytes_least: usize,
    /// Whether batches are executed when they have prepared.
    pub tentative: bool,
    /// Whether the service is the key-value service, and not the ordered log. It answers queries.
    pub key_value: bool,
    /// Whether the service answers queries, so that clients take results of `2f+1` only.
    pub reads: bool,
    /// Whether replicas keep journals.
    pub journal: bool,
    /// The longest time-out of a view, doublings included.
    pub timeout_view_max_ns: u64,
    /// After so many of its turns a replica is asked how it fares, as an operator would.
    pub question_turns: u64,
    /// Session keys and the tags of packets are cheap ones that stand in for the real.
    pub stand_in_keys: bool,
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            replicas: 4,
            clients: 1,
            checkpoint_interval: 8,
            pipeline_depth: 4,
            batch_requests_max: 16,
            client_window: 8,
            datagram_bytes_max: 1472,
            operation_bytes_max: 0,
            retention_bytes: 1 << 20,
            bodies_bytes_least: 1 << 20,
            tentative: false,
            key_value: false,
            reads: false,
            journal: false,
            timeout_view_max_ns: TIMEOUT_VIEW_MAX_NS,
            question_turns: 1,
            stand_in_keys: false,
            seed: 1,
        }
    }
}

impl Settings {
    pub fn quorum(&self) -> Quorum {
        Quorum::of(self.replicas).expect("a cluster has 3f+1 replicas")
    }

    /// What the replicas replicate.
    pub fn service(&self) -> ServiceKind {
        if self.key_value { ServiceKind::KeyValue } else { ServiceKind::Log }
    }

    pub fn register(&self) -> Register {
        Register { replicas: self.replicas, clients: self.clients + 1, stand_ins: self.stand_in_keys }
    }

    /// The operator is the last client.
    pub fn operator(&self) -> ClientId {
        ClientId(self.clients as u16)
    }

    /// The bytes of a signed statement that one packet carries.
    pub fn piece_bytes(&self) -> usize {
        statement_piece_bytes(self.datagram_bytes_max, self.replicas)
    }

    /// The longest request in one packet, and the longest.
    pub fn request_bytes_max(&self) -> (usize, usize) {
        let packet = request_bytes_max(self.datagram_bytes_max, self.replicas);
        (packet, packet.max(lone_request_bytes(self.operation_bytes_max)))
    }

    /// The room for the operations of a request of one packet, which its client may have to sign.
    pub fn operations_bytes_max(&self) -> usize {
        self.request_bytes_max().0 - SIGNED_REQUEST_OVERHEAD_BYTES
    }

    /// How longer requests are cut.
    pub fn parts(&self) -> PartShape {
        PartShape::of(self.datagram_bytes_max, self.replicas)
    }

    /// The longest record of a journal: a client's packet, a batch, or what a replica signs of a view.
    pub fn record_bytes_max(&self) -> usize {
        self.request_bytes_max().1 + 4096
    }

    /// What a journal may take on its disk.
    pub fn journal_bytes_max(&self) -> u64 {
        disk::journal_bytes_max(self.record_bytes_max())
    }

    /// The room for results in one packet.
    pub fn reply_packet_bytes_max(&self) -> usize {
        packet::body_bytes_max(self.datagram_bytes_max, Audience::Client(ClientId(0))) - REPLY_OVERHEAD_BYTES
    }

    /// The room for the results of one request: what the log answers fits a packet, and a value may be as long as an operation.
    pub fn reply_bytes_max(&self) -> usize {
        let longest = if self.key_value { RESULT_HEADER_BYTES + self.operation_bytes_max } else { 0 };
        self.reply_packet_bytes_max().max(longest)
    }

    /// A store that is soon full, but has room for what has to fit.
    pub fn bodies_bytes_max(&self) -> usize {
        let (packet, longest) = self.request_bytes_max();
        let body = if longest > packet { self.parts().body_bytes(longest) } else { 0 };
        let log = 2 * self.window() as usize * body;
        // A batch can name one request of any packet; each client, the operator among them, can have one waiting and one arriving.
        let waiting = 2 * body * (self.clients + 1);
        (2 * log).max(2 * waiting).max(8 * self.window() as usize * packet).max(self.bodies_bytes_least)
    }

    /// The most requests of a batch: their names fit a packet.
    pub(super) fn batch_requests_fitting(&self) -> usize {
        let others = Audience::Replicas(ReplicaSet::first(self.replicas - 1));
        let fitting = batch_requests_fitting(packet::body_bytes_max(self.datagram_bytes_max, others));
        self.batch_requests_max.min(fitting)
    }

    /// The width of the window, `L = 2K`.
    pub fn window(&self) -> u64 {
        2 * self.checkpoint_interval
    }
}
