//! The numbers that the protocol counts with, each a type of its own, so that a view can never be passed
//! where a sequence number is meant.

use std::fmt;

/// A view: the reign of one primary (PBFT-99 section 4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct View(pub u64);

/// The place of a batch in the one order. The first batch has number 1; 0 is the initial state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceNumber(pub u64);

/// A replica, `0..n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub u8);

/// A client of the replicas: a driver, or the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u16);

/// A client's incarnation, from 1 on: greater at every start of the driver (`protocol.md CL-2`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// That of a client that has opened none. No message names a request of it.
    pub const NONE: Self = Self(0);
}

/// The number of a request within one incarnation of its client: 0 opens the incarnation, 1 is the first request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestNumber(pub u64);

impl ClientId {
    /// In whose name the engine itself has something ordered (`protocol.md DM-4`). It is no client of any cluster, and has no keys.
    pub const SYSTEM: Self = Self(0xfe00);
}

impl SequenceNumber {
    /// The number after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl RequestNumber {
    /// The number that opens an incarnation.
    pub const OPEN: Self = Self(0);

    /// The number after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Whoever owns keys: a replica or a client. On the wire and in the key ring it is one `u16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// One of the `n` replicas.
    Replica(ReplicaId),
    /// One of the clients.
    Client(ClientId),
}

impl Principal {
    /// Clients are numbered from here, so that replicas and clients share one space.
    const CLIENT_BASE: u16 = 0x100;

    /// The principal's number on the wire.
    pub const fn code(self) -> u16 {
        match self {
            Self::Replica(id) => id.0 as u16,
            Self::Client(id) => Self::CLIENT_BASE + id.0,
        }
    }

    /// The principal of a number on the wire.
    pub const fn from_code(code: u16) -> Self {
        if code < Self::CLIENT_BASE {
            Self::Replica(ReplicaId(code as u8))
        } else {
            Self::Client(ClientId(code - Self::CLIENT_BASE))
        }
    }
}

/// A set of replicas, one bit each.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ReplicaSet(pub u16);

impl ReplicaSet {
    /// No replica.
    pub const EMPTY: Self = Self(0);

    /// The replicas `0..count`.
    pub const fn first(count: usize) -> Self {
        assert!(count <= 16);
        Self(((1u32 << count) - 1) as u16)
    }

    /// One replica alone.
    pub const fn only(id: ReplicaId) -> Self {
        Self(1 << id.0)
    }

    /// Adds a replica; whether it is new.
    pub const fn insert(&mut self, id: ReplicaId) -> bool {
        let new = !self.contains(id);
        self.0 |= 1 << id.0;
        new
    }

    /// Whether the replica is in the set.
    pub const fn contains(self, id: ReplicaId) -> bool {
        id.0 < 16 && self.0 & (1 << id.0) != 0
    }

    /// The set without one replica.
    pub const fn without(self, id: ReplicaId) -> Self {
        Self(self.0 & !(1 << id.0))
    }

    /// How many replicas there are in it.
    pub const fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The replicas in ascending order.
    pub fn iter(self) -> impl Iterator<Item = ReplicaId> {
        (0..16).map(ReplicaId).filter(move |id| self.contains(*id))
    }
}

impl fmt::Debug for ReplicaSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|id| id.0)).finish()
    }
}

macro_rules! display_as_number {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
display_as_number!(View, SequenceNumber, ReplicaId, ClientId, Incarnation, RequestNumber);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_survive_the_wire() {
        for principal in [
            Principal::Replica(ReplicaId(0)),
            Principal::Replica(ReplicaId(15)),
            Principal::Client(ClientId(0)),
            Principal::Client(ClientId(700)),
        ] {
            assert_eq!(Principal::from_code(principal.code()), principal);
        }
    }

    #[test]
    fn sets_count_each_replica_once() {
        let mut set = ReplicaSet::EMPTY;
        assert!(set.insert(ReplicaId(3)));
        assert!(!set.insert(ReplicaId(3)));
        assert!(set.insert(ReplicaId(15)));
        assert_eq!(set.count(), 2);
        assert_eq!(set.iter().map(|id| id.0).collect::<Vec<_>>(), [3, 15]);
        assert_eq!(ReplicaSet::first(16).count(), 16);
        assert_eq!(ReplicaSet::first(4).without(ReplicaId(0)).count(), 3);
        assert!(!set.contains(ReplicaId(200)));
    }
}
