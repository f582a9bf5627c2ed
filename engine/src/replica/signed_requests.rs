//! Requests that their clients signed: proven to every replica, whatever their tags say (`protocol.md DM-1`). A signature is checked where it matters, once,
//! and within a budget where the check could wait.

use super::bodies::{Bodies, BodyRef};
use super::demotion::Judge;
use super::output::Output;
use super::{Now, Reject, Replica};
use crate::authentication::Signatures;
use crate::limits::{REQUEST_CHECK_COMMON_NS, REQUEST_CHECK_NS, REQUEST_CHECKS_BURST, REQUEST_CHECKS_COMMON_BURST};
use crate::numbers::{ClientId, SequenceNumber};
use crate::wire::reply::RefusalReason;
use crate::wire::request::{RequestName, signed_parts};

/// How many signatures may be checked (`protocol.md DM-1`): each client has its own share, and all together no more than the common one.
#[derive(Clone, Debug)]
pub(super) struct CheckBudget {
    /// By client: when what was checked so far is paid for.
    own_until_ns: Box<[u64]>,
    common_until_ns: u64,
}

impl CheckBudget {
    pub(super) fn new(clients: usize) -> Self {
        Self { own_until_ns: vec![0; clients].into(), common_until_ns: 0 }
    }

    /// Whether one more signature in a client's name may be checked now; counts as checked if so.
    fn take(&mut self, client: ClientId, now_ns: u64) -> bool {
        let Some(own) = self.own_until_ns.get_mut(usize::from(client.0)) else { return false };
        let own_next = (*own).max(now_ns) + REQUEST_CHECK_NS;
        let common_next = self.common_until_ns.max(now_ns) + REQUEST_CHECK_COMMON_NS;
        let may = own_next <= now_ns + REQUEST_CHECK_NS * REQUEST_CHECKS_BURST
            && common_next <= now_ns + REQUEST_CHECK_COMMON_NS * REQUEST_CHECKS_COMMON_BURST;
        if may {
            (*own, self.common_until_ns) = (own_next, common_next);
        }
        may
    }
}

/// Whether a body's signature is good: looked at once, and remembered with the body.
pub(super) fn is_signed(signatures: &Signatures, bodies: &mut Bodies, body: BodyRef) -> bool {
    if let Some(known) = bodies.proof(body) {
        return known;
    }
    let good = signatures.verify_request(bodies.name(body).client, bodies.message(body));
    bodies.note_proof(body, good);
    good
}

impl Replica {
    /// A request that is new and of a client that was demoted: taken only if it is signed (`protocol.md DM-5`).
    pub(super) fn admit_signed(
        &mut self,
        now: Now,
        name: RequestName,
        message: &[u8],
        output: &mut Output,
    ) -> Result<(), Reject> {
        if signed_parts(message).is_none() {
            self.refuse(name, RefusalReason::SignatureRequired, 0, output);
            return Err(Reject::SignatureRequired);
        }
        if !self.check_budget.take(name.client, now.monotonic_ns) {
            self.refuse(name, RefusalReason::Overloaded, 0, output);
            return Err(Reject::Overloaded);
        }
        if self.signatures.verify_request(name.client, message) { Ok(()) } else { Err(Reject::SignatureBad) }
    }

    /// Looks at what may prove the bodies of a batch beside their tags: clients' signatures, and the disputes of a demotion. `false` where something is left to be
    /// looked at later.
    pub(super) fn seek_proofs(&mut self, now: Now, sequence: SequenceNumber) -> bool {
        let batch = self.log.slot(sequence).and_then(|slot| slot.proposed_batch());
        let bodies = batch.into_iter().flat_map(|batch| batch.bodies.iter().flatten().copied());
        let unknown = |body: &BodyRef| !self.bodies.is_authentic(*body) && self.bodies.proof(*body).is_none();
        let unknown: Vec<BodyRef> = bodies.filter(unknown).collect();
        let mut all = true;
        for body in unknown {
            let (client, message) = (self.bodies.name(body).client, self.bodies.message(body));
            if client == ClientId::SYSTEM {
                let judge = Judge { signatures: &self.signatures, weak: self.config.quorum.weak() };
                judge.certifies(&mut self.bodies, body);
            } else if signed_parts(message).is_none() {
                self.bodies.note_proof(body, false);
            } else {
                all &= self.try_signature(now, body).is_some();
            }
        }
        all
    }

    /// Whether a body is signed well; `None` where its signature cannot be looked at now.
    pub(super) fn try_signature(&mut self, now: Now, body: BodyRef) -> Option<bool> {
        let unsigned = signed_parts(self.bodies.message(body)).is_none();
        if unsigned {
            return Some(false);
        }
        let may = self.bodies.proof(body).is_some()
            || self.check_budget.take(self.bodies.name(body).client, now.monotonic_ns);
        may.then(|| is_signed(&self.signatures, &mut self.bodies, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `protocol.md DM-1`
    #[test]
    fn no_client_takes_the_checks_of_another() {
        let mut budget = CheckBudget::new(8);
        let (greedy, modest) = (ClientId(3), ClientId(4));
        let spent = (0..10_000).filter(|_| budget.take(greedy, 5)).count() as u64;
        assert_eq!(spent, REQUEST_CHECKS_BURST);
        assert!(budget.take(modest, 5));
        assert!(!budget.take(ClientId(8), 5), "a client that there is not");
        // In the long run as well.
        let second: Vec<u64> = (1_000_000_000..2_000_000_000).step_by(100_000).collect();
        let checked = second.iter().filter(|now_ns| budget.take(greedy, **now_ns)).count() as u64;
        assert!(checked <= REQUEST_CHECKS_BURST + 1_000_000_000 / REQUEST_CHECK_NS, "{checked}");
        assert!(budget.take(modest, 2_000_000_000));
        // All together.
        let all = (0..8).map(|id| (0..1000).filter(|_| budget.take(ClientId(id), 9_000_000_000)).count() as u64);
        assert_eq!(all.sum::<u64>(), REQUEST_CHECKS_COMMON_BURST);
    }
}
