//! Verification: the checks in the order of their cost, the tag before anything of the body is looked at (`protocol.md
//! PK-4`).

use super::PacketKeys;
use super::replay::ReplayWindow;
use crate::limits::REPLICAS_MAX;
use crate::numbers::{ClientId, Principal};
use crate::planted::{self, Bug};
use crate::reasons::reasons;
use crate::wire::framing::kinds;
use crate::wire::packet::{ENTRY_BYTES, HEADER_BYTES, PacketHeader, PacketParts};
use crate::wire::{Audience, Kind, Malformed, Messages};
use logothete_crypto::{Digest, TagError, digest};
use std::ops::Range;
use zerocopy::FromBytes;

/// A packet whose sender is proven: what the replica and the client take.
#[derive(Clone, Copy, Debug)]
pub struct AuthenticatedPacket<'a> {
    facts: PacketFacts,
    datagram: &'a [u8],
}

/// A client's packet that a replica passed on. It may be an old one, so it counts only where it was asked for (`protocol.md PK-6`);
/// and its tag for this process may be wrong, so it may prove nothing but what its digest is (`NC-4`).
#[derive(Clone, Copy, Debug)]
pub struct RelayedPacket<'a> {
    facts: PacketFacts,
    datagram: &'a [u8],
}

/// What a datagram turned out to be.
#[derive(Clone, Copy, Debug)]
pub enum Incoming<'a> {
    /// A packet of whoever it says.
    Packet(AuthenticatedPacket<'a>),
    /// A client's packet, by way of a replica.
    Relayed(RelayedPacket<'a>),
}

/// What the verifier found, apart from the bytes: so that a packet can go to another thread as a descriptor with its frame.
#[derive(Clone, Copy, Debug)]
pub struct PacketFacts {
    sender: Principal,
    body_bytes: usize,
    body_digest: Digest,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Standing {
    Authentic = 0,
    RelayedAuthentic = 1,
    RelayedUnproven = 2,
    RelayedSpoilt = 3,
}

impl PacketFacts {
    /// The size of an encoded descriptor.
    pub(crate) const BYTES: usize = 2 + 1 + 4 + 32;

    /// For the ring between the verifier's thread and the orderer's.
    pub(crate) fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..2].copy_from_slice(&self.sender.code().to_le_bytes());
        bytes[2] = self.standing as u8;
        bytes[3..7].copy_from_slice(&(self.body_bytes as u32).to_le_bytes());
        bytes[7..].copy_from_slice(&self.body_digest.0);
        bytes
    }

    /// At the other end of that ring, which never leaves the process: nothing else may become facts.
    pub(crate) fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        let [sender_low, sender_high, standing, a, b, c, d, digest @ ..] = *bytes;
        Self {
            sender: Principal::from_code(u16::from_le_bytes([sender_low, sender_high])),
            body_bytes: u32::from_le_bytes([a, b, c, d]) as usize,
            body_digest: Digest(digest),
            standing: match standing {
                0 => Standing::Authentic,
                1 => Standing::RelayedAuthentic,
                3 => Standing::RelayedSpoilt,
                _ => Standing::RelayedUnproven,
            },
        }
    }

    /// What it is, over the datagram that was verified.
    ///
    /// # Panics
    /// If the datagram is shorter than the one verified.
    pub fn incoming(self, datagram: &[u8]) -> Incoming<'_> {
        assert!(datagram.len() >= HEADER_BYTES + self.body_bytes, "facts go with the datagram that they are of");
        match self.standing {
            Standing::Authentic => Incoming::Packet(AuthenticatedPacket { facts: self, datagram }),
            _ => Incoming::Relayed(RelayedPacket { facts: self, datagram }),
        }
    }

    fn body_range(&self) -> Range<usize> {
        HEADER_BYTES..HEADER_BYTES + self.body_bytes
    }
}

impl Incoming<'_> {
    /// What was found of it, to go with its frame.
    pub fn facts(&self) -> PacketFacts {
        match self {
            Self::Packet(packet) => packet.facts,
            Self::Relayed(packet) => packet.facts,
        }
    }
}

impl<'a> AuthenticatedPacket<'a> {
    /// Whose key verified.
    pub fn sender(&self) -> Principal {
        self.facts.sender
    }

    /// The sender's epoch.
    pub fn epoch(&self) -> u64 {
        let (header, _) = PacketHeader::ref_from_prefix(self.datagram).expect("it was cut into its parts before");
        header.epoch.get()
    }

    /// Whom it is for.
    pub fn audience(&self) -> Audience {
        PacketParts::parse(self.datagram).expect("it was cut into its parts before").audience
    }

    /// The whole datagram, vector included.
    pub fn datagram(&self) -> &'a [u8] {
        self.datagram
    }

    /// The messages as bytes.
    pub fn body(&self) -> &'a [u8] {
        &self.datagram[self.body_range()]
    }

    /// Where in the datagram they are.
    pub fn body_range(&self) -> Range<usize> {
        self.facts.body_range()
    }

    /// The digest of the body.
    pub fn body_digest(&self) -> Digest {
        self.facts.body_digest
    }

    /// The messages, decoded one by one.
    pub fn messages(&self) -> Messages<'a> {
        Messages::new(self.body(), self.facts.sender)
    }

    /// Whether it holds a message of such a kind; cheaper than decoding them all.
    pub fn holds(&self, of: impl Fn(Kind) -> bool) -> bool {
        kinds(self.body()).any(of)
    }
}

