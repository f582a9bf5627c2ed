//! Authentication tags: 16 bytes over a 32-byte packet digest under the key of one direction of one
//! pair.
//!
//! Keyed BLAKE3 is the default: it needs no nonce, and many receivers' tags are computed in SIMD
//! lanes (`lanes`). HMAC-SHA256 is for those whose rules name it; AES-256-GMAC for those whose
//! hardware favours it. GMAC is only as good as its nonces: the nonce is the packet counter, which
//! [`KeyRing::seal`](crate::KeyRing::seal) forces to increase strictly, and a key belongs to one
//! direction of one pair of process starts.

use crate::digest::Digest;
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit as _};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use std::fmt;
use std::str::FromStr;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Size of a tag in bytes. Longer outputs are truncated: a forger's chance is 2^-128 a try.
pub const TAG_BYTES: usize = 16;

/// How packets are authenticated. Must be the same at all principals; it is part of every key's
/// derivation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MacAlgorithm {
    /// Keyed BLAKE3, truncated; vectors in SIMD lanes.
    #[default]
    Blake3,
    /// HMAC-SHA256 (RFC 2104, FIPS 198-1), truncated.
    HmacSha256,
    /// AES-256-GMAC (NIST SP 800-38D), the packet counter as nonce.
    Aes256Gmac,
}

impl MacAlgorithm {
    /// All of them, the default first.
    pub const ALL: [MacAlgorithm; 3] = [MacAlgorithm::Blake3, MacAlgorithm::HmacSha256, MacAlgorithm::Aes256Gmac];

    /// The name used in configuration files.
    pub const fn name(self) -> &'static str {
        match self {
            MacAlgorithm::Blake3 => "blake3",
            MacAlgorithm::HmacSha256 => "hmac-sha256",
            MacAlgorithm::Aes256Gmac => "aes-256-gmac",
        }
    }
}

impl fmt::Display for MacAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no [`MacAlgorithm`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown MAC algorithm {name:?}; choose blake3, hmac-sha256 or aes-256-gmac")]
pub struct MacAlgorithmUnknown {
    /// The name that was given.
    pub name: String,
}

impl FromStr for MacAlgorithm {
    type Err = MacAlgorithmUnknown;

    fn from_str(name: &str) -> Result<MacAlgorithm, MacAlgorithmUnknown> {
        let found = MacAlgorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name);
        found.ok_or_else(|| MacAlgorithmUnknown { name: name.to_owned() })
    }
}

/// The key of one direction of one pair, prepared for its algorithm. Wiped when dropped.
pub(crate) enum TagKey {
    Blake3(Zeroizing<[u8; 32]>),
    HmacSha256(Box<Hmac<Sha256>>),
    Aes256Gmac(Box<Aes256Gcm>),
}

impl TagKey {
    pub(crate) fn new(algorithm: MacAlgorithm, key: &[u8; 32]) -> TagKey {
        match algorithm {
            MacAlgorithm::Blake3 => TagKey::Blake3(Zeroizing::new(*key)),
            MacAlgorithm::HmacSha256 => {
                TagKey::HmacSha256(Box::new(Hmac::new_from_slice(key).expect("HMAC takes a key of any length")))
            }
            MacAlgorithm::Aes256Gmac => TagKey::Aes256Gmac(Box::new(Aes256Gcm::new(key.into()))),
        }
    }

    /// The tag of a packet. `counter` enters only the GMAC nonce; elsewhere it is part of what
    /// `digest` covers.
    pub(crate) fn tag(&self, counter: u64, digest: &Digest) -> [u8; TAG_BYTES] {
        let mut tag = [0; TAG_BYTES];
        match self {
            TagKey::Blake3(key) => tag.copy_from_slice(&blake3::keyed_hash(key, &digest.0).as_bytes()[..TAG_BYTES]),
            TagKey::HmacSha256(state) => {
                let mut state = Hmac::clone(state);
                state.update(&digest.0);
                tag.copy_from_slice(&state.finalize().into_bytes()[..TAG_BYTES]);
            }
            TagKey::Aes256Gmac(cipher) => {
                let mut nonce = [0; 12];
                nonce[..8].copy_from_slice(&counter.to_le_bytes());
                let nothing: &mut [u8] = &mut [];
                let sealed = cipher.encrypt_inout_detached(&nonce.into(), &digest.0, nothing.into());
                tag.copy_from_slice(&sealed.expect("32 bytes are below the limits of GCM"));
            }
        }
        tag
    }

