//! What must hold in every state, found out from what correct replicas said and hold: not from what the engine counted.
//!
//! None of it goes by the order in which replicas moved, only by what each has said and done so far. So a state is judged once, whichever way it was
//! reached, and the search may leave out ways.

use crate::exhaustive::facts::{AllFacts, Fact, Facts};
use crate::exhaustive::post::Round;
use crate::exhaustive::quorums::{CORRECT_FINAL, CORRECT_OF_QUORUM, CORRECT_TENTATIVE};
use logothete_crypto::Digest;
use logothete_engine::numbers::{SequenceNumber, View};
use logothete_engine::wire::view_change::null_batch;

/// What does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// One batch a number.
    Agreement,
    /// No correct replica contradicts itself.
    NoContradiction,
    /// Whatever counts as prepared or committed was voted for by enough.
    Certificates,
    /// What a client accepted stays.
    Acceptance,
    /// A correct replica leaves a view only if one left it for a reason.
    Reasons,
    /// Requests complete once the network is kind.
    Completion,
}

impl Goal {
    /// The checker of the simulator whose property it is.
    pub fn label(self) -> &'static str {
        match self {
            Self::Agreement => "C1 agreement",
            Self::NoContradiction => "C9 no self-contradiction",
            Self::Certificates => "C11 ghost certificates",
            Self::Acceptance => "C12 client acceptance",
            Self::Reasons => "C6 views change for a reason",
            Self::Completion => "C6 completion",
        }
    }
}

/// A goal that a state misses, and how.
pub type Miss = (Goal, String);

/// A batch that so many correct replicas committed to in a view that it may have committed there, with a faulty one's help.
struct Lock {
    view: View,
    sequence: SequenceNumber,
    batch: Digest,
}

/// What a state misses.
pub fn miss(all: AllFacts<'_>) -> Option<Miss> {
    let locks = locks(all);
    reasons(all)
        .or_else(|| entries(all, &locks))
        .or_else(|| commits(all))
        .or_else(|| votes(all, &locks))
        .or_else(|| agreement(all, &locks))
        .or_else(|| acceptance(all))
}

/// C6: of those who are in a view, or want it, the first had a reason to leave the one before; so one faulty replica moves nobody.
fn reasons(all: AllFacts<'_>) -> Option<Miss> {
    let has_reason = |view: View| all.iter().any(|facts| facts.blamed.is_some_and(|blamed| blamed.0 + 1 >= view.0));
    let moved = all.iter().find(|facts| facts.view.0 > 0 && !has_reason(facts.view))?;
    let (who, view) = (moved.owner, moved.view);
    Some((Goal::Reasons, format!("{who} wants v{view}, and no correct replica has a reason to leave v{}", view.0 - 1)))
}

/// C11 of the views that were entered: a new view keeps what may have committed, and invents nothing.
fn entries(all: AllFacts<'_>, locks: &[Lock]) -> Option<Miss> {
    let entries = all.iter().flat_map(|facts| facts.said.iter().map(|said| (facts.owner, said)));
    for (who, said) in entries {
        let Fact::Entered { view, selection } = said else { continue };
        let keeps = |lock: &&Lock| lock.view >= *view || selection.contains(&(lock.sequence, lock.batch));
        if let Some(Lock { view: locked, sequence, .. }) = locks.iter().find(|lock| !keeps(lock)) {
            let text =
                format!("{who} enters v{view}, which leaves out what may have committed at s{sequence} in v{locked}");
            return Some((Goal::Certificates, text));
        }
        let invented = |(sequence, batch): &&(SequenceNumber, Digest)| {
            *batch != null_batch() && !all.iter().any(|facts| facts.knows(*sequence, *batch, *view))
        };
        if let Some((sequence, _)) = selection.iter().find(invented) {
            let text = format!("{who} enters v{view}, which selects at s{sequence} what no correct replica voted for");
            return Some((Goal::Certificates, text));
        }
    }
    None
}

/// C11 of commits: each tells of a certificate.
fn commits(all: AllFacts<'_>) -> Option<Miss> {
    for facts in all {
        for said in &facts.said {
            let Fact::Vote { round: Round::Commit, view, sequence, batch } = said else { continue };
            let agrees = |facts: &&&Facts| facts.said.iter().any(|said| proposes(said, *view, *sequence, *batch));
            let correct = all.iter().filter(agrees).count();
            if correct < CORRECT_OF_QUORUM {
                let who = facts.owner;
                let text = format!("s{sequence} prepared at {who} in v{view} with {correct} correct votes");
                return Some((Goal::Certificates, text));
            }
        }
    }
    None
}

