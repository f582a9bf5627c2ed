//! What the adversary puts in the post: packets that are not sealed yet, in the name of somebody whom it owns.

use crate::scenario::words::kind;
use logothete_engine::numbers::{Principal, ReplicaId, ReplicaSet};
use logothete_engine::wire::{Audience, Message, Messages};

/// A packet before it is sealed.
#[derive(Clone, Debug)]
pub struct Letter {
    pub from: Principal,
    pub audience: Audience,
    /// Whole messages, unless it is a client's garbage.
    pub body: Vec<u8>,
    /// For whom its tags are wrong.
    pub spoilt: Vec<Principal>,
    /// How much later it leaves.
    pub delay_ns: u64,
}

impl Letter {
    pub fn new(from: Principal, audience: Audience, body: Vec<u8>) -> Self {
        Self { from, audience, body, spoilt: Vec::new(), delay_ns: 0 }
    }

    /// Of a replica, to replicas.
    pub fn between(from: ReplicaId, to: ReplicaSet, body: Vec<u8>) -> Self {
        Self::new(Principal::Replica(from), Audience::Replicas(to), body)
    }

    /// The replica whose it is.
    pub fn replica(&self) -> Option<ReplicaId> {
        match self.from {
            Principal::Replica(id) => Some(id),
            Principal::Client(_) => None,
        }
    }

    /// Its messages, decoded and as bytes.
    pub fn messages(&self) -> impl Iterator<Item = (Message<'_>, &[u8])> {
        Messages::new(&self.body, self.from).flatten()
    }

    /// Whether one of its messages is of one of these kinds.
    pub fn holds(&self, kinds: &[&str]) -> bool {
        self.messages().any(|(message, _)| kinds.contains(&kind(&message)))
    }

    /// The same with another body; none if nothing is left of it.
    pub fn with_body(&self, body: Vec<u8>) -> Option<Self> {
        (!body.is_empty()).then(|| Self { body, ..self.clone() })
    }

    /// The same messages, each as `change` has it.
    pub fn rewritten(&self, mut change: impl FnMut(&Message<'_>, &[u8], &mut Vec<u8>)) -> Vec<u8> {
        let mut body = Vec::new();
        self.messages().for_each(|(message, bytes)| change(&message, bytes, &mut body));
        body
    }

    /// The part of it that goes to some replicas, and the part that goes to the others. What goes to a client is of the first part where `clients`.
    pub fn split(self, told: ReplicaSet, clients: bool) -> (Option<Self>, Option<Self>) {
        let Audience::Replicas(all) = self.audience else {
            return if clients { (Some(self), None) } else { (None, Some(self)) };
        };
        let part = |bits: u16| {
            let set = ReplicaSet(bits);
            (set != ReplicaSet::EMPTY).then(|| Self { audience: Audience::Replicas(set), ..self.clone() })
        };
        (part(all.0 & told.0), part(all.0 & !told.0))
    }

    /// Its messages of some kinds in one letter, and the rest in another.
    pub fn parted(self, kinds: &[&str]) -> (Option<Self>, Option<Self>) {
        let of = |wanted: bool| {
            self.rewritten(|message, bytes, out| {
                if kinds.contains(&kind(message)) == wanted {
                    out.extend_from_slice(bytes);
                }
            })
        };
        (self.with_body(of(true)), self.with_body(of(false)))
    }
}
