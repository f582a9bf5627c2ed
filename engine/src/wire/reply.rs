//! What a replica tells a client: the results of its request, or why it will not be ordered (`protocol.md CL-5`).

use super::framing::{self, Kind, MESSAGE_HEADER_BYTES, Malformed};
use crate::limits::RESULT_FULL_BYTES;
use crate::numbers::{Incarnation, RequestNumber, SequenceNumber, View};
use logothete_crypto::{Digest, digest};
use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ReplyLayout {
    view: U64,
    sequence: U64,
    incarnation: U64,
    number: U64,
    request: Digest,
    mode: u8,
    form: u8,
    reserved: [u8; 6],
}

const MODE_TENTATIVE: u8 = 1;
const MODE_COMMITTED: u8 = 2;
pub(super) const FORM_FULL: u8 = 1;
pub(super) const FORM_DIGEST: u8 = 2;

/// The bytes of a reply message before its results.
pub const REPLY_OVERHEAD_BYTES: usize = MESSAGE_HEADER_BYTES + size_of::<ReplyLayout>();

/// How final a reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The batch was prepared when the request was executed; a view change may still undo it.
    Tentative,
    /// The batch has committed.
    Committed,
}

/// What a replica gives of a result (`protocol.md CL-5`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The whole of it.
    Full(&'a [u8]),
    /// Its digest: another replica gives the whole.
    Digest(&'a Digest),
}

impl<'a> Answer<'a> {
    /// The digest by which answers are compared.
    pub fn digest(&self) -> Digest {
        match *self {
            Self::Full(bytes) => digest(bytes),
            Self::Digest(digest) => *digest,
        }
    }

    pub(super) fn decode(form: u8, bytes: &'a [u8]) -> Result<Self, Malformed> {
        match form {
            FORM_FULL => Ok(Self::Full(bytes)),
            FORM_DIGEST => framing::fixed(bytes).map(Self::Digest),
            _ => Err(Malformed::Field),
        }
    }

    /// The form's number and the bytes on the wire.
    pub(super) fn encode(&self) -> (u8, &'a [u8]) {
        match *self {
            Self::Full(bytes) => (FORM_FULL, bytes),
            Self::Digest(digest) => (FORM_DIGEST, &digest.0),
        }
    }
}

/// Gives a result to `take` in the form in which it travels: the whole where it is short or `full`, otherwise its digest.
pub fn abridged<R>(result: &[u8], full: bool, take: impl FnOnce(Answer<'_>) -> R) -> R {
    if full || result.len() <= RESULT_FULL_BYTES {
        take(Answer::Full(result))
    } else {
        take(Answer::Digest(&digest(result)))
    }
}

/// Reply(v, s, e, t, D(request), mode, results or their digest): the request was executed at `s` with these results.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// The view that the replica is in: how clients learn it.
    pub view: View,
    /// Where the request was executed.
    pub sequence: SequenceNumber,
    /// Of which incarnation it is.
    pub incarnation: Incarnation,
    /// Which request.
    pub number: RequestNumber,
    /// The digest of the request that was executed under this name.
    pub request: Digest,
    /// Whether its batch has committed.
    pub mode: Mode,
    /// One result an operation ([`crate::service::ResultsView`]), or their digest.
    pub results: Answer<'a>,
}

impl<'a> Reply<'a> {
    pub(super) fn decode(layout: &'a [u8]) -> Result<Self, Malformed> {
        let (fields, results) = ReplyLayout::ref_from_prefix(layout).map_err(|_| Malformed::Short)?;
        if fields.reserved != [0; 6] {
            return Err(Malformed::Field);
        }
        Ok(Self {
            view: View(fields.view.get()),
            sequence: SequenceNumber(fields.sequence.get()),
            incarnation: Incarnation(fields.incarnation.get()),
            number: RequestNumber(fields.number.get()),
            request: fields.request,
            mode: match fields.mode {
                MODE_TENTATIVE => Mode::Tentative,
                MODE_COMMITTED => Mode::Committed,
                _ => return Err(Malformed::Field),
            },
            results: Answer::decode(fields.form, results)?,
        })
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        let (form, results) = self.results.encode();
        let fields = ReplyLayout {
            view: self.view.0.into(),
            sequence: self.sequence.0.into(),
            incarnation: self.incarnation.0.into(),
            number: self.number.0.into(),
            request: self.request,
            mode: match self.mode {
                Mode::Tentative => MODE_TENTATIVE,
                Mode::Committed => MODE_COMMITTED,
            },
            form,
            reserved: [0; 6],
        };
        framing::append(out, Kind::Reply, &[fields.as_bytes(), results]);
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
    /// The client's requests must be signed: it signs this one, under the same number (`protocol.md DM-6`).
    SignatureRequired = 3,
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
            3 => Some(RefusalReason::SignatureRequired),
            _ => None,
        }
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::Refusal, &[self.as_bytes()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::{Principal, ReplicaId};
    use crate::wire::Message;

    fn reply(mode: Mode, results: Answer<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let (view, sequence) = (View(3), SequenceNumber(9));
        let (incarnation, number, request) = (Incarnation(7), RequestNumber(4), Digest([5; 32]));
        Reply { view, sequence, incarnation, number, request, mode, results }.append(&mut bytes);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Reply<'_>, Malformed> {
        match Message::decode(bytes, Principal::Replica(ReplicaId(0)))? {
            Message::Reply(reply) => Ok(reply),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn replies_read_back_in_every_form() {
        let result_digest = digest(b"results");
        for mode in [Mode::Tentative, Mode::Committed] {
            for results in [Answer::Full(b"results"), Answer::Full(b""), Answer::Digest(&result_digest)] {
                let bytes = reply(mode, results);
                let read = read(&bytes).unwrap();
                assert_eq!((read.mode, read.results), (mode, results));
                assert_eq!((read.view, read.sequence, read.number), (View(3), SequenceNumber(9), RequestNumber(4)));
                assert_eq!((read.incarnation, read.request), (Incarnation(7), Digest([5; 32])));
            }
        }
        assert_eq!(Answer::Full(b"results").digest(), Answer::Digest(&result_digest).digest());
    }

    /// `protocol.md RJ-3`
    #[test]
    fn a_reply_has_one_encoding() {
        let result_digest = digest(b"results");
        let good = reply(Mode::Committed, Answer::Digest(&result_digest));
        for (at, value) in [(72, 0), (72, 3), (73, 0), (73, 3), (74, 1), (79, 1)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(read(&bad).unwrap_err(), Malformed::Field, "byte {at} is {value}");
        }
        let mut short = good;
        short.pop();
        let length = short.len() as u32;
        short[4..8].copy_from_slice(&length.to_le_bytes());
        assert_eq!(read(&short).unwrap_err(), Malformed::Length, "a digest has 32 bytes");
    }

    /// `protocol.md CL-5`
    #[test]
    fn what_is_no_longer_than_some_digests_travels_whole() {
        let long = [7; RESULT_FULL_BYTES + 1];
        let is_full = |result: &[u8], full| abridged(result, full, |answer| matches!(answer, Answer::Full(_)));
        assert!(is_full(&long[1..], false) && is_full(&long, true));
        assert!(!is_full(&long, false));
        abridged(&long, false, |answer| assert_eq!(answer.digest(), digest(&long)));
    }
}
