//! The protocol as a pure state machine: what one replica does about what it is told.
//!
//! *For*: deciding, from authenticated packets and the time, what is sent, executed and kept. *Enters*: packets that the verifier
//! authenticated, results of executions, digests of the state, and `now`. *Never*: a socket, a clock, a thread, a lock, randomness, or
//! an allocation in the steady state. The same type runs in production and under the scenario files.
//!
//! Read in this order: [`quorum`], [`log`], [`clients`], `normal_case`, `proposal`, `checkpoint`, `retransmission`, `reads`, `view_change`, `disputes`.
//!
//! A broken invariant of this replica stops the process; what a peer or a client sends is at worst a [`Reject`].

mod allowances;
pub mod assemblies;
mod blame;
pub mod bodies;
mod checkpoint;
pub mod clients;
mod config;
mod demotion;
mod departure;
mod disk_pace;
mod disputes;
pub mod engine_pages;
pub mod evidence;
mod fingerprint;
mod forwarding;
mod goodput;
mod holdings;
mod largest;
pub mod log;
pub mod long_results;
mod normal_case;
pub mod output;
mod peers;
mod progress;
mod promises;
mod proposal;
pub mod quorum;
mod reads;
mod recall;
mod recovery;
pub mod reject;
mod requests;
mod retransmission;
mod signed_requests;
mod view_change;

pub use blame::RejectTable;
pub use config::ReplicaConfig;
pub use departure::{Departure, Suspicion, Wait};
pub use disputes::DisputeCounts;
pub use evidence::Evidence;
pub use holdings::Holdings;
pub use output::{Action, Event, Output, ScheduledRequest};
pub use progress::Progress;
pub use quorum::Quorum;
pub use reject::{Reject, RejectCounters};
pub use view_change::{Selection, decide};

use crate::authentication::{AuthenticatedPacket, RelayedPacket, Signatures};
use crate::limits;
use crate::numbers::{Principal, ReplicaId, ReplicaSet, SequenceNumber, View};
use crate::planted::{self, Bug};
use crate::wire::agreement::BatchEntry;
use crate::wire::{Audience, Message};
use assemblies::Assemblies;
use bodies::{Bodies, BodyRef};
use checkpoint::{Checkpoints, Fetching};
use clients::Clients;
use disputes::Disputes;
use evidence::EvidenceBook;
use forwarding::Forwarding;
use goodput::Goodput;
use log::Log;
use logothete_crypto::Digest;
use long_results::LongResults;
use peers::Peers;
use promises::Promises;
use reads::Reads;
use recall::Recalled;
use recovery::{Forgotten, Recovery};
use retransmission::Pulse;
use signed_requests::CheckBudget;
use std::sync::Arc;
use view_change::{Synchroniser, ViewChanges};

/// The time, as the host gives it: the core has no clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds since some moment; never goes back. All time-outs are by it.
    pub monotonic_ns: u64,
    /// Nanoseconds since 1970; may jump. Batches are stamped with it.
    pub wall_ns: u64,
}