/// C11 of votes: where a batch may have committed, nobody votes for another one in a later view.
fn votes(all: AllFacts<'_>, locks: &[Lock]) -> Option<Miss> {
    for Lock { view: locked, sequence, batch } in locks {
        for facts in all {
            let departs = |said: &&Fact| match said {
                Fact::Vote { round: Round::PrePrepare | Round::Prepare, view, sequence: of, batch: voted } => {
                    of == sequence && view > locked && voted != batch
                }
                _ => false,
            };
            if let Some(Fact::Vote { view, .. }) = facts.said.iter().find(departs) {
                let who = facts.owner;
                let text = format!(
                    "{who} votes for another batch at s{sequence} in v{view} than may have committed in v{locked}"
                );
                return Some((Goal::Certificates, text));
            }
        }
    }
    None
}

/// C1, and C11 of what committed.
fn agreement(all: AllFacts<'_>, locks: &[Lock]) -> Option<Miss> {
    for (at, facts) in all.iter().enumerate() {
        let who = facts.owner;
        for (number, batch) in facts.committed.iter().enumerate() {
            let Some(batch) = batch else { continue };
            let sequence = SequenceNumber(number as u64 + 1);
            let differs = |other: &&&Facts| other.committed[number].is_some_and(|held| held != *batch);
            if let Some(other) = all[at + 1..].iter().find(differs) {
                let text = format!("{who} and {} committed different batches at s{sequence}", other.owner);
                return Some((Goal::Agreement, text));
            }
            let locked = locks.iter().any(|lock| (lock.sequence, lock.batch) == (sequence, *batch));
            let claim = Fact::Claim { sequence, batch: *batch };
            if !locked && !all.iter().any(|facts| facts.says(&claim)) {
                let text = format!("{who} committed s{sequence} on fewer than f+1 correct commits");
                return Some((Goal::Certificates, text));
            }
        }
    }
    None
}

/// C12: what a client may have accepted, with the faulty replica's reply beside those of correct ones, is what is final in the end.
fn acceptance(all: AllFacts<'_>) -> Option<Miss> {
    for facts in all {
        for said in &facts.said {
            let Fact::Reply { client, sequence, result, .. } = said else { continue };
            if !may_accept(all, said) {
                continue;
            }
            let place = sequence.0 as usize - 1;
            let differs = |facts: &&&Facts| facts.results.get(place).is_some_and(|held| held != result);
            if let Some(other) = all.iter().find(differs) {
                let who = other.owner;
                let text = format!("c{client} may have accepted a result at s{sequence} that is not {who}'s");
                return Some((Goal::Acceptance, text));
            }
        }
    }
    None
}

/// Whether a client may have accepted what a reply says: with enough others that are final, or tentative in the same view.
fn may_accept(all: AllFacts<'_>, reply: &Fact) -> bool {
    let Fact::Reply { client, sequence, result, tentative_in } = reply else { return false };
    let told = Fact::Reply { client: *client, sequence: *sequence, result: *result, tentative_in: None };
    match tentative_in {
        None => all.iter().filter(|facts| facts.says(reply)).count() >= CORRECT_FINAL,
        Some(_) => all.iter().filter(|facts| facts.says(reply) || facts.says(&told)).count() >= CORRECT_TENTATIVE,
    }
}

/// What may have committed.
fn locks(all: AllFacts<'_>) -> Vec<Lock> {
    let mut locks = Vec::new();
    for (at, facts) in all.iter().enumerate() {
        for said in &facts.said {
            let Fact::Vote { round: Round::Commit, view, sequence, batch } = said else { continue };
            // It is counted where the first of them says it.
            let first = !all[..at].iter().any(|facts| facts.says(said));
            if first && all[at..].iter().filter(|facts| facts.says(said)).count() >= CORRECT_OF_QUORUM {
                locks.push(Lock { view: *view, sequence: *sequence, batch: *batch });
            }
        }
    }
    locks
}

/// Whether what was said is for a batch to prepare in a view.
fn proposes(said: &Fact, in_view: View, at: SequenceNumber, wanted: Digest) -> bool {
    match said {
        Fact::Vote { round: Round::PrePrepare | Round::Prepare, view, sequence, batch } => {
            (*view, *sequence, *batch) == (in_view, at, wanted)
        }
        // Who opens a view proposes what it selects.
        Fact::Opened { view, selection } => *view == in_view && selection.contains(&(at, wanted)),
        _ => false,
    }
}
