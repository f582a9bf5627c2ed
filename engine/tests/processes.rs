//! Replicas and a driver on threads, over real sockets and shared memory: the whole way of an operation, without a command line.

use logothete_client::{ClientError, Options, Position, Session, Subscription};
use logothete_engine::authentication::Incoming;
use logothete_engine::client::{rotation, status};
use logothete_engine::cluster::{Arrangement, Cluster, DriverLocal, Idle, Journal, ReplicaLocal, Transport, init};
use logothete_engine::driver::run_driver;
use logothete_engine::journal::birth::{BIRTH_TEXT, DataDirectory};
use logothete_engine::numbers::{ClientId, ReplicaId};
use logothete_engine::pipeline::{Core, Orderer, Outbox, ReplicaFacts, ReplicaProcess, counters_path, run_replica};
use logothete_engine::replica::{Event, Now};
use logothete_engine::service::ServiceKind;
use logothete_engine::service::kv::{COMMAND_HEADER_BYTES, COMMAND_OVERHEAD_BYTES_MAX, Command, Outcome};
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
    transport: Transport,
    arrangement: Arrangement,
}

impl LocalCluster {
    fn start(service: ServiceKind, transport: Transport, arrangement: Arrangement) -> Self {
        Self::start_with(service, transport, arrangement, |_| {})
    }

    fn start_with(
        service: ServiceKind,
        transport: Transport,
        arrangement: Arrangement,
        change: impl FnOnce(&mut Cluster),
    ) -> Self {
        Self::start_without(None, service, transport, arrangement, change)
    }

    /// Without one of the replicas, which [`LocalCluster::start_replica`] starts later.
    fn start_late(
        service: ServiceKind,
        arrangement: Arrangement,
        late: usize,
        change: impl FnOnce(&mut Cluster),
    ) -> Self {
        Self::start_without(Some(late), service, Transport::Mmsg, arrangement, change)
    }

    fn start_without(
        late: Option<usize>,
        service: ServiceKind,
        transport: Transport,
        arrangement: Arrangement,
        change: impl FnOnce(&mut Cluster),
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let plan = init::Plan { service, journal: Journal::Off, ..init::Plan::default() };
        let mut generated = init::generate(&plan, &mut logothete_crypto::os_entropy).unwrap();
        change(&mut generated.cluster);
        let replicas = generated.replicas.len();
        let session = DriverLocal::standard(directory.path(), 0).session;
        let mut cluster =
            Self { directory, generated, stops: Vec::new(), threads: Vec::new(), session, transport, arrangement };
        for id in 0..replicas {
            // As `init` leaves it: the replica has never sent anything.
            let local = ReplicaLocal::standard(cluster.directory.path(), id as u8).data_directory;
            std::fs::create_dir_all(&local).unwrap();
            std::fs::write(DataDirectory::birth_marker(&local), BIRTH_TEXT).unwrap();
        }
        cluster.start_without_one(late);
        cluster
    }

    /// Starts all processes.
    fn start_all(&mut self) {
        self.start_without_one(None);
    }

    fn start_without_one(&mut self, late: Option<usize>) {
        let (ready, started) = mpsc::channel();
        let replicas = self.generated.replicas.len();
        for id in (0..replicas).filter(|id| Some(*id) != late) {
            self.start_replica_with(id, ready.clone());
        }
        self.start_driver(ready);
        for _ in 0..=replicas - usize::from(late.is_some()) {
            started.recv_timeout(Duration::from_secs(10)).unwrap();
        }
    }

    /// Ends all processes.
    fn stop(&mut self) {
        self.stops.drain(..).for_each(|stop| stop.store(true, Ordering::Relaxed));
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }

    fn start_replica_with(&mut self, id: usize, ready: mpsc::Sender<()>) {
        let stop = Arc::new(AtomicBool::new(false));
        self.stops.push(stop.clone());
        let cluster = self.generated.cluster.clone();
        let identity = copy(&self.generated.replicas[id]);
        let local = ReplicaLocal {
            transport: self.transport,
            arrangement: self.arrangement,
            idle: Idle::Adaptive,
            ..ReplicaLocal::standard(self.directory.path(), id as u8)
        };
        self.threads.push(std::thread::spawn(move || {
            let announce = &mut |_: &_| ready.send(()).unwrap();
            let id = ReplicaId(id as u8);
            let process = ReplicaProcess { cluster: &cluster, local: &local, id, identity, rejoin: false };
            run_replica(process, |core| core, &stop, announce, &mut |_| {}).unwrap();
        }));
    }