/// One replica. A copy goes on from where it stands: in production there is none, the exhaustive mode of the simulator follows many.
#[derive(Clone, Debug)]
pub struct Replica {
    config: ReplicaConfig,
    /// Shared by its copies: a secret is not copied.
    signatures: Arc<Signatures>,
    view: View,
    /// The view is entered: this replica takes part in it.
    active: bool,
    /// It suspects the view's primary.
    suspects: bool,
    /// When it was entered.
    entered_ns: u64,
    view_changes: ViewChanges,
    promises: Promises,
    recalled: Recalled,
    /// The journal is being read.
    recalling: bool,
    /// What prepared in a former life goes up to here: it has to commit before queries are answered.
    unread_last: SequenceNumber,
    /// It came back without memory, and is not through with that.
    recovery: Option<Recovery>,
    forgotten: Forgotten,
    synchroniser: Synchroniser,
    forwarding: Forwarding,
    goodput: Goodput,
    /// Since when the oldest request waited at the end of the last duty cycle, and when that is to be looked at again.
    waits_since_ns: Option<u64>,
    waits_due_ns: u64,
    log: Log,
    bodies: Bodies,
    assemblies: Assemblies,
    long_results: LongResults,
    clients: Clients,
    peers: Peers,
    checkpoints: Checkpoints,
    reads: Reads,
    rejects: RejectTable,
    evidence: EvidenceBook,
    disputes: Disputes,
    check_budget: CheckBudget,
    pulse: Pulse,
    /// The highest number below which every proposal is accepted.
    accepted: SequenceNumber,
    /// The last number handed to execution.
    executed: SequenceNumber,
    /// The last number executed, and its batch, while that is prepared only.
    tentative: Option<(SequenceNumber, Digest)>,
    tentative_since_ns: u64,
    /// The batch that is being undone: the host goes back to a checkpoint, and nothing is executed until it has.
    undoing: Option<(SequenceNumber, Digest)>,
    /// The state that is being fetched.
    fetching: Option<Fetching>,
    /// The time given to the service with `executed`.
    executed_timestamp_ns: u64,
    /// The highest number that any authentic message of the window named.
    highest_seen: SequenceNumber,
    /// As primary: the last number proposed, and its timestamp.
    proposed: SequenceNumber,
    proposed_timestamp_ns: u64,
    /// As primary: when the next null batch is due, how many it ordered in a row, and when it last looked.
    null_due_ns: u64,
    nulls_in_a_row: u64,
    /// Since when some peer recovers.
    recovery_seen_ns: Option<u64>,
    looked_ns: u64,
    /// The last number that the present view took over.
    carried_last: SequenceNumber,
    /// As primary: the batch that is being put together.
    entries: Vec<BatchEntry>,
    proposing: Vec<Option<BodyRef>>,
    /// Batches that are wanted and whose content or bodies are not all here.
    incomplete: Vec<(SequenceNumber, Digest)>,
    /// When the oldest held proposal is looked at again.
    held_until_ns: Option<u64>,
    /// What this replica lacks is no longer in the others' logs.
    fell_behind: bool,
    /// `2f+1` replicas have another state than this one had after the same number.
    diverged: bool,
}

