//! Trying out the multicast path (`protocol.md PK-7`). Both travel alone in their packets; the network's agents deal with them.

use super::framing::{self, Kind, Malformed, fixed};
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Probe(number), sent to the sender's group, and by unicast to who did not answer the one before.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Probe {
    /// Of the probe, from 1; the copies by unicast have the same.
    pub number: U64,
    /// 1 for the one to the group, 0 for a copy by unicast.
    pub to_group: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

/// ProbeHeard(number), to the prober by unicast.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ProbeHeard {
    /// Of the probe.
    pub number: U64,
    /// 1 if it came through the group.
    pub through_group: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

impl Probe {
    pub(super) fn decode(layout: &[u8]) -> Result<&Self, Malformed> {
        let probe: &Self = fixed(layout)?;
        if probe.to_group <= 1 && probe.reserved == [0; 7] { Ok(probe) } else { Err(Malformed::Field) }
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::Probe, &[self.as_bytes()]);
    }
}

impl ProbeHeard {
    pub(super) fn decode(layout: &[u8]) -> Result<&Self, Malformed> {
        let heard: &Self = fixed(layout)?;
        if heard.through_group <= 1 && heard.reserved == [0; 7] { Ok(heard) } else { Err(Malformed::Field) }
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::ProbeHeard, &[self.as_bytes()]);
    }
}
