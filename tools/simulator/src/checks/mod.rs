//! What must hold whatever the script does, looked at from outside: the messages that were sent and arrived, what the services executed, what the
//! clients accepted. Nothing here asks a replica for its opinion of the agreement.

pub mod judge;
pub mod statements;

use crate::checks::judge::judge;
use crate::checks::statements::Statements;
use crate::marks::{Mark, Marks, Observer};
use crate::world::disk::Disk;
use crate::world::hosts::Settings;
use crate::world::witness::{Appended, Executed, Happened};
use logothete_crypto::Digest;
use logothete_engine::authentication::Refused;
use logothete_engine::journal::Record;
use logothete_engine::numbers::{Principal, ReplicaId, ReplicaSet, SequenceNumber, View};
use logothete_engine::replica::{Event, Reject};
use logothete_engine::wire::agreement::{Vote, batch_digest};
use logothete_engine::wire::report::ReportReply;
use logothete_engine::wire::view_change::{Part, ViewChange};
use logothete_engine::wire::{Audience, Message, Messages};
use std::collections::{BTreeMap, BTreeSet};

/// One vote or proposal of the normal case: kind, sequence number, view.
type Claim = (&'static str, u64, u64);

/// What one replica said, was told, and did.
#[derive(Debug, Default)]
struct Witnessed {
    said: BTreeMap<Claim, Digest>,
    checkpoints_said: BTreeMap<u64, Digest>,
    told: BTreeMap<(Claim, Digest), ReplicaSet>,
    /// Who claims to have committed what.
    claims: BTreeMap<(u64, Digest), ReplicaSet>,
    /// Up to here everything that it executed is committed; above stands what it executed tentatively.
    executed: u64,
    tentative: Vec<Executed>,
    operations: BTreeSet<(u64, u64)>,
    /// The highest view that it voted in or asked for, before this duty cycle and with it.
    view: u64,
    view_now: u64,
    /// The view that it reports.
    view_reported: u64,
    /// What it said first in its present life.
    said_now: BTreeSet<Claim>,
    /// What of it was not yet compared with the bounds.
    said_newly: Vec<Claim>,
    /// What it said and forgot.
    lost: BTreeSet<Claim>,
    /// What its journal holds for good, and how many records of it were looked at.
    durable: BTreeSet<Promise>,
    durable_records: usize,
    /// What it holds there to have committed; each was looked at when it became durable, and holds in later lives.
    decided: BTreeSet<(u64, Digest)>,
    /// It forgot what it said, and has not recovered.
    recovers: bool,
    /// It began again, and its state may still be behind its log.
    lags: bool,
}

/// What a journal keeps before it is said: a vote or proposal with its batch, or a statement of a view.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Promise {
    Claim(Claim, Digest),
    Statement(Digest),
}

/// What stands at one sequence number.
#[derive(Debug)]
struct Ordered {
    requests: Vec<Executed>,
    by: ReplicaId,
    /// How many entries the log has after it.
    log_end: u64,
}

/// The checkers.
#[derive(Debug)]
pub struct Checks {
    settings: Settings,
    replicas: Vec<Witnessed>,
    /// The one order, as the first correct replica to execute a number executed it.
    batches: BTreeMap<u64, (Digest, ReplicaId)>,
    requests: BTreeMap<u64, Ordered>,
    states: BTreeMap<u64, (Digest, ReplicaId)>,
    log: Vec<Appended>,
    /// How many entries the log has at least, by what clients were told.
    acknowledged: u64,
    /// What clients accepted before anybody had committed it.
    accepted_early: Vec<(Appended, u64)>,
    /// Signed statements, whoever sent them.
    statements: Statements,
    /// What correct replicas' new views, and those that named a quorum, carry over: which batch for a number of a view.
    carried: BTreeSet<(u64, u64, Digest)>,
    /// The digests of all requests that clients made.
    requested: BTreeSet<Digest>,
    observer: Observer,
    violations: Vec<String>,
}

