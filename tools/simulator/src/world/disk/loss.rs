//! What a power cut leaves of the writes that nobody waited for.

use super::image::{SECTOR, Written};
use crate::world::random::Random;
use std::ops::Range;

/// How much of the cache is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing: only the process ended.
    Nothing,
    /// Everything.
    Everything,
    /// All sectors after one.
    End,
    /// Any sectors.
    Sectors,
    /// All bytes of the last write after so many, and nothing of those before: a cut that no disk makes, for enumeration.
    After(usize),
}

impl Loss {
    /// The pieces that are left: of which write, which of its bytes. Sectors that stay together are one.
    pub(super) fn kept(self, written: &[Written], random: &mut Random) -> Vec<(usize, Range<usize>)> {
        let sectors = written.iter().enumerate().flat_map(|(write, written)| {
            let end = written.count;
            (0..end).step_by(SECTOR).map(move |at| (write, at..(at + SECTOR).min(end)))
        });
        let mut sectors: Vec<_> = sectors.collect();
        match self {
            Self::Nothing => {}
            Self::Everything => sectors.clear(),
            Self::End => sectors.truncate(random.below(sectors.len() + 1)),
            Self::Sectors => sectors.retain(|_| random.percent(50)),
            Self::After(bytes) => {
                let last = written.len().wrapping_sub(1);
                sectors.retain_mut(|(write, piece)| {
                    piece.end = if *write == last { piece.end.min(bytes) } else { piece.end };
                    piece.start < piece.end
                });
            }
        }
        sectors.dedup_by(|next, held| {
            let goes_on = next.0 == held.0 && next.1.start == held.1.end;
            held.1.end = if goes_on { next.1.end } else { held.1.end };
            goes_on
        });
        sectors
    }

    /// How many of so many changes of names are left.
    pub(super) fn names_kept(self, count: usize, random: &mut Random) -> usize {
        match self {
            Self::Nothing => count,
            Self::Everything | Self::After(_) => 0,
            Self::End | Self::Sectors => random.below(count + 1),
        }
    }
}
