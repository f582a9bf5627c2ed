//! Both ends in one process: arriving, ringing, leaving, and clients that misbehave on the socket.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::*;
use crate::ring::PushError;

/// Ends any wait of these tests, not a measure of anything.
const LIMIT: Duration = Duration::from_secs(20);

const NO_INTEREST: Interest = Interest { requests: false, responses_free_bytes: 0, subscription_free_bytes: 0 };

struct Host {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Host {
    fn new() -> Host {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session");
        Host { _folder: folder, path }
    }

    fn listen(&self) -> Listener {
        self.listen_with(ListenerConfig::default())
    }

    fn listen_with(&self, config: ListenerConfig) -> Listener {
        Listener::bind(&self.path, config).unwrap()
    }

    /// Opens a session, both ends of it.
    fn open(&self, listener: &mut Listener, options: ConnectOptions) -> (ServerSession, ClientSession) {
        let path = self.path.clone();
        let client = std::thread::spawn(move || ClientSession::connect(path, &options));
        let server = await_some(listener, |listener| listener.accept());
        (server, client.join().unwrap().unwrap())
    }

    /// A client of another kind: a bare socket.
    fn connect_bare(&self) -> std::os::fd::OwnedFd {
        let socket = socket::open(&self.path).unwrap();
        rustix::net::connect(&socket, &socket::address(&self.path).unwrap()).unwrap();
        socket
    }
}

/// Tries until there is something, with sleeps on the listener's descriptor in between.
fn await_some<T>(listener: &mut Listener, mut attempt: impl FnMut(&mut Listener) -> Option<T>) -> T {
    let until = Instant::now() + LIMIT;
    loop {
        if let Some(value) = attempt(listener) {
            return value;
        }
        assert!(Instant::now() < until, "it never came");
        listener.wait(Duration::from_millis(20));
    }
}

fn await_dead(listener: &mut Listener, session: &ServerSession) {
    await_some(listener, |listener| {
        assert!(listener.accept().is_none(), "nobody else arrives");
        (!session.is_alive()).then_some(())
    });
}

fn await_closed(client: &mut ClientSession) {
    let until = Instant::now() + LIMIT;
    while client.is_alive() {
        assert!(Instant::now() < until, "the driver never went");
        client.sleep(0, Duration::from_millis(20));
    }
}

#[test]
fn records_travel_all_three_rings() {
    let host = Host::new();
    let mut listener =
        host.listen_with(ListenerConfig { facts: [7; FACTS_BYTES], session_first: 40, ..Default::default() });
    let (mut server, mut client) =
        host.open(&mut listener, ConnectOptions { subscribes: true, ..ConnectOptions::default() });
    assert_eq!((server.id(), client.id()), (40, 40));
    assert_eq!(client.facts(), &[7; FACTS_BYTES]);
    assert_eq!(server.peer().pid, std::process::id());
    assert_eq!(client.peer().pid, std::process::id());

    client.requests.try_push(b"request").unwrap();
    client.publish();
    let taken = server.poll_requests(8, |request| {
        assert_eq!(request, b"request");
        true
    });
    assert_eq!(taken, Ok(1));
    server.responses.try_push(b"response").unwrap();
    server.subscription.as_mut().unwrap().try_push(b"entry").unwrap();
    server.publish();
    assert_eq!(client.poll_responses(8, |response| assert_eq!(response, b"response")), Ok(1));
    assert_eq!(client.poll_entries(8, |entry| assert_eq!(entry, b"entry")), Ok(1));
    assert_eq!(client.is_idle(), Ok(true));
}

#[test]
fn wanted_sizes_are_rounded_and_bounded() {
    let host = Host::new();
    let config = ListenerConfig { ring_bytes_max: 1 << 20, ..Default::default() };
    let mut listener = host.listen_with(config);
    let options = ConnectOptions {
        requests_bytes: 1,
        responses_bytes: 5000,
        subscription_bytes: u32::MAX,
        subscribes: true,
        timeout: LIMIT,
    };
    let (server, client) = host.open(&mut listener, options);
    assert_eq!(client.requests.capacity_bytes(), 4096);
    assert_eq!(server.responses.capacity_bytes(), 8192);
    assert_eq!(server.subscription.as_ref().unwrap().capacity_bytes(), 1 << 20);
}

#[test]
fn a_client_that_leaves_is_noticed_and_makes_room() {
    let host = Host::new();
    let mut listener = host.listen_with(ListenerConfig { sessions_max: 1, ..Default::default() });
    let (server, client) = host.open(&mut listener, ConnectOptions::default());
    assert!(server.is_alive());

    // The one session there may be is taken.
    let path = host.path.clone();
    let refused = std::thread::spawn(move || ClientSession::connect(path, &ConnectOptions::default()));
    let refused = loop {
        assert!(listener.accept().is_none());
        if refused.is_finished() {
            break refused.join().unwrap();
        }
        listener.wait(Duration::from_millis(20));
    };
    assert!(matches!(refused, Err(SessionError::Refused { refusal: Refusal::Exhausted, .. })));

    drop(client);
    await_dead(&mut listener, &server);
    drop(server);
    let (_server, _client) = host.open(&mut listener, ConnectOptions::default());
    assert_eq!(listener.counters().opened, 2);
    assert_eq!(listener.counters().closed, 1);
    assert_eq!(listener.counters().refused_exhausted, 1);
}

#[test]
fn a_session_that_the_driver_drops_ends_at_the_client_after_its_last_records() {
    let host = Host::new();
    let mut listener = host.listen();
    let (mut server, mut client) = host.open(&mut listener, ConnectOptions::default());
    server.responses.try_push(b"last").unwrap();
    server.publish();
    drop(server);
    await_closed(&mut client);
    assert_eq!(client.farewell(), None);
    assert_eq!(client.poll_responses(8, |response| assert_eq!(response, b"last")), Ok(1));
    await_some(&mut listener, |listener| {
        listener.accept();
        (listener.counters().closed == 1).then_some(())
    });
}

#[test]
fn an_evicted_client_learns_why_even_with_bells_unread() {
    let host = Host::new();
    let mut listener = host.listen();
    let (server, mut client) = host.open(&mut listener, ConnectOptions::default());
    // A bell that the driver has not read makes its close look like a reset.
    socket::ring_bell(client.waker_fd());
    server.evict(b"because");
    drop(listener);
    await_closed(&mut client);
    assert_eq!(client.farewell(), Some(&b"because"[..]));
}

#[test]
fn a_sleeping_client_is_woken_by_an_answer_and_an_awake_one_is_left_alone() {
    let host = Host::new();
    let mut listener = host.listen();
    let (mut server, mut client) = host.open(&mut listener, ConnectOptions::default());
    server.responses.try_push(b"quiet").unwrap();
    server.publish();
    assert_eq!(socket::drain(client.waker_fd(), 8), socket::Drained::Alive);
    assert_eq!(client.poll_responses(8, |_| ()), Ok(1));

    let sleeper = std::thread::spawn(move || {
        let until = Instant::now() + LIMIT;
        while client.poll_responses(8, |_| ()).unwrap() == 0 {
            assert!(Instant::now() < until, "never woken");
            client.sleep(0, LIMIT);
        }
        client
    });
    server.responses.try_push(b"loud").unwrap();
    server.publish();
    sleeper.join().unwrap();
}

#[test]
fn a_sleeping_driver_is_woken_by_a_request_and_by_room() {
    let host = Host::new();
    let mut listener = host.listen_with(ListenerConfig { ..Default::default() });
    let options = ConnectOptions { responses_bytes: 4096, ..ConnectOptions::default() };
    let (mut server, mut client) = host.open(&mut listener, options);

    assert!(server.prepare_sleep(Interest { requests: true, ..NO_INTEREST }), "there is nothing to do");
    client.requests.try_push(b"wake").unwrap();
    client.publish();
    await_readable(&listener);
    server.cancel_sleep();
    assert!(listener.accept().is_none());
    assert!(!server.prepare_sleep(Interest { requests: true, ..NO_INTEREST }), "there is a request");
    server.cancel_sleep();
    assert_eq!(server.poll_requests(8, |_| true), Ok(1));

    while server.responses.try_push(&[0; 100]).is_ok() {}
    assert_eq!(server.responses.try_push(&[0; 100]), Err(PushError::Full));
    server.publish();
    let interest = Interest { responses_free_bytes: 1024, ..NO_INTEREST };
    assert!(server.prepare_sleep(interest), "there is no room");
    assert!(client.poll_responses(64, |_| ()).unwrap() > 0);
    await_readable(&listener);
    server.cancel_sleep();
    assert!(listener.accept().is_none());
    assert!(!server.prepare_sleep(interest), "there is room");
    server.cancel_sleep();
    assert_eq!(server.fault(), None);
}

fn await_readable(listener: &Listener) {
    let timeout = rustix::event::Timespec::try_from(LIMIT).unwrap();
    let waker = listener.waker_fd();
    let mut polled = [rustix::event::PollFd::new(&waker, rustix::event::PollFlags::IN)];
    assert_eq!(rustix::event::poll(&mut polled, Some(&timeout)), Ok(1), "the driver was not woken");
}

#[test]
fn a_client_that_waits_for_room_is_woken_when_requests_are_taken() {
    let host = Host::new();
    let mut listener = host.listen_with(ListenerConfig { ..Default::default() });
    let options = ConnectOptions { requests_bytes: 4096, ..ConnectOptions::default() };
    let (mut server, mut client) = host.open(&mut listener, options);
    while client.requests.try_push(&[0; 100]).is_ok() {}
    client.publish();
    let sleeper = std::thread::spawn(move || {
        let until = Instant::now() + LIMIT;
        while client.requests.try_push(&[1; 100]).is_err() {
            assert!(Instant::now() < until, "never woken");
            client.sleep(112, LIMIT);
        }
    });
    assert!(server.poll_requests(1000, |_| true).unwrap() > 0);
    sleeper.join().unwrap();
}

#[test]
fn a_flood_of_bells_and_empty_packets_harms_only_its_sender() {
    let host = Host::new();
    let mut listener = host.listen();
    let (mut server, mut client) = host.open(&mut listener, ConnectOptions::default());
    let (flooded, flooder) = host.open(&mut listener, ConnectOptions::default());
    for _ in 0..10_000 {
        socket::ring_bell(flooder.waker_fd());
    }
    assert!(listener.accept().is_none());
    assert!(flooded.is_alive(), "bells are no crime");
    client.requests.try_push(b"still served").unwrap();
    client.publish();
    assert_eq!(server.poll_requests(8, |_| true), Ok(1));
    // An empty packet is what the end of a stream looks like, so it is the end.
    while rustix::net::send(flooder.waker_fd(), &[], rustix::net::SendFlags::DONTWAIT).is_err() {
        assert!(listener.accept().is_none());
    }
    await_dead(&mut listener, &flooded);
    assert!(server.is_alive());
}

#[test]
fn connections_without_a_proper_hello_are_dropped() {
    let host = Host::new();
    let mut listener =
        host.listen_with(ListenerConfig { timeout_hello: Duration::from_millis(10), ..Default::default() });
    let silent = host.connect_bare();
    let noisy = host.connect_bare();
    socket::send(&noisy, b"GET / HTTP/1.1");
    await_some(&mut listener, |listener| {
        assert!(listener.accept().is_none());
        (listener.counters().hello_missing == 2).then_some(())
    });
    assert_eq!(socket::drain(&silent, 8), socket::Drained::Closed(None));
    assert_eq!(socket::drain(&noisy, 8), socket::Drained::Closed(None));

    // A storm of silent ones does not keep a proper client out.
    let storm: Vec<_> = (0..60).map(|_| host.connect_bare()).collect();
    let (_server, _client) = host.open(&mut listener, ConnectOptions::default());
    drop(storm);
}

#[test]
fn another_version_is_refused_by_name_on_both_sides() {
    let host = Host::new();
    let mut listener = host.listen();
    let old = host.connect_bare();
    let mut hello = b"LOGOSESS".to_vec();
    hello.extend_from_slice(&(SESSION_VERSION + 1).to_le_bytes());
    socket::send(&old, &hello);
    await_some(&mut listener, |listener| {
        assert!(listener.accept().is_none());
        (listener.counters().refused_version == 1).then_some(())
    });
    let mut answer = [0u8; 128];
    let (_, length) = rustix::net::recv(&old, &mut answer[..], rustix::net::RecvFlags::DONTWAIT).unwrap();
    assert!(length >= 12);
    assert_eq!(answer[..8], *b"LOGOSESS");
    assert_eq!(answer[8..12], SESSION_VERSION.to_le_bytes());
    drop(listener);

    // A driver of another version, as this client meets it.
    let (driver, _bound) = bind::bind(&host.path).unwrap();
    let path = host.path.clone();
    let client = std::thread::spawn(move || ClientSession::connect(path, &ConnectOptions::default()).map(|_| ()));
    let until = Instant::now() + LIMIT;
    let connection = loop {
        match rustix::net::accept(&driver) {
            Ok(connection) => break connection,
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
        assert!(Instant::now() < until, "the client never came");
    };
    socket::send(&connection, &hello);
    let error = client.join().unwrap().unwrap_err();
    assert!(matches!(error, SessionError::Version { driver, .. } if driver == SESSION_VERSION + 1), "{error}");
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let host = Host::new();
    // Bound by a listener that is gone, as after kill -9.
    drop(UnixListener::bind(&host.path).unwrap());
    assert!(host.path.exists());
    let listener = host.listen();
    let error = Listener::bind(&host.path, ListenerConfig::default()).err().unwrap();
    assert!(matches!(error, SessionError::DriverAlive { pid, .. } if pid == std::process::id()), "{error}");
    assert!(host.path.exists(), "the loser removes nothing");
    drop(listener);
    assert!(!host.path.exists(), "nothing is left behind");
}

#[test]
fn what_is_no_session_socket_is_left_alone() {
    let host = Host::new();
    std::fs::write(&host.path, "precious").unwrap();
    let error = Listener::bind(&host.path, ListenerConfig::default()).err().unwrap();
    assert!(matches!(error, SessionError::PathInvalid { .. }), "{error}");
    assert_eq!(std::fs::read(&host.path).unwrap(), b"precious");

    let other = host.path.with_file_name("other");
    let _stream = UnixListener::bind(&other).unwrap();
    let error = Listener::bind(&other, ListenerConfig::default()).err().unwrap();
    assert!(matches!(error, SessionError::PathInvalid { .. }), "{error}");
    let error = ClientSession::connect(&other, &ConnectOptions::default()).err().unwrap();
    assert!(matches!(error, SessionError::Malformed { .. }), "{error}");
}

#[test]
fn paths_that_cannot_be_are_errors_with_a_mend() {
    let host = Host::new();
    let error = ClientSession::connect(&host.path, &ConnectOptions::default()).err().unwrap();
    assert!(matches!(error, SessionError::DriverAbsent { .. }), "{error}");
    let long = host.path.with_file_name("x".repeat(200));
    let error = Listener::bind(&long, ListenerConfig::default()).err().unwrap();
    assert!(error.to_string().contains("107 bytes"), "{error}");
}

#[test]
fn a_driver_that_does_not_answer_is_a_timeout() {
    let host = Host::new();
    let _listener = host.listen();
    let options = ConnectOptions { timeout: Duration::from_millis(20), ..ConnectOptions::default() };
    let error = ClientSession::connect(&host.path, &options).err().unwrap();
    assert!(matches!(error, SessionError::TimedOut { .. }), "{error}");
}
