//! View changes: how the replicas agree on a new primary and on what it takes over (`protocol.md VC-1` to `VC-9`, PBFT-02 section 4.4, form H:
//! view changes and new views are signed, everything else carries MACs).
//!
//! ```text
//!  active in v --- f+1 suspect ---> left v --- 2f+1 view changes ---> new view decided --- its checkpoint is here ---> active in v+1
//!                  or f+1 left it      |   the primary of v+1 decides,                        |
//!                                      |   the backups decide again and compare               |
//!                                      +--- the new view does not come: v+2 <-----------------+ the decision differs: v+2
//! ```
//!
//! - [`decision`]: what the new view takes over
//! - [`parts`]: statements longer than a packet
//! - [`synchroniser`]: the time-outs

mod decision;
mod parts;
mod synchroniser;

use super::evidence::{Evidence, EvidenceKind, Proof};
use super::output::{Event, Output};
use super::{Now, Reject, Replica};
use crate::journal::Record;
use crate::limits::{PRE_PREPARED_MAX, STATEMENTS_ANSWER_NS};
use crate::numbers::{Principal, ReplicaId, ReplicaSet, SequenceNumber, View};
use crate::wire::agreement::{CheckpointVote, Vote};
use crate::wire::retransmission::Standing;
use crate::wire::view_change::{Named, NewView, Part, StatementKind, ViewChange, null_batch};
use decision::Selection;
use logothete_crypto::{Digest, digest};
use parts::Parts;
use std::sync::Arc;
pub(super) use synchroniser::Synchroniser;

/// A statement whose signature verified.
#[derive(Clone, Debug)]
struct Statement {
    view: View,
    replica: ReplicaId,
    digest: Digest,
    bytes: Arc<[u8]>,
}

impl Statement {
    fn new(view: View, replica: ReplicaId, bytes: Vec<u8>) -> Self {
        Self { view, replica, digest: digest(&bytes), bytes: bytes.into() }
    }

    fn view_change(&self) -> ViewChange<'_> {
        ViewChange::decode(&self.bytes).expect("it was decoded before it was kept").0
    }

    fn new_view(&self) -> NewView<'_> {
        NewView::decode(&self.bytes).expect("it was decoded before it was kept").0
    }
}

/// A new view that is signed by its primary and not yet compared with the decision; what it names may still be missing.
#[derive(Clone, Debug)]
struct Claimed {
    statement: Statement,
    /// View changes that it names and that are not their replicas' latest.
    relayed: Vec<Statement>,
}

impl Claimed {
    fn names(&self, named: &Named) -> bool {
        self.statement.new_view().named.contains(named)
    }
}

/// What a replica keeps of view changes.
#[derive(Debug)]
pub(super) struct ViewChanges {
    parts: Parts,
    /// Each replica's view change for the highest view, this replica's own included.
    latest: Vec<Option<Statement>>,
    /// New views that are not yet compared, of each replica the one for the highest view: what a faulty one claims displaces no other's.
    claimed: Vec<Option<Claimed>>,
    /// The new view of the present view, once it was found right, and the view changes that it names.
    new_view: Option<Statement>,
    named: Vec<Statement>,
    /// What it takes over, until the view is entered.
    selection: Option<Selection>,
}

impl ViewChanges {
    pub(super) fn new(replicas: usize, piece_bytes: usize) -> Self {
        Self {
            parts: Parts::new(piece_bytes),
            latest: vec![None; replicas],
            claimed: vec![None; replicas],
            new_view: None,
            named: Vec::new(),
            selection: None,
        }
    }

    /// A view change that is held, by its digest.
    fn held(&self, named: &Named) -> Option<&Statement> {
        let latest = self.latest.get(usize::from(named.replica().0)).and_then(Option::as_ref);
        let relayed = self.claimed.iter().flatten().flat_map(|claimed| &claimed.relayed);
        latest.into_iter().chain(relayed).find(|held| held.digest == named.digest && held.replica == named.replica())
    }

    /// Whose view changes, of those that the new view names, say that they hold a checkpoint.
    fn holders(&self, checkpoint: (SequenceNumber, Digest)) -> ReplicaSet {
        let mut set = ReplicaSet::EMPTY;
        for named in &self.named {
            let mut held = named.view_change().checkpoints.iter();
            if held.any(|held| (held.sequence(), held.digest) == checkpoint) {
                set.insert(named.replica);
            }
        }
        set
    }

