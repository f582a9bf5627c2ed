//! What stands in a packet's body: messages, one after the other, each with a header that says its kind and length.
//!
//! ```text
//!  0      1        4          8
//!  +------+--------+----------+-----------------
//!  | kind | zero   | length   |  the kind's layout
//!  +------+--------+----------+-----------------
//! ```

use core::mem::offset_of;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The size of [`MessageHeader`].
pub const MESSAGE_HEADER_BYTES: usize = size_of::<MessageHeader>();

/// The header of each message.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct MessageHeader {
    pub(super) kind: u8,
    pub(super) reserved: [u8; 3],
    /// Of the whole message, this header included.
    pub(super) length: U32,
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
    /// [`super::request::Request`]
    Request = 1,
    /// [`super::agreement::PrePrepare`]
    PrePrepare = 2,
    /// [`super::agreement::Vote`], first round
    Prepare = 3,
    /// [`super::agreement::Vote`], second round
    Commit = 4,
    /// [`super::agreement::CheckpointVote`]
    Checkpoint = 5,
    /// [`super::reply::Reply`]
    Reply = 6,
    /// [`super::reply::Refusal`]
    Refusal = 7,
    /// [`super::retransmission::Status`]
    Status = 8,
    /// [`super::retransmission::Fetch`]
    Fetch = 9,
    /// [`super::report::ReportQuery`]
    ReportQuery = 10,
    /// [`super::report::ReportReply`]
    ReportReply = 11,
    /// [`super::subscription::Follow`]
    Follow = 12,
    /// [`super::subscription::Runs`]
    Runs = 13,
    /// [`super::subscription::ChainQuery`]
    ChainQuery = 14,
    /// [`super::subscription::ChainAnswer`]
    ChainAnswer = 15,
    /// [`super::view_change::Part`]
    Part = 16,
    /// [`super::agreement::CommitClaim`]
    CommitClaim = 17,
    /// [`super::retransmission::FetchBatch`]
    FetchBatch = 18,
    /// [`super::agreement::Batch`]
    Batch = 19,
    /// [`super::state::StateQuery`]
    StateQuery = 20,
    /// [`super::state::StateNodes`]
    StateNodes = 21,
    /// [`super::state::StatePages`]
    StatePages = 22,
    /// [`super::query::Query`]
    Query = 23,
    /// [`super::query::QueryAnswer`]
    QueryAnswer = 24,
    /// [`super::recovery::RecoveryQuery`]
    RecoveryQuery = 25,
    /// [`super::recovery::RecoveryAnswer`]
    RecoveryAnswer = 26,
    /// [`super::forward::Forward`]
    Forward = 27,
    /// [`super::parts::RequestPart`]
    RequestPart = 28,
    /// [`super::parts::ReplyPart`]
    ReplyPart = 29,
    /// [`super::dispute::Dispute`]
    Dispute = 30,
    /// [`super::keys::RotateKeys`]
    RotateKeys = 31,
    /// [`super::keys::KeyReport`]
    KeyReport = 32,
    /// [`super::report::RejectsQuery`]
    RejectsQuery = 33,
    /// [`super::report::RejectsReport`]
    RejectsReport = 34,
    /// [`super::probe::Probe`]
    Probe = 35,
    /// [`super::probe::ProbeHeard`]
    ProbeHeard = 36,
    /// [`super::parts::FetchParts`]
    FetchParts = 37,
    /// [`super::parts::RunPart`]
    RunPart = 38,
    /// [`super::dispute::Examine`]
    Examine = 40,
    /// [`super::dispute::Testimony`]
    Testimony = 41,
}

impl Kind {
    pub(super) const ALL: &[Self] = &[
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
        Self::Part,
        Self::CommitClaim,
        Self::FetchBatch,
        Self::Batch,
        Self::StateQuery,
        Self::StateNodes,
        Self::StatePages,
        Self::Query,
        Self::QueryAnswer,
        Self::RecoveryQuery,
        Self::RecoveryAnswer,
        Self::Forward,
        Self::RequestPart,
        Self::ReplyPart,
        Self::Dispute,
        Self::RotateKeys,
        Self::KeyReport,
        Self::RejectsQuery,
        Self::RejectsReport,
        Self::Probe,
        Self::ProbeHeard,
        Self::FetchParts,
        Self::RunPart,
        Self::Examine,
        Self::Testimony,
    ];

    /// The kind of each byte.
    const OF_BYTE: [Option<Self>; 256] = {
        let mut table = [None; 256];
        let mut index = 0;
        while index < Self::ALL.len() {
            table[Self::ALL[index] as usize] = Some(Self::ALL[index]);
            index += 1;
        }
        table
    };

    /// The kind of a byte, if there is one.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::OF_BYTE[usize::from(byte)]
    }

    /// Whether clients may send it, or else replicas.
    pub(super) const fn may_be_sent(self, by_client: bool) -> bool {
        match self {
            Self::Probe | Self::ProbeHeard => true,
            Self::Request
            | Self::RequestPart
            | Self::ReportQuery
            | Self::Follow
            | Self::ChainQuery
            | Self::Query
            | Self::RotateKeys
            | Self::RejectsQuery => by_client,
            _ => !by_client,
        }
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

/// Appends one message whose layout is `write`'s to append, for one that should not be put together elsewhere first.
pub(super) fn append_with(out: &mut Vec<u8>, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    append(out, kind, &[]);
    write(out);
    let length = U32::new((out.len() - start) as u32);
    out[start + offset_of!(MessageHeader, length)..start + MESSAGE_HEADER_BYTES].copy_from_slice(length.as_bytes());
}

/// The kinds of the messages of a body, by their headers alone.
pub fn kinds(body: &[u8]) -> impl Iterator<Item = Kind> + use<'_> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let (header, _) = MessageHeader::ref_from_prefix(rest).ok()?;
        rest = rest.get((header.length.get() as usize).max(MESSAGE_HEADER_BYTES)..).unwrap_or(&[]);
        Some(header.kind)
    })
    .filter_map(Kind::from_byte)
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
