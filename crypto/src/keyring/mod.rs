//! The session keys of one process: one for each peer and direction, agreed by announcements.
//!
//! What may enter: who the peers are, what they announced, which keys follow from it. What must
//! never enter: sockets, clocks (the caller decides when to announce), and the meaning of the
//! attributes that announcements carry. A [`KeyRing`] belongs to one thread.
//!
//! # Announcements
//!
//! A process start is an *epoch*, a random number. Each epoch begins with a fresh X25519 key,
//! *generation* 0; [`KeyRing::rotate`] makes the next. The keys of a pair follow, by HKDF, from the
//! X25519 secret of both sides' keys and from both identities' numbers, epochs and generations, so
//! they are the same at both ends, and nothing recorded under other keys verifies.
//!
//! Keys are announced, signed by the long-lived identity. A signature does not show *when* it was
//! made, so a peer's epoch is *established* only by an announcement that echoes our open challenge,
//! a random value for that peer alone. The challenge is replaced as soon as it has been answered.
//! Between two fresh processes it takes three announcements, and a fourth tells the third's sender
//! that it arrived:
//!
//! ```text
//!         A, epoch a                                              B, epoch b
//!             │   1  a, key, challenge p                              │
//!             ├──────────────────────────────────────────────────────▶│ a is new, echoes nothing: Challenged;
//!             │   2  b, key, challenge q, echo p                      │ remembers p, answers
//!  b is new   │◀──────────────────────────────────────────────────────┤
//!  and echoes │   3  a, key, challenge p', echo q, receipt b          │
//!  our p:     ├──────────────────────────────────────────────────────▶│ a echoes our q: Established;
//!  Established│   4  b, key, challenge q', echo p', receipt a         │ the receipt says that A has b: settled
//!             │◀──────────────────────────────────────────────────────┤
//!     settled │                                                       │
//! ```
//!
//! The rules, for any loss, order and repetition of these datagrams:
//!
//! - **AN-1** An announcement counts only if it is addressed to us, in the name of a configured
//!   peer other than us, signed by that peer's identity, and made for our configuration.
//! - **AN-2** One of the established epoch needs no echo, but its number must be higher than any
//!   accepted before: it refreshes the attributes, the receipt, the challenge to echo and, if its
//!   generation is newer, the peer's key. So neither a repetition nor an overtaken datagram undoes
//!   anything. A peer's previous generation stays valid for receiving until the next one, or
//!   until [`KeyRing::retire_of`].
//! - **AN-3** One of another epoch is established if it echoes our open challenge. The former
//!   epoch's keys are dropped at once, and a fresh challenge is drawn.
//! - **AN-4** One of another epoch that does not echo it changes nothing but the challenge that our
//!   next announcement to this peer echoes.
//! - **AN-5** An answer is wanted if AN-4 applied, if the sender says that it is not settled, or if
//!   its receipt does not name our epoch and generation. A side is *settled* with a peer when it
//!   has established the peer's epoch and the peer's receipt named our epoch and current
//!   generation. Between two correct processes answers therefore end.
//! - **AN-6** We send under our newest generation that a receipt has named, and under the peer's
//!   newest. So once both sides have a receipt, a rotation of a settled side loses no packet. The
//!   caller ends the overlap of two generations, ours by [`KeyRing::retire`] and a peer's by
//!   [`KeyRing::retire_of`]; what was sealed under the former one is stale from then on.
//!
//! Why an old epoch never comes back: to be established, an announcement must echo the challenge
//! that is open now. That one was drawn when the present epoch was established, hence after the
//! present epoch's process had started, hence after every earlier process of that peer had ended;
//! none of their announcements can contain it, whoever recorded them. (The last few epochs that
//! ended are refused by name as well, before their signature costs anything.)
//!
//! What checking costs: all that a forger must get right to make us verify a signature is told by
//! [`KeyRing::claim`], which costs a few comparisons. The caller decides from it how many signatures
//! to check for whom.
//!
//! What the caller does: send `announcement(peer)` at start, again now and then (with back-off)
//! while [`KeyRing::settled`] is false, and at once where [`Accepted::answer_wanted`] or
//! [`TagError`] says so, with a limit on the rate for each peer. The answer echoes the challenge
//! heard last, so answering at once is what makes recordings harmless to a handshake in progress.
//! Whoever can delay datagrams can delay it for ever, and no more than that.

