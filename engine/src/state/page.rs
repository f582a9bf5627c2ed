//! A page, bytes that reach across several, and where the memory of dropped pages waits to be used again.

use super::PAGE_BYTES;
use crate::limits::PAGES_FREE_MAX;
use logothete_crypto::Digest;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The bytes of a page.
pub type PageBytes = [u8; PAGE_BYTES];

/// What an absent page reads as.
pub(super) static ZERO_PAGE: PageBytes = [0; PAGE_BYTES];

/// A page of a tree, with its digest once that was asked for.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) digest: OnceLock<Digest>,
    /// Empty only while it is dropped: the memory goes back to the pool.
    memory: Option<Box<PageBytes>>,
    pool: Arc<Pool>,
}

impl Page {
    /// A page of zeros.
    pub(super) fn zero(pool: &Arc<Pool>) -> Self {
        let memory = match pool.take() {
            Some(mut memory) => {
                memory.fill(0);
                memory
            }
            None => fresh(),
        };
        Self { digest: OnceLock::new(), memory: Some(memory), pool: Arc::clone(pool) }
    }

    /// A page with these bytes.
    pub(super) fn new(bytes: &PageBytes, pool: &Arc<Pool>) -> Self {
        let mut memory = pool.take().unwrap_or_else(fresh);
        memory.copy_from_slice(bytes);
        Self { digest: OnceLock::new(), memory: Some(memory), pool: Arc::clone(pool) }
    }

    pub(super) fn bytes(&self) -> &PageBytes {
        self.memory.as_deref().expect("a page has its memory until it is dropped")
    }

    /// The bytes to write to; what the digest was is forgotten.
    pub(super) fn bytes_mut(&mut self) -> &mut PageBytes {
        self.digest.take();
        self.memory.as_deref_mut().expect("a page has its memory until it is dropped")
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

/// Memory straight from the allocator.
fn fresh() -> Box<PageBytes> {
    vec![0; PAGE_BYTES].into_boxed_slice().try_into().expect("it has a page's length")
}

impl Clone for Page {
    /// A copy that is about to be written to, hence without the digest.
    fn clone(&self) -> Self {
        Self::new(self.bytes(), &self.pool)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            self.pool.put(memory);
        }
    }
}

/// The memory of pages that were dropped, by whichever thread dropped the last snapshot that had them: without it a state that is
/// written through again and again would ask the system for fresh memory at the rate of its writes.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Vec<Box<PageBytes>>>);

impl Pool {
    fn free(&self) -> MutexGuard<'_, Vec<Box<PageBytes>>> {
        // No invariant spans the lock: a list that a panicking thread left is a list.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Box<PageBytes>> {
        self.free().pop()
    }

    fn put(&self, memory: Box<PageBytes>) {
        let mut free = self.free();
        if free.len() < PAGES_FREE_MAX {
            free.push(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_and_comes_back_as_asked() {
        let pool = Arc::default();
        let first = Page::new(&[7; PAGE_BYTES], &pool);
        let address = first.bytes().as_ptr();
        drop(first);
        let second = Page::zero(&pool);
        assert_eq!((second.bytes().as_ptr(), second.bytes()), (address, &ZERO_PAGE));
        let third = second.clone();
        assert_ne!(third.bytes().as_ptr(), address);
        assert!(pool.free().is_empty());
    }

    #[test]
    fn the_pool_is_bounded() {
        let pool = Arc::default();
        drop((0..PAGES_FREE_MAX + 10).map(|_| Page::zero(&pool)).collect::<Vec<_>>());
        assert_eq!(pool.free().len(), PAGES_FREE_MAX);
    }
}
