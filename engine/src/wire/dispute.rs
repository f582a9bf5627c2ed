//! Who a replica says does not authenticate its requests for everybody, how it finds out, and what follows from it (`protocol.md DM-2` to `DM-4`).
//!
//! ```text
//!  dispute, signed                                    examine, behind the message header     testimony
//!  0       2       3        8       16                8          16      48      52   56     8        40       72
//!  +-------+-------+--------+-------+                 +----------+-------+-------+----+      +--------+--------+
//!  |client |replica| zero   | epoch |                 | sequence | batch |request|pkt |      | body   | packet |
//!  +-------+-------+--------+-------+-----------+     | u64      | 32    | u32   |u32 |      | 32     | 32     |
//!  | incarnation   | number | request, 32       |     +----------+-------+-------+----+      +--------+--------+
//!  +---------------+--------+-------------------+
//!  | Ed25519 signature, 64                      |
//!  +--------------------------------------------+
//! ```
//!
//! A demotion is a request of the system client ([`ClientId::SYSTEM`]) with one operation, whose bytes are the signed disputes of `f+1` replicas against one
//! client, ascending by replica. It is named by the client that it is about, so its body says everything that it takes to judge it.

use super::framing::{self, Kind, MESSAGE_HEADER_BYTES, Malformed};
use super::message::Message;
use super::operation::{OPERATION_HEADER_BYTES, OperationsWriter};
use super::packet::{Audience, ENTRY_BYTES, Envelope, HEADER_BYTES, write_header};
use super::request::{self, REQUEST_OVERHEAD_BYTES, RequestName};
use crate::limits::{DATAGRAM_BYTES_MIN, REPLICAS_MAX};
use crate::numbers::{ClientId, Incarnation, Principal, ReplicaId, ReplicaSet, RequestNumber, SequenceNumber};
use logothete_crypto::{Digest, SIGNATURE_BYTES};
use std::ops::Range;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The domain under which disputes are signed.
pub const DISPUTE_DOMAIN: &str = "logothete dispute";

#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct DisputeLayout {
    client: U16,
    replica: u8,
    reserved: [u8; 5],
    epoch: U64,
    incarnation: U64,
    number: U64,
    request: Digest,
}

/// Dispute(c, e, t, D, i): the client's tag for the signer is no good on a request that others have verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Dispute {
    content: DisputeLayout,
    /// The signer's, over [`Dispute::signed`].
    pub signature: [u8; SIGNATURE_BYTES],
}

impl Dispute {
    pub(super) fn decode(layout: &[u8]) -> Result<&Self, Malformed> {
        let dispute: &Self = framing::fixed(layout)?;
        if dispute.is_plain() { Ok(dispute) } else { Err(Malformed::Field) }
    }

    fn is_plain(&self) -> bool {
        self.content.reserved == [0; 5] && usize::from(self.content.replica) < REPLICAS_MAX
    }

    /// Of a replica, in its epoch, about a request; `sign` is given what is signed.
    pub fn new(
        by: ReplicaId,
        epoch: u64,
        name: RequestName,
        request: Digest,
        sign: impl FnOnce(&[u8]) -> [u8; SIGNATURE_BYTES],
    ) -> Self {
        let content = DisputeLayout {
            client: name.client.0.into(),
            replica: by.0,
            reserved: [0; 5],
            epoch: epoch.into(),
            incarnation: name.incarnation.0.into(),
            number: name.number.0.into(),
            request,
        };
        Self { content, signature: sign(content.as_bytes()) }
    }

    /// Against whom.
    pub fn client(&self) -> ClientId {
        ClientId(self.content.client.get())
    }

    /// Who says so.
    pub fn replica(&self) -> ReplicaId {
        ReplicaId(self.content.replica)
    }

    /// The request that it is about.
    pub fn name(&self) -> RequestName {
        RequestName {
            client: self.client(),
            incarnation: Incarnation(self.content.incarnation.get()),
            number: RequestNumber(self.content.number.get()),
        }
    }

    /// The digest of that request.
    pub fn request(&self) -> Digest {
        self.content.request
    }

    /// What the signature is over.
    pub fn signed(&self) -> &[u8] {
        self.content.as_bytes()
    }

    /// Appends it as a message.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::Dispute, &[self.as_bytes()]);
    }
}

/// Examine(s, D, which request, which packet): the sender wants to see the client's packet as the receiver had it from the client itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Examine {
    sequence: U64,
    /// The batch.
    pub batch: Digest,
    request: U32,
    packet: U32,
}

impl Examine {
    /// Of a batch's request, counted from 0, and of those of its packets that has this place.
    pub fn new(sequence: SequenceNumber, batch: Digest, request: usize, packet: usize) -> Self {
        Self { sequence: sequence.0.into(), batch, request: (request as u32).into(), packet: (packet as u32).into() }
    }

    /// The batch's place.
    pub fn sequence(&self) -> SequenceNumber {
        SequenceNumber(self.sequence.get())
    }

    /// Which of the batch's requests.
    pub fn request(&self) -> usize {
        self.request.get() as usize
    }

    /// Which of the request's packets.
    pub fn packet(&self) -> usize {
        self.packet.get() as usize
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::Examine, &[self.as_bytes()]);
    }
}

/// Testimony(D, P): the sender had the packet with digest `P`, whose body has digest `D`, from its client itself, and verified its own tag on it. It
/// relays it as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Testimony {
    /// Of the packet's body.
    pub body: Digest,
    /// Of the whole packet, tags included.
    pub packet: Digest,
}

