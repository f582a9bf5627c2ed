//! One application's session, as the driver serves it.

use super::batch::Batch;
use crate::client::{Delivery, Follower};
use crate::numbers::ReplicaId;
use crate::pipeline::Outbox;
use crate::wire::Message;
use logothete_client::record::{
    Eviction, FaultReason, Notice, Request, Response, Status, entry_footprint_bytes, message_footprint_bytes,
};
use logothete_transport::ring::PushError;
use logothete_transport::session::{Interest, ServerSession};
use std::collections::VecDeque;

/// Records taken from one session in one turn: bounds what one busy application can make the others wait.
const REQUESTS_A_TURN: usize = 512;

/// What all sessions of a driver share.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionContext {
    pub(super) replicas: usize,
    pub(super) weak: usize,
    pub(super) operation_bytes_max: usize,
    /// Whether the service is the ordered log.
    pub(super) log: bool,
}

impl SessionContext {
    /// `2f+1`.
    pub(super) fn quorum(&self) -> usize {
        2 * self.weak - 1
    }
}

/// A result that found no room in the response ring.
#[derive(Debug)]
struct Held {
    number: u64,
    status: Status,
    bytes: Vec<u8>,
}

/// How a subscription ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Trimmed(u64),
    Unsupported,
}

pub(super) struct Session {
    server: ServerSession,
    /// Results that wait for room; while there are any, no operation is taken, so they are never more than were in
    /// flight (`protocol.md DR-4`).
    held: VecDeque<Held>,
    follower: Option<Follower>,
    follow_ended: Option<End>,
    /// An entry that waits for room in the subscription ring has so many bytes.
    blocked_bytes: usize,
    bounds_wanted: Option<u64>,
    bounds_awaited: Option<u64>,
    broken: bool,
}

