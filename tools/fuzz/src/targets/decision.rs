//! The decision of a view change, against the same procedure written from the paper (RELIABILITY.md B-08, B-09, P-12): up to seven view changes of any
//! content, in any order.

use crate::choices::Choices;
use crate::{Sample, Target};
use logothete_crypto::Digest;
use logothete_engine::numbers::{ReplicaId, SequenceNumber, View};
use logothete_engine::replica::{Quorum, decide};
use logothete_engine::wire::agreement::{CheckpointVote, Vote};
use logothete_engine::wire::view_change::{ViewChange, null_batch};
use logothete_simulator::checks::judge::judge;

pub const DECISION: Target =
    Target { name: "decision", about: "what a set of view changes decides, judged twice", run: decision, samples };

/// One view change as data.
#[derive(Default)]
struct Told {
    stable: u64,
    checkpoints: Vec<CheckpointVote>,
    prepared: Vec<Vote>,
    pre_prepared: Vec<Vote>,
}

fn decision(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let replicas = choices.of(&[4, 4, 7]);
    let quorum = Quorum::of(replicas).expect("3f+1");
    let window = choices.of(&[2, 4, 8]);
    let count = choices.below(replicas + 1);
    let told: Vec<Told> = (0..count).map(|_| one(&mut choices, window)).collect();
    let as_set = |order: &mut dyn Iterator<Item = usize>| -> Vec<ViewChange<'_>> {
        let view_change = |at: usize| ViewChange {
            view: View(5),
            stable: SequenceNumber(told[at].stable),
            epoch: 0,
            replica: ReplicaId(at as u8),
            checkpoints: &told[at].checkpoints,
            prepared: &told[at].prepared,
            pre_prepared: &told[at].pre_prepared,
        };
        order.map(view_change).collect()
    };
    let set = as_set(&mut (0..count));
    let decided = decide(&set, quorum, window);
    let judged = judge(&set, quorum.faults(), window);
    let as_judged = decided
        .as_ref()
        .map(|selection| ((selection.checkpoint.0.0, selection.checkpoint.1), selection.batches.clone()));
    assert_eq!(as_judged, judged, "the engine decides what the paper does");
    assert_eq!(decided, decide(&as_set(&mut (0..count).rev()), quorum, window), "the order of the set does not matter");
    if let Some(selection) = &decided {
        assert!(selection.batches.len() as u64 <= window);
        assert_ne!(selection.batches.last(), Some(&null_batch_unless_prepared(&told)), "it ends with a batch");
    }
}

/// The null batch where nobody says that it prepared; otherwise a digest that no batch has.
fn null_batch_unless_prepared(told: &[Told]) -> Digest {
    let null = null_batch();
    let prepared = told.iter().flat_map(|told| &told.prepared).any(|vote| vote.digest == null);
    if prepared { Digest([0xee; 32]) } else { null }
}

fn one(choices: &mut Choices<'_>, window: u64) -> Told {
    let stable = choices.of(&[0, 0, 0, window / 2, window, u64::MAX - 1]);
    let state = |choices: &mut Choices<'_>| Digest([choices.byte() % 2; 32]);
    let mut told = Told { stable, ..Told::default() };
    for step in 0..choices.below(3) as u64 {
        let at = stable.saturating_add(step * (window / 2));
        told.checkpoints.push(CheckpointVote::new(SequenceNumber(at), state(choices)));
    }
    told.checkpoints.dedup_by_key(|vote| vote.sequence());
    for _ in 0..choices.below(6) {
        told.prepared.push(vote(choices, window));
    }
    for _ in 0..choices.below(9) {
        told.pre_prepared.push(vote(choices, window));
    }
    told.prepared.sort_by_key(|vote| vote.sequence());
    told.prepared.dedup_by_key(|vote| vote.sequence());
    told.pre_prepared.sort_by_key(|vote| (vote.sequence(), vote.digest));
    told.pre_prepared.dedup_by_key(|vote| (vote.sequence(), vote.digest));
    told
}

fn vote(choices: &mut Choices<'_>, window: u64) -> Vote {
    let batch = match choices.byte() % 4 {
        0 => null_batch(),
        tag => Digest([0xa0 + tag; 32]),
    };
    let sequence = match choices.byte() {
        255 => u64::MAX,
        at => u64::from(at) % (2 * window) + 1,
    };
    Vote::new(View(u64::from(choices.byte() % 5)), SequenceNumber(sequence), batch)
}

fn samples() -> Vec<Sample> {
    // Four (or seven) that begin at the same checkpoint, with claims about few numbers: where most sets decide something.
    let set = |salt: u8| {
        let mut bytes = vec![salt, 1, 4 + salt % 3];
        for replica in 0..7u8 {
            bytes.extend([0, 1, 0, 2, salt % 3 + 1, 0, replica % 2, 2, 1, 1, 3, 1, 0, 0, 2, 1, 1]);
        }
        bytes
    };
    (0..6).map(|salt| (format!("set-{salt}"), set(salt))).collect()
}
