//! The driver's end of one session.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::socket::{self, Peer};
use super::{FLAG_DRIVER_OFFSET, FLAG_SESSION_OFFSET, Geometry};
use crate::region::{Region, RegionError};
use crate::ring::{self, Consumer, Producer, RingFault, SleepFlag, WAKE_ON_RECORDS, WAKE_ON_SPACE};

/// What the listener and a session share: the socket, and whether the client is gone.
pub(super) struct Link {
    pub(super) socket: OwnedFd,
    pub(super) closed: AtomicBool,
}

/// What a driver that goes to sleep wants to be woken for by one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// By requests. A driver that has no room for answers leaves requests where they are, and has no interest in more.
    pub requests: bool,
    /// When this much of the response ring is free, bytes; zero: not at all.
    pub responses_free_bytes: usize,
    /// When this much of the subscription ring is free, bytes; zero: not at all.
    pub subscription_free_bytes: usize,
}

/// The driver's end of one session. Dropping it ends the session: the client sees that at once.
///
/// Nothing here blocks, whatever the client does. A client that does not read fills its response ring, which
/// [`Producer::free_bytes`] of [`responses`](ServerSession::responses) shows: leave its requests in the ring until there
/// is room for their answers, and the client in turn is told that it is overloading the driver.
pub struct ServerSession {
    /// Answers to the client; visible to it after [`publish`](ServerSession::publish).
    pub responses: Producer,
    /// Entries to the client, where it subscribes; visible to it after [`publish`](ServerSession::publish).
    pub subscription: Option<Producer>,
    requests: Consumer,
    region: Arc<Region>,
    link: Arc<Link>,
    id: u64,
    peer: Peer,
}

impl ServerSession {
    /// Makes the region and this end of it. The descriptor is for the client.
    pub(super) fn new(
        link: Arc<Link>,
        id: u64,
        peer: Peer,
        geometry: Geometry,
    ) -> Result<(ServerSession, OwnedFd), RegionError> {
        let (region, file) = Region::shared("logothete-session", geometry.region_bytes())?;
        let region = Arc::new(region);
        let session = ServerSession {
            requests: ring::consumer_at(&region, geometry.requests_offset(), geometry.requests_bytes),
            responses: ring::producer_at(&region, geometry.responses_offset(), geometry.responses_bytes),
            subscription: (geometry.subscription_bytes > 0)
                .then(|| ring::producer_at(&region, geometry.subscription_offset(), geometry.subscription_bytes)),
            region,
            link,
            id,
            peer,
        };
        Ok((session, file))
    }

    /// This session's number, unique in the life of its listener.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The client's process and user.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// False once the client is gone. [`Listener::accept`](super::Listener::accept) finds that out, for all sessions at
    /// once; this only looks it up.
    pub fn is_alive(&self) -> bool {
        !self.link.closed.load(Ordering::Relaxed)
    }

    /// Hands up to `count_max` requests to `each`, oldest first, and stops before the first for which it says `false`:
    /// that one comes again. Returns how many were taken. Wakes a client that waits for room.
    ///
    /// # Errors
    ///
    /// [`RingFault`]: the client wrote garbage. [`evict`](ServerSession::evict) it.
    #[inline]
    pub fn poll_requests(&mut self, count_max: usize, each: impl FnMut(&[u8]) -> bool) -> Result<usize, RingFault> {
        let count = self.requests.poll_while(count_max, each)?;
        if count > 0 {
            self.wake(WAKE_ON_SPACE);
        }
        Ok(count)
    }

    /// Makes all answers and entries written so far visible, and wakes the client if it sleeps.
    #[inline]
    pub fn publish(&mut self) {
        let mut published = self.responses.publish();
        if let Some(subscription) = &mut self.subscription {
            published |= subscription.publish();
        }
        if published {
            self.wake(WAKE_ON_RECORDS);
        }
    }

    /// Before the driver sleeps: asks the client for a wake-up, then looks again. False means that what it waits for is
    /// there already (or the client broke its rings, which the next poll reports): do not sleep.
    ///
    /// Either way [`cancel_sleep`](ServerSession::cancel_sleep) follows, after the sleep or instead of it.
    pub fn prepare_sleep(&mut self, interest: Interest) -> bool {
        let wants_space = interest.responses_free_bytes > 0 || interest.subscription_free_bytes > 0;
        let records = if interest.requests { WAKE_ON_RECORDS } else { 0 };
        let space = if wants_space { WAKE_ON_SPACE } else { 0 };
        if records | space == 0 {
            return true;
        }
        self.flag(FLAG_DRIVER_OFFSET).announce(records | space);
        let full = |ring: &mut Producer, wanted_bytes: usize| {
            wanted_bytes == 0 || matches!(ring.free_bytes(), Ok(free_bytes) if free_bytes < wanted_bytes)
        };
        (!interest.requests || self.requests.is_empty() == Ok(true))
            && full(&mut self.responses, interest.responses_free_bytes)
            && self.subscription.as_mut().is_none_or(|ring| full(ring, interest.subscription_free_bytes))
    }

    /// The driver is awake: the client need not ring.
    pub fn cancel_sleep(&mut self) {
        self.flag(FLAG_DRIVER_OFFSET).clear();
    }

    /// The fault that ended this session's rings, if the client wrote garbage into one.
    pub fn fault(&self) -> Option<RingFault> {
        let subscription = self.subscription.as_ref().and_then(Producer::fault);
        self.requests.fault().or(self.responses.fault()).or(subscription)
    }

    /// Ends the session and tells the client why, in at most
    /// [`FAREWELL_BYTES_MAX`](super::FAREWELL_BYTES_MAX) bytes (more are cut off).
    pub fn evict(self, reason: &[u8]) {
        socket::send_farewell(&self.link.socket, reason);
    }

    #[inline]
    fn wake(&self, wake_on: u64) {
        if self.flag(FLAG_SESSION_OFFSET).take(wake_on) {
            socket::ring_bell(&self.link.socket);
        }
    }

    fn flag(&self, offset_bytes: usize) -> SleepFlag<'_> {
        SleepFlag::new(self.region.atomic_u64(offset_bytes))
    }
}

impl Drop for ServerSession {
    fn drop(&mut self) {
        // The listener holds the socket too, until it has seen this; the client shall not have to wait for that.
        let _ = rustix::net::shutdown(&self.link.socket, rustix::net::Shutdown::Both);
    }
}
