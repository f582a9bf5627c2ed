//! What stands in a packet's body: messages, one after the other, each with a header that says its kind and length.
//!
//! ```text
//!  0      1        4          8
//!  +------+--------+----------+-----------------
//!  | kind | zero   | length   |  the kind's layout
//!  +------+--------+----------+-----------------
//! ```

use super::agreement::{CheckpointVote, PrePrepare, Vote};
use super::reply::{Refusal, Reply};
use super::report::{ReportQuery, ReportReply};
use super::request::Request;
use super::retransmission::{Fetch, Status};
use super::subscription::{ChainAnswer, ChainQuery, Follow, Runs};
use crate::numbers::Principal;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The size of [`MessageHeader`].
pub const MESSAGE_HEADER_BYTES: usize = size_of::<MessageHeader>();

/// The header of each message.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct MessageHeader {
    kind: u8,
    reserved: [u8; 3],
    /// Of the whole message, this header included.
    length: U32,
}

/// Why bytes are no packet or message of this version. Each is a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Fewer bytes than the header.
    #[error("shorter than its header")]
    Short,
    /// Not one of this system's datagrams.
    #[error("no magic number")]
    Magic,
    /// A layout that this build does not know.
    #[error("unknown format version")]
    Version,
    /// An empty, unknown or inconsistent audience.
    #[error("bad audience")]
    Audience,
    /// Lengths that do not add up.
    #[error("lengths do not add up")]
    Length,
    /// A kind that this build does not know.
    #[error("unknown message kind")]
    Kind,
    /// A field outside its range.
    #[error("field out of range")]
    Field,
    /// A client's message from a replica, or the reverse.
    #[error("a kind that this sender may not send")]
    Role,
}

/// The kinds of messages; the number is the byte on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// [`Request`]
    Request = 1,
    /// [`PrePrepare`]
    PrePrepare = 2,
    /// [`Vote`], first round
    Prepare = 3,
    /// [`Vote`], second round
    Commit = 4,
    /// [`CheckpointVote`]
    Checkpoint = 5,
    /// [`Reply`]
    Reply = 6,
    /// [`Refusal`]
    Refusal = 7,
    /// [`Status`]
    Status = 8,
    /// [`Fetch`]
    Fetch = 9,
    /// [`ReportQuery`]
    ReportQuery = 10,
    /// [`ReportReply`]
    ReportReply = 11,
    /// [`Follow`]
    Follow = 12,
    /// [`Runs`]
    Runs = 13,
    /// [`ChainQuery`]
    ChainQuery = 14,
    /// [`ChainAnswer`]
    ChainAnswer = 15,
}

impl Kind {
    const ALL: [Self; 15] = [
        Self::Request,
        Self::PrePrepare,
        Self::Prepare,
        Self::Commit,
        Self::Checkpoint,
        Self::Reply,
        Self::Refusal,
        Self::Status,
        Self::Fetch,
        Self::ReportQuery,
        Self::ReportReply,
        Self::Follow,
        Self::Runs,
        Self::ChainQuery,
        Self::ChainAnswer,
    ];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte).checked_sub(1)?).copied()
    }

    /// Whether clients send it; replicas send all others.
    const fn is_client_sent(self) -> bool {
        matches!(self, Self::Request | Self::ReportQuery | Self::Follow | Self::ChainQuery)
    }
}

