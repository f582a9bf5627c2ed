//! Request bodies: the clients' packets as they arrived, copied once from the receive frame, kept while a slot of the log or a client's
//! queue refers to them (`protocol.md CK-3`).
//!
//! Packets are kept whole, tags included, because whoever fetches one must check its own tag. They live in slabs by size, so that a long log
//! of short packets does not cost a full frame each. A slab that was used once is used again, also for a shorter packet when there is none of
//! its own size, and some of the largest size are made ready at start: so memory stays as it is while loads change, and in the steady
//! state nothing is allocated.

use crate::numbers::{SequenceNumber, View};
use crate::wire::request::{REQUEST_OVERHEAD_BYTES, RequestName};
use logothete_crypto::Digest;
use std::ops::Range;

/// Slab sizes are powers of two, from 256 bytes to 64 KiB: at most half of one is waste.
const CLASS_SMALLEST_SHIFT: u32 = 8;
const CLASSES: usize = 9;

/// A body in the store. Copies do not count: the store's references do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BodyRef {
    class: u8,
    index: u32,
}

#[derive(Debug)]
struct Body {
    slab: Box<[u8]>,
    packet_bytes: usize,
    message: Range<usize>,
    name: Option<RequestName>,
    digest: Digest,
    authentic: bool,
    /// It came from its client itself.
    direct: bool,
    /// Its tag for this replica is wrong, and its client could have made a good one.
    spoilt: bool,
    /// What proves it beside a tag is good, or is not; `None` where nobody looked.
    proof: Option<bool>,
    arrived_ns: u64,
    /// It is in the journal since this view and stable checkpoint.
    persisted: Option<(View, SequenceNumber)>,
    references: u32,
}

#[derive(Debug, Default)]
struct Class {
    bodies: Vec<Body>,
    free: Vec<u32>,
}

/// The store.
#[derive(Debug)]
pub struct Bodies {
    classes: [Class; CLASSES],
    bytes_held: usize,
    bytes_max: usize,
}

impl Body {
    /// A free slab, its memory present.
    fn with_slab(bytes: usize) -> Self {
        Self {
            // Not zeros: those would be pages that the kernel gives when they are first written.
            slab: vec![0xff; bytes].into(),
            packet_bytes: 0,
            message: 0..0,
            name: None,
            digest: Digest::default(),
            authentic: false,
            direct: false,
            spoilt: false,
            proof: None,
            arrived_ns: 0,
            persisted: None,
            references: 0,
        }
    }
}

impl Bodies {
    /// A store that holds at most so many bytes of slabs (`protocol.md BP-3`). An eighth of them is made ready now, for packets of
    /// `packet_bytes` bytes.
    pub fn new(bytes_max: usize, packet_bytes: usize) -> Self {
        let mut bodies = Self { classes: Default::default(), bytes_held: 0, bytes_max };
        let class = Self::class_of(packet_bytes);
        let ready = bytes_max / 8 / Self::slab_bytes(class);
        bodies.classes[class].bodies.extend((0..ready).map(|_| Body::with_slab(Self::slab_bytes(class))));
        bodies.classes[class].free.extend(0..ready as u32);
        bodies
    }

    fn class_of(packet_bytes: usize) -> usize {
        packet_bytes.next_power_of_two().ilog2().saturating_sub(CLASS_SMALLEST_SHIFT) as usize
    }

    fn slab_bytes(class: usize) -> usize {
        1 << (class as u32 + CLASS_SMALLEST_SHIFT)
    }

