//! The checkpoints of one replica's state: taken in no time, hashed a few pages a duty cycle, kept while anybody may need them
//! (`protocol.md CK-1`, `CK-6`).

use crate::numbers::SequenceNumber;
use crate::state::Snapshot;
use crate::state::transfer::CheckpointName;
use logothete_crypto::Digest;
use std::collections::VecDeque;

/// Pages hashed in one duty cycle: a quarter of a mebibyte, some 100 µs.
pub(super) const PAGES_HASHED_MAX: usize = 64;

/// A checkpoint that a peer asks for is kept so long after its last question.
const KEPT_FOR_PEER_NS: u64 = 2_000_000_000;

#[derive(Debug)]
struct Held {
    sequence: SequenceNumber,
    snapshot: Snapshot,
    digest: Option<Digest>,
    /// What `2f+1` replicas agreed on in a former life: the digest has to come to it.
    agreed: Option<Digest>,
    /// Some peer fetches it, and asked last at this time.
    asked_ns: Option<u64>,
}

impl Held {
    /// Nobody asks for the digest of the state from the beginning.
    fn wants_digest(&self, stable: SequenceNumber) -> bool {
        self.digest.is_none() && (self.sequence > stable || self.agreed.is_some())
    }
}

/// The checkpoints.
#[derive(Debug)]
pub(super) struct Checkpoints {
    /// Oldest first.
    held: VecDeque<Held>,
    stable: SequenceNumber,
}

impl Checkpoints {
    /// With the state that the replica starts from, which is the checkpoint of `sequence`.
    pub(super) fn new(sequence: SequenceNumber, snapshot: Snapshot) -> Self {
        let first = Held { sequence, snapshot, digest: None, agreed: None, asked_ns: None };
        Self { held: VecDeque::from([first]), stable: sequence }
    }

    /// Keeps a state that the replica has reached.
    pub(super) fn take(&mut self, sequence: SequenceNumber, snapshot: Snapshot) {
        assert!(self.held.back().is_none_or(|last| last.sequence < sequence), "checkpoints are taken in order");
        self.held.push_back(Held { sequence, snapshot, digest: None, agreed: None, asked_ns: None });
    }

    /// Hashes a little; returns a checkpoint whose digest is known now.
    ///
    /// # Panics
    /// If it is not what was agreed on in a former life.
    pub(super) fn hash(&mut self) -> Option<(SequenceNumber, Digest)> {
        let stable = self.stable;
        let next = self.held.iter_mut().find(|held| held.wants_digest(stable))?;
        next.digest = next.snapshot.digest_step(PAGES_HASHED_MAX);
        let digest = next.digest?;
        assert_eq!(next.agreed.unwrap_or(digest), digest, "executing the journal again leads to the same state");
        Some((next.sequence, digest))
    }

    /// A former life agreed on the digest of a checkpoint. It is computed all the same, though not at once: of all that a journal names only the last are
    /// still held at its end.
    pub(super) fn note_agreed(&mut self, sequence: SequenceNumber, digest: Digest) {
        if let Some(held) = self.held.iter_mut().find(|held| held.sequence == sequence) {
            held.agreed = Some(digest);
        }
    }

    /// Whether there is something to hash.
    pub(super) fn has_work(&self) -> bool {
        self.held.iter().any(|held| held.wants_digest(self.stable))
    }

    /// Goes back to a checkpoint; what was taken after it is forgotten.
    ///
    /// # Panics
    /// If it is not held: the replica goes back to what it asked to keep.
    pub(super) fn go_back(&mut self, sequence: SequenceNumber) -> &Snapshot {
        self.held.retain(|held| held.sequence <= sequence);
        let last = self.held.back().expect("the stable checkpoint is always held");
        assert_eq!(last.sequence, sequence, "the replica goes back to a checkpoint that it has");
        &last.snapshot
    }

    /// Takes a state that came from others in place of all that is held.
    pub(super) fn replace(&mut self, sequence: SequenceNumber, digest: Digest, snapshot: Snapshot) {
        self.held.clear();
        self.held.push_back(Held { sequence, snapshot, digest: Some(digest), agreed: None, asked_ns: None });
        self.stable = sequence;
    }

