//! Statements on their way: what of others is taken and kept (`protocol.md VC-2`, `VC-4`), and what a peer lacks is sent it (`VC-9`).

use super::Statement;
use crate::limits::{STATEMENTS_ANSWER_NS, pre_prepared_entries_max, statement_bytes_max};
use crate::numbers::{ReplicaId, ReplicaSet, SequenceNumber};
use crate::replica::allowances::ViewGap;
use crate::replica::evidence::{Evidence, EvidenceKind, Proof};
use crate::replica::output::Output;
use crate::replica::{Now, Reject, Replica};
use crate::wire::Audience;
use crate::wire::agreement::{CheckpointVote, Vote};
use crate::wire::retransmission::Standing;
use crate::wire::view_change::{Named, Part, StatementKind, ViewChange};

impl Replica {
    /// Takes a part of a statement; the last one makes it count.
    pub(in crate::replica) fn on_part(
        &mut self,
        now: Now,
        from: ReplicaId,
        part: &Part<'_>,
        output: &mut Output,
    ) -> Result<(), Reject> {
        let replicas = self.config.quorum.replicas();
        if usize::from(part.replica.0) >= replicas
            || part.total_bytes > statement_bytes_max(self.log.window(), replicas)
        {
            return Err(Reject::StatementUnsound);
        }
        let known = match part.statement {
            StatementKind::ViewChange => {
                let named = Named::new(part.replica, part.digest);
                let latest = self.view_changes.latest[usize::from(part.replica.0)].as_ref();
                let newer = latest.is_none_or(|latest| part.view > latest.view);
                let past = part.view < self.view || (part.view == self.view && self.active);
                let missing = self.view_changes.claimed.iter().flatten().any(|claimed| claimed.names(&named));
                past || !(newer || missing) || self.view_changes.held(&named).is_some()
            }
            StatementKind::NewView => {
                let claimed = self.view_changes.claimed[usize::from(part.replica.0)].as_ref();
                let decided = self.active || self.view_changes.new_view.is_some();
                part.view < self.view
                    || (part.view == self.view && decided)
                    || claimed.is_some_and(|claimed| claimed.statement.view >= part.view)
            }
        };
        if known {
            return Err(Reject::StatementKnown);
        }
        let Some(bytes) = self.view_changes.parts.take(from, part) else { return Ok(()) };
        if !self.peers.may_check(from, now.monotonic_ns) {
            return Err(Reject::RateLimited);
        }
        match part.statement {
            StatementKind::ViewChange => self.on_view_change(now, part, bytes, output),
            StatementKind::NewView => self.on_new_view(now, part, bytes, output),
        }
    }

    /// Keeps a sound view change (`VC-4`). An unsound one is dropped alone.
    fn on_view_change(&mut self, now: Now, part: &Part<'_>, bytes: Vec<u8>, output: &mut Output) -> Result<(), Reject> {
        let (content, body, signature) = ViewChange::decode(&bytes).map_err(|_| Reject::StatementUnsound)?;
        let replica = part.replica;
        // Anybody may have written the part: what it says must be what the signer says.
        if (content.replica, content.view) != (replica, part.view) || !self.is_sound(&content) {
            return Err(Reject::StatementUnsound);
        }
        if !self.peers.counts_epoch(replica, content.epoch) {
            return Err(Reject::EpochForgotten);
        }
        if !self.signatures.verify(replica, StatementKind::ViewChange, body, signature) {
            return Err(Reject::SignatureBad);
        }
        let (view, epoch) = (content.view, content.epoch);
        let statement = Statement::new(view, replica, bytes);
        let other = statement.digest;
        let latest = &mut self.view_changes.latest[usize::from(replica.0)];
        let mut contradicted = None;
        match latest {
            Some(held) if held.view > view => {}
            // Whoever restarted may say the same again under its new epoch.
            Some(held) if held.view == view => {
                let differs = held.digest != other && held.view_change().epoch == epoch;
                contradicted = differs.then_some(held.digest);
            }
            _ => *latest = Some(statement.clone()),
        }
        let named = Named::new(replica, statement.digest);
        if self.view_changes.held(&named).is_none()
            && let Some(wanting) = self.view_changes.claimed.iter_mut().flatten().find(|claimed| claimed.names(&named))
        {
            wanting.relayed.push(statement);
        }
        if let Some(held) = contradicted {
            let (kind, sequence, proof) = (EvidenceKind::ViewChange, SequenceNumber(view.0), Proof::Signed);
            self.evidence.record(Evidence { replica, kind, view: Some(view), sequence, held, other, proof }, output);
        }
        self.on_view_changes(now, output);
        Ok(())
    }