mod audience;
mod derive;
mod peer;
mod session;
#[cfg(test)]
pub(crate) mod tests;

pub use peer::{Accepted, Claim, Outcome};

use crate::announcement::{ANNOUNCEMENT_BYTES, Announcement, AnnouncementError, FLAG_UNSETTLED};
use crate::digest::Digest;
use crate::entropy::Entropy;
use crate::identity::{Identity, PublicIdentity};
use crate::lanes::{self, InstructionSet, LANES_MAX, TagBlock};
use crate::mac::{MacAlgorithm, TAG_BYTES};
use audience::AudienceCache;
use derive::{Binding, OwnKeys};
use peer::Peer;
use session::PairKeys;
use zerocopy::little_endian::{U32, U64};

/// Size of one receiver's entry in an authentication vector: key id (u32, little-endian), tag.
pub const TAG_ENTRY_BYTES: usize = 4 + TAG_BYTES;

/// Where in the table of principals there is no peer.
const NO_PEER: u16 = u16::MAX;

/// What a key ring is made from.
pub struct KeyRingConfig {
    /// Digest of the configuration that both ends of every pair must share; bound into signatures
    /// and keys.
    pub context: Digest,
    /// How packets are authenticated; bound into the keys.
    pub algorithm: MacAlgorithm,
    /// This process's principal.
    pub own: u16,
    /// This process's identity.
    pub identity: Identity,
    /// Everyone it may talk to.
    pub peers: Vec<(u16, PublicIdentity)>,
}

/// Why a packet's tag was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TagError {
    /// The sender is no peer, or the packet's epoch is not the one established with it. Answer with
    /// an announcement.
    #[error("no session with the sender in this epoch")]
    NoSession,
    /// The tag names a key that is not held: the sender has other keys of ours in mind, or had none
    /// (id zero). Answer with an announcement.
    #[error("the tag was made with a key that is not current")]
    StaleKey,
    /// The key is right and the tag is wrong: a forgery, or corruption.
    #[error("the tag does not match the packet")]
    BadTag,
}

/// All session keys of one process. Not shared between threads; keys are wiped when dropped or
/// replaced.
pub struct KeyRing {
    binding: Binding,
    own: u16,
    identity: Identity,
    epoch: u64,
    keys: OwnKeys,
    /// Number of the last announcement made, to anyone.
    announcement_number: u64,
    /// Index into `peers` by principal.
    table: Vec<u16>,
    peers: Vec<Peer>,
    /// Counter of the last packet sealed: GMAC's nonces must never repeat.
    counter_sealed: Option<u64>,
    audiences: AudienceCache,
    instructions: InstructionSet,
    entropy: Entropy,
}

impl KeyRing {
    /// A ring with a fresh X25519 key, a random epoch, and no session yet.
    ///
    /// # Panics
    ///
    /// If a peer is named twice, or is this process itself, or there are 65535 of them.
    pub fn new(config: KeyRingConfig, mut entropy: Entropy) -> KeyRing {
        let mut epoch = [0; 8];
        entropy(&mut epoch);
        let keys = OwnKeys::generate(&mut entropy);
        assert!(config.peers.len() < usize::from(NO_PEER), "{} peers are too many", config.peers.len());
        let principal_max = config.peers.iter().map(|(principal, _)| *principal).max().unwrap_or(0);
        let mut table = vec![NO_PEER; usize::from(principal_max) + 1];
        let mut peers = Vec::with_capacity(config.peers.len());
        for (principal, public) in config.peers {
            assert_ne!(principal, config.own, "principal {principal:#x} is named as its own peer");
            let place = &mut table[usize::from(principal)];
            assert_eq!(*place, NO_PEER, "peer {principal:#x} is named twice");
            *place = peers.len() as u16;
            peers.push(Peer::new(principal, public, &mut entropy));
        }
        KeyRing {
            binding: Binding { context: config.context, algorithm: config.algorithm },
            own: config.own,
            identity: config.identity,
            // Zero means "none" on the wire; one draw in 2^64 is moved.
            epoch: u64::from_le_bytes(epoch).max(1),
            keys,
            announcement_number: 0,
            table,
            peers,
            counter_sealed: None,
            audiences: AudienceCache::new(),
            instructions: InstructionSet::detect(),
            entropy,
        }
    }

