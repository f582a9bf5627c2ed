//! The client table: for each client its incarnation, the last request executed and the last replies (all three part of the replicated
//! state), and the requests that wait (which are not).
//!
//! *Exactly once, in the client's order* (`protocol.md CL-3`): a request is executed if it is of the client's incarnation and numbered
//! one above the last; anything else in a batch is a no-op, at every replica alike.

mod pages;

pub use pages::TableShape;

use super::bodies::{Bodies, BodyRef};
use crate::numbers::{ClientId, Incarnation, RequestNumber, SequenceNumber, View};
use crate::planted::{self, Bug};
use crate::wire::reply::{Answer, Mode, Reply};
use crate::wire::request::RequestName;
use logothete_crypto::Digest;
use std::hash::{Hash, Hasher};

/// Requests that wait are held so many client windows ahead of the last executed one: a replica that is behind still
/// collects what the others order meanwhile.
const WAITING_WINDOWS: u64 = 4;

/// A reply that can be sent again.
#[derive(Clone, Debug, Default)]
struct CachedReply {
    number: RequestNumber,
    request: Digest,
    sequence: SequenceNumber,
    results: Vec<u8>,
}

impl CachedReply {
    /// Becomes none, with memory for results of so many bytes: a client that is here takes the memory of ordinary results at once, and no more
    /// later. What long ones took is given back.
    fn forget(&mut self, bytes_ready: usize) {
        self.number = RequestNumber(0);
        self.request = Digest::ZERO;
        self.sequence = SequenceNumber(0);
        self.results.resize(bytes_ready, 0xff);
        self.results.clear();
        self.results.shrink_to(bytes_ready);
    }
}

/// The reply to an executed request, as it is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldReply<'a> {
    /// The digest of the request.
    pub request: Digest,
    /// Where it was executed.
    pub sequence: SequenceNumber,
    /// Its results.
    pub results: &'a [u8],
}

impl HeldReply<'_> {
    /// The message that says so, with what is not held because it changes: the view, how final the reply is, and how much of the results
    /// it gives.
    pub fn reply<'a>(&self, name: RequestName, view: View, mode: Mode, results: Answer<'a>) -> Reply<'a> {
        let (incarnation, number) = (name.incarnation, name.number);
        Reply { view, sequence: self.sequence, incarnation, number, request: self.request, mode, results }
    }
}

#[derive(Clone, Debug)]
struct ClientState {
    // Replicated: the same at every replica after the same sequence number.
    incarnation: Incarnation,
    last: RequestNumber,
    replies: Box<[CachedReply]>,
    /// Its requests count only if they are signed.
    demoted: bool,
    // Local.
    waiting: Box<[Option<BodyRef>]>,
    waiting_bytes: usize,
    opening: Option<BodyRef>,
    proposed: (Incarnation, RequestNumber),
    /// When its last request was executed here.
    advanced_ns: u64,
}

/// What is to be done with a request that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is new: keep its body and call [`Clients::hold`].
    New,
    /// It waits already, with this body.
    Waits(BodyRef),
    /// It is executed.
    Executed,
    /// Its incarnation is over; this is the current one.
    Superseded(Incarnation),
    /// It is further ahead than the client may be.
    BeyondWindow,
}

/// A request that waits to be executed.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// Since when it is its client's next.
    pub since_ns: u64,
    /// The request.
    pub body: BodyRef,
}

/// The table.
#[derive(Clone, Debug)]
pub struct Clients {
    states: Box<[ClientState]>,
    served_last: usize,
    waiting_bytes_max: usize,
    reply_bytes_max: usize,
    /// For results of so many bytes memory is there from the beginning.
    reply_bytes_ready: usize,
}

