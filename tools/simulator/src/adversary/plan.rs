//! What the adversary of one seed owns, and how it uses that: drawn from a seed, printed in one line, and made smaller by a shrinker name by name.

use crate::adversary::strategy::{self, Strategy};
use crate::world::random::Random;
use crate::world::settings::Settings;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// How the adversary of a seed is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// A0: it leaves out, and is late.
    Omission,
    /// A1: two or three correct replicas with one identity.
    Twins,
    /// A2: what a correct replica says, a little changed.
    Mutation,
    /// A3: scripted attacks.
    Script,
    /// A4: it sees everything, and decides when what arrives.
    Schedule,
    /// Several of these.
    Mixture,
    /// Only clients are faulty.
    Client,
}

impl Level {
    /// How many in a hundred seeds with faulty replicas are of each level.
    const SHARES: [(Self, u32); 6] = [
        (Self::Omission, 10),
        (Self::Twins, 15),
        (Self::Mutation, 20),
        (Self::Script, 25),
        (Self::Schedule, 20),
        (Self::Mixture, 10),
    ];

    pub fn draw(random: &mut Random) -> Self {
        let mut place = random.below(100) as u32;
        for (level, share) in Self::SHARES {
            if place < share {
                return level;
            }
            place -= share;
        }
        unreachable!("the shares are a hundred together")
    }

    /// All levels.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::SHARES.iter().map(|(level, _)| *level).chain([Self::Client])
    }

    /// The level of a name on a command line.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|level| level.to_string() == name)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Omission => "omission",
            Self::Twins => TWINS,
            Self::Mutation => "mutation",
            Self::Script => "script",
            Self::Schedule => "schedule",
            Self::Mixture => "mixture",
            Self::Client => "client",
        })
    }
}

/// The name under which twins are switched off.
pub const TWINS: &str = "twins";

/// An adversary before it begins. Every strategy has randomness of its own, so that taking one out leaves the others as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub level: Level,
    pub replicas: Vec<u8>,
    pub clients: Vec<u16>,
    pub strategies: Vec<String>,
    pub seed: u64,
}

impl Plan {
    /// An adversary of a level, which owns up to `f` replicas, and so many of the last clients.
    pub fn draw(level: Level, random: &mut Random, settings: &Settings, clients: usize) -> Self {
        let faults = settings.quorum().faults();
        let mut replicas = BTreeSet::new();
        for _ in 0..1 + random.below(faults) {
            // Half of the faulty are primaries of the first views.
            let among = if random.percent(50) { 2 } else { settings.replicas };
            replicas.insert(random.below(among) as u8);
        }
        let mut strategies = BTreeSet::new();
        match level {
            Level::Omission => some(level, 1 + random.below(3), random, &mut strategies),
            Level::Twins => _ = strategies.insert(TWINS),
            Level::Mutation => some(level, 1, random, &mut strategies),
            Level::Script => {
                // Few at a time leave each room; many meet all kinds of occasions.
                let count = random.pick(&[1, 2, 3, 4, 6, 12]);
                some(level, count, random, &mut strategies);
            }
            Level::Client => replicas.clear(),
            Level::Schedule => {
                some(level, 1 + random.below(3), random, &mut strategies);
                strategies.insert("repeat-fragments");
                some(Level::Script, random.below(4), random, &mut strategies);
            }
            Level::Mixture => {
                if random.percent(50) {
                    strategies.insert(TWINS);
                }
                for level in [Level::Omission, Level::Mutation, Level::Script, Level::Schedule] {
                    some(level, random.below(3), random, &mut strategies);
                }
            }
        }
        if clients > 0 {
            some(Level::Client, 1 + random.below(3), random, &mut strategies);
        }
        let clients = (settings.clients - clients..settings.clients).map(|id| id as u16).collect();
        let strategies = strategies.into_iter().map(str::to_owned).collect();
        Self { level, replicas: replicas.into_iter().collect(), clients, strategies, seed: random.draw() }
    }

