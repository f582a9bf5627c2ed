//! Sleeping until there is something to do, and not a moment longer.

use crate::host::{cases, endpoint, eventfd, filled, pool, receive_exactly};
use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

#[test]
fn waiting_ends_when_a_datagram_comes() {
    for case in cases() {
        let pool = pool(64);
        let mut b = endpoint(case, &pool);
        let to = b.local_address();
        let sender = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5));
            let socket = std::net::UdpSocket::bind(SocketAddr::new(to.ip(), 0)).expect("a socket");
            socket.send_to(b"wake", to).expect("sent");
        });
        assert_eq!(receive_exactly(&mut b, 1).len(), 1, "{case:?}");
        sender.join().expect("no panic");
        assert!(b.counters().slept.value() > 0, "{case:?}");
    }
}

#[test]
fn waiting_does_not_sleep_over_a_datagram_that_is_there() {
    for case in cases() {
        let pool = pool(64);
        let mut b = endpoint(case, &pool);
        let to = b.local_address();
        for _ in 0..20 {
            b.send(filled(&pool, b"now"), to);
            b.flush().expect("a working host");
            let start = Instant::now();
            b.wait(Duration::from_secs(60)).expect("a working host");
            assert!(start.elapsed() < Duration::from_secs(30), "{case:?}: it slept until the timeout");
            receive_exactly(&mut b, 1);
        }
    }
}

#[test]
fn a_waker_ends_a_wait_however_often_it_rings() {
    for case in cases() {
        let pool = pool(64);
        let mut endpoint = endpoint(case, &pool);
        let waker = eventfd();
        endpoint.register_waker(waker.as_fd()).expect("room for a waker");
        for round in 0..20 {
            let mut ringing = std::fs::File::from(waker.try_clone().expect("a duplicate"));
            let ringer = std::thread::spawn(move || {
                if round % 2 == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
                for _ in 0..=round % 3 {
                    ringing.write_all(&1u64.to_ne_bytes()).expect("an eventfd takes it");
                }
            });
            let woken = endpoint.counters().woken.value();
            let start = Instant::now();
            while endpoint.counters().woken.value() == woken {
                endpoint.wait(Duration::from_secs(60)).expect("a working host");
                assert!(start.elapsed() < Duration::from_secs(30), "{case:?}: the ring was lost");
            }
            ringer.join().expect("no panic");
            // Whatever rang after the first wake-up is over before the next round.
            endpoint.wait(Duration::from_millis(1)).expect("a working host");
        }
    }
}

#[test]
fn a_ring_that_receiving_noticed_still_ends_the_next_wait() {
    for case in cases() {
        let pool = pool(64);
        let mut endpoint = endpoint(case, &pool);
        let waker = eventfd();
        endpoint.register_waker(waker.as_fd()).expect("room for a waker");
        std::fs::File::from(waker).write_all(&1u64.to_ne_bytes()).expect("an eventfd takes it");
        let mut received = Vec::new();
        for _ in 0..10 {
            assert_eq!(endpoint.receive(&mut received, 64), 0);
        }
        let start = Instant::now();
        endpoint.wait(Duration::from_secs(60)).expect("a working host");
        assert!(start.elapsed() < Duration::from_secs(30), "{case:?}");
    }
}
