//! Requests under way: numbered, sent to all replicas, sent again until enough of them say the same (`protocol.md CL-1` to `CL-6`, `CL-8`).

use super::config::ClientConfig;
use super::full_results::FullResults;
use super::outstanding::{Outstanding, Vote};
use super::result_parts::{PartTaken, ResultParts};
use crate::authentication::{AuthenticatedPacket, RequestSigner};
use crate::limits::{
    PARTS_BURST_BYTES, PARTS_PACE_MAX_NS, PARTS_PACE_NS, REPLICAS_MAX, REPLIES_SPREAD_NS, RESULTS_PATIENCE_NS,
};
use crate::numbers::{Incarnation, Principal, ReplicaId, ReplicaSet, RequestNumber, View};
use crate::replica::Now;
use crate::round_trip::{Bounds, RoundTrip};
use crate::wire::Message;
use crate::wire::operation::Operations;
use crate::wire::parts::{ReplyPart, RequestPart, ResultOf};
use crate::wire::reply::{Refusal, RefusalReason, Reply};
use crate::wire::request::{self, REQUEST_OVERHEAD_BYTES, RequestName, SIGNED_REQUEST_OVERHEAD_BYTES};
use logothete_crypto::digest;

/// Why a client cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientFault {
    /// Another process uses the same identity, and opened a later incarnation.
    #[error("another process uses this client's key: stop it, or give this one a client of its own")]
    Superseded,
}

/// The requests of one incarnation of a client.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    signer: RequestSigner,
    /// Requests are signed: `f+1` replicas take no others.
    signs: bool,
    /// Who says so.
    demanding: ReplicaSet,
    incarnation: Incarnation,
    open: bool,
    /// Outstanding requests by number; number 0 opens the incarnation.
    outstanding: Box<[Outstanding]>,
    lowest: RequestNumber,
    next: RequestNumber,
    operations_in_flight: usize,
    /// Of requests in parts.
    large_bytes_in_flight: usize,
    /// When the next burst of parts may leave, and how long the one after it waits.
    parts_at_ns: u64,
    parts_pace_ns: u64,
    part_message: Vec<u8>,
    result_parts: ResultParts,
    trips: RoundTrip,
    /// Of requests in parts, from their last part on.
    large_trips: RoundTrip,
    /// When something new of a long result came last.
    results_heard_ns: u64,
    superseding: [Incarnation; REPLICAS_MAX],
    /// The highest view that each replica reported.
    views: [View; REPLICAS_MAX],
    overloaded: u64,
    retransmitted: u64,
}

impl Client {
    /// A client that has not opened its incarnation yet: [`Client::on_due`] begins with that. It signs with `signer` when it has to.
    pub fn new(config: ClientConfig, signer: RequestSigner) -> Self {
        assert!((1..=config.quorum).contains(&config.quorum_weak) && config.quorum <= config.replicas);
        assert!(config.replicas <= REPLICAS_MAX && config.window >= 1);
        let mut client = Self {
            config,
            signer,
            signs: false,
            demanding: ReplicaSet::EMPTY,
            incarnation: config.incarnation,
            open: false,
            outstanding: (0..=config.window).map(|_| Outstanding::default()).collect(),
            lowest: RequestNumber::OPEN,
            next: RequestNumber::OPEN,
            operations_in_flight: 0,
            large_bytes_in_flight: 0,
            parts_at_ns: 0,
            parts_pace_ns: PARTS_PACE_NS,
            part_message: Vec::new(),
            result_parts: ResultParts::new(config.replicas, config.reply_piece_bytes, config.reply_bytes_max),
            trips: RoundTrip::default(),
            large_trips: RoundTrip::default(),
            results_heard_ns: 0,
            superseding: [Incarnation::NONE; REPLICAS_MAX],
            views: [View(0); REPLICAS_MAX],
            overloaded: 0,
            retransmitted: 0,
        };
        client.open_incarnation(config.incarnation);
        client
    }

    /// Whether a request can be submitted: the incarnation is open and the window has room.
    pub fn may_submit(&self) -> bool {
        self.open && self.next.0 - self.lowest.0 < self.config.window
    }

