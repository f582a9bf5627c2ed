//! What every back-end must do, run over each back-end and each address family.

mod host;

use host::{Case, any_group, cases, receive_exactly, receive_for};
use logothete_transport::datagram::{BackendChoice, Endpoint, EndpointConfig, GroupConfig};
use logothete_transport::multicast;
use logothete_transport::pool::{Frame, Pool, PoolConfig};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

const FRAME_BYTES: usize = 1472;

fn pool(frames: usize) -> Pool {
    Pool::new(PoolConfig {
        frame_bytes: FRAME_BYTES,
        frames,
    })
    .expect("a small pool")
}

fn endpoint(case: Case, pool: &Pool) -> Endpoint {
    let mut config = EndpointConfig::new(pool.clone(), SocketAddr::new(case.loopback, 0));
    config.backend = case.backend;
    Endpoint::open(config).expect("an endpoint on loopback")
}

fn filled(pool: &Pool, bytes: &[u8]) -> Frame {
    let mut frame = pool.take().expect("a free frame");
    frame.fill(bytes);
    frame
}

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
        assert_eq!(
            received[0].frame.as_ptr() as usize % 64,
            0,
            "{case:?}: bytes begin at the frame's aligned start"
        );
        assert_eq!(
            (
                b.counters().received.value(),
                b.counters().received_bytes.value()
            ),
            (1, 5),
            "{case:?}"
        );
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
            assert_eq!(
                &*receive_exactly(&mut endpoint, 1)[0].frame,
                &bytes[..],
                "{case:?}, {length} bytes"
            );
        }
    }
}

#[test]
fn nothing_is_sent_before_the_flush_and_waiting_flushes() {
    for case in cases() {
        let pool = pool(64);
        let (mut a, mut b) = (endpoint(case, &pool), endpoint(case, &pool));
        a.send(filled(&pool, b"later"), b.local_address());
        assert!(
            receive_for(&mut b, Duration::from_millis(5)).is_empty(),
            "{case:?}"
        );
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
        let numbers: Vec<u32> = received
            .iter()
            .map(|r| u32::from_le_bytes(r.frame[..].try_into().expect("four bytes")))
            .collect();
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
        assert!(
            receive_exactly(&mut b, 300)
                .iter()
                .all(|r| *r.frame == *b"to all"),
            "{case:?}"
        );
        // Every send is complete by now, and the counters of io_uring's completions follow at the next look.
        receive_for(&mut a, Duration::from_millis(1));
        assert_eq!(
            (a.counters().sent.value(), a.counters().sent_bytes.value()),
            (300, 1800),
            "{case:?}"
        );
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
        assert_eq!(
            std::iter::from_fn(|| pool.take()).collect::<Vec<_>>().len(),
            64,
            "{case:?}"
        );
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
        assert_eq!(
            std::iter::from_fn(|| pool.take()).collect::<Vec<_>>().len(),
            256,
            "{case:?}"
        );
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
        assert!(
            held.len() <= 16 && !held.is_empty(),
            "{case:?}: {}",
            held.len()
        );
        assert!(b.counters().pool_exhausted.value() > 0, "{case:?}");
        let mut numbers: Vec<u8> = held.iter().map(|r| r.frame[0]).collect();
        drop(held);
        let end = Instant::now() + Duration::from_secs(10);
        while numbers.len() < 100 && Instant::now() < end {
            numbers.extend(
                receive_for(&mut b, Duration::from_millis(1))
                    .iter()
                    .map(|r| r.frame[0]),
            );
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
            assert!(
                b.counters().enobufs.value() > 0 && b.counters().rearmed.value() > 0,
                "{case:?}"
            );
        }
    }
}

#[test]
fn an_oversize_datagram_is_counted_and_the_next_one_arrives() {
    for case in cases() {
        let pool = pool(64);
        let mut b = endpoint(case, &pool);
        let foreign =
            std::net::UdpSocket::bind(SocketAddr::new(case.loopback, 0)).expect("a socket");
        foreign
            .send_to(&[1; FRAME_BYTES + 1], b.local_address())
            .expect("sent");
        foreign
            .send_to(&[2; FRAME_BYTES], b.local_address())
            .expect("sent");
        let received = receive_exactly(&mut b, 1);
        assert_eq!(*received[0].frame, [2; FRAME_BYTES], "{case:?}");
        assert_eq!(
            (
                b.counters().truncated.value(),
                b.counters().received.value()
            ),
            (1, 1),
            "{case:?}"
        );
    }
}