    /// This process start's number, never zero.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How often [`rotate`](Self::rotate) has been called.
    pub fn generation(&self) -> u32 {
        self.keys.current.generation
    }

    /// Whether two generations of our key are in force: since [`rotate`](Self::rotate), until
    /// [`retire`](Self::retire).
    pub fn overlaps(&self) -> bool {
        self.keys.overlap()
    }

    /// Whether `epoch` is one of the last that `peer` had before the one established now: nothing of
    /// it is of use any more, and no correct process is left that would learn from an answer.
    pub fn is_over(&self, peer: u16, epoch: u64) -> bool {
        self.peer(peer).is_some_and(|peer| peer.is_over(epoch))
    }

    /// The epoch established with `peer`, if any.
    pub fn established(&self, peer: u16) -> Option<u64> {
        self.peer(peer)?.session.as_ref().map(|session| session.epoch)
    }

    /// Whether nothing is left to announce to `peer`: its epoch is established, and it confirmed
    /// ours and our current generation. False for an unknown peer.
    pub fn settled(&self, peer: u16) -> bool {
        self.peer(peer).is_some_and(|peer| peer.is_settled(self.keys.current.generation))
    }

    /// The announcement to send to `to` now, with attributes that the receiver hands on as they
    /// are. None if `to` is no peer. Each call makes a new one: numbered, signed (tens of
    /// microseconds).
    pub fn announcement(&mut self, to: u16, attributes: u8) -> Option<[u8; ANNOUNCEMENT_BYTES]> {
        let settled = self.settled(to);
        let index = self.index(to)?;
        let peer = &mut self.peers[index];
        if let Some(session) = &mut peer.session {
            // From now on the peer may use our newest generation.
            if session.derive_missing(&self.binding, self.own, self.epoch, &self.keys) {
                self.audiences.invalidate();
            }
        }
        self.announcement_number += 1;
        let mut announcement = Announcement::new(self.own, to, self.binding.context);
        announcement.attributes = attributes;
        announcement.flags = if settled { 0 } else { FLAG_UNSETTLED };
        announcement.epoch = U64::new(self.epoch);
        announcement.number = U64::new(self.announcement_number);
        announcement.generation = U32::new(self.keys.current.generation);
        announcement.exchange_key = self.keys.current.public();
        announcement.challenge = peer.challenge;
        announcement.echo = peer.echo;
        if let Some(session) = &peer.session {
            announcement.receipt_epoch = U64::new(session.epoch);
            announcement.receipt_generation = U32::new(session.generation_peer());
        }
        Some(announcement.sign(&self.identity))
    }

    /// Takes in an announcement. The cheap checks come first; a signature is verified (tens of
    /// microseconds) only for what may be new.
    ///
    /// # Errors
    ///
    /// [`AnnouncementError`] says why it was refused; then nothing has changed.
    pub fn accept_announcement(&mut self, bytes: &[u8]) -> Result<Accepted, AnnouncementError> {
        let announcement = Announcement::parse(bytes)?;
        let index = self.check_claim(&announcement)?;
        let sender = announcement.sender.get();
        let peer = &mut self.peers[index];
        if !announcement.is_signed_by(&peer.public) {
            return Err(AnnouncementError::BadSignature { sender });
        }
        let generation_before = peer.generation(announcement.epoch.get());
        let outcome = peer.accept(&announcement, &self.binding, self.own, self.epoch, &self.keys, &mut self.entropy)?;
        if outcome != Outcome::Challenged {
            self.audiences.invalidate();
        }
        let has_our_keys = announcement.receipt_epoch.get() == self.epoch
            && announcement.receipt_generation.get() == self.keys.current.generation;
        Ok(Accepted {
            from: sender,
            rotated: generation_before.is_some_and(|before| before < announcement.generation.get()),
            epoch: announcement.epoch.get(),
            attributes: announcement.attributes,
            outcome,
            answer_wanted: outcome == Outcome::Challenged || announcement.flags & FLAG_UNSETTLED != 0 || !has_our_keys,
        })
    }