impl Checks {
    pub fn new(settings: Settings) -> Self {
        let replicas = (0..settings.replicas).map(|_| Witnessed::default()).collect();
        Self {
            settings,
            replicas,
            batches: BTreeMap::new(),
            requests: BTreeMap::new(),
            states: BTreeMap::new(),
            log: Vec::new(),
            acknowledged: 0,
            accepted_early: Vec::new(),
            statements: Statements::default(),
            carried: BTreeSet::new(),
            requested: BTreeSet::new(),
            observer: Observer::new(settings),
            violations: Vec::new(),
        }
    }

    /// `f`, reckoned here and not by the engine's own table.
    fn faults(&self) -> usize {
        (self.settings.replicas - 1) / 3
    }

    /// What was violated since the last call.
    ///
    /// # Errors
    /// All violations, one a line.
    pub fn verdict(&mut self) -> Result<(), String> {
        if self.violations.is_empty() { Ok(()) } else { Err(std::mem::take(&mut self.violations).join("\n")) }
    }

    /// What this run has come through.
    pub fn marks(&self) -> &Marks {
        &self.observer.marks
    }

    /// A packet of somebody's own leaves.
    pub fn on_launched(&mut self, from: Principal, body: &[u8]) {
        self.observer.on_launched(from, body);
        if let Principal::Client(_) = from {
            self.on_requested(body);
        }
    }

    /// A packet is lost on its way.
    pub fn on_lost(&mut self, body: &[u8], sender: Principal) {
        self.observer.on_dropped(body, sender);
    }

    /// The verifier of a correct replica or of a client refused a packet.
    pub fn on_refused(&mut self, body: &[u8], sender: Principal, reason: Refused) {
        self.observer.on_dropped(body, sender);
        self.observer.on_refused(reason);
    }

    /// The core of a correct replica rejected a message of a packet.
    pub fn on_rejected(&mut self, body: &[u8], sender: Principal, reason: Reject) {
        self.observer.on_dropped(body, sender);
        self.observer.on_rejected(body, sender, reason);
    }

    /// A correct replica says that something happened.
    pub fn on_event(&mut self, by: ReplicaId, event: &Event) {
        self.observer.on_event(by, event);
        match event {
            Event::Recovered => self.replicas[usize::from(by.0)].recovers = false,
            Event::Diverged(sequence) => {
                self.violations.push(format!("{by} says that it diverged at s{sequence}"));
            }
            _ => {}
        }
    }

    /// A client sends a packet of its own.
    fn on_requested(&mut self, body: &[u8]) {
        let parts = Messages::new(body, Principal::Client(logothete_engine::numbers::ClientId(0))).flatten();
        self.requested.extend(parts.filter_map(|(message, _)| match message {
            Message::RequestPart(part) => Some(part.digest),
            _ => None,
        }));
        self.requested.insert(logothete_crypto::digest(body));
    }

    /// An authentic packet reached a correct replica or a client.
    pub fn on_arrived(&mut self, at: Principal, from: Principal, body: &[u8], relayed: bool) {
        self.observer.on_arrived(at, from, body, relayed);
        let (Principal::Replica(at), Principal::Replica(id)) = (at, from) else { return };
        for (message, _) in Messages::new(body, from).flatten() {
            let witnessed = &mut self.replicas[usize::from(at.0)];
            if let Some((claim, digest)) = claim(&message) {
                witnessed.told.entry((claim, digest)).or_insert(ReplicaSet::EMPTY).insert(id);
            }
            match message {
                Message::CommitClaim(claim) => {
                    let place = (claim.sequence().0, claim.digest);
                    witnessed.claims.entry(place).or_insert(ReplicaSet::EMPTY).insert(id);
                }
                Message::Part(part) => self.on_part(&part),
                _ => {}
            }
        }
    }

    /// A correct replica's disk, as it is when its turn ends.
    pub fn on_durable(&mut self, of: ReplicaId, disk: &Disk) {
        let witnessed = &mut self.replicas[usize::from(of.0)];
        let news = disk.durable_from(witnessed.durable_records);
        witnessed.durable_records += news.len();
        for bytes in news {
            let (record, _) = Record::decode(&bytes).expect("what was written is read");
            let witnessed = &mut self.replicas[usize::from(of.0)];
            witnessed.durable.extend(promise(&record));
            if let Record::Committed { sequence, digest } = record {
                witnessed.decided.insert((sequence.0, digest));
                if !self.is_decided(of, sequence.0, digest) {
                    self.violations.push(format!(
                        "{of} wrote that s{sequence} committed, without a quorum of commits or f+1 claims"
                    ));
                }
                self.on_decided(of, sequence.0, digest);
            }
        }
    }

