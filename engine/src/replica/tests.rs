//! Tests of the replica that no scenario tells: numbers at their ends, and bounds that hold by arithmetic.

use super::bodies::PartShape;
use super::*;
use crate::journal::Record;
use crate::limits::{BODIES_BYTES_MAX, DATAGRAM_BYTES_LOOPBACK, DATAGRAM_BYTES_MAX};
use crate::limits::{FETCH_ANSWER_BYTES, FETCH_REFILL_NS, QUERIES_MAX, RESULT_FULL_BYTES};
use crate::numbers::{ClientId, Incarnation, RequestNumber};
use crate::wire::Messages;
use crate::wire::agreement::{BatchEntry, CheckpointVote, CommitClaim, PrePrepare, Vote, batch_digest};
use crate::wire::operation::OperationsWriter;
use crate::wire::query::{Query, QueryOutcome};
use crate::wire::recovery::RecoveryQuery;
use crate::wire::reply::{Answer, Mode};
use crate::wire::request::{self, REQUEST_OVERHEAD_BYTES, RequestName, request_bytes_max};
use crate::wire::retransmission::{Fetch, Standing, Status};
use crate::wire::view_change::{Part, StatementKind, ViewChange, null_batch};
use logothete_crypto::{Identity, digest};
use std::ops::Range;

pub(super) fn config(datagram_bytes_max: usize) -> ReplicaConfig {
    ReplicaConfig {
        cluster_id: 1,
        id: ReplicaId(1),
        quorum: Quorum::of(4).unwrap(),
        clients: 2,
        checkpoint_interval: limits::WINDOW_MAX / 2,
        pipeline_depth: 8,
        batch_requests_max: 64,
        request_bytes_max: request_bytes_max(datagram_bytes_max, 4),
        request_packet_bytes_max: request_bytes_max(datagram_bytes_max, 4),
        parts: PartShape::of(datagram_bytes_max, 4),
        reply_bytes_max: 64,
        reply_packet_bytes_max: 1000,
        reply_piece_bytes: 1000,
        client_window: 32,
        clock_bound_ns: 500_000_000,
        bodies_bytes_max: BODIES_BYTES_MAX,
        tentative: true,
        timeout_view_max_ns: limits::TIMEOUT_VIEW_MAX_NS,
        keeps_journal: false,
        makes_journal: false,
        forgot: false,
        epoch: 1,
        statement_piece_bytes: 1024,
    }
}

/// What a replica of four, with two clients, signs and verifies with; in a cluster whose configuration has this digest.
pub(super) fn signatures(of: u8, context: Digest) -> Signatures {
    let identity = |seed| Identity::from_secret_bytes([seed; 32]);
    let public = (0..4).map(|seed| identity(seed).public()).collect();
    let clients = (100..102).map(|seed| identity(seed).public()).collect();
    Signatures::new(identity(of), public, clients, context)
}

pub(super) fn replica(config: ReplicaConfig) -> Replica {
    Replica::new(config, signatures(config.id.0, Digest::default()))
}

pub(super) fn now() -> Now {
    Now { monotonic_ns: 1_000_000_000, wall_ns: 1_700_000_000_000_000_000 }
}

/// `protocol.md BP-3`: whatever the datagram size and however wide the window, the batches that the log keeps leave room.
#[test]
fn full_batches_never_fill_the_store() {
    for datagram_bytes_max in [limits::DATAGRAM_BYTES_MIN, DATAGRAM_BYTES_LOOPBACK, DATAGRAM_BYTES_MAX] {
        let config = config(datagram_bytes_max);
        // A slab may be twice as large as the packet in it; packets that carry little else than headers are bounded by their number.
        let kept = 2 * config.window() as usize * config.batch_bytes_max() * 2;
        assert!(config.request_bytes_max == config.request_packet_bytes_max);
        assert!(kept <= config.bodies_bytes_max / 2, "{datagram_bytes_max}");
        assert!(config.batch_bytes_max() >= config.request_bytes_max, "{datagram_bytes_max}");
    }
}

#[test]
fn a_peer_may_claim_any_number() {
    let mut replica = replica(config(DATAGRAM_BYTES_LOOPBACK));
    let mut output = Output::new();
    let everything = SequenceNumber(u64::MAX);
    let status = Status::new(Standing::active_in(View(0)), everything, everything, everything);
    replica.on_status(now(), ReplicaId(2), &status, &mut output).unwrap();
    replica.on_duty_end(now(), &mut output);
    assert_eq!(replica.executed(), SequenceNumber(0));
    assert_eq!(replica.progress(now()), Progress::Normal, "one replica's claim is no reason to despair");
}