impl<'a> RelayedPacket<'a> {
    /// The client in whose name it is; proven only if [`RelayedPacket::is_authentic`].
    pub fn client(&self) -> Principal {
        self.facts.sender
    }

    /// Whether its tag for this process verified.
    pub fn is_authentic(&self) -> bool {
        self.facts.standing == Standing::RelayedAuthentic
    }

    /// Whether its tag is wrong though its client had what it takes to make a good one (`protocol.md DM-2`): it did not, or somebody changed the
    /// tag on the way. What was sealed before the client had a session here, or a long time ago, is not proven, and no more.
    pub fn is_spoilt(&self) -> bool {
        self.facts.standing == Standing::RelayedSpoilt
    }

    /// The whole datagram, vector included.
    pub fn datagram(&self) -> &'a [u8] {
        self.datagram
    }

    /// Where in the datagram the messages are.
    pub fn body_range(&self) -> Range<usize> {
        self.facts.body_range()
    }

    /// The digest of the body.
    pub fn body_digest(&self) -> Digest {
        self.facts.body_digest
    }

    /// The messages, decoded one by one.
    pub fn messages(&self) -> Messages<'a> {
        Messages::new(&self.datagram[self.body_range()], self.facts.sender)
    }
}

reasons! {
    /// Why a datagram was dropped before its messages were looked at.
    Refused,
    /// How often each reason occurred.
    RefusedCounters:
    /// No packet of this version.
    Malformed => "malformed",
    /// Of another cluster.
    ClusterOther => "other cluster",
    /// From a principal that the cluster does not have, or from this process itself.
    SenderUnknown => "sender unknown",
    /// Not for this process.
    NotAddressed => "not addressed",
    /// Of an epoch that a newer one of its sender has replaced: a recording, or a very late datagram.
    EpochOver => "epoch over",
    /// Of an epoch that is not established: announcements are due.
    NoSession => "no session",
    /// Under a key that is no longer, or not yet, valid: announcements are due.
    KeyStale => "key stale",
    /// Seen already, or too old to know.
    Replayed => "replayed",
    /// The tag is wrong.
    TagBad => "tag bad",
    /// Its sender, or whoever uses its name, sent more than its share.
    Quota => "quota",
    /// Its sender floods, and is not listened to for a while.
    Isolated => "isolated",
}

impl RefusedCounters {
    /// From counts kept elsewhere, by the reasons' places in [`Refused::ALL`]: they cross threads one by one.
    pub(crate) fn from_counts(count: impl Fn(usize) -> u64) -> Self {
        Self(std::array::from_fn(count))
    }
}

/// Proof that a client had a key: the first counter that it sealed under it, of those taken here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct KeyInUse {
    epoch: u64,
    /// The entry's key id.
    key: [u8; KEY_ID_BYTES],
    counter: u64,
}

const KEY_ID_BYTES: usize = 4;

/// Verifies what arrives at one process.
#[derive(Debug)]
pub struct Verifier {
    own: Principal,
    cluster: u64,
    replicas: Box<[ReplayWindow]>,
    clients: Box<[ReplayWindow]>,
    /// Of each client.
    keys_in_use: Box<[KeyInUse]>,
    refused: RefusedCounters,
}

impl Verifier {
    /// For a principal of a cluster with so many replicas and clients.
    pub fn new(own: Principal, cluster: u64, replicas: usize, clients: usize) -> Self {
        assert!(replicas <= REPLICAS_MAX);
        let windows = |count| (0..count).map(|_| ReplayWindow::new()).collect();
        let refused = RefusedCounters::new();
        let keys_in_use = vec![KeyInUse::default(); clients].into();
        Self { own, cluster, replicas: windows(replicas), clients: windows(clients), keys_in_use, refused }
    }

