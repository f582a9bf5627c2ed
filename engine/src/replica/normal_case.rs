//! The normal case: pre-prepare, prepare, commit, and execution in order (`protocol.md NC-3` to `NC-8`, PBFT-99 section 4.2).

use super::demotion::{self, Judge};
use super::evidence::{Evidence, EvidenceKind, Proof};
use super::log::{Batch, Slot, Stage, VoteOutcome};
use super::output::{Event, Output, ScheduledRequest};
use super::signed_requests::is_signed;
use super::{Now, Reject, Replica};
use crate::journal::Record;
use crate::limits::HELD_RETRY_NS;
use crate::numbers::{ClientId, Principal, ReplicaId, RequestNumber, SequenceNumber};
use crate::planted::{self, Bug};
use crate::wire::agreement::{BatchEntry, CommitClaim, PrePrepare, Vote, batch_digest};
use crate::wire::view_change::null_batch;
use logothete_crypto::Digest;

impl Replica {
    /// Holds a proposal; [`Replica::accept_in_order`] votes for it when everything it needs is here (`NC-3`).
    pub(super) fn on_pre_prepare(
        &mut self,
        now: Now,
        from: ReplicaId,
        proposal: &PrePrepare<'_>,
        output: &mut Output,
    ) -> Result<(), Reject> {
        let sequence = proposal.sequence;
        if proposal.view != self.view {
            return Err(Reject::ViewOther);
        }
        if from != self.primary() || from == self.config.id {
            return Err(Reject::RoleWrong);
        }
        if !self.log.in_window(sequence) && !planted::is(Bug::WindowUnchecked) {
            return Err(Reject::OutsideWindow);
        }
        if !self.is_batch_in_bounds(proposal.entries) {
            return Err(Reject::BatchOutOfBounds);
        }
        let digest = batch_digest(proposal.timestamp_ns, proposal.entries);
        let slot = self.log.slot_mut(sequence).expect("the window has a slot for each of its numbers");
        if let Some(held) = slot.proposal {
            if held == digest {
                return Err(Reject::Duplicate);
            }
            let (kind, view, held, proof) = (EvidenceKind::Proposal, Some(proposal.view), held, Proof::Mac);
            let evidence = Evidence { replica: from, kind, view, sequence, held, other: digest, proof };
            self.evidence.record(evidence, output);
            return Err(Reject::ProposalConflict);
        }
        slot.proposal = Some(digest);
        self.learn_batch(now, sequence, digest, proposal.timestamp_ns, proposal.entries);
        self.highest_seen = self.highest_seen.max(sequence);
        Ok(())
    }

    pub(super) fn is_batch_in_bounds(&self, entries: &[BatchEntry]) -> bool {
        let knows = |client| self.clients.knows(client) || client == ClientId::SYSTEM;
        entries.len() <= self.config.batch_requests_max
            && entries.iter().all(|entry| knows(entry.name().client))
            && demotion::are_in_bounds(entries)
    }

    /// Keeps the content of a batch, with the bodies that are here; what is lacking is asked for.
    pub(super) fn learn_batch(
        &mut self,
        now: Now,
        sequence: SequenceNumber,
        digest: Digest,
        timestamp_ns: u64,
        entries: &[BatchEntry],
    ) {
        let slot = self.log.slot_mut(sequence).expect("batches are learned for numbers that have a slot");
        let batch = slot.batch_or_new(digest);
        if batch.known {
            return;
        }
        batch.known = true;
        batch.timestamp_ns = timestamp_ns;
        batch.entries.extend_from_slice(entries);
        batch.bodies_missing = 0;
        for entry in entries {
            let body = self.clients.waiting_body(entry.name(), &entry.digest, &self.bodies);
            match body {
                Some(body) => self.bodies.retain(body),
                None => batch.bodies_missing += 1,
            }
            batch.bodies.push(body);
        }
        let complete = batch.is_complete();
        (batch.fetch_at_ns, batch.fetch_tries) = (now.monotonic_ns, 0);
        let wanted = (sequence, digest);
        if complete {
            self.incomplete.retain(|held| *held != wanted);
        } else if !self.incomplete.contains(&wanted) {
            self.incomplete.push(wanted);
        }
    }

