//! Multicast groups beside unicasts.

use crate::host::{any_group, cases, filled, pool, receive_exactly, receive_for};
use logothete_transport::datagram::{Endpoint, EndpointConfig, GroupConfig};
use logothete_transport::multicast;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

#[test]
fn groups_reach_their_members_and_nobody_else() {
    let interface: IpAddr = "127.0.0.1".parse().expect("an address");
    let (group, other) = (any_group(), any_group());
    multicast::probe(interface, group, 0).expect("IPv4 groups on loopback");
    for case in cases().filter(|c| c.loopback == interface) {
        let pool = pool(512);
        // The kernel chooses a port for a first socket, and all members share it.
        let port = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|s| s.local_addr()).expect("a free port").port();
        let open = |groups_join: Vec<IpAddr>| {
            let mut config = EndpointConfig::new(pool.clone(), SocketAddr::new(interface, 0));
            config.backend = case.backend;
            config.group = Some(GroupConfig { groups_join, port, interface });
            Endpoint::open(config).expect("an endpoint on loopback")
        };
        let (mut sender, mut both, mut one) = (open(vec![]), open(vec![group, other]), open(vec![other]));
        let to = |group| SocketAddr::new(group, port);
        for _ in 0..5 {
            sender.send(filled(&pool, b"group"), to(group));
            sender.send(filled(&pool, b"other"), to(other));
            sender.send(filled(&pool, b"alone"), both.local_address());
        }
        sender.flush().expect("a working host");
        let received = receive_exactly(&mut both, 15);
        let of = |text: &[u8], group| received.iter().filter(|r| *r.frame == *text && r.group == group).count();
        assert_eq!((of(b"group", true), of(b"other", true), of(b"alone", false)), (5, 5, 5), "{case:?}");
        assert!(received.iter().all(|r| r.from == sender.local_address()), "{case:?}");
        assert!(receive_exactly(&mut one, 5).iter().all(|r| *r.frame == *b"other"), "{case:?}");
        assert!(receive_for(&mut one, Duration::from_millis(5)).is_empty(), "{case:?}");
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
        let port = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|s| s.local_addr()).expect("a free port").port();
        let mut config = EndpointConfig::new(pool.clone(), SocketAddr::new(interface, 0));
        config.backend = case.backend;
        config.group = Some(GroupConfig { groups_join: vec![group], port, interface });
        let mut endpoint = Endpoint::open(config).expect("an endpoint on loopback");
        let unicast = endpoint.local_address();
        for (busy, quiet) in [(SocketAddr::new(group, port), unicast), (unicast, SocketAddr::new(group, port))] {
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
            assert!(received.iter().any(|r| *r.frame == *b"quiet"), "{case:?}: starved");
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
        let port = std::net::UdpSocket::bind("[::]:0").and_then(|s| s.local_addr()).expect("a free port").port();
        let mut config = EndpointConfig::new(pool.clone(), SocketAddr::new(interface, 0));
        config.backend = case.backend;
        config.group = Some(GroupConfig { groups_join: vec![group], port, interface });
        let mut endpoint = Endpoint::open(config).expect("an endpoint on loopback");
        endpoint.send(filled(&pool, b"six"), multicast::destination(group, port, interface).expect("an interface"));
        endpoint.flush().expect("a working host");
        assert!(receive_exactly(&mut endpoint, 1)[0].group, "{case:?}");
    }
}
