//! Memory for pages of 4 KiB that come and go: some are kept ready, and what is more is given back to the system at once.
//!
//! A state whose pages are copied when they are written to (checkpoints) needs twice its size for a moment, and half of that for hours. An
//! allocator keeps what was ever needed; a process would look as large as its worst moment. Here a page beyond those that are kept ready
//! costs two page faults, and none of the process's memory afterwards.
//!
//! ```text
//!            take                                  drop
//!   warm ───────────▶ in use ─────────────────────────────▶ warm, up to `warm_max`
//!   cold ───────────▶   "    (the kernel gives a new page)  ─▶ cold: MADV_DONTNEED, the address stays
//!   a new mapping ──▶   "
//! ```

use crate::pool::Memory;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The bytes of a page.
pub const PAGE_BYTES: usize = 4096;

/// Addresses are taken from the kernel so many pages at a time, 4 MiB: few mappings, and no call for each page.
const PAGES_A_MAPPING: usize = 1024;

/// The address of a page that belongs to a mapping of its store.
struct Address(NonNull<[u8; PAGE_BYTES]>);

// SAFETY: an address is in one place at a time, a list of the store or a page in use, and its memory has no affinity to a thread.
unsafe impl Send for Address {}

/// Where pages come from. Copies share it.
#[derive(Clone)]
pub struct PageStore(Arc<Shared>);

struct Shared {
    lists: Mutex<Lists>,
    warm_max: usize,
}

#[derive(Default)]
struct Lists {
    /// Present and free.
    warm: Vec<Address>,
    /// Free, and without memory.
    cold: Vec<Address>,
    /// Unmapped with the store, which every page in use keeps.
    mappings: Vec<Memory>,
}

impl PageStore {
    /// A store that keeps up to `warm_max` free pages present; it has none yet.
    pub fn new(warm_max: usize) -> Self {
        Self(Arc::new(Shared { lists: Mutex::default(), warm_max }))
    }

    /// Makes so many free pages present, if so many are kept: who needs them under load does not wait for the kernel, and memory does not grow then.
    pub fn make_ready(&self, pages: usize) {
        let mut taken: Vec<PageMemory> = (0..pages.min(self.0.warm_max)).map(|_| self.take()).collect();
        taken.iter_mut().for_each(|page| page.fill(0xff));
    }

    /// A page; what is in it is whatever was there.
    ///
    /// # Panics
    /// If the system has no memory left.
    pub fn take(&self) -> PageMemory {
        let mut lists = self.0.lists();
        let address = lists.warm.pop().or_else(|| lists.cold.pop()).unwrap_or_else(|| lists.map());
        drop(lists);
        PageMemory { address, store: self.clone() }
    }

    /// How many free pages are present.
    pub fn warm(&self) -> usize {
        self.0.lists().warm.len()
    }
}

impl fmt::Debug for PageStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = self.0.lists();
        let (warm, cold, mappings) = (lists.warm.len(), lists.cold.len(), lists.mappings.len());
        f.debug_struct("PageStore").field("warm", &warm).field("cold", &cold).field("mappings", &mappings).finish()
    }
}

impl Shared {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        // No invariant spans the lock: a list that a panicking thread left is a list.
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lists {
    /// Maps more pages; all but one of them are cold.
    fn map(&mut self) -> Address {
        let memory = match Memory::reserve(PAGES_A_MAPPING * PAGE_BYTES) {
            Ok(memory) => memory,
            Err(error) => {
                panic!("mapping {PAGES_A_MAPPING} pages failed with error {error}: the system has no memory left")
            }
        };
        let first = memory.start().cast::<[u8; PAGE_BYTES]>();
        // SAFETY: each address is inside the mapping, which lives as long as the store.
        let pages = (0..PAGES_A_MAPPING).rev().map(|page| Address(unsafe { first.add(page) }));
        self.cold.extend(pages);
        self.mappings.push(memory);
        self.cold.pop().expect("a mapping has pages")
    }
}

/// A page in use: its memory belongs to this value alone, and goes back to its store with it.
pub struct PageMemory {
    address: Address,
    store: PageStore,
}

// SAFETY: it is memory that only its owner can reach; shared references read it.
unsafe impl Sync for PageMemory {}

impl PageMemory {
    /// Another page of the same store.
    pub fn another(&self) -> PageMemory {
        self.store.take()
    }
}

impl Deref for PageMemory {
    type Target = [u8; PAGE_BYTES];

