//! Request bodies: the clients' packets as they arrived, copied once from the receive frame, kept while a slot of the log or a client's
//! queue refers to them (`protocol.md CK-3`).
//!
//! Packets are kept whole, tags included, because whoever fetches one must check its own tag. They live in slabs by size, so that a long log
//! of short packets does not cost a full frame each. A slab that was used once is used again, also for a shorter packet when there is none of
//! its own size, and some of the largest size are made ready at start: so memory stays as it is while loads change, and in the steady
//! state nothing is allocated.
//!
//! A request longer than a packet is one body with many packets (`protocol.md LR-2`): its message in one piece, as the service wants it, and
//! behind it what the packets have around their pieces. Its memory is its own, and given back when more would be held than may be.
//!
//! ```text
//!  0                     total                       h: header and part header, v: the vector
//! +---------------------+------------+------------+---
//! | the request message | h0 | v0    | h1 | v1    | ...  one for each part
//! +---------------------+------------+------------+---
//! ```

mod large;

pub use large::{PartOutcome, PartShape, bodies_bytes_max};

use crate::limits::BODIES_BYTES_MAX;
use crate::numbers::{SequenceNumber, View};
use crate::wire::request::{REQUEST_OVERHEAD_BYTES, RequestName};
use large::Parts;
use logothete_crypto::Digest;
use std::ops::Range;

/// Slab sizes are powers of two, from 256 bytes to 64 KiB: at most half of one is waste.
const CLASS_SMALLEST_SHIFT: u32 = 8;
const CLASSES: usize = 9;
/// Behind the classes by size: bodies of many packets, each with memory of its own.
const LARGE: usize = CLASSES;

/// A body in the store. Copies do not count: the store's references do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BodyRef {
    class: u8,
    index: u32,
}

#[derive(Clone, Debug)]
struct Body {
    slab: Box<[u8]>,
    packet_bytes: usize,
    message: Range<usize>,
    name: Option<RequestName>,
    digest: Digest,
    authentic: bool,
    /// It came from its client itself.
    direct: bool,
    /// Some of it came by way of a replica.
    relayed: bool,
    /// Which of its packets has a wrong tag for this replica, though its client could have made a good one.
    spoilt: Option<usize>,
    /// What proves it beside a tag is good, or is not; `None` where nobody looked.
    proof: Option<bool>,
    arrived_ns: u64,
    /// It is in the journal since this view and stable checkpoint.
    persisted: Option<(View, SequenceNumber)>,
    references: u32,
    /// Of a body with many packets.
    parts: Option<Box<Parts>>,
}

#[derive(Clone, Debug, Default)]
struct Class {
    bodies: Vec<Body>,
    free: Vec<u32>,
}

/// The store.
#[derive(Clone, Debug)]
pub struct Bodies {
    classes: [Class; CLASSES + 1],
    shape: PartShape,
    bytes_held: usize,
    bytes_max: usize,
    /// Memory of large bodies that nobody refers to.
    bytes_idle: usize,
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
            relayed: false,
            spoilt: None,
            proof: None,
            arrived_ns: 0,
            persisted: None,
            references: 0,
            parts: None,
        }
    }
}

impl Body {
    /// Nothing is known yet of how it came, and what proves it.
    fn begin_unknown(&mut self) {
        (self.direct, self.relayed, self.spoilt, self.proof) = (false, false, None, None);
    }
}

impl Bodies {
    /// A store that holds at most so many bytes (`protocol.md BP-3`). An eighth of them, but of [`BODIES_BYTES_MAX`] at most, is made ready now,
    /// for packets of `packet_bytes` bytes. Longer requests are cut as `shape` says.
    pub fn new(bytes_max: usize, packet_bytes: usize, shape: PartShape) -> Self {
        let mut bodies = Self { classes: Default::default(), shape, bytes_held: 0, bytes_max, bytes_idle: 0 };
        let class = Self::class_of(packet_bytes);
        let ready = bytes_max.min(BODIES_BYTES_MAX) / 8 / Self::slab_bytes(class);
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
        body.begin_unknown();
        body.arrived_ns = now_ns;
        body.persisted = None;
        body.references = 1;
        self.bytes_held += counted;
        Some(BodyRef { class: class as u8, index })
    }

