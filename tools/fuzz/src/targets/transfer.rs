//! State transfer: a fetcher between one source that tells the truth and one that does not (RELIABILITY.md B-11, I-08, X-06).

use crate::choices::Choices;
use crate::hostile::{Scene, message};
use crate::table::{HOSTILE, HOSTILE_ID};
use crate::{Sample, Target};
use logothete_engine::numbers::{ReplicaId, ReplicaSet, SequenceNumber};
use logothete_engine::state::transfer::{AnswerLimits, CheckpointName, Finding, Transfer, TransferConfig, answer};
use logothete_engine::state::{Snapshot, State};
use logothete_engine::wire::{Kind, Message};
use std::collections::VecDeque;

pub const TRANSFER: Target =
    Target { name: "transfer", about: "answers of a hostile source into a state transfer", run: transfer, samples };

const HONEST: ReplicaId = ReplicaId(1);
const MESSAGE_BYTES: usize = 1400;
/// Rounds in which an honest source alone gives the whole state.
const ROUNDS_MAX: usize = 4000;
/// Longer than any source is waited for, so that time alone takes questions back.
const PATIENCE_NS: u64 = 60_000_000_000;

fn state(pages: &[(u64, u8)]) -> Snapshot {
    let mut state = State::new(2000);
    for (page, byte) in pages {
        state.write(page * 4096 + 17, &[*byte; 300]);
    }
    let snapshot = state.snapshot();
    snapshot.digest();
    snapshot
}

fn transfer(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let target = state(&[(0, 1), (1, 2), (40, 3), (700, 4), (701, 5), (1999, 6)]);
    let base = if choices.flag() { state(&[]) } else { state(&[(0, 1), (40, 9), (900, 4)]) };
    let name = CheckpointName { sequence: SequenceNumber(16), digest: target.digest() };
    let sources = ReplicaSet(1 << HONEST.0 | 1 << HOSTILE_ID.0);
    let mut fetcher = Transfer::new(base, name, sources, TransferConfig::new(MESSAGE_BYTES));
    let mut scene = Scene { executed: 15, stable: 16, ..Scene::default() };
    scene.learn(name.digest);
    let mut asked: VecDeque<(ReplicaId, Vec<u8>)> = VecDeque::new();
    let mut now_ns = 0;
    for _ in 0..ROUNDS_MAX {
        if fetcher.finished().is_some() {
            break;
        }
        now_ns += if choices.is_spent() { 1_000_000 } else { choices.number() % PATIENCE_NS };
        fetcher.on_duty_end(now_ns, &mut |to, message| asked.push_back((to, message.to_vec())));
        for (to, query) in asked.drain(..) {
            let lies = to == HOSTILE_ID;
            answer_query(&query, &target, name, &mut |reply| {
                let mut reply = reply.to_vec();
                if lies {
                    choices.spoil(&mut reply);
                }
                take(&mut fetcher, now_ns, to, &reply);
            });
        }
        if choices.byte() % 4 == 1 {
            let kind = choices.of(&[Kind::StateNodes, Kind::StatePages]);
            let mut unasked = Vec::new();
            message(&mut choices, &scene, kind, &mut unasked);
            take(&mut fetcher, now_ns, HOSTILE_ID, &unasked);
        }
        if choices.byte() == 77 {
            // The ones that have it went on: another name for the same state.
            fetcher.retarget(CheckpointName { sequence: SequenceNumber(24), ..name }, ReplicaSet::first(4));
            fetcher.retarget(name, ReplicaSet::EMPTY);
        }
    }
    let done = fetcher.finished().expect("one honest source is enough");
    assert_eq!(done.digest(), target.digest(), "what was fetched is what was named");
}

fn answer_query(query: &[u8], held: &Snapshot, newest: CheckpointName, send: &mut dyn FnMut(&[u8])) {
    let Ok(Message::StateQuery(query)) = Message::decode(query, HOSTILE) else {
        panic!("a fetcher asks what can be read")
    };
    let limits = AnswerLimits { message_bytes_max: MESSAGE_BYTES, bytes_max: 1 << 20 };
    let held = (query.checkpoint.digest == newest.digest).then_some(held);
    answer(&query, held, newest, limits, &mut |message: &[u8]| send(message));
}

fn take(fetcher: &mut Transfer, now_ns: u64, from: ReplicaId, reply: &[u8]) {
    let finding = match Message::decode(reply, HOSTILE) {
        Ok(Message::StateNodes(nodes)) => fetcher.on_nodes(now_ns, from, &nodes),
        Ok(Message::StatePages(pages)) => fetcher.on_pages(now_ns, from, &pages),
        _ => None,
    };
    if let Some(Finding::Misbehaved(liar)) = finding {
        assert_eq!(liar, HOSTILE_ID, "who told the truth is not called a liar");
    }
}

fn samples() -> Vec<Sample> {
    let stepping = |step: u8| (0..100u8).map(|at| at.wrapping_mul(step)).collect();
    let mut samples: Vec<Sample> = (0..4).map(|step| (format!("lies-{step}"), stepping(step * 3))).collect();
    samples.push(("empty-base".to_owned(), vec![1; 40]));
    samples
}
