//! Bytes between processes and hosts: datagrams over the network, rings in shared memory.
//!
//! This crate moves bytes and knows no protocol: what a datagram or a record means is somebody else's business.
//! It may own sockets, descriptors and mapped memory, and it is where the unsafe code that they need lives; it never
//! interprets a message, never authenticates one, and never imports the crate that does.
//!
//! Whatever arrives from outside the process is data: it is counted, dropped or ends a session, and it never panics.
//!
//! The rings' memory orderings are checked by exploring every interleaving of small cases:
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" cargo test -p logothete-transport --release ring
//! ```

#[cfg(not(loom))]
pub mod region;
pub mod ring;
#[cfg(not(loom))]
pub mod session;
