//! Byzantine clients, as far as what they say is well formed (RELIABILITY 2.7): tags good for some replicas only, one number with several contents, numbers
//! out of order, floods, incarnations, and requests that few replicas get.

use crate::adversary::agent::Owned;
use crate::adversary::equivocation::some_replicas;
use crate::adversary::letter::Letter;
use crate::adversary::strategy::{Deed, Strategy};
use crate::world::cluster::Cluster;
use crate::world::operations::foreign;
use crate::world::random::Random;
use crate::world::settings::Settings;
use logothete_engine::numbers::{ClientId, Incarnation, Principal, ReplicaId, ReplicaSet, RequestNumber};
use logothete_engine::wire::Audience;
use logothete_engine::wire::operation::OperationsWriter;
use logothete_engine::wire::request::{self, RequestName};
use std::collections::BTreeMap;

/// What an owned client asks for: a number has one content, and another for each face.
pub struct Requests {
    next: BTreeMap<ClientId, u64>,
    seed: u64,
}

impl Requests {
    pub fn new(random: &mut Random) -> Self {
        Self { next: BTreeMap::new(), seed: random.draw() }
    }

    /// One of the owned clients, and the number that it comes to next, or came to before.
    pub fn pick(&mut self, owned: &Owned, random: &mut Random) -> Option<(ClientId, u64)> {
        let client = *owned.clients.get(random.below(owned.clients.len().max(1)))?;
        let next = self.next.entry(client).or_insert(1);
        if random.percent(60) {
            *next += 1;
            return Some((client, *next - 1));
        }
        Some((client, 1 + random.below(*next as usize) as u64))
    }

    /// The name of a request, mostly of the incarnation that the client opened first.
    pub fn name(cluster: &Cluster, client: ClientId, number: u64, random: &mut Random) -> RequestName {
        let which = if random.percent(80) { 1 } else { 1 + random.below(4) };
        cluster.seen.name(client, which, RequestNumber(number))
    }

    /// A request of a name, with one of its faces.
    pub fn body(&self, cluster: &Cluster, name: RequestName, face: u64) -> Vec<u8> {
        let seed = self.seed ^ name.incarnation.0.rotate_left(17) ^ name.number.0.rotate_left(40) ^ face;
        let mut content = Random::new(seed ^ u64::from(name.client.0));
        let mut writer = OperationsWriter::new(cluster.settings.request_bytes_max().0);
        for _ in 0..1 + content.below(3) {
            let mut bytes = vec![0; content.below(64)];
            content.fill(&mut bytes);
            if cluster.settings.key_value {
                bytes = foreign(&bytes, &mut content);
            }
            // Nobody else has drawn this number: that an operation is executed once is checked by it.
            writer.try_push(u64::from(name.client.0), content.draw(), &bytes);
        }
        let mut body = Vec::new();
        request::append(&mut body, name, writer.count(), writer.bytes());
        body
    }

    fn letter(&self, cluster: &Cluster, name: RequestName, face: u64, to: ReplicaSet) -> Letter {
        let body = self.body(cluster, name, face);
        Letter::new(Principal::Client(name.client), Audience::Replicas(to), body)
    }
}

/// Everybody.
pub fn all(cluster: &Cluster) -> ReplicaSet {
    ReplicaSet::first(cluster.settings.replicas)
}

/// Its tags are good for the primary only, for the backups only, or for some.
struct PartialTags {
    requests: Requests,
    random: Random,
}

pub fn partial_tags(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(PartialTags { requests: Requests::new(&mut random), random })
}

impl PartialTags {
    fn spoilt(&mut self, cluster: &Cluster) -> Vec<Principal> {
        let random = &mut self.random;
        let view = cluster.replicas[random.below(cluster.settings.replicas)].orderer.replica().view().0;
        let primary = ReplicaId((view % cluster.settings.replicas as u64) as u8);
        let spoilt = match random.below(4) {
            0 => all(cluster).without(primary),
            1 => ReplicaSet::only(primary),
            _ => some_replicas(random, &cluster.settings),
        };
        spoilt.iter().map(Principal::Replica).collect()
    }
}

impl Strategy for PartialTags {
    fn on_outgoing(&mut self, cluster: &Cluster, mut letter: Letter, out: &mut Vec<Letter>) {
        if letter.replica().is_none() && self.random.percent(50) {
            letter.spoilt.extend(self.spoilt(cluster));
        }
        out.push(letter);
    }

    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let Some((client, number)) = self.requests.pick(owned, &mut self.random) else { return Vec::new() };
        let name = Requests::name(cluster, client, number, &mut self.random);
        let letter = self.requests.letter(cluster, name, 0, all(cluster));
        vec![Deed::Say(Letter { spoilt: self.spoilt(cluster), ..letter })]
    }
}

