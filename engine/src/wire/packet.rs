//! The packet: what is authenticated (`protocol.md PK-1`). A header, messages for one audience, one tag for each member of it.
//!
//! ```text
//!  0        4        8                16               24               32
//!  +--------+--+--+--+----------------+----------------+----------------+
//!  | magic  |ve|au|snd| cluster id    | sender's epoch | packet counter |
//!  +--------+--+--+--+----------------+----------------+----------------+
//!  | aud|cnt| bytes  |tc| zero        |  body: `cnt` messages, `bytes` long ...
//!  +--------+--------+----------------+
//!  32       36       40               48
//!  then the authentication vector: `tc` entries of { key id u32, tag 16 bytes }
//! ```
//!
//! The tags are over `digest(header ‖ digest(body))`: 80 bytes, whatever the body's length, and a packet that holds one message
//! has that message's digest as its body's, so a request is hashed once (`protocol.md PK-2`).

use super::framing::{Malformed, count_messages};
use crate::limits;
use crate::numbers::{ClientId, ReplicaId, ReplicaSet};
use logothete_crypto::{Digest, digest};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The first four bytes of every packet.
pub const MAGIC: [u8; 4] = *b"LGTH";

/// The first four bytes of a datagram that carries a key announcement instead of a packet.
pub const MAGIC_ANNOUNCEMENT: [u8; 4] = *b"LGKA";

/// The version of all layouts in this folder.
pub const VERSION: u8 = 1;

/// The header's size, which is where the body begins.
pub const HEADER_BYTES: usize = size_of::<PacketHeader>();

/// One entry of the authentication vector: key id and tag.
pub const ENTRY_BYTES: usize = 20;

const AUDIENCE_REPLICAS: u8 = 0;
const AUDIENCE_CLIENT: u8 = 1;

/// The header as it stands on the wire.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct PacketHeader {
    magic: [u8; 4],
    version: u8,
    audience_kind: u8,
    /// The sender's number ([`crate::numbers::Principal::code`]); nothing is believed of it until a tag has verified.
    pub sender: U16,
    /// The cluster.
    pub cluster: U64,
    /// The sender's epoch, new at every start of its process.
    pub epoch: U64,
    /// One more with every packet of the epoch, whatever the audience.
    pub counter: U64,
    audience: U16,
    /// How many messages the body holds.
    pub message_count: U16,
    body_bytes: U32,
    tag_count: u8,
    reserved: [u8; 7],
}

const _: () = assert!(HEADER_BYTES == 48);

/// Whom a packet is for: it carries one tag for each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Some replicas, at least one.
    Replicas(ReplicaSet),
    /// One client.
    Client(ClientId),
}

impl Audience {
    /// How many tags the packet carries.
    pub const fn tag_count(self) -> usize {
        match self {
            Self::Replicas(set) => set.count(),
            Self::Client(_) => 1,
        }
    }

    /// The place of a replica's tag in the vector.
    pub fn position_of_replica(self, id: ReplicaId) -> Option<usize> {
        match self {
            Self::Replicas(set) if set.contains(id) => Some((set.0 & ((1 << id.0) - 1)).count_ones() as usize),
            _ => None,
        }
    }

    /// The place of a client's tag in the vector.
    pub fn position_of_client(self, id: ClientId) -> Option<usize> {
        (self == Self::Client(id)).then_some(0)
    }
}

/// A datagram cut into the parts of a packet; nothing in it is authentic yet.
#[derive(Clone, Copy, Debug)]
pub struct PacketParts<'a> {
    /// The header.
    pub header: &'a PacketHeader,
    /// Whom it is for.
    pub audience: Audience,
    /// The messages.
    pub body: &'a [u8],
    /// The authentication vector.
    pub vector: &'a [u8],
}

impl<'a> PacketParts<'a> {
    /// Cuts a datagram. Lengths must account for every byte of it: there is one encoding of a packet only.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let (header, rest) = PacketHeader::ref_from_prefix(datagram).map_err(|_| Malformed::Short)?;
        if header.magic != MAGIC {
            return Err(Malformed::Magic);
        }
        if header.version != VERSION {
            return Err(Malformed::Version);
        }
        let audience = match header.audience_kind {
            AUDIENCE_REPLICAS if header.audience.get() != 0 => Audience::Replicas(ReplicaSet(header.audience.get())),
            AUDIENCE_CLIENT => Audience::Client(ClientId(header.audience.get())),
            _ => return Err(Malformed::Audience),
        };
        let tags = usize::from(header.tag_count);
        if tags != audience.tag_count() || header.reserved != [0; 7] {
            return Err(Malformed::Audience);
        }
        let body_bytes = header.body_bytes.get() as usize;
        if body_bytes > limits::DATAGRAM_BYTES_MAX || rest.len() != body_bytes + tags * ENTRY_BYTES {
            return Err(Malformed::Length);
        }
        let (body, vector) = rest.split_at(body_bytes);
        if count_messages(body) != Some(usize::from(header.message_count.get())) {
            return Err(Malformed::Length);
        }
        Ok(Self { header, audience, body, vector })
    }

    /// The entry of the authentication vector at a place.
    pub fn entry(&self, position: usize) -> Option<&'a [u8; ENTRY_BYTES]> {
        self.vector.get(position * ENTRY_BYTES..)?.first_chunk()
    }

    /// What the tags are over, given the digest of the body.
    pub fn authenticated_digest(&self, body_digest: &Digest) -> Digest {
        authenticated_digest(self.header, body_digest)
    }
}