    /// The bytes of all bodies that are referred to.
    pub fn bytes_held(&self) -> usize {
        self.bytes_held
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
            let large = body.parts.is_some();
            let counted = if large { body.slab.len() } else { Self::slab_bytes(Self::class_of(body.packet_bytes)) };
            self.bytes_held -= counted;
            self.bytes_idle += if large { counted } else { 0 };
            self.classes[usize::from(reference.class)].free.push(reference.index);
        }
    }

    /// One of the client's packets, in pieces: there is one, or one for each part of a longer request.
    pub fn packet(&self, reference: BodyRef, packet: usize) -> [&[u8]; 3] {
        let body = self.body(reference);
        match &body.parts {
            None => [&body.slab[..body.packet_bytes], &[], &[]],
            Some(parts) => parts.packet(&body.slab, body.message.len(), packet, &self.shape),
        }
    }

    /// How many packets a body has: those of a longer request need not all be here.
    pub fn packet_count(&self, reference: BodyRef) -> usize {
        self.body(reference).parts.as_ref().map_or(1, |parts| parts.count())
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

    /// Notes that it came from its client itself, unless some of it did not.
    pub fn note_direct(&mut self, reference: BodyRef) {
        let body = self.body_mut(reference);
        body.direct = !body.relayed;
    }

    /// Whether it did.
    pub fn is_direct(&self, reference: BodyRef) -> bool {
        self.body(reference).direct
    }

    /// Notes that some of it came by way of a replica.
    pub fn note_relayed(&mut self, reference: BodyRef) {
        self.body_mut(reference).relayed = true;
    }

    /// Notes that one of its packets has a wrong tag for this replica, and that its client could have made a good one.
    pub fn note_spoilt(&mut self, reference: BodyRef, packet: usize) {
        self.body_mut(reference).spoilt.get_or_insert(packet);
    }

    /// Which of its packets, if any; the first that was noticed.
    pub fn spoilt(&self, reference: BodyRef) -> Option<usize> {
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

    /// The packet's size; of a longer request the memory that it takes.
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

    fn store(bytes_max: usize, packet_bytes: usize) -> Bodies {
        Bodies::new(bytes_max, packet_bytes, PartShape::of(1472, 4))
    }

    /// `protocol.md CK-3`
    #[test]
    fn a_body_lives_until_its_last_reference_goes() {
        let mut bodies = store(1 << 16, 1024);
        let packet: Vec<u8> = (0..200).map(|byte| byte as u8).collect();
        let first = bodies.store(&packet, 48..120, name(1), Digest([1; 32]), true, 0).unwrap();
        bodies.retain(first);
        bodies.release(first);
        assert_eq!(bodies.packet(first, 0).concat(), packet);
        assert_eq!(bodies.message(first), &packet[48..120]);
        assert_eq!(bodies.name(first), name(1));
        bodies.release(first);
        // The slab is used again, and nothing of the first packet shows.
        let second = bodies.store(&packet[..150], 48..100, name(2), Digest([2; 32]), true, 0).unwrap();
        assert_eq!(second, first);
        assert_eq!((bodies.packet(second, 0).concat().len(), bodies.packet_count(second)), (150, 1));
    }

    /// `protocol.md JR-6`: what is older than a checkpoint may be gone from the journal, so what is proposed again is recorded again.
    #[test]
    fn a_body_is_recorded_once_for_each_view_and_stable_checkpoint() {
        let mut bodies = Bodies::new(1 << 16, 1024, PartShape::of(1472, 4));
        let body = bodies.store(&[0; 200], 48..120, name(1), Digest([1; 32]), true, 0).unwrap();
        let note =
            |bodies: &mut Bodies, view, stable| bodies.note_persisted(body, (View(view), SequenceNumber(stable)));
        assert!(note(&mut bodies, 0, 8));
        assert!(!note(&mut bodies, 0, 8));
        assert!(note(&mut bodies, 1, 8));
        assert!(note(&mut bodies, 1, 16));
        assert!(!note(&mut bodies, 1, 16));
    }

    /// `protocol.md BP-3`
    #[test]
    fn the_bound_is_on_slabs_in_use() {
        let mut bodies = store(1024, 128);
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
        let mut bodies = store(1 << 16, 4096);
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
        let mut bodies = store(1 << 16, 1024);
        let body = bodies.store(&[0; 200], 48..120, name(1), Digest::default(), true, 0).unwrap();
        bodies.release(body);
        bodies.packet(body, 0);
    }
}
