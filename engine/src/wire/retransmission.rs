//! What repairs a lossy network: status messages, and fetches of request bodies (`protocol.md RT-1`).

use super::framing::{self, Kind, Malformed};
use crate::limits;
use crate::numbers::{ReplicaSet, SequenceNumber, View};
use logothete_crypto::Digest;
use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A bit for each number of the widest window.
const WINDOW_WORDS: usize = limits::WINDOW_MAX as usize / 64;
/// A bit for each request of the largest batch.
const BATCH_WORDS: usize = limits::BATCH_REQUESTS_MAX / 64;

/// Bits for the sequence numbers that follow a replica's last executed one.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct WindowBits([U64; WINDOW_WORDS]);

impl WindowBits {
    /// Sets the bit of the number `offset` above the first.
    pub fn set(&mut self, offset: usize) {
        let word = &mut self.0[offset / 64];
        word.set(word.get() | 1 << (offset % 64));
    }

    /// Whether the bit is set; `false` beyond the widest window.
    pub fn contains(&self, offset: usize) -> bool {
        self.0.get(offset / 64).is_some_and(|word| word.get() & (1 << (offset % 64)) != 0)
    }
}

/// In [`Status`]: the sender is in normal operation in its view.
const FLAG_ACTIVE: u8 = 1;
/// In [`Status`]: the sender suspects its view's primary.
const FLAG_SUSPECTS: u8 = 2;
/// In [`Status`]: the sender recovers, and promises nothing.
const FLAG_RECOVERS: u8 = 4;
/// In [`Status`]: the sender's disk stands still.
const FLAG_DISK_STANDS: u8 = 8;

/// How a replica stands to its view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The view that it is in, or wants to enter.
    pub view: View,
    /// It has entered it.
    pub active: bool,
    /// It suspects the primary of it.
    pub suspects: bool,
    /// It does not remember what it promised, and recovers.
    pub recovers: bool,
    /// Its own disk stands still, so that it cannot vote.
    pub disk_stands: bool,
    /// Whose view changes for it are here; of those that the new view names where that is here.
    pub view_changes: ReplicaSet,
}

impl Standing {
    /// In a view, with nothing to say against anybody.
    pub fn active_in(view: View) -> Self {
        let none = ReplicaSet::EMPTY;
        Self { view, active: true, suspects: false, recovers: false, disk_stands: false, view_changes: none }
    }
}

/// Status(v, h, last executed, highest heard of, what is lacking up to there, and of the view change).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Status {
    view: U64,
    stable: U64,
    executed: U64,
    highest: U64,
    flags: u8,
    reserved: [u8; 5],
    view_changes: U16,
    /// Numbers above `executed` whose pre-prepare is missing; bit 0 is `executed + 1`.
    pub lacks_proposal: WindowBits,
    /// Numbers above `executed` that have not prepared here.
    pub lacks_prepared: WindowBits,
    /// Numbers above `executed` that have not committed here.
    pub lacks_committed: WindowBits,
}

impl Status {
    pub(super) fn decode(layout: &[u8]) -> Result<&Self, Malformed> {
        let status: &Self = framing::fixed(layout)?;
        let known = FLAG_ACTIVE | FLAG_SUSPECTS | FLAG_RECOVERS | FLAG_DISK_STANDS;
        if status.flags & !known == 0 && status.reserved == [0; 5] { Ok(status) } else { Err(Malformed::Field) }
    }

    /// A status that lacks nothing up to `highest`, the highest number that the sender has heard of, and everything above it.
    pub fn new(standing: Standing, stable: SequenceNumber, executed: SequenceNumber, highest: SequenceNumber) -> Self {
        let none = WindowBits::default();
        let flag = |set, flag| if set { flag } else { 0 };
        Self {
            view: standing.view.0.into(),
            flags: flag(standing.active, FLAG_ACTIVE)
                | flag(standing.suspects, FLAG_SUSPECTS)
                | flag(standing.recovers, FLAG_RECOVERS)
                | flag(standing.disk_stands, FLAG_DISK_STANDS),
            reserved: [0; 5],
            view_changes: standing.view_changes.0.into(),
            stable: stable.0.into(),
            executed: executed.0.into(),
            highest: highest.0.into(),
            lacks_proposal: none,
            lacks_prepared: none,
            lacks_committed: none,
        }
    }

