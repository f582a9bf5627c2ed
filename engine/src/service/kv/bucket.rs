//! A bucket: a string of bytes that begins in a page of its own and goes on in chain pages, and the items in it.
//!
//! ```text
//! a bucket's page:                    a chain page:
//!  0       4      8                    0      4
//! +-------+------+-------------+      +------+-------------+
//! | bytes | next | bytes       |      | next | bytes       |
//! | u32   | u32  | 0..4088     |      | u32  | 0..4092     |
//! +-------+------+-------------+      +------+-------------+
//!
//! an item in it:
//!  0           2       4             8
//! +-----------+-------+-------------+-----+-------+
//! | key_bytes | place | value_bytes | key | value |    place 0: here, key and value together at most 2048 bytes
//! | u16       | u16   | u32         |     |       |
//! +-----------+-------+-------------+-----+-------+------------+
//! | key_bytes | place | value_bytes | key's digest | first page |    place 1: outside, key and then value in chain pages
//! | u16       | u16   | u32         | 32 bytes     | u32        |
//! +-----------+-------+-------------+--------------+------------+
//! ```
//!
//! Items stand one behind the other without a gap, in the order in which they came; what is behind the last is zero.

use super::pages::{CHAIN_PAYLOAD_BYTES, Pages};
use crate::state::PAGE_BYTES;
use logothete_crypto::Digest;
use std::ops::Range;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Items longer than this, key and value together, stand outside of their bucket: so that a bucket stays short whatever the items.
pub(super) const INSIDE_BYTES_MAX: usize = PAGE_BYTES / 2;

const BUCKET_HEADER_BYTES: usize = 8;
const BUCKET_PAYLOAD_BYTES: usize = PAGE_BYTES - BUCKET_HEADER_BYTES;

const PLACE_INSIDE: u16 = 0;
const PLACE_OUTSIDE: u16 = 1;

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BucketHeader {
    bytes: U32,
    next: U32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ItemHeader {
    key_bytes: U16,
    place: U16,
    value_bytes: U32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Outside {
    key_digest: Digest,
    first_page: U32,
}

/// The bytes in front of an item's own, and those of an item that stands outside.
const ITEM_HEADER_BYTES: usize = size_of::<ItemHeader>();
const OUTSIDE_BYTES: usize = size_of::<Outside>();

/// What an item takes in its bucket is never more than what it counts for.
const _: () = assert!((ITEM_HEADER_BYTES + OUTSIDE_BYTES) as u64 <= super::ENTRY_OVERHEAD_BYTES);

/// Where an item's key and value are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    Inside { key: &'a [u8], value: &'a [u8] },
    Outside { key_digest: Digest, first_page: u32 },
}

/// An item of a bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'a> {
    /// Where it begins in the bucket, and its size there.
    pub(super) offset: usize,
    pub(super) size: usize,
    pub(super) key_bytes: usize,
    pub(super) value_bytes: usize,
    pub(super) place: Place<'a>,
}

impl<'a> Item<'a> {
    /// The bytes that it takes in the bucket.
    pub(super) fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.size
    }

    /// Whether it is under this key, whose digest that is.
    pub(super) fn is_under(&self, key: &[u8], digest: &Digest) -> bool {
        match self.place {
            Place::Inside { key: own, .. } => own == key,
            Place::Outside { key_digest, .. } => self.key_bytes == key.len() && key_digest == *digest,
        }
    }

    /// The digest of its key, which decides its bucket.
    pub(super) fn key_digest(&self) -> Digest {
        match self.place {
            Place::Inside { key, .. } => logothete_crypto::digest(key),
            Place::Outside { key_digest, .. } => key_digest,
        }
    }
}

/// The items of a bucket, in their order.
///
/// # Panics
/// When the bytes are no bucket's: the pages are only ever written here, or come with a digest that `f+1` replicas vouch for.
pub(super) fn items(bucket: &[u8]) -> impl Iterator<Item = Item<'_>> {
    let mut offset = 0;
    std::iter::from_fn(move || {
        let rest = bucket.get(offset..).filter(|rest| !rest.is_empty())?;
        let item = read(rest, offset).expect("a bucket holds whole items");
        offset += item.size;
        Some(item)
    })
}

fn read(bytes: &[u8], offset: usize) -> Option<Item<'_>> {
    let (header, rest) = ItemHeader::ref_from_prefix(bytes).ok()?;
    let (key_bytes, value_bytes) = (usize::from(header.key_bytes.get()), header.value_bytes.get() as usize);
    let (place, size) = match header.place.get() {
        PLACE_INSIDE => {
            let (key, rest) = rest.split_at_checked(key_bytes)?;
            let value = rest.get(..value_bytes)?;
            (Place::Inside { key, value }, key_bytes + value_bytes)
        }
        PLACE_OUTSIDE => {
            let (outside, _) = Outside::ref_from_prefix(rest).ok()?;
            let (key_digest, first_page) = (outside.key_digest, outside.first_page.get());
            (Place::Outside { key_digest, first_page }, OUTSIDE_BYTES)
        }
        _ => return None,
    };
    Some(Item { offset, size: ITEM_HEADER_BYTES + size, key_bytes, value_bytes, place })
}

