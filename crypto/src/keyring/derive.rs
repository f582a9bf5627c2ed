//! From two X25519 keys to the keys of one direction: RFC 7748, then HKDF-SHA256 (RFC 5869).

use crate::digest::Digest;
use crate::entropy::Entropy;
use crate::mac::{MacAlgorithm, TagKey};
use crate::planted;
use hkdf::Hkdf;
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// A point of low order: the agreed secret would be known to everyone.
pub(super) struct WeakKey;

/// One generation of our X25519 key. The secret is wiped when dropped.
pub(super) struct ExchangeKey {
    pub(super) generation: u32,
    secret: StaticSecret,
    public: PublicKey,
}

impl ExchangeKey {
    fn generate(generation: u32, entropy: &mut Entropy) -> ExchangeKey {
        let mut bytes = Zeroizing::new([0; 32]);
        entropy(bytes.as_mut());
        let secret = StaticSecret::from(*bytes);
        ExchangeKey { generation, public: PublicKey::from(&secret), secret }
    }

    pub(super) fn public(&self) -> [u8; 32] {
        self.public.to_bytes()
    }

    /// The secret that both ends compute.
    pub(super) fn agree(&self, peer: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, WeakKey> {
        let shared = self.secret.diffie_hellman(&PublicKey::from(*peer));
        if shared.was_contributory() { Ok(Zeroizing::new(shared.to_bytes())) } else { Err(WeakKey) }
    }
}

/// Our generations in force: the current one and the one before it.
pub(super) struct OwnKeys {
    pub(super) current: ExchangeKey,
    previous: Option<ExchangeKey>,
}

impl OwnKeys {
    pub(super) fn generate(entropy: &mut Entropy) -> OwnKeys {
        OwnKeys { current: ExchangeKey::generate(0, entropy), previous: None }
    }

    /// Draws the next generation; the one before the current is wiped.
    pub(super) fn rotate(&mut self, entropy: &mut Entropy) {
        let next = ExchangeKey::generate(self.current.generation + 1, entropy);
        self.previous = Some(std::mem::replace(&mut self.current, next));
    }

    /// Wipes the former generation.
    pub(super) fn retire(&mut self) {
        self.previous = None;
    }

    /// Whether there are two.
    pub(super) fn overlap(&self) -> bool {
        self.previous.is_some()
    }

    /// The current one first.
    pub(super) fn all(&self) -> impl Iterator<Item = &ExchangeKey> {
        std::iter::once(&self.current).chain(&self.previous)
    }

