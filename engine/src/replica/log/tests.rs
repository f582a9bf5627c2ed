//! Tests of the log: what counts, what is kept, and what is let go.

use super::super::bodies::PartShape;
use super::*;
use crate::numbers::{ClientId, Incarnation, RequestNumber};
use crate::wire::request::RequestName;

const A: Digest = Digest([1; 32]);
const B: Digest = Digest([2; 32]);
const C: Digest = Digest([3; 32]);

fn bodies() -> Bodies {
    Bodies::new(1 << 16, 1024, PartShape::of(1472, 4))
}

/// Makes a batch known, with one body of its own; how many bytes are held then.
fn fill(slot: &mut Slot, digest: Digest, bodies: &mut Bodies) -> usize {
    let name = RequestName { client: ClientId(0), incarnation: Incarnation(1), number: RequestNumber(0) };
    let body = bodies.store(&[0; 200], 48..120, name, digest, true, 0).unwrap();
    let batch = slot.batch_or_new(digest);
    (batch.known, batch.bodies) = (true, vec![Some(body)]);
    bodies.bytes_held()
}

/// Found by seed 27495: a batch that comes to stand where another was let go has nothing of it, and a null batch no time (`protocol.md NC-9`).
#[test]
fn a_batch_has_nothing_of_the_one_before_it() {
    let (mut bodies, mut slot) = (bodies(), Slot::new());
    let batch = slot.batch_or_new(A);
    (batch.known, batch.timestamp_ns, batch.persisted) = (true, u64::MAX, true);
    slot.drop_unnamed_batches(&mut bodies);
    let batch = slot.batch_or_new(B);
    assert_eq!((batch.known, batch.timestamp_ns, batch.persisted), (false, 0, false));
}

/// `protocol.md NC-6`
#[test]
fn a_vote_counts_once_and_the_first_counts() {
    let mut votes = Votes::new();
    assert_eq!(votes.record(ReplicaId(1), A), VoteOutcome::Counted);
    assert_eq!(votes.record(ReplicaId(1), A), VoteOutcome::Repeated);
    assert_eq!(votes.record(ReplicaId(1), B), VoteOutcome::Contradicts(A));
    assert_eq!(votes.record(ReplicaId(2), B), VoteOutcome::Counted);
    assert_eq!((votes.matching(&A), votes.matching(&B)), (1, 1));
    votes.clear();
    assert_eq!((votes.count(), votes.matching(&A)), (0, 0));
    assert_eq!(votes.record(ReplicaId(1), B), VoteOutcome::Counted, "nothing is left of what it said before");
}

/// `protocol.md CK-2`: what a quorum has instead of the own state is one state, not many that are not its own.
#[test]
fn others_count_where_they_agree() {
    let mut votes = Votes::new();
    assert_eq!(votes.others(&A), 0);
    votes.record(ReplicaId(0), A);
    votes.record(ReplicaId(1), A);
    assert_eq!((votes.others(&A), votes.others(&B)), (0, 2));
    votes.record(ReplicaId(2), B);
    votes.record(ReplicaId(3), C);
    assert_eq!((votes.others(&A), votes.others(&B), votes.others(&C)), (1, 2, 2));
}

/// `protocol.md NC-10`: a claim counts as a commit, and who says both counts once.
#[test]
fn claims_and_commits_count_together() {
    let mut slot = Slot::new();
    slot.commits.record(ReplicaId(0), A);
    slot.commits.record(ReplicaId(1), B);
    assert_eq!((slot.committing(&A), slot.committing(&B), slot.committing(&C)), (1, 1, 0));
    slot.claims.record(ReplicaId(0), A);
    slot.claims.record(ReplicaId(2), A);
    assert_eq!((slot.committing(&A), slot.committing(&B)), (2, 1));
    assert_eq!(slot.votes(), 2);
    // A claim is of whatever view, and outlives it; a commit does not.
    slot.leave_view();
    assert_eq!((slot.committing(&A), slot.committing(&B)), (2, 0));
}