/// Appends an item; one that stands outside is written to chain pages first.
pub(super) fn append_item(out: &mut Vec<u8>, pages: &mut Pages, key: &[u8], key_digest: &Digest, value: &[u8]) {
    let inside = key.len() + value.len() <= INSIDE_BYTES_MAX;
    let header = ItemHeader {
        key_bytes: u16::try_from(key.len()).expect("a command's key has at most KEY_BYTES_MAX bytes").into(),
        place: if inside { PLACE_INSIDE } else { PLACE_OUTSIDE }.into(),
        value_bytes: u32::try_from(value.len()).expect("a value fits a request").into(),
    };
    out.extend_from_slice(header.as_bytes());
    if inside {
        out.extend_from_slice(key);
        out.extend_from_slice(value);
    } else {
        let first_page = write_outside(pages, &[key, value]).into();
        out.extend_from_slice(Outside { key_digest: *key_digest, first_page }.as_bytes());
    }
}

/// Writes bytes, given in parts, to chain pages of their own.
fn write_outside(pages: &mut Pages, parts: &[&[u8]]) -> u32 {
    let first = pages.take();
    let (mut page, mut filled) = (first, 0);
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            if filled == CHAIN_PAYLOAD_BYTES {
                let next = pages.take();
                pages.set_next(page, next);
                (page, filled) = (next, 0);
            }
            let (now, later) = rest.split_at(rest.len().min(CHAIN_PAYLOAD_BYTES - filled));
            pages.payload_mut(page)[filled..filled + now.len()].copy_from_slice(now);
            (rest, filled) = (later, filled + now.len());
        }
    }
    first
}

/// Appends `bytes` bytes that stand in chain pages, but for the first `skip` of them.
pub(super) fn read_outside(pages: &Pages, first: u32, skip: usize, bytes: usize, out: &mut Vec<u8>) {
    let (mut page, mut begin) = (first, 0);
    while begin < skip + bytes {
        let payload = pages.payload(page);
        let from = skip.saturating_sub(begin).min(payload.len());
        let to = (skip + bytes - begin).min(payload.len());
        out.extend_from_slice(&payload[from..to]);
        begin += payload.len();
        page = if begin < skip + bytes { pages.next(page) } else { 0 };
    }
}

fn bucket_header(pages: &Pages, bucket: u64) -> (usize, u32) {
    let page = pages.state.page(pages.bucket_page(bucket));
    let (header, _) = BucketHeader::ref_from_prefix(page).expect("a page has a header");
    (header.bytes.get() as usize, header.next.get())
}

/// A bucket's bytes: where they stand if that is one page, else copied to `buffer`.
pub(super) fn content<'a>(pages: &'a Pages, bucket: u64, buffer: &'a mut Vec<u8>) -> &'a [u8] {
    let (bytes, next) = bucket_header(pages, bucket);
    if next == 0 {
        return &pages.state.page(pages.bucket_page(bucket))[BUCKET_HEADER_BYTES..][..bytes];
    }
    copy(pages, bucket, buffer);
    buffer
}

/// Copies a bucket's bytes, in place of what was in `out`.
pub(super) fn copy(pages: &Pages, bucket: u64, out: &mut Vec<u8>) {
    let (bytes, next) = bucket_header(pages, bucket);
    let payload = &pages.state.page(pages.bucket_page(bucket))[BUCKET_HEADER_BYTES..];
    let here = bytes.min(payload.len());
    out.clear();
    out.extend_from_slice(&payload[..here]);
    read_outside(pages, next, 0, bytes - here, out);
}

/// Gives a bucket other bytes, of which only those in `changed` differ from what is stored; what was stored behind them is
/// gone. Chain pages are taken and given back as it takes.
pub(super) fn store(pages: &mut Pages, bucket: u64, content: &[u8], changed: Range<usize>) {
    let own = pages.bucket_page(bucket);
    let (old_bytes, mut next) = bucket_header(pages, bucket);
    if content.is_empty() {
        pages.state.clear(own..own + 1);
        pages.give_back(next);
        return;
    }
    let touched = changed.start..changed.end.max(old_bytes);
    let mut begin = 0;
    let mut before: Option<u32> = None;
    loop {
        let payload_bytes = if before.is_none() { BUCKET_PAYLOAD_BYTES } else { CHAIN_PAYLOAD_BYTES };
        let end = begin + payload_bytes;
        if touched.start < end && begin < touched.end {
            let payload = match before {
                None => &mut pages.state.page_mut(own)[BUCKET_HEADER_BYTES..],
                Some(page) => pages.payload_mut(page),
            };
            let from = touched.start.clamp(begin, end);
            let to = content.len().min(end).max(from);
            payload[from - begin..to - begin].copy_from_slice(&content[from..to]);
            payload[to - begin..old_bytes.clamp(to, end) - begin].fill(0);
        }
        let last = content.len() <= end;
        if last && next != 0 {
            pages.give_back(next);
            link(pages, own, before, 0);
        } else if !last && next == 0 {
            next = pages.take();
            link(pages, own, before, next);
        }
        if last {
            break;
        }
        (begin, before) = (end, Some(next));
        next = pages.next(next);
    }
    if content.len() != old_bytes {
        let bytes = u32::try_from(content.len()).expect("a bucket is shorter than the state");
        pages.state.page_mut(own)[..size_of::<U32>()].copy_from_slice(&bytes.to_le_bytes());
    }
}

/// Says what comes behind a bucket's page, or behind one of its chain pages.
fn link(pages: &mut Pages, own: u64, before: Option<u32>, next: u32) {
    match before {
        None => pages.state.page_mut(own)[size_of::<U32>()..BUCKET_HEADER_BYTES].copy_from_slice(&next.to_le_bytes()),
        Some(page) => pages.set_next(page, next),
    }
}

/// The first chain page of a bucket; 0 where it has none.
#[cfg(test)]
pub(super) fn next_page(pages: &Pages, bucket: u64) -> u32 {
    bucket_header(pages, bucket).1
}