    /// A correct replica's process ended and another began. What it executed while it read its journal was executed before; where it
    /// forgot, only what it said still counts.
    pub fn on_restarted(&mut self, by: ReplicaId, forgot: bool, executed: u64, recalled: &Happened) {
        let witnessed = &mut self.replicas[usize::from(by.0)];
        let former = std::mem::take(witnessed);
        witnessed.lost = former.lost;
        if forgot {
            witnessed.lost.extend(former.said.keys());
        }
        witnessed.said = former.said;
        witnessed.checkpoints_said = former.checkpoints_said;
        (witnessed.executed, witnessed.recovers, witnessed.lags) = (executed, forgot, true);
        self.observer.on_restarted(by, forgot);
        if !forgot {
            (witnessed.durable, witnessed.durable_records) = (former.durable, former.durable_records);
            witnessed.decided = former.decided;
            (witnessed.view, witnessed.view_now) = (former.view, former.view_now);
            let own = former.told.into_iter().filter(|(_, from)| from.contains(by));
            witnessed.told = own.map(|(claim, _)| (claim, ReplicaSet::only(by))).collect();
        }
        let operations = recalled.executed.iter().flat_map(|request| &request.operations);
        witnessed.operations = operations.map(|operation| (operation.session, operation.number)).collect();
        for request in &recalled.executed {
            let before = self.requests.get(&request.sequence);
            if !before.is_some_and(|ordered| ordered.requests.contains(request)) {
                self.violations.push(format!("{by} executed {request:?} of its journal, and nobody did before"));
            }
        }
    }

    /// What binds a replica is durable before it leaves, and one that forgot what it said says nothing that binds it.
    fn on_promised(&mut self, by: ReplicaId, promise: Promise) {
        let witnessed = &self.replicas[usize::from(by.0)];
        if witnessed.recovers {
            self.violations.push(format!("{by} forgot what it said, and sent {promise:?}"));
        }
        if self.settings.journal && !witnessed.durable.contains(&promise) {
            self.violations.push(format!("{by} sent {promise:?}, which is not durable"));
        }
    }

    /// A correct replica sends a packet of its own.
    pub fn on_sent(&mut self, by: ReplicaId, audience: Audience, body: &[u8]) {
        for (message, _) in Messages::new(body, Principal::Replica(by)).flatten() {
            if let Some((claim, digest)) = claim(&message) {
                self.on_promised(by, Promise::Claim(claim, digest));
                self.on_claimed(by, claim, digest);
            }
            if let Message::Part(part) = &message {
                self.on_part(part);
                if part.replica == by {
                    self.on_promised(by, Promise::Statement(part.digest));
                    let witnessed = &mut self.replicas[usize::from(by.0)];
                    witnessed.view_now = witnessed.view_now.max(part.view.0);
                    self.on_own_new_view(by, part);
                    self.on_own_view_change(by, part);
                }
            }
            if let Message::CommitClaim(claim) = &message {
                self.on_decided(by, claim.sequence().0, claim.digest);
            }
            if let Message::Checkpoint(vote) = message {
                let said = &mut self.replicas[usize::from(by.0)].checkpoints_said;
                let first = *said.entry(vote.sequence().0).or_insert(vote.digest);
                if first != vote.digest {
                    self.violations.push(format!("{by} voted for two states after s{}", vote.sequence()));
                }
                self.on_state(by, vote.sequence().0, vote.digest);
            }
        }
        self.observer.on_sent(by, audience, body, &self.statements);
    }

    /// A correct replica's duty cycle is over: what it said in it binds it from now on.
    pub fn on_cycle_end(&mut self, by: ReplicaId) {
        let witnessed = &mut self.replicas[usize::from(by.0)];
        witnessed.view = witnessed.view_now;
    }