impl Clients {
    /// A table for so many clients, each with `window` requests outstanding at most, and packets of at most `waiting_bytes_max` bytes
    /// waiting: no client can take the room of the others. A request's results have at most `reply_bytes_max` bytes, mostly
    /// `reply_bytes_ready`.
    ///
    /// # Panics
    /// If so many replies of that size do not fit the engine's pages of the state; the configuration was checked for it.
    pub fn new(
        count: usize,
        window: u64,
        waiting_bytes_max: usize,
        reply_bytes_max: usize,
        reply_bytes_ready: usize,
    ) -> Self {
        let state = |_| ClientState {
            incarnation: Incarnation::NONE,
            last: RequestNumber(0),
            replies: (0..window).map(|_| CachedReply::default()).collect(),
            demoted: false,
            waiting: vec![None; (window * WAITING_WINDOWS) as usize].into(),
            waiting_bytes: 0,
            opening: None,
            proposed: (Incarnation::NONE, RequestNumber(0)),
            advanced_ns: 0,
        };
        let states = (0..count).map(state).collect();
        let table = Self { states, served_last: 0, waiting_bytes_max, reply_bytes_max, reply_bytes_ready };
        table.assert_fits();
        table
    }

    /// Of [`Replica::fingerprint`](super::Replica::fingerprint).
    pub(super) fn fingerprint(&self, bodies: &Bodies, state: &mut impl Hasher) {
        self.served_last.hash(state);
        self.states.iter().for_each(|client| client.fingerprint(bodies, state));
    }

    /// Whether the cluster has this client.
    pub fn knows(&self, client: ClientId) -> bool {
        usize::from(client.0) < self.states.len()
    }

    /// Whether a client's requests count only if they are signed (`protocol.md DM-5`).
    pub fn must_sign(&self, client: ClientId) -> bool {
        self.states.get(usize::from(client.0)).is_some_and(|state| state.demoted)
    }

    /// The clients of which that is so.
    pub fn demoted(&self) -> impl Iterator<Item = ClientId> {
        let demoted = self.states.iter().enumerate().filter(|(_, state)| state.demoted);
        demoted.map(|(at, _)| ClientId(at as u16))
    }

    /// From now on a client's requests count only if they are signed. What waits of it is let go: what is signed comes again. Whether that is new.
    pub fn demote(&mut self, client: ClientId, bodies: &mut Bodies) -> bool {
        let Some(state) = self.states.get_mut(usize::from(client.0)).filter(|state| !state.demoted) else {
            return false;
        };
        state.demoted = true;
        state.release_all(bodies);
        true
    }

    /// What is to be done with a request of a known client.
    pub fn admission(&self, name: RequestName, bodies: &Bodies) -> Admission {
        let state = &self.states[usize::from(name.client.0)];
        if name.incarnation < state.incarnation {
            return Admission::Superseded(state.incarnation);
        }
        if name.incarnation == state.incarnation && name.number <= state.last {
            return Admission::Executed;
        }
        let held = if name.number == RequestNumber::OPEN {
            state.opening
        } else {
            // Of a later incarnation nothing is executed here yet.
            let last = if name.incarnation == state.incarnation { state.last } else { RequestNumber(0) };
            if name.number.0 - last.0 > state.waiting.len() as u64 {
                return Admission::BeyondWindow;
            }
            state.waiting[state.waiting_index(name.number)]
        };
        match held {
            Some(body) if bodies.name(body) == name => Admission::Waits(body),
            // A later incarnation takes the place of an earlier; what it displaces can only have become a no-op.
            Some(body) if bodies.name(body).incarnation > name.incarnation => {
                Admission::Superseded(bodies.name(body).incarnation)
            }
            _ => Admission::New,
        }
    }

    /// Keeps a new request until it is executed; takes over the body's reference.
    pub fn hold(&mut self, name: RequestName, body: BodyRef, bodies: &mut Bodies) {
        let state = &mut self.states[usize::from(name.client.0)];
        let place = if name.number == RequestNumber::OPEN {
            &mut state.opening
        } else {
            let index = state.waiting_index(name.number);
            &mut state.waiting[index]
        };
        let displaced = place.replace(body);
        state.waiting_bytes += bodies.packet_bytes(body);
        if let Some(displaced) = displaced {
            state.let_go(displaced, bodies);
        }
    }