/// `protocol.md NC-10`: a null batch has no content to fetch.
#[test]
fn a_null_batch_committed_on_claims_is_executed() {
    let mut replica = replica(config(DATAGRAM_BYTES_LOOPBACK));
    let mut output = Output::new();
    let claim = CommitClaim::new(SequenceNumber(1), null_batch());
    replica.on_commit_claim(now(), ReplicaId(1), &claim, &mut output).unwrap();
    assert_eq!(replica.executed(), SequenceNumber(0), "one may lie");
    assert_eq!(replica.on_commit_claim(now(), ReplicaId(1), &claim, &mut output), Err(Reject::Duplicate));
    replica.on_commit_claim(now(), ReplicaId(2), &claim, &mut output).unwrap();
    assert_eq!(replica.executed(), SequenceNumber(1));
    assert_eq!(replica.fetch_due_ns(), u64::MAX);
}

/// `protocol.md EV-1`, `EV-2`: evidence has both sides of a contradiction, and each is told once.
#[test]
fn a_contradiction_leaves_evidence_of_both_messages() {
    let (mut replica, mut output) = (replica(config(DATAGRAM_BYTES_LOOPBACK)), Output::new());
    let (one, other) = (Digest([1; 32]), Digest([2; 32]));
    let (liar, sequence) = (ReplicaId(3), SequenceNumber(7));
    for digest in [one, one, other, other] {
        let _ = replica.on_prepare(now(), liar, &Vote::new(View(0), sequence, digest), &mut output);
        let _ = replica.on_commit(now(), liar, &Vote::new(View(0), sequence, digest), &mut output);
        let checkpoint =
            CheckpointVote::new(SequenceNumber(config(DATAGRAM_BYTES_LOOPBACK).checkpoint_interval), digest);
        let _ = replica.on_checkpoint(now(), liar, &checkpoint, &mut output);
    }
    let events: Vec<Evidence> = output
        .actions()
        .iter()
        .filter_map(|action| match action {
            Action::Event(Event::Contradiction(evidence)) => Some(*evidence),
            _ => None,
        })
        .collect();
    assert_eq!(events, replica.evidence().pieces());
    let kinds: Vec<(&str, Option<View>)> = events.iter().map(|piece| (piece.kind.word(), piece.view)).collect();
    assert_eq!(kinds, [("prepare", Some(View(0))), ("commit", Some(View(0))), ("checkpoint", None)]);
    for piece in events {
        assert_eq!((piece.replica, piece.held, piece.other, piece.proof.word()), (liar, one, other, "mac"));
    }
    assert_eq!(replica.evidence().omitted(liar), 0);
}

/// `protocol.md RT-5`: who asks for the same body again and again is sent it as often as its allowance goes.
#[test]
fn a_greedy_peer_is_sent_bodies_up_to_its_allowance() {
    let (mut replica, mut output) = (replica(config(DATAGRAM_BYTES_LOOPBACK)), Output::new());
    let packet = vec![7; DATAGRAM_BYTES_LOOPBACK];
    let name = RequestName { client: ClientId(0), incarnation: Incarnation(1), number: RequestNumber(0) };
    let digest = Digest([9; 32]);
    let body = replica.bodies.store(&packet, 48..packet.len(), name, digest, true, 0).unwrap();
    replica.clients.hold(name, body, &mut replica.bodies);
    let entries = [BatchEntry::new(name, digest)];
    let proposal = PrePrepare { view: View(0), sequence: SequenceNumber(1), timestamp_ns: 7, entries: &entries };
    replica.on_pre_prepare(now(), ReplicaId(0), &proposal, &mut output).unwrap();
    replica.accept_in_order(now(), &mut output);
    let mut fetch = Fetch::new(SequenceNumber(1), batch_digest(7, &entries));
    fetch.set(0);
    let mut ask = |from: u8, after_ns: u64| {
        output.clear();
        let now = Now { monotonic_ns: now().monotonic_ns + after_ns, ..now() };
        let outcome = replica.on_fetch(now, ReplicaId(from), &fetch, &mut output);
        let relayed = output.actions().iter().any(|action| matches!(action, Action::Relay { .. }));
        assert_eq!(relayed, outcome.is_ok());
        outcome
    };
    let most = FETCH_ANSWER_BYTES / packet.len();
    (0..most).for_each(|_| assert_eq!(ask(3, 0), Ok(())));
    assert_eq!(ask(3, FETCH_REFILL_NS - 1), Err(Reject::RateLimited));
    assert_eq!(ask(2, 0), Ok(()), "each peer has its own");
    assert_eq!(ask(3, FETCH_REFILL_NS), Ok(()));
}

