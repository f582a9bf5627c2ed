//! The driver's side of the socket: who arrives, who rings, who is gone.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags};
use zerocopy::IntoBytes;

use super::Geometry;
use super::bind::{self, BoundPath};
use super::error::SessionError;
use super::server::{Link, ServerSession};
use super::socket::{self, Drained, Peer, host};
use super::wire::{
    FACTS_BYTES, Hello, HelloError, PACKET_BYTES_MAX, VERDICT_EXHAUSTED, VERDICT_FORBIDDEN, VERDICT_VERSION, Wanted,
    Welcome,
};
use crate::ring::{CAPACITY_BYTES_MAX, CAPACITY_BYTES_MIN};

/// Connections that may owe their hello at once. A correct client sends it at once; beyond this the oldest is dropped.
const PENDING_MAX: usize = 32;

/// Connections taken in one look, so that a storm of them does not keep the driver from its sessions.
const ACCEPT_MAX: usize = 32;

/// Packets read from one session in one look. A correct client has at most one bell on its way.
const DRAIN_MAX: usize = 16;

/// Events taken in one look.
const EVENTS_MAX: usize = 64;

/// The listening socket's mark among the events; connections count up from here.
const TOKEN_LISTENER: u64 = 0;

/// How a driver listens.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// Capacities where a client asks for none.
    pub geometry: Geometry,
    /// Least capacities, whatever a client asks for: each must hold the longest record that the driver writes there.
    pub bytes_min: Geometry,
    /// Largest capacity of any ring, bytes, whatever a client asks for.
    pub ring_bytes_max: usize,
    /// Sessions served at once.
    pub sessions_max: usize,
    /// The first session's number; the following ones count up from it.
    pub session_first: u64,
    /// How long a connection may take to send its hello.
    pub timeout_hello: Duration,
    /// What each client is told with its welcome; the driver's own business.
    pub facts: [u8; FACTS_BYTES],
}

impl Default for ListenerConfig {
    fn default() -> ListenerConfig {
        ListenerConfig {
            // Room for some thousand small operations in flight, and for a subscriber that is away for a moment.
            geometry: Geometry { requests_bytes: 256 << 10, responses_bytes: 256 << 10, subscription_bytes: 1 << 20 },
            bytes_min: Geometry { requests_bytes: 4 << 10, responses_bytes: 4 << 10, subscription_bytes: 4 << 10 },
            ring_bytes_max: 16 << 20,
            sessions_max: 64,
            session_first: 1,
            timeout_hello: Duration::from_secs(1),
            facts: [0; FACTS_BYTES],
        }
    }
}

/// What a listener has seen, counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerCounters {
    /// Sessions opened.
    pub opened: u64,
    /// Sessions whose client left or died, or that were dropped here.
    pub closed: u64,
    /// Clients refused: another version.
    pub refused_version: u64,
    /// Clients refused: another user.
    pub refused_forbidden: u64,
    /// Clients refused: too many sessions, or no memory for another.
    pub refused_exhausted: u64,
    /// Connections dropped: no hello in time, none at all, or nonsense.
    pub hello_missing: u64,
    /// System calls that failed where a connection was to be taken (too few descriptors, mostly).
    pub host_failed: u64,
}

/// A connection that has not said hello yet.
struct Pending {
    token: u64,
    socket: OwnedFd,
    peer: Peer,
    since: Instant,
}

/// A driver's listening socket and everything that its sessions' sockets say.
///
/// ```no_run
/// use logothete_transport::session::{Listener, ListenerConfig, ServerSession};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut listener = Listener::bind("/run/logothete/driver-0", ListenerConfig::default())?;
/// let mut sessions: Vec<ServerSession> = Vec::new();
/// loop {
///     while let Some(session) = listener.accept() {
///         sessions.push(session);
///     }
///     sessions.retain(ServerSession::is_alive);
///     for session in &mut sessions {
///         session.poll_requests(64, |request| {
///             println!("{request:?}");
///             true
///         })?;
///     }
/// }
/// # }
/// ```
pub struct Listener {
    config: ListenerConfig,
    bound: BoundPath,
    socket: OwnedFd,
    epoll: OwnedFd,
    /// Given up for a moment when descriptors run out, so that the connection that cannot be had can be closed.
    spare: Option<OwnedFd>,
    uid: u32,
    token_next: u64,
    session_next: u64,
    pending: Vec<Pending>,
    open: Vec<(u64, Arc<Link>)>,
    ready: VecDeque<ServerSession>,
    counters: ListenerCounters,
}

