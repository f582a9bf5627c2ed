//! The back-end over `recvmmsg`, `sendmmsg` and `ppoll`.
//!
//! Every array that the kernel reads is laid out once, at the start; a call touches only the entries that the one before used up. An
//! empty poll is one system call and nothing else.

use super::address::{ADDRESS_BYTES, RawAddress};
use super::ancillary::{CONTROL_BYTES, Drops};
use super::sockets::Sockets;
use super::{
    BATCH, Datagram, DatagramCounters, Received, WAIT_WITHOUT_FRAMES, breaks, drain, frames_ready,
};
use crate::HostError;
use crate::pool::{Frame, Pool};
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr;
use std::rc::Rc;
use std::time::Duration;

/// With two sockets, a poll asks the one that was busy last, and every so many polls both. Four keeps the other's datagrams waiting for
/// no more than three polls, for a quarter of a system call a poll.
const POLLS_PER_VISIT: u32 = 4;

/// Sends queued before a flush happens by itself.
const SENDS_MAX: usize = 2 * BATCH;

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
            outbound: Outbound::new(),
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
        let Mmsg {
            inbound,
            counters,
            drops,
            ..
        } = self;
        if max == 0 || !inbound.refill(counters) {
            return 0;
        }
        let descriptor = if socket == 0 {
            Some(&self.sockets.unicast)
        } else {
            self.sockets.group.as_ref()
        };
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
            if self.outbound.queued == SENDS_MAX {
                self.outbound.flush(
                    self.sockets.unicast.as_raw_fd(),
                    &self.counters,
                    &mut self.broken,
                );
            }
            self.outbound.queue(&frame, address);
        }
        self.outbound.hold(frame);
    }

    #[inline]
    fn flush(&mut self) -> Result<(), HostError> {
        self.outbound.flush(
            self.sockets.unicast.as_raw_fd(),
            &self.counters,
            &mut self.broken,
        );
        self.check()
    }

    fn wait(&mut self, timeout: Duration) -> Result<(), HostError> {
        // Without a frame, a readable socket would end every sleep at once and nothing could be received.
        let has_frames = self.inbound.refill(&self.counters);
        let sockets = self.polled.len() - self.wakers.len();
        let (polled, timeout) = if has_frames {
            (&mut self.polled[..], timeout)
        } else {
            (
                &mut self.polled[sockets..],
                timeout.min(WAIT_WITHOUT_FRAMES),
            )
        };
        let time = libc::timespec {
            tv_sec: timeout.as_secs() as libc::time_t,
            tv_nsec: timeout.subsec_nanos().into(),
        };
        self.counters.slept.add(1);
        // SAFETY: the array and the time live through the call; no signal mask is given.
        let ready = unsafe {
            libc::ppoll(
                polled.as_mut_ptr(),
                polled.len() as libc::nfds_t,
                &time,
                ptr::null(),
            )
        };
        if ready < 0 {
            let error = HostError::last("ppoll", "an endpoint's sockets and wakers");
            // A signal ends the sleep, so that a caller who is told to stop notices.
            return if matches!(error.errno, libc::EINTR | libc::ENOMEM) {
                Ok(())
            } else {
                Err(error)
            };
        }
        if ready == 0 {
            return Ok(());
        }
        for (waker, _) in self
            .wakers
            .iter()
            .zip(&self.polled[sockets..])
            .filter(|(_, p)| p.revents != 0)
        {
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
    libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    }
}

/// The receiving half: message headers, each with a frame to receive into.
struct Inbound {
    pool: Pool,
    /// Frames to receive into; the first `ready` are there.
    frames: Box<[Option<Frame>]>,
    ready: usize,
    /// Whether the pool had no frame at the last look.
    starved: bool,
    headers: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
    addresses: Box<[RawAddress]>,
    controls: Box<[[u8; CONTROL_BYTES]]>,
}