    /// Whose view changes are here for a view: of those that the new view of its primary names, where that is here.
    fn held_for(&self, view: View, primary: ReplicaId) -> ReplicaSet {
        let mut set = ReplicaSet::EMPTY;
        match &self.claimed[usize::from(primary.0)] {
            Some(claimed) if claimed.statement.view == view => {
                let named = claimed.statement.new_view().named;
                for named in named.iter().filter(|named| self.held(named).is_some()) {
                    set.insert(named.replica());
                }
            }
            _ => {
                for held in self.latest.iter().flatten().filter(|held| held.view == view) {
                    set.insert(held.replica);
                }
            }
        }
        set
    }
}

impl Replica {
    /// How this replica stands to its view.
    pub(super) fn standing(&self) -> Standing {
        Standing {
            view: self.view,
            active: self.active,
            suspects: self.suspects,
            recovers: self.is_silent(),
            view_changes: self.view_changes.held_for(self.view, self.primary()),
        }
    }

    /// Since when the oldest request waits that makes the primary suspect; a new primary has its own time. It counts at the primary too:
    /// where some have executed it and others have left, the rest and the primary are needed to leave.
    pub(super) fn waiting_since_ns(&self) -> Option<u64> {
        if !self.active {
            return None;
        }
        // What is executed tentatively waits as well: where too few are left in the view to commit it, nobody else would leave.
        let tentative = self.tentative.map(|_| self.tentative_since_ns);
        let since = self.clients.oldest_since_ns(&self.bodies).into_iter().chain(tentative).min()?;
        Some(since.max(self.entered_ns))
    }

    /// Looks after the view: suspects its primary, or gives up waiting for its new view (`VC-1`, `VC-8`).
    pub(super) fn watch_view(&mut self, now: Now, output: &mut Output) {
        let now_ns = now.monotonic_ns;
        if !self.active {
            // Who promises nothing goes where the others are, and nowhere ahead of them.
            if !self.is_silent() && self.synchroniser.gives_up(now_ns) {
                self.start_view_change(now, View(self.view.0 + 1), output);
            }
            return;
        }
        if self.is_primary() {
            // It hears itself: only what waits for long speaks against it.
            self.synchroniser.on_primary_heard(now_ns, None);
        }
        let since = self.waiting_since_ns();
        // A primary that recovers orders nothing.
        let recovers = self.peers.is_recovering(self.primary(), now_ns);
        let suspects = (self.synchroniser.suspects(now_ns, since) || recovers) && !self.is_silent();
        if std::mem::replace(&mut self.suspects, suspects) != suspects {
            // The others are told at once.
            self.pulse.hasten();
        }
        if suspects && 1 + self.peers.against(self.view) >= self.config.quorum.weak() {
            self.start_view_change(now, View(self.view.0 + 1), output);
        }
    }

    /// Leaves the view for a higher one, and says so (`VC-3`).
    fn start_view_change(&mut self, now: Now, target: View, output: &mut Output) {
        self.leave_for(target);
        output.event(Event::ViewLeft { wanted: target });
        if !self.is_silent() {
            self.say_view_change(now, output);
        }
    }

    /// Says what this replica did in the views that it left.
    pub(super) fn say_view_change(&mut self, now: Now, output: &mut Output) {
        let target = self.view;
        let stable = self.stable();
        let checkpoints: Vec<CheckpointVote> = self.checkpoints.own_from(stable).collect();
        let (mut prepared, mut pre_prepared) = (Vec::new(), Vec::new());
        for sequence in stable.0 + 1..=stable.0 + self.log.window() {
            let slot = self.log.slot(SequenceNumber(sequence)).expect("the window has a slot for each of its numbers");
            let vote = |&(view, digest): &(View, Digest)| Vote::new(view, slot.sequence(), digest);
            prepared.extend(slot.prepared.as_ref().map(vote));
            let first = pre_prepared.len();
            pre_prepared.extend(slot.pre_prepared.iter().map(vote));
            pre_prepared[first..].sort_unstable_by_key(|vote: &Vote| vote.digest);
        }
        let view_change = ViewChange {
            view: target,
            stable,
            epoch: self.config.epoch,
            replica: self.config.id,
            checkpoints: &checkpoints,
            prepared: &prepared,
            pre_prepared: &pre_prepared,
        };
        let bytes = view_change.encode(|body| self.signatures.sign(StatementKind::ViewChange, body));
        let own = Statement::new(target, self.config.id, bytes);
        self.view_changes.latest[usize::from(self.config.id.0)] = Some(own.clone());
        self.persist_view_change(output);
        self.send_statement(self.others(), StatementKind::ViewChange, &own, output);
        // What is on its way is not sent again at once.
        self.peers.sent_statements(now.monotonic_ns);
        self.pulse.hasten();
        self.on_view_changes(now, output);
    }