#[test]
fn anything_that_is_known_of_a_number_makes_it_used() {
    type Change = fn(&mut Slot);
    let changes: [Change; 8] = [
        |slot| slot.proposal = Some(A),
        |slot| slot.committed = Some(A),
        |slot| slot.prepared = Some((View(0), A)),
        |slot| slot.note_pre_prepared(View(0), A),
        |slot| _ = slot.batch_or_new(A),
        |slot| _ = slot.prepares.record(ReplicaId(0), A),
        |slot| _ = slot.commits.record(ReplicaId(0), A),
        |slot| _ = slot.claims.record(ReplicaId(0), A),
    ];
    for (at, change) in changes.iter().enumerate() {
        let mut slot = Slot::new();
        assert!(!slot.is_used());
        change(&mut slot);
        assert!(slot.is_used(), "{at}");
        slot.reset(SequenceNumber(1), &mut bodies());
        assert!(!slot.is_used(), "{at}");
    }
}

/// `protocol.md BP-3`: what nothing names holds no body; what anything names keeps its own.
#[test]
fn batches_that_nothing_names_are_let_go() {
    type Naming = fn(&mut Slot);
    let namings: [Naming; 3] =
        [|slot| slot.proposal = Some(B), |slot| slot.committed = Some(B), |slot| slot.note_pre_prepared(View(2), B)];
    for (at, naming) in namings.iter().enumerate() {
        let (mut bodies, mut slot) = (bodies(), Slot::new());
        let one = fill(&mut slot, A, &mut bodies);
        fill(&mut slot, B, &mut bodies);
        assert_eq!(fill(&mut slot, C, &mut bodies), 3 * one);
        naming(&mut slot);
        slot.drop_unnamed_batches(&mut bodies);
        let kept: Vec<Digest> = slot.batches().iter().map(|batch| batch.digest).collect();
        assert_eq!((kept, bodies.bytes_held()), (vec![B], one), "{at}");
        assert!(slot.batch(&B).unwrap().is_complete() && slot.batch(&A).is_none() && slot.batch(&C).is_none());
    }
}

/// `protocol.md VC-3`: set Q has one entry a batch, of the last view in which it was pre-prepared, and a bound (`RB-8`).
#[test]
fn set_q_has_an_entry_a_batch_and_a_bound() {
    let mut slot = Slot::new();
    slot.note_pre_prepared(View(1), A);
    slot.note_pre_prepared(View(2), B);
    slot.note_pre_prepared(View(5), A);
    assert_eq!(slot.pre_prepared, [(View(5), A), (View(2), B)]);
    for more in slot.pre_prepared.len()..PRE_PREPARED_MAX {
        assert!(!slot.is_full() && slot.may_pre_prepare(&C));
        slot.note_pre_prepared(View(6), Digest([more as u8 + 0x10; 32]));
    }
    assert!(slot.is_full() && !slot.may_pre_prepare(&C));
    assert!(slot.may_pre_prepare(&B), "it is there already");
    assert!(slot.may_pre_prepare(&null_batch()), "there is room for it beyond the bound");
}

/// `protocol.md CK-4`
#[test]
fn the_window_and_one_more_are_kept() {
    let (window, mut bodies) = (8, bodies());
    let mut log = Log::new(window);
    let mut stable = 0;
    for step in [4, 4, 8, 1, 20, 4] {
        for sequence in stable + 1..=stable + window {
            let slot = log.slot_mut(SequenceNumber(sequence)).unwrap();
            slot.stage = Stage::Committed;
            assert!(log.in_window(SequenceNumber(sequence)));
        }
        assert!(!log.in_window(SequenceNumber(stable)) && !log.in_window(SequenceNumber(stable + window + 1)));
        stable += step;
        log.truncate(SequenceNumber(stable), &mut bodies);
        assert_eq!(log.stable().0, stable);
        // What is above is still as it was, what fell out is gone, what is new is empty.
        for sequence in (stable + 1).saturating_sub(window).max(1)..=stable + window {
            assert!(log.slot(SequenceNumber(sequence)).is_some(), "{sequence} at {stable}");
        }
        if stable > window {
            assert!(log.slot(SequenceNumber(stable - window)).is_none());
        }
        assert_eq!(log.slot(SequenceNumber(stable + window)).unwrap().stage, Stage::Empty);
    }
}
