//! What is seen of replicas, what they say and what is on their disks, handed to the checkers that it concerns.

use super::Checks;
use super::durability::Promise;
use super::patience::Turn;
use super::violations::Checker;
use super::vote::{Round, Vote};
use crate::world::disk::Disk;
use crate::world::witness::{Executed, Happened};
use logothete_crypto::Digest;
use logothete_engine::journal::Record;
use logothete_engine::numbers::{ClientId, Principal, ReplicaId, ReplicaSet};
use logothete_engine::replica::{Event, Holdings, Replica};
use logothete_engine::service::ServiceKind;
use logothete_engine::service::log::verify_run;
use logothete_engine::wire::reply::Mode;
use logothete_engine::wire::report::ReportReply;
use logothete_engine::wire::subscription::Runs;
use logothete_engine::wire::view_change::Part;
use logothete_engine::wire::{Audience, Message, Messages};

/// What a correct replica says.
impl Checks {
    /// A correct replica sends a packet of its own.
    pub fn on_sent(&mut self, by: ReplicaId, audience: Audience, body: &[u8]) {
        for said in Messages::new(body, Principal::Replica(by)) {
            let (message, bytes) = match said {
                Ok(said) => said,
                Err(fault) => {
                    self.violations.add(Checker::Validity, format!("{by} sends what nobody can read: {fault}"));
                    continue;
                }
            };
            self.on_content(&message);
            if let Some(vote) = Vote::of(&message) {
                self.validity.on_vote(by, vote.batch, &mut self.violations);
                self.on_vote(by, vote);
            }
            match &message {
                Message::Part(part) => {
                    self.on_part(by, part);
                    if part.replica == by {
                        self.on_statement(by, part);
                    }
                }
                Message::CommitClaim(claim) => {
                    let (sequence, batch) = (claim.sequence().0, claim.digest);
                    self.contradictions.on_claim(by, sequence, batch, &mut self.violations);
                    self.on_committed(by, sequence, batch);
                }
                Message::Checkpoint(vote) => self.on_checkpoint(by, vote.sequence().0, vote.digest),
                Message::StateQuery(query) => {
                    let (sequence, state) = (query.checkpoint.sequence.0, query.checkpoint.digest);
                    let holders = self.certificates.may_hold(sequence, state);
                    self.received.on_state_asked(by, (sequence, state), holders, &mut self.violations);
                }
                Message::Status(status) => {
                    self.monotonicity.on_status(by, status.executed().0, status.stable().0);
                    if status.standing().suspects {
                        self.on_suspects(by, status.standing().view.0);
                    }
                }
                Message::Reply(reply) => {
                    let (sequence, committed) = (reply.sequence.0, reply.mode == Mode::Committed);
                    self.certificates.on_replied(by, sequence, committed);
                    if !committed {
                        self.durability.on_tentative_reply(by, sequence, &mut self.violations);
                    }
                }
                Message::Runs(runs) => self.on_runs(by, runs),
                Message::RunPart(part) => self.shown.push((by, part.position + 1)),
                Message::ChainAnswer(answer) if answer.chain != Digest::ZERO => {
                    self.shown.push((by, answer.position.get()));
                    self.states.on_chain(by, answer.position.get(), answer.chain, &mut self.violations);
                }
                Message::Forward(forward) => {
                    let Audience::Replicas(to) = audience else { continue };
                    self.forwarded.extend(to.iter().map(|to| (to, forward.digest())));
                }
                Message::RecoveryAnswer(answer) => {
                    self.contradictions.on_recovery_answer(by, answer.prepared().0, &mut self.violations);
                    let Audience::Replicas(to) = audience else { continue };
                    for asker in to.iter() {
                        let promise = Promise::EpochAcknowledged(asker, answer.epoch());
                        self.durability.on_promised(by, &promise, &mut self.violations);
                    }
                }
                _ => {}
            }
            match audience {
                Audience::Client(client) => self.acceptance.on_sent(by, client, &message, &mut self.violations),
                Audience::Replicas(to) if to.count() == 1 && is_answer(&message) => {
                    let to = to.iter().next().expect("there is one");
                    let part = match &message {
                        Message::Part(part) => Some((part.digest, part.index)),
                        _ => None,
                    };
                    self.on_answered(by, to, (bytes.len(), part));
                }
                Audience::Replicas(_) => {}
            }
        }
        self.observer.on_sent(by, audience, body, &self.statements);
    }

