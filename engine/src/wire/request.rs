//! Requests: what a client asks to have ordered.
//!
//! ```text
//!  0       2        4              8             16        24              24 or 88
//!  +-------+--------+--------------+-------------+---------+---------------+-------------------------------
//!  |client | flags  | operations   | incarnation | number  | signature, 64 |  operations (see `operation`)
//!  +-------+--------+--------------+-------------+---------+---------------+-------------------------------
//! ```
//!
//! Flag 1: there is a signature (`protocol.md DM-1`). It stands in front of the operations, because the operations of a request are the end of
//! its message wherever one is kept. It is over everything else of the message, header included.
//!
//! A request is named (client, incarnation, number); number 0 opens an incarnation and carries no operations (`protocol.md CL-2`).
//! Its digest is over the whole message, and a packet carries one request only, so the packet's body digest is the
//! request's (`protocol.md CL-7`).

use super::framing::{self, Kind, MESSAGE_HEADER_BYTES, Malformed};
use super::operation::{OPERATION_HEADER_BYTES, Operations};
use super::packet::{Audience, body_bytes_max};
use super::subscription::{RUN_OVERHEAD_BYTES, RUNS_OVERHEAD_BYTES};
use crate::limits;
use crate::numbers::{ClientId, Incarnation, ReplicaSet, RequestNumber};
use core::mem::offset_of;
use logothete_crypto::SIGNATURE_BYTES;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RequestLayout {
    client: U16,
    flags: U16,
    operation_count: U32,
    incarnation: U64,
    number: U64,
}

/// The request is signed.
const FLAG_SIGNED: u16 = 1;

/// The bytes of a request message that are neither signature nor operations.
pub const REQUEST_OVERHEAD_BYTES: usize = MESSAGE_HEADER_BYTES + size_of::<RequestLayout>();

/// The longest request message that travels whole: one packet holds it on its way to all replicas, and, as a run of the log, on its way to
/// a subscriber.
pub const fn request_bytes_max(datagram_bytes_max: usize, replicas: usize) -> usize {
    let to_replicas = body_bytes_max(datagram_bytes_max, Audience::Replicas(ReplicaSet::first(replicas)));
    let to_subscriber =
        body_bytes_max(datagram_bytes_max, Audience::Client(ClientId(0))) - RUNS_OVERHEAD_BYTES - RUN_OVERHEAD_BYTES;
    if to_replicas < to_subscriber { to_replicas } else { to_subscriber }
}

/// The bytes of a request message that are not operations, where it is signed: any request may have to be (`protocol.md DM-5`).
pub const SIGNED_REQUEST_OVERHEAD_BYTES: usize = REQUEST_OVERHEAD_BYTES + SIGNATURE_BYTES;

/// The longest operation that fits a request of one packet, signed if need be.
pub const fn operation_bytes_max(datagram_bytes_max: usize, replicas: usize) -> usize {
    request_bytes_max(datagram_bytes_max, replicas) - SIGNED_REQUEST_OVERHEAD_BYTES - OPERATION_HEADER_BYTES
}

/// The message of a request that holds one operation of so many bytes, signed if need be.
pub const fn lone_request_bytes(operation_bytes: usize) -> usize {
    SIGNED_REQUEST_OVERHEAD_BYTES + OPERATION_HEADER_BYTES + operation_bytes
}

/// A name under which a request is known: unique in the cluster's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestName {
    /// Whose request.
    pub client: ClientId,
    /// Of which start of the client.
    pub incarnation: Incarnation,
    /// Which one.
    pub number: RequestNumber,
}

impl RequestName {
    /// Whether, of two requests of one client, this one gives way where both have no room: it is of an earlier incarnation, or comes later in
    /// the order of the same.
    pub fn yields_to(&self, other: Self) -> bool {
        self.incarnation < other.incarnation || (self.incarnation == other.incarnation && self.number > other.number)
    }
}

/// A request, its operations checked for shape.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its name; the client in it must still be compared with the packet's sender.
    pub name: RequestName,
    /// The client's signature, if it gave one; whether it is good is not looked at here.
    pub signature: Option<&'a [u8; SIGNATURE_BYTES]>,
    /// What to execute, in order.
    pub operations: Operations<'a>,
}

