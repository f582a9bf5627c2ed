//! Bytes that lie in pages, one behind the other, as they are read without being copied first.

use crate::state::{PAGE_BYTES, State};
use core::fmt;

/// A string of bytes in the pages of a state; it may cross from one page into the next.
#[derive(Clone, Copy)]
pub struct StoredBytes<'a> {
    state: &'a State,
    /// Where it begins, in bytes from the beginning of the state.
    offset: u64,
    bytes: usize,
}

impl<'a> StoredBytes<'a> {
    pub(super) fn new(state: &'a State, offset: u64, bytes: usize) -> Self {
        Self { state, offset, bytes }
    }

    /// How many bytes they are.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether they are none.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Some of them.
    ///
    /// # Panics
    /// When there are not so many from there on.
    #[must_use]
    pub fn range(&self, offset: usize, bytes: usize) -> Self {
        assert!(offset.checked_add(bytes).is_some_and(|end| end <= self.bytes), "a range is within the bytes");
        Self { state: self.state, offset: self.offset + offset as u64, bytes }
    }

    /// The bytes in pieces, in order, a piece a page.
    pub fn pieces(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let Self { state, mut offset, bytes: mut left } = *self;
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let within = (offset % PAGE_BYTES as u64) as usize;
            let size = left.min(PAGE_BYTES - within);
            let piece = &state.page(offset / PAGE_BYTES as u64)[within..within + size];
            left -= size;
            offset += size as u64;
            Some(piece)
        })
    }

    /// Copies them behind what is in `out`.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        out.reserve(self.bytes);
        self.pieces().for_each(|piece| out.extend_from_slice(piece));
    }

    /// A copy of them.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut copy = Vec::new();
        self.append_to(&mut copy);
        copy
    }
}

impl fmt::Debug for StoredBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes at {}", self.bytes, self.offset)
    }
}
