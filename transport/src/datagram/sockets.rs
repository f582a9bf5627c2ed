//! Opening and configuring an endpoint's sockets, the same for every back-end.

use crate::HostError;
use crate::multicast;
use socket2::Socket;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};

/// Room for datagrams that wait for the interface. On loopback none do; a burst to a 10 Gbit/s interface is below a
/// megabyte.
const SEND_BUFFER_BYTES: usize = 2 << 20;

/// Multicast, as one endpoint takes part in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// The groups to receive; empty for an endpoint that only sends to groups. The kernel allows 20 a socket by
    /// default.
    pub groups_join: Vec<IpAddr>,
    /// The port of all groups.
    pub port: u16,
    /// An address of the interface that groups are joined on and sent through.
    pub interface: IpAddr,
}

/// An endpoint's sockets.
pub(super) struct Sockets {
    pub(super) unicast: Socket,
    /// Bound to the group port; there when groups are joined.
    pub(super) group: Option<Socket>,
    /// The smaller of the receive buffers that the kernel granted.
    pub(super) receive_buffer_bytes: usize,
}

impl Sockets {
    pub(super) fn open(
        unicast: SocketAddr,
        group: Option<&GroupConfig>,
        buffer_bytes: usize,
    ) -> Result<Sockets, HostError> {
        let socket = multicast::open_socket(unicast.ip())?;
        multicast::only_joined(&socket, unicast.ip())?;
        let bound = socket.bind(&unicast.into());
        bound.map_err(|e| HostError::from_io("bind", &e, format!("udp {unicast}")))?;
        let mut sockets =
            Sockets { receive_buffer_bytes: configure(&socket, buffer_bytes)?, unicast: socket, group: None };
        let Some(GroupConfig { groups_join, port, interface }) = group else {
            return Ok(sockets);
        };
        if interface.is_ipv4() != unicast.is_ipv4() {
            return Err(multicast::mixed_families("bind", format!("udp {unicast} with groups on {interface}")));
        }
        multicast::send_through(&sockets.unicast, *interface)?;
        if !groups_join.is_empty() {
            let member = multicast::open_member(groups_join, *port, *interface)?;
            sockets.receive_buffer_bytes = sockets.receive_buffer_bytes.min(configure(&member, buffer_bytes)?);
            sockets.group = Some(member);
        }
        Ok(sockets)
    }

    /// The descriptors, the unicast socket's first.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        std::iter::once(&self.unicast).chain(&self.group).map(Socket::as_raw_fd)
    }

    pub(super) fn local_address(&self) -> Result<SocketAddr, HostError> {
        let failed = |e| HostError::from_io("getsockname", &e, "the unicast socket");
        let address = self.unicast.local_addr().map_err(failed)?;
        address.as_socket().ok_or_else(|| HostError::new("getsockname", libc::EAFNOSUPPORT, "the unicast socket"))
    }
}

/// Sets what every socket needs; returns the receive buffer that the kernel granted.
fn configure(socket: &Socket, receive_bytes: usize) -> Result<usize, HostError> {
    // Past the system's limit where the process has the capability, up to the limit where not.
    for (forced, plain, bytes) in [
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, receive_bytes),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, SEND_BUFFER_BYTES),
    ] {
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX / 2);
        if !set(socket, forced, bytes) && !set(socket, plain, bytes) {
            return Err(HostError::last("setsockopt SO_RCVBUF", format!("a buffer of {bytes} bytes")));
        }
    }
    if !set(socket, libc::SO_RXQ_OVFL, 1) {
        return Err(HostError::last("setsockopt SO_RXQ_OVFL", "a datagram socket"));
    }
    let granted =
        socket.recv_buffer_size().map_err(|e| HostError::from_io("getsockopt SO_RCVBUF", &e, "a datagram socket"))?;
    // The kernel doubles the value for its own bookkeeping and reports the double.
    Ok(granted / 2)
}

fn set(socket: &Socket, option: libc::c_int, value: libc::c_int) -> bool {
    let bytes = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open and the value as large as stated.
    unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const value).cast(), bytes) == 0 }
}
