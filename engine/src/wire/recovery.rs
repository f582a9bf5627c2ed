//! What a replica asks that does not remember, and what it is told (`protocol.md RC-2`).

use super::framing::{self, Kind};
use crate::numbers::{SequenceNumber, View};
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// RecoveryQuery(epoch): the sender does not remember what it promised before this epoch.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RecoveryQuery {
    epoch: U64,
}

impl RecoveryQuery {
    /// Of the sender's present epoch.
    pub fn new(epoch: u64) -> Self {
        Self { epoch: epoch.into() }
    }

    /// The sender's present epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::RecoveryQuery, &[self.as_bytes()]);
    }
}

/// RecoveryAnswer(epoch, h, last prepared, v): how far the sender is. What the asker signed in former epochs it refuses from now on.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RecoveryAnswer {
    epoch: U64,
    stable: U64,
    prepared: U64,
    view: U64,
}

impl RecoveryAnswer {
    /// To the query of an epoch.
    pub fn new(epoch: u64, stable: SequenceNumber, prepared: SequenceNumber, view: View) -> Self {
        let (stable, prepared) = (stable.0.into(), prepared.0.into());
        Self { epoch: epoch.into(), stable, prepared, view: view.0.into() }
    }

    /// Of the query.
    pub fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    /// The sender's last stable checkpoint.
    pub fn stable(&self) -> SequenceNumber {
        SequenceNumber(self.stable.get())
    }

    /// The highest number that prepared at the sender.
    pub fn prepared(&self) -> SequenceNumber {
        SequenceNumber(self.prepared.get())
    }

    /// The view that the sender is in, or wants to enter.
    pub fn view(&self) -> View {
        View(self.view.get())
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::RecoveryAnswer, &[self.as_bytes()]);
    }
}
