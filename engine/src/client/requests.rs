//! Requests under way: numbered, sent to all replicas, sent again until `f+1` of them say the same (`protocol.md CL-1` to `CL-6`).

use super::round_trip::RoundTrip;
use crate::authentication::AuthenticatedPacket;
use crate::numbers::{ClientId, Incarnation, Principal, ReplicaId, ReplicaSet, RequestNumber, SequenceNumber};
use crate::replica::Now;
use crate::wire::Message;
use crate::wire::operation::Operations;
use crate::wire::reply::{Refusal, RefusalReason, Reply};
use crate::wire::request::{self, RequestName};

/// What is fixed at the start of a client.
#[derive(Clone, Copy, Debug)]
pub struct ClientConfig {
    /// Which client it is.
    pub id: ClientId,
    /// How many replicas there are.
    pub replicas: usize,
    /// How many replicas must give the same committed reply: `f+1`, so that one of them is correct.
    pub replies_needed: usize,
    /// How many requests may be outstanding, `W`.
    pub window: u64,
    /// The first incarnation to try; greater than any before, if clocks are right.
    pub incarnation: Incarnation,
}

/// Why a client cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientFault {
    /// Another process uses the same identity, and opened a later incarnation.
    #[error("another process uses this client's key: stop it, or give this one a client of its own")]
    Superseded,
}

/// A reply that some replicas gave; correct ones all give the same.
#[derive(Debug, Default)]
struct Variant {
    sequence: SequenceNumber,
    results: Vec<u8>,
    from: ReplicaSet,
}

#[derive(Debug, Default)]
struct Outstanding {
    number: RequestNumber,
    answered: bool,
    message: Vec<u8>,
    operations_at: usize,
    operation_count: usize,
    sent_first_ns: u64,
    resend_at_ns: u64,
    tries: u32,
    variants: Vec<Variant>,
    variants_used: usize,
    voted: ReplicaSet,
    superseded: ReplicaSet,
}

/// The requests of one incarnation of a client.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    incarnation: Incarnation,
    open: bool,
    /// Outstanding requests by number; number 0 opens the incarnation.
    outstanding: Box<[Outstanding]>,
    lowest: RequestNumber,
    next: RequestNumber,
    operations_in_flight: usize,
    trips: RoundTrip,
    superseding: [Incarnation; crate::limits::REPLICAS_MAX],
    overloaded: u64,
    retransmitted: u64,
}