    fn on_suspects(&mut self, by: ReplicaId, view: u64) {
        let known = (&self.tables, self.certificates.faulty());
        self.patience.on_suspects(by, view, self.local_ns, known, &mut self.violations);
    }

    /// A correct replica hands on a client's packet: that is an answer, unless it forwards the request of its own accord (`protocol.md RB-1`).
    pub fn on_relay_sent(&mut self, by: ReplicaId, to: ReplicaId, (client, body): (Principal, &[u8])) {
        let mut messages = Messages::new(body, client).flatten();
        let forwarded = messages.any(|(message, _)| {
            let request = match message {
                Message::RequestPart(part) => part.digest,
                _ => logothete_crypto::digest(body),
            };
            self.forwarded.contains(&(to, request))
        });
        if !forwarded {
            self.on_answered(by, to, (body.len(), None));
        }
    }

    fn on_answered(&mut self, by: ReplicaId, to: ReplicaId, sent: (usize, Option<(Digest, usize)>)) {
        let (faulty, now_ns) = (self.faulty(to), self.now_ns);
        self.bounds.on_answered(by, (to, faulty), sent, now_ns, &mut self.violations);
    }

    fn on_vote(&mut self, by: ReplicaId, vote: Vote) {
        self.durability.on_promised(by, &Promise::Vote(vote), &mut self.violations);
        self.certificates.on_vote(by, vote);
        self.received.on_vote(by, by, vote);
        if vote.ballot.round == Round::Commit {
            self.certificates.on_commit_sent(by, vote);
        }
        if self.contradictions.on_vote(by, vote, &mut self.violations) {
            if !self.durability.holds(by, &Promise::Vote(vote)) {
                self.on_cast(by, vote);
            }
            self.bounds.on_vote(by, vote);
        }
    }

    fn on_checkpoint(&mut self, by: ReplicaId, sequence: u64, digest: Digest) {
        self.contradictions.on_checkpoint(by, sequence, digest, &mut self.violations);
        self.states.on_state(by, sequence, digest, &mut self.violations);
        self.certificates.on_checkpoint(by, sequence, digest);
        self.received.on_checkpoint(by, by, sequence, digest);
        self.counters.on_own_checkpoint(by, sequence, digest);
    }

    fn on_statement(&mut self, by: ReplicaId, part: &Part<'_>) {
        self.durability.on_promised(by, &Promise::Statement(part.digest), &mut self.violations);
        let Some(seen) = self.statements.get(&part.digest) else { return };
        let violations = &mut self.violations;
        if let Some(content) = seen.view_change() {
            self.contradictions.on_view_change(by, &content, part.digest, violations);
            self.certificates.on_view_change(by, &content);
            self.views.on_view_change(by, part.digest);
            self.departures.on_made(by, part.digest);
        }
        if let Some(content) = seen.new_view() {
            self.contradictions.on_new_view(by, &content, part.digest, violations);
            self.certificates.on_new_view(by, &content);
            self.new_views.push(part.digest);
        }
    }

    /// The new views that a correct replica said as their primary in this cycle. What they name may leave after them: its own view change, where it came back
    /// before anybody heard of either.
    fn on_new_views(&mut self, by: ReplicaId) {
        let faulty = self.certificates.faulty();
        for statement in std::mem::take(&mut self.new_views) {
            let seen = self.statements.get(&statement).and_then(|seen| seen.new_view()).expect("it was seen whole");
            let named = (&seen, statement);
            if self.views.on_own_new_view(by, named, &self.statements, faulty, &mut self.violations) {
                self.certificates.on_start(seen.checkpoint.0.0, seen.checkpoint.1);
            }
        }
    }

    fn on_committed(&mut self, by: ReplicaId, sequence: u64, batch: Digest) {
        self.agreement.on_committed(by, sequence, batch, &mut self.violations);
        self.certificates.on_committed(by, sequence, batch);
    }
}

