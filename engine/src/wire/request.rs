//! Requests: what a client asks to have ordered.
//!
//! ```text
//!  0       2        4              8             16        24
//!  +-------+--------+--------------+-------------+---------+-------------------------------
//!  |client | zero   | operations   | incarnation | number  |  operations (see `operation`)
//!  +-------+--------+--------------+-------------+---------+-------------------------------
//! ```
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
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RequestLayout {
    client: U16,
    reserved: U16,
    operation_count: U32,
    incarnation: U64,
    number: U64,
}

/// The bytes of a request message before its operations.
pub const REQUEST_OVERHEAD_BYTES: usize = MESSAGE_HEADER_BYTES + size_of::<RequestLayout>();

/// The longest request message that travels whole: one packet holds it on its way to all replicas, and, as a run of the log, on its way to
/// a subscriber.
pub const fn request_bytes_max(datagram_bytes_max: usize, replicas: usize) -> usize {
    let to_replicas = body_bytes_max(datagram_bytes_max, Audience::Replicas(ReplicaSet::first(replicas)));
    let to_subscriber =
        body_bytes_max(datagram_bytes_max, Audience::Client(ClientId(0))) - RUNS_OVERHEAD_BYTES - RUN_OVERHEAD_BYTES;
    if to_replicas < to_subscriber { to_replicas } else { to_subscriber }
}

/// The longest operation that fits a request of one packet.
pub const fn operation_bytes_max(datagram_bytes_max: usize, replicas: usize) -> usize {
    request_bytes_max(datagram_bytes_max, replicas) - REQUEST_OVERHEAD_BYTES - OPERATION_HEADER_BYTES
}

/// The message of a request that holds one operation of so many bytes.
pub const fn lone_request_bytes(operation_bytes: usize) -> usize {
    REQUEST_OVERHEAD_BYTES + OPERATION_HEADER_BYTES + operation_bytes
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
    /// What to execute, in order.
    pub operations: Operations<'a>,
}

impl<'a> Request<'a> {
    pub(super) fn decode(layout: &'a [u8]) -> Result<Self, Malformed> {
        let (fields, operations) = RequestLayout::ref_from_prefix(layout).map_err(|_| Malformed::Short)?;
        let count = fields.operation_count.get() as usize;
        if fields.reserved.get() != 0 || count > limits::REQUEST_OPERATIONS_MAX {
            return Err(Malformed::Field);
        }
        let opens = fields.number.get() == RequestNumber::OPEN.0;
        if opens != (count == 0) {
            return Err(Malformed::Field);
        }
        Ok(Self {
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
    let (fields, operations) =
        RequestLayout::ref_from_prefix(&message[MESSAGE_HEADER_BYTES..]).expect("it was decoded before");
    Operations::from_checked(operations, fields.operation_count.get() as usize)
}

/// Appends a request message whose operations are already encoded.
pub fn append(out: &mut Vec<u8>, name: RequestName, operation_count: usize, operations: &[u8]) {
    let fields = RequestLayout {
        client: name.client.0.into(),
        reserved: 0.into(),
        operation_count: (operation_count as u32).into(),
        incarnation: name.incarnation.0.into(),
        number: name.number.0.into(),
    };
    framing::append(out, Kind::Request, &[fields.as_bytes(), operations]);
}
