//! One thing that goes wrong in a run, as data.

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
    /// Packets with a message of a kind are lost for everybody: of the kinds that [`KINDS`](crate::adversary::omission::KINDS) has, by place.
    LoseKind { kind: u8 },
    /// A process stands still, and its packets wait.
    Pause { who: Target },
    /// A process is killed, and another begins when it is over; on an empty disk if it is `lost`.
    Crash { who: Target, lost: bool },
    /// All processes of replicas with journals are killed at once, and begin again one after the other while it lasts.
    PowerLoss,
    /// The replicas' processes are killed one after the other while it lasts, each when the one before it began again.
    RollingRestart,
    /// A client's process is killed, and another begins.
    RestartClient { client: u16 },
    /// A disk writes nothing.
    DiskStall { who: Target },
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
