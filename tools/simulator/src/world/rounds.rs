//! The time of a script: what is in flight arrives when the script says so, and everybody has a turn who is due.
//!
//! A *round* is the time that a packet takes ([`HOP_NS`]): everything in flight arrives, and each receiver has one turn.

use crate::scenario::words::name_of;
use crate::world::cluster::Cluster;
use crate::world::hosts::{ClientHost, ReplicaHost};
use crate::world::network::{Filter, Packet};
use logothete_engine::numbers::Principal;
use std::collections::BTreeMap;

/// How long a packet travels.
pub const HOP_NS: u64 = 100_000;

/// How long agents that are due again and again delay what is under way, in hops.
const DELAY_HOPS_MAX: u64 = 10;

/// Rounds in which a network must come to rest.
const ROUNDS_MAX: usize = 2000;

/// Turns without the time going on before an agent is said to spin.
const SPINS_MAX: usize = 16;

impl Cluster {
    /// Everything in flight arrives, and what that causes, until nothing is.
    pub fn deliver_all(&mut self) -> Result<(), String> {
        for _ in 0..ROUNDS_MAX {
            if self.network.is_quiet() && !self.replicas.iter().any(ReplicaHost::awaits_disk) {
                return Ok(());
            }
            self.round(&Filter::default())?;
        }
        Err(format!("after {ROUNDS_MAX} rounds there is still something in flight"))
    }

    /// What matches arrives.
    pub fn round(&mut self, filter: &Filter) -> Result<(), String> {
        self.now_ns += HOP_NS;
        self.say_moment();
        let mut arriving: BTreeMap<Principal, Vec<Packet>> = BTreeMap::new();
        for packet in self.network.take(filter) {
            arriving.entry(packet.to).or_default().push(packet);
        }
        for (receiver, packets) in arriving {
            self.turn(receiver, &packets)?;
        }
        self.run_due()
    }

    /// Time passes, and nothing arrives.
    pub fn tick(&mut self, duration_ns: u64) -> Result<(), String> {
        let end_ns = self.now_ns + duration_ns;
        while self.deadline_ns() <= end_ns {
            self.now_ns = self.now_ns.max(self.deadline_ns());
            self.say_moment();
            self.run_due()?;
        }
        self.now_ns = end_ns;
        Ok(())
    }

    /// Time passes, and packets arrive.
    pub fn run(&mut self, duration_ns: u64) -> Result<(), String> {
        let end_ns = self.now_ns + duration_ns;
        let mut under_way_since_ns = None;
        loop {
            self.network.ripen(self.now_ns);
            if self.network.is_quiet() {
                under_way_since_ns = None;
            }
            let arrival_ns = match self.network.is_quiet() {
                true => u64::MAX,
                // Who has something to do before delays what is under way, but for so long only.
                false => {
                    let since_ns = *under_way_since_ns.get_or_insert(self.now_ns);
                    (self.now_ns + HOP_NS).min(since_ns + DELAY_HOPS_MAX * HOP_NS).max(self.now_ns)
                }
            };
            let next_ns = self.deadline_ns().min(self.network.ripe_ns()).max(self.now_ns).min(arrival_ns);
            if next_ns > end_ns {
                self.now_ns = end_ns;
                return Ok(());
            }
            if next_ns == arrival_ns {
                under_way_since_ns = None;
                self.round(&Filter::default())?;
            } else {
                self.now_ns = next_ns;
                self.say_moment();
                self.run_due()?;
            }
        }
    }

    /// Time passes, and packets arrive one by one, in any order.
    pub fn run_unordered(&mut self, duration_ns: u64) -> Result<(), String> {
        let end_ns = self.now_ns + duration_ns;
        while self.now_ns < end_ns {
            match self.network.take_any() {
                Some(packet) => {
                    self.now_ns += self.random.below(HOP_NS as usize / 4) as u64;
                    self.say_moment();
                    self.turn(packet.to, std::slice::from_ref(&packet))?;
                }
                None => self.now_ns = self.deadline_ns().clamp(self.now_ns, end_ns),
            }
            self.run_due()?;
        }
        Ok(())
    }

    /// Packets arrive one by one, in any order, until nothing is in flight.
    pub fn deliver_unordered(&mut self) -> Result<(), String> {
        while let Some(packet) = self.network.take_any() {
            self.now_ns += HOP_NS / 10;
            self.say_moment();
            self.turn(packet.to, std::slice::from_ref(&packet))?;
            self.run_due()?;
        }
        Ok(())
    }

    fn deadline_ns(&self) -> u64 {
        let replicas = self.replicas.iter().map(ReplicaHost::deadline_ns);
        let clients = self.clients.iter().map(ClientHost::deadline_ns);
        replicas.chain(clients).min().expect("a cluster has replicas").min(self.adversary.deadline_ns())
    }

    /// Gives a turn to everybody who is due.
    pub(crate) fn run_due(&mut self) -> Result<(), String> {
        if self.links.is_some() {
            // In a swarm everybody's turn comes in the timeline.
            return Ok(());
        }
        for _ in 0..SPINS_MAX {
            let now_ns = self.now_ns;
            if self.adversary.deadline_ns() <= now_ns {
                self.turn_adversary();
            }
            let replicas = self.replicas.iter().filter(|host| host.deadline_ns() <= now_ns);
            let clients = self.clients.iter().filter(|host| host.deadline_ns() <= now_ns);
            let due: Vec<_> = replicas
                .map(|host| Principal::Replica(host.id))
                .chain(clients.map(|host| Principal::Client(host.id)))
                .collect();
            if due.is_empty() {
                return Ok(());
            }
            for agent in due {
                self.turn(agent, &[])?;
            }
        }
        let due = self
            .replicas
            .iter()
            .filter(|host| host.deadline_ns() <= self.now_ns)
            .map(|host| name_of(Principal::Replica(host.id)));
        let due: Vec<String> = due.collect();
        Err(format!("an agent that had its turn is due again at once, for ever: {}", due.join(",")))
    }
}