impl Session {
    pub(super) fn new(server: ServerSession) -> Self {
        Self {
            server,
            held: VecDeque::new(),
            follower: None,
            follow_ended: None,
            blocked_bytes: 0,
            bounds_wanted: None,
            bounds_awaited: None,
            broken: false,
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.server.id()
    }

    pub(super) fn is_alive(&self) -> bool {
        self.server.is_alive()
    }

    pub(super) fn follows(&self) -> bool {
        self.follower.is_some()
    }

    pub(super) fn wants_bounds(&self) -> bool {
        self.bounds_wanted.is_some()
    }

    /// The survey that answers this session's question has begun.
    pub(super) fn bounds_asked(&mut self) {
        if let Some(number) = self.bounds_wanted.take() {
            self.bounds_awaited = Some(number);
        }
    }

    /// Moves operations from the request ring to the batch; `false` when the application broke its rings.
    pub(super) fn take_requests(&mut self, context: &SessionContext, batch: &mut Batch, stream_next: &mut u32) -> bool {
        self.push_held();
        if !self.held.is_empty() || self.broken {
            return !self.broken;
        }
        let id = self.server.id();
        let subscribes = self.server.subscription.is_some();
        let (held, follower, bounds) = (&mut self.held, &mut self.follower, &mut self.bounds_wanted);
        let (ended, broken, awaited) = (&mut self.follow_ended, &mut self.broken, self.bounds_awaited);
        let taken = self.server.poll_requests(REQUESTS_A_TURN, |record| match Request::decode(record) {
            Ok(Request::Operation { number, bytes }) if bytes.len() > context.operation_bytes_max => {
                held.push_back(Held { number, status: Status::TooLarge, bytes: Vec::new() });
                true
            }
            Ok(Request::Operation { number, bytes }) => batch.add(id, number, bytes),
            Ok(Request::EndQuery { number }) if !context.log => {
                held.push_back(Held { number, status: Status::Unsupported, bytes: Vec::new() });
                true
            }
            Ok(Request::EndQuery { number }) => {
                // One question at a time: the next waits in the ring.
                let free = bounds.is_none() && awaited.is_none();
                if free {
                    *bounds = Some(number);
                }
                free
            }
            Ok(Request::SubscribeFrom { position }) => {
                if !subscribes || follower.is_some() {
                    // Without a ring for entries there is nowhere to put them, nor the news that there are none.
                    *broken = true;
                } else if !context.log {
                    *ended = Some(End::Unsupported);
                } else {
                    *follower = Some(Follower::new(*stream_next, position, context.replicas, context.weak));
                    *stream_next = stream_next.wrapping_add(1);
                }
                true
            }
            Err(_) => {
                *broken = true;
                true
            }
        });
        if taken.is_err() {
            self.broken = true;
        }
        self.push_held();
        !self.broken
    }

    /// An operation of this session was executed.
    pub(super) fn complete(&mut self, number: u64, result: &[u8]) {
        let response = Response::Result { number, status: Status::Ok, bytes: result };
        if !self.held.is_empty() || response.push(&mut self.server.responses).is_err() {
            self.held.push_back(Held { number, status: Status::Ok, bytes: result.to_vec() });
        }
    }

    /// Answers the question how far the log reaches.
    pub(super) fn answer_bounds(&mut self, oldest: u64, end: u64) {
        let Some(number) = self.bounds_awaited else { return };
        // Without room the next survey answers.
        match (Response::Bounds { number, oldest, end }).push(&mut self.server.responses) {
            Ok(()) => self.bounds_awaited = None,
            Err(_) => (self.bounds_wanted, self.bounds_awaited) = (Some(number), None),
        }
    }

    pub(super) fn on_log_message(&mut self, now_ns: u64, from: ReplicaId, message: &Message<'_>) {
        if let Some(follower) = &mut self.follower {
            follower.on_message(now_ns, from, message);
        }
    }

    /// Gives the subscriber what is vouched for and fits.
    pub(super) fn deliver(&mut self) {
        let Some(ring) = &mut self.server.subscription else { return };
        if let Some(follower) = &mut self.follower {
            self.blocked_bytes = 0;
            let blocked = &mut self.blocked_bytes;
            let delivery = follower.deliver(|entry| {
                let notice = Notice::Entry {
                    position: entry.position,
                    timestamp_ns: entry.timestamp_ns,
                    session: entry.session,
                    bytes: entry.bytes,
                };
                let pushed = notice.push(ring).is_ok();
                if !pushed {
                    *blocked = entry_footprint_bytes(entry.bytes.len());
                }
                pushed
            });
            if let Delivery::Trimmed(oldest) = delivery {
                self.follower = None;
                self.follow_ended = Some(End::Trimmed(oldest));
            }
        }
        if let Some(end) = self.follow_ended {
            let notice = match end {
                End::Trimmed(oldest) => Notice::Trimmed { oldest },
                End::Unsupported => Notice::Fault { reason: FaultReason::Unsupported },
            };
            if notice.push(ring).is_ok() {
                self.follow_ended = None;
            }
        }
    }

    /// Asks the replicas for what the subscriber wants next, unless it has no room for what is there.
    pub(super) fn on_due(&mut self, now_ns: u64, message: &mut Vec<u8>, outbox: &mut Outbox) {
        if self.blocked_bytes > 0 {
            return;
        }
        if let Some(follower) = self.follower.as_mut().filter(|follower| follower.deadline_ns() <= now_ns) {
            follower.on_due(now_ns, |audience, append| {
                message.clear();
                append(message);
                outbox.add(audience, message);
            });
        }
    }

    pub(super) fn deadline_ns(&self) -> u64 {
        let follower = self.follower.as_ref().filter(|_| self.blocked_bytes == 0);
        follower.map_or(u64::MAX, Follower::deadline_ns)
    }

    pub(super) fn publish(&mut self) {
        self.server.publish();
    }

    /// Whether the driver may sleep as far as this session goes.
    pub(super) fn prepare_sleep(&mut self) -> bool {
        let responses_free_bytes = self.held.front().map_or(0, |held| message_footprint_bytes(held.bytes.len()));
        self.server.prepare_sleep(Interest {
            requests: self.held.is_empty(),
            responses_free_bytes,
            subscription_free_bytes: self.blocked_bytes,
        })
    }

    pub(super) fn cancel_sleep(&mut self) {
        self.server.cancel_sleep();
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Ends the session, and says why.
    pub(super) fn evict(self, eviction: Eviction) {
        self.server.evict(&eviction.encode());
    }

    fn push_held(&mut self) {
        while let Some(held) = self.held.front() {
            let response = Response::Result { number: held.number, status: held.status, bytes: &held.bytes };
            match response.push(&mut self.server.responses) {
                Ok(()) => {
                    self.held.pop_front();
                }
                Err(PushError::Full) => return,
                Err(_) => {
                    self.broken = true;
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_transport::session::{ClientSession, ConnectOptions, Listener, ListenerConfig};
    use std::time::{Duration, Instant};

    /// Ends a wait of these tests; it measures nothing.
    const LIMIT: Duration = Duration::from_secs(20);

    /// Both ends of a session of a driver of the log.
    fn open(subscribes: bool) -> (Session, ClientSession, Listener) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session");
        let mut listener = Listener::bind(&path, ListenerConfig::default()).unwrap();
        let options = ConnectOptions { subscribes, ..ConnectOptions::default() };
        let client = std::thread::spawn(move || ClientSession::connect(path, &options).unwrap());
        let until = Instant::now() + LIMIT;
        let server = loop {
            if let Some(server) = listener.accept() {
                break server;
            }
            assert!(Instant::now() < until, "the application never came");
            listener.wait(Duration::from_millis(20));
        };
        (Session::new(server), client.join().unwrap(), listener)
    }

    fn take_requests(session: &mut Session, log: bool) -> bool {
        let context = SessionContext { replicas: 4, weak: 2, operation_bytes_max: 1000, log };
        session.take_requests(&context, &mut Batch::new(4096, 4096, 0), &mut 0)
    }

    #[test]
    fn who_has_a_ring_for_entries_may_follow_once() {
        let (mut session, mut client, _listener) = open(true);
        Request::SubscribeFrom { position: 5 }.push(&mut client.requests).unwrap();
        client.publish();
        assert!(take_requests(&mut session, true) && session.follows());
        Request::SubscribeFrom { position: 9 }.push(&mut client.requests).unwrap();
        client.publish();
        assert!(!take_requests(&mut session, true) && session.is_broken());
    }

    /// `protocol.md DR-1`: nothing could ever be delivered, and nobody would be told.
    #[test]
    fn who_has_no_ring_for_entries_is_malformed() {
        for log in [true, false] {
            let (mut session, mut client, _listener) = open(false);
            Request::SubscribeFrom { position: 0 }.push(&mut client.requests).unwrap();
            client.publish();
            assert!(!take_requests(&mut session, log), "it is kept");
            assert!(session.is_broken() && !session.follows());
        }
    }
}
