//! One real replica among two that say what it says and one that lies, which has its own keys and a client's (RELIABILITY.md B-18, I-02, P-05, P-12,
//! P-14, B-04 to B-10, K-03, K-04): sequences of properly authenticated messages that the input decides on.
//!
//! The two others are *mirrors*: they vote as the replica votes, and as primaries they propose what clients sent, once a number. So everything
//! that one liar can cause at a replica that makes progress can come about, and what a quorum of correct replicas guarantees still holds.

use super::stage::Stage;
use crate::choices::Choices;
use crate::hostile::{body, message};
use crate::table::{CLIENT, HOSTILE, OPERATOR};
use crate::{Sample, Target};
use logothete_engine::numbers::{Principal, ReplicaId, SequenceNumber, View};
use logothete_engine::wire::Kind;
use logothete_engine::wire::agreement::{BatchEntry, append_pre_prepare};
use logothete_engine::wire::view_change::StatementKind;

pub const REPLICA: Target = Target {
    name: "replica",
    about: "a replica that hears a hostile peer and a hostile client, statefully",
    run: replica,
    samples,
};

/// How far the time goes on at once.
const STEPS_NS: [u64; 8] =
    [10_000, 100_000, 1_000_000, 5_000_000, 20_000_000, 100_000_000, 1_000_000_000, 60_000_000_000];

/// Decisions of one input.
const DECISIONS_MAX: usize = 400;

fn replica(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut stage = Stage::new(ReplicaId(choices.byte() % 3), choices.byte());
    for _ in 0..DECISIONS_MAX {
        if choices.is_spent() {
            break;
        }
        act(&mut stage, &mut choices);
        stage.turn();
    }
}

fn act(stage: &mut Stage, choices: &mut Choices<'_>) {
    match choices.byte() % 16 {
        0 => stage.pass(choices.of(&STEPS_NS)),
        1..=3 => {
            let lie = body(choices, &stage.scene, HOSTILE);
            stage.hear(HOSTILE, &lie);
        }
        4 | 5 => propose(stage, choices),
        6 => {
            stage.next_request(choices.bytes(60));
        }
        7 => {
            let sender = if choices.byte() % 8 == 7 { OPERATOR } else { CLIENT };
            let lie = body(choices, &stage.scene, sender);
            stage.hear(sender, &lie);
        }
        8..=10 => stage.hear_mirrors(1 + choices.below(16)),
        11 => stage.forget_mirrors(choices.below(4)),
        12 => stage.vote_along(HOSTILE),
        13 => lie_about_views(stage, choices),
        14 => stage.relay(HOSTILE, choices),
        _ => stage.new_view(),
    }
}

/// The view's primary proposes: what waits, or, where it lies, whatever it likes.
fn propose(stage: &mut Stage, choices: &mut Choices<'_>) {
    let (view, primary) = (stage.scene.view, ReplicaId((stage.scene.view % 4) as u8));
    if Principal::Replica(primary) == HOSTILE {
        let mut out = Vec::new();
        let sequence = SequenceNumber(stage.scene.executed + 1 + u64::from(choices.byte() % 4));
        let some = choices.below(3);
        let entries: Vec<BatchEntry> = (0..some).map(|_| choices.of(&stage.scene.entries)).collect();
        let timestamp_ns = if entries.is_empty() { 0 } else { stage.scene.wall_ns + u64::from(choices.byte()) };
        append_pre_prepare(&mut out, View(view), sequence, timestamp_ns, &entries);
        stage.hear(HOSTILE, &out);
    } else {
        stage.propose_honestly();
    }
}

fn lie_about_views(stage: &mut Stage, choices: &mut Choices<'_>) {
    let mut out = Vec::new();
    message(choices, &stage.scene, Kind::Part, &mut out);
    stage.hear(HOSTILE, &out);
    if choices.flag() {
        let statement = stage.scene.statement(choices, StatementKind::ViewChange);
        stage.hear_statement(HOSTILE, StatementKind::ViewChange, &statement);
    }
}

fn samples() -> Vec<Sample> {
    // A client opens and appends; the primary proposes; the mirrors vote; time passes.
    let ordered = |own: u8| {
        let mut bytes = vec![own, 0];
        for round in 0..12u8 {
            bytes.extend([6, 3, 1, 2, 3, 4, 8, 15, 8, 15, 0, 1 + round % 3, 9, 15, 12]);
        }
        bytes
    };
    // Nobody orders what the client asks for: the view changes, again and again.
    let changing = |own: u8| {
        let mut bytes = vec![own, 1];
        for _ in 0..8 {
            bytes.extend([6, 1, 9, 0, 5, 0, 6, 8, 15, 15, 8, 15, 4, 8, 15, 12, 8, 15]);
        }
        bytes
    };
    let mut samples = Vec::new();
    for own in 0..3 {
        samples.push((format!("ordered-{own}"), ordered(own)));
        samples.push((format!("changing-{own}"), changing(own)));
        for kind in (0..64).filter_map(Kind::from_byte).step_by(5) {
            let lies = (0..60u8).flat_map(|at| [1, at % 3, kind as u8, at, at.wrapping_mul(17)]);
            samples
                .push((format!("lies-{own}-{kind:?}").to_lowercase(), ordered(own).into_iter().chain(lies).collect()));
        }
    }
    samples
}