    /// What an announcement claims, checked as far as it can be without its signature: a few
    /// comparisons. All of it may be forged; [`accept_announcement`](Self::accept_announcement)
    /// checks the same again, and the signature.
    ///
    /// # Errors
    ///
    /// As for `accept_announcement`, but for what follows from the signature.
    pub fn claim(&self, bytes: &[u8]) -> Result<Claim, AnnouncementError> {
        let announcement = Announcement::parse(bytes)?;
        let index = self.check_claim(&announcement)?;
        let echoes = announcement.echo == self.peers[index].challenge;
        Ok(Claim { from: announcement.sender.get(), echoes })
    }

    /// The place of the peer in whose name an announcement is that may be new, and is for us.
    fn check_claim(&self, announcement: &Announcement) -> Result<usize, AnnouncementError> {
        let sender = announcement.sender.get();
        if sender == self.own {
            return Err(AnnouncementError::OwnIdentity);
        }
        if announcement.receiver.get() != self.own {
            return Err(AnnouncementError::OtherReceiver { receiver: announcement.receiver.get() });
        }
        let index = self.index(sender).ok_or(AnnouncementError::UnknownSender { sender })?;
        if announcement.context != self.binding.context {
            return Err(AnnouncementError::ContextDiffers { sender });
        }
        self.peers[index].check_new(announcement)?;
        Ok(index)
    }

    /// Makes the next generation of our X25519 key. Peers learn it from the next announcement to
    /// each; until a peer has confirmed it, packets to that peer go out under the previous
    /// generation. The one before that is wiped: rotate again only when peers that matter are
    /// [`settled`](Self::settled), or they receive zeros until they are.
    pub fn rotate(&mut self) {
        self.keys.rotate(&mut self.entropy);
        for session in self.peers.iter_mut().filter_map(|peer| peer.session.as_mut()) {
            session.drop_unheld(&self.keys);
        }
        self.audiences.invalidate();
    }

    /// Ends the overlap that [`rotate`](Self::rotate) began: our former generation and every key made
    /// with it are wiped. To a peer that has not confirmed the current one, packets go out under it
    /// all the same from now on: there is no other.
    pub fn retire(&mut self) {
        self.keys.retire();
        for session in self.peers.iter_mut().filter_map(|peer| peer.session.as_mut()) {
            session.drop_unheld(&self.keys);
            session.send_under_held(&self.keys);
        }
        self.audiences.invalidate();
    }

    /// Ends the overlap of `peer`'s former generation: what it sealed under that one is stale from
    /// now on.
    pub fn retire_of(&mut self, peer: u16) {
        let Some(index) = self.index(peer) else { return };
        if let Some(session) = &mut self.peers[index].session {
            session.retire_peer(&self.keys);
        }
    }

    /// Writes the authentication vector of a packet: one entry of [`TAG_ENTRY_BYTES`] for each of
    /// `to`, in that order. Where no key is established (or `to` names no peer) the entry is
    /// zero.
    ///
    /// `counter` is the packet's number, also in its header. With keyed BLAKE3 and vector
    /// instructions all tags are made at once; an audience that repeats costs no allocation and
    /// no rearrangement of keys.
    ///
    /// # Panics
    ///
    /// If `counter` is not above that of the packet before (of any audience), or `out` has not the
    /// size of the vector.
    pub fn seal(&mut self, to: &[u16], digest: &Digest, counter: u64, out: &mut [u8]) {
        let before = self.counter_sealed.replace(counter);
        assert!(before < Some(counter), "packet counter {counter} after {before:?}: it must strictly increase");
        assert_eq!(out.len(), to.len() * TAG_ENTRY_BYTES, "size of the vector for {} receivers", to.len());
        let in_lanes = to.len() > 1
            && self.binding.algorithm == MacAlgorithm::Blake3
            && self.instructions != InstructionSet::Scalar;
        if in_lanes {
            self.seal_in_lanes(to, digest, out);
        } else {
            for (receiver, entry) in to.iter().zip(out.chunks_exact_mut(TAG_ENTRY_BYTES)) {
                match self.keys_to(*receiver) {
                    Some(keys) => write_entry(entry, keys.send.id, keys.send.tag.tag(counter, digest)),
                    None => entry.fill(0),
                }
            }
        }
    }

