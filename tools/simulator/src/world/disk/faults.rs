//! What disks do wrong, by kind: what all of a run are like, what one does for a while, and what a process finds damaged when it begins.

use crate::world::random::Random;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A kind of fault. Those of [`DiskFault::DAMAGE`] take from a replica what was durable; the others only what was not, or time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskFault {
    /// Writes take up to a hundred times as long.
    Slow,
    /// A power cut leaves the first of the writes that nobody waited for, the last of them in part.
    Torn,
    /// A power cut leaves any of the sectors that nobody waited for.
    Reordered,
    /// Writes fail now and then, done in part.
    WriteErrors,
    /// Waiting for what was written fails now and then, and nobody knows what of it is there.
    SyncErrors,
    /// There is no room for anything new.
    NoRoom,
    /// Bits of the journal flip.
    Rot,
    /// A sector of the journal reads as zeros.
    Zeroed,
    /// A sector of the journal is as it was before it was last written.
    Stale,
    /// A block of the journal stands where another belongs.
    Misdirected,
    /// A file of the journal ends too early.
    Short,
    /// Bits of the journal's last group flip: nobody can tell that from a torn write (`protocol.md JR-3`).
    End,
    /// A checkpoint's table or pages are damaged, cut, or gone.
    Checkpoint,
    /// The journal says that it is another replica's.
    Foreign,
}

impl DiskFault {
    pub const ALL: [Self; 14] = [
        Self::Slow,
        Self::Torn,
        Self::Reordered,
        Self::WriteErrors,
        Self::SyncErrors,
        Self::NoRoom,
        Self::Rot,
        Self::Zeroed,
        Self::Stale,
        Self::Misdirected,
        Self::Short,
        Self::End,
        Self::Checkpoint,
        Self::Foreign,
    ];

    /// What disks may be like for a whole run.
    pub const NATURE: [Self; 3] = [Self::Slow, Self::Torn, Self::Reordered];

    /// What makes a replica give up until somebody starts it again.
    pub const ERRORS: [Self; 3] = [Self::WriteErrors, Self::SyncErrors, Self::NoRoom];

    /// What takes from a replica what it relies on. At most `f` replicas may be so at a time.
    pub const DAMAGE: [Self; 8] = [
        Self::Rot,
        Self::Zeroed,
        Self::Stale,
        Self::Misdirected,
        Self::Short,
        Self::End,
        Self::Checkpoint,
        Self::Foreign,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Torn => "torn",
            Self::Reordered => "reordered",
            Self::WriteErrors => "write-errors",
            Self::SyncErrors => "sync-errors",
            Self::NoRoom => "no-room",
            Self::Rot => "rot",
            Self::Zeroed => "zeroed",
            Self::Stale => "stale",
            Self::Misdirected => "misdirected",
            Self::Short => "short",
            Self::End => "end",
            Self::Checkpoint => "checkpoint",
            Self::Foreign => "foreign",
        }
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Kinds of faults that a disk has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DiskFaults(u16);

impl DiskFaults {
    pub const NONE: Self = Self(0);

    /// Of these kinds.
    pub fn of(kinds: &[DiskFault]) -> Self {
        Self(kinds.iter().fold(0, |bits, kind| bits | kind.bit()))
    }

    /// What the disks of a run are like: each kind or not.
    pub fn draw_nature(random: &mut Random) -> Self {
        let among: Vec<DiskFault> = DiskFault::NATURE.into_iter().filter(|_| random.percent(60)).collect();
        Self::of(&among)
    }

    pub fn has(self, kind: DiskFault) -> bool {
        self.0 & kind.bit() != 0
    }

    /// The same with one kind, or without it.
    pub fn with(self, kind: DiskFault, has: bool) -> Self {
        if has { Self(self.0 | kind.bit()) } else { Self(self.0 & !kind.bit()) }
    }
}

impl fmt::Display for DiskFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = DiskFault::ALL.into_iter().filter(|kind| self.has(*kind)).map(DiskFault::name).collect();
        f.write_str(if names.is_empty() { "none".to_owned() } else { names.join(", ") }.as_str())
    }
}

impl From<DiskFaults> for String {
    fn from(faults: DiskFaults) -> Self {
        faults.to_string()
    }
}

impl TryFrom<String> for DiskFaults {
    type Error = String;

    /// Of the kinds that a text names, as they are printed.
    fn try_from(text: String) -> Result<Self, String> {
        let kind_of = |name: &str| {
            let kind = DiskFault::ALL.into_iter().find(|kind| kind.name() == name);
            kind.ok_or_else(|| format!("there is no disk fault {name:?}; there are {}", Self::of(&DiskFault::ALL)))
        };
        let names = text.split(", ").filter(|name| *name != "none");
        names.map(kind_of).collect::<Result<Vec<_>, _>>().map(|kinds| Self::of(&kinds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_switched_off_one_by_one_and_named_as_they_are_printed() {
        let mut faults = DiskFaults::of(&DiskFault::ALL);
        for kind in DiskFault::ALL {
            assert_eq!(DiskFaults::try_from(faults.to_string()), Ok(faults));
            assert!(faults.has(kind) && faults.to_string().contains(kind.name()));
            faults = faults.with(kind, false);
            assert!(!faults.has(kind) && faults.with(kind, true).has(kind));
        }
        assert_eq!((faults, faults.to_string().as_str()), (DiskFaults::NONE, "none"));
        assert!(DiskFaults::try_from("rot, rust".to_owned()).unwrap_err().contains("rot, zeroed"));
    }

    #[test]
    fn each_kind_is_the_nature_of_a_disk_or_an_error_or_damage() {
        let all = [&DiskFault::NATURE[..], &DiskFault::ERRORS, &DiskFault::DAMAGE].concat();
        assert_eq!(all, DiskFault::ALL);
    }
}
