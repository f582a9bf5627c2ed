//! View changes in the journal: what is recorded, and what a replica that comes back makes of it (`protocol.md JR-1`, `RC-1`).

use super::Statement;
use super::decision::Selection;
use crate::journal::Record;
use crate::numbers::SequenceNumber;
use crate::replica::output::Output;
use crate::replica::{Now, Replica};
use crate::wire::view_change::{Named, NewView, ViewChange};

impl Replica {
    /// Records this replica's own view change.
    pub(in crate::replica) fn persist_view_change(&mut self, output: &mut Output) {
        if let Some(own) = &self.view_changes.latest[usize::from(self.config.id.0)] {
            self.promises.record(&Record::ViewChange { bytes: &own.bytes }, output);
        }
    }

    /// Records the new view of the present view, with the view changes that it is made of, so that others can be shown it after a restart.
    pub(in crate::replica) fn persist_new_view(&mut self, output: &mut Output) {
        let Some(new_view) = &self.view_changes.new_view else { return };
        self.promises.record(&Record::NewView { bytes: &new_view.bytes }, output);
        for named in &self.view_changes.named {
            self.promises.record(&Record::ViewChange { bytes: &named.bytes }, output);
        }
    }

    /// A view change of the journal: one that the new view names, or this replica's own, which left its view by it.
    pub(in crate::replica) fn recall_view_change(&mut self, bytes: &[u8]) {
        let (content, ..) = ViewChange::decode(bytes).expect("the journal has statements that were sound");
        let statement = Statement::new(content.view, content.replica, bytes.to_vec());
        let named = Named::new(statement.replica, statement.digest);
        let of_new_view = self.view_changes.new_view.as_ref().filter(|new_view| new_view.view == statement.view);
        if of_new_view.is_some_and(|new_view| new_view.new_view().named.contains(&named)) {
            if !self.view_changes.named.iter().any(|held| held.digest == statement.digest) {
                self.view_changes.named.push(statement);
            }
        } else if content.replica == self.config.id && content.view > self.view {
            self.leave_for(content.view);
        }
    }

    /// A new view of the journal.
    pub(in crate::replica) fn recall_new_view(&mut self, now: Now, bytes: &[u8]) {
        let (content, ..) = NewView::decode(bytes).expect("the journal has statements that were sound");
        let statement = Statement::new(content.view, content.replica, bytes.to_vec());
        if statement.view > self.view {
            self.leave_for(statement.view);
        }
        if self.view_changes.new_view.as_ref().is_none_or(|held| held.digest != statement.digest) {
            self.view_changes.named.clear();
            self.view_changes.new_view = Some(statement);
            if self.active {
                // The records begin between this one and the entry: it is recorded again beside the checkpoint that they begin with.
                self.recall_selection(now);
            }
        }
        if !self.active {
            // It was found right before it was recorded.
            let batches = content.selection.to_vec();
            self.view_changes.selection = Some(Selection { checkpoint: content.checkpoint, batches });
        }
    }

    /// The view was entered: its selection was proposed by it.
    pub(in crate::replica) fn recall_entry(&mut self, now: Now) {
        self.view_changes.selection = None;
        self.accepted = self.stable();
        self.proposed = self.stable();
        self.clients.forget_proposed();
        self.recall_selection(now);
    }

    /// What the new view selected was proposed by it; more may have been, later.
    fn recall_selection(&mut self, now: Now) {
        let Some(new_view) = self.view_changes.new_view.clone().filter(|new_view| new_view.view == self.view) else {
            return;
        };
        let content = new_view.new_view();
        let first = content.checkpoint.0.0 + 1;
        let last = SequenceNumber(content.checkpoint.0.0 + content.selection.len() as u64);
        self.carried_last = last;
        for (sequence, digest) in (first..).map(SequenceNumber).zip(content.selection) {
            if self.log.in_window(sequence) {
                self.take_over(now, sequence, *digest);
            }
        }
        self.proposed = self.proposed.max(last).max(self.stable());
        self.highest_seen = self.highest_seen.max(last.min(SequenceNumber(self.stable().0 + self.log.window())));
    }
}