/// What a request may be at most is what its run of the log may be: one packet to a subscriber.
#[test]
fn a_request_longer_than_its_run_may_be_is_rejected() {
    for (excess, outcome) in [(0, Ok(())), (1, Err(Reject::RequestTooLarge))] {
        let config = config(limits::DATAGRAM_BYTES_DEFAULT);
        let bytes = config.request_bytes_max + excess;
        let mut operations = OperationsWriter::new(bytes);
        let payload = vec![7; bytes - REQUEST_OVERHEAD_BYTES - crate::wire::operation::OPERATION_HEADER_BYTES];
        assert!(operations.try_push(1, 1, &payload));
        let name = RequestName { client: ClientId(0), incarnation: Incarnation(1), number: RequestNumber(1) };
        let mut message = Vec::new();
        request::append(&mut message, name, 1, operations.bytes());
        assert_eq!(message.len(), bytes);
        assert_eq!(replica(config).admit_size(message.len()), outcome);
    }
}

/// What a replica says to clients, in the order in which it says it; `tell` puts it into words.
fn said<R>(output: &Output, tell: impl Fn(&Message<'_>) -> R) -> Vec<R> {
    let sent = output.actions().iter().filter_map(|action| match action {
        Action::Send { audience: Audience::Client(_), bytes, .. } => Some(output.message(bytes.clone())),
        _ => None,
    });
    let own = Principal::Replica(ReplicaId(1));
    sent.flat_map(|body| Messages::new(body, own).map(|message| tell(&message.unwrap().0)).collect::<Vec<_>>())
        .collect()
}

/// `protocol.md CL-5`
#[test]
fn long_results_are_given_in_full_in_turn_and_by_everybody_when_asked_again() {
    let mut replica = replica(ReplicaConfig { reply_bytes_max: 1000, ..config(DATAGRAM_BYTES_LOOPBACK) });
    let name = |number| RequestName { client: ClientId(0), incarnation: Incarnation(1), number: RequestNumber(number) };
    let full = |message: &Message<'_>| match message {
        Message::Reply(reply) => {
            assert_eq!((reply.mode, reply.request), (Mode::Committed, Digest([4; 32])));
            matches!(reply.results, Answer::Full(_))
        }
        other => panic!("{other:?}"),
    };
    assert!(replica.clients.schedule(name(0), &mut replica.bodies, 0));
    let mut output = Output::new();
    for number in 1..=4 {
        assert!(replica.clients.schedule(name(number), &mut replica.bodies, 0));
        let request = ScheduledRequest { name: name(number), digest: Digest([4; 32]), body: None };
        let long = [7; RESULT_FULL_BYTES + 1];
        replica.on_executed(SequenceNumber(number), &request, &long, &mut output);
    }
    // Replica 1 of four has the turn for the numbers that leave a rest of 0 or 1.
    assert_eq!(said(&output, full), [true, false, false, true]);
    output.clear();
    (1..=4).for_each(|number| replica.send_reply(name(number), true, &mut output));
    assert_eq!(said(&output, full), [true; 4]);
    output.clear();
    assert!(replica.clients.schedule(name(5), &mut replica.bodies, 0));
    assert!(replica.clients.schedule(name(6), &mut replica.bodies, 0));
    let request = ScheduledRequest { name: name(6), digest: Digest([4; 32]), body: None };
    replica.on_executed(SequenceNumber(6), &request, &[7; RESULT_FULL_BYTES], &mut output);
    assert_eq!(said(&output, full), [true], "what is short travels in full whoever has the turn");
}

