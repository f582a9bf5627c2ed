//! A ring of byte records from one producer to one consumer: between threads, or between processes that need not trust
//! each other.
//!
//! What may enter: the two ends, the memory under them, and the flag by which an end that sleeps asks to be woken.
//! What must never happen here: a system call, an allocation after construction, a reference into the memory that the
//! other end writes, or a belief in anything read from it.
//!
//! ```text
//! byte 0            128           256                                      256 + capacity
//! ┌────────────────┬─────────────┬──────────────────────────────────────────┐
//! │ tail           │ head        │ records, each 8-byte aligned, wrapping   │
//! │ (by producer)  │ (by consumer)│                                          │
//! └────────────────┴─────────────┴──────────────────────────────────────────┘
//!
//! record: ┌────────────────────┬───────────────────┬─────────────────┐
//!         │ length, u64 native │ length bytes      │ 0..=7 unused    │
//!         └────────────────────┴───────────────────┴─────────────────┘
//! ```
//!
//! Both indices count bytes since the ring was made and only ever grow; a position in the ring is an index modulo the
//! capacity, a power of two. A record may wrap: no byte is spent on padding the end, and a record may be as long as the
//! ring ([`record_length_max`]).
//!
//! **Cost.** Each end keeps its own index in private memory and a private copy of the other's. The producer writes any
//! number of records and publishes them with one store; the consumer takes a whole run and releases it with one store.
//! The shared lines therefore change hands once a batch, not once a record.
//!
//! **Trust.** A peer that shares the memory may write anything anywhere at any time. Each shared word is read once into
//! private memory and checked against this end's own index, each record is copied to private memory before anybody looks
//! at it, and what does not add up is a [`RingFault`]: the end then refuses all further work, and its owner drops the
//! session. Between threads of one process the same checks cost a few compares and never fail.
//!
//! ```
//! let (mut producer, mut consumer) = logothete_transport::ring::pair(1024);
//! producer.try_push(b"one").unwrap();
//! producer.try_push_vectored(&[b"tw", b"o"]).unwrap();
//! producer.publish();
//!
//! let mut seen = Vec::new();
//! let taken = consumer.poll(16, |record| seen.push(record.to_vec())).unwrap();
//! assert_eq!(taken, 2);
//! assert_eq!(seen, [b"one", b"two"]);
//! ```

mod consumer;
#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(not(loom))]
mod memory;
#[cfg(loom)]
#[path = "memory_loom.rs"]
mod memory;
mod producer;
#[cfg(any(not(loom), test))]
mod sleep;
#[cfg(all(test, not(loom)))]
mod tests;

pub use consumer::Consumer;
pub use producer::{Producer, PushError};
#[cfg(any(not(loom), test))]
pub use sleep::{SleepFlag, WAKE_ON_RECORDS, WAKE_ON_SPACE};

/// The atomics that the rings are made of: the real ones, or loom's when interleavings are explored.
mod sync {
    #[cfg(loom)]
    pub(super) use loom::sync::atomic;
    #[cfg(not(loom))]
    pub(super) use std::sync::atomic;
}

#[cfg(not(loom))]
use crate::region::Region;

/// Distance of the two shared indices, bytes: two cache lines, because the hardware fetches lines in pairs.
pub const INDEX_STRIDE_BYTES: usize = 128;

/// Bytes in front of each record: its length.
pub const RECORD_HEADER_BYTES: usize = 8;

/// Smallest capacity of a ring, bytes. Room for a header and a word is enough; loom's state space asks for little.
pub const CAPACITY_BYTES_MIN: usize = 32;

/// Largest capacity of a ring, bytes: far beyond need, and small enough that no sum of three rings can overflow.
pub const CAPACITY_BYTES_MAX: usize = 1 << 30;

/// Bytes of ring that a record of `length` bytes occupies.
pub const fn record_bytes(length: usize) -> usize {
    RECORD_HEADER_BYTES + length.next_multiple_of(8)
}

/// Longest record that a ring of `capacity_bytes` holds (alone), bytes.
pub const fn record_length_max(capacity_bytes: usize) -> usize {
    capacity_bytes - RECORD_HEADER_BYTES
}

/// Bytes of memory that a ring of `capacity_bytes` needs, indices included.
pub const fn ring_bytes(capacity_bytes: usize) -> usize {
    2 * INDEX_STRIDE_BYTES + capacity_bytes
}

/// Why an end of a ring stopped believing the other: the shared memory holds what no correct peer writes there.
///
/// The state is final. Drop the ring, and end whatever session it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingFault {
    /// The peer's index is ahead of what it can have reached, or behind where it has been.
    #[error("the peer's ring index is {seen:#x} where {low:#x}..={high:#x} is possible; end this session")]
    IndexOutOfRange {
        /// The index as read.
        seen: u64,
        /// The peer's last known index.
        low: u64,
        /// The furthest index that the peer can have reached.
        high: u64,
    },
    /// The peer's index is not a multiple of eight.
    #[error("the peer's ring index {seen:#x} is not a multiple of eight; end this session")]
    IndexMisaligned {
        /// The index as read.
        seen: u64,
    },
    /// A record claims to be longer than what was published.
    #[error("a ring record claims {length} bytes where {available} were published; end this session")]
    LengthOutOfRange {
        /// The length as read.
        length: u64,
        /// Bytes published from this record on, its header included.
        available: u64,
    },
}

/// Makes a ring in this process's own memory: two ends, each for one thread.
///
/// # Panics
///
/// When `capacity_bytes` is not a power of two within [`CAPACITY_BYTES_MIN`]..=[`CAPACITY_BYTES_MAX`].
pub fn pair(capacity_bytes: usize) -> (Producer, Consumer) {
    #[cfg(not(loom))]
    {
        let region = std::sync::Arc::new(Region::heap(ring_bytes(capacity_bytes)));
        (producer_at(&region, 0, capacity_bytes), consumer_at(&region, 0, capacity_bytes))
    }
    #[cfg(loom)]
    {
        let memory = memory::Memory::new(capacity_bytes);
        (Producer::new(memory.clone()), Consumer::new(memory))
    }
}

/// The producing end of the ring that lies at `offset_bytes` of `region`, all zero until now.
///
/// # Panics
///
/// When the capacity is none that [`pair`] accepts, or the ring does not lie within the region on a 128-byte boundary.
#[cfg(not(loom))]
pub(crate) fn producer_at(region: &std::sync::Arc<Region>, offset_bytes: usize, capacity_bytes: usize) -> Producer {
    Producer::new(memory::Memory::new(region, offset_bytes, capacity_bytes))
}

/// The consuming end of the ring that lies at `offset_bytes` of `region`, all zero until now.
///
/// # Panics
///
/// When the capacity is none that [`pair`] accepts, or the ring does not lie within the region on a 128-byte boundary.
#[cfg(not(loom))]
pub(crate) fn consumer_at(region: &std::sync::Arc<Region>, offset_bytes: usize, capacity_bytes: usize) -> Consumer {
    Consumer::new(memory::Memory::new(region, offset_bytes, capacity_bytes))
}

/// Panics unless `capacity_bytes` is one that a ring can have: capacities are chosen on this side, never by a peer.
fn assert_capacity(capacity_bytes: usize) {
    assert!(
        capacity_bytes.is_power_of_two() && (CAPACITY_BYTES_MIN..=CAPACITY_BYTES_MAX).contains(&capacity_bytes),
        "ring capacity {capacity_bytes} is no power of two within {CAPACITY_BYTES_MIN}..={CAPACITY_BYTES_MAX}"
    );
}