    fn on_part(&mut self, part: &Part<'_>) {
        if !self.statements.take(part) {
            return;
        }
        let seen = self.statements.get(&part.digest).expect("it was just completed");
        let Some(content) = seen.new_view() else { return };
        if content.view.0 % self.settings.replicas as u64 != u64::from(content.replica.0) {
            return;
        }
        let first = content.checkpoint.0.0 + 1;
        for (sequence, digest) in (first..).zip(content.selection) {
            self.carried.insert((content.view.0, sequence, *digest));
        }
    }

    /// The new view of a correct primary follows from the view changes that it names.
    fn on_own_new_view(&mut self, by: ReplicaId, part: &Part<'_>) {
        let Some(content) = self.statements.get(&part.digest).and_then(|seen| seen.new_view()) else { return };
        let named: Option<Vec<ViewChange<'_>>> =
            content.named.iter().map(|named| self.statements.get(&named.digest)?.view_change()).collect();
        let view = content.view;
        let Some(named) = named else {
            self.violations.push(format!("{by} made the new view v{view} of view changes that nobody sent"));
            return;
        };
        let of_view = named.iter().all(|message| message.view == view) && named.len() > 2 * self.faults();
        let made = ((content.checkpoint.0.0, content.checkpoint.1), content.selection.to_vec());
        let verdict = judge(&named, self.faults(), self.settings.window());
        if !of_view || verdict.as_ref() != Some(&made) {
            self.violations.push(format!("{by} made the new view v{view} of {made:?}, and it should be {verdict:?}"));
        }
    }

    /// A view change says all that its replica remembers to have voted for above its checkpoint, in whatever life.
    fn on_own_view_change(&mut self, by: ReplicaId, part: &Part<'_>) {
        let Some(content) = self.statements.get(&part.digest).and_then(|seen| seen.view_change()) else { return };
        let witnessed = &self.replicas[usize::from(by.0)];
        for (claim, digest) in witnessed.said.iter().filter(|(claim, _)| !witnessed.lost.contains(claim)) {
            let &(kind, sequence, view) = claim;
            let of_number = |votes: &[Vote], says: &dyn Fn(&Vote) -> bool| {
                votes.iter().any(|vote| vote.sequence().0 == sequence && says(vote))
            };
            let same = |vote: &Vote| vote.digest == *digest && vote.view().0 >= view;
            let says = match kind {
                "commit" => of_number(content.prepared, &|vote| same(vote) || vote.view().0 > view),
                _ => of_number(content.pre_prepared, &same),
            };
            if sequence > content.stable.0 && view < content.view.0 && !says {
                let wanted = content.view;
                self.violations.push(format!(
                    "{by} sent a {kind} in view {view} for s{sequence}, and asks for view {wanted} without it"
                ));
            }
        }
    }

    /// One batch a number, whatever the view.
    fn on_decided(&mut self, by: ReplicaId, sequence: u64, batch: Digest) {
        let (held, first) = *self.batches.entry(sequence).or_insert((batch, by));
        if held != batch {
            self.violations.push(format!("{first} and {by} committed different batches at s{sequence}"));
        }
    }

    /// No two votes in conflict, no commit without a quorum of prepares, and none in a view that was left.
    fn on_claimed(&mut self, by: ReplicaId, claim: Claim, digest: Digest) {
        let prepares = 2 * self.faults();
        let primary = ReplicaId((claim.2 % self.settings.replicas as u64) as u8);
        let witnessed = &mut self.replicas[usize::from(by.0)];
        let first = *witnessed.said.entry(claim).or_insert_with(|| {
            witnessed.said_now.insert(claim);
            witnessed.said_newly.push(claim);
            digest
        });
        witnessed.told.entry((claim, digest)).or_insert(ReplicaSet::EMPTY).insert(by);
        witnessed.lost.remove(&claim);
        let (kind, sequence, view) = claim;
        if view < witnessed.view {
            let (higher, text) = (witnessed.view, "after it had asked for or voted in");
            self.violations.push(format!("{by} sent a {kind} in view {view} for s{sequence} {text} view {higher}"));
        }
        witnessed.view_now = witnessed.view_now.max(view);
        if first != digest {
            self.violations.push(format!("{by} sent two {kind}s in view {view} for s{sequence}"));
        }
        let told = |kind| witnessed.told.get(&((kind, sequence, view), digest)).copied().unwrap_or(ReplicaSet::EMPTY);
        let proposed = told("pre-prepare").contains(primary) || self.carried.contains(&(view, sequence, digest));
        // Or in a former life, and it kept the proposal.
        let proposed = proposed || witnessed.durable.contains(&Promise::Claim(("pre-prepare", sequence, view), digest));
        if !proposed && witnessed.said_now.contains(&claim) {
            self.violations.push(format!("{by} sent a {kind} for s{sequence} that the primary has not proposed"));
        }
        // What it said in a former life it may say again.
        if kind == "commit"
            && witnessed.said_now.contains(&claim)
            && told("prepare").without(primary).count() < prepares
        {
            self.violations.push(format!("{by} sent a commit for s{sequence} that is not prepared there"));
        }
    }

