//! Sessions: rings between an application and the driver of its host, over one sealed region of shared memory.
//!
//! What may enter: how two processes find each other, agree on sizes, share a region, wake one another, and notice that
//! the other is gone. What must never happen here: a blocking call on the driver's side, trust in anything that a client
//! sends or writes, an interpretation of what the records mean.
//!
//! ```text
//! application                                       driver
//!   ClientSession ── hello (version, sizes) ─────▶ Listener          Unix socket, sequenced packets
//!                 ◀─ welcome + region's descriptor ─
//!
//!   requests: Producer ──── request ring ─────────▶ poll_requests    the region
//!   poll_responses ◀─────── response ring ───────── responses: Producer
//!   poll_entries ◀───────── subscription ring ───── subscription: Option<Producer>
//! ```
//!
//! - **One socket a session** carries the handshake, a one-byte packet whenever a *sleeping* side must be woken, the
//!   farewell of a driver that evicts, and the end: when either process dies, however it dies, the kernel closes the
//!   socket, and the other side sees that. An eventfd would be a little cheaper to ring, but its descriptor is the same
//!   open file on both sides: a hostile client could make it blocking, or drain it, under the driver's feet.
//! - **Awake sides make no system call** to each other: who publishes records looks at the other's sleep flag
//!   (`ring/sleep.rs`) and rings only if it is up.
//! - **One epoll descriptor** ([`Listener::waker_fd`]) is readable when any client of a driver rings, leaves or arrives.
//! - Nothing has a name but the socket, and that is replaced at the next start if its driver was killed.
//!
//! ```text
//! region: ┌──────────────┬───────────────┬──────────┬───────────┬───────────────────┐
//!         │ driver sleeps│ session sleeps│ requests │ responses │ subscription, or  │
//!         │ 0            │ 128           │ 256      │           │ nothing           │
//!         └──────────────┴───────────────┴──────────┴───────────┴───────────────────┘
//! ```

mod bind;
mod client;
mod error;
mod listener;
mod server;
mod socket;
#[cfg(test)]
mod tests;
mod wire;

pub use client::{ClientSession, ConnectOptions};
pub use error::{Refusal, SessionError};
pub use listener::{Listener, ListenerConfig, ListenerCounters};
pub use server::{Interest, ServerSession};
pub use socket::Peer;
pub use wire::{FACTS_BYTES, FAREWELL_BYTES_MAX, SESSION_VERSION};

use crate::ring::{INDEX_STRIDE_BYTES, ring_bytes};

/// Offset of the driver's sleep flag in the region.
const FLAG_DRIVER_OFFSET: usize = 0;

/// Offset of the session's sleep flag in the region.
const FLAG_SESSION_OFFSET: usize = INDEX_STRIDE_BYTES;

/// Capacities of a session's rings, bytes; powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// The ring from the application to the driver.
    pub requests_bytes: usize,
    /// The ring of answers.
    pub responses_bytes: usize,
    /// The ring of the ordered entries; zero where the session does not subscribe.
    pub subscription_bytes: usize,
}

impl Geometry {
    fn requests_offset(&self) -> usize {
        2 * INDEX_STRIDE_BYTES
    }

    fn responses_offset(&self) -> usize {
        self.requests_offset() + ring_bytes(self.requests_bytes)
    }

    fn subscription_offset(&self) -> usize {
        self.responses_offset() + ring_bytes(self.responses_bytes)
    }

    /// Bytes of the whole region. Each capacity is at most [`CAPACITY_BYTES_MAX`](crate::ring::CAPACITY_BYTES_MAX).
    fn region_bytes(&self) -> usize {
        let subscription = if self.subscription_bytes == 0 { 0 } else { ring_bytes(self.subscription_bytes) };
        self.subscription_offset() + subscription
    }
}