    /// Starts a replica that was left out at first.
    fn start_replica(&mut self, id: usize) {
        let (ready, started) = mpsc::channel();
        self.start_replica_with(id, ready);
        started.recv_timeout(Duration::from_secs(10)).unwrap();
    }

    fn start_driver(&mut self, ready: mpsc::Sender<()>) {
        let stop = Arc::new(AtomicBool::new(false));
        self.stops.push(stop.clone());
        let local = DriverLocal { transport: self.transport, ..DriverLocal::standard(self.directory.path(), 0) };
        let (cluster, identity) = (self.generated.cluster.clone(), copy(&self.generated.clients[0]));
        self.threads.push(std::thread::spawn(move || {
            let announce = &mut |_: &_| ready.send(()).unwrap();
            run_driver(&cluster, &local, ClientId(0), identity, &stop, announce).unwrap();
        }));
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
        self.stop();
        assert!(self.directory.path().exists());
    }
}

fn copy(identity: &logothete_crypto::Identity) -> logothete_crypto::Identity {
    logothete_crypto::Identity::from_secret_bytes(*identity.secret_bytes())
}

fn appended_entries_are_read_back(transport: Transport, arrangement: Arrangement) {
    let cluster = LocalCluster::start(ServiceKind::Log, transport, arrangement);
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
    let cluster =
        LocalCluster::start_with(ServiceKind::Log, Transport::Mmsg, arrangement, |cluster| cluster.key_lifetime_s = 2);
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

fn put(key: &[u8], value: &[u8]) -> Vec<u8> {
    Command::Put { key, value }.encode_to_vec()
}

fn get(key: &[u8]) -> Vec<u8> {
    Command::Get { key }.encode_to_vec()
}

fn value(result: &[u8]) -> Option<u64> {
    match Outcome::decode(result).unwrap() {
        Outcome::Absent => None,
        Outcome::Value(value) => Some(u64::from_le_bytes(value[..8].try_into().unwrap())),
        other => panic!("{other:?}"),
    }
}

/// Sessions that read and write the same keys, on threads of their own; `bytes` is the size of a value.
fn reads_see_what_was_written(arrangement: Arrangement, bytes: usize) {
    let cluster = LocalCluster::start(ServiceKind::KeyValue, Transport::Mmsg, arrangement);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut session = Session::connect(&cluster.session, LocalCluster::options()).unwrap();
            let mut long = vec![7; bytes];
            for number in 1..=300u64 {
                long[..8].copy_from_slice(&number.to_le_bytes());
                assert_eq!(Outcome::decode(&session.call(&put(b"counter", &long)).unwrap()), Ok(Outcome::Done));
                // `protocol.md RD-3`: what was acknowledged is seen by whoever asks afterwards.
                assert_eq!(value(&session.query(&get(b"counter")).unwrap()), Some(number));
            }
            stop.store(true, Ordering::Relaxed);
        });
        let readers = (0..2).map(|_| {
            scope.spawn(|| {
                let mut session = Session::connect(&cluster.session, LocalCluster::options()).unwrap();
                let mut last = 0;
                while !stop.load(Ordering::Relaxed) {
                    session.try_query(&get(b"counter")).unwrap();
                    session.wait(Duration::from_secs(20)).unwrap();
                    session
                        .poll(|completion| {
                            let seen = value(completion.result.unwrap()).unwrap_or(0);
                            assert!(seen >= last, "{seen} was read after {last}");
                            last = seen;
                        })
                        .unwrap();
                }
            })
        });
        readers.collect::<Vec<_>>().into_iter().for_each(|reader| reader.join().unwrap());
        writer.join().unwrap();
    });
    let mut session = Session::connect(&cluster.session, LocalCluster::options()).unwrap();
    // While a key is written all the time its readers may have to be ordered; now that it rests, they need not.
    let mut at_once = 0;
    for _ in 0..100 {
        session.try_query(&get(b"counter")).unwrap();
        session.wait(Duration::from_secs(20)).unwrap();
        session.poll(|completion| at_once += u64::from(!completion.ordered)).unwrap();
    }
    assert!(at_once > 0, "no query was answered without being ordered");
    assert_eq!(value(&session.query(&get(b"nothing")).unwrap()), None);
    assert_eq!(value(&session.call(&get(b"counter")).unwrap()), Some(300), "a read may be ordered on purpose");
    // What changes something is no query, and a query of it changes nothing.
    assert!(matches!(session.query(&put(b"counter", &[0; 8])), Err(ClientError::Unsupported)));
    assert_eq!(value(&session.query(&get(b"counter")).unwrap()), Some(300));
    assert!(matches!(session.append(b"entry"), Err(ClientError::ApiMisuse { .. })));
    assert!(cluster.states_agree());
}

