//! The segment: a fixed piece of memory with runs one behind the other, and a sparse index of where some of them begin.

use super::run::{Run, RunHeader};
use logothete_crypto::Digest;
use zerocopy::IntoBytes;

/// At least this many bytes lie between two runs that the index knows: a look-up walks over less than this, plus a run,
/// and an index entry (48 bytes) costs 1.2 % of what it covers.
const INDEX_STRIDE_BYTES: usize = 4096;

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

/// A piece of the log. A new one's pages are touched one by one as runs reach them, so that taking a segment stalls
/// nobody; a sealed one's were all touched, so that memory use is level once segments are only used again.
#[derive(Debug)]
pub(super) struct Segment {
    bytes: Box<[u8]>,
    filled_bytes: usize,
    /// The first run, and others at least [`INDEX_STRIDE_BYTES`] apart. Its capacity covers a full segment.
    index: Vec<IndexEntry>,
}

impl Segment {
    pub(super) fn new(segment_bytes: usize) -> Self {
        Self {
            bytes: vec![0; segment_bytes].into_boxed_slice(),
            filled_bytes: 0,
            index: Vec::with_capacity(segment_bytes.div_ceil(INDEX_STRIDE_BYTES)),
        }
    }

    /// What one segment takes, index included.
    pub(super) fn memory_bytes(segment_bytes: usize) -> usize {
        segment_bytes + segment_bytes.div_ceil(INDEX_STRIDE_BYTES) * size_of::<IndexEntry>()
    }

    /// How many bytes a further run may have.
    pub(super) fn room_bytes(&self) -> usize {
        self.bytes.len() - self.filled_bytes
    }

    /// The position of the first entry of the first run.
    ///
    /// # Panics
    /// When there is none: a segment is in the log only while it has runs.
    pub(super) fn position_first(&self) -> u64 {
        self.index[0].position_first
    }

    /// Appends a run that fits.
    pub(super) fn append(&mut self, header: &RunHeader, message: &[u8], chain_before: Digest) {
        let offset = self.filled_bytes;
        if self.index.last().is_none_or(|entry| offset - entry.place.offset >= INDEX_STRIDE_BYTES) {
            let place = Place { offset, chain_before };
            self.index.push(IndexEntry { position_first: header.position_first.get(), place });
        }
        let header = header.as_bytes();
        self.filled_bytes += header.len() + message.len();
        let (front, back) = self.bytes[offset..self.filled_bytes].split_at_mut(header.len());
        front.copy_from_slice(header);
        back.copy_from_slice(message);
    }

    /// Nothing more is appended: the next run did not fit.
    pub(super) fn seal(&mut self) {
        self.bytes[self.filled_bytes..].fill(0);
    }

    /// Forgets all runs and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.filled_bytes = 0;
        self.index.clear();
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
    pub(super) fn run_at(&self, place: Place) -> Option<(Run<'_>, Place)> {
        let (run, size) = Run::read(&self.bytes[place.offset..self.filled_bytes], place.chain_before)?;
        Some((run, Place { offset: place.offset + size, chain_before: run.chain }))
    }
}
