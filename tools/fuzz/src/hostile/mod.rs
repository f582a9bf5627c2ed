//! What a liar says that has its own keys and hears everything: messages whose fields lie beside what means something, signed statements that hold
//! together, and bytes of chance. Which, the input decides.

mod scene;

pub use scene::{Scene, request_name};

use crate::choices::Choices;
use crate::table::{HOSTILE, HOSTILE_ID, REGISTER, client_id, epoch};
use logothete_crypto::digest;
use logothete_engine::numbers::{Incarnation, Principal, ReplicaId, ReplicaSet, RequestNumber, View};
use logothete_engine::wire::agreement::{Batch, CheckpointVote, CommitClaim, Vote, append_pre_prepare};
use logothete_engine::wire::dispute::{Dispute, Examine, Testimony};
use logothete_engine::wire::forward::Forward;
use logothete_engine::wire::keys::{KeyReport, RotateKeys};
use logothete_engine::wire::operation::OperationsWriter;
use logothete_engine::wire::parts::{FetchParts, ReplyPart, RequestPart, ResultOf, RunPart};
use logothete_engine::wire::probe::{Probe, ProbeHeard};
use logothete_engine::wire::query::{Query, QueryAnswer, QueryOutcome};
use logothete_engine::wire::recovery::{RecoveryAnswer, RecoveryQuery};
use logothete_engine::wire::reply::{Answer, Mode, Refusal, RefusalReason, Reply};
use logothete_engine::wire::report::{RejectEntry, RejectsQuery, RejectsReport, ReportQuery, ReportReply};
use logothete_engine::wire::request::{self, RequestName};
use logothete_engine::wire::retransmission::{Fetch, FetchBatch, Standing, Status};
use logothete_engine::wire::state::{
    CheckpointName, NodeRecord, StateItem, append_nodes, append_pages, append_piece, append_query,
};
use logothete_engine::wire::subscription::{ChainAnswer, ChainQuery, Follow, append_run, append_runs};
use logothete_engine::wire::view_change::{Part, StatementKind};
use logothete_engine::wire::{Kind, Messages};

/// The operations of a request, encoded.
pub fn operations(choices: &mut Choices<'_>) -> OperationsWriter {
    let mut writer = OperationsWriter::new(1024);
    for _ in 0..1 + choices.below(4) {
        let (session, number) = (choices.number(), choices.number());
        writer.try_push(session, number, choices.bytes(100));
    }
    writer
}

