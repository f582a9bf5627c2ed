//! The run: one executed request as the log keeps it, as subscribers receive it, and how they check it.

use super::super::OrderedRequest;
use super::stored::StoredBytes;
use crate::state::State;
use crate::wire::operation::{Operations, OperationsIter};
use logothete_crypto::{Digest, DigestWriter, digest};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes in front of each stored message.
pub(super) const RUN_HEADER_BYTES: usize = 56;

const _: () = assert!(size_of::<RunHeader>() == RUN_HEADER_BYTES);

/// A run's header as it is stored, in front of the request message:
///
/// ```text
///  0                8              16         48              52      56
/// +----------------+--------------+----------+---------------+-------+---------+
/// | position_first | timestamp_ns | chain    | message_bytes | count | message |
/// | u64            | u64          | 32 bytes | u32           | u32   |         |
/// +----------------+--------------+----------+---------------+-------+---------+
/// ```
///
/// No run has a count of zero: where one is read, nothing was written.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RunHeader {
    pub(super) position_first: U64,
    timestamp_ns: U64,
    /// The chain after this run.
    chain: Digest,
    message_bytes: U32,
    count: U32,
}

impl RunHeader {
    /// # Panics
    /// When the request's operations are not the end of its message: a subscriber reads them there.
    pub(super) fn new(request: &OrderedRequest<'_>, position_first: u64, chain: Digest) -> Self {
        let operations = request.operations.bytes();
        assert!(
            operations.as_ptr_range().end == request.message.as_ptr_range().end
                && operations.len() <= request.message.len(),
            "the operations of a request are a view of the end of its message"
        );
        let message_bytes = u32::try_from(request.message.len()).expect("a message fits a segment");
        Self {
            position_first: position_first.into(),
            timestamp_ns: request.timestamp_ns.into(),
            chain,
            message_bytes: message_bytes.into(),
            count: (request.operations.count() as u32).into(),
        }
    }
}

/// One executed request in the log.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The position of its first entry.
    pub position_first: u64,
    /// The agreed time of its batch, in nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
    /// The chain digest before it.
    pub chain_before: Digest,
    /// The chain digest after it.
    pub chain: Digest,
    /// How many entries it has: the operations in the message.
    pub count: u32,
    /// The whole encoded request message.
    pub message: StoredBytes<'a>,
}

impl<'a> Run<'a> {
    /// Reads the run that begins at a byte of the state. None where none begins, or where it would take more than `room_bytes`.
    pub(super) fn read(state: &'a State, offset: u64, room_bytes: usize, chain_before: Digest) -> Option<Self> {
        let message_bytes_max = room_bytes.checked_sub(RUN_HEADER_BYTES)?;
        let mut header = RunHeader::new_zeroed();
        state.read(offset, header.as_mut_bytes());
        let (count, message_bytes) = (header.count.get(), header.message_bytes.get() as usize);
        (count > 0 && message_bytes <= message_bytes_max).then(|| Self {
            position_first: header.position_first.get(),
            timestamp_ns: header.timestamp_ns.get(),
            chain_before,
            chain: header.chain,
            count,
            message: StoredBytes::new(state, offset + RUN_HEADER_BYTES as u64, message_bytes),
        })
    }

    /// The bytes that it takes in its segment.
    pub(super) fn size(&self) -> usize {
        RUN_HEADER_BYTES + self.message.len()
    }

    /// The position after its last entry.
    pub fn position_end(&self) -> u64 {
        self.position_first.saturating_add(self.count.into())
    }
}

/// One entry of the log, as a subscriber sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its place in the order, counted from 0.
    pub position: u64,
    /// The agreed time of its batch, in nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
    /// The session that appended it, as its driver numbers sessions.
    pub session: u64,
    /// What was appended.
    pub bytes: &'a [u8],
}

/// The entries of a run, or the rest of them, in order; a subscriber makes one from a message that it received and checked.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    position: u64,
    timestamp_ns: u64,
    operations: OperationsIter<'a>,
}

impl<'a> Entries<'a> {
    /// The entries that `operations` became, the first of them at `position_first`.
    pub fn new(position_first: u64, timestamp_ns: u64, operations: Operations<'a>) -> Self {
        Self { position: position_first, timestamp_ns, operations: operations.iter() }
    }

    /// Cuts off those before `position`: none if it is before the first, all if it is after the last.
    #[must_use]
    pub fn starting_at(mut self, position: u64) -> Self {
        while self.position < position && self.next().is_some() {}
        self
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        let operation = self.operations.next()?;
        let position = self.position;
        // A subscriber may look at a run before it is verified: a place at the end of all numbers must do no harm.
        self.position = self.position.wrapping_add(1);
        Some(Entry { position, timestamp_ns: self.timestamp_ns, session: operation.session, bytes: operation.bytes })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.operations.size_hint()
    }
}

impl ExactSizeIterator for Entries<'_> {}

/// The chain digest of a log with no entries.
pub const CHAIN_INITIAL: Digest = Digest::ZERO;

/// The chain digest after a run, from the one before it: it binds the run's place, its time, its request and, through
/// the one before, everything that came earlier.
pub fn chain_after(chain_before: &Digest, position_first: u64, timestamp_ns: u64, request_digest: &Digest) -> Digest {
    let mut writer = DigestWriter::new("logothete log chain");
    writer.update(&chain_before.0);
    writer.update(&position_first.to_le_bytes());
    writer.update(&timestamp_ns.to_le_bytes());
    writer.update(&request_digest.0);
    writer.finish()
}

/// Recomputes the chain digest after a run from its bytes.
///
/// A subscriber compares it with the one that enough replicas vouch for. If they are equal then the bytes are the run's,
/// whoever they came from; if not, then the source is wrong in one of the four, or sent a run from somewhere else.
pub fn verify_run(chain_before: &Digest, position_first: u64, timestamp_ns: u64, message: &[u8]) -> Digest {
    chain_after(chain_before, position_first, timestamp_ns, &digest(message))
}