impl Replica {
    /// A replica in the initial state: in view 0, nothing ordered. It signs with `signatures`.
    ///
    /// # Panics
    /// If the configuration contradicts itself; it was checked when it was read.
    pub fn new(config: ReplicaConfig, signatures: Signatures) -> Self {
        let window = config.window();
        assert!(usize::from(config.id.0) < config.quorum.replicas());
        assert!(config.checkpoint_interval >= 1 && window <= limits::WINDOW_MAX);
        assert!((1..=window).contains(&config.pipeline_depth));
        assert!((1..=limits::BATCH_REQUESTS_MAX).contains(&config.batch_requests_max));
        assert!((1..=limits::CLIENTS_MAX).contains(&config.clients) && config.client_window >= 1);
        assert!(
            config.request_packet_bytes_max <= config.batch_bytes_max(),
            "a batch can name one request of any packet"
        );
        assert!(config.request_packet_bytes_max <= config.request_bytes_max);
        if config.request_packet_bytes_max < config.request_bytes_max {
            let body = config.parts.body_bytes(config.request_bytes_max);
            let log = config.bodies_bytes_max - config.waiting_bytes_max();
            assert!(2 * window as usize * body <= log, "each number of the log can name a request of any size");
            assert!(
                2 * body <= config.waiting_bytes_max() / config.clients,
                "each client can have one waiting and one arriving"
            );
        }
        Self {
            config,
            signatures: Arc::new(signatures),
            view: View(0),
            active: true,
            suspects: false,
            entered_ns: 0,
            view_changes: ViewChanges::new(config.quorum.replicas(), config.statement_piece_bytes),
            promises: Promises::new(config.keeps_journal),
            recalled: Recalled::default(),
            recalling: false,
            unread_last: SequenceNumber(0),
            recovery: (config.forgot && !planted::is(Bug::VotesWithoutMemory)).then(Recovery::new),
            forgotten: Forgotten::default(),
            synchroniser: Synchroniser::new(config.timeout_view_max_ns),
            goodput: Goodput::new(),
            forwarding: Forwarding::new(config.clients, config.quorum.replicas()),
            waits_since_ns: None,
            waits_due_ns: u64::MAX,
            log: Log::new(window),
            bodies: Bodies::new(config.bodies_bytes_max, config.packet_bytes_max(), config.parts),
            assemblies: Assemblies::new(),
            long_results: LongResults::new(config.clients, config.reply_piece_bytes),
            clients: Clients::new(
                config.clients,
                config.client_window,
                config.waiting_bytes_max() / config.clients,
                config.reply_bytes_max,
                config.reply_packet_bytes_max.min(config.reply_bytes_max),
            ),
            peers: Peers::new(config.quorum.replicas()),
            checkpoints: Checkpoints::new(config.checkpoint_interval),
            reads: Reads::new(config.clients),
            rejects: RejectTable::new(config.quorum.replicas(), config.clients),
            evidence: EvidenceBook::new(config.quorum.replicas()),
            disputes: Disputes::new(config.clients),
            check_budget: CheckBudget::new(config.clients),
            pulse: Pulse::default(),
            accepted: SequenceNumber(0),
            executed: SequenceNumber(0),
            tentative: None,
            tentative_since_ns: 0,
            undoing: None,
            fetching: None,
            executed_timestamp_ns: 0,
            highest_seen: SequenceNumber(0),
            proposed: SequenceNumber(0),
            proposed_timestamp_ns: 0,
            null_due_ns: 0,
            nulls_in_a_row: 0,
            recovery_seen_ns: None,
            looked_ns: 0,
            carried_last: SequenceNumber(0),
            entries: Vec::new(),
            proposing: Vec::new(),
            incomplete: Vec::with_capacity(window as usize),
            held_until_ns: None,
            fell_behind: false,
            diverged: false,
        }
    }

    /// Takes an authenticated packet: every message in it, in order.
    pub fn on_packet(&mut self, now: Now, packet: &AuthenticatedPacket<'_>, output: &mut Output) {
        if let Principal::Replica(from) = packet.sender() {
            self.peers.heard(from, now.monotonic_ns);
            self.peers.heard_in_epoch(from, packet.epoch());
            if from == self.primary() {
                self.synchroniser.on_primary_heard(now.monotonic_ns, self.waits_since_ns);
            }
        }
        for message in packet.messages() {
            let outcome = match message {
                Ok((message, bytes)) => self.on_message(now, packet, message, bytes, output),
                Err(_) => Err(Reject::Malformed),
            };
            if let Err(reason) = outcome {
                self.rejects.count(Some(packet.sender()), reason);
            }
        }
    }

    /// Takes a client's packet that a replica passed on.
    pub fn on_relayed_packet(&mut self, now: Now, packet: &RelayedPacket<'_>) {
        if let Err(reason) = self.on_relayed(now, packet) {
            // Nobody vouches for who passed it on, and its client did not send it here.
            self.rejects.count(None, reason);
        }
    }