/// What becomes of a correct replica.
impl Checks {
    /// A replica is faulty now.
    pub fn on_faulty(&mut self, id: ReplicaId) {
        self.certificates.on_faulty(id);
    }

    /// A correct replica says that something happened.
    pub fn on_event(&mut self, by: ReplicaId, event: &Event) {
        self.observer.on_event(by, event);
        match event {
            Event::RecoveryPoint(point) => self.contradictions.on_recovery_point(by, point.0, &mut self.violations),
            Event::Recovered => self.durability.on_recovered(by),
            Event::StateFetched(sequence) => self.certificates.on_fetched(by, sequence.0),
            Event::ViewLeft { .. } | Event::ViewEntered(_) => self.view_events.push(*event),
            Event::Contradiction(evidence) if !self.faulty(evidence.replica) => {
                self.contradictions.on_accused(by, evidence.replica, &mut self.violations);
            }
            Event::NewViewWrong { replica, view } if !self.faulty(*replica) => {
                self.views.on_refused(by, view.0, &mut self.violations);
            }
            Event::Diverged(sequence) => {
                self.counters.on_alarm(by);
                self.violations.add(Checker::State, format!("{by} says that it diverged at s{sequence}"));
            }
            _ => {}
        }
    }

    /// A correct replica's disk, as it is when its turn ends.
    pub fn on_durable(&mut self, of: ReplicaId, disk: &Disk) {
        self.read_disk(of, disk, false);
    }

    /// A correct replica's disk, as it is when its process has ended. The next process says what it finds there, whether or not this one did.
    pub fn on_ended(&mut self, of: ReplicaId, disk: &Disk) {
        self.read_disk(of, disk, true);
    }

    fn read_disk(&mut self, of: ReplicaId, disk: &Disk, ended: bool) {
        for bytes in disk.durable_from(self.durability.records(of)) {
            let (record, _) = Record::decode(&bytes).expect("what was written is read");
            let news = self.durability.on_record(of, &record);
            self.monotonicity.on_record(of, &record);
            match record {
                Record::Prepare { view, sequence, digest } => {
                    self.on_vote_durable(of, Vote::new(Round::Prepare, view.0, sequence.0, digest), (news, ended));
                }
                Record::Commit { view, sequence, digest } => {
                    self.on_vote_durable(of, Vote::new(Round::Commit, view.0, sequence.0, digest), (news, ended));
                }
                Record::Committed { sequence, digest } => {
                    self.received.on_decided(of, sequence.0, digest, &mut self.violations);
                    self.on_committed(of, sequence.0, digest);
                }
                _ => {}
            }
        }
    }

    /// A replica's own vote counts for itself when it is durable, whether or not it has left. It need not know itself that it is, where its disk failed.
    fn on_vote_durable(&mut self, of: ReplicaId, vote: Vote, (news, ended): (bool, bool)) {
        self.certificates.on_vote(of, vote);
        self.received.on_vote(of, of, vote);
        if news {
            self.on_cast(of, vote);
        }
        if ended {
            self.on_vote(of, vote);
        }
    }

    /// A correct replica votes for the first time in its present life; what a former one cast was looked at then.
    fn on_cast(&mut self, by: ReplicaId, vote: Vote) {
        let proposal = Vote::new(Round::Proposal, vote.ballot.view, vote.ballot.sequence, vote.batch);
        let kept = self.durability.holds(by, &Promise::Vote(proposal));
        self.received.on_cast(by, vote, kept, &mut self.violations);
    }

    /// A correct replica's duty cycle is over, as far as it says anything: what it said in it binds it from now on.
    pub fn on_cycle_end(&mut self, by: ReplicaId) {
        self.forwarded.clear();
        self.contradictions.on_cycle_end(by);
        // What a new view is made of leaves in the cycle in which it is entered.
        self.on_new_views(by);
        let faulty = self.certificates.faulty();
        for event in std::mem::take(&mut self.view_events) {
            match event {
                Event::ViewEntered(view) => {
                    self.patience.on_entered(by, view.0, self.local_ns);
                    let starts = self.views.on_entered(by, view.0, &self.statements, faulty, &mut self.violations);
                    starts.into_iter().for_each(|(sequence, digest)| self.certificates.on_start(sequence, digest));
                }
                Event::ViewLeft { wanted, .. } => {
                    if self.calm {
                        let text = format!("{by} left for view {wanted}, and nothing is wrong but with clients");
                        self.violations.add(Checker::Liveness, text);
                    }
                    if !self.views.on_left(by, wanted.0, &self.statements, faulty) {
                        let told = (&self.statements, faulty);
                        if self.departures.on_left(by, wanted.0, told, &mut self.violations) {
                            self.on_suspects(by, wanted.0 - 1);
                        }
                    }
                }
                _ => unreachable!("only these are noted"),
            }
        }
    }

