//! How subscribers read the ordered log (`protocol.md SU-1`): entries come from one replica, and count once `f+1` replicas give the same
//! chain digest for the position behind them.

use super::framing::{self, Kind, MESSAGE_HEADER_BYTES, Malformed};
use logothete_crypto::Digest;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Follow(stream, from, bytes): send log runs from the one that holds position `from` on, at most so many bytes; if there are none
/// yet, as soon as there are. A newer follow of the same client and stream replaces it.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Follow {
    /// Told apart by the client.
    pub stream: U32,
    /// How many bytes of runs may be sent before the next follow.
    pub credit_bytes: U32,
    /// The position wanted.
    pub from: U64,
    /// How many bytes of the message of the run that begins at `from` are here already; none if the run does not begin there.
    pub offset: U32,
    /// Zero.
    pub reserved: U32,
}

impl Follow {
    pub(super) fn decode(layout: &[u8]) -> Result<&Self, Malformed> {
        let message: &Self = framing::fixed(layout)?;
        if message.reserved.get() == 0 { Ok(message) } else { Err(Malformed::Field) }
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::Follow, &[self.as_bytes()]);
    }
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RunsLayout {
    stream: U32,
    count: U32,
    oldest: U64,
    position: U64,
    chain: Digest,
}

/// Before each run's request message.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RunLayout {
    timestamp_ns: U64,
    message_bytes: U32,
    reserved: U32,
}

/// The bytes of a runs message before its runs.
pub const RUNS_OVERHEAD_BYTES: usize = MESSAGE_HEADER_BYTES + size_of::<RunsLayout>();
/// The bytes before each run's request message.
pub const RUN_OVERHEAD_BYTES: usize = size_of::<RunLayout>();

/// Runs(stream, position, chain, runs): successive runs of the log, the first of which begins at `position` and follows `chain`.
/// Without runs it says that the position asked for is trimmed, or is not reached.
#[derive(Clone, Copy, Debug)]
pub struct Runs<'a> {
    /// Of the follow that it answers.
    pub stream: u32,
    /// How many runs follow.
    pub count: usize,
    /// The oldest position that the replica holds.
    pub oldest: u64,
    /// The first position of the first run.
    pub position: u64,
    /// The chain digest before the first run.
    pub chain: Digest,
    runs: &'a [u8],
}

/// One run: a request as it was executed.
#[derive(Clone, Copy, Debug)]
pub struct RunRecord<'a> {
    /// The time of its batch.
    pub timestamp_ns: u64,
    /// The request message.
    pub message: &'a [u8],
}

impl<'a> Runs<'a> {
    pub(super) fn decode(layout: &'a [u8]) -> Result<Self, Malformed> {
        let (fields, runs) = RunsLayout::ref_from_prefix(layout).map_err(|_| Malformed::Short)?;
        let view = Self {
            stream: fields.stream.get(),
            count: fields.count.get() as usize,
            oldest: fields.oldest.get(),
            position: fields.position.get(),
            chain: fields.chain,
            runs,
        };
        // Every run is looked at once here, so that iteration cannot fail later.
        let mut rest = runs;
        for _ in 0..view.count {
            (_, rest) = split_run(rest).ok_or(Malformed::Length)?;
        }
        if rest.is_empty() { Ok(view) } else { Err(Malformed::Length) }
    }

    /// The runs in order.
    pub fn iter(&self) -> impl Iterator<Item = RunRecord<'a>> + use<'a> {
        let mut rest = self.runs;
        std::iter::from_fn(move || {
            let (run, after) = split_run(rest)?;
            rest = after;
            Some(run)
        })
    }
}

fn split_run(bytes: &[u8]) -> Option<(RunRecord<'_>, &[u8])> {
    let (fields, rest) = RunLayout::ref_from_prefix(bytes).ok().filter(|(fields, _)| fields.reserved.get() == 0)?;
    let (message, rest) = rest.split_at_checked(fields.message_bytes.get() as usize)?;
    Some((RunRecord { timestamp_ns: fields.timestamp_ns.get(), message }, rest))
}

/// Appends a run to a buffer that [`append_runs`] will wrap, or that [`append_runs_with`] wraps already.
pub fn append_run(runs: &mut Vec<u8>, timestamp_ns: u64, message: &[u8]) {
    append_run_pieces(runs, timestamp_ns, message.len(), [message]);
}

