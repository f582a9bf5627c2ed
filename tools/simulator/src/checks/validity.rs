//! C5, validity: what is executed was asked for, under the name of who asked for it, and to the byte as it was asked for where that is a correct client.
//! And whoever is taken for the sender of a packet did send it.

use super::violations::{Checker, Violations};
use crate::world::witness::Executed;
use logothete_crypto::{Digest, digest};
use logothete_engine::numbers::{ClientId, Principal, ReplicaId};
use logothete_engine::wire::request::RequestName;
use logothete_engine::wire::{Message, Messages};
use std::collections::{BTreeMap, BTreeSet};

/// What clients asked for.
#[derive(Debug, Default)]
pub struct Validity {
    /// The requests that clients sent in their own names, by digest and client. Others may send the same after them.
    requests: BTreeMap<(Digest, u16), RequestName>,
    /// What applications asked of correct clients: by client, session and number.
    operations: BTreeMap<(u16, u64, u64), Vec<u8>>,
    /// Correct clients: everybody of whom an application asked something.
    clients: BTreeSet<u16>,
    /// As which request an operation was executed.
    executed: BTreeMap<(u16, u64, u64), Digest>,
}

impl Validity {
    /// An application asks a correct client for an operation.
    pub fn on_asked(&mut self, client: ClientId, (session, number): (u64, u64), operation: &[u8]) {
        self.clients.insert(client.0);
        self.operations.insert((client.0, session, number), operation.to_vec());
    }

    /// A client sends a packet of its own.
    pub fn on_requested(&mut self, from: ClientId, body: &[u8]) {
        for (message, _) in Messages::new(body, Principal::Client(from)).flatten() {
            match message {
                // What a part says of the whole need not be so.
                Message::RequestPart(part) if part.name.client == from => {
                    self.requests.entry((part.digest, from.0)).or_insert(part.name);
                }
                Message::Request(request) if request.name.client == from => {
                    self.requests.insert((digest(body), from.0), request.name);
                }
                _ => {}
            }
        }
    }

    /// A replica or client took a packet, authentic as it found, for one of `taken_for`; `sent_by` is who made it.
    pub fn on_taken(&self, at: Principal, taken_for: Principal, sent_by: Principal, violations: &mut Violations) {
        if taken_for != sent_by {
            let text = format!("{at:?} took a packet of {sent_by:?} for one of {taken_for:?}");
            violations.add(Checker::Validity, text);
        }
    }

    /// Whether a client is correct: an application asked it for something.
    pub fn is_correct(&self, client: u16) -> bool {
        self.clients.contains(&client)
    }

    /// The name of a client's request, as it sent it.
    pub fn name(&self, request: Digest, client: u16) -> Option<RequestName> {
        self.requests.get(&(request, client)).copied()
    }

    /// As which request an operation was executed.
    pub fn request_of(&self, operation: (u16, u64, u64)) -> Option<Digest> {
        self.executed.get(&operation).copied()
    }

    /// A correct replica's service executed a request, perhaps tentatively.
    pub fn on_executed(&mut self, by: ReplicaId, request: &Executed, violations: &mut Violations) {
        if self.name(request.digest, request.client).is_none() {
            violations.add(Checker::Validity, format!("{by} executed {request:?}, which its client did not ask for"));
        }
        for operation in &request.operations {
            let place = (request.client, operation.session, operation.number);
            self.executed.insert(place, request.digest);
            let correct = self.is_correct(request.client);
            if correct && self.operations.get(&place) != Some(&operation.bytes) {
                let text = format!("{by} executed {operation:?}, and its client asked for something else");
                violations.add(Checker::Validity, text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::witness::Appended;
    use logothete_engine::numbers::{Incarnation, RequestNumber};
    use logothete_engine::wire::operation::OperationsWriter;
    use logothete_engine::wire::request;

    const CLIENT: ClientId = ClientId(4);

    fn body(client: ClientId) -> Vec<u8> {
        let mut writer = OperationsWriter::new(100);
        assert!(writer.try_push(4, 1, b"hello"));
        let operations = writer.operations();
        let (incarnation, number) = (Incarnation(7), RequestNumber(1));
        let (mut body, name) = (Vec::new(), RequestName { client, incarnation, number });
        request::append(&mut body, name, operations.count(), operations.bytes());
        body
    }

    fn executed(validity: &mut Validity, client: u16, digest: Digest, bytes: &[u8]) -> usize {
        let operations = vec![Appended { session: 4, number: 1, bytes: bytes.to_vec() }];
        let request = Executed { sequence: 1, timestamp_ns: 1, client, digest, operations };
        let mut violations = Violations::default();
        validity.on_executed(ReplicaId(0), &request, &mut violations);
        violations.checkers().len()
    }

    #[test]
    fn what_is_executed_was_asked_for_as_it_was() {
        let (mut validity, body) = (Validity::default(), body(CLIENT));
        let digest = digest(&body);
        validity.on_asked(CLIENT, (4, 1), b"hello");
        assert_eq!(executed(&mut validity, 4, digest, b"hello"), 1, "it was not sent yet");
        validity.on_requested(CLIENT, &body);
        assert_eq!(executed(&mut validity, 4, digest, b"hello"), 0);
        assert_eq!((validity.name(digest, 4).unwrap().number.0, validity.request_of((4, 4, 1))), (1, Some(digest)));
        assert_eq!(executed(&mut validity, 4, digest, b"hallo"), 1, "other bytes under its digest");
        assert_eq!(executed(&mut validity, 5, digest, b"hello"), 1, "in another's name");
        assert_eq!(executed(&mut validity, 4, Digest([1; 32]), b"hello"), 1, "another request");
    }

    #[test]
    fn nobody_speaks_in_anothers_name() {
        let (mut validity, body) = (Validity::default(), body(CLIENT));
        validity.on_requested(ClientId(5), &body);
        assert_eq!(executed(&mut validity, 4, digest(&body), b"hello"), 1);
        validity.on_requested(CLIENT, &body);
        validity.on_requested(ClientId(5), &body);
        assert_eq!(
            executed(&mut validity, 4, digest(&body), b"hello"),
            0,
            "its client asked for it, whoever says so too"
        );
        let mut violations = Violations::default();
        let (replica, other) = (Principal::Replica(ReplicaId(1)), Principal::Replica(ReplicaId(2)));
        validity.on_taken(replica, other, other, &mut violations);
        assert_eq!(violations.take(), Ok(()));
        validity.on_taken(replica, other, Principal::Replica(ReplicaId(3)), &mut violations);
        assert_eq!(violations.checkers(), [Checker::Validity]);
    }
}
