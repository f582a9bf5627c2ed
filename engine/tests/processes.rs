//! Replicas and a driver on threads, over real sockets and shared memory: the whole way of an operation, without a command line.

use logothete_client::{Options, Position, Session, Subscription};
use logothete_engine::client::{rotation, status};
use logothete_engine::cluster::{Arrangement, Cluster, DriverLocal, Idle, ReplicaLocal, Transport, init};
use logothete_engine::driver::run_driver;
use logothete_engine::numbers::{ClientId, ReplicaId};
use logothete_engine::pipeline::{counters_path, run_replica};
use logothete_transport::counters::Counters;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

struct LocalCluster {
    directory: tempfile::TempDir,
    generated: init::Generated,
    stops: Vec<Arc<AtomicBool>>,
    threads: Vec<JoinHandle<()>>,
    session: std::path::PathBuf,
}

impl LocalCluster {
    fn start(transport: Transport, arrangement: Arrangement) -> Self {
        Self::start_with(transport, arrangement, |_| {})
    }

    fn start_with(transport: Transport, arrangement: Arrangement, change: impl FnOnce(&mut Cluster)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let plan = init::Plan::default();
        let mut generated = init::generate(&plan, &mut logothete_crypto::os_entropy).unwrap();
        change(&mut generated.cluster);
        let (ready, started) = mpsc::channel();
        let (mut stops, mut threads) = (Vec::new(), Vec::new());
        let replicas = generated.replicas.len();
        for id in 0..replicas {
            let stop = Arc::new(AtomicBool::new(false));
            stops.push(stop.clone());
            let (cluster, ready) = (generated.cluster.clone(), ready.clone());
            let identity = copy(&generated.replicas[id]);
            let local = ReplicaLocal {
                transport,
                arrangement,
                idle: Idle::Adaptive,
                ..ReplicaLocal::standard(directory.path(), id as u8)
            };
            threads.push(std::thread::spawn(move || {
                let announce = &mut |_: &_| ready.send(()).unwrap();
                let id = ReplicaId(id as u8);
                run_replica(&cluster, &local, id, identity, &stop, announce, &mut |_| {}).unwrap();
            }));
        }
        let stop = Arc::new(AtomicBool::new(false));
        stops.push(stop.clone());
        let local = DriverLocal { transport, ..DriverLocal::standard(directory.path(), 0) };
        let session = local.session.clone();
        let (cluster, identity) = (generated.cluster.clone(), copy(&generated.clients[0]));
        threads.push(std::thread::spawn(move || {
            let announce = &mut |_: &_| ready.send(()).unwrap();
            run_driver(&cluster, &local, ClientId(0), identity, &stop, announce).unwrap();
        }));
        for _ in 0..=replicas {
            started.recv_timeout(Duration::from_secs(10)).unwrap();
        }
        Self { directory, generated, stops, threads, session }
    }

    fn options() -> Options {
        Options { timeout_call: Duration::from_secs(20), ..Options::default() }
    }

    fn states_agree(&self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let operator = copy(self.generated.clients.last().unwrap());
            let answers = status::query(&self.generated.cluster, operator, Duration::from_secs(2)).unwrap();
            let states: Vec<_> =
                answers.iter().flatten().map(|status| (status.executed, status.state_digest)).collect();
            if states.len() == answers.len() && states.iter().all(|state| *state == states[0]) {
                return true;
            }
        }
        false
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        self.stops.iter().for_each(|stop| stop.store(true, Ordering::Relaxed));
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
        assert!(self.directory.path().exists());
    }
}

fn copy(identity: &logothete_crypto::Identity) -> logothete_crypto::Identity {
    logothete_crypto::Identity::from_secret_bytes(*identity.secret_bytes())
}

fn appended_entries_are_read_back(transport: Transport, arrangement: Arrangement) {
    let cluster = LocalCluster::start(transport, arrangement);
    let mut session = Session::connect(&cluster.session, LocalCluster::options()).unwrap();
    assert_eq!(session.append(b"first").unwrap(), Position(0));
    for number in 1..2000u64 {
        while session.try_append(&number.to_le_bytes()).is_err() {
            session.poll(|_| {}).unwrap();
        }
        session.flush();
    }
    let (mut done, deadline) = (0, Instant::now() + Duration::from_secs(20));
    while session.outstanding() > 0 {
        session.poll(|completion| done += u32::from(completion.result.is_ok())).unwrap();
        session.wait(Duration::from_millis(10)).unwrap();
        assert!(Instant::now() < deadline, "{} still outstanding", session.outstanding());
    }
    assert_eq!(session.append(b"last").unwrap(), Position(2000));
    let bounds = session.bounds().unwrap();
    assert_eq!((bounds.oldest, bounds.end), (Position(0), Position(2001)));

    let mut subscription = Subscription::connect(&cluster.session, Position(0), LocalCluster::options()).unwrap();
    let mut entries: Vec<Vec<u8>> = Vec::new();
    while entries.len() < 2001 {
        subscription
            .poll(|entry| {
                assert_eq!(entry.position, Position(entries.len() as u64));
                entries.push(entry.bytes.to_vec());
            })
            .unwrap();
        subscription.wait(Duration::from_millis(10)).unwrap();
        assert!(Instant::now() < deadline, "{} entries", entries.len());
    }
    assert_eq!(entries[0], b"first");
    assert_eq!(entries[2000], b"last");
    let numbers = entries[1..2000].iter().map(|entry| u64::from_le_bytes(entry[..].try_into().unwrap()));
    assert!(numbers.eq(1..2000));
    assert!(cluster.states_agree());
}

