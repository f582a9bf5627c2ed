//! Where the log's pages are, and its header page.
//!
//! ```text
//!  ENGINE_PAGES   +1                        +1+n                      n: pages a segment
//! +--------------+-------------------------+-------------------------+---
//! | header       | segment 0               | segment 1               | ...  segments_max of them
//! +--------------+-------------------------+-------------------------+---
//! ```
//!
//! Which segment is next follows from the ring (`protocol.md SP-4`): those in use are `segments_used` from `segment_first` on.
//! One that is not in use is all zeros, and so is the rest of one behind its last run. A segment's runs fill `segment_bytes` of
//! its pages at most.

use super::super::RestoreError;
use super::LogSettings;
use super::segment::Boundary;
use crate::state::{ENGINE_PAGES, PAGE_BYTES, State};
use logothete_crypto::Digest;
use std::ops::Range;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Says whose page it is.
const FORMAT: [u8; 8] = *b"lgtlog 1";

/// The header page's beginning; the rest of it is zero.
///
/// ```text
///  0        8               16             24              32              40       48             80    88
/// +--------+---------------+--------------+---------------+---------------+--------+--------------+-----+----------+
/// | format | segment_bytes | segments_max | segment_first | segments_used | oldest | chain_oldest | end | chain    |
/// | 8 bytes| u64           | u64          | u64           | u64           | u64    | 32 bytes     | u64 | 32 bytes |
/// +--------+---------------+--------------+---------------+---------------+--------+--------------+-----+----------+
/// ```
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    format: [u8; 8],
    segment_bytes: U64,
    segments_max: U64,
    segment_first: U64,
    segments_used: U64,
    oldest: U64,
    chain_oldest: Digest,
    end: U64,
    chain: Digest,
}

const _: () = assert!(size_of::<Header>() == 120);

/// What the header page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Which segment of the ring has the oldest run, and how many from there on have runs.
    pub(super) segments: (usize, usize),
    /// Where the oldest run begins.
    pub(super) oldest: Boundary,
    /// Where the next one will begin.
    pub(super) end: Boundary,
}

fn pages_a_segment(settings: LogSettings) -> u64 {
    settings.segment_bytes.div_ceil(PAGE_BYTES) as u64
}

/// How many pages a state needs for a log with these settings, the engine's included.
pub(super) fn pages_needed(settings: LogSettings) -> u64 {
    ENGINE_PAGES + 1 + settings.segments_max as u64 * pages_a_segment(settings)
}

/// The pages of a segment of the ring.
pub(super) fn segment_pages(settings: LogSettings, segment: usize) -> Range<u64> {
    let first = ENGINE_PAGES + 1 + segment as u64 * pages_a_segment(settings);
    first..first + pages_a_segment(settings)
}

/// Where a segment of the ring begins, in bytes.
pub(super) fn segment_begin(settings: LogSettings, segment: usize) -> u64 {
    segment_pages(settings, segment).start * PAGE_BYTES as u64
}

/// Writes the header page.
pub(super) fn write_header(state: &mut State, settings: LogSettings, bounds: &Bounds) {
    let header = Header {
        format: FORMAT,
        segment_bytes: (settings.segment_bytes as u64).into(),
        segments_max: (settings.segments_max as u64).into(),
        segment_first: (bounds.segments.0 as u64).into(),
        segments_used: (bounds.segments.1 as u64).into(),
        oldest: bounds.oldest.position.into(),
        chain_oldest: bounds.oldest.chain,
        end: bounds.end.position.into(),
        chain: bounds.end.chain,
    };
    state.page_mut(ENGINE_PAGES)[..size_of::<Header>()].copy_from_slice(header.as_bytes());
}

/// Reads the header page; it must be that of a log with these settings.
pub(super) fn read_header(state: &State, settings: LogSettings) -> Result<Bounds, RestoreError> {
    let refused = |what| Err(RestoreError { page: ENGINE_PAGES, what });
    let (header, _) = Header::read_from_prefix(state.page(ENGINE_PAGES)).expect("a page holds a header");
    if header.format != FORMAT {
        return refused("no header of an ordered log");
    }
    if header.segment_bytes != settings.segment_bytes as u64 || header.segments_max != settings.segments_max as u64 {
        return refused("the log has segments of another size or number");
    }
    let segments_max = settings.segments_max as u64;
    let (first, used) = (header.segment_first.get(), header.segments_used.get());
    let oldest = Boundary { position: header.oldest.get(), chain: header.chain_oldest };
    let end = Boundary { position: header.end.get(), chain: header.chain };
    if first >= segments_max || used > segments_max || oldest.position > end.position || (used == 0) != (oldest == end)
    {
        return refused("the log's bounds contradict each other");
    }
    Ok(Bounds { segments: (first as usize, used as usize), oldest, end })
}