    fn deref(&self) -> &Self::Target {
        // SAFETY: the page is mapped as long as the store, which this value keeps; every bit pattern is bytes; no other value has the address, and nobody
        // writes through a shared reference.
        unsafe { self.address.0.as_ref() }
    }
}

impl DerefMut for PageMemory {
    fn deref_mut(&mut self) -> &mut Self::Target {
        // SAFETY: as above, and the reference to this value is the only one.
        unsafe { self.address.0.as_mut() }
    }
}

impl Drop for PageMemory {
    fn drop(&mut self) {
        let address = Address(self.address.0);
        let mut lists = self.store.0.lists();
        if lists.warm.len() < self.store.0.warm_max {
            lists.warm.push(address);
            return;
        }
        drop(lists);
        // SAFETY: the range is this page's own, which nobody reaches any more. A refusal costs memory and nothing else.
        unsafe { libc::madvise(address.0.as_ptr().cast(), PAGE_BYTES, libc::MADV_DONTNEED) };
        self.store.0.lists().cold.push(address);
    }
}

impl fmt::Debug for PageMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageMemory")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the kernel has given memory for a page.
    fn is_present(page: NonNull<[u8; PAGE_BYTES]>) -> bool {
        let mut present = [0u8];
        // SAFETY: the page is mapped, and the answer for one page is one byte.
        let status = unsafe { libc::mincore(page.as_ptr().cast(), PAGE_BYTES, present.as_mut_ptr()) };
        assert_eq!(status, 0);
        present[0] & 1 != 0
    }

    #[test]
    fn pages_are_apart_and_keep_what_is_written() {
        let store = PageStore::new(4);
        let mut pages: Vec<PageMemory> = (0..2 * PAGES_A_MAPPING + 3).map(|_| store.take()).collect();
        for (number, page) in pages.iter_mut().enumerate() {
            page.fill(number as u8);
            page[..8].copy_from_slice(&(number as u64).to_le_bytes());
        }
        for (number, page) in pages.iter().enumerate() {
            assert_eq!(page[..8], (number as u64).to_le_bytes());
            assert!(page[8..].iter().all(|byte| *byte == number as u8));
        }
    }

    #[test]
    fn what_is_not_kept_ready_is_given_back() {
        let store = PageStore::new(4);
        let mut pages: Vec<PageMemory> = (0..20).map(|_| store.take()).collect();
        pages.iter_mut().for_each(|page| page.fill(7));
        let addresses: Vec<_> = pages.iter().map(|page| page.address.0).collect();
        assert!(addresses.iter().all(|address| is_present(*address)));
        drop(pages);
        assert_eq!(store.warm(), 4);
        assert_eq!(addresses.iter().filter(|address| is_present(**address)).count(), 4);
        // Their addresses are used again before new ones are asked for.
        let again: Vec<PageMemory> = (0..PAGES_A_MAPPING).map(|_| store.take()).collect();
        assert!(addresses.iter().all(|address| again.iter().any(|page| page.address.0 == *address)));
        assert_eq!(store.0.lists().mappings.len(), 1);
    }

    #[test]
    fn pages_outlive_the_handle_of_their_store_and_cross_threads() {
        let store = PageStore::new(2);
        store.make_ready(5);
        assert_eq!(store.warm(), 2);
        let mut page = store.take();
        assert!(is_present(page.address.0));
        page.fill(3);
        drop(store);
        let page = std::thread::spawn(move || page).join().unwrap();
        assert_eq!(*page, [3; PAGE_BYTES]);
        assert_eq!(page.another().len(), PAGE_BYTES);
    }
}
