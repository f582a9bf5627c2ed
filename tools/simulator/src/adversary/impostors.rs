//! A3: identities that are not the adversary's (RELIABILITY B-05, P-07, X-09). It signs in others' names with signatures of its own, seals in others' names under keys of
//! its own, and has requests ordered that no client made. None of it may count: whose it is follows from the key, and from nothing that is said.

use crate::adversary::agent::Owned;
use crate::adversary::byzantine_clients::{Requests, all};
use crate::adversary::letter::Letter;
use crate::adversary::liar::{new_view, next_view_of, some_view, view_change};
use crate::adversary::strategy::{Deed, Forgery, Strategy};
use crate::adversary::views::{one_of, told_by};
use crate::scenario::say::parts;
use crate::world::cluster::Cluster;
use crate::world::random::Random;
use crate::world::settings::Settings;
use logothete_crypto::digest;
use logothete_engine::numbers::{Principal, ReplicaId, SequenceNumber};
use logothete_engine::wire::agreement::Vote;
use logothete_engine::wire::forward::Forward;
use logothete_engine::wire::request::RequestName;
use logothete_engine::wire::view_change::{NewView, StatementKind, ViewChange, null_batch};

/// Another replica than this one.
fn another(own: ReplicaId, cluster: &Cluster, random: &mut Random) -> ReplicaId {
    let replicas = cluster.settings.replicas;
    ReplicaId(((usize::from(own.0) + 1 + random.below(replicas - 1)) % replicas) as u8)
}

/// A request that no client made: of a client that is not owned, with a number that comes soon.
pub fn made_up_request(requests: &Requests, cluster: &Cluster, random: &mut Random) -> (RequestName, Vec<u8>) {
    let host = &cluster.clients[random.below(cluster.settings.clients)];
    let number = 1 + random.below(host.accepted as usize + 8) as u64;
    let name = Requests::name(cluster, host.id, number, random);
    (name, requests.body(cluster, name, 0))
}

/// View changes and new views in the names of others, under its own signature.
struct SignForOthers {
    random: Random,
}

pub fn sign_for_others(random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(SignForOthers { random })
}

impl Strategy for SignForOthers {
    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let random = &mut self.random;
        let Some(own) = one_of(owned, random) else { return Vec::new() };
        let Some(told) = told_by(own, cluster, random) else { return Vec::new() };
        let name = another(own, cluster, random);
        let epoch = cluster.replicas[usize::from(name.0)].epoch;
        let (kind, view, bytes) = if random.percent(50) {
            let view = some_view(cluster, random, 1);
            let lie = view_change(cluster, own, view, random);
            let (content, ..) = ViewChange::decode(&lie).expect("it was just encoded");
            let kind = StatementKind::ViewChange;
            let content = ViewChange { replica: name, epoch, ..content };
            (kind, view, content.encode(|body| owned.sign(cluster, own, kind, body)))
        } else {
            let view = next_view_of(name, cluster, random);
            let lie = new_view(cluster, own, view, random);
            let (content, ..) = NewView::decode(&lie).expect("it was just encoded");
            let kind = StatementKind::NewView;
            let content = NewView { replica: name, epoch, ..content };
            (kind, view, content.encode(|body| owned.sign(cluster, own, kind, body)))
        };
        let bodies = parts(cluster, (kind, name, view), &bytes);
        bodies.into_iter().map(|body| Deed::Say(Letter::between(own, told, body))).collect()
    }
}

/// Clients' requests and replicas' votes in the names of others, under its own keys.
struct SealForOthers {
    requests: Requests,
    random: Random,
}

pub fn seal_for_others(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(SealForOthers { requests: Requests::new(&mut random), random })
}

impl Strategy for SealForOthers {
    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let random = &mut self.random;
        let Some(by) = one_of(owned, random) else { return Vec::new() };
        let (name, body) = if random.percent(50) {
            let (request, body) = made_up_request(&self.requests, cluster, random);
            (Principal::Client(request.client), body)
        } else {
            let host = &cluster.replicas[random.below(cluster.settings.replicas)];
            let (view, sequence) = (host.orderer.replica().view(), SequenceNumber(host.executed + 1));
            let (vote, mut body) = (Vote::new(view, sequence, null_batch()), Vec::new());
            if random.percent(50) {
                vote.append_prepare(&mut body)
            } else {
                vote.append_commit(&mut body)
            }
            (Principal::Replica(another(by, cluster, random)), body)
        };
        vec![Deed::Forge(Forgery { by, name, relayed: false, audience: all(cluster), body })]
    }
}

/// It forwards to the primary, as if a client had sent them, requests that none did.
struct ForwardMadeUp {
    requests: Requests,
    random: Random,
}

pub fn forward_made_up(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(ForwardMadeUp { requests: Requests::new(&mut random), random })
}

impl Strategy for ForwardMadeUp {
    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let random = &mut self.random;
        let Some(by) = one_of(owned, random) else { return Vec::new() };
        let (name, request) = made_up_request(&self.requests, cluster, random);
        let mut body = Vec::new();
        Forward::new(name, digest(&request)).append(&mut body);
        let say = Deed::Say(Letter::between(by, all(cluster).without(by), body));
        let name = Principal::Client(name.client);
        vec![say, Deed::Forge(Forgery { by, name, relayed: true, audience: all(cluster), body: request })]
    }
}