    /// Whether one with so many bytes of operations can be, beside what is under way: of requests in parts only so much is, so that what they
    /// send fits a replica's receive buffer (`protocol.md LR-1`).
    pub fn may_submit_bytes(&self, operations_bytes: usize) -> bool {
        let overhead = if self.signs { SIGNED_REQUEST_OVERHEAD_BYTES } else { REQUEST_OVERHEAD_BYTES };
        let bytes = overhead + operations_bytes;
        let large = bytes > self.config.request_packet_bytes_max && self.large_bytes_in_flight > 0;
        self.may_submit() && !(large && self.large_bytes_in_flight + bytes > self.config.large_bytes_max)
    }

    /// How many requests are outstanding.
    #[cfg(test)]
    fn requests_in_flight(&self) -> usize {
        (self.lowest.0..self.next.0).filter(|number| !self.at(RequestNumber(*number)).answered).count()
    }

    /// How many operations the outstanding requests hold.
    pub fn operations_in_flight(&self) -> usize {
        self.operations_in_flight
    }

    /// Requests sent again for want of replies.
    pub fn retransmitted(&self) -> u64 {
        self.retransmitted
    }

    /// Whether requests are signed, since `f+1` replicas take no others (`protocol.md DM-6`).
    pub fn signs(&self) -> bool {
        self.signs
    }

    /// Refusals for want of room.
    pub fn overloaded(&self) -> u64 {
        self.overloaded
    }

    /// The view that the replicas are in, as far as replies tell: the highest that `f+1` of them reported or exceeded (`protocol.md CL-8`).
    pub fn view(&self) -> View {
        let mut views = self.views;
        let reported = &mut views[..self.config.replicas];
        reported.sort_unstable();
        reported[self.config.replicas - self.config.quorum_weak]
    }

    /// Makes a request of operations. `send` takes a message to all replicas, which has to be alone in its packet; of a request in parts
    /// [`Client::on_due`] sends those that `send` did not get.
    ///
    /// # Panics
    /// If [`Client::may_submit`] does not hold.
    pub fn submit(&mut self, now: Now, operations: Operations<'_>, mut send: impl FnMut(&[u8])) {
        assert!(self.may_submit(), "a request is submitted only when the window has room");
        self.operations_in_flight += operations.count();
        let number = self.next;
        self.enter(now.monotonic_ns, number, operations.count(), operations.bytes());
        let request = self.at_mut(number);
        if request.parts == 0 {
            send(&request.message);
        } else {
            self.large_bytes_in_flight += self.at(number).message.len();
            self.send_parts(now.monotonic_ns, &mut send);
        }
    }

    /// Sends parts that were not sent yet, a burst at a time (`protocol.md LR-1`).
    fn send_parts(&mut self, now_ns: u64, send: &mut impl FnMut(&[u8])) {
        if self.large_bytes_in_flight == 0 || self.parts_at_ns > now_ns {
            return;
        }
        let (config, incarnation, trips) = (self.config, self.incarnation, self.large_trips);
        let mut part_message = std::mem::take(&mut self.part_message);
        let mut bytes_left = PARTS_BURST_BYTES;
        for number in self.lowest.0..self.next.0 {
            let number = RequestNumber(number);
            let request = self.at_mut(number);
            while request.part_next < request.parts && !request.answered && bytes_left > 0 {
                let name = RequestName { client: config.id, incarnation, number };
                let whole = *request.digest.get_or_insert_with(|| digest(&request.message));
                let (index, total_bytes) = (request.part_next, request.message.len());
                let start = index * config.request_piece_bytes;
                let bytes = &request.message[start..total_bytes.min(start + config.request_piece_bytes)];
                part_message.clear();
                RequestPart { name, digest: whole, total_bytes, index, bytes }.append(&mut part_message);
                send(&part_message);
                bytes_left = bytes_left.saturating_sub(part_message.len());
                request.part_next += 1;
                if request.part_next == request.parts {
                    if request.tries == 1 {
                        request.sent_first_ns = now_ns;
                    }
                    request.resend_at_ns = now_ns + request.patience_ns(&trips);
                }
            }
        }
        self.part_message = part_message;
        if bytes_left < PARTS_BURST_BYTES {
            self.parts_at_ns = now_ns + self.parts_pace_ns;
        }
    }

