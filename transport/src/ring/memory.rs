//! The memory under a ring: two shared indices and the bytes of the records. All unsafe code of the rings is here.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::{INDEX_STRIDE_BYTES, assert_capacity, ring_bytes};
use crate::region::Region;

/// One end's view of a ring's memory. Positions are byte indices since the ring was made; they wrap here.
pub(super) struct Memory {
    tail: *const AtomicU64,
    head: *const AtomicU64,
    data: *mut u8,
    capacity_bytes: usize,
    /// Keeps the memory that the pointers lead into.
    _region: Arc<Region>,
}

// SAFETY: the pointers lead into the region, which the view keeps alive and which may be used from any thread; which
// bytes are touched by which end is settled by the ring's indices, and there is one end of each kind.
unsafe impl Send for Memory {}

impl Memory {
    pub(super) fn new(region: &Arc<Region>, offset_bytes: usize, capacity_bytes: usize) -> Memory {
        assert_capacity(capacity_bytes);
        let end = offset_bytes.checked_add(ring_bytes(capacity_bytes)).expect("a ring's end is a byte offset");
        assert!(end <= region.length_bytes(), "a ring that ends at byte {end} is beyond its region");
        assert!(offset_bytes.is_multiple_of(INDEX_STRIDE_BYTES), "a ring at byte {offset_bytes} is not aligned");
        let tail = region.atomic_u64(offset_bytes);
        let head = region.atomic_u64(offset_bytes + INDEX_STRIDE_BYTES);
        // SAFETY: the assertions above keep the whole ring, and so its data, within the region's one mapping.
        let data = unsafe { region.base().add(offset_bytes + 2 * INDEX_STRIDE_BYTES) };
        Memory { tail, head, data, capacity_bytes, _region: Arc::clone(region) }
    }

    #[inline]
    pub(super) fn capacity_bytes(&self) -> usize {
        self.capacity_bytes
    }

    /// The index up to which records are published, written by the producer.
    #[inline]
    pub(super) fn tail(&self) -> &AtomicU64 {
        // SAFETY: points to an aligned word inside the region, which lives as long as `self`; all accesses are atomic.
        unsafe { &*self.tail }
    }

    /// The index up to which records are consumed, written by the consumer.
    #[inline]
    pub(super) fn head(&self) -> &AtomicU64 {
        // SAFETY: as for `tail`.
        unsafe { &*self.head }
    }

    /// Copies `bytes` into the ring at `position`, wrapping. The producer alone calls it, on bytes not yet published.
    #[inline]
    pub(super) fn write(&self, position: u64, bytes: &[u8]) {
        assert!(bytes.len() <= self.capacity_bytes);
        let offset = position as usize & (self.capacity_bytes - 1);
        let until_end = self.capacity_bytes - offset;
        // SAFETY: `offset` < capacity and no more than `until_end` bytes are written from it, then no more than the
        // rest from the start: both within the data area, which is `capacity_bytes` long. The source is private memory
        // and cannot overlap. A hostile peer process may race with these copies: it can only spoil what it reads
        // itself, since nothing is read back from here.
        unsafe {
            if bytes.len() <= until_end {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.data.add(offset), bytes.len());
            } else {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.data.add(offset), until_end);
                std::ptr::copy_nonoverlapping(bytes.as_ptr().add(until_end), self.data, bytes.len() - until_end);
            }
        }
    }

    /// Copies the ring's bytes at `position`, wrapping, into `bytes`. The consumer alone calls it, on published bytes.
    #[inline]
    pub(super) fn read(&self, position: u64, bytes: &mut [u8]) {
        assert!(bytes.len() <= self.capacity_bytes);
        let offset = position as usize & (self.capacity_bytes - 1);
        let until_end = self.capacity_bytes - offset;
        // SAFETY: bounds as in `write`. The destination is private memory. A correct peer does not write published
        // bytes; one in another process that does is no thread of this program, any bytes are valid `u8`s, and each
        // byte is copied once, so that what is checked afterwards is what is used.
        unsafe {
            if bytes.len() <= until_end {
                std::ptr::copy_nonoverlapping(self.data.add(offset), bytes.as_mut_ptr(), bytes.len());
            } else {
                std::ptr::copy_nonoverlapping(self.data.add(offset), bytes.as_mut_ptr(), until_end);
                std::ptr::copy_nonoverlapping(self.data, bytes.as_mut_ptr().add(until_end), bytes.len() - until_end);
            }
        }
    }

    /// Writes a record's length at `position`, a multiple of eight, so that it never wraps.
    #[inline]
    pub(super) fn write_word(&self, position: u64, word: u64) {
        let offset = position as usize & (self.capacity_bytes - 1);
        assert!(offset.is_multiple_of(8));
        // SAFETY: an aligned word within the data area: capacity and offset are multiples of eight, offset < capacity.
        unsafe { self.data.add(offset).cast::<u64>().write_volatile(word) }
    }

    /// Reads a record's length at `position`, a multiple of eight, exactly once.
    #[inline]
    pub(super) fn read_word(&self, position: u64) -> u64 {
        let offset = position as usize & (self.capacity_bytes - 1);
        assert!(offset.is_multiple_of(8));
        // SAFETY: as in `write_word`; volatile, so that the word is fetched once and the check holds for what is used.
        unsafe { self.data.add(offset).cast::<u64>().read_volatile() }
    }
}
