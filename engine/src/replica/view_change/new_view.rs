//! The new view: its primary decides, the others decide again and compare (`protocol.md VC-5`, `VC-6`), and all enter it (`VC-7`).

use super::{Claimed, Selection, Statement, decision};
use crate::journal::Record;
use crate::numbers::{Principal, SequenceNumber, View};
use crate::planted::{self, Bug};
use crate::replica::departure::Departure;
use crate::replica::output::{Event, Output};
use crate::replica::{Now, Reject, Replica};
use crate::wire::view_change::{Named, NewView, Part, StatementKind, ViewChange, null_batch};
use logothete_crypto::Digest;

impl Replica {
    /// Does what the view changes that are here call for: joins, decides, enters (`VC-4`, `VC-5`).
    pub(super) fn on_view_changes(&mut self, now: Now, output: &mut Output) {
        let quorum = self.config.quorum;
        // f+1 replicas want higher views, so a correct one does: the smallest of those is wanted here as well.
        let mut above: Vec<View> = self.view_changes.latest.iter().flatten().map(|held| held.view).collect();
        above.retain(|view| *view > self.view);
        if above.len() >= if planted::is(Bug::ViewChangeOfOne) { 1 } else { quorum.weak() } {
            let smallest = above.into_iter().min().expect("there are some");
            self.start_view_change(now, smallest, Departure::Others, output);
            return;
        }
        if !self.active {
            self.decide_new_view(now, output);
        }
        self.compare_new_views(now, output);
        self.enter_view(now, output);
    }

    /// As the primary of the wanted view: decides as soon as the view changes that are here allow it (`VC-5`).
    fn decide_new_view(&mut self, now: Now, output: &mut Output) {
        if !self.is_primary() || self.view_changes.new_view.is_some() || self.is_silent() {
            return;
        }
        let used: Vec<Statement> =
            self.view_changes.latest.iter().flatten().filter(|held| held.view == self.view).cloned().collect();
        let set: Vec<ViewChange<'_>> = used.iter().map(Statement::view_change).collect();
        let Some(selection) = decision::decide(&set, self.config.quorum, self.log.window()) else { return };
        let named: Vec<Named> = used.iter().map(|held| Named::new(held.replica, held.digest)).collect();
        let new_view = NewView {
            view: self.view,
            epoch: self.config.epoch,
            replica: self.config.id,
            checkpoint: selection.checkpoint,
            named: &named,
            selection: &selection.batches,
        };
        let bytes = new_view.encode(|body| self.signatures.sign(StatementKind::NewView, body));
        let statement = Statement::new(self.view, self.config.id, bytes);
        self.view_changes.new_view = Some(statement.clone());
        self.view_changes.named = used;
        // The others prepare on the strength of it, whether or not this replica enters.
        for (sequence, digest) in (selection.checkpoint.0.0 + 1..).map(SequenceNumber).zip(&selection.batches) {
            if self.log.in_window(sequence) {
                let slot = self.log.slot_mut(sequence).expect("the window has a slot for each of its numbers");
                slot.note_pre_prepared(self.view, *digest);
                slot.batch_or_new(*digest);
            }
        }
        self.persist_new_view(output);
        self.send_statement(self.others(), StatementKind::NewView, &statement, output);
        self.peers.sent_statements(now.monotonic_ns);
        self.view_changes.selection = Some(selection);
    }

    /// Keeps the first new view that a view's primary signed (`VC-6`).
    pub(super) fn on_new_view(
        &mut self,
        now: Now,
        part: &Part<'_>,
        bytes: Vec<u8>,
        output: &mut Output,
    ) -> Result<(), Reject> {
        let (content, body, signature) = NewView::decode(&bytes).map_err(|_| Reject::StatementUnsound)?;
        let (replica, replicas) = (part.replica, self.config.quorum.replicas());
        let sound = (content.replica, content.view) == (replica, part.view)
            && self.config.primary_of(content.view) == replica
            && content.named.len() >= self.config.quorum.strong()
            && content.named.iter().all(|named| usize::from(named.replica().0) < replicas);
        if !sound {
            return Err(Reject::StatementUnsound);
        }
        if !self.signatures.verify(replica, StatementKind::NewView, body, signature) {
            return Err(Reject::SignatureBad);
        }
        let statement = Statement::new(part.view, replica, bytes);
        self.view_changes.claimed[usize::from(replica.0)] = Some(Claimed { statement, relayed: Vec::new() });
        self.compare_new_views(now, output);
        if self.view_changes.claimed[usize::from(replica.0)].is_some() {
            // It names what is not here: statuses, which bring it (`VC-9`), may have become too rare for the time that a new view has.
            self.pulse.restart();
        }
        self.enter_view(now, output);
        Ok(())
    }