impl<'a> Request<'a> {
    pub(super) fn decode(layout: &'a [u8]) -> Result<Self, Malformed> {
        let (fields, rest) = RequestLayout::ref_from_prefix(layout).map_err(|_| Malformed::Short)?;
        let count = fields.operation_count.get() as usize;
        if fields.flags.get() > FLAG_SIGNED || count > limits::REQUEST_OPERATIONS_MAX {
            return Err(Malformed::Field);
        }
        let opens = fields.number.get() == RequestNumber::OPEN.0;
        if opens != (count == 0) || fields.incarnation.get() == Incarnation::NONE.0 {
            return Err(Malformed::Field);
        }
        let (signature, operations) = if fields.flags.get() == FLAG_SIGNED {
            let (signature, operations) = rest.split_first_chunk().ok_or(Malformed::Length)?;
            (Some(signature), operations)
        } else {
            (None, rest)
        };
        Ok(Self {
            signature,
            name: RequestName {
                client: ClientId(fields.client.get()),
                incarnation: Incarnation(fields.incarnation.get()),
                number: RequestNumber(fields.number.get()),
            },
            operations: Operations::parse(operations, count).map_err(|_| Malformed::Length)?,
        })
    }
}

/// The operations of a request message that was decoded before it was stored.
///
/// # Panics
/// If it is no request message.
pub(crate) fn operations_stored(message: &[u8]) -> Operations<'_> {
    let (fields, rest) =
        RequestLayout::ref_from_prefix(&message[MESSAGE_HEADER_BYTES..]).expect("it was decoded before");
    let operations = if fields.flags.get() == FLAG_SIGNED { &rest[SIGNATURE_BYTES..] } else { rest };
    Operations::from_checked(operations, fields.operation_count.get() as usize)
}

/// Appends a request message whose operations are already encoded.
pub fn append(out: &mut Vec<u8>, name: RequestName, operation_count: usize, operations: &[u8]) {
    framing::append(out, Kind::Request, &[layout(name, operation_count, 0).as_bytes(), operations]);
}

/// Appends a signed request message; `sign` is given what the signature is over, in two pieces.
pub fn append_signed(
    out: &mut Vec<u8>,
    name: RequestName,
    operation_count: usize,
    operations: &[u8],
    sign: impl FnOnce([&[u8]; 2]) -> [u8; SIGNATURE_BYTES],
) {
    let (start, fields) = (out.len(), layout(name, operation_count, FLAG_SIGNED));
    framing::append(out, Kind::Request, &[fields.as_bytes(), &[0; SIGNATURE_BYTES], operations]);
    let signature = sign([&out[start..start + REQUEST_OVERHEAD_BYTES], operations]);
    out[start + REQUEST_OVERHEAD_BYTES..start + SIGNED_REQUEST_OVERHEAD_BYTES].copy_from_slice(&signature);
}

fn layout(name: RequestName, operation_count: usize, flags: u16) -> RequestLayout {
    RequestLayout {
        client: name.client.0.into(),
        flags: flags.into(),
        operation_count: (operation_count as u32).into(),
        incarnation: name.incarnation.0.into(),
        number: name.number.0.into(),
    }
}

/// Of a request message that was decoded before: its signature and what that is over, in two pieces. `None` where it has none.
pub fn signed_parts(message: &[u8]) -> Option<([&[u8]; 2], &[u8; SIGNATURE_BYTES])> {
    let flags = MESSAGE_HEADER_BYTES + offset_of!(RequestLayout, flags);
    if message.get(flags..flags + size_of::<U16>())? != U16::new(FLAG_SIGNED).as_bytes() {
        return None;
    }
    let (head, rest) = message.split_at_checked(REQUEST_OVERHEAD_BYTES)?;
    let (signature, operations) = rest.split_first_chunk()?;
    Some(([head, operations], signature))
}

#[cfg(test)]
mod tests {
    use super::super::agreement::{Batch, BatchEntry, append_pre_prepare};
    use super::super::forward::Forward;
    use super::super::message::Message;
    use super::super::parts::RequestPart;
    use super::*;
    use crate::numbers::{Principal, ReplicaId, SequenceNumber, View};
    use logothete_crypto::Digest;

