//! The back-end over io_uring: one multishot receive a socket into frames of the pool, batched sends, and a poll that
//! reads memory only until the kernel says that there is work.
//!
//! What the kernel may still write to or read from (buffers, message header, sends) lives in [`Lent`], which is freed
//! only after every request has completed: see [`Uring`]'s drop.

mod buffers;
mod ring;
mod sends;
#[cfg(test)]
mod tests;

use self::buffers::{Buffers, GROUP};
use self::ring::Ring;
use self::sends::Sends;
use super::ancillary::Drops;
use super::sockets::Sockets;
use super::{BATCH, Datagram, DatagramCounters, Received, WAIT_WITHOUT_FRAMES, breaks, drain, frames_ready};
use crate::HostError;
use crate::pool::{Frame, Pool};
use io_uring::types::{Fd, Fixed};
use io_uring::{cqueue, opcode};
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

/// Receive buffers: four batches, so that a burst meets buffers while the batch before it is worked on.
const BUFFERS_MAX: usize = 4 * BATCH;
/// Sends in flight or queued.
const SENDS_MAX: u16 = 4 * BATCH as u16;
/// Wakers; an endpoint has one or two.
const WAKERS_MAX: usize = 64;
/// Room for every send and for arming what has to be armed.
const SUBMISSIONS: u32 = 512;
/// Each buffer and each send completes once; a receive or waker that ends adds one. So the queue overflows only if
/// this sum is wrong.
const COMPLETIONS: u32 = 1024;
const _: () = assert!(BUFFERS_MAX + SENDS_MAX as usize + 2 + WAKERS_MAX * 2 <= COMPLETIONS as usize);

/// Kinds of requests, in the upper half of their user data; the lower half says which one.
const RECEIVE: u64 = 1 << 32;
const SEND: u64 = 2 << 32;
const WAKER: u64 = 3 << 32;
const KIND: u64 = !(u32::MAX as u64);

/// See the module's documentation.
pub(super) struct Uring {
    ring: ManuallyDrop<Ring>,
    lent: ManuallyDrop<Lent>,
    receivers: Vec<Receiver>,
    /// Filled buffers that were not asked for yet; at most one entry a buffer.
    arrivals: VecDeque<Arrival>,
    wakers: Vec<Waker>,
    /// Whether a waker rang since the last sleep.
    rung: bool,
    /// Whether the pool had no frame at the last look.
    starved: bool,
    /// The error that broke the ring or a socket, for every flush and wait from then on.
    broken: Option<HostError>,
    counters: Rc<DatagramCounters>,
    _sockets: Rc<Sockets>,
}

/// What the kernel holds pointers to.
struct Lent {
    buffers: Buffers,
    /// The message header of the multishot receives.
    message: Box<libc::msghdr>,
    sends: Sends,
}

/// One socket's multishot receive.
#[derive(Default)]
struct Receiver {
    drops: Drops,
    armed: bool,
    /// Whether it was armed before: only then arming counts as arming again.
    ever_armed: bool,
}

struct Arrival {
    receiver: usize,
    buffer: u16,
    written: usize,
}

struct Waker {
    descriptor: OwnedFd,
    armed: bool,
}

impl Uring {
    /// Fails where io_uring is missing, forbidden or too old.
    pub(super) fn open(sockets: Rc<Sockets>, pool: Pool, counters: Rc<DatagramCounters>) -> Result<Uring, HostError> {
        let ring = Ring::new(SUBMISSIONS, COMPLETIONS)?;
        let descriptors: Vec<RawFd> = sockets.descriptors().collect();
        let registered = ring.submitter().register_files(&descriptors);
        registered
            .map_err(|e| HostError::from_io("io_uring_register IORING_REGISTER_FILES", &e, "an endpoint's sockets"))?;
        // At least two: the kernel takes no ring of one.
        let count = 1 << frames_ready(BUFFERS_MAX, pool.frames()).max(2).ilog2();
        let buffers = Buffers::register(&ring, pool, count)?;
        let mut uring = Uring {
            arrivals: VecDeque::with_capacity(buffers.count()),
            receivers: descriptors.iter().map(|_| Receiver::default()).collect(),
            ring: ManuallyDrop::new(ring),
            lent: ManuallyDrop::new(Lent {
                buffers,
                message: Box::new(Buffers::message()),
                sends: Sends::new(SENDS_MAX),
            }),
            wakers: Vec::with_capacity(WAKERS_MAX),
            rung: false,
            starved: false,
            broken: None,
            counters,
            _sockets: sockets,
        };
        uring.provide();
        uring.arm();
        // A kernel that does not know these receives refuses them at once.
        uring.reap();
        uring.check().map(|()| uring)
    }