/// `protocol.md RD-2`
#[test]
fn queries_wait_for_the_end_of_the_duty_cycle_and_for_what_was_decided_before() {
    let mut replica = replica(config(DATAGRAM_BYTES_LOOPBACK));
    let mut output = Output::new();
    let ask = |replica: &mut Replica, client: u16, nonce, output: &mut Output| {
        replica.on_query(ClientId(client), &Query { nonce, session: 3, operation: b"get" }, output)
    };
    assert_eq!(ask(&mut replica, 0, 5, &mut output), Ok(()));
    assert_eq!(ask(&mut replica, 9, 5, &mut output), Err(Reject::ClientUnknown));
    assert!(output.actions().is_empty());
    replica.on_duty_end(now(), &mut output);
    let queries = |output: &Output| {
        let query = |action: &Action| match action {
            Action::Query { client, nonce, operation } => {
                assert_eq!(output.message(operation.clone()), b"get");
                Some((client.0, *nonce))
            }
            _ => None,
        };
        output.actions().iter().filter_map(query).collect::<Vec<_>>()
    };
    assert_eq!(queries(&output), [(0, 5)]);
    output.clear();
    replica.on_duty_end(now(), &mut output);
    assert_eq!(queries(&output), [], "each is handed over once");

    // One client more than fills its share, and is told so; the other is served.
    for nonce in 0..QUERIES_MAX as u64 {
        assert_eq!(ask(&mut replica, 0, nonce, &mut output), Ok(()));
    }
    output.clear();
    assert_eq!(ask(&mut replica, 0, 9999, &mut output), Err(Reject::QueryOverload));
    let outcome = |message: &Message<'_>| match message {
        Message::QueryAnswer(answer) => match answer.outcome {
            QueryOutcome::Answered(Answer::Full(_)) => (answer.nonce, "full"),
            QueryOutcome::Answered(Answer::Digest(_)) => (answer.nonce, "digest"),
            QueryOutcome::Refused => (answer.nonce, "refused"),
            QueryOutcome::Declined => (answer.nonce, "declined"),
        },
        other => panic!("{other:?}"),
    };
    assert_eq!(said(&output, outcome), [(9999, "declined")]);
    assert_eq!(ask(&mut replica, 1, 7, &mut output), Ok(()));
    output.clear();
    replica.on_duty_end(now(), &mut output);
    assert_eq!(queries(&output).len(), QUERIES_MAX + 1);
    assert!(queries(&output)[..2].contains(&(1, 7)), "clients take turns");

    output.clear();
    let long = [7; RESULT_FULL_BYTES + 1];
    for (nonce, result) in [(4, Some(&long[..])), (5, Some(&long)), (6, Some(&long)), (6, Some(b"short")), (6, None)] {
        replica.on_query_answered(ClientId(0), nonce, result, &mut output);
    }
    let answers = said(&output, outcome);
    assert_eq!(answers, [(4, "full"), (5, "full"), (6, "digest"), (6, "full"), (6, "refused")]);
}

/// `protocol.md RB-8`, `VC-3`: an eighth batch for a number is refused, its primary is suspected, and a null batch is accepted all the same.
#[test]
fn a_number_with_too_many_batches_is_left_empty() {
    let refusing = |replica: &mut Replica| replica.judge_primary(now(), true);
    let (mut held, mut output) = (replica(config(DATAGRAM_BYTES_LOOPBACK)), Output::new());
    let sequence = SequenceNumber(1);
    let fill = |replica: &mut Replica| {
        let slot = replica.log.slot_mut(sequence).unwrap();
        for view in 0..limits::PRE_PREPARED_MAX as u64 {
            assert!(!slot.is_full());
            slot.note_pre_prepared(View(view), Digest([view as u8 + 1; 32]));
        }
        assert!(slot.is_full());
    };
    fill(&mut held);
    let name = RequestName { client: ClientId(0), incarnation: Incarnation(1), number: RequestNumber(0) };
    let digest = Digest([9; 32]);
    let body = held.bodies.store(&[0; 100], 48..90, name, digest, true, 0).unwrap();
    held.clients.hold(name, body, &mut held.bodies);
    let entries = [BatchEntry::new(name, digest)];
    let proposal = PrePrepare { view: View(0), sequence, timestamp_ns: 7, entries: &entries };
    held.on_pre_prepare(now(), ReplicaId(0), &proposal, &mut output).unwrap();
    assert!(!refusing(&mut held));
    held.accept_in_order(now(), &mut output);
    assert!(refusing(&mut held));
    held.on_duty_end(now(), &mut output);
    assert!(held.standing().suspects, "the others hear of it");

    let mut other = replica(config(DATAGRAM_BYTES_LOOPBACK));
    fill(&mut other);
    let null = PrePrepare { view: View(0), sequence, timestamp_ns: 0, entries: &[] };
    other.on_pre_prepare(now(), ReplicaId(0), &null, &mut output).unwrap();
    other.accept_in_order(now(), &mut output);
    assert!(!refusing(&mut other) && other.accepted == sequence);

    // A primary that is itself at the bound proposes it, once there is work, and goes on behind it.
    let mut primary = replica(ReplicaConfig { id: ReplicaId(0), ..config(DATAGRAM_BYTES_LOOPBACK) });
    fill(&mut primary);
    primary.propose(now(), &mut output);
    assert_eq!(primary.proposed, SequenceNumber(0), "nothing waits");
    let body = primary.bodies.store(&[0; 100], 48..90, name, digest, true, 0).unwrap();
    primary.clients.hold(name, body, &mut primary.bodies);
    primary.propose(now(), &mut output);
    let entries =
        |sequence| primary.log.slot(SequenceNumber(sequence)).unwrap().proposed_batch().unwrap().entries.len();
    assert_eq!((primary.proposed, entries(1), entries(2)), (SequenceNumber(2), 0, 1));
}

