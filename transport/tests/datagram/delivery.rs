//! What is sent arrives, whole and in order, and every frame comes home.

use crate::host::{FRAME_BYTES, cases, endpoint, filled, pool, receive_exactly, receive_for};
use logothete_transport::datagram::{Endpoint, EndpointConfig};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

#[test]
fn a_datagram_arrives_whole_with_its_senders_address() {
    for case in cases() {
        let pool = pool(64);
        let (mut a, mut b) = (endpoint(case, &pool), endpoint(case, &pool));
        a.send(filled(&pool, b"hello"), b.local_address());
        a.flush().expect("a working host");
        let received = receive_exactly(&mut b, 1);
        assert_eq!(
            (&*received[0].frame, received[0].from, received[0].group),
            (&b"hello"[..], a.local_address(), false),
            "{case:?}"
        );
        assert_eq!(received[0].frame.as_ptr() as usize % 64, 0, "{case:?}: bytes begin at the frame's aligned start");
        assert_eq!((b.counters().received.value(), b.counters().received_bytes.value()), (1, 5), "{case:?}");
    }
}

#[test]
fn every_size_from_nothing_to_a_full_frame_arrives() {
    for case in cases() {
        let pool = pool(64);
        let mut endpoint = endpoint(case, &pool);
        let to = endpoint.local_address();
        for length in [0, 1, 63, 64, 65, FRAME_BYTES - 1, FRAME_BYTES] {
            let bytes: Vec<u8> = (0..length).map(|i| (i * 31) as u8).collect();
            endpoint.send(filled(&pool, &bytes), to);
            endpoint.flush().expect("a working host");
            assert_eq!(&*receive_exactly(&mut endpoint, 1)[0].frame, &bytes[..], "{case:?}, {length} bytes");
        }
    }
}

#[test]
fn nothing_is_sent_before_the_flush_and_waiting_flushes() {
    for case in cases() {
        let pool = pool(64);
        let (mut a, mut b) = (endpoint(case, &pool), endpoint(case, &pool));
        a.send(filled(&pool, b"later"), b.local_address());
        assert!(receive_for(&mut b, Duration::from_millis(5)).is_empty(), "{case:?}");
        a.wait(Duration::ZERO).expect("a working host");
        assert_eq!(receive_exactly(&mut b, 1).len(), 1, "{case:?}");
    }
}

#[test]
fn more_sends_than_the_queue_holds_all_arrive_in_order() {
    for case in cases() {
        let pool = pool(2048);
        let (mut a, mut b) = (endpoint(case, &pool), endpoint(case, &pool));
        for i in 0..600u32 {
            a.send(filled(&pool, &i.to_le_bytes()), b.local_address());
        }
        a.flush().expect("a working host");
        let received = receive_exactly(&mut b, 600);
        let numbers: Vec<u32> =
            received.iter().map(|r| u32::from_le_bytes(r.frame[..].try_into().expect("four bytes"))).collect();
        assert_eq!(numbers, (0..600).collect::<Vec<u32>>(), "{case:?}");
    }
}

#[test]
fn a_fan_out_larger_than_the_queue_reaches_every_address_from_one_frame() {
    for case in cases() {
        let pool = pool(1024);
        let (mut a, mut b) = (endpoint(case, &pool), endpoint(case, &pool));
        let to = vec![b.local_address(); 300];
        a.send_all(filled(&pool, b"to all"), &to);
        a.flush().expect("a working host");
        assert!(receive_exactly(&mut b, 300).iter().all(|r| *r.frame == *b"to all"), "{case:?}");
        // Every send is complete by now, and the counters of io_uring's completions follow at the next look.
        receive_for(&mut a, Duration::from_millis(1));
        assert_eq!((a.counters().sent.value(), a.counters().sent_bytes.value()), (300, 1800), "{case:?}");
    }
}