#[test]
fn refused_sends_are_counted_and_do_not_stop_the_others() {
    for case in cases() {
        let pool = pool(64);
        let (mut a, mut b) = (endpoint(case, &pool), endpoint(case, &pool));
        // No host sends to port 0, and no socket sends to the other family's addresses.
        let foreign = if case.loopback.is_ipv4() {
            "[::1]:9"
        } else {
            "127.0.0.1:9"
        };
        let refused = [
            SocketAddr::new(case.loopback, 0),
            foreign.parse().expect("an address"),
        ];
        // Nobody listens here: the network's refusal must not hurt later calls.
        let silent =
            std::net::UdpSocket::bind(SocketAddr::new(case.loopback, 0)).expect("a socket");
        let dead = silent.local_addr().expect("an address");
        drop(silent);
        for round in 0..3u8 {
            for to in [
                refused[0],
                b.local_address(),
                dead,
                refused[1],
                b.local_address(),
            ] {
                a.send(filled(&pool, &[round]), to);
            }
            a.flush().expect("a working host");
            assert_eq!(receive_exactly(&mut b, 2).len(), 2, "{case:?}");
            assert!(
                receive_for(&mut a, Duration::from_millis(1)).is_empty(),
                "{case:?}"
            );
        }
        assert_eq!(
            (a.counters().send_failed.value(), a.counters().sent.value()),
            (6, 9),
            "{case:?}"
        );
    }
}

#[test]
fn a_full_socket_is_counted_as_kernel_drops() {
    for case in cases() {
        let pool = pool(64);
        let mut config = EndpointConfig::new(pool.clone(), SocketAddr::new(case.loopback, 0));
        (config.backend, config.receive_buffer_bytes) = (case.backend, 4096);
        let mut b = Endpoint::open(config).expect("an endpoint on loopback");
        let foreign =
            std::net::UdpSocket::bind(SocketAddr::new(case.loopback, 0)).expect("a socket");
        for _ in 0..500 {
            foreign
                .send_to(&[0; 1000], b.local_address())
                .expect("sent");
        }
        let first = receive_for(&mut b, Duration::from_millis(20)).len() as u64;
        // The count comes with the next datagram.
        foreign.send_to(&[1], b.local_address()).expect("sent");
        receive_exactly(&mut b, 1);
        assert_eq!(b.counters().kernel_drops.value() + first, 500, "{case:?}");
    }
}

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
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "{case:?}: it slept until the timeout"
            );
            receive_exactly(&mut b, 1);
        }
    }
}

#[test]
fn a_waker_ends_a_wait_however_often_it_rings() {
    for case in cases() {
        let pool = pool(64);
        let mut endpoint = endpoint(case, &pool);
        let waker = host::eventfd();
        endpoint
            .register_waker(waker.as_fd())
            .expect("room for a waker");
        for round in 0..20 {
            let mut ringing = std::fs::File::from(waker.try_clone().expect("a duplicate"));
            let ringer = std::thread::spawn(move || {
                if round % 2 == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
                for _ in 0..=round % 3 {
                    ringing
                        .write_all(&1u64.to_ne_bytes())
                        .expect("an eventfd takes it");
                }
            });
            let woken = endpoint.counters().woken.value();
            let start = Instant::now();
            while endpoint.counters().woken.value() == woken {
                endpoint
                    .wait(Duration::from_secs(60))
                    .expect("a working host");
                assert!(
                    start.elapsed() < Duration::from_secs(30),
                    "{case:?}: the ring was lost"
                );
            }
            ringer.join().expect("no panic");
            // Whatever rang after the first wake-up is over before the next round.
            endpoint
                .wait(Duration::from_millis(1))
                .expect("a working host");
        }
    }
}

