//! The polling paths of both ends allocate nothing.

#[path = "../../../transport/tests/allocations/mod.rs"]
mod allocations;

use std::time::Duration;

use allocations::allocations_of;
use logothete_client::record::{Facts, Notice, Request, Response, ServiceKind, Status};
use logothete_client::{Options, Position, Session, Subscription};
use logothete_transport::session::{Interest, Listener, ListenerConfig, ServerSession};

/// Opens a session from a thread of its own, since connecting waits for the listener.
fn open<T: Send + 'static>(
    listener: &mut Listener,
    connect: impl FnOnce() -> T + Send + 'static,
) -> (ServerSession, T) {
    let client = std::thread::spawn(connect);
    for _ in 0..1000 {
        if let Some(server) = listener.accept() {
            return (server, client.join().unwrap());
        }
        listener.wait(Duration::from_millis(20));
    }
    panic!("the client never came");
}

#[test]
fn a_round_through_all_rings_allocates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session");
    let facts = Facts { service: ServiceKind::Log, operation_bytes_max: 256, result_bytes_max: 8 };
    let mut listener = Listener::bind(&path, ListenerConfig { facts: facts.encode(), ..Default::default() }).unwrap();
    let of_session = path.clone();
    let (mut server, mut session) =
        open(&mut listener, move || Session::connect(of_session, Options::default()).unwrap());
    let (mut subscribed, mut subscription) =
        open(&mut listener, move || Subscription::connect(path, Position(0), Options::default()).unwrap());

    let (mut position, mut completions, mut entries) = (0u64, 0u64, 0u64);
    let allocations = allocations_of(|| {
        for _ in 0..1000 {
            for _ in 0..10 {
                session.try_append(&[5; 100]).unwrap();
            }
            session.flush();
            let mut numbers = [0; 10];
            let mut count = 0;
            server
                .poll_requests(10, |record| {
                    let Ok(Request::Operation { number, bytes }) = Request::decode(record) else { return false };
                    let entry = Notice::Entry { position, timestamp_ns: 0, session: 1, bytes };
                    entry.push(subscribed.subscription.as_mut().unwrap()).unwrap();
                    position += 1;
                    numbers[count] = number;
                    count += 1;
                    true
                })
                .unwrap();
            for number in &numbers[..count] {
                let result = Response::Result { number: *number, status: Status::Ok, bytes: &[0; 8] };
                result.push(&mut server.responses).unwrap();
            }
            server.publish();
            subscribed.publish();
            session.poll(|_| completions += 1).unwrap();
            subscription.poll(|_| entries += 1).unwrap();
            // Idle turns, with what they look at.
            assert_eq!(session.poll(|_| ()).unwrap(), 0);
            assert_eq!(subscription.poll(|_| ()).unwrap(), 0);
            assert!(listener.accept().is_none());
            let interest = Interest { requests: true, responses_free_bytes: 0, subscription_free_bytes: 0 };
            assert!(server.prepare_sleep(interest));
            server.cancel_sleep();
        }
    });
    assert_eq!((position, completions, entries), (10_000, 10_000, 10_000));
    assert_eq!(allocations, 0, "allocations on the polling paths");
}
