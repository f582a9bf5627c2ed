//! The endpoint: configuration, the choice of a back-end, and the calls that agents make.

use super::mmsg::Mmsg;
use super::sockets::{GroupConfig, Sockets};
use super::uring::Uring;
use super::{Datagram, DatagramCounters, Received};
use crate::counters::CounterSet;
use crate::pool::{Frame, Pool};
use crate::{HostError, cores};
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::rc::Rc;
use std::slice;
use std::str::FromStr;
use std::time::Duration;

/// What [`EndpointConfig::new`] asks for: a fifth of a second of 10 Gbit/s would be more, but a replica that is that
/// far behind has lost its view anyway; this is some 5,000 datagrams of 1472 bytes, which the kernel accounts at
/// 2,304 each.
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;

/// A longer sleep ends here: every kernel interface takes this time.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// Which back-end to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendChoice {
    /// io_uring where there are cores enough for it and the kernel has it, else `recvmmsg` and `sendmmsg`.
    #[default]
    Auto,
    /// io_uring, or an error.
    IoUring,
    /// `recvmmsg` and `sendmmsg`.
    Mmsg,
}

impl FromStr for BackendChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<BackendChoice, String> {
        match text {
            "auto" => Ok(BackendChoice::Auto),
            "io_uring" => Ok(BackendChoice::IoUring),
            "mmsg" => Ok(BackendChoice::Mmsg),
            _ => Err(format!("{text:?} is no transport: choose auto, io_uring or mmsg")),
        }
    }
}

/// A back-end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// io_uring: multishot receive into provided buffers, batched sends.
    IoUring,
    /// `recvmmsg`, `sendmmsg` and `ppoll`.
    Mmsg,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::IoUring => "io_uring",
            Backend::Mmsg => "mmsg",
        })
    }
}

/// What an endpoint is made of.
pub struct EndpointConfig {
    /// Where its frames come from; datagrams larger than a frame are dropped. The endpoint keeps up to 256 frames
    /// ready for receiving, or a quarter of a smaller pool.
    pub pool: Pool,
    /// The address that it sends from and receives unicasts at; port 0 lets the kernel choose.
    pub unicast: SocketAddr,
    /// Multicast, where it is used.
    pub group: Option<GroupConfig>,
    /// Which back-end to use.
    pub backend: BackendChoice,
    /// The receive buffer to ask the kernel for, for each socket; [`Endpoint::receive_buffer_bytes`] says what it
    /// granted.
    pub receive_buffer_bytes: usize,
    /// Where it counts.
    pub counters: DatagramCounters,
}

impl EndpointConfig {
    /// A configuration without multicast, with private counters and defaults for the rest.
    pub fn new(pool: Pool, unicast: SocketAddr) -> EndpointConfig {
        EndpointConfig {
            pool,
            unicast,
            group: None,
            backend: BackendChoice::Auto,
            receive_buffer_bytes: RECEIVE_BUFFER_BYTES,
            counters: DatagramCounters::private(),
        }
    }
}

/// Sends and receives datagrams in batches. It belongs to the thread that opened it.
///
/// ```
/// use logothete_transport::datagram::{Endpoint, EndpointConfig};
/// use logothete_transport::pool::{Pool, PoolConfig};
/// use std::time::Duration;
///
/// let pool = Pool::new(PoolConfig { frame_bytes: 1472, frames: 256 })?;
/// let mut endpoint = Endpoint::open(EndpointConfig::new(pool.clone(), "127.0.0.1:0".parse().expect("an address")))?;
///
/// let mut frame = pool.take().expect("a fresh pool has frames");
/// frame.fill(b"to myself");
/// endpoint.send(frame, endpoint.local_address());
/// endpoint.flush()?;
///
/// let mut received = Vec::with_capacity(64);
/// while endpoint.receive(&mut received, 64) == 0 {
///     endpoint.wait(Duration::from_secs(1))?;
/// }
/// assert_eq!(&*received[0].frame, b"to myself");
/// # Ok::<(), logothete_transport::HostError>(())
/// ```
pub struct Endpoint {
    datagrams: Box<dyn Datagram>,
    backend: Backend,
    reason: String,
    local_address: SocketAddr,
    receive_buffer_bytes: usize,
    /// Shared with the back-end. Being an `Rc`, it also ties the endpoint to its thread, as io_uring demands.
    counters: Rc<DatagramCounters>,
}

impl Endpoint {
    /// Opens the sockets and sets up the back-end; call it on the thread that will use the endpoint.
    ///
    /// # Errors
    ///
    /// The address is taken or foreign, a group cannot be joined, or io_uring was demanded and is not to be had.
    pub fn open(config: EndpointConfig) -> Result<Endpoint, HostError> {
        let EndpointConfig { pool, unicast, group, backend: choice, receive_buffer_bytes, counters } = config;
        let sockets = Rc::new(Sockets::open(unicast, group.as_ref(), receive_buffer_bytes)?);
        let counters = Rc::new(counters);
        let (mut backend, mut reason) = wanted(choice, cores::usable().len());
        let mut datagrams: Option<Box<dyn Datagram>> = None;
        if backend == Backend::IoUring {
            match Uring::open(Rc::clone(&sockets), pool.clone(), Rc::clone(&counters)) {
                Ok(uring) => datagrams = Some(Box::new(uring)),
                Err(error) if choice == BackendChoice::IoUring => return Err(error),
                Err(error) => (backend, reason) = (Backend::Mmsg, format!("io_uring is not to be had: {error}")),
            }
        }
        Ok(Endpoint {
            local_address: sockets.local_address()?,
            receive_buffer_bytes: sockets.receive_buffer_bytes,
            datagrams: datagrams.unwrap_or_else(|| Box::new(Mmsg::open(sockets, pool, Rc::clone(&counters)))),
            backend,
            reason,
            counters,
        })
    }

