//! The baseline: the same service, packets and transport behind one server, with no protocol. What a replicated cluster is
//! measured against (PBFT-99 section 7).

use super::orderer::Executor;
use super::outbox::Outbox;
use super::reader::Reader;
use super::{Core, ReplicaFacts};
use crate::authentication::{AuthenticatedPacket, Incoming};
use crate::cluster::Cluster;
use crate::limits::{BODIES_BYTES_MAX, QUERIES_MAX};
use crate::numbers::{ClientId, Principal, RequestNumber, SequenceNumber, View};
use crate::replica::assemblies::{Assemblies, Way};
use crate::replica::bodies::Bodies;
use crate::replica::clients::{Admission, Clients};
use crate::replica::engine_pages::EngineHeader;
use crate::replica::long_results::LongResults;
use crate::replica::{Event, Now, ScheduledRequest};
use crate::service::Service;
use crate::wire::parts::{RequestPart, reply_piece_bytes};
use crate::wire::query::{Query, QueryAnswer, QueryOutcome};
use crate::wire::reply::{Answer, Mode, abridged};
use crate::wire::report::ReportReply;
use crate::wire::request::RequestName;
use crate::wire::{Audience, Message};
use std::ops::Range;

/// One server.
pub struct Unreplicated {
    clients: Clients,
    bodies: Bodies,
    assemblies: Assemblies,
    /// The longest request that travels in one packet, and the longest.
    request_bytes_max: (usize, usize),
    reply_packet_bytes_max: usize,
    long_results: LongResults,
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
    pub fn new(cluster: &Cluster, service: Box<dyn Service>) -> Self {
        let (clients, window) = (cluster.clients.len(), cluster.client_window as u64);
        let (replies, reply_packet) = (cluster.reply_bytes_max(), cluster.reply_packet_bytes_max());
        let packet = cluster.request_packet_bytes_max();
        Self {
            clients: Clients::new(clients, window, BODIES_BYTES_MAX / clients, replies, reply_packet.min(replies)),
            bodies: Bodies::new(BODIES_BYTES_MAX, packet, cluster.part_shape()),
            assemblies: Assemblies::new(),
            request_bytes_max: (packet, cluster.request_bytes_max()),
            reply_packet_bytes_max: reply_packet,
            long_results: LongResults::new(clients, reply_piece_bytes(cluster.datagram_bytes_max)),
            executor: Executor::new(service, replies),
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
            let audience = Audience::Client(name.client);
            let in_parts = held.results.len() > self.reply_packet_bytes_max;
            self.message.clear();
            abridged(held.results, !in_parts, |answer| {
                held.reply(name, View(0), Mode::Committed, answer).append(&mut self.message);
                outbox.add(audience, &self.message);
                if in_parts {
                    self.long_results.add_reply(name, answer.digest());
                }
            });
        }
    }

    /// Keeps a part of a longer request, until all of them are here.
    fn on_part(&mut self, now: Now, from: ClientId, part: &RequestPart<'_>, packet: &AuthenticatedPacket<'_>) {
        let parts = self.request_bytes_max.0 + 1..=self.request_bytes_max.1;
        if part.name.client != from || !parts.contains(&part.total_bytes) {
            return;
        }
        match self.clients.admission(part.name, &self.bodies) {
            Admission::New => {
                let (clients, bodies) = (&mut self.clients, &mut self.bodies);
                let taken =
                    self.assemblies.take(now.monotonic_ns, part, packet.datagram(), Way::Direct, clients, bodies);
                let Ok(Some(body)) = taken else { return };
                let message = Message::decode(bodies.message(body), Principal::Client(from));
                if matches!(message, Ok(Message::Request(request)) if request.name == part.name) {
                    clients.hold(part.name, body, bodies);
                } else {
                    bodies.release(body);
                }
            }
            Admission::Executed if part.index == 0 => self.resend.push(part.name),
            _ => {}
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
            let audience = Audience::Client(client);
            self.message.clear();
            let Some(result) = self.executor.query(&self.query_bytes[operation]) else {
                QueryAnswer { nonce, outcome: QueryOutcome::Refused }.append(&mut self.message);
                outbox.add(audience, &self.message);
                continue;
            };
            if result.len() > self.reply_packet_bytes_max {
                self.long_results.add_answer(client, nonce, result);
            } else {
                let outcome = QueryOutcome::Answered(Answer::Full(result));
                QueryAnswer { nonce, outcome }.append(&mut self.message);
                outbox.add(audience, &self.message);
            }
        }
        self.query_bytes.clear();
    }
}

impl Core for Unreplicated {
    fn on_incoming(&mut self, now: Now, incoming: &Incoming<'_>) {
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
        let Some(Ok((message, bytes))) = packet.messages().next() else { return };
        let request = match message {
            Message::Request(request) => request,
            Message::RequestPart(part) => return self.on_part(now, from, &part, packet),
            _ => return,
        };
        if bytes.len() > self.request_bytes_max.0 {
            return;
        }
        let datagram_bytes = packet.datagram().len();
        if request.name.client != from {
            return;
        }
        match self.clients.admission(request.name, &self.bodies) {
            Admission::New => {
                let (range, digest) = (packet.body_range(), packet.body_digest());
                let (clients, bodies) = (&mut self.clients, &mut self.bodies);
                if !self.assemblies.make_room(request.name, datagram_bytes, clients, bodies) {
                    return;
                }
                if let Some(body) = self.bodies.store(packet.datagram(), range, request.name, digest, true, 0) {
                    self.clients.hold(request.name, body, &mut self.bodies);
                }
            }
            Admission::Executed => self.resend.push(request.name),
            Admission::Waits(_) | Admission::Superseded(_) | Admission::BeyondWindow => {}
        }
    }

    fn on_duty_end(&mut self, now: Now, facts: &ReplicaFacts, outbox: &mut Outbox) {
        self.assemblies.sweep(now.monotonic_ns, &mut self.clients, &mut self.bodies);
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
        let message = &mut self.message;
        self.long_results.send(now.monotonic_ns, &self.clients, |client, part| {
            message.clear();
            part.append(message);
            outbox.add(Audience::Client(client), message);
        });
        if self.reader.has_questions() {
            let (oldest, end) = self.executor.log_bounds();
            let (clients, executed) = (&self.clients, self.executed);
            let header = EngineHeader { sequence: executed, timestamp_ns: self.timestamp_ns };
            let digest = self.executor.checkpoint(|state| clients.write_to(state, header)).digest();
            let report = ReportReply {
                executed: executed.0.into(),
                state_digest: digest,
                datagrams_sent: facts.datagrams_sent.into(),
                datagrams_received: facts.datagrams_received.into(),
                rejects: facts.refused.total().into(),
                peers_reachable: 1.into(),
                log_oldest: oldest.into(),
                log_end: end.into(),
                ..ReportReply::empty(0)
            };
            let asked = self.reader.take_questions();
            self.reader.answer_reports(&asked, report, outbox);
        }
        self.reader.answer_rejects(outbox, None, facts);
        if let Some(log) = self.executor.service().ordered_log() {
            self.reader.serve(log, log.end(), outbox);
        }
    }

    fn deadline_ns(&self) -> u64 {
        self.long_results.deadline_ns()
    }

    /// Nothing ever happens to it.
    fn take_events(&mut self, _take: &mut dyn FnMut(Event)) {}
}
