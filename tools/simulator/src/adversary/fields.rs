//! Where the numbers and digests of messages stand (`engine/docs/wire.md` draws them), so that one of them can be changed and the rest stay as it is.

use logothete_crypto::Digest;
use logothete_engine::limits::FAN_OUT;
use logothete_engine::wire::Kind;

/// What a field is of: values of one sort are put in each other's places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    View,
    Sequence,
    /// A time of a batch, an epoch, an incarnation: a number that is never counted up by one.
    Time,
    /// A request's number, a position, a nonce.
    Number,
    Digest,
    /// A client's number, of two bytes.
    Client,
    /// A number of one byte.
    Byte,
}

impl Sort {
    pub fn bytes(self) -> usize {
        match self {
            Self::View | Self::Sequence | Self::Time | Self::Number => 8,
            Self::Digest => 32,
            Self::Client => 2,
            Self::Byte => 1,
        }
    }
}

/// A field: where in the message, header included, and of what sort.
pub type Field = (usize, Sort);

/// The batch entries of a pre-prepare and of a batch: where each begins, and how long it is.
const ENTRY_BYTES: usize = 56;
/// A node of a digest tree.
const NODE_BYTES: usize = 16 + FAN_OUT * 32;
/// Entries, nodes and the like that are looked at.
const REPEATED_MAX: usize = 4;

/// All fields of a message whose change leaves it a message of its kind; of one that has a signature, none.
pub fn fields(message: &[u8]) -> Vec<Field> {
    use Sort::{Byte, Client, Digest, Number, Sequence, Time, View};
    let Some(kind) = message.first().and_then(|byte| Kind::from_byte(*byte)) else { return Vec::new() };
    let fixed: &[Field] = match kind {
        Kind::PrePrepare => &[(8, View), (16, Sequence), (24, Time)],
        Kind::Prepare | Kind::Commit => &[(8, View), (16, Sequence), (24, Digest)],
        Kind::Checkpoint | Kind::CommitClaim | Kind::FetchBatch | Kind::Fetch => &[(8, Sequence), (16, Digest)],
        Kind::FetchParts | Kind::Examine => &[(8, Sequence), (16, Digest), (48, Byte)],
        Kind::Batch => &[(8, Sequence), (16, Time)],
        Kind::Status => &[(8, View), (16, Sequence), (24, Sequence), (32, Sequence), (40, Byte), (46, Byte)],
        Kind::RecoveryQuery => &[(8, Time)],
        Kind::RecoveryAnswer => &[(8, Time), (16, Sequence), (24, Sequence), (32, View)],
        Kind::Forward => &[(8, Client), (16, Time), (24, Number), (32, Digest)],
        Kind::Reply => &[(8, View), (16, Sequence), (24, Time), (32, Number), (40, Digest), (72, Byte)],
        Kind::Refusal => &[(8, Time), (16, Number), (24, Number), (32, Byte)],
        Kind::StateQuery | Kind::StateNodes | Kind::StatePages => &[(8, Sequence), (16, Digest)],
        Kind::Testimony => &[(8, Digest), (40, Digest)],
        Kind::ReplyPart => &[(24, Number), (32, Digest)],
        Kind::QueryAnswer => &[(8, Number), (16, Byte)],
        Kind::Runs => &[(16, Number), (24, Number), (32, Digest)],
        Kind::ChainAnswer => &[(16, Number), (24, Digest)],
        Kind::Part => &[(9, Byte), (10, Byte), (16, View), (24, Digest)],
        _ => &[],
    };
    let entry: &[Field] = &[(0, Client), (8, Time), (16, Number), (24, Digest)];
    let node: &[Field] = &[(0, Number), (8, Byte), (16, Digest)];
    let (begin, size, repeated): (usize, usize, &[Field]) = match kind {
        Kind::PrePrepare => (40, ENTRY_BYTES, entry),
        Kind::Batch => (32, ENTRY_BYTES, entry),
        Kind::StateNodes => (48, NODE_BYTES, node),
        _ => (message.len(), 1, &[]),
    };
    let count = (message.len().saturating_sub(begin) / size).min(REPEATED_MAX);
    let repeated =
        (0..count).flat_map(|at| repeated.iter().map(move |(place, sort)| (begin + at * size + place, *sort)));
    let all = fixed.iter().copied().chain(repeated);
    all.filter(|(place, sort)| place + sort.bytes() <= message.len()).collect()
}

