//! Requests under way against replicas that lie, lag and repeat themselves.

use super::*;
use crate::authentication::Signatures;
use crate::limits::{RESULTS_PATIENCE_NS, RETRANSMIT_BYTE_NS, RETRANSMIT_INITIAL_NS, RETRANSMIT_MIN_NS};
use crate::numbers::{ClientId, SequenceNumber, View};
use crate::wire::operation::OperationsWriter;
use crate::wire::reply::{Answer, Mode};
use logothete_crypto::{Digest, Identity};

const INCARNATION: Incarnation = Incarnation(70);
const WINDOW: u64 = 3;

fn at(milliseconds: u64) -> Now {
    Now { monotonic_ns: milliseconds * 1_000_000, wall_ns: 0 }
}

fn client_of(reads: bool) -> Client {
    let config = ClientConfig {
        id: ClientId(5),
        replicas: 4,
        quorum_weak: 2,
        quorum: 3,
        reads,
        window: WINDOW,
        incarnation: INCARNATION,
        request_packet_bytes_max: 1500,
        request_piece_bytes: 1000,
        large_bytes_max: 10_000,
        reply_piece_bytes: 1000,
        reply_bytes_max: 10_000,
    };
    Client::new(config, RequestSigner::new(Identity::from_secret_bytes([5; 32]), Digest::ZERO))
}

/// A client of four replicas whose service answers no queries.
fn client() -> Client {
    client_of(false)
}

/// Of whatever request the client has under this number.
const OWN_REQUEST: Digest = Digest::ZERO;

fn reply(number: u64, sequence: u64, results: &[u8]) -> Reply<'_> {
    let (sequence, number) = (SequenceNumber(sequence), RequestNumber(number));
    let (request, mode, results) = (OWN_REQUEST, Mode::Committed, Answer::Full(results));
    Reply { view: View(0), sequence, incarnation: INCARNATION, number, request, mode, results }
}

fn tentative(view: u64, sequence: u64, results: &[u8]) -> Reply<'_> {
    Reply { view: View(view), mode: Mode::Tentative, ..reply(1, sequence, results) }
}

fn committed(view: u64, sequence: u64, results: &[u8]) -> Reply<'_> {
    Reply { view: View(view), ..reply(1, sequence, results) }
}

/// What a client completes when a replica answers: operations and results.
fn hear(client: &mut Client, from: u8, reply: &Reply<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut completed = Vec::new();
    let mut reply = *reply;
    if reply.request == OWN_REQUEST {
        reply.request = digest(&client.at(reply.number).message);
    }
    client.on_reply(at(1), ReplicaId(from), &reply, &mut |operations: Operations<'_>, results: &[u8]| {
        completed.push((operations.bytes().to_vec(), results.to_vec()));
    });
    completed
}

fn opened() -> Client {
    opened_of(false)
}

/// With one request outstanding.
fn submitted(reads: bool) -> Client {
    let mut client = opened_of(reads);
    submit(&mut client, at(0), b"operation");
    client
}

fn opened_of(reads: bool) -> Client {
    let mut client = client_of(reads);
    client.on_due(at(0), |_| {});
    for from in [0, 1, 2] {
        hear(&mut client, from, &reply(0, 1, b""));
    }
    assert!(client.may_submit());
    client
}

fn submit(client: &mut Client, now: Now, bytes: &[u8]) -> Vec<u8> {
    let mut writer = OperationsWriter::new(1000);
    assert!(writer.try_push(1, 1, bytes));
    let mut sent = Vec::new();
    client.submit(now, writer.operations(), |message| sent.push(message.to_vec()));
    assert_eq!(sent.len(), 1);
    sent.remove(0)
}

fn due(client: &mut Client, now: Now) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    client.on_due(now, |message| sent.push(message.to_vec()));
    sent
}

