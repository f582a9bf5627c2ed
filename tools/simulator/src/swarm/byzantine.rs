//! The replicas of a run that are in the adversary's hands: what each is made, and its moves from time to time.

use crate::adversary::faults::{Behaviour, Fault};
use crate::adversary::liar::lie;
use crate::world::hosts::ReplicaHost;
use crate::world::random::Random;
use crate::world::timeline::Timeline;
use logothete_engine::numbers::{ReplicaId, ReplicaSet};

/// The longest time between two moves.
const GAP_NS: u64 = 50_000_000;

/// One faulty replica.
#[derive(Debug)]
pub struct Byzantine {
    at: usize,
    random: Random,
    lies: bool,
    due_ns: u64,
}

impl Byzantine {
    /// Makes a replica faulty.
    pub fn install(timeline: &mut Timeline, at: usize, seed: u64) -> Self {
        let mut random = Random::named(seed, &format!("byzantine {at}"));
        let behaviour = behaviour(&mut random);
        timeline.cluster.replicas[at].fault = Some(Fault::new(behaviour));
        let speaks = !matches!(behaviour, Behaviour::Silent | Behaviour::GarbageTags | Behaviour::Crashed);
        let lies = speaks && random.percent(50);
        Self { at, due_ns: random.between(0, GAP_NS), random, lies }
    }

    /// When it moves next.
    pub fn due_ns(&self) -> u64 {
        if self.lies { self.due_ns } else { u64::MAX }
    }

    /// Makes a move.
    pub fn act(&mut self, timeline: &mut Timeline) {
        self.due_ns = timeline.now_ns() + self.random.between(1, GAP_NS);
        if !timeline.cluster.replicas.iter().any(ReplicaHost::is_correct) {
            // There is nobody to lie to.
            return;
        }
        lie(&mut timeline.cluster, ReplicaId(self.at as u8), &mut self.random);
    }
}

fn behaviour(random: &mut Random) -> Behaviour {
    match random.below(6) {
        0 => Behaviour::Silent,
        1 => Behaviour::GarbageTags,
        2 => Behaviour::Crashed,
        3 => Behaviour::Scripted,
        4 => Behaviour::SpoilsCopies,
        _ => Behaviour::Equivocates(ReplicaSet(random.draw() as u16)),
    }
}