    /// Sends what is due: the opening, or requests whose replies are overdue. `send` takes messages to all replicas.
    pub fn on_due(&mut self, now: Now, mut send: impl FnMut(&[u8])) {
        self.send_parts(now.monotonic_ns, &mut send);
        for number in self.lowest.0..self.next.0 {
            let (trips, config, heard_ns) = (self.trips, self.config, self.results_heard_ns);
            let request = self.at_mut(RequestNumber(number));
            if request.answered || request.resend_at_ns > now.monotonic_ns {
                continue;
            }
            if request.awaits_results(now.monotonic_ns, heard_ns, &config) {
                request.resend_at_ns = now.monotonic_ns + RESULTS_PATIENCE_NS;
                continue;
            }
            if request.tries == 0 {
                request.sent_first_ns = now.monotonic_ns;
            }
            request.tries += 1;
            let again = request.tries > 1;
            if request.parts == 0 {
                request.resend_at_ns = now.monotonic_ns + trips.timeout_ns(Bounds::REQUESTS, request.tries);
                send(&request.message);
            } else {
                // All parts again, as they come to their turn: which of them are lacking where, the client does not know.
                request.part_next = 0;
                request.resend_at_ns = u64::MAX;
                // They are lost, or late: either way what follows is to come more slowly.
                self.parts_pace_ns = (2 * self.parts_pace_ns).min(PARTS_PACE_MAX_NS);
            }
            self.retransmitted += u64::from(again);
        }
    }

    /// When [`Client::on_due`] is to be called.
    pub fn deadline_ns(&self) -> u64 {
        let waiting = (self.lowest.0..self.next.0).map(|number| self.at(RequestNumber(number)));
        let due = |request: &Outstanding| {
            if request.part_next < request.parts { self.parts_at_ns } else { request.resend_at_ns }
        };
        waiting.filter(|request| !request.answered).map(due).min().unwrap_or(u64::MAX)
    }

