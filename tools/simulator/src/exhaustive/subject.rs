//! One correct replica of an exploration: the engine's state machine, what stands in for its host, and one step of both.

use crate::exhaustive::Bound;
use crate::exhaustive::post::{CLIENTS, REGISTER};
use crate::exhaustive::quorums::REPLICAS;
use crate::world::seat::CLUSTER;
use logothete_crypto::{Digest, DigestWriter};
use logothete_engine::authentication::Incoming;
use logothete_engine::limits::{LATENCY_MAX_NS, SUSPICION_CONFIRM_NS, TIMEOUT_VIEW_MAX_NS};
use logothete_engine::numbers::{Principal, ReplicaId, SequenceNumber, View};
use logothete_engine::replica::bodies::PartShape;
use logothete_engine::replica::{Action, Event, Now, Output, Quorum, Replica, ReplicaConfig, ScheduledRequest};
use logothete_engine::state::{ENGINE_PAGES, State};
use logothete_engine::wire::{Audience, Message, Messages};

/// Bytes of a datagram: statements of the bound travel whole.
const DATAGRAM_BYTES: usize = 8192;

/// No checkpoint is due within a bound.
const CHECKPOINT_INTERVAL: u64 = 4;

/// More than a request takes. Of bodies there is room for as many as a replica must have: each of its states is kept.
const REQUEST_BYTES: usize = 256;

/// How far a clock leaps when a time-out fires: whatever waits for a time is due then.
const LEAP_NS: u64 = 2 * (if TIMEOUT_VIEW_MAX_NS > LATENCY_MAX_NS { TIMEOUT_VIEW_MAX_NS } else { LATENCY_MAX_NS });

/// Duty cycles after a leap, so far apart: a suspicion is confirmed in them.
const CYCLES: u64 = 6;
const CYCLE_NS: u64 = SUSPICION_CONFIRM_NS / 2;

/// The wall clock, which nobody needs to see moving.
pub const WALL_NS: u64 = 1_700_000_000_000_000_000;

/// The domain of what stands for a service's state.
const CHAIN_DOMAIN: &str = "logothete exhaustive state";

/// What happens to a replica in one step.
pub enum Input<'a> {
    /// A packet arrives.
    Packet(Incoming<'a>),
    /// Its clock leaps: the time-out of what it waits for fires.
    Leap,
    /// Its clock goes on for so long, in a network that is kind.
    Pass(u64),
}

/// A message that a replica sent in a step.
pub struct Sent {
    pub audience: Audience,
    pub body: Vec<u8>,
}

/// Memory for the steps of all subjects, and the state that they all begin with.
pub struct Bench {
    output: Output,
    doing: Output,
    initial: State,
}

impl Bench {
    /// For subjects that begin as this one does.
    pub fn new(subject: &Subject) -> Self {
        let mut initial = State::new(ENGINE_PAGES + 1);
        subject.replica.write_engine_pages(&mut initial);
        Self { output: Output::new(), doing: Output::new(), initial }
    }
}

/// A replica and its host.
#[derive(Clone, Debug)]
pub struct Subject {
    replica: Replica,
    /// The service's state after each number: what was executed up to there, in one digest.
    chain: Vec<Digest>,
    clock_ns: u64,
    /// The last view that it had a reason of its own to leave: a time-out of its own, or a new view that it found wrong.
    blamed: Option<View>,
}

impl Subject {
    /// In the initial state.
    pub fn new(id: ReplicaId, epoch: u64, bound: &Bound) -> Self {
        let config = ReplicaConfig {
            cluster_id: CLUSTER,
            id,
            quorum: Quorum::of(REPLICAS).expect("four is 3f+1"),
            clients: CLIENTS,
            checkpoint_interval: CHECKPOINT_INTERVAL,
            pipeline_depth: bound.numbers,
            batch_requests_max: 1,
            request_bytes_max: REQUEST_BYTES,
            request_packet_bytes_max: REQUEST_BYTES,
            parts: PartShape::of(DATAGRAM_BYTES, REPLICAS),
            reply_bytes_max: 1024,
            reply_packet_bytes_max: 1024,
            reply_piece_bytes: 1024,
            client_window: 1,
            clock_bound_ns: 1_000_000_000,
            bodies_bytes_max: 64 * REQUEST_BYTES,
            keeps_journal: false,
            makes_journal: false,
            forgot: false,
            tentative: bound.tentative,
            timeout_view_max_ns: TIMEOUT_VIEW_MAX_NS,
            epoch,
            statement_piece_bytes: DATAGRAM_BYTES,
        };
        let replica = Replica::new(config, REGISTER.signatures(id).remembering());
        Self { replica, chain: vec![Digest::ZERO], clock_ns: LEAP_NS, blamed: None }
    }

    /// One step; what it sends is appended to `sent`.
    pub fn step(&mut self, input: Input<'_>, bench: &mut Bench, sent: &mut Vec<Sent>) {
        let view = self.replica.view();
        let leaps = matches!(input, Input::Leap);
        match input {
            Input::Packet(Incoming::Packet(packet)) => {
                self.replica.on_packet(self.now(), &packet, &mut bench.output);
                self.end_duty(bench, sent);
            }
            Input::Packet(Incoming::Relayed(_)) => unreachable!("nothing is relayed in an exploration"),
            Input::Pass(ns) => {
                self.clock_ns += ns;
                self.end_duty(bench, sent);
            }
            Input::Leap => {
                self.clock_ns += LEAP_NS;
                for _ in 0..CYCLES {
                    self.end_duty(bench, sent);
                    self.clock_ns += CYCLE_NS;
                }
            }
        }
        if leaps && self.replica.view() > view {
            self.blame(view);
        }
    }