/// What is to be relayed is sent also where what it was taken from is let go of in the same duty cycle.
#[test]
fn what_is_relayed_outlives_its_slot() {
    let (mut replica, mut output) = (replica(config(DATAGRAM_BYTES_LOOPBACK)), Output::new());
    let name = RequestName { client: ClientId(0), incarnation: Incarnation(1), number: RequestNumber(0) };
    let body = replica.bodies.store(&[7; 100], 48..90, name, Digest([9; 32]), true, 0).unwrap();
    let entries = [BatchEntry::new(name, Digest([9; 32]))];
    let (sequence, digest) = (SequenceNumber(1), batch_digest(7, &entries));
    replica.learn_batch(now(), sequence, digest, 7, &entries);
    replica.bind_body(name, body);
    replica.bodies.release(body);
    let mut fetch = Fetch::new(sequence, digest);
    fetch.set(0);
    replica.on_fetch(now(), ReplicaId(2), &fetch, &mut output).unwrap();
    replica.log.truncate(SequenceNumber(replica.log.window() + 1), &mut replica.bodies);
    let [Action::Relay { to: ReplicaId(2), bytes }] = output.actions() else { panic!("{:?}", output.actions()) };
    assert_eq!(output.message(bytes.clone()), [7; 100]);
}

/// `protocol.md VC-1`: no request waits here, and the others need this replica to leave.
#[test]
fn what_is_tentative_makes_the_primary_suspect() {
    let tentative = ReplicaConfig { tentative: true, ..config(DATAGRAM_BYTES_LOOPBACK) };
    let (mut held, mut output) = (replica(tentative), Output::new());
    let sequence = SequenceNumber(1);
    let null = PrePrepare { view: View(0), sequence, timestamp_ns: 0, entries: &[] };
    held.on_pre_prepare(now(), ReplicaId(0), &null, &mut output).unwrap();
    held.accept_in_order(now(), &mut output);
    held.on_prepare(now(), ReplicaId(2), &Vote::new(View(0), sequence, null_batch()), &mut output).unwrap();
    held.on_duty_end(now(), &mut output);
    assert_eq!(held.tentative, Some((sequence, null_batch())));
    let later = |ms: u64| Now { monotonic_ns: now().monotonic_ns + ms * 1_000_000, ..now() };
    (1..10).for_each(|ms| held.on_duty_end(later(ms), &mut output));
    assert!(!held.standing().suspects);
    (1000..1010).for_each(|ms| held.on_duty_end(later(ms), &mut output));
    assert!(held.standing().suspects);
    for from in [0, 2] {
        held.on_commit(later(1010), ReplicaId(from), &Vote::new(View(0), sequence, null_batch()), &mut output).unwrap();
    }
    held.on_duty_end(later(1010), &mut output);
    assert!(held.tentative.is_none() && !held.standing().suspects);
}

/// `protocol.md VC-1`, `RC-5`: who recovers waits for null batches, which no request waits for.
#[test]
fn where_a_peer_recovers_the_primary_owes_null_batches() {
    let (mut held, mut output) = (replica(config(DATAGRAM_BYTES_LOOPBACK)), Output::new());
    let later = |ms: u64| Now { monotonic_ns: now().monotonic_ns + ms * 1_000_000, ..now() };
    let mut pass = |held: &mut Replica, ms: Range<u64>, recovers| {
        for ms in ms {
            let standing = Standing { recovers, ..Standing::active_in(View(0)) };
            let zero = SequenceNumber(0);
            held.peers.heard(ReplicaId(2), later(ms).monotonic_ns);
            let _ = held.on_status(later(ms), ReplicaId(2), &Status::new(standing, zero, zero, zero), &mut output);
            held.on_duty_end(later(ms), &mut output);
        }
        held.standing().suspects
    };
    assert!(!pass(&mut held, 0..5000, false), "nobody waits for anything");
    assert!(!pass(&mut held, 5000..13_000, true));
    assert!(pass(&mut held, 13_000..13_600, true));
    let mut output = Output::new();
    for from in [2, 3] {
        let claim = CommitClaim::new(SequenceNumber(1), null_batch());
        held.on_commit_claim(later(13_600), ReplicaId(from), &claim, &mut output).unwrap();
    }
    assert!(!pass(&mut held, 13_600..21_000, true), "one was ordered");
    assert!(pass(&mut held, 21_000..22_500, true));
    assert!(!pass(&mut held, 22_500..22_510, false));
}

