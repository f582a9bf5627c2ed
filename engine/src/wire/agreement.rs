//! The messages that agree on an order: pre-prepare, prepare, commit, and the checkpoint vote (PBFT-99 sections 4.2 and 4.3).

use super::framing::{self, Kind, MESSAGE_HEADER_BYTES, Malformed};
use super::request::RequestName;
use crate::limits;
use crate::numbers::{ClientId, Incarnation, RequestNumber, SequenceNumber, View};
use logothete_crypto::{Digest, DigestWriter};
use std::sync::OnceLock;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A request named in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct BatchEntry {
    client: U16,
    reserved: [u8; 6],
    incarnation: U64,
    number: U64,
    /// The digest of the request message.
    pub digest: Digest,
}

impl BatchEntry {
    /// Names a request.
    pub fn new(name: RequestName, digest: Digest) -> Self {
        Self {
            client: name.client.0.into(),
            reserved: [0; 6],
            incarnation: name.incarnation.0.into(),
            number: name.number.0.into(),
            digest,
        }
    }

    /// The request's name.
    pub fn name(&self) -> RequestName {
        RequestName {
            client: ClientId(self.client.get()),
            incarnation: Incarnation(self.incarnation.get()),
            number: RequestNumber(self.number.get()),
        }
    }

    /// Whether this is how it is written: what is reserved is zero, and the request is of an incarnation.
    pub(super) fn is_canonical(&self) -> bool {
        self.reserved == [0; 6] && self.incarnation.get() != Incarnation::NONE.0
    }
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct PrePrepareLayout {
    view: U64,
    sequence: U64,
    timestamp_ns: U64,
    count: U32,
    reserved: U32,
}

/// The primary's proposal of a batch: PrePrepare(v, s, timestamp, [(c, e, t, digest)]).
#[derive(Clone, Copy, Debug)]
pub struct PrePrepare<'a> {
    /// The view in which it is proposed.
    pub view: View,
    /// The place proposed for the batch.
    pub sequence: SequenceNumber,
    /// The primary's clock, nanoseconds since 1970.
    pub timestamp_ns: u64,
    /// The requests, in the order of execution; none in a null batch.
    pub entries: &'a [BatchEntry],
}

impl<'a> PrePrepare<'a> {
    pub(super) fn decode(layout: &'a [u8]) -> Result<Self, Malformed> {
        let (fields, entries) = PrePrepareLayout::ref_from_prefix(layout).map_err(|_| Malformed::Short)?;
        let count = fields.count.get() as usize;
        // Without requests it is the null batch, which has no time.
        let null = count == 0;
        if null != (fields.timestamp_ns.get() == 0) || count > limits::BATCH_REQUESTS_MAX || fields.reserved.get() != 0
        {
            return Err(Malformed::Field);
        }
        let entries = <[BatchEntry]>::ref_from_bytes_with_elems(entries, count).map_err(|_| Malformed::Length)?;
        if !entries.iter().all(BatchEntry::is_canonical) {
            return Err(Malformed::Field);
        }
        Ok(Self {
            view: View(fields.view.get()),
            sequence: SequenceNumber(fields.sequence.get()),
            timestamp_ns: fields.timestamp_ns.get(),
            entries,
        })
    }
}

/// Appends a pre-prepare.
pub fn append_pre_prepare(
    out: &mut Vec<u8>,
    view: View,
    sequence: SequenceNumber,
    timestamp_ns: u64,
    entries: &[BatchEntry],
) {
    let fields = PrePrepareLayout {
        view: view.0.into(),
        sequence: sequence.0.into(),
        timestamp_ns: timestamp_ns.into(),
        count: (entries.len() as u32).into(),
        reserved: 0.into(),
    };
    framing::append(out, Kind::PrePrepare, &[fields.as_bytes(), entries.as_bytes()]);
}

/// How many requests a pre-prepare can name in so many bytes of body.
pub const fn batch_requests_fitting(body_bytes_max: usize) -> usize {
    (body_bytes_max - MESSAGE_HEADER_BYTES - size_of::<PrePrepareLayout>()) / size_of::<BatchEntry>()
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BatchLayout {
    sequence: U64,
    timestamp_ns: U64,
    count: U32,
    reserved: U32,
}

/// The content of a batch, by itself: whoever asked for it knows its digest, so that it proves itself.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The place for which it was asked.
    pub sequence: SequenceNumber,
    /// The clock of the primary that proposed it first.
    pub timestamp_ns: u64,
    /// Its requests.
    pub entries: &'a [BatchEntry],
}