    /// How the sender stands to its view.
    pub fn standing(&self) -> Standing {
        Standing {
            view: View(self.view.get()),
            active: self.flags & FLAG_ACTIVE != 0,
            suspects: self.flags & FLAG_SUSPECTS != 0,
            recovers: self.flags & FLAG_RECOVERS != 0,
            disk_stands: self.flags & FLAG_DISK_STANDS != 0,
            view_changes: ReplicaSet(self.view_changes.get()),
        }
    }

    /// How far the number above `executed` got at the sender: 0 without a proposal, 1 with one, 2 prepared, 3 committed.
    pub fn stage_of_next(&self) -> u8 {
        if !self.lacks_committed.contains(0) {
            3
        } else if !self.lacks_prepared.contains(0) {
            2
        } else {
            u8::from(!self.lacks_proposal.contains(0))
        }
    }

    /// The highest number that the sender has heard of.
    pub fn highest(&self) -> SequenceNumber {
        SequenceNumber(self.highest.get())
    }

    /// The sender's last stable checkpoint.
    pub fn stable(&self) -> SequenceNumber {
        SequenceNumber(self.stable.get())
    }

    /// The last batch that the sender executed.
    pub fn executed(&self) -> SequenceNumber {
        SequenceNumber(self.executed.get())
    }

    /// Whether the sender lacks something of a number at `offset` above its last executed one, as `bits` say, or because it has not
    /// heard of the number at all.
    pub fn lacks(&self, bits: &WindowBits, offset: usize) -> bool {
        let unheard = self.executed.get().saturating_add(1 + offset as u64) > self.highest.get();
        unheard || bits.contains(offset)
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::Status, &[self.as_bytes()]);
    }
}

/// Fetch(v, s, D, which): request bodies of a proposed batch that the sender lacks.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Fetch {
    sequence: U64,
    /// The batch.
    pub digest: Digest,
    missing: [U64; BATCH_WORDS],
}

impl Fetch {
    /// Asks for no body of a batch yet.
    pub fn new(sequence: SequenceNumber, digest: Digest) -> Self {
        Self { sequence: sequence.0.into(), digest, missing: [0.into(); BATCH_WORDS] }
    }

    /// Asks for the body of the batch's request at `index`.
    pub fn set(&mut self, index: usize) {
        let word = &mut self.missing[index / 64];
        word.set(word.get() | 1 << (index % 64));
    }

    /// Whether the body at `index` is asked for.
    pub fn contains(&self, index: usize) -> bool {
        self.missing.get(index / 64).is_some_and(|word| word.get() & (1 << (index % 64)) != 0)
    }

    /// The batch's place.
    pub fn sequence(&self) -> SequenceNumber {
        SequenceNumber(self.sequence.get())
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::Fetch, &[self.as_bytes()]);
    }
}

/// FetchBatch(s, D): the content of a batch that the sender lacks.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FetchBatch {
    sequence: U64,
    /// The batch.
    pub digest: Digest,
}

impl FetchBatch {
    /// Asks for a batch at a place.
    pub fn new(sequence: SequenceNumber, digest: Digest) -> Self {
        Self { sequence: sequence.0.into(), digest }
    }

    /// The place.
    pub fn sequence(&self) -> SequenceNumber {
        SequenceNumber(self.sequence.get())
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::FetchBatch, &[self.as_bytes()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_where_they_were_set() {
        let mut bits = WindowBits::default();
        for offset in [0, 63, 64, 511] {
            bits.set(offset);
        }
        let set: Vec<_> = (0..2000).filter(|&offset| bits.contains(offset)).collect();
        assert_eq!(set, [0, 63, 64, 511]);
        let mut fetch = Fetch::new(SequenceNumber(4), Digest::default());
        fetch.set(255);
        assert!(fetch.contains(255) && !fetch.contains(254) && !fetch.contains(4000));
    }
}
