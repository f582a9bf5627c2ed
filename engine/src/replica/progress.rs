//! How a replica gets on: what it says of itself to its operator.

use super::{Now, Replica};
use crate::limits;

/// How a replica gets on, as it sees it itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Progress {
    /// It executes what it knows of.
    Normal = 0,
    /// It knows of work and has executed nothing for [`limits::STALLED_NS`].
    Stalled = 1,
    /// What it lacks is no longer in the others' logs.
    FellBehind = 2,
    /// It left a view and has not entered the next one yet.
    ViewChanging = 3,
    /// It came back without memory, and promises nothing yet.
    Recovering = 4,
}

impl Progress {
    /// Of a report; what this build does not know is taken for no progress.
    pub const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Normal,
            2 => Self::FellBehind,
            3 => Self::ViewChanging,
            4 => Self::Recovering,
            _ => Self::Stalled,
        }
    }
}

impl Replica {
    /// How the replica gets on.
    pub fn progress(&self, now: Now) -> Progress {
        let stuck = |since| now.monotonic_ns.saturating_sub(since) >= limits::STALLED_NS;
        // One replica's word that there is more makes this one ask, but not despair.
        let weak = self.config.quorum.weak();
        let known = self.accepted > self.executed
            || self.clients.work_waits(&self.bodies)
            || self.peers.executed_of_weak_quorum(weak) > self.executed;
        if self.is_silent() {
            Progress::Recovering
        } else if self.fell_behind {
            Progress::FellBehind
        } else if !self.active {
            Progress::ViewChanging
        } else if known && self.pulse.stuck_since_ns.is_some_and(stuck) {
            Progress::Stalled
        } else {
            Progress::Normal
        }
    }
}