impl Client {
    /// A client that has not opened its incarnation yet: [`Client::on_due`] begins with that.
    pub fn new(config: ClientConfig) -> Self {
        assert!(config.replies_needed >= 1 && config.replies_needed <= config.replicas && config.window >= 1);
        let mut client = Self {
            config,
            incarnation: config.incarnation,
            open: false,
            outstanding: (0..=config.window).map(|_| Outstanding::default()).collect(),
            lowest: RequestNumber::OPEN,
            next: RequestNumber::OPEN,
            operations_in_flight: 0,
            trips: RoundTrip::default(),
            superseding: [Incarnation(0); crate::limits::REPLICAS_MAX],
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

    /// Refusals for want of room.
    pub fn overloaded(&self) -> u64 {
        self.overloaded
    }

    /// Makes a request of operations, and returns the message to send to all replicas.
    ///
    /// # Panics
    /// If [`Client::may_submit`] does not hold.
    pub fn submit(&mut self, now: Now, operations: Operations<'_>) -> &[u8] {
        assert!(self.may_submit(), "a request is submitted only when the window has room");
        self.operations_in_flight += operations.count();
        let number = self.next;
        self.enter(now.monotonic_ns, number, operations.count(), operations.bytes())
    }

    /// Sends what is due: the opening, or requests whose replies are overdue. `send` takes messages to all replicas.
    pub fn on_due(&mut self, now: Now, mut send: impl FnMut(&[u8])) {
        for number in self.lowest.0..self.next.0 {
            let trips = self.trips;
            let request = self.at_mut(RequestNumber(number));
            if request.answered || request.resend_at_ns > now.monotonic_ns {
                continue;
            }
            if request.tries == 0 {
                request.sent_first_ns = now.monotonic_ns;
            }
            request.tries += 1;
            let again = request.tries > 1;
            request.resend_at_ns = now.monotonic_ns + trips.timeout_ns(request.tries);
            send(&request.message);
            self.retransmitted += u64::from(again);
        }
    }

    /// When [`Client::on_due`] is to be called.
    pub fn deadline_ns(&self) -> u64 {
        let waiting = (self.lowest.0..self.next.0).map(|number| self.at(RequestNumber(number)));
        waiting.filter(|request| !request.answered).map(|request| request.resend_at_ns).min().unwrap_or(u64::MAX)
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
                Message::Refusal(refusal) => self.on_refusal(from, refusal)?,
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
        if reply.incarnation != self.incarnation || !self.is_outstanding(reply.number) {
            return;
        }
        let needed = self.config.replies_needed;
        let request = self.at_mut(reply.number);
        // A replica has one vote, its first (`CL-6`).
        if !request.voted.insert(from) {
            return;
        }
        let same = |variant: &Variant| variant.sequence == reply.sequence && variant.results == reply.results;
        let index = match request.variants[..request.variants_used].iter().position(same) {
            Some(index) => index,
            None => {
                if request.variants_used == request.variants.len() {
                    request.variants.push(Variant::default());
                }
                let variant = &mut request.variants[request.variants_used];
                variant.sequence = reply.sequence;
                variant.results.clear();
                variant.results.extend_from_slice(reply.results);
                variant.from = ReplicaSet::EMPTY;
                request.variants_used += 1;
                request.variants_used - 1
            }
        };
        request.variants[index].from.insert(from);
        if request.variants[index].from.count() < needed {
            return;
        }
        request.answered = true;
        let (once, took_ns) = (request.tries == 1, now.monotonic_ns.saturating_sub(request.sent_first_ns));
        let (count, operations_at) = (request.operation_count, request.operations_at);
        if reply.number == RequestNumber::OPEN {
            self.open = true;
        } else {
            let operations = Operations::parse(&request.message[operations_at..], count)
                .expect("a client's own message holds what it was made of");
            complete(operations, reply.results);
            self.operations_in_flight -= count;
        }
        if once {
            self.trips.measured(took_ns);
        }
        while self.lowest < self.next && self.at(self.lowest).answered {
            self.lowest = self.lowest.next();
        }
    }

    fn on_refusal(&mut self, from: ReplicaId, refusal: &Refusal) -> Result<(), ClientFault> {
        if refusal.incarnation() != self.incarnation || !self.is_outstanding(refusal.number()) {
            return Ok(());
        }
        match refusal.reason() {
            // It is sent again anyway, ever more slowly (`CL-1`).
            Some(RefusalReason::Overloaded) => self.overloaded += 1,
            Some(RefusalReason::Superseded) => {
                self.superseding[usize::from(from.0)] = Incarnation(refusal.detail());
                let needed = self.config.replies_needed;
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
            None => {}
        }
        Ok(())
    }

    fn open_incarnation(&mut self, incarnation: Incarnation) {
        self.incarnation = incarnation;
        (self.lowest, self.next) = (RequestNumber::OPEN, RequestNumber::OPEN);
        self.enter(0, RequestNumber::OPEN, 0, &[]);
        // Due at once.
        let opening = self.at_mut(RequestNumber::OPEN);
        (opening.tries, opening.resend_at_ns) = (0, 0);
    }

    fn enter(&mut self, now_ns: u64, number: RequestNumber, count: usize, operations: &[u8]) -> &[u8] {
        let name = RequestName { client: self.config.id, incarnation: self.incarnation, number };
        let trips = self.trips;
        let request = self.at_mut(number);
        request.number = number;
        request.answered = false;
        request.message.clear();
        request::append(&mut request.message, name, count, operations);
        request.operations_at = request.message.len() - operations.len();
        request.operation_count = count;
        request.sent_first_ns = now_ns;
        request.tries = 1;
        request.resend_at_ns = now_ns + trips.timeout_ns(1);
        request.variants_used = 0;
        request.voted = ReplicaSet::EMPTY;
        request.superseded = ReplicaSet::EMPTY;
        self.next = number.next();
        &self.at(number).message
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::RETRANSMIT_INITIAL_NS;
    use crate::numbers::View;
    use crate::wire::operation::OperationsWriter;

    const INCARNATION: Incarnation = Incarnation(70);
    const WINDOW: u64 = 3;

    fn at(milliseconds: u64) -> Now {
        Now { monotonic_ns: milliseconds * 1_000_000, wall_ns: 0 }
    }

    /// A client of four replicas that believes two.
    fn client() -> Client {
        Client::new(ClientConfig {
            id: ClientId(5),
            replicas: 4,
            replies_needed: 2,
            window: WINDOW,
            incarnation: INCARNATION,
        })
    }

    fn reply(number: u64, sequence: u64, results: &[u8]) -> Reply<'_> {
        let (sequence, number) = (SequenceNumber(sequence), RequestNumber(number));
        Reply { view: View(0), sequence, incarnation: INCARNATION, number, results }
    }

    /// What a client completes when a replica answers: operations and results.
    fn hear(client: &mut Client, from: u8, reply: &Reply<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut completed = Vec::new();
        client.on_reply(at(1), ReplicaId(from), reply, &mut |operations: Operations<'_>, results: &[u8]| {
            completed.push((operations.bytes().to_vec(), results.to_vec()));
        });
        completed
    }

    fn opened() -> Client {
        let mut client = client();
        client.on_due(at(0), |_| {});
        for from in [0, 1] {
            hear(&mut client, from, &reply(0, 1, b""));
        }
        assert!(client.may_submit());
        client
    }

    fn submit(client: &mut Client, now: Now, bytes: &[u8]) -> Vec<u8> {
        let mut writer = OperationsWriter::new(1000);
        assert!(writer.try_push(1, 1, bytes));
        client.submit(now, writer.operations()).to_vec()
    }

    fn due(client: &mut Client, now: Now) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        client.on_due(now, |message| sent.push(message.to_vec()));
        sent
    }

    /// `protocol.md CL-6`
    #[test]
    fn a_result_counts_when_enough_replicas_gave_it_and_once() {
        let mut client = opened();
        submit(&mut client, at(0), b"operation");
        assert!(hear(&mut client, 2, &reply(1, 2, b"result")).is_empty());
        let completed = hear(&mut client, 0, &reply(1, 2, b"result"));
        assert_eq!(completed.len(), 1);
        assert!(completed[0].0.ends_with(b"operation"));
        assert_eq!(completed[0].1, b"result");
        assert!(hear(&mut client, 1, &reply(1, 2, b"result")).is_empty());
        assert_eq!((client.requests_in_flight(), client.operations_in_flight()), (0, 0));
    }

    #[test]
    fn replies_match_in_results_and_in_place() {
        let mut client = opened();
        submit(&mut client, at(0), b"operation");
        assert!(hear(&mut client, 0, &reply(1, 2, b"one")).is_empty());
        assert!(hear(&mut client, 1, &reply(1, 2, b"other")).is_empty());
        assert!(hear(&mut client, 2, &reply(1, 3, b"one")).is_empty());
        assert_eq!(hear(&mut client, 3, &reply(1, 2, b"other")).len(), 1);
    }

    #[test]
    fn the_view_of_a_reply_need_not_match() {
        let mut client = opened();
        submit(&mut client, at(0), b"operation");
        assert!(hear(&mut client, 0, &reply(1, 2, b"result")).is_empty());
        assert_eq!(hear(&mut client, 1, &Reply { view: View(4), ..reply(1, 2, b"result") }).len(), 1);
    }

    #[test]
    fn a_replica_has_one_vote() {
        let mut client = opened();
        submit(&mut client, at(0), b"operation");
        for _ in 0..3 {
            assert!(hear(&mut client, 3, &reply(1, 2, b"result")).is_empty());
        }
        // Nor can it take its vote back, to give another the quorum.
        assert!(hear(&mut client, 1, &reply(1, 2, b"other")).is_empty());
        assert!(hear(&mut client, 3, &reply(1, 2, b"other")).is_empty());
        assert_eq!(hear(&mut client, 0, &reply(1, 2, b"result")).len(), 1);
    }

    #[test]
    fn replies_of_another_incarnation_or_to_nothing_outstanding_do_not_count() {
        let mut client = opened();
        submit(&mut client, at(0), b"operation");
        for from in 0..4 {
            let other = Reply { incarnation: Incarnation(69), ..reply(1, 2, b"result") };
            assert!(hear(&mut client, from, &other).is_empty());
            assert!(hear(&mut client, from, &reply(2, 2, b"result")).is_empty());
            assert!(hear(&mut client, from, &reply(0, 1, b"")).is_empty());
        }
        assert_eq!(client.requests_in_flight(), 1);
    }

    /// `protocol.md CL-1`: no further than a window above the lowest request without an answer.
    #[test]
    fn the_window_moves_with_the_lowest_request() {
        let mut client = opened();
        for _ in 0..WINDOW {
            submit(&mut client, at(0), b"operation");
        }
        assert!(!client.may_submit());
        for number in [2, 3] {
            hear(&mut client, 0, &reply(number, 2, b"result"));
            assert_eq!(hear(&mut client, 1, &reply(number, 2, b"result")).len(), 1);
        }
        assert!(!client.may_submit(), "the first has no answer yet");
        assert_eq!(client.requests_in_flight(), 1);
        hear(&mut client, 0, &reply(1, 2, b"result"));
        hear(&mut client, 1, &reply(1, 2, b"result"));
        assert!(client.may_submit());
        assert_eq!(client.deadline_ns(), u64::MAX);
    }

    #[test]
    fn a_request_is_sent_again_ever_more_slowly_and_unchanged() {
        let mut client = client();
        let opening = due(&mut client, at(0));
        assert_eq!((opening.len(), client.retransmitted()), (1, 0), "the first time is no repetition");
        assert_eq!(client.deadline_ns(), RETRANSMIT_INITIAL_NS);
        assert!(due(&mut client, at(49)).is_empty());
        assert_eq!(due(&mut client, at(50)), opening);
        assert!(due(&mut client, at(149)).is_empty());
        assert_eq!(due(&mut client, at(150)), opening);
        assert_eq!(client.retransmitted(), 2);
        for from in [0, 1] {
            hear(&mut client, from, &reply(0, 1, b""));
        }
        // What was sent more than once measures no round trip: nobody knows which sending was answered.
        let request = submit(&mut client, at(200), b"operation");
        assert!(due(&mut client, at(249)).is_empty());
        assert_eq!(due(&mut client, at(250)), [request]);
    }

    fn refuse(client: &mut Client, from: u8, number: u64, known: u64) -> Result<(), ClientFault> {
        let number = RequestNumber(number);
        client.on_refusal(ReplicaId(from), &Refusal::new(client.incarnation, number, RefusalReason::Superseded, known))
    }

    /// `protocol.md CL-2`
    #[test]
    fn an_incarnation_that_is_too_low_is_opened_above_what_enough_replicas_know() {
        let mut client = client();
        client.on_due(at(0), |_| {});
        refuse(&mut client, 3, 0, u64::MAX - 1).unwrap();
        refuse(&mut client, 3, 0, u64::MAX - 1).unwrap();
        assert_eq!(client.incarnation, INCARNATION, "one replica moves nothing");
        refuse(&mut client, 0, 0, 90).unwrap();
        assert_eq!(client.incarnation, Incarnation(91));
        assert_eq!(due(&mut client, at(1)).len(), 1, "the new opening is due at once");
    }

    #[test]
    fn a_client_that_is_superseded_after_it_opened_stops() {
        let mut client = opened();
        submit(&mut client, at(0), b"operation");
        assert_eq!(refuse(&mut client, 3, 1, 90), Ok(()));
        assert_eq!(refuse(&mut client, 3, 1, 90), Ok(()));
        assert_eq!(refuse(&mut client, 2, 1, 90), Err(ClientFault::Superseded));
    }

    #[test]
    fn overload_is_counted_and_frees_no_number() {
        let mut client = opened();
        submit(&mut client, at(0), b"operation");
        let overloaded = Refusal::new(INCARNATION, RequestNumber(1), RefusalReason::Overloaded, 0);
        for from in 0..4 {
            client.on_refusal(ReplicaId(from), &overloaded).unwrap();
        }
        assert_eq!((client.overloaded(), client.requests_in_flight()), (4, 1));
    }
}