    fn on_message(
        &mut self,
        now: Now,
        packet: &AuthenticatedPacket<'_>,
        message: Message<'_>,
        bytes: &[u8],
        output: &mut Output,
    ) -> Result<(), Reject> {
        match (packet.sender(), message) {
            (Principal::Client(from), Message::Request(request)) => {
                self.on_request(now, from, &request, packet, bytes, output)
            }
            (Principal::Client(from), Message::RequestPart(part)) => {
                self.on_request_part(now, from, &part, packet, bytes, output)
            }
            (Principal::Client(from), Message::Query(query)) => self.on_query(from, &query, output),
            (Principal::Replica(from), Message::PrePrepare(proposal)) => {
                self.on_pre_prepare(now, from, &proposal, output)
            }
            (Principal::Replica(from), Message::Prepare(vote)) => self.on_prepare(now, from, vote, output),
            (Principal::Replica(from), Message::Commit(vote)) => self.on_commit(now, from, vote, output),
            (Principal::Replica(from), Message::CommitClaim(claim)) => self.on_commit_claim(now, from, claim, output),
            (Principal::Replica(from), Message::Checkpoint(vote)) => self.on_checkpoint(now, from, vote, output),
            (Principal::Replica(from), Message::Status(status)) => self.on_status(now, from, status, output),
            (Principal::Replica(from), Message::Fetch(fetch)) => self.on_fetch(now, from, fetch, output),
            (Principal::Replica(from), Message::FetchParts(fetch)) => self.on_fetch_parts(now, from, fetch, output),
            (Principal::Replica(from), Message::FetchBatch(fetch)) => self.on_fetch_batch(now, from, fetch, output),
            (Principal::Replica(_), Message::Batch(batch)) => self.on_batch(now, &batch),
            (Principal::Replica(from), Message::RecoveryQuery(query)) => {
                self.on_recovery_query(now, from, query, output)
            }
            (Principal::Replica(from), Message::RecoveryAnswer(answer)) => self.on_recovery_answer(from, answer),
            (Principal::Replica(from), Message::Dispute(dispute)) => self.on_dispute(now, from, dispute),
            (Principal::Replica(from), Message::Examine(examine)) => self.on_examine(now, from, examine, output),
            (Principal::Replica(from), Message::Testimony(testimony)) => self.on_testimony(from, testimony),
            (Principal::Replica(from), Message::Part(part)) => self.on_part(now, from, &part, output),
            (Principal::Replica(from), Message::Forward(forward)) => self.on_forward(from, forward),
            // The link's own messages come here where they are misplaced: behind others, or of who is not the operator.
            (Principal::Client(_), Message::RotateKeys(_)) => Err(Reject::NotOperator),
            (_, Message::Probe(_) | Message::ProbeHeard(_)) => Err(Reject::NotAlone),
            // Everything else is for readers of the state or for clients, not for the agreement.
            _ => Ok(()),
        }
    }

    /// Ends a duty cycle: proposes what has come together, asks for what is missing, and does what is due. To be called after the
    /// packets of a cycle, and when [`Replica::deadline_ns`] has come.
    pub fn on_duty_end(&mut self, now: Now, output: &mut Output) {
        self.looked_ns = now.monotonic_ns;
        let others_stand = self.peers.disks_standing(now.monotonic_ns) >= self.config.quorum.weak();
        if self.promises.look_at_disk(now.monotonic_ns, others_stand) {
            // The others are told at once.
            self.pulse.hasten();
        }
        self.recover(now, output);
        self.watch_forgotten(now, output);
        self.watch_view(now, output);
        self.enter_view(now, output);
        self.accept_in_order(now, output);
        self.execute_committed(now, output);
        self.pursue_disputes(now, output);
        self.propose(now, output);
        self.release_queries(output);
        self.sweep_parts(now);
        self.send_long_results(now, output);
        self.fetch_missing(now, output);
        self.send_status(now, output);
        // What follows until the next cycle only makes it look too early.
        let oldest = self.oldest_waiting();
        self.waits_since_ns = self.waiting_since_ns(now.monotonic_ns, oldest);
        self.waits_due_ns = self.synchroniser.deadline_ns(self.waits_since_ns).min(self.forward_due_ns(oldest));
    }

