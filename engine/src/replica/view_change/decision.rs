//! What a new view takes over: the decision procedure of PBFT-02 (figure 4), a pure function of a set of view changes, which the new primary
//! and every backup compute alike (`protocol.md VC-5`).
//!
//! Prepared claims are claims here, not proofs, since prepares carry MACs: A1 keeps a liar from hiding what committed, A2 keeps it from
//! inventing what prepared.

use crate::numbers::{SequenceNumber, View};
use crate::planted::{self, Bug};
use crate::replica::Quorum;
use crate::wire::agreement::Vote;
use crate::wire::view_change::{ViewChange, null_batch};
use logothete_crypto::Digest;

/// What a new view starts from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selection {
    /// The checkpoint, and the digest of its state.
    pub checkpoint: (SequenceNumber, Digest),
    /// The batches of the numbers after it, without gaps.
    pub batches: Vec<Digest>,
}

/// Decides on a set of view changes of distinct replicas for one view; `None` while it takes more of them.
pub fn decide(set: &[ViewChange<'_>], quorum: Quorum, window: u64) -> Option<Selection> {
    let checkpoint = starting_checkpoint(set, quorum)?;
    let named = |view_change: &ViewChange<'_>| view_change.prepared.last().map_or(SequenceNumber(0), Vote::sequence);
    let highest = set.iter().map(named).max().unwrap_or_default();
    let last = highest.0.min(checkpoint.0.0.saturating_add(window));
    let mut batches = Vec::new();
    let mut end = 0;
    for sequence in (checkpoint.0.0..last).map(|below| below + 1) {
        let found = decide_number(set, quorum, SequenceNumber(sequence))?;
        batches.push(found.unwrap_or_else(null_batch));
        if found.is_some() {
            end = batches.len();
        }
    }
    // Where nothing can have committed and nothing follows, the new primary may propose. A null batch that prepared is not nothing: it may
    // have committed like any other.
    batches.truncate(end);
    Some(Selection { checkpoint, batches })
}

/// The highest checkpoint that `f+1` hold, so that a correct one does, and at which `2f+1` can begin. Both counts range over the whole set.
fn starting_checkpoint(set: &[ViewChange<'_>], quorum: Quorum) -> Option<(SequenceNumber, Digest)> {
    let candidates = set.iter().flat_map(|view_change| view_change.checkpoints);
    let sound = candidates.filter(|candidate| {
        let holds = |view_change: &&ViewChange<'_>| {
            let mut held = view_change.checkpoints.iter();
            held.any(|held| held.sequence() == candidate.sequence() && held.digest == candidate.digest)
        };
        set.iter().filter(|view_change| view_change.stable <= candidate.sequence()).count() >= quorum.strong()
            && set.iter().filter(holds).count() >= quorum.weak()
    });
    sound.map(|candidate| (candidate.sequence(), candidate.digest)).max()
}

/// The batch of one number by A1 and A2; `Some(None)` by B: none can have committed. `None` while it takes more view changes.
fn decide_number(set: &[ViewChange<'_>], quorum: Quorum, sequence: SequenceNumber) -> Option<Option<Digest>> {
    let prepared = |view_change: &ViewChange<'_>| entry(view_change.prepared, sequence);
    let begins_below = |view_change: &&ViewChange<'_>| view_change.stable < sequence;
    let undisputed = |view: View, digest: Digest| {
        let agrees = |view_change: &&ViewChange<'_>| {
            prepared(view_change)
                .is_none_or(|(held_view, held)| held_view < view || (held_view == view && held == digest))
        };
        set.iter().filter(begins_below).filter(agrees).count() >= quorum.strong()
    };
    let vouched = |view: View, digest: Digest| {
        let vouches = |view_change: &&ViewChange<'_>| {
            let mut entries = entries(view_change.pre_prepared, sequence);
            entries.any(|vote| vote.digest == digest && vote.view() >= view)
        };
        set.iter().filter(vouches).count() >= quorum.weak()
    };
    let qualified =
        set.iter().filter_map(prepared).filter(|(view, digest)| undisputed(*view, *digest) && vouched(*view, *digest));
    if planted::is(Bug::ClaimsDiscarded) && set.iter().filter_map(prepared).any(|(view, of)| !vouched(view, of)) {
        return Some(None);
    }
    // All must choose alike: a batch before null, then the highest view, then the smallest digest.
    let order = |(view, digest): &(View, Digest)| (*digest != null_batch(), *view, std::cmp::Reverse(*digest));
    if let Some((_, digest)) = qualified.max_by_key(order) {
        return Some(Some(digest));
    }
    let empty = set.iter().filter(begins_below).filter(|view_change| prepared(view_change).is_none()).count();
    (empty >= quorum.strong()).then_some(None)
}