    /// What a correct replica's service executed since the last duty cycle, and which batch it committed at each number. What is below its
    /// stable checkpoint may have committed without it.
    pub fn on_executed(
        &mut self,
        by: ReplicaId,
        (upto, stable): (u64, u64),
        happened: &Happened,
        batch_of: impl Fn(u64) -> Option<Digest>,
    ) {
        self.observer.on_executed(by, happened);
        let witnessed = &mut self.replicas[usize::from(by.0)];
        // What came before pages were replaced was undone, or is part of the state that was fetched: which state it has now its digest tells, which
        // is compared with the others'. What it executed from there on is looked at like everything else.
        let (replaced, mut executed) = match happened.restored {
            Some(at) => (&happened.executed[..at], happened.executed[at..].to_vec()),
            None => (&[][..], [&std::mem::take(&mut witnessed.tentative)[..], &happened.executed].concat()),
        };
        let begins = executed.iter().map(|request| request.sequence).min();
        // One batch may be ahead of what committed. What was fetched need not have committed here, nor what is in a checkpoint that others vouch for.
        let new = match happened.restored {
            Some(_) => begins.is_some_and(|begins| begins <= upto),
            None => upto > witnessed.executed,
        };
        let ahead = self.settings.tentative && upto > 0 && new && upto > stable && batch_of(upto).is_none();
        let upto = if ahead { upto - 1 } else { upto };
        witnessed.tentative = executed.iter().filter(|request| request.sequence > upto).cloned().collect();
        executed.retain(|request| request.sequence <= upto);
        let from = match happened.restored {
            Some(_) => begins.map_or(upto + 1, |begins| begins.min(upto + 1)),
            None => witnessed.executed + 1,
        };
        witnessed.executed = upto;
        if happened.restored.is_some() {
            witnessed.operations.clear();
        }
        if let Some(forged) = replaced.iter().chain(&executed).find(|request| !self.requested.contains(&request.digest))
        {
            self.violations.push(format!("{by} executed {forged:?}, which no client asked for"));
        }
        for operation in executed.iter().flat_map(|request| &request.operations) {
            if !witnessed.operations.insert((operation.session, operation.number)) {
                let name = format!("operation {} of session {}", operation.number, operation.session);
                self.violations.push(format!("{by} executed {name} twice"));
            }
        }
        for sequence in from..=upto {
            let batch = batch_of(sequence);
            if batch.is_some() || sequence > stable {
                self.on_batch(by, sequence, batch);
            }
            let requests: Vec<_> = executed.iter().filter(|request| request.sequence == sequence).cloned().collect();
            match self.requests.get(&sequence) {
                Some(held) if held.requests != requests => {
                    self.violations.push(format!("{} and {by} executed different requests at s{sequence}", held.by));
                }
                Some(_) => {}
                None => {
                    self.log.extend(requests.iter().flat_map(|request| request.operations.clone()));
                    let log_end = self.log.len() as u64;
                    self.requests.insert(sequence, Ordered { requests, by, log_end });
                }
            }
        }
        if executed.iter().any(|request| !(from..=upto).contains(&request.sequence)) {
            self.violations.push(format!("{by} executed something outside s{from}..s{upto}"));
        }
        for (operation, position) in std::mem::take(&mut self.accepted_early) {
            self.on_accepted(&operation, position);
        }
    }