    /// One that owns nobody, and does nothing.
    pub fn nobody(seed: u64) -> Self {
        Self { level: Level::Schedule, replicas: Vec::new(), clients: Vec::new(), strategies: Vec::new(), seed }
    }

    /// The same, and the network is its own.
    pub fn scheduling(mut self, random: &mut Random) -> Self {
        let mut strategies = BTreeSet::new();
        some(Level::Schedule, 1 + random.below(2), random, &mut strategies);
        let more = strategies.into_iter().filter(|name| !self.has(name)).map(str::to_owned).collect::<Vec<_>>();
        self.strategies.extend(more);
        self
    }

    /// The same without one strategy.
    pub fn without(&self, name: &str) -> Self {
        let mut less = self.clone();
        less.strategies.retain(|held| *held != name);
        less
    }

    fn has(&self, name: &str) -> bool {
        self.strategies.iter().any(|held| held == name)
    }

    /// Whether the network is the adversary's.
    pub fn schedules(&self) -> bool {
        strategy::ALL.iter().any(|entry| entry.level == Level::Schedule && self.has(entry.name))
    }

    /// Whether the replicas are twins.
    pub fn twins(&self) -> bool {
        self.has(TWINS)
    }

    /// The strategies, each with its randomness.
    pub(super) fn strategies(&self, settings: &Settings) -> Vec<Box<dyn Strategy>> {
        let all = strategy::ALL.iter().filter(|entry| self.has(entry.name));
        all.map(|entry| (entry.make)(self.random(entry.name), settings)).collect()
    }

    /// The randomness of what has a name.
    pub(super) fn random(&self, name: &str) -> Random {
        Random::named(self.seed, name)
    }
}

/// Draws some strategies of a level, the same perhaps twice.
fn some(level: Level, count: usize, random: &mut Random, strategies: &mut BTreeSet<&'static str>) {
    let all: Vec<_> = strategy::ALL.iter().filter(|entry| entry.level == level).collect();
    (0..count).for_each(|_| _ = strategies.insert(all[random.below(all.len())].name));
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by", self.level)?;
        self.replicas.iter().try_for_each(|id| write!(f, " {id}"))?;
        self.clients.iter().try_for_each(|id| write!(f, " c{id}"))?;
        write!(f, ": {}", self.strategies.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_of_one_strategy_and_can_be_switched_off() {
        let mut names: Vec<_> = strategy::names().collect();
        names.sort_unstable();
        assert!(names.is_sorted_by(|one, next| one < next), "{names:?}");
        let plan = Plan::draw(Level::Script, &mut Random::new(3), &Settings::default(), 0);
        let first = &plan.strategies[0];
        let less = plan.without(first);
        assert!(!less.strategies.contains(first) && less.strategies.len() + 1 == plan.strategies.len());
        assert_eq!(less.strategies(&Settings::default()).len(), less.strategies.len());
    }

    #[test]
    fn the_shares_are_a_hundred_and_each_level_has_its_name() {
        assert_eq!(Level::SHARES.iter().map(|(_, share)| share).sum::<u32>(), 100);
        for (level, share) in Level::SHARES {
            let mut random = Random::new(1);
            let drawn = (0..10_000).filter(|_| Level::draw(&mut random) == level).count() as u32;
            assert!(drawn.abs_diff(share * 100) < 200, "{level} was drawn {drawn} times");
            assert_eq!(Level::named(&level.to_string()), Some(level));
        }
    }

    #[test]
    fn no_plan_owns_more_than_the_protocol_bears() {
        for seed in 0..1000 {
            let mut random = Random::new(seed);
            let settings = Settings { replicas: [4, 7][seed as usize % 2], clients: 3, ..Settings::default() };
            let plan = Plan::draw(Level::draw(&mut random), &mut random, &settings, 1);
            assert!((1..=settings.quorum().faults()).contains(&plan.replicas.len()), "{plan}");
            assert_eq!(plan.clients, [2]);
        }
    }
}
