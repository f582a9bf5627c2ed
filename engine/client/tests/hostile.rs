//! Clients and drivers that die at any instant, and clients that write garbage: the others must not notice.

mod fake;
#[path = "fake/raw.rs"]
mod raw;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fake::{Behaviour, FakeDriver};
use logothete_client::record::Eviction;
use logothete_client::{ClientError, Options, Position, Session, Subscription};
use logothete_transport::session::Listener;
use raw::{REQUESTS_DATA, REQUESTS_TAIL, RawClient};

/// Ends any wait of these tests, not a measure of anything.
const LIMIT: Duration = Duration::from_secs(20);

/// Where a child process of these tests finds its driver's socket; absent in the tests themselves.
const CHILD_PATH: &str = "LOGOTHETE_TEST_SESSION";

fn await_true(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < until, "{what}: never");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs one of the `child_*` functions below in a process of its own, and waits until it says that it is ready.
fn spawn(child: &str, path: &Path) -> Child {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", child, "--ignored", "--nocapture"])
        .env(CHILD_PATH, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(process.stdout.take().unwrap());
    let ready = output.lines().map_while(Result::ok).any(|line| line.contains("ready"));
    assert!(ready, "the child ended before it was ready");
    process
}

fn kill(mut process: Child) {
    // SIGKILL: nothing of the process runs any more.
    process.kill().unwrap();
    process.wait().unwrap();
}

/// Appends as fast as it can until it is killed.
#[test]
#[ignore = "a child process of the tests below"]
fn child_client() {
    let Some(path) = std::env::var_os(CHILD_PATH) else {
        return;
    };
    let mut session = Session::connect(path, Options::default()).unwrap();
    session.append(b"first").unwrap();
    println!("ready");
    loop {
        match session.try_append(&[7; 100]) {
            Ok(_) | Err(ClientError::Overloaded) => {}
            Err(_) => return,
        }
        if session.poll(|_| ()).is_err() {
            return;
        }
    }
}

/// Serves until it is killed.
#[test]
#[ignore = "a child process of the tests below"]
fn child_driver() {
    let Some(path) = std::env::var_os(CHILD_PATH) else {
        return;
    };
    // It takes requests and is silent, so that a client waits for it.
    let behaviour = Behaviour { mute: true, ..Behaviour::default() };
    let listener = Listener::bind(path, fake::config(&behaviour)).unwrap();
    println!("ready");
    fake::serve(listener, behaviour, &fake::Seen::default(), &AtomicBool::new(false));
}

#[test]
fn a_client_killed_under_load_frees_its_session_and_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let driver = FakeDriver::start(&folder.path().join("session"), Behaviour::default());
    let mut session = Session::connect(&driver.path, Options::default()).unwrap();
    for _ in 0..3 {
        let child = spawn("child_client", &driver.path);
        await_true("two sessions", || driver.seen.sessions.load(Ordering::Relaxed) == 2);
        session.append(b"beside it").unwrap();
        kill(child);
        await_true("one session", || driver.seen.sessions.load(Ordering::Relaxed) == 1);
        session.append(b"after it").unwrap();
    }
    // What it appended is whole: nothing half-written was taken.
    let end = session.bounds().unwrap().end;
    let mut subscription = Subscription::connect(&driver.path, Position(0), Options::default()).unwrap();
    let until = Instant::now() + LIMIT;
    while subscription.position() < end {
        assert!(Instant::now() < until, "the entries never came");
        subscription.wait(LIMIT).unwrap();
        subscription
            .poll(|entry| {
                let whole =
                    entry.bytes == [7; 100] || [&b"first"[..], b"beside it", b"after it"].contains(&entry.bytes);
                assert!(whole, "{:?}", entry.bytes);
            })
            .unwrap();
    }
}

