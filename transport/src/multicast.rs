//! IP multicast: joining groups, sending to them, and finding out by trying whether a host delivers them.
//!
//! Whether multicast works depends on interfaces, routes, switches and filters, and asking for each of them tells less
//! than one datagram that arrives: [`probe`] sends it.

use crate::HostError;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, Socket, Type};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

/// How long [`probe`] waits for each of its datagrams. The loopback path takes microseconds; a host under load may
/// keep the process from running for some scheduler slices.
const PROBE_WAIT: Duration = Duration::from_millis(100);
/// How many datagrams [`probe`] sends before it gives up.
const PROBE_ATTEMPTS: usize = 3;

/// Finds out by trying whether this host sends to `group` through the interface that has the address `interface`, and
/// delivers the group to members on the same host. Takes a fraction of a second at most.
///
/// Port 0 lets the kernel choose one. An IPv6 group is sent within the link or the site: `ff02::/16` or `ff05::/16`.
///
/// # Errors
///
/// The reason why it does not work, for a person.
pub fn probe(interface: IpAddr, group: IpAddr, port: u16) -> Result<(), String> {
    let member = open_member(&[group], port, interface).map_err(|e| e.to_string())?;
    let address = member.local_addr().ok().and_then(|a| a.as_socket());
    let port = address.ok_or("the probe's socket has no address")?.port();
    let sender = open_socket(interface).map_err(|e| e.to_string())?;
    send_through(&sender, interface).map_err(|e| e.to_string())?;
    member.set_read_timeout(Some(PROBE_WAIT)).map_err(|e| format!("no receive timeout can be set: {e}"))?;

    // Unlike anything that another probe or a running cluster sends to the same group.
    let mark = RandomState::new().build_hasher().finish().to_ne_bytes();
    let to = SockAddr::from(SocketAddr::new(group, port));
    for _ in 0..PROBE_ATTEMPTS {
        sender.send_to(&mark, &to).map_err(|e| format!("sending to group {group} through {interface} failed: {e}"))?;
        if arrives(&member, &mark)? {
            return Ok(());
        }
    }
    Err(format!(
        "group {group} was joined on {interface} and sent to, but nothing came back: \
         a packet filter drops it, or the interface does not carry multicast"
    ))
}

/// Whether `mark` arrives in time; other datagrams to the group do not prolong the wait.
fn arrives(mut member: &Socket, mark: &[u8]) -> Result<bool, String> {
    let end = Instant::now() + PROBE_WAIT;
    let mut buffer = [0; 64];
    while Instant::now() < end {
        match member.read(&mut buffer) {
            Ok(length) if buffer[..length] == *mark => return Ok(true),
            Ok(_) => {}
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(e) => return Err(format!("receiving from the group failed: {e}")),
        }
    }
    Ok(false)
}

/// A datagram socket of the address's family.
pub(crate) fn open_socket(family: IpAddr) -> Result<Socket, HostError> {
    let domain = if family.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let what = || format!("a datagram socket for {family}");
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP));
    let socket = socket.map_err(|e| HostError::from_io("socket", &e, what()))?;
    if family.is_ipv6() {
        socket.set_only_v6(true).map_err(|e| HostError::from_io("setsockopt IPV6_V6ONLY", &e, what()))?;
    }
    Ok(socket)
}

/// A socket bound to `port` that receives `groups`, and no group that only other sockets of the host joined.
pub(crate) fn open_member(groups: &[IpAddr], port: u16, interface: IpAddr) -> Result<Socket, HostError> {
    let socket = open_socket(interface)?;
    let what = format!("the group port {port} on {interface}");
    // All members on a host share the port.
    socket.set_reuse_address(true).map_err(|e| HostError::from_io("setsockopt SO_REUSEADDR", &e, &what))?;
    only_joined(&socket, interface)?;
    let any = match interface {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    socket.bind(&SocketAddr::new(any, port).into()).map_err(|e| HostError::from_io("bind", &e, &what))?;
    for &group in groups {
        join(&socket, group, interface)?;
    }
    Ok(socket)
}

/// Restricts a socket to groups that it joined itself: by default it would get every group that anybody on the host
/// joined.
pub(crate) fn only_joined(socket: &Socket, family: IpAddr) -> Result<(), HostError> {
    let set = match family {
        IpAddr::V4(_) => socket.set_multicast_all_v4(false),
        IpAddr::V6(_) => socket.set_multicast_all_v6(false),
    };
    set.map_err(|e| HostError::from_io("setsockopt IP_MULTICAST_ALL", &e, format!("a datagram socket for {family}")))
}

fn join(socket: &Socket, group: IpAddr, interface: IpAddr) -> Result<(), HostError> {
    let what = || format!("group {group} on {interface}");
    let joined = match (group, interface) {
        (IpAddr::V4(group), IpAddr::V4(address)) => {
            socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Address(address))
        }
        (IpAddr::V6(group), IpAddr::V6(_)) => socket.join_multicast_v6(&group, interface_index(interface)?),
        _ => return Err(mixed_families("setsockopt IP_ADD_MEMBERSHIP", what())),
    };
    joined.map_err(|e| HostError::from_io("setsockopt IP_ADD_MEMBERSHIP", &e, what()))
}