    /// Accepts held proposals, in order, as far as everything that they need is here (`NC-4`). What cannot be accepted yet stays held.
    pub(super) fn accept_in_order(&mut self, now: Now, output: &mut Output) {
        self.held_until_ns = None;
        while self.active {
            let sequence = self.accepted.next();
            if !self.log.in_window(sequence) {
                return;
            }
            if let Some(digest) = self.acceptable(now, sequence) {
                self.pre_prepare(now, sequence, digest, output);
                self.advance(now, sequence, output);
                continue;
            }
            let slot = self.log.slot(sequence).expect("the window has a slot for each of its numbers");
            if slot.committed.is_none() || sequence > self.executed {
                return;
            }
            // Others' claims decided it (`NC-10`), and nobody sends what was proposed to whoever has it: what comes after it must not wait for that.
            self.accepted = sequence;
            self.held_until_ns = None;
        }
    }

    /// The batch that is proposed for a number, if everything that it needs is here: the bodies, proof or others' word that their clients sent
    /// them, and a clock that is not too far behind the primary's (`NC-4`). Of what the view took over nothing is checked but that it is here (`VC-7`).
    fn acceptable(&mut self, now: Now, sequence: SequenceNumber) -> Option<Digest> {
        let slot = self.log.slot(sequence).expect("the window has a slot for each of its numbers");
        let batch = slot.proposed_batch().filter(|batch| batch.is_complete() && !slot.refused)?;
        let digest = batch.digest;
        if slot.carried {
            return Some(digest);
        }
        let vouching = 1 + slot.prepares.matching(&digest);
        if vouching < self.config.quorum.weak() && !self.is_proven(batch) {
            let all_seen = self.seek_proofs(now, sequence);
            if !self.log.slot(sequence).and_then(Slot::proposed_batch).is_some_and(|batch| self.is_proven(batch)) {
                self.examine_unproven(now, sequence);
                self.held_until_ns = (!all_seen).then_some(now.monotonic_ns + HELD_RETRY_NS);
                return None;
            }
        }
        let slot = self.log.slot(sequence).expect("it was just looked at");
        let batch = slot.proposed_batch().expect("it was just looked at");
        if batch.timestamp_ns > now.wall_ns.saturating_add(self.config.clock_bound_ns) {
            self.held_until_ns = Some(now.monotonic_ns + HELD_RETRY_NS);
            return None;
        }
        let message_bytes = |body: &super::BodyRef| self.bodies.message(*body).len();
        let bytes: usize = batch.bodies.iter().flatten().map(message_bytes).sum();
        if !self.config.is_batch_size(batch.entries.len(), bytes) || !slot.may_pre_prepare(&digest) {
            // Nothing of this primary is accepted from here on, but for what comes after it if others decide it.
            self.rejects.count(Some(Principal::Replica(self.primary())), Reject::BatchOutOfBounds);
            self.log.slot_mut(sequence).expect("it was just looked at").refused = true;
            return None;
        }
        Some(digest)
    }

    /// Whether this replica verified the client's tag of every request of a batch.
    fn is_proven(&self, batch: &Batch) -> bool {
        batch.entries.iter().zip(&batch.bodies).all(|(entry, body)| {
            body.is_some_and(|body| self.bodies.is_authentic(body))
                || self.clients.waiting_body(entry.name(), &entry.digest, &self.bodies).is_some()
        })
    }

    /// Takes the proposal of a number for pre-prepared: a backup votes for it.
    fn pre_prepare(&mut self, now: Now, sequence: SequenceNumber, digest: Digest, output: &mut Output) {
        let primary = self.is_primary();
        let slot = self.log.slot_mut(sequence).expect("only numbers of the window are pre-prepared");
        slot.stage = Stage::PrePrepared;
        slot.note_pre_prepared(self.view, digest);
        self.accepted = sequence;
        self.persist_proposal(sequence, digest, output);
        if primary {
            let slot = self.log.slot(sequence).expect("it was just accepted");
            // Carried over: its requests are not to be proposed again. Of what is executed the client table tells better: it knows what was
            // void.
            let batch = slot.proposed_batch().expect("it was just accepted");
            if sequence > self.executed {
                batch.entries.iter().for_each(|entry| self.clients.mark_proposed(entry.name()));
            }
            self.proposed_timestamp_ns = self.proposed_timestamp_ns.max(batch.timestamp_ns);
            return;
        }
        self.vote(now, sequence, digest, false, output);
    }

    pub(super) fn on_prepare(
        &mut self,
        now: Now,
        from: ReplicaId,
        vote: &Vote,
        output: &mut Output,
    ) -> Result<(), Reject> {
        if vote.view() == self.view && from == self.primary() && !planted::is(Bug::PrimaryVotesTwice) {
            return Err(Reject::RoleWrong);
        }
        self.on_vote(now, from, vote, false, output)
    }

    pub(super) fn on_commit(
        &mut self,
        now: Now,
        from: ReplicaId,
        vote: &Vote,
        output: &mut Output,
    ) -> Result<(), Reject> {
        self.on_vote(now, from, vote, true, output)
    }

