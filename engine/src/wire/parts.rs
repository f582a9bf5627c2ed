//! What does not fit a packet: parts of requests, of results and of runs of the log, each under the digest that says whether the whole is right
//! (`protocol.md LR-1`, `LR-5`, `LR-6`).
//!
//! Pieces of one whole are of one size, which the cluster's datagrams give, the last apart; so an index says where a piece belongs. Whether
//! it does is for whoever puts the pieces together: here every length is only one that was claimed.

use super::framing::{self, Kind, MESSAGE_HEADER_BYTES, Malformed};
use super::packet::{Audience, body_bytes_max};
use super::request::RequestName;
use crate::limits::PARTS_MAX;
use crate::numbers::{ClientId, Incarnation, ReplicaSet, RequestNumber, SequenceNumber};
use logothete_crypto::Digest;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RequestPartLayout {
    client: U16,
    reserved: [u8; 2],
    index: U32,
    incarnation: U64,
    number: U64,
    digest: Digest,
    total_bytes: U32,
    reserved_end: [u8; 4],
}

/// The bytes of a request part before its piece.
pub const REQUEST_PART_OVERHEAD_BYTES: usize = MESSAGE_HEADER_BYTES + size_of::<RequestPartLayout>();

/// The bytes of a request message that one part carries: it is alone in a packet to all replicas.
pub const fn request_piece_bytes(datagram_bytes_max: usize, replicas: usize) -> usize {
    body_bytes_max(datagram_bytes_max, Audience::Replicas(ReplicaSet::first(replicas))) - REQUEST_PART_OVERHEAD_BYTES
}

/// RequestPart(name, D, total, index, piece): a piece of a request message that is longer than a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestPart<'a> {
    /// The request's name; the client in it must still be compared with the packet's sender.
    pub name: RequestName,
    /// The digest of the whole request message, by which batches name it.
    pub digest: Digest,
    /// How long the whole is, as the sender claims.
    pub total_bytes: usize,
    /// Which piece.
    pub index: usize,
    /// The piece.
    pub bytes: &'a [u8],
}

/// A total that some bytes and an index can be a piece of: nothing else is looked at before the pieces come together.
fn is_possible(total_bytes: usize, index: usize, bytes: &[u8]) -> bool {
    index < PARTS_MAX && !bytes.is_empty() && bytes.len() <= total_bytes
}

impl<'a> RequestPart<'a> {
    pub(super) fn decode(layout: &'a [u8]) -> Result<Self, Malformed> {
        let (fields, bytes) = RequestPartLayout::ref_from_prefix(layout).map_err(|_| Malformed::Short)?;
        let (total_bytes, index) = (fields.total_bytes.get() as usize, fields.index.get() as usize);
        let zero = fields.reserved == [0; 2] && fields.reserved_end == [0; 4];
        // An incarnation is opened by a request without operations, which fits any packet.
        let named = fields.number.get() != RequestNumber::OPEN.0 && fields.incarnation.get() != Incarnation::NONE.0;
        if !zero || !named || !is_possible(total_bytes, index, bytes) {
            return Err(Malformed::Field);
        }
        let name = RequestName {
            client: ClientId(fields.client.get()),
            incarnation: Incarnation(fields.incarnation.get()),
            number: RequestNumber(fields.number.get()),
        };
        Ok(Self { name, digest: fields.digest, total_bytes, index, bytes })
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        let fields = RequestPartLayout {
            client: self.name.client.0.into(),
            reserved: [0; 2],
            index: (self.index as u32).into(),
            incarnation: self.name.incarnation.0.into(),
            number: self.name.number.0.into(),
            digest: self.digest,
            total_bytes: (self.total_bytes as u32).into(),
            reserved_end: [0; 4],
        };
        framing::append(out, Kind::RequestPart, &[fields.as_bytes(), self.bytes]);
    }
}

/// What a result is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultOf {
    /// All results of the request with this name, of the client that the packet is for.
    Request(Incarnation, RequestNumber),
    /// The query with this nonce.
    Query(u64),
}

