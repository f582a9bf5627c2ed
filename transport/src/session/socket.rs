//! The session socket: sequenced packets, who is at the other end, bells, and the end of the peer.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use super::error::SessionError;
use super::wire::{FAREWELL_BYTES_MAX, PACKET_BELL, PACKET_BYTES_MAX, PACKET_FAREWELL};

/// The process at the other end of a session, as the kernel vouches for it: who it was when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its process; 0 when that is in a process namespace out of sight.
    pub pid: u32,
    /// Its effective user.
    pub uid: u32,
}

/// A socket that never blocks, and is closed in children.
pub(super) fn open(path: &Path) -> Result<OwnedFd, SessionError> {
    rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .map_err(|errno| host("socket", path, errno))
}

/// The socket address of a path.
pub(super) fn address(path: &Path) -> Result<SocketAddrUnix, SessionError> {
    SocketAddrUnix::new(path).map_err(|errno| SessionError::PathInvalid {
        path: path.to_owned(),
        reason: match errno {
            Errno::NAMETOOLONG => "it is longer than the 107 bytes that the system allows; choose a shorter one",
            _ => "it contains a zero byte",
        },
    })
}

/// A failed call, with the path that it was made for.
pub(super) fn host(call: &'static str, path: &Path, errno: Errno) -> SessionError {
    SessionError::Host { call, path: path.to_owned(), source: errno.into() }
}

/// Who is at the other end.
pub(super) fn peer(socket: BorrowedFd<'_>) -> Result<Peer, Errno> {
    // rustix has this call too, but takes a process number of zero (a peer in another namespace) for impossible.
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `credentials`, which is that long and plain integers.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    };
    if status != 0 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
    }
    Ok(Peer { pid: u32::try_from(credentials.pid).unwrap_or(0), uid: credentials.uid })
}

/// Sends one packet, or does not: where it cannot be sent the peer has unread packets enough to be awake, or is gone,
/// which reading will tell.
pub(super) fn send(socket: impl AsFd, packet: &[u8]) {
    let _ = rustix::net::send(socket, packet, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}

/// Wakes the peer.
pub(super) fn ring_bell(socket: impl AsFd) {
    send(socket, &[PACKET_BELL]);
}

/// Tells the peer why this is the end.
pub(super) fn send_farewell(socket: impl AsFd, reason: &[u8]) {
    let reason = &reason[..reason.len().min(FAREWELL_BYTES_MAX)];
    let mut packet = [0; 1 + FAREWELL_BYTES_MAX];
    packet[0] = PACKET_FAREWELL;
    packet[1..1 + reason.len()].copy_from_slice(reason);
    send(socket, &packet[..1 + reason.len()]);
}

/// What reading a session's socket told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Drained {
    /// The peer lives.
    Alive,
    /// The peer is gone, with its last words, if it had any.
    Closed(Option<Vec<u8>>),
}

/// Reads away the bells, at most `count_max` packets, and finds out whether the peer still lives.
pub(super) fn drain(socket: impl AsFd, count_max: usize) -> Drained {
    let mut farewell = None;
    for _ in 0..count_max {
        let mut packet = [0u8; PACKET_BYTES_MAX];
        match rustix::net::recv(&socket, &mut packet[..], RecvFlags::DONTWAIT) {
            // No correct peer sends an empty packet, so this is the end of the stream.
            Ok((0, _)) => return Drained::Closed(farewell),
            Ok((_, length)) if packet[0] == PACKET_FAREWELL => {
                farewell = Some(packet[1..length.min(packet.len())].to_vec());
            }
            // A peer that left without reading everything: reported once, before what it had sent.
            Ok(_) | Err(Errno::INTR | Errno::CONNRESET) => {}
            Err(Errno::AGAIN) => break,
            Err(_) => return Drained::Closed(farewell),
        }
    }
    match farewell {
        // The connection's end follows; there is no reason to wait for it.
        Some(_) => Drained::Closed(farewell),
        None => Drained::Alive,
    }
}