    /// What a correct replica's service executed since the last duty cycle, and which batch it committed at each number. What is below its
    /// stable checkpoint may have committed without it.
    pub fn on_executed(
        &mut self,
        by: ReplicaId,
        (upto, stable): (u64, u64),
        (happened, restored): (&Happened, Option<u64>),
        batch_of: impl Fn(u64) -> Option<Digest>,
    ) {
        self.observer.on_executed(by, happened);
        let uncommitted = upto > stable && batch_of(upto).is_none();
        let before = self.monotonicity.executed(by);
        let settled = self.execution.on_happened(by, happened, before, (upto, uncommitted), restored);
        self.monotonicity.on_executed(by, settled.upto, &mut self.violations);
        for request in &happened.executed {
            self.validity.on_executed(by, request, &mut self.violations);
        }
        let mut requests = settled.executed.into_iter().peekable();
        for sequence in settled.from..=settled.upto {
            match batch_of(sequence) {
                Some(batch) => self.on_batch(by, sequence, batch),
                None if sequence > stable => {
                    let text = format!("{by} executed s{sequence}, which it has not committed");
                    self.violations.add(Checker::Certificates, text);
                }
                None => {}
            }
            let mut of_number = Vec::new();
            while let Some(request) = requests.next_if(|request| request.sequence == sequence) {
                of_number.push(request);
            }
            self.on_ordered(by, sequence, &of_number);
        }
        if let Some(request) = requests.next() {
            let (from, upto) = (settled.from, settled.upto);
            let text = format!("{by} executed {request:?} out of the order s{from}..s{upto}");
            self.violations.add(Checker::Agreement, text);
        }
        let settled = self.agreement.operations_after(settled.upto);
        for (_, position) in self.shown.extract_if(.., |(shown_by, _)| *shown_by == by) {
            if position > settled {
                let text =
                    format!("{by} showed its log up to {position}, and only {settled} entries have committed there");
                self.violations.add(Checker::State, text);
            }
        }
        self.look_again();
    }

    /// A correct replica shows runs of its log, each of which follows what comes before it.
    fn on_runs(&mut self, by: ReplicaId, runs: &Runs<'_>) {
        let (mut position, mut chain) = (runs.position, runs.chain);
        self.states.on_chain(by, position, chain, &mut self.violations);
        for run in runs.iter() {
            // Who sent it matters to those who executed it.
            let Ok(Message::Request(request)) = Message::decode(run.message, Principal::Client(ClientId(0))) else {
                self.violations.add(Checker::State, format!("{by} shows a run at {position} that is no request"));
                return;
            };
            chain = verify_run(&chain, position, run.timestamp_ns, run.message);
            position += request.operations.count() as u64;
            self.states.on_chain(by, position, chain, &mut self.violations);
        }
        self.shown.push((by, position));
    }

    /// A correct replica executed these requests at a number, for good.
    fn on_ordered(&mut self, by: ReplicaId, sequence: u64, requests: &[Executed]) {
        if self.agreement.on_executed(by, sequence, requests.to_vec(), &mut self.violations) {
            for request in requests {
                let name = self.validity.name(request.digest, request.client);
                let correct = self.validity.is_correct(request.client);
                self.once.on_ordered(by, request, (name, correct), &mut self.violations);
                if let Some(name) = name {
                    self.tables.on_ordered(sequence, name, request.digest);
                }
            }
        }
    }

