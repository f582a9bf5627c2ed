//! What a replica tells a client: the results of its request, or why it will not be ordered (`protocol.md CL-5`).

use super::framing::{self, Kind, MESSAGE_HEADER_BYTES, Malformed};
use crate::numbers::{Incarnation, RequestNumber, SequenceNumber, View};
use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ReplyLayout {
    view: U64,
    sequence: U64,
    incarnation: U64,
    number: U64,
}

/// The bytes of a reply message before its results.
pub const REPLY_OVERHEAD_BYTES: usize = MESSAGE_HEADER_BYTES + size_of::<ReplyLayout>();

/// Reply(v, s, e, t, results): the request was executed at `s` with these results, and `s` has committed.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// The view that the replica is in: how clients learn it. Not part of what must match.
    pub view: View,
    /// Where the request was executed.
    pub sequence: SequenceNumber,
    /// Of which incarnation it is.
    pub incarnation: Incarnation,
    /// Which request.
    pub number: RequestNumber,
    /// One result an operation ([`crate::service::ResultsView`]).
    pub results: &'a [u8],
}

impl<'a> Reply<'a> {
    pub(super) fn decode(layout: &'a [u8]) -> Result<Self, Malformed> {
        let (fields, results) = ReplyLayout::ref_from_prefix(layout).map_err(|_| Malformed::Short)?;
        Ok(Self {
            view: View(fields.view.get()),
            sequence: SequenceNumber(fields.sequence.get()),
            incarnation: Incarnation(fields.incarnation.get()),
            number: RequestNumber(fields.number.get()),
            results,
        })
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        let fields = ReplyLayout {
            view: self.view.0.into(),
            sequence: self.sequence.0.into(),
            incarnation: self.incarnation.0.into(),
            number: self.number.0.into(),
        };
        framing::append(out, Kind::Reply, &[fields.as_bytes(), self.results]);
    }
}

/// Why a replica does not order a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum RefusalReason {
    /// There is no room for it now; the client tries again later with the same bytes.
    Overloaded = 1,
    /// The client opened a later incarnation already; [`Refusal::detail`] is that incarnation.
    Superseded = 2,
}

/// Refuse(e, t, reason).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Refusal {
    incarnation: U64,
    number: U64,
    detail: U64,
    reason: U16,
    reserved: [u8; 6],
}

impl Refusal {
    pub(super) fn decode(layout: &[u8]) -> Result<&Self, Malformed> {
        let refusal: &Self = framing::fixed(layout)?;
        if refusal.reserved == [0; 6] { Ok(refusal) } else { Err(Malformed::Field) }
    }

    /// A refusal of a request.
    pub fn new(incarnation: Incarnation, number: RequestNumber, reason: RefusalReason, detail: u64) -> Self {
        Self {
            incarnation: incarnation.0.into(),
            number: number.0.into(),
            detail: detail.into(),
            reason: (reason as u16).into(),
            reserved: [0; 6],
        }
    }

    /// Of which incarnation the request is.
    pub fn incarnation(&self) -> Incarnation {
        Incarnation(self.incarnation.get())
    }

    /// Which request.
    pub fn number(&self) -> RequestNumber {
        RequestNumber(self.number.get())
    }

    /// What the reason says more.
    pub fn detail(&self) -> u64 {
        self.detail.get()
    }

    /// The reason, if this build knows it.
    pub fn reason(&self) -> Option<RefusalReason> {
        match self.reason.get() {
            1 => Some(RefusalReason::Overloaded),
            2 => Some(RefusalReason::Superseded),
            _ => None,
        }
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::Refusal, &[self.as_bytes()]);
    }
}
