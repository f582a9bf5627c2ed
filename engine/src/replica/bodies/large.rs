//! Bodies of many packets: requests longer than one, put together from their parts (`protocol.md LR-2`, `LR-3`).

use super::{Bodies, Body, BodyRef, Class, LARGE};
use crate::limits::{BODIES_BYTES_MAX, LARGE_BODY_STEP_BYTES};
use crate::wire::packet::{ENTRY_BYTES, HEADER_BYTES};
use crate::wire::parts::{REQUEST_PART_OVERHEAD_BYTES, request_piece_bytes};
use crate::wire::request::RequestName;
use logothete_crypto::digest;
use std::ops::Range;

/// The bytes of a part's packet before its piece.
const HEAD_BYTES: usize = HEADER_BYTES + REQUEST_PART_OVERHEAD_BYTES;

/// How requests longer than a packet are cut: the same in all of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartShape {
    /// The bytes of a piece, but for the last.
    pub piece_bytes: usize,
    /// The bytes of the vector of a packet to all replicas.
    pub vector_bytes: usize,
}

impl PartShape {
    /// Of a cluster with so many replicas and datagrams of that size.
    pub const fn of(datagram_bytes_max: usize, replicas: usize) -> Self {
        Self { piece_bytes: request_piece_bytes(datagram_bytes_max, replicas), vector_bytes: replicas * ENTRY_BYTES }
    }

    /// How many parts a message of so many bytes has.
    pub const fn count(&self, total_bytes: usize) -> usize {
        total_bytes.div_ceil(self.piece_bytes)
    }

    /// Where in a message of so many bytes a part's piece is; empty for a part that it does not have.
    pub fn piece(&self, total_bytes: usize, index: usize) -> Range<usize> {
        let start = index.saturating_mul(self.piece_bytes).min(total_bytes);
        start..total_bytes.min(start + self.piece_bytes)
    }

    /// The memory of a body whose message has so many bytes.
    pub const fn body_bytes(&self, total_bytes: usize) -> usize {
        let envelopes = self.count(total_bytes) * (HEAD_BYTES + self.vector_bytes);
        (total_bytes + envelopes).next_multiple_of(LARGE_BODY_STEP_BYTES)
    }
}

/// The most bytes of bodies that a replica keeps, with a window of `window` numbers and requests that take at most `body_bytes`: what waits has
/// its half of [`BODIES_BYTES_MAX`], and each of the log's numbers has room for one of the longest (`protocol.md BP-3`, `LR-3`).
pub const fn bodies_bytes_max(window: u64, body_bytes: usize) -> usize {
    let (half, longest) = (BODIES_BYTES_MAX / 2, 2 * window as usize * body_bytes);
    half + if longest > half { longest } else { half }
}

/// What is here of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PartState {
    Missing,
    /// Its packet's tag for this replica did not verify.
    Unproven,
    Authentic,
}

/// What is here of a body's parts.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    states: Vec<PartState>,
    missing: usize,
}

impl Parts {
    pub(super) fn count(&self) -> usize {
        self.states.len()
    }

    /// A part's packet, put together again.
    pub(super) fn packet<'a>(
        &self,
        slab: &'a [u8],
        total_bytes: usize,
        index: usize,
        shape: &PartShape,
    ) -> [&'a [u8]; 3] {
        assert!(self.states[index] != PartState::Missing, "only a part that is here is looked at");
        let (head, vector) = envelope(shape, total_bytes, index);
        [&slab[head], &slab[shape.piece(total_bytes, index)], &slab[vector]]
    }
}

/// Where a part's packet has what is before its piece, and what is behind it.
fn envelope(shape: &PartShape, total_bytes: usize, index: usize) -> (Range<usize>, Range<usize>) {
    let head = total_bytes + index * (HEAD_BYTES + shape.vector_bytes);
    let vector = head + HEAD_BYTES;
    (head..vector, vector..vector + shape.vector_bytes)
}

/// What became of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartOutcome {
    /// It is kept.
    Kept,
    /// It is here already.
    Known,
    /// It is none of this body's.
    Misfit,
}

impl Bodies {
    /// How longer requests are cut.
    pub fn shape(&self) -> &PartShape {
        &self.shape
    }

