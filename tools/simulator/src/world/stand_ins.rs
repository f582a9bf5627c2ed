//! Session keys and tags that cost next to nothing, for the seeds in which nobody looks at cryptography (RELIABILITY.md section 3.1): the others have the
//! real ones.
//!
//! They keep what the protocol relies on: each direction of each pair has a key of its own, in each epoch and generation, and who has another key makes
//! another tag. That nobody guesses one is not among it; the adversary does not try, and the ledger would tell. No configuration leads here: the engine's own
//! processes are made with a [`KeyRing`](logothete_crypto::KeyRing).

use crate::world::random::Random;
use logothete_crypto::{Digest, TAG_BYTES, TAG_ENTRY_BYTES, TagError};
use logothete_engine::authentication::PacketKeys;
use logothete_engine::planted::{self, Bug};
use std::collections::BTreeMap;

/// Epochs that ended and are remembered, as a key ring remembers them.
const ENDED_MAX: usize = 8;

const ID_BYTES: usize = TAG_ENTRY_BYTES - TAG_BYTES;

/// One generation of a process's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Generation {
    number: u32,
    secret: u64,
}

/// The keys of both directions for one generation of either side.
#[derive(Clone, Copy, Debug)]
struct PairKeys {
    own: u32,
    peer: u32,
    send: u64,
    receive: u64,
}

/// The keys of one epoch of a peer.
#[derive(Debug)]
struct Session {
    epoch: u64,
    current: Generation,
    previous: Option<Generation>,
    /// The generation of ours that the peer learned last.
    told: u32,
    keys: Vec<PairKeys>,
}

#[derive(Debug, Default)]
struct Peer {
    session: Option<Session>,
    /// Epochs before that one, the latest first.
    ended: Vec<u64>,
}

/// The session keys of one process.
#[derive(Debug)]
pub struct StandIns {
    own: u16,
    epoch: u64,
    current: Generation,
    previous: Option<Generation>,
    peers: BTreeMap<u16, Peer>,
    /// The counter of the last packet sealed.
    sealed: u64,
    random: Random,
}

impl StandIns {
    /// Of a process that has just started, and knows nobody.
    pub fn new(own: u16, mut random: Random) -> Self {
        let epoch = random.draw().max(1);
        let current = Generation { number: 0, secret: random.draw() };
        Self { own, epoch, current, previous: None, peers: BTreeMap::new(), sealed: 0, random }
    }

    /// Each learns the other's current key.
    pub fn introduce(&mut self, peer: &mut Self) {
        self.learn(peer);
        peer.learn(self);
    }

    fn learn(&mut self, of: &Self) {
        let peer = self.peers.entry(of.own).or_default();
        match &mut peer.session {
            Some(session) if session.epoch == of.epoch => {
                if of.current.number > session.current.number {
                    session.previous = Some(std::mem::replace(&mut session.current, of.current));
                }
            }
            held => {
                let (current, told) = (of.current, self.current.number);
                let session = Session { epoch: of.epoch, current, previous: None, told, keys: Vec::new() };
                if let Some(former) = held.replace(session) {
                    peer.ended.insert(0, former.epoch);
                    peer.ended.truncate(ENDED_MAX);
                }
            }
        }
        let session = peer.session.as_mut().expect("it was just made");
        session.told = self.current.number;
        session.keys.clear();
        for own in [Some(self.current), self.previous].into_iter().flatten() {
            for theirs in [Some(session.current), session.previous].into_iter().flatten() {
                let ends = [(self.own, self.epoch, own.secret), (of.own, session.epoch, theirs.secret)];
                let (send, receive) = (key(ends), key([ends[1], ends[0]]));
                session.keys.push(PairKeys { own: own.number, peer: theirs.number, send, receive });
            }
        }
    }

    /// Makes the next generation; who is introduced next learns it.
    pub fn rotate(&mut self) {
        let next = Generation { number: self.current.number + 1, secret: self.random.draw() };
        self.previous = Some(std::mem::replace(&mut self.current, next));
        self.drop_unheld();
    }

