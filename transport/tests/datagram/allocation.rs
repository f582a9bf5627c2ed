//! After its first rounds, an endpoint allocates nothing: neither sending, receiving, waiting nor failing to.

use crate::allocations::allocations_of;
use crate::host::{cases, endpoint, pool};
use logothete_transport::datagram::{Endpoint, Received};
use logothete_transport::pool::Pool;
use std::net::SocketAddr;
use std::time::Duration;

/// Sends a round of datagrams, some to nobody and some refused, and receives what comes back.
fn round(endpoint: &mut Endpoint, pool: &Pool, received: &mut Vec<Received>) -> usize {
    let own = endpoint.local_address();
    let refused = SocketAddr::new(own.ip(), 0);
    for length in [8, 8, 8, 100, 1472] {
        let mut frame = pool.take().expect("a free frame");
        frame.set_len(length);
        endpoint.send_all(frame, &[own, refused, own]);
    }
    endpoint.flush().expect("a working host");
    let mut count = 0;
    // Loopback delivers during the flush; io_uring may take a look or two to tell.
    for _ in 0..100 {
        count += endpoint.receive(received, 64);
        received.clear();
        if count == 10 {
            break;
        }
        endpoint.wait(Duration::from_millis(1)).expect("a working host");
    }
    endpoint.wait(Duration::from_micros(1)).expect("a working host");
    count
}

#[test]
fn the_steady_state_allocates_nothing() {
    for case in cases() {
        let pool = pool(256);
        let mut endpoint = endpoint(case, &pool);
        let mut received = Vec::with_capacity(64);
        round(&mut endpoint, &pool, &mut received);
        let allocations = allocations_of(|| {
            for _ in 0..200 {
                assert_eq!(round(&mut endpoint, &pool, &mut received), 10, "{case:?}");
            }
        });
        assert_eq!(allocations, 0, "{case:?}");
    }
}
