//! The agents that order and execute: the replica's state machine, and the service behind it. They share a thread in every
//! arrangement so far, because an executed batch is what lets the next one be proposed.

use super::counters::OrdererCounters;
use super::outbox::Outbox;
use super::reader::Reader;
use super::{Core, ReplicaFacts};
use crate::authentication::Incoming;
use crate::numbers::{Principal, SequenceNumber};
use crate::replica::{Action, Event, Now, Output, Replica, ReplicaConfig, ScheduledRequest};
use crate::service::{OrderedRequest, RESULT_HEADER_BYTES, Results, Service};
use crate::wire::Message;

/// Events kept for whoever asks; older ones are dropped.
const EVENTS_MAX: usize = 256;

/// A replica with its service.
pub struct Orderer {
    replica: Replica,
    executor: Executor,
    reader: Reader,
    output: Output,
    doing: Output,
    events: Vec<Event>,
    counters: OrdererCounters,
}

impl Orderer {
    /// In the initial state. `reply_bytes_max`: the room for the results of one request.
    pub fn new(
        config: ReplicaConfig,
        service: Box<dyn Service>,
        reply_bytes_max: usize,
        counters: OrdererCounters,
    ) -> Self {
        Self {
            replica: Replica::new(config),
            executor: Executor::new(service, reply_bytes_max),
            reader: Reader::new(),
            output: Output::new(),
            doing: Output::new(),
            events: Vec::with_capacity(EVENTS_MAX),
            counters,
        }
    }

    /// The replica.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Does what the replica asked for; what follows from that waits in `output`.
    fn do_actions(&mut self, outbox: &mut Outbox) {
        std::mem::swap(&mut self.output, &mut self.doing);
        for action in self.doing.actions() {
            match action {
                Action::Send { audience, bytes } => outbox.add(*audience, self.doing.message(bytes.clone())),
                Action::Relay { to, body } => outbox.relay(*to, self.replica.request_packet(*body)),
                Action::Execute { sequence, timestamp_ns, requests } => {
                    for request in self.doing.requests(requests.clone()) {
                        let message = request.body.map(|body| self.replica.request_message(body));
                        let results = self.executor.execute(*sequence, *timestamp_ns, request, message);
                        self.replica.on_executed(*sequence, request, results, &mut self.output);
                    }
                }
                Action::Checkpoint { .. } => {
                    self.replica.on_state_digest(self.executor.service.digest(), &mut self.output);
                }
                Action::Query { client, nonce, operation } => {
                    let result = self.executor.query(self.doing.message(operation.clone()));
                    self.replica.on_query_answered(*client, *nonce, result, &mut self.output);
                }
                Action::Event(event) => {
                    if self.events.len() < EVENTS_MAX {
                        self.events.push(*event);
                    }
                }
            }
        }
        self.doing.clear();
    }
}

impl Core for Orderer {
    fn on_incoming(&mut self, now: Now, incoming: &Incoming<'_>) {
        match incoming {
            Incoming::Packet(packet) => {
                self.replica.on_packet(now, packet, &mut self.output);
                if let Principal::Client(_) = packet.sender() {
                    self.reader.on_packet(packet);
                }
            }
            Incoming::Relayed(packet) => self.replica.on_relayed_packet(packet),
        }
    }

    fn on_duty_end(&mut self, now: Now, facts: &ReplicaFacts, outbox: &mut Outbox) {
        loop {
            self.replica.on_duty_end(now, &mut self.output);
            if self.output.actions().is_empty() {
                break;
            }
            self.do_actions(outbox);
        }
        if self.reader.has_questions() {
            let (replica, service) = (&self.replica, &mut self.executor.service);
            let (oldest, end) = service.ordered_log().map_or((0, 0), |log| (log.oldest(), log.end()));
            let digest = replica.state_digest(service.digest());
            self.reader.answer_reports(outbox, |report| {
                super::reader::fill_report(report, replica, now, facts, digest);
                (report.log_oldest, report.log_end) = (oldest.into(), end.into());
            });
        }
        if let Some(log) = self.executor.service.ordered_log() {
            self.reader.serve(log, outbox);
        }
        self.counters.publish(now, &self.replica);
    }

    fn deadline_ns(&self) -> u64 {
        self.replica.deadline_ns()
    }

    fn take_events(&mut self, take: &mut dyn FnMut(Event)) {
        self.events.drain(..).for_each(take);
    }
}

/// Runs the service on one request after the other.
pub struct Executor {
    service: Box<dyn Service>,
    results: Box<[u8]>,
}

impl Executor {
    /// With room for the results of one request.
    pub fn new(service: Box<dyn Service>, reply_bytes_max: usize) -> Self {
        Self { service, results: vec![0; reply_bytes_max].into() }
    }

    /// The service.
    pub fn service(&mut self) -> &mut dyn Service {
        &mut *self.service
    }

    /// Executes a request; `message` is `None` for one that opens an incarnation, which has no results.
    pub fn execute(
        &mut self,
        sequence: SequenceNumber,
        timestamp_ns: u64,
        request: &ScheduledRequest,
        message: Option<&[u8]>,
    ) -> &[u8] {
        let Some(message) = message else { return &[] };
        let Ok(Message::Request(decoded)) = Message::decode(message, Principal::Client(request.name.client)) else {
            panic!("a request is kept only after it was decoded")
        };
        let mut results = Results::new(&mut self.results, decoded.operations.count());
        let ordered = OrderedRequest {
            sequence: sequence.0,
            timestamp_ns,
            client: request.name.client.0,
            digest: request.digest,
            message,
            operations: decoded.operations,
        };
        self.service.execute(&ordered, &mut results);
        results.finish()
    }

    /// Has a query answered from the state as it is; `None` when the service refuses. A result has as much room as it would have alone in
    /// the reply to a request, so that a query gives the same whether or not it is ordered.
    pub fn query(&mut self, operation: &[u8]) -> Option<&[u8]> {
        let mut results = Results::new(&mut self.results, 1);
        self.service.query(operation, &mut results).ok()?;
        Some(&results.finish()[RESULT_HEADER_BYTES..])
    }
}