/// `protocol.md EX-3`: until the host has gone back, the table has what is being undone.
#[test]
fn what_is_being_undone_is_not_told_again() {
    let tentative = ReplicaConfig { tentative: true, ..config(DATAGRAM_BYTES_LOOPBACK) };
    let (mut held, mut output) = (replica(tentative), Output::new());
    let name = |number| RequestName { client: ClientId(0), incarnation: Incarnation(1), number: RequestNumber(number) };
    assert!(held.clients.schedule(name(0), &mut held.bodies, 0) && held.clients.schedule(name(1), &mut held.bodies, 0));
    let request = ScheduledRequest { name: name(1), digest: Digest([4; 32]), body: None };
    held.on_executed(SequenceNumber(2), &request, &[7], &mut output);
    for (undoing, replies) in [(None, 1), (Some(2), 0), (Some(3), 1)] {
        held.undoing = undoing.map(|sequence| (SequenceNumber(sequence), null_batch()));
        output.clear();
        held.send_reply(name(1), true, &mut output);
        assert_eq!(said(&output, |message| matches!(message, Message::Reply(_))).len(), replies, "{undoing:?}");
    }
}

/// `protocol.md RC-2`: to reply from what has only prepared is to promise that it prepared here.
#[test]
fn who_forgot_executes_nothing_tentatively() {
    let forgot = ReplicaConfig { tentative: true, forgot: true, ..config(DATAGRAM_BYTES_LOOPBACK) };
    let (mut held, mut output) = (replica(forgot), Output::new());
    let (sequence, batch) = (SequenceNumber(1), null_batch());
    let null = PrePrepare { view: View(0), sequence, timestamp_ns: 0, entries: &[] };
    held.on_pre_prepare(now(), ReplicaId(0), &null, &mut output).unwrap();
    held.accept_in_order(now(), &mut output);
    for from in [2, 3] {
        held.on_prepare(now(), ReplicaId(from), &Vote::new(View(0), sequence, batch), &mut output).unwrap();
    }
    held.on_duty_end(now(), &mut output);
    assert_eq!((held.executed, held.tentative), (SequenceNumber(0), None));
    for from in [2, 3] {
        held.on_commit_claim(now(), ReplicaId(from), &CommitClaim::new(sequence, batch), &mut output).unwrap();
    }
    held.on_duty_end(now(), &mut output);
    assert_eq!((held.executed, held.tentative), (sequence, None));
}

/// A view change of replica 3, which holds nothing but the state from the beginning, signed in an epoch.
fn view_change_of_3(epoch: u64, view: u64) -> Vec<u8> {
    let signer = ReplicaConfig { id: ReplicaId(3), ..config(DATAGRAM_BYTES_LOOPBACK) };
    let checkpoints = [CheckpointVote::new(SequenceNumber(0), Digest::default())];
    let content = ViewChange {
        view: View(view),
        stable: SequenceNumber(0),
        epoch,
        replica: signer.id,
        checkpoints: &checkpoints,
        prepared: &[],
        pre_prepared: &[],
    };
    content.encode(|body| replica(signer).signatures.sign(StatementKind::ViewChange, body))
}

/// Brings a replica a statement of replica 3 that replica 2 passes on.
fn pass_on(replica: &mut Replica, view: u64, bytes: &[u8]) -> Result<(), Reject> {
    let part = Part {
        statement: StatementKind::ViewChange,
        replica: ReplicaId(3),
        view: View(view),
        digest: digest(bytes),
        total_bytes: bytes.len(),
        index: 0,
        bytes,
    };
    replica.on_part(now(), ReplicaId(2), &part, &mut Output::new())
}

