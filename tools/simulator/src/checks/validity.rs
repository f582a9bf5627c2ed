//! C5, validity: what is executed was asked for, under the name of who asked for it, and to the byte as it was asked for. What a correct replica proposes
//! or votes for it could verify, or `f+1` could, so that it was asked for as well. And whoever is taken for the sender of a packet did send it.

use super::violations::{Checker, Violations};
use crate::world::witness::{Appended, Executed};
use logothete_crypto::{Digest, digest};
use logothete_engine::limits::REQUEST_OPERATIONS_MAX;
use logothete_engine::numbers::{ClientId, Principal, ReplicaId};
use logothete_engine::wire::agreement::{BatchEntry, batch_digest};
use logothete_engine::wire::operation::{OPERATION_HEADER_BYTES, OperationsWriter};
use logothete_engine::wire::request::RequestName;
use logothete_engine::wire::{Message, Messages};
use std::collections::{BTreeMap, BTreeSet};

/// A request that a client sent.
#[derive(Clone, Copy, Debug)]
struct Asked {
    name: RequestName,
    /// Of its operations; none where it came in parts.
    operations: Option<Digest>,
}

/// What clients asked for.
#[derive(Debug, Default)]
pub struct Validity {
    /// The requests that clients sent in their own names, by digest and client. Others may send the same after them.
    requests: BTreeMap<(Digest, u16), Asked>,
    /// What batches name, by digest; and those that were looked at.
    batches: BTreeMap<Digest, Vec<BatchEntry>>,
    looked_at: BTreeSet<Digest>,
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
                    let asked = Asked { name: part.name, operations: None };
                    self.requests.entry((part.digest, from.0)).or_insert(asked);
                }
                Message::Request(request) if request.name.client == from => {
                    let operations = Some(digest(request.operations.bytes()));
                    self.requests.insert((digest(body), from.0), Asked { name: request.name, operations });
                }
                _ => {}
            }
        }
    }

    /// Somebody says what a batch consists of.
    pub fn on_content(&mut self, timestamp_ns: u64, entries: &[BatchEntry]) {
        self.batches.entry(batch_digest(timestamp_ns, entries)).or_insert_with(|| entries.to_vec());
    }

    /// A correct replica proposes or votes for a batch: its requests are their clients'.
    pub fn on_vote(&mut self, by: ReplicaId, batch: Digest, violations: &mut Violations) {
        let Some(entries) = self.batches.get(&batch).filter(|_| self.looked_at.insert(batch)) else { return };
        // What demotes a client is the replicas' own.
        for entry in entries.iter().filter(|entry| entry.name().client != ClientId::SYSTEM) {
            if self.name(entry.digest, entry.name().client.0) != Some(entry.name()) {
                let text = format!("{by} votes for a batch with {entry:?}, which its client did not ask for");
                violations.add(Checker::Validity, text);
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
        self.requests.get(&(request, client)).map(|asked| asked.name)
    }

    /// As which request an operation was executed.
    pub fn request_of(&self, operation: (u16, u64, u64)) -> Option<Digest> {
        self.executed.get(&operation).copied()
    }

    /// A correct replica's service executed a request, perhaps tentatively.
    pub fn on_executed(&mut self, by: ReplicaId, request: &Executed, violations: &mut Violations) {
        let asked = self.requests.get(&(request.digest, request.client));
        if asked.is_none() {
            violations.add(Checker::Validity, format!("{by} executed {request:?}, which its client did not ask for"));
        }
        let operations = asked.and_then(|asked| asked.operations);
        if operations.is_some_and(|operations| operations != digest_of(&request.operations)) {
            violations
                .add(Checker::Validity, format!("{by} executed {request:?}, which is not what that digest is of"));
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

/// Of operations as a request holds them.
fn digest_of(operations: &[Appended]) -> Digest {
    assert!(operations.len() <= REQUEST_OPERATIONS_MAX, "a request was executed that no client can make");
    let bytes = operations.iter().map(|operation| OPERATION_HEADER_BYTES + operation.bytes.len()).sum();
    let mut writer = OperationsWriter::new(bytes);
    for operation in operations {
        assert!(writer.try_push(operation.session, operation.number, &operation.bytes), "there is room for all");
    }
    digest(writer.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
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
        assert_eq!(executed(&mut validity, 4, digest, b"hallo"), 2, "other bytes under its digest");
        assert_eq!(executed(&mut validity, 5, digest, b"hello"), 1, "in another's name");
        assert_eq!(executed(&mut validity, 4, Digest([1; 32]), b"hello"), 1, "another request");
    }

    #[test]
    fn what_is_voted_for_was_asked_for() {
        let (mut validity, body) = (Validity::default(), body(CLIENT));
        let name = RequestName { client: CLIENT, incarnation: Incarnation(7), number: RequestNumber(1) };
        let other = RequestName { number: RequestNumber(2), ..name };
        let votes = |validity: &mut Validity, name, digest| {
            let (entries, mut violations) = ([BatchEntry::new(name, digest)], Violations::default());
            validity.on_content(5, &entries);
            validity.on_vote(ReplicaId(0), batch_digest(5, &entries), &mut violations);
            violations.checkers().len()
        };
        validity.on_requested(CLIENT, &body);
        assert_eq!(votes(&mut validity, name, digest(&body)), 0);
        assert_eq!(votes(&mut validity, other, digest(&body)), 1, "under another number");
        assert_eq!(votes(&mut validity, name, Digest([1; 32])), 1, "nobody sent it");
        assert_eq!(votes(&mut validity, RequestName { client: ClientId::SYSTEM, ..name }, Digest([2; 32])), 0);
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