    /// When [`Replica::on_duty_end`] is to be called at the latest, by the monotonic clock.
    pub fn deadline_ns(&self) -> u64 {
        // Who promises nothing neither suspects nor gives up, and vouches for no request.
        let view_due_ns = match self.is_silent() {
            true => u64::MAX,
            false => self.waits_due_ns.min(self.goodput_due_ns()),
        };
        let dues = [
            self.pulse.due_ns,
            self.fetch_due_ns(),
            self.held_until_ns.unwrap_or(u64::MAX),
            view_due_ns,
            self.recovery_due_ns(),
            self.disputes_due_ns(),
            self.null_deadline_ns(self.looked_ns),
            self.long_results.deadline_ns(),
            self.promises.disk_due_ns(),
        ];
        dues.into_iter().min().expect("there are some")
    }

    /// A request that was scheduled for execution has been executed.
    pub fn on_executed(
        &mut self,
        sequence: SequenceNumber,
        request: &ScheduledRequest,
        results: &[u8],
        output: &mut Output,
    ) {
        self.clients.keep_reply(request.name, request.digest, sequence, results);
        let full = self.config.quorum.answers_in_full(self.config.id, request.name.number.0);
        self.send_reply(request.name, full, output);
    }

    /// What it was told at its start.
    pub fn config(&self) -> &ReplicaConfig {
        &self.config
    }

    /// The view that this replica is in, or wants to enter.
    pub fn view(&self) -> View {
        self.view
    }

    /// Whether it has entered the view.
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// Whether it is its view's primary.
    pub fn is_primary(&self) -> bool {
        self.primary() == self.config.id
    }

    /// The last number executed.
    pub fn executed(&self) -> SequenceNumber {
        self.executed
    }

    /// The number that was executed before it committed, and may be undone or is being undone (`protocol.md EX-1`, `EX-3`).
    pub fn undoable(&self) -> Option<SequenceNumber> {
        self.tentative.or(self.undoing).map(|(sequence, _)| sequence)
    }

    /// The last number that was executed and committed.
    fn committed(&self) -> SequenceNumber {
        self.undoable().map_or(self.executed, |sequence| SequenceNumber(sequence.0 - 1))
    }

    /// The last stable checkpoint, `h`.
    pub fn stable(&self) -> SequenceNumber {
        self.log.stable()
    }

    /// The memory of the requests that it keeps (`protocol.md BP-3`, `LR-3`).
    pub fn requests_held_bytes(&self) -> usize {
        self.bodies.bytes_held()
    }

    /// How often what was rejected.
    pub fn rejects(&self) -> &RejectCounters {
        self.rejects.total()
    }

    /// The same by sender.
    pub fn rejects_by_sender(&self) -> &RejectTable {
        &self.rejects
    }

    /// The replicated part of the client table (`protocol.md CL-3`).
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// What speaks against other replicas.
    pub fn evidence(&self) -> &EvidenceBook {
        &self.evidence
    }

    /// The replicas heard from of late, this one included.
    pub fn peers_reachable(&self, now: Now) -> ReplicaSet {
        let mut set = self.peers.live(now.monotonic_ns);
        set.insert(self.config.id);
        set
    }

    /// The request message of a scheduled request.
    pub fn request_message(&self, body: BodyRef) -> &[u8] {
        self.bodies.message(body)
    }

    /// The digest of the batch that this replica committed at a number, while the log holds it.
    pub fn committed_batch(&self, sequence: SequenceNumber) -> Option<Digest> {
        self.log.slot(sequence)?.committed
    }

    fn primary(&self) -> ReplicaId {
        self.config.primary_of(self.view)
    }

    /// All other replicas.
    fn others(&self) -> Audience {
        others(&self.config)
    }

    fn only(id: ReplicaId) -> Audience {
        Audience::Replicas(ReplicaSet::only(id))
    }
}

fn others(config: &ReplicaConfig) -> Audience {
    Audience::Replicas(ReplicaSet::first(config.quorum.replicas()).without(config.id))
}

#[cfg(test)]
mod tests;
