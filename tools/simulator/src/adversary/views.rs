//! A3: what a faulty replica can say about views.

use crate::adversary::agent::Owned;
use crate::adversary::equivocation::some_replicas;
use crate::adversary::letter::Letter;
use crate::adversary::liar::{lie, some_view, view_change};
use crate::adversary::mutator::Seen;
use crate::adversary::statements::Twister;
use crate::adversary::strategy::{Deed, Strategy};
use crate::scenario::say::parts;
use crate::world::cluster::Cluster;
use crate::world::random::Random;
use crate::world::settings::Settings;
use logothete_engine::numbers::{ReplicaId, ReplicaSet, SequenceNumber, View};
use logothete_engine::wire::agreement::CheckpointVote;
use logothete_engine::wire::retransmission::{Standing, Status};
use logothete_engine::wire::view_change::{StatementKind, ViewChange};

/// One of the owned replicas, if there is one.
pub fn one_of(owned: &Owned, random: &mut Random) -> Option<ReplicaId> {
    (!owned.replicas.is_empty()).then(|| owned.replicas[random.below(owned.replicas.len())])
}

/// Some that a replica can talk to; none by chance.
pub fn told_by(own: ReplicaId, cluster: &Cluster, random: &mut Random) -> Option<ReplicaSet> {
    let told = some_replicas(random, &cluster.settings).without(own);
    (told != ReplicaSet::EMPTY).then_some(told)
}

/// It makes up view changes and new views, lies in sets P and Q, and passes statements on under wrong labels.
struct LieAboutViews {
    percent: u32,
    random: Random,
}

pub fn lie_about_views(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(LieAboutViews { percent: [20, 60, 100][random.below(3)], random })
}

impl Strategy for LieAboutViews {
    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let random = &mut self.random;
        match one_of(owned, random).filter(|_| random.percent(self.percent)) {
            Some(own) => lie(cluster, own, random).into_iter().map(Deed::Say).collect(),
            None => Vec::new(),
        }
    }
}

/// As a new primary it opens its views otherwise than they follow: to everybody, or to some. Now and then it has enough of the view before its own.
struct OpenWrongly {
    statements: Twister,
    seen: Seen,
    random: Random,
}

pub fn open_wrongly(random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(OpenWrongly { statements: Twister::default(), seen: Seen::default(), random })
}

impl Strategy for OpenWrongly {
    fn on_outgoing(&mut self, cluster: &Cluster, letter: Letter, out: &mut Vec<Letter>) {
        let Some(own) = letter.replica() else { return out.push(letter) };
        letter.messages().for_each(|(_, bytes)| self.seen.learn(bytes));
        let (opens, rest) = letter.parted(&["new-view"]);
        out.extend(rest);
        let Some(opens) = opens else { return };
        let owned = Owned { replicas: vec![own], clients: Vec::new() };
        self.statements.twist(cluster, &owned, opens, true, (&self.seen, &mut self.random), out);
    }

    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let random = &mut self.random;
        let Some(own) = one_of(owned, random).filter(|_| random.percent(10)) else { return Vec::new() };
        let host = &cluster.replicas[random.below(cluster.settings.replicas)];
        let (view, executed, stable) = (host.orderer.replica().view(), host.executed, host.stable);
        let next = (view.0 + 1) % cluster.settings.replicas as u64;
        if next != u64::from(own.0) {
            return Vec::new();
        }
        let standing = Standing { suspects: true, ..Standing::active_in(view) };
        let (stable, executed, mut body) = (SequenceNumber(stable), SequenceNumber(executed), Vec::new());
        Status::new(standing, stable, executed, executed).append(&mut body);
        let others = ReplicaSet::first(cluster.settings.replicas).without(own);
        vec![Deed::Say(Letter::between(own, others, body))]
    }
}

/// It asks for view after view: the next, one far away, the last of all.
struct SpamViews {
    percent: u32,
    random: Random,
}

pub fn spam_views(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(SpamViews { percent: [20, 60, 100][random.below(3)], random })
}

impl Strategy for SpamViews {
    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let random = &mut self.random;
        let Some(own) = one_of(owned, random).filter(|_| random.percent(self.percent)) else { return Vec::new() };
        let Some(told) = told_by(own, cluster, random) else { return Vec::new() };
        let next = some_view(cluster, random, 1).0;
        let view = View([next, next, next + 1, next + 1000, 1 << 63, u64::MAX - 1, u64::MAX][random.below(7)]);
        let bytes = if random.percent(50) {
            view_change(cluster, own, view, random)
        } else {
            let content = ViewChange {
                view,
                stable: SequenceNumber(0),
                epoch: cluster.replicas[usize::from(own.0)].epoch,
                replica: own,
                checkpoints: &[CheckpointVote::new(SequenceNumber(0), logothete_crypto::Digest::default())],
                prepared: &[],
                pre_prepared: &[],
            };
            content.encode(|body| owned.sign(cluster, own, StatementKind::ViewChange, body))
        };
        let bodies = parts(cluster, (StatementKind::ViewChange, own, view), &bytes);
        bodies.into_iter().map(|body| Deed::Say(Letter::between(own, told, body))).collect()
    }
}

/// It accuses every primary all the time, now and then it takes that back, and says that it is wherever it likes.
struct Accuse {
    random: Random,
}

pub fn accuse(random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(Accuse { random })
}

impl Strategy for Accuse {
    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let random = &mut self.random;
        let Some(own) = one_of(owned, random) else { return Vec::new() };
        let Some(told) = told_by(own, cluster, random) else { return Vec::new() };
        let (executed, stable) = {
            let host = &cluster.replicas[random.below(cluster.settings.replicas)];
            (host.executed, host.stable)
        };
        let standing = Standing {
            recovers: false,
            disk_stands: random.percent(20),
            view: if random.percent(80) { View(some_view(cluster, random, 0).0) } else { View(u64::MAX) },
            active: random.percent(70),
            suspects: random.percent(80),
            view_changes: some_replicas(random, &cluster.settings),
        };
        let far = [0, 1, 64, 1 << 50][random.below(4)];
        let status = Status::new(
            standing,
            SequenceNumber(stable),
            SequenceNumber(executed),
            SequenceNumber(executed.saturating_add(far)),
        );
        let mut body = Vec::new();
        status.append(&mut body);
        vec![Deed::Say(Letter::between(own, told, body))]
    }
}
