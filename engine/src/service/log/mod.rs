//! The ordered log: the service that answers an append with its position and keeps the entries for subscribers.
//!
//! What enters here are whole ordered requests; the unit of storage is the *run*, one executed request with its bytes
//! as they came, so that an append costs one copy and one digest a request, however many operations it carries. What
//! leaves are runs, each with the chain digest before and after it: a subscriber that knows one end of a chain from
//! enough replicas can take the bytes from any one of them ([`verify_run`]).
//!
//! Storage is a ring of segments of one size (`segment.rs`) in the pages of the state (`pages.rs`), taken one by one until
//! the retention is reached; from then on the oldest is emptied and used again. What is trimmed when follows from the
//! sizes of the requests alone, so that all replicas retain the same. Nothing here may depend on when, or by whom, the
//! log is read.

mod pages;
mod run;
mod segment;
mod stored;
#[cfg(test)]
mod tests;

use self::pages::Bounds;
pub use self::run::{CHAIN_INITIAL, Entries, Entry, Run, chain_after, verify_run};
use self::run::{RUN_HEADER_BYTES, RunHeader};
use self::segment::{Boundary, Place, Segment};
pub use self::stored::StoredBytes;
use super::{OrderedRequest, RestoreError, Results, Service};
use crate::state::{PAGE_BYTES, State};
use logothete_crypto::Digest;
use std::collections::{BTreeMap, VecDeque};
use thiserror::Error;

/// The smallest segment, so that a run's header and the unused end of a segment stay small beside the entries.
const SEGMENT_BYTES_MIN: usize = 64 * 1024;
/// The largest segment: trimming is by whole segments, and 4 MiB of the default 1 GiB is 0.4 %.
const SEGMENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Below the largest segment's size, a retention is divided into this many, so that a trim takes 1.6 % of it.
const SEGMENTS_PREFERRED: u64 = 64;

/// How the log divides its storage; the same at every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The size of a segment in bytes. No run spans two, so it must hold the largest message and a run's header.
    pub segment_bytes: usize,
    /// How many segments are kept, the one that is being filled included; at least 2.
    pub segments_max: usize,
}

impl LogSettings {
    /// Keeps at most `retention_bytes`, in segments that can take any message of up to `message_bytes_max`.
    ///
    /// Two segments are the least that a log can have: a retention below two of the smallest is raised to that.
    pub fn for_retention(retention_bytes: u64, message_bytes_max: usize) -> Self {
        let segment_bytes = usize::try_from(retention_bytes / SEGMENTS_PREFERRED)
            .unwrap_or(SEGMENT_BYTES_MAX)
            .clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)
            .max(RUN_HEADER_BYTES + message_bytes_max);
        let segments_max = usize::try_from(retention_bytes / segment_bytes as u64).unwrap_or(usize::MAX).max(2);
        Self { segment_bytes, segments_max }
    }

    /// The most memory that a log with these settings takes, indexes included, in bytes.
    pub fn memory_bytes_max(&self) -> u64 {
        let segment_bytes = self.segment_bytes.next_multiple_of(PAGE_BYTES) + Segment::index_bytes(self.segment_bytes);
        PAGE_BYTES as u64 + self.segments_max as u64 * segment_bytes as u64
    }
}

/// Why the log has nothing at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PositionError {
    /// It had, but retention has gone past it.
    #[error("position {position} was trimmed, the oldest retained is {oldest}; read from there")]
    Trimmed {
        /// What was asked for.
        position: u64,
        /// The oldest position that is retained.
        oldest: u64,
    },
    /// Nothing was appended there yet.
    #[error("position {position} is not appended yet, the log ends before {end}; wait")]
    Beyond {
        /// What was asked for.
        position: u64,
        /// The next position that will be appended.
        end: u64,
    },
}

/// The ordered log; see the module's own text.
///
/// As a [`Service`] it appends every operation as an entry and answers with the entry's position, a u64 LE. Positions
/// start at 0 and have no gaps.
#[derive(Debug)]
pub struct OrderedLog {
    settings: LogSettings,
    state: State,
    /// Oldest first; only the last is appended to. Never empty of runs once it is in here.
    segments: VecDeque<Segment>,
    /// Which segment of the ring is the oldest.
    segment_first: usize,
    end: Boundary,
}

