//! What a client is told once, at its start.

use crate::numbers::{ClientId, Incarnation};

/// What is fixed at the start of a client.
#[derive(Clone, Copy, Debug)]
pub struct ClientConfig {
    /// Which client it is.
    pub id: ClientId,
    /// How many replicas there are.
    pub replicas: usize,
    /// `f+1` replicas, of which one is correct.
    pub quorum_weak: usize,
    /// `2f+1` replicas: any two such sets share a correct one.
    pub quorum: usize,
    /// Whether the service answers queries. Then a result needs a quorum, so that no later query can miss it (`protocol.md RD-3`).
    pub reads: bool,
    /// How many requests may be outstanding, `W`.
    pub window: u64,
    /// The first incarnation to try; greater than any before, if clocks are right.
    pub incarnation: Incarnation,
    /// The longest request message that travels in one packet.
    pub request_packet_bytes_max: usize,
    /// The bytes of a longer one that each part carries.
    pub request_piece_bytes: usize,
    /// The most bytes of longer ones that are under way.
    pub large_bytes_max: usize,
    /// The bytes of a result that each part carries, where it fits no packet.
    pub reply_piece_bytes: usize,
    /// The most bytes of the results of one request.
    pub reply_bytes_max: usize,
}