#[test]
fn queries_see_what_was_written() {
    reads_see_what_was_written(Arrangement::Shared, 8);
}

/// `protocol.md CL-5`: of long results some replicas give the digest.
#[test]
fn queries_of_long_values_see_what_was_written_with_two_threads_a_replica() {
    reads_see_what_was_written(Arrangement::Split, 700);
}

/// `protocol.md RD-4`, `CL-5`: with as many replicas silent as may be, queries are still answered and results still come in full.
#[test]
fn a_silent_replica_stops_neither_reads_nor_writes() {
    let cluster = LocalCluster::start(ServiceKind::KeyValue, Transport::Mmsg, Arrangement::Shared);
    let mut session = Session::connect(&cluster.session, LocalCluster::options()).unwrap();
    let long = [5; 300];
    session.call(&put(b"key", &long)).unwrap();
    cluster.stops[3].store(true, Ordering::Relaxed);
    for _ in 0..40 {
        let result = session.query(&get(b"key")).unwrap();
        assert_eq!(Outcome::decode(&result), Ok(Outcome::Value(&long)));
        let result = session.call(&get(b"key")).unwrap();
        assert_eq!(Outcome::decode(&result), Ok(Outcome::Value(&long)));
    }
}

/// What an entry of so many bytes holds, at this place.
fn patterned(number: usize, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at / 5 + number * 31) as u8).collect()
}

/// `protocol.md LR-1`, `LR-2`, `LR-6`: entries of up to 1 MiB between small ones, with a replica that starts late and lacks the first of them.
#[test]
fn large_entries_are_read_back() {
    let mut cluster = LocalCluster::start_late(ServiceKind::Log, Arrangement::Shared, 3, |_| {});
    let mut session = Session::connect(&cluster.session, LocalCluster::options()).unwrap();
    let largest = session.operation_bytes_max();
    assert_eq!(largest, 1 << 20);
    let sizes = [1, largest, 20, 40_000, 100_000, 3, largest - 1, 8, 8, 300_000, 5];
    for (number, bytes) in sizes.into_iter().enumerate() {
        if number == 4 {
            cluster.start_replica(3);
        }
        assert_eq!(session.append(&patterned(number, bytes)).unwrap(), Position(number as u64));
    }
    assert!(matches!(session.append(&vec![0; largest + 1]), Err(ClientError::TooLarge { .. })));

    let mut subscription = Subscription::connect(&cluster.session, Position(0), LocalCluster::options()).unwrap();
    let (mut read, deadline) = (0, Instant::now() + Duration::from_secs(40));
    while read < sizes.len() {
        subscription
            .poll(|entry| {
                assert_eq!(entry.bytes, patterned(read, sizes[read]), "entry {read}");
                read += 1;
            })
            .unwrap();
        subscription.wait(Duration::from_millis(10)).unwrap();
        assert!(Instant::now() < deadline, "{read} entries");
    }
    assert!(cluster.states_agree(), "the replica that came late has all of it");
}

/// Over datagrams of an Ethernet, several at once.
#[test]
fn large_entries_travel_in_small_datagrams() {
    let cluster = LocalCluster::start_with(ServiceKind::Log, Transport::Mmsg, Arrangement::Split, |cluster| {
        cluster.datagram_bytes_max = 1472;
    });
    let mut session = Session::connect(&cluster.session, LocalCluster::options()).unwrap();
    let entries: Vec<Vec<u8>> = (0..12).map(|number| patterned(number, [200_000, 9][number % 2])).collect();
    let mut submitted = entries.iter();
    let (mut next, mut done, deadline) = (submitted.next(), 0, Instant::now() + Duration::from_secs(60));
    while done < entries.len() {
        if next.is_some_and(|entry| session.try_append(entry).is_ok()) {
            next = submitted.next();
        }
        session.poll(|completion| done += usize::from(completion.result.is_ok())).unwrap();
        session.wait(Duration::from_millis(1)).unwrap();
        assert!(Instant::now() < deadline, "{done} are acknowledged");
    }
    let mut subscription = Subscription::connect(&cluster.session, Position(0), LocalCluster::options()).unwrap();
    let mut read = 0;
    while read < entries.len() {
        subscription
            .poll(|entry| {
                assert_eq!(entry.bytes, entries[read], "entry {read}");
                read += 1;
            })
            .unwrap();
        subscription.wait(Duration::from_millis(10)).unwrap();
        assert!(Instant::now() < deadline, "{read} entries");
    }
    assert!(cluster.states_agree());
}

