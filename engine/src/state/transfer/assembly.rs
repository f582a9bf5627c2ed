//! A page on its way: its pieces, and who sent them.

use crate::numbers::{ReplicaId, ReplicaSet};
use crate::state::{PAGE_BYTES, PageBytes};
use crate::wire::state::{Piece, UNIT_BYTES, UNITS};

/// A page of which some units are here. Nothing of it is checked before all are: only the whole page has a digest.
#[derive(Debug)]
pub(super) struct Assembly {
    bytes: PageBytes,
    /// A bit for each unit that is here.
    present: u64,
    /// Who sent something of it.
    senders: ReplicaSet,
}

impl Assembly {
    pub(super) fn new() -> Box<Self> {
        Box::new(Self { bytes: [0; PAGE_BYTES], present: 0, senders: ReplicaSet::EMPTY })
    }

    /// Adds a piece; whether it brought something.
    pub(super) fn add(&mut self, from: ReplicaId, piece: &Piece<'_>) -> bool {
        let units = (u64::MAX >> (UNITS - piece.bytes.len() / UNIT_BYTES)) << piece.first;
        if self.present & units == units {
            return false;
        }
        self.bytes[piece.first * UNIT_BYTES..][..piece.bytes.len()].copy_from_slice(piece.bytes);
        self.present |= units;
        self.senders.insert(from);
        true
    }

    /// The page, when all of it is here.
    pub(super) fn page(&self) -> Option<&PageBytes> {
        (self.present == u64::MAX).then_some(&self.bytes)
    }

    /// Whether nobody but this replica sent any of it, so that it answers for all of it.
    pub(super) fn is_only_from(&self, source: ReplicaId) -> bool {
        self.senders == ReplicaSet::only(source)
    }

    pub(super) fn has_from(&self, source: ReplicaId) -> bool {
        self.senders.contains(source)
    }

    /// From the first unit that is missing to the last: where, and how many.
    pub(super) fn missing(&self) -> (u8, u8) {
        let first = self.present.trailing_ones();
        let last = u64::BITS - self.present.leading_ones();
        (first as u8, last.saturating_sub(first) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(first: usize, bytes: &[u8]) -> Piece<'_> {
        Piece { index: 0, first, bytes }
    }

    #[test]
    fn pieces_come_together_in_any_order() {
        let mut assembly = Assembly::new();
        let bytes: PageBytes = std::array::from_fn(|at| (at / UNIT_BYTES) as u8);
        let (a, b) = (ReplicaId(1), ReplicaId(2));
        assert_eq!(assembly.missing(), (0, 64));
        assert!(assembly.add(a, &piece(60, &bytes[60 * UNIT_BYTES..])));
        assert_eq!(assembly.missing(), (0, 60));
        assert!(assembly.add(a, &piece(0, &bytes[..20 * UNIT_BYTES])));
        assert!(!assembly.add(a, &piece(3, &bytes[3 * UNIT_BYTES..9 * UNIT_BYTES])));
        assert_eq!(assembly.missing(), (20, 40));
        assert!(assembly.is_only_from(a) && assembly.page().is_none());
        // A piece that overlaps brings what is new in it.
        assert!(assembly.add(b, &piece(10, &bytes[10 * UNIT_BYTES..62 * UNIT_BYTES])));
        assert_eq!(assembly.page(), Some(&bytes));
        assert!(!assembly.is_only_from(a) && assembly.has_from(a) && assembly.has_from(b));
    }

    #[test]
    fn a_page_in_one_piece() {
        let mut assembly = Assembly::new();
        assert!(assembly.add(ReplicaId(0), &piece(0, &[3; PAGE_BYTES])));
        assert_eq!(assembly.page(), Some(&[3; PAGE_BYTES]));
        assert_eq!(assembly.missing().1, 0);
    }
}
