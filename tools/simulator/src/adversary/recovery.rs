//! A3: it says that it forgot, and begins anew, again and again; and it tells those who did forget what suits it.

use crate::adversary::agent::Owned;
use crate::adversary::letter::Letter;
use crate::adversary::strategy::{Deed, Strategy};
use crate::adversary::views::{one_of, told_by};
use crate::world::cluster::Cluster;
use crate::world::random::Random;
use crate::world::settings::Settings;
use logothete_engine::numbers::{SequenceNumber, View};
use logothete_engine::wire::Message;
use logothete_engine::wire::recovery::{RecoveryAnswer, RecoveryQuery};
use logothete_engine::wire::retransmission::{Standing, Status};

struct PretendRecovery {
    random: Random,
}

pub fn pretend_recovery(random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(PretendRecovery { random })
}

impl PretendRecovery {
    /// A number near a true one, or at the edge of all.
    fn near(&mut self, number: u64) -> u64 {
        let random = &mut self.random;
        let far = [1, 100].map(|more| number.saturating_add(more));
        [number, number.saturating_sub(1), far[0], far[1], 0, 1 << 62, u64::MAX][random.below(7)]
    }
}

impl Strategy for PretendRecovery {
    fn on_outgoing(&mut self, _: &Cluster, letter: Letter, out: &mut Vec<Letter>) {
        let body = letter.rewritten(|message, bytes, out| match message {
            Message::RecoveryAnswer(answer) => {
                let (stable, prepared) = (self.near(answer.stable().0), self.near(answer.prepared().0));
                let view = View(self.near(answer.view().0));
                let epoch = answer.epoch();
                RecoveryAnswer::new(epoch, SequenceNumber(stable), SequenceNumber(prepared), view).append(out);
            }
            _ => out.extend_from_slice(bytes),
        });
        out.extend(letter.with_body(body));
    }

    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let Some(own) = one_of(owned, &mut self.random) else { return Vec::new() };
        if self.random.percent(5) {
            return vec![Deed::Rekey(own)];
        }
        let Some(told) = told_by(own, cluster, &mut self.random) else { return Vec::new() };
        let host = &cluster.replicas[usize::from(own.0)];
        let (view, executed, stable, epoch) = (host.orderer.replica().view(), host.executed, host.stable, host.epoch);
        let mut body = Vec::new();
        match self.random.below(4) {
            0 => RecoveryQuery::new(self.near(epoch)).append(&mut body),
            1 => RecoveryQuery::new(epoch).append(&mut body),
            2 => {
                let peer = cluster.replicas[self.random.below(cluster.settings.replicas)].epoch;
                let (stable, prepared) = (SequenceNumber(self.near(stable)), SequenceNumber(self.near(executed)));
                RecoveryAnswer::new(peer, stable, prepared, View(self.near(view.0))).append(&mut body);
            }
            _ => {
                let recovers = self.random.percent(80);
                let standing = Standing { recovers, ..Standing::active_in(view) };
                let executed = SequenceNumber(executed);
                Status::new(standing, SequenceNumber(stable), executed, executed).append(&mut body);
            }
        }
        vec![Deed::Say(Letter::between(own, told, body))]
    }
}