fn authenticated_digest(header: &PacketHeader, body_digest: &Digest) -> Digest {
    let mut input = [0u8; HEADER_BYTES + 32];
    input[..HEADER_BYTES].copy_from_slice(header.as_bytes());
    input[HEADER_BYTES..].copy_from_slice(&body_digest.0);
    digest(&input)
}

/// What a sender says of a packet before it seals it.
#[derive(Clone, Copy, Debug)]
pub struct Envelope {
    /// The sender's number.
    pub sender: u16,
    /// The cluster.
    pub cluster: u64,
    /// The sender's epoch.
    pub epoch: u64,
    /// This packet's counter.
    pub counter: u64,
    /// Whom it is for.
    pub audience: Audience,
    /// How many messages the body holds.
    pub message_count: u16,
}

/// Writes the header in front of a body that stands at [`HEADER_BYTES`], and returns what the tags must be over.
///
/// # Panics
/// If `packet` is shorter than a header or the body longer than a datagram: both are the caller's own doing.
pub fn write_header(packet: &mut [u8], body_bytes: usize, envelope: &Envelope) -> Digest {
    assert!(body_bytes <= limits::DATAGRAM_BYTES_MAX);
    let (audience_kind, audience) = match envelope.audience {
        Audience::Replicas(set) => {
            assert!(set != ReplicaSet::EMPTY);
            (AUDIENCE_REPLICAS, set.0)
        }
        Audience::Client(id) => (AUDIENCE_CLIENT, id.0),
    };
    let header = PacketHeader {
        magic: MAGIC,
        version: VERSION,
        audience_kind,
        sender: envelope.sender.into(),
        cluster: envelope.cluster.into(),
        epoch: envelope.epoch.into(),
        counter: envelope.counter.into(),
        audience: audience.into(),
        message_count: envelope.message_count.into(),
        body_bytes: (body_bytes as u32).into(),
        tag_count: envelope.audience.tag_count() as u8,
        reserved: [0; 7],
    };
    packet[..HEADER_BYTES].copy_from_slice(header.as_bytes());
    authenticated_digest(&header, &digest(&packet[HEADER_BYTES..HEADER_BYTES + body_bytes]))
}

/// The room that a datagram leaves for messages.
pub const fn body_bytes_max(datagram_bytes_max: usize, audience: Audience) -> usize {
    datagram_bytes_max - HEADER_BYTES - audience.tag_count() * ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::super::framing;
    use super::*;
    use proptest::prelude::*;

    /// A body of one message.
    fn body_of(payload: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        framing::append(&mut body, framing::Kind::Status, &[payload]);
        body
    }

    fn sample(audience: Audience, payload: &[u8]) -> Vec<u8> {
        let body = &body_of(payload);
        let mut packet = vec![0; HEADER_BYTES];
        packet.extend_from_slice(body);
        write_header(
            &mut packet,
            body.len(),
            &Envelope { sender: 2, cluster: 7, epoch: 9, counter: 11, audience, message_count: 1 },
        );
        packet.resize(packet.len() + audience.tag_count() * ENTRY_BYTES, 0xab);
        packet
    }

    proptest! {
        #[test]
        fn parses_what_it_wrote(bits in 1u16.., body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let audience = Audience::Replicas(ReplicaSet(bits));
            let packet = sample(audience, &body);
            let parts = PacketParts::parse(&packet).unwrap();
            prop_assert_eq!(parts.audience, audience);
            prop_assert_eq!(parts.body, &body_of(&body)[..]);
            prop_assert_eq!(parts.header.counter.get(), 11);
            for (position, id) in ReplicaSet(bits).iter().enumerate() {
                prop_assert_eq!(audience.position_of_replica(id), Some(position));
                prop_assert!(parts.entry(position).is_some());
            }
            prop_assert!(parts.entry(audience.tag_count()).is_none());
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), keep in 0usize..48) {
            let mut packet = sample(Audience::Client(ClientId(3)), b"body");
            for (at, byte) in bytes.iter().enumerate().skip(keep) {
                if at < packet.len() { packet[at] = *byte; }
            }
            let _ = PacketParts::parse(&packet);
            let _ = PacketParts::parse(&bytes);
        }

        /// `protocol.md PK-2`
        #[test]
        fn every_header_bit_is_under_the_tags(bit in 0usize..48 * 8) {
            let packet = sample(Audience::Client(ClientId(3)), b"body");
            let before = PacketParts::parse(&packet).unwrap().authenticated_digest(&digest(&body_of(b"body")));
            let mut changed = packet.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            if let Ok(parts) = PacketParts::parse(&changed) {
                prop_assert_ne!(parts.authenticated_digest(&digest(&body_of(b"body"))), before);
            }
        }
    }

    /// `protocol.md RJ-3`
    #[test]
    fn one_byte_more_or_less_is_refused() {
        let packet = sample(Audience::Replicas(ReplicaSet(0b1110)), b"body");
        assert!(PacketParts::parse(&packet).is_ok());
        assert_eq!(PacketParts::parse(&packet[..packet.len() - 1]).unwrap_err(), Malformed::Length);
        let mut longer = packet.clone();
        longer.push(0);
        assert_eq!(PacketParts::parse(&longer).unwrap_err(), Malformed::Length);
    }
}
