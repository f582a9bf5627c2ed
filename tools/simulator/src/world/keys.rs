//! The session keys of a process: the real ones, or what stands in for them.

use crate::world::random::Random;
use crate::world::stand_ins::StandIns;
use logothete_crypto::{KeyRing, KeyRingConfig};
use logothete_engine::authentication::PacketKeys;
use logothete_engine::numbers::Principal;

/// Announcements of each of two processes after which they know each other.
const ANNOUNCEMENTS_MAX: usize = 4;

/// The session keys of a process.
pub(super) enum Keys {
    Real(Box<KeyRing>),
    StandIn(StandIns),
}

impl Keys {
    pub(super) fn real(config: KeyRingConfig, mut entropy: Random) -> Self {
        Self::Real(Box::new(KeyRing::new(config, Box::new(move |bytes| entropy.fill(bytes)))))
    }

    pub(super) fn stand_in(own: Principal, entropy: Random) -> Self {
        Self::StandIn(StandIns::new(own.code(), entropy))
    }

    /// As verifier and sealer use them, whichever they are.
    pub(super) fn of_packets(&self) -> &dyn PacketKeys {
        match self {
            Self::Real(keys) => &**keys,
            Self::StandIn(keys) => keys,
        }
    }

    pub(super) fn of_packets_mut(&mut self) -> &mut dyn PacketKeys {
        match self {
            Self::Real(keys) => &mut **keys,
            Self::StandIn(keys) => keys,
        }
    }

    /// Two processes learn each other's keys: real ones are announced until both are sure of it.
    ///
    /// # Panics
    /// If they do not come to terms; or one has real keys and the other has not.
    pub(super) fn introduce(&mut self, own: Principal, other: &mut Self, peer: Principal) {
        let (one, two) = match (self, other) {
            (Self::Real(one), Self::Real(two)) => (one, two),
            (Self::StandIn(one), Self::StandIn(two)) => return one.introduce(two),
            _ => panic!("{own:?} and {peer:?} have keys of different kinds"),
        };
        for _ in 0..ANNOUNCEMENTS_MAX {
            announce(one, two, peer);
            announce(two, one, own);
            if one.settled(peer.code()) && two.settled(own.code()) {
                return;
            }
        }
        panic!("{own:?} and {peer:?} do not come to terms");
    }

    /// See [`KeyRing::rotate`].
    pub(super) fn rotate(&mut self) {
        match self {
            Self::Real(keys) => keys.rotate(),
            Self::StandIn(keys) => keys.rotate(),
        }
    }

    /// See [`KeyRing::retire`].
    pub(super) fn retire(&mut self) {
        match self {
            Self::Real(keys) => keys.retire(),
            Self::StandIn(keys) => keys.retire(),
        }
    }

    /// See [`KeyRing::retire_of`].
    pub(super) fn retire_of(&mut self, peer: Principal) {
        match self {
            Self::Real(keys) => keys.retire_of(peer.code()),
            Self::StandIn(keys) => keys.retire_of(peer.code()),
        }
    }
}

fn announce(from: &mut KeyRing, to: &mut KeyRing, receiver: Principal) {
    let announcement = from.announcement(receiver.code(), 0).expect("everybody is registered");
    to.accept_announcement(&announcement).expect("an honest announcement is accepted");
}
