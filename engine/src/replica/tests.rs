//! Tests of the replica that no scenario tells: numbers at their ends, and bounds that hold by arithmetic.

use super::*;
use crate::limits::{BODIES_BYTES_MAX, DATAGRAM_BYTES_LOOPBACK, DATAGRAM_BYTES_MAX};
use crate::numbers::{ClientId, Incarnation, RequestNumber};
use crate::wire::agreement::CommitClaim;
use crate::wire::operation::OperationsWriter;
use crate::wire::request::{self, REQUEST_OVERHEAD_BYTES, RequestName, request_bytes_max};
use crate::wire::retransmission::{Standing, Status};
use crate::wire::view_change::null_batch;
use logothete_crypto::Identity;

fn config(datagram_bytes_max: usize) -> ReplicaConfig {
    ReplicaConfig {
        id: ReplicaId(1),
        quorum: Quorum::of(4).unwrap(),
        clients: 2,
        checkpoint_interval: limits::WINDOW_MAX / 2,
        pipeline_depth: 8,
        batch_requests_max: 64,
        request_bytes_max: request_bytes_max(datagram_bytes_max, 4),
        reply_bytes_max: 64,
        client_window: 32,
        clock_bound_ns: 500_000_000,
        bodies_bytes_max: BODIES_BYTES_MAX,
        epoch: 1,
        statement_piece_bytes: 1024,
    }
}

fn replica(config: ReplicaConfig) -> Replica {
    let identity = |seed| Identity::from_secret_bytes([seed; 32]);
    let public = (0..4).map(|seed| identity(seed).public()).collect();
    Replica::new(config, Signatures::new(identity(config.id.0), public, Digest::default()))
}

fn now() -> Now {
    Now { monotonic_ns: 1_000_000_000, wall_ns: 1_700_000_000_000_000_000 }
}

/// `protocol.md BP-3`: whatever the datagram size and however wide the window, the batches that the log keeps leave room.
#[test]
fn full_batches_never_fill_the_store() {
    for datagram_bytes_max in [limits::DATAGRAM_BYTES_MIN, DATAGRAM_BYTES_LOOPBACK, DATAGRAM_BYTES_MAX] {
        let config = config(datagram_bytes_max);
        // A slab may be twice as large as the packet in it; packets that carry little else than headers are bounded by their number.
        let kept = 2 * config.window() as usize * config.batch_bytes_max() * 2;
        assert!(kept <= config.bodies_bytes_max / 2, "{datagram_bytes_max}");
        assert!(config.batch_bytes_max() >= config.request_bytes_max, "{datagram_bytes_max}");
    }
}

#[test]
fn a_peer_may_claim_any_number() {
    let mut replica = replica(config(DATAGRAM_BYTES_LOOPBACK));
    let mut output = Output::new();
    let everything = SequenceNumber(u64::MAX);
    let standing = Standing { view: View(0), active: true, suspects: false, view_changes: ReplicaSet::EMPTY };
    let status = Status::new(standing, everything, everything, everything);
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