/// The records in an output, encoded, and how many actions come before the last of them.
fn records(output: &Output) -> (Vec<Vec<u8>>, usize) {
    let persisted = |action: &Action| match action {
        Action::Persist { bytes } => Some(output.message(bytes.clone()).to_vec()),
        _ => None,
    };
    let last = output.actions().iter().rposition(|action| persisted(action).is_some());
    (output.actions().iter().filter_map(persisted).collect(), last.unwrap_or(0))
}

/// `protocol.md VC-3`, `VC-4`: set Q has what was proposed here, and what views took over of what was proposed to others.
#[test]
fn set_q_is_bounded_by_what_all_were_proposed() {
    let most = limits::pre_prepared_entries_max(4);
    for entries in [most, most + 1] {
        let signer = ReplicaConfig { id: ReplicaId(3), ..config(DATAGRAM_BYTES_LOOPBACK) };
        let checkpoints = [CheckpointVote::new(SequenceNumber(0), Digest::default())];
        let of = |at: usize| Vote::new(View(at as u64), SequenceNumber(1), Digest([at as u8; 32]));
        let pre_prepared: Vec<Vote> = (0..entries).map(of).collect();
        let content = ViewChange {
            view: View(100),
            stable: SequenceNumber(0),
            epoch: 5,
            replica: signer.id,
            checkpoints: &checkpoints,
            prepared: &[],
            pre_prepared: &pre_prepared,
        };
        let bytes = content.encode(|body| replica(signer).signatures.sign(StatementKind::ViewChange, body));
        let large = ReplicaConfig { statement_piece_bytes: 4096, ..config(DATAGRAM_BYTES_LOOPBACK) };
        let taken = pass_on(&mut replica(large), 100, &bytes);
        assert_eq!(taken, if entries == most { Ok(()) } else { Err(Reject::StatementUnsound) });
    }
}

/// `protocol.md RC-4`: whoever acknowledged that a replica forgot refuses what it signed before, in its next lives as well.
#[test]
fn an_epoch_that_was_acknowledged_stays_so_over_restarts() {
    let keeps = ReplicaConfig { keeps_journal: true, ..config(DATAGRAM_BYTES_LOOPBACK) };
    let (mut former, mut output) = (replica(keeps), Output::new());
    let (before, after) = (view_change_of_3(5, 1), view_change_of_3(6, 2));
    assert_eq!(
        former.on_recovery_query(now(), ReplicaId(3), &RecoveryQuery::new(6), &mut output),
        Err(Reject::EpochForgotten),
        "it is of no such epoch"
    );
    former.peers.heard_in_epoch(ReplicaId(3), 6);
    former.on_recovery_query(now(), ReplicaId(3), &RecoveryQuery::new(6), &mut output).unwrap();
    assert_eq!(pass_on(&mut former, 1, &before), Err(Reject::EpochForgotten));
    let (first, at) = records(&output);
    let answer = output.actions().iter().position(|action| matches!(action, Action::Send { promise: true, .. }));
    assert!(first.len() == 1 && answer.is_some_and(|answer| at < answer), "it is durable before the answer leaves");
    // A checkpoint lets the record go, and what is written with it takes its place.
    output.clear();
    former.persist_standing(&mut output);
    for journal in [first, records(&output).0] {
        let (mut latter, mut output) = (replica(config(DATAGRAM_BYTES_LOOPBACK)), Output::new());
        for bytes in &journal {
            latter.recall(now(), &Record::decode(bytes).unwrap().0, &mut output);
        }
        latter.on_recalled(now(), &mut output);
        assert_eq!(pass_on(&mut latter, 1, &before), Err(Reject::EpochForgotten));
        assert_eq!(pass_on(&mut latter, 2, &after), Ok(()));
    }
}