    /// A client's request arrives, and others with it: the duty cycle does not end yet.
    pub fn take_request(&mut self, incoming: Incoming<'_>, bench: &mut Bench) {
        let Incoming::Packet(packet) = incoming else { unreachable!("it comes from its client") };
        self.replica.on_packet(self.now(), &packet, &mut bench.output);
    }

    fn now(&self) -> Now {
        Now { monotonic_ns: self.clock_ns, wall_ns: WALL_NS }
    }

    fn blame(&mut self, view: View) {
        self.blamed = self.blamed.max(Some(view));
    }

    fn end_duty(&mut self, bench: &mut Bench, sent: &mut Vec<Sent>) {
        loop {
            self.replica.on_duty_end(self.now(), &mut bench.output);
            if bench.output.actions().is_empty() {
                return;
            }
            self.do_actions(bench, sent);
        }
    }

    /// Does what the replica asked for, in order; what follows from that waits in the bench's output.
    fn do_actions(&mut self, bench: &mut Bench, sent: &mut Vec<Sent>) {
        std::mem::swap(&mut bench.output, &mut bench.doing);
        for action in bench.doing.actions() {
            match action {
                Action::Send { audience, bytes, .. } => {
                    let body = bench.doing.message(bytes.clone()).to_vec();
                    self.notice_suspicion(&body);
                    sent.push(Sent { audience: *audience, body });
                }
                Action::Execute { sequence, timestamp_ns, requests } => {
                    let requests = bench.doing.requests(requests.clone());
                    let result = self.execute(*sequence, *timestamp_ns, requests);
                    for request in requests {
                        self.replica.on_executed(*sequence, request, &result.0, &mut bench.output);
                    }
                }
                Action::Restore { checkpoint } => {
                    assert_eq!(checkpoint.0, 0, "no checkpoint is due within a bound");
                    self.chain.truncate(1);
                    let restored = self.replica.on_restored(self.now(), &bench.initial, &mut bench.output);
                    restored.expect("the pages are this replica's own");
                }
                Action::Event(Event::NewViewWrong { view, .. }) => self.blame(*view),
                // Everybody has every request from its client.
                Action::Relay { .. } | Action::Event(_) => {}
                Action::Persist { .. }
                | Action::Checkpoint { .. }
                | Action::FetchState { .. }
                | Action::Query { .. } => {
                    unreachable!("a bound has no journal, no checkpoint and no query: {action:?}")
                }
            }
        }
        bench.doing.clear();
    }

    /// Executes a batch: the state after it is the digest of all before it, and of it. That is also the result of each of its requests.
    fn execute(&mut self, sequence: SequenceNumber, timestamp_ns: u64, requests: &[ScheduledRequest]) -> Digest {
        assert_eq!(self.chain.len() as u64, sequence.0, "batches are executed in order, each once");
        let mut writer = DigestWriter::new(CHAIN_DOMAIN);
        writer.update(&self.chain.last().expect("the initial state is there").0).update(&sequence.0.to_le_bytes());
        writer.update(&timestamp_ns.to_le_bytes());
        requests.iter().for_each(|request| {
            writer.update(&request.digest.0);
        });
        let result = writer.finish();
        self.chain.push(result);
        result
    }

    fn notice_suspicion(&mut self, body: &[u8]) {
        let own = Principal::Replica(ReplicaId(0));
        for (message, _) in Messages::new(body, own).flatten() {
            if let Message::Status(status) = message
                && status.standing().suspects
            {
                self.blame(status.standing().view);
            }
        }
    }

    /// The digest of everything that decides what it will do.
    pub fn fingerprint(&self) -> Digest {
        let mut writer = DigestWriter::new(CHAIN_DOMAIN);
        writer.update(&self.replica.fingerprint().0);
        self.chain.iter().for_each(|state| {
            writer.update(&state.0);
        });
        writer.update(&self.blamed.map_or(u64::MAX, |view| view.0).to_le_bytes());
        writer.finish()
    }

    /// How it stands.
    pub fn standing(&self, numbers: u64) -> Standing {
        let committed = (1..=numbers).map(|sequence| self.replica.committed_batch(SequenceNumber(sequence))).collect();
        Standing {
            view: self.replica.view(),
            active: self.replica.is_active(),
            executed: self.replica.executed(),
            committed,
            chain: self.chain.clone(),
            blamed: self.blamed,
        }
    }

    /// Puts its clock forward to that of another.
    pub fn set_clock(&mut self, clock_ns: u64) {
        self.clock_ns = self.clock_ns.max(clock_ns);
    }

    /// In how long it has something to do.
    pub fn due_in_ns(&self) -> u64 {
        self.replica.deadline_ns().saturating_sub(self.clock_ns)
    }

    pub fn clock_ns(&self) -> u64 {
        self.clock_ns
    }
}

/// What the goals see of a subject, and by what its steps are told to be more than a vote noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub view: View,
    pub active: bool,
    pub executed: SequenceNumber,
    /// By number, from 1.
    pub committed: Vec<Option<Digest>>,
    pub chain: Vec<Digest>,
    pub blamed: Option<View>,
}

impl Standing {
    /// Up to which number what it executed has committed.
    pub fn final_prefix(&self) -> usize {
        let committed = self.committed.iter().take_while(|batch| batch.is_some()).count();
        committed.min(self.executed.0 as usize)
    }
}