    fn seal_in_lanes(&mut self, to: &[u16], digest: &Digest, out: &mut [u8]) {
        let (table, peers) = (&self.table, &self.peers);
        let audience = self.audiences.find(to, |receiver| send_keys(table, peers, receiver));
        let mut tags = TagBlock::new();
        for ((block, ids), entries) in audience.blocks().zip(out.chunks_mut(LANES_MAX * TAG_ENTRY_BYTES)) {
            lanes::tags(self.instructions, block, ids.len(), &digest.0, &mut tags);
            for (lane, (id, entry)) in ids.iter().zip(entries.chunks_exact_mut(TAG_ENTRY_BYTES)).enumerate() {
                if *id == 0 {
                    entry.fill(0);
                } else {
                    write_entry(entry, *id, tags.tag(lane));
                }
            }
        }
    }

    /// Checks our entry of a packet that claims to come from `from` in `epoch` with `counter`. Tags
    /// are compared in constant time.
    ///
    /// # Errors
    ///
    /// [`TagError`]; only `BadTag` speaks against the sender of the datagram.
    pub fn verify(
        &self,
        from: u16,
        epoch: u64,
        counter: u64,
        digest: &Digest,
        entry: &[u8; TAG_ENTRY_BYTES],
    ) -> Result<(), TagError> {
        let (_, tag) = entry.split_at(size_of::<u32>());
        let mut verdict = Err(TagError::StaleKey);
        for keys in self.candidates(from, epoch, entry)? {
            if keys.receive.tag.verify(counter, digest, tag) {
                return Ok(());
            }
            verdict = Err(TagError::BadTag);
        }
        verdict
    }

    /// Whether a packet's entry names a key that is held, so that its tag is worth computing. The
    /// answer costs a few comparisons, and [`verify`](Self::verify) gives the same before the tag.
    ///
    /// # Errors
    ///
    /// [`TagError::NoSession`] or [`TagError::StaleKey`].
    pub fn names_held_key(&self, from: u16, epoch: u64, entry: &[u8; TAG_ENTRY_BYTES]) -> Result<(), TagError> {
        let mut candidates = self.candidates(from, epoch, entry)?;
        candidates.next().map(|_| ()).ok_or(TagError::StaleKey)
    }

    /// The keys that an entry may have been made with. At most four keys are held (two generations
    /// of either side); two of them may by chance have one id.
    fn candidates(
        &self,
        from: u16,
        epoch: u64,
        entry: &[u8; TAG_ENTRY_BYTES],
    ) -> Result<impl Iterator<Item = &PairKeys>, TagError> {
        let session = self.peer(from).and_then(|peer| peer.session.as_ref()).ok_or(TagError::NoSession)?;
        if session.epoch != epoch {
            return Err(TagError::NoSession);
        }
        let (id, _) = entry.split_at(size_of::<u32>());
        let id = u32::from_le_bytes(id.try_into().expect("an id is four bytes"));
        Ok(session.keys().filter(move |keys| keys.receive.id == id))
    }

    /// The keys under which we send to `to` now.
    pub(crate) fn keys_to(&self, to: u16) -> Option<&PairKeys> {
        send_keys(&self.table, &self.peers, to)
    }

    /// All keys under which `from` may send to us now.
    pub(crate) fn keys_from(&self, from: u16) -> Option<impl Iterator<Item = &PairKeys>> {
        Some(self.peer(from)?.session.as_ref()?.keys())
    }

    /// Fills `buf` from the ring's source of randomness.
    pub(crate) fn draw(&mut self, buf: &mut [u8]) {
        (self.entropy)(buf);
    }

    fn peer(&self, principal: u16) -> Option<&Peer> {
        find(&self.table, &self.peers, principal)
    }

    fn index(&self, principal: u16) -> Option<usize> {
        let index = *self.table.get(usize::from(principal))?;
        (index != NO_PEER).then_some(usize::from(index))
    }
}

fn find<'a>(table: &[u16], peers: &'a [Peer], principal: u16) -> Option<&'a Peer> {
    // `NO_PEER` is beyond every list of peers.
    peers.get(usize::from(*table.get(usize::from(principal))?))
}

fn send_keys<'a>(table: &[u16], peers: &'a [Peer], to: u16) -> Option<&'a PairKeys> {
    find(table, peers, to)?.session.as_ref()?.keys_send()
}

fn write_entry(entry: &mut [u8], id: u32, tag: [u8; TAG_BYTES]) {
    let (id_bytes, tag_bytes) = entry.split_at_mut(size_of::<u32>());
    id_bytes.copy_from_slice(&id.to_le_bytes());
    tag_bytes.copy_from_slice(&tag);
}