    fn on_batch(&mut self, by: ReplicaId, sequence: u64, batch: Digest) {
        if self.received.is_claimed(by, sequence, batch) {
            self.observer.on_claimed();
        }
        self.received.on_committed(by, sequence, batch, &mut self.violations);
        self.on_committed(by, sequence, batch);
    }

    /// How far a correct replica is after a duty cycle, and how many bytes of bodies it holds.
    pub fn on_standing(&mut self, by: ReplicaId, (executed, stable): (u64, u64), bodies: usize) {
        self.observer.on_stable(by, stable);
        self.bounds.on_cycle_end(by, (executed, stable), bodies, &mut self.violations);
        self.certificates.on_cycle_end(&mut self.violations);
        self.counters.on_cycle_end(by, stable, &mut self.violations);
    }

    /// How much a correct replica with a stable checkpoint holds, and how many bytes of journal its disk has, after a duty cycle.
    pub fn on_holdings(&mut self, by: ReplicaId, stable: u64, held: (&Holdings, u64)) {
        self.bounds.on_holdings(by, stable, held, &mut self.violations);
    }

    /// Whether a correct replica finds that its primary achieves less than it owes.
    pub fn on_goodput(&mut self, by: ReplicaId, missed: bool) {
        self.observer.on_goodput(by, missed);
    }

    /// In which view a correct replica is after a duty cycle, if it is in one, and of whom it takes signed requests only. One that is `silent` promises nothing.
    pub fn on_turn_end(&mut self, by: ReplicaId, view: Option<u64>, silent: bool, replica: &Replica) {
        let executed = self.monotonicity.executed(by);
        let tentative = replica.executed().0 != executed;
        let turn = Turn { local_ns: self.local_ns, view, executed, tentative, silent };
        let validity = &self.validity;
        let may_wait = |client| validity.is_correct(client) && !replica.clients().must_sign(ClientId(client));
        self.patience.on_turn(by, turn, &self.tables, may_wait, &mut self.violations);
    }

    /// The client table of a correct replica after a duty cycle.
    pub fn on_table(&mut self, by: ReplicaId, replica: &Replica) {
        let executed = replica.executed().0;
        // What may be undone need not be what others have.
        if executed == self.monotonicity.executed(by) {
            self.tables.on_table(by, executed, replica.clients(), &mut self.violations);
        }
    }

    /// How a correct replica says that it fares, after a duty cycle.
    pub fn on_report(&mut self, by: ReplicaId, report: &ReportReply) {
        let (executed, stable) = (report.executed.get(), report.checkpoint_stable.get());
        self.monotonicity.on_view(by, report.view.get(), &mut self.violations);
        self.monotonicity.on_stable(by, (executed, stable), &mut self.violations);
        // What may be undone need not be what others have.
        if executed == self.monotonicity.executed(by) {
            self.states.on_state(by, executed, report.state_digest, &mut self.violations);
            if self.settings.service() == ServiceKind::Log {
                let operations = self.agreement.operations_after(executed);
                self.states.on_log_end(by, executed, (report.log_end.get(), operations), &mut self.violations);
            }
        }
        // What a new view starts from is known when it is heard of.
        if !self.views.is_unheard(by) {
            let state = self.states.after(stable);
            let told_by = state.map_or(ReplicaSet::EMPTY, |state| self.received.told_of(by, stable, state));
            self.certificates.on_stable(by, stable, (state, told_by), &mut self.violations);
        }
    }