/// [`append_run`] for a message of `message_bytes` that is in pieces.
pub fn append_run_pieces<'a>(
    runs: &mut Vec<u8>,
    timestamp_ns: u64,
    message_bytes: usize,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) {
    let fields = RunLayout {
        timestamp_ns: timestamp_ns.into(),
        message_bytes: (message_bytes as u32).into(),
        reserved: 0.into(),
    };
    runs.extend_from_slice(fields.as_bytes());
    pieces.into_iter().for_each(|piece| runs.extend_from_slice(piece));
}

/// Appends a runs message.
pub fn append_runs(
    out: &mut Vec<u8>,
    stream: u32,
    oldest: u64,
    position: u64,
    chain: Digest,
    count: usize,
    runs: &[u8],
) {
    append_runs_with(out, stream, oldest, position, chain, count, |out| out.extend_from_slice(runs));
}

/// Appends a runs message of `count` runs, which `append` appends one by one behind its beginning.
pub fn append_runs_with(
    out: &mut Vec<u8>,
    stream: u32,
    oldest: u64,
    position: u64,
    chain: Digest,
    count: usize,
    append: impl FnOnce(&mut Vec<u8>),
) {
    let fields = RunsLayout {
        stream: stream.into(),
        count: (count as u32).into(),
        oldest: oldest.into(),
        position: position.into(),
        chain,
    };
    framing::append_with(out, Kind::Runs, |out| {
        out.extend_from_slice(fields.as_bytes());
        append(out);
    });
}

/// ChainQuery(stream, position) (`protocol.md SU-3`): what is the chain digest of the run that ends before `position`?
/// A replica that is not there yet answers when it is; a newer query of the same client and stream replaces it.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ChainQuery {
    /// Told apart by the client.
    pub stream: U32,
    /// Zero.
    pub reserved: U32,
    /// The position behind a run.
    pub position: U64,
}

impl ChainQuery {
    pub(super) fn decode(layout: &[u8]) -> Result<&Self, Malformed> {
        let message: &Self = framing::fixed(layout)?;
        if message.reserved.get() == 0 { Ok(message) } else { Err(Malformed::Field) }
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::ChainQuery, &[self.as_bytes()]);
    }
}

/// ChainAnswer(stream, position, chain).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ChainAnswer {
    /// Of the query.
    pub stream: U32,
    /// Zero.
    pub reserved: U32,
    /// Of the query.
    pub position: U64,
    /// The digest; zero when no run ends there, which no correct source would have claimed.
    pub chain: Digest,
}

impl ChainAnswer {
    pub(super) fn decode(layout: &[u8]) -> Result<&Self, Malformed> {
        let message: &Self = framing::fixed(layout)?;
        if message.reserved.get() == 0 { Ok(message) } else { Err(Malformed::Field) }
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::ChainAnswer, &[self.as_bytes()]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::Message;
    use super::*;
    use crate::numbers::{Principal, ReplicaId};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_round_trip(runs in proptest::collection::vec((any::<u64>(), proptest::collection::vec(any::<u8>(), 0..80)), 0..8), position: u64) {
            let (mut encoded, mut bytes) = (Vec::new(), Vec::new());
            for (timestamp_ns, message) in &runs {
                append_run(&mut encoded, *timestamp_ns, message);
            }
            append_runs(&mut bytes, 7, 1, position, Digest([9; 32]), runs.len(), &encoded);
            let Message::Runs(decoded) = Message::decode(&bytes, Principal::Replica(ReplicaId(2))).unwrap() else { panic!("another kind") };
            let again: Vec<_> = decoded.iter().map(|run| (run.timestamp_ns, run.message.to_vec())).collect();
            prop_assert_eq!(again, runs);
            prop_assert_eq!((decoded.stream, decoded.oldest, decoded.position), (7, 1, position));
        }
    }

    #[test]
    fn a_count_that_the_bytes_do_not_hold_is_malformed() {
        let (mut encoded, mut bytes) = (Vec::new(), Vec::new());
        append_run(&mut encoded, 1, b"message");
        append_runs(&mut bytes, 7, 0, 0, Digest::default(), 2, &encoded);
        assert_eq!(Message::decode(&bytes, Principal::Replica(ReplicaId(2))).unwrap_err(), Malformed::Length);
    }
}