    /// Takes every completion that is there; frames of sends go back, datagrams queue up.
    #[inline]
    fn reap(&mut self) {
        while let Some(completion) = self.ring.next() {
            let (data, result) = (completion.user_data(), completion.result());
            let index = (data & !KIND) as usize;
            match data & KIND {
                RECEIVE => self.on_receive(index, result, completion.flags()),
                SEND => self.on_send(index as u16, result),
                WAKER => self.on_waker(index, completion.flags()),
                kind => unreachable!("no request has the kind {kind:#x}"),
            }
        }
        self.ring.sync();
    }

    #[inline]
    fn on_receive(&mut self, receiver: usize, result: i32, flags: u32) {
        if !cqueue::more(flags) {
            // Whatever the reason: without this flag the receive has ended.
            self.receivers[receiver].armed = false;
        }
        if let Some(buffer) = cqueue::buffer_select(flags) {
            self.arrivals.push_back(Arrival { receiver, buffer, written: usize::try_from(result).unwrap_or(0) });
        }
        match -result {
            libc::ENOBUFS => self.counters.enobufs.add(1),
            errno @ 1.. if breaks(errno) || errno == libc::EINVAL => {
                self.broken
                    .get_or_insert_with(|| HostError::new("io_uring IORING_OP_RECVMSG", errno, "a datagram socket"));
            }
            // One datagram's trouble, such as an error that the network reported: the receive is armed again.
            _ => {}
        }
    }

    #[inline]
    fn on_send(&mut self, place: u16, result: i32) {
        match usize::try_from(result) {
            Ok(bytes) => {
                self.counters.sent.add(1);
                self.counters.sent_bytes.add(bytes as u64);
            }
            Err(_) => {
                self.counters.send_failed.add(1);
                if breaks(-result) {
                    let error = || HostError::new("io_uring IORING_OP_SEND", -result, "a datagram socket");
                    self.broken.get_or_insert_with(error);
                }
            }
        }
        self.lent.sends.complete(place);
    }

    fn on_waker(&mut self, index: usize, flags: u32) {
        self.counters.woken.add(1);
        self.rung = true;
        let waker = &mut self.wakers[index];
        waker.armed = cqueue::more(flags);
        drain(&waker.descriptor);
    }

    /// Gives the kernel fresh buffers; false when it has none to receive into.
    #[inline]
    fn provide(&mut self) -> bool {
        let starved = !self.lent.buffers.provide();
        if starved && !self.starved {
            self.counters.pool_exhausted.add(1);
        }
        self.starved = starved;
        self.lent.buffers.is_provided()
    }

    /// Arms every receive and waker that has ended.
    #[cold]
    fn arm(&mut self) {
        for index in 0..self.receivers.len() {
            // Without buffers it would end at once.
            if !self.receivers[index].armed && self.lent.buffers.is_provided() && self.broken.is_none() {
                self.arm_receiver(index);
            }
        }
        for (index, waker) in self.wakers.iter_mut().enumerate().filter(|(_, w)| !w.armed) {
            let entry = opcode::PollAdd::new(Fd(waker.descriptor.as_raw_fd()), libc::POLLIN as u32).multi(true).build();
            // SAFETY: the entry points to nothing.
            waker.armed = unsafe { self.ring.push(&entry.user_data(WAKER | index as u64)) };
        }
        if self.ring.unsubmitted() > 0 {
            self.enter(0, None);
        }
    }

    fn arm_receiver(&mut self, index: usize) {
        let entry = opcode::RecvMsgMulti::new(Fixed(index as u32), &raw const *self.lent.message, GROUP).build();
        // SAFETY: the message header lives in `lent`, which outlives the request.
        let armed = unsafe { self.ring.push(&entry.user_data(RECEIVE | index as u64)) };
        let receiver = &mut self.receivers[index];
        receiver.armed = armed;
        if receiver.ever_armed {
            self.counters.rearmed.add(1);
        }
        receiver.ever_armed = true;
    }

    /// Whether everything that should be waiting in the kernel is.
    #[inline]
    fn is_armed(&self) -> bool {
        self.receivers.iter().all(|r| r.armed) && self.wakers.iter().all(|w| w.armed)
    }

    #[inline]
    fn enter(&mut self, want: usize, timeout: Option<Duration>) {
        if self.ring.overflowed() {
            self.counters.completions_overflowed.add(1);
        }
        if let Err(errno) = self.ring.enter(want, timeout) {
            self.broken.get_or_insert_with(|| HostError::new("io_uring_enter", errno, "an endpoint's ring"));
        }
    }

    /// Looks for completions, entering the kernel only when it says that there is work.
    #[inline]
    fn poll(&mut self) {
        self.ring.sync();
        self.reap();
        if self.ring.has_work() {
            self.counters.receive_calls.add(1);
            self.enter(0, None);
            self.reap();
        }
    }

