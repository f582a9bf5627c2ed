//! Frames: buffers of one fixed size, mapped and faulted in at start, owned by one holder at a time.
//!
//! A [`Pool`] is one anonymous mapping cut into slots. [`Pool::take`] gives out a [`Frame`], dropping it gives the
//! slot back; in between, handing it on moves a handle and never bytes. Free slots form a stack, so that the slot
//! freed last, the one still in the cache, is used first: a queue would walk through the whole mapping and find every
//! frame cold.
//!
//! ```text
//! slot:  | headroom, 128 bytes | frame_bytes ...                    | padding to 64 |
//!                              ^ 64-byte aligned; what a Frame shows
//! ```
//!
//! The headroom is the transport's own: io_uring writes a received datagram's header, source address and ancillary
//! data in front of its bytes, and these land there, so that the bytes start at the same aligned place with every
//! back-end.

mod free_list;
mod memory;

pub(crate) use memory::Memory;
pub use memory::Pages;

use crate::HostError;
use free_list::{FreeList, SLOTS_MAX};
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes in front of every frame that belong to the transport.
pub(crate) const HEADROOM_BYTES: usize = 128;
const SLOT_ALIGNMENT: usize = 64;

/// The atomics of the free list: the real ones, or loom's when interleavings are explored.
mod sync {
    #[cfg(all(test, loom))]
    pub(super) use loom::sync::atomic;
    #[cfg(not(all(test, loom)))]
    pub(super) use std::sync::atomic;
}

/// What a pool is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Capacity of one frame.
    pub frame_bytes: usize,
    /// How many frames there are; the sum of what all holders may hold at once.
    pub frames: usize,
}

impl PoolConfig {
    /// The memory that a pool of this configuration takes, before rounding up to pages.
    pub fn memory_bytes(&self) -> usize {
        self.slot_bytes().saturating_mul(self.frames)
    }

    fn slot_bytes(&self) -> usize {
        self.frame_bytes.next_multiple_of(SLOT_ALIGNMENT).saturating_add(HEADROOM_BYTES)
    }
}

/// A fixed set of frames; clones share it. The mapping lives until the last clone and the last frame are gone.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    memory: Memory,
    slot_bytes: usize,
    frame_bytes: usize,
    free: FreeList,
    exhausted: AtomicU64,
}

/// Lengths travel in 32 bits of a descriptor.
const FRAME_BYTES_MAX: usize = 1 << 30;

impl Pool {
    /// Maps, faults in and, where the limit allows, locks the memory.
    ///
    /// # Errors
    ///
    /// A size of zero or one that the host's memory does not hold.
    pub fn new(config: PoolConfig) -> Result<Pool, HostError> {
        let what = format!("a pool of {} frames of {} bytes", config.frames, config.frame_bytes);
        if !(1..=SLOTS_MAX).contains(&config.frames) || !(1..=FRAME_BYTES_MAX).contains(&config.frame_bytes) {
            let mend = "a pool has 1 to 2^30 frames of 1 to 2^30 bytes: choose numbers in these bounds";
            return Err(HostError::new("mmap", libc::EINVAL, what).with_mend(mend));
        }
        let memory = Memory::map(config.memory_bytes()).map_err(|errno| HostError::new("mmap", errno, what))?;
        Ok(Pool {
            shared: Arc::new(Shared {
                memory,
                slot_bytes: config.slot_bytes(),
                frame_bytes: config.frame_bytes,
                free: FreeList::new(config.frames),
                exhausted: AtomicU64::new(0),
            }),
        })
    }

