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
//! - [`new_view`]: how it is compared, and entered
//! - [`parts`]: statements longer than a packet
//! - [`records`]: view changes in the journal
//! - [`statements`]: what of others is kept, and what they lack is sent
//! - [`synchroniser`]: the time-outs

mod decision;
mod new_view;
mod parts;
mod records;
mod statements;
mod synchroniser;
#[cfg(test)]
mod tests;

use super::clients::Waiting;
use super::departure::{Departure, Suspicion};
use super::output::{Event, Output};
use super::{Now, Replica};
use crate::limits::NULL_PATIENCE_NS;
use crate::numbers::{ReplicaId, ReplicaSet, SequenceNumber, View};
use crate::planted::{self, Bug};
use crate::wire::agreement::{CheckpointVote, Vote};
use crate::wire::retransmission::Standing;
use crate::wire::view_change::{Named, NewView, StatementKind, ViewChange};
pub use decision::{Selection, decide};
use logothete_crypto::{Digest, digest};
use parts::Parts;
use std::hash::{Hash, Hasher};
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
#[derive(Clone, Debug)]
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
            parts: Parts::new(replicas, piece_bytes),
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

    /// How many view changes count, and how many statements are kept in all.
    pub(super) fn count(&self) -> (usize, usize) {
        let latest = self.latest.iter().flatten().count();
        let claimed: usize = self.claimed.iter().flatten().map(|claimed| 1 + claimed.relayed.len()).sum();
        (latest, latest + claimed + self.named.len() + usize::from(self.new_view.is_some()))
    }

    /// Of [`Replica::fingerprint`]. Of the view that is entered, and those before, statements are only handed on.
    pub(super) fn fingerprint(&self, view: View, active: bool, state: &mut impl Hasher) {
        let Self { parts, latest, claimed, new_view, selection, named: _ } = self;
        parts.hash(state);
        let lives = |held: &&Statement| held.view > view || (held.view == view && !active);
        for held in latest.iter().flatten().filter(lives) {
            (held.replica, held.digest).hash(state);
        }
        for claimed in claimed.iter().flatten() {
            let mut relayed: Vec<Digest> = claimed.relayed.iter().map(|held| held.digest).collect();
            relayed.sort_unstable();
            (claimed.statement.digest, relayed).hash(state);
        }
        new_view.as_ref().filter(lives).map(|held| held.digest).hash(state);
        selection.hash(state);
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
            disk_stands: self.promises.disk_stands(),
            view_changes: self.view_changes.held_for(self.view, self.primary()),
        }
    }

    /// The oldest request that waits, which makes the primary suspect, and since when it does; a new primary has its own time. It counts at the primary too:
    /// where some have executed it and others have left, the rest and the primary are needed to leave.
    pub(super) fn oldest_waiting(&self) -> Option<Waiting> {
        if !self.active {
            return None;
        }
        let oldest = self.clients.oldest(&self.bodies)?;
        Some(Waiting { since_ns: oldest.since_ns.max(self.entered_ns), ..oldest })
    }

    /// Since when this replica waits for its primary: for that request, or for what it executed tentatively to commit. Who did that misses
    /// no request, and is needed to leave by those who do. Or for null batches, where a peer recovers: no request says so. The time in which the own disk
    /// stood still does not count.
    pub(super) fn waiting_since_ns(&mut self, now_ns: u64, oldest: Option<Waiting>) -> Option<u64> {
        let tentative = self.tentative.filter(|_| self.active).map(|_| self.tentative_since_ns.max(self.entered_ns));
        let nulls = self
            .recovery_seen_ns
            .filter(|_| self.active)
            .map(|seen_ns| seen_ns.max(self.entered_ns).max(self.pulse.progressed_ns) + NULL_PATIENCE_NS);
        let nulls = nulls.filter(|from_ns| *from_ns <= now_ns);
        let since_ns = oldest.map(|oldest| oldest.since_ns).into_iter().chain(tentative).chain(nulls).min()?;
        Some(self.promises.blamable_since_ns(now_ns, since_ns))
    }

    /// Whether a correct replica is in the view that is wanted, and hands on its new view (`VC-9`). Who left for the next view would be there alone.
    fn others_are_in(&self) -> bool {
        self.peers.active_in(self.view) >= self.config.quorum.weak()
    }

    /// Whether `2f+1` others are in the view that is wanted here, and nobody has enough of it (`VC-8`): of them `f+1` are correct, and where a
    /// client were not served, one of those would say so.
    fn others_go_on(&self) -> bool {
        self.peers.active_in(self.view) >= self.config.quorum.strong() && self.peers.against(self.view) == 0
    }

    /// Whether `2f+1` replicas, this one included, want the view that is wanted here or a higher one, or say that they are in one (`VC-8`). Who began
    /// again in it, or recovered in it, asks for it no more.
    fn is_wanted_by_quorum(&self) -> bool {
        let asks = |id: ReplicaId| {
            self.view_changes.latest[usize::from(id.0)].as_ref().is_some_and(|held| held.view >= self.view)
        };
        let others = (0..self.config.quorum.replicas() as u8).map(ReplicaId).filter(|id| *id != self.config.id);
        let wanting = 1 + others.filter(|id| asks(*id) || self.peers.entered(*id) >= Some(self.view)).count();
        wanting >= self.config.quorum.strong() || planted::is(Bug::TimeoutEarly)
    }

    /// Looks after the view: suspects its primary, or gives up waiting for its new view (`VC-1`, `VC-8`).
    pub(super) fn watch_view(&mut self, now: Now, output: &mut Output) {
        let now_ns = now.monotonic_ns;
        if !self.active {
            if self.view_changes.new_view.is_some() || self.others_go_on() {
                // What is not here is the state that it begins with, or the new view itself, which the others hand on.
                self.synchroniser.on_new_view_found();
            } else if !self.is_silent() {
                // Who promises nothing goes where the others are, and nowhere ahead of them.
                if self.is_wanted_by_quorum() {
                    self.synchroniser.on_view_wanted(now_ns);
                }
                if self.synchroniser.gives_up(now_ns, self.others_are_in()) {
                    self.start_view_change(now, View(self.view.0 + 1), Departure::NewViewLate, output);
                }
            }
            return;
        }
        if self.is_primary() {
            // It hears itself: only what waits for long speaks against it.
            self.synchroniser.on_primary_heard(now_ns, None);
        }
        let recovers = self.peers.recovering(now_ns).count() > 0;
        self.recovery_seen_ns = recovers.then(|| self.recovery_seen_ns.unwrap_or(now_ns));
        let oldest = self.oldest_waiting();
        let since = self.waiting_since_ns(now_ns, oldest);
        self.forward_oldest(now, oldest, output);
        let complains = self.judge_primary(now, oldest.is_some());
        self.synchroniser.note_complaint(complains);
        // A primary that recovers orders nothing.
        let recovers = self.peers.is_recovering(self.primary(), now_ns);
        let suspects = (self.synchroniser.suspects(now_ns, since) || recovers) && !self.is_silent();
        if std::mem::replace(&mut self.suspects, suspects) != suspects {
            // The others are told at once.
            self.pulse.hasten();
        }
        if suspects && 1 + self.peers.against(self.view) >= self.config.quorum.weak() {
            let suspicion = if recovers { Suspicion::Recovers } else { self.suspicion(now_ns, since, oldest) };
            self.start_view_change(now, View(self.view.0 + 1), Departure::Suspicion(suspicion), output);
        }
    }

    /// What speaks most against the primary, which is suspected: a complaint, or that something waits `since` then, as far as it is blamed for it.
    fn suspicion(&self, now_ns: u64, since: Option<u64>, oldest: Option<Waiting>) -> Suspicion {
        match since {
            _ if self.is_refusing() => Suspicion::Refused,
            Some(since_ns) if !self.misses_goodput() => {
                let excused_ns = oldest.map_or(0, |oldest| since_ns.saturating_sub(oldest.since_ns));
                self.synchroniser.suspicion(now_ns, since_ns, excused_ns)
            }
            _ => Suspicion::Goodput,
        }
    }

    /// Leaves the view for a higher one, and says so (`VC-3`).
    fn start_view_change(&mut self, now: Now, target: View, why: Departure, output: &mut Output) {
        self.leave_for(target);
        output.event(Event::ViewLeft { wanted: target, why });
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
}
