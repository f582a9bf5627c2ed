//! The follower of the ordered log: one source of four lies, about bytes, places, chains and what is trimmed (RELIABILITY.md I-11, B-12).

use crate::choices::Choices;
use crate::hostile::{Scene, message, request_name};
use crate::table::{self, HOSTILE, HOSTILE_ID};
use crate::{Sample, Target};
use logothete_crypto::digest;
use logothete_engine::client::{Delivery, Follower};
use logothete_engine::numbers::ReplicaId;
use logothete_engine::service::log::{LogSettings, OrderedLog};
use logothete_engine::service::{OrderedRequest, Results, Service};
use logothete_engine::wire::operation::OperationsWriter;
use logothete_engine::wire::subscription::{ChainAnswer, append_run, append_runs};
use logothete_engine::wire::{Kind, Message, request};

pub const FOLLOWER: Target = Target {
    name: "follower",
    about: "runs and chain answers of a hostile replica into a follower",
    run: follow,
    samples,
};

const STREAM: u32 = 0;
const RUNS: u64 = 12;
const MESSAGE_BYTES_MAX: usize = 1300;

/// The log that all correct replicas have: run `n` has `1 + n mod 3` entries.
fn log() -> OrderedLog {
    let mut log = OrderedLog::new(LogSettings::for_retention(1 << 20, MESSAGE_BYTES_MAX));
    for run in 0..RUNS {
        let mut writer = OperationsWriter::new(1000);
        for number in 0..=run % 3 {
            assert!(writer.try_push(1, number, &[run as u8; 20]));
        }
        let mut message = Vec::new();
        request::append(&mut message, request_name(7, run + 1), writer.count(), writer.bytes());
        let Ok(Message::Request(sent)) = Message::decode(&message, table::CLIENT) else {
            panic!("it was encoded here")
        };
        let mut room = vec![0; 1000];
        log.execute(
            &OrderedRequest {
                sequence: run + 1,
                timestamp_ns: 1000 * (run + 1),
                client: 0,
                digest: digest(&message),
                message: &message,
                operations: sent.operations,
            },
            &mut Results::new(&mut room, writer.count()),
        );
    }
    log
}

/// What every correct replica has at each position.
fn truth(log: &OrderedLog) -> Vec<(u64, u8)> {
    let runs = log.runs_from(0).expect("it begins there");
    runs.flat_map(|run| (0..run.count).map(move |_| (run.timestamp_ns, (run.timestamp_ns / 1000 - 1) as u8))).collect()
}

/// A correct replica's answer, if it has one.
fn honest(log: &OrderedLog, asked: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match Message::decode(asked, table::CLIENT) {
        Ok(Message::Follow(follow)) => {
            let (mut runs, mut count, mut first) = (Vec::new(), 0, None);
            for run in log.runs_from(follow.from.get()).ok()?.take(4) {
                first.get_or_insert((run.position_first, run.chain_before));
                append_run(&mut runs, run.timestamp_ns, &run.message.to_vec());
                count += 1;
            }
            let (position, chain) = first?;
            append_runs(&mut out, follow.stream.get(), log.oldest(), position, chain, count, &runs);
        }
        Ok(Message::ChainQuery(query)) => {
            let chain = log.chain_at(query.position.get())?;
            ChainAnswer { stream: query.stream, reserved: 0.into(), position: query.position, chain }.append(&mut out);
        }
        _ => panic!("a follower asks what can be read"),
    }
    Some(out)
}

fn follow(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let log = log();
    let truth = truth(&log);
    let mut follower = Follower::new(STREAM, 0, 4, 2, MESSAGE_BYTES_MAX);
    let mut scene = Scene { wall_ns: 1000, ..Scene::default() };
    log.runs_from(0).expect("it begins there").for_each(|run| scene.learn(run.chain));
    let (mut now_ns, mut next) = (0, 0);
    // When the input is spent everybody is asked for as long as it takes: one liar does not stop a follower.
    for round in 0..2000 {
        if choices.is_spent() && next == truth.len() as u64 {
            break;
        }
        now_ns += if choices.is_spent() { 5_000_000 } else { choices.number() % 1_000_000_000 };
        let mut asked: Vec<Vec<u8>> = Vec::new();
        follower.on_due(now_ns, |_, write| {
            let mut question = Vec::new();
            write(&mut question);
            asked.push(question);
        });
        for question in &asked {
            for replica in 0..4 {
                let Some(mut answer) = honest(&log, question) else { continue };
                if replica == HOSTILE_ID.0 {
                    choices.spoil(&mut answer);
                }
                take(&mut follower, now_ns, ReplicaId(replica), &answer);
            }
        }
        if choices.byte() % 2 == 1 {
            let mut lie = Vec::new();
            let kind = choices.of(&[Kind::Runs, Kind::RunPart, Kind::ChainAnswer]);
            message(&mut choices, &scene, kind, &mut lie);
            take(&mut follower, now_ns, HOSTILE_ID, &lie);
        }
        let room = if choices.is_spent() { usize::MAX } else { choices.below(4) };
        let mut taken = 0;
        let delivery = follower.deliver(|entry| {
            if taken == room {
                return false;
            }
            taken += 1;
            assert_eq!(entry.position, next, "no gap, nothing twice");
            let (timestamp_ns, byte) = truth[next as usize];
            assert_eq!((entry.timestamp_ns, entry.bytes), (timestamp_ns, &[byte; 20][..]), "one liar has a lie taken");
            next += 1;
            true
        });
        assert!(!matches!(delivery, Delivery::Trimmed(_)), "nothing is trimmed, whatever one replica says");
        assert!(round < 1999, "a follower with three honest sources comes to the end; it is at {next}");
    }
}

fn take(follower: &mut Follower, now_ns: u64, from: ReplicaId, bytes: &[u8]) {
    if let Ok(message) = Message::decode(bytes, HOSTILE) {
        follower.on_message(now_ns, from, &message);
    }
}

fn samples() -> Vec<Sample> {
    let stepping = |step: u8| (0..160u8).map(|at| at.wrapping_mul(step)).collect();
    (0..5).map(|step| (format!("lies-{step}"), stepping(step * 7))).collect()
}
