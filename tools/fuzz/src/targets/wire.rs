//! Packets, messages and signed statements: what is read is written back, byte for byte (RELIABILITY.md I-01, I-03 to I-05, I-13 to I-15).

use crate::hostile::{Scene, message};
use crate::table::{CLIENT, HOSTILE, REGISTER, seal};
use crate::{Sample, Target, choices::Choices};
use logothete_engine::numbers::{Principal, ReplicaId, ReplicaSet};
use logothete_engine::wire::packet::{PacketParts, packet_bytes};
use logothete_engine::wire::reply::Refusal;
use logothete_engine::wire::report::ReportReply;
use logothete_engine::wire::request::{self, signed_parts};
use logothete_engine::wire::retransmission::Status;
use logothete_engine::wire::state::{append_nodes, append_pages, append_piece, append_query};
use logothete_engine::wire::subscription::{append_run, append_runs};
use logothete_engine::wire::view_change::{NewView, StatementKind, ViewChange};
use logothete_engine::wire::{Audience, Kind, Message, Messages, agreement, framing};

pub const PACKET: Target =
    Target { name: "packet", about: "a datagram: header, lengths, messages", run: packet, samples: packets };

pub const MESSAGE: Target = Target {
    name: "message",
    about: "one message of either role: decoded, encoded, the same",
    run: round_trip,
    samples: messages,
};

pub const STATEMENT: Target = Target {
    name: "statement",
    about: "a view change or a new view: decoded, encoded, the same",
    run: statement,
    samples: statements,
};

/// The parser answers for every byte, and finds at most what the bytes have room for.
fn packet(bytes: &[u8]) {
    let claimed = packet_bytes(bytes);
    let Ok(parts) = PacketParts::parse(bytes) else { return };
    assert_eq!(claimed, Some(bytes.len()), "a packet says how long it is");
    let tags = parts.audience.tag_count();
    assert!(tags >= 1 && parts.entry(tags - 1).is_some() && parts.entry(tags).is_none());
    for id in 0..u8::BITS as u8 * 2 {
        if let Some(position) = parts.audience.position_of_replica(ReplicaId(id)) {
            assert!(position < tags, "a member of the audience has a tag");
        }
    }
    for sender in [HOSTILE, CLIENT] {
        let found = Messages::new(parts.body, sender).count();
        assert!(found <= usize::from(parts.header.message_count.get()));
        for (message, _) in Messages::new(parts.body, sender).flatten() {
            look(&message);
        }
    }
    assert!(framing::kinds(parts.body).count() <= usize::from(parts.header.message_count.get()));
}

/// The first byte chooses the sender's role, the rest is the message.
fn round_trip(bytes: &[u8]) {
    let Some((role, bytes)) = bytes.split_first() else { return };
    let sender = if role & 1 == 0 { HOSTILE } else { CLIENT };
    let Ok(message) = Message::decode(bytes, sender) else { return };
    look(&message);
    let mut again = Vec::new();
    encode(&message, bytes, &mut again);
    assert_eq!(again, bytes, "one value has one encoding: {message:?}");
}

/// Walks through what a message holds.
fn look(message: &Message<'_>) {
    match message {
        Message::Request(request) => assert_eq!(request.operations.iter().count(), request.operations.count()),
        Message::Runs(runs) => assert_eq!(runs.iter().count(), runs.count),
        Message::StatePages(pages) => assert!(pages.iter().count() >= 1),
        Message::StateQuery(query) => {
            query.items.iter().for_each(|item| assert!(item.units().0 + item.units().1 <= 64))
        }
        _ => {}
    }
}