/// One number has another content for some replicas than for the others; the tags of each may be good for all, so that the first one counts, or for some.
struct TwoFaces {
    requests: Requests,
    random: Random,
}

pub fn two_faces(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(TwoFaces { requests: Requests::new(&mut random), random })
}

impl Strategy for TwoFaces {
    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let Some((client, number)) = self.requests.pick(owned, &mut self.random) else { return Vec::new() };
        let name = Requests::name(cluster, client, number, &mut self.random);
        let mut deeds = Vec::new();
        for face in 0..2 + self.random.below(3) as u64 {
            let to = some_replicas(&mut self.random, &cluster.settings);
            if to == ReplicaSet::EMPTY {
                continue;
            }
            // What is not for everybody nobody takes: others get it with a tag that is wrong, or with a right one.
            let tags_for_all = self.random.percent(30);
            let letter = self.requests.letter(cluster, name, face, all(cluster));
            let spoilt = all(cluster).iter().filter(|id| !tags_for_all && !to.contains(*id));
            deeds.push(Deed::Say(Letter { spoilt: spoilt.map(Principal::Replica).collect(), ..letter }));
        }
        deeds
    }
}

/// Numbers again, backwards, beyond the window, none, and the last of all.
struct Numbers {
    requests: Requests,
    random: Random,
}

pub fn numbers(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(Numbers { requests: Requests::new(&mut random), random })
}

impl Strategy for Numbers {
    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let random = &mut self.random;
        let Some((client, number)) = self.requests.pick(owned, random) else { return Vec::new() };
        let window = cluster.settings.client_window;
        let odd = [0, number.saturating_sub(1), number + window, number + 2 * window, 1 << 63, u64::MAX - 1, u64::MAX];
        let number = if random.percent(50) { number } else { odd[random.below(odd.len())] };
        let name = Requests::name(cluster, client, number, random);
        vec![Deed::Say(self.requests.letter(cluster, name, 0, all(cluster)))]
    }
}

/// In how many of a hundred turns a flooding client sends a burst: were it each, a run would be about little else.
const BURSTS_PERCENT: u32 = 10;

/// Bursts of requests, within the window and beyond it.
struct Flood {
    burst: usize,
    requests: Requests,
    random: Random,
}

pub fn flood(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    let burst = [5, 20, 60][random.below(3)];
    Box::new(Flood { burst, requests: Requests::new(&mut random), random })
}

impl Strategy for Flood {
    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let random = &mut self.random;
        let mut deeds = Vec::new();
        if !random.percent(BURSTS_PERCENT) {
            return deeds;
        }
        for _ in 0..random.below(self.burst) {
            let Some((client, number)) = self.requests.pick(owned, random) else { break };
            let name = cluster.seen.name(client, 1, RequestNumber(number));
            deeds.push(Deed::Say(self.requests.letter(cluster, name, 0, all(cluster))));
        }
        deeds
    }
}

/// It opens incarnations: a later one, one that was, the first and the last of all.
struct Opens {
    requests: Requests,
    random: Random,
}

pub fn opens(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(Opens { requests: Requests::new(&mut random), random })
}

impl Strategy for Opens {
    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let random = &mut self.random;
        let Some((client, _)) = self.requests.pick(owned, random) else { return Vec::new() };
        let open = cluster.seen.name(client, 1, RequestNumber::OPEN);
        let now = open.incarnation.0;
        let next = cluster.seen.name(client, usize::MAX, RequestNumber::OPEN).incarnation.0;
        // The last of all only rarely: nothing comes after it.
        let some = [now, now.saturating_sub(1), next, next, next, 0, 1];
        let incarnation = if random.percent(2) { u64::MAX } else { some[random.below(some.len())] };
        let mut body = Vec::new();
        request::append(&mut body, RequestName { incarnation: Incarnation(incarnation), ..open }, 0, &[]);
        vec![Deed::Say(Letter::new(Principal::Client(client), Audience::Replicas(all(cluster)), body))]
    }
}

/// Its packets are for some replicas only: for one backup, say.
struct SomeReplicas {
    requests: Requests,
    random: Random,
}

pub fn some_replicas_only(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(SomeReplicas { requests: Requests::new(&mut random), random })
}

impl Strategy for SomeReplicas {
    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let random = &mut self.random;
        let Some((client, number)) = self.requests.pick(owned, random) else { return Vec::new() };
        let name = Requests::name(cluster, client, number, random);
        let to = match random.percent(50) {
            true => ReplicaSet::only(ReplicaId(random.below(cluster.settings.replicas) as u8)),
            false => some_replicas(random, &cluster.settings),
        };
        if to == ReplicaSet::EMPTY {
            return Vec::new();
        }
        vec![Deed::Say(self.requests.letter(cluster, name, 0, to))]
    }
}