impl<'a> Batch<'a> {
    pub(super) fn decode(layout: &'a [u8]) -> Result<Self, Malformed> {
        let (fields, entries) = BatchLayout::ref_from_prefix(layout).map_err(|_| Malformed::Short)?;
        let count = fields.count.get() as usize;
        if count == 0 || count > limits::BATCH_REQUESTS_MAX || fields.reserved.get() != 0 {
            return Err(Malformed::Field);
        }
        let entries = <[BatchEntry]>::ref_from_bytes_with_elems(entries, count).map_err(|_| Malformed::Length)?;
        if !entries.iter().all(BatchEntry::is_canonical) {
            return Err(Malformed::Field);
        }
        let sequence = SequenceNumber(fields.sequence.get());
        Ok(Self { sequence, timestamp_ns: fields.timestamp_ns.get(), entries })
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        let fields = BatchLayout {
            sequence: self.sequence.0.into(),
            timestamp_ns: self.timestamp_ns.into(),
            count: (self.entries.len() as u32).into(),
            reserved: 0.into(),
        };
        framing::append(out, Kind::Batch, &[fields.as_bytes(), self.entries.as_bytes()]);
    }
}

/// Committed(s, D): the sender committed the batch at the place, in whatever view.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CommitClaim {
    sequence: U64,
    /// The batch.
    pub digest: Digest,
}

impl CommitClaim {
    /// A claim.
    pub fn new(sequence: SequenceNumber, digest: Digest) -> Self {
        Self { sequence: sequence.0.into(), digest }
    }

    /// The place.
    pub fn sequence(&self) -> SequenceNumber {
        SequenceNumber(self.sequence.get())
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::CommitClaim, &[self.as_bytes()]);
    }
}

/// The digest of the null batch: a place that is agreed to stay empty (`protocol.md VC-5`).
pub fn null_batch() -> Digest {
    static NULL: OnceLock<Digest> = OnceLock::new();
    *NULL.get_or_init(|| DigestWriter::new("logothete null batch").finish())
}

/// The digest `D` of a batch (`protocol.md NC-9`). It does not contain the view: a batch keeps its digest when a later
/// view carries it over.
pub fn batch_digest(timestamp_ns: u64, entries: &[BatchEntry]) -> Digest {
    if entries.is_empty() {
        return null_batch();
    }
    let mut writer = DigestWriter::new("logothete batch");
    writer.update(&timestamp_ns.to_le_bytes());
    writer.update(entries.as_bytes());
    writer.finish()
}

/// Prepare(v, s, D, i) and Commit(v, s, D, i); `i` is whoever authenticated the packet.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Vote {
    view: U64,
    sequence: U64,
    /// The batch voted for.
    pub digest: Digest,
}

impl Vote {
    /// A vote for a batch at a place.
    pub fn new(view: View, sequence: SequenceNumber, digest: Digest) -> Self {
        Self { view: view.0.into(), sequence: sequence.0.into(), digest }
    }

    /// The view of the vote.
    pub fn view(&self) -> View {
        View(self.view.get())
    }

    /// The place voted on.
    pub fn sequence(&self) -> SequenceNumber {
        SequenceNumber(self.sequence.get())
    }

    /// Appends it as a prepare.
    pub fn append_prepare(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::Prepare, &[self.as_bytes()]);
    }

    /// Appends it as a commit.
    pub fn append_commit(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::Commit, &[self.as_bytes()]);
    }
}

/// Checkpoint(s, digest, i): the sender's state after `s`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CheckpointVote {
    sequence: U64,
    /// The digest of the whole state after it: service, client table, replies.
    pub digest: Digest,
}

impl CheckpointVote {
    /// A vote on the state after `sequence`.
    pub fn new(sequence: SequenceNumber, digest: Digest) -> Self {
        Self { sequence: sequence.0.into(), digest }
    }