    /// Lets go of what nobody needs: what is below the stable checkpoint and no peer asks for.
    pub(super) fn release(&mut self, stable: SequenceNumber, now_ns: u64) {
        self.stable = stable;
        if self.held.len() == 1 {
            return;
        }
        // Where the log is ahead of the state, the newest state below is what there is.
        let below = self.held.iter().map(|held| held.sequence).filter(|held| *held <= stable).max();
        let kept_from = below.unwrap_or(stable);
        let wanted =
            |asked_ns: Option<u64>| asked_ns.is_some_and(|asked| now_ns.saturating_sub(asked) < KEPT_FOR_PEER_NS);
        self.held.retain(|held| held.sequence >= kept_from || wanted(held.asked_ns));
    }

    /// The newest checkpoint whose digest is known, else the oldest held: what a transfer starts from.
    pub(super) fn base(&self) -> Snapshot {
        let known = self.held.iter().rev().find(|held| held.digest.is_some());
        known.or(self.held.front()).expect("the stable checkpoint is always held").snapshot.clone()
    }

    /// The stable checkpoint; none while it is the state from the beginning.
    pub(super) fn stable(&self) -> Option<(SequenceNumber, Snapshot)> {
        let held = self.held.iter().find(|held| held.sequence == self.stable && held.digest.is_some())?;
        Some((held.sequence, held.snapshot.clone()))
    }

    /// The name of the stable checkpoint; none while it is the state from the beginning, which nobody needs to ask for.
    pub(super) fn stable_name(&self) -> Option<CheckpointName> {
        let held = self.held.iter().find(|held| held.sequence == self.stable)?;
        Some(CheckpointName { sequence: held.sequence, digest: held.digest? })
    }

    /// A checkpoint that a peer asks for.
    pub(super) fn ask(&mut self, name: CheckpointName, now_ns: u64) -> Option<&Snapshot> {
        let named = |held: &&mut Held| held.sequence == name.sequence && held.digest == Some(name.digest);
        let held = self.held.iter_mut().find(named)?;
        held.asked_ns = Some(now_ns);
        Some(&held.snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;

    fn snapshot() -> Snapshot {
        State::new(4).snapshot()
    }

    /// Where the log is ahead of the state, what is fetched is fetched on the base of the newest state that is here.
    #[test]
    fn the_newest_state_below_a_stable_checkpoint_that_is_not_here_is_kept() {
        let mut checkpoints = Checkpoints::new(SequenceNumber(0), snapshot());
        checkpoints.take(SequenceNumber(8), snapshot());
        checkpoints.release(SequenceNumber(16), 0);
        let held: Vec<u64> = checkpoints.held.iter().map(|held| held.sequence.0).collect();
        assert_eq!(held, [8]);
        assert!(checkpoints.stable().is_none(), "it is not the stable one");
        checkpoints.take(SequenceNumber(16), snapshot());
        checkpoints.release(SequenceNumber(16), 0);
        let held: Vec<u64> = checkpoints.held.iter().map(|held| held.sequence.0).collect();
        assert_eq!(held, [16]);
    }

    /// `protocol.md RC-1`: what a journal says to be stable can be served, though nobody hashed it in this life.
    #[test]
    fn a_digest_that_a_former_life_agreed_on_names_the_checkpoint() {
        let mut checkpoints = Checkpoints::new(SequenceNumber(0), snapshot());
        checkpoints.take(SequenceNumber(8), snapshot());
        checkpoints.release(SequenceNumber(8), 0);
        assert_eq!(checkpoints.stable_name(), None);
        let digest = snapshot().digest();
        checkpoints.note_agreed(SequenceNumber(8), digest);
        assert_eq!(checkpoints.stable_name(), None, "hashed bit by bit");
        while checkpoints.has_work() {
            checkpoints.hash();
        }
        let name = CheckpointName { sequence: SequenceNumber(8), digest };
        assert_eq!(checkpoints.stable_name(), Some(name));
        assert!(checkpoints.ask(name, 0).is_some());
    }
}
