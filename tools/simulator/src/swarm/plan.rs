//! The parameters of one run as data: drawn from a seed, printed, edited, and played again. What a shrinker leaves out of a plan changes nothing else
//! in it, because everything draws from a stream with a name of its own.

use crate::adversary;
use crate::swarm::draw;
use crate::swarm::fault::{Fault, FaultEvent};
use crate::swarm::load::Load;
use crate::swarm::mix::Mix;
use crate::world::disk::faults::DiskFaults;
use crate::world::links::{LinkSettings, Tail};
use crate::world::random::Random;
use crate::world::settings::Settings;
use crate::world::timeline::Pace;
use logothete_engine::limits::SILENCE_MIN_NS;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Packets that wait for an agent that has room, at most.
pub const INBOX_PACKETS_MAX: usize = 4096;

/// What clients do that replicas can take for a fault of the primary's.
const SPOILING: [&str; 2] = ["client-partial-tags", "client-two-faces"];

/// The clocks of one host at the beginning of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockSettings {
    pub rate_ppm: i64,
    pub wall_offset_ns: i64,
}

/// Which replicas must be live in the liveness phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Core {
    /// `2f+1` correct ones, and what is wrong with the others stays for ever.
    Quorum,
    /// All that are correct.
    Everybody,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What is drawn while the run goes on, each link, agent and adversary from a stream of its own.
    pub seed: u64,
    pub cluster: Settings,
    pub links: LinkSettings,
    /// What the replicas' disks are like.
    pub disks: DiskFaults,
    /// Packets that wait for an agent at most.
    pub inbox_packets_max: usize,
    /// How long agents are busy with what they do.
    pub pace: Pace,
    /// The replicas' clocks; clients' go as the virtual time does.
    pub clocks: Vec<ClockSettings>,
    /// What the clients ask for, one load a client.
    pub loads: Vec<Load>,
    /// Whom the adversary has, and what it does. Its clients come after those that have loads.
    pub adversary: Option<adversary::plan::Plan>,
    /// The safety phase lasts so long; then a core is healed, and everything asked for must complete.
    pub safety_ns: u64,
    /// What goes wrong in the safety phase, in the order of time. Each event keeps its number when others are left out.
    pub faults: Vec<FaultEvent>,
    /// What is healed at the end of the safety phase.
    pub core: Core,
    /// Requests of each client in the liveness phase.
    pub liveness_requests: u32,
    /// One result that a client accepted reaches the checkers changed: the run must fail, and prove that the alarm works.
    pub canary: bool,
}

impl Plan {
    /// Draws the run of a seed, of about so many operations; only what the mix has goes wrong.
    pub fn draw(seed: u64, mix: Mix, operations: u32, replicas: Option<usize>) -> Self {
        draw::plan(seed, mix, operations, replicas)
    }

    /// Whether a replica is in the adversary's hands.
    pub fn is_byzantine(&self, replica: usize) -> bool {
        self.adversary.as_ref().is_some_and(|adversary| adversary.replicas.contains(&(replica as u8)))
    }

    /// Gives the adversary so many clients more, and lets it do what a level draws.
    pub fn besiege(&mut self, level: adversary::plan::Level, clients: usize) {
        self.cluster.clients = self.loads.len() + clients;
        let mut random = Random::named(self.seed, "adversary");
        self.adversary = Some(adversary::plan::Plan::draw(level, &mut random, &self.cluster, clients));
    }

    /// Gives the adversary the network as well; the network alone, where it has nobody.
    pub fn schedule(&mut self, mut random: Random) {
        let nobody = || adversary::plan::Plan::nobody(random.draw());
        let adversary = self.adversary.take().unwrap_or_else(nobody);
        self.adversary = Some(adversary.scheduling(&mut random));
    }

    /// Whether nothing is wrong but with clients, whose tags are good all the same (`protocol.md RB-4`): with no replica, no clock, no disk, and not with the
    /// network.
    pub fn is_calm(&self) -> bool {
        let harmless = |adversary: &adversary::plan::Plan| {
            let spoils = adversary.strategies.iter().any(|name| SPOILING.contains(&name.as_str()));
            adversary.replicas.is_empty() && !adversary.schedules() && !spoils
        };
        let LinkSettings { base_ns, tail, loss_per_mille, capacity, .. } = self.links;
        self.faults.iter().all(|event| matches!(event.fault, Fault::RestartClient { .. }))
            && self.adversary.as_ref().is_none_or(harmless)
            && self.disks == DiskFaults::NONE
            && self.clocks.iter().all(|clock| *clock == ClockSettings::default())
            && (tail, loss_per_mille, capacity) == (Tail::Narrow, 0, u32::MAX)
            && base_ns.1 < SILENCE_MIN_NS / 64
            && self.pace.turn_ns < SILENCE_MIN_NS / 4096
            && self.inbox_packets_max == INBOX_PACKETS_MAX
    }

    /// The clients that may spoil tags.
    pub fn spoilers(&self) -> BTreeSet<u16> {
        let spoilt = self.faults.iter().filter_map(|event| match event.fault {
            Fault::SpoilTags { client, .. } => Some(client),
            _ => None,
        });
        let owned = self.adversary.iter().flat_map(|adversary| &adversary.clients);
        spoilt.chain(owned.copied()).collect()
    }

    /// As text: JSON.
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).expect("a plan is plain data")
    }

    /// From text.
    ///
    /// # Errors
    /// The text is no plan.
    pub fn from_text(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("this is no plan: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_the_same_again_and_after_being_text() {
        for seed in 0..50 {
            let plan = Plan::draw(seed, Mix::All, 300, None);
            assert_eq!(plan, Plan::draw(seed, Mix::All, 300, None));
            assert_eq!(Plan::from_text(&plan.to_text()), Ok(plan));
        }
    }

    #[test]
    fn with_the_mix_none_nothing_goes_wrong() {
        for seed in 0..50 {
            let plan = Plan::draw(seed, Mix::None, 300, None);
            assert_eq!((plan.faults.len(), plan.adversary, plan.links.loss_per_mille), (0, None, 0));
        }
    }
}
