//! Everything between the engine and the host it runs on: frames and their pools, datagrams, shared memory, counters, cores.
//!
//! Bytes come in and bytes go out. This crate knows no protocol: it never looks inside a datagram, never decides
//! whom to believe, and never imports the `crypto` crate. What enters here is what needs the operating system or `unsafe`
//! (mapped memory, sockets, rings); everything above can then forbid `unsafe` and stay deterministic. Whatever arrives from
//! outside the process is data: it is counted, dropped or ends a session, and it never panics.
//!
//! The rooms:
//!
//! - [`pool`]: frames of one fixed size in one mapping, allocated at start, handed on by handle.
//! - [`datagram`]: sending and receiving datagrams in batches, over io_uring or over `recvmmsg`/`sendmmsg`.
//! - [`multicast`]: joining groups, and finding out by trying whether a host delivers them.
//! - [`ring`]: records from one producer to one consumer, on the heap or in shared memory.
//! - [`region`] and [`session`]: shared memory between processes that do not trust each other, and how they come by it.
//! - [`counters`]: counters with one writer, in a mapped file that other processes read.
//! - [`cores`]: which cores this process may use, and pinning threads to them.
//! - [`error`]: what an operating system refused, and what to do about it.
//!
//! The rings' memory orderings are checked by exploring every interleaving of small cases; the rest is left out there:
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" cargo test -p logothete-transport --release ring
//! ```

#[cfg(not(loom))]
pub mod cores;
#[cfg(not(loom))]
pub mod counters;
#[cfg(not(loom))]
pub mod datagram;
#[cfg(not(loom))]
pub mod error;
#[cfg(not(loom))]
pub mod multicast;
#[cfg(not(loom))]
pub mod pool;
#[cfg(not(loom))]
pub mod region;
pub mod ring;
#[cfg(not(loom))]
pub mod session;

#[cfg(not(loom))]
pub use error::HostError;
