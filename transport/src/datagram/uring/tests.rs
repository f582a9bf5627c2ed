//! What completions say that no test over the network brings about: of requests that were cancelled, with codes that are not expected.

use super::*;
use crate::counters::CounterSet;
use crate::pool::PoolConfig;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Instant;

/// An endpoint's half on loopback, and where it is; none where the host has no io_uring.
fn uring() -> Option<(Uring, SocketAddr)> {
    let pool = Pool::new(PoolConfig { frame_bytes: 256, frames: 64 }).expect("a small pool");
    let sockets = Rc::new(Sockets::open((Ipv4Addr::LOCALHOST, 0).into(), None, 1 << 16).expect("a socket"));
    let at = sockets.local_address().expect("it is bound");
    Uring::open(sockets, pool, Rc::new(DatagramCounters::private())).ok().map(|uring| (uring, at))
}

/// Sends a datagram to the endpoint, which receives it.
fn hears(uring: &mut Uring, at: SocketAddr) -> bool {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().send_to(b"here", at).unwrap();
    let (mut received, begin) = (Vec::new(), Instant::now());
    while uring.receive(&mut received, 8) == 0 && begin.elapsed() < Duration::from_secs(2) {
        if uring.wait(Duration::from_millis(50)).is_err() {
            return false;
        }
    }
    received.first().is_some_and(|datagram| datagram.frame[..] == *b"here")
}

#[test]
fn a_receive_that_was_cancelled_is_armed_again() {
    let Some((mut uring, at)) = uring() else { return };
    assert!(hears(&mut uring, at));
    let rearmed = uring.counters.rearmed.value();
    uring.ring.cancel_all();
    uring.enter(1, Some(Duration::from_secs(2)));
    uring.reap();
    assert!(!uring.is_armed(), "its completion had no MORE");
    assert!(hears(&mut uring, at));
    assert_eq!(uring.counters.rearmed.value(), rearmed + 1);
}

#[test]
fn codes_of_one_datagram_are_survived_and_those_of_a_broken_socket_are_final() {
    let more = 1 << 1;
    assert!(cqueue::more(more));
    for errno in [libc::ECONNREFUSED, libc::EHOSTUNREACH, libc::EMSGSIZE, libc::EIO, libc::EINTR, 4095] {
        let Some((mut uring, at)) = uring() else { return };
        uring.on_receive(0, -errno, more);
        assert!(uring.check().is_ok() && hears(&mut uring, at), "{errno}");
    }
    for errno in [libc::EBADF, libc::ENOTSOCK, libc::EFAULT, libc::EOPNOTSUPP, libc::ENOSYS, libc::EINVAL] {
        let Some((mut uring, _)) = uring() else { return };
        uring.on_receive(0, -errno, more);
        let error = uring.wait(Duration::ZERO).expect_err("it is broken");
        assert!(error.to_string().contains("IORING_OP_RECVMSG"), "{error}");
        // And stays so.
        uring.on_receive(0, 4, more);
        assert!(uring.flush().is_err(), "{errno}");
    }
}