    /// Whether one more packet of a client may wait.
    pub fn has_room(&self, client: ClientId, packet_bytes: usize) -> bool {
        self.states[usize::from(client.0)].waiting_bytes + packet_bytes <= self.waiting_bytes_max
    }

    /// The bytes of what waits of the client of which most does.
    pub fn waiting_bytes(&self) -> usize {
        self.states.iter().map(|state| state.waiting_bytes).max().unwrap_or(0)
    }

    /// Counts bytes of a request that is on its way as if it waited.
    pub fn reserve(&mut self, client: ClientId, bytes: usize) {
        self.states[usize::from(client.0)].waiting_bytes += bytes;
    }

    /// Such a request waits now, or is forgotten.
    pub fn unreserve(&mut self, client: ClientId, bytes: usize) {
        self.states[usize::from(client.0)].waiting_bytes -= bytes;
    }

    /// Lets go of the waiting request that comes last of those that yield to one of their client's; `false` where none does.
    pub fn displace(&mut self, name: RequestName, bodies: &mut Bodies) -> bool {
        let state = &mut self.states[usize::from(name.client.0)];
        let yields = |place: &&mut Option<BodyRef>| place.is_some_and(|body| bodies.name(body).yields_to(name));
        let last = std::iter::once(&mut state.opening)
            .chain(state.waiting.iter_mut())
            .filter(yields)
            .max_by_key(|place| place.map(|body| bodies.name(body).number));
        let Some(body) = last.and_then(Option::take) else { return false };
        state.let_go(body, bodies);
        true
    }

    /// The body of a request that waits, if it has this digest.
    pub fn waiting_body(&self, name: RequestName, digest: &Digest, bodies: &Bodies) -> Option<BodyRef> {
        let state = self.states.get(usize::from(name.client.0))?;
        let held = if name.number == RequestNumber::OPEN {
            state.opening
        } else {
            state.waiting[state.waiting_index(name.number)]
        };
        let bound = |body| bodies.digest(body) == *digest || planted::is(Bug::BodyUnbound);
        held.filter(|body| bodies.name(*body) == name && bound(*body))
    }

    /// The next request to propose, and marks it proposed: one of each client in turn, in each client's order (`protocol.md NC-2`).
    pub fn next_to_propose(&mut self, bodies: &Bodies, fits: impl Fn(BodyRef) -> bool) -> Option<BodyRef> {
        let count = self.states.len();
        for step in 1..=count {
            let at = (self.served_last + step) % count;
            if let Some(body) = self.states[at].candidate(bodies)
                && fits(body)
            {
                let name = bodies.name(body);
                self.states[at].proposed = (name.incarnation, name.number);
                self.served_last = at;
                return Some(body);
            }
        }
        None
    }

    /// Forgets what was proposed: a new view begins.
    pub fn forget_proposed(&mut self) {
        for state in &mut self.states {
            state.proposed = (Incarnation::NONE, RequestNumber(0));
        }
    }

    /// Notes that a request is proposed: by the primary of the view that took it over.
    pub fn mark_proposed(&mut self, name: RequestName) {
        if let Some(state) = self.states.get_mut(usize::from(name.client.0)) {
            state.proposed = state.proposed.max((name.incarnation, name.number));
        }
    }

    /// For how long a request that is executed next of its client has been the client's oldest here.
    pub fn waited_ns(&self, name: RequestName, bodies: &Bodies, now_ns: u64) -> Option<u64> {
        let state = self.states.get(usize::from(name.client.0))?;
        let body = state.next_waiting((state.incarnation, state.last), bodies)?;
        let oldest = bodies.name(body) == name;
        oldest.then(|| now_ns.saturating_sub(bodies.arrived_ns(body).max(state.advanced_ns)))
    }