    /// Makes room for a body of which all parts are missing, with one reference; `None` where there is none.
    pub fn begin(
        &mut self,
        name: RequestName,
        whole: logothete_crypto::Digest,
        total_bytes: usize,
        now_ns: u64,
    ) -> Option<BodyRef> {
        let bytes = self.shape.body_bytes(total_bytes);
        if self.bytes_held + bytes > self.bytes_max {
            return None;
        }
        let index = self.take_large(bytes);
        let count = self.shape.count(total_bytes);
        let body = &mut self.classes[LARGE].bodies[index as usize];
        assert_eq!(body.references, 0, "free memory is referred to by nobody");
        self.bytes_held += body.slab.len();
        body.packet_bytes = body.slab.len();
        body.message = 0..total_bytes;
        body.name = Some(name);
        body.digest = whole;
        body.authentic = false;
        body.begin_unknown();
        body.arrived_ns = now_ns;
        body.persisted = None;
        body.references = 1;
        let parts = body.parts.get_or_insert_default();
        parts.states.clear();
        parts.states.resize(count, PartState::Missing);
        parts.missing = count;
        Some(BodyRef { class: LARGE as u8, index })
    }

    /// A free place with so much memory; what is idle and has another size is given back where it would be too much together.
    fn take_large(&mut self, bytes: usize) -> u32 {
        let Self { classes, bytes_held, bytes_max, bytes_idle, .. } = self;
        let Class { bodies, free } = &mut classes[LARGE];
        let same = free.iter().rposition(|at| bodies[*at as usize].slab.len() == bytes);
        if let Some(at) = same {
            *bytes_idle -= bytes;
            return free.swap_remove(at);
        }
        for at in free.iter() {
            if *bytes_held + *bytes_idle + bytes <= *bytes_max {
                break;
            }
            let slab = std::mem::take(&mut bodies[*at as usize].slab);
            *bytes_idle -= slab.len();
        }
        let empty = free.iter().rposition(|at| bodies[*at as usize].slab.is_empty());
        let index = empty.map_or_else(
            || {
                bodies.push(Body::with_slab(0));
                (bodies.len() - 1) as u32
            },
            |at| free.swap_remove(at),
        );
        // Zeros are pages that the kernel gives when they are first written: a length that is only claimed takes none.
        bodies[index as usize].slab = vec![0; bytes].into();
        index
    }

    /// Keeps a part's packet: one whose tag verified takes the place of one whose did not.
    pub fn put_part(
        &mut self,
        reference: BodyRef,
        index: usize,
        total_bytes: usize,
        packet: &[u8],
        authentic: bool,
    ) -> PartOutcome {
        let shape = self.shape;
        let body = self.body_mut(reference);
        let parts = body.parts.as_mut().expect("parts are of bodies that are put together from parts");
        let piece = shape.piece(total_bytes, index);
        let fits = total_bytes == body.message.len() && index < parts.count();
        if !fits || packet.len() != HEAD_BYTES + piece.len() + shape.vector_bytes {
            return PartOutcome::Misfit;
        }
        let state = if authentic { PartState::Authentic } else { PartState::Unproven };
        match parts.states[index] {
            PartState::Missing => parts.missing -= 1,
            PartState::Unproven if authentic => {}
            _ => return PartOutcome::Known,
        }
        parts.states[index] = state;
        let (head, vector) = envelope(&shape, total_bytes, index);
        let (before, rest) = packet.split_at(HEAD_BYTES);
        let (bytes, behind) = rest.split_at(piece.len());
        body.slab[head].copy_from_slice(before);
        body.slab[piece].copy_from_slice(bytes);
        body.slab[vector].copy_from_slice(behind);
        PartOutcome::Kept
    }

    /// How many parts of a body are missing.
    pub fn parts_missing(&self, reference: BodyRef) -> usize {
        self.body(reference).parts.as_ref().map_or(0, |parts| parts.missing)
    }