    /// The number after which the state has the digest.
    pub fn sequence(&self) -> SequenceNumber {
        SequenceNumber(self.sequence.get())
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::Checkpoint, &[self.as_bytes()]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::Message;
    use super::*;
    use crate::numbers::{Principal, ReplicaId};
    use proptest::prelude::*;

    const SENDER: Principal = Principal::Replica(ReplicaId(0));

    fn entry(client: u16, number: u64) -> BatchEntry {
        BatchEntry::new(
            RequestName { client: ClientId(client), incarnation: Incarnation(8), number: RequestNumber(number) },
            Digest([number as u8; 32]),
        )
    }

    proptest! {
        #[test]
        fn pre_prepares_round_trip(view: u64, sequence: u64, timestamp: u64, requests in proptest::collection::vec((any::<u16>(), any::<u64>()), 1..60)) {
            let timestamp = timestamp.max(1);
            let entries: Vec<_> = requests.iter().map(|&(client, number)| entry(client, number)).collect();
            let mut bytes = Vec::new();
            append_pre_prepare(&mut bytes, View(view), SequenceNumber(sequence), timestamp, &entries);
            let Message::PrePrepare(decoded) = Message::decode(&bytes, SENDER).unwrap() else { panic!("another kind") };
            prop_assert_eq!((decoded.view, decoded.sequence, decoded.timestamp_ns), (View(view), SequenceNumber(sequence), timestamp));
            prop_assert_eq!(decoded.entries, &entries[..]);
            prop_assert_eq!(decoded.entries[0].name().client.0, requests[0].0);
            let mut again = Vec::new();
            append_pre_prepare(&mut again, decoded.view, decoded.sequence, decoded.timestamp_ns, decoded.entries);
            prop_assert_eq!(again, bytes);
        }

        #[test]
        fn votes_round_trip(view: u64, sequence: u64, digest: [u8; 32]) {
            let mut bytes = Vec::new();
            Vote::new(View(view), SequenceNumber(sequence), Digest(digest)).append_commit(&mut bytes);
            let Message::Commit(decoded) = Message::decode(&bytes, SENDER).unwrap() else { panic!("another kind") };
            prop_assert_eq!((decoded.view().0, decoded.sequence().0, decoded.digest.0), (view, sequence, digest));
        }
    }

    /// `protocol.md NC-9`
    #[test]
    fn the_batch_digest_covers_time_order_and_names() {
        let (a, b) = (entry(0, 1), entry(0, 2));
        let digest = batch_digest(5, &[a, b]);
        assert_ne!(digest, batch_digest(6, &[a, b]));
        assert_ne!(digest, batch_digest(5, &[b, a]));
        assert_ne!(digest, batch_digest(5, &[a]));
    }

    /// `protocol.md VC-5`: there is one null batch, and it has no time.
    #[test]
    fn an_empty_batch_with_a_time_is_malformed() {
        for (timestamp_ns, sound) in [(0, true), (5, false)] {
            let mut bytes = Vec::new();
            append_pre_prepare(&mut bytes, View(0), SequenceNumber(1), timestamp_ns, &[]);
            assert_eq!(Message::decode(&bytes, SENDER).is_ok(), sound);
        }
        let mut bytes = Vec::new();
        append_pre_prepare(&mut bytes, View(0), SequenceNumber(1), 0, &[entry(0, 1)]);
        assert_eq!(Message::decode(&bytes, SENDER).unwrap_err(), Malformed::Field);
        assert_eq!(batch_digest(0, &[]), null_batch());
        assert_ne!(null_batch(), Digest::ZERO, "which stands for nothing");
    }

    /// `protocol.md BP-3`
    #[test]
    fn a_batch_has_as_many_requests_as_it_may() {
        let most = limits::BATCH_REQUESTS_MAX;
        for (count, sound) in [(0, false), (1, true), (most, true), (most + 1, false)] {
            let entries: Vec<_> = (0..count as u64).map(|number| entry(0, number)).collect();
            let mut bytes = Vec::new();
            Batch { sequence: SequenceNumber(1), timestamp_ns: 5, entries: &entries }.append(&mut bytes);
            match Message::decode(&bytes, SENDER) {
                Ok(Message::Batch(batch)) => assert!(sound && batch.entries == entries, "{count}"),
                other => assert!(!sound && other.is_err(), "{count}: {other:?}"),
            }
        }
    }
}
