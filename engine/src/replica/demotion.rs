//! Demotions: the ordered operation by which a client's requests count only if they are signed, at all replicas from the same place in the order on
//! (`protocol.md DM-4`, `DM-5`).

use super::bodies::{Bodies, BodyRef};
use super::clients::Clients;
use super::{Now, Replica};
use crate::authentication::Signatures;
use crate::numbers::ClientId;
use crate::wire::agreement::BatchEntry;
use crate::wire::dispute::{demotion_disputes, demotion_name, demotion_packet};
use logothete_crypto::digest;

/// What judges demotions.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a> {
    pub(super) signatures: &'a Signatures,
    /// How many replicas have to dispute.
    pub(super) weak: usize,
}

impl Judge<'_> {
    /// Whether a demotion's body certifies itself: `f+1` replicas signed what it says. Looked at once, and remembered with the body.
    pub(super) fn certifies(&self, bodies: &mut Bodies, body: BodyRef) -> bool {
        if let Some(known) = bodies.proof(body) {
            return known;
        }
        let enough = demotion_disputes(bodies.message(body)).filter(|(_, disputes)| disputes.len() == self.weak);
        let signed = |(_, disputes): (ClientId, &[_])| disputes.iter().all(|each| self.signatures.verify_dispute(each));
        let good = enough.is_some_and(signed);
        bodies.note_proof(body, good);
        good
    }

    /// Executes a demotion of a committed batch: from the next request on. One that does not certify itself, or is of a client that is demoted already, is
    /// void. Returns whom it is about.
    pub(super) fn execute(&self, clients: &mut Clients, bodies: &mut Bodies, body: BodyRef) -> Option<ClientId> {
        let (client, _) = demotion_disputes(bodies.message(body))?;
        let counts = clients.knows(client) && !clients.must_sign(client) && self.certifies(bodies, body);
        (counts && clients.demote(client, bodies)).then_some(client)
    }
}

impl Replica {
    /// As primary: makes the demotion of a client that `f+1` replicas dispute, once a view. The next primary makes its own, should the view end before it is
    /// ordered.
    pub(super) fn next_demotion(&mut self, now: Now) -> Option<BodyRef> {
        let (view, weak) = (self.view, self.config.quorum.weak());
        let client = self.disputes.convicted(view, weak).find(|client| !self.clients.must_sign(*client))?;
        let disputes = self.disputes.against(client, weak);
        let replicas = self.config.quorum.replicas();
        let (packet, message) = demotion_packet(self.config.cluster_id, replicas, client, &disputes);
        let (name, of) = (demotion_name(client), digest(&packet[message.clone()]));
        // Without room for it, it waits.
        let body = self.bodies.store(&packet, message, name, of, false, now.monotonic_ns)?;
        self.bodies.note_proof(body, true);
        self.disputes.note_proposed(client, view);
        Some(body)
    }

    /// The clients whose requests count only if they are signed.
    pub fn demoted_clients(&self) -> impl Iterator<Item = ClientId> {
        self.clients.demoted()
    }
}

/// Whether a batch has at most one demotion: each costs `f+1` checks of signatures.
pub(super) fn are_in_bounds(entries: &[BatchEntry]) -> bool {
    entries.iter().filter(|entry| entry.name().client == ClientId::SYSTEM).count() <= 1
}