#[test]
fn a_ring_that_receiving_noticed_still_ends_the_next_wait() {
    for case in cases() {
        let pool = pool(64);
        let mut endpoint = endpoint(case, &pool);
        let waker = host::eventfd();
        endpoint
            .register_waker(waker.as_fd())
            .expect("room for a waker");
        std::fs::File::from(waker)
            .write_all(&1u64.to_ne_bytes())
            .expect("an eventfd takes it");
        let mut received = Vec::new();
        for _ in 0..10 {
            assert_eq!(endpoint.receive(&mut received, 64), 0);
        }
        let start = Instant::now();
        endpoint
            .wait(Duration::from_secs(60))
            .expect("a working host");
        assert!(start.elapsed() < Duration::from_secs(30), "{case:?}");
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
fn groups_reach_their_members_and_nobody_else() {
    let interface: IpAddr = "127.0.0.1".parse().expect("an address");
    let (group, other) = (any_group(), any_group());
    multicast::probe(interface, group, 0).expect("IPv4 groups on loopback");
    for case in cases().filter(|c| c.loopback == interface) {
        let pool = pool(512);
        // The kernel chooses a port for a first socket, and all members share it.
        let port = std::net::UdpSocket::bind("0.0.0.0:0")
            .and_then(|s| s.local_addr())
            .expect("a free port")
            .port();
        let open = |groups_join: Vec<IpAddr>| {
            let mut config = EndpointConfig::new(pool.clone(), SocketAddr::new(interface, 0));
            config.backend = case.backend;
            config.group = Some(GroupConfig {
                groups_join,
                port,
                interface,
            });
            Endpoint::open(config).expect("an endpoint on loopback")
        };
        let (mut sender, mut both, mut one) =
            (open(vec![]), open(vec![group, other]), open(vec![other]));
        let to = |group| SocketAddr::new(group, port);
        for _ in 0..5 {
            sender.send(filled(&pool, b"group"), to(group));
            sender.send(filled(&pool, b"other"), to(other));
            sender.send(filled(&pool, b"alone"), both.local_address());
        }
        sender.flush().expect("a working host");
        let received = receive_exactly(&mut both, 15);
        let of = |text: &[u8], group| {
            received
                .iter()
                .filter(|r| *r.frame == *text && r.group == group)
                .count()
        };
        assert_eq!(
            (of(b"group", true), of(b"other", true), of(b"alone", false)),
            (5, 5, 5),
            "{case:?}"
        );
        assert!(
            received.iter().all(|r| r.from == sender.local_address()),
            "{case:?}"
        );
        assert!(
            receive_exactly(&mut one, 5)
                .iter()
                .all(|r| *r.frame == *b"other"),
            "{case:?}"
        );
        assert!(
            receive_for(&mut one, Duration::from_millis(5)).is_empty(),
            "{case:?}"
        );
        assert!(
            receive_for(&mut sender, Duration::from_millis(5)).is_empty(),
            "{case:?}: a sender hears no group it did not join"
        );
    }
}

#[test]
fn a_busy_group_does_not_starve_unicasts_nor_the_other_way_round() {
    let interface: IpAddr = "127.0.0.1".parse().expect("an address");
    let group = any_group();
    for case in cases().filter(|c| c.loopback == interface) {
        let pool = pool(2048);
        let port = std::net::UdpSocket::bind("0.0.0.0:0")
            .and_then(|s| s.local_addr())
            .expect("a free port")
            .port();
        let mut config = EndpointConfig::new(pool.clone(), SocketAddr::new(interface, 0));
        config.backend = case.backend;
        config.group = Some(GroupConfig {
            groups_join: vec![group],
            port,
            interface,
        });
        let mut endpoint = Endpoint::open(config).expect("an endpoint on loopback");
        let unicast = endpoint.local_address();
        for (busy, quiet) in [
            (SocketAddr::new(group, port), unicast),
            (unicast, SocketAddr::new(group, port)),
        ] {
            let mut received = Vec::new();
            endpoint.send(filled(&pool, b"quiet"), quiet);
            for _ in 0..20 {
                for _ in 0..4 {
                    endpoint.send(filled(&pool, b"busy"), busy);
                }
                endpoint.flush().expect("a working host");
                // Fewer than come in: the busy socket is never empty.
                endpoint.receive(&mut received, 2);
            }
            assert!(
                received.iter().any(|r| *r.frame == *b"quiet"),
                "{case:?}: starved"
            );
            receive_for(&mut endpoint, Duration::from_millis(5));
        }
    }
}

#[test]
fn ipv6_groups_work_where_the_probe_says_so() {
    let interface: IpAddr = "::1".parse().expect("an address");
    let group: IpAddr = "ff02::4c4f:474f".parse().expect("a group");
    if multicast::probe(interface, group, 0).is_err() {
        return;
    }
    for case in cases().filter(|c| c.loopback == interface) {
        let pool = pool(256);
        let port = std::net::UdpSocket::bind("[::]:0")
            .and_then(|s| s.local_addr())
            .expect("a free port")
            .port();
        let mut config = EndpointConfig::new(pool.clone(), SocketAddr::new(interface, 0));
        config.backend = case.backend;
        config.group = Some(GroupConfig {
            groups_join: vec![group],
            port,
            interface,
        });
        let mut endpoint = Endpoint::open(config).expect("an endpoint on loopback");
        endpoint.send(
            filled(&pool, b"six"),
            multicast::destination(group, port, interface).expect("an interface"),
        );
        endpoint.flush().expect("a working host");
        assert!(receive_exactly(&mut endpoint, 1)[0].group, "{case:?}");
    }
}

#[test]
fn a_taken_address_is_an_error_that_names_it() {
    for case in cases() {
        let pool = pool(64);
        let first = endpoint(case, &pool);
        let mut config = EndpointConfig::new(pool.clone(), first.local_address());
        config.backend = case.backend;
        let error = Endpoint::open(config)
            .err()
            .expect("the address is taken")
            .to_string();
        assert!(
            error.contains(&first.local_address().to_string()) && error.contains("another process"),
            "{error}"
        );
    }
}

#[test]
fn the_choice_of_the_back_end_is_explained() {
    let pool = pool(64);
    let endpoint = Endpoint::open(EndpointConfig::new(
        pool,
        "127.0.0.1:0".parse().expect("an address"),
    ))
    .expect("an endpoint");
    let (backend, reason) = endpoint.backend();
    assert!(
        !backend.to_string().is_empty() && reason.contains("cores") || reason.contains("io_uring"),
        "{reason}"
    );
    assert!(endpoint.receive_buffer_bytes() > 0);
}