/// `protocol.md CL-6`
#[test]
fn a_result_counts_when_enough_replicas_gave_it_and_once() {
    let mut client = opened();
    submit(&mut client, at(0), b"operation");
    assert!(hear(&mut client, 2, &reply(1, 2, b"result")).is_empty());
    let completed = hear(&mut client, 0, &reply(1, 2, b"result"));
    assert_eq!(completed.len(), 1);
    assert!(completed[0].0.ends_with(b"operation"));
    assert_eq!(completed[0].1, b"result");
    assert!(hear(&mut client, 1, &reply(1, 2, b"result")).is_empty());
    assert_eq!((client.requests_in_flight(), client.operations_in_flight()), (0, 0));
}

#[test]
fn replies_match_in_results_and_in_place() {
    let mut client = opened();
    submit(&mut client, at(0), b"operation");
    assert!(hear(&mut client, 0, &reply(1, 2, b"one")).is_empty());
    assert!(hear(&mut client, 1, &reply(1, 2, b"other")).is_empty());
    assert!(hear(&mut client, 2, &reply(1, 3, b"one")).is_empty());
    assert_eq!(hear(&mut client, 3, &reply(1, 2, b"other")).len(), 1);
}

#[test]
fn the_view_of_a_reply_need_not_match() {
    let mut client = opened();
    submit(&mut client, at(0), b"operation");
    assert!(hear(&mut client, 0, &reply(1, 2, b"result")).is_empty());
    assert_eq!(hear(&mut client, 1, &Reply { view: View(4), ..reply(1, 2, b"result") }).len(), 1);
}

/// `protocol.md CL-6`
#[test]
fn tentative_replies_need_a_quorum_of_one_view_and_place() {
    let mut client = submitted(false);
    assert!(hear(&mut client, 0, &tentative(1, 2, b"result")).is_empty());
    assert!(hear(&mut client, 1, &tentative(1, 2, b"result")).is_empty(), "two are not enough");
    assert!(hear(&mut client, 2, &tentative(2, 2, b"result")).is_empty(), "another view");
    assert_eq!(hear(&mut client, 3, &tentative(1, 2, b"result")).len(), 1);
    // Three results that are equal across views show no quorum that prepared one batch.
    let mut client = submitted(false);
    for (from, view, sequence) in [(0, 1, 2), (1, 2, 2), (2, 3, 2), (3, 1, 3)] {
        assert!(hear(&mut client, from, &tentative(view, sequence, b"result")).is_empty());
    }
}

/// `protocol.md CL-6`
#[test]
fn a_committed_reply_counts_towards_tentative_ones_whatever_its_view() {
    let mut client = submitted(false);
    assert!(hear(&mut client, 0, &tentative(1, 2, b"result")).is_empty());
    assert!(hear(&mut client, 3, &committed(7, 2, b"result")).is_empty(), "one committed, one tentative");
    assert!(hear(&mut client, 2, &tentative(2, 2, b"result")).is_empty());
    assert_eq!(hear(&mut client, 1, &tentative(1, 2, b"result")).len(), 1);
    let mut client = submitted(false);
    hear(&mut client, 0, &committed(1, 2, b"result"));
    hear(&mut client, 1, &tentative(1, 3, b"result"));
    assert!(hear(&mut client, 2, &tentative(1, 3, b"result")).is_empty(), "it is of another place");
}

/// `protocol.md CL-6`: what was tentative commits, or is undone and executed anew.
#[test]
fn a_tentative_vote_may_be_replaced_and_a_committed_one_may_not() {
    let mut client = submitted(false);
    hear(&mut client, 0, &tentative(0, 2, b"undone"));
    hear(&mut client, 1, &tentative(0, 2, b"undone"));
    assert!(hear(&mut client, 0, &tentative(0, 3, b"result")).is_empty(), "nothing is undone within a view");
    assert!(hear(&mut client, 0, &tentative(1, 3, b"result")).is_empty());
    assert!(hear(&mut client, 2, &tentative(0, 2, b"undone")).is_empty(), "two are left");
    hear(&mut client, 1, &committed(1, 3, b"result"));
    assert!(hear(&mut client, 1, &tentative(9, 2, b"undone")).is_empty());
    assert_eq!(hear(&mut client, 0, &committed(1, 3, b"result")).len(), 1);
}

