//! Signatures of what is rare and must convince a third party: view changes and new views (`protocol.md VC-2`), disputes, and the requests of clients
//! that were demoted (`DM-1`, `DM-3`).
//!
//! What is signed is the cluster's configuration digest and the statement, under the domain of its kind; the statement itself names view,
//! signer and the signer's epoch. Ed25519 signatures are a function of key and message, so the core may make them and stay deterministic.

use crate::numbers::{ClientId, ReplicaId};
use crate::planted::{self, Bug};
use crate::wire::dispute::{DISPUTE_DOMAIN, Dispute};
use crate::wire::request;
use crate::wire::view_change::StatementKind;
use logothete_crypto::{Digest, DigestWriter, Identity, PublicIdentity, SIGNATURE_BYTES};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// The domain under which clients sign requests.
const REQUEST_DOMAIN: &str = "logothete request";

/// Signs for one replica, and verifies for all.
#[derive(Debug)]
pub struct Signatures {
    identity: Identity,
    replicas: Vec<PublicIdentity>,
    clients: Vec<PublicIdentity>,
    context: Digest,
    /// What was found of signatures of statements, by the digest of everything that they are about; where nothing is to be remembered, `None`.
    verified: Option<Mutex<BTreeMap<Digest, bool>>>,
}

impl Signatures {
    /// Of the replica with this identity, in the cluster with these replicas and clients, whose configuration has the digest `context`.
    pub fn new(
        identity: Identity,
        replicas: Vec<PublicIdentity>,
        clients: Vec<PublicIdentity>,
        context: Digest,
    ) -> Self {
        Self { identity, replicas, clients, context, verified: None }
    }

    /// The same, remembering what it found of each statement, without bound: where the copies of one replica are followed through many futures, they get
    /// the same statements over and over.
    pub fn remembering(self) -> Self {
        Self { verified: Some(Mutex::default()), ..self }
    }

    /// Signs the body of a statement.
    pub fn sign(&self, kind: StatementKind, body: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.identity.sign(kind.domain(), &self.signed(body))
    }

    /// Whether a replica signed the body of a statement.
    pub fn verify(&self, by: ReplicaId, kind: StatementKind, body: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        let Some(verified) = &self.verified else { return self.is_signed(by, kind, body, signature) };
        let mut about = DigestWriter::new(kind.domain());
        let about = about.update(&[by.0]).update(signature).update(body).finish();
        let mut verified = verified.lock().expect("nothing panics while it is held");
        *verified.entry(about).or_insert_with(|| self.is_signed(by, kind, body, signature))
    }

    fn is_signed(&self, by: ReplicaId, kind: StatementKind, body: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        let signed = |by: &PublicIdentity| by.verify(kind.domain(), &self.signed(body), signature);
        let of_anybody = || planted::is(Bug::SignerFromContent) && self.replicas.iter().any(signed);
        self.replicas.get(usize::from(by.0)).is_some_and(signed) || of_anybody()
    }

    /// Signs the content of a dispute.
    pub fn sign_dispute(&self, content: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.identity.sign(DISPUTE_DOMAIN, &self.signed(content))
    }

    /// Whether the replica that a dispute names signed it.
    pub fn verify_dispute(&self, dispute: &Dispute) -> bool {
        let signer = self.replicas.get(usize::from(dispute.replica().0));
        signer.is_some_and(|by| by.verify(DISPUTE_DOMAIN, &self.signed(dispute.signed()), &dispute.signature))
    }

    /// Whether a client signed a request message, which was decoded before. One without a signature costs nothing.
    pub fn verify_request(&self, by: ClientId, message: &[u8]) -> bool {
        let Some((parts, signature)) = request::signed_parts(message) else { return false };
        let signer = self.clients.get(usize::from(by.0));
        signer.is_some_and(|by| by.verify(REQUEST_DOMAIN, &signed_request(&self.context, parts), signature))
    }

