//! The baseline: the same service, packets and transport behind one server, with no protocol. What a replicated cluster is
//! measured against (PBFT-99 section 7).

use super::orderer::Executor;
use super::outbox::Outbox;
use super::reader::Reader;
use super::{Core, ReplicaFacts};
use crate::authentication::Incoming;
use crate::limits::{BODIES_BYTES_MAX, QUERIES_MAX};
use crate::numbers::{ClientId, Principal, RequestNumber, SequenceNumber, View};
use crate::replica::bodies::Bodies;
use crate::replica::clients::{Admission, Clients};
use crate::replica::engine_pages::EngineHeader;
use crate::replica::{Event, Now, ScheduledRequest};
use crate::service::Service;
use crate::wire::query::{Query, QueryAnswer, QueryOutcome};
use crate::wire::reply::{Answer, Mode};
use crate::wire::request::RequestName;
use crate::wire::{Audience, Message};
use std::ops::Range;

/// One server.
pub struct Unreplicated {
    clients: Clients,
    bodies: Bodies,
    request_bytes_max: usize,
    executor: Executor,
    reader: Reader,
    executed: SequenceNumber,
    timestamp_ns: u64,
    resend: Vec<RequestName>,
    /// Queries of this duty cycle: whose, which, and where its operation is.
    queries: Vec<(ClientId, u64, Range<usize>)>,
    query_bytes: Vec<u8>,
    message: Vec<u8>,
}

impl Unreplicated {
    /// In the initial state.
    pub fn new(
        clients: usize,
        client_window: u64,
        request_bytes_max: usize,
        service: Box<dyn Service>,
        reply_bytes_max: usize,
    ) -> Self {
        Self {
            clients: Clients::new(clients, client_window, BODIES_BYTES_MAX / clients, reply_bytes_max),
            bodies: Bodies::new(BODIES_BYTES_MAX, request_bytes_max),
            request_bytes_max,
            executor: Executor::new(service, reply_bytes_max),
            reader: Reader::new(),
            executed: SequenceNumber(0),
            timestamp_ns: 0,
            resend: Vec::new(),
            queries: Vec::new(),
            query_bytes: Vec::new(),
            message: Vec::new(),
        }
    }

    fn reply(&mut self, name: RequestName, outbox: &mut Outbox) {
        if let Some(held) = self.clients.reply(name) {
            self.message.clear();
            held.reply(name, View(0), Mode::Committed, Answer::Full(held.results)).append(&mut self.message);
            outbox.add(Audience::Client(name.client), &self.message);
        }
    }

    /// Keeps a query until what came before it is executed.
    fn keep_query(&mut self, from: ClientId, query: &Query<'_>) {
        if self.queries.len() < QUERIES_MAX {
            let start = self.query_bytes.len();
            self.query_bytes.extend_from_slice(query.operation);
            self.queries.push((from, query.nonce, start..self.query_bytes.len()));
        }
    }

    fn answer_queries(&mut self, outbox: &mut Outbox) {
        for (client, nonce, operation) in self.queries.drain(..) {
            let result = self.executor.query(&self.query_bytes[operation]);
            let outcome = result.map_or(QueryOutcome::Refused, |result| QueryOutcome::Answered(Answer::Full(result)));
            self.message.clear();
            QueryAnswer { nonce, outcome }.append(&mut self.message);
            outbox.add(Audience::Client(client), &self.message);
        }
        self.query_bytes.clear();
    }
}

impl Core for Unreplicated {
    fn on_incoming(&mut self, _now: Now, incoming: &Incoming<'_>) {
        // There is nobody else who could pass something on.
        let Incoming::Packet(packet) = incoming else { return };
        let Principal::Client(from) = packet.sender() else { return };
        self.reader.on_packet(packet);
        if !self.clients.knows(from) {
            return;
        }
        for (message, _) in packet.messages().flatten() {
            if let Message::Query(query) = message {
                self.keep_query(from, &query);
            }
        }
        let Some(Ok((Message::Request(request), bytes))) = packet.messages().next() else { return };
        if bytes.len() > self.request_bytes_max {
            return;
        }
        let datagram_bytes = packet.datagram().len();
        if request.name.client != from || !self.clients.has_room(from, datagram_bytes) {
            return;
        }
        match self.clients.admission(request.name, &self.bodies) {
            Admission::New => {
                let (range, digest) = (packet.body_range(), packet.body_digest());
                if let Some(body) = self.bodies.store(packet.datagram(), range, request.name, digest, true, 0) {
                    self.clients.hold(request.name, body, &mut self.bodies);
                }
            }
            Admission::Executed => self.resend.push(request.name),
            Admission::Waits(_) | Admission::Superseded(_) | Admission::BeyondWindow => {}
        }
    }

    fn on_duty_end(&mut self, now: Now, facts: &ReplicaFacts, outbox: &mut Outbox) {
        while let Some(body) = self.clients.next_to_propose(&self.bodies, |_| true) {
            let (name, digest) = (self.bodies.name(body), self.bodies.digest(body));
            self.bodies.retain(body);
            assert!(self.clients.schedule(name, &mut self.bodies, 0), "what is next in order is executed");
            self.executed = self.executed.next();
            self.timestamp_ns = now.wall_ns.max(self.timestamp_ns + 1);
            let request = ScheduledRequest { name, digest, body: Some(body) };
            let message = (name.number != RequestNumber::OPEN).then(|| self.bodies.message(body));
            let results = self.executor.execute(self.executed, self.timestamp_ns, &request, message);
            self.clients.keep_reply(name, digest, self.executed, results);
            self.bodies.release(body);
            self.reply(name, outbox);
        }
        while let Some(name) = self.resend.pop() {
            self.reply(name, outbox);
        }
        self.answer_queries(outbox);
        if self.reader.has_questions() {
            let (oldest, end) = self.executor.log_bounds();
            let (clients, executed) = (&self.clients, self.executed);
            let header = EngineHeader { sequence: executed, timestamp_ns: self.timestamp_ns };
            let digest = self.executor.checkpoint(|state| clients.write_to(state, header)).digest();
            self.reader.answer_reports(outbox, |report| {
                report.executed = executed.0.into();
                report.state_digest = digest;
                report.datagrams_sent = facts.datagrams_sent.into();
                report.datagrams_received = facts.datagrams_received.into();
                report.rejects = facts.refused.total().into();
                report.peers_reachable = 1.into();
                (report.log_oldest, report.log_end) = (oldest.into(), end.into());
            });
        }
        self.reader.answer_rejects(outbox, None, facts);
        if let Some(log) = self.executor.service().ordered_log() {
            self.reader.serve(log, outbox);
        }
    }

    fn deadline_ns(&self) -> u64 {
        u64::MAX
    }

    /// Nothing ever happens to it.
    fn take_events(&mut self, _take: &mut dyn FnMut(Event)) {}
}
