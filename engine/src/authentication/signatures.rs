//! Signatures of the rare statements that must convince a third party: view changes and new views (`protocol.md VC-2`).
//!
//! What is signed is the cluster's configuration digest and the statement, under the domain of its kind; the statement itself names view,
//! signer and the signer's epoch. Ed25519 signatures are a function of key and message, so the core may make them and stay deterministic.

use crate::numbers::ReplicaId;
use crate::wire::view_change::StatementKind;
use logothete_crypto::{Digest, Identity, PublicIdentity, SIGNATURE_BYTES};

/// Signs for one replica, and verifies for all.
#[derive(Debug)]
pub struct Signatures {
    identity: Identity,
    replicas: Vec<PublicIdentity>,
    context: Digest,
}

impl Signatures {
    /// Of the replica with this identity, in the cluster with these replicas, whose configuration has the digest `context`.
    pub fn new(identity: Identity, replicas: Vec<PublicIdentity>, context: Digest) -> Self {
        Self { identity, replicas, context }
    }

    /// Signs the body of a statement.
    pub fn sign(&self, kind: StatementKind, body: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.identity.sign(kind.domain(), &self.signed(body))
    }

    /// Whether a replica signed the body of a statement.
    pub fn verify(&self, by: ReplicaId, kind: StatementKind, body: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        let signer = self.replicas.get(usize::from(by.0));
        signer.is_some_and(|signer| signer.verify(kind.domain(), &self.signed(body), signature))
    }

    fn signed(&self, body: &[u8]) -> Vec<u8> {
        [&self.context.0[..], body].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `protocol.md VC-2`: a signature is of one signer, one kind, one configuration.
    #[test]
    fn a_signature_is_good_for_one_thing() {
        let identity = |seed| Identity::from_secret_bytes([seed; 32]);
        let replicas = vec![identity(1).public(), identity(2).public()];
        let signatures = |context| Signatures::new(identity(1), replicas.clone(), Digest([context; 32]));
        let (here, elsewhere) = (signatures(7), signatures(8));
        let signature = here.sign(StatementKind::ViewChange, b"body");
        let good = |by: u8, kind, body: &[u8]| here.verify(ReplicaId(by), kind, body, &signature);
        assert!(good(0, StatementKind::ViewChange, b"body"));
        assert!(!good(1, StatementKind::ViewChange, b"body"), "another signer");
        assert!(!good(9, StatementKind::ViewChange, b"body"), "nobody");
        assert!(!good(0, StatementKind::NewView, b"body"), "another kind");
        assert!(!good(0, StatementKind::ViewChange, b"bodY"), "another body");
        assert!(!elsewhere.verify(ReplicaId(0), StatementKind::ViewChange, b"body", &signature), "another cluster");
    }
}
