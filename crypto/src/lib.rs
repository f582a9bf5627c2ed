//! Cryptography of Logothete: bytes in, bytes out.
//!
//! What this crate is for: digests, authentication tags and whole vectors of them, long-lived
//! identities, and the session keys that two processes agree on. What may enter: primitives, and
//! the state that only they need (keys, epochs, nonces). What it must never do: know a protocol
//! message, open a socket, read a clock, or start a thread. Randomness is an argument
//! ([`Entropy`]), so that a simulated run repeats exactly.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`digest`](mod@digest) | BLAKE3 digests: one input, a stream, many short inputs at once |
//! | [`mac`] | the choice of tag algorithm; a session key ready for use |
//! | [`identity`] | Ed25519 identities: who a principal is, for as long as its key file lives |
//! | [`keyring`] | session keys with every peer: announcements, sealing and verifying of packets |
//! | [`announcement`] | the bytes of a key announcement |
//! | [`sealed`] | small secrets for one peer's eyes, AES-256-GCM |
//! | [`entropy`](mod@entropy) | the source of randomness |
//!
//! The hot path is [`KeyRing::seal`] and [`KeyRing::verify`]: they allocate nothing in the steady
//! state, and a vector of tags is computed side by side, one receiver a SIMD lane.
//!
//! ```
//! use logothete_crypto::{
//!     Digest, Entropy, Identity, KeyRing, KeyRingConfig, MacAlgorithm, TAG_ENTRY_BYTES, digest,
//!     os_entropy,
//! };
//!
//! let mut random = os_entropy;
//! let (alice, bob) = (Identity::generate(&mut random), Identity::generate(&mut random));
//! let context = digest(b"the configuration both sides run");
//! let ring = |own, identity, peer, public| {
//!     let (algorithm, peers) = (MacAlgorithm::Blake3, vec![(peer, public)]);
//!     let config = KeyRingConfig { context, algorithm, own, identity, peers };
//!     KeyRing::new(config, Box::new(os_entropy) as Entropy)
//! };
//! let (alice_public, bob_public) = (alice.public(), bob.public());
//! let mut a = ring(0, alice, 1, bob_public);
//! let mut b = ring(1, bob, 0, alice_public);
//!
//! // Three announcements establish both directions; each answers the one before.
//! b.accept_announcement(&a.announcement(1, 0).unwrap()).unwrap();
//! a.accept_announcement(&b.announcement(0, 0).unwrap()).unwrap();
//! b.accept_announcement(&a.announcement(1, 0).unwrap()).unwrap();
//!
//! let packet: Digest = digest(b"a packet");
//! let mut entry = [0; TAG_ENTRY_BYTES];
//! a.seal(&[1], &packet, 1, &mut entry);
//! assert_eq!(b.verify(0, a.epoch(), 1, &packet, &entry), Ok(()));
//! ```

pub mod announcement;
pub mod digest;
pub mod entropy;
mod hex;
pub mod identity;
pub mod keyring;
mod lanes;
pub mod mac;
#[doc(hidden)]
pub mod planted;
pub mod sealed;

pub use announcement::{ANNOUNCEMENT_BYTES, AnnouncementError};
pub use digest::{DIGEST_BYTES, Digest, DigestWriter, digest, digest_many};
pub use entropy::{Entropy, os_entropy};
pub use hex::HexError;
pub use identity::{Identity, PublicIdentity, SIGNATURE_BYTES};
pub use keyring::{Accepted, Claim, KeyRing, KeyRingConfig, Outcome, TAG_ENTRY_BYTES, TagError};
pub use mac::{MacAlgorithm, TAG_BYTES};
pub use sealed::{SealError, open_secret, seal_secret};
