//! The application's end of one session.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use zerocopy::{FromBytes, IntoBytes};

use super::error::{Refusal, SessionError};
use super::socket::{self, Drained, Peer, host};
use super::wire::{
    FACTS_BYTES, Hello, PACKET_BYTES_MAX, SESSION_VERSION, VERDICT_EXHAUSTED, VERDICT_FORBIDDEN, VERDICT_VERSION,
    VERDICT_WELCOME, Wanted, Welcome, version_of,
};
use super::{FLAG_DRIVER_OFFSET, FLAG_SESSION_OFFSET};
use crate::region::Region;
use crate::ring::{self, Consumer, Producer, RingFault, SleepFlag, WAKE_ON_RECORDS, WAKE_ON_SPACE};

/// How long to wait before a connection is tried again when the driver's queue of them is full.
const CONNECT_RETRY: Duration = Duration::from_millis(1);

/// Packets read from the socket in one look. A correct driver has at most a bell and a farewell on their way.
const DRAIN_MAX: usize = 16;

/// What a client wants. Capacities are bytes; zero leaves the choice to the driver, which bounds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectOptions {
    /// The ring of requests.
    pub requests_bytes: u32,
    /// The ring of answers.
    pub responses_bytes: u32,
    /// The ring of entries, for a subscriber.
    pub subscription_bytes: u32,
    /// Whether there is a ring of entries at all.
    pub subscribes: bool,
    /// How long the driver may take to answer.
    pub timeout: Duration,
}

impl Default for ConnectOptions {
    fn default() -> ConnectOptions {
        ConnectOptions {
            requests_bytes: 0,
            responses_bytes: 0,
            subscription_bytes: 0,
            subscribes: false,
            timeout: Duration::from_secs(2),
        }
    }
}

/// The application's end of one session. Dropping it ends the session.
pub struct ClientSession {
    /// Requests to the driver; visible to it after [`publish`](ClientSession::publish).
    pub requests: Producer,
    responses: Consumer,
    subscription: Option<Consumer>,
    region: Arc<Region>,
    socket: OwnedFd,
    id: u64,
    peer: Peer,
    facts: [u8; FACTS_BYTES],
    closed: bool,
    farewell: Option<Vec<u8>>,
}

impl ClientSession {
    /// Opens a session with the driver at `path`.
    ///
    /// # Errors
    ///
    /// [`SessionError`], which says what is wrong at the path, or why the driver refuses.
    pub fn connect(path: impl AsRef<Path>, options: &ConnectOptions) -> Result<ClientSession, SessionError> {
        let path = path.as_ref();
        let deadline = Deadline { path, until: Instant::now() + options.timeout, timeout: options.timeout };
        let socket = reach(&deadline)?;
        let peer = socket::peer(socket.as_fd()).map_err(|errno| host("getsockopt", path, errno))?;
        let hello = Hello::new(Wanted {
            subscribes: options.subscribes,
            requests_bytes: options.requests_bytes,
            responses_bytes: options.responses_bytes,
            subscription_bytes: options.subscription_bytes,
        });
        socket::send(&socket, hello.as_bytes());
        let (welcome, file) = read_welcome(&socket, &deadline)?;
        let malformed = |reason| SessionError::Malformed { path: path.to_owned(), reason };
        let geometry =
            welcome.geometry(options.subscribes).ok_or_else(|| malformed("its rings have impossible sizes"))?;
        let file = file.ok_or_else(|| malformed("it passed no memory"))?;
        let region = Arc::new(Region::open(file.as_fd(), geometry.region_bytes())?);
        Ok(ClientSession {
            requests: ring::producer_at(&region, geometry.requests_offset(), geometry.requests_bytes),
            responses: ring::consumer_at(&region, geometry.responses_offset(), geometry.responses_bytes),
            subscription: options
                .subscribes
                .then(|| ring::consumer_at(&region, geometry.subscription_offset(), geometry.subscription_bytes)),
            region,
            socket,
            id: welcome.session(),
            peer,
            facts: welcome.facts,
            closed: false,
            farewell: None,
        })
    }

