//! The null protocol between real sockets on the loopback device, every party on a thread of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use logothete_transport::datagram::BackendChoice;

use super::*;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Ports that are free now: all are held until the last is known.
fn free_ports(count: usize) -> Vec<u16> {
    let sockets: Vec<UdpSocket> = (0..count).map(|_| UdpSocket::bind((LOOPBACK, 0)).unwrap()).collect();
    sockets.iter().map(|socket| socket.local_addr().unwrap().port()).collect()
}

/// A network on the loopback device for `shape`; `multicast` is a request, to which a host without it may say no.
fn network(shape: &Shape, multicast: bool, backend: BackendChoice) -> Network {
    let ports = free_ports(shape.replicas() + 1);
    let port = ports[shape.replicas()];
    // The port tells tests that run at the same time apart, so their groups differ too.
    let [high, low] = port.to_be_bytes();
    let groups: Vec<IpAddr> =
        (0..=shape.replicas()).map(|slot| IpAddr::V4(Ipv4Addr::new(239, high, low, slot as u8 + 1))).collect();
    let works = multicast && logothete_transport::multicast::probe(LOOPBACK, groups[0], 0).is_ok();
    Network {
        replicas: ports[..shape.replicas()].iter().map(|&port| SocketAddr::new(LOOPBACK, port)).collect(),
        multicast: works.then_some(Multicast { groups, port, interface: LOOPBACK }),
        backend,
        datagram_bytes_max: 8192,
        run: u64::from(port),
    }
}

/// Runs all parties and returns what the client and the replicas found.
fn run(shape: Shape, network: &Network) -> (Result<NullResult, NullError>, Vec<ReplicaResult>) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let replica = |id| {
            let options = ReplicaOptions { id, shape, network: network.clone() };
            let stop = &stop;
            scope.spawn(move || run_replica(&options, stop))
        };
        let replicas: Vec<_> = (0..shape.replicas()).map(replica).collect();
        let result = run_client(&ClientOptions {
            shape,
            network: network.clone(),
            address: SocketAddr::new(LOOPBACK, 0),
            warmup: Duration::from_millis(20),
            duration: Duration::from_millis(150),
            silence_max: Duration::from_secs(10),
        });
        stop.store(true, Ordering::Relaxed);
        let replicas = replicas.into_iter().map(|replica| replica.join().unwrap().unwrap());
        (result, replicas.collect())
    })
}

/// Runs `shape` and checks that every party did all of the work.
fn assert_complete(shape: Shape, network: &Network) -> (NullResult, Vec<ReplicaResult>) {
    let (result, replicas) = run(shape, network);
    let result = result.unwrap();
    assert!(result.operations > 0);
    assert_eq!(result.latencies.count() * shape.operations_per_request as u64, result.operations);
    assert!(result.datagrams_sent >= result.latencies.count(), "every request has a datagram to itself");
    assert!(result.result_gap_max_ns > 0 && result.result_gap_max_ns < result.duration_ns);
    for replica in &replicas {
        assert_eq!(replica.operations, replicas[0].operations);
        assert_eq!(replica.batches, replicas[0].batches);
        assert!(replica.operations >= result.operations);
    }
    (result, replicas)
}

#[test]
fn one_operation_at_a_time_costs_the_datagrams_of_the_papers() {
    for tentative in [false, true] {
        let shape = Shape { packing: Packing::Message, ..Shape::latency(tentative) };
        let network = network(&shape, true, BackendChoice::Mmsg);
        let (_, replicas) = assert_complete(shape, &network);
        for (id, replica) in replicas.iter().enumerate() {
            // A pre-prepare or a prepare, perhaps a commit, and a reply; and one greeting at least.
            let votes = if tentative { 1 } else { 2 };
            let copies = if network.multicast.is_some() { 1 } else { shape.replicas() as u64 - 1 };
            let greetings = replica.datagrams_sent - replica.batches * (votes * copies + 1);
            assert!((1..1_000).contains(&greetings), "replica {id}: {replica:?}");
            assert_eq!(replica.batches, replica.operations);
        }
    }
}

#[test]
fn packed_requests_arrive_over_unicast_and_multicast() {
    for multicast in [false, true] {
        for tentative in [false, true] {
            let shape = Shape::throughput(tentative);
            let (result, replicas) = assert_complete(shape, &network(&shape, multicast, BackendChoice::Mmsg));
            assert_eq!(result.backend, "mmsg");
            assert!(replicas[0].datagrams_sent < replicas[0].operations / 4, "{:?}", replicas[0]);
        }
    }
}

#[test]
fn seven_replicas_agree_too() {
    let shape = Shape { faults: 2, payload_bytes: 100, operations_per_request: 3, ..Shape::throughput(false) };
    assert_complete(shape, &network(&shape, true, BackendChoice::Auto));
}

#[test]
fn an_absent_replica_is_named() {
    let shape = Shape::latency(true);
    let network = network(&shape, false, BackendChoice::Mmsg);
    let options = ClientOptions {
        shape,
        network,
        address: SocketAddr::new(LOOPBACK, 0),
        warmup: Duration::ZERO,
        duration: Duration::from_millis(10),
        silence_max: Duration::from_millis(50),
    };
    let error = run_client(&options).unwrap_err();
    assert!(matches!(&error, NullError::Absent { missing, .. } if *missing == [0, 1, 2, 3]), "{error}");
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let shape = Shape::latency(false);
    let network = network(&shape, false, BackendChoice::Mmsg);
    let refuse = |shape: Shape, network: &Network| {
        let options = ReplicaOptions { id: 0, shape, network: network.clone() };
        assert!(matches!(run_replica(&options, &AtomicBool::new(true)), Err(NullError::Options(_))));
    };
    refuse(Shape { faults: 2, ..shape }, &network);
    refuse(Shape { faults: 6, ..shape }, &network);
    refuse(Shape { pipeline_depth: 0, ..shape }, &network);
    refuse(Shape { operations_per_request: 0, ..shape }, &network);
    refuse(Shape { operations_per_request: 1_000, ..shape }, &network);
    let mut groups = network.clone();
    groups.multicast = Some(Multicast { groups: Vec::new(), port: 1, interface: LOOPBACK });
    refuse(shape, &groups);
    let options = ReplicaOptions { id: 4, shape, network };
    assert!(matches!(run_replica(&options, &AtomicBool::new(true)), Err(NullError::Options(_))));
}
