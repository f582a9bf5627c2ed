//! The records in a session's rings: little endian, a fixed header and then bytes.
//!
//! Both ends use this module, and neither trusts the other: decoding is checked and never panics.
//!
//! ```text
//! request ring       kind u32 │ zero u32   │ number or position u64 │ bytes
//! response ring      kind u32 │ status u32 │ number u64             │ bytes, or oldest u64 │ end u64
//! subscription ring  kind u32 │ reason u32 │ position u64 │ timestamp_ns u64 │ session u64 │ bytes
//! ```

mod facts;

use logothete_transport::ring::{Producer, PushError, record_bytes};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub use facts::{Eviction, Facts, ServiceKind};

const KIND_OPERATION: u32 = 1;
const KIND_SUBSCRIBE_FROM: u32 = 2;
const KIND_END_QUERY: u32 = 3;
const KIND_RESULT: u32 = 4;
const KIND_BOUNDS: u32 = 5;
const KIND_ENTRY: u32 = 6;
const KIND_TRIMMED: u32 = 7;
const KIND_FAULT: u32 = 8;
const KIND_QUERY: u32 = 9;
const KIND_ANSWER: u32 = 10;

/// Bytes of a request or a response before an operation's or a result's own.
pub const HEADER_BYTES: usize = size_of::<Header>();

/// Bytes of a subscription record before an entry's own.
pub const ENTRY_HEADER_BYTES: usize = size_of::<EntryHeader>();

const _: () = assert!(HEADER_BYTES == 16 && ENTRY_HEADER_BYTES == 32);

/// Bytes of ring that an operation of `length` bytes takes in the request ring, or a result in the response ring.
pub const fn message_footprint_bytes(length: usize) -> usize {
    record_bytes(HEADER_BYTES + length)
}

/// Bytes of ring that an entry of `length` bytes takes in the subscription ring.
pub const fn entry_footprint_bytes(length: usize) -> usize {
    record_bytes(ENTRY_HEADER_BYTES + length)
}

/// A record that no correct peer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a malformed record in a session's ring: {reason}; are both ends of one release?")]
pub struct RecordError {
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Head of the records of the request and response rings.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    kind: U32,
    status: U32,
    number: U64,
}

/// Rest of a `Bounds` response.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BoundsBody {
    oldest: U64,
    end: U64,
}

/// Head of the records of the subscription ring.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct EntryHeader {
    kind: U32,
    reason: U32,
    position: U64,
    timestamp_ns: U64,
    session: U64,
}

/// From the application to the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// To be ordered and executed. Answered by one [`Response::Result`] of the same number.
    Operation {
        /// Counts this session's requests, from 1.
        number: u64,
        /// The operation; what it means is the service's business.
        bytes: &'a [u8],
    },
    /// To be answered without being ordered, from what a quorum has committed. Answered by one [`Response::Answer`] of the same number, or
    /// by a [`Response::Result`] where it had to be ordered or has no result.
    Query {
        /// Counts this session's requests, from 1.
        number: u64,
        /// An operation that changes nothing; what it means is the service's business.
        bytes: &'a [u8],
    },
    /// Entries from this position on are wanted, in the subscription ring. Once a session.
    SubscribeFrom {
        /// The first position wanted.
        position: u64,
    },
    /// Asks how far the order reaches. Answered by one [`Response::Bounds`] of the same number.
    EndQuery {
        /// Counts this session's requests, from 1.
        number: u64,
    },
}

impl<'a> Request<'a> {
    /// Writes it to the request ring; not yet published.
    ///
    /// # Errors
    ///
    /// As [`Producer::try_push`].
    #[inline]
    pub fn push(&self, ring: &mut Producer) -> Result<(), PushError> {
        let (kind, number, bytes) = match *self {
            Request::Operation { number, bytes } => (KIND_OPERATION, number, bytes),
            Request::Query { number, bytes } => (KIND_QUERY, number, bytes),
            Request::SubscribeFrom { position } => (KIND_SUBSCRIBE_FROM, position, &[][..]),
            Request::EndQuery { number } => (KIND_END_QUERY, number, &[][..]),
        };
        let header = Header { kind: kind.into(), status: 0.into(), number: number.into() };
        ring.try_push_vectored(&[header.as_bytes(), bytes])
    }

