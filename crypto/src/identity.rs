//! Identities: the Ed25519 key that a principal keeps in its key file.
//!
//! A signature is over a 32-byte digest of (domain, message), so a signature for one purpose never
//! serves another. It costs tens of microseconds, a tag tens of nanoseconds: identities sign
//! announcements and what must convince a third party, never a packet.

use crate::digest::DigestWriter;
use crate::hex::{self, HexError};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use std::fmt;
use std::str::FromStr;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Size of a signature in bytes.
pub const SIGNATURE_BYTES: usize = 64;

/// A principal's secret key. Wiped when dropped; `Debug` shows the public half only.
pub struct Identity(SigningKey);

// `SigningKey` wipes itself.
impl ZeroizeOnDrop for Identity {}

impl Identity {
    /// A fresh identity from 32 random bytes.
    pub fn generate(entropy: &mut dyn FnMut(&mut [u8])) -> Identity {
        let mut secret = Zeroizing::new([0; 32]);
        entropy(secret.as_mut());
        Identity(SigningKey::from_bytes(&secret))
    }

    /// The identity of a secret (RFC 8032's 32-byte private key), as read from a key file. Wipes
    /// its argument's copy.
    pub fn from_secret_bytes(mut secret: [u8; 32]) -> Identity {
        let identity = Identity(SigningKey::from_bytes(&secret));
        secret.zeroize();
        identity
    }

    /// The secret, to be written to a key file.
    pub fn secret_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> PublicIdentity {
        PublicIdentity(self.0.verifying_key().to_bytes())
    }

    /// Signs `message` in `domain`. Deterministic: the same message has the same signature.
    pub fn sign(&self, domain: &str, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(&statement(domain, message)).to_bytes()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.public()).finish()
    }
}

/// A principal's public key: 64 hexadecimal digits in configuration files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicIdentity(pub [u8; 32]);

impl PublicIdentity {
    /// Whether `signature` is this identity's over `message` in `domain`.
    ///
    /// Strict: a key or a commitment of low order and a scalar that is not reduced are refused, so
    /// everyone agrees about every signature. Not in constant time; it handles public values
    /// only.
    pub fn verify(&self, domain: &str, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|key| key.verify_strict(&statement(domain, message), &Signature::from_bytes(signature)).is_ok())
    }
}

impl fmt::Display for PublicIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0, f)
    }
}

impl fmt::Debug for PublicIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0[..4], f)
    }
}

impl FromStr for PublicIdentity {
    type Err = HexError;

    /// Reads 64 hexadecimal digits and checks that they are a key that can verify something.
    fn from_str(text: &str) -> Result<PublicIdentity, HexError> {
        let bytes = hex::parse(text)?;
        match VerifyingKey::from_bytes(&bytes) {
            Ok(key) if !key.is_weak() => Ok(PublicIdentity(bytes)),
            _ => Err(HexError::Key),
        }
    }
}

/// What is signed: a digest, so that a signature's cost hardly depends on the message.
fn statement(domain: &str, message: &[u8]) -> [u8; 32] {
    DigestWriter::new(domain).update(message).finish().0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os_entropy;

    /// RFC 8032, section 7.1, tests 1 to 3: secret, public, message, signature.
    const RFC_8032: [[&str; 4]; 3] = [
        [
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ],
        [
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ],
        [
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ],
    ];

    #[test]
    fn rfc_8032() {
        for [secret, public, message, signature] in RFC_8032 {
            let identity = Identity::from_secret_bytes(hex::parse(secret).unwrap());
            assert_eq!(identity.public().to_string(), public);
            assert_eq!(*identity.secret_bytes(), hex::parse(secret).unwrap());
            assert_eq!(identity.0.sign(&hex::bytes(message)).to_bytes().to_vec(), hex::bytes(signature));
        }
    }

    #[test]
    fn a_signature_holds_for_its_signer_domain_and_message_only() {
        let (one, other) = (Identity::generate(&mut os_entropy), Identity::generate(&mut os_entropy));
        let signature = one.sign("logothete test", b"message");
        assert!(one.public().verify("logothete test", b"message", &signature));
        assert!(!other.public().verify("logothete test", b"message", &signature));
        assert!(!one.public().verify("logothete tests", b"message", &signature));
        assert!(!one.public().verify("logothete test", b"massage", &signature));
        for byte in 0..SIGNATURE_BYTES {
            let mut changed = signature;
            changed[byte] ^= 0x10;
            assert!(!one.public().verify("logothete test", b"message", &changed), "byte {byte}");
        }
    }

    #[test]
    fn weak_and_malformed_keys_are_refused() {
        // The neutral point, of order one: with it a forger can make signatures that a lax verifier
        // takes.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert_eq!(PublicIdentity(neutral).to_string().parse::<PublicIdentity>(), Err(HexError::Key));
        let mut forged = [0; SIGNATURE_BYTES];
        forged[0] = 1;
        assert!(!PublicIdentity(neutral).verify("logothete test", b"anything", &forged));
        // y = 2 is on no point of the curve.
        let mut nowhere = [0; 32];
        nowhere[0] = 2;
        assert!(!PublicIdentity(nowhere).verify("logothete test", b"anything", &forged));
        let public = Identity::generate(&mut os_entropy).public();
        assert_eq!(public.to_string().parse(), Ok(public));
    }

    #[test]
    fn debug_shows_no_secret() {
        let identity = Identity::from_secret_bytes([0xab; 32]);
        let text = format!("{identity:?}");
        assert!(!text.contains("abab"), "{text}");
        assert_eq!(text, format!("Identity({:?})", identity.public()));
    }
}