const OF_REQUEST: u8 = 1;
const OF_QUERY: u8 = 2;

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ReplyPartLayout {
    of: u8,
    reserved: [u8; 3],
    index: U32,
    incarnation: U64,
    number: U64,
    digest: Digest,
    total_bytes: U32,
    reserved_end: [u8; 4],
}

/// The bytes of a reply part before its piece.
pub const REPLY_PART_OVERHEAD_BYTES: usize = MESSAGE_HEADER_BYTES + size_of::<ReplyPartLayout>();

/// The bytes of a result that one part carries.
pub const fn reply_piece_bytes(datagram_bytes_max: usize) -> usize {
    body_bytes_max(datagram_bytes_max, Audience::Client(ClientId(0))) - REPLY_PART_OVERHEAD_BYTES
}

/// ReplyPart(name, D(result), total, index, piece): a piece of a result that is longer than a packet. The reply or answer itself gives the
/// digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyPart<'a> {
    /// What the result is of.
    pub of: ResultOf,
    /// The digest of the whole result.
    pub digest: Digest,
    /// How long the whole is, as the sender claims.
    pub total_bytes: usize,
    /// Which piece.
    pub index: usize,
    /// The piece.
    pub bytes: &'a [u8],
}

impl<'a> ReplyPart<'a> {
    pub(super) fn decode(layout: &'a [u8]) -> Result<Self, Malformed> {
        let (fields, bytes) = ReplyPartLayout::ref_from_prefix(layout).map_err(|_| Malformed::Short)?;
        let (total_bytes, index) = (fields.total_bytes.get() as usize, fields.index.get() as usize);
        let zero = fields.reserved == [0; 3] && fields.reserved_end == [0; 4];
        if !zero || !is_possible(total_bytes, index, bytes) {
            return Err(Malformed::Field);
        }
        let of = match fields.of {
            OF_REQUEST => ResultOf::Request(Incarnation(fields.incarnation.get()), RequestNumber(fields.number.get())),
            OF_QUERY if fields.incarnation.get() == 0 => ResultOf::Query(fields.number.get()),
            _ => return Err(Malformed::Field),
        };
        Ok(Self { of, digest: fields.digest, total_bytes, index, bytes })
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        let (of, incarnation, number) = match self.of {
            ResultOf::Request(incarnation, number) => (OF_REQUEST, incarnation.0, number.0),
            ResultOf::Query(nonce) => (OF_QUERY, 0, nonce),
        };
        let fields = ReplyPartLayout {
            of,
            reserved: [0; 3],
            index: (self.index as u32).into(),
            incarnation: incarnation.into(),
            number: number.into(),
            digest: self.digest,
            total_bytes: (self.total_bytes as u32).into(),
            reserved_end: [0; 4],
        };
        framing::append(out, Kind::ReplyPart, &[fields.as_bytes(), self.bytes]);
    }
}

/// Cuts a result into its parts, of `piece_bytes` each, and gives them from the one at `first` on.
pub fn cut_result(
    of: ResultOf,
    whole: Digest,
    result: &[u8],
    piece_bytes: usize,
    first: usize,
) -> impl Iterator<Item = ReplyPart<'_>> {
    let pieces = result.chunks(piece_bytes).enumerate().skip(first);
    pieces.map(move |(index, bytes)| ReplyPart { of, digest: whole, total_bytes: result.len(), index, bytes })
}

/// A bit for each part of the longest request.
const PARTS_WORDS: usize = PARTS_MAX / 64;

/// FetchParts(s, D, which request, which parts): parts of the body of one request of a batch, which the sender lacks.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FetchParts {
    sequence: U64,
    /// The batch.
    pub digest: Digest,
    request: U32,
    reserved: [u8; 4],
    missing: [U64; PARTS_WORDS],
}

impl FetchParts {
    pub(super) fn decode(layout: &[u8]) -> Result<&Self, Malformed> {
        let message: &Self = framing::fixed(layout)?;
        if message.reserved == [0; 4] { Ok(message) } else { Err(Malformed::Field) }
    }