/// A decoded message: views over the packet's bytes.
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    /// A client's operations.
    Request(Request<'a>),
    /// The primary's proposal.
    PrePrepare(PrePrepare<'a>),
    /// A backup's vote of the first round.
    Prepare(&'a Vote),
    /// A vote of the second round.
    Commit(&'a Vote),
    /// A vote on the state.
    Checkpoint(&'a CheckpointVote),
    /// The results of one request.
    Reply(Reply<'a>),
    /// Why a request is not ordered.
    Refusal(&'a Refusal),
    /// What a replica has and lacks.
    Status(&'a Status),
    /// Request bodies that a replica lacks.
    Fetch(&'a Fetch),
    /// The operator asks how a replica fares.
    ReportQuery(&'a ReportQuery),
    /// How it fares.
    ReportReply(&'a ReportReply),
    /// A subscriber asks for log entries.
    Follow(&'a Follow),
    /// Log entries.
    Runs(Runs<'a>),
    /// A subscriber asks what the chain digest at a position is.
    ChainQuery(&'a ChainQuery),
    /// What it is.
    ChainAnswer(&'a ChainAnswer),
}

impl<'a> Message<'a> {
    /// Decodes one whole message (header included) of a sender.
    pub fn decode(bytes: &'a [u8], sender: Principal) -> Result<Self, Malformed> {
        let (header, layout) = MessageHeader::ref_from_prefix(bytes).map_err(|_| Malformed::Short)?;
        let kind = Kind::from_byte(header.kind).ok_or(Malformed::Kind)?;
        if kind.is_client_sent() != matches!(sender, Principal::Client(_)) {
            return Err(Malformed::Role);
        }
        if header.reserved != [0; 3] || header.length.get() as usize != bytes.len() {
            return Err(Malformed::Length);
        }
        Ok(match kind {
            Kind::Request => Self::Request(Request::decode(layout)?),
            Kind::PrePrepare => Self::PrePrepare(PrePrepare::decode(layout)?),
            Kind::Prepare => Self::Prepare(fixed(layout)?),
            Kind::Commit => Self::Commit(fixed(layout)?),
            Kind::Checkpoint => Self::Checkpoint(fixed(layout)?),
            Kind::Reply => Self::Reply(Reply::decode(layout)?),
            Kind::Refusal => Self::Refusal(Refusal::decode(layout)?),
            Kind::Status => Self::Status(fixed(layout)?),
            Kind::Fetch => Self::Fetch(fixed(layout)?),
            Kind::ReportQuery => Self::ReportQuery(fixed(layout)?),
            Kind::ReportReply => Self::ReportReply(fixed(layout)?),
            Kind::Follow => Self::Follow(fixed(layout)?),
            Kind::Runs => Self::Runs(Runs::decode(layout)?),
            Kind::ChainQuery => Self::ChainQuery(ChainQuery::decode(layout)?),
            Kind::ChainAnswer => Self::ChainAnswer(ChainAnswer::decode(layout)?),
        })
    }
}

pub(super) fn fixed<T: FromBytes + KnownLayout + Immutable + Unaligned>(layout: &[u8]) -> Result<&T, Malformed> {
    T::ref_from_bytes(layout).map_err(|_| Malformed::Length)
}

/// Appends one message, its layout given in parts, to a buffer.
pub fn append(out: &mut Vec<u8>, kind: Kind, parts: &[&[u8]]) {
    let length = MESSAGE_HEADER_BYTES + parts.iter().map(|part| part.len()).sum::<usize>();
    let header = MessageHeader { kind: kind as u8, reserved: [0; 3], length: (length as u32).into() };
    out.extend_from_slice(header.as_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// How many messages a body holds, by their lengths alone; `None` if the lengths do not add up.
pub(super) fn count_messages(body: &[u8]) -> Option<usize> {
    let (mut rest, mut count) = (body, 0);
    while !rest.is_empty() {
        let (header, _) = MessageHeader::ref_from_prefix(rest).ok()?;
        let length = (header.length.get() as usize).max(MESSAGE_HEADER_BYTES);
        rest = rest.get(length..)?;
        count += 1;
    }
    Some(count)
}

/// The messages of a body in order. Ends after the first malformed one: what follows it has no known beginning.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
    sender: Principal,
}

impl<'a> Messages<'a> {
    /// Over a packet's body.
    pub fn new(body: &'a [u8], sender: Principal) -> Self {
        Self { rest: body, sender }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<(Message<'a>, &'a [u8]), Malformed>;

    /// The next message, decoded and as bytes.
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let cut = MessageHeader::ref_from_prefix(self.rest).map_err(|_| Malformed::Short).and_then(|(header, _)| {
            let length = header.length.get() as usize;
            if length < MESSAGE_HEADER_BYTES {
                Err(Malformed::Length)
            } else {
                self.rest.split_at_checked(length).ok_or(Malformed::Length)
            }
        });
        match cut {
            Ok((bytes, rest)) => {
                self.rest = rest;
                Some(Message::decode(bytes, self.sender).map(|message| (message, bytes)))
            }
            Err(malformed) => {
                self.rest = &[];
                Some(Err(malformed))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::{ClientId, ReplicaId};
    use proptest::prelude::*;

    const REPLICA: Principal = Principal::Replica(ReplicaId(1));
    const CLIENT: Principal = Principal::Client(ClientId(0));

    #[test]
    fn kinds_are_their_bytes() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_byte(kind as u8), Some(kind));
        }
        assert_eq!(Kind::from_byte(0), None);
        assert_eq!(Kind::from_byte(16), None);
    }

    /// `protocol.md RJ-3`
    #[test]
    fn a_role_cannot_send_the_others_kinds() {
        let mut bytes = Vec::new();
        append(&mut bytes, Kind::ReportQuery, &[ReportQuery { nonce: 5.into() }.as_bytes()]);
        assert!(Message::decode(&bytes, CLIENT).is_ok());
        assert_eq!(Message::decode(&bytes, REPLICA).unwrap_err(), Malformed::Role);
    }

    proptest! {
        #[test]
        fn foreign_bodies_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), kind in 0u8..20, exact: bool) {
            let mut body = bytes;
            if body.len() >= MESSAGE_HEADER_BYTES {
                body[0] = kind;
                body[1..4].fill(0);
                if exact {
                    let length = body.len() as u32;
                    body[4..8].copy_from_slice(&length.to_le_bytes());
                }
            }
            for sender in [REPLICA, CLIENT] {
                let count = Messages::new(&body, sender).count();
                prop_assert!(count <= body.len() / MESSAGE_HEADER_BYTES + 1);
            }
        }
    }
}