    /// The request that is the next in its client's order and has waited longest; only those whose tag for this replica
    /// is good count (`protocol.md VC-1`).
    pub fn oldest(&self, bodies: &Bodies) -> Option<Waiting> {
        let waiting = |state: &ClientState| {
            let body = state.opening.or_else(|| state.next_waiting((state.incarnation, state.last), bodies))?;
            let since_ns = || bodies.arrived_ns(body).max(state.advanced_ns);
            bodies.is_authentic(body).then(|| Waiting { since_ns: since_ns(), body })
        };
        self.states.iter().filter_map(waiting).min_by_key(|waiting| waiting.since_ns)
    }

    /// Whether a request waits that is the next in its client's order and could be proposed by a primary that had proposed
    /// nothing yet: work that this replica knows of.
    pub fn work_waits(&self, bodies: &Bodies) -> bool {
        self.states.iter().any(|state| {
            state.opening.is_some() || state.next_waiting((state.incarnation, state.last), bodies).is_some()
        })
    }

    /// The last request of each client that has an incarnation.
    pub fn last_requests(&self) -> impl Iterator<Item = RequestName> {
        let name = |(at, state): (usize, &ClientState)| RequestName {
            client: ClientId(at as u16),
            incarnation: state.incarnation,
            number: state.last,
        };
        self.states.iter().enumerate().map(name).filter(|last| last.incarnation > Incarnation::NONE)
    }

    /// All replies that are held.
    pub fn replies_held(&self) -> impl Iterator<Item = (RequestName, HeldReply<'_>)> {
        self.last_requests().flat_map(move |last| {
            let held = self.states[usize::from(last.client.0)].replies.iter();
            held.filter_map(move |reply| {
                let name = RequestName { number: reply.number, ..last };
                self.reply(name).map(|held| (name, held))
            })
        })
    }

    /// Decides on a request of a committed batch, in the batch's order: whether it is executed. If so, it is no longer
    /// waiting, and its reply is due.
    pub fn schedule(&mut self, name: RequestName, bodies: &mut Bodies, now_ns: u64) -> bool {
        let Some(state) = self.states.get_mut(usize::from(name.client.0)) else { return false };
        if name.number == RequestNumber::OPEN {
            if name.incarnation <= state.incarnation {
                return false;
            }
            state.incarnation = name.incarnation;
            state.last = RequestNumber::OPEN;
            state.advanced_ns = now_ns;
            state.replies.iter_mut().for_each(|reply| reply.forget(self.reply_bytes_ready));
            state.release_before(name.incarnation, bodies);
            return true;
        }
        let next = name.number == state.last.next() || planted::is(Bug::ExecutionUnnumbered);
        if name.incarnation != state.incarnation || !next {
            // Void. If it came too early, whoever took it over as proposed has to propose it, and what it skipped, again.
            if (name.incarnation, name.number) > (state.incarnation, state.last) {
                state.proposed = (state.incarnation, state.last);
            }
            return false;
        }
        state.last = name.number;
        state.advanced_ns = now_ns;
        let index = state.waiting_index(name.number);
        if let Some(body) = state.waiting[index].take_if(|body| bodies.name(*body) == name) {
            state.let_go(body, bodies);
        }
        true
    }

    /// Whether a request of a committed batch is the one that is executed next of its client.
    pub fn is_next(&self, name: RequestName) -> bool {
        self.states.get(usize::from(name.client.0)).is_some_and(|state| match name.number {
            RequestNumber::OPEN => name.incarnation > state.incarnation,
            number => name.incarnation == state.incarnation && number == state.last.next(),
        })
    }

    /// A request of a committed batch is void for want of a signature. It takes no number, and whoever took it over as proposed proposes its number again.
    pub fn pass_over(&mut self, name: RequestName) {
        if let Some(state) = self.states.get_mut(usize::from(name.client.0)) {
            state.proposed = (state.incarnation, state.last);
        }
    }

    /// Keeps the results of a request that was scheduled. Results of a superseded incarnation are dropped.
    pub fn keep_reply(&mut self, name: RequestName, request: Digest, sequence: SequenceNumber, results: &[u8]) {
        let state = &mut self.states[usize::from(name.client.0)];
        if state.incarnation != name.incarnation {
            return;
        }
        let index = state.reply_index(name.number);
        let reply = &mut state.replies[index];
        reply.number = name.number;
        reply.request = request;
        reply.sequence = sequence;
        reply.results.clear();
        // A long one before it is not held on to.
        reply.results.shrink_to(self.reply_bytes_ready.max(results.len()));
        reply.results.extend_from_slice(results);
    }

