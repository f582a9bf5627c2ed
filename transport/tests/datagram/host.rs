//! What the datagram tests share: the cases, and receiving within bounds.

use logothete_transport::datagram::{BackendChoice, Endpoint, EndpointConfig, Received};
use logothete_transport::pool::{Frame, Pool, PoolConfig};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// A back-end and a family to run a test with.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub backend: BackendChoice,
    pub loopback: IpAddr,
}

/// Every case that this host offers: io_uring may be forbidden and IPv6 switched off.
pub fn cases() -> impl Iterator<Item = Case> {
    let families = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let backends = [BackendChoice::Mmsg, BackendChoice::IoUring];
    let uring = io_uring::IoUring::<io_uring::squeue::Entry>::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(8)
        .is_ok();
    families
        .into_iter()
        .filter(|&loopback| std::net::UdpSocket::bind((loopback, 0)).is_ok())
        .flat_map(move |loopback| backends.map(|backend| Case { backend, loopback }))
        .filter(move |case| uring || case.backend != BackendChoice::IoUring)
}

/// The capacity of the tests' frames.
pub const FRAME_BYTES: usize = 1472;

pub fn pool(frames: usize) -> Pool {
    Pool::new(PoolConfig { frame_bytes: FRAME_BYTES, frames }).expect("a small pool")
}

/// An endpoint on loopback without groups.
pub fn endpoint(case: Case, pool: &Pool) -> Endpoint {
    let mut config = EndpointConfig::new(pool.clone(), SocketAddr::new(case.loopback, 0));
    config.backend = case.backend;
    Endpoint::open(config).expect("an endpoint on loopback")
}

pub fn filled(pool: &Pool, bytes: &[u8]) -> Frame {
    let mut frame = pool.take().expect("a free frame");
    frame.fill(bytes);
    frame
}

/// A group that no other test is likely to use.
pub fn any_group() -> IpAddr {
    let [a, b, c, ..] = RandomState::new().build_hasher().finish().to_ne_bytes();
    IpAddr::V4(Ipv4Addr::new(239, a, b, c))
}

/// Receives exactly `count` datagrams, sleeping between them.
pub fn receive_exactly(endpoint: &mut Endpoint, count: usize) -> Vec<Received> {
    let mut received = Vec::with_capacity(count);
    let end = Instant::now() + Duration::from_secs(10);
    while received.len() < count {
        assert!(Instant::now() < end, "{} of {count} datagrams came", received.len());
        let wanted = count - received.len();
        if endpoint.receive(&mut received, wanted) == 0 {
            endpoint.wait(Duration::from_millis(100)).expect("a working host");
        }
    }
    received
}

/// Receives whatever comes until nothing came for `quiet`.
pub fn receive_for(endpoint: &mut Endpoint, quiet: Duration) -> Vec<Received> {
    let mut received = Vec::new();
    let mut last = Instant::now();
    while last.elapsed() <= quiet {
        if endpoint.receive(&mut received, 64) > 0 {
            last = Instant::now();
        }
    }
    received
}

/// An eventfd that blocks, as one from elsewhere may.
pub fn eventfd() -> OwnedFd {
    // SAFETY: no pointers; a fresh descriptor is this function's own.
    unsafe {
        let descriptor = libc::eventfd(0, libc::EFD_CLOEXEC);
        assert!(descriptor >= 0, "an eventfd");
        OwnedFd::from_raw_fd(descriptor)
    }
}