/// Appends a message of a kind, whoever may send it.
pub fn message(choices: &mut Choices<'_>, scene: &Scene, kind: Kind, out: &mut Vec<u8>) {
    match kind {
        Kind::Request => {
            let name = scene.name(choices);
            let (writer, opens) = (operations(choices), name.number == RequestNumber::OPEN);
            let (count, bytes) = if opens { (0, &[][..]) } else { (writer.count(), writer.bytes()) };
            if choices.byte() % 4 == 3 {
                let signer = REGISTER.signer(client_id());
                request::append_signed(out, name, count, bytes, |parts| signer.sign(parts));
            } else {
                request::append(out, name, count, bytes);
            }
        }
        Kind::PrePrepare => {
            let (view, sequence, entries) = (scene.view(choices), scene.sequence(choices), scene.entries(choices));
            let timestamp_ns = if entries.is_empty() { 0 } else { scene.time(choices) };
            append_pre_prepare(out, view, sequence, timestamp_ns, &entries);
        }
        Kind::Prepare => {
            Vote::new(scene.view(choices), scene.sequence(choices), scene.digest(choices)).append_prepare(out)
        }
        Kind::Commit => {
            Vote::new(scene.view(choices), scene.sequence(choices), scene.digest(choices)).append_commit(out)
        }
        Kind::Checkpoint => CheckpointVote::new(scene.sequence(choices), scene.digest(choices)).append(out),
        Kind::Status => status(choices, scene).append(out),
        Kind::Fetch => {
            let mut fetch = Fetch::new(scene.sequence(choices), scene.digest(choices));
            (0..choices.below(5)).for_each(|_| fetch.set(choices.below(64)));
            fetch.append(out);
        }
        Kind::FetchParts => {
            let mut fetch =
                FetchParts::new(scene.sequence(choices), scene.digest(choices), choices.near(0) as u32 as usize);
            (0..choices.below(5)).for_each(|_| fetch.set(choices.below(64)));
            fetch.append(out);
        }
        Kind::FetchBatch => FetchBatch::new(scene.sequence(choices), scene.digest(choices)).append(out),
        Kind::Batch => {
            let mut entries = scene.entries(choices);
            entries.push(scene.entry(choices));
            Batch { sequence: scene.sequence(choices), timestamp_ns: scene.time(choices), entries: &entries }
                .append(out);
        }
        Kind::CommitClaim => CommitClaim::new(scene.sequence(choices), scene.digest(choices)).append(out),
        Kind::Part => part(choices, scene, out),
        Kind::RecoveryQuery => RecoveryQuery::new(choices.near(epoch(HOSTILE))).append(out),
        Kind::RecoveryAnswer => {
            let epoch = choices.near(epoch(HOSTILE));
            RecoveryAnswer::new(epoch, scene.sequence(choices), scene.sequence(choices), scene.view(choices))
                .append(out);
        }
        Kind::Dispute | Kind::Examine | Kind::Testimony | Kind::Forward => disputing(choices, scene, kind, out),
        Kind::StateQuery | Kind::StateNodes | Kind::StatePages => of_states(choices, scene, kind, out),
        Kind::Reply | Kind::Refusal | Kind::ReplyPart | Kind::QueryAnswer => to_client(choices, scene, kind, out),
        Kind::Runs | Kind::RunPart | Kind::ChainAnswer => of_the_log(choices, scene, kind, out),
        Kind::RequestPart => {
            let name = RequestName { number: RequestNumber(choices.near(scene.number).max(1)), ..scene.name(choices) };
            let (total, index) = (choices.near(3000) as u32 as usize, choices.near(0) as u32 as usize);
            RequestPart { name, digest: scene.digest(choices), total_bytes: total, index, bytes: piece(choices) }
                .append(out);
        }
        Kind::Query => {
            Query { nonce: choices.near(1), session: choices.number(), operation: choices.bytes(64) }.append(out)
        }
        Kind::Follow => {
            Follow {
                stream: (choices.byte() as u32).into(),
                credit_bytes: (choices.near(1 << 16) as u32).into(),
                from: choices.near(0).into(),
                offset: (choices.near(0) as u32).into(),
                reserved: 0.into(),
            }
            .append(out);
        }
        Kind::ChainQuery => {
            ChainQuery { stream: (choices.byte() as u32).into(), reserved: 0.into(), position: choices.near(1).into() }
                .append(out);
        }
        _ => of_the_operator(choices, kind, out),
    }
}

fn status(choices: &mut Choices<'_>, scene: &Scene) -> Status {
    let standing = Standing {
        view: scene.view(choices),
        active: choices.flag(),
        suspects: choices.flag(),
        recovers: choices.flag(),
        disk_stands: choices.flag(),
        view_changes: ReplicaSet(u16::from_le_bytes(choices.array())),
    };
    let (stable, executed, highest) = (scene.sequence(choices), scene.sequence(choices), scene.sequence(choices));
    let mut status = Status::new(standing, stable, executed, highest);
    for _ in 0..choices.below(4) {
        let offset = choices.below(64);
        match choices.byte() % 3 {
            0 => status.lacks_proposal.set(offset),
            1 => status.lacks_prepared.set(offset),
            _ => status.lacks_committed.set(offset),
        }
    }
    status
}

/// A part of a statement of its own, of one that was seen, or of none.
fn part(choices: &mut Choices<'_>, scene: &Scene, out: &mut Vec<u8>) {
    let kind = choices.of(&[StatementKind::ViewChange, StatementKind::ViewChange, StatementKind::NewView]);
    let (view, bytes) = match choices.byte() {
        at @ 128.. if !scene.statements.is_empty() => {
            let (_, view, bytes) = &scene.statements[usize::from(at) % scene.statements.len()];
            (*view, bytes.clone())
        }
        _ => {
            let bytes = scene.statement(choices, kind);
            let view = u64::from_le_bytes(*bytes.first_chunk().expect("a statement begins with its view"));
            (View(view), bytes)
        }
    };
    let mut bytes = bytes;
    if choices.byte() % 8 == 7 {
        choices.spoil(&mut bytes);
    }
    let view = if choices.byte() % 8 == 7 { scene.view(choices) } else { view };
    let replica = if choices.byte() % 8 == 7 { ReplicaId(choices.byte() % 16) } else { HOSTILE_ID };
    let index = if choices.byte() % 8 == 7 { choices.near(0) as u16 as usize } else { 0 };
    // Statements of this size fit one packet.
    let whole = &bytes[..bytes.len().min(1200)];
    Part { statement: kind, replica, view, digest: digest(&bytes), total_bytes: bytes.len(), index, bytes: whole }
        .append(out);
}

