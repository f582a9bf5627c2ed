//! The agents that order and execute: the replica's state machine, and the service behind it. They share a thread in every
//! arrangement so far, because an executed batch is what lets the next one be proposed.

use super::checkpoints::{Checkpoints, PAGES_HASHED_MAX};
use super::counters::OrdererCounters;
use super::keeper::{MemoryConfig, MemoryError};
use super::memory::Memory;
use super::outbox::Outbox;
use super::reader::Reader;
use super::state_transfer::StateTransfer;
use super::{Core, ReplicaFacts};
use crate::authentication::{AuthenticatedPacket, Incoming, Signatures};
use crate::journal::birth::DataDirectory;
use crate::journal::{Record, Trouble};
use crate::numbers::{ClientId, Principal, ReplicaId, ReplicaSet, SequenceNumber};
use crate::replica::{Action, Event, Now, Output, Replica, ReplicaConfig, ScheduledRequest};
use crate::service::{OrderedRequest, RESULT_HEADER_BYTES, Results, Service};
use crate::state::transfer::CheckpointName;
use crate::state::{Snapshot, State};
use crate::wire::packet::body_bytes_max;
use crate::wire::report::ReportReply;
use crate::wire::request::operations_stored;
use crate::wire::{Audience, Kind};
use logothete_crypto::Digest;

/// Events kept for whoever asks; older ones are dropped.
const EVENTS_MAX: usize = 256;

/// How a memory is made that begins with a checkpoint.
type MakeMemory = dyn FnOnce(SequenceNumber, Snapshot) -> Result<Memory, MemoryError> + Send;

/// A report that waits for the digest of the state that it is of.
struct Pending {
    asked: Vec<(ClientId, u64)>,
    report: ReportReply,
    state: Snapshot,
}

/// A replica with its service.
pub struct Orderer {
    replica: Replica,
    executor: Executor,
    checkpoints: Checkpoints,
    transfer: StateTransfer,
    reader: Reader,
    /// Up to this position nothing of the log will be undone.
    log_settled: u64,
    reporting: Option<Pending>,
    output: Output,
    doing: Output,
    events: Vec<Event>,
    counters: OrdererCounters,
    /// Journal and checkpoints, where promises are kept.
    memory: Option<Memory>,
    /// How to make them once the replica has recovered.
    plan: Option<Box<MakeMemory>>,
    /// Held locked where there is nothing to remember.
    _directory: Option<DataDirectory>,
}

impl Orderer {
    /// In the initial state. `reply_bytes_max`: the room for the results of one request; `datagram_bytes_max`: the longest datagram.
    pub fn new(
        config: ReplicaConfig,
        signatures: Signatures,
        service: Box<dyn Service>,
        reply_bytes_max: usize,
        datagram_bytes_max: usize,
        counters: OrdererCounters,
    ) -> Self {
        let replica = Replica::new(config, signatures);
        let mut executor = Executor::new(service, reply_bytes_max);
        let initial = executor.checkpoint(|state| replica.write_engine_pages(state));
        Self {
            checkpoints: Checkpoints::new(replica.executed(), initial),
            transfer: StateTransfer::new(body_bytes_max(datagram_bytes_max, Audience::Replicas(ReplicaSet::first(1)))),
            replica,
            executor,
            reader: Reader::new(),
            log_settled: 0,
            reporting: None,
            output: Output::new(),
            doing: Output::new(),
            events: Vec::with_capacity(EVENTS_MAX),
            counters,
            memory: None,
            plan: None,
            _directory: None,
        }
    }

    /// With a memory that is empty yet.
    pub fn with_memory(self, memory: Memory) -> Self {
        Self { memory: Some(memory), ..self }
    }

    /// With a data directory that stays locked, and nothing in it to remember.
    pub fn with_directory(self, directory: DataDirectory) -> Self {
        Self { _directory: Some(directory), ..self }
    }

    /// Makes memory present that execution takes under load.
    pub fn make_ready(&self) {
        self.executor.service.state().make_ready();
    }

