//! Coming back without memory: until what its former self may have promised is behind it, a replica follows and promises nothing
//! (`protocol.md RC-2` to `RC-6`, PBFT-02 section 4.3.2).
//!
//! ```text
//!  estimating --- 2f others answered, in no later view ---> reaching --- a checkpoint at the point is stable here ---> remembering
//!  asks all for their stable checkpoint                     follows the order,                                        (with a journal:
//!  and last prepared number                                 fetches the state                                          makes a new one)
//! ```

use super::log::Stage;
use super::output::{Event, Output};
use super::{Now, Reject, Replica};
use crate::journal::Record;
use crate::limits::{FORGOTTEN_TELL_NS, RECOVERY_QUERY_NS, REPLICAS_MAX};
use crate::numbers::{ReplicaId, ReplicaSet, SequenceNumber, View};
use crate::replica::Quorum;
use crate::wire::recovery::{RecoveryAnswer, RecoveryQuery};

/// What one of the others answered: the lowest stable checkpoint and the highest prepared number that it ever said.
#[derive(Clone, Copy, Debug)]
struct Answer {
    stable: SequenceNumber,
    prepared: SequenceNumber,
    view: View,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Estimating,
    /// Up to here its former self may have voted.
    Reaching(SequenceNumber),
    /// It has reached it, and waits for its host to have a journal.
    Remembering,
}

/// A recovery.
#[derive(Clone, Debug)]
pub(super) struct Recovery {
    phase: Phase,
    answers: [Option<Answer>; REPLICAS_MAX],
    query_due_ns: u64,
}

impl Recovery {
    pub(super) fn new() -> Self {
        Self { phase: Phase::Estimating, answers: [None; REPLICAS_MAX], query_due_ns: 0 }
    }

    /// Up to where the former self may have voted: a window above a stable checkpoint that `2f` others do not exceed and `f` others have
    /// prepared up to. Answers of replicas in later views do not count.
    fn bound(&self, quorum: Quorum, window: u64, view: View) -> Option<SequenceNumber> {
        let counted = || self.answers.iter().enumerate().filter_map(|(id, answer)| Some((id, answer.as_ref()?)));
        let counted = || counted().filter(|(_, answer)| answer.view <= view);
        let sound = |(by, candidate): &(usize, &Answer)| {
            let others = || counted().filter(|(id, _)| id != by);
            let not_above = others().filter(|(_, answer)| answer.stable <= candidate.stable).count();
            let prepared = others().filter(|(_, answer)| answer.prepared >= candidate.stable).count();
            not_above >= quorum.prepares() && prepared >= quorum.faults()
        };
        let stable = counted().filter(sound).map(|(_, answer)| answer.stable).min()?;
        stable.0.checked_add(2 * window).map(|_| SequenceNumber(stable.0 + window))
    }
}

/// Since when more than `f` replicas do not remember what they promised, and whether that was told.
#[derive(Clone, Debug, Default)]
pub(super) struct Forgotten {
    since_ns: Option<u64>,
    told: bool,
}

impl Replica {
    /// Says so when for some time too many have forgotten for the others to be a quorum (`RC-2`).
    pub(super) fn watch_forgotten(&mut self, now: Now, output: &mut Output) {
        let mut who = self.peers.recovering(now.monotonic_ns);
        if self.is_silent() {
            who.insert(self.config.id);
        }
        if who.count() <= self.config.quorum.faults() {
            self.forgotten = Forgotten::default();
            return;
        }
        let since_ns = *self.forgotten.since_ns.get_or_insert(now.monotonic_ns);
        let long = now.monotonic_ns.saturating_sub(since_ns) >= FORGOTTEN_TELL_NS;
        if long && !std::mem::replace(&mut self.forgotten.told, true) {
            output.event(Event::TooManyForgot(who));
        }
    }

    /// Whether it promises nothing: it does not remember what it has promised, or lacks the state for what it would.
    pub(super) fn is_silent(&self) -> bool {
        self.recovery.is_some()
    }

    /// Whether it has recovered but for a journal, which the host is to make.
    pub fn awaits_memory(&self) -> bool {
        self.recovery.as_ref().is_some_and(|recovery| recovery.phase == Phase::Remembering)
    }

    /// Goes on with a recovery: asks, and finds out whether it has come to its end.
    pub(super) fn recover(&mut self, now: Now, output: &mut Output) {
        let (quorum, window, view, stable) = (self.config.quorum, self.log.window(), self.view, self.stable());
        let (others, epoch, interval) = (self.others(), self.config.epoch, self.config.checkpoint_interval);
        let Some(recovery) = &mut self.recovery else { return };
        match recovery.phase {
            Phase::Estimating => {
                if let Some(bound) = recovery.bound(quorum, window, view) {
                    // Checkpoints are multiples of the interval.
                    let point = SequenceNumber(bound.0.next_multiple_of(interval));
                    recovery.phase = Phase::Reaching(point);
                    output.event(Event::RecoveryPoint(point));
                } else if recovery.query_due_ns <= now.monotonic_ns {
                    recovery.query_due_ns = now.monotonic_ns + RECOVERY_QUERY_NS;
                    let query = RecoveryQuery::new(epoch);
                    output.send(others, |bytes| query.append(bytes));
                }
            }
            Phase::Reaching(point) if stable >= point && self.active && self.executed >= stable => {
                recovery.phase = Phase::Remembering;
                if !self.config.makes_journal {
                    self.begin_voting(now, output);
                }
            }
            _ => {}
        }
    }