    /// Asks for no part of the body of the batch's request at `request` yet.
    pub fn new(sequence: SequenceNumber, digest: Digest, request: usize) -> Self {
        let missing = [0.into(); PARTS_WORDS];
        Self { sequence: sequence.0.into(), digest, request: (request as u32).into(), reserved: [0; 4], missing }
    }

    /// Asks for a part.
    pub fn set(&mut self, index: usize) {
        let word = &mut self.missing[index / 64];
        word.set(word.get() | 1 << (index % 64));
    }

    /// Whether a part is asked for.
    pub fn contains(&self, index: usize) -> bool {
        self.missing.get(index / 64).is_some_and(|word| word.get() & (1 << (index % 64)) != 0)
    }

    /// The batch's place.
    pub fn sequence(&self) -> SequenceNumber {
        SequenceNumber(self.sequence.get())
    }

    /// Which of the batch's requests.
    pub fn request(&self) -> usize {
        self.request.get() as usize
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::FetchParts, &[self.as_bytes()]);
    }
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RunPartLayout {
    stream: U32,
    total_bytes: U32,
    offset: U32,
    reserved: [u8; 4],
    position: U64,
    timestamp_ns: U64,
    chain: Digest,
}

/// The bytes of a run part before its piece.
pub const RUN_PART_OVERHEAD_BYTES: usize = MESSAGE_HEADER_BYTES + size_of::<RunPartLayout>();

/// RunPart(stream, position, chain before, timestamp, total, offset, piece): a piece of the one run that begins at `position`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunPart<'a> {
    /// Of the follow that it answers.
    pub stream: u32,
    /// The position of the run's first entry.
    pub position: u64,
    /// The time of its batch.
    pub timestamp_ns: u64,
    /// The chain digest before it.
    pub chain: Digest,
    /// How long its request message is, as the source claims.
    pub total_bytes: usize,
    /// Where in that message the piece begins.
    pub offset: usize,
    /// The piece.
    pub bytes: &'a [u8],
}

impl<'a> RunPart<'a> {
    pub(super) fn decode(layout: &'a [u8]) -> Result<Self, Malformed> {
        let (fields, bytes) = RunPartLayout::ref_from_prefix(layout).map_err(|_| Malformed::Short)?;
        let (total_bytes, offset) = (fields.total_bytes.get() as usize, fields.offset.get() as usize);
        let within = offset.checked_add(bytes.len()).is_some_and(|end| end <= total_bytes);
        if fields.reserved != [0; 4] || bytes.is_empty() || !within {
            return Err(Malformed::Field);
        }
        Ok(Self {
            stream: fields.stream.get(),
            position: fields.position.get(),
            timestamp_ns: fields.timestamp_ns.get(),
            chain: fields.chain,
            total_bytes,
            offset,
            bytes,
        })
    }

