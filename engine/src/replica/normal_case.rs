//! The normal case: pre-prepare, prepare, commit, and execution in order (`protocol.md NC-3` to `NC-8`, PBFT-99 section 4.2).

use super::evidence::{Evidence, EvidenceKind, Proof};
use super::log::{Stage, VoteOutcome};
use super::output::{Output, ScheduledRequest};
use super::{Now, Reject, Replica};
use crate::limits::HELD_RETRY_NS;
use crate::numbers::{Principal, ReplicaId, RequestNumber, SequenceNumber};
use crate::wire::agreement::{PrePrepare, Vote, batch_digest};

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
        if !self.log.in_window(sequence) {
            return Err(Reject::OutsideWindow);
        }
        let known = proposal.entries.iter().all(|entry| self.clients.knows(entry.name().client));
        if !known || proposal.entries.len() > self.config.batch_requests_max {
            return Err(Reject::BatchOutOfBounds);
        }
        let digest = batch_digest(proposal.timestamp_ns, proposal.entries);
        let slot = self.log.slot_mut(sequence).expect("the window has a slot for each of its numbers");
        if let Some(held) = slot.proposal {
            if held.digest == digest {
                return Err(Reject::Duplicate);
            }
            let (kind, view, held, proof) = (EvidenceKind::Proposal, Some(proposal.view), held.digest, Proof::Mac);
            let evidence = Evidence { replica: from, kind, view, sequence, held, other: digest, proof };
            self.evidence.record(evidence, output);
            return Err(Reject::ProposalConflict);
        }
        slot.proposal = Some(super::log::Proposal { view: proposal.view, timestamp_ns: proposal.timestamp_ns, digest });
        slot.entries.extend_from_slice(proposal.entries);
        slot.bodies_missing = 0;
        for entry in proposal.entries {
            let body = self.clients.waiting_body(entry.name(), &entry.digest, &self.bodies);
            match body {
                Some(body) => self.bodies.retain(body),
                None => slot.bodies_missing += 1,
            }
            slot.bodies.push(body);
        }
        if slot.bodies_missing > 0 {
            slot.fetch_at_ns = now.monotonic_ns;
            self.incomplete.push(sequence);
        }
        self.highest_seen = self.highest_seen.max(sequence);
        Ok(())
    }

    /// Accepts held proposals, in order, as far as everything that they need is here: the one before, the bodies, proof or others' word
    /// that their clients sent them, and a clock that is not too far behind the primary's (`NC-4`). What cannot be accepted yet stays
    /// held.
    pub(super) fn accept_in_order(&mut self, now: Now, output: &mut Output) {
        self.held_until_ns = None;
        let primary = Principal::Replica(self.primary());
        loop {
            let sequence = self.accepted.next();
            if !self.log.in_window(sequence) {
                return;
            }
            let slot = self.log.slot_mut(sequence).expect("the window has a slot for each of its numbers");
            let Some(proposal) = slot.proposal else { return };
            if slot.bodies_missing > 0 || slot.refused {
                return;
            }
            let proven = slot.entries.iter().zip(&slot.bodies).all(|(entry, body)| {
                body.is_some_and(|body| self.bodies.is_authentic(body))
                    || self.clients.waiting_body(entry.name(), &entry.digest, &self.bodies).is_some()
            });
            // The primary vouches by proposing, a backup by its prepare; of f+1 one is correct, and verified its own tag.
            if !proven && 1 + slot.prepares.matching(&proposal.digest) < self.config.quorum.weak() {
                return;
            }
            if proposal.timestamp_ns > now.wall_ns.saturating_add(self.config.clock_bound_ns) {
                self.held_until_ns = Some(now.monotonic_ns + HELD_RETRY_NS);
                return;
            }
            let bytes: usize = slot.bodies.iter().flatten().map(|body| self.bodies.message(*body).len()).sum();
            if bytes > self.config.batch_bytes_max() {
                // The primary is faulty; nothing of it is accepted from here on.
                self.rejects.count(Some(primary), Reject::BatchOutOfBounds);
                slot.refused = true;
                return;
            }
            slot.stage = Stage::PrePrepared;
            slot.prepares.record(self.config.id, proposal.digest);
            self.accepted = sequence;
            let vote = Vote::new(self.view, sequence, proposal.digest);
            output.send(self.others(), |bytes| vote.append_prepare(bytes));
            self.advance(sequence, output);
        }
    }

    pub(super) fn on_prepare(&mut self, from: ReplicaId, vote: &Vote, output: &mut Output) -> Result<(), Reject> {
        if from == self.primary() {
            return Err(Reject::RoleWrong);
        }
        self.on_vote(from, vote, false, output)
    }

    pub(super) fn on_commit(&mut self, from: ReplicaId, vote: &Vote, output: &mut Output) -> Result<(), Reject> {
        self.on_vote(from, vote, true, output)
    }

    /// Counts a vote, also one whose pre-prepare is not here yet (`NC-6`).
    fn on_vote(&mut self, from: ReplicaId, vote: &Vote, commit: bool, output: &mut Output) -> Result<(), Reject> {
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
        self.advance(sequence, output);
        Ok(())
    }

    /// Takes a number as far as its votes carry it: prepared, then committed (`NC-5`). The one place where votes are compared with quorums.
    pub(super) fn advance(&mut self, sequence: SequenceNumber, output: &mut Output) {
        let quorum = self.config.quorum;
        let others = self.others();
        let slot = self.log.slot_mut(sequence).expect("only numbers of the window advance");
        let Some(proposal) = slot.proposal else { return };
        if slot.stage == Stage::PrePrepared && slot.prepares.matching(&proposal.digest) >= quorum.prepares() {
            slot.stage = Stage::Prepared;
            slot.commits.record(self.config.id, proposal.digest);
            let vote = Vote::new(proposal.view, sequence, proposal.digest);
            output.send(others, |bytes| vote.append_commit(bytes));
        }
        if slot.stage == Stage::Prepared && slot.commits.matching(&proposal.digest) >= quorum.strong() {
            slot.stage = Stage::Committed;
            self.execute_committed(output);
        }
    }

    /// Hands committed batches to execution, in order (`NC-7`). Stops at a checkpoint until its digest is taken, so that the digest is of the state
    /// after exactly that number.
    pub(super) fn execute_committed(&mut self, output: &mut Output) {
        while !self.checkpoints.digest_pending() {
            let sequence = self.executed.next();
            let Some(slot) = self.log.slot(sequence).filter(|slot| slot.stage == Stage::Committed) else { return };
            let proposal = slot.proposal.expect("what is committed was proposed");
            assert_eq!(slot.bodies_missing, 0, "what is committed here was accepted here, with its bodies");
            // Strictly later than the batch before, whatever the primary wrote (`NC-8`).
            let timestamp_ns = proposal.timestamp_ns.max(self.executed_timestamp_ns + 1);
            let (clients, bodies) = (&mut self.clients, &mut self.bodies);
            let requests = slot.entries.iter().zip(&slot.bodies).filter_map(|(entry, body)| {
                let name = entry.name();
                let due = clients.schedule(name, bodies);
                let body = body.filter(|_| name.number != RequestNumber::OPEN);
                due.then_some(ScheduledRequest { name, digest: entry.digest, body })
            });
            output.execute(sequence, timestamp_ns, requests);
            self.executed = sequence;
            self.executed_timestamp_ns = timestamp_ns;
            self.pulse.progressed();
            if self.checkpoints.due_after(sequence) {
                self.checkpoints.await_digest(sequence);
                output.checkpoint(sequence);
            }
        }
    }
}