fn disputing(choices: &mut Choices<'_>, scene: &Scene, kind: Kind, out: &mut Vec<u8>) {
    match kind {
        Kind::Dispute => {
            let by = if choices.byte() % 8 == 7 { ReplicaId(choices.byte() % 16) } else { HOSTILE_ID };
            let epoch = choices.near(epoch(HOSTILE));
            let signatures = REGISTER.signatures(HOSTILE_ID);
            let (name, request) = (scene.name(choices), scene.digest(choices));
            Dispute::new(by, epoch, name, request, |content| signatures.sign_dispute(content)).append(out);
        }
        Kind::Examine => {
            let (request, packet) = (choices.near(0) as u32 as usize, choices.near(0) as u32 as usize);
            Examine::new(scene.sequence(choices), scene.digest(choices), request, packet).append(out);
        }
        Kind::Testimony => Testimony { body: scene.digest(choices), packet: scene.digest(choices) }.append(out),
        _ => Forward::new(scene.name(choices), scene.digest(choices)).append(out),
    }
}

fn checkpoint(choices: &mut Choices<'_>, scene: &Scene) -> CheckpointName {
    CheckpointName { sequence: scene.sequence(choices), digest: scene.digest(choices) }
}

fn of_states(choices: &mut Choices<'_>, scene: &Scene, kind: Kind, out: &mut Vec<u8>) {
    let name = checkpoint(choices, scene);
    match kind {
        Kind::StateQuery => {
            let items: Vec<StateItem> = (0..1 + choices.below(6))
                .map(|_| match choices.flag() {
                    true => StateItem::node(1 + choices.byte() % 14, choices.near(0)),
                    false => {
                        let first = choices.byte() % 64;
                        StateItem::page(choices.near(0), first, 1 + choices.byte() % (64 - first))
                    }
                })
                .collect();
            append_query(out, name, &items);
        }
        Kind::StateNodes => {
            let node = |choices: &mut Choices<'_>| {
                let children = std::array::from_fn(|_| scene.digest(choices));
                NodeRecord::new(1 + choices.byte() % 14, choices.near(0), children)
            };
            let nodes: Vec<NodeRecord> = (0..choices.below(3)).map(|_| node(choices)).collect();
            append_nodes(out, name, &nodes);
        }
        _ => {
            let mut pieces = Vec::new();
            for _ in 0..1 + choices.below(3) {
                let units = 1 + choices.below(4);
                let mut bytes = vec![choices.byte(); units * 64];
                choices.spoil(&mut bytes);
                append_piece(&mut pieces, choices.near(0), choices.below(64 - units), &bytes);
            }
            append_pages(out, name, &pieces);
        }
    }
}

fn to_client(choices: &mut Choices<'_>, scene: &Scene, kind: Kind, out: &mut Vec<u8>) {
    let (incarnation, number) =
        (Incarnation(choices.near(scene.incarnation)), RequestNumber(choices.near(scene.number)));
    let other = scene.digest(choices);
    match kind {
        Kind::Reply => {
            Reply {
                view: scene.view(choices),
                sequence: scene.sequence(choices),
                incarnation,
                number,
                request: scene.digest(choices),
                mode: if choices.flag() { Mode::Tentative } else { Mode::Committed },
                results: if choices.flag() { Answer::Digest(&other) } else { Answer::Full(choices.bytes(64)) },
            }
            .append(out);
        }
        Kind::Refusal => {
            let reasons = [RefusalReason::Overloaded, RefusalReason::Superseded, RefusalReason::SignatureRequired];
            Refusal::new(incarnation, number, choices.of(&reasons), choices.near(scene.number)).append(out);
        }
        Kind::ReplyPart => {
            let of =
                if choices.flag() { ResultOf::Query(choices.near(1)) } else { ResultOf::Request(incarnation, number) };
            let (total_bytes, index) = (choices.near(3000) as u32 as usize, choices.near(0) as u32 as usize);
            ReplyPart { of, digest: other, total_bytes, index, bytes: piece(choices) }.append(out);
        }
        _ => {
            let outcome = match choices.byte() % 4 {
                0 => QueryOutcome::Answered(Answer::Full(choices.bytes(64))),
                1 => QueryOutcome::Answered(Answer::Digest(&other)),
                2 => QueryOutcome::Refused,
                _ => QueryOutcome::Declined,
            };
            QueryAnswer { nonce: choices.near(1), outcome }.append(out);
        }
    }
}