    const CLIENT: ClientId = ClientId(3);

    fn name(number: u64) -> RequestName {
        RequestName { client: CLIENT, incarnation: Incarnation(8), number: RequestNumber(number) }
    }

    fn read(message: &[u8]) -> Result<Request<'_>, Malformed> {
        match Message::decode(message, Principal::Client(CLIENT))? {
            Message::Request(request) => Ok(request),
            other => panic!("{other:?}"),
        }
    }

    /// `protocol.md CL-2`. Found by seed 49256: who has opened nothing has no requests, wherever they are named.
    #[test]
    fn a_request_of_no_incarnation_is_malformed() {
        let (sequence, digest) = (SequenceNumber(1), Digest([4; 32]));
        for (incarnation, is_right) in [(Incarnation::NONE, false), (Incarnation(1), true)] {
            let name = RequestName { incarnation, ..name(1) };
            let (opening, entries) =
                (RequestName { number: RequestNumber::OPEN, ..name }, [BatchEntry::new(name, digest)]);
            let mut all = vec![Vec::new(); 6];
            append(&mut all[0], opening, 0, &[]);
            append(&mut all[1], name, 1, &[&[1; 16][..], &2u32.to_le_bytes(), b"ab"].concat());
            RequestPart { name, digest, total_bytes: 9, index: 0, bytes: b"all of it" }.append(&mut all[2]);
            append_pre_prepare(&mut all[3], View(0), sequence, 7, &entries);
            Batch { sequence, timestamp_ns: 7, entries: &entries }.append(&mut all[4]);
            Forward::new(name, digest).append(&mut all[5]);
            for (at, message) in all.iter().enumerate() {
                let of_client = at < 3;
                let from = if of_client { Principal::Client(CLIENT) } else { Principal::Replica(ReplicaId(0)) };
                let read = Message::decode(message, from);
                assert_eq!(read.is_ok(), is_right, "{incarnation:?}: {read:?}");
            }
        }
    }

    /// `protocol.md DM-1`, `RJ-3`
    #[test]
    fn a_signature_is_over_all_but_itself_and_has_one_place() {
        let operations = [&[1; 16][..], &2u32.to_le_bytes(), b"ab"].concat();
        let (mut plain, mut signed) = (Vec::new(), vec![9; 5]);
        append(&mut plain, name(4), 1, &operations);
        let mut covered = Vec::new();
        append_signed(&mut signed, name(4), 1, &operations, |parts| {
            covered = parts.concat();
            [7; SIGNATURE_BYTES]
        });
        let signed = &signed[5..];
        assert_eq!(signed.len(), plain.len() + SIGNATURE_BYTES);
        assert!(signed.ends_with(&operations), "whoever keeps a request finds its operations at its end");
        let request = read(signed).unwrap();
        assert_eq!((request.name, request.signature), (name(4), Some(&[7; SIGNATURE_BYTES])));
        assert_eq!(request.operations.bytes(), operations);
        let (parts, signature) = signed_parts(signed).unwrap();
        assert_eq!((parts.concat(), signature), (covered.clone(), &[7; SIGNATURE_BYTES]));
        assert_eq!(covered[..REQUEST_OVERHEAD_BYTES], signed[..REQUEST_OVERHEAD_BYTES], "the flag and the length");
        assert!(read(&plain).unwrap().signature.is_none() && signed_parts(&plain).is_none());
        let mut other = signed.to_vec();
        other[10] = 2;
        assert_eq!(read(&other).unwrap_err(), Malformed::Field);
        // An opening may be signed as well, and is too short without its signature.
        let mut opening = Vec::new();
        append_signed(&mut opening, name(0), 0, &[], |_| [7; SIGNATURE_BYTES]);
        assert!(read(&opening).unwrap().operations.is_empty());
        let mut cut = opening[..opening.len() - 1].to_vec();
        cut[4..8].copy_from_slice(&(opening.len() as u32 - 1).to_le_bytes());
        assert_eq!(read(&cut).unwrap_err(), Malformed::Length);
    }
}
