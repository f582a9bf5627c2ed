//! What a back-end is given to write, and what it gives back.

use super::buffer::AlignedBuffer;
use super::segment::SegmentFile;
use crate::HostError;
use std::ops::Range;
use std::sync::Arc;

/// A write to do.
pub(super) struct Job {
    pub(super) file: Arc<SegmentFile>,
    pub(super) offset: u64,
    pub(super) buffer: AlignedBuffer,
    pub(super) range: Range<usize>,
}

/// A write that is over.
#[derive(Debug)]
pub struct Written {
    /// The buffer, back.
    pub buffer: AlignedBuffer,
    /// Whether all of it is on the disk. After an error, any part of it may be.
    pub outcome: Result<(), HostError>,
}
