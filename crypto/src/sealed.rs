//! Small secrets for one peer's eyes: AES-256-GCM under a key of the session.
//!
//! ```text
//! ┌─────────────┬────────────────────┬─────────────────────┬──────────────┐
//! │ key id  u32 │ nonce     12 bytes │ ciphertext          │ tag 16 bytes │
//! └─────────────┴────────────────────┴─────────────────────┴──────────────┘
//! ```
//!
//! The nonce is random, which is safe for at most 2^32 secrets under one key (NIST SP 800-38D,
//! section 8.3): keys and the like, not a stream of payloads. The associated data is not sent; both
//! ends must name the same, so that a sealed secret cannot be taken for one of another purpose.

use crate::keyring::KeyRing;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use zeroize::Zeroizing;

const ID_BYTES: usize = 4;
const NONCE_BYTES: usize = 12;
const GCM_TAG_BYTES: usize = 16;

/// By how many bytes a sealed secret is longer than the secret.
pub const SEAL_OVERHEAD_BYTES: usize = ID_BYTES + NONCE_BYTES + GCM_TAG_BYTES;

/// Why a secret could not be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SealError {
    /// No session is established with the peer. Announce, and try again.
    #[error("no session with principal {peer:#x}; exchange announcements first")]
    NoSession {
        /// The peer.
        peer: u16,
    },
    /// It was sealed under a key that is not held any more, or not yet. Ask the peer to seal it
    /// again.
    #[error("sealed by principal {peer:#x} under a key that is not current; ask for it again")]
    StaleKey {
        /// The peer.
        peer: u16,
    },
    /// It is shorter than an empty secret sealed.
    #[error("{bytes} bytes are too few for a sealed secret")]
    TooShort {
        /// The length found.
        bytes: usize,
    },
    /// It was changed, or is not what the associated data says.
    #[error(
        "what principal {peer:#x} is said to have sealed does not open; it was changed on the way or is for another purpose"
    )]
    Forged {
        /// The peer.
        peer: u16,
    },
}

/// Seals `secret` so that only `to` can open it.
///
/// # Errors
///
/// [`SealError::NoSession`] if no key is established with `to`.
///
/// # Panics
///
/// If the secret is longer than AES-GCM allows (64 GiB).
pub fn seal_secret(ring: &mut KeyRing, to: u16, associated: &[u8], secret: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut nonce = [0; NONCE_BYTES];
    ring.draw(&mut nonce);
    let key = &ring.keys_to(to).ok_or(SealError::NoSession { peer: to })?.send;
    let ciphertext = Aes256Gcm::new((&*key.secret).into())
        .encrypt(&Nonce::from(nonce), Payload { msg: secret, aad: associated })
        .expect("a secret within AES-GCM's limit of 64 GiB");
    let mut sealed = Vec::with_capacity(ID_BYTES + NONCE_BYTES + ciphertext.len());
    sealed.extend_from_slice(&key.id.to_le_bytes());
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&ciphertext);
    Ok(sealed)
}

/// Opens what `from` sealed for us. The secret is wiped when dropped.
///
/// # Errors
///
/// [`SealError`]; what came is of no use, whichever it is.
pub fn open_secret(
    ring: &KeyRing,
    from: u16,
    associated: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let too_short = SealError::TooShort { bytes: sealed.len() };
    let (id, rest) = sealed.split_first_chunk::<ID_BYTES>().ok_or(too_short)?;
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(too_short)?;
    if ciphertext.len() < GCM_TAG_BYTES {
        return Err(too_short);
    }
    let id = u32::from_le_bytes(*id);
    let mut verdict = SealError::StaleKey { peer: from };
    for keys in ring.keys_from(from).ok_or(SealError::NoSession { peer: from })? {
        if keys.receive.id != id {
            continue;
        }
        let cipher = Aes256Gcm::new((&*keys.receive.secret).into());
        match cipher.decrypt(&Nonce::from(*nonce), Payload { msg: ciphertext, aad: associated }) {
            Ok(secret) => return Ok(Zeroizing::new(secret)),
            Err(_) => verdict = SealError::Forged { peer: from },
        }
    }
    Err(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::tests::established_pair;
    use crate::mac::MacAlgorithm;

    /// NIST GCM specification (McGrew and Viega), test case 14: AES-256, one block of zeros.
    #[test]
    fn nist_gcm() {
        let sealed = Aes256Gcm::new(&[0; 32].into()).encrypt(&Nonce::from([0; 12]), [0; 16].as_slice()).unwrap();
        let expected = "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919";
        assert_eq!(sealed, crate::hex::bytes(expected));
    }

    #[test]
    fn a_secret_opens_for_its_receiver_and_purpose_only() {
        for secret in [&b""[..], b"x", &[9; 300]] {
            let (mut a, b) = established_pair(MacAlgorithm::Blake3);
            let sealed = seal_secret(&mut a, 1, b"purpose", secret).unwrap();
            assert_eq!(sealed.len(), secret.len() + SEAL_OVERHEAD_BYTES);
            assert_eq!(open_secret(&b, 0, b"purpose", &sealed).unwrap().as_slice(), secret);
            let forged = Err(SealError::Forged { peer: 0 });
            assert_eq!(open_secret(&b, 0, b"other", &sealed), forged);
            for byte in 0..sealed.len() {
                let mut changed = sealed.clone();
                changed[byte] ^= 1;
                let stale = Err(SealError::StaleKey { peer: 0 });
                assert_eq!(open_secret(&b, 0, b"purpose", &changed), if byte < 4 { stale } else { forged.clone() });
            }
            for length in 0..SEAL_OVERHEAD_BYTES {
                let short = open_secret(&b, 0, b"purpose", &sealed[..length]);
                assert_eq!(short, Err(SealError::TooShort { bytes: length }));
            }
            // Not even the sender can open it: the key is of one direction.
            assert_eq!(open_secret(&a, 1, b"purpose", &sealed), Err(SealError::StaleKey { peer: 1 }));
        }
    }

    #[test]
    fn the_same_secret_never_looks_the_same() {
        let (mut a, _) = established_pair(MacAlgorithm::Blake3);
        let sealed = seal_secret(&mut a, 1, b"", b"secret").unwrap();
        assert_ne!(sealed, seal_secret(&mut a, 1, b"", b"secret").unwrap());
        assert_eq!(seal_secret(&mut a, 77, b"", b"secret"), Err(SealError::NoSession { peer: 77 }));
        assert_eq!(open_secret(&a, 77, b"", &sealed), Err(SealError::NoSession { peer: 77 }));
    }
}
