//! The keys of audiences, transposed for the lanes and kept from packet to packet.

use super::session::PairKeys;
use crate::lanes::{KeyBlock, LANES_MAX};

/// Audiences kept. A process has few: all replicas, and now and then a part of them.
const AUDIENCES_MAX: usize = 16;

pub(super) struct AudienceCache {
    audiences: Vec<Audience>,
    /// Where the last search ended: the same audience mostly follows.
    recent: usize,
    /// Which audience to give up when a new one comes and all places are taken, in turn.
    replace_next: usize,
    /// Counts changes of keys; an audience built under an earlier value is built again.
    version: u64,
}

/// Receivers in the order of the vector, with their keys and key ids. A receiver without key has id
/// zero.
pub(super) struct Audience {
    to: Vec<u16>,
    version: u64,
    ids: Vec<u32>,
    blocks: Vec<KeyBlock>,
}

impl AudienceCache {
    pub(super) fn new() -> AudienceCache {
        AudienceCache { audiences: Vec::with_capacity(AUDIENCES_MAX), recent: 0, replace_next: 0, version: 0 }
    }

    /// Says that some key has changed.
    pub(super) fn invalidate(&mut self) {
        self.version += 1;
    }

    /// The audience `to`, built anew with the keys that `keys_to` gives where it is not known or
    /// out of date.
    pub(super) fn find<'a>(&mut self, to: &[u16], keys_to: impl Fn(u16) -> Option<&'a PairKeys>) -> &Audience {
        let recent = self.audiences.get(self.recent).is_some_and(|audience| audience.to == to);
        if !recent {
            self.recent = match self.audiences.iter().position(|audience| audience.to == to) {
                Some(index) => index,
                None => self.place(to),
            };
        }
        let audience = &mut self.audiences[self.recent];
        if audience.version != self.version {
            audience.build(keys_to);
            audience.version = self.version;
        }
        audience
    }

    /// Makes room for a new audience; its index.
    fn place(&mut self, to: &[u16]) -> usize {
        // Never equal to the version now, so that it is built when first used.
        let version = self.version.wrapping_sub(1);
        let audience = Audience { to: to.to_vec(), version, ids: Vec::new(), blocks: Vec::new() };
        if self.audiences.len() < AUDIENCES_MAX {
            self.audiences.push(audience);
            return self.audiences.len() - 1;
        }
        let index = self.replace_next;
        self.replace_next = (index + 1) % AUDIENCES_MAX;
        self.audiences[index] = audience;
        index
    }
}

impl Audience {
    fn build<'a>(&mut self, keys_to: impl Fn(u16) -> Option<&'a PairKeys>) {
        self.ids.clear();
        self.blocks.clear();
        for receivers in self.to.chunks(LANES_MAX) {
            // In place, so that no copy of the keys is left behind unwiped.
            self.blocks.push(KeyBlock::new());
            let block = self.blocks.last_mut().expect("one was just added");
            for (lane, receiver) in receivers.iter().enumerate() {
                let key = keys_to(*receiver).and_then(|keys| Some((keys.send.id, keys.send.tag.blake3_key()?)));
                if let Some((_, key)) = key {
                    block.set(lane, key);
                }
                self.ids.push(key.map_or(0, |(id, _)| id));
            }
        }
    }

    /// Each block of keys with the ids of its lanes.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (&KeyBlock, &[u32])> {
        self.blocks.iter().zip(self.ids.chunks(LANES_MAX))
    }
}
