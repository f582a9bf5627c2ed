//! The primary's part: which requests make the next batch, and when it may be proposed (`protocol.md NC-2`, `BP-1`,
//! `BP-2`).

use super::log::{Slot, Stage};
use super::output::Output;
use super::{Now, Replica};
use crate::limits::{NULL_BATCH_DOUBLINGS, NULL_BATCH_NS};
use crate::numbers::{ClientId, SequenceNumber, View};
use crate::wire::agreement::{BatchEntry, append_pre_prepare, batch_digest};
use crate::wire::request::signed_parts;

impl Replica {
    /// Proposes batches while requests wait and the pipeline has room: at once when it is not full, so that a lone request never waits for
    /// company; of everything that came together when it was.
    pub(super) fn propose(&mut self, now: Now, output: &mut Output) {
        // What the view took over comes first: then it is known which requests are proposed already. While what was executed is undone, it is not known how
        // far the pipeline is.
        if self.is_primary()
            && self.active
            && self.accepted >= self.proposed
            && !self.is_silent()
            && self.undoing.is_none()
        {
            while self.may_propose(self.proposed.next(), now) && self.propose_next(now, output) {}
        }
        // A null batch for which there is no room is not looked at again at once.
        if self.null_due_ns <= now.monotonic_ns {
            self.null_due_ns = now.monotonic_ns + self.null_pace_ns();
        }
    }

    fn may_propose(&self, sequence: SequenceNumber, now: Now) -> bool {
        // What is executed already, on others' claims, was decided in a higher view: this one is over.
        let ahead = sequence.0.checked_sub(self.executed.0 + 1);
        if !self.log.in_window(sequence) || ahead.is_none_or(|ahead| ahead >= self.config.pipeline_depth) {
            return false;
        }
        // No further than a window ahead of a live backup, so that what it lacks is still in the others' logs. One that is further back
        // already cannot be helped by waiting.
        let window = self.log.window();
        let beyond_help = SequenceNumber(self.proposed.0.saturating_sub(window));
        match self.peers.slowest(self.executed, beyond_help, self.entered_ns, now.monotonic_ns) {
            Some(slowest) => sequence.0 <= slowest.0.saturating_add(window),
            None => true,
        }
    }

    /// Proposes one batch; `false` when no request waits.
    fn propose_next(&mut self, now: Now, output: &mut Output) -> bool {
        let sequence = self.proposed.next();
        self.entries.clear();
        self.proposing.clear();
        let mut bytes = 0;
        // A number of which so many batches were proposed in vain stays empty (`RB-8`).
        let full = self.log.slot(sequence).is_some_and(Slot::is_full);
        if !full && let Some(body) = self.next_demotion(now) {
            bytes += self.bodies.message(body).len();
            self.entries.push(BatchEntry::new(self.bodies.name(body), self.bodies.digest(body)));
            self.proposing.push(Some(body));
        }
        // Whether others can prove what is asked shows when something that this view's primary proposed is executed (`DM-8`).
        let untried = self.view > View(0) && self.executed <= self.carried_last;
        let mut doubtful: Option<ClientId> = None;
        while !full && self.entries.len() < self.config.batch_requests_max {
            let (count, config) = (self.entries.len() + 1, &self.config);
            let is_doubtful = |client| untried || self.disputes.doubts(client);
            let fits = |body| {
                let (message, client) = (self.bodies.message(body), self.bodies.name(body).client);
                let disputed = self.disputes.disputed(client, config.id, config.quorum.weak());
                let apart = doubtful.is_some_and(|other| other != client) && is_doubtful(client);
                let fits = config.is_batch_size(count, bytes + message.len());
                fits && (!(disputed || apart) || signed_parts(message).is_some())
            };
            let Some(body) = self.clients.next_to_propose(&self.bodies, fits) else { break };
            let (message, client) = (self.bodies.message(body), self.bodies.name(body).client);
            if is_doubtful(client) && signed_parts(message).is_none() {
                doubtful = Some(client);
            }
            bytes += message.len();
            self.bodies.retain(body);
            self.entries.push(BatchEntry::new(self.bodies.name(body), self.bodies.digest(body)));
            self.proposing.push(Some(body));
        }
        let null = self.entries.is_empty();
        if null && !(full && self.clients.work_waits(&self.bodies)) && !self.is_null_due(now) {
            return false;
        }
        self.nulls_in_a_row = if null { self.nulls_in_a_row + 1 } else { 0 };
        // A null batch has no time.
        let timestamp_ns = if null { 0 } else { now.wall_ns.max(self.proposed_timestamp_ns + 1) };
        let digest = batch_digest(timestamp_ns, &self.entries);
        let slot = self.log.slot_mut(sequence).expect("the window has a slot for each of its numbers");
        assert!(slot.proposal.is_none(), "a primary proposes once for a number");
        slot.proposal = Some(digest);
        slot.stage = Stage::PrePrepared;
        slot.note_pre_prepared(self.view, digest);
        let batch = slot.batch_or_new(digest);
        batch.known = true;
        batch.timestamp_ns = timestamp_ns;
        std::mem::swap(&mut batch.entries, &mut self.entries);
        std::mem::swap(&mut batch.bodies, &mut self.proposing);
        self.persist_proposal(sequence, digest, output);
        let batch = self.log.slot(sequence).and_then(|slot| slot.batch(&digest)).expect("it was just put there");
        let audience = super::others(&self.config);
        output.promise(audience, |bytes| append_pre_prepare(bytes, self.view, sequence, timestamp_ns, &batch.entries));
        self.examine_unproven(now, sequence);
        self.proposed = sequence;
        self.proposed_timestamp_ns = self.proposed_timestamp_ns.max(timestamp_ns);
        self.accepted = sequence;
        self.highest_seen = self.highest_seen.max(sequence);
        self.advance(now, sequence, output);
        true
    }

    /// Whether to order nothing at all: an idle cluster comes to no checkpoint, and a replica that recovers waits for one (`RC-5`).
    fn is_null_due(&mut self, now: Now) -> bool {
        let recovers = self.peers.recovering(now.monotonic_ns).count() > 0;
        if !recovers {
            // Who recovers next must not wait for the pace that the last one needed.
            self.nulls_in_a_row = 0;
        }
        let due = recovers && self.null_due_ns <= now.monotonic_ns;
        if due {
            self.null_due_ns = now.monotonic_ns + self.null_pace_ns();
        }
        due
    }

    /// From one null batch to the next: twice as long with each window of them, so that a state is not let go before it is fetched.
    fn null_pace_ns(&self) -> u64 {
        let windows = self.nulls_in_a_row / self.log.window();
        NULL_BATCH_NS << windows.min(u64::from(NULL_BATCH_DOUBLINGS))
    }

    /// When the next null batch is due.
    pub(super) fn null_deadline_ns(&self, now_ns: u64) -> u64 {
        let orders = self.is_primary() && self.active && !self.is_silent() && self.peers.recovering(now_ns).count() > 0;
        if orders { self.null_due_ns } else { u64::MAX }
    }
}