fn of_the_log(choices: &mut Choices<'_>, scene: &Scene, kind: Kind, out: &mut Vec<u8>) {
    let (stream, position, chain) = (u32::from(choices.byte()), choices.near(0), scene.digest(choices));
    match kind {
        Kind::Runs => {
            let (mut runs, count) = (Vec::new(), choices.below(3));
            for _ in 0..count {
                let mut message_bytes = Vec::new();
                message(choices, scene, Kind::Request, &mut message_bytes);
                append_run(&mut runs, scene.time(choices), &message_bytes);
            }
            append_runs(out, stream, choices.near(0), position, chain, count, &runs);
        }
        Kind::RunPart => {
            let (total_bytes, offset) = (choices.near(3000) as u32 as usize, choices.near(0) as u32 as usize);
            RunPart {
                stream,
                position,
                timestamp_ns: scene.time(choices),
                chain,
                total_bytes,
                offset,
                bytes: piece(choices),
            }
            .append(out);
        }
        _ => ChainAnswer { stream: stream.into(), reserved: 0.into(), position: position.into(), chain }.append(out),
    }
}

fn of_the_operator(choices: &mut Choices<'_>, kind: Kind, out: &mut Vec<u8>) {
    let nonce = choices.near(1);
    match kind {
        Kind::ReportQuery => ReportQuery { nonce: nonce.into() }.append(out),
        Kind::ReportReply => ReportReply { view: choices.number().into(), ..ReportReply::empty(nonce) }.append(out),
        Kind::RotateKeys => RotateKeys { nonce: nonce.into() }.append(out),
        Kind::KeyReport => {
            KeyReport { due_ms: (choices.number() as u32).into(), ..KeyReport::empty(nonce) }.append(out)
        }
        Kind::RejectsQuery => RejectsQuery { nonce: nonce.into() }.append(out),
        Kind::RejectsReport => {
            let entry = RejectEntry {
                about: (choices.number() as u16).into(),
                by: choices.byte() % 2,
                reason: choices.byte(),
                reserved: [0; 4],
                count: choices.number().into(),
            };
            RejectsReport { nonce, omitted: choices.number(), entries: &[entry] }.append(out);
        }
        Kind::Probe => Probe { number: nonce.into(), to_group: choices.byte() % 2, reserved: [0; 7] }.append(out),
        _ => ProbeHeard { number: nonce.into(), through_group: choices.byte() % 2, reserved: [0; 7] }.append(out),
    }
}

/// A piece of something longer: at least one byte.
fn piece<'a>(choices: &mut Choices<'a>) -> &'a [u8] {
    match choices.bytes(200) {
        [] => &[0],
        bytes => bytes,
    }
}

/// A body that a liar sends: messages of any kinds, spoilt here and there.
pub fn body(choices: &mut Choices<'_>, scene: &Scene, sender: Principal) -> Vec<u8> {
    let mut body = Vec::new();
    for _ in 0..1 + choices.below(3) {
        let kinds: Vec<Kind> = (0..64).filter_map(Kind::from_byte).collect();
        let kind = choices.of(&kinds);
        let before = body.len();
        message(choices, scene, kind, &mut body);
        // A body longer than a datagram is nobody's to send.
        if body.len() > 1300 {
            body.truncate(before);
        }
    }
    if choices.byte() % 8 == 7 {
        choices.spoil(&mut body);
    }
    if Messages::new(&body, sender).next().is_none() {
        message(&mut Choices::new(&[]), scene, Kind::Status, &mut body);
    }
    body
}
