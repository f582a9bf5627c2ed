//! The client library against a driver in miniature: results, limits, deadlines, back-pressure, subscriptions.

mod fake;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fake::{Behaviour, FakeDriver};
use logothete_client::record::{ServiceKind, Status};
use logothete_client::{Bounds, ClientError, OperationError, Options, Position, Session, SessionError, Subscription};

/// Ends any wait of these tests, not a measure of anything.
const LIMIT: Duration = Duration::from_secs(20);

fn driver(behaviour: Behaviour) -> (tempfile::TempDir, FakeDriver) {
    let folder = tempfile::tempdir().unwrap();
    let driver = FakeDriver::start(&folder.path().join("session"), behaviour);
    (folder, driver)
}

/// Small rings, so that they fill soon.
fn small() -> Options {
    Options { requests_bytes: 4096, responses_bytes: 4096, subscription_bytes: 4096, ..Options::default() }
}

fn read(subscription: &mut Subscription, count: usize) -> Vec<(u64, u64, Vec<u8>)> {
    let until = Instant::now() + LIMIT;
    let mut entries = Vec::new();
    while entries.len() < count {
        assert!(Instant::now() < until, "{} of {count} entries came", entries.len());
        subscription.wait(LIMIT).unwrap();
        subscription.poll(|entry| entries.push((entry.position.0, entry.session, entry.bytes.to_vec()))).unwrap();
    }
    entries
}

#[test]
fn blocking_appends_get_consecutive_positions() {
    let (_folder, driver) = driver(Behaviour::default());
    let mut session = Session::connect(&driver.path, Options::default()).unwrap();
    for position in 0..1000 {
        assert_eq!(session.append(b"entry").unwrap(), Position(position));
    }
    assert_eq!(session.bounds().unwrap(), Bounds { oldest: Position(0), end: Position(1000) });
    assert_eq!(session.outstanding(), 0);
}