    /// Appends its beginning, and the piece of `piece_bytes` bytes as `append` gives it, for it may be stored in pages.
    pub fn append_with<'b>(&self, out: &mut Vec<u8>, piece: impl Iterator<Item = &'b [u8]>) {
        let fields = RunPartLayout {
            stream: self.stream.into(),
            total_bytes: (self.total_bytes as u32).into(),
            offset: (self.offset as u32).into(),
            reserved: [0; 4],
            position: self.position.into(),
            timestamp_ns: self.timestamp_ns.into(),
            chain: self.chain,
        };
        framing::append_with(out, Kind::RunPart, |out| {
            out.extend_from_slice(fields.as_bytes());
            piece.for_each(|bytes| out.extend_from_slice(bytes));
        });
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        self.append_with(out, std::iter::once(self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::{Principal, ReplicaId};
    use crate::wire::Message;
    use proptest::prelude::*;

    const CLIENT: Principal = Principal::Client(ClientId(1));
    const REPLICA: Principal = Principal::Replica(ReplicaId(1));

    fn name(number: u64) -> RequestName {
        RequestName { client: ClientId(1), incarnation: Incarnation(7), number: RequestNumber(number) }
    }

    proptest! {
        /// `protocol.md RJ-3`, `LR-1`: what was written reads back, and foreign bytes never panic and have one meaning.
        #[test]
        fn parts_read_back(index in 0..PARTS_MAX, more in 0_usize..5000, bytes in proptest::collection::vec(any::<u8>(), 1..90), query: bool) {
            let (digest, total_bytes) = (Digest([3; 32]), bytes.len() + more);
            let mut encoded = Vec::new();
            let part = RequestPart { name: name(4), digest, total_bytes, index, bytes: &bytes };
            part.append(&mut encoded);
            prop_assert_eq!(encoded.len(), REQUEST_PART_OVERHEAD_BYTES + bytes.len());
            let Message::RequestPart(read) = Message::decode(&encoded, CLIENT).unwrap() else { panic!("another kind") };
            prop_assert_eq!(read, part);

            let of = if query { ResultOf::Query(9) } else { ResultOf::Request(Incarnation(7), RequestNumber(4)) };
            let part = ReplyPart { of, digest, total_bytes, index, bytes: &bytes };
            encoded.clear();
            part.append(&mut encoded);
            prop_assert_eq!(encoded.len(), REPLY_PART_OVERHEAD_BYTES + bytes.len());
            let Message::ReplyPart(read) = Message::decode(&encoded, REPLICA).unwrap() else { panic!("another kind") };
            prop_assert_eq!(read, part);

            let part = RunPart { stream: 3, position: 8, timestamp_ns: 9, chain: digest, total_bytes, offset: more, bytes: &bytes };
            encoded.clear();
            part.append(&mut encoded);
            prop_assert_eq!(encoded.len(), RUN_PART_OVERHEAD_BYTES + bytes.len());
            let Message::RunPart(read) = Message::decode(&encoded, REPLICA).unwrap() else { panic!("another kind") };
            prop_assert_eq!(read, part);
        }

        #[test]
        fn foreign_parts_do_no_harm(kind in prop_oneof![Just(Kind::RequestPart), Just(Kind::ReplyPart), Just(Kind::FetchParts), Just(Kind::RunPart)],
            bytes in proptest::collection::vec(prop_oneof![3 => Just(0_u8), 1 => any::<u8>()], 0..400)) {
            let mut encoded = Vec::new();
            framing::append(&mut encoded, kind, &[&bytes]);
            for sender in [CLIENT, REPLICA] {
                if let Ok(message) = Message::decode(&encoded, sender) {
                    let mut again = Vec::new();
                    match message {
                        Message::RequestPart(part) => part.append(&mut again),
                        Message::ReplyPart(part) => part.append(&mut again),
                        Message::FetchParts(fetch) => fetch.append(&mut again),
                        Message::RunPart(part) => part.append(&mut again),
                        other => panic!("{other:?}"),
                    }
                    prop_assert_eq!(&again, &encoded);
                }
            }
        }
    }

    /// `protocol.md RJ-3`
    #[test]
    fn what_can_be_no_part_is_malformed() {
        let good = RequestPart { name: name(4), digest: Digest([3; 32]), total_bytes: 100, index: 2, bytes: &[7; 30] };
        for bad in [
            RequestPart { name: name(0), ..good },
            RequestPart { total_bytes: 29, ..good },
            RequestPart { index: PARTS_MAX, ..good },
            RequestPart { bytes: &[], ..good },
        ] {
            let mut encoded = Vec::new();
            bad.append(&mut encoded);
            assert_eq!(Message::decode(&encoded, CLIENT).unwrap_err(), Malformed::Field);
        }
        let run = RunPart {
            stream: 3,
            position: 8,
            timestamp_ns: 9,
            chain: Digest([1; 32]),
            total_bytes: 40,
            offset: 11,
            bytes: &[7; 30],
        };
        let mut encoded = Vec::new();
        run.append(&mut encoded);
        assert_eq!(Message::decode(&encoded, REPLICA).unwrap_err(), Malformed::Field);
        let mut fetch = FetchParts::new(SequenceNumber(4), Digest([1; 32]), 2);
        fetch.set(PARTS_MAX - 1);
        assert!(fetch.contains(PARTS_MAX - 1) && !fetch.contains(0) && !fetch.contains(usize::MAX));
    }
}