    /// The number that the driver gave this session.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The driver's process and user.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// What the driver told with its welcome.
    pub fn facts(&self) -> &[u8; FACTS_BYTES] {
        &self.facts
    }

    /// Becomes readable when the driver wakes this side ([`sleep`](ClientSession::sleep) asks it to) or is gone.
    pub fn waker_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Makes all requests written so far visible, and wakes the driver if it sleeps.
    #[inline]
    pub fn publish(&mut self) {
        if self.requests.publish() {
            self.wake(WAKE_ON_RECORDS);
        }
    }

    /// Hands up to `count_max` answers to `each`, oldest first. Wakes a driver that waits for room.
    ///
    /// # Errors
    ///
    /// [`RingFault`]: the driver wrote garbage.
    #[inline]
    pub fn poll_responses(&mut self, count_max: usize, each: impl FnMut(&[u8])) -> Result<usize, RingFault> {
        let count = self.responses.poll(count_max, each)?;
        if count > 0 {
            self.wake(WAKE_ON_SPACE);
        }
        Ok(count)
    }

    /// Hands up to `count_max` entries to `each`, oldest first. Wakes a driver that waits for room. A session that does
    /// not subscribe has none.
    ///
    /// # Errors
    ///
    /// [`RingFault`]: the driver wrote garbage.
    #[inline]
    pub fn poll_entries(&mut self, count_max: usize, each: impl FnMut(&[u8])) -> Result<usize, RingFault> {
        let Some(subscription) = &mut self.subscription else {
            return Ok(0);
        };
        let count = subscription.poll(count_max, each)?;
        if count > 0 {
            self.wake(WAKE_ON_SPACE);
        }
        Ok(count)
    }

    /// Sleeps until there are answers or entries, until `space_bytes` of the request ring are free (zero: do not care),
    /// until the driver is gone, or until `timeout` is over. May return early for no reason.
    pub fn sleep(&mut self, space_bytes: usize, timeout: Duration) {
        let space = if space_bytes > 0 { WAKE_ON_SPACE } else { 0 };
        self.flag(FLAG_SESSION_OFFSET).announce(WAKE_ON_RECORDS | space);
        // A fault counts as something to see to: the next poll reports it.
        let idle = self.is_idle() == Ok(true)
            && (space_bytes == 0 || matches!(self.requests.free_bytes(), Ok(free) if free < space_bytes));
        if idle && !self.closed {
            // One second is as good as for ever: who waits longer comes back, and a lost hint costs no more than that.
            poll_readable(&self.socket, timeout.min(Duration::from_secs(1)));
            self.is_alive();
        }
        self.flag(FLAG_SESSION_OFFSET).clear();
    }

    /// True when neither an answer nor an entry is there to be polled.
    ///
    /// # Errors
    ///
    /// [`RingFault`]: the driver wrote garbage.
    pub fn is_idle(&mut self) -> Result<bool, RingFault> {
        let entries = match &mut self.subscription {
            Some(subscription) => subscription.is_empty()?,
            None => true,
        };
        Ok(entries && self.responses.is_empty()?)
    }

    /// Asks the socket, by a system call, whether the driver is still there, and reads its bells away. What it published
    /// before it went can still be polled.
    pub fn is_alive(&mut self) -> bool {
        if !self.closed
            && let Drained::Closed(farewell) = socket::drain(&self.socket, DRAIN_MAX)
        {
            self.closed = true;
            self.farewell = farewell;
        }
        !self.closed
    }

    /// True once [`is_alive`](ClientSession::is_alive) or [`sleep`](ClientSession::sleep) has found the driver gone.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Why the driver ended the session, if it did so on purpose.
    pub fn farewell(&self) -> Option<&[u8]> {
        self.farewell.as_deref()
    }

    #[inline]
    fn wake(&self, wake_on: u64) {
        if self.flag(FLAG_DRIVER_OFFSET).take(wake_on) {
            socket::ring_bell(&self.socket);
        }
    }

