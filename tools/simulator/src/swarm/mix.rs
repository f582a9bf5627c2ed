//! What can go wrong in a run, by name, and which of it a mix has. Each seed leaves a part of it out, so that what is there is there more often alone.

use crate::world::random::Random;
use std::str::FromStr;

/// Which kinds of fault a run may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Nothing goes wrong.
    None,
    /// What networks do.
    Network,
    /// What hosts do: crashes, pauses, stalled disks, bad clocks; on a network that is well.
    Crash,
    /// What faulty replicas and clients do, on a network that is well.
    Byzantine,
    /// What faulty clients do, and nothing else: no view may change for it.
    Clients,
    /// Everything.
    All,
}

impl Mix {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::None, Self::Network, Self::Crash, Self::Byzantine, Self::Clients, Self::All];

    /// What a part of the seeds of all mixes have in place of everything: one kind of fault alone goes further than among others.
    const SINGLE: [Self; 6] =
        [Self::Network, Self::Crash, Self::Byzantine, Self::Byzantine, Self::Clients, Self::Clients];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Network => "network",
            Self::Crash => "crash",
            Self::Byzantine => "byzantine",
            Self::Clients => "clients",
            Self::All => "all",
        }
    }

    fn has(self, group: Self) -> bool {
        self == Self::All || self == group || (self == Self::Byzantine && group == Self::Clients)
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|mix| mix.name() == text);
        named.ok_or_else(|| format!("there is no mix `{text}`: none, network, crash, byzantine, clients or all"))
    }
}

/// One thing that can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    Loss,
    CorrelatedLoss,
    Duplicates,
    Replays,
    Tails,
    Capacity,
    Bursts,
    Clogs,
    Partitions,
    Outages,
    Silences,
    NoViews,
    Schedule,
    SlowLinks,
    Pauses,
    Crashes,
    CrashesWriting,
    PowerLoss,
    RollingRestarts,
    ClientRestarts,
    Disks,
    DiskStalls,
    DiskErrors,
    DiskDamage,
    SmallInboxes,
    ClockRates,
    ClockJumps,
    WallClocks,
    KeyRotation,
    SpoiltTags,
    Replicas,
    Clients,
}

impl Feature {
    fn group(self) -> Mix {
        match self {
            Self::Loss
            | Self::CorrelatedLoss
            | Self::Duplicates
            | Self::Replays
            | Self::Tails
            | Self::Capacity
            | Self::Bursts
            | Self::Clogs
            | Self::Partitions
            | Self::Outages
            | Self::Silences
            | Self::NoViews
            | Self::Schedule
            | Self::SlowLinks => Mix::Network,
            Self::Pauses
            | Self::Crashes
            | Self::CrashesWriting
            | Self::PowerLoss
            | Self::RollingRestarts
            | Self::ClientRestarts
            | Self::Disks
            | Self::DiskStalls
            | Self::DiskErrors
            | Self::DiskDamage
            | Self::SmallInboxes
            | Self::ClockRates
            | Self::ClockJumps
            | Self::WallClocks
            | Self::KeyRotation => Mix::Crash,
            Self::Replicas => Mix::Byzantine,
            Self::SpoiltTags | Self::Clients => Mix::Clients,
        }
    }

    /// How many in a hundred of the seeds that draw much have it: what is all or nothing for a run is rare.
    fn share(self) -> u32 {
        match self {
            Self::SlowLinks => 10,
            Self::NoViews => 2,
            Self::PowerLoss | Self::RollingRestarts | Self::Outages | Self::Silences | Self::Schedule => 20,
            Self::Replicas | Self::Disks => 90,
            Self::Clients => 50,
            _ => 70,
        }
    }
}

/// The features of one seed.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    seed: u64,
    mix: Mix,
    density: u32,
}

impl Features {
    /// Of a seed: some have nearly everything that the mix allows, some hardly anything.
    pub fn of(seed: u64, mix: Mix) -> Self {
        let mut random = Random::named(seed, "density");
        let density = random.pick(&[20, 50, 80, 100]);
        let single = mix == Mix::All && random.percent(30);
        Self { seed, mix: if single { random.pick(&Mix::SINGLE) } else { mix }, density }
    }

    /// The stream from which a feature draws its numbers, if the seed has it.
    pub fn draw(&self, feature: Feature) -> Option<Random> {
        let mut random = Random::named(self.seed, &format!("feature {feature:?}"));
        let on = random.percent(feature.share() * self.density / 100);
        (on && self.mix.has(feature.group())).then_some(random)
    }
}