    /// Ends the overlap of the last two generations.
    pub fn retire(&mut self) {
        self.previous = None;
        self.drop_unheld();
        for session in self.peers.values_mut().filter_map(|peer| peer.session.as_mut()) {
            session.told = self.current.number;
        }
    }

    fn drop_unheld(&mut self) {
        let held = [Some(self.current), self.previous];
        for session in self.peers.values_mut().filter_map(|peer| peer.session.as_mut()) {
            session.keys.retain(|keys| held.iter().flatten().any(|own| own.number == keys.own));
        }
    }

    /// Ends the overlap of a peer's last two generations.
    pub fn retire_of(&mut self, peer: u16) {
        if let Some(session) = self.peers.get_mut(&peer).and_then(|peer| peer.session.as_mut()) {
            session.previous = None;
            session.keys.retain(|keys| keys.peer == session.current.number);
        }
    }

    /// The keys that an entry may have been made with.
    fn candidates(
        &self,
        from: u16,
        epoch: u64,
        entry: &[u8; TAG_ENTRY_BYTES],
    ) -> Result<impl Iterator<Item = u64>, TagError> {
        let session = self.peers.get(&from).and_then(|peer| peer.session.as_ref());
        let session = session.filter(|session| session.epoch == epoch).ok_or(TagError::NoSession)?;
        let id = *entry.first_chunk::<ID_BYTES>().expect("an entry begins with the key's id");
        Ok(session.keys.iter().map(|keys| keys.receive).filter(move |key| id_of(*key) == id))
    }

    fn key_to(&self, to: u16) -> Option<u64> {
        let session = self.peers.get(&to)?.session.as_ref()?;
        let wanted = (session.told, session.current.number);
        session.keys.iter().find(|keys| (keys.own, keys.peer) == wanted).map(|keys| keys.send)
    }
}

impl PacketKeys for StandIns {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn established(&self, peer: u16) -> Option<u64> {
        self.peers.get(&peer)?.session.as_ref().map(|session| session.epoch)
    }

    fn is_over(&self, peer: u16, epoch: u64) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.ended.contains(&epoch))
    }

    fn names_held_key(&self, from: u16, epoch: u64, entry: &[u8; TAG_ENTRY_BYTES]) -> Result<(), TagError> {
        self.candidates(from, epoch, entry)?.next().map(|_| ()).ok_or(TagError::StaleKey)
    }

    fn verify(
        &self,
        from: u16,
        epoch: u64,
        _: u64,
        digest: &Digest,
        entry: &[u8; TAG_ENTRY_BYTES],
    ) -> Result<(), TagError> {
        let mut verdict = Err(TagError::StaleKey);
        for key in self.candidates(from, epoch, entry)? {
            if tag(key, digest)[..] == entry[ID_BYTES..] {
                return Ok(());
            }
            verdict = Err(TagError::BadTag);
        }
        verdict
    }

    fn seal(&mut self, to: &[u16], digest: &Digest, counter: u64, out: &mut [u8]) {
        assert!(counter > self.sealed, "packet counter {counter} after {}", self.sealed);
        self.sealed = counter;
        assert_eq!(out.len(), to.len() * TAG_ENTRY_BYTES);
        for (receiver, entry) in to.iter().zip(out.chunks_exact_mut(TAG_ENTRY_BYTES)) {
            match self.key_to(*receiver) {
                Some(key) => {
                    entry[..ID_BYTES].copy_from_slice(&id_of(key));
                    entry[ID_BYTES..].copy_from_slice(&tag(key, digest));
                }
                None => entry.fill(0),
            }
        }
    }
}

/// The key from one end to another: principal, epoch and secret of each.
fn key(ends: [(u16, u64, u64); 2]) -> u64 {
    if planted::is(Bug::KeysOfCluster) {
        return 1;
    }
    let words = ends.into_iter().flat_map(|(principal, epoch, secret)| [u64::from(principal), epoch, secret]);
    words.fold(0, mixed)
}

