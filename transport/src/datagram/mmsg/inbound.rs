//! The receiving half: one `recvmmsg` a batch, into frames of the pool.

use super::super::address::{ADDRESS_BYTES, RawAddress};
use super::super::ancillary::{CONTROL_BYTES, Drops};
use super::super::{BATCH, DatagramCounters, Received, frames_ready};
use super::empty_header;
use crate::pool::{Frame, Pool};
use std::os::fd::RawFd;
use std::ptr;

/// Message headers, each with a frame to receive into.
pub(super) struct Inbound {
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
    pub(super) fn new(pool: Pool) -> Inbound {
        let slots = frames_ready(BATCH, pool.frames());
        let mut inbound = Inbound {
            frames: (0..slots).map(|_| None).collect(),
            ready: 0,
            starved: false,
            headers: (0..slots).map(|_| empty_header()).collect(),
            vectors: vec![libc::iovec { iov_base: ptr::null_mut(), iov_len: pool.frame_bytes() }; slots].into(),
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
    pub(super) fn refill(&mut self, counters: &DatagramCounters) -> bool {
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
    pub(super) fn call(&mut self, socket: RawFd, max: usize) -> Result<usize, i32> {
        let count = self.ready.min(max) as libc::c_uint;
        // SAFETY: the first `ready` headers point to addresses, control buffers and vectors of this value, whose
        // boxes never move, and each vector to a frame that its slot owns, of the length it states.
        let filled = unsafe {
            libc::recvmmsg(socket, self.headers.as_mut_ptr(), count, libc::MSG_DONTWAIT as _, ptr::null_mut())
        };
        // An empty socket is the ordinary case on a polling path: it must not cost more than reading the number.
        usize::try_from(filled).map_err(|_| std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }

    /// Moves what the first `count` slots received to `out` and fills the slots again.
    #[inline]
    pub(super) fn hand_out(
        &mut self,
        count: usize,
        group: bool,
        out: &mut Vec<Received>,
        counters: &DatagramCounters,
        drops: &mut Drops,
    ) -> usize {
        let (mut handed, mut bytes) = (0, 0);
        for slot in 0..count {
            let libc::mmsghdr { msg_hdr: header, msg_len } = self.headers[slot];
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
            let mut frame = self.frames[slot].take().expect("a slot that was received into has a frame");
            frame.set_len(msg_len as usize);
            bytes += u64::from(msg_len);
            out.push(Received { frame, from: self.addresses[slot].decode(), group });
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

/// How much ancillary data came.
#[expect(clippy::unnecessary_cast, reason = "the field's type differs between C libraries")]
fn control_bytes(header: &libc::msghdr) -> usize {
    (header.msg_controllen as usize).min(CONTROL_BYTES)
}
