//! The primary's part: which requests make the next batch, and when it may be proposed (`protocol.md NC-2`, `BP-1`,
//! `BP-2`).

use super::log::{Proposal, Stage};
use super::output::Output;
use super::{Now, Replica};
use crate::numbers::SequenceNumber;
use crate::wire::agreement::{BatchEntry, append_pre_prepare, batch_digest};

impl Replica {
    /// Proposes batches while requests wait and the pipeline has room: at once when it is not full, so that a lone request never waits for
    /// company; of everything that came together when it was.
    pub(super) fn propose(&mut self, now: Now, output: &mut Output) {
        if !self.is_primary() {
            return;
        }
        while self.may_propose(self.proposed.next(), now) && self.propose_next(now, output) {}
    }

    fn may_propose(&self, sequence: SequenceNumber, now: Now) -> bool {
        if !self.log.in_window(sequence) || sequence.0 - self.executed.0 > self.config.pipeline_depth {
            return false;
        }
        // No further than a window ahead of a live backup, so that what it lacks is still in the others' logs. One that is further back
        // already cannot be helped by waiting.
        let window = self.log.window();
        let beyond_help = SequenceNumber(self.proposed.0.saturating_sub(window));
        match self.peers.slowest(self.executed, beyond_help, now.monotonic_ns) {
            Some(slowest) => sequence.0 <= slowest.0.saturating_add(window),
            None => true,
        }
    }

    /// Proposes one batch; `false` when no request waits.
    fn propose_next(&mut self, now: Now, output: &mut Output) -> bool {
        let sequence = self.proposed.next();
        let slot = self.log.slot_mut(sequence).expect("the window has a slot for each of its numbers");
        assert!(slot.proposal.is_none() && slot.entries.is_empty(), "a primary proposes once for a number");
        let (mut bytes, bytes_max) = (0, self.config.batch_bytes_max());
        while slot.entries.len() < self.config.batch_requests_max {
            let fits = |body| bytes + self.bodies.message(body).len() <= bytes_max;
            let Some(body) = self.clients.next_to_propose(&self.bodies, fits) else { break };
            bytes += self.bodies.message(body).len();
            self.bodies.retain(body);
            slot.entries.push(BatchEntry::new(self.bodies.name(body), self.bodies.digest(body)));
            slot.bodies.push(Some(body));
        }
        if slot.entries.is_empty() {
            return false;
        }
        let timestamp_ns = now.wall_ns.max(self.proposed_timestamp_ns + 1);
        let digest = batch_digest(timestamp_ns, &slot.entries);
        slot.proposal = Some(Proposal { view: self.view, timestamp_ns, digest });
        slot.stage = Stage::PrePrepared;
        let audience = super::others(&self.config);
        output.send(audience, |bytes| append_pre_prepare(bytes, self.view, sequence, timestamp_ns, &slot.entries));
        self.proposed = sequence;
        self.proposed_timestamp_ns = timestamp_ns;
        self.accepted = sequence;
        self.highest_seen = self.highest_seen.max(sequence);
        self.advance(sequence, output);
        true
    }
}