    /// A correct replica's process ended and another began, in a view and with so much executed. What it executed while it read its journal
    /// was executed before, or decided when the process ended; where it forgot, only what it said still counts. `checkpoint` is its last durable one.
    pub fn on_restarted(
        &mut self,
        by: ReplicaId,
        forgot: bool,
        (view, executed): (u64, u64),
        checkpoint: u64,
        recalled: &Happened,
    ) {
        self.observer.on_restarted(by, forgot);
        // It may have come to that in the duty cycle that did not end.
        let is_new = |sequence: u64| sequence > checkpoint && sequence <= executed && !self.agreement.knows(sequence);
        let decided = self.received.decided(by).map(|(sequence, _)| sequence);
        let newly: Vec<u64> = decided.filter(|sequence| !forgot && is_new(*sequence)).collect();
        for sequence in newly {
            let of_number = recalled.executed.iter().filter(|request| request.sequence == sequence);
            self.on_ordered(by, sequence, &of_number.cloned().collect::<Vec<_>>());
        }
        let durable = (checkpoint, self.received.decided(by));
        self.monotonicity.on_restarted(by, forgot, (view, executed), durable, &mut self.violations);
        self.received.on_restarted(by, forgot);
        self.contradictions.on_restarted(by, forgot);
        self.durability.on_restarted(by, forgot);
        self.certificates.on_restarted(by, forgot);
        self.execution.on_restarted(by);
        self.patience.on_restarted(by, forgot);
        self.bounds.on_restarted(by, forgot);
        self.counters.on_restarted(by);
        self.views.on_restarted(by, view);
        for request in recalled.executed.iter().filter(|request| !self.agreement.has(request)) {
            let text = format!("{by} executed {request:?} of its journal, and nobody did before");
            self.violations.add(Checker::Agreement, text);
        }
    }
}

/// Whether a message to one replica alone answers its status, fetch or query. What it is sent of a state it named piece by piece.
fn is_answer(message: &Message<'_>) -> bool {
    matches!(
        message,
        Message::Checkpoint(_)
            | Message::CommitClaim(_)
            | Message::PrePrepare(_)
            | Message::Prepare(_)
            | Message::Commit(_)
            | Message::Part(_)
            | Message::Batch(_)
            | Message::RecoveryAnswer(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::settings::Settings;
    use logothete_engine::numbers::{Incarnation, RequestNumber, SequenceNumber, View};
    use logothete_engine::wire::agreement::append_pre_prepare;
    use logothete_engine::wire::operation::OperationsWriter;
    use logothete_engine::wire::request::{self, RequestName};
    use logothete_engine::wire::subscription::{append_run, append_runs};

    /// Found by seed 27495, where a null batch had a time: whoever lacks such a proposal can never be told.
    #[test]
    fn what_correct_replicas_send_can_be_read() {
        let audience = Audience::Replicas(ReplicaSet::first(4).without(ReplicaId(0)));
        for (timestamp_ns, is_right) in [(0, true), (7, false)] {
            let (mut checks, mut body) = (Checks::new(Settings::default()), Vec::new());
            append_pre_prepare(&mut body, View(0), SequenceNumber(1), timestamp_ns, &[]);
            checks.on_sent(ReplicaId(0), audience, &body);
            assert_eq!(checks.verdict().is_ok(), is_right, "{timestamp_ns}");
        }
    }

    /// Two replicas show the same two requests of the log in one packet; one of them has other bytes in the second, or another time.
    #[test]
    fn every_run_that_is_shown_is_the_logs() {
        let told = |entries: [&[u8]; 2], times: [u64; 2]| {
            let (mut runs, mut body) = (Vec::new(), Vec::new());
            for (number, (entry, time)) in (1..).zip(entries.into_iter().zip(times)) {
                let (client, incarnation) = (ClientId(0), Incarnation(3));
                let name = RequestName { client, incarnation, number: RequestNumber(number) };
                let (mut operations, mut request) = (OperationsWriter::new(64), Vec::new());
                assert!(operations.try_push(1, number, entry));
                request::append(&mut request, name, 1, operations.bytes());
                append_run(&mut runs, time, &request);
            }
            append_runs(&mut body, 1, 0, 4, Digest([9; 32]), 2, &runs);
            body
        };
        let subscriber = Audience::Client(ClientId(0));
        for (entries, times, are_right) in [
            ([b"one".as_slice(), b"two"], [5, 6], true),
            ([b"one", b"too"], [5, 6], false),
            ([b"one", b"two"], [5, 7], false),
        ] {
            let mut checks = Checks::new(Settings::default());
            checks.on_sent(ReplicaId(0), subscriber, &told([b"one", b"two"], [5, 6]));
            checks.on_sent(ReplicaId(1), subscriber, &told(entries, times));
            assert_eq!(checks.verdict().is_ok(), are_right, "{entries:?} {times:?}");
            assert_eq!(checks.shown, [(ReplicaId(0), 6), (ReplicaId(1), 6)]);
        }
    }
}