    /// Verifies a datagram. `relayed` says of a sender whether the datagram is a client's, but came from a replica; such a packet
    /// neither consults nor moves the replay window.
    ///
    /// # Errors
    /// The reason, counted, together with the sender that the header claims where there is one worth an announcement.
    pub fn verify<'a>(
        &mut self,
        keys: &(impl PacketKeys + ?Sized),
        datagram: &'a [u8],
        relayed: impl FnOnce(Principal) -> bool,
    ) -> Result<Incoming<'a>, (Refused, Option<Principal>)> {
        self.check(keys, datagram, relayed).inspect_err(|(reason, _)| self.refused.count(*reason))
    }

    /// How often what was refused.
    pub fn refused(&self) -> &RefusedCounters {
        &self.refused
    }

    /// A datagram was dropped before it came here.
    pub fn count(&mut self, reason: Refused) {
        self.refused.count(reason);
    }

    fn check<'a>(
        &mut self,
        keys: &(impl PacketKeys + ?Sized),
        datagram: &'a [u8],
        relayed: impl FnOnce(Principal) -> bool,
    ) -> Result<Incoming<'a>, (Refused, Option<Principal>)> {
        let parts = PacketParts::parse(datagram).map_err(|_: Malformed| (Refused::Malformed, None))?;
        if parts.header.cluster.get() != self.cluster {
            return Err((Refused::ClusterOther, None));
        }
        let sender = Principal::from_code(parts.header.sender.get());
        if sender == Principal::Client(ClientId::SYSTEM) {
            return Self::check_system(datagram, &parts, relayed);
        }
        let window = match sender {
            Principal::Replica(id) => self.replicas.get_mut(usize::from(id.0)),
            Principal::Client(id) => self.clients.get_mut(usize::from(id.0)),
        };
        let Some(window) = window.filter(|_| sender != self.own) else {
            return Err((Refused::SenderUnknown, None));
        };
        let position = match self.own {
            Principal::Replica(id) => parts.audience.position_of_replica(id),
            Principal::Client(id) => parts.audience.position_of_client(id),
        };
        let position = if planted::is(Bug::VectorAtZero) { position.map(|_| 0) } else { position };
        let Some(entry) = position.and_then(|position| parts.entry(position)) else {
            return Err((Refused::NotAddressed, None));
        };
        let (epoch, counter) = (parts.header.epoch.get(), parts.header.counter.get());
        let relayed = relayed(sender);
        let established = keys.established(sender.code()) == Some(epoch);
        if !relayed && !established {
            // Nobody who sent that is left to learn from an answer.
            let over = keys.is_over(sender.code(), epoch);
            return Err(if over { (Refused::EpochOver, None) } else { (Refused::NoSession, Some(sender)) });
        }
        if !relayed && !window.is_new(epoch, counter) {
            return Err((Refused::Replayed, None));
        }
        if !relayed && keys.names_held_key(sender.code(), epoch, entry).is_err() {
            return Err((Refused::KeyStale, Some(sender)));
        }
        let body_digest = digest(parts.body);
        let authenticated = parts.authenticated_digest(&body_digest);
        let verdict = keys.verify(sender.code(), epoch, counter, &authenticated, entry);
        let standing = match verdict {
            Ok(()) if relayed => Standing::RelayedAuthentic,
            Ok(()) => Standing::Authentic,
            // Whether it may be used all the same is decided by those who vouch for it.
            Err(error) if relayed => match error {
                TagError::BadTag => Standing::RelayedSpoilt,
                _ if had_key(&self.keys_in_use, keys, sender, epoch, counter) => Standing::RelayedSpoilt,
                _ => Standing::RelayedUnproven,
            },
            Err(TagError::NoSession) => return Err((Refused::NoSession, Some(sender))),
            Err(TagError::StaleKey) => return Err((Refused::KeyStale, Some(sender))),
            Err(TagError::BadTag) => return Err((Refused::TagBad, None)),
        };
        if !relayed {
            window.mark(epoch, counter);
            if let Principal::Client(id) = sender {
                let held = &mut self.keys_in_use[usize::from(id.0)];
                let key = *entry.first_chunk().expect("an entry begins with the key's id");
                if (held.epoch, held.key) != (epoch, key) {
                    *held = KeyInUse { epoch, key, counter };
                }
            }
        }
        let facts = PacketFacts { sender, body_bytes: parts.body.len(), body_digest, standing };
        Ok(facts.incoming(datagram))
    }

    /// A packet in the engine's own name, which a replica made and others relay: its body proves itself, no tag does (`protocol.md DM-4`).
    fn check_system<'a>(
        datagram: &'a [u8],
        parts: &PacketParts<'a>,
        relayed: impl FnOnce(Principal) -> bool,
    ) -> Result<Incoming<'a>, (Refused, Option<Principal>)> {
        let sender = Principal::Client(ClientId::SYSTEM);
        if !relayed(sender) {
            return Err((Refused::SenderUnknown, None));
        }
        let (body_bytes, body_digest) = (parts.body.len(), digest(parts.body));
        Ok(PacketFacts { sender, body_bytes, body_digest, standing: Standing::RelayedUnproven }.incoming(datagram))
    }
}

/// Whether a client that sealed a packet had a key with this process that is held still: it sealed under it before. Who has a key goes on to no older
/// one (`protocol.md AN-6`).
fn had_key(
    in_use: &[KeyInUse],
    keys: &(impl PacketKeys + ?Sized),
    sender: Principal,
    epoch: u64,
    counter: u64,
) -> bool {
    let Principal::Client(id) = sender else { return false };
    let held = in_use[usize::from(id.0)];
    let mut entry = [0; ENTRY_BYTES];
    entry[..KEY_ID_BYTES].copy_from_slice(&held.key);
    let is_held = || keys.names_held_key(sender.code(), epoch, &entry).is_ok();
    held.epoch == epoch && held.counter > 0 && counter > held.counter && is_held()
}