    /// Stops taking part in the present view.
    pub(super) fn leave_for(&mut self, target: View) {
        assert!(target > self.view, "views only go up");
        self.view = target;
        self.active = false;
        self.suspects = false;
        self.held_until_ns = None;
        for slot in self.log.slots_mut() {
            slot.leave_view();
            slot.drop_unnamed_batches(&mut self.bodies);
        }
        let log = &self.log;
        self.incomplete.retain(|(sequence, digest)| {
            log.slot(*sequence).and_then(|slot| slot.batch(digest)).is_some_and(|batch| !batch.is_complete())
        });
        self.synchroniser.on_view_left();
        let changes = &mut self.view_changes;
        changes.new_view = None;
        changes.selection = None;
        changes.named.clear();
        for claimed in &mut changes.claimed {
            claimed.take_if(|claimed| claimed.statement.view < target);
        }
    }

    /// Takes a part of a statement; the last one makes it count.
    pub(super) fn on_part(
        &mut self,
        now: Now,
        from: ReplicaId,
        part: &Part<'_>,
        output: &mut Output,
    ) -> Result<(), Reject> {
        if usize::from(part.replica.0) >= self.config.quorum.replicas() {
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
        let (low, high) = (content.stable, content.stable.0.saturating_add(self.log.window()));
        let in_window = |vote: &Vote| vote.sequence() > low && vote.sequence().0 <= high && vote.view() < content.view;
        let held = |vote: &CheckpointVote| {
            vote.sequence() >= low && vote.sequence().0 <= high && self.checkpoints.due_after(vote.sequence())
        };
        let few = |votes: &[Vote]| votes.iter().all(|vote| vote.sequence() == votes[0].sequence());
        content.checkpoints.first().is_some_and(|first| first.sequence() == low)
            && content.checkpoints.iter().all(held)
            && content.prepared.iter().all(in_window)
            && content.pre_prepared.iter().all(in_window)
            // No number has more entries in Q than a correct replica keeps.
            && !content.pre_prepared.windows(2 * PRE_PREPARED_MAX + 1).any(few)
    }

    /// Does what the view changes that are here call for: joins, waits, decides, enters (`VC-4`, `VC-5`).
    fn on_view_changes(&mut self, now: Now, output: &mut Output) {
        let quorum = self.config.quorum;
        // f+1 replicas want higher views, so a correct one does: the smallest of those is wanted here as well.
        let mut above: Vec<View> = self.view_changes.latest.iter().flatten().map(|held| held.view).collect();
        above.retain(|view| *view > self.view);
        if above.len() >= quorum.weak() {
            let smallest = above.into_iter().min().expect("there are some");
            self.start_view_change(now, smallest, output);
            return;
        }
        if !self.active {
            let wanting = self.view_changes.latest.iter().flatten().filter(|held| held.view >= self.view).count();
            if wanting >= quorum.strong() {
                self.synchroniser.on_view_wanted(now.monotonic_ns);
            }
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
    fn on_new_view(&mut self, now: Now, part: &Part<'_>, bytes: Vec<u8>, output: &mut Output) -> Result<(), Reject> {
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
                    self.start_view_change(now, View(self.view.0 + 1), output);
                }
            }
        }
    }

    /// Enters the view whose new view is here, as soon as its checkpoint is (`VC-7`); to be tried again whenever that may have changed.
    pub(super) fn enter_view(&mut self, now: Now, output: &mut Output) {
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
        self.pulse.hasten();
        output.event(Event::ViewEntered(self.view));
        self.accept_in_order(now, output);
    }

