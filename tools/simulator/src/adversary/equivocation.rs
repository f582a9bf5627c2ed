//! A3: the behaviours that scripts know as well, for replicas that the adversary owns.

use crate::adversary::faults::{Behaviour, Fault, Spoken, spoil_copy};
use crate::adversary::letter::Letter;
use crate::adversary::strategy::Strategy;
use crate::world::cluster::Cluster;
use crate::world::random::Random;
use crate::world::settings::Settings;
use logothete_engine::numbers::{ReplicaId, ReplicaSet};
use std::collections::BTreeMap;

/// Some other replicas.
pub fn some_replicas(random: &mut Random, settings: &Settings) -> ReplicaSet {
    ReplicaSet(random.draw() as u16 & ReplicaSet::first(settings.replicas).0)
}

/// What a scripted behaviour makes of it; who is lied to may change.
struct Scripted {
    behaviour: Behaviour,
    /// How many in a hundred letters find others lied to.
    fickle: u32,
    faults: BTreeMap<ReplicaId, Fault>,
    random: Random,
}

impl Scripted {
    fn boxed(behaviour: Behaviour, fickle: u32, random: Random) -> Box<dyn Strategy> {
        Box::new(Self { behaviour, fickle, faults: BTreeMap::new(), random })
    }
}

pub fn equivocate(mut random: Random, settings: &Settings) -> Box<dyn Strategy> {
    let told = some_replicas(&mut random, settings);
    Scripted::boxed(Behaviour::Equivocates(told), [0, 2, 20][random.below(3)], random)
}

pub fn forge_entries(random: Random, _: &Settings) -> Box<dyn Strategy> {
    Scripted::boxed(Behaviour::ForgesEntries, 0, random)
}

pub fn forge_pages(random: Random, _: &Settings) -> Box<dyn Strategy> {
    Scripted::boxed(Behaviour::ForgesPages, 0, random)
}

pub fn forge_nodes(random: Random, _: &Settings) -> Box<dyn Strategy> {
    Scripted::boxed(Behaviour::ForgesNodes, 0, random)
}

pub fn spoil_copies(random: Random, _: &Settings) -> Box<dyn Strategy> {
    Scripted::boxed(Behaviour::SpoilsCopies, 0, random)
}

impl Strategy for Scripted {
    fn on_outgoing(&mut self, cluster: &Cluster, letter: Letter, out: &mut Vec<Letter>) {
        let Some(own) = letter.replica() else { return out.push(letter) };
        let fault = self.faults.entry(own).or_insert_with(|| Fault::new(self.behaviour));
        if matches!(fault.behaviour, Behaviour::Equivocates(_)) && self.random.percent(self.fickle) {
            fault.behaviour = Behaviour::Equivocates(some_replicas(&mut self.random, &cluster.settings));
        }
        let Letter { audience, body, delay_ns, spoilt, from } = letter;
        let said = fault.speak(own, Spoken { audience, body, message_count: 0 });
        out.extend(said.into_iter().map(|Spoken { audience, body, .. }| Letter {
            from,
            audience,
            body,
            spoilt: spoilt.clone(),
            delay_ns,
        }));
    }

    fn on_relay(&mut self, _: &Cluster, to: ReplicaId, datagram: &mut Vec<u8>) -> bool {
        if self.behaviour == Behaviour::SpoilsCopies {
            self.faults.values_mut().for_each(|fault| fault.learn_copies(&[(to, datagram.clone())]));
            spoil_copy(datagram, to);
        }
        true
    }
}