    fn flag(&self, offset_bytes: usize) -> SleepFlag<'_> {
        SleepFlag::new(self.region.atomic_u64(offset_bytes))
    }
}

/// How long a connection may take, and whose fault it is when it takes longer.
struct Deadline<'a> {
    path: &'a Path,
    until: Instant,
    timeout: Duration,
}

impl Deadline<'_> {
    /// Time left, or the error to return.
    fn remaining(&self) -> Result<Duration, SessionError> {
        self.until
            .checked_duration_since(Instant::now())
            .filter(|remaining| !remaining.is_zero())
            .ok_or_else(|| SessionError::TimedOut { path: self.path.to_owned(), waited: self.timeout })
    }
}

/// Connects a socket.
fn reach(deadline: &Deadline<'_>) -> Result<OwnedFd, SessionError> {
    let path = deadline.path;
    let address = socket::address(path)?;
    let socket = socket::open(path)?;
    loop {
        match rustix::net::connect(&socket, &address) {
            Ok(()) => return Ok(socket),
            Err(Errno::CONNREFUSED | Errno::NOENT) => {
                return Err(SessionError::DriverAbsent { path: path.to_owned() });
            }
            Err(Errno::ACCESS | Errno::PERM) => {
                return Err(SessionError::PathDenied { path: path.to_owned() });
            }
            Err(Errno::PROTOTYPE) => {
                return Err(SessionError::Malformed { path: path.to_owned(), reason: "its socket is of another kind" });
            }
            // The driver's queue of connections is full.
            Err(Errno::AGAIN | Errno::INTR) => std::thread::sleep(CONNECT_RETRY.min(deadline.remaining()?)),
            Err(errno) => return Err(host("connect", path, errno)),
        }
    }
}

/// Waits for the driver's answer to the hello, and the descriptor that comes with it.
fn read_welcome(socket: &OwnedFd, deadline: &Deadline<'_>) -> Result<(Welcome, Option<OwnedFd>), SessionError> {
    let path = deadline.path;
    let malformed = |reason| SessionError::Malformed { path: path.to_owned(), reason };
    loop {
        poll_readable(socket, deadline.remaining()?);
        let mut packet = [0u8; PACKET_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut packet)],
            &mut control,
            RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC,
        );
        let length = match received {
            Err(Errno::AGAIN | Errno::INTR) => continue,
            Err(Errno::CONNRESET) => 0,
            Err(errno) => return Err(host("recvmsg", path, errno)),
            Ok(message) => message.bytes,
        };
        if length == 0 {
            return Err(malformed("it hung up without an answer"));
        }
        let file = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut files) => files.next(),
            _ => None,
        });
        let packet = &packet[..length];
        match version_of(packet) {
            None => return Err(malformed("its answer is not one of ours")),
            Some(SESSION_VERSION) => {}
            Some(driver) => {
                return Err(SessionError::Version { path: path.to_owned(), driver });
            }
        }
        let welcome = Welcome::read_from_bytes(packet).map_err(|_| malformed("its answer has a wrong length"))?;
        let refused = |refusal| SessionError::Refused { path: path.to_owned(), refusal };
        return match welcome.verdict() {
            VERDICT_WELCOME => Ok((welcome, file)),
            VERDICT_VERSION => Err(SessionError::Version { path: path.to_owned(), driver: SESSION_VERSION }),
            VERDICT_FORBIDDEN => Err(refused(Refusal::Forbidden)),
            VERDICT_EXHAUSTED => Err(refused(Refusal::Exhausted)),
            _ => Err(malformed("its verdict is unknown")),
        };
    }
}

/// Waits until `socket` has something to read, or is at its end, or `timeout` is over. May return early.
fn poll_readable(socket: &OwnedFd, timeout: Duration) {
    let timeout = Timespec::try_from(timeout).ok();
    let _ = rustix::event::poll(&mut [PollFd::new(socket, PollFlags::IN)], timeout.as_ref());
}
