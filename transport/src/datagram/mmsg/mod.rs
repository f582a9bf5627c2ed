//! The back-end over `recvmmsg`, `sendmmsg` and `ppoll`.
//!
//! Every array that the kernel reads is laid out once, at the start; a call touches only the entries that the one
//! before used up. An empty poll is one system call and nothing else.

mod inbound;
mod outbound;

use self::inbound::Inbound;
use self::outbound::Outbound;
use super::ancillary::Drops;
use super::sockets::Sockets;
use super::{Datagram, DatagramCounters, Received, WAIT_WITHOUT_FRAMES, breaks, drain};
use crate::HostError;
use crate::pool::{Frame, Pool};
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr;
use std::rc::Rc;
use std::time::Duration;

/// With two sockets, a poll asks the one that was busy last, and every so many polls both. Four keeps the other's
/// datagrams waiting for no more than three polls, for a quarter of a system call a poll.
const POLLS_PER_VISIT: u32 = 4;

/// See the module's documentation.
pub(super) struct Mmsg {
    sockets: Rc<Sockets>,
    counters: Rc<DatagramCounters>,
    inbound: Inbound,
    outbound: Outbound,
    /// Drop counts of the unicast and the group socket.
    drops: [Drops; 2],
    /// The socket that delivered last: 0 unicast, 1 group.
    busy: usize,
    polls: u32,
    wakers: Vec<OwnedFd>,
    /// The sockets, then the wakers.
    polled: Vec<libc::pollfd>,
    /// The error that broke a socket, for every flush and wait from then on.
    broken: Option<HostError>,
}

impl Mmsg {
    pub(super) fn open(sockets: Rc<Sockets>, pool: Pool, counters: Rc<DatagramCounters>) -> Mmsg {
        let polled = sockets.descriptors().map(readable).collect();
        Mmsg {
            inbound: Inbound::new(pool),
            outbound: Outbound::new(sockets.unicast.as_raw_fd()),
            drops: [Drops::default(), Drops::default()],
            busy: 0,
            polls: 0,
            wakers: Vec::new(),
            polled,
            broken: None,
            sockets,
            counters,
        }
    }

    /// Receives one batch from one socket.
    #[inline]
    fn receive_from(&mut self, socket: usize, out: &mut Vec<Received>, max: usize) -> usize {
        let Mmsg { inbound, counters, drops, .. } = self;
        if max == 0 || !inbound.refill(counters) {
            return 0;
        }
        let descriptor = if socket == 0 { Some(&self.sockets.unicast) } else { self.sockets.group.as_ref() };
        let Some(descriptor) = descriptor else {
            return 0;
        };
        counters.receive_calls.add(1);
        match inbound.call(descriptor.as_raw_fd(), max) {
            Ok(count) => inbound.hand_out(count, socket == 1, out, counters, &mut drops[socket]),
            Err(errno) => {
                if breaks(errno) && self.broken.is_none() {
                    self.broken = Some(HostError::new("recvmmsg", errno, "a datagram socket"));
                }
                0
            }
        }
    }

    fn check(&self) -> Result<(), HostError> {
        self.broken.clone().map_or(Ok(()), Err)
    }
}

impl Datagram for Mmsg {
    #[inline]
    fn receive(&mut self, out: &mut Vec<Received>, max: usize) -> usize {
        if self.sockets.group.is_none() {
            return self.receive_from(0, out, max);
        }
        self.polls += 1;
        if self.polls < POLLS_PER_VISIT {
            return self.receive_from(self.busy, out, max);
        }
        self.polls = 0;
        // The quiet socket first, so that a busy one that always fills `max` cannot starve it.
        let quiet = 1 - self.busy;
        let from_quiet = self.receive_from(quiet, out, max);
        let from_busy = self.receive_from(self.busy, out, max - from_quiet);
        if from_quiet > from_busy {
            self.busy = quiet;
        }
        from_quiet + from_busy
    }

    #[inline]
    fn send(&mut self, frame: Frame, to: &[SocketAddr]) {
        for address in to {
            // The frame is not among those that this flush gives back.
            if self.outbound.is_full() {
                self.outbound.flush(self.sockets.unicast.as_raw_fd(), &self.counters, &mut self.broken);
            }
            self.outbound.queue(&frame, address);
        }
        self.outbound.hold(frame);
    }

    #[inline]
    fn flush(&mut self) -> Result<(), HostError> {
        self.outbound.flush(self.sockets.unicast.as_raw_fd(), &self.counters, &mut self.broken);
        self.check()
    }

    fn wait(&mut self, timeout: Duration) -> Result<(), HostError> {
        // Without a frame, a readable socket would end every sleep at once and nothing could be received.
        let has_frames = self.inbound.refill(&self.counters);
        let sockets = self.polled.len() - self.wakers.len();
        let (polled, timeout) = if has_frames {
            (&mut self.polled[..], timeout)
        } else {
            (&mut self.polled[sockets..], timeout.min(WAIT_WITHOUT_FRAMES))
        };
        let time = libc::timespec { tv_sec: timeout.as_secs() as libc::time_t, tv_nsec: timeout.subsec_nanos().into() };
        self.counters.slept.add(1);
        // SAFETY: the array and the time live through the call; no signal mask is given.
        let ready = unsafe { libc::ppoll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, &time, ptr::null()) };
        if ready < 0 {
            let error = HostError::last("ppoll", "an endpoint's sockets and wakers");
            // A signal ends the sleep, so that a caller who is told to stop notices.
            return if matches!(error.errno, libc::EINTR | libc::ENOMEM) { Ok(()) } else { Err(error) };
        }
        if ready == 0 {
            return Ok(());
        }
        for (waker, _) in self.wakers.iter().zip(&self.polled[sockets..]).filter(|(_, p)| p.revents != 0) {
            self.counters.woken.add(1);
            drain(waker);
        }
        if has_frames && sockets == 2 {
            // The next receive goes where the datagrams are.
            match (self.polled[0].revents != 0, self.polled[1].revents != 0) {
                (true, true) => self.polls = POLLS_PER_VISIT,
                (true, false) => self.busy = 0,
                (false, true) => self.busy = 1,
                (false, false) => {}
            }
        }
        Ok(())
    }

    fn register_waker(&mut self, waker: OwnedFd) -> Result<(), HostError> {
        self.polled.push(readable(waker.as_raw_fd()));
        self.wakers.push(waker);
        Ok(())
    }
}

fn readable(fd: RawFd) -> libc::pollfd {
    libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
}

fn empty_header() -> libc::mmsghdr {
    // SAFETY: null pointers and zero lengths are a valid, empty header; its padding differs between C libraries, so
    // it cannot be written as a literal.
    unsafe { mem::zeroed() }
}
