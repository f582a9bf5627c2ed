//! The virtual time of a swarm: whatever comes next happens, a packet's arrival or the turn of an agent that is due, and the time goes on to it.
//!
//! ```text
//!            links                    inbox                       turn
//!   sent ----------------> arrives ----------> waits until ------------> takes all that waits,
//!        delay, loss, ...   (bounded, kept     its agent is free         does what is due, sends
//!                            while it pauses)
//! ```
//!
//! An agent is busy for a while after each turn, so that packets come together to the next one, as they do under load.

use crate::checks::violations::Checker;
use crate::scenario::report::Loss;
use crate::scenario::words::name_of;
use crate::world::cluster::Cluster;
use crate::world::fingerprint::Fingerprint;
use crate::world::links::{LinkSettings, Links};
use crate::world::network::Packet;
use crate::world::random::Random;
use logothete_engine::numbers::{ClientId, Principal, ReplicaId};
use serde::{Deserialize, Serialize};

/// Turns of one agent with no packet, one as soon after the other as its pace has it, mean that it is due again at once, for ever.
const SPINS_MAX: u32 = 2_000;

/// How long agents are busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// What a turn takes, and what each packet adds, at the least; at most twice that.
    pub turn_ns: u64,
    pub packet_ns: u64,
}

/// An agent and what waits for it.
#[derive(Debug)]
struct Agent {
    who: Principal,
    inbox: Vec<Packet>,
    /// When it has something to do of its own.
    due_ns: u64,
    /// Until when it is busy with its last turn.
    busy_until_ns: u64,
    paused: bool,
    /// Idle turns since this moment.
    spins: u32,
    spins_since_ns: u64,
    pace: Random,
}

impl Agent {
    fn next_ns(&self) -> u64 {
        match (self.paused, self.inbox.is_empty()) {
            (true, _) => u64::MAX,
            (false, true) => self.due_ns.max(self.busy_until_ns),
            (false, false) => self.busy_until_ns,
        }
    }
}

/// A cluster whose time goes on by itself.
pub struct Timeline {
    pub cluster: Cluster,
    agents: Vec<Agent>,
    /// When each has its next turn.
    next_ns: Vec<u64>,
    inbox_max: usize,
    pace: Pace,
    ties: Random,
    deliveries: u64,
    turns: u64,
    fingerprint: Fingerprint,
}

impl Timeline {
    /// A cluster in which nothing has been sent; an agent that does not keep up has so many packets wait at most.
    pub fn new(mut cluster: Cluster, settings: LinkSettings, (inbox_max, pace): (usize, Pace), seed: u64) -> Self {
        let (replicas, clients) = (cluster.replicas.len(), cluster.clients.len());
        cluster.links = Some(Links::new(settings, replicas, clients, seed));
        let everybody = (0..replicas as u8).map(|id| Principal::Replica(ReplicaId(id)));
        let everybody = everybody.chain((0..clients as u16).map(|id| Principal::Client(ClientId(id))));
        let agent = |who| Agent {
            who,
            inbox: Vec::new(),
            due_ns: 0,
            busy_until_ns: 0,
            paused: false,
            spins: 0,
            spins_since_ns: 0,
            pace: Random::named(seed, &format!("pace {}", name_of(who))),
        };
        let agents: Vec<Agent> = everybody.map(agent).collect();
        let next_ns = vec![0; agents.len()];
        let ties = Random::named(seed, "turns");
        let fingerprint = Fingerprint::default();
        Self { cluster, agents, next_ns, inbox_max, pace, ties, deliveries: 0, turns: 0, fingerprint }
    }

    pub fn now_ns(&self) -> u64 {
        self.cluster.now_ns
    }

    /// Packets that reached an agent so far.
    pub fn deliveries(&self) -> u64 {
        self.deliveries
    }

    /// Turns so far.
    pub fn turns(&self) -> u64 {
        self.turns
    }