/// `protocol.md RD-3`
#[test]
fn where_the_service_answers_queries_every_result_needs_a_quorum() {
    let mut client = submitted(true);
    assert!(hear(&mut client, 0, &reply(1, 2, b"result")).is_empty());
    assert!(hear(&mut client, 1, &reply(1, 2, b"result")).is_empty());
    assert_eq!(hear(&mut client, 2, &reply(1, 2, b"result")).len(), 1);
}

/// `protocol.md CL-5`
#[test]
fn digests_count_and_the_results_are_asked_for_by_sending_again() {
    let results = digest(b"result");
    let by_digest = Reply { results: Answer::Digest(&results), ..reply(1, 2, b"") };
    let mut client = submitted(false);
    for from in [0, 1] {
        assert!(hear(&mut client, from, &by_digest).is_empty());
    }
    assert!(hear(&mut client, 3, &reply(1, 2, b"a lie")).is_empty(), "not what the digest is of");
    assert_eq!(due(&mut client, at(60)).len(), 1);
    let completed = hear(&mut client, 0, &reply(1, 2, b"result"));
    assert_eq!(completed.len(), 1, "one that voted gives in full what it gave as a digest");
    assert_eq!(completed[0].1, b"result");
}

#[test]
fn replies_to_another_request_of_the_same_name_do_not_count() {
    let mut client = submitted(false);
    for from in 0..4 {
        let other = Reply { request: Digest([7; 32]), ..reply(1, 2, b"result") };
        assert!(hear(&mut client, from, &other).is_empty());
    }
    hear(&mut client, 0, &reply(1, 2, b"result"));
    assert_eq!(hear(&mut client, 1, &reply(1, 2, b"result")).len(), 1);
}

/// `protocol.md CL-8`
#[test]
fn the_view_is_what_enough_replicas_reported() {
    let mut client = submitted(false);
    assert_eq!(client.view(), View(0));
    hear(&mut client, 3, &tentative(u64::MAX, 2, b"result"));
    assert_eq!(client.view(), View(0), "one replica moves nothing");
    hear(&mut client, 0, &tentative(4, 2, b"result"));
    assert_eq!(client.view(), View(4));
    hear(&mut client, 1, &tentative(5, 2, b"result"));
    assert_eq!(client.view(), View(5));
    hear(&mut client, 1, &tentative(2, 2, b"result"));
    assert_eq!(client.view(), View(5), "it does not go back");
}

#[test]
fn a_replica_that_the_cluster_does_not_have_counts_for_nothing() {
    let mut client = submitted(false);
    hear(&mut client, 200, &reply(1, 2, b"result"));
    assert!(hear(&mut client, 201, &reply(1, 2, b"result")).is_empty());
}

#[test]
fn a_replica_has_one_vote() {
    let mut client = opened();
    submit(&mut client, at(0), b"operation");
    for _ in 0..3 {
        assert!(hear(&mut client, 3, &reply(1, 2, b"result")).is_empty());
    }
    // Nor can it take its vote back, to give another the quorum.
    assert!(hear(&mut client, 1, &reply(1, 2, b"other")).is_empty());
    assert!(hear(&mut client, 3, &reply(1, 2, b"other")).is_empty());
    assert_eq!(hear(&mut client, 0, &reply(1, 2, b"result")).len(), 1);
}

#[test]
fn replies_of_another_incarnation_or_to_nothing_outstanding_do_not_count() {
    let mut client = opened();
    submit(&mut client, at(0), b"operation");
    for from in 0..4 {
        let other = Reply { incarnation: Incarnation(69), ..reply(1, 2, b"result") };
        assert!(hear(&mut client, from, &other).is_empty());
        assert!(hear(&mut client, from, &reply(2, 2, b"result")).is_empty());
        assert!(hear(&mut client, from, &reply(0, 1, b"")).is_empty());
    }
    assert_eq!(client.requests_in_flight(), 1);
}