    /// Takes a batch of the new view's selection for proposed.
    fn take_over(&mut self, now: Now, sequence: SequenceNumber, digest: Digest) {
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

    /// Sends a peer what it lacks of the view change (`VC-9`): this replica's own view change, and the new view with what it is made of.
    pub(super) fn answer_standing(&mut self, now: Now, from: ReplicaId, theirs: &Standing, output: &mut Output) {
        let lags = theirs.view < self.view || (theirs.view == self.view && !theirs.active);
        if !lags || !self.peers.may_send_statements(from, STATEMENTS_ANSWER_NS, now.monotonic_ns) {
            return;
        }
        let to = Self::only(from);
        let has = |replica| theirs.view == self.view && theirs.view_changes.contains(replica);
        let own = self.view_changes.latest[usize::from(self.config.id.0)].clone();
        if let Some(own) = own.filter(|own| own.view == self.view && !has(self.config.id)) {
            self.send_statement(to, StatementKind::ViewChange, &own, output);
        }
        // The new primary sends the new view; the others take turns, should it not.
        let turn = (now.monotonic_ns / STATEMENTS_ANSWER_NS + u64::from(from.0)) % self.config.quorum.replicas() as u64;
        if !self.is_primary() && turn != u64::from(self.config.id.0) {
            return;
        }
        let Some(new_view) = self.view_changes.new_view.clone() else { return };
        self.send_statement(to, StatementKind::NewView, &new_view, output);
        for named in self.view_changes.named.clone().iter().filter(|named| !has(named.replica)) {
            self.send_statement(to, StatementKind::ViewChange, named, output);
        }
    }

    fn send_statement(
        &self,
        audience: crate::wire::Audience,
        kind: StatementKind,
        statement: &Statement,
        output: &mut Output,
    ) {
        let parts = &self.view_changes.parts;
        for part in parts.cut(kind, statement.replica, statement.view, statement.digest, &statement.bytes) {
            output.promise(audience, |bytes| part.append(bytes));
        }
    }

    /// Records this replica's own view change.
    pub(super) fn persist_view_change(&mut self, output: &mut Output) {
        if let Some(own) = &self.view_changes.latest[usize::from(self.config.id.0)] {
            self.promises.record(&Record::ViewChange { bytes: &own.bytes }, output);
        }
    }

    /// Records the new view of the present view, with the view changes that it is made of, so that others can be shown it after a restart.
    pub(super) fn persist_new_view(&mut self, output: &mut Output) {
        let Some(new_view) = &self.view_changes.new_view else { return };
        self.promises.record(&Record::NewView { bytes: &new_view.bytes }, output);
        for named in &self.view_changes.named {
            self.promises.record(&Record::ViewChange { bytes: &named.bytes }, output);
        }
    }

    /// What a replica signed before it forgot counts no more.
    pub(super) fn forget_former_epochs(&mut self, replica: ReplicaId) {
        let peers = &self.peers;
        let counts =
            |held: &Statement| held.replica != replica || peers.counts_epoch(replica, held.view_change().epoch);
        let changes = &mut self.view_changes;
        changes.latest.iter_mut().for_each(|latest| {
            latest.take_if(|held| !counts(held));
        });
        changes.claimed.iter_mut().flatten().for_each(|claimed| claimed.relayed.retain(counts));
    }

    /// A view change of the journal: one that the new view names, or this replica's own, which left its view by it.
    pub(super) fn recall_view_change(&mut self, bytes: &[u8]) {
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
    pub(super) fn recall_new_view(&mut self, bytes: &[u8]) {
        let (content, ..) = NewView::decode(bytes).expect("the journal has statements that were sound");
        let statement = Statement::new(content.view, content.replica, bytes.to_vec());
        if statement.view > self.view {
            self.leave_for(statement.view);
        }
        if self.view_changes.new_view.as_ref().is_none_or(|held| held.digest != statement.digest) {
            self.view_changes.named.clear();
            self.view_changes.new_view = Some(statement);
        }
        if !self.active {
            // It was found right before it was recorded.
            let batches = content.selection.to_vec();
            self.view_changes.selection = Some(Selection { checkpoint: content.checkpoint, batches });
        }
    }

    /// The view was entered: its selection was proposed by it.
    pub(super) fn recall_entry(&mut self, now: Now) {
        self.view_changes.selection = None;
        self.accepted = self.stable();
        self.proposed = self.stable();
        self.clients.forget_proposed();
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
        self.proposed = last.max(self.stable());
        self.highest_seen = self.highest_seen.max(last.min(SequenceNumber(self.stable().0 + self.log.window())));
    }
}