/// What an entry names a key by; zero names none.
fn id_of(key: u64) -> [u8; ID_BYTES] {
    ((key >> 32) as u32).max(1).to_le_bytes()
}

fn tag(key: u64, digest: &Digest) -> [u8; TAG_BYTES] {
    let (words, _) = digest.0.as_chunks::<8>();
    let first = words.iter().fold(key, |state, word| mixed(state, u64::from_le_bytes(*word)));
    let mut tag = [0; TAG_BYTES];
    tag[..8].copy_from_slice(&first.to_le_bytes());
    tag[8..].copy_from_slice(&mixed(first, key).to_le_bytes());
    tag
}

fn mixed(state: u64, word: u64) -> u64 {
    Random::new(state.rotate_left(29) ^ word).draw()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: Digest = Digest([7; 32]);

    fn pair() -> (StandIns, StandIns) {
        let (mut one, mut other) = (StandIns::new(1, Random::new(1)), StandIns::new(2, Random::new(2)));
        one.introduce(&mut other);
        (one, other)
    }

    fn sealed(by: &mut StandIns, to: u16) -> [u8; TAG_ENTRY_BYTES] {
        let mut entry = [0; TAG_ENTRY_BYTES];
        by.seal(&[to], &PACKET, by.sealed + 1, &mut entry);
        entry
    }

    #[test]
    fn a_tag_is_of_one_sender_receiver_and_packet() {
        let (mut one, mut other) = pair();
        let entry = sealed(&mut one, 2);
        let verify = |by: &StandIns, from: u16, digest: &Digest| by.verify(from, one.epoch, 0, digest, &entry);
        assert_eq!(verify(&other, 1, &PACKET), Ok(()));
        assert_eq!(verify(&other, 1, &Digest([8; 32])), Err(TagError::BadTag));
        assert_eq!(verify(&other, 3, &PACKET), Err(TagError::NoSession));
        let mut third = StandIns::new(3, Random::new(3));
        third.introduce(&mut other);
        let forged = sealed(&mut third, 2);
        assert_eq!(other.verify(1, one.epoch, 0, &PACKET, &forged), Err(TagError::StaleKey));
        let back = sealed(&mut other, 1);
        assert_eq!(other.verify(1, one.epoch, 0, &PACKET, &back), Err(TagError::StaleKey), "another direction");
        assert_eq!(sealed(&mut one, 9), [0; TAG_ENTRY_BYTES], "nobody it knows");
    }

    #[test]
    fn generations_overlap_until_they_are_retired() {
        let (mut one, mut other) = pair();
        let (epoch, former) = (one.epoch, sealed(&mut one, 2));
        one.rotate();
        assert_eq!(sealed(&mut one, 2), former, "the other does not know the next one yet");
        one.introduce(&mut other);
        let next = sealed(&mut one, 2);
        assert_ne!(next, former);
        let verify = |by: &StandIns, entry| by.verify(1, epoch, 0, &PACKET, entry);
        assert_eq!((verify(&other, &former), verify(&other, &next)), (Ok(()), Ok(())));
        other.retire_of(1);
        one.retire();
        assert_eq!((verify(&other, &former), verify(&other, &next)), (Err(TagError::StaleKey), Ok(())));
        assert_eq!(sealed(&mut one, 2), next);
    }

    #[test]
    fn a_new_process_has_a_new_epoch_and_the_former_is_over() {
        let (one, mut other) = pair();
        let mut again = StandIns::new(1, Random::new(4));
        again.introduce(&mut other);
        assert_eq!((other.established(1), other.is_over(1, one.epoch)), (Some(again.epoch), true));
        assert!(!other.is_over(1, again.epoch));
        let entry = sealed(&mut again, 2);
        assert_eq!(other.verify(1, one.epoch, 0, &PACKET, &entry), Err(TagError::NoSession));
        assert_eq!(other.verify(1, again.epoch, 0, &PACKET, &entry), Ok(()));
    }
}
