//! Tests of what is kept of view changes.

use super::*;
use crate::limits::{DATAGRAM_BYTES_LOOPBACK, statement_bytes_max};
use crate::replica::tests::{config, now, replica, signatures};
use crate::replica::{Reject, ReplicaConfig};
use crate::wire::retransmission::Status;
use crate::wire::view_change::Part;
use std::hash::DefaultHasher;

const VIEW: View = View(3);

/// Some statement: what counts of it here are its view, its signer and its digest.
fn statement(view: View, replica: u8, content: u8) -> Statement {
    Statement::new(view, ReplicaId(replica), vec![content; 100])
}

fn claimed(view: View, replica: u8, relayed: &[u8]) -> Option<Claimed> {
    let relayed = relayed.iter().map(|content| statement(view, 1, *content)).collect();
    Some(Claimed { statement: statement(view, replica, 0), relayed })
}

fn hash_of(hash: impl FnOnce(&mut DefaultHasher)) -> u64 {
    let mut state = DefaultHasher::new();
    hash(&mut state);
    state.finish()
}

/// What bounds hold for (`protocol.md VC-4`, `VC-6`) has to be counted whole.
#[test]
fn each_statement_that_is_kept_is_counted() {
    let mut changes = ViewChanges::new(4, 1024);
    assert_eq!(changes.count(), (0, 0));
    changes.latest[1] = Some(statement(VIEW, 1, 1));
    changes.latest[2] = Some(statement(VIEW, 2, 1));
    assert_eq!(changes.count(), (2, 2));
    changes.claimed[3] = claimed(VIEW, 3, &[5, 6, 7]);
    assert_eq!(changes.count(), (2, 2 + 4));
    changes.claimed[0] = claimed(VIEW, 0, &[]);
    assert_eq!(changes.count(), (2, 2 + 4 + 1));
    changes.named = (0..3).map(|signer| statement(VIEW, signer, 9)).collect();
    assert_eq!(changes.count(), (2, 2 + 5 + 3));
    changes.new_view = Some(statement(VIEW, 3, 9));
    assert_eq!(changes.count(), (2, 2 + 5 + 3 + 1));
}

/// What the exhaustive mode of the simulator tells states apart by: what still decides something, and nothing else.
#[test]
fn a_fingerprint_has_what_still_decides() {
    let print = |changes: &ViewChanges, view, active| hash_of(|state| changes.fingerprint(view, active, state));
    let empty = ViewChanges::new(4, 1024);
    let differs = |change: &dyn Fn(&mut ViewChanges), view, active| {
        let mut changes = empty.clone();
        change(&mut changes);
        print(&changes, view, active) != print(&empty, view, active)
    };
    let (below, above) = (View(VIEW.0 - 1), View(VIEW.0 + 1));
    let latest = |changes: &mut ViewChanges| changes.latest[1] = Some(statement(VIEW, 1, 1));
    let new_view = |changes: &mut ViewChanges| changes.new_view = Some(statement(VIEW, 3, 1));
    for change in [&latest as &dyn Fn(&mut ViewChanges), &new_view] {
        assert!(differs(change, below, true) && differs(change, below, false), "it is of a view to come");
        assert!(differs(change, VIEW, false), "it is of the view that is wanted");
        assert!(!differs(change, VIEW, true) && !differs(change, above, true) && !differs(change, above, false));
    }
    assert!(differs(&|changes| changes.claimed[3] = claimed(VIEW, 3, &[]), VIEW, true));
    let selection = Selection { checkpoint: (SequenceNumber(0), Digest([1; 32])), batches: Vec::new() };
    assert!(differs(&|changes| changes.selection = Some(selection.clone()), VIEW, true));
    let part = Part {
        statement: StatementKind::ViewChange,
        replica: ReplicaId(1),
        view: VIEW,
        digest: Digest([1; 32]),
        total_bytes: 2000,
        index: 0,
        bytes: &[1; 1024],
    };
    assert!(differs(&|changes| assert!(changes.parts.take(ReplicaId(2), &part).is_none()), VIEW, true));
    // The order in which they came is no difference.
    let relaying = |relayed: &[u8]| {
        let mut changes = empty.clone();
        changes.claimed[3] = claimed(VIEW, 3, relayed);
        print(&changes, VIEW, true)
    };
    assert!(relaying(&[1, 2]) == relaying(&[2, 1]) && relaying(&[1, 2]) != relaying(&[1, 3]));
}

