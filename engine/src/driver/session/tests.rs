//! A session whose application is a test.

use super::*;
use crate::numbers::Principal;
use crate::service::kv::Command;
use crate::wire::subscription::append_runs;
use logothete_crypto::Digest;
use logothete_transport::pool::{Pool, PoolConfig};
use logothete_transport::session::{ClientSession, ConnectOptions, Listener, ListenerConfig};
use std::time::{Duration, Instant};

/// Ends a wait of these tests; it measures nothing.
const LIMIT: Duration = Duration::from_secs(20);

/// Both ends of a session of a driver of the log.
fn open(subscribes: bool) -> (Session, ClientSession, Listener) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session");
    let mut listener = Listener::bind(&path, ListenerConfig::default()).unwrap();
    let options = ConnectOptions { subscribes, ..ConnectOptions::default() };
    let client = std::thread::spawn(move || ClientSession::connect(path, &options).unwrap());
    let until = Instant::now() + LIMIT;
    let server = loop {
        if let Some(server) = listener.accept() {
            break server;
        }
        assert!(Instant::now() < until, "the application never came");
        listener.wait(Duration::from_millis(20));
    };
    (Session::new(server), client.join().unwrap(), listener)
}

fn no_queries() -> Queries {
    Queries::new(4, 2, 3, 0, 1000, 4000)
}

fn take_requests(session: &mut Session, log: bool) -> bool {
    let service = if log { ServiceKind::Log } else { ServiceKind::KeyValue };
    let mut queries = no_queries();
    let taken = take_into(session, service, &mut queries);
    assert_eq!(queries.asked(), 0);
    taken
}

fn context(service: ServiceKind) -> SessionContext {
    SessionContext {
        quorum: Quorum::bearing(1),
        operation_bytes_max: 1000,
        query_bytes_max: 1000,
        message_bytes_max: 2000,
        service,
    }
}

fn take_into(session: &mut Session, service: ServiceKind, queries: &mut Queries) -> bool {
    let mut batch = Batch::new(4096, 4096, 0);
    session.take_requests(&context(service), Sinks { batch: &mut batch, queries, stream_next: &mut 0 })
}

/// Asks for something, and has it taken.
fn ask(session: &mut Session, client: &mut ClientSession, log: bool, request: &Request<'_>) -> bool {
    request.push(&mut client.requests).unwrap();
    client.publish();
    take_requests(session, log)
}

/// What the application reads, as text.
fn answers(session: &mut Session, client: &mut ClientSession) -> Vec<String> {
    session.publish();
    let mut answers = Vec::new();
    client.poll_responses(9, |record| answers.push(format!("{:?}", Response::decode(record).unwrap()))).unwrap();
    client.poll_entries(9, |record| answers.push(format!("{:?}", Notice::decode(record).unwrap()))).unwrap();
    answers
}

/// `protocol.md RD-1`: a query may have to be ordered, so what could change something is none, and the application is told at once.
#[test]
fn only_what_changes_nothing_is_asked() {
    let (mut session, mut client, _listener) = open(false);
    let put = Command::Put { key: b"k", value: b"v" }.encode_to_vec();
    let get = Command::Get { key: b"k" }.encode_to_vec();
    for (number, bytes) in [(1, &put), (2, &get), (3, &vec![0; 1001])] {
        Request::Query { number, bytes }.push(&mut client.requests).unwrap();
    }
    client.publish();
    let mut queries = no_queries();
    assert!(take_into(&mut session, ServiceKind::KeyValue, &mut queries));
    assert_eq!(queries.asked(), 1);
    session.finish(2, Some(b"value"));
    session.publish();
    let mut responses = Vec::new();
    client
        .poll_responses(9, |record| match Response::decode(record).unwrap() {
            Response::Result { number, status, .. } => responses.push((number, Some(status))),
            Response::Answer { number, bytes } => {
                assert_eq!(bytes, b"value");
                responses.push((number, None));
            }
            other => panic!("{other:?}"),
        })
        .unwrap();
    assert_eq!(responses, [(1, Some(Status::Unsupported)), (3, Some(Status::TooLarge)), (2, None)]);
}

/// `protocol.md RD-4`: what is under way is bounded; the rest waits in the application's own ring.
#[test]
fn queries_beyond_their_places_wait_in_the_ring() {
    let (mut session, mut client, _listener) = open(false);
    let get = Command::Get { key: b"k" }.encode_to_vec();
    let mut queries = no_queries();
    while queries.may_ask() {
        queries.ask(9, 1, &get);
    }
    let asked = queries.asked();
    Request::Query { number: 1, bytes: &get }.push(&mut client.requests).unwrap();
    client.publish();
    assert!(take_into(&mut session, ServiceKind::KeyValue, &mut queries));
    assert_eq!(queries.asked(), asked);
    let mut fresh = no_queries();
    assert!(take_into(&mut session, ServiceKind::KeyValue, &mut fresh));
    assert_eq!(fresh.asked(), 1);
}

