//! What is seen of packets: as they leave, are lost, arrive and are taken, handed to the checkers that it concerns.

use super::Checks;
use super::violations::Checker;
use super::vote::Vote;
use logothete_engine::authentication::Refused;
use logothete_engine::numbers::{ClientId, Principal, ReplicaId};
use logothete_engine::replica::{Reject, RejectCounters};
use logothete_engine::wire::parts::RequestPart;
use logothete_engine::wire::request::Request;
use logothete_engine::wire::view_change::{NewView, Part};
use logothete_engine::wire::{Message, Messages};

impl Checks {
    /// A packet of somebody's own leaves.
    pub fn on_launched(&mut self, from: Principal, body: &[u8]) {
        self.observer.on_launched(from, body);
        let client = match from {
            Principal::Client(client) => client,
            // What a correct one says is looked at where it says it.
            Principal::Replica(from) if self.faulty(from) => {
                return Messages::new(body, Principal::Replica(from))
                    .flatten()
                    .for_each(|(message, _)| self.on_content(&message));
            }
            Principal::Replica(_) => return,
        };
        self.validity.on_requested(client, body);
        for (message, _) in Messages::new(body, from).flatten() {
            if let Message::Query(query) = message {
                self.acceptance.on_query(client, query.nonce);
            }
        }
    }

    /// A packet is lost on its way.
    pub fn on_lost(&mut self, body: &[u8], sender: Principal) {
        self.observer.on_dropped(body, sender);
    }

    /// The verifier of a correct replica or of a client refused a packet.
    pub fn on_refused(&mut self, body: &[u8], sender: Principal, reason: Refused) {
        self.observer.on_dropped(body, sender);
        self.observer.on_refused(reason);
    }

    /// The core of a correct replica rejected a message of a packet.
    pub fn on_rejected(&mut self, body: &[u8], sender: Principal, reason: Reject) {
        self.observer.on_dropped(body, sender);
        self.observer.on_rejected(body, sender, reason);
    }

    /// A packet that verified reached a correct replica or a client, which takes it for one of `taken_for`; `sent_by` is who made it.
    pub fn on_arrived(&mut self, at: Principal, (taken_for, sent_by): (Principal, Principal), body: &[u8]) {
        self.observer.on_arrived(at, taken_for, body, false);
        self.validity.on_taken(at, taken_for, sent_by, &mut self.violations);
        let from = match (at, sent_by) {
            (_, Principal::Replica(from)) => from,
            (Principal::Replica(at), Principal::Client(client)) => return self.on_request_arrived(at, client, body),
            (Principal::Client(_), Principal::Client(_)) => return,
        };
        let at = match at {
            Principal::Replica(at) => at,
            Principal::Client(at) => {
                let messages = Messages::new(body, sent_by).flatten();
                return messages.for_each(|(message, _)| self.acceptance.on_arrived(at, from, &message));
            }
        };
        self.bounds.on_received(at, from, body.len(), self.now_ns);
        for (message, _) in Messages::new(body, sent_by).flatten() {
            if let Some(vote) = Vote::of(&message) {
                self.received.on_vote(at, from, vote);
            }
            match message {
                Message::CommitClaim(claim) => self.received.on_claim(at, from, claim.sequence().0, claim.digest),
                Message::Checkpoint(vote) => {
                    self.counters.on_checkpoint(at, from, vote.sequence().0, vote.digest);
                    self.received.on_checkpoint(at, from, vote.sequence().0, vote.digest);
                }
                Message::Status(status) => {
                    let standing = status.standing();
                    self.departures.on_status(at, from, &standing);
                }
                Message::Part(part) => {
                    self.on_part(from, &part);
                    self.departures.on_part(at, part.digest);
                }
                _ => {}
            }
        }
    }

    /// A packet is authentic to somebody that nobody may take.
    pub fn on_unsent(&mut self, text: String) {
        self.violations.add(Checker::Validity, text);
    }

    fn on_request_arrived(&mut self, at: ReplicaId, from: ClientId, body: &[u8]) {
        for (message, _) in Messages::new(body, Principal::Client(from)).flatten() {
            let (name, is_whole) = match message {
                Message::Request(request) => (request.name, true),
                Message::RequestPart(part) => (part.name, false),
                _ => continue,
            };
            if name.client == from {
                self.patience.on_request(at, name, is_whole, self.local_ns, &self.tables);
            }
        }
    }

    /// A client's packet that another replica passed on reached a correct one. It counts as little as a part: it may not be authentic there.
    pub fn on_relay_arrived(&mut self, at: Principal, client: Principal, body: &[u8]) {
        self.observer.on_arrived(at, client, body, true);
        let (Principal::Replica(at), Principal::Client(client)) = (at, client) else { return };
        for (message, _) in Messages::new(body, Principal::Client(client)).flatten() {
            if let Message::Request(Request { name, .. }) | Message::RequestPart(RequestPart { name, .. }) = message {
                self.patience.on_request(at, name, false, self.local_ns, &self.tables);
            }
        }
    }

    /// A correct replica took a packet; its counters before and after.
    pub fn on_taken(
        &mut self,
        at: ReplicaId,
        from: Principal,
        body: &[u8],
        counters: (&RejectCounters, &RejectCounters),
    ) {
        self.counters.on_taken(at, from, body, counters, &mut self.violations);
    }

    /// A message may say what a batch consists of.
    pub(super) fn on_content(&mut self, message: &Message<'_>) {
        match message {
            Message::PrePrepare(proposal) => self.validity.on_content(proposal.timestamp_ns, proposal.entries),
            Message::Batch(batch) => self.validity.on_content(batch.timestamp_ns, batch.entries),
            _ => {}
        }
    }

    /// A part of a statement was sent. What was not said by the replica in whose name it is counts for its own only where that one is faulty: somebody
    /// else has no key to sign it with.
    pub(super) fn on_part(&mut self, from: ReplicaId, part: &Part<'_>) {
        if !self.statements.take(part) {
            return;
        }
        let seen = self.statements.get(&part.digest).expect("it was just completed");
        let is_own = |content: &NewView<'_>| content.replica == from || self.faulty(content.replica);
        let of_primary = |content: &NewView<'_>| self.views.is_primary(content) && is_own(content);
        let Some(content) = seen.new_view().filter(of_primary) else { return };
        self.views.on_new_view(&content, part.digest);
        // Whoever is faulty may begin at the end of all numbers.
        for (place, digest) in (1..).zip(content.selection) {
            self.received.on_carried(content.view.0, content.checkpoint.0.0.saturating_add(place), *digest);
        }
    }
}