    /// Whether `tag` is the packet's, in time that does not depend on either.
    pub(crate) fn verify(&self, counter: u64, digest: &Digest, tag: &[u8]) -> bool {
        self.tag(counter, digest).ct_eq(tag).into()
    }

    /// The key itself, where lanes can use it.
    pub(crate) fn blake3_key(&self) -> Option<&[u8; 32]> {
        match self {
            TagKey::Blake3(key) => Some(key),
            TagKey::HmacSha256(_) | TagKey::Aes256Gmac(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    #[test]
    fn names_go_both_ways() {
        for algorithm in MacAlgorithm::ALL {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        }
        assert_eq!(MacAlgorithm::default(), MacAlgorithm::Blake3);
        let unknown = "BLAKE3".parse::<MacAlgorithm>().unwrap_err();
        assert!(unknown.to_string().contains("\"BLAKE3\""), "{unknown}");
    }

    /// RFC 4231, test cases 1 and 2.
    #[test]
    fn rfc_4231() {
        let case = |key: &[u8], data: &[u8]| {
            let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).unwrap();
            mac.update(data);
            mac.finalize().into_bytes().to_vec()
        };
        assert_eq!(
            case(&[0x0b; 20], b"Hi There"),
            hex::bytes("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")
        );
        assert_eq!(
            case(b"Jefe", b"what do ya want for nothing?"),
            hex::bytes("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
        );
    }

    /// NIST CAVP gcmEncryptExtIV256: no plaintext, 128 bits of associated data: GMAC.
    #[test]
    fn nist_gmac() {
        let key: [u8; 32] =
            hex::bytes("78dc4e0aaf52d935c3c01eea57428f00ca1fd475f5da86a49c8dd73d68c8e223").try_into().unwrap();
        let nonce: [u8; 12] = hex::bytes("d79cf22d504cc793c3fb6c8a").try_into().unwrap();
        let data = hex::bytes("b96baa8c1c75a671bfb2d08d06be5f36");
        let nothing: &mut [u8] = &mut [];
        let tag = Aes256Gcm::new(&key.into()).encrypt_inout_detached(&nonce.into(), &data, nothing.into()).unwrap();
        assert_eq!(tag.to_vec(), hex::bytes("3e5d486aa2e30b22e040b85723a06e76"));
    }

    #[test]
    fn tags_depend_on_key_digest_and_for_gmac_on_the_counter() {
        let packet = Digest([7; 32]);
        for algorithm in MacAlgorithm::ALL {
            let (key, other) = (TagKey::new(algorithm, &[1; 32]), TagKey::new(algorithm, &[2; 32]));
            let tag = key.tag(5, &packet);
            assert!(key.verify(5, &packet, &tag), "{algorithm}");
            assert!(!other.verify(5, &packet, &tag), "{algorithm}");
            assert!(!key.verify(5, &Digest([8; 32]), &tag), "{algorithm}");
            assert!(!key.verify(5, &packet, &tag[..15]), "{algorithm}: a shorter tag");
            assert_eq!(key.verify(6, &packet, &tag), algorithm != MacAlgorithm::Aes256Gmac, "{algorithm}");
            for bit in 0..8 * TAG_BYTES {
                let mut changed = tag;
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(!key.verify(5, &packet, &changed), "{algorithm}, bit {bit}");
            }
        }
    }

    #[test]
    fn hmac_tags_are_the_truncated_hmac() {
        let tag = TagKey::new(MacAlgorithm::HmacSha256, &[9; 32]).tag(0, &Digest([3; 32]));
        let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&[9; 32]).unwrap();
        mac.update(&[3; 32]);
        assert_eq!(tag, mac.finalize().into_bytes()[..TAG_BYTES]);
    }
}