/// `protocol.md CL-1`: no further than a window above the lowest request without an answer.
#[test]
fn the_window_moves_with_the_lowest_request() {
    let mut client = opened();
    for _ in 0..WINDOW {
        submit(&mut client, at(0), b"operation");
    }
    assert!(!client.may_submit());
    for number in [2, 3] {
        hear(&mut client, 0, &reply(number, 2, b"result"));
        assert_eq!(hear(&mut client, 1, &reply(number, 2, b"result")).len(), 1);
    }
    assert!(!client.may_submit(), "the first has no answer yet");
    assert_eq!(client.requests_in_flight(), 1);
    hear(&mut client, 0, &reply(1, 2, b"result"));
    hear(&mut client, 1, &reply(1, 2, b"result"));
    assert!(client.may_submit());
    assert_eq!(client.deadline_ns(), u64::MAX);
}

#[test]
fn a_request_is_sent_again_ever_more_slowly_and_unchanged() {
    let mut client = client();
    let opening = due(&mut client, at(0));
    assert_eq!((opening.len(), client.retransmitted()), (1, 0), "the first time is no repetition");
    assert_eq!(client.deadline_ns(), RETRANSMIT_INITIAL_NS);
    assert!(due(&mut client, at(49)).is_empty());
    assert_eq!(due(&mut client, at(50)), opening);
    assert!(due(&mut client, at(99)).is_empty());
    assert_eq!(due(&mut client, at(100)), opening, "once more after the same time");
    assert!(due(&mut client, at(199)).is_empty());
    assert_eq!(due(&mut client, at(200)), opening);
    assert_eq!(client.retransmitted(), 3);
    for from in [0, 1] {
        hear(&mut client, from, &reply(0, 1, b""));
    }
    // What was sent more than once measures no round trip: nobody knows which sending was answered.
    let request = submit(&mut client, at(250), b"operation");
    assert!(due(&mut client, at(299)).is_empty());
    assert_eq!(due(&mut client, at(300)), [request]);
}

fn refuse(client: &mut Client, from: u8, number: u64, known: u64) -> Result<(), ClientFault> {
    let number = RequestNumber(number);
    client.on_refusal(
        at(1),
        ReplicaId(from),
        &Refusal::new(client.incarnation, number, RefusalReason::Superseded, known),
    )
}

/// `protocol.md CL-2`
#[test]
fn an_incarnation_that_is_too_low_is_opened_above_what_enough_replicas_know() {
    let mut client = client();
    client.on_due(at(0), |_| {});
    refuse(&mut client, 3, 0, u64::MAX - 1).unwrap();
    refuse(&mut client, 3, 0, u64::MAX - 1).unwrap();
    assert_eq!(client.incarnation, INCARNATION, "one replica moves nothing");
    refuse(&mut client, 0, 0, 90).unwrap();
    assert_eq!(client.incarnation, Incarnation(91));
    assert_eq!(due(&mut client, at(1)).len(), 1, "the new opening is due at once");
}

#[test]
fn a_client_that_is_superseded_after_it_opened_stops() {
    let mut client = opened();
    submit(&mut client, at(0), b"operation");
    assert_eq!(refuse(&mut client, 3, 1, 90), Ok(()));
    assert_eq!(refuse(&mut client, 3, 1, 90), Ok(()));
    assert_eq!(refuse(&mut client, 2, 1, 90), Err(ClientFault::Superseded));
}

#[test]
fn overload_is_counted_and_frees_no_number() {
    let mut client = opened();
    submit(&mut client, at(0), b"operation");
    let overloaded = Refusal::new(INCARNATION, RequestNumber(1), RefusalReason::Overloaded, 0);
    for from in 0..4 {
        client.on_refusal(at(1), ReplicaId(from), &overloaded).unwrap();
    }
    assert_eq!((client.overloaded(), client.requests_in_flight()), (4, 1));
}

fn demand(client: &mut Client, from: u8, number: u64) {
    let refusal = Refusal::new(INCARNATION, RequestNumber(number), RefusalReason::SignatureRequired, 0);
    client.on_refusal(at(5), ReplicaId(from), &refusal).unwrap();
}

