//! Datagrams in batches: an [`Endpoint`] is what an agent sends and receives with.
//!
//! An endpoint owns one unicast socket and, where it is a member of multicast groups, a second one for these.
//! Received datagrams are frames of a [`Pool`](crate::pool::Pool): the kernel writes into them and they are handed
//! out without a copy. Sends are queued and leave at [`Endpoint::flush`], many in one system call.
//!
//! - `endpoint`: configuration, choosing a back-end, and the calls that agents make.
//! - `mmsg`: the back-end over `recvmmsg`, `sendmmsg` and `ppoll`; for few cores, and where io_uring is forbidden.
//! - `uring`: the back-end over io_uring; for a core of one's own.
//! - `sockets`, `address`, `ancillary`: opening sockets, and the kernel's layouts of addresses and of what comes
//!   beside a datagram.
//!
//! What must not come in: anything that looks inside a datagram, and errors for what datagrams may do anyway. A
//! datagram may be lost; then a counter says where. Only a host that no longer works is an error.

mod address;
mod ancillary;
mod endpoint;
mod mmsg;
mod sockets;
mod uring;

pub use endpoint::{Backend, BackendChoice, Endpoint, EndpointConfig};
pub use sockets::GroupConfig;

use crate::HostError;
use crate::pool::Frame;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// A datagram that came in.
#[derive(Debug)]
pub struct Received {
    /// Its bytes.
    pub frame: Frame,
    /// Who says to have sent it; any host can write any address here.
    pub from: SocketAddr,
    /// Whether it came to a multicast group rather than to the unicast address.
    pub group: bool,
}

crate::counter_set! {
    /// What an endpoint counts.
    pub struct DatagramCounters {
        /// Datagrams received and handed out.
        received: datagrams,
        /// Bytes of the datagrams received.
        received_bytes: bytes,
        /// Datagrams that the kernel took for sending; one to a group counts once.
        sent: datagrams,
        /// Bytes of the datagrams sent.
        sent_bytes: bytes,
        /// Those of the datagrams sent that travelled through the kernel together with others.
        segmented: datagrams,
        /// Datagrams that the kernel refused to send: no route, no buffer, too large, filtered.
        send_failed: datagrams,
        /// Datagrams dropped because they did not fit a frame: foreign, or datagram_bytes_max differs between hosts.
        truncated: datagrams,
        /// Datagrams that the kernel dropped because the socket's receive buffer was full.
        kernel_drops: datagrams,
        /// Times that the frames for receiving ran out; the datagrams wait in the socket meanwhile.
        pool_exhausted: times,
        /// Times that a receive of io_uring ended because it had no buffer left.
        enobufs: times,
        /// Times that a receive of io_uring had to be armed again, for whatever reason.
        rearmed: times,
        /// Times that the completion queue of io_uring overflowed and the kernel had to keep completions back.
        completions_overflowed: times,
        /// System calls for receiving.
        receive_calls: calls,
        /// System calls for sending.
        send_calls: calls,
        /// Times that the endpoint slept.
        slept: times,
        /// Times that a waker of another thread or process ended a sleep or was found ringing.
        woken: times,
    }
}

/// What a back-end does; [`Endpoint`] documents each call for its users.
trait Datagram {
    fn receive(&mut self, out: &mut Vec<Received>, max: usize) -> usize;
    fn send(&mut self, frame: Frame, to: &[SocketAddr]);
    fn flush(&mut self) -> Result<(), HostError>;
    fn wait(&mut self, timeout: Duration) -> Result<(), HostError>;
    /// `waker` is non-blocking.
    fn register_waker(&mut self, waker: OwnedFd) -> Result<(), HostError>;
}

/// How many datagrams one call receives or sends at most.
const BATCH: usize = 64;

/// How long a back-end sleeps at a time while it has no frame to receive into: nothing signals a frame's return.
const WAIT_WITHOUT_FRAMES: Duration = Duration::from_millis(1);

/// How many frames an endpoint keeps ready for receiving: `wanted`, but never more than a quarter of a small pool.
fn frames_ready(wanted: usize, frames: usize) -> usize {
    wanted.min(frames / 4).max(1)
}

/// Whether an error number says that the socket or our arguments are broken, rather than that one datagram is lost.
fn breaks(errno: i32) -> bool {
    matches!(errno, libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::EOPNOTSUPP | libc::ENOSYS)
}

/// Empties an eventfd. Another descriptor, such as a listening socket, has nothing to read: the refusal is no matter.
fn drain(waker: &OwnedFd) {
    let mut count = [0u8; 8];
    // SAFETY: the buffer is as large as stated. The descriptor does not block.
    unsafe { libc::read(std::os::fd::AsRawFd::as_raw_fd(waker), count.as_mut_ptr().cast(), count.len()) };
}