/// The value of a field; a number is its least eight bytes.
pub fn digest_at(message: &[u8], place: usize) -> Digest {
    Digest(message[place..place + 32].try_into().expect("32 bytes"))
}

pub fn number_at(message: &[u8], place: usize) -> u64 {
    u64::from_le_bytes(message[place..place + 8].try_into().expect("8 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_engine::numbers::{ClientId, Incarnation, Principal, ReplicaId, RequestNumber, SequenceNumber, View};
    use logothete_engine::wire::Message;
    use logothete_engine::wire::agreement::{Batch, BatchEntry, CheckpointVote, CommitClaim, Vote, append_pre_prepare};
    use logothete_engine::wire::forward::Forward;
    use logothete_engine::wire::parts::{ReplyPart, ResultOf};
    use logothete_engine::wire::recovery::RecoveryAnswer;
    use logothete_engine::wire::reply::{Answer, Mode, Reply};
    use logothete_engine::wire::request::RequestName;
    use logothete_engine::wire::state::{CheckpointName, NodeRecord, append_nodes};

    const DIGEST: Digest = Digest([7; 32]);

    fn samples() -> Vec<Vec<u8>> {
        let name = RequestName { client: ClientId(1), incarnation: Incarnation(5), number: RequestNumber(9) };
        let (view, sequence, entries) = (View(3), SequenceNumber(11), [BatchEntry::new(name, DIGEST); 2]);
        let checkpoint = CheckpointName { sequence, digest: DIGEST };
        let reply = Reply {
            view,
            sequence,
            incarnation: name.incarnation,
            number: name.number,
            request: DIGEST,
            mode: Mode::Committed,
            results: Answer::Full(b"results"),
        };
        let mut all = vec![Vec::new(); 11];
        append_pre_prepare(&mut all[0], view, sequence, 77, &entries);
        Vote::new(view, sequence, DIGEST).append_prepare(&mut all[1]);
        Vote::new(view, sequence, DIGEST).append_commit(&mut all[2]);
        CheckpointVote::new(sequence, DIGEST).append(&mut all[3]);
        CommitClaim::new(sequence, DIGEST).append(&mut all[4]);
        Batch { sequence, timestamp_ns: 77, entries: &entries }.append(&mut all[5]);
        Forward::new(name, DIGEST).append(&mut all[6]);
        RecoveryAnswer::new(77, sequence, sequence, view).append(&mut all[7]);
        append_nodes(&mut all[8], checkpoint, &[NodeRecord::new(1, 9, [DIGEST; FAN_OUT])]);
        reply.append(&mut all[9]);
        let of = ResultOf::Request(name.incarnation, name.number);
        ReplyPart { of, digest: DIGEST, total_bytes: 9, index: 0, bytes: b"a result!" }.append(&mut all[10]);
        all
    }

    #[test]
    fn fields_are_where_the_layouts_have_them() {
        let sender = Principal::Replica(ReplicaId(0));
        for message in samples() {
            let before = format!("{:?}", Message::decode(&message, sender).expect("a sample"));
            let found = fields(&message);
            assert!(found.len() >= 2, "{before}");
            for (place, sort) in found {
                let expected: &[u64] = match sort {
                    Sort::View => &[3],
                    Sort::Sequence => &[11],
                    Sort::Time => &[77, 5],
                    Sort::Number => &[9],
                    Sort::Digest | Sort::Client | Sort::Byte => &[],
                };
                assert!(expected.is_empty() || expected.contains(&number_at(&message, place)), "{before}: {place}");
                assert!(sort != Sort::Digest || digest_at(&message, place) == DIGEST, "{before}: {place}");
                assert!(sort != Sort::Client || message[place] == 1, "{before}: {place}");
                let mut changed = message.clone();
                changed[place] ^= 3;
                let after = Message::decode(&changed, sender).map(|message| format!("{message:?}"));
                assert!(after.is_ok_and(|after| after != before), "{before}: {place}");
            }
        }
    }
}