impl Listener {
    /// Binds the socket at `path`, mode 0600. A socket that a killed driver left there is replaced.
    ///
    /// # Errors
    ///
    /// [`SessionError::DriverAlive`] when a driver serves the path, [`SessionError::PathInvalid`] when the path is too
    /// long or something else is there, [`SessionError::Host`] otherwise.
    ///
    /// # Panics
    ///
    /// When the configuration contradicts itself: capacities that are no powers of two, or beyond the bounds.
    pub fn bind(path: impl AsRef<Path>, config: ListenerConfig) -> Result<Listener, SessionError> {
        let (least, usual) = (config.bytes_min, config.geometry);
        for (least, usual) in [
            (least.requests_bytes, usual.requests_bytes),
            (least.responses_bytes, usual.responses_bytes),
            (least.subscription_bytes, usual.subscription_bytes),
        ] {
            let bounds = least..=config.ring_bytes_max;
            for bytes in [least, usual, config.ring_bytes_max] {
                assert!(
                    bytes.is_power_of_two()
                        && bounds.contains(&bytes)
                        && (CAPACITY_BYTES_MIN..=CAPACITY_BYTES_MAX).contains(&bytes),
                    "ring capacity {bytes} is no power of two within {bounds:?}"
                );
            }
        }
        let path = path.as_ref();
        let (socket, bound) = bind::bind(path)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|errno| host("epoll_create", path, errno))?;
        epoll::add(&epoll, &socket, epoll::EventData::new_u64(TOKEN_LISTENER), epoll::EventFlags::IN)
            .map_err(|errno| host("epoll_ctl", path, errno))?;
        let spare = rustix::io::fcntl_dupfd_cloexec(&socket, 0).ok();
        Ok(Listener {
            session_next: config.session_first,
            config,
            bound,
            socket,
            epoll,
            spare,
            uid: rustix::process::geteuid().as_raw(),
            token_next: TOKEN_LISTENER + 1,
            pending: Vec::new(),
            open: Vec::new(),
            ready: VecDeque::new(),
            counters: ListenerCounters::default(),
        })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        self.bound.path()
    }

    /// Readable while a client has arrived, rung or left, until [`accept`](Listener::accept) has seen to it. To be
    /// polled (reading it does nothing): a driver that sleeps waits for it together with its network sockets.
    pub fn waker_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// What it has seen.
    pub fn counters(&self) -> ListenerCounters {
        self.counters
    }

    /// Looks once, with one system call when nothing is new, at all the sockets: takes new connections through their
    /// handshake, reads bells away, marks sessions whose client is gone. Returns a session that is new, until there is
    /// none. Never blocks.
    ///
    /// To be called whenever the driver was woken, and now and then while it is busy: how soon it notices that a client
    /// is gone depends on it.
    pub fn accept(&mut self) -> Option<ServerSession> {
        if self.ready.is_empty() {
            self.look();
        }
        self.ready.pop_front()
    }

    /// Sleeps until a client arrives, rings or leaves, or `timeout` is over: for a driver that waits for nothing else.
    pub fn wait(&self, timeout: Duration) {
        let timeout = Timespec::try_from(timeout).ok();
        let _ = rustix::event::poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], timeout.as_ref());
    }

    fn look(&mut self) {
        let mut events =
            [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; EVENTS_MAX];
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Interrupted by a signal: the next look will see it.
        let count = epoll::wait(&self.epoll, &mut events[..], Some(&zero)).unwrap_or(0);
        for event in &events[..count] {
            let (token, flags) = (event.data.u64(), event.flags);
            if token == TOKEN_LISTENER {
                self.take_connections();
            } else if let Some(index) = self.open.iter().position(|(open, _)| *open == token) {
                self.hear(index, flags);
            } else if let Some(index) = self.pending.iter().position(|pending| pending.token == token) {
                self.greet(index);
            }
        }
        if !self.pending.is_empty() {
            let (now, timeout) = (Instant::now(), self.config.timeout_hello);
            let before = self.pending.len();
            self.pending.retain(|pending| now.duration_since(pending.since) < timeout);
            self.counters.hello_missing += (before - self.pending.len()) as u64;
        }
    }

    fn take_connections(&mut self) {
        for _ in 0..ACCEPT_MAX {
            match rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(connection) => self.admit(connection),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(errno) => {
                    self.counters.host_failed += 1;
                    if matches!(errno, Errno::MFILE | Errno::NFILE) && self.spare.take().is_some() {
                        // Take it with the spare descriptor and close it, lest it keep the listener readable for ever.
                        drop(rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC));
                        self.spare = rustix::io::fcntl_dupfd_cloexec(&self.socket, 0).ok();
                    }
                    return;
                }
            }
        }
    }

    /// Checks who a new connection is, and waits for its hello, which is mostly there already.
    fn admit(&mut self, connection: OwnedFd) {
        let peer = match socket::peer(connection.as_fd()) {
            Ok(peer) => peer,
            Err(_) => {
                self.counters.host_failed += 1;
                return;
            }
        };
        if peer.uid != self.uid && peer.uid != 0 {
            self.counters.refused_forbidden += 1;
            socket::send(&connection, Welcome::refusal(VERDICT_FORBIDDEN).as_bytes());
            return;
        }
        let token = self.token_next;
        self.token_next += 1;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
        if epoll::add(&self.epoll, &connection, epoll::EventData::new_u64(token), flags).is_err() {
            self.counters.host_failed += 1;
            return;
        }
        if self.pending.len() == PENDING_MAX {
            self.pending.remove(0);
            self.counters.hello_missing += 1;
        }
        self.pending.push(Pending { token, socket: connection, peer, since: Instant::now() });
        self.greet(self.pending.len() - 1);
    }

    /// Reads a pending connection's hello, if it is there, and answers it.
    fn greet(&mut self, index: usize) {
        let mut packet = [0u8; PACKET_BYTES_MAX];
        let length = match rustix::net::recv(&self.pending[index].socket, &mut packet[..], RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN | Errno::INTR) => return,
            Ok((length, _)) => length.min(packet.len()),
            Err(_) => 0,
        };
        let pending = self.pending.remove(index);
        match Hello::decode(&packet[..length]) {
            Ok(wanted) => self.welcome(pending, wanted),
            Err(HelloError::Version(_)) => {
                self.counters.refused_version += 1;
                socket::send(&pending.socket, Welcome::refusal(VERDICT_VERSION).as_bytes());
            }
            Err(HelloError::Malformed) => self.counters.hello_missing += 1,
        }
    }

    fn welcome(&mut self, pending: Pending, wanted: Wanted) {
        let geometry = self.bounded(wanted);
        let link = Arc::new(Link { socket: pending.socket, closed: AtomicBool::new(false) });
        let session = if self.open.len() < self.config.sessions_max {
            ServerSession::new(Arc::clone(&link), self.session_next, pending.peer, geometry).ok()
        } else {
            None
        };
        let Some((session, file)) = session else {
            self.counters.refused_exhausted += 1;
            socket::send(&link.socket, Welcome::refusal(VERDICT_EXHAUSTED).as_bytes());
            return;
        };
        let welcome = Welcome::new(session.id(), geometry, self.config.facts);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = [file.as_fd()];
        let fits = control.push(SendAncillaryMessage::ScmRights(&files));
        assert!(fits, "the control buffer is made for one descriptor");
        let sent = rustix::net::sendmsg(
            &link.socket,
            &[IoSlice::new(welcome.as_bytes())],
            &mut control,
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        );
        if sent.is_err() {
            // Gone before it was welcomed.
            self.counters.hello_missing += 1;
            return;
        }
        self.session_next += 1;
        self.counters.opened += 1;
        self.open.push((pending.token, link));
        self.ready.push_back(session);
    }

    /// The capacities that a client gets: what it wants, within this driver's bounds.
    fn bounded(&self, wanted: Wanted) -> Geometry {
        let capacity = |wanted_bytes: u32, default_bytes: usize, bytes_min: usize| match wanted_bytes as usize {
            0 => default_bytes,
            // The bounds are powers of two, so rounding up to one stays within them.
            bytes => bytes.clamp(bytes_min, self.config.ring_bytes_max).next_power_of_two(),
        };
        let (default, least) = (self.config.geometry, self.config.bytes_min);
        Geometry {
            requests_bytes: capacity(wanted.requests_bytes, default.requests_bytes, least.requests_bytes),
            responses_bytes: capacity(wanted.responses_bytes, default.responses_bytes, least.responses_bytes),
            subscription_bytes: if wanted.subscribes {
                capacity(wanted.subscription_bytes, default.subscription_bytes, least.subscription_bytes)
            } else {
                0
            },
        }
    }

    /// Reads an open session's bells; forgets the session if it is closed, by either side.
    fn hear(&mut self, index: usize, flags: epoll::EventFlags) {
        let gone = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
        let link = &self.open[index].1;
        if flags.intersects(gone) || socket::drain(&link.socket, DRAIN_MAX) != Drained::Alive {
            link.closed.store(true, Ordering::Relaxed);
            // The session may outlive this for a while; until it is dropped its socket must not keep waking us.
            let _ = epoll::delete(&self.epoll, &link.socket);
            self.open.remove(index);
            self.counters.closed += 1;
        }
    }
}