    /// Whether the numbers of a view change make sense: what a correct replica could have written.
    fn is_sound(&self, content: &ViewChange<'_>) -> bool {
        let low = content.stable;
        let high = low.0.saturating_add(self.log.window());
        let in_window = |vote: &Vote| vote.sequence() > low && vote.sequence().0 <= high && vote.view() < content.view;
        let held = |vote: &CheckpointVote| {
            vote.sequence() >= low && vote.sequence().0 <= high && self.checkpoints.due_after(vote.sequence())
        };
        let entries_max = pre_prepared_entries_max(self.config.quorum.replicas());
        let few = |votes: &[Vote]| votes.iter().all(|vote| vote.sequence() == votes[0].sequence());
        // Nothing that follows from it comes to the last of all numbers: its checkpoints lie in its window, what is selected after them in the next.
        low.0.checked_add(2 * self.log.window()).is_some()
            && content.checkpoints.first().is_some_and(|first| first.sequence() == low)
            && content.checkpoints.iter().all(held)
            && content.prepared.iter().all(in_window)
            && content.pre_prepared.iter().all(in_window)
            // No number has more entries in Q than a correct replica keeps.
            && !content.pre_prepared.windows(entries_max + 1).any(few)
    }

    /// Sends a peer what it lacks of the view change (`VC-9`): this replica's own view change, and the new view with what it is made of.
    pub(in crate::replica) fn answer_standing(
        &mut self,
        now: Now,
        from: ReplicaId,
        theirs: &Standing,
        output: &mut Output,
    ) {
        let lags = theirs.view < self.view || (theirs.view == self.view && !theirs.active);
        let has = if theirs.view == self.view { theirs.view_changes } else { ReplicaSet::EMPTY };
        let gap = ViewGap { own: (self.view, self.view_changes.new_view.is_some()), view: theirs.view, has };
        if !lags || !self.peers.allowances(from).may_send_statements(gap, now.monotonic_ns) {
            return;
        }
        let to = Self::only(from);
        let own = self.view_changes.latest[usize::from(self.config.id.0)].clone();
        if let Some(own) = own.filter(|own| own.view == self.view && !has.contains(self.config.id)) {
            self.send_statement(to, StatementKind::ViewChange, &own, output);
            self.peers.allowances(from).statement_spent(own.bytes.len(), now.monotonic_ns);
        }
        // The new primary sends the new view; the others take turns, should it not.
        let turn = (now.monotonic_ns / STATEMENTS_ANSWER_NS + u64::from(from.0)) % self.config.quorum.replicas() as u64;
        if !self.is_primary() && turn != u64::from(self.config.id.0) {
            return;
        }
        let Some(new_view) = self.view_changes.new_view.clone() else { return };
        self.send_statement(to, StatementKind::NewView, &new_view, output);
        self.peers.allowances(from).statement_spent(new_view.bytes.len(), now.monotonic_ns);
        for named in self.view_changes.named.clone().iter().filter(|named| !has.contains(named.replica)) {
            self.send_statement(to, StatementKind::ViewChange, named, output);
            self.peers.allowances(from).statement_spent(named.bytes.len(), now.monotonic_ns);
        }
    }

    pub(super) fn send_statement(
        &self,
        audience: Audience,
        kind: StatementKind,
        statement: &Statement,
        output: &mut Output,
    ) {
        let parts = &self.view_changes.parts;
        for part in parts.cut(kind, statement.replica, statement.view, statement.digest, &statement.bytes) {
            output.promise(audience, |bytes| part.append(bytes));
        }
    }

    /// What a replica signed before it forgot counts no more.
    pub(in crate::replica) fn forget_former_epochs(&mut self, replica: ReplicaId) {
        let peers = &self.peers;
        let counts =
            |held: &Statement| held.replica != replica || peers.counts_epoch(replica, held.view_change().epoch);
        let changes = &mut self.view_changes;
        changes.latest.iter_mut().for_each(|latest| {
            latest.take_if(|held| !counts(held));
        });
        changes.claimed.iter_mut().flatten().for_each(|claimed| claimed.relayed.retain(counts));
    }
}