    /// Moves up to `max` datagrams to the end of `out` and returns how many came; never sleeps. One call takes
    /// datagrams in batches of at most 64, so fewer than `max` does not mean that there are no more.
    ///
    /// Nothing is allocated as long as `out` has room for `max` more.
    #[inline]
    pub fn receive(&mut self, out: &mut Vec<Received>, max: usize) -> usize {
        self.datagrams.receive(out, max)
    }

    /// Queues a datagram; it leaves at the next flush, or earlier when the queue is full.
    #[inline]
    pub fn send(&mut self, frame: Frame, to: SocketAddr) {
        self.datagrams.send(frame, slice::from_ref(&to));
    }

    /// Queues one datagram for each address without copying it; a group's address is one entry.
    #[inline]
    pub fn send_all(&mut self, frame: Frame, to: &[SocketAddr]) {
        self.datagrams.send(frame, to);
    }

    /// Hands everything queued to the kernel. Datagrams that it refuses are lost and counted.
    ///
    /// # Errors
    ///
    /// The host no longer works: a socket or the ring is broken.
    #[inline]
    pub fn flush(&mut self) -> Result<(), HostError> {
        self.datagrams.flush()
    }

    /// Flushes, then sleeps until a datagram is there, a registered waker rings, or `timeout` is over. It may return
    /// early, without any of them, and returns at once when datagrams are already there.
    ///
    /// # Errors
    ///
    /// The host no longer works: a socket or the ring is broken.
    pub fn wait(&mut self, timeout: Duration) -> Result<(), HostError> {
        self.datagrams.flush()?;
        self.datagrams.wait(timeout.min(SLEEP_MAX))
    }

    /// Makes [`Endpoint::wait`] return when `waker` becomes readable. The endpoint keeps a duplicate for good and reads an
    /// eventfd empty. A listening socket works too: accept all connections that wait, since each of them may wake only
    /// once. The descriptor becomes non-blocking, for everybody who shares it.
    ///
    /// # Errors
    ///
    /// The descriptor is not open, or too many are.
    pub fn register_waker(&mut self, waker: BorrowedFd<'_>) -> Result<(), HostError> {
        let owned = waker.try_clone_to_owned().map_err(|e| HostError::from_io("dup", &e, "a waker"))?;
        // SAFETY: the descriptor is open; so in the next call.
        let flags = unsafe { libc::fcntl(owned.as_raw_fd(), libc::F_GETFL) };
        // SAFETY: as above.
        let set = unsafe { libc::fcntl(owned.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) };
        if flags < 0 || set < 0 {
            return Err(HostError::last("fcntl", "a waker"));
        }
        self.datagrams.register_waker(owned)
    }

    /// The back-end in use, and why it is this one.
    pub fn backend(&self) -> (Backend, &str) {
        (self.backend, &self.reason)
    }

    /// The unicast address, with the port that the kernel chose.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// The receive buffer that the kernel granted for each socket; less than wanted costs datagrams under load. The
    /// mend is `net.core.rmem_max`.
    pub fn receive_buffer_bytes(&self) -> usize {
        self.receive_buffer_bytes
    }

    /// What it counted so far.
    pub fn counters(&self) -> &DatagramCounters {
        &self.counters
    }
}

/// The back-end to try and the reason. With two cores or fewer, every stage shares its core with others, and there
/// io_uring's task work and wake-ups cost up to a quarter more time a datagram than the plain calls; its gain begins
/// with a core to poll on.
fn wanted(choice: BackendChoice, cores: usize) -> (Backend, String) {
    match choice {
        BackendChoice::Mmsg => (Backend::Mmsg, "the configuration says so".into()),
        BackendChoice::IoUring => (Backend::IoUring, "the configuration says so".into()),
        BackendChoice::Auto if cores <= 2 => {
            (Backend::Mmsg, format!("{cores} usable cores: recvmmsg and sendmmsg cost less where cores are shared"))
        }
        BackendChoice::Auto => (Backend::IoUring, format!("{cores} usable cores: enough to poll on")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_decides_from_the_cores_and_says_so() {
        for (cores, expected) in [(1, Backend::Mmsg), (2, Backend::Mmsg), (3, Backend::IoUring), (64, Backend::IoUring)]
        {
            let (backend, reason) = wanted(BackendChoice::Auto, cores);
            assert_eq!(backend, expected);
            assert!(reason.contains(&format!("{cores} usable cores")), "{reason}");
        }
        assert_eq!(wanted(BackendChoice::IoUring, 1).0, Backend::IoUring);
        assert_eq!(wanted(BackendChoice::Mmsg, 64).0, Backend::Mmsg);
    }

    #[test]
    fn choices_are_read_by_their_names() {
        assert_eq!("io_uring".parse(), Ok(BackendChoice::IoUring));
        assert!("dpdk".parse::<BackendChoice>().expect_err("unknown").contains("choose auto"));
    }
}
