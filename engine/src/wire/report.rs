//! How a replica fares: what the operator's `status` asks and is told.

use super::framing::{self, Kind};
use logothete_crypto::Digest;
use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// ReportQuery(nonce).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ReportQuery {
    /// Returned in the answer, so that a late answer is not taken for a fresh one.
    pub nonce: U64,
}

impl ReportQuery {
    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::ReportQuery, &[self.as_bytes()]);
    }
}

/// What a replica says of itself; only what several say alike is more than its word.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ReportReply {
    /// Of the query.
    pub nonce: U64,
    /// The view that it is in.
    pub view: U64,
    /// The last batch that it executed.
    pub executed: U64,
    /// Its last stable checkpoint.
    pub checkpoint_stable: U64,
    /// The digest of its state after `executed`.
    pub state_digest: Digest,
    /// Datagrams sent since its start.
    pub datagrams_sent: U64,
    /// Datagrams received since its start.
    pub datagrams_received: U64,
    /// Packets and messages rejected since its start.
    pub rejects: U64,
    /// The oldest position of its ordered log.
    pub log_oldest: U64,
    /// The position after the last of its ordered log.
    pub log_end: U64,
    /// The replicas heard from in the last second, itself included: one bit each.
    pub peers_reachable: U16,
    /// How it gets on ([`crate::replica::Progress`]).
    pub progress: u8,
    /// Zero.
    pub reserved: [u8; 5],
}

impl ReportReply {
    /// An answer in which everything is zero yet.
    pub fn empty(nonce: u64) -> Self {
        Self { nonce: nonce.into(), ..Self::new_zeroed() }
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::ReportReply, &[self.as_bytes()]);
    }
}