/// `protocol.md ST-7`: two replicas voted for a checkpoint and came back without it; a third holds it. Who vouches later is asked too, and where too few are left an earlier
/// checkpoint is fetched.
#[test]
fn a_state_is_fetched_from_who_holds_it_or_an_earlier_one_is() {
    let config = config(DATAGRAM_BYTES_LOOPBACK);
    let checkpoint = |windows: u64| {
        let sequence = SequenceNumber(config.window() * windows);
        CheckpointVote::new(sequence, digest(&sequence.0.to_le_bytes()))
    };
    let (early, late) = (checkpoint(2), checkpoint(4));
    let (mut replica, mut output) = (replica(config), Output::new());
    let mut votes = |replica: &mut Replica, from: &[u8], vote: &CheckpointVote| {
        output.clear();
        for id in from {
            let counts = replica.on_checkpoint(now(), ReplicaId(*id), vote, &mut output);
            assert_eq!(counts.is_ok(), vote.sequence() == early.sequence(), "the late one is out of the window");
        }
        let mut fetched = output.actions().iter().filter_map(|action| match action {
            Action::FetchState { sequence, sources, .. } => Some((*sequence, *sources)),
            _ => None,
        });
        fetched.next_back()
    };
    let set = |ids: &[u8]| {
        let mut set = ReplicaSet::EMPTY;
        ids.iter().for_each(|id| _ = set.insert(ReplicaId(*id)));
        set
    };
    assert_eq!(votes(&mut replica, &[0, 2], &late), Some((late.sequence(), set(&[0, 2]))));
    assert_eq!(votes(&mut replica, &[0, 2], &late), None, "it is on its way");
    assert_eq!(votes(&mut replica, &[3], &late), Some((late.sequence(), set(&[0, 2, 3]))));
    replica.on_state_refused(ReplicaId(0));
    assert_eq!(votes(&mut replica, &[2], &early), None, "two of those that are left vouch for it");
    replica.on_state_refused(ReplicaId(2));
    assert_eq!(votes(&mut replica, &[3], &early), Some((early.sequence(), set(&[2, 3]))));
}

/// `protocol.md CK-5`: where a checkpoint lasts for less time than its state takes, one of them has to be fetched to its end.
#[test]
fn a_state_gives_way_to_a_later_one_ever_more_slowly() {
    let config = config(DATAGRAM_BYTES_LOOPBACK);
    let (mut replica, mut output) = (replica(config), Output::new());
    let mut fetched_at_ms = Vec::new();
    for ms in (0..2000).step_by(10) {
        let sequence = SequenceNumber(config.window() * (2 + ms));
        let vote = CheckpointVote::new(sequence, digest(&sequence.0.to_le_bytes()));
        let later = Now { monotonic_ns: now().monotonic_ns + ms * 1_000_000, ..now() };
        output.clear();
        for id in [0, 2] {
            let _ = replica.on_checkpoint(later, ReplicaId(id), &vote, &mut output);
        }
        let fetches = |action: &Action| matches!(action, Action::FetchState { .. });
        if output.actions().iter().any(fetches) {
            fetched_at_ms.push(ms);
        }
    }
    assert_eq!(fetched_at_ms, [0, 50, 150, 350, 750, 1550]);
}

/// `protocol.md CK-5`: who has executed a checkpoint's batch tentatively lacks its commits, and the others came to it by its state.
#[test]
fn a_tentative_checkpoint_that_does_not_go_on_is_fetched() {
    let tentative = ReplicaConfig { tentative: true, ..config(DATAGRAM_BYTES_LOOPBACK) };
    let (mut held, mut output) = (replica(tentative), Output::new());
    let (sequence, batch) = (SequenceNumber(tentative.checkpoint_interval), null_batch());
    let later = |ms: u64| Now { monotonic_ns: now().monotonic_ns + ms * 1_000_000, ..now() };
    held.executed = SequenceNumber(sequence.0 - 1);
    held.accepted = held.executed;
    let null = PrePrepare { view: View(0), sequence, timestamp_ns: 0, entries: &[] };
    held.on_pre_prepare(now(), ReplicaId(0), &null, &mut output).unwrap();
    held.accept_in_order(now(), &mut output);
    held.on_prepare(now(), ReplicaId(2), &Vote::new(View(0), sequence, batch), &mut output).unwrap();
    held.on_duty_end(now(), &mut output);
    assert_eq!(held.tentative, Some((sequence, batch)));
    let fetches = |held: &mut Replica, ms, output: &mut Output| {
        output.clear();
        for from in [0, 2] {
            let _ = held.on_checkpoint(later(ms), ReplicaId(from), &CheckpointVote::new(sequence, batch), output);
        }
        held.execute_committed(later(ms), output);
        let has = |wanted: fn(&Action) -> bool| output.actions().iter().any(wanted);
        (
            has(|action| matches!(action, Action::FetchState { .. })),
            has(|action| matches!(action, Action::Restore { .. })),
        )
    };
    held.on_duty_end(later(1), &mut output);
    assert_eq!(fetches(&mut held, 900, &mut output), (false, false), "its commits may come yet");
    assert_eq!(fetches(&mut held, 1100, &mut output), (true, true));
    assert_eq!((held.tentative, held.undoing), (None, Some((sequence, batch))));
}
