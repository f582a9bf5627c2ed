//! What stands in a journal: records, each with a header that says its kind and length.
//!
//! ```text
//!  0      1        4          8
//!  +------+--------+----------+-----------------
//!  | kind | zero   | length   |  the kind's layout
//!  +------+--------+----------+-----------------
//! ```
//!
//! Numbers are little-endian. There is one encoding of a record: lengths account for every byte, reserved bytes are zero.

use crate::limits;
use crate::numbers::{ReplicaId, SequenceNumber, View};
use crate::wire::agreement::BatchEntry;
use logothete_crypto::Digest;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A record: what the replica promised, and what it needs to keep the promise (`protocol.md JR-1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A proposal that this replica made or accepted.
    Proposal {
        /// Its view.
        view: View,
        /// Its place.
        sequence: SequenceNumber,
        /// Its time.
        timestamp_ns: u64,
        /// Its requests, at most [`limits::BATCH_REQUESTS_MAX`].
        entries: &'a [BatchEntry],
    },
    /// The content of a batch that committed without being accepted here.
    Batch {
        /// Its place.
        sequence: SequenceNumber,
        /// Its time.
        timestamp_ns: u64,
        /// Its requests.
        entries: &'a [BatchEntry],
    },
    /// A client's whole packet, written once before the first proposal that names it.
    Body {
        /// The packet, tags and all.
        packet: &'a [u8],
    },
    /// A prepare of this replica.
    Prepare {
        /// Its view.
        view: View,
        /// Its place.
        sequence: SequenceNumber,
        /// The batch.
        digest: Digest,
    },
    /// A commit of this replica.
    Commit {
        /// Its view.
        view: View,
        /// Its place.
        sequence: SequenceNumber,
        /// The batch.
        digest: Digest,
    },
    /// A view change of this replica.
    ViewChange {
        /// The whole message.
        bytes: &'a [u8],
    },
    /// A new view that this replica made or accepted.
    NewView {
        /// The whole message.
        bytes: &'a [u8],
    },
    /// The replica is in this view now.
    ViewEntered {
        /// Which.
        view: View,
    },
    /// A number is decided. No promise: it may be lost.
    Committed {
        /// Which.
        sequence: SequenceNumber,
        /// The batch.
        digest: Digest,
    },
    /// A checkpoint became stable.
    Stable {
        /// Its number.
        sequence: SequenceNumber,
        /// The digest of the state.
        digest: Digest,
    },
    /// What another replica signed before this epoch counts no more, since it forgot it.
    EpochAcknowledged {
        /// Whose.
        replica: ReplicaId,
        /// From which on.
        epoch: u64,
    },
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Fewer bytes than the header or the layout.
    #[error("shorter than its layout")]
    Short,
    /// A kind that this build does not know.
    #[error("unknown kind of record")]
    Kind,
    /// Lengths that do not add up.
    #[error("lengths do not add up")]
    Length,
    /// A field outside its range.
    #[error("field out of range")]
    Field,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    kind: u8,
    reserved: [u8; 3],
    /// Of the whole record, this header included.
    length: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ProposalLayout {
    view: U64,
    sequence: U64,
    timestamp_ns: U64,
    count: U32,
    reserved: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct VoteLayout {
    view: U64,
    sequence: U64,
    digest: Digest,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct NumberLayout {
    sequence: U64,
    digest: Digest,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct EpochLayout {
    epoch: U64,
    replica: u8,
    reserved: [u8; 7],
}

const HEADER_BYTES: usize = size_of::<Header>();
const PROPOSAL_BYTES: usize = size_of::<ProposalLayout>();
const _: () = assert!(HEADER_BYTES == 8 && PROPOSAL_BYTES == 32 && size_of::<VoteLayout>() == 48);

const PROPOSAL: u8 = 1;
const BODY: u8 = 2;
const PREPARE: u8 = 3;
const COMMIT: u8 = 4;
const VIEW_CHANGE: u8 = 5;
const NEW_VIEW: u8 = 6;
const VIEW_ENTERED: u8 = 7;
const COMMITTED: u8 = 8;
const STABLE: u8 = 9;
const BATCH: u8 = 10;
const EPOCH_ACKNOWLEDGED: u8 = 11;

impl ProposalLayout {
    fn of(view: View, sequence: SequenceNumber, timestamp_ns: u64, entries: &[BatchEntry]) -> Self {
        assert!(entries.len() <= limits::BATCH_REQUESTS_MAX, "a batch of {} requests", entries.len());
        Self {
            view: view.0.into(),
            sequence: sequence.0.into(),
            timestamp_ns: timestamp_ns.into(),
            count: (entries.len() as u32).into(),
            reserved: 0.into(),
        }
    }
}

impl<'a> Record<'a> {
    /// How many bytes it takes.
    pub fn encoded_bytes(&self) -> usize {
        HEADER_BYTES
            + match self {
                Self::Proposal { entries, .. } | Self::Batch { entries, .. } => PROPOSAL_BYTES + size_of_val(*entries),
                Self::Body { packet: bytes } | Self::ViewChange { bytes } | Self::NewView { bytes } => bytes.len(),
                Self::Prepare { .. } | Self::Commit { .. } => size_of::<VoteLayout>(),
                Self::ViewEntered { .. } => size_of::<U64>(),
                Self::Committed { .. } | Self::Stable { .. } => size_of::<NumberLayout>(),
                Self::EpochAcknowledged { .. } => size_of::<EpochLayout>(),
            }
    }

    /// Writes it to the beginning of `out`, and returns how many bytes it took.
    ///
    /// # Panics
    ///
    /// When `out` is shorter than [`encoded_bytes`](Self::encoded_bytes), or a proposal names too many requests.
    pub fn encode(&self, out: &mut [u8]) -> usize {
        let length = self.encoded_bytes();
        let (header, layout) = out[..length].split_at_mut(HEADER_BYTES);
        let mut put = |kind: u8, parts: [&[u8]; 2]| {
            let fields = Header { kind, reserved: [0; 3], length: (length as u32).into() };
            header.copy_from_slice(fields.as_bytes());
            let (first, second) = layout.split_at_mut(parts[0].len());
            first.copy_from_slice(parts[0]);
            second.copy_from_slice(parts[1]);
        };
        let number =
            |sequence: &SequenceNumber, digest: &Digest| NumberLayout { sequence: sequence.0.into(), digest: *digest };
        let vote = |view: &View, sequence: &SequenceNumber, digest: &Digest| VoteLayout {
            view: view.0.into(),
            sequence: sequence.0.into(),
            digest: *digest,
        };
        match self {
            Self::Proposal { view, sequence, timestamp_ns, entries } => {
                let fields = ProposalLayout::of(*view, *sequence, *timestamp_ns, entries);
                put(PROPOSAL, [fields.as_bytes(), entries.as_bytes()]);
            }
            Self::Batch { sequence, timestamp_ns, entries } => {
                let fields = ProposalLayout::of(View(0), *sequence, *timestamp_ns, entries);
                put(BATCH, [fields.as_bytes(), entries.as_bytes()]);
            }
            Self::Body { packet } => put(BODY, [packet, &[]]),
            Self::Prepare { view, sequence, digest } => put(PREPARE, [vote(view, sequence, digest).as_bytes(), &[]]),
            Self::Commit { view, sequence, digest } => put(COMMIT, [vote(view, sequence, digest).as_bytes(), &[]]),
            Self::ViewChange { bytes } => put(VIEW_CHANGE, [bytes, &[]]),
            Self::NewView { bytes } => put(NEW_VIEW, [bytes, &[]]),
            Self::ViewEntered { view } => put(VIEW_ENTERED, [&view.0.to_le_bytes(), &[]]),
            Self::Committed { sequence, digest } => put(COMMITTED, [number(sequence, digest).as_bytes(), &[]]),
            Self::Stable { sequence, digest } => put(STABLE, [number(sequence, digest).as_bytes(), &[]]),
            Self::EpochAcknowledged { replica, epoch } => {
                let fields = EpochLayout { epoch: (*epoch).into(), replica: replica.0, reserved: [0; 7] };
                put(EPOCH_ACKNOWLEDGED, [fields.as_bytes(), &[]]);
            }
        }
        length
    }

    /// Reads the record at the beginning of `bytes`, and what follows it.
    ///
    /// # Errors
    ///
    /// [`RecordError`].
    pub fn decode(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), RecordError> {
        let (header, _) = Header::ref_from_prefix(bytes).map_err(|_| RecordError::Short)?;
        let length = header.length.get() as usize;
        if header.reserved != [0; 3] {
            return Err(RecordError::Field);
        }
        if length < HEADER_BYTES {
            return Err(RecordError::Length);
        }
        let (record, rest) = bytes.split_at_checked(length).ok_or(RecordError::Short)?;
        let layout = &record[HEADER_BYTES..];
        let record = match header.kind {
            PROPOSAL => Self::decode_proposal(layout)?,
            BATCH => match Self::decode_proposal(layout)? {
                Self::Proposal { view: View(0), sequence, timestamp_ns, entries } => {
                    Self::Batch { sequence, timestamp_ns, entries }
                }
                _ => return Err(RecordError::Field),
            },
            BODY => Self::Body { packet: layout },
            PREPARE | COMMIT => {
                let fields: &VoteLayout = exact(layout)?;
                let (view, sequence) = (View(fields.view.get()), SequenceNumber(fields.sequence.get()));
                let digest = fields.digest;
                if header.kind == PREPARE {
                    Self::Prepare { view, sequence, digest }
                } else {
                    Self::Commit { view, sequence, digest }
                }
            }
            VIEW_CHANGE => Self::ViewChange { bytes: layout },
            NEW_VIEW => Self::NewView { bytes: layout },
            VIEW_ENTERED => Self::ViewEntered { view: View(exact::<U64>(layout)?.get()) },
            COMMITTED => {
                let fields: &NumberLayout = exact(layout)?;
                Self::Committed { sequence: SequenceNumber(fields.sequence.get()), digest: fields.digest }
            }
            STABLE => {
                let fields: &NumberLayout = exact(layout)?;
                Self::Stable { sequence: SequenceNumber(fields.sequence.get()), digest: fields.digest }
            }
            EPOCH_ACKNOWLEDGED => {
                let fields: &EpochLayout = exact(layout)?;
                if fields.reserved != [0; 7] || usize::from(fields.replica) >= limits::REPLICAS_MAX {
                    return Err(RecordError::Field);
                }
                Self::EpochAcknowledged { replica: ReplicaId(fields.replica), epoch: fields.epoch.get() }
            }
            _ => return Err(RecordError::Kind),
        };
        Ok((record, rest))
    }

    fn decode_proposal(layout: &'a [u8]) -> Result<Self, RecordError> {
        let (fields, entries) = ProposalLayout::ref_from_prefix(layout).map_err(|_| RecordError::Short)?;
        let count = fields.count.get() as usize;
        if count > limits::BATCH_REQUESTS_MAX || fields.reserved.get() != 0 {
            return Err(RecordError::Field);
        }
        let entries = <[BatchEntry]>::ref_from_bytes_with_elems(entries, count).map_err(|_| RecordError::Length)?;
        if entries.iter().any(|entry| *entry != BatchEntry::new(entry.name(), entry.digest)) {
            return Err(RecordError::Field);
        }
        Ok(Self::Proposal {
            view: View(fields.view.get()),
            sequence: SequenceNumber(fields.sequence.get()),
            timestamp_ns: fields.timestamp_ns.get(),
            entries,
        })
    }

    /// The kind, as people call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Proposal { .. } => "proposal",
            Self::Batch { .. } => "batch",
            Self::Body { .. } => "body",
            Self::Prepare { .. } => "prepare",
            Self::Commit { .. } => "commit",
            Self::ViewChange { .. } => "view change",
            Self::NewView { .. } => "new view",
            Self::ViewEntered { .. } => "view entered",
            Self::Committed { .. } => "committed",
            Self::Stable { .. } => "stable",
            Self::EpochAcknowledged { .. } => "epoch acknowledged",
        }
    }
}

fn exact<T: FromBytes + KnownLayout + Immutable + Unaligned>(layout: &[u8]) -> Result<&T, RecordError> {
    T::ref_from_bytes(layout).map_err(|_| RecordError::Length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::{ClientId, Incarnation, RequestNumber};
    use crate::wire::request::RequestName;
    use proptest::prelude::*;

    fn entries(count: usize) -> Vec<BatchEntry> {
        let name = |number| RequestName {
            client: ClientId(3),
            incarnation: Incarnation(8),
            number: RequestNumber(number as u64),
        };
        (0..count).map(|number| BatchEntry::new(name(number), Digest([number as u8; 32]))).collect()
    }

    fn encoded(record: &Record<'_>) -> Vec<u8> {
        let mut bytes = vec![0xaa; record.encoded_bytes()];
        assert_eq!(record.encode(&mut bytes), bytes.len());
        bytes
    }

    proptest! {
        #[test]
        fn records_round_trip(a: u64, b: u64, time: u64, digest: [u8; 32], count in 0usize..40, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (view, sequence, digest) = (View(a), SequenceNumber(b), Digest(digest));
            let entries = entries(count);
            let records = [
                Record::Proposal { view, sequence, timestamp_ns: time, entries: &entries },
                Record::Batch { sequence, timestamp_ns: time, entries: &entries },
                Record::Body { packet: &bytes },
                Record::Prepare { view, sequence, digest },
                Record::Commit { view, sequence, digest },
                Record::ViewChange { bytes: &bytes },
                Record::NewView { bytes: &bytes },
                Record::ViewEntered { view },
                Record::Committed { sequence, digest },
                Record::Stable { sequence, digest },
                Record::EpochAcknowledged { replica: ReplicaId((a % limits::REPLICAS_MAX as u64) as u8), epoch: b },
            ];
            let all: Vec<u8> = records.iter().flat_map(encoded).collect();
            let mut rest = &all[..];
            for record in records {
                let (decoded, after) = Record::decode(rest).unwrap();
                prop_assert_eq!(decoded, record);
                prop_assert_eq!(encoded(&decoded), &rest[..record.encoded_bytes()]);
                rest = after;
            }
            prop_assert!(rest.is_empty());
        }

        /// Whatever decodes is the one encoding of its record.
        #[test]
        fn foreign_bytes_decode_exactly_or_not_at_all(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0u8..13, honest: bool) {
            let mut bytes = bytes;
            if honest && bytes.len() >= HEADER_BYTES {
                let length = bytes.len() as u32;
                bytes[0] = kind;
                bytes[1..4].fill(0);
                bytes[4..8].copy_from_slice(&length.to_le_bytes());
            }
            if let Ok((record, rest)) = Record::decode(&bytes) {
                prop_assert_eq!(encoded(&record), &bytes[..bytes.len() - rest.len()]);
            }
        }
    }

    #[test]
    fn wrong_fields_are_refused() {
        let entries = entries(2);
        let record =
            Record::Proposal { view: View(1), sequence: SequenceNumber(2), timestamp_ns: 3, entries: &entries };
        let good = encoded(&record);
        let change = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            Record::decode(&bytes).map(|_| ())
        };
        assert_eq!(change(0, 0), Err(RecordError::Kind));
        assert_eq!(change(0, 77), Err(RecordError::Kind));
        assert_eq!(change(1, 1), Err(RecordError::Field));
        assert_eq!(change(4, 7), Err(RecordError::Length));
        assert_eq!(change(4, 255), Err(RecordError::Short));
        assert_eq!(change(HEADER_BYTES + 24, 1), Err(RecordError::Length));
        assert_eq!(change(HEADER_BYTES + 25, 255), Err(RecordError::Field));
        assert_eq!(change(HEADER_BYTES + 28, 1), Err(RecordError::Field));
        // The reserved bytes of a batch's entry.
        assert_eq!(change(HEADER_BYTES + PROPOSAL_BYTES + 2, 1), Err(RecordError::Field));
    }
}