    /// Of everything that happened so far.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut all = self.fingerprint;
        all.fold_bytes(self.links().fingerprint.to_string().as_bytes());
        all
    }

    pub fn links(&self) -> &Links {
        self.cluster.links.as_ref().expect("a timeline's cluster has links")
    }

    pub fn links_mut(&mut self) -> &mut Links {
        self.cluster.links.as_mut().expect("a timeline's cluster has links")
    }

    /// The place of an agent among all: replicas first.
    pub fn index(&self, who: Principal) -> usize {
        self.links().index(who)
    }

    /// From now on an agent does nothing, and what arrives waits for it; or it goes on.
    pub fn pause(&mut self, who: Principal, paused: bool) {
        let at = self.index(who);
        self.agents[at].paused = paused;
        self.settle(at);
    }

    /// The links among these agents lose nothing from now on, and they keep up.
    pub fn heal(&mut self, among: &[usize]) {
        let now_ns = self.now_ns();
        self.links_mut().heal(among, now_ns);
        self.inbox_max = usize::MAX;
    }

    /// An agent's process ended: what waited for it is gone, and whoever begins in its place is awake.
    pub fn forget_inbox(&mut self, who: Principal) {
        let at = self.index(who);
        self.agents[at].inbox.clear();
        self.agents[at].paused = false;
        self.look(at);
    }

    /// Something beside the time and its packets changed when an agent is due: its process, its clock, what it was asked to do.
    pub fn look_at(&mut self, who: Principal) {
        self.look(self.index(who));
    }

    fn look(&mut self, at: usize) {
        self.agents[at].due_ns = match self.agents[at].who {
            Principal::Replica(id) => self.cluster.replicas[usize::from(id.0)].deadline_ns(),
            Principal::Client(id) => self.cluster.clients[usize::from(id.0)].deadline_ns(),
        };
        self.settle(at);
    }

    /// Something changed when an agent has its next turn.
    fn settle(&mut self, at: usize) {
        self.next_ns[at] = self.agents[at].next_ns();
    }

    /// Does what comes next, if it comes by `until_ns`; otherwise the time goes on to there, and this is `false`.
    ///
    /// # Errors
    /// What a checker found; or that an agent is due for ever.
    pub fn step(&mut self, until_ns: u64) -> Result<bool, String> {
        let agent_ns = self.next_ns.iter().copied().min().expect("there are agents");
        let arrival_ns = self.links().next_ns();
        let adversary_ns = self.cluster.adversary.deadline_ns();
        let next_ns = agent_ns.min(arrival_ns).min(adversary_ns).max(self.now_ns());
        if next_ns > until_ns {
            self.cluster.now_ns = self.now_ns().max(until_ns);
            return Ok(false);
        }
        self.cluster.now_ns = next_ns;
        if adversary_ns <= next_ns {
            self.cluster.turn_adversary();
            let owned = self.cluster.adversary.owned.replicas.clone();
            owned.into_iter().for_each(|id| self.look_at(Principal::Replica(id)));
            return Ok(true);
        }
        if arrival_ns <= next_ns {
            if let Some(packet) = self.links_mut().arrive(next_ns) {
                self.take_in(packet);
            }
            return Ok(true);
        }
        let due = |agent_ns: &u64| *agent_ns <= next_ns;
        let count = self.next_ns.iter().filter(|agent_ns| due(agent_ns)).count();
        let which = if count > 1 { self.ties.below(count) } else { 0 };
        let ready = self.next_ns.iter().enumerate().filter(|(_, agent_ns)| due(agent_ns)).nth(which);
        let (at, _) = ready.expect("somebody is due");
        self.turn(at)?;
        Ok(true)
    }

    fn take_in(&mut self, packet: Packet) {
        let (at, now_ns) = (self.index(packet.to), self.now_ns());
        if let Some(lanes) = &mut self.cluster.report.lanes {
            lanes.set_time(now_ns);
            lanes.arrived(&packet);
        }
        let agent = &mut self.agents[at];
        if agent.inbox.len() < self.inbox_max {
            self.deliveries += 1;
            agent.inbox.push(packet);
            self.settle(at);
        } else {
            self.cluster.report.count(packet.from, Loss::Lost, || format!("finds no room at {}", name_of(packet.to)));
        }
    }

    fn turn(&mut self, at: usize) -> Result<(), String> {
        let now_ns = self.now_ns();
        let agent = &mut self.agents[at];
        let packets = std::mem::take(&mut agent.inbox);
        let takes_ns = self.pace.turn_ns + self.pace.packet_ns * packets.len() as u64;
        agent.busy_until_ns = now_ns + takes_ns + agent.pace.below(takes_ns as usize) as u64;
        if packets.is_empty() && now_ns < agent.spins_since_ns + u64::from(SPINS_MAX) * self.pace.turn_ns {
            agent.spins += 1;
            if agent.spins > SPINS_MAX {
                let text = format!("{} had its turn and is due again at once, for ever", name_of(agent.who));
                return Err(format!("{}: {text}", Checker::Liveness));
            }
        } else {
            (agent.spins, agent.spins_since_ns) = (0, now_ns);
        }
        let who = agent.who;
        self.turns += 1;
        self.fingerprint.fold(now_ns);
        self.fingerprint.fold((at as u64) << 32 | packets.len() as u64);
        self.cluster.say_moment();
        self.cluster.turn(who, &packets)?;
        self.look(at);
        Ok(())
    }
}