impl OrderedLog {
    /// An empty log. Memory for its segments is taken as they are needed.
    ///
    /// # Panics
    /// When the settings cannot hold any message: less than two segments, or segments no larger than a run's header.
    pub fn new(settings: LogSettings) -> Self {
        assert!(settings.segments_max >= 2, "a log needs two segments: one to fill and one to trim");
        assert!(
            settings.segment_bytes > RUN_HEADER_BYTES,
            "a segment of {} bytes holds nothing",
            settings.segment_bytes
        );
        let mut log = Self {
            settings,
            state: State::new(pages::pages_needed(settings)),
            segments: VecDeque::new(),
            segment_first: 0,
            end: Boundary { position: 0, chain: CHAIN_INITIAL },
        };
        log.write_header();
        log
    }

    /// The oldest position that is retained; [`Self::end`] while there is none.
    pub fn oldest(&self) -> u64 {
        self.boundary_oldest().position
    }

    /// The position that the next entry will have.
    pub fn end(&self) -> u64 {
        self.end.position
    }

    /// The chain digest after the last run.
    pub fn chain(&self) -> Digest {
        self.end.chain
    }

    /// The settings that the log was made with.
    pub fn settings(&self) -> LogSettings {
        self.settings
    }

    /// The run that holds the entry at `position`. Logarithmic in what is retained.
    ///
    /// # Errors
    /// [`PositionError`] when that entry was trimmed or is not there yet.
    pub fn run_containing(&self, position: u64) -> Result<Run<'_>, PositionError> {
        let beyond = PositionError::Beyond { position, end: self.end() };
        self.runs_from(position)?.next().ok_or(beyond)
    }

    /// The runs from the one that holds `position` (whose first entries may be before it) to the last. None at the end of the
    /// log.
    ///
    /// # Errors
    /// [`PositionError`] when that entry was trimmed, or `position` is past the end.
    pub fn runs_from(&self, position: u64) -> Result<Runs<'_>, PositionError> {
        if position > self.end() {
            return Err(PositionError::Beyond { position, end: self.end() });
        }
        if position < self.oldest() {
            return Err(PositionError::Trimmed { position, oldest: self.oldest() });
        }
        let segment = self.segments.partition_point(|segment| segment.first().position <= position);
        let Some(segment) = segment.checked_sub(1) else {
            return Ok(Runs { log: self, segment: 0, place: None });
        };
        let mut runs = Runs { log: self, segment, place: Some(self.segments[segment].place_before(position)) };
        loop {
            let before = runs.clone();
            if runs.next().is_none_or(|run| run.position_end() > position) {
                return Ok(before);
            }
        }
    }

    /// The chain digest at a boundary between runs: after the run whose last entry is just before `position_end`.
    /// The initial digest at 0; none where no run ends, or where the run was trimmed (but there is one for
    /// [`Self::oldest`], where the runs that are left begin).
    pub fn chain_at(&self, position_end: u64) -> Option<Digest> {
        if position_end == 0 {
            return Some(CHAIN_INITIAL);
        }
        if position_end == self.end() {
            return Some(self.chain());
        }
        let run = self.run_containing(position_end).ok()?;
        (run.position_first == position_end).then_some(run.chain_before)
    }

    fn boundary_oldest(&self) -> Boundary {
        self.segments.front().map_or(self.end, Segment::first)
    }

    /// Makes the last segment one that has room for `run_bytes`.
    fn make_room(&mut self, run_bytes: usize) {
        assert!(
            run_bytes <= self.settings.segment_bytes,
            "a run of {run_bytes} bytes does not fit a segment of {}: the message is larger than the log was made for",
            self.settings.segment_bytes
        );
        if self.segments.back().is_some_and(|segment| segment.room_bytes() >= run_bytes) {
            return;
        }
        let fresh = if self.segments.len() < self.settings.segments_max {
            let begin = self.segment_begin(self.segments.len());
            Segment::new(begin, self.settings.segment_bytes)
        } else {
            let mut oldest = self.segments.pop_front().expect("a full ring has segments");
            let pages = pages::segment_pages(self.settings, self.segment_first);
            oldest.reuse(pages.start * PAGE_BYTES as u64);
            self.state.clear(pages);
            self.segment_first = (self.segment_first + 1) % self.settings.segments_max;
            oldest
        };
        self.segments.push_back(fresh);
    }

    /// Where a segment begins in the state, counted from the oldest.
    fn segment_begin(&self, index: usize) -> u64 {
        pages::segment_begin(self.settings, (self.segment_first + index) % self.settings.segments_max)
    }

    fn write_header(&mut self) {
        let segments = (self.segment_first, self.segments.len());
        let bounds = Bounds { segments, oldest: self.boundary_oldest(), end: self.end };
        pages::write_header(&mut self.state, self.settings, &bounds);
    }

    /// Makes the segments' indexes anew from pages that have these bounds.
    fn rescan(&mut self, bounds: &Bounds) -> Result<(), RestoreError> {
        let refused = |page_byte: u64, what| Err(RestoreError { page: page_byte / PAGE_BYTES as u64, what });
        let held = std::mem::take(&mut self.segments).into_iter();
        let mut held: BTreeMap<u64, Segment> = held.map(|segment| (segment.begin(), segment)).collect();
        let (first, used) = bounds.segments;
        (self.segment_first, self.end) = (first, bounds.end);
        let mut at = bounds.oldest;
        for index in 0..used {
            let begin = self.segment_begin(index);
            let same = held.remove(&begin);
            let mut segment = same.unwrap_or_else(|| Segment::new(begin, self.settings.segment_bytes));
            at = match segment.rescan(&self.state, at, bounds.end.position) {
                Ok(end) => end,
                Err(what) => return refused(begin, what),
            };
            self.segments.push_back(segment);
        }
        if at == bounds.end { Ok(()) } else { refused(self.segment_begin(0), "the runs end elsewhere than the log") }
    }
}