/// `protocol.md DM-6`
#[test]
fn a_client_signs_when_enough_replicas_demand_it() {
    let mut client = submitted(false);
    let unsigned = client.at(RequestNumber(1)).message.clone();
    demand(&mut client, 3, 1);
    demand(&mut client, 3, 1);
    assert!(!client.signs(), "one replica alone");
    for (incarnation, number) in [(INCARNATION, 2), (Incarnation(INCARNATION.0 - 1), 1)] {
        let refusal = Refusal::new(incarnation, RequestNumber(number), RefusalReason::SignatureRequired, 0);
        client.on_refusal(at(5), ReplicaId(0), &refusal).unwrap();
        assert!(!client.signs(), "to nothing that is outstanding");
    }
    demand(&mut client, 0, 1);
    assert!(client.signs());
    let mut sent = Vec::new();
    client.on_due(at(5), |message| sent.push(message.to_vec()));
    let [signed] = &sent[..] else { panic!("what is outstanding goes at once: {}", sent.len()) };
    let key = Identity::from_secret_bytes([5; 32]).public();
    let signatures = Signatures::new(Identity::from_secret_bytes([1; 32]), vec![], vec![key; 6], Digest::ZERO);
    assert!(signatures.verify_request(ClientId(5), signed));
    let decode = |message| match Message::decode(message, Principal::Client(ClientId(5))) {
        Ok(Message::Request(request)) => (request.name, request.operations.bytes()),
        other => panic!("{other:?}"),
    };
    assert_eq!(decode(signed), decode(&unsigned), "the same request");
    // From now on at once, the opening of a next incarnation included.
    let next = submit(&mut client, at(6), b"next");
    assert!(signatures.verify_request(ClientId(5), &next));
    assert_eq!(client.requests_in_flight(), 2);
}

/// `protocol.md DM-6`: whichever of the two was executed, its results are those of the request; what is said of one does not count for the other.
#[test]
fn an_unsigned_request_that_was_executed_all_the_same_is_answered() {
    for signed_wins in [false, true] {
        let mut client = submitted(false);
        let unsigned = digest(&client.at(RequestNumber(1)).message);
        [0, 1].iter().for_each(|from| demand(&mut client, *from, 1));
        let signed = digest(&client.at(RequestNumber(1)).message);
        assert_ne!(signed, unsigned);
        let (first, other) = if signed_wins { (signed, unsigned) } else { (unsigned, signed) };
        let of = |request| Reply { request, ..reply(1, 7, b"result") };
        assert!(hear(&mut client, 0, &of(first)).is_empty());
        assert!(hear(&mut client, 3, &of(other)).is_empty(), "another message");
        assert!(hear(&mut client, 3, &of(Digest([8; 32]))).is_empty());
        assert_eq!(hear(&mut client, 1, &of(first)).len(), 1);
    }
}

/// A request of 5000 bytes and more, with all that the client sent of it at once.
fn submit_large(client: &mut Client, now: Now) -> Vec<Vec<u8>> {
    submit_alone(client, now, 5000)
}

/// A request with one operation of so many bytes.
fn submit_alone(client: &mut Client, now: Now, operation_bytes: usize) -> Vec<Vec<u8>> {
    let mut writer = OperationsWriter::new(1000);
    assert!(writer.try_push_alone(1, 1, &vec![7; operation_bytes]));
    let mut sent = Vec::new();
    client.submit(now, writer.operations(), |message| sent.push(message.to_vec()));
    sent
}