    /// Copies a packet in, with one reference; `None` when there is no room. `authentic`: its tag for this replica verified.
    pub fn store(
        &mut self,
        packet: &[u8],
        message: Range<usize>,
        name: RequestName,
        digest: Digest,
        authentic: bool,
        now_ns: u64,
    ) -> Option<BodyRef> {
        assert!(message.len() >= REQUEST_OVERHEAD_BYTES && message.end <= packet.len());
        let wanted = Self::class_of(packet.len());
        let counted = Self::slab_bytes(wanted);
        if wanted >= CLASSES || self.bytes_held + counted > self.bytes_max {
            return None;
        }
        let class = (wanted..CLASSES).find(|class| !self.classes[*class].free.is_empty()).unwrap_or(wanted);
        let slabs = &mut self.classes[class];
        let index = slabs.free.pop().unwrap_or_else(|| {
            slabs.bodies.push(Body::with_slab(counted));
            (slabs.bodies.len() - 1) as u32
        });
        let body = &mut slabs.bodies[index as usize];
        assert_eq!(body.references, 0, "a free slab is referred to by nobody");
        body.slab[..packet.len()].copy_from_slice(packet);
        body.packet_bytes = packet.len();
        body.message = message;
        body.name = Some(name);
        body.digest = digest;
        body.authentic = authentic;
        (body.direct, body.spoilt, body.proof) = (false, false, None);
        body.arrived_ns = now_ns;
        body.persisted = None;
        body.references = 1;
        self.bytes_held += counted;
        Some(BodyRef { class: class as u8, index })
    }

    /// One reference more.
    pub fn retain(&mut self, reference: BodyRef) {
        self.body_mut(reference).references += 1;
    }

    /// One reference less; the last frees the slab.
    pub fn release(&mut self, reference: BodyRef) {
        let body = self.body_mut(reference);
        body.references -= 1;
        if body.references == 0 {
            // What was counted is the size that the packet needed, not the slab that happened to be free.
            let counted = Self::slab_bytes(Self::class_of(body.packet_bytes));
            self.bytes_held -= counted;
            self.classes[usize::from(reference.class)].free.push(reference.index);
        }
    }

    /// The client's packet.
    pub fn packet(&self, reference: BodyRef) -> &[u8] {
        let body = self.body(reference);
        &body.slab[..body.packet_bytes]
    }

    /// The request message in it.
    pub fn message(&self, reference: BodyRef) -> &[u8] {
        let body = self.body(reference);
        &body.slab[body.message.clone()]
    }

    /// The digest of the request message.
    pub fn digest(&self, reference: BodyRef) -> Digest {
        self.body(reference).digest
    }

    /// The request's name.
    pub fn name(&self, reference: BodyRef) -> RequestName {
        self.body(reference).name.expect("a body in use has a name")
    }

    /// Whether it is proven: by its tag for this replica, or in another way.
    pub fn is_authentic(&self, reference: BodyRef) -> bool {
        let body = self.body(reference);
        body.authentic || body.proof == Some(true)
    }

    /// Notes that it came from its client itself.
    pub fn note_direct(&mut self, reference: BodyRef) {
        self.body_mut(reference).direct = true;
    }

    /// Whether it did.
    pub fn is_direct(&self, reference: BodyRef) -> bool {
        self.body(reference).direct
    }

    /// Notes that its tag for this replica is wrong, and that its client could have made a good one.
    pub fn note_spoilt(&mut self, reference: BodyRef) {
        self.body_mut(reference).spoilt = true;
    }

    /// Whether that is so.
    pub fn is_spoilt(&self, reference: BodyRef) -> bool {
        self.body(reference).spoilt
    }

    /// What proves it beside a tag is good, or is not.
    pub fn note_proof(&mut self, reference: BodyRef, good: bool) {
        self.body_mut(reference).proof = Some(good);
    }

    /// Whether it is; `None` where nobody looked yet.
    pub fn proof(&self, reference: BodyRef) -> Option<bool> {
        self.body(reference).proof
    }

    /// Whether a body has more than one reference.
    pub fn is_shared(&self, reference: BodyRef) -> bool {
        self.body(reference).references > 1
    }

