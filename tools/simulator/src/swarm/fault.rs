//! One thing that goes wrong in a run, as data.

use crate::world::disk::faults::DiskFault;
use serde::{Deserialize, Serialize};

/// Whom a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    Replica(u8),
    /// The primary of the highest view in which a correct replica is when it happens.
    Primary,
}

/// Which side of a partition hears the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hearing {
    /// Neither hears the other.
    Neither,
    /// Those inside hear nothing, and are heard.
    Outside,
    /// Those inside hear, and are not heard.
    Inside,
}

/// What replicas say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Speech {
    Proposals,
    Prepares,
    Commits,
    Checkpoints,
    Statuses,
    ViewChanges,
    NewViews,
    Replies,
}

impl Speech {
    pub const ALL: [Self; 8] = [
        Self::Proposals,
        Self::Prepares,
        Self::Commits,
        Self::Checkpoints,
        Self::Statuses,
        Self::ViewChanges,
        Self::NewViews,
        Self::Replies,
    ];

    /// How messages of that kind are called.
    pub fn word(self) -> &'static str {
        match self {
            Self::Proposals => "pre-prepare",
            Self::Prepares => "prepare",
            Self::Commits => "commit",
            Self::Checkpoints => "checkpoint",
            Self::Statuses => "status",
            Self::ViewChanges => "view-change",
            Self::NewViews => "new-view",
            Self::Replies => "reply",
        }
    }
}

/// What goes wrong. Replicas as a bit each, agents by their place among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// Replicas and the others do not hear each other; the clients are with the others, or hear everybody.
    Partition { inside: u16, hearing: Hearing, clients_too: bool },
    /// The primary alone is cut off from the other replicas.
    IsolatePrimary { hearing: Hearing },
    /// A link loses everything.
    Burst { from: usize, to: usize },
    /// What is on a link waits, and comes at once when it is over.
    Clog { from: usize, to: usize },
    /// Packets to groups are lost for everybody; or those to single receivers.
    Outage { group: bool },
    /// Packets in which replicas say something are lost for everybody.
    Silence { of: Speech },
    /// A process stands still, and its packets wait.
    Pause { who: Target },
    /// A host loses its power, and another process begins when it is over; on an empty disk if it is `lost`.
    Crash { who: Target, lost: bool },
    /// The same of a host with a journal, after so many more things that its disk does, if it does so many in that time.
    CrashWriting { who: Target, steps: u64 },
    /// All replicas with journals lose their power at once, and begin again one after the other while it lasts.
    PowerLoss,
    /// The replicas' processes are killed one after the other while it lasts, each when the one before it began again.
    RollingRestart,
    /// A client's process is killed, and another begins.
    RestartClient { client: u16 },
    /// Nothing becomes durable on a disk.
    DiskStall { who: Target },
    /// What a disk is asked for fails in this way.
    DiskFails { who: Target, kind: DiskFault },
    /// A host loses its power, and when it is over another process begins on a disk that is damaged.
    DiskDamage { who: Target, kind: DiskFault },
    /// A host's clocks stand still.
    ClockFreeze { who: Target },
    /// A host's clocks show so much more at once.
    ClockLeap { who: Target, by_ns: u64 },
    /// A host's clocks go so much faster from now on.
    ClockRate { who: Target, rate_ppm: i64 },
    /// A process takes new keys.
    RotateKeys { who: Target },
    /// A client's tags for these replicas are wrong.
    SpoilTags { client: u16, replicas: u16 },
}

/// A fault, when it begins, and how long it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultEvent {
    pub number: u32,
    pub at_ns: u64,
    pub for_ns: u64,
    pub fault: Fault,
}
