//! New session keys on demand: what the operator's `rotate-keys` asks and is told (`protocol.md KY-4`). These travel alone in their
//! packets, so that the network's agents, which hold the keys, deal with them and nothing else of the packet is lost on the core.

use super::framing::{self, Kind};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// RotateKeys(nonce).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RotateKeys {
    /// The wish's number: the same again asks how it is coming along.
    pub nonce: U64,
}

impl RotateKeys {
    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::RotateKeys, &[self.as_bytes()]);
    }
}

/// Which generation of its key a replica uses, in its own word.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct KeyReport {
    /// Of the wish.
    pub nonce: U64,
    /// The newest generation of this process's key.
    pub generation: U32,
    /// The wished generation is made in so many milliseconds; zero when it is made.
    pub due_ms: U32,
    /// Replicas with which there is a session.
    pub replicas: U16,
    /// Those of them that confirmed the newest generation.
    pub replicas_confirmed: U16,
    /// Clients with which there is a session, whether they still run or not.
    pub clients: U16,
    /// Those of them that confirmed the newest generation.
    pub clients_confirmed: U16,
    /// From the making of the newest generation until all replicas with a session had confirmed it; zero when they have not.
    pub in_use_after_ns: U64,
}

impl KeyReport {
    /// An answer in which everything is zero yet.
    pub fn empty(nonce: u64) -> Self {
        Self { nonce: nonce.into(), ..Self::new_zeroed() }
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::KeyReport, &[self.as_bytes()]);
    }
}