impl Inbound {
    fn new(pool: Pool) -> Inbound {
        let slots = frames_ready(BATCH, pool.frames());
        let mut inbound = Inbound {
            frames: (0..slots).map(|_| None).collect(),
            ready: 0,
            starved: false,
            headers: (0..slots).map(|_| empty_header()).collect(),
            vectors: vec![
                libc::iovec {
                    iov_base: ptr::null_mut(),
                    iov_len: pool.frame_bytes()
                };
                slots
            ]
            .into(),
            addresses: vec![RawAddress::EMPTY; slots].into(),
            controls: vec![[0; CONTROL_BYTES]; slots].into(),
            pool,
        };
        for slot in 0..slots {
            let header = &mut inbound.headers[slot].msg_hdr;
            header.msg_name = (&raw mut inbound.addresses[slot]).cast();
            header.msg_iov = &raw mut inbound.vectors[slot];
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut inbound.controls[slot]).cast();
            inbound.reset(slot);
        }
        inbound
    }

    /// Restores what the kernel overwrites in a header.
    #[inline]
    fn reset(&mut self, slot: usize) {
        let header = &mut self.headers[slot].msg_hdr;
        header.msg_namelen = ADDRESS_BYTES as libc::socklen_t;
        // The field's type differs between C libraries.
        header.msg_controllen = CONTROL_BYTES as _;
        header.msg_flags = 0;
    }

    /// Takes frames for empty slots; false when there is not a single one.
    #[inline]
    fn refill(&mut self, counters: &DatagramCounters) -> bool {
        while self.ready < self.frames.len() {
            let Some(frame) = self.pool.take() else {
                if !self.starved {
                    counters.pool_exhausted.add(1);
                }
                self.starved = true;
                return self.ready > 0;
            };
            self.place(self.ready, frame);
            self.ready += 1;
        }
        self.starved = false;
        true
    }

    #[inline]
    fn place(&mut self, slot: usize, frame: Frame) {
        self.vectors[slot].iov_base = frame.base().cast();
        self.frames[slot] = Some(frame);
    }

    /// One `recvmmsg`: how many slots it filled, or an error number.
    #[inline]
    fn call(&mut self, socket: RawFd, max: usize) -> Result<usize, i32> {
        let count = self.ready.min(max) as libc::c_uint;
        // SAFETY: the first `ready` headers point to addresses, control buffers and vectors of this value, whose boxes never move, and
        // each vector to a frame that its slot owns, of the length it states.
        let filled = unsafe {
            libc::recvmmsg(
                socket,
                self.headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        // An empty socket is the ordinary case on a polling path: it must not cost more than reading the number.
        usize::try_from(filled)
            .map_err(|_| std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }

    /// Moves what the first `count` slots received to `out` and fills the slots again.
    #[inline]
    fn hand_out(
        &mut self,
        count: usize,
        group: bool,
        out: &mut Vec<Received>,
        counters: &DatagramCounters,
        drops: &mut Drops,
    ) -> usize {
        let (mut handed, mut bytes) = (0, 0);
        for slot in 0..count {
            let libc::mmsghdr {
                msg_hdr: header,
                msg_len,
            } = self.headers[slot];
            if header.msg_controllen > 0 {
                let control = &self.controls[slot][..control_bytes(&header)];
                counters.kernel_drops.add(drops.since(control));
            }
            self.reset(slot);
            if header.msg_flags & libc::MSG_TRUNC != 0 {
                // The frame stays for the next one.
                counters.truncated.add(1);
                continue;
            }
            let mut frame = self.frames[slot]
                .take()
                .expect("a slot that was received into has a frame");
            frame.set_len(msg_len as usize);
            bytes += u64::from(msg_len);
            out.push(Received {
                frame,
                from: self.addresses[slot].decode(),
                group,
            });
            handed += 1;
            if let Some(fresh) = self.pool.take() {
                self.place(slot, fresh);
            }
        }
        self.close_gaps(count);
        counters.received.add(handed as u64);
        counters.received_bytes.add(bytes);
        handed
    }

    /// Moves frames from the end into slots among the first `count` that found the pool empty.
    #[inline]
    fn close_gaps(&mut self, count: usize) {
        for slot in (0..count).rev() {
            if self.frames[slot].is_none() {
                self.ready -= 1;
                if let Some(frame) = self.frames[self.ready].take() {
                    self.place(slot, frame);
                }
            }
        }
    }
}

/// The sending half: message headers, each for one frame and one address.
struct Outbound {
    /// The frames that queued headers point to.
    frames: Vec<Frame>,
    queued: usize,
    headers: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
    addresses: Box<[RawAddress]>,
}

impl Outbound {
    fn new() -> Outbound {
        let mut outbound = Outbound {
            frames: Vec::with_capacity(SENDS_MAX),
            queued: 0,
            headers: (0..SENDS_MAX).map(|_| empty_header()).collect(),
            vectors: vec![
                libc::iovec {
                    iov_base: ptr::null_mut(),
                    iov_len: 0
                };
                SENDS_MAX
            ]
            .into(),
            addresses: vec![RawAddress::EMPTY; SENDS_MAX].into(),
        };
        for slot in 0..SENDS_MAX {
            let header = &mut outbound.headers[slot].msg_hdr;
            header.msg_name = (&raw mut outbound.addresses[slot]).cast();
            header.msg_iov = &raw mut outbound.vectors[slot];
            header.msg_iovlen = 1;
        }
        outbound
    }

    /// Queues a datagram; the frame must then be given to `hold`, or stay alive until `flush`.
    #[inline]
    fn queue(&mut self, frame: &Frame, to: &SocketAddr) {
        let slot = self.queued;
        self.headers[slot].msg_hdr.msg_namelen = self.addresses[slot].encode(to);
        self.vectors[slot] = libc::iovec {
            iov_base: frame.base().cast(),
            iov_len: frame.len(),
        };
        self.queued += 1;
    }

    #[inline]
    fn hold(&mut self, frame: Frame) {
        // A frame without an address has no header that points to it; so there are never more frames than headers.
        if self.frames.len() < self.queued {
            self.frames.push(frame);
        }
    }

    /// Sends what is queued. The kernel has copied the bytes when the call returns, so the frames go back to their pool.
    #[inline]
    fn flush(
        &mut self,
        socket: RawFd,
        counters: &DatagramCounters,
        broken: &mut Option<HostError>,
    ) {
        let queued = mem::take(&mut self.queued);
        let mut next = 0;
        // Each turn sends or gives up at least one datagram.
        while next < queued {
            counters.send_calls.add(1);
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            // SAFETY: the headers from `next` to `queued` point to addresses and vectors of this value, whose boxes never move, and each vector
            // to a frame that `frames`, or the caller of this function, owns.
            let sent = unsafe {
                let first = self.headers.as_mut_ptr().add(next);
                libc::sendmmsg(socket, first, (queued - next) as libc::c_uint, flags as _)
            };
            if let Ok(sent @ 1..) = usize::try_from(sent) {
                let bytes: usize = self.vectors[next..next + sent]
                    .iter()
                    .map(|v| v.iov_len)
                    .sum();
                counters.sent.add(sent as u64);
                counters.sent_bytes.add(bytes as u64);
                next += sent;
                continue;
            }
            // The error belongs to the first datagram of the call.
            let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
            if errno == libc::EINTR {
                continue;
            }
            counters.send_failed.add(1);
            next += 1;
            if breaks(errno) {
                broken
                    .get_or_insert_with(|| HostError::new("sendmmsg", errno, "a datagram socket"));
            }
        }
        self.frames.clear();
    }
}

/// How much ancillary data came.
#[expect(
    clippy::unnecessary_cast,
    reason = "the field's type differs between C libraries"
)]
fn control_bytes(header: &libc::msghdr) -> usize {
    (header.msg_controllen as usize).min(CONTROL_BYTES)
}

fn empty_header() -> libc::mmsghdr {
    // SAFETY: null pointers and zero lengths are a valid, empty header; its padding differs between C libraries, so it cannot be
    // written as a literal.
    unsafe { mem::zeroed() }
}
