//! What the network offers: multicast by trying, and the kernel's limits of socket buffers.

use super::{Check, State, bytes_text};
use logothete_engine::cluster::Cluster;
use logothete_transport::multicast;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// A burst of 128 datagrams of 32 KiB: what four replicas and a driver may send while this process waits for its turn
/// on a core.
const BUFFER_BYTES_WANTED: u64 = 4 << 20;

/// The group that is tried where there is no configuration: of the administratively scoped ones (RFC 2365).
const GROUP_TRIED: Ipv4Addr = Ipv4Addr::new(239, 255, 76, 71);

/// Every check of this file.
pub fn checks(cluster: Option<&Cluster>) -> Vec<Check> {
    let mut checks = vec![
        buffer(
            "receive buffer",
            "net.core.rmem_max",
            "datagrams that find the buffer full are lost, and a retransmission costs milliseconds",
        ),
        buffer(
            "send buffer",
            "net.core.wmem_max",
            "a burst that finds the buffer full waits, or is lost and sent again",
        ),
    ];
    let interfaces: Vec<IpAddr> = match cluster {
        None => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        Some(cluster) => {
            let mut hosts: Vec<_> =
                cluster.replicas.iter().map(|replica| replica.address.ip()).filter(|host| is_here(*host)).collect();
            hosts.sort_unstable();
            hosts.dedup();
            hosts
        }
    };
    let group = cluster.map_or(IpAddr::V4(GROUP_TRIED), |cluster| cluster.multicast.group);
    checks.extend(interfaces.into_iter().map(|interface| multicast_works(interface, group)));
    checks
}

/// Whether the address belongs to this host.
pub fn is_here(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

fn buffer(name: &'static str, setting: &str, why: &'static str) -> Check {
    let path = format!("/proc/sys/{}", setting.replace('.', "/"));
    let limit = fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
    judge_buffer(name, setting, why, limit)
}

fn judge_buffer(name: &'static str, setting: &str, why: &'static str, limit: Option<u64>) -> Check {
    let state = if limit >= Some(BUFFER_BYTES_WANTED) { State::Good } else { State::Advice };
    Check::new(
        name,
        state,
        limit.map_or(String::from("unknown"), bytes_text),
        format!("{} or more", bytes_text(BUFFER_BYTES_WANTED)),
        why,
        format!("sysctl -w {setting}={BUFFER_BYTES_WANTED}"),
    )
}

fn multicast_works(interface: IpAddr, group: IpAddr) -> Check {
    // The kernel chooses the port, so that a running cluster is not disturbed.
    let tried = multicast::probe(interface, group, 0);
    let state = if tried.is_ok() { State::Good } else { State::Advice };
    let device = if interface.is_loopback() { "lo" } else { "DEVICE" };
    let mend = if group.is_ipv4() {
        format!("ip link set {device} multicast on; ip route add 224.0.0.0/4 dev {device}")
    } else {
        format!("ip link set {device} multicast on; ip -6 route add multicast ff00::/8 dev {device} table local")
    };
    Check::new(
        "multicast",
        state,
        match tried {
            Ok(()) => format!("works on {interface}"),
            Err(reason) => format!("does not work on {interface}: {reason}"),
        },
        "a datagram to a group comes back",
        "one datagram then reaches every replica; without it each is sent one of its own (--fan-out unicast)",
        mend,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_judged() {
        let judge = |limit| judge_buffer("receive buffer", "net.core.rmem_max", "why", limit);
        assert_eq!(judge(Some(4 << 20)).state, State::Good);
        let check = judge(Some(212_992));
        assert_eq!(check.state, State::Advice);
        assert_eq!((check.found.as_str(), check.mend.as_str()), ("208 KiB", "sysctl -w net.core.rmem_max=4194304"));
        assert_eq!(judge(None).found, "unknown");
    }

    #[test]
    fn own_addresses_are_known() {
        assert!(is_here(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        // TEST-NET-1 of RFC 5737 is nobody's.
        assert!(!is_here("192.0.2.1".parse().unwrap()));
    }
}
