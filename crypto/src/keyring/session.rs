//! The keys of one established epoch of one peer.
//!
//! Each side holds two generations at most, so there are up to four pairs of keys, one for each
//! combination:
//!
//! ```text
//!                          peer's previous     peer's current
//!   our previous  ┌──────────────────────┬──────────────────────┐
//!                 │ receive              │ receive, send while  │
//!                 │                      │ the peer has not     │
//!                 │                      │ confirmed our current│
//!   our current   ├──────────────────────┼──────────────────────┤
//!                 │ receive              │ receive, send        │
//!                 └──────────────────────┴──────────────────────┘
//! ```

use super::derive::{Binding, End, ExchangeKey, OwnKeys, SessionKey, WeakKey};
use crate::announcement::{Announcement, AnnouncementError};

/// The keys of both directions for one generation of either side.
pub(crate) struct PairKeys {
    generation_own: u32,
    generation_peer: u32,
    /// Ours to the peer.
    pub(crate) send: SessionKey,
    /// The peer's to us.
    pub(crate) receive: SessionKey,
}

pub(super) struct Session {
    /// The peer's epoch.
    pub(super) epoch: u64,
    /// The highest number of its accepted announcements.
    pub(super) number: u64,
    /// The newest generation of ours that the peer said it holds.
    pub(super) receipt: Option<u32>,
    principal: u16,
    /// The generation of ours to send under: what the receipt names; before one came, the newest
    /// at establishment.
    generation_send: u32,
    current: PeerKey,
    previous: Option<PeerKey>,
    keys: Vec<PairKeys>,
}

/// One generation of the peer's X25519 key.
#[derive(Clone, Copy, PartialEq, Eq)]
struct PeerKey {
    generation: u32,
    public: [u8; 32],
}

impl PeerKey {
    fn of(announcement: &Announcement) -> PeerKey {
        PeerKey { generation: announcement.generation.get(), public: announcement.exchange_key }
    }
}

impl Session {
    pub(super) fn establish(
        announcement: &Announcement,
        binding: &Binding,
        own: u16,
        epoch_own: u64,
        keys: &OwnKeys,
    ) -> Result<Session, AnnouncementError> {
        let mut session = Session {
            epoch: announcement.epoch.get(),
            number: announcement.number.get(),
            receipt: None,
            principal: announcement.sender.get(),
            generation_send: keys.current.generation,
            current: PeerKey::of(announcement),
            previous: None,
            keys: Vec::with_capacity(4),
        };
        session.derive(session.current, binding, own, epoch_own, keys).map_err(|_| session.weak_key())?;
        session.take_receipt(announcement, epoch_own);
        Ok(session)
    }

    /// Takes in a later announcement of the same epoch (rule AN-2).
    pub(super) fn refresh(
        &mut self,
        announcement: &Announcement,
        binding: &Binding,
        own: u16,
        epoch_own: u64,
        keys: &OwnKeys,
    ) -> Result<(), AnnouncementError> {
        let announced = PeerKey::of(announcement);
        if announced.generation > self.current.generation {
            self.derive(announced, binding, own, epoch_own, keys).map_err(|_| self.weak_key())?;
            self.previous = Some(std::mem::replace(&mut self.current, announced));
            self.drop_unheld(keys);
        } else if announced != self.current {
            return Err(AnnouncementError::Contradiction { sender: self.principal });
        }
        self.number = announcement.number.get();
        self.take_receipt(announcement, epoch_own);
        Ok(())
    }

    fn take_receipt(&mut self, announcement: &Announcement, epoch_own: u64) {
        if announcement.receipt_epoch.get() == epoch_own {
            let generation = announcement.receipt_generation.get();
            self.receipt = Some(generation);
            self.generation_send = generation;
        }
    }

    /// Derives the keys of generations of ours that have come since; whether there were any.
    pub(super) fn derive_missing(&mut self, binding: &Binding, own: u16, epoch_own: u64, keys: &OwnKeys) -> bool {
        let count = self.keys.len();
        for peer_key in [Some(self.current), self.previous].into_iter().flatten() {
            // Weak for one of our keys is weak for all, and the peer's key has passed once.
            let derived = self.derive(peer_key, binding, own, epoch_own, keys);
            assert!(derived.is_ok(), "an exchange key that was sound has become weak");
        }
        self.keys.len() != count
    }

    /// Drops the keys of generations that either side no longer holds.
    pub(super) fn drop_unheld(&mut self, keys: &OwnKeys) {
        let held = |generation: u32| {
            self.current.generation == generation || self.previous.is_some_and(|key| key.generation == generation)
        };
        self.keys.retain(|pair| keys.held(pair.generation_own).is_some() && held(pair.generation_peer));
    }

    /// Drops the peer's former generation.
    pub(super) fn retire_peer(&mut self, keys: &OwnKeys) {
        self.previous = None;
        self.drop_unheld(keys);
    }

    /// Where the generation to send under is no longer held, the newest takes its place: the peer may
    /// have it, and its receipt may be on its way.
    pub(super) fn send_under_held(&mut self, keys: &OwnKeys) {
        if keys.held(self.generation_send).is_none() {
            self.generation_send = keys.current.generation;
        }
    }

    /// The newest generation of the peer.
    pub(super) fn generation_peer(&self) -> u32 {
        self.current.generation
    }

    /// The keys to send under (rule AN-6), if they have been derived.
    pub(super) fn keys_send(&self) -> Option<&PairKeys> {
        let wanted = (self.generation_send, self.current.generation);
        self.keys.iter().find(|pair| (pair.generation_own, pair.generation_peer) == wanted)
    }

    /// All keys that the peer may send under.
    pub(super) fn keys(&self) -> impl Iterator<Item = &PairKeys> {
        self.keys.iter()
    }

    /// Derives the keys between `peer_key` and each generation of ours, where they are missing.
    fn derive(
        &mut self,
        peer_key: PeerKey,
        binding: &Binding,
        own: u16,
        epoch_own: u64,
        keys: &OwnKeys,
    ) -> Result<(), WeakKey> {
        let peer_end = End {
            principal: self.principal,
            epoch: self.epoch,
            generation: peer_key.generation,
            public: peer_key.public,
        };
        for key in keys.all() {
            let derived =
                |pair: &PairKeys| (pair.generation_own, pair.generation_peer) == (key.generation, peer_key.generation);
            if self.keys.iter().any(derived) {
                continue;
            }
            let own_end = End { principal: own, epoch: epoch_own, generation: key.generation, public: key.public() };
            let (send, receive) = pair(binding, key, &own_end, &peer_end)?;
            self.keys.push(PairKeys {
                generation_own: key.generation,
                generation_peer: peer_key.generation,
                send,
                receive,
            });
        }
        Ok(())
    }

    fn weak_key(&self) -> AnnouncementError {
        AnnouncementError::WeakKey { sender: self.principal }
    }
}

fn pair(binding: &Binding, key: &ExchangeKey, own: &End, peer: &End) -> Result<(SessionKey, SessionKey), WeakKey> {
    let secret = key.agree(&peer.public)?;
    Ok((binding.derive(&secret, own, peer), binding.derive(&secret, peer, own)))
}