    /// Counts a vote, also one whose pre-prepare is not here yet, or whose view is not entered yet (`NC-6`).
    fn on_vote(
        &mut self,
        now: Now,
        from: ReplicaId,
        vote: &Vote,
        commit: bool,
        output: &mut Output,
    ) -> Result<(), Reject> {
        let sequence = vote.sequence();
        if vote.view() != self.view {
            return Err(Reject::ViewOther);
        }
        if !self.log.in_window(sequence) {
            return Err(Reject::OutsideWindow);
        }
        let slot = self.log.slot_mut(sequence).expect("the window has a slot for each of its numbers");
        let votes = if commit { &mut slot.commits } else { &mut slot.prepares };
        match votes.record(from, vote.digest) {
            VoteOutcome::Counted => {}
            VoteOutcome::Repeated => return Err(Reject::Duplicate),
            VoteOutcome::Contradicts(held) => {
                let kind = if commit { EvidenceKind::Commit } else { EvidenceKind::Prepare };
                let (view, other, proof) = (Some(vote.view()), vote.digest, Proof::Mac);
                self.evidence.record(Evidence { replica: from, kind, view, sequence, held, other, proof }, output);
                return Err(Reject::VoteConflict);
            }
        }
        self.highest_seen = self.highest_seen.max(sequence);
        self.advance(now, sequence, output);
        Ok(())
    }

    /// Takes a number as far as its votes carry it: prepared, then committed (`NC-5`). The one place where votes are compared with quorums.
    pub(super) fn advance(&mut self, now: Now, sequence: SequenceNumber, output: &mut Output) {
        let quorum = self.config.quorum;
        let short = usize::from(planted::is(Bug::QuorumShort));
        let slot = self.log.slot_mut(sequence).expect("only numbers of the window advance");
        let Some(digest) = slot.proposal else { return };
        if slot.stage == Stage::PrePrepared && slot.prepares.matching(&digest) >= quorum.prepares() - short {
            slot.stage = Stage::Prepared;
            slot.prepared = Some((self.view, digest));
            self.vote(now, sequence, digest, true, output);
            self.execute_committed(now, output);
        }
        let slot = self.log.slot_mut(sequence).expect("only numbers of the window advance");
        if slot.stage == Stage::Prepared && slot.committing(&digest) >= quorum.strong() - short {
            slot.stage = Stage::Committed;
            self.commit(now, sequence, digest, output);
        }
    }

    /// What a peer claims to have committed; of `f+1` that claim the same one is correct (`NC-10`).
    pub(super) fn on_commit_claim(
        &mut self,
        now: Now,
        from: ReplicaId,
        claim: &CommitClaim,
        output: &mut Output,
    ) -> Result<(), Reject> {
        let sequence = claim.sequence();
        if !self.log.in_window(sequence) {
            return Err(Reject::OutsideWindow);
        }
        let slot = self.log.slot_mut(sequence).expect("the window has a slot for each of its numbers");
        match slot.claims.record(from, claim.digest) {
            VoteOutcome::Counted => {}
            VoteOutcome::Repeated => return Err(Reject::Duplicate),
            VoteOutcome::Contradicts(held) => {
                let (kind, other, proof) = (EvidenceKind::Claim, claim.digest, Proof::Mac);
                self.evidence
                    .record(Evidence { replica: from, kind, view: None, sequence, held, other, proof }, output);
                return Err(Reject::VoteConflict);
            }
        }
        if slot.claims.matching(&claim.digest) >= self.config.quorum.weak() {
            self.commit(now, sequence, claim.digest, output);
        } else {
            self.advance(now, sequence, output);
        }
        Ok(())
    }

    /// A number is decided.
    pub(super) fn commit(&mut self, now: Now, sequence: SequenceNumber, digest: Digest, output: &mut Output) {
        let slot = self.log.slot_mut(sequence).expect("only numbers of the window are decided");
        match slot.committed {
            None => {
                slot.committed = Some(digest);
                self.promises.record(&Record::Committed { sequence, digest }, output);
            }
            Some(committed) if committed == digest => return,
            Some(_) => {
                // More than f replicas are faulty.
                self.diverged = true;
                output.event(Event::Diverged(sequence));
                return;
            }
        }
        let slot = self.log.slot_mut(sequence).expect("only numbers of the window are decided");
        let batch = slot.batch_or_new(digest);
        batch.known |= digest == null_batch();
        if !batch.is_complete() && !self.incomplete.contains(&(sequence, digest)) {
            batch.fetch_at_ns = now.monotonic_ns;
            self.incomplete.push((sequence, digest));
        }
        self.highest_seen = self.highest_seen.max(sequence);
        if let Some(tentative) = self.tentative.take_if(|tentative| tentative.0 == sequence) {
            if tentative.1 == digest {
                self.release_checkpoint(output);
            } else {
                self.tentative = Some(tentative);
                self.undo_tentative(output);
            }
        }
        self.execute_committed(now, output);
    }