/// `protocol.md JR-1`, `LR-2`: a journal keeps every packet of a large request, so that a power cut of the whole cluster loses none of it.
#[test]
fn large_entries_outlive_a_power_cut() {
    let journal = |cluster: &mut Cluster| cluster.journal = Journal::Sync;
    let mut cluster = LocalCluster::start_with(ServiceKind::Log, Transport::Mmsg, Arrangement::Shared, journal);
    let mut session = Session::connect(&cluster.session, LocalCluster::options()).unwrap();
    let sizes = [5, 1 << 20, 70_000, 9];
    for (number, bytes) in sizes.into_iter().enumerate() {
        assert_eq!(session.append(&patterned(number, bytes)).unwrap(), Position(number as u64));
    }
    drop(session);
    cluster.stop();
    cluster.start_all();
    let mut session = Session::connect(&cluster.session, LocalCluster::options()).unwrap();
    assert_eq!(session.append(&patterned(4, 200_000)).unwrap(), Position(4));
    let mut subscription = Subscription::connect(&cluster.session, Position(0), LocalCluster::options()).unwrap();
    let (sizes, mut read, deadline) = ([5, 1 << 20, 70_000, 9, 200_000], 0, Instant::now() + Duration::from_secs(40));
    while read < sizes.len() {
        subscription
            .poll(|entry| {
                assert_eq!(entry.bytes, patterned(read, sizes[read]), "entry {read}");
                read += 1;
            })
            .unwrap();
        subscription.wait(Duration::from_millis(10)).unwrap();
        assert!(Instant::now() < deadline, "{read} entries");
    }
    assert!(cluster.states_agree());
}

/// `protocol.md LR-1`, `LR-5`: values of 1 MiB under the longest key, read with and without being ordered; a byte more is refused.
#[test]
fn large_values_are_put_and_got() {
    let cluster = LocalCluster::start(ServiceKind::KeyValue, Transport::Mmsg, Arrangement::Shared);
    let mut session = Session::connect(&cluster.session, LocalCluster::options()).unwrap();
    let key = &[b'k'; COMMAND_OVERHEAD_BYTES_MAX - COMMAND_HEADER_BYTES];
    let large = patterned(7, 1 << 20);
    let (bytes, limit) = (put(key, &large).len() + 1, put(key, &large).len());
    let refused = session.call(&put(key, &patterned(7, (1 << 20) + 1)));
    assert!(
        matches!(refused, Err(ClientError::TooLarge { bytes: b, limit: l }) if (b, l) == (bytes, limit)),
        "{refused:?}"
    );
    for value in [&large[..], &large[..100_000], b"small", &large[..]] {
        assert_eq!(Outcome::decode(&session.call(&put(key, value)).unwrap()), Ok(Outcome::Done));
        assert_eq!(Outcome::decode(&session.query(&get(key)).unwrap()), Ok(Outcome::Value(value)));
        assert_eq!(Outcome::decode(&session.call(&get(key)).unwrap()), Ok(Outcome::Value(value)));
    }
    cluster.stops[3].store(true, Ordering::Relaxed);
    for _ in 0..4 {
        assert_eq!(Outcome::decode(&session.call(&get(key)).unwrap()), Ok(Outcome::Value(&large)));
    }
}

/// `protocol.md LR-7`: whoever asks for a small ring is told what does not fit it, and still gets every entry.
#[test]
fn a_small_ring_refuses_what_it_cannot_hold() {
    let cluster = LocalCluster::start(ServiceKind::Log, Transport::Mmsg, Arrangement::Shared);
    let options = Options { requests_bytes: 1, subscription_bytes: 1, ..LocalCluster::options() };
    let mut small = Session::connect(&cluster.session, options).unwrap();
    let limit = small.operation_bytes_max();
    assert!(limit < 1 << 20);
    assert!(matches!(small.append(&vec![1; limit + 1]), Err(ClientError::TooLarge { .. })));
    assert_eq!(small.append(&vec![1; limit]).unwrap(), Position(0));
    let mut usual = Session::connect(&cluster.session, LocalCluster::options()).unwrap();
    let large = patterned(1, 1 << 20);
    assert_eq!(usual.append(&large).unwrap(), Position(1));
    let mut subscription = Subscription::connect(&cluster.session, Position(1), options).unwrap();
    let (mut seen, deadline) = (false, Instant::now() + Duration::from_secs(20));
    while !seen {
        subscription.poll(|entry| seen = entry.bytes == large).unwrap();
        subscription.wait(Duration::from_millis(10)).unwrap();
        assert!(Instant::now() < deadline);
    }
}

