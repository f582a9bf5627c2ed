//! What the disks of a run do wrong, as a set of kinds: to be drawn, printed, and switched off one by one.

use crate::world::random::Random;
use std::fmt;

/// A kind of fault. Those of [`DiskFault::is_damage`] take from a replica what was durable; the others only what was not, or time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// Writes take up to a hundred times as long.
    Slow,
    /// For 10 ms to 5 s nothing becomes durable.
    Stalls,
    /// A crash leaves the first of the writes that nobody waited for, the last of them in part.
    Torn,
    /// A crash leaves any of the sectors that nobody waited for.
    Reordered,
    /// A write fails, done in part.
    WriteErrors,
    /// Waiting for what was written fails, and nobody knows what of it is there.
    SyncErrors,
    /// For a while there is no room for anything new.
    NoRoom,
    /// Bits of the journal flip.
    Rot,
    /// A sector of the journal reads as zeros.
    Zeroed,
    /// A sector of the journal is as it was before it was last written.
    Stale,
    /// A block of the journal stands where another belongs.
    Misdirected,
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
        Self::Stalls,
        Self::Torn,
        Self::Reordered,
        Self::WriteErrors,
        Self::SyncErrors,
        Self::NoRoom,
        Self::Rot,
        Self::Zeroed,
        Self::Stale,
        Self::Misdirected,
        Self::End,
        Self::Checkpoint,
        Self::Foreign,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Stalls => "stalls",
            Self::Torn => "torn",
            Self::Reordered => "reordered",
            Self::WriteErrors => "write-errors",
            Self::SyncErrors => "sync-errors",
            Self::NoRoom => "no-room",
            Self::Rot => "rot",
            Self::Zeroed => "zeroed",
            Self::Stale => "stale",
            Self::Misdirected => "misdirected",
            Self::End => "end",
            Self::Checkpoint => "checkpoint",
            Self::Foreign => "foreign",
        }
    }

    /// Whether it takes from a replica what it relies on. At most `f` replicas may be so at a time.
    pub fn is_damage(self) -> bool {
        use DiskFault::{Checkpoint, End, Foreign, Misdirected, Rot, Stale, Zeroed};
        matches!(self, Rot | Zeroed | Stale | Misdirected | End | Checkpoint | Foreign)
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// The kinds of faults that the disks of a run have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskFaults(u16);

impl DiskFaults {
    pub const NONE: Self = Self(0);

    /// Of these kinds.
    pub fn of(kinds: &[DiskFault]) -> Self {
        Self(kinds.iter().fold(0, |bits, kind| bits | kind.bit()))
    }

    /// Each kind is among them or not; most runs have a few.
    pub fn draw(random: &mut Random) -> Self {
        let among: Vec<DiskFault> = DiskFault::ALL.into_iter().filter(|_| random.percent(30)).collect();
        Self::of(&among)
    }

    /// Of the kinds that a text names, as they are printed.
    ///
    /// # Errors
    /// There is no kind of that name.
    pub fn named(text: &str) -> Result<Self, String> {
        let all = Self::of(&DiskFault::ALL);
        let names = text.split(", ").filter(|name| *name != "none");
        names.map(|name| Ok(all.0 & !all.without(name)?.0)).sum::<Result<u16, String>>().map(Self)
    }

    /// The same without a kind, by its name.
    ///
    /// # Errors
    /// There is no kind of that name.
    pub fn without(self, name: &str) -> Result<Self, String> {
        let kind = DiskFault::ALL.into_iter().find(|kind| kind.name() == name);
        let kind =
            kind.ok_or_else(|| format!("there is no disk fault {name:?}; there are {}", Self::of(&DiskFault::ALL)))?;
        Ok(Self(self.0 & !kind.bit()))
    }

    pub fn has(self, kind: DiskFault) -> bool {
        self.0 & kind.bit() != 0
    }

    /// Those that are damage.
    pub fn damage(self) -> Vec<DiskFault> {
        DiskFault::ALL.into_iter().filter(|kind| kind.is_damage() && self.has(*kind)).collect()
    }
}

impl fmt::Display for DiskFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = DiskFault::ALL.into_iter().filter(|kind| self.has(*kind)).map(DiskFault::name).collect();
        f.write_str(if names.is_empty() { "none".to_owned() } else { names.join(", ") }.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_switched_off_by_the_names_they_are_printed_with() {
        let mut faults = DiskFaults::of(&DiskFault::ALL);
        for kind in DiskFault::ALL {
            assert_eq!(DiskFaults::named(&faults.to_string()), Ok(faults));
            assert!(faults.has(kind) && faults.to_string().contains(kind.name()));
            faults = faults.without(kind.name()).unwrap();
            assert!(!faults.has(kind));
        }
        assert_eq!((faults, faults.to_string().as_str()), (DiskFaults::NONE, "none"));
        assert!(faults.without("rust").unwrap_err().contains("rot, zeroed"));
    }
}