    fn on_batch(&mut self, by: ReplicaId, sequence: u64, batch: Option<Digest>) {
        let Some(batch) = batch else {
            self.violations.push(format!("{by} executed s{sequence}, which it has not committed"));
            return;
        };
        self.on_decided(by, sequence, batch);
        let durable = self.replicas[usize::from(by.0)].decided.contains(&(sequence, batch));
        if self.is_claimed(by, sequence, batch) {
            self.observer.marks.hit(Mark::CommittedOnClaims);
        }
        if !durable && !self.is_decided(by, sequence, batch) {
            self.violations.push(format!("{by} executed s{sequence} without a quorum of commits or f+1 claims"));
        }
    }

    /// Whether `f+1` others claim that a batch is committed.
    fn is_claimed(&self, by: ReplicaId, sequence: u64, batch: Digest) -> bool {
        let claimed = self.replicas[usize::from(by.0)].claims.get(&(sequence, batch));
        claimed.is_some_and(|claimed| claimed.count() > self.faults())
    }

    /// Whether what a replica was told in its present life, and said itself, makes a batch committed.
    fn is_decided(&self, by: ReplicaId, sequence: u64, batch: Digest) -> bool {
        let Witnessed { claims, told, .. } = &self.replicas[usize::from(by.0)];
        let claimed = claims.get(&(sequence, batch)).copied().unwrap_or(ReplicaSet::EMPTY);
        let in_any_view =
            (("commit", sequence, 0), Digest::ZERO)..=(("commit", sequence, u64::MAX), Digest([0xff; 32]));
        let mut commits = told.range(in_any_view).filter(|((_, digest), _)| *digest == batch);
        // A claim to have committed is a commit in whatever view.
        let with_claims = |from: &ReplicaSet| ReplicaSet(from.0 | claimed.0).count();
        claimed.count() > self.faults() || commits.any(|(_, from)| with_claims(from) > 2 * self.faults())
    }

    /// How a correct replica says that it fares, after a duty cycle.
    pub fn on_report(&mut self, by: ReplicaId, report: &ReportReply) {
        let (executed, stable) = (report.executed.get(), report.checkpoint_stable.get());
        // What may be undone need not be what others have.
        let settled = executed == self.replicas[usize::from(by.0)].executed;
        if settled {
            self.on_state(by, executed, report.state_digest);
        }
        let witnessed = &mut self.replicas[usize::from(by.0)];
        let before = std::mem::replace(&mut witnessed.view_reported, report.view.get());
        if before > report.view.get() {
            self.violations.push(format!("{by} went back from view {before} to view {}", report.view));
        }
        let interval = self.settings.checkpoint_interval;
        witnessed.lags &= stable > executed;
        if (stable > executed && !witnessed.lags)
            || executed.saturating_sub(stable) > self.settings.window()
            || !stable.is_multiple_of(interval)
        {
            self.violations.push(format!("{by} has executed s{executed} with a stable checkpoint at s{stable}"));
        }
        let end = self.requests.get(&executed).map_or(0, |ordered| ordered.log_end);
        if settled && report.log_end.get() != end {
            self.violations.push(format!("{by} has {} log entries after s{executed}, not {end}", report.log_end));
        }
    }

    fn on_state(&mut self, by: ReplicaId, sequence: u64, digest: Digest) {
        let (held, first) = *self.states.entry(sequence).or_insert((digest, by));
        if held != digest {
            self.violations.push(format!("{first} and {by} have different states after s{sequence}"));
        }
    }

    /// The state after a number, where a correct replica told it.
    pub fn state_after(&self, sequence: u64) -> Option<Digest> {
        self.states.get(&sequence).map(|(digest, _)| *digest)
    }

    /// The end of a run: what a client accepted has committed.
    pub fn on_end(&mut self) {
        for (operation, position) in std::mem::take(&mut self.accepted_early) {
            self.violations.push(format!("a client was told {operation:?} at {position}, and nobody committed it"));
        }
    }