    /// Reads a record of the request ring.
    ///
    /// # Errors
    ///
    /// [`RecordError`]: evict the client.
    #[inline]
    pub fn decode(record: &'a [u8]) -> Result<Request<'a>, RecordError> {
        let (header, bytes) = split_header(record)?;
        if header.status.get() != 0 {
            return Err(RecordError { reason: "reserved bytes are not zero" });
        }
        let number = header.number.get();
        match header.kind.get() {
            KIND_OPERATION => Ok(Request::Operation { number, bytes }),
            KIND_QUERY => Ok(Request::Query { number, bytes }),
            KIND_SUBSCRIBE_FROM if bytes.is_empty() => Ok(Request::SubscribeFrom { position: number }),
            KIND_END_QUERY if bytes.is_empty() => Ok(Request::EndQuery { number }),
            KIND_SUBSCRIBE_FROM | KIND_END_QUERY => Err(RecordError { reason: "bytes follow where none belong" }),
            _ => Err(RecordError { reason: "a request of unknown kind" }),
        }
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// It was ordered and executed; its result follows.
    Ok = 0,
    /// It was not ordered: it is longer than the cluster allows.
    TooLarge = 1,
    /// It was not ordered: the cluster has more to do than it can.
    Overloaded = 2,
    /// It was not ordered: the service knows no such operation or query.
    Unsupported = 3,
    /// Too few replicas answered in time. It may or may not have been ordered, now or later.
    Unavailable = 4,
}

impl Status {
    fn decode(status: u32) -> Result<Status, RecordError> {
        [Status::Ok, Status::TooLarge, Status::Overloaded, Status::Unsupported, Status::Unavailable]
            .into_iter()
            .find(|known| *known as u32 == status)
            .ok_or(RecordError { reason: "a result of unknown status" })
    }
}

/// From the driver to the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response<'a> {
    /// How an operation ended.
    Result {
        /// The operation's number.
        number: u64,
        /// How it ended.
        status: Status,
        /// Its result where it was executed, otherwise empty.
        bytes: &'a [u8],
    },
    /// The answer to a query, which a quorum gave without ordering it.
    Answer {
        /// The query's number.
        number: u64,
        /// Its result.
        bytes: &'a [u8],
    },
    /// How far the order reaches, as a quorum confirms it.
    Bounds {
        /// The query's number.
        number: u64,
        /// The oldest position that can still be read.
        oldest: u64,
        /// The position that the next entry will get.
        end: u64,
    },
}

impl<'a> Response<'a> {
    /// Writes it to the response ring; not yet published.
    ///
    /// # Errors
    ///
    /// As [`Producer::try_push`].
    #[inline]
    pub fn push(&self, ring: &mut Producer) -> Result<(), PushError> {
        match *self {
            Response::Result { number, status, bytes } => {
                let header = Header { kind: KIND_RESULT.into(), status: (status as u32).into(), number: number.into() };
                ring.try_push_vectored(&[header.as_bytes(), bytes])
            }
            Response::Answer { number, bytes } => {
                let header = Header { kind: KIND_ANSWER.into(), status: 0.into(), number: number.into() };
                ring.try_push_vectored(&[header.as_bytes(), bytes])
            }
            Response::Bounds { number, oldest, end } => {
                let header = Header { kind: KIND_BOUNDS.into(), status: 0.into(), number: number.into() };
                let body = BoundsBody { oldest: oldest.into(), end: end.into() };
                ring.try_push_vectored(&[header.as_bytes(), body.as_bytes()])
            }
        }
    }