/// `protocol.md DR-4`: while a result waits for room, no further operation is taken; when there is room, all results come in
/// their order, and then the operation.
#[test]
fn operations_wait_while_a_result_does() {
    let (mut session, mut client, _listener) = open(false);
    let taken = |session: &mut Session| {
        let (mut batch, mut queries) = (Batch::new(4096, 4096, 0), no_queries());
        let sinks = Sinks { batch: &mut batch, queries: &mut queries, stream_next: &mut 0 };
        assert!(session.take_requests(&context(ServiceKind::Log), sinks));
        batch.operations().count()
    };
    let mut sent = 0;
    while session.held.is_empty() {
        session.complete(sent, &[7; 500]);
        sent += 1;
    }
    session.complete(sent, b"short");
    sent += 1;
    session.publish();
    Request::Operation { number: 99, bytes: b"next" }.push(&mut client.requests).unwrap();
    client.publish();
    assert_eq!(taken(&mut session), 0);
    let mut came = Vec::new();
    let mut look = |client: &mut ClientSession| {
        client
            .poll_responses(usize::MAX, |record| {
                let Ok(Response::Result { number, .. }) = Response::decode(record) else { panic!("a result") };
                came.push(number);
            })
            .unwrap();
        client.publish();
    };
    look(&mut client);
    assert_eq!(taken(&mut session), 1);
    session.publish();
    look(&mut client);
    assert_eq!(came, (0..sent).collect::<Vec<_>>());
}

#[test]
fn who_has_a_ring_for_entries_may_follow_once() {
    let (mut session, mut client, _listener) = open(true);
    Request::SubscribeFrom { position: 5 }.push(&mut client.requests).unwrap();
    client.publish();
    assert!(take_requests(&mut session, true) && session.follows() && !session.is_broken());
    Request::SubscribeFrom { position: 9 }.push(&mut client.requests).unwrap();
    client.publish();
    assert!(!take_requests(&mut session, true) && session.is_broken());
}

/// `protocol.md DR-1`: nothing could ever be delivered, and nobody would be told.
#[test]
fn who_has_no_ring_for_entries_is_malformed() {
    for log in [true, false] {
        let (mut session, mut client, _listener) = open(false);
        Request::SubscribeFrom { position: 0 }.push(&mut client.requests).unwrap();
        client.publish();
        assert!(!take_requests(&mut session, log), "it is kept");
        assert!(session.is_broken() && !session.follows());
    }
}

/// What fits nothing is refused at once; a query that fits no packet is ordered (`protocol.md RD-1`).
#[test]
fn what_is_too_long_is_told_from_what_is_long() {
    let (mut session, mut client, _listener) = open(false);
    let context = SessionContext { query_bytes_max: 100, ..context(ServiceKind::KeyValue) };
    let get = |length: usize| {
        let head = Command::Get { key: b"" }.encode_to_vec().len();
        Command::Get { key: &vec![b'k'; length - head] }.encode_to_vec()
    };
    for (number, length) in [(1, 1000), (2, 1001)] {
        Request::Operation { number, bytes: &vec![7; length] }.push(&mut client.requests).unwrap();
    }
    for (number, length) in [(3, 100), (4, 101), (5, 1000), (6, 1001)] {
        Request::Query { number, bytes: &get(length) }.push(&mut client.requests).unwrap();
    }
    client.publish();
    let (mut batch, mut queries) = (Batch::new(8192, 8192, 0), no_queries());
    let sinks = Sinks { batch: &mut batch, queries: &mut queries, stream_next: &mut 0 };
    assert!(session.take_requests(&context, sinks));
    let ordered: Vec<usize> = batch.operations().into_iter().map(|operation| operation.bytes.len()).collect();
    assert_eq!((ordered, queries.asked()), (vec![1000, 101, 1000], 1));
    let refused = |number| format!("{:?}", Response::Result { number, status: Status::TooLarge, bytes: &[] });
    assert_eq!(answers(&mut session, &mut client), [refused(2), refused(6)]);
}