/// Makes a socket's datagrams to groups leave through `interface`, stay on the link, and reach members on this host.
///
/// The last costs nothing where there is none: the kernel copies a datagram back only on a host that joined its group.
pub(crate) fn send_through(socket: &Socket, interface: IpAddr) -> Result<(), HostError> {
    let what = || format!("groups through {interface}");
    let set = match interface {
        IpAddr::V4(address) => socket
            .set_multicast_if_v4(&address)
            .and_then(|()| socket.set_multicast_ttl_v4(1))
            .and_then(|()| socket.set_multicast_loop_v4(true)),
        IpAddr::V6(_) => {
            let index = interface_index(interface)?;
            socket
                .set_multicast_if_v6(index)
                .and_then(|()| socket.set_multicast_hops_v6(1))
                .and_then(|()| socket.set_multicast_loop_v6(true))
        }
    };
    set.map_err(|e| HostError::from_io("setsockopt IP_MULTICAST_IF", &e, what()))
}

pub(crate) fn mixed_families(call: &'static str, what: String) -> HostError {
    HostError::new(call, libc::EAFNOSUPPORT, what)
        .with_mend("addresses, groups and interface must all be IPv4 or all IPv6")
}

/// The index of the interface that has `address`.
///
/// # Errors
///
/// No interface of this host has it.
pub fn interface_index(address: IpAddr) -> Result<u32, HostError> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `list` is writable; on success it is freed below.
    if unsafe { libc::getifaddrs(&mut list) } != 0 {
        return Err(HostError::last("getifaddrs", "this host's interfaces"));
    }
    let mut index = 0;
    let mut next = list;
    // SAFETY: getifaddrs returned a list that ends with a null link; entries live until it is freed.
    while let Some(entry) = unsafe { next.as_ref() } {
        // SAFETY: the entry's address is null or points to an address of its family.
        if unsafe { ip_of(entry.ifa_addr) } == Some(address) {
            // SAFETY: the entry's name is a C string.
            index = unsafe { libc::if_nametoindex(entry.ifa_name) };
            break;
        }
        next = entry.ifa_next;
    }
    // SAFETY: allocated by getifaddrs and not used from here on.
    unsafe { libc::freeifaddrs(list) };
    if index == 0 {
        return Err(HostError::new("getifaddrs", libc::EADDRNOTAVAIL, format!("the interface of {address}")));
    }
    Ok(index)
}

/// The IP address in a socket address of any family.
///
/// # Safety
///
/// `address` is null or points to a socket address as large as its family's.
unsafe fn ip_of(address: *const libc::sockaddr) -> Option<IpAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: the caller's promise; every socket address begins with its family.
    match i32::from(unsafe { (*address).sa_family }) {
        libc::AF_INET => {
            // SAFETY: an address of this family is a sockaddr_in.
            let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(IpAddr::V4(Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes())))
        }
        libc::AF_INET6 => {
            // SAFETY: an address of this family is a sockaddr_in6.
            let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(IpAddr::V6(Ipv6Addr::from(v6.sin6_addr.s6_addr)))
        }
        _ => None,
    }
}

/// A group's address as a destination. An IPv6 group that is sent through `interface` carries its index, since such
/// addresses mean something else on each link.
///
/// # Errors
///
/// No interface of this host has the address.
pub fn destination(group: IpAddr, port: u16, interface: IpAddr) -> Result<SocketAddr, HostError> {
    Ok(match group {
        IpAddr::V4(_) => SocketAddr::new(group, port),
        IpAddr::V6(group) => SocketAddr::V6(SocketAddrV6::new(group, port, 0, interface_index(interface)?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// A group that no other test and no cluster of this host is likely to use.
    fn any_group() -> IpAddr {
        let [a, b, c, ..] = RandomState::new().build_hasher().finish().to_ne_bytes();
        IpAddr::V4(Ipv4Addr::new(239, a, b, c))
    }

    #[test]
    fn loopback_carries_ipv4_groups() {
        assert_eq!(probe(LOOPBACK, any_group(), 0), Ok(()));
    }

    #[test]
    fn a_probe_over_ipv6_works_or_gives_a_reason() {
        let group = "ff02::4c4f".parse().expect("a group");
        if let Err(reason) = probe(IpAddr::V6(Ipv6Addr::LOCALHOST), group, 0) {
            assert!(!reason.is_empty());
        }
    }

    #[test]
    fn a_foreign_interface_is_named_in_the_reason() {
        let reason = probe("192.0.2.1".parse().expect("an address"), any_group(), 0).expect_err("no such interface");
        assert!(reason.contains("192.0.2.1"), "{reason}");
    }

    #[test]
    fn families_must_not_mix() {
        let reason = probe(LOOPBACK, "ff02::1".parse().expect("a group"), 0).expect_err("mixed families");
        assert!(reason.contains("must all be IPv4"), "{reason}");
    }

    #[test]
    fn the_loopback_interface_has_an_index() {
        assert_ne!(interface_index(LOOPBACK), Ok(0));
        assert!(interface_index(LOOPBACK).is_ok());
        assert!(interface_index("192.0.2.1".parse().expect("an address")).is_err());
    }
}