/// `protocol.md LR-1`
#[test]
fn a_large_request_goes_in_parts_and_again_when_nobody_answers() {
    let mut client = opened();
    assert!(client.may_submit_bytes(1 << 20), "the first may have any size");
    let sent = submit_large(&mut client, at(0));
    let message = client.at(RequestNumber(1)).message.clone();
    let mut whole = Vec::new();
    for (index, bytes) in sent.iter().enumerate() {
        let Ok(Message::RequestPart(part)) = Message::decode(bytes, Principal::Client(ClientId(5))) else {
            panic!("it fits no packet")
        };
        assert_eq!((part.index, part.total_bytes, part.digest), (index, message.len(), digest(&message)));
        whole.extend_from_slice(part.bytes);
    }
    assert_eq!(whole, message);
    // Another large one waits for room, a small one does not.
    assert!(!client.may_submit_bytes(5000) && client.may_submit_bytes(100));
    let room = client.config.large_bytes_max - client.large_bytes_in_flight - REQUEST_OVERHEAD_BYTES;
    assert!(client.may_submit_bytes(room) && !client.may_submit_bytes(room + 1));
    let again_ns = client.deadline_ns();
    assert!(again_ns >= RETRANSMIT_MIN_NS + message.len() as u64 * RETRANSMIT_BYTE_NS);
    assert!(due(&mut client, Now { monotonic_ns: again_ns - 1, wall_ns: 0 }).is_empty());
    let now = Now { monotonic_ns: again_ns, wall_ns: 0 };
    let mut again = due(&mut client, now);
    again.extend(due(&mut client, now));
    assert_eq!((again, client.retransmitted()), (sent, 1));
    for from in [0, 1] {
        hear(&mut client, from, &reply(1, 2, b"result"));
    }
    assert_eq!((client.deadline_ns(), client.large_bytes_in_flight), (u64::MAX, 0));
}

/// `protocol.md LR-1`, `DM-6`: what is signed later counts as long as it is then, and whether it goes in parts is decided anew.
#[test]
fn a_request_that_is_signed_later_counts_as_it_is_then() {
    let mut client = opened();
    submit_large(&mut client, at(0));
    let longest = 1500 - submit(&mut opened(), at(0), b"").len();
    submit_alone(&mut client, at(0), longest);
    let unsigned: Vec<usize> = [1, 2].map(|number| client.at(RequestNumber(number)).message.len()).to_vec();
    assert_eq!((unsigned[1], client.large_bytes_in_flight), (1500, unsigned[0]), "the second just fits a packet");
    [0, 1].iter().for_each(|from| demand(&mut client, *from, 1));
    let signed: Vec<usize> = [1, 2].map(|number| client.at(RequestNumber(number)).message.len()).to_vec();
    assert!(signed[0] > unsigned[0] && signed[1] > unsigned[1]);
    assert_eq!(client.large_bytes_in_flight, signed[0] + signed[1]);
    for number in [1, 2] {
        [0, 1].iter().for_each(|from| _ = hear(&mut client, *from, &reply(number, number, b"result")));
    }
    assert_eq!((client.requests_in_flight(), client.large_bytes_in_flight), (0, 0));
}

/// `protocol.md LR-1`: a burst is bounded, and the next one waits.
#[test]
fn parts_leave_in_bursts() {
    let mut client = opened();
    let mut writer = OperationsWriter::new(1000);
    assert!(writer.try_push_alone(1, 1, &vec![7; 3 * PARTS_BURST_BYTES]));
    let (mut bytes, mut bursts, mut now_ns) = (0, 0, 0);
    let mut burst = 0;
    client.submit(at(0), writer.operations(), |message| burst += message.len());
    while burst > 0 {
        assert!(burst < PARTS_BURST_BYTES + 1100);
        (bytes, bursts) = (bytes + burst, bursts + 1);
        assert!(due(&mut client, Now { monotonic_ns: now_ns + PARTS_PACE_NS - 1, wall_ns: 0 }).is_empty());
        now_ns += PARTS_PACE_NS;
        burst = due(&mut client, Now { monotonic_ns: now_ns, wall_ns: 0 }).iter().map(Vec::len).sum();
    }
    assert!(bursts >= 3 && bytes > 3 * PARTS_BURST_BYTES);
}