/// `protocol.md SU-6`: one question how far the log reaches is under way at a time; the next waits in the ring, and each is answered once.
#[test]
fn bounds_are_asked_for_one_after_the_other() {
    let (mut session, mut client, _listener) = open(false);
    session.answer_bounds(1, 2);
    assert!(!session.wants_bounds());
    for number in [1, 2] {
        assert!(ask(&mut session, &mut client, true, &Request::EndQuery { number }));
        assert!(session.wants_bounds());
    }
    session.bounds_asked();
    assert!(take_requests(&mut session, true) && !session.wants_bounds(), "one is under way");
    let answer = |number, oldest, end| format!("{:?}", Response::Bounds { number, oldest, end });
    session.answer_bounds(3, 8);
    session.answer_bounds(3, 9);
    assert_eq!(answers(&mut session, &mut client), [answer(1, 3, 8)]);
    assert!(take_requests(&mut session, true) && session.wants_bounds());
    session.bounds_asked();
    session.answer_bounds(4, 9);
    assert_eq!(answers(&mut session, &mut client), [answer(2, 4, 9)]);
    assert!(take_requests(&mut session, true) && !session.wants_bounds());
}

#[test]
fn without_a_log_nothing_of_it_is_there() {
    let (mut session, mut client, _listener) = open(true);
    assert!(ask(&mut session, &mut client, false, &Request::EndQuery { number: 1 }) && !session.wants_bounds());
    assert!(ask(&mut session, &mut client, false, &Request::SubscribeFrom { position: 0 }) && !session.follows());
    session.deliver();
    session.deliver();
    let unsupported = Response::Result { number: 1, status: Status::Unsupported, bytes: &[] };
    let fault = Notice::Fault { reason: FaultReason::Unsupported };
    assert_eq!(answers(&mut session, &mut client), [format!("{unsupported:?}"), format!("{fault:?}")]);
    assert_eq!(session.deadline_ns(), u64::MAX);
}

/// `protocol.md SU-5`: what `f+1` replicas no longer have is told once, and ends the subscription.
#[test]
fn a_subscriber_is_told_that_what_it_wants_is_gone() {
    let (mut session, mut client, _listener) = open(true);
    assert!(ask(&mut session, &mut client, true, &Request::SubscribeFrom { position: 5 }));
    let mut gone = Vec::new();
    append_runs(&mut gone, 0, 50, 0, Digest::default(), 0, &[]);
    for (from, follows) in [(0, true), (1, false)] {
        let message = Message::decode(&gone, Principal::Replica(ReplicaId(from))).unwrap();
        session.on_log_message(1000, ReplicaId(from), &message);
        session.deliver();
        assert_eq!(session.follows(), follows, "one may lie");
    }
    session.deliver();
    assert_eq!(answers(&mut session, &mut client), [format!("{:?}", Notice::Trimmed { oldest: 50 })]);
}

/// `protocol.md SU-2`: replicas are asked when that is due, and not while the subscriber has no room.
#[test]
fn a_subscription_asks_when_it_is_due_and_has_room() {
    let (mut session, mut client, _listener) = open(true);
    assert!(ask(&mut session, &mut client, true, &Request::SubscribeFrom { position: 5 }));
    let mut outbox = Outbox::new(Pool::new(PoolConfig { frame_bytes: 1024, frames: 8 }).unwrap(), 1024);
    let mut asks = |session: &mut Session, now_ns| {
        let mut message = Vec::new();
        session.on_due(now_ns, &mut message, &mut outbox);
        !message.is_empty()
    };
    let due_ns = session.deadline_ns();
    session.blocked_bytes = 1;
    assert!(!asks(&mut session, due_ns) && session.deadline_ns() == u64::MAX);
    session.blocked_bytes = 0;
    assert_eq!(session.deadline_ns(), due_ns);
    assert!(asks(&mut session, due_ns));
    let later_ns = session.deadline_ns();
    assert!(later_ns > due_ns && later_ns < u64::MAX);
    assert!(!asks(&mut session, later_ns - 1) && asks(&mut session, later_ns));
}

#[test]
fn a_session_ends_with_its_application() {
    let (session, client, mut listener) = open(false);
    assert!(session.is_alive() && session.id() == client.id());
    drop(client);
    let until = Instant::now() + LIMIT;
    while session.is_alive() {
        assert!(Instant::now() < until, "the application is gone");
        assert!(listener.accept().is_none());
        listener.wait(Duration::from_millis(20));
    }
}

#[test]
fn who_is_sent_away_is_told_why() {
    let (session, mut client, _listener) = open(false);
    session.evict(Eviction::Malformed);
    assert!(!client.is_alive());
    assert_eq!(client.farewell().and_then(Eviction::decode), Some(Eviction::Malformed));
}
