//! What a replica is told once, at its start: who it is, how large the cluster is, and the sizes of everything that it keeps.

use super::bodies::PartShape;
use super::quorum::Quorum;
use crate::limits;
use crate::numbers::{ReplicaId, View};
use crate::wire::packet::{ENTRY_BYTES, HEADER_BYTES};

/// What is fixed at the start of a replica.
#[derive(Clone, Copy, Debug)]
pub struct ReplicaConfig {
    /// The cluster's number, which packets name.
    pub cluster_id: u64,
    /// Which replica this is.
    pub id: ReplicaId,
    /// The cluster's quorums.
    pub quorum: Quorum,
    /// How many clients there are.
    pub clients: usize,
    /// A checkpoint every so many batches, `K`; the window is `L = 2K`.
    pub checkpoint_interval: u64,
    /// How many batches the primary has in flight.
    pub pipeline_depth: u64,
    /// The most requests of a batch.
    pub batch_requests_max: usize,
    /// The longest request message.
    pub request_bytes_max: usize,
    /// The longest request message that travels in one packet.
    pub request_packet_bytes_max: usize,
    /// How longer ones are cut.
    pub parts: PartShape,
    /// The most bytes of the results of one request.
    pub reply_bytes_max: usize,
    /// The most bytes of results that travel in one packet.
    pub reply_packet_bytes_max: usize,
    /// How many bytes of longer results each part carries.
    pub reply_piece_bytes: usize,
    /// How many requests a client may have outstanding, `W`.
    pub client_window: u64,
    /// How far a proposal's timestamp may be ahead of this replica's clock.
    pub clock_bound_ns: u64,
    /// The most bytes of request bodies held.
    pub bodies_bytes_max: usize,
    /// Whether what it promises is recorded in a journal, from the start.
    pub keeps_journal: bool,
    /// Whether the host makes a journal once it has recovered.
    pub makes_journal: bool,
    /// It has been here before and does not remember: it recovers first.
    pub forgot: bool,
    /// Whether a batch is executed when it has prepared, and undone should it not commit (`protocol.md EX-1`).
    pub tentative: bool,
    /// The longest time-out of a view, doublings included (`protocol.md VC-8`).
    pub timeout_view_max_ns: u64,
    /// This replica's epoch, which what it signs names.
    pub epoch: u64,
    /// The bytes of a statement that one packet carries.
    pub statement_piece_bytes: usize,
}

impl ReplicaConfig {
    /// The window, `L = 2K`.
    pub fn window(&self) -> u64 {
        2 * self.checkpoint_interval
    }

    /// The primary of a view (`protocol.md NC-1`).
    pub fn primary_of(&self, view: View) -> ReplicaId {
        ReplicaId((view.0 % self.quorum.replicas() as u64) as u8)
    }

    /// The longest packet that carries a request.
    pub fn packet_bytes_max(&self) -> usize {
        HEADER_BYTES + self.request_packet_bytes_max + self.quorum.replicas() * ENTRY_BYTES
    }

    /// The most bytes of bodies for requests that wait (`protocol.md BP-3`).
    pub fn waiting_bytes_max(&self) -> usize {
        self.bodies_bytes_max.min(limits::BODIES_BYTES_MAX) / 2
    }

    /// The most bytes of request messages that a batch of several requests names: the bodies of the two windows that the log keeps take what
    /// the store has beside those that wait, in slabs that may be twice as large as what they hold. A batch of one request may name one of any
    /// size (`protocol.md BP-3`, `LR-3`).
    pub fn batch_bytes_max(&self) -> usize {
        self.waiting_bytes_max() / (2 * self.window() as usize) / 2
    }

    /// Whether one batch may name so many requests with so many bytes together.
    pub fn is_batch_size(&self, requests: usize, bytes: usize) -> bool {
        requests == 1 || bytes <= self.batch_bytes_max()
    }
}