/// `protocol.md VC-2`: room is made for what a correct replica may have written, and for nothing longer.
#[test]
fn a_statement_is_as_long_as_it_may_be() {
    let mut replica = replica(config(DATAGRAM_BYTES_LOOPBACK));
    let longest = statement_bytes_max(replica.log.window(), 4);
    let mut take = |signer, total_bytes| {
        let part = Part {
            statement: StatementKind::ViewChange,
            replica: ReplicaId(signer),
            view: VIEW,
            digest: Digest([1; 32]),
            total_bytes,
            index: 0,
            bytes: &[0; 1024],
        };
        let taken = replica.on_part(now(), ReplicaId(2), &part, &mut Output::new());
        (taken, hash_of(|state| replica.view_changes.parts.hash(state)))
    };
    let (taken, nothing) = take(3, longest + 1);
    assert_eq!(taken, Err(Reject::StatementUnsound));
    assert_eq!(take(4, longest).0, Err(Reject::StatementUnsound), "nobody has that number");
    let (taken, begun) = take(3, longest);
    assert_eq!(taken, Ok(()));
    assert_ne!(begun, nothing);
}

/// Brings a replica the view change of another, which has a stable checkpoint and one batch prepared after it, or nothing.
fn bring(replica: &mut Replica, signer: u8, view: View, stable: SequenceNumber, prepared: Option<Digest>) {
    let votes: Vec<Vote> =
        prepared.map(|batch| Vote::new(View(0), SequenceNumber(stable.0 + 1), batch)).into_iter().collect();
    let state = if stable.0 == 0 { Digest::default() } else { Digest([7; 32]) };
    let content = ViewChange {
        view,
        stable,
        epoch: 1,
        replica: ReplicaId(signer),
        checkpoints: &[CheckpointVote::new(stable, state)],
        prepared: &votes,
        pre_prepared: &votes,
    };
    let signatures = signatures(signer, Digest::default());
    let bytes = content.encode(|body| signatures.sign(StatementKind::ViewChange, body));
    let cut = Parts::new(4, 1024);
    for part in cut.cut(StatementKind::ViewChange, ReplicaId(signer), view, digest(&bytes), &bytes) {
        replica.on_part(now(), ReplicaId(signer), &part, &mut Output::new()).unwrap();
    }
}

/// `protocol.md VC-3`, `VC-5`: the others prepare on the strength of a new view, so what it selects is in its primary's set Q from then on, whether or
/// not the primary has the state to enter it.
#[test]
fn what_a_new_view_selects_is_pre_prepared_by_its_primary() {
    let mut primary = replica(config(DATAGRAM_BYTES_LOOPBACK));
    let (stable, batch) = (SequenceNumber(primary.config.checkpoint_interval), Digest([9; 32]));
    for signer in [0, 2, 3] {
        bring(&mut primary, signer, View(1), stable, Some(batch));
    }
    assert!(primary.view() == View(1) && primary.view_changes.new_view.is_some() && !primary.active);
    let noted = |above: u64| primary.log.slot(SequenceNumber(stable.0 + above)).unwrap();
    assert_eq!(noted(1).pre_prepared, [(View(1), batch)]);
    assert!(noted(1).batch(&batch).is_some());
    assert!(noted(0).pre_prepared.is_empty() && noted(2).pre_prepared.is_empty());
}

/// `protocol.md VC-8`: where a correct replica is in the view that is wanted, its new view is on its way, and is waited for longer.
#[test]
fn a_view_that_others_are_in_is_left_later() {
    let left_after_ns = |active: &[u8]| {
        let mut held = replica(ReplicaConfig { id: ReplicaId(3), ..config(DATAGRAM_BYTES_LOOPBACK) });
        for signer in [0, 2] {
            bring(&mut held, signer, View(1), SequenceNumber(0), None);
        }
        assert!(held.view() == View(1) && !held.active);
        for from in active {
            let none = SequenceNumber(0);
            let status = Status::new(Standing::active_in(View(1)), none, none, none);
            held.on_status(now(), ReplicaId(*from), &status, &mut Output::new()).unwrap();
        }
        let at = |after_ns: u64| Now { monotonic_ns: now().monotonic_ns + after_ns, ..now() };
        let late = |held: &mut Replica, after_ns: u64| {
            held.on_duty_end(at(after_ns), &mut Output::new());
            held.view() > View(1)
        };
        (0..10_000).map(|ms| ms * 1_000_000).find(|after_ns| late(&mut held, *after_ns)).unwrap()
    };
    let alone = left_after_ns(&[]);
    assert_eq!(left_after_ns(&[0]), alone, "one may lie");
    assert!(left_after_ns(&[0, 2]) > 4 * alone);
}