#[test]
fn a_driver_killed_is_noticed_by_pollers_and_sleepers_and_its_socket_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session");
    let child = spawn("child_driver", &path);
    let mut poller = Session::connect(&path, Options::default()).unwrap();
    let mut sleeper = Subscription::connect(&path, Position(0), Options::default()).unwrap();
    let mut caller = Session::connect(&path, Options::default()).unwrap();
    let sleeper = std::thread::spawn(move || sleeper.wait(LIMIT).unwrap_err());
    let caller = std::thread::spawn(move || caller.append(b"unanswered").unwrap_err());
    for _ in 0..100 {
        assert_eq!(poller.poll(|_| ()).unwrap(), 0);
    }
    kill(child);
    let until = Instant::now() + LIMIT;
    let noticed = loop {
        assert!(Instant::now() < until, "never noticed");
        if let Err(error) = poller.poll(|_| ()) {
            break error;
        }
    };
    for error in [noticed, sleeper.join().unwrap(), caller.join().unwrap()] {
        assert!(matches!(error, ClientError::Disconnected), "{error}");
    }
    assert!(matches!(poller.try_append(b"late"), Err(ClientError::Disconnected)));
    assert!(path.exists(), "a killed driver leaves its socket");
    let driver = FakeDriver::start(&path, Behaviour::default());
    Session::connect(&driver.path, Options::default()).unwrap().append(b"served again").unwrap();
}

#[test]
fn garbage_indices_and_records_end_that_session_alone() {
    let folder = tempfile::tempdir().unwrap();
    let driver = FakeDriver::start(&folder.path().join("session"), Behaviour { entries: 1000, ..Behaviour::default() });
    let mut honest = Session::connect(&driver.path, Options::default()).unwrap();
    let word = |kind: u32, status: u32| u64::from(kind) | u64::from(status) << 32;
    type Attack = fn(&RawClient, &dyn Fn(u32, u32) -> u64);
    let attacks: [(&str, Attack); 9] = [
        ("a tail beyond the ring", |raw, _| raw.write(REQUESTS_TAIL, 4096 + 8)),
        ("a tail that is enormous", |raw, _| raw.write(REQUESTS_TAIL, u64::MAX - 7)),
        ("a tail at 2^63", |raw, _| raw.write(REQUESTS_TAIL, 1 << 63)),
        ("a tail between words", |raw, _| raw.write(REQUESTS_TAIL, 9)),
        ("a length beyond what is published", |raw, _| {
            raw.write(REQUESTS_DATA, 1 << 40);
            raw.write(REQUESTS_TAIL, 64);
        }),
        ("a record without a header", |raw, _| raw.write(REQUESTS_TAIL, 8)),
        ("a record of unknown kind", |raw, word| {
            raw.write(REQUESTS_DATA, 16);
            raw.write(REQUESTS_DATA + 8, word(99, 0));
            raw.write(REQUESTS_TAIL, 24);
        }),
        ("a response head beyond what was published", |raw, _| raw.write(raw.responses_head(), 8)),
        ("a subscription head far away", |raw, word| {
            raw.write(raw.subscription_head(), 1 << 20);
            raw.write(REQUESTS_DATA, 16);
            raw.write(REQUESTS_DATA + 8, word(2, 0));
            raw.write(REQUESTS_TAIL, 24);
        }),
    ];
    for (evicted, (name, attack)) in (1u64..).zip(attacks) {
        let raw = RawClient::connect(&driver.path, true);
        attack(&raw, &word);
        raw.ring_bell();
        assert_eq!(raw.farewell(), Some(Eviction::Malformed as u32), "{name}");
        assert_eq!(driver.seen.evicted.load(Ordering::Relaxed), evicted, "{name}");
        honest.append(b"unaffected").unwrap();
    }
}

/// Every word of the region, at random, while the driver serves it.
#[test]
fn a_scribbler_over_the_whole_region_harms_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let driver = FakeDriver::start(&folder.path().join("session"), Behaviour { entries: 100, ..Behaviour::default() });
    let mut honest = Session::connect(&driver.path, Options::default()).unwrap();
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let until = Instant::now() + LIMIT;
    while driver.seen.evicted.load(Ordering::Relaxed) < 20 {
        assert!(Instant::now() < until, "the scribbler was never evicted");
        let raw = RawClient::connect(&driver.path, true);
        for _ in 0..2_000 {
            // Half of the writes aim at the indices and the first records, where they hurt.
            let range = if random() % 2 == 0 { REQUESTS_DATA + 256 } else { raw.length_bytes() };
            let offset = random() as usize % (range / 8) * 8;
            let value = if random() % 2 == 0 { random() % 64 * 8 } else { random() };
            raw.write(offset, value);
        }
        raw.ring_bell();
        honest.append(b"unaffected").unwrap();
    }
}