    /// Reads a record of the response ring.
    ///
    /// # Errors
    ///
    /// [`RecordError`].
    #[inline]
    pub fn decode(record: &'a [u8]) -> Result<Response<'a>, RecordError> {
        let (header, bytes) = split_header(record)?;
        let number = header.number.get();
        match header.kind.get() {
            KIND_RESULT => Ok(Response::Result { number, status: Status::decode(header.status.get())?, bytes }),
            KIND_ANSWER | KIND_BOUNDS if header.status.get() != 0 => {
                Err(RecordError { reason: "reserved bytes are not zero" })
            }
            KIND_ANSWER => Ok(Response::Answer { number, bytes }),
            KIND_BOUNDS => {
                let body = BoundsBody::read_from_bytes(bytes)
                    .map_err(|_| RecordError { reason: "bounds of a wrong length" })?;
                Ok(Response::Bounds { number, oldest: body.oldest.get(), end: body.end.get() })
            }
            _ => Err(RecordError { reason: "a response of unknown kind" }),
        }
    }
}

/// Why a subscription cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FaultReason {
    /// The cluster's service keeps no ordered log.
    Unsupported = 1,
    /// The driver lost touch with the order and cannot vouch for what follows.
    Unavailable = 2,
}

/// From the driver to a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// The next entry of the order.
    Entry {
        /// Its position: one more than that of the entry before.
        position: u64,
        /// When it was ordered, nanoseconds since 1970, as the replicas agreed.
        timestamp_ns: u64,
        /// The session that appended it.
        session: u64,
        /// What was appended.
        bytes: &'a [u8],
    },
    /// The position wanted is no longer kept. Nothing follows.
    Trimmed {
        /// The oldest position that can still be read.
        oldest: u64,
    },
    /// The subscription is over for another reason. Nothing follows.
    Fault {
        /// Why.
        reason: FaultReason,
    },
}

impl<'a> Notice<'a> {
    /// Writes it to the subscription ring; not yet published.
    ///
    /// # Errors
    ///
    /// As [`Producer::try_push`]. [`PushError::Full`] is a slow subscriber: try again later.
    #[inline]
    pub fn push(&self, ring: &mut Producer) -> Result<(), PushError> {
        let header = |kind: u32, reason: u32, position: u64, timestamp_ns: u64, session: u64| EntryHeader {
            kind: kind.into(),
            reason: reason.into(),
            position: position.into(),
            timestamp_ns: timestamp_ns.into(),
            session: session.into(),
        };
        let (header, bytes) = match *self {
            Notice::Entry { position, timestamp_ns, session, bytes } => {
                (header(KIND_ENTRY, 0, position, timestamp_ns, session), bytes)
            }
            Notice::Trimmed { oldest } => (header(KIND_TRIMMED, 0, oldest, 0, 0), &[][..]),
            Notice::Fault { reason } => (header(KIND_FAULT, reason as u32, 0, 0, 0), &[][..]),
        };
        ring.try_push_vectored(&[header.as_bytes(), bytes])
    }

    /// Reads a record of the subscription ring.
    ///
    /// # Errors
    ///
    /// [`RecordError`].
    #[inline]
    pub fn decode(record: &'a [u8]) -> Result<Notice<'a>, RecordError> {
        let (header, bytes) =
            EntryHeader::read_from_prefix(record).map_err(|_| RecordError { reason: "shorter than its header" })?;
        let position = header.position.get();
        let bare = header.timestamp_ns.get() == 0 && header.session.get() == 0 && bytes.is_empty();
        match (header.kind.get(), header.reason.get()) {
            (KIND_ENTRY, 0) => Ok(Notice::Entry {
                position,
                timestamp_ns: header.timestamp_ns.get(),
                session: header.session.get(),
                bytes,
            }),
            (KIND_TRIMMED, 0) if bare => Ok(Notice::Trimmed { oldest: position }),
            (KIND_ENTRY | KIND_TRIMMED, _) => Err(RecordError { reason: "reserved bytes are not zero" }),
            (KIND_FAULT, _) if !bare || position != 0 => Err(RecordError { reason: "reserved bytes are not zero" }),
            (KIND_FAULT, 1) => Ok(Notice::Fault { reason: FaultReason::Unsupported }),
            (KIND_FAULT, 2) => Ok(Notice::Fault { reason: FaultReason::Unavailable }),
            (KIND_FAULT, _) => Err(RecordError { reason: "a fault of unknown reason" }),
            _ => Err(RecordError { reason: "a notice of unknown kind" }),
        }
    }
}

fn split_header(record: &[u8]) -> Result<(Header, &[u8]), RecordError> {
    Header::read_from_prefix(record).map_err(|_| RecordError { reason: "shorter than its header" })
}

#[cfg(test)]
mod tests {
    use logothete_transport::ring::{Consumer, pair};

