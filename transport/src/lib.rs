//! Everything between the engine and the host it runs on: frames and their pools, datagrams, shared memory, counters, cores.
//!
//! Bytes come in and bytes go out. This crate knows no protocol: it never looks inside a datagram, never decides whom
//! to believe, and never imports the `crypto` crate. What enters here is what needs the operating system or `unsafe`
//! (mapped memory, sockets, rings); everything above can then forbid `unsafe` and stay deterministic.
//!
//! The rooms:
//!
//! - [`pool`]: frames of one fixed size in one mapping, allocated at start, handed on by handle.
//! - [`datagram`]: sending and receiving datagrams in batches, over io_uring or over `recvmmsg`/`sendmmsg`.
//! - [`multicast`]: joining groups, and finding out by trying whether a host delivers them.
//! - [`pages`]: memory for pages that come and go, given back to the system when it is more than is kept ready.
//! - [`ring`]: records from one producer to one consumer, between threads or between processes that need not trust each
//!   other.
//! - `region`: the memory that rings lie in, sealed and shared, or this process's own.
//! - `session`: how an application and the driver of its host find each other, share a region, wake one another, part.
//! - `storage`: files whose writes are on the disk when they complete, over io_uring or over a thread.
//! - [`counters`]: counters with one writer, in a mapped file that other processes read.
//! - [`cores`]: which cores this process may use, and pinning threads to them.
//! - [`error`]: what an operating system refused, and what to do about it.
//!
//! The memory orderings of rings, sleep flags and pools are checked by exploring every interleaving of small cases:
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" cargo test -p logothete-transport --release loom_tests
//! ```

pub mod cores;
pub mod counters;
pub mod datagram;
pub mod error;
pub mod multicast;
pub mod pages;
pub mod pool;
#[cfg(not(loom))]
pub mod region;
pub mod ring;
#[cfg(not(loom))]
pub mod session;
#[cfg(not(loom))]
pub mod storage;

pub use error::HostError;
