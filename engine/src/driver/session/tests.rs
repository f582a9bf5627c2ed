//! A session whose application is a test.

use super::*;
use crate::service::kv::Command;
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

fn take_into(session: &mut Session, service: ServiceKind, queries: &mut Queries) -> bool {
    let context = SessionContext {
        replicas: 4,
        weak: 2,
        operation_bytes_max: 1000,
        query_bytes_max: 1000,
        message_bytes_max: 2000,
        service,
    };
    let mut batch = Batch::new(4096, 4096, 0);
    session.take_requests(&context, Sinks { batch: &mut batch, queries, stream_next: &mut 0 })
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
    let (operation_bytes_max, query_bytes_max, message_bytes_max) = (1000, 1000, 2000);
    let service = ServiceKind::Log;
    let context =
        SessionContext { replicas: 4, weak: 2, operation_bytes_max, query_bytes_max, message_bytes_max, service };
    let taken = |session: &mut Session| {
        let (mut batch, mut queries) = (Batch::new(4096, 4096, 0), Queries::new(4, 2, 3, 0, 1000, 4000));
        assert!(
            session.take_requests(&context, Sinks { batch: &mut batch, queries: &mut queries, stream_next: &mut 0 })
        );
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
    assert!(take_requests(&mut session, true) && session.follows());
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
