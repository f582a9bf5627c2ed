//! One application's session, as the driver serves it.

use super::batch::Batch;
use crate::client::{Delivery, Follower, Queries};
use crate::numbers::ReplicaId;
use crate::pipeline::Outbox;
use crate::replica::Quorum;
use crate::service::ServiceKind;
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
    pub(super) quorum: Quorum,
    pub(super) operation_bytes_max: usize,
    /// The longest query that fits a packet; a longer one is ordered at once.
    pub(super) query_bytes_max: usize,
    /// The longest request message.
    pub(super) message_bytes_max: usize,
    pub(super) service: ServiceKind,
}

/// Where what applications ask for goes.
pub(super) struct Sinks<'a> {
    pub(super) batch: &'a mut Batch,
    pub(super) queries: &'a mut Queries,
    /// The number of the next stream of log entries.
    pub(super) stream_next: &'a mut u32,
}

impl SessionContext {
    /// Whether the service is the ordered log.
    pub(super) fn is_log(&self) -> bool {
        self.service == ServiceKind::Log
    }
}

/// A result that found no room in the response ring.
#[derive(Debug)]
struct Held {
    number: u64,
    /// How an operation ended; `None` for the answer to a query.
    status: Option<Status>,
    bytes: Vec<u8>,
}

impl Held {
    /// An operation or a query that ended without a result.
    fn failed(number: u64, status: Status) -> Self {
        Self { number, status: Some(status), bytes: Vec::new() }
    }

    fn response(&self) -> Response<'_> {
        response(self.number, self.status, &self.bytes)
    }
}

fn response(number: u64, status: Option<Status>, bytes: &[u8]) -> Response<'_> {
    match status {
        Some(status) => Response::Result { number, status, bytes },
        None => Response::Answer { number, bytes },
    }
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

    /// Moves operations from the request ring to the batch, and queries to those under way; `false` when the application broke its rings.
    pub(super) fn take_requests(&mut self, context: &SessionContext, sinks: Sinks<'_>) -> bool {
        self.push_held();
        if !self.held.is_empty() || self.broken {
            return !self.broken;
        }
        let id = self.server.id();
        let subscribes = self.server.subscription.is_some();
        let (held, follower, bounds) = (&mut self.held, &mut self.follower, &mut self.bounds_wanted);
        let (ended, broken, awaited) = (&mut self.follow_ended, &mut self.broken, self.bounds_awaited);
        let Sinks { batch, queries, stream_next } = sinks;
        let taken = self.server.poll_requests(REQUESTS_A_TURN, |record| match Request::decode(record) {
            Ok(Request::Operation { number, bytes } | Request::Query { number, bytes })
                if bytes.len() > context.operation_bytes_max =>
            {
                held.push_back(Held::failed(number, Status::TooLarge));
                true
            }
            Ok(Request::Operation { number, bytes }) => batch.add(id, number, bytes),
            // What may have to be ordered must not change anything (`protocol.md RD-1`).
            Ok(Request::Query { number, bytes }) if !context.service.answers(bytes) => {
                held.push_back(Held::failed(number, Status::Unsupported));
                true
            }
            Ok(Request::Query { number, bytes }) if bytes.len() > context.query_bytes_max => {
                batch.add(id, number, bytes)
            }
            Ok(Request::Query { number, bytes }) => {
                let free = queries.may_ask();
                if free {
                    queries.ask(id, number, bytes);
                }
                free
            }
            Ok(Request::EndQuery { number }) if !context.is_log() => {
                held.push_back(Held::failed(number, Status::Unsupported));
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
                } else if !context.is_log() {
                    *ended = Some(End::Unsupported);
                } else {
                    let SessionContext { quorum, message_bytes_max, .. } = *context;
                    let (replicas, weak) = (quorum.replicas(), quorum.weak());
                    *follower = Some(Follower::new(*stream_next, position, replicas, weak, message_bytes_max));
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
        self.respond(number, Some(Status::Ok), result);
    }

    /// A query of this session is over; without a result, because the service refused it.
    pub(super) fn finish(&mut self, number: u64, result: Option<&[u8]>) {
        match result {
            Some(result) => self.respond(number, None, result),
            None => self.respond(number, Some(Status::Unsupported), &[]),
        }
    }

    fn respond(&mut self, number: u64, status: Option<Status>, bytes: &[u8]) {
        let pushed = self.held.is_empty() && response(number, status, bytes).push(&mut self.server.responses).is_ok();
        if !pushed {
            self.held.push_back(Held { number, status, bytes: bytes.to_vec() });
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
            match held.response().push(&mut self.server.responses) {
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
mod tests;
