//! The messages that a body may hold, decoded: one variant a kind. Their layouts are in the files of their families.

use super::agreement::{Batch, CheckpointVote, CommitClaim, PrePrepare, Vote};
use super::dispute::{Dispute, Examine, Testimony};
use super::forward::Forward;
use super::framing::{Kind, MESSAGE_HEADER_BYTES, Malformed, MessageHeader, fixed};
use super::keys::{KeyReport, RotateKeys};
use super::parts::{FetchParts, ReplyPart, RequestPart, RunPart};
use super::probe::{Probe, ProbeHeard};
use super::query::{Query, QueryAnswer};
use super::recovery::{RecoveryAnswer, RecoveryQuery};
use super::reply::{Refusal, Reply};
use super::report::{RejectsQuery, RejectsReport, ReportQuery, ReportReply};
use super::request::Request;
use super::retransmission::{Fetch, FetchBatch, Status};
use super::state::{StateNodes, StatePages, StateQuery};
use super::subscription::{ChainAnswer, ChainQuery, Follow, Runs};
use super::view_change::Part;
use crate::numbers::Principal;
use zerocopy::FromBytes;

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
    /// A piece of a signed statement.
    Part(Part<'a>),
    /// What committed at the sender.
    CommitClaim(&'a CommitClaim),
    /// A batch's content that a replica lacks.
    FetchBatch(&'a FetchBatch),
    /// A batch's content.
    Batch(Batch<'a>),
    /// What a replica lacks of a checkpoint's state.
    StateQuery(StateQuery<'a>),
    /// Nodes of its digest tree.
    StateNodes(StateNodes<'a>),
    /// Pieces of its pages.
    StatePages(StatePages<'a>),
    /// A replica does not remember what it promised.
    RecoveryQuery(&'a RecoveryQuery),
    /// How far another is.
    RecoveryAnswer(&'a RecoveryAnswer),
    /// The operator wants new session keys.
    RotateKeys(&'a RotateKeys),
    /// Which generation of its key a replica uses.
    KeyReport(&'a KeyReport),
    /// The operator asks whom a replica rejects for what.
    RejectsQuery(&'a RejectsQuery),
    /// Whom it rejects for what.
    RejectsReport(RejectsReport<'a>),
    /// Tries out the multicast path.
    Probe(&'a Probe),
    /// The probe arrived.
    ProbeHeard(&'a ProbeHeard),
    /// A client's tags are not good for all.
    Dispute(&'a Dispute),
    /// A client's packet is to be looked at as another replica had it.
    Examine(&'a Examine),
    /// A replica had such a packet from its client.
    Testimony(&'a Testimony),
    /// An operation that changes nothing, to be answered without being ordered.
    Query(Query<'a>),
    /// Its result.
    QueryAnswer(QueryAnswer<'a>),
    /// A request that a backup verified and passes on.
    Forward(&'a Forward),
    /// A piece of a request.
    RequestPart(RequestPart<'a>),
    /// A piece of a result.
    ReplyPart(ReplyPart<'a>),
    /// Parts of a request's body that a replica lacks.
    FetchParts(&'a FetchParts),
    /// A piece of a log entry's run.
    RunPart(RunPart<'a>),
}

impl<'a> Message<'a> {
    /// Decodes one whole message (header included) of a sender.
    pub fn decode(bytes: &'a [u8], sender: Principal) -> Result<Self, Malformed> {
        let (header, layout) = MessageHeader::ref_from_prefix(bytes).map_err(|_| Malformed::Short)?;
        let kind = Kind::from_byte(header.kind).ok_or(Malformed::Kind)?;
        if !kind.may_be_sent(matches!(sender, Principal::Client(_))) {
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
            Kind::Status => Self::Status(Status::decode(layout)?),
            Kind::Fetch => Self::Fetch(fixed(layout)?),
            Kind::ReportQuery => Self::ReportQuery(fixed(layout)?),
            Kind::ReportReply => Self::ReportReply(ReportReply::decode(layout)?),
            Kind::Follow => Self::Follow(Follow::decode(layout)?),
            Kind::Runs => Self::Runs(Runs::decode(layout)?),
            Kind::ChainQuery => Self::ChainQuery(ChainQuery::decode(layout)?),
            Kind::ChainAnswer => Self::ChainAnswer(ChainAnswer::decode(layout)?),
            Kind::Part => Self::Part(Part::decode(layout)?),
            Kind::CommitClaim => Self::CommitClaim(fixed(layout)?),
            Kind::FetchBatch => Self::FetchBatch(fixed(layout)?),
            Kind::Batch => Self::Batch(Batch::decode(layout)?),
            Kind::StateQuery => Self::StateQuery(StateQuery::decode(layout)?),
            Kind::StateNodes => Self::StateNodes(StateNodes::decode(layout)?),
            Kind::StatePages => Self::StatePages(StatePages::decode(layout)?),
            Kind::RecoveryQuery => Self::RecoveryQuery(fixed(layout)?),
            Kind::RecoveryAnswer => Self::RecoveryAnswer(fixed(layout)?),
            Kind::RotateKeys => Self::RotateKeys(fixed(layout)?),
            Kind::KeyReport => Self::KeyReport(fixed(layout)?),
            Kind::RejectsQuery => Self::RejectsQuery(fixed(layout)?),
            Kind::RejectsReport => Self::RejectsReport(RejectsReport::decode(layout)?),
            Kind::Probe => Self::Probe(Probe::decode(layout)?),
            Kind::ProbeHeard => Self::ProbeHeard(ProbeHeard::decode(layout)?),
            Kind::Dispute => Self::Dispute(Dispute::decode(layout)?),
            Kind::Examine => Self::Examine(fixed(layout)?),
            Kind::Testimony => Self::Testimony(fixed(layout)?),
            Kind::Query => Self::Query(Query::decode(layout)?),
            Kind::QueryAnswer => Self::QueryAnswer(QueryAnswer::decode(layout)?),
            Kind::Forward => Self::Forward(Forward::decode(layout)?),
            Kind::RequestPart => Self::RequestPart(RequestPart::decode(layout)?),
            Kind::ReplyPart => Self::ReplyPart(ReplyPart::decode(layout)?),
            Kind::FetchParts => Self::FetchParts(FetchParts::decode(layout)?),
            Kind::RunPart => Self::RunPart(RunPart::decode(layout)?),
        })
    }
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
    use super::super::framing::append;
    use super::*;
    use crate::numbers::{ClientId, ReplicaId};
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    const REPLICA: Principal = Principal::Replica(ReplicaId(1));
    const CLIENT: Principal = Principal::Client(ClientId(0));

    #[test]
    fn kinds_are_their_bytes() {
        for &kind in Kind::ALL {
            assert_eq!(Kind::from_byte(kind as u8), Some(kind));
        }
        assert_eq!(Kind::from_byte(0), None);
        assert_eq!(Kind::from_byte(255), None);
        let known = (0..=u8::MAX).filter(|byte| Kind::from_byte(*byte).is_some()).count();
        assert_eq!(known, Kind::ALL.len());
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
        fn foreign_bodies_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), kind in 0u8..44, exact: bool) {
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