/// `protocol.md LR-5`: the replies decide which result it is, and any replica's right copy of it counts.
#[test]
fn a_long_result_is_believed_by_digest_and_taken_from_anybody() {
    let mut client = submitted(false);
    let results = vec![5; 2500];
    let (whole, of) = (digest(&results), ResultOf::Request(INCARNATION, RequestNumber(1)));
    let by_digest = Reply { results: Answer::Digest(&whole), ..reply(1, 2, b"") };
    assert!(hear(&mut client, 0, &by_digest).is_empty() && hear(&mut client, 1, &by_digest).is_empty());
    let mut completed = Vec::new();
    let wrong = vec![6; 2500];
    for (from, bytes, named) in [(3, &wrong, whole), (3, &wrong, digest(&wrong)), (2, &results, whole)] {
        assert!(completed.is_empty(), "what only a liar gives is not the result");
        for part in crate::wire::parts::cut_result(of, named, bytes, 1000, 0) {
            let complete = &mut |_: Operations<'_>, results: &[u8]| completed.push(results.to_vec());
            client.on_reply_part(at(1), ReplicaId(from), &part, complete);
        }
    }
    assert_eq!(completed, [results]);
}

/// `protocol.md LR-1`: where all large requests take longer than their time-out, the time-out grows, and parts leave more slowly until some need
/// no second sending.
#[test]
fn large_requests_that_are_late_are_sent_again_less_and_less() {
    const TAKES_NS: u64 = 300_000_000;
    let mut client = opened();
    let (mut now_ns, mut sent_again) = (0, Vec::new());
    for number in 1..=12 {
        let (begun_ns, before) = (now_ns, client.retransmitted());
        let request = submit_large(&mut client, Now { monotonic_ns: now_ns, wall_ns: 0 });
        assert!(request.len() > 1);
        while client.deadline_ns() < begun_ns + TAKES_NS {
            now_ns = now_ns.max(client.deadline_ns());
            due(&mut client, Now { monotonic_ns: now_ns, wall_ns: 0 });
        }
        now_ns = begun_ns + TAKES_NS;
        let answered = Now { monotonic_ns: now_ns, wall_ns: 0 };
        for from in [0, 1] {
            let reply = Reply {
                request: digest(&client.at(RequestNumber(number)).message),
                ..reply(number, 2 + number, b"result")
            };
            client.on_reply(answered, ReplicaId(from), &reply, &mut |_, _| {});
        }
        sent_again.push(client.retransmitted() - before);
        if number == 1 {
            assert!(client.parts_pace_ns > PARTS_PACE_NS, "what was lost, or late, is followed more slowly");
        }
    }
    assert!(sent_again[0] >= 2 && sent_again[8..] == [0; 4], "{sent_again:?}");
    assert_eq!(client.parts_pace_ns, PARTS_PACE_NS, "and at full pace again when nothing is");
}

/// `protocol.md LR-5`: while a decided result is on its way, or others before it, it is not asked for again; when nothing comes any more, it is.
#[test]
fn what_is_on_its_way_is_not_asked_for_again() {
    let mut client = submitted(false);
    let results = vec![5; 2500];
    let (whole, of) = (digest(&results), ResultOf::Request(INCARNATION, RequestNumber(1)));
    let by_digest = Reply { results: Answer::Digest(&whole), ..reply(1, 2, b"") };
    assert!(hear(&mut client, 0, &by_digest).is_empty() && hear(&mut client, 1, &by_digest).is_empty());
    let due_ns = client.deadline_ns();
    let late = Now { monotonic_ns: due_ns, wall_ns: 0 };
    let part = crate::wire::parts::cut_result(of, whole, &results, 1000, 0).next().unwrap();
    client.on_reply_part(late, ReplicaId(2), &part, &mut |_, _| panic!("one part is not all"));
    assert!(due(&mut client, late).is_empty(), "it comes");
    assert_eq!(client.deadline_ns(), due_ns + RESULTS_PATIENCE_NS);
    // The same part again is nothing new.
    let later = Now { monotonic_ns: due_ns + RESULTS_PATIENCE_NS, wall_ns: 0 };
    client.on_reply_part(later, ReplicaId(2), &part, &mut |_, _| panic!("one part is not all"));
    assert_eq!(due(&mut client, later).len(), 1);
}
