//! What the verifier and the sealer ask of session keys.

use logothete_crypto::{Digest, KeyRing, TAG_ENTRY_BYTES, TagError};

/// The session keys of one process, as far as packets are concerned. In every process of a cluster they are a [`KeyRing`]; the simulator has others beside it,
/// which cost less.
pub trait PacketKeys {
    /// See [`KeyRing::epoch`].
    fn epoch(&self) -> u64;

    /// See [`KeyRing::established`].
    fn established(&self, peer: u16) -> Option<u64>;

    /// See [`KeyRing::is_over`].
    fn is_over(&self, peer: u16, epoch: u64) -> bool;

    /// See [`KeyRing::names_held_key`].
    ///
    /// # Errors
    /// [`TagError::NoSession`] or [`TagError::StaleKey`].
    fn names_held_key(&self, from: u16, epoch: u64, entry: &[u8; TAG_ENTRY_BYTES]) -> Result<(), TagError>;

    /// See [`KeyRing::verify`].
    ///
    /// # Errors
    /// Why the tag proves nothing.
    fn verify(
        &self,
        from: u16,
        epoch: u64,
        counter: u64,
        digest: &Digest,
        entry: &[u8; TAG_ENTRY_BYTES],
    ) -> Result<(), TagError>;

    /// See [`KeyRing::seal`].
    fn seal(&mut self, to: &[u16], digest: &Digest, counter: u64, out: &mut [u8]);
}

impl PacketKeys for KeyRing {
    fn epoch(&self) -> u64 {
        self.epoch()
    }

    fn established(&self, peer: u16) -> Option<u64> {
        self.established(peer)
    }

    fn is_over(&self, peer: u16, epoch: u64) -> bool {
        self.is_over(peer, epoch)
    }

    fn names_held_key(&self, from: u16, epoch: u64, entry: &[u8; TAG_ENTRY_BYTES]) -> Result<(), TagError> {
        self.names_held_key(from, epoch, entry)
    }

    fn verify(
        &self,
        from: u16,
        epoch: u64,
        counter: u64,
        digest: &Digest,
        entry: &[u8; TAG_ENTRY_BYTES],
    ) -> Result<(), TagError> {
        self.verify(from, epoch, counter, digest, entry)
    }

    fn seal(&mut self, to: &[u16], digest: &Digest, counter: u64, out: &mut [u8]) {
        self.seal(to, digest, counter, out);
    }
}
