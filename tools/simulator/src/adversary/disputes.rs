//! A3: lies about clients: disputes of requests that are well authenticated, or that nobody made, testimonies of packets that nobody sent, forwards of
//! anything.

use crate::adversary::agent::Owned;
use crate::adversary::letter::Letter;
use crate::adversary::liar::some_batch;
use crate::adversary::strategy::{Deed, Strategy};
use crate::adversary::views::{one_of, told_by};
use crate::scenario::words::made_up;
use crate::world::cluster::Cluster;
use crate::world::random::Random;
use crate::world::settings::Settings;
use logothete_crypto::Digest;
use logothete_engine::numbers::{ClientId, Incarnation, RequestNumber, SequenceNumber};
use logothete_engine::wire::dispute::{Dispute, Examine, Testimony};
use logothete_engine::wire::forward::Forward;
use logothete_engine::wire::request::RequestName;

struct LieAboutClients {
    random: Random,
}

pub fn lie_about_clients(random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(LieAboutClients { random })
}

impl LieAboutClients {
    /// A request that exists, in some way, or not at all.
    fn some_request(&mut self, cluster: &Cluster) -> (RequestName, Digest) {
        let random = &mut self.random;
        let batch = some_batch(cluster, random);
        let entries = cluster.seen.entries_of(&batch);
        if random.percent(70) && !entries.is_empty() {
            let entry = entries[random.below(entries.len())];
            return (entry.name(), if random.percent(80) { entry.digest } else { made_up("another request") });
        }
        let client = ClientId(random.below(cluster.settings.clients + 2) as u16);
        let (incarnation, number) = (Incarnation(random.draw()), RequestNumber(random.below(5) as u64));
        (RequestName { client, incarnation, number }, made_up("no request"))
    }
}

impl Strategy for LieAboutClients {
    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let Some(own) = one_of(owned, &mut self.random) else { return Vec::new() };
        let Some(told) = told_by(own, cluster, &mut self.random) else { return Vec::new() };
        let (name, request) = self.some_request(cluster);
        let mut body = Vec::new();
        match self.random.below(5) {
            0 | 1 => {
                let epoch = cluster.replicas[usize::from(own.0)].epoch;
                let dispute =
                    Dispute::new(own, epoch, name, request, |content| owned.sign_dispute(cluster, own, content));
                dispute.append(&mut body);
            }
            2 => Forward::new(name, request).append(&mut body),
            3 => Testimony { body: request, packet: made_up("a packet") }.append(&mut body),
            _ => {
                let batch = some_batch(cluster, &mut self.random);
                let sequence = SequenceNumber(self.random.below(64) as u64);
                Examine::new(sequence, batch, self.random.below(300), self.random.below(3)).append(&mut body);
            }
        }
        vec![Deed::Say(Letter::between(own, told, body))]
    }
}
