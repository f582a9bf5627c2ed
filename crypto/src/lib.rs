//! Cryptography of Logothete: bytes in, bytes out.
//!
//! What this crate is for: digests, authentication tags and whole vectors of them, long-lived identities, and the
//! session keys that two processes agree on. What may enter: primitives, and the state that only they need (keys,
//! epochs, nonces). What it must never do: know a protocol message, open a socket, read a clock, or start a thread.
//! Randomness is an argument ([`Entropy`]), so that a simulated run repeats exactly.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`digest`](mod@digest) | BLAKE3 digests: one input, a stream, many short inputs at once |
//! | [`entropy`](mod@entropy) | the source of randomness |
//!
//! tags is computed side by side, one receiver a SIMD lane.
//!

pub mod digest;
pub mod entropy;
mod hex;
mod lanes;

pub use digest::{DIGEST_BYTES, Digest, DigestWriter, digest, digest_many};
pub use entropy::{Entropy, os_entropy};
pub use hex::HexError;
