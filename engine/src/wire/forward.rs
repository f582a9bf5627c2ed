//! Forwarding: a backup passes a request on to a primary that seems not to have it (`protocol.md RB-1`).

use super::agreement::BatchEntry;
use super::framing::{self, Kind, Malformed};
use super::request::RequestName;
use logothete_crypto::Digest;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Forward(c, e, t, D(request)): the sender verified this request, and its client's own packet follows.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Forward(BatchEntry);

impl Forward {
    pub(super) fn decode(layout: &[u8]) -> Result<&Self, Malformed> {
        let forward: &Self = framing::fixed(layout)?;
        if forward.0.is_canonical() { Ok(forward) } else { Err(Malformed::Field) }
    }

    /// Forwards a request, with the digest of its message.
    pub fn new(name: RequestName, digest: Digest) -> Self {
        Self(BatchEntry::new(name, digest))
    }

    /// The request's name.
    pub fn name(&self) -> RequestName {
        self.0.name()
    }

    /// The digest of the request message.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::Forward, &[self.as_bytes()]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Message;
    use super::*;
    use crate::numbers::{ClientId, Incarnation, Principal, ReplicaId, RequestNumber};

    /// `protocol.md RJ-3`
    #[test]
    fn a_forward_reads_back_and_has_one_encoding() {
        let name = RequestName { client: ClientId(3), incarnation: Incarnation(7), number: RequestNumber(9) };
        let mut bytes = Vec::new();
        Forward::new(name, Digest([5; 32])).append(&mut bytes);
        let sender = Principal::Replica(ReplicaId(1));
        let Ok(Message::Forward(read)) = Message::decode(&bytes, sender) else { panic!("another kind") };
        assert_eq!((read.name(), read.digest()), (name, Digest([5; 32])));
        bytes[11] = 1;
        assert_eq!(Message::decode(&bytes, sender).unwrap_err(), Malformed::Field);
        bytes[11] = 0;
        assert_eq!(Message::decode(&bytes, Principal::Client(ClientId(3))).unwrap_err(), Malformed::Role);
    }
}