/// Writes a message as whoever sends it does, from what the decoded one says.
fn encode(message: &Message<'_>, bytes: &[u8], out: &mut Vec<u8>) {
    match message {
        Message::Request(request) => {
            let (count, operations) = (request.operations.count(), request.operations.bytes());
            match request.signature {
                None => request::append(out, request.name, count, operations),
                Some(signature) => {
                    let (_, given) = signed_parts(bytes).expect("it is signed");
                    assert_eq!(given, signature);
                    request::append_signed(out, request.name, count, operations, |_| *signature);
                }
            }
        }
        Message::PrePrepare(it) => {
            agreement::append_pre_prepare(out, it.view, it.sequence, it.timestamp_ns, it.entries);
        }
        Message::Prepare(vote) => vote.append_prepare(out),
        Message::Commit(vote) => vote.append_commit(out),
        Message::Checkpoint(vote) => vote.append(out),
        Message::Reply(reply) => reply.append(out),
        Message::Refusal(refusal) => match refusal.reason() {
            Some(reason) => {
                Refusal::new(refusal.incarnation(), refusal.number(), reason, refusal.detail()).append(out);
            }
            // A later version's, which a client of this one takes for a refusal all the same.
            None => refusal.append(out),
        },
        Message::Status(status) => encode_status(status, out),
        Message::Fetch(fetch) => fetch.append(out),
        Message::ReportQuery(query) => query.append(out),
        Message::ReportReply(report) => ReportReply { reserved: [0; 5], ..**report }.append(out),
        Message::Follow(follow) => follow.append(out),
        Message::Runs(runs) => {
            let mut encoded = Vec::new();
            runs.iter().for_each(|run| append_run(&mut encoded, run.timestamp_ns, run.message));
            append_runs(out, runs.stream, runs.oldest, runs.position, runs.chain, runs.count, &encoded);
        }
        Message::ChainQuery(query) => query.append(out),
        Message::ChainAnswer(answer) => answer.append(out),
        Message::Part(part) => part.append(out),
        Message::CommitClaim(claim) => claim.append(out),
        Message::FetchBatch(fetch) => fetch.append(out),
        Message::Batch(batch) => batch.append(out),
        Message::StateQuery(query) => append_query(out, query.checkpoint, query.items),
        Message::StateNodes(nodes) => append_nodes(out, nodes.checkpoint, nodes.nodes),
        Message::StatePages(pages) => {
            let mut pieces = Vec::new();
            pages.iter().for_each(|piece| append_piece(&mut pieces, piece.index, piece.first, piece.bytes));
            append_pages(out, pages.checkpoint, &pieces);
        }
        Message::RecoveryQuery(query) => query.append(out),
        Message::RecoveryAnswer(answer) => answer.append(out),
        Message::RotateKeys(wish) => wish.append(out),
        Message::KeyReport(report) => report.append(out),
        Message::RejectsQuery(query) => query.append(out),
        Message::RejectsReport(report) => report.append(out),
        Message::Probe(probe) => probe.append(out),
        Message::ProbeHeard(heard) => heard.append(out),
        Message::Dispute(dispute) => dispute.append(out),
        Message::Examine(examine) => examine.append(out),
        Message::Testimony(testimony) => testimony.append(out),
        Message::Query(query) => query.append(out),
        Message::QueryAnswer(answer) => answer.append(out),
        Message::Forward(forward) => forward.append(out),
        Message::RequestPart(part) => part.append(out),
        Message::ReplyPart(part) => part.append(out),
        Message::FetchParts(fetch) => fetch.append(out),
        Message::RunPart(part) => part.append(out),
    }
}

/// From what it says, not from its bytes: what no field shows must not be there.
fn encode_status(status: &Status, out: &mut Vec<u8>) {
    let mut again = Status::new(status.standing(), status.stable(), status.executed(), status.highest());
    again.lacks_proposal = status.lacks_proposal;
    again.lacks_prepared = status.lacks_prepared;
    again.lacks_committed = status.lacks_committed;
    again.append(out);
}

/// The first byte chooses which of the two.
fn statement(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let again = if kind & 1 == 0 {
        ViewChange::decode(bytes).ok().map(|(content, _, signature)| content.encode(|_| *signature))
    } else {
        NewView::decode(bytes).ok().map(|(content, _, signature)| content.encode(|_| *signature))
    };
    assert!(again.is_none_or(|again| again == bytes), "one value has one encoding");
}

/// A message of each kind, as a correct sender writes it, with the kind's byte.
pub fn one_of_each() -> Vec<(Kind, Principal, Vec<u8>)> {
    let scene = Scene::default();
    let mut found = Vec::new();
    for sender in [HOSTILE, CLIENT] {
        for kind in (0..=u8::MAX).filter_map(Kind::from_byte) {
            let mut body = Vec::new();
            message(&mut Choices::new(&[]), &scene, kind, &mut body);
            if Message::decode(&body, sender).is_ok() {
                found.push((kind, sender, body));
            }
        }
    }
    found
}

fn packets() -> Vec<Sample> {
    let mut samples = Vec::new();
    for (kind, sender, body) in one_of_each() {
        let to_replicas = Audience::Replicas(ReplicaSet::first(REGISTER.replicas).without(ReplicaId(3)));
        let audience = match (sender, kind) {
            (Principal::Replica(_), Kind::Reply | Kind::QueryAnswer | Kind::Runs) => {
                Audience::Client(crate::table::client_id())
            }
            _ => to_replicas,
        };
        samples.push((name_of(kind, sender), seal(sender, audience, &body)));
    }
    let together: Vec<u8> =
        one_of_each().into_iter().filter(|one| one.1 == HOSTILE).take(6).flat_map(|one| one.2).collect();
    samples.push(("several".to_owned(), seal(HOSTILE, Audience::Replicas(ReplicaSet(0b0111)), &together)));
    samples
}

fn messages() -> Vec<Sample> {
    let role = |sender| u8::from(sender == CLIENT);
    let sample = |(kind, sender, body): (Kind, Principal, Vec<u8>)| {
        (name_of(kind, sender), [&[role(sender)], &body[..]].concat())
    };
    one_of_each().into_iter().map(sample).collect()
}

fn name_of(kind: Kind, sender: Principal) -> String {
    let role = if sender == CLIENT { "client" } else { "replica" };
    format!("{kind:?}-{role}").to_lowercase()
}

fn statements() -> Vec<Sample> {
    let scene = Scene::default();
    let mut samples = Vec::new();
    for (kind, byte) in [(StatementKind::ViewChange, 0), (StatementKind::NewView, 1)] {
        for variant in 0..4u8 {
            let seed: Vec<u8> = (0..200).map(|at: u8| at.wrapping_mul(variant)).collect();
            let bytes = scene.statement(&mut Choices::new(&seed), kind);
            samples.push((format!("{kind:?}-{variant}").to_lowercase(), [&[byte], &bytes[..]].concat()));
        }
    }
    samples
}