    /// An empty frame, or `None` (counted) when all are taken.
    #[inline]
    pub fn take(&self) -> Option<Frame> {
        let Some(index) = self.shared.free.take() else {
            // Several threads may take from one pool, so this counter, off the ordinary path, has many writers.
            self.shared.exhausted.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        Some(Frame { shared: Arc::clone(&self.shared), index, length: 0 })
    }

    /// The frame that [`Frame::into_raw`] turned into `descriptor`.
    ///
    /// # Panics
    ///
    /// When the descriptor is not one of this pool's or has been turned back already: descriptors travel inside one
    /// process only.
    #[inline]
    pub fn from_raw(&self, descriptor: u64) -> Frame {
        let (index, length) = (descriptor as u32, (descriptor >> 32) as u32);
        assert!(
            (index as usize) < self.frames() && length as usize <= self.frame_bytes(),
            "no descriptor of this pool"
        );
        assert!(self.shared.free.unpark(index), "the descriptor was used twice");
        // SAFETY: `into_raw` kept one reference count for the descriptor, and unparking admits one user of it.
        let shared = unsafe { Arc::from_raw(Arc::as_ptr(&self.shared)) };
        Frame { shared, index, length }
    }

    /// Capacity of one frame.
    pub fn frame_bytes(&self) -> usize {
        self.shared.frame_bytes
    }

    /// How many frames the pool has, taken or not.
    pub fn frames(&self) -> usize {
        self.shared.free.slots()
    }

    /// How often a frame was wanted and none was free.
    pub fn exhausted(&self) -> u64 {
        self.shared.exhausted.load(Ordering::Relaxed)
    }

    /// What kind of pages back the pool.
    pub fn pages(&self) -> Pages {
        self.shared.memory.pages()
    }

    /// Whether the memory is locked and can never be swapped out.
    pub fn locked(&self) -> bool {
        self.shared.memory.locked()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (frames, frame_bytes) = (self.frames(), self.frame_bytes());
        let (pages, locked) = (self.pages(), self.locked());
        write!(f, "Pool {{ {frames} frames of {frame_bytes} bytes, {pages:?} pages, locked: {locked} }}")
    }
}

impl Shared {
    #[inline]
    fn bytes(&self, index: u32) -> *mut u8 {
        // SAFETY: every index comes from the free list or was checked, so the slot lies inside the mapping.
        unsafe { self.memory.start().as_ptr().add(index as usize * self.slot_bytes + HEADROOM_BYTES) }
    }
}

/// One slot of a [`Pool`], owned. It shows the bytes filled so far; dropping it gives the slot back.
pub struct Frame {
    shared: Arc<Shared>,
    index: u32,
    length: u32,
}

impl Frame {
    /// How many bytes are filled.
    #[inline]
    pub fn len(&self) -> usize {
        self.length as usize
    }

    /// Whether nothing is filled.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// How many bytes it can hold.
    #[inline]
    pub fn capacity_bytes(&self) -> usize {
        self.shared.frame_bytes
    }

    /// The whole frame for writing; [`Frame::set_len`] then says how much of it counts. What lies beyond the filled
    /// part is left over from earlier use.
    #[inline]
    pub fn capacity_bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the slot's bytes are mapped, initialised (fresh mappings are zero) and owned by this frame alone.
        unsafe { std::slice::from_raw_parts_mut(self.shared.bytes(self.index), self.shared.frame_bytes) }
    }

    /// Declares the first `length` bytes filled.
    ///
    /// # Panics
    ///
    /// When the frame does not hold that many.
    #[inline]
    pub fn set_len(&mut self, length: usize) {
        assert!(length <= self.shared.frame_bytes, "{length} bytes do not fit a frame of {}", self.shared.frame_bytes);
        self.length = length as u32;
    }

    /// Replaces what is filled by a copy of `bytes`.
    ///
    /// # Panics
    ///
    /// When the frame does not hold that many.
    #[inline]
    pub fn fill(&mut self, bytes: &[u8]) {
        self.set_len(bytes.len());
        self.copy_from_slice(bytes);
    }

    /// Turns the frame into a plain number that a ring can carry. The slot stays taken until [`Pool::from_raw`] turns
    /// it back; a descriptor that is lost keeps its slot, and the pool's memory, for ever.
    #[inline]
    pub fn into_raw(self) -> u64 {
        // The reference count stays with the descriptor.
        let frame = ManuallyDrop::new(self);
        frame.shared.free.park(frame.index);
        (u64::from(frame.length) << 32) | u64::from(frame.index)
    }

    /// First byte of the frame; [`HEADROOM_BYTES`] in front of it and the capacity behind it belong to this frame.
    #[inline]
    pub(crate) fn base(&self) -> *mut u8 {
        self.shared.bytes(self.index)
    }
}

impl Deref for Frame {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: as in `capacity_bytes_mut`; `length` never exceeds the capacity.
        unsafe { std::slice::from_raw_parts(self.shared.bytes(self.index), self.length as usize) }
    }
}

impl DerefMut for Frame {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `capacity_bytes_mut`; `length` never exceeds the capacity.
        unsafe { std::slice::from_raw_parts_mut(self.shared.bytes(self.index), self.length as usize) }
    }
}

impl Drop for Frame {
    #[inline]
    fn drop(&mut self) {
        self.shared.free.give_back(self.index);
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame {{ slot {}, {} of {} bytes }}", self.index, self.length, self.shared.frame_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(frame_bytes: usize, frames: usize) -> Pool {
        Pool::new(PoolConfig { frame_bytes, frames }).expect("a small pool")
    }

