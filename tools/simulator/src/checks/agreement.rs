//! C1, agreement: at each sequence number one batch, with the same requests, at all correct replicas, for ever. What the first of them executed
//! is the one order that everything else is compared with; time goes on in it.

use super::violations::{Checker, Violations};
use crate::world::witness::{Appended, Executed};
use logothete_crypto::Digest;
use logothete_engine::numbers::ReplicaId;
use std::collections::BTreeMap;

/// What stands at one sequence number.
#[derive(Debug)]
struct Ordered {
    requests: Vec<Executed>,
    by: ReplicaId,
    /// How many operations have been executed with it.
    operations: u64,
}

/// The one order.
#[derive(Debug, Default)]
pub struct Agreement {
    batches: BTreeMap<u64, (Digest, ReplicaId)>,
    requests: BTreeMap<u64, Ordered>,
    /// All operations in their order, each with its client; and where those stand that have a name of their own.
    order: Vec<(u16, Appended)>,
    places: BTreeMap<(u16, u64, u64), usize>,
}

impl Agreement {
    /// A correct replica says that a batch committed, or acts so.
    pub fn on_committed(&mut self, by: ReplicaId, sequence: u64, batch: Digest, violations: &mut Violations) {
        let (held, first) = *self.batches.entry(sequence).or_insert((batch, by));
        if held != batch {
            violations.add(Checker::Agreement, format!("{first} and {by} committed different batches at s{sequence}"));
        }
    }

    /// A correct replica's service executed these requests, for good. Whether it is the first to execute the number.
    pub fn on_executed(
        &mut self,
        by: ReplicaId,
        sequence: u64,
        requests: Vec<Executed>,
        violations: &mut Violations,
    ) -> bool {
        match self.requests.get(&sequence) {
            Some(held) if held.requests != requests => {
                let first = held.by;
                let text = format!("{first} and {by} executed different requests at s{sequence}");
                violations.add(Checker::Agreement, text);
                false
            }
            Some(_) => false,
            None => {
                let before = self.requests.range(..sequence).rev().find_map(|(_, before)| before.requests.first());
                if let Some((before, first)) = before.zip(requests.first())
                    && first.timestamp_ns <= before.timestamp_ns
                {
                    let text = format!("{by} executed s{sequence} at a time that is not after s{}'s", before.sequence);
                    violations.add(Checker::Agreement, text);
                }
                for request in &requests {
                    for operation in &request.operations {
                        let name = (request.client, operation.session, operation.number);
                        self.places.entry(name).or_insert(self.order.len());
                        self.order.push((request.client, operation.clone()));
                    }
                }
                self.requests.insert(sequence, Ordered { requests, by, operations: self.order.len() as u64 });
                true
            }
        }
    }

    /// Whether a request was executed at its number before.
    pub fn has(&self, request: &Executed) -> bool {
        self.requests.get(&request.sequence).is_some_and(|ordered| ordered.requests.contains(request))
    }

    /// Whether anybody executed a number.
    pub fn knows(&self, sequence: u64) -> bool {
        self.requests.contains_key(&sequence)
    }

    /// How many operations have been executed after a number; none after one that nobody executed.
    pub fn operations_after(&self, sequence: u64) -> u64 {
        self.requests.get(&sequence).map_or(0, |ordered| ordered.operations)
    }

    /// All operations, in their order, each with its client.
    pub fn order(&self) -> &[(u16, Appended)] {
        &self.order
    }

    /// Where an operation stands in it: client, session and number.
    pub fn place_of(&self, operation: (u16, u64, u64)) -> Option<usize> {
        self.places.get(&operation).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(sequence: u64, tag: u8) -> Executed {
        let operations = vec![Appended { session: 0, number: u64::from(tag), bytes: vec![tag] }];
        Executed { sequence, timestamp_ns: sequence, client: 0, digest: Digest([tag; 32]), operations }
    }

    #[test]
    fn one_batch_a_number() {
        let (mut agreement, mut violations) = (Agreement::default(), Violations::default());
        agreement.on_committed(ReplicaId(0), 1, Digest([1; 32]), &mut violations);
        agreement.on_committed(ReplicaId(1), 1, Digest([1; 32]), &mut violations);
        agreement.on_committed(ReplicaId(1), 2, Digest([2; 32]), &mut violations);
        assert_eq!(violations.take(), Ok(()));
        agreement.on_committed(ReplicaId(2), 1, Digest([2; 32]), &mut violations);
        assert_eq!(violations.checkers(), [Checker::Agreement]);
    }

    #[test]
    fn the_same_requests_at_each_number() {
        let (mut agreement, mut violations) = (Agreement::default(), Violations::default());
        assert!(agreement.on_executed(ReplicaId(0), 1, vec![request(1, 1), request(1, 2)], &mut violations));
        assert!(!agreement.on_executed(ReplicaId(1), 1, vec![request(1, 1), request(1, 2)], &mut violations));
        assert!(agreement.on_executed(ReplicaId(1), 2, vec![request(2, 3)], &mut violations));
        assert_eq!(violations.take(), Ok(()));
        assert_eq!((agreement.operations_after(1), agreement.operations_after(2), agreement.order().len()), (2, 3, 3));
        assert_eq!((agreement.place_of((0, 0, 3)), agreement.place_of((1, 0, 3))), (Some(2), None));
        assert!(agreement.has(&request(2, 3)) && !agreement.has(&request(2, 4)));
        // The order within a batch counts.
        agreement.on_executed(ReplicaId(2), 1, vec![request(1, 2), request(1, 1)], &mut violations);
        agreement.on_executed(ReplicaId(2), 2, vec![], &mut violations);
        // Time stands still.
        agreement.on_executed(ReplicaId(2), 3, vec![Executed { timestamp_ns: 2, ..request(3, 9) }], &mut violations);
        assert_eq!(violations.checkers(), [Checker::Agreement; 3]);
    }
}