#[test]
fn many_in_flight_complete_each_once() {
    let (_folder, driver) = driver(Behaviour::default());
    let mut session = Session::connect(&driver.path, small()).unwrap();
    let (mut submitted, mut completed, mut overloaded) = (0u64, vec![false; 20_001], 0u64);
    let until = Instant::now() + LIMIT;
    while completed.iter().filter(|completed| **completed).count() < 20_000 {
        assert!(Instant::now() < until, "they never completed");
        for _ in 0..100 {
            if submitted == 20_000 {
                break;
            }
            match session.try_append(&submitted.to_le_bytes()) {
                Ok(number) => {
                    submitted += 1;
                    assert_eq!(number, submitted);
                }
                Err(ClientError::Overloaded) => {
                    overloaded += 1;
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        session.wait(Duration::from_millis(100)).unwrap();
        session
            .poll(|completion| {
                assert!(completion.position().is_some());
                let slot = &mut completed[completion.number as usize];
                assert!(!*slot, "{} completed twice", completion.number);
                *slot = true;
            })
            .unwrap();
    }
    assert_eq!(session.outstanding(), 0);
    assert!(overloaded > 0, "small rings were never full");
}

#[test]
fn a_blocking_call_keeps_the_completions_of_others_for_the_next_poll() {
    let (_folder, driver) = driver(Behaviour::default());
    let mut session = Session::connect(&driver.path, Options::default()).unwrap();
    for _ in 0..10 {
        session.try_append(b"in flight").unwrap();
    }
    assert_eq!(session.append(b"awaited").unwrap(), Position(10));
    assert!(session.wait(Duration::ZERO).unwrap());
    let mut numbers = Vec::new();
    session.poll(|completion| numbers.push((completion.number, completion.position()))).unwrap();
    assert_eq!(numbers, (0..10).map(|index| (index + 1, Some(Position(index)))).collect::<Vec<_>>());
}

#[test]
fn a_client_that_never_reads_is_not_served_beyond_its_ring_and_recovers() {
    let (_folder, driver) = driver(Behaviour { operation_bytes_max: 100, ..Behaviour::default() });
    let mut session = Session::connect(&driver.path, small()).unwrap();
    let mut other = Session::connect(&driver.path, Options::default()).unwrap();
    let mut submitted = 0;
    let until = Instant::now() + LIMIT;
    // Full for good: both rings, since the driver takes no request that it has no room to answer.
    let mut stuck_since = Instant::now();
    while stuck_since.elapsed() < Duration::from_millis(200) {
        assert!(Instant::now() < until, "the rings never filled");
        match session.try_append(&[1; 100]) {
            Ok(_) => {
                submitted += 1;
                stuck_since = Instant::now();
            }
            Err(ClientError::Overloaded) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
        other.append(b"unaffected").unwrap();
    }
    let mut completed = 0;
    while completed < submitted {
        assert!(Instant::now() < until, "{completed} of {submitted} completed");
        session.wait(LIMIT).unwrap();
        session.poll(|_| completed += 1).unwrap();
    }
    session.append(b"served again").unwrap();
}

#[test]
fn a_blocking_append_waits_for_room() {
    let (_folder, driver) = driver(Behaviour { operation_bytes_max: 100, ..Behaviour::default() });
    let mut session = Session::connect(&driver.path, small()).unwrap();
    let mut submitted = 0;
    while session.try_append(&[1; 100]).is_ok() {
        submitted += 1;
    }
    session.append(&[2; 100]).unwrap();
    let mut completed = 0;
    let until = Instant::now() + LIMIT;
    while completed < submitted {
        assert!(Instant::now() < until);
        session.wait(LIMIT).unwrap();
        session.poll(|_| completed += 1).unwrap();
    }
}

#[test]
fn calls_return_what_the_service_says() {
    let (_folder, driver) = driver(Behaviour { service: ServiceKind::KeyValue, ..Behaviour::default() });
    let mut session = Session::connect(&driver.path, Options::default()).unwrap();
    assert_eq!(session.facts().service, ServiceKind::KeyValue);
    assert_eq!(session.call(b"abc").unwrap(), b"cba");
    assert!(matches!(session.append(b"abc"), Err(ClientError::ApiMisuse { .. })));
    let mut subscription = Subscription::connect(&driver.path, Position(0), Options::default()).unwrap();
    assert!(subscription.wait(LIMIT).unwrap());
    assert!(matches!(subscription.poll(|_| ()), Err(ClientError::Unsupported)));
}

#[test]
fn queries_are_answered_and_say_whether_they_were_ordered() {
    let (_folder, driver) = driver(Behaviour { service: ServiceKind::KeyValue, ..Behaviour::default() });
    let mut session = Session::connect(&driver.path, small()).unwrap();
    assert_eq!(session.query(b"short").unwrap(), b"short");
    assert_eq!(session.query(b"rather long").unwrap(), b"rather long");
    let numbers = [session.try_query(b"one").unwrap(), session.try_query(b"rather long").unwrap()];
    let called = session.try_call(b"abc").unwrap();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        assert!(session.wait(Duration::from_secs(20)).unwrap());
        session.poll(|c| seen.push((c.number, c.ordered, c.result.unwrap().to_vec()))).unwrap();
    }
    seen.sort_unstable();
    let expected: [(u64, bool, &[u8]); 3] =
        [(numbers[0], false, b"one"), (numbers[1], true, b"rather long"), (called, true, b"cba")];
    assert_eq!(seen, expected.map(|(number, ordered, bytes)| (number, ordered, bytes.to_vec())));
    let limit = session.operation_bytes_max();
    assert!(matches!(session.try_query(&vec![0; limit + 1]), Err(ClientError::TooLarge { .. })));
    assert_eq!((session.outstanding(), driver.seen.operations.load(Ordering::Relaxed)), (0, 1));
}

#[test]
fn an_operation_beyond_the_limit_is_refused_here() {
    let (_folder, driver) = driver(Behaviour { operation_bytes_max: 64, ..Behaviour::default() });
    let mut session = Session::connect(&driver.path, Options::default()).unwrap();
    assert_eq!(session.operation_bytes_max(), 64);
    for error in [session.try_append(&[0; 65]).unwrap_err(), session.append(&[0; 65]).unwrap_err()] {
        assert!(matches!(error, ClientError::TooLarge { bytes: 65, limit: 64 }), "{error}");
    }
    session.append(&[0; 64]).unwrap();
}

#[test]
fn every_status_reaches_the_caller_by_name() {
    for (status, expected) in [
        (Status::TooLarge, OperationError::TooLarge { limit: 1024 }),
        (Status::Overloaded, OperationError::Overloaded),
        (Status::Unsupported, OperationError::Unsupported),
        (Status::Unavailable, OperationError::Unavailable),
    ] {
        let (_folder, driver) = driver(Behaviour { status, ..Behaviour::default() });
        let mut session = Session::connect(&driver.path, Options::default()).unwrap();
        let number = session.try_append(b"refused").unwrap();
        assert!(session.wait(LIMIT).unwrap());
        let mut seen = Vec::new();
        session.poll(|completion| seen.push((completion.number, completion.result.err()))).unwrap();
        assert_eq!(seen, [(number, Some(expected))]);
        let error = session.append(b"refused").unwrap_err();
        match expected {
            OperationError::TooLarge { limit } => {
                assert!(matches!(error, ClientError::TooLarge { bytes: 7, limit: seen } if seen == limit));
            }
            OperationError::Overloaded => assert!(matches!(error, ClientError::Overloaded)),
            OperationError::Unsupported => assert!(matches!(error, ClientError::Unsupported)),
            OperationError::Unavailable => assert!(matches!(error, ClientError::Unavailable)),
        }
        assert_eq!(session.outstanding(), 0);
    }
}

#[test]
fn deadlines_end_blocking_calls() {
    let (_folder, mute) = driver(Behaviour { mute: true, ..Behaviour::default() });
    let mut session = Session::connect(&mute.path, Options::default()).unwrap();
    session.set_timeout_call(Duration::from_millis(5));
    let error = session.append(b"unanswered").unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { number: Some(1), .. }), "{error}");
    assert!(matches!(session.bounds(), Err(ClientError::TimedOut { number: Some(2), .. })));
    assert!(!session.wait(Duration::from_millis(5)).unwrap());
    assert_eq!(session.outstanding(), 2);

    let (_folder, deaf) = driver(Behaviour { deaf: true, ..Behaviour::default() });
    let mut session = Session::connect(&deaf.path, small()).unwrap();
    session.set_timeout_call(Duration::from_millis(5));
    while session.try_append(&[0; 100]).is_ok() {}
    let error = session.append(&[0; 100]).unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { number: None, .. }), "{error}");
}

