//! Whole results that replicas gave, kept until enough of them say by digest which one is right (`protocol.md CL-5`).

use crate::numbers::ReplicaId;
use logothete_crypto::{Digest, digest};

/// Whole results, at most one a replica; their memory is used again for the next request.
#[derive(Debug, Default)]
pub(super) struct FullResults {
    held: Vec<Held>,
    used: usize,
}

#[derive(Debug)]
struct Held {
    from: ReplicaId,
    digest: Digest,
    bytes: Vec<u8>,
}

impl FullResults {
    /// Forgets all, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.used = 0;
    }

    /// Keeps a result whose digest is this, in place of the one that the same replica gave before.
    pub(super) fn keep(&mut self, from: ReplicaId, digest: Digest, bytes: &[u8]) {
        let used = &mut self.held[..self.used];
        if used.iter().any(|held| held.digest == digest) {
            return;
        }
        let at = used.iter().position(|held| held.from == from).unwrap_or(self.used);
        if at == self.held.len() {
            self.held.push(Held { from, digest, bytes: Vec::new() });
        }
        self.used = self.used.max(at + 1);
        let held = &mut self.held[at];
        (held.from, held.digest) = (from, digest);
        held.bytes.clear();
        held.bytes.extend_from_slice(bytes);
    }

    /// The digest of a result; of one that is kept already it is known.
    pub(super) fn digest_of(&self, bytes: &[u8]) -> Digest {
        let same = self.held[..self.used].iter().find(|held| held.bytes == bytes);
        same.map_or_else(|| digest(bytes), |held| held.digest)
    }

    /// The result of a digest.
    pub(super) fn find(&self, digest: &Digest) -> Option<&[u8]> {
        self.held[..self.used].iter().find(|held| held.digest == *digest).map(|held| &held.bytes[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_has_one_place_and_equal_results_share_one() {
        let mut full = FullResults::default();
        let keep = |full: &mut FullResults, from, bytes: &[u8]| full.keep(ReplicaId(from), digest(bytes), bytes);
        keep(&mut full, 0, b"right");
        keep(&mut full, 1, b"right");
        assert_eq!(full.used, 1);
        for lie in 0..10u8 {
            keep(&mut full, 3, &[lie]);
        }
        assert_eq!(full.used, 2, "what one replica gives is bounded");
        assert_eq!(full.find(&digest(b"right")), Some(&b"right"[..]));
        for bytes in [&b"right"[..], &[9], &[8], b""] {
            assert_eq!(full.digest_of(bytes), digest(bytes));
        }
        assert_eq!((full.find(&digest(&[8])), full.find(&digest(&[9]))), (None, Some(&[9][..])));
        full.clear();
        assert_eq!(full.find(&digest(b"right")), None);
        keep(&mut full, 2, b"next");
        assert_eq!(full.find(&digest(b"next")), Some(&b"next"[..]));
    }
}