    use super::*;

    fn through_a_ring(push: impl Fn(&mut Producer) -> Result<(), PushError>, check: impl Fn(&[u8])) {
        let (mut producer, mut consumer): (Producer, Consumer) = pair(256);
        push(&mut producer).unwrap();
        producer.publish();
        assert_eq!(consumer.poll(2, |record| check(record)), Ok(1));
    }

    #[test]
    fn requests_survive_the_ring() {
        for request in [
            Request::Operation { number: 7, bytes: b"set" },
            Request::Operation { number: u64::MAX, bytes: b"" },
            Request::SubscribeFrom { position: 9 },
            Request::EndQuery { number: 3 },
            Request::Query { number: 4, bytes: b"get" },
        ] {
            through_a_ring(|ring| request.push(ring), |record| assert_eq!(Request::decode(record), Ok(request)));
        }
    }

    #[test]
    fn responses_survive_the_ring() {
        for response in [
            Response::Result { number: 7, status: Status::Ok, bytes: b"value" },
            Response::Result { number: 8, status: Status::Unavailable, bytes: b"" },
            Response::Bounds { number: 9, oldest: 100, end: 200 },
            Response::Answer { number: 10, bytes: b"value" },
            Response::Answer { number: 11, bytes: b"" },
        ] {
            through_a_ring(|ring| response.push(ring), |record| assert_eq!(Response::decode(record), Ok(response)));
        }
    }

    #[test]
    fn notices_survive_the_ring() {
        for notice in [
            Notice::Entry { position: 1, timestamp_ns: 2, session: 3, bytes: b"entry" },
            Notice::Trimmed { oldest: 55 },
            Notice::Fault { reason: FaultReason::Unsupported },
            Notice::Fault { reason: FaultReason::Unavailable },
        ] {
            through_a_ring(|ring| notice.push(ring), |record| assert_eq!(Notice::decode(record), Ok(notice)));
        }
    }

    #[test]
    fn footprints_are_what_the_ring_charges() {
        let (mut producer, _consumer) = pair(1024);
        let before = producer.free_bytes().unwrap();
        Response::Result { number: 1, status: Status::Ok, bytes: &[0; 13] }.push(&mut producer).unwrap();
        let after = producer.free_bytes().unwrap();
        assert_eq!(before - after, message_footprint_bytes(13));
        Notice::Entry { position: 0, timestamp_ns: 0, session: 0, bytes: &[0; 5] }.push(&mut producer).unwrap();
        assert_eq!(after - producer.free_bytes().unwrap(), entry_footprint_bytes(5));
    }

    #[test]
    fn malformed_records_are_errors_with_a_reason() {
        let header = |kind: u32, status: u32| {
            Header { kind: kind.into(), status: status.into(), number: 1.into() }.as_bytes().to_vec()
        };
        for length in 0..HEADER_BYTES {
            assert!(Request::decode(&header(KIND_OPERATION, 0)[..length]).is_err());
            assert!(Response::decode(&header(KIND_RESULT, 0)[..length]).is_err());
        }
        assert!(Request::decode(&header(0, 0)).is_err());
        assert!(Request::decode(&header(KIND_RESULT, 0)).is_err());
        assert!(Request::decode(&header(KIND_OPERATION, 1)).is_err());
        assert!(Request::decode(&[header(KIND_END_QUERY, 0), vec![0]].concat()).is_err());
        assert!(Response::decode(&header(KIND_RESULT, 99)).is_err());
        assert!(Response::decode(&header(KIND_BOUNDS, 0)).is_err());
        assert!(Response::decode(&header(KIND_ANSWER, 1)).is_err());
        assert!(Notice::decode(&[0; 31]).is_err());
        assert!(Notice::decode(&[0; 32]).is_err());
    }
}
