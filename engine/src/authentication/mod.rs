//! Who said it: packets are sealed and verified here, and nowhere else.
//!
//! *For*: turning a datagram into an [`AuthenticatedPacket`], and a body into a sealed datagram. *Enters*: foreign bytes, and the key ring.
//! *Never*: interprets messages. An [`AuthenticatedPacket`] has no constructor outside the verifier, its sender comes from the key that
//! verified, and the replica accepts nothing else: what is verified is what is used (`protocol.md PK-1`).

mod keys;
mod replay;
mod sealer;
mod signatures;
#[cfg(test)]
mod tests;
mod verifier;

pub use keys::PacketKeys;
pub use sealer::Sealer;
pub use signatures::{RequestSigner, Signatures};
pub use verifier::{AuthenticatedPacket, Incoming, PacketFacts, Refused, RefusedCounters, RelayedPacket, Verifier};