    /// How many pages the state has room for.
    pub fn state_pages(&self) -> u64 {
        self.executor.service.state().pages()
    }

    /// With a way to make a memory, from the checkpoint that it begins with, once the replica has recovered.
    pub fn with_plan(
        self,
        plan: impl FnOnce(SequenceNumber, Snapshot) -> Result<Memory, MemoryError> + Send + 'static,
    ) -> Self {
        Self { plan: Some(Box::new(plan)), ..self }
    }

    /// Put where it was when its former process ended, with what that left in its data directory.
    ///
    /// # Errors
    /// The memory is damaged, incomplete, or another's.
    pub fn resumed(
        self,
        now: Now,
        directory: DataDirectory,
        config: &MemoryConfig,
        outbox: &mut Outbox,
    ) -> Result<Self, MemoryError> {
        let begin = |checkpoint| {
            let mut own = self;
            let outcome = match checkpoint {
                Some((sequence, digest, state)) => own.recall_checkpoint(sequence, digest, &state),
                None => Ok(()),
            };
            (own, outcome)
        };
        let mut visit = |(own, outcome): &mut (Self, Result<(), MemoryError>), record: Record<'_>| {
            if outcome.is_ok() {
                own.recall(now, &record, outbox);
            }
        };
        let (memory, (mut own, outcome)) = Memory::open(directory, config, begin, &mut visit)?;
        outcome?;
        own.memory = Some(memory);
        own.replica.on_recalled(now, &mut own.output);
        Ok(own)
    }

    /// Goes back to a durable checkpoint of a former life.
    ///
    /// # Errors
    /// The pages are not this version's.
    fn recall_checkpoint(
        &mut self,
        sequence: SequenceNumber,
        digest: Digest,
        state: &State,
    ) -> Result<(), MemoryError> {
        let snapshot = state.snapshot();
        self.executor.service.state_mut().restore(&snapshot);
        self.executor.service.restored()?;
        self.checkpoints.replace(sequence, digest, snapshot);
        self.replica.recall_checkpoint(digest, self.executor.service.state(), &mut self.output)?;
        self.output.clear();
        Ok(())
    }

    /// Takes a record of a former life. Nobody is told anything.
    fn recall(&mut self, now: Now, record: &Record<'_>, outbox: &mut Outbox) {
        self.replica.recall(now, record, &mut self.output);
        loop {
            self.output.forget_messages();
            if self.output.actions().is_empty() {
                break;
            }
            self.do_actions(now, outbox);
        }
        if let Record::Stable { sequence, digest } = *record {
            self.checkpoints.note_agreed(sequence, digest);
        }
        self.checkpoints.release(self.replica.stable(), now.monotonic_ns);
    }

    /// The replica.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Takes what a replica says of states.
    fn on_states(&mut self, now: Now, from: ReplicaId, packet: &AuthenticatedPacket<'_>) {
        if !packet.holds(|kind| matches!(kind, Kind::StateQuery | Kind::StateNodes | Kind::StatePages)) {
            return;
        }
        for (message, _) in packet.messages().flatten() {
            let (transfer, checkpoints) = (&mut self.transfer, &mut self.checkpoints);
            if transfer.on_message(now.monotonic_ns, from, &message, checkpoints, &mut self.output) {
                self.replica.on_state_refused(from);
            }
        }
    }

    /// Installs a state that was fetched, if it is still of use.
    fn drive_transfer(&mut self, now: Now) {
        self.transfer.give_up_below(self.replica.executed());
        let Some((target, snapshot)) = self.transfer.on_duty_end(now.monotonic_ns, &mut self.output) else { return };
        if !self.replica.wants_state(target.sequence) {
            return;
        }
        self.executor.restore(&snapshot);
        self.checkpoints.replace(target.sequence, target.digest, snapshot);
        let (name, state) = ((target.sequence, target.digest), self.executor.service.state());
        self.replica
            .on_state_fetched(now, name, state, &mut self.output)
            .expect("f+1 replicas vouch for the state: it is of another version, or more than f are faulty");
        if let Some(memory) = &mut self.memory {
            // The records have a gap now, which only a checkpoint closes.
            memory.hurry_checkpoint();
        }
    }

    /// Counts what became durable, and writes a checkpoint where one is due.
    fn drive_memory(&mut self, now: Now, outbox: &mut Outbox) {
        if self.replica.awaits_memory() {
            self.make_memory(now);
        }
        let Some(memory) = &mut self.memory else { return };
        if memory.wants_checkpoint(self.replica.stable())
            && let Some((sequence, snapshot)) = self.checkpoints.stable()
        {
            let record = self.replica.records_needed_from(sequence);
            self.replica.persist_standing(&mut self.output);
            memory.plan_checkpoint(sequence, snapshot, record, self.replica.records());
        }
        if let Some(record) = memory.poll(now.monotonic_ns, outbox) {
            self.replica.on_persisted(now, record, &mut self.output);
        }
        if let Some(trouble) = memory.trouble_that_is_news() {
            self.events.push(Event::MemoryTrouble(trouble));
        }
    }

    /// Makes a journal, now that the replica has recovered: its first record comes after a checkpoint that is durable.
    fn make_memory(&mut self, now: Now) {
        self.checkpoints.release(self.replica.stable(), now.monotonic_ns);
        let Some((sequence, snapshot)) = self.checkpoints.stable() else { return };
        assert_eq!(sequence, self.replica.stable(), "the journal begins where the window does");
        // What failed once is not tried again: the replica stays silent.
        let Some(plan) = self.plan.take() else { return };
        match plan(sequence, snapshot) {
            Ok(memory) => {
                self.memory = Some(memory);
                self.replica.begin_voting(now, &mut self.output);
            }
            Err(_) => self.events.push(Event::MemoryTrouble(Trouble::Unmade)),
        }
    }

    /// Answers the operator. The state is hashed a few pages a duty cycle, as a checkpoint is: who asks often keeps nobody waiting.
    fn report(&mut self, now: Now, facts: &ReplicaFacts, outbox: &mut Outbox) {
        if self.reporting.is_none() && self.reader.has_questions() {
            let replica = &self.replica;
            let state = self.executor.checkpoint(|state| replica.write_engine_pages(state));
            let mut report = ReportReply::empty(0);
            super::reader::fill_report(&mut report, replica, now, facts);
            let (oldest, end) = self.executor.log_bounds();
            (report.log_oldest, report.log_end) = (oldest.into(), end.into());
            self.reporting = Some(Pending { asked: self.reader.take_questions(), report, state });
        }
        if let Some(pending) = &mut self.reporting
            && let Some(digest) = pending.state.digest_step(PAGES_HASHED_MAX)
        {
            pending.report.state_digest = digest;
            self.reader.answer_reports(&pending.asked, pending.report, outbox);
            self.reporting = None;
        }
    }

    /// Does what the replica asked for; what follows from that waits in `output`.
    fn do_actions(&mut self, now: Now, outbox: &mut Outbox) {
        std::mem::swap(&mut self.output, &mut self.doing);
        for action in self.doing.actions() {
            match action {
                Action::Send { audience, bytes, promise } => {
                    let message = self.doing.message(bytes.clone());
                    match &mut self.memory {
                        Some(memory) if *promise => memory.hold(*audience, message, outbox),
                        _ => outbox.add(*audience, message),
                    }
                }
                Action::Persist { bytes } => {
                    let memory = self.memory.as_mut().expect("records are made where there is a journal");
                    memory.persist(self.doing.message(bytes.clone()));
                }
                Action::Relay { to, bytes } => outbox.relay(*to, self.doing.message(bytes.clone())),
                Action::Execute { sequence, timestamp_ns, requests } => {
                    if self.replica.undoable() == Some(*sequence) {
                        self.log_settled = self.executor.log_bounds().1;
                    }
                    for request in self.doing.requests(requests.clone()) {
                        let message = request.body.map(|body| self.replica.request_message(body));
                        let results = self.executor.execute(*sequence, *timestamp_ns, request, message);
                        self.replica.on_executed(*sequence, request, results, &mut self.output);
                    }
                }
                // One that was undone meanwhile is not taken.
                Action::Checkpoint { sequence } if !self.replica.is_taking(*sequence) => {}
                Action::Checkpoint { sequence } => {
                    let snapshot = self.executor.checkpoint(|state| self.replica.write_engine_pages(state));
                    self.checkpoints.take(*sequence, snapshot);
                    self.replica.on_checkpoint_taken(now, &mut self.output);
                }
                Action::Restore { checkpoint } => {
                    self.executor.restore(self.checkpoints.go_back(*checkpoint));
                    let state = self.executor.service.state();
                    self.replica.on_restored(now, state, &mut self.output).expect("the pages are this replica's own");
                }
                Action::FetchState { sequence, digest, sources } => {
                    let target = CheckpointName { sequence: *sequence, digest: *digest };
                    self.transfer.fetch(target, *sources, || self.checkpoints.base());
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
                match packet.sender() {
                    Principal::Client(_) => self.reader.on_packet(packet),
                    Principal::Replica(from) => self.on_states(now, from, packet),
                }
            }
            Incoming::Relayed(packet) => self.replica.on_relayed_packet(now, packet),
        }
    }

    fn on_duty_end(&mut self, now: Now, facts: &ReplicaFacts, outbox: &mut Outbox) {
        if let Some((sequence, digest)) = self.checkpoints.hash() {
            self.replica.on_state_digest(sequence, digest, &mut self.output);
        }
        loop {
            self.replica.on_duty_end(now, &mut self.output);
            if self.output.actions().is_empty() {
                // Nothing waits to be done, so the state is where the core takes it to be.
                self.drive_memory(now, outbox);
                self.drive_transfer(now);
                if self.output.actions().is_empty() {
                    break;
                }
            }
            self.do_actions(now, outbox);
        }
        self.checkpoints.release(self.replica.stable(), now.monotonic_ns);
        self.report(now, facts, outbox);
        self.reader.answer_rejects(outbox, Some(self.replica.rejects_by_sender()), facts);
        if let Some(log) = self.executor.service().ordered_log() {
            if self.replica.undoable().is_none() {
                self.log_settled = log.end();
            }
            self.reader.serve(log, self.log_settled, outbox);
        }
        self.counters.publish(now, &self.replica);
    }

    fn deadline_ns(&self) -> u64 {
        if self.checkpoints.has_work() || self.reporting.is_some() {
            return 0;
        }
        let memory_ns = self.memory.as_ref().map_or(u64::MAX, Memory::deadline_ns);
        self.replica.deadline_ns().min(self.transfer.deadline_ns()).min(memory_ns)
    }

    fn on_stop(&mut self) {
        if let Some(memory) = self.memory.take() {
            // What could not be written was not promised either.
            let _ = memory.close();
        }
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
    pub fn service(&self) -> &dyn Service {
        &*self.service
    }

    /// The positions of the ordered log that the service holds, from and to before; both 0 where it is no log.
    pub fn log_bounds(&self) -> (u64, u64) {
        self.service.ordered_log().map_or((0, 0), |log| (log.oldest(), log.end()))
    }

    /// The whole state as it is now, once `write` has brought the engine's own pages up to it (`protocol.md SP-2`).
    pub fn checkpoint(&mut self, write: impl FnOnce(&mut State)) -> Snapshot {
        let state = self.service.state_mut();
        write(state);
        state.snapshot()
    }

    /// Goes back to a state that was the service's own.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        self.service.state_mut().restore(snapshot);
        self.service.restored().expect("the pages are the service's own");
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
        let operations = operations_stored(message);
        let mut results = Results::new(&mut self.results, operations.count());
        let ordered = OrderedRequest {
            sequence: sequence.0,
            timestamp_ns,
            client: request.name.client.0,
            digest: request.digest,
            message,
            operations,
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