    /// Which parts of a body are missing.
    pub fn missing_parts(&self, reference: BodyRef) -> impl Iterator<Item = usize> + '_ {
        let states = self.body(reference).parts.as_ref().map_or(&[][..], |parts| &parts.states[..]);
        states.iter().enumerate().filter(|(_, state)| **state == PartState::Missing).map(|(index, _)| index)
    }

    /// Whether any part of a body came under a tag that verified.
    pub fn has_proven_part(&self, reference: BodyRef) -> bool {
        let parts = self.body(reference).parts.as_ref();
        parts.is_some_and(|parts| parts.states.contains(&PartState::Authentic))
    }

    /// How long the message of a body is.
    pub fn message_bytes(&self, reference: BodyRef) -> usize {
        self.body(reference).message.len()
    }

    /// All parts are here: whether they make the message that the digest names. It counts as arrived now; it is authentic if each of its
    /// packets was.
    pub fn finish(&mut self, reference: BodyRef, now_ns: u64) -> bool {
        let body = self.body_mut(reference);
        let parts = body.parts.as_ref().expect("only what is put together from parts is finished");
        assert_eq!(parts.missing, 0, "a body is finished when all its parts are here");
        body.authentic = parts.states.iter().all(|state| *state == PartState::Authentic);
        body.arrived_ns = now_ns;
        digest(&body.slab[body.message.clone()]) == body.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::{ClientId, Incarnation, RequestNumber};
    use logothete_crypto::Digest;

    const SHAPE: PartShape = PartShape { piece_bytes: 1000, vector_bytes: 80 };

    fn name(number: u64) -> RequestName {
        RequestName { client: ClientId(0), incarnation: Incarnation(1), number: RequestNumber(number) }
    }

    fn message(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| (at / 7) as u8).collect()
    }

    fn packets(message: &[u8]) -> Vec<Vec<u8>> {
        let pieces = message.chunks(SHAPE.piece_bytes).enumerate();
        pieces.map(|(index, piece)| [&[index as u8; HEAD_BYTES][..], piece, &[!(index as u8); 80]].concat()).collect()
    }

    /// `protocol.md LR-2`: in any order, each once, and each packet is had again as it was.
    #[test]
    fn parts_make_the_whole_and_are_kept_as_they_came() {
        for total in [1001, 2000, 2001, 9999] {
            let (message, mut bodies) = (message(total), Bodies::new(1 << 20, 1024, SHAPE));
            let packets = packets(&message);
            let body = bodies.begin(name(1), digest(&message), total, 5).unwrap();
            assert_eq!(bodies.packet_count(body), packets.len());
            for index in (0..packets.len()).rev() {
                assert!(bodies.missing_parts(body).eq(0..=index));
                assert_eq!(bodies.put_part(body, index, total, &packets[index], true), PartOutcome::Kept);
                assert_eq!(bodies.put_part(body, index, total, &packets[index], true), PartOutcome::Known);
            }
            assert!(bodies.finish(body, 9) && bodies.is_authentic(body));
            assert_eq!((bodies.message(body), bodies.arrived_ns(body)), (&message[..], 9));
            for (index, packet) in packets.iter().enumerate() {
                assert_eq!(bodies.packet(body, index).concat(), *packet);
            }
        }
    }

    /// `protocol.md LR-4`
    #[test]
    fn what_is_proven_takes_the_place_of_what_is_not() {
        let (message, mut bodies) = (message(1500), Bodies::new(1 << 20, 1024, SHAPE));
        let packets = packets(&message);
        let body = bodies.begin(name(1), digest(&message), 1500, 0).unwrap();
        let mut wrong = packets[0].clone();
        wrong[HEAD_BYTES + 3] ^= 1;
        assert_eq!(bodies.put_part(body, 0, 1500, &wrong, false), PartOutcome::Kept);
        assert_eq!(bodies.put_part(body, 1, 1500, &packets[1], true), PartOutcome::Kept);
        assert!(!bodies.finish(body, 0) && !bodies.is_authentic(body) && bodies.has_proven_part(body));
        assert_eq!(bodies.put_part(body, 0, 1500, &packets[0], true), PartOutcome::Kept);
        assert!(bodies.finish(body, 0) && bodies.is_authentic(body));
        assert_eq!(bodies.put_part(body, 0, 1500, &wrong, false), PartOutcome::Known);
        for (index, total, packet) in
            [(2, 1500, &packets[0]), (0, 1501, &packets[0]), (1, 1500, &packets[0]), (usize::MAX, 1500, &packets[0])]
        {
            assert_eq!(bodies.put_part(body, index, total, packet, true), PartOutcome::Misfit);
        }
    }

    /// `protocol.md LR-3`: what is held is bounded by what it takes, and what is idle never adds to that.
    #[test]
    fn large_bodies_are_bounded_with_what_is_kept_for_them() {
        let bytes_max = 10 * SHAPE.body_bytes(10_000);
        let mut bodies = Bodies::new(bytes_max, 128, SHAPE);
        for round in 0..20_usize {
            let total = 10_000 + round * 3000;
            let mut held = Vec::new();
            while let Some(body) = bodies.begin(name(1), Digest::ZERO, total, 0) {
                held.push(body);
            }
            assert_eq!(held.len(), bytes_max / SHAPE.body_bytes(total));
            let memory: usize = bodies.classes[LARGE].bodies.iter().map(|body| body.slab.len()).sum();
            assert!(memory <= bytes_max && memory == bodies.bytes_held + bodies.bytes_idle);
            held.into_iter().for_each(|body| bodies.release(body));
            assert_eq!(bodies.bytes_held, 0);
        }
    }
}