    /// Moves up to `max` queued arrivals to `out`.
    #[inline]
    fn hand_out(&mut self, out: &mut Vec<Received>, max: usize) -> usize {
        let (mut handed, mut bytes) = (0, 0);
        while handed < max
            && let Some(arrival) = self.arrivals.pop_front()
        {
            let filled = self.lent.buffers.take(arrival.buffer, arrival.written);
            if filled.control_bytes > 0 {
                let drops = self.receivers[arrival.receiver].drops.since(&filled.control[..filled.control_bytes]);
                self.counters.kernel_drops.add(drops);
            }
            let Some(frame) = filled.frame else {
                self.counters.truncated.add(1);
                continue;
            };
            bytes += frame.len() as u64;
            out.push(Received { frame, from: filled.from, group: arrival.receiver == 1 });
            handed += 1;
        }
        self.counters.received.add(handed as u64);
        self.counters.received_bytes.add(bytes);
        handed
    }

    /// Submits everything queued.
    fn submit(&mut self) {
        // Two turns: a full completion queue refuses the first one and is emptied then.
        for _ in 0..2 {
            if self.ring.unsubmitted() == 0 {
                return;
            }
            self.counters.send_calls.add(1);
            self.enter(0, None);
            if self.ring.unsubmitted() > 0 {
                self.reap();
            }
        }
    }

    /// Queues one send of a held frame; false when there is no place for it even after submitting the earlier ones.
    #[inline]
    fn queue(&mut self, frame: u16, to: &SocketAddr) -> bool {
        if !self.lent.sends.has_room() {
            self.submit();
            self.reap();
        }
        let Some(send) = self.lent.sends.start(frame, to) else {
            return false;
        };
        // Not waiting: a full socket buffer is a lost datagram now, not a frame that is held for an unknown time.
        let entry = opcode::Send::new(Fixed(0), send.bytes, send.length as u32)
            .dest_addr(send.address)
            .dest_addr_len(send.address_bytes)
            .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            .build();
        // SAFETY: frame and address stay in their places until the completion.
        let queued = unsafe { self.ring.push(&entry.user_data(SEND | u64::from(send.place))) };
        if !queued {
            self.lent.sends.complete(send.place);
        }
        queued
    }

    fn check(&self) -> Result<(), HostError> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// Whether the kernel has no request left that uses what was lent to it.
    fn is_quiet(&self) -> bool {
        self.lent.sends.is_empty() && self.receivers.iter().all(|r| !r.armed)
    }
}

impl Datagram for Uring {
    #[inline]
    fn receive(&mut self, out: &mut Vec<Received>, max: usize) -> usize {
        self.poll();
        let handed = self.hand_out(out, max);
        self.provide();
        if !self.is_armed() {
            self.arm();
        }
        handed
    }

    #[inline]
    fn send(&mut self, frame: Frame, to: &[SocketAddr]) {
        let frame = self.lent.sends.hold(frame);
        for address in to {
            if !self.queue(frame, address) {
                self.counters.send_failed.add(1);
            }
        }
        self.lent.sends.release(frame);
    }

    #[inline]
    fn flush(&mut self) -> Result<(), HostError> {
        if self.ring.unsubmitted() > 0 {
            self.submit();
            // Sends that do not wait are complete when the call returns: their frames go back now.
            self.reap();
        }
        self.check()
    }

    fn wait(&mut self, timeout: Duration) -> Result<(), HostError> {
        self.poll();
        let provided = self.provide();
        if !self.is_armed() {
            self.arm();
        }
        if self.arrivals.is_empty() && !std::mem::take(&mut self.rung) && self.broken.is_none() {
            self.counters.slept.add(1);
            self.enter(1, Some(if provided { timeout } else { timeout.min(WAIT_WITHOUT_FRAMES) }));
            self.reap();
            self.rung = false;
        }
        self.check()
    }

    fn register_waker(&mut self, waker: OwnedFd) -> Result<(), HostError> {
        if self.wakers.len() == WAKERS_MAX {
            let error = HostError::new("io_uring IORING_OP_POLL_ADD", libc::ENOSPC, "a waker");
            return Err(error.with_mend(format!("an endpoint has room for {WAKERS_MAX} wakers: let senders share one")));
        }
        self.wakers.push(Waker { descriptor: waker, armed: false });
        self.arm();
        self.check()
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        // What is queued still goes out; then everything in flight is cancelled. Each turn waits for a completion, so
        // that this ends long before its bound unless the kernel keeps a request back.
        self.enter(0, None);
        self.ring.cancel_all();
        for _ in 0..100 {
            self.reap();
            if self.is_quiet() {
                break;
            }
            self.enter(1, Some(Duration::from_millis(10)));
        }
        // SAFETY: not used from here on.
        unsafe { ManuallyDrop::drop(&mut self.ring) };
        if self.is_quiet() {
            // SAFETY: not used from here on, neither here nor by the kernel. Else its memory stays lent for good: a
            // leak instead of writes into frames that have new owners.
            unsafe { ManuallyDrop::drop(&mut self.lent) };
        }
    }
}
