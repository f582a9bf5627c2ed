//! What must hold whatever happens, looked at from outside with the knowledge of everything: the messages that were sent and arrived, the disks, what the
//! services executed, what clients asked for and accepted. RELIABILITY.md section 3.4 names the checkers C1 to C15; each is a file here.
//!
//! *For*: telling when a run is wrong, at once where that can be told at once. *Enters*: observations, each once, in the order in which things happen.
//! *Never*: a question put to a replica about the agreement, or a rule taken over from its code: quorums are those of a table ([`quorums`]), and
//! what a replica says of itself is compared with what the others really did.

pub mod acceptance;
pub mod agreement;
pub mod bounds;
pub mod certificates;
pub mod contradiction;
pub mod counters;
pub mod departures;
pub mod durability;
pub mod execution;
pub mod judge;
pub mod linearizability;
pub mod monotonicity;
mod observations;
pub mod once;
mod packets;
pub mod panics;
pub mod patience;
pub mod quorums;
pub mod received;
pub mod state;
pub mod statements;
pub mod tables;
pub mod validity;
pub mod views;
pub mod violations;
pub mod vote;

use crate::marks::{Mark, Marks, Observer};
use crate::world::settings::Settings;
use crate::world::witness::Appended;
use acceptance::Acceptance;
use agreement::Agreement;
use bounds::Bounds;
use certificates::Certificates;
use contradiction::Contradictions;
use counters::Counters;
use departures::Departures;
use durability::Durability;
use execution::Execution;
use linearizability::model::Model;
use linearizability::{Answer, History};
use logothete_crypto::Digest;
use logothete_engine::numbers::{ClientId, ReplicaId};
use logothete_engine::replica::Event;
use logothete_engine::service::ServiceKind;
use monotonicity::Monotonicity;
use once::Once;
use patience::Patience;
use quorums::Quorums;
use received::Received;
use state::States;
use statements::Statements;
use tables::Tables;
use validity::Validity;
use views::Views;
use violations::{Checker, Violations};

/// In one of so many runs an order is searched without a witness.
const SEARCH_ONE_IN: u64 = 100;

/// The checkers.
#[derive(Debug)]
pub struct Checks {
    settings: Settings,
    now_ns: u64,
    /// What the clock of the replica shows whose turn it is.
    local_ns: u64,
    agreement: Agreement,
    states: States,
    history: History,
    once: Once,
    validity: Validity,
    bounds: Bounds,
    monotonicity: Monotonicity,
    contradictions: Contradictions,
    durability: Durability,
    certificates: Certificates,
    received: Received,
    views: Views,
    departures: Departures,
    acceptance: Acceptance,
    counters: Counters,
    execution: Execution,
    tables: Tables,
    patience: Patience,
    /// Signed statements, whoever sent them.
    statements: Statements,
    /// How many entries the log has at least, by what clients were told.
    acknowledged: u64,
    /// What clients accepted before anybody had committed it: client and operation, and its position in the log.
    accepted_early: Vec<((u16, u64, u64), Option<u64>)>,
    /// Views that the replica whose turn it is left and entered in it.
    view_events: Vec<Event>,
    /// New views that it said in this cycle as their primary.
    new_views: Vec<Digest>,
    /// The requests that the replica whose turn it is forwards, and to whom.
    forwarded: Vec<(ReplicaId, Digest)>,
    /// Up to where correct replicas showed subscribers their logs in this duty cycle.
    shown: Vec<(ReplicaId, u64)>,
    /// Nothing is wrong with any replica or the network, so that nobody has a reason to leave a view.
    calm: bool,
    observer: Observer,
    violations: Violations,
}

impl Checks {
    pub fn new(settings: Settings) -> Self {
        let quorums = Quorums::of(settings.replicas);
        Self {
            settings,
            now_ns: 0,
            local_ns: 0,
            agreement: Agreement::default(),
            states: States::default(),
            history: History::default(),
            once: Once::default(),
            validity: Validity::default(),
            bounds: Bounds::new(settings),
            monotonicity: Monotonicity::new(settings.replicas),
            contradictions: Contradictions::new(settings.replicas),
            durability: Durability::new(settings.replicas, settings.journal),
            certificates: Certificates::new(quorums),
            received: Received::new(quorums),
            views: Views::new(quorums, settings.window()),
            departures: Departures::new(quorums),
            acceptance: Acceptance::new(quorums, settings.reads),
            counters: Counters::new(quorums),
            execution: Execution::new(settings.replicas, settings.tentative),
            tables: Tables::new(settings.client_window),
            patience: Patience::new(settings.replicas, settings.timeout_view_max_ns),
            statements: Statements::default(),
            acknowledged: 0,
            accepted_early: Vec::new(),
            view_events: Vec::new(),
            new_views: Vec::new(),
            forwarded: Vec::new(),
            shown: Vec::new(),
            calm: false,
            observer: Observer::new(settings),
            violations: Violations::default(),
        }
    }

    /// What was violated since the last call.
    ///
    /// # Errors
    /// All violations, one a line, each with its checker.
    pub fn verdict(&mut self) -> Result<(), String> {
        self.violations.take()
    }

    /// Something happened to the world that nobody says.
    pub fn hit(&mut self, mark: Mark) {
        self.observer.marks.hit(mark);
    }

    /// What this run has come through.
    pub fn marks(&self) -> &Marks {
        &self.observer.marks
    }

    /// The state after a number, where a correct replica told it.
    pub fn state_after(&self, sequence: u64) -> Option<Digest> {
        self.states.after(sequence)
    }