    /// Decides as the new primary did, on the same view changes, once they are all here, and takes the new view if the decision is the
    /// same (`VC-6`).
    fn compare_new_views(&mut self, now: Now, output: &mut Output) {
        for signer in 0..self.config.quorum.replicas() {
            if let Some(claimed) = self.view_changes.claimed[signer].clone() {
                self.compare_new_view(now, claimed.statement, output);
            }
        }
    }

    fn compare_new_view(&mut self, now: Now, claimed: Statement, output: &mut Output) {
        let content = claimed.new_view();
        let held: Option<Vec<Statement>> =
            content.named.iter().map(|named| self.view_changes.held(named).cloned()).collect();
        let Some(held) = held else { return };
        let set: Vec<ViewChange<'_>> = held.iter().map(Statement::view_change).collect();
        let of_view = set.iter().all(|view_change| view_change.view == content.view);
        let decided = decision::decide(&set, self.config.quorum, self.log.window()).filter(|_| of_view);
        let claims = || Selection { checkpoint: content.checkpoint, batches: content.selection.to_vec() };
        let decided = if planted::is(Bug::NewViewUnchecked) { Some(claims()) } else { decided };
        self.view_changes.claimed[usize::from(claimed.replica.0)] = None;
        match decided {
            Some(selection) if selection.checkpoint == content.checkpoint && selection.batches == content.selection => {
                if content.view > self.view {
                    // A quorum went there without this replica.
                    self.leave_for(content.view);
                }
                self.view_changes.named = held.clone();
                self.view_changes.new_view = Some(claimed.clone());
                self.view_changes.selection = Some(selection);
                self.persist_new_view(output);
            }
            _ => {
                self.rejects.count(Some(Principal::Replica(claimed.replica)), Reject::NewViewWrong);
                output.event(Event::NewViewWrong { replica: claimed.replica, view: claimed.view });
                if claimed.view == self.view {
                    self.start_view_change(now, View(self.view.0 + 1), Departure::NewViewWrong, output);
                }
            }
        }
    }

    /// Enters the view whose new view is here, as soon as its checkpoint is (`VC-7`); to be tried again whenever that may have changed.
    pub(in crate::replica) fn enter_view(&mut self, now: Now, output: &mut Output) {
        let Some(selection) = self.view_changes.selection.as_ref().filter(|_| !self.active) else { return };
        let checkpoint = selection.checkpoint;
        let holders = self.view_changes.holders(checkpoint).without(self.config.id);
        if checkpoint.0 > self.stable() && !self.reach_checkpoint(now, checkpoint, holders, output) {
            return;
        }
        let selection = self.view_changes.selection.take().expect("it was looked at above");
        let first = checkpoint.0.0 + 1;
        let last = SequenceNumber(checkpoint.0.0 + selection.batches.len() as u64);
        // What committed here meanwhile, on others' claims, may be of a view still higher than this one, and need not be what this one selects.
        if let Some((sequence, digest)) = self.tentative {
            let selected = sequence.0.checked_sub(first).and_then(|at| selection.batches.get(at as usize));
            if sequence.0 >= first && selected != Some(&digest) {
                self.undo_tentative(output);
            }
        }
        self.active = true;
        self.entered_ns = now.monotonic_ns;
        self.synchroniser.on_view_entered(now.monotonic_ns);
        self.promises.record(&Record::ViewEntered { view: self.view }, output);
        for (sequence, digest) in (first..).map(SequenceNumber).zip(&selection.batches) {
            if self.log.in_window(sequence) {
                self.take_over(now, sequence, *digest);
            }
        }
        self.accepted = self.stable();
        self.proposed = last.max(self.stable());
        self.carried_last = self.proposed;
        let held = (self.proposed.0 + 1..=self.stable().0 + self.log.window())
            .rev()
            .find(|sequence| self.log.slot(SequenceNumber(*sequence)).is_some_and(|slot| slot.proposal.is_some()));
        self.highest_seen = self.proposed.max(self.executed).max(SequenceNumber(held.unwrap_or(0)));
        self.clients.forget_proposed();
        self.forwarding.begin_view();
        self.goodput.begin_view(now.monotonic_ns);
        self.pulse.hasten();
        output.event(Event::ViewEntered(self.view));
        self.accept_in_order(now, output);
    }

    /// Takes a batch of the new view's selection for proposed.
    pub(super) fn take_over(&mut self, now: Now, sequence: SequenceNumber, digest: Digest) {
        let slot = self.log.slot_mut(sequence).expect("the window has a slot for each of its numbers");
        slot.proposal = Some(digest);
        slot.carried = true;
        slot.note_pre_prepared(self.view, digest);
        let batch = slot.batch_or_new(digest);
        if digest == null_batch() {
            batch.known = true;
        }
        if !batch.is_complete() {
            batch.fetch_at_ns = now.monotonic_ns;
            if !self.incomplete.contains(&(sequence, digest)) {
                self.incomplete.push((sequence, digest));
            }
        }
    }
}