    fn signed(&self, body: &[u8]) -> Vec<u8> {
        [&self.context.0[..], body].concat()
    }
}

/// Signs the requests of one client.
#[derive(Debug)]
pub struct RequestSigner {
    identity: Identity,
    context: Digest,
}

impl RequestSigner {
    /// Of the client with this identity, in the cluster whose configuration has the digest `context`.
    pub fn new(identity: Identity, context: Digest) -> Self {
        Self { identity, context }
    }

    /// Signs a request message, whose bytes but for the signature come in two pieces.
    pub fn sign(&self, parts: [&[u8]; 2]) -> [u8; SIGNATURE_BYTES] {
        self.identity.sign(REQUEST_DOMAIN, &signed_request(&self.context, parts))
    }
}

fn signed_request(context: &Digest, parts: [&[u8]; 2]) -> Vec<u8> {
    [&context.0[..], parts[0], parts[1]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::{Incarnation, RequestNumber};
    use crate::wire::request::RequestName;

    /// `protocol.md VC-2`: a signature is of one signer, one kind, one configuration.
    #[test]
    fn a_signature_is_good_for_one_thing() {
        let identity = |seed| Identity::from_secret_bytes([seed; 32]);
        let replicas = vec![identity(1).public(), identity(2).public()];
        let signatures =
            |context| Signatures::new(identity(1), replicas.clone(), vec![identity(9).public()], Digest([context; 32]));
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

    #[test]
    fn what_is_remembered_is_of_one_statement() {
        let identity = |seed| Identity::from_secret_bytes([seed; 32]);
        let replicas = vec![identity(1).public(), identity(2).public()];
        let here = Signatures::new(identity(1), replicas, Vec::new(), Digest([7; 32])).remembering();
        let signature = here.sign(StatementKind::ViewChange, b"body");
        let good = |by: u8, kind, body: &[u8], signature| here.verify(ReplicaId(by), kind, body, signature);
        for _ in 0..2 {
            assert!(good(0, StatementKind::ViewChange, b"body", &signature));
            assert!(!good(1, StatementKind::ViewChange, b"body", &signature), "another signer");
            assert!(!good(0, StatementKind::NewView, b"body", &signature), "another kind");
            assert!(!good(0, StatementKind::ViewChange, b"bodY", &signature), "another body");
            assert!(!good(0, StatementKind::ViewChange, b"body", &[0; SIGNATURE_BYTES]), "another signature");
        }
    }

    /// `protocol.md DM-1`: a signed request is of one client, one cluster, and exactly these bytes.
    #[test]
    fn a_signed_request_is_good_for_one_thing() {
        let identity = |seed| Identity::from_secret_bytes([seed; 32]);
        let clients = vec![identity(5).public(), identity(6).public()];
        let signatures = |context| Signatures::new(identity(1), Vec::new(), clients.clone(), Digest([context; 32]));
        let signer = RequestSigner::new(identity(6), Digest([7; 32]));
        let name = RequestName { client: ClientId(1), incarnation: Incarnation(3), number: RequestNumber(0) };
        let (mut message, mut plain) = (Vec::new(), Vec::new());
        request::append_signed(&mut message, name, 0, &[], |parts| signer.sign(parts));
        request::append(&mut plain, name, 0, &[]);
        assert!(signatures(7).verify_request(ClientId(1), &message));
        assert!(!signatures(7).verify_request(ClientId(0), &message), "another client's");
        assert!(!signatures(7).verify_request(ClientId(9), &message), "nobody's");
        assert!(!signatures(8).verify_request(ClientId(1), &message), "another cluster's");
        assert!(!signatures(7).verify_request(ClientId(1), &plain));
        for at in 0..message.len() {
            let mut other = message.clone();
            other[at] ^= 1;
            assert!(!signatures(7).verify_request(ClientId(1), &other), "byte {at}");
        }
    }
}
