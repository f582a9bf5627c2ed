//! The provided-buffer ring: frames that the kernel receives into.
//!
//! Each buffer is a frame of the pool. The kernel writes a header, the sender's address and ancillary data in front
//! of the datagram; the buffer begins so far inside the frame's headroom that the datagram itself begins where every
//! frame's bytes do:
//!
//! ```text
//! | unused headroom | header 16 | address 28 | ancillary 24 | datagram ... |
//!                   ^ buffer                                ^ the frame's first byte
//! ```

use super::super::address::{ADDRESS_BYTES, RawAddress};
use super::super::ancillary::CONTROL_BYTES;
use super::ring::Ring;
use crate::HostError;
use crate::pool::{Frame, HEADROOM_BYTES, Memory, Pool};
use io_uring::types::BufRingEntry;
use std::mem;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};

/// The only buffer group of a ring; both sockets receive into it.
pub(super) const GROUP: u16 = 0;

/// The kernel's `io_uring_recvmsg_out`.
#[derive(Clone, Copy)]
#[repr(C)]
struct ReceiveHeader {
    address_bytes: u32,
    control_bytes: u32,
    payload_bytes: u32,
    flags: u32,
}

const HEADER_BYTES: usize = size_of::<ReceiveHeader>();
const PREFIX_BYTES: usize = HEADER_BYTES + ADDRESS_BYTES + CONTROL_BYTES;
const _: () = assert!(PREFIX_BYTES <= HEADROOM_BYTES);

/// What a filled buffer holds.
pub(super) struct Filled {
    /// The datagram, or `None` when it did not fit.
    pub(super) frame: Option<Frame>,
    pub(super) from: SocketAddr,
    pub(super) control: [u8; CONTROL_BYTES],
    pub(super) control_bytes: usize,
}

/// The ring of buffers and the frames that are in it, by buffer number.
pub(super) struct Buffers {
    pool: Pool,
    /// Entries as the kernel reads them.
    ring: Memory,
    frames: Box<[Option<Frame>]>,
    /// Buffer numbers without a frame.
    vacant: Vec<u16>,
    tail: u16,
}

impl Buffers {
    /// Registers a ring of `count` buffers, a power of two.
    pub(super) fn register(ring: &Ring, pool: Pool, count: u16) -> Result<Buffers, HostError> {
        assert!(count.is_power_of_two());
        let what = || format!("a ring of {count} receive buffers");
        let memory = Memory::map(usize::from(count) * size_of::<BufRingEntry>());
        let memory = memory.map_err(|errno| HostError::new("mmap", errno, what()))?;
        let buffers = Buffers {
            pool,
            ring: memory,
            frames: (0..count).map(|_| None).collect(),
            vacant: (0..count).rev().collect(),
            tail: 0,
        };
        // SAFETY: the memory is page-aligned, large enough, and stays mapped until the ring is gone: see `Uring::drop`.
        let registered =
            unsafe { ring.submitter().register_buf_ring_with_flags(buffers.entries() as u64, count, GROUP, 0) };
        registered.map_err(|e| HostError::from_io("io_uring_register IORING_REGISTER_PBUF_RING", &e, what()))?;
        Ok(buffers)
    }

    /// The message header of a receive into these buffers: how much room address and ancillary data have.
    pub(super) fn message() -> libc::msghdr {
        // SAFETY: null pointers and zero lengths are a valid, empty header.
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        message.msg_namelen = ADDRESS_BYTES as libc::socklen_t;
        message.msg_controllen = CONTROL_BYTES as _;
        message
    }

    /// How many buffers there are.
    pub(super) fn count(&self) -> usize {
        self.frames.len()
    }

    /// Whether the kernel has at least one buffer, or has filled one that was not taken yet.
    #[inline]
    pub(super) fn is_provided(&self) -> bool {
        self.vacant.len() < self.frames.len()
    }

    /// Gives frames to the kernel for all buffers without one; false when the pool ran out.
    #[inline]
    pub(super) fn provide(&mut self) -> bool {
        if self.vacant.is_empty() {
            return true;
        }
        while let Some(&number) = self.vacant.last() {
            let Some(frame) = self.pool.take() else { break };
            self.vacant.pop();
            self.place(number, frame);
        }
        self.publish();
        self.vacant.is_empty()
    }

    /// Takes what the kernel wrote into a buffer, `written` bytes of it. One whose datagram did not fit goes back to
    /// the kernel with the next [`Buffers::provide`].
    #[inline]
    pub(super) fn take(&mut self, number: u16, written: usize) -> Filled {
        let mut frame = self.frames[usize::from(number)].take().expect("the kernel fills buffers that it was given");
        self.vacant.push(number);
        let start = frame.base().wrapping_sub(PREFIX_BYTES);
        // SAFETY: the prefix lies in the frame's headroom; all of it is initialised, and any bytes are valid for each
        // type.
        let (header, address, control) = unsafe {
            (
                start.cast::<ReceiveHeader>().read_unaligned(),
                start.add(HEADER_BYTES).cast::<RawAddress>().read_unaligned(),
                start.add(HEADER_BYTES + ADDRESS_BYTES).cast::<[u8; CONTROL_BYTES]>().read_unaligned(),
            )
        };
        let length =
            written.saturating_sub(PREFIX_BYTES).min(header.payload_bytes as usize).min(frame.capacity_bytes());
        frame.set_len(length);
        let whole = header.flags & libc::MSG_TRUNC as u32 == 0;
        Filled {
            frame: whole.then_some(frame),
            from: if header.address_bytes == 0 { RawAddress::EMPTY.decode() } else { address.decode() },
            control,
            control_bytes: (header.control_bytes as usize).min(CONTROL_BYTES),
        }
    }

    #[inline]
    fn entries(&self) -> *mut BufRingEntry {
        self.ring.start().as_ptr().cast()
    }

    #[inline]
    fn place(&mut self, number: u16, frame: Frame) {
        let slot = usize::from(self.tail) & (self.frames.len() - 1);
        // SAFETY: the slot lies in the ring and the kernel does not read it until the tail passes it. The entry
        // overlays the tail in its last two bytes only, which these setters leave alone.
        let entry = unsafe { &mut *self.entries().add(slot) };
        entry.set_addr(frame.base() as u64 - PREFIX_BYTES as u64);
        entry.set_len((PREFIX_BYTES + frame.capacity_bytes()) as u32);
        entry.set_bid(number);
        self.tail = self.tail.wrapping_add(1);
        self.frames[usize::from(number)] = Some(frame);
    }

    #[inline]
    fn publish(&mut self) {
        // SAFETY: the ring's first entry holds the tail, which the kernel reads only.
        let tail = unsafe { &*BufRingEntry::tail(self.entries()).cast::<AtomicU16>() };
        // SYNC: pairs with the kernel's acquire of the tail: the entries in front of it are complete.
        tail.store(self.tail, Ordering::Release);
    }
}