#[test]
fn runs_of_one_length_arrive_as_the_datagrams_they_were() {
    for case in cases() {
        let pool = pool(1024);
        let (mut a, mut b) = (endpoint(case, &pool), endpoint(case, &pool));
        // Equal lengths, a shorter one that ends a run, a longer one that begins one, empty ones, and runs longer
        // than any limit.
        let mut lengths = vec![100, 100, 100, 40, 100, 200, 200, 0, 0, 200, 1];
        lengths.extend([FRAME_BYTES; 100]);
        lengths.extend([8; 150]);
        for (i, &length) in lengths.iter().enumerate() {
            a.send(filled(&pool, &vec![i as u8; length]), b.local_address());
        }
        a.flush().expect("a working host");
        for (i, received) in receive_exactly(&mut b, lengths.len()).iter().enumerate() {
            assert_eq!(*received.frame, *vec![i as u8; lengths[i]], "{case:?}, datagram {i}");
        }
        receive_for(&mut a, Duration::from_millis(1));
        let bytes: usize = lengths.iter().sum();
        assert_eq!(a.counters().sent.value(), lengths.len() as u64, "{case:?}");
        assert_eq!(a.counters().sent_bytes.value(), bytes as u64, "{case:?}");
    }
}

#[test]
fn frames_return_to_the_pool_after_sending() {
    for case in cases() {
        let pool = pool(64);
        let mut a = endpoint(case, &pool);
        let sink = std::net::UdpSocket::bind(SocketAddr::new(case.loopback, 0)).expect("a socket");
        let to = sink.local_addr().expect("an address");
        for i in 0..1000u32 {
            a.send(filled(&pool, &i.to_le_bytes()), to);
            a.flush().expect("a working host");
            receive_for(&mut a, Duration::ZERO);
        }
        a.send_all(filled(&pool, b"to nobody"), &[]);
        receive_for(&mut a, Duration::ZERO);
        drop(a);
        assert_eq!(std::iter::from_fn(|| pool.take()).collect::<Vec<_>>().len(), 64, "{case:?}");
    }
}

#[test]
fn dropping_an_endpoint_with_sends_queued_returns_every_frame() {
    for case in cases() {
        let pool = pool(256);
        let mut a = endpoint(case, &pool);
        let to = a.local_address();
        for _ in 0..50 {
            a.send(filled(&pool, b"unsent"), to);
        }
        drop(a);
        assert_eq!(std::iter::from_fn(|| pool.take()).collect::<Vec<_>>().len(), 256, "{case:?}");
    }
}

#[test]
fn endpoints_come_and_go_without_leaving_anything_behind() {
    // A thread has 16 places for registered rings: a leak of one shows as an error or a slow-down behind the 16th.
    for case in cases() {
        let pool = pool(64);
        for _ in 0..40 {
            let mut endpoint = endpoint(case, &pool);
            let to = endpoint.local_address();
            endpoint.send(filled(&pool, b"x"), to);
            endpoint.flush().expect("a working host");
            receive_exactly(&mut endpoint, 1);
        }
    }
}

#[test]
fn receive_never_exceeds_max_and_keeps_the_rest() {
    for case in cases() {
        let pool = pool(512);
        let (mut a, mut b) = (endpoint(case, &pool), endpoint(case, &pool));
        for i in 0..10u8 {
            a.send(filled(&pool, &[i]), b.local_address());
        }
        a.flush().expect("a working host");
        let mut received = Vec::new();
        let end = Instant::now() + Duration::from_secs(10);
        while received.len() < 10 && Instant::now() < end {
            assert!(b.receive(&mut received, 3) <= 3, "{case:?}");
        }
        let numbers: Vec<u8> = received.iter().map(|r| r.frame[0]).collect();
        assert_eq!(numbers, (0..10).collect::<Vec<u8>>(), "{case:?}");
        assert_eq!(b.receive(&mut received, 0), 0);
    }
}

#[test]
fn the_choice_of_the_back_end_is_explained() {
    let pool = pool(64);
    let endpoint =
        Endpoint::open(EndpointConfig::new(pool, "127.0.0.1:0".parse().expect("an address"))).expect("an endpoint");
    let (backend, reason) = endpoint.backend();
    assert!(!backend.to_string().is_empty() && reason.contains("cores") || reason.contains("io_uring"), "{reason}");
    assert!(endpoint.receive_buffer_bytes() > 0);
}
