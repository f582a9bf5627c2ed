//! Results longer than a packet, put together from the parts that replicas send (`protocol.md LR-5`).
//!
//! What one replica sends is kept apart from what the others send, so that a faulty one spoils nobody's but its own; and of each replica only a
//! few results are put together at a time, so that it can make this client keep no more than those.

use crate::limits::RESULT_PARTS_UNFINISHED_MAX;
use crate::numbers::ReplicaId;
use crate::wire::parts::{ReplyPart, ResultOf};
use logothete_crypto::{Digest, digest};
use std::collections::VecDeque;

#[derive(Debug)]
struct Assembly {
    of: ResultOf,
    digest: Digest,
    bytes: Vec<u8>,
    present: Vec<bool>,
    missing: usize,
}

/// What became of a part.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PartTaken {
    /// It is known, or of no use, or what it was of is not what it was said to be.
    Nothing,
    /// It was not here yet, and others are not either.
    Kept,
    /// With it the result is whole, and is what its digest names.
    Whole(Vec<u8>),
}

/// The results on their way to one client.
#[derive(Debug)]
pub(super) struct ResultParts {
    piece_bytes: usize,
    result_bytes_max: usize,
    /// By replica, oldest first.
    unfinished: Box<[VecDeque<Assembly>]>,
}

impl ResultParts {
    /// None yet. Results have at most `result_bytes_max` bytes, in pieces of `piece_bytes`.
    pub(super) fn new(replicas: usize, piece_bytes: usize, result_bytes_max: usize) -> Self {
        assert!(piece_bytes > 0);
        Self { piece_bytes, result_bytes_max, unfinished: (0..replicas).map(|_| VecDeque::new()).collect() }
    }

    /// Takes a part of something that is asked for.
    pub(super) fn take(&mut self, from: ReplicaId, part: &ReplyPart<'_>) -> PartTaken {
        let Some(unfinished) = self.unfinished.get_mut(usize::from(from.0)) else { return PartTaken::Nothing };
        let Some(start) = part.index.checked_mul(self.piece_bytes) else { return PartTaken::Nothing };
        let expected = part.total_bytes.saturating_sub(start).min(self.piece_bytes);
        if part.total_bytes > self.result_bytes_max || part.bytes.len() != expected {
            return PartTaken::Nothing;
        }
        let same =
            |held: &Assembly| (held.of, held.digest, held.bytes.len()) == (part.of, part.digest, part.total_bytes);
        let at = match unfinished.iter().position(same) {
            Some(at) => at,
            None => {
                // A replica gives one result for one thing; an older one that never became whole makes room.
                unfinished.retain(|held| held.of != part.of);
                if unfinished.len() == RESULT_PARTS_UNFINISHED_MAX {
                    unfinished.pop_front();
                }
                let pieces = part.total_bytes.div_ceil(self.piece_bytes);
                let (bytes, present) = (vec![0; part.total_bytes], vec![false; pieces]);
                unfinished.push_back(Assembly { of: part.of, digest: part.digest, bytes, present, missing: pieces });
                unfinished.len() - 1
            }
        };
        let held = &mut unfinished[at];
        if std::mem::replace(&mut held.present[part.index], true) {
            return PartTaken::Nothing;
        }
        held.bytes[start..start + expected].copy_from_slice(part.bytes);
        held.missing -= 1;
        if held.missing > 0 {
            return PartTaken::Kept;
        }
        match unfinished.remove(at) {
            Some(whole) if digest(&whole.bytes) == whole.digest => PartTaken::Whole(whole.bytes),
            _ => PartTaken::Nothing,
        }
    }

    /// Something is answered: what is on its way of it is of no use.
    pub(super) fn forget(&mut self, of: ResultOf) {
        for unfinished in self.unfinished.iter_mut().filter(|unfinished| !unfinished.is_empty()) {
            unfinished.retain(|held| held.of != of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::parts::cut_result;

    fn result(nonce: u64) -> (Vec<u8>, ResultOf, Digest) {
        let bytes: Vec<u8> = (0..2500).map(|at| (at as u64 + nonce) as u8).collect();
        let whole = digest(&bytes);
        (bytes, ResultOf::Query(nonce), whole)
    }

    /// `protocol.md LR-5`
    #[test]
    fn parts_make_the_result_and_others_parts_do_not_disturb() {
        let mut parts = ResultParts::new(4, 1000, 4000);
        let (bytes, of, whole) = result(1);
        let wrong = vec![9; 2500];
        for (index, (part, lie)) in
            cut_result(of, whole, &bytes, 1000, 0).zip(cut_result(of, whole, &wrong, 1000, 0)).enumerate()
        {
            assert!(!matches!(parts.take(ReplicaId(2), &lie), PartTaken::Whole(_)));
            let taken = parts.take(ReplicaId(1), &part);
            assert_eq!(taken, if index == 2 { PartTaken::Whole(bytes.clone()) } else { PartTaken::Kept });
            assert_eq!(index == 2, parts.unfinished[1].is_empty());
        }
        assert!(parts.unfinished.iter().all(VecDeque::is_empty));
    }

    /// `protocol.md LR-5`: a replica's unfinished results are few, and those that are too long, or cut otherwise, are none.
    #[test]
    fn what_one_replica_can_make_a_client_keep_is_bounded() {
        let mut parts = ResultParts::new(4, 1000, 4000);
        for nonce in 0..100 {
            let (bytes, of, whole) = result(nonce);
            let part = cut_result(of, whole, &bytes, 1000, 0).next().unwrap();
            for odd in [
                ReplyPart { total_bytes: 4001, ..part },
                ReplyPart { index: 3, ..part },
                ReplyPart { index: usize::MAX, ..part },
                ReplyPart { bytes: &bytes[..999], ..part },
            ] {
                assert_eq!(parts.take(ReplicaId(3), &odd), PartTaken::Nothing);
            }
            assert_eq!(parts.take(ReplicaId(3), &part), PartTaken::Kept);
            // Another digest for the same thing takes its place.
            assert_eq!(parts.take(ReplicaId(3), &ReplyPart { digest: Digest([1; 32]), ..part }), PartTaken::Kept);
            assert_eq!(parts.take(ReplicaId(9), &part), PartTaken::Nothing, "there is no such replica");
        }
        assert_eq!(parts.unfinished[3].len(), RESULT_PARTS_UNFINISHED_MAX);
        // The longest that a service may give is none too long.
        let longest = vec![7; 4000];
        let cut = cut_result(ResultOf::Query(7), digest(&longest), &longest, 1000, 0);
        assert_eq!(cut.map(|part| parts.take(ReplicaId(0), &part)).last(), Some(PartTaken::Whole(longest.clone())));
        parts.forget(ResultOf::Query(99));
        assert_eq!(parts.unfinished[3].len(), RESULT_PARTS_UNFINISHED_MAX - 1);
    }
}
