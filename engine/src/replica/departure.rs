//! Why a replica left its view: an operator who asks why the primary changed is told (`protocol.md VC-1`).

use std::fmt;

/// What made a replica leave its view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It suspects the primary, and `f` others do or have left already.
    Suspicion(Suspicion),
    /// `f+1` others want higher views (`VC-4`).
    Others,
    /// The new view did not come in time (`VC-8`).
    NewViewLate,
    /// The new view does not follow from the view changes that it names (`VC-6`).
    NewViewWrong,
}

/// What speaks against a primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// Nothing was heard of it while something waited.
    Silence(Wait),
    /// Something waited for too long, whatever was heard of it.
    Latency(Wait),
    /// It achieves less than it owes, or serves what came later first (`RB-6`, `RB-7`).
    Goodput,
    /// What it proposed next is never accepted in this view (`RB-8`).
    Refused,
    /// It does not remember what it promised, and orders nothing.
    Recovers,
}

/// How long a primary was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The time that is held against it.
    pub blamed_ns: u64,
    /// How much would have been borne.
    pub borne_ns: u64,
    /// The time that is not held against it, because disks stood still (`VC-8`).
    pub excused_ns: u64,
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Suspicion(suspicion) => write!(f, "its primary {suspicion}"),
            Self::Others => f.write_str("f+1 others want higher ones"),
            Self::NewViewLate => f.write_str("its new view did not come in time"),
            Self::NewViewWrong => f.write_str("its new view was wrong"),
        }
    }
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence(wait) => write!(f, "was silent for {wait}"),
            Self::Latency(wait) => write!(f, "left something waiting for {wait}"),
            Self::Goodput => f.write_str("achieves too little, or is not fair"),
            Self::Refused => f.write_str("proposed what is never accepted"),
            Self::Recovers => f.write_str("does not remember what it promised, and orders nothing"),
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time_ns: u64| time_ns as f64 / 1e6;
        write!(f, "{:.1} ms, where {:.1} are borne", ms(self.blamed_ns), ms(self.borne_ns))?;
        if self.excused_ns > 0 {
            write!(f, ", besides {:.1} in which disks stood still", ms(self.excused_ns))?;
        }
        Ok(())
    }
}