impl Service for OrderedLog {
    fn execute(&mut self, request: &OrderedRequest<'_>, results: &mut Results<'_>) {
        let count = request.operations.count();
        if count == 0 {
            // Runs are found by the positions in them, and this one would have none.
            return;
        }
        let Boundary { position: position_first, chain: chain_before } = self.end;
        let chain = chain_after(&chain_before, position_first, request.timestamp_ns, &request.digest);
        let header = RunHeader::new(request, position_first, chain);
        self.make_room(RUN_HEADER_BYTES + request.message.len());
        let segment = self.segments.back_mut().expect("room was just made in it");
        segment.append(&mut self.state, &header, request.message, chain_before);
        self.end = Boundary { position: position_first + count as u64, chain };
        self.write_header();
        results.push_consecutive(position_first);
    }

    fn state(&self) -> &State {
        &self.state
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    fn restored(&mut self) -> Result<(), RestoreError> {
        let bounds = pages::read_header(&self.state, self.settings)?;
        self.rescan(&bounds)
    }

    fn ordered_log(&self) -> Option<&OrderedLog> {
        Some(self)
    }
}

/// Goes through the runs of a log; see [`OrderedLog::runs_from`].
#[derive(Clone, Debug)]
pub struct Runs<'a> {
    log: &'a OrderedLog,
    /// Index of the segment in the log's queue.
    segment: usize,
    /// Where the next run begins in it; none before the segment's first.
    place: Option<Place>,
}

impl<'a> Iterator for Runs<'a> {
    type Item = Run<'a>;

    fn next(&mut self) -> Option<Run<'a>> {
        loop {
            let segment = self.log.segments.get(self.segment)?;
            let place = self.place.unwrap_or_else(|| segment.place_first());
            if let Some((run, next)) = segment.run_at(&self.log.state, place) {
                self.place = Some(next);
                return Some(run);
            }
            self.segment += 1;
            self.place = None;
        }
    }
}