impl Testimony {
    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::Testimony, &[self.as_bytes()]);
    }
}

/// The name of the demotion of a client. It comes once in the cluster's life.
pub fn demotion_name(of: ClientId) -> RequestName {
    let (incarnation, number) = (Incarnation(u64::from(of.0) + 1), RequestNumber(1));
    RequestName { client: ClientId::SYSTEM, incarnation, number }
}

/// A demotion's packet, as a primary makes it, and where in it the request is: with the system client for its sender, and no tag in it.
pub fn demotion_packet(cluster: u64, replicas: usize, of: ClientId, disputes: &[Dispute]) -> (Vec<u8>, Range<usize>) {
    let mut operations = OperationsWriter::new(OPERATION_HEADER_BYTES + size_of_val(disputes));
    assert!(operations.try_push(0, 0, disputes.as_bytes()), "it was made for them");
    let mut body = Vec::new();
    request::append(&mut body, demotion_name(of), operations.count(), operations.bytes());
    let audience = Audience::Replicas(ReplicaSet::first(replicas));
    let mut packet = vec![0; HEADER_BYTES + body.len() + audience.tag_count() * ENTRY_BYTES];
    packet[HEADER_BYTES..HEADER_BYTES + body.len()].copy_from_slice(&body);
    let sender = Principal::Client(ClientId::SYSTEM).code();
    let envelope = Envelope { sender, cluster, epoch: 0, counter: 0, audience, message_count: 1 };
    write_header(&mut packet, body.len(), &envelope);
    (packet, HEADER_BYTES..HEADER_BYTES + body.len())
}

/// The disputes of a demotion, from its request message, and whom they are against: all the same client, whom the name says, and each of another replica. Their signatures
/// are not looked at.
pub fn demotion_disputes(message: &[u8]) -> Option<(ClientId, &[Dispute])> {
    let Ok(Message::Request(request)) = Message::decode(message, Principal::Client(ClientId::SYSTEM)) else {
        return None;
    };
    let mut operations = request.operations.iter();
    let only = operations.next().filter(|only| (only.session, only.number) == (0, 0))?;
    let disputes = <[Dispute]>::ref_from_bytes(only.bytes).ok()?;
    let of = disputes.first()?.client();
    let sound = operations.next().is_none()
        && request.signature.is_none()
        && request.name == demotion_name(of)
        && disputes.iter().all(|dispute| dispute.is_plain() && dispute.client() == of)
        && disputes.is_sorted_by(|one, next| one.replica() < next.replica());
    sound.then_some((of, disputes))
}

const _: () = {
    // Of the largest cluster, a demotion fits the smallest packet.
    let disputes = (REPLICAS_MAX - 1) / 3 + 1;
    let message = REQUEST_OVERHEAD_BYTES + OPERATION_HEADER_BYTES + disputes * size_of::<Dispute>();
    assert!(HEADER_BYTES + message + REPLICAS_MAX * ENTRY_BYTES <= DATAGRAM_BYTES_MIN);
    assert!(MESSAGE_HEADER_BYTES + size_of::<Dispute>() == 136);
};

#[cfg(test)]
mod tests {
    use super::super::packet::PacketParts;
    use super::*;

    const OF: ClientId = ClientId(2);

    fn dispute(by: u8, of: ClientId) -> Dispute {
        let name = RequestName { client: of, incarnation: Incarnation(7), number: RequestNumber(5) };
        Dispute::new(ReplicaId(by), 9, name, Digest([4; 32]), |signed| [signed.len() as u8; SIGNATURE_BYTES])
    }

    fn disputes_of(packet: &[u8]) -> Option<(ClientId, Vec<u8>)> {
        let parts = PacketParts::parse(packet).unwrap();
        let (of, disputes) = demotion_disputes(parts.body)?;
        Some((of, disputes.iter().map(|dispute| dispute.replica().0).collect()))
    }

    /// `protocol.md DM-4`, `RJ-3`
    #[test]
    fn a_demotion_has_one_encoding() {
        let packet = |disputes: &[Dispute]| demotion_packet(3, 4, OF, disputes).0;
        assert_eq!(disputes_of(&packet(&[dispute(1, OF), dispute(3, OF)])), Some((OF, vec![1, 3])));
        let other = ClientId(1);
        for wrong in [
            vec![],
            vec![dispute(3, OF), dispute(1, OF)],
            vec![dispute(1, OF), dispute(1, OF)],
            vec![dispute(1, OF), dispute(3, other)],
            vec![dispute(1, other), dispute(3, other)],
            vec![dispute(1, OF), dispute(16, OF)],
        ] {
            assert_eq!(disputes_of(&packet(&wrong)), None, "{wrong:?}");
        }
        let sender = PacketParts::parse(&packet(&[dispute(1, OF)])).unwrap().header.sender.get();
        assert_eq!(Principal::from_code(sender), Principal::Client(ClientId::SYSTEM));
    }

    #[test]
    fn a_dispute_reads_back() {
        let (mut bytes, sent) = (Vec::new(), dispute(3, OF));
        sent.append(&mut bytes);
        let from = Principal::Replica(ReplicaId(3));
        let Ok(Message::Dispute(read)) = Message::decode(&bytes, from) else { panic!("another kind") };
        assert_eq!((read.client(), read.replica(), read.name()), (OF, ReplicaId(3), sent.name()));
        assert_eq!((read.signed(), read.signature), (sent.signed(), [64; SIGNATURE_BYTES]));
        bytes[11] = 1;
        assert_eq!(Message::decode(&bytes, from).unwrap_err(), Malformed::Field);
    }
}
