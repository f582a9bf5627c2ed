//! Where the key-value service's pages are, its header page, and the pages that hang behind others.
//!
//! ```text
//!  ENGINE_PAGES   +1              +1+B                     +1+B+F              B: buckets_max, C: chain_pages_max,
//! +--------------+---------------+------------------------+-----------------+  F: pages that hold C numbers of 4 bytes
//! | header       | B buckets     | free list              | C chain pages   |
//! +--------------+---------------+------------------------+-----------------+
//! ```
//!
//! Chain pages are numbered from 1; 0 is none. The free list is a stack of the numbers of those that were given back. A page is
//! taken from its top, and one that was never used if it is empty: so which page is taken follows from what was executed
//! alone (`protocol.md SP-1`, `SP-4`). What is not in use is all zeros.

use super::super::RestoreError;
use crate::state::{ENGINE_PAGES, PAGE_BYTES, State};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Says whose page it is.
const FORMAT: [u8; 8] = *b"lgtkv  1";

/// The buckets' mean fill, in bytes: one is split whenever there are more bytes than this a bucket. Half a page, so that few
/// buckets need a second one.
pub(super) const BUCKET_BYTES_MEAN: u64 = PAGE_BYTES as u64 / 2;

/// No chain wastes more than half of its pages: what takes chain pages counts for at least this a page. An entry outside of
/// its bucket is longer than half a page, and a bucket's own chain begins where its page is full.
const CHAIN_PAGE_COUNTS: u64 = PAGE_BYTES as u64 / 2 - 8;

/// Bytes in front of a chain page's own: the number of the next.
pub(super) const CHAIN_HEADER_BYTES: usize = 4;
/// What a chain page holds.
pub(super) const CHAIN_PAYLOAD_BYTES: usize = PAGE_BYTES - CHAIN_HEADER_BYTES;

/// The header page's beginning; the rest of it is zero.
///
/// ```text
///  0        8                 16      24            32            40        48          52           56
/// +--------+-----------------+-------+-------------+-------------+---------+-----------+------------+-------
/// | format | state_bytes_max | items | state_bytes | item_bytes  | buckets | used      | free       | zero
/// | 8 bytes| u64             | u64   | u64         | u64         | u64     | u32       | u32        |
/// +--------+-----------------+-------+-------------+-------------+---------+-----------+------------+-------
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    format: [u8; 8],
    state_bytes_max: U64,
    items: U64,
    state_bytes: U64,
    item_bytes: U64,
    buckets: U64,
    used: U32,
    free: U32,
}

/// What the header page counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    /// What is stored.
    pub(super) items: u64,
    /// What is stored, in bytes, each item counted with its overhead.
    pub(super) state_bytes: u64,
    /// What all buckets hold, in bytes.
    pub(super) item_bytes: u64,
    /// How many buckets there are.
    pub(super) buckets: u64,
}

/// The pages of the service.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) state: State,
    pub(super) counts: Counts,
    state_bytes_max: u64,
    /// Chain pages that were ever used, and how many of them are on the free list.
    used: u32,
    free: u32,
}

fn buckets_max(state_bytes_max: u64) -> u64 {
    state_bytes_max / BUCKET_BYTES_MEAN + 1
}

fn chain_pages_max(state_bytes_max: u64) -> u64 {
    state_bytes_max / CHAIN_PAGE_COUNTS + buckets_max(state_bytes_max)
}

fn free_list_pages(state_bytes_max: u64) -> u64 {
    (chain_pages_max(state_bytes_max) * size_of::<u32>() as u64).div_ceil(PAGE_BYTES as u64)
}

impl Pages {
    /// Of an empty service.
    pub(super) fn new(state_bytes_max: u64) -> Self {
        let chain_pages = chain_pages_max(state_bytes_max);
        assert!(u32::try_from(chain_pages).is_ok(), "{chain_pages} pages of values cannot be numbered");
        let pages = ENGINE_PAGES + 1 + buckets_max(state_bytes_max) + free_list_pages(state_bytes_max) + chain_pages;
        let counts = Counts { items: 0, state_bytes: 0, item_bytes: 0, buckets: 1 };
        let mut own = Self { state: State::new(pages), counts, state_bytes_max, used: 0, free: 0 };
        own.write_header();
        own
    }

    /// The most memory that they take: every bucket's page for little, and chains that are half empty for all the rest.
    pub(super) fn memory_bytes_max(state_bytes_max: u64) -> u64 {
        let chain_pages = state_bytes_max / CHAIN_PAGE_COUNTS;
        (1 + buckets_max(state_bytes_max) + free_list_pages(state_bytes_max) + chain_pages) * PAGE_BYTES as u64
    }

    pub(super) fn state_bytes_max(&self) -> u64 {
        self.state_bytes_max
    }

    /// The page of a bucket.
    pub(super) fn bucket_page(&self, bucket: u64) -> u64 {
        assert!(bucket < buckets_max(self.state_bytes_max), "bucket {bucket} is more than the service can need");
        ENGINE_PAGES + 1 + bucket
    }

    fn chain_page(&self, number: u32) -> u64 {
        assert!((1..=self.used).contains(&number), "chain page {number} of {} that are used", self.used);
        let first = ENGINE_PAGES + 1 + buckets_max(self.state_bytes_max) + free_list_pages(self.state_bytes_max);
        first + u64::from(number) - 1
    }