#[test]
fn entries_are_read_back_over_mmsg() {
    appended_entries_are_read_back(Transport::Mmsg, Arrangement::Shared);
}

#[test]
fn entries_are_read_back_over_io_uring() {
    appended_entries_are_read_back(Transport::IoUring, Arrangement::Shared);
}

#[test]
fn entries_are_read_back_with_two_threads_a_replica() {
    appended_entries_are_read_back(Transport::Mmsg, Arrangement::Split);
}

#[test]
fn entries_are_read_back_with_two_threads_a_replica_over_io_uring() {
    appended_entries_are_read_back(Transport::IoUring, Arrangement::Split);
}

/// A counter of a replica's or driver's process.
fn counter(cluster: &LocalCluster, process: &str, set: &str, label: &str) -> u64 {
    let counters = Counters::open(&counters_path(&cluster.directory.path().join(process))).unwrap();
    let reading = counters.readings().find(|reading| reading.set == set && reading.label == label);
    reading.unwrap_or_else(|| panic!("{process} has no counter {set} {label}")).value
}

/// `protocol.md KY-1` to `KY-5`: keys change on schedule and on demand under load, and nothing is lost or refused.
fn traffic_outlives_its_keys(arrangement: Arrangement) {
    let cluster = LocalCluster::start_with(Transport::Mmsg, arrangement, |cluster| cluster.key_lifetime_s = 2);
    let mut session = Session::connect(&cluster.session, LocalCluster::options()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(40);
    let operator = || copy(cluster.generated.clients.last().unwrap());
    let (mut submitted, mut done, mut wished) = (0u64, 0u64, false);
    let rotations = |process: &str| counter(&cluster, process, "link", "key_generation");
    let processes = ["replica-0", "replica-1", "replica-2", "replica-3", "driver-0"];
    while !processes.iter().all(|process| rotations(process) >= 2) {
        for _ in 0..200 {
            if session.try_append(&submitted.to_le_bytes()).is_ok() {
                submitted += 1;
            }
        }
        session.flush();
        session.poll(|completion| done += u64::from(completion.result.is_ok())).unwrap();
        session.wait(Duration::from_millis(2)).unwrap();
        if !wished && done > 1000 {
            wished = true;
            let answers =
                rotation::rotate_keys(&cluster.generated.cluster, operator(), Duration::from_secs(5)).unwrap();
            for answer in answers.into_iter().flatten() {
                assert!(answer.generation >= 1 || answer.due_in.is_some(), "{answer:?}");
            }
        }
        assert!(Instant::now() < deadline, "{:?}", processes.map(rotations));
    }
    while session.outstanding() > 0 {
        session.poll(|completion| done += u64::from(completion.result.is_ok())).unwrap();
        session.wait(Duration::from_millis(10)).unwrap();
        assert!(Instant::now() < deadline, "{} still outstanding", session.outstanding());
    }
    assert_eq!(done, submitted);
    assert!(wished && cluster.states_agree());
    // That no packet at all is refused is shown where the test makes the time (`pipeline/network/tests.rs`): a thread that the host lets wait for
    // longer than an overlap of these short lives may find stale packets in its buffer, and retransmission brings them again.
    for process in processes {
        assert_eq!(counter(&cluster, process, "refused", "tag bad"), 0, "{process}");
    }
    let rejects = status::query_rejects(&cluster.generated.cluster, operator(), Duration::from_secs(5)).unwrap();
    assert!(rejects.iter().all(Option::is_some), "each says whom it rejects for what");
}

#[test]
fn traffic_outlives_its_keys_on_one_thread() {
    traffic_outlives_its_keys(Arrangement::Shared);
}

#[test]
fn traffic_outlives_its_keys_on_two_threads() {
    traffic_outlives_its_keys(Arrangement::Split);
}
