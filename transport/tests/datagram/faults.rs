//! What may go wrong is counted and survived.

use crate::host::{FRAME_BYTES, cases, endpoint, filled, pool, receive_exactly, receive_for};
use logothete_transport::datagram::{BackendChoice, Endpoint, EndpointConfig};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

#[test]
fn a_run_to_a_refused_address_is_counted_datagram_by_datagram() {
    for case in cases() {
        let pool = pool(64);
        let (mut a, mut b) = (endpoint(case, &pool), endpoint(case, &pool));
        for _ in 0..3 {
            a.send(filled(&pool, b"refused"), SocketAddr::new(case.loopback, 0));
        }
        for _ in 0..3 {
            a.send(filled(&pool, b"arrives"), b.local_address());
        }
        a.flush().expect("a working host");
        assert!(receive_exactly(&mut b, 3).iter().all(|r| *r.frame == *b"arrives"), "{case:?}");
        receive_for(&mut a, Duration::from_millis(1));
        assert_eq!((a.counters().send_failed.value(), a.counters().sent.value()), (3, 3), "{case:?}");
    }
}

#[test]
fn an_exhausted_pool_loses_nothing_that_the_socket_holds() {
    for case in cases() {
        let small = pool(16);
        let sender_pool = pool(256);
        let (mut a, mut b) = (endpoint(case, &sender_pool), endpoint(case, &small));
        for i in 0..100u8 {
            a.send(filled(&sender_pool, &[i]), b.local_address());
        }
        a.flush().expect("a working host");
        // Held frames empty the pool; whatever was not received yet waits.
        let held = receive_for(&mut b, Duration::from_millis(20));
        assert!(held.len() <= 16 && !held.is_empty(), "{case:?}: {}", held.len());
        assert!(b.counters().pool_exhausted.value() > 0, "{case:?}");
        let mut numbers: Vec<u8> = held.iter().map(|r| r.frame[0]).collect();
        drop(held);
        let end = Instant::now() + Duration::from_secs(10);
        while numbers.len() < 100 && Instant::now() < end {
            numbers.extend(receive_for(&mut b, Duration::from_millis(1)).iter().map(|r| r.frame[0]));
        }
        assert_eq!(numbers, (0..100).collect::<Vec<u8>>(), "{case:?}");
    }
}

#[test]
fn a_burst_larger_than_the_receive_buffers_loses_nothing() {
    for case in cases() {
        let (small, large) = (pool(32), pool(1024));
        let (mut a, mut b) = (endpoint(case, &large), endpoint(case, &small));
        for i in 0..500u32 {
            a.send(filled(&large, &i.to_le_bytes()), b.local_address());
        }
        a.flush().expect("a working host");
        let mut next = 0;
        let end = Instant::now() + Duration::from_secs(10);
        let mut received = Vec::with_capacity(64);
        while next < 500 && Instant::now() < end {
            b.receive(&mut received, 64);
            for datagram in received.drain(..) {
                assert_eq!(*datagram.frame, u32::to_le_bytes(next), "{case:?}");
                next += 1;
            }
        }
        assert_eq!(next, 500, "{case:?}");
        if case.backend == BackendChoice::IoUring {
            assert!(b.counters().enobufs.value() > 0 && b.counters().rearmed.value() > 0, "{case:?}");
        }
    }
}

#[test]
fn an_oversize_datagram_is_counted_and_the_next_one_arrives() {
    for case in cases() {
        let pool = pool(64);
        let mut b = endpoint(case, &pool);
        let foreign = std::net::UdpSocket::bind(SocketAddr::new(case.loopback, 0)).expect("a socket");
        foreign.send_to(&[1; FRAME_BYTES + 1], b.local_address()).expect("sent");
        foreign.send_to(&[2; FRAME_BYTES], b.local_address()).expect("sent");
        let received = receive_exactly(&mut b, 1);
        assert_eq!(*received[0].frame, [2; FRAME_BYTES], "{case:?}");
        assert_eq!((b.counters().truncated.value(), b.counters().received.value()), (1, 1), "{case:?}");
    }
}

#[test]
fn refused_sends_are_counted_and_do_not_stop_the_others() {
    for case in cases() {
        let pool = pool(64);
        let (mut a, mut b) = (endpoint(case, &pool), endpoint(case, &pool));
        // No host sends to port 0, and no socket sends to the other family's addresses.
        let foreign = if case.loopback.is_ipv4() { "[::1]:9" } else { "127.0.0.1:9" };
        let refused = [SocketAddr::new(case.loopback, 0), foreign.parse().expect("an address")];
        // Nobody listens here: the network's refusal must not hurt later calls.
        let silent = std::net::UdpSocket::bind(SocketAddr::new(case.loopback, 0)).expect("a socket");
        let dead = silent.local_addr().expect("an address");
        drop(silent);
        for round in 0..3u8 {
            for to in [refused[0], b.local_address(), dead, refused[1], b.local_address()] {
                a.send(filled(&pool, &[round]), to);
            }
            a.flush().expect("a working host");
            assert_eq!(receive_exactly(&mut b, 2).len(), 2, "{case:?}");
            assert!(receive_for(&mut a, Duration::from_millis(1)).is_empty(), "{case:?}");
        }
        assert_eq!((a.counters().send_failed.value(), a.counters().sent.value()), (6, 9), "{case:?}");
    }
}

#[test]
fn a_full_socket_is_counted_as_kernel_drops() {
    for case in cases() {
        let pool = pool(64);
        let mut config = EndpointConfig::new(pool.clone(), SocketAddr::new(case.loopback, 0));
        (config.backend, config.receive_buffer_bytes) = (case.backend, 4096);
        let mut b = Endpoint::open(config).expect("an endpoint on loopback");
        let foreign = std::net::UdpSocket::bind(SocketAddr::new(case.loopback, 0)).expect("a socket");
        for _ in 0..500 {
            foreign.send_to(&[0; 1000], b.local_address()).expect("sent");
        }
        let first = receive_for(&mut b, Duration::from_millis(20)).len() as u64;
        // The count comes with the next datagram.
        foreign.send_to(&[1], b.local_address()).expect("sent");
        receive_exactly(&mut b, 1);
        assert_eq!(b.counters().kernel_drops.value() + first, 500, "{case:?}");
    }
}

#[test]
fn a_taken_address_is_an_error_that_names_it() {
    for case in cases() {
        let pool = pool(64);
        let first = endpoint(case, &pool);
        let mut config = EndpointConfig::new(pool.clone(), first.local_address());
        config.backend = case.backend;
        let error = Endpoint::open(config).err().expect("the address is taken").to_string();
        assert!(error.contains(&first.local_address().to_string()) && error.contains("another process"), "{error}");
    }
}
