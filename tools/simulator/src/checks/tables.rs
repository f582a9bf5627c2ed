//! C2 for the client table, which is part of the state: after the same number it has the same at every correct replica, whether it executed up to there, went
//! back, began again or fetched a state: of each client the last request that stands in the one order, and the replies to the last ones. So that who
//! caught up answers as the others do (`protocol.md CL-3`, `CL-5`, `RD-4`).

use super::violations::{Checker, Violations};
use logothete_crypto::{Digest, digest};
use logothete_engine::numbers::{ReplicaId, RequestNumber};
use logothete_engine::replica::clients::Clients;
use logothete_engine::wire::request::RequestName;
use std::collections::BTreeMap;

/// A request in the one order.
#[derive(Clone, Copy, Debug)]
struct Ordered {
    sequence: u64,
    name: RequestName,
    request: Digest,
}

/// The table as the one order has it.
#[derive(Debug)]
pub struct Tables {
    /// How many replies are kept of each client.
    window: u64,
    /// Of each client.
    ordered: BTreeMap<u16, Vec<Ordered>>,
    /// The results that the first replica had.
    results: BTreeMap<RequestName, (Digest, ReplicaId)>,
}

impl Tables {
    pub fn new(window: u64) -> Self {
        Self { window, ordered: BTreeMap::new(), results: BTreeMap::new() }
    }

    /// How many replies are kept of each client.
    pub fn window(&self) -> u64 {
        self.window
    }

    /// A request comes to stand in the one order, at a number.
    pub fn on_ordered(&mut self, sequence: u64, name: RequestName, request: Digest) {
        self.ordered.entry(name.client.0).or_default().push(Ordered { sequence, name, request });
    }

    /// A client's requests up to a number.
    fn upto(&self, client: u16, sequence: u64) -> &[Ordered] {
        let all = self.ordered.get(&client).map_or(&[][..], |all| all);
        &all[..all.partition_point(|ordered| ordered.sequence <= sequence)]
    }

    /// A client's last request that was executed up to a number. Incarnations that were only opened are not seen.
    pub fn last(&self, client: u16, sequence: u64) -> Option<RequestName> {
        self.upto(client, sequence).last().map(|last| last.name)
    }

    /// The same of each client of which something was.
    pub fn last_of_each(&self, sequence: u64) -> impl Iterator<Item = RequestName> {
        self.ordered.keys().filter_map(move |client| self.last(*client, sequence))
    }

    /// The table of a correct replica that has executed up to a number, and nothing beyond.
    pub fn on_table(&mut self, by: ReplicaId, sequence: u64, table: &Clients, violations: &mut Violations) {
        let mut wrong = |text: String| violations.add(Checker::State, format!("{by}, after s{sequence}, {text}"));
        for last in table.last_requests() {
            let past = self.upto(last.client.0, sequence);
            let right = match past.last().map(|ordered| ordered.name) {
                Some(ordered) if ordered.incarnation == last.incarnation => last.number == ordered.number,
                Some(ordered) => last.incarnation > ordered.incarnation && last.number == RequestNumber::OPEN,
                None => last.number == RequestNumber::OPEN,
            };
            if !right {
                wrong(format!("has {last:?} for its client's last request, and not {:?}", past.last()));
            }
            let kept = past.iter().rev().take(self.window as usize);
            for ordered in kept.filter(|ordered| ordered.name.incarnation == last.incarnation) {
                let held = table.reply(ordered.name).map(|reply| (reply.request, reply.sequence.0));
                if held != Some((ordered.request, ordered.sequence)) {
                    wrong(format!("has {held:?} for the reply to {ordered:?}"));
                }
            }
        }
        for (name, reply) in table.replies_held() {
            let results = digest(reply.results);
            let (first, whose) = *self.results.entry(name).or_insert((results, by));
            if first != results {
                wrong(format!("holds other results of {name:?} than {whose}"));
            }
        }
    }
}