    /// Takes a packet of a replica. `complete` is called for each request that is now answered, with its operations and results.
    ///
    /// # Errors
    /// The client's identity is in use elsewhere.
    pub fn on_packet(
        &mut self,
        now: Now,
        packet: &AuthenticatedPacket<'_>,
        mut complete: impl FnMut(Operations<'_>, &[u8]),
    ) -> Result<(), ClientFault> {
        let Principal::Replica(from) = packet.sender() else { return Ok(()) };
        for (message, _) in packet.messages().flatten() {
            match message {
                Message::Reply(reply) => self.on_reply(now, from, &reply, &mut complete),
                Message::ReplyPart(part) => self.on_reply_part(now, from, &part, &mut complete),
                Message::Refusal(refusal) => self.on_refusal(now, from, refusal)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn on_reply(
        &mut self,
        now: Now,
        from: ReplicaId,
        reply: &Reply<'_>,
        complete: &mut impl FnMut(Operations<'_>, &[u8]),
    ) {
        if let Some(view) = self.views.get_mut(usize::from(from.0)) {
            *view = reply.view.max(*view);
        }
        if reply.incarnation != self.incarnation || !self.is_outstanding(reply.number) {
            return;
        }
        let first = self.at_mut(reply.number).votes.get(usize::from(from.0)).is_some_and(Option::is_none);
        let Some(vote) = self.at_mut(reply.number).count(from, reply) else { return };
        if !self.conclude(now, reply.number, &vote, complete) && first {
            // What the others say comes soon, or was lost.
            let spread_ns = self.trips.timeout_ns(Bounds::REQUESTS, 1).min(REPLIES_SPREAD_NS);
            self.at_mut(reply.number).hasten(now.monotonic_ns + spread_ns);
        }
    }

    /// Takes a part of results that fit no packet (`protocol.md LR-5`). Which results count, the replies say.
    fn on_reply_part(
        &mut self,
        now: Now,
        from: ReplicaId,
        part: &ReplyPart<'_>,
        complete: &mut impl FnMut(Operations<'_>, &[u8]),
    ) {
        let ResultOf::Request(incarnation, number) = part.of else { return };
        if incarnation != self.incarnation || !self.is_outstanding(number) {
            return;
        }
        let taken = self.result_parts.take(from, part);
        if !matches!(taken, PartTaken::Nothing) {
            self.results_heard_ns = now.monotonic_ns;
        }
        let PartTaken::Whole(results) = taken else { return };
        let request = self.at_mut(number);
        request.full.keep(from, part.digest, &results);
        let votes = request.votes;
        for vote in votes.iter().flatten().filter(|vote| vote.results == part.digest) {
            if self.conclude(now, number, vote, complete) {
                return;
            }
        }
    }

    /// Completes a request for which enough replicas say what a vote says, if the results themselves are here; tells whether.
    fn conclude(
        &mut self,
        now: Now,
        number: RequestNumber,
        vote: &Vote,
        complete: &mut impl FnMut(Operations<'_>, &[u8]),
    ) -> bool {
        let config = self.config;
        let request = self.at_mut(number);
        if !request.is_decided(vote, &config) {
            return false;
        }
        // Without the results themselves it is sent again when its time is over, and then all replicas give them (`CL-5`).
        let Some(results) = request.full.find(&vote.results) else { return false };
        let long = results.len() > config.reply_piece_bytes;
        if number != RequestNumber::OPEN {
            let operations =
                Operations::from_checked(&request.message[request.operations_at..], request.operation_count);
            complete(operations, results);
        }
        request.answered = true;
        if long {
            request.full = FullResults::default();
        }
        // What takes several packets tells little of what one takes.
        let ordinary = request.tries == 1 && request.parts == 0 && !long;
        let at_first = request.tries == 1;
        let took_ns = now.monotonic_ns.saturating_sub(request.sent_first_ns);
        let (count, large_bytes) = (request.operation_count, if request.parts > 0 { request.message.len() } else { 0 });
        if large_bytes > 0 {
            request.message = Vec::new();
        }
        self.operations_in_flight -= count;
        self.large_bytes_in_flight -= large_bytes;
        self.open |= number == RequestNumber::OPEN;
        self.result_parts.forget(ResultOf::Request(self.incarnation, number));
        if ordinary {
            self.trips.measured(took_ns);
        }
        if large_bytes > 0 {
            // Also of what was sent more than once: where all of them take longer than their time-out, none else would ever be measured.
            self.large_trips.measured(took_ns);
            if at_first {
                self.parts_pace_ns = (self.parts_pace_ns / 2).max(PARTS_PACE_NS);
            }
        }
        while self.lowest < self.next && self.at(self.lowest).answered {
            self.lowest = self.lowest.next();
        }
        true
    }

    fn on_refusal(&mut self, now: Now, from: ReplicaId, refusal: &Refusal) -> Result<(), ClientFault> {
        if refusal.incarnation() != self.incarnation || !self.is_outstanding(refusal.number()) {
            return Ok(());
        }
        match refusal.reason() {
            // It is sent again anyway, ever more slowly (`CL-1`).
            Some(RefusalReason::Overloaded) => self.overloaded += 1,
            Some(RefusalReason::Superseded) => {
                self.superseding[usize::from(from.0)] = Incarnation(refusal.detail());
                let needed = self.config.quorum_weak;
                let request = self.at_mut(refusal.number());
                request.superseded.insert(from);
                if request.superseded.count() < needed {
                    return Ok(());
                }
                if self.open {
                    return Err(ClientFault::Superseded);
                }
                // This host's clock is behind that of an earlier start: one above what a correct replica knows will do.
                let mut known = self.superseding;
                known.sort_unstable();
                let vouched = known[known.len() - needed];
                let Some(next) = vouched.0.checked_add(1) else { return Err(ClientFault::Superseded) };
                self.open_incarnation(Incarnation(next));
            }
            // One replica alone must not make a client work more (`DM-6`).
            Some(RefusalReason::SignatureRequired) => {
                self.demanding.insert(from);
                if !self.signs && self.demanding.count() >= self.config.quorum_weak {
                    self.signs = true;
                    self.sign_outstanding(now.monotonic_ns);
                }
            }
            None => {}
        }
        Ok(())
    }

    /// Signs what is outstanding, under the same numbers, and sends it at once.
    fn sign_outstanding(&mut self, now_ns: u64) {
        for number in self.lowest.0..self.next.0 {
            let name = self.name(RequestNumber(number));
            let at = (number % self.outstanding.len() as u64) as usize;
            let request = &mut self.outstanding[at];
            if request.answered {
                continue;
            }
            let unsigned = std::mem::take(&mut request.message);
            let operations = &unsigned[request.operations_at..];
            append_request(&mut request.message, Some(&self.signer), name, request.operation_count, operations);
            request.operations_at = request.message.len() - operations.len();
            request.unsigned = Some(digest(&unsigned));
            request.digest = None;
            // It is longer by its signature, and may fit one packet no longer.
            let before = if request.parts > 0 { unsigned.len() } else { 0 };
            request.cut(&self.config);
            let large = request.parts > 0;
            self.large_bytes_in_flight += if large { request.message.len() } else { 0 };
            self.large_bytes_in_flight -= before;
            request.resend_at_ns = if large { u64::MAX } else { now_ns };
        }
    }

    fn name(&self, number: RequestNumber) -> RequestName {
        RequestName { client: self.config.id, incarnation: self.incarnation, number }
    }

    fn open_incarnation(&mut self, incarnation: Incarnation) {
        self.incarnation = incarnation;
        (self.lowest, self.next) = (RequestNumber::OPEN, RequestNumber::OPEN);
        self.large_bytes_in_flight = 0;
        self.enter(0, RequestNumber::OPEN, 0, &[]);
        // Due at once.
        let opening = self.at_mut(RequestNumber::OPEN);
        (opening.tries, opening.resend_at_ns) = (0, 0);
    }

    fn enter(&mut self, now_ns: u64, number: RequestNumber, count: usize, operations: &[u8]) {
        let (name, trips, config) = (self.name(number), self.trips, self.config);
        let at = (number.0 % self.outstanding.len() as u64) as usize;
        let request = &mut self.outstanding[at];
        request.number = number;
        request.answered = false;
        request.message.clear();
        request.unsigned = None;
        append_request(&mut request.message, self.signs.then_some(&self.signer), name, count, operations);
        request.operations_at = request.message.len() - operations.len();
        request.operation_count = count;
        request.cut(&config);
        let large = request.parts > 0;
        request.sent_first_ns = now_ns;
        request.tries = 1;
        request.resend_at_ns = if large { u64::MAX } else { now_ns + trips.timeout_ns(Bounds::REQUESTS, 1) };
        request.digest = None;
        request.votes = [None; REPLICAS_MAX];
        request.full.clear();
        request.superseded = ReplicaSet::EMPTY;
        self.next = number.next();
    }

    fn is_outstanding(&self, number: RequestNumber) -> bool {
        number >= self.lowest && number < self.next && !self.at(number).answered
    }

    fn at(&self, number: RequestNumber) -> &Outstanding {
        &self.outstanding[(number.0 % self.outstanding.len() as u64) as usize]
    }

    fn at_mut(&mut self, number: RequestNumber) -> &mut Outstanding {
        &mut self.outstanding[(number.0 % self.outstanding.len() as u64) as usize]
    }
}

fn append_request(
    out: &mut Vec<u8>,
    signer: Option<&RequestSigner>,
    name: RequestName,
    count: usize,
    operations: &[u8],
) {
    match signer {
        Some(signer) => request::append_signed(out, name, count, operations, |parts| signer.sign(parts)),
        None => request::append(out, name, count, operations),
    }
}

#[cfg(test)]
mod tests;