    /// Notes that a body is in the journal since a view and a stable checkpoint; whether that is new. What is proposed again later is recorded
    /// anew, since the journal lets go of what is older than its checkpoints need.
    pub fn note_persisted(&mut self, reference: BodyRef, since: (View, SequenceNumber)) -> bool {
        self.body_mut(reference).persisted.replace(since) != Some(since)
    }

    /// When it arrived.
    pub fn arrived_ns(&self, reference: BodyRef) -> u64 {
        self.body(reference).arrived_ns
    }

    /// The packet's size.
    pub fn packet_bytes(&self, reference: BodyRef) -> usize {
        self.body(reference).packet_bytes
    }

    fn body(&self, reference: BodyRef) -> &Body {
        let body = &self.classes[usize::from(reference.class)].bodies[reference.index as usize];
        assert!(body.references > 0, "a body is looked at only while it is referred to");
        body
    }

    fn body_mut(&mut self, reference: BodyRef) -> &mut Body {
        let body = &mut self.classes[usize::from(reference.class)].bodies[reference.index as usize];
        assert!(body.references > 0, "a body is counted only while it is referred to");
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::{ClientId, Incarnation, RequestNumber};

    fn name(number: u64) -> RequestName {
        RequestName { client: ClientId(0), incarnation: Incarnation(1), number: RequestNumber(number) }
    }

    /// `protocol.md CK-3`
    #[test]
    fn a_body_lives_until_its_last_reference_goes() {
        let mut bodies = Bodies::new(1 << 16, 1024);
        let packet: Vec<u8> = (0..200).map(|byte| byte as u8).collect();
        let first = bodies.store(&packet, 48..120, name(1), Digest([1; 32]), true, 0).unwrap();
        bodies.retain(first);
        bodies.release(first);
        assert_eq!(bodies.packet(first), packet);
        assert_eq!(bodies.message(first), &packet[48..120]);
        assert_eq!(bodies.name(first), name(1));
        bodies.release(first);
        // The slab is used again, and nothing of the first packet shows.
        let second = bodies.store(&packet[..150], 48..100, name(2), Digest([2; 32]), true, 0).unwrap();
        assert_eq!(second, first);
        assert_eq!(bodies.packet(second).len(), 150);
    }

    /// `protocol.md BP-3`
    #[test]
    fn the_bound_is_on_slabs_in_use() {
        let mut bodies = Bodies::new(1024, 128);
        let packet = [0; 400];
        let held: Vec<_> =
            (0..2).map(|n| bodies.store(&packet, 48..100, name(n), Digest::default(), true, 0).unwrap()).collect();
        assert!(bodies.store(&packet, 48..100, name(9), Digest::default(), true, 0).is_none());
        bodies.release(held[0]);
        assert!(bodies.store(&packet, 48..100, name(9), Digest::default(), true, 0).is_some());
    }

    /// A longer slab is lent to a shorter packet, and what is counted is the packet's own size.
    #[test]
    fn what_is_ready_serves_any_size() {
        let mut bodies = Bodies::new(1 << 16, 4096);
        let held: Vec<_> =
            (0..2).map(|n| bodies.store(&[7; 300], 48..100, name(n), Digest::default(), true, 0).unwrap()).collect();
        assert!(held.iter().all(|body| usize::from(body.class) == Bodies::class_of(4096)), "two were ready");
        assert_eq!(bodies.bytes_held, 2 * 512);
        let third = bodies.store(&[7; 300], 48..100, name(2), Digest::default(), true, 0).unwrap();
        assert_eq!(usize::from(third.class), Bodies::class_of(300));
        held.into_iter().chain([third]).for_each(|body| bodies.release(body));
        assert_eq!(bodies.bytes_held, 0);
    }

    #[test]
    #[should_panic(expected = "while it is referred to")]
    fn a_released_body_is_not_looked_at() {
        let mut bodies = Bodies::new(1 << 16, 1024);
        let body = bodies.store(&[0; 200], 48..120, name(1), Digest::default(), true, 0).unwrap();
        bodies.release(body);
        bodies.packet(body);
    }
}