    /// The key of `generation`, if it is still in force.
    pub(super) fn held(&self, generation: u32) -> Option<&ExchangeKey> {
        self.all().find(|key| key.generation == generation)
    }
}

/// One end of a pair, as far as its keys depend on it.
pub(super) struct End {
    pub(super) principal: u16,
    pub(super) epoch: u64,
    pub(super) generation: u32,
    pub(super) public: [u8; 32],
}

/// What all keys of a ring are bound to.
pub(super) struct Binding {
    pub(super) context: Digest,
    pub(super) algorithm: MacAlgorithm,
}

/// The keys of one direction.
pub(crate) struct SessionKey {
    /// Names the key in each tag; never zero.
    pub(crate) id: u32,
    /// For packets.
    pub(crate) tag: TagKey,
    /// For sealed secrets (AES-256-GCM).
    pub(crate) secret: Zeroizing<[u8; 32]>,
}

impl Binding {
    /// The keys from `sender` to `receiver` under the secret that they agreed on.
    pub(super) fn derive(&self, agreed: &[u8; 32], sender: &End, receiver: &End) -> SessionKey {
        let (agreed, ends): (_, &[&End]) = match planted::cluster_keys() {
            false => (agreed, &[sender, receiver]),
            true => (&self.context.0, &[]),
        };
        let hkdf = Hkdf::<Sha256>::new(Some(&self.context.0), agreed);
        // Every field has a fixed size, so the concatenation is unambiguous.
        let mut info = Vec::with_capacity(160);
        info.extend_from_slice(b"logothete session key ");
        info.push(match self.algorithm {
            MacAlgorithm::Blake3 => 1,
            MacAlgorithm::HmacSha256 => 2,
            MacAlgorithm::Aes256Gmac => 3,
        });
        for end in ends {
            info.extend_from_slice(&end.principal.to_le_bytes());
            info.extend_from_slice(&end.epoch.to_le_bytes());
            info.extend_from_slice(&end.generation.to_le_bytes());
            info.extend_from_slice(&end.public);
        }
        let mut okm = Zeroizing::new([0; 68]);
        hkdf.expand(&info, okm.as_mut()).expect("68 bytes are within HKDF's limit of 8160");
        let (tag, rest) = okm.split_first_chunk::<32>().expect("68 bytes hold 32");
        let (secret, id) = rest.split_first_chunk::<32>().expect("36 bytes hold 32");
        let id = u32::from_le_bytes(id.try_into().expect("four bytes are left"));
        SessionKey {
            // Zero on the wire means "no key".
            id: id.max(1),
            tag: TagKey::new(self.algorithm, tag),
            secret: Zeroizing::new(*secret),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    fn array(text: &str) -> [u8; 32] {
        hex::bytes(text).try_into().unwrap()
    }

    fn key(secret: [u8; 32]) -> ExchangeKey {
        ExchangeKey::generate(0, &mut (Box::new(move |buf: &mut [u8]| buf.copy_from_slice(&secret)) as Entropy))
    }

    /// RFC 7748, section 6.1.
    #[test]
    fn rfc_7748() {
        let alice = key(array("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"));
        let bob = key(array("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
        assert_eq!(alice.public(), array("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"));
        assert_eq!(bob.public(), array("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"));
        let shared = array("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        assert!(alice.agree(&bob.public()).is_ok_and(|secret| *secret == shared));
        assert!(bob.agree(&alice.public()).is_ok_and(|secret| *secret == shared));
    }

    /// RFC 5869, test case 1.
    #[test]
    fn rfc_5869() {
        let hkdf = Hkdf::<Sha256>::new(Some(&hex::bytes("000102030405060708090a0b0c")), &[0x0b; 22]);
        let mut okm = [0; 42];
        hkdf.expand(&hex::bytes("f0f1f2f3f4f5f6f7f8f9"), &mut okm).unwrap();
        assert_eq!(
            okm.to_vec(),
            hex::bytes("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")
        );
    }

    /// The points of low order on the curve and its twist, reduced, as listed with the original
    /// implementation of Curve25519.
    #[test]
    fn points_of_low_order_are_refused() {
        let own = key([0x41; 32]);
        let mut one = [0; 32];
        one[0] = 1;
        let low = [
            [0; 32],
            one,
            array("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
            array("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
            array("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
            array("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
            array("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        ];
        for point in low {
            assert!(own.agree(&point).is_err(), "{point:02x?}");
        }
        assert!(own.agree(&key([0x42; 32]).public()).is_ok());
    }

    #[test]
    fn every_part_of_the_binding_changes_the_keys() {
        let end = |principal, epoch, generation, fill| End { principal, epoch, generation, public: [fill; 32] };
        let binding = Binding { context: Digest([1; 32]), algorithm: MacAlgorithm::Blake3 };
        let ends = || (end(1, 10, 0, 7), end(2, 20, 0, 8));
        let mut derived = Vec::new();
        let mut add = |binding: &Binding, agreed: [u8; 32], sender: &End, receiver: &End| {
            let key = binding.derive(&agreed, sender, receiver);
            derived.push((key.id, *key.secret, key.tag.tag(0, &Digest::ZERO)));
        };
        let (a, b) = ends();
        add(&binding, [5; 32], &a, &b);
        add(&binding, [5; 32], &b, &a);
        add(&binding, [6; 32], &a, &b);
        add(&binding, [5; 32], &end(3, 10, 0, 7), &b);
        add(&binding, [5; 32], &end(1, 11, 0, 7), &b);
        add(&binding, [5; 32], &end(1, 10, 1, 7), &b);
        add(&binding, [5; 32], &end(1, 10, 0, 9), &b);
        add(&binding, [5; 32], &a, &end(3, 20, 0, 8));
        add(&binding, [5; 32], &a, &end(2, 21, 0, 8));
        add(&binding, [5; 32], &a, &end(2, 20, 1, 8));
        add(&binding, [5; 32], &a, &end(2, 20, 0, 9));
        add(&Binding { context: Digest([2; 32]), algorithm: MacAlgorithm::Blake3 }, [5; 32], &a, &b);
        add(&Binding { context: Digest([1; 32]), algorithm: MacAlgorithm::HmacSha256 }, [5; 32], &a, &b);
        for (i, one) in derived.iter().enumerate() {
            assert_ne!(one.0, 0);
            assert_ne!(one.1[..16], one.2, "the two keys of case {i} are related");
            for other in &derived[..i] {
                assert!(one.0 != other.0 && one.1 != other.1 && one.2 != other.2, "case {i}");
            }
        }
    }
}
