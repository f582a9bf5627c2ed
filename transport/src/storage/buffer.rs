//! Memory aligned for direct input and output.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// The unit of direct writes: the logical block of every disk in use divides it, and it is a page.
pub const BLOCK_BYTES: usize = 4096;

/// Zeroed bytes that start at a multiple of [`BLOCK_BYTES`]; a whole number of blocks.
pub struct AlignedBuffer {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: it owns its memory, like a boxed slice.
unsafe impl Send for AlignedBuffer {}
// SAFETY: shared references only read.
unsafe impl Sync for AlignedBuffer {}

impl AlignedBuffer {
    /// Allocates at least `bytes`, rounded up to whole blocks.
    ///
    /// # Panics
    ///
    /// When `bytes` is zero or beyond the address space.
    pub fn new(bytes: usize) -> AlignedBuffer {
        assert!(bytes > 0, "a buffer has at least one byte");
        let layout = Self::layout(bytes.next_multiple_of(BLOCK_BYTES));
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout));
        AlignedBuffer { start, bytes: layout.size() }
    }

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, BLOCK_BYTES).expect("a buffer fits the address space")
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: allocated in `new` with this size, initialised with zeros, alive until drop.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, freed once.
        unsafe { dealloc(self.start.as_ptr(), Self::layout(self.bytes)) };
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlignedBuffer").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_aligned_zeroed_and_whole_blocks() {
        for bytes in [1, 4096, 4097, 1 << 20] {
            let mut buffer = AlignedBuffer::new(bytes);
            assert!(buffer.as_ptr().addr().is_multiple_of(BLOCK_BYTES));
            assert!(buffer.len() >= bytes && buffer.len().is_multiple_of(BLOCK_BYTES));
            assert!(buffer.iter().all(|byte| *byte == 0));
            *buffer.last_mut().unwrap() = 7;
            assert_eq!(buffer[buffer.len() - 1], 7);
        }
    }
}