    /// What is to be executed next: what committed, or one batch that prepared where everything below committed (`EX-1`).
    fn next_to_execute(&self) -> Option<(SequenceNumber, Digest)> {
        if self.checkpoints.is_taking() || self.undoing.is_some() {
            return None;
        }
        let sequence = self.executed.next();
        let slot = self.log.slot(sequence)?;
        // Who forgot what it promised takes no part in what a tentative reply promises (`RC-2`). What is below the stable checkpoint, or one that is fetched, has
        // committed, and is waited for from who has the state, not from the primary.
        let may_precede = self.config.tentative && self.active && !self.recalling && !self.is_silent();
        let fetched = self.fetching.is_some_and(|fetching| sequence <= fetching.target.0);
        let may_precede = may_precede && !self.lacks_state() && !fetched;
        let prepared = may_precede && slot.stage >= Stage::Prepared;
        // Nothing is executed on top of what may be undone.
        let digest = slot.committed.or(slot.proposal.filter(|_| prepared)).filter(|_| self.tentative.is_none())?;
        slot.batch(&digest).filter(|batch| batch.is_complete())?;
        Some((sequence, digest))
    }

    /// Hands batches to execution, in order (`NC-7`). Stops at a checkpoint until the host has taken it, so that it is of the state after
    /// exactly that number.
    pub(super) fn execute_committed(&mut self, now: Now, output: &mut Output) {
        while let Some((sequence, digest)) = self.next_to_execute() {
            self.persist_committed(sequence, digest, output);
            let slot = self.log.slot(sequence).expect("it was just looked at");
            let batch = slot.batch(&digest).expect("it was just looked at");
            if slot.committed.is_none() {
                self.tentative = Some((sequence, digest));
                self.tentative_since_ns = now.monotonic_ns;
            }
            // Strictly later than the batch before, whatever the primary wrote (`NC-8`). A null batch executes nothing, and has no time.
            if !batch.entries.is_empty() {
                self.executed_timestamp_ns = batch.timestamp_ns.max(self.executed_timestamp_ns + 1);
            }
            let (clients, bodies) = (&mut self.clients, &mut self.bodies);
            let (synchroniser, signatures) = (&mut self.synchroniser, &self.signatures);
            let (judge, mut demoted) = (Judge { signatures, weak: self.config.quorum.weak() }, Vec::new());
            // What waited for another view, in one that does not work, or for the disk tells nothing of how long a good primary takes.
            let fair_since_ns = self.entered_ns.max(self.promises.disks_go_since_ns(now.monotonic_ns));
            let fair_ns = now.monotonic_ns.saturating_sub(fair_since_ns);
            let learns = self.active && sequence > self.carried_last && !synchroniser.is_suspecting();
            let requests = batch.entries.iter().zip(&batch.bodies).filter_map(|(entry, body)| {
                let name = entry.name();
                if let Some(waited_ns) = clients.waited_ns(name, bodies, now.monotonic_ns).filter(|_| learns) {
                    synchroniser.on_executed(now.monotonic_ns, waited_ns.min(fair_ns));
                }
                let whole = body.expect("what is executed is complete");
                if name.client == ClientId::SYSTEM {
                    demoted.extend(judge.execute(clients, bodies, whole));
                    return None;
                }
                // Which request counts follows from its bytes and from the order (`DM-5`).
                if clients.must_sign(name.client) && clients.is_next(name) && !is_signed(signatures, bodies, whole) {
                    clients.pass_over(name);
                    return None;
                }
                let due = clients.schedule(name, bodies, now.monotonic_ns);
                let body = body.filter(|_| name.number != RequestNumber::OPEN);
                due.then_some(ScheduledRequest { name, digest: entry.digest, body })
            });
            output.execute(sequence, self.executed_timestamp_ns, requests);
            demoted.into_iter().for_each(|client| output.event(Event::Demoted { client, sequence }));
            self.note_served(sequence, &digest);
            if self.active && sequence > self.carried_last {
                self.synchroniser.on_progress();
            }
            self.executed = sequence;
            self.pulse.progressed(now.monotonic_ns);
            if self.checkpoints.due_after(sequence) {
                self.checkpoints.take(sequence);
                output.checkpoint(sequence);
            }
        }
    }
}
