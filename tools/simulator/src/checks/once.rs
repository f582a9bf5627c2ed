//! C4, exactly once: in the one order, whatever was rolled back, restarted and transferred on the way to it, each request stands once, the requests of a
//! client stand in its order without gaps, and nobody is told twice that an operation was done.

use super::violations::{Checker, Violations};
use crate::world::witness::Executed;
use logothete_engine::numbers::ReplicaId;
use logothete_engine::wire::request::RequestName;
use std::collections::{BTreeMap, BTreeSet};

/// What was done of what was asked for.
#[derive(Debug, Default)]
pub struct Once {
    /// Of each client: the incarnation and the number of the last request that stands in the order.
    last: BTreeMap<u16, (u64, u64)>,
    /// Operations of correct clients that stand there; what the others number is their affair.
    done: BTreeSet<(u16, u64, u64)>,
    /// Operations whose results correct clients accepted.
    completed: BTreeSet<(u16, u64, u64)>,
}

impl Once {
    /// A request comes to stand in the one order; under which name, its client's packet says, and whether that is a correct client.
    pub fn on_ordered(
        &mut self,
        by: ReplicaId,
        request: &Executed,
        (name, correct): (Option<RequestName>, bool),
        violations: &mut Violations,
    ) {
        if let Some(name) = name {
            let (incarnation, number) = (name.incarnation.0, name.number.0);
            let (held, last) = self.last.get(&request.client).copied().unwrap_or_default();
            let next = if incarnation > held { 1 } else { last + 1 };
            if incarnation < held || number != next {
                let text = format!("{by} executed {name:?} after number {last} of incarnation {held}");
                violations.add(Checker::ExactlyOnce, text);
            }
            self.last.insert(request.client, (incarnation, number));
        }
        for operation in request.operations.iter().filter(|_| correct) {
            if !self.done.insert((request.client, operation.session, operation.number)) {
                let name = format!("operation {} of session {}", operation.number, operation.session);
                violations.add(Checker::ExactlyOnce, format!("{by} executed {name} twice"));
            }
        }
    }

    /// A correct client accepted the result of an operation.
    pub fn on_completed(&mut self, operation: (u16, u64, u64), violations: &mut Violations) {
        if !self.completed.insert(operation) {
            let (_, session, number) = operation;
            violations.add(Checker::ExactlyOnce, format!("operation {number} of session {session} completed twice"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::witness::Appended;
    use logothete_crypto::Digest;
    use logothete_engine::numbers::{ClientId, Incarnation, RequestNumber};

    fn order(once: &mut Once, incarnation: u64, number: u64, operation: u64) -> usize {
        order_of(once, true, incarnation, number, operation)
    }

    fn order_of(once: &mut Once, correct: bool, incarnation: u64, number: u64, operation: u64) -> usize {
        let operations = vec![Appended { session: 4, number: operation, bytes: vec![] }];
        let request = Executed { sequence: 1, timestamp_ns: 1, client: 4, digest: Digest::ZERO, operations };
        let name =
            RequestName { client: ClientId(4), incarnation: Incarnation(incarnation), number: RequestNumber(number) };
        let mut violations = Violations::default();
        once.on_ordered(ReplicaId(0), &request, (Some(name), correct), &mut violations);
        assert!(violations.checkers().iter().all(|checker| *checker == Checker::ExactlyOnce));
        violations.checkers().len()
    }

    #[test]
    fn each_request_once_and_in_its_clients_order() {
        let mut once = Once::default();
        assert_eq!(order(&mut once, 7, 1, 1), 0);
        assert_eq!(order(&mut once, 7, 2, 2), 0);
        assert_eq!(order(&mut once, 9, 1, 3), 0, "another start of the client");
        assert_eq!(order(&mut once, 9, 1, 4), 1, "the same number once more");
        assert_eq!(order(&mut once, 9, 3, 5), 1, "one was left out");
        assert_eq!(order(&mut once, 7, 4, 6), 1, "its former self");
        let mut once = Once::default();
        order(&mut once, 7, 1, 1);
        assert_eq!(order(&mut once, 7, 2, 1), 1, "the same operation in another request");
        assert_eq!(order_of(&mut once, false, 7, 3, 1), 0, "who is faulty numbers as it likes");
    }

    #[test]
    fn an_operation_completes_once() {
        let (mut once, mut violations) = (Once::default(), Violations::default());
        once.on_completed((4, 4, 1), &mut violations);
        once.on_completed((4, 4, 2), &mut violations);
        assert_eq!(violations.take(), Ok(()));
        once.on_completed((4, 4, 1), &mut violations);
        assert_eq!(violations.checkers(), [Checker::ExactlyOnce]);
    }
}
