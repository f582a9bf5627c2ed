//! A page, and bytes that reach across several.

use super::PAGE_BYTES;
use logothete_crypto::Digest;
use logothete_transport::pages::{PageMemory, PageStore};
use std::ops::Range;
use std::sync::OnceLock;

/// The bytes of a page.
pub type PageBytes = [u8; PAGE_BYTES];

/// What an absent page reads as.
pub(super) static ZERO_PAGE: PageBytes = [0; PAGE_BYTES];

/// A page of a tree, with its digest once that was asked for.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) digest: OnceLock<Digest>,
    memory: PageMemory,
}

impl Page {
    /// A page of zeros.
    pub(super) fn zero(store: &PageStore) -> Self {
        let mut memory = store.take();
        memory.fill(0);
        Self { digest: OnceLock::new(), memory }
    }

    /// A page with these bytes.
    pub(super) fn new(bytes: &PageBytes, store: &PageStore) -> Self {
        Self::copied(bytes, store.take())
    }

    fn copied(bytes: &PageBytes, mut memory: PageMemory) -> Self {
        memory.copy_from_slice(bytes);
        Self { digest: OnceLock::new(), memory }
    }

    pub(super) fn bytes(&self) -> &PageBytes {
        &self.memory
    }

    /// The bytes to write to; what the digest was is forgotten.
    pub(super) fn bytes_mut(&mut self) -> &mut PageBytes {
        self.digest.take();
        &mut self.memory
    }
}

/// Reads bytes from an offset on, across pages.
pub(super) fn read<'a>(offset: u64, out: &mut [u8], page: impl Fn(u64) -> &'a PageBytes) {
    for (index, within, part) in pieces(offset, out.len()) {
        out[part.clone()].copy_from_slice(&page(index)[within..within + part.len()]);
    }
}

/// Cuts `length` bytes from `offset` on where pages end: page, offset within it, which of the bytes.
pub(super) fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let (page, within) = (at / PAGE_BYTES as u64, (at % PAGE_BYTES as u64) as usize);
        let part = done..length.min(done + PAGE_BYTES - within);
        done = part.end;
        (!part.is_empty()).then_some((page, within, part))
    })
}

impl Clone for Page {
    /// A copy that is about to be written to, hence without the digest.
    fn clone(&self) -> Self {
        Self::copied(self.bytes(), self.memory.another())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_and_comes_back_as_asked() {
        let store = PageStore::new(4);
        let first = Page::new(&[7; PAGE_BYTES], &store);
        let address = first.bytes().as_ptr();
        drop(first);
        let second = Page::zero(&store);
        assert_eq!((second.bytes().as_ptr(), second.bytes()), (address, &ZERO_PAGE));
        let third = second.clone();
        assert_ne!(third.bytes().as_ptr(), address);
        assert_eq!((third.bytes(), store.warm()), (&ZERO_PAGE, 0));
    }
}