/// The entries of a number in a set that ascends by number.
fn entries(set: &[Vote], sequence: SequenceNumber) -> impl Iterator<Item = &Vote> {
    let first = set.partition_point(|vote| vote.sequence() < sequence);
    set[first..].iter().take_while(move |vote| vote.sequence() == sequence)
}

fn entry(set: &[Vote], sequence: SequenceNumber) -> Option<(View, Digest)> {
    entries(set, sequence).next().map(|vote| (vote.view(), vote.digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::ReplicaId;
    use crate::wire::agreement::CheckpointVote;

    const A: Digest = Digest([0xa; 32]);
    const B: Digest = Digest([0xb; 32]);
    const STATE: Digest = Digest([1; 32]);

    /// A view change as data: h, further checkpoints, P and Q as (number, view, batch).
    #[derive(Clone, Default)]
    struct Told {
        stable: u64,
        checkpoints: Vec<CheckpointVote>,
        prepared: Vec<Vote>,
        pre_prepared: Vec<Vote>,
    }

    fn told(stable: u64, prepared: &[(u64, u64, Digest)], pre_prepared: &[(u64, u64, Digest)]) -> Told {
        let votes = |set: &[(u64, u64, Digest)]| {
            set.iter().map(|&(s, v, digest)| Vote::new(View(v), SequenceNumber(s), digest)).collect()
        };
        Told {
            stable,
            checkpoints: vec![CheckpointVote::new(SequenceNumber(stable), STATE)],
            prepared: votes(prepared),
            pre_prepared: votes(pre_prepared),
        }
    }

    fn decide_on(set: &[Told]) -> Option<Selection> {
        let view_changes: Vec<_> = set
            .iter()
            .enumerate()
            .map(|(id, told)| ViewChange {
                view: View(9),
                stable: SequenceNumber(told.stable),
                epoch: 1,
                replica: ReplicaId(id as u8),
                checkpoints: &told.checkpoints,
                prepared: &told.prepared,
                pre_prepared: &told.pre_prepared,
            })
            .collect();
        decide(&view_changes, Quorum::of(4).unwrap(), 16)
    }

    fn batches(set: &[Told]) -> Option<Vec<Digest>> {
        decide_on(set).map(|selection| selection.batches)
    }

    /// `protocol.md VC-5`
    #[test]
    fn nothing_prepared_selects_nothing() {
        let nothing = told(0, &[], &[]);
        assert_eq!(decide_on(&vec![nothing.clone(); 2]), None, "two of four decide nothing");
        let selection = decide_on(&vec![nothing; 3]).unwrap();
        assert_eq!(selection, Selection { checkpoint: (SequenceNumber(0), STATE), batches: vec![] });
    }

    /// `protocol.md VC-5`: what may have committed anywhere is selected.
    #[test]
    fn what_one_prepared_and_a_weak_quorum_pre_prepared_is_carried_over() {
        let prepared = told(0, &[(1, 0, A)], &[(1, 0, A)]);
        let pre_prepared = told(0, &[], &[(1, 0, A)]);
        let nothing = told(0, &[], &[]);
        assert_eq!(batches(&[prepared.clone(), pre_prepared, nothing.clone()]), Some(vec![A]));
        // The claim of one alone is not enough for A, nor are two others enough for B: it takes a fourth.
        assert_eq!(batches(&[prepared.clone(), nothing.clone(), nothing.clone()]), None);
        assert_eq!(batches(&[prepared, nothing.clone(), nothing.clone(), nothing]), Some(vec![]));
    }

    /// `protocol.md VC-5`: a made-up claim of a high view neither displaces what committed nor stops the decision.
    #[test]
    fn a_liar_invents_nothing_and_hides_nothing() {
        let honest = told(0, &[(1, 3, A)], &[(1, 3, A)]);
        let liar = told(0, &[(1, 8, B)], &[(1, 8, B)]);
        // With the liar among three, its claim disputes A for one message: a further honest one decides.
        assert_eq!(batches(&[honest.clone(), honest.clone(), liar.clone()]), None);
        assert_eq!(batches(&[honest.clone(), honest.clone(), liar, honest]), Some(vec![A]));
    }

    /// `protocol.md VC-5`: a later view's batch wins over an earlier's.
    #[test]
    fn the_highest_view_wins() {
        let old = told(0, &[(1, 2, A)], &[(1, 2, A)]);
        let new = told(0, &[(1, 5, B)], &[(1, 2, A), (1, 5, B)]);
        assert_eq!(batches(&[old, new.clone(), new]), Some(vec![B]));
    }

    /// `protocol.md VC-5`: gaps become null, nulls at the end are left out.
    #[test]
    fn gaps_are_filled_and_the_end_is_cut() {
        let one = told(0, &[(3, 0, A)], &[(3, 0, A)]);
        assert_eq!(batches(&vec![one; 3]), Some(vec![null_batch(), null_batch(), A]));
        let cut = told(0, &[(1, 0, A)], &[(1, 0, A), (2, 0, B)]);
        assert_eq!(batches(&vec![cut; 3]), Some(vec![A]), "pre-prepared only");
    }

    /// `protocol.md VC-5`: as many liars as it takes for a checkpoint get no panic and no endless search.
    #[test]
    fn nothing_is_above_the_last_number() {
        let end = told(u64::MAX, &[(u64::MAX, 0, A)], &[(u64::MAX, 0, A)]);
        assert_eq!(batches(&vec![end.clone(); 3]), Some(vec![]));
        let below = told(0, &[(u64::MAX, 0, A)], &[(u64::MAX, 0, A)]);
        assert_eq!(batches(&[below, end.clone(), end]), Some(vec![]));
    }

    /// `protocol.md VC-5`: a null batch that prepared may have committed; its place is not free.
    #[test]
    fn a_null_batch_is_carried_over_like_any_other() {
        let null = told(0, &[(1, 2, null_batch())], &[(1, 2, null_batch())]);
        assert_eq!(batches(&vec![null.clone(); 3]), Some(vec![null_batch()]));
        // What stood behind it in the view that made it null is no longer in any view change that is here.
        let and_more = told(0, &[(1, 2, null_batch()), (2, 0, A)], &[(1, 2, null_batch()), (2, 2, A)]);
        let pre_prepared = told(0, &[(1, 2, null_batch())], &[(1, 2, null_batch()), (2, 2, A)]);
        assert_eq!(batches(&[null.clone(), pre_prepared.clone(), and_more]), Some(vec![null_batch(), A]));
        assert_eq!(batches(&[null, pre_prepared.clone(), pre_prepared]), Some(vec![null_batch()]));
    }

    /// `protocol.md VC-5`: the counts for the checkpoint range over the whole set.
    #[test]
    fn the_checkpoint_is_one_that_a_weak_quorum_holds_and_a_quorum_can_begin_at() {
        let behind = told(0, &[], &[]);
        let ahead = told(8, &[], &[]);
        let chosen = |set: &[Told]| decide_on(set).map(|selection| selection.checkpoint.0.0);
        assert_eq!(chosen(&[behind.clone(), ahead.clone(), ahead.clone()]), Some(8));
        assert_eq!(
            chosen(&[behind.clone(), behind.clone(), ahead.clone()]),
            None,
            "8 is held once, 0 begins too low for one"
        );
        assert_eq!(chosen(&[behind.clone(), behind.clone(), ahead, behind]), Some(0));
    }

    /// `protocol.md VC-5`: who begins above a number says nothing about it.
    #[test]
    fn a_stable_checkpoint_above_a_number_is_no_vote_for_null() {
        let ahead = told(8, &[], &[]);
        let mut holds = told(0, &[(9, 0, A)], &[(9, 0, A)]);
        holds.checkpoints.push(CheckpointVote::new(SequenceNumber(8), STATE));
        assert_eq!(
            decide_on(&[ahead.clone(), ahead, holds.clone()]),
            None,
            "one alone vouches for the batch, and it is disputed"
        );
        let vouching = told(8, &[], &[(9, 0, A)]);
        let selection = decide_on(&[vouching.clone(), vouching, holds]).unwrap();
        assert_eq!(selection, Selection { checkpoint: (SequenceNumber(8), STATE), batches: vec![A] });
    }
}
