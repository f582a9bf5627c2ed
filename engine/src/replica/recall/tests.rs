//! What a journal makes of a replica, where it begins or ends at an unlucky place.

use super::*;
use crate::limits::DATAGRAM_BYTES_LOOPBACK;
use crate::numbers::ReplicaId;
use crate::replica::output::Action;
use crate::replica::tests::{config, now, replica};
use crate::replica::{Reject, ReplicaConfig};
use crate::wire::Messages;
use crate::wire::agreement::CheckpointVote;
use crate::wire::view_change::NewView;

/// `protocol.md RT-1`: the journal says which checkpoint is stable, and its state, fetched from others, was not on the disk yet. In an idle cluster no other
/// checkpoint comes: the others vote on that one again for who says that it is not there, and one that `f+1` vote for is fetched.
#[test]
fn who_lacks_the_state_of_its_stable_checkpoint_hears_who_has_it() {
    let stable = (SequenceNumber(config(DATAGRAM_BYTES_LOOPBACK).checkpoint_interval), digest(b"state"));
    let (mut latter, mut output) = (replica(config(DATAGRAM_BYTES_LOOPBACK)), Output::new());
    latter.recall(now(), &Record::Stable { sequence: stable.0, digest: stable.1 }, &mut output);
    latter.on_recalled(now(), &mut output);
    output.clear();
    latter.on_duty_end(now(), &mut output);
    let sent = output.actions().iter().find_map(|action| match action {
        Action::Send { bytes, .. } => Some(output.message(bytes.clone())),
        _ => None,
    });
    let sent = Messages::new(sent.expect("it says where it is"), Principal::Replica(ReplicaId(0))).flatten().next();
    let Some((Message::Status(status), _)) = sent else { panic!("it says something else") };
    assert_eq!((latter.stable(), status.stable()), (stable.0, SequenceNumber(0)));
    let mut peer = replica(config(DATAGRAM_BYTES_LOOPBACK));
    peer.checkpoints.note_own(stable.0, stable.1);
    let mut answers = Output::new();
    peer.on_status(now(), ReplicaId(3), status, &mut answers).unwrap();
    let vote = CheckpointVote::new(stable.0, stable.1);
    let mut expected = Vec::new();
    vote.append(&mut expected);
    let says_so =
        |action: &Action| matches!(action, Action::Send { bytes, .. } if answers.message(bytes.clone()) == expected);
    assert!(answers.actions().iter().any(says_so));
    output.clear();
    for from in [ReplicaId(1), ReplicaId(2)] {
        // It counts for no certificate any more, and says who has the state.
        assert_eq!(latter.on_checkpoint(now(), from, &vote, &mut output), Err(Reject::Duplicate));
    }
    let fetches = |action: &Action| matches!(action, Action::FetchState { sequence, .. } if *sequence == stable.0);
    assert!(output.actions().iter().any(fetches));
}

/// `protocol.md RC-1`, `VC-7`: a checkpoint is written between the record of a new view and that of its entry, and with it the new view again. A journal that begins in
/// between has the entry first; what the view took over is proposed all the same.
#[test]
fn what_a_view_took_over_is_recalled_wherever_the_journal_begins() {
    let config = ReplicaConfig { keeps_journal: true, ..config(DATAGRAM_BYTES_LOOPBACK) };
    let (view, taken_over) = (View(1), digest(b"batch"));
    assert_eq!(config.primary_of(view), config.id, "nothing else may be proposed there");
    let content = NewView {
        view,
        epoch: 1,
        replica: config.id,
        checkpoint: (SequenceNumber(0), Digest::default()),
        named: &[],
        selection: &[taken_over],
    };
    let bytes = content.encode(|_| [0; 64]);
    let (new_view, entered) = (Record::NewView { bytes: &bytes }, Record::ViewEntered { view });
    for journal in [&[&new_view, &entered][..], &[&entered, &new_view, &entered], &[&new_view, &entered, &new_view]] {
        let (mut latter, mut output) = (replica(config), Output::new());
        journal.iter().for_each(|record| latter.recall(now(), record, &mut output));
        latter.on_recalled(now(), &mut output);
        let slot = latter.log.slot(SequenceNumber(1)).unwrap();
        assert!(latter.is_active() && slot.carried, "{journal:?}");
        assert_eq!((slot.proposal, latter.proposed), (Some(taken_over), SequenceNumber(1)), "{journal:?}");
    }
}

/// `protocol.md EX-1`: a state is fetched, and what had prepared below its number, and not committed here, is not executed before: its commits are over, and the primary would be
/// blamed for them.
#[test]
fn nothing_is_executed_tentatively_below_a_stable_checkpoint() {
    let config = ReplicaConfig { keeps_journal: true, ..config(DATAGRAM_BYTES_LOOPBACK) };
    let (view, sequence, stable) = (View(0), SequenceNumber(1), SequenceNumber(config.checkpoint_interval));
    let batch = batch_digest(5, &[]);
    for lacks_state in [false, true] {
        let (mut latter, mut output) = (replica(config), Output::new());
        latter.recall(now(), &Record::Proposal { view, sequence, timestamp_ns: 5, entries: &[] }, &mut output);
        latter.recall(now(), &Record::Prepare { view, sequence, digest: batch }, &mut output);
        latter.recall(now(), &Record::Commit { view, sequence, digest: batch }, &mut output);
        if lacks_state {
            latter.recall(now(), &Record::Stable { sequence: stable, digest: digest(b"state") }, &mut output);
        }
        latter.on_recalled(now(), &mut output);
        latter.on_duty_end(now(), &mut output);
        assert_eq!(latter.tentative.is_some(), !lacks_state);
    }
}