#[test]
fn a_stopping_driver_says_so_and_an_absent_one_is_named() {
    let (_folder, driver) = driver(Behaviour { mute: true, ..Behaviour::default() });
    let path = driver.path.clone();
    let mut waiting = Session::connect(&path, Options::default()).unwrap();
    let mut calling = Session::connect(&path, Options::default()).unwrap();
    let mut subscription = Subscription::connect(&path, Position(1), Options::default()).unwrap();
    let calling = std::thread::spawn(move || calling.append(b"unanswered").unwrap_err());
    let until = Instant::now() + LIMIT;
    while driver.seen.operations.load(Ordering::Relaxed) == 0 {
        assert!(Instant::now() < until, "the operation never came");
        std::thread::yield_now();
    }
    drop(driver);
    for error in [
        waiting.wait(LIMIT).unwrap_err(),
        waiting.try_append(b"after").unwrap_err(),
        subscription.wait(LIMIT).unwrap_err(),
        calling.join().unwrap(),
    ] {
        assert!(matches!(error, ClientError::Evicted { reason: "the driver stops", .. }), "{error}");
    }
    let error = Session::connect(&path, Options::default()).err().unwrap();
    assert!(matches!(error, ClientError::Connect(SessionError::DriverAbsent { .. })), "{error}");
}

#[test]
fn subscribers_see_the_same_order_early_late_and_slow() {
    let (_folder, driver) = driver(Behaviour::default());
    let mut early = Subscription::connect(&driver.path, Position(0), Options::default()).unwrap();
    assert_eq!(early.poll(|_| ()).unwrap(), 0);
    let mut sessions: Vec<Session> =
        (0..3).map(|_| Session::connect(&driver.path, Options::default()).unwrap()).collect();
    for round in 0u64..200 {
        for session in &mut sessions {
            session.append(&round.to_le_bytes()).unwrap();
        }
    }
    let expected = read(&mut early, 600);
    assert!(expected.iter().enumerate().all(|(index, entry)| entry.0 == index as u64));
    for (index, session) in sessions.iter().enumerate() {
        assert_eq!(expected[index].1, session.id());
    }
    // A ring of 4096 bytes holds a tenth of it: the driver waits for the subscriber.
    let mut slow = Subscription::connect(&driver.path, Position(0), small()).unwrap();
    assert_eq!(read(&mut slow, 600), expected);
    assert_eq!(slow.position(), Position(600));
    let mut late = Subscription::connect(&driver.path, Position(590), Options::default()).unwrap();
    assert_eq!(read(&mut late, 10), expected[590..]);
    // At the end of the order there is nothing yet.
    assert!(!late.wait(Duration::from_millis(5)).unwrap());
    sessions[0].append(b"new").unwrap();
    assert_eq!(read(&mut late, 1)[0].0, 600);
}

#[test]
fn a_trimmed_position_is_an_error_that_names_the_oldest() {
    let (_folder, driver) = driver(Behaviour { oldest: 50, entries: 100, ..Behaviour::default() });
    let mut subscription = Subscription::connect(&driver.path, Position(49), Options::default()).unwrap();
    assert!(subscription.wait(LIMIT).unwrap());
    for _ in 0..2 {
        let error = subscription.poll(|_| panic!("an entry")).unwrap_err();
        assert!(matches!(error, ClientError::Trimmed { oldest: Position(50) }), "{error}");
    }
    let mut subscription = Subscription::connect(&driver.path, Position(50), Options::default()).unwrap();
    assert_eq!(read(&mut subscription, 50)[0].0, 50);
}

#[test]
fn an_entry_out_of_order_is_not_delivered() {
    let (_folder, driver) = driver(Behaviour { entries: 3, position_wrong: Some(2), ..Behaviour::default() });
    let mut subscription = Subscription::connect(&driver.path, Position(0), Options::default()).unwrap();
    assert!(subscription.wait(LIMIT).unwrap());
    let error = subscription.poll(|_| panic!("an entry")).unwrap_err();
    assert!(matches!(error, ClientError::Record(_)), "{error}");
}

#[test]
fn the_driver_sees_operations_once() {
    let (_folder, driver) = driver(Behaviour::default());
    let mut session = Session::connect(&driver.path, Options::default()).unwrap();
    for _ in 0..100 {
        session.append(b"once").unwrap();
    }
    assert_eq!(driver.seen.operations.load(Ordering::Relaxed), 100);
    assert_eq!(driver.seen.sessions.load(Ordering::Relaxed), 1);
}