    /// It has recovered, and what it promises from now on is kept as it should be.
    ///
    /// # Panics
    /// If it has not recovered.
    pub fn begin_voting(&mut self, now: Now, output: &mut Output) {
        assert!(self.awaits_memory(), "a replica votes when it has recovered");
        self.recovery = None;
        self.promises.keep(self.config.makes_journal);
        // Which of the others forgot while this one did not remember it cannot know.
        for peer in ReplicaSet::first(self.config.quorum.replicas()).without(self.config.id).iter() {
            self.peers.acknowledge_epoch(peer, self.peers.epoch_present(peer));
            self.forget_former_epochs(peer);
        }
        self.persist_standing(output);
        // What it followed without voting is voted on now.
        for slot in self.log.slots_mut().filter(|slot| slot.sequence() > SequenceNumber(0)) {
            slot.stage = Stage::Empty;
        }
        self.accepted = self.stable();
        self.entered_ns = now.monotonic_ns;
        self.goodput.begin_view(now.monotonic_ns);
        self.pulse.hasten();
        output.event(Event::Recovered);
        self.accept_in_order(now, output);
    }

    /// When [`Replica::recover`] is to be called at the latest.
    pub(super) fn recovery_due_ns(&self) -> u64 {
        let estimating = self.recovery.as_ref().filter(|recovery| recovery.phase == Phase::Estimating);
        estimating.map_or(u64::MAX, |recovery| recovery.query_due_ns)
    }

    /// A peer asks what it may have promised. With the answer goes that what its former self signed is refused from now on (`RC-4`). Who
    /// recovers itself has nothing to say.
    pub(super) fn on_recovery_query(
        &mut self,
        now: Now,
        from: ReplicaId,
        query: &RecoveryQuery,
        output: &mut Output,
    ) -> Result<(), Reject> {
        if self.is_silent() {
            return Err(Reject::Recovering);
        }
        if query.epoch() != self.peers.epoch_present(from) {
            return Err(Reject::EpochForgotten);
        }
        if !self.peers.allowances(from).may_answer_recovery(now.monotonic_ns) {
            return Err(Reject::RateLimited);
        }
        if self.peers.acknowledged(from) != Some(query.epoch()) {
            self.peers.acknowledge_epoch(from, query.epoch());
            self.forget_former_epochs(from);
            let record = Record::EpochAcknowledged { replica: from, epoch: query.epoch() };
            self.promises.record(&record, output);
        }
        let window = self.stable().0 + 1..=self.stable().0 + self.log.window();
        let is_prepared = |sequence: &u64| {
            self.log
                .slot(SequenceNumber(*sequence))
                .is_some_and(|slot| slot.prepared.is_some() || slot.committed.is_some())
        };
        let prepared = window.rev().find(is_prepared).map_or(self.stable(), SequenceNumber).max(self.executed);
        let answer = RecoveryAnswer::new(query.epoch(), self.stable(), prepared, self.view);
        output.promise(Self::only(from), |bytes| answer.append(bytes));
        Ok(())
    }

    pub(super) fn on_recovery_answer(&mut self, from: ReplicaId, answer: &RecoveryAnswer) -> Result<(), Reject> {
        let epoch = self.config.epoch;
        let Some(recovery) = self.recovery.as_mut().filter(|_| answer.epoch() == epoch) else {
            return Err(Reject::RecoveryUnasked);
        };
        let held = &mut recovery.answers[usize::from(from.0)];
        let new = Answer { stable: answer.stable(), prepared: answer.prepared(), view: answer.view() };
        *held = Some(held.map_or(new, |held| Answer {
            stable: held.stable.min(new.stable),
            prepared: held.prepared.max(new.prepared),
            view: held.view.max(new.view),
        }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(answers: &[(u64, u64, u64)]) -> Option<u64> {
        let mut recovery = Recovery::new();
        for (id, &(stable, prepared, view)) in answers.iter().enumerate() {
            let (stable, prepared) = (SequenceNumber(stable), SequenceNumber(prepared));
            recovery.answers[id] = Some(Answer { stable, prepared, view: View(view) });
        }
        recovery.bound(Quorum::of(4).unwrap(), 16, View(2)).map(|bound| bound.0)
    }

    /// `protocol.md RC-3`: one liar moves the bound neither below what a correct replica's former self can have voted for, nor out of reach.
    #[test]
    fn the_bound_takes_two_others_below_and_one_that_prepared() {
        assert_eq!(bound(&[(8, 12, 0), (8, 13, 0)]), None, "no answer counts for itself");
        assert_eq!(bound(&[(8, 12, 0), (8, 13, 0), (8, 12, 0)]), Some(24));
        assert_eq!(bound(&[(0, 3, 0), (8, 12, 0), (8, 13, 0)]), Some(24), "two others do not exceed it");
        // A liar that claims much: its checkpoint is above what anybody prepared.
        assert_eq!(bound(&[(1 << 60, 1 << 60, 0), (8, 12, 0), (8, 12, 0)]), None);
        assert_eq!(bound(&[(u64::MAX, u64::MAX, 0), (u64::MAX, u64::MAX, 0), (u64::MAX, u64::MAX, 0)]), None);
        // Whoever is in a later view has to be followed there first.
        assert_eq!(bound(&[(8, 12, 3), (8, 13, 0), (8, 12, 0)]), None);
        assert_eq!(bound(&[(8, 12, 2), (8, 13, 0), (8, 12, 0)]), Some(24));
    }
}