/// Two clusters on the same groups and port, by mistake: each does its work, and counts what it hears of the other.
#[test]
fn two_clusters_on_one_group_do_their_work() {
    let one = LocalCluster::start(ServiceKind::Log, Transport::Mmsg, Arrangement::Shared);
    let groups = one.generated.cluster.multicast;
    let two = LocalCluster::start_with(ServiceKind::Log, Transport::Mmsg, Arrangement::Shared, |cluster| {
        cluster.multicast = groups;
    });
    let mut sessions = [&one, &two].map(|cluster| Session::connect(&cluster.session, LocalCluster::options()).unwrap());
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut appended = 0;
    let is_counted = |cluster: &LocalCluster| counter(cluster, "replica-0", "refused", "other cluster") > 0;
    while appended < 50 || !(is_counted(&one) && is_counted(&two)) {
        for session in &mut sessions {
            assert_eq!(session.append(b"ours").unwrap(), Position(appended));
        }
        appended += 1;
        assert!(Instant::now() < deadline, "nothing is heard of the other cluster");
    }
    assert!(one.states_agree() && two.states_agree());
    for cluster in [&one, &two] {
        assert_eq!(counter(cluster, "replica-0", "refused", "tag bad"), 0, "no tag is looked at");
    }
}

/// A replica whose orderer panics when it has something to do for the first time after it was told to.
struct Panics {
    inside: Orderer,
    now: Arc<AtomicBool>,
}

impl Core for Panics {
    fn on_incoming(&mut self, now: Now, incoming: &Incoming<'_>) {
        assert!(!self.now.load(Ordering::Relaxed), "as it was told");
        self.inside.on_incoming(now, incoming);
    }

    fn on_duty_end(&mut self, now: Now, facts: &ReplicaFacts, outbox: &mut Outbox) {
        self.inside.on_duty_end(now, facts, outbox);
    }

    fn deadline_ns(&self) -> u64 {
        self.inside.deadline_ns()
    }

    fn take_events(&mut self, take: &mut dyn FnMut(Event)) {
        self.inside.take_events(take);
    }
}

/// Whichever of its threads panics, a replica's process ends as a whole, and the others go on.
fn a_panic_ends_its_replica(arrangement: Arrangement) {
    let mut cluster = LocalCluster::start_late(ServiceKind::Log, arrangement, 3, |_| {});
    let panics = Arc::new(AtomicBool::new(false));
    let (now, configuration) = (panics.clone(), cluster.generated.cluster.clone());
    let identity = copy(&cluster.generated.replicas[3]);
    let local = ReplicaLocal {
        transport: Transport::Mmsg,
        arrangement,
        idle: Idle::Adaptive,
        ..ReplicaLocal::standard(cluster.directory.path(), 3)
    };
    let (ready, started) = mpsc::channel();
    let replica = std::thread::spawn(move || {
        let (cluster, local, id) = (&configuration, &local, ReplicaId(3));
        let process = ReplicaProcess { cluster, local, id, identity, rejoin: false };
        let announce = &mut |_: &_| ready.send(()).unwrap();
        let around = |inside| Panics { inside, now };
        // Nobody stops it.
        run_replica(process, around, &AtomicBool::new(false), announce, &mut |_| {})
    });
    started.recv_timeout(Duration::from_secs(10)).unwrap();
    let mut session = Session::connect(&cluster.session, LocalCluster::options()).unwrap();
    assert_eq!(session.append(b"before").unwrap(), Position(0));
    panics.store(true, Ordering::Relaxed);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !replica.is_finished() {
        session.append(b"meanwhile").unwrap();
        assert!(Instant::now() < deadline, "it is half alive");
    }
    let panic = replica.join().unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"as it was told"));
    session.append(b"after").unwrap();
    cluster.stop();
}

#[test]
fn a_panic_ends_a_replica_of_one_thread() {
    a_panic_ends_its_replica(Arrangement::Shared);
}

#[test]
fn a_panic_ends_a_replica_of_two_threads() {
    a_panic_ends_its_replica(Arrangement::Split);
}
