//! Queries: operations that change nothing, answered by each replica from what it has committed (`protocol.md RD-1`).
//!
//! Unlike requests they share packets: nobody asks for them again by their digest.

use super::framing::{self, Kind, MESSAGE_HEADER_BYTES, Malformed};
use super::reply::Answer;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct QueryLayout {
    nonce: U64,
    session: U64,
}

/// The bytes of a query message before its operation: no more than a request with one operation has.
pub const QUERY_OVERHEAD_BYTES: usize = MESSAGE_HEADER_BYTES + size_of::<QueryLayout>();

/// Query(nonce, session, operation).
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// By which the client knows its answers.
    pub nonce: u64,
    /// Whose operation it is, as [`super::operation::Operation::session`] is of one that is ordered.
    pub session: u64,
    /// What is asked.
    pub operation: &'a [u8],
}

impl<'a> Query<'a> {
    pub(super) fn decode(layout: &'a [u8]) -> Result<Self, Malformed> {
        let (fields, operation) = QueryLayout::ref_from_prefix(layout).map_err(|_| Malformed::Short)?;
        Ok(Self { nonce: fields.nonce.get(), session: fields.session.get(), operation })
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        let fields = QueryLayout { nonce: self.nonce.into(), session: self.session.into() };
        framing::append(out, Kind::Query, &[fields.as_bytes(), self.operation]);
    }
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct QueryAnswerLayout {
    nonce: U64,
    form: u8,
    reserved: [u8; 7],
}

/// Behind the two forms of an [`Answer`].
const FORM_REFUSED: u8 = 3;
const FORM_DECLINED: u8 = 4;

/// The bytes of an answer before the result.
pub const QUERY_ANSWER_OVERHEAD_BYTES: usize = MESSAGE_HEADER_BYTES + size_of::<QueryAnswerLayout>();

/// What became of a query at one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryOutcome<'a> {
    /// The result, or its digest.
    Answered(Answer<'a>),
    /// The service does not answer this operation without its being ordered, now or ever.
    Refused,
    /// The replica has no room for it: the client need not wait for this answer.
    Declined,
}

/// QueryAnswer(nonce, result or its digest). It names no sequence number: replicas that are at different ones must match where the result
/// is the same.
#[derive(Clone, Copy, Debug)]
pub struct QueryAnswer<'a> {
    /// The query's.
    pub nonce: u64,
    /// The answer.
    pub outcome: QueryOutcome<'a>,
}

impl<'a> QueryAnswer<'a> {
    pub(super) fn decode(layout: &'a [u8]) -> Result<Self, Malformed> {
        let (fields, bytes) = QueryAnswerLayout::ref_from_prefix(layout).map_err(|_| Malformed::Short)?;
        if fields.reserved != [0; 7] {
            return Err(Malformed::Field);
        }
        let outcome = match fields.form {
            FORM_REFUSED | FORM_DECLINED if !bytes.is_empty() => return Err(Malformed::Length),
            FORM_REFUSED => QueryOutcome::Refused,
            FORM_DECLINED => QueryOutcome::Declined,
            form => QueryOutcome::Answered(Answer::decode(form, bytes)?),
        };
        Ok(Self { nonce: fields.nonce.get(), outcome })
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        let (form, bytes) = match &self.outcome {
            QueryOutcome::Answered(answer) => answer.encode(),
            QueryOutcome::Refused => (FORM_REFUSED, &[][..]),
            QueryOutcome::Declined => (FORM_DECLINED, &[][..]),
        };
        let fields = QueryAnswerLayout { nonce: self.nonce.into(), form, reserved: [0; 7] };
        framing::append(out, Kind::QueryAnswer, &[fields.as_bytes(), bytes]);
    }
}

const _: () = {
    use super::operation::OPERATION_HEADER_BYTES;
    use super::request::REQUEST_OVERHEAD_BYTES;
    // Whatever fits a request fits a query, and whatever a reply can hold of one operation's result fits an answer.
    assert!(QUERY_OVERHEAD_BYTES <= REQUEST_OVERHEAD_BYTES + OPERATION_HEADER_BYTES);
    assert!(QUERY_ANSWER_OVERHEAD_BYTES <= super::reply::REPLY_OVERHEAD_BYTES);
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::{ClientId, Principal, ReplicaId};
    use crate::wire::Message;
    use logothete_crypto::digest;

    const REPLICA: Principal = Principal::Replica(ReplicaId(1));

    fn answer(outcome: QueryOutcome<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        QueryAnswer { nonce: 6, outcome }.append(&mut bytes);
        bytes
    }

    #[test]
    fn queries_and_answers_read_back() {
        let mut bytes = Vec::new();
        Query { nonce: 5, session: 8, operation: b"get" }.append(&mut bytes);
        let Ok(Message::Query(query)) = Message::decode(&bytes, Principal::Client(ClientId(0))) else { panic!() };
        assert_eq!((query.nonce, query.session, query.operation), (5, 8, &b"get"[..]));
        let result_digest = digest(b"value");
        for outcome in [
            QueryOutcome::Answered(Answer::Full(b"value")),
            QueryOutcome::Answered(Answer::Digest(&result_digest)),
            QueryOutcome::Refused,
            QueryOutcome::Declined,
        ] {
            let bytes = answer(outcome);
            let Ok(Message::QueryAnswer(read)) = Message::decode(&bytes, REPLICA) else { panic!("{outcome:?}") };
            assert_eq!((read.nonce, read.outcome), (6, outcome));
        }
    }

    /// `protocol.md RJ-3`
    #[test]
    fn an_answer_has_one_encoding() {
        let good = answer(QueryOutcome::Refused);
        for (at, value) in [(16, 0), (16, 5), (17, 1), (23, 1)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(Message::decode(&bad, REPLICA).unwrap_err(), Malformed::Field, "byte {at} is {value}");
        }
        let mut longer = [&good[..], b"x"].concat();
        longer[4] += 1;
        assert_eq!(Message::decode(&longer, REPLICA).unwrap_err(), Malformed::Length);
    }
}
