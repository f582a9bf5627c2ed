//! A3: questions, and more questions: what is answered with more than it is asked with.

use crate::adversary::agent::Owned;
use crate::adversary::letter::Letter;
use crate::adversary::liar::{some_batch, some_number};
use crate::adversary::strategy::{Deed, Strategy};
use crate::adversary::views::{one_of, told_by};
use crate::world::cluster::Cluster;
use crate::world::random::Random;
use crate::world::settings::Settings;
use logothete_engine::numbers::SequenceNumber;
use logothete_engine::wire::dispute::Examine;
use logothete_engine::wire::parts::FetchParts;
use logothete_engine::wire::recovery::RecoveryQuery;
use logothete_engine::wire::retransmission::{Fetch, FetchBatch, Standing, Status};
use logothete_engine::wire::state::{CheckpointName, StateItem, append_query};

/// Bursts of statuses that lack everything, and of fetches of all kinds.
struct Storm {
    burst: usize,
    random: Random,
}

pub fn storm(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(Storm { burst: [1, 4, 20][random.below(3)], random })
}

impl Storm {
    fn question(&mut self, cluster: &Cluster, own_epoch: u64, body: &mut Vec<u8>) {
        let random = &mut self.random;
        let (sequence, batch) = (some_number(cluster, random), some_batch(cluster, random));
        match random.below(8) {
            0..=2 => {
                let view = cluster.replicas[random.below(cluster.settings.replicas)].orderer.replica().view();
                let (active, suspects) = (random.percent(80), random.percent(20));
                let disk_stands = random.percent(20);
                let standing = Standing { disk_stands, active, suspects, ..Standing::active_in(view) };
                // Whatever is above the number it says is executed is lacking.
                let executed = SequenceNumber(sequence.0.saturating_sub(random.below(16) as u64));
                Status::new(standing, SequenceNumber(0), executed, executed).append(body);
            }
            3 => {
                let mut fetch = Fetch::new(sequence, batch);
                (0..256).for_each(|index| fetch.set(index));
                fetch.append(body);
            }
            4 => FetchBatch::new(sequence, batch).append(body),
            5 => {
                let mut fetch = FetchParts::new(sequence, batch, random.below(3));
                (0..64).for_each(|index| fetch.set(index));
                fetch.append(body);
            }
            6 => {
                let stable = cluster.replicas[random.below(cluster.settings.replicas)].stable;
                let digest = cluster.checks.state_after(stable).unwrap_or_default();
                let items: Vec<_> = (0..8).map(|index| StateItem::page(index, 0, 64)).collect();
                append_query(body, CheckpointName { sequence: SequenceNumber(stable), digest }, &items);
            }
            _ => {
                RecoveryQuery::new(own_epoch).append(body);
                Examine::new(sequence, batch, random.below(2), random.below(2)).append(body);
            }
        }
    }
}

impl Strategy for Storm {
    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let Some(own) = one_of(owned, &mut self.random) else { return Vec::new() };
        let epoch = cluster.replicas[usize::from(own.0)].epoch;
        let mut deeds = Vec::new();
        for _ in 0..1 + self.random.below(self.burst) {
            let Some(told) = told_by(own, cluster, &mut self.random) else { continue };
            let mut body = Vec::new();
            self.question(cluster, epoch, &mut body);
            deeds.push(Deed::Say(Letter::between(own, told, body)));
        }
        deeds
    }
}
