//! The segment: a stretch of pages with runs one behind the other, and a sparse index of where some of them begin.
//!
//! The runs are in the pages; the index follows from them ([`Segment::rescan`]) and is kept beside them.

use super::run::{Run, RunHeader, verify_run};
use crate::limits::REQUEST_OPERATIONS_MAX;
use crate::state::{PAGE_BYTES, State};
use logothete_crypto::Digest;
use zerocopy::IntoBytes;

/// At least this many bytes lie between two runs that the index knows: a look-up walks over less than this, plus a run,
/// and an index entry (48 bytes) costs 1.2 % of what it covers.
const INDEX_STRIDE_BYTES: usize = 4096;

/// Full pages are hashed so many at a time: they fill all SIMD lanes, and are still in the second-level cache.
const PAGES_DIGESTED: usize = 16;

/// Where a run begins in its segment, with the chain digest that is not stored there: the one before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    offset: usize,
    chain_before: Digest,
}

#[derive(Clone, Copy, Debug)]
struct IndexEntry {
    position_first: u64,
    place: Place,
}

/// What a log is in the middle of: the position that comes next, and the chain digest before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Boundary {
    pub(super) position: u64,
    pub(super) chain: Digest,
}

/// A piece of the log.
#[derive(Debug)]
pub(super) struct Segment {
    /// Where it begins in the state, in bytes; the beginning of a page.
    begin: u64,
    bytes_max: usize,
    filled_bytes: usize,
    /// So many pages are full and hashed, or left to whoever asks for a digest.
    pages_digested: usize,
    /// The first run, and others at least [`INDEX_STRIDE_BYTES`] apart. Its capacity covers a full segment.
    index: Vec<IndexEntry>,
}

impl Segment {
    /// An empty one; `begin` is where its pages begin in the state, in bytes.
    pub(super) fn new(begin: u64, bytes_max: usize) -> Self {
        let index = Vec::with_capacity(bytes_max.div_ceil(INDEX_STRIDE_BYTES));
        Self { begin, bytes_max, filled_bytes: 0, pages_digested: 0, index }
    }

    /// What one segment takes beside its pages.
    pub(super) fn index_bytes(segment_bytes: usize) -> usize {
        segment_bytes.div_ceil(INDEX_STRIDE_BYTES) * size_of::<IndexEntry>()
    }

    /// Where it begins in the state, in bytes.
    pub(super) fn begin(&self) -> u64 {
        self.begin
    }

    /// How many bytes a further run may have.
    pub(super) fn room_bytes(&self) -> usize {
        self.bytes_max - self.filled_bytes
    }

    /// Where the first run begins in the order.
    ///
    /// # Panics
    /// When there is none: a segment is in the log only while it has runs.
    pub(super) fn first(&self) -> Boundary {
        let first = self.index[0];
        Boundary { position: first.position_first, chain: first.place.chain_before }
    }

    /// Appends a run that fits.
    pub(super) fn append(&mut self, state: &mut State, header: &RunHeader, message: &[u8], chain_before: Digest) {
        self.note(header.position_first.get(), chain_before);
        let header = header.as_bytes();
        let begin = self.begin + self.filled_bytes as u64;
        state.write(begin, header);
        state.write(begin + header.len() as u64, message);
        self.filled_bytes += header.len() + message.len();
        self.digest_full_pages(state);
    }

    /// Hashes pages that became full.
    fn digest_full_pages(&mut self, state: &State) {
        let full = self.filled_bytes / PAGE_BYTES;
        while full - self.pages_digested >= PAGES_DIGESTED {
            let first_page = self.begin / PAGE_BYTES as u64 + self.pages_digested as u64;
            state.digest_ahead(first_page..first_page + PAGES_DIGESTED as u64);
            self.pages_digested += PAGES_DIGESTED;
        }
    }

    /// A run begins behind what is filled.
    fn note(&mut self, position_first: u64, chain_before: Digest) {
        let offset = self.filled_bytes;
        if self.index.last().is_none_or(|entry| offset - entry.place.offset >= INDEX_STRIDE_BYTES) {
            self.index.push(IndexEntry { position_first, place: Place { offset, chain_before } });
        }
    }

    /// Becomes an empty one elsewhere, and keeps its memory.
    pub(super) fn reuse(&mut self, begin: u64) {
        self.begin = begin;
        self.filled_bytes = 0;
        self.pages_digested = 0;
        self.index.clear();
    }

    /// Makes the index anew from pages that were replaced. The segment's first run must begin at `first`, and no run of the
    /// log begins at `end` or behind. What the index knew, and the pages confirm, is not looked at again: the chain digest of one
    /// run tells that all before it are the same, in the same places. Returns where the segment ends, or what is wrong with the pages.
    pub(super) fn rescan(&mut self, state: &State, first: Boundary, end: u64) -> Result<Boundary, &'static str> {
        if self.index.first().is_some_and(|_| self.first() != first) {
            self.index.clear();
        }
        let kept = self.index.partition_point(|entry| entry.position_first < end);
        self.index.truncate(kept);
        if self.index.last().is_some_and(|entry| !self.confirms(state, entry)) {
            self.index.clear();
        }
        let mut at = first;
        self.filled_bytes = 0;
        if let Some(entry) = self.index.last() {
            at = Boundary { position: entry.position_first, chain: entry.place.chain_before };
            self.filled_bytes = entry.place.offset;
        }
        while at.position < end {
            let offset = self.begin + self.filled_bytes as u64;
            let Some(run) = Run::read(state, offset, self.room_bytes(), at.chain) else { break };
            if run.position_first != at.position {
                return Err("a run does not follow the one before it");
            }
            if run.count as usize > REQUEST_OPERATIONS_MAX || run.position_end() > end {
                return Err("a run has more entries than it can have");
            }
            self.note(at.position, at.chain);
            self.filled_bytes += run.size();
            at = Boundary { position: run.position_end(), chain: run.chain };
        }
        self.pages_digested = self.filled_bytes / PAGE_BYTES;
        if at == first { Err("a segment has no run") } else { Ok(at) }
    }

    /// Whether the run that an entry of the index knows is in the pages, behind the chain that the entry knows.
    fn confirms(&self, state: &State, entry: &IndexEntry) -> bool {
        let Place { offset, chain_before } = entry.place;
        Run::read(state, self.begin + offset as u64, self.bytes_max - offset, chain_before).is_some_and(|run| {
            run.position_first == entry.position_first
                && verify_run(&chain_before, run.position_first, run.timestamp_ns, &run.message.to_vec()) == run.chain
        })
    }

    /// Where the first run begins.
    pub(super) fn place_first(&self) -> Place {
        self.index[0].place
    }

    /// Where a run begins that is not after the one with the entry at `position`, and not far before it. The segment
    /// must not begin after `position`.
    pub(super) fn place_before(&self, position: u64) -> Place {
        let after = self.index.partition_point(|entry| entry.position_first <= position);
        self.index[after - 1].place
    }

    /// The run at `place` and the place of the next one; none behind the last.
    pub(super) fn run_at<'a>(&self, state: &'a State, place: Place) -> Option<(Run<'a>, Place)> {
        let left = self.filled_bytes - place.offset;
        let run = Run::read(state, self.begin + place.offset as u64, left, place.chain_before)?;
        Some((run, Place { offset: place.offset + run.size(), chain_before: run.chain }))
    }
}