    /// The reply to a request that is executed, if it is still held.
    pub fn reply(&self, name: RequestName) -> Option<HeldReply<'_>> {
        let state = &self.states[usize::from(name.client.0)];
        let reply = &state.replies[state.reply_index(name.number)];
        let held = state.incarnation == name.incarnation && reply.number == name.number && reply.sequence.0 > 0;
        held.then_some(HeldReply { request: reply.request, sequence: reply.sequence, results: &reply.results })
    }
}

impl ClientState {
    /// Of [`Clients::fingerprint`].
    fn fingerprint(&self, bodies: &Bodies, state: &mut impl Hasher) {
        let Self { incarnation, last, replies, demoted, waiting, waiting_bytes: _, opening, proposed, advanced_ns: _ } =
            self;
        (incarnation, last, demoted, proposed).hash(state);
        for held in replies.iter().filter(|reply| reply.sequence.0 > 0) {
            let CachedReply { number, request, sequence, results } = held;
            (number, request, sequence, results).hash(state);
        }
        for body in waiting.iter().chain([opening]).flatten() {
            (bodies.name(*body), bodies.digest(*body), bodies.is_authentic(*body)).hash(state);
        }
    }

    fn waiting_index(&self, number: RequestNumber) -> usize {
        (number.0 % self.waiting.len() as u64) as usize
    }

    fn reply_index(&self, number: RequestNumber) -> usize {
        (number.0 % self.replies.len() as u64) as usize
    }

    fn next_waiting(&self, after: (Incarnation, RequestNumber), bodies: &Bodies) -> Option<BodyRef> {
        let next = after.1.next();
        self.waiting[self.waiting_index(next)].filter(|body| {
            let name = bodies.name(*body);
            name.incarnation == after.0 && name.number == next
        })
    }

    fn candidate(&self, bodies: &Bodies) -> Option<BodyRef> {
        let proposed = self.proposed.max((self.incarnation, self.last));
        match self.opening {
            Some(body) if bodies.name(body).incarnation > proposed.0 => Some(body),
            _ => self.next_waiting(proposed, bodies),
        }
    }

    /// Lets go of what waits and is executed.
    fn release_executed(&mut self, bodies: &mut Bodies) {
        let (incarnation, last) = (self.incarnation, self.last);
        self.release_before(incarnation, bodies);
        for at in 0..self.waiting.len() {
            let executed = |name: RequestName| name.incarnation == incarnation && name.number <= last;
            if let Some(body) = self.waiting[at].take_if(|body| executed(bodies.name(*body))) {
                self.let_go(body, bodies);
            }
        }
    }

    /// Lets go of what an incarnation's opening makes void.
    fn release_before(&mut self, incarnation: Incarnation, bodies: &mut Bodies) {
        if let Some(body) = self.opening.take_if(|body| bodies.name(*body).incarnation <= incarnation) {
            self.let_go(body, bodies);
        }
        for at in 0..self.waiting.len() {
            if let Some(body) = self.waiting[at].take_if(|body| bodies.name(*body).incarnation < incarnation) {
                self.let_go(body, bodies);
            }
        }
    }

    /// Lets go of all that waits, and of what was proposed of it.
    fn release_all(&mut self, bodies: &mut Bodies) {
        let all: Vec<BodyRef> = self.waiting.iter_mut().chain([&mut self.opening]).filter_map(Option::take).collect();
        all.into_iter().for_each(|body| self.let_go(body, bodies));
        self.proposed = (self.incarnation, self.last);
    }

    /// A request no longer waits.
    fn let_go(&mut self, body: BodyRef, bodies: &mut Bodies) {
        self.waiting_bytes -= bodies.packet_bytes(body);
        bodies.release(body);
    }
}

#[cfg(test)]
mod tests;