    fn free_list_offset(&self, place: u32) -> u64 {
        let first = ENGINE_PAGES + 1 + buckets_max(self.state_bytes_max);
        first * PAGE_BYTES as u64 + u64::from(place) * size_of::<u32>() as u64
    }

    /// Takes a chain page. There is always one: the limit on what is stored is reached first.
    pub(super) fn take(&mut self) -> u32 {
        if let Some(top) = self.free.checked_sub(1) {
            let mut number = U32::ZERO;
            let offset = self.free_list_offset(top);
            self.state.read(offset, number.as_mut_bytes());
            self.state.write(offset, &[0; size_of::<U32>()]);
            self.free = top;
            return number.get();
        }
        assert!(u64::from(self.used) < chain_pages_max(self.state_bytes_max), "all chain pages are in use");
        self.used += 1;
        self.used
    }

    /// Gives back a chain page and all behind it.
    pub(super) fn give_back(&mut self, first: u32) {
        let mut number = first;
        // As many steps as there are pages that were ever used, whatever their content.
        for _ in 0..self.used {
            if number == 0 {
                return;
            }
            let (page, next) = (self.chain_page(number), self.next(number));
            self.state.clear(page..page + 1);
            let offset = self.free_list_offset(self.free);
            self.state.write(offset, &number.to_le_bytes());
            self.free += 1;
            number = next;
        }
        assert_eq!(number, 0, "a chain of pages ends");
    }

    /// The chain page behind one; 0 if it is the last.
    pub(super) fn next(&self, number: u32) -> u32 {
        let page = self.state.page(self.chain_page(number));
        u32::from_le_bytes(*page.first_chunk().expect("a page has a header"))
    }

    /// Says which is behind a chain page.
    pub(super) fn set_next(&mut self, number: u32, next: u32) {
        let page = self.chain_page(number);
        self.state.page_mut(page)[..CHAIN_HEADER_BYTES].copy_from_slice(&next.to_le_bytes());
    }

    /// What a chain page holds.
    pub(super) fn payload(&self, number: u32) -> &[u8] {
        &self.state.page(self.chain_page(number))[CHAIN_HEADER_BYTES..]
    }

    /// What a chain page holds, to write to.
    pub(super) fn payload_mut(&mut self, number: u32) -> &mut [u8] {
        let page = self.chain_page(number);
        &mut self.state.page_mut(page)[CHAIN_HEADER_BYTES..]
    }

    /// Writes the header page.
    pub(super) fn write_header(&mut self) {
        let header = Header {
            format: FORMAT,
            state_bytes_max: self.state_bytes_max.into(),
            items: self.counts.items.into(),
            state_bytes: self.counts.state_bytes.into(),
            item_bytes: self.counts.item_bytes.into(),
            buckets: self.counts.buckets.into(),
            used: self.used.into(),
            free: self.free.into(),
        };
        self.state.page_mut(ENGINE_PAGES)[..size_of::<Header>()].copy_from_slice(header.as_bytes());
    }

    /// Reads the header page again; it must be that of a service with this limit.
    pub(super) fn read_header(&mut self) -> Result<(), RestoreError> {
        let refused = |what| Err(RestoreError { page: ENGINE_PAGES, what });
        let (header, _) = Header::read_from_prefix(self.state.page(ENGINE_PAGES)).expect("a page holds a header");
        if header.format != FORMAT {
            return refused("no header of a key-value service");
        }
        if header.state_bytes_max != self.state_bytes_max {
            return refused("the service has another limit");
        }
        let (used, free, buckets) = (header.used.get(), header.free.get(), header.buckets.get());
        let (state_bytes, item_bytes) = (header.state_bytes.get(), header.item_bytes.get());
        let sound = (1..=buckets_max(self.state_bytes_max)).contains(&buckets)
            && u64::from(used) <= chain_pages_max(self.state_bytes_max)
            && free <= used
            && state_bytes <= self.state_bytes_max
            && item_bytes <= state_bytes;
        if !sound {
            return refused("the service's counts contradict each other");
        }
        (self.used, self.free) = (used, free);
        self.counts = Counts { items: header.items.get(), state_bytes, item_bytes, buckets };
        Ok(())
    }
}

#[cfg(test)]
impl Pages {
    /// Asserts that each chain page that was ever used is in one chain or on the free list, and that one on the list is absent.
    pub(super) fn check(&self) {
        use super::bucket::{self, Place};
        let mut uses = vec![0; self.used as usize + 1];
        let mut follow = |first: u32| {
            let mut number = first;
            while number != 0 {
                uses[number as usize] += 1;
                assert_eq!(uses[number as usize], 1, "chain page {number} is in use twice");
                number = self.next(number);
            }
        };
        for number in 0..self.counts.buckets {
            follow(bucket::next_page(self, number));
            for item in bucket::items(bucket::content(self, number, &mut Vec::new())) {
                if let Place::Outside { first_page, .. } = item.place {
                    follow(first_page);
                }
            }
        }
        for place in 0..self.free {
            let mut number = U32::ZERO;
            self.state.read(self.free_list_offset(place), number.as_mut_bytes());
            uses[number.get() as usize] += 1;
            assert!(self.state.page(self.chain_page(number.get())).iter().all(|byte| *byte == 0));
        }
        assert!(uses[1..].iter().all(|uses| *uses == 1), "a chain page is lost, or in use twice");
    }
}