    /// A client accepted a position as the result of an operation.
    pub fn on_accepted(&mut self, operation: &Appended, position: u64) {
        self.acknowledged = self.acknowledged.max(position + 1);
        match self.log.get(position as usize) {
            Some(entry) if entry == operation => {}
            // On 2f+1 tentative replies, before anybody committed: it must turn out so.
            None if self.settings.tentative => self.accepted_early.push((operation.clone(), position)),
            entry => self.violations.push(format!("a client was told {operation:?} at {position}: there is {entry:?}")),
        }
    }

    /// How many entries the log has at least, by what clients were told: what is asked from now on must see them.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// A client was told how many entries the log has; when it asked, clients knew of `floor`.
    pub fn on_read(&mut self, end: u64, floor: u64, fast: bool) {
        self.observer.marks.hit(if fast { Mark::ReadFast } else { Mark::ReadOrdered });
        if end < floor || end > self.log.len() as u64 {
            let committed = self.log.len();
            self.violations
                .push(format!("a client was told of {end} entries: {floor} were known, {committed} are committed"));
        }
        self.acknowledged = self.acknowledged.max(end);
    }

    /// A subscriber was given an entry; it is the next one, and what the log has there.
    pub fn on_entry(&mut self, position: u64, expected: u64, entry: &Appended) {
        if position != expected {
            self.violations.push(format!("a subscriber got entry {position} when {expected} was next"));
        }
        if !self
            .log
            .get(position as usize)
            .is_some_and(|held| held.session == entry.session && held.bytes == entry.bytes)
        {
            self.violations.push(format!("a subscriber got {entry:?} at {position}, which is not the log's"));
        }
    }

    /// Votes beyond the window, or proposals beyond the pipeline.
    pub fn on_bounds(&mut self, by: ReplicaId, executed: u64, stable: u64) {
        self.observer.on_stable(by, stable);
        // The bounds only rise.
        let newly = std::mem::take(&mut self.replicas[usize::from(by.0)].said_newly);
        let beyond = |(_, sequence, _): &&Claim| *sequence > stable + self.settings.window();
        if let Some((kind, sequence, _)) = newly.iter().find(beyond) {
            self.violations.push(format!("{by} sent a {kind} for s{sequence}, beyond the window above s{stable}"));
        }
        let depth = self.settings.pipeline_depth;
        let too_deep = |(kind, sequence, _): &&Claim| *kind == "pre-prepare" && *sequence > executed + depth;
        if let Some((_, sequence, _)) = newly.iter().find(too_deep) {
            self.violations
                .push(format!("{by} proposed s{sequence} with s{executed} executed: more than {depth} in flight"));
        }
    }
}

fn promise(record: &Record<'_>) -> Option<Promise> {
    let claim = |kind, sequence: SequenceNumber, view: View, digest| Promise::Claim((kind, sequence.0, view.0), digest);
    match *record {
        Record::Proposal { view, sequence, timestamp_ns, entries } => {
            Some(claim("pre-prepare", sequence, view, batch_digest(timestamp_ns, entries)))
        }
        Record::Prepare { view, sequence, digest } => Some(claim("prepare", sequence, view, digest)),
        Record::Commit { view, sequence, digest } => Some(claim("commit", sequence, view, digest)),
        Record::ViewChange { bytes } | Record::NewView { bytes } => {
            Some(Promise::Statement(logothete_crypto::digest(bytes)))
        }
        Record::Body { .. }
        | Record::Batch { .. }
        | Record::ViewEntered { .. }
        | Record::Committed { .. }
        | Record::Stable { .. }
        | Record::EpochAcknowledged { .. } => None,
    }
}

fn claim(message: &Message<'_>) -> Option<(Claim, Digest)> {
    let vote = |kind, vote: &Vote| ((kind, vote.sequence().0, vote.view().0), vote.digest);
    match message {
        Message::PrePrepare(proposal) => {
            let digest = batch_digest(proposal.timestamp_ns, proposal.entries);
            Some((("pre-prepare", proposal.sequence.0, proposal.view.0), digest))
        }
        Message::Prepare(prepare) => Some(vote("prepare", prepare)),
        Message::Commit(commit) => Some(vote("commit", commit)),
        _ => None,
    }
}