    /// The time at which what comes next happens.
    pub fn set_time(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    /// Nothing goes wrong with any replica or the network in this run.
    pub fn expect_no_view_change(&mut self) {
        self.calm = true;
    }

    /// What the clock of the replica shows whose turn comes next.
    pub fn set_clock(&mut self, local_ns: u64) {
        self.local_ns = local_ns;
    }

    /// An application asks a client for an operation; `query` if it need not be ordered.
    pub fn on_asked(&mut self, client: ClientId, (session, number): (u64, u64), operation: &[u8], query: bool) {
        self.validity.on_asked(client, (session, number), operation);
        self.history.on_asked(client, (session, number), operation, self.now_ns);
        if query {
            self.acceptance.on_asked(client, number);
        }
    }

    /// A client accepted the result of an ordered operation; all results of its request have one digest.
    pub fn on_accepted(&mut self, client: ClientId, operation: &Appended, result: &[u8], results: Digest) {
        let name = (client.0, operation.session, operation.number);
        self.once.on_completed(name, &mut self.violations);
        let answer = Answer { returned_ns: self.now_ns, result: result.to_vec(), ordered: true };
        self.history.on_answered(name, answer);
        let request = self.validity.request_of(name).and_then(|request| self.validity.name(request, client.0));
        match request {
            Some(request) => {
                self.acceptance.on_accepted(request, results, &mut self.violations);
            }
            None => self.violations.add(Checker::Acceptance, format!("{name:?} was told of what nobody executed")),
        }
        let position = self.position(result);
        self.acknowledged = self.acknowledged.max(position.map_or(0, |position| position + 1));
        self.on_done(name, position);
    }

    /// What a result says of the log.
    fn position(&self, result: &[u8]) -> Option<u64> {
        let is_log = self.settings.service() == ServiceKind::Log;
        result.try_into().ok().map(u64::from_le_bytes).filter(|_| is_log)
    }

    /// A client was told that its operation was done, and at which position if the log did it.
    fn on_done(&mut self, operation: (u16, u64, u64), position: Option<u64>) {
        match (self.agreement.place_of(operation), position) {
            (Some(place), Some(position)) if place as u64 == position => {}
            // What it was told of it is compared at the end of the run.
            (Some(_), None) => {}
            // On 2f+1 tentative replies, before anybody committed: it must turn out so.
            (None, _) if self.settings.tentative => self.accepted_early.push((operation, position)),
            (place, _) => {
                let text = format!("a client was told that {operation:?} is done, at {position:?}: it is at {place:?}");
                self.violations.add(Checker::Acceptance, text);
            }
        }
    }

    /// How many entries the log has at least, by what clients were told: what is asked from now on must see them.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// A client was told the result of a query; when it asked, clients knew of `floor` entries of the log.
    pub fn on_read(&mut self, client: ClientId, number: u64, result: &[u8], (floor, fast): (u64, bool)) {
        self.observer.on_read(fast);
        if let Some(end) = self.position(result) {
            self.on_end_told(end, (floor, fast));
        }
        if fast {
            let answer = Answer { returned_ns: self.now_ns, result: result.to_vec(), ordered: false };
            self.history.on_answered((client.0, u64::from(client.0), number), answer);
            self.acceptance.on_answered(client, number, logothete_crypto::digest(result), &mut self.violations);
        }
    }

    /// A client was told how many entries the log has.
    fn on_end_told(&mut self, end: u64, (floor, fast): (u64, bool)) {
        let order = self.agreement.order().len() as u64;
        // One that was ordered and accepted on 2f+1 tentative replies is ahead of what committed: its position must turn out so.
        let ahead = self.settings.tentative && !fast;
        if end < floor || (end > order && !ahead) {
            let text = format!("a client was told of {end} entries: {floor} were known, {order} are committed");
            self.violations.add(Checker::Linearizability, text);
        }
        self.acknowledged = self.acknowledged.max(end);
    }

    /// A subscriber was given an entry; it is the next one, and what the log has there.
    pub fn on_entry(&mut self, position: u64, expected: u64, entry: &Appended) {
        if position != expected {
            let text = format!("a subscriber got entry {position} when {expected} was next");
            self.violations.add(Checker::Linearizability, text);
        }
        let held = self.agreement.order().get(position as usize);
        if !held.is_some_and(|(_, held)| held.session == entry.session && held.bytes == entry.bytes) {
            let text = format!("a subscriber got {entry:?} at {position}, which is not the log's");
            self.violations.add(Checker::Linearizability, text);
        }
    }

    /// A client's process ended, and another began.
    pub fn on_client_restarted(&mut self, client: ClientId) {
        self.acceptance.on_client_restarted(client);
    }

    /// What clients accepted before it committed is looked at again when something has.
    fn look_again(&mut self) {
        for (operation, position) in std::mem::take(&mut self.accepted_early) {
            self.on_done(operation, position);
        }
    }

    /// Whether a client accepted something that nobody has committed yet.
    pub fn awaits_commits(&self) -> bool {
        !self.accepted_early.is_empty()
    }

    /// The end of a run: what clients accepted has committed, and one copy of the service explains all that they saw.
    pub fn on_end(&mut self) {
        for (operation, position) in std::mem::take(&mut self.accepted_early) {
            let text = format!("a client was told that {operation:?} is done, at {position:?}: nobody committed it");
            self.violations.add(Checker::Acceptance, text);
        }
        let model = Model::of(self.settings.service(), self.settings.retention_bytes);
        self.history.check(model.clone(), self.agreement.order(), &mut self.violations);
        if self.settings.seed.is_multiple_of(SEARCH_ONE_IN) {
            self.history.search(model, self.agreement.order(), &mut self.violations);
        }
    }

    fn faulty(&self, id: ReplicaId) -> bool {
        self.certificates.faulty().contains(id)
    }
}