    #[test]
    fn exhaustion_is_counted_and_ends_when_a_frame_returns() {
        let pool = pool(100, 3);
        let mut frames: Vec<Frame> = (0..3).map(|_| pool.take().expect("three frames")).collect();
        assert!(pool.take().is_none());
        assert_eq!(pool.exhausted(), 1);
        frames.pop();
        assert!(pool.take().is_some());
        assert_eq!(pool.exhausted(), 1);
    }

    #[test]
    fn frames_do_not_overlap_and_are_aligned() {
        let pool = pool(100, 8);
        let mut frames: Vec<Frame> = (0..8).map(|_| pool.take().expect("eight frames")).collect();
        for (i, frame) in frames.iter_mut().enumerate() {
            frame.capacity_bytes_mut().fill(i as u8);
            frame.set_len(100);
        }
        for (i, frame) in frames.iter().enumerate() {
            assert_eq!(frame.as_ptr() as usize % SLOT_ALIGNMENT, 0);
            assert!(frame.iter().all(|&b| b == i as u8));
        }
    }

    #[test]
    fn the_frame_freed_last_is_taken_first() {
        let pool = pool(64, 16);
        let (first, second) = (pool.take().expect("a frame"), pool.take().expect("a frame"));
        let (a, b) = (first.as_ptr(), second.as_ptr());
        drop(first);
        drop(second);
        let (third, fourth) = (pool.take().expect("a frame"), pool.take().expect("a frame"));
        assert_eq!((third.as_ptr(), fourth.as_ptr()), (b, a));
    }

    #[test]
    fn a_new_frame_is_empty_whatever_it_held_before() {
        let pool = pool(64, 1);
        let mut frame = pool.take().expect("a frame");
        frame.fill(b"before");
        drop(frame);
        assert!(pool.take().expect("the same frame").is_empty());
    }

    #[test]
    fn a_descriptor_brings_the_frame_back_with_its_bytes() {
        let pool = pool(64, 1);
        let mut frame = pool.take().expect("a frame");
        frame.fill(b"payload");
        let descriptor = frame.into_raw();
        assert!(pool.take().is_none(), "a parked slot is still taken");
        let frame = pool.from_raw(descriptor);
        assert_eq!(&*frame, b"payload");
        drop(frame);
        assert!(pool.take().is_some());
    }

    #[test]
    #[should_panic(expected = "used twice")]
    fn a_descriptor_counts_once() {
        let pool = pool(64, 2);
        let descriptor = pool.take().expect("a frame").into_raw();
        let _frame = pool.from_raw(descriptor);
        pool.from_raw(descriptor);
    }

    #[test]
    fn frames_outlive_the_pool_handle() {
        let pool = pool(64, 2);
        let mut frame = pool.take().expect("a frame");
        drop(pool);
        frame.fill(b"still mapped");
        assert_eq!(&*frame, b"still mapped");
    }

    #[test]
    fn large_pools_are_mapped_whole() {
        let pool = pool(32768, 100);
        let frames: Vec<Frame> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(frames.len(), 100);
        assert_ne!(frames[0].as_ptr(), frames[99].as_ptr());
    }

    #[test]
    fn impossible_sizes_are_errors() {
        for (frame_bytes, frames) in [(0, 1), (1, 0), (usize::MAX / 4, 1 << 20)] {
            assert!(Pool::new(PoolConfig { frame_bytes, frames }).is_err());
        }
    }

    #[test]
    fn threads_that_take_and_give_back_never_share_a_frame() {
        let pool = pool(64, 7);
        let worker = |mark: u8| {
            let pool = pool.clone();
            move || {
                let mut taken = 0u32;
                for round in 0..20_000u32 {
                    let Some(mut frame) = pool.take() else {
                        continue;
                    };
                    taken += 1;
                    frame.fill(&[mark; 64]);
                    if round % 3 == 0 {
                        std::thread::yield_now();
                    }
                    assert!(frame.iter().all(|&b| b == mark), "another thread wrote into an owned frame");
                }
                taken
            }
        };
        let threads: Vec<_> = (0..4).map(|i| std::thread::spawn(worker(i))).collect();
        let taken: u32 = threads.into_iter().map(|t| t.join().expect("no assertion failed")).sum();
        assert!(taken > 0);
        assert_eq!(std::iter::from_fn(|| pool.take()).collect::<Vec<_>>().len(), 7, "every frame came back");
    }
}
