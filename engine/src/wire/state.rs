//! How a replica gets the state of a checkpoint (`protocol.md ST-4` to `ST-7`): it asks for digests of children and for pages, each by
//! its place; whatever answers is checked against digests that are known already.

use super::framing::{self, Kind, MESSAGE_HEADER_BYTES, Malformed};
use crate::limits::{FAN_OUT, PAGE_BYTES};
use crate::numbers::SequenceNumber;
use logothete_crypto::Digest;
use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Pieces of pages are counted in units of so many bytes, 64 a page, so that a word has a bit for each.
pub const UNIT_BYTES: usize = PAGE_BYTES / UNITS;
/// Units of a page.
pub const UNITS: usize = u64::BITS as usize;

/// A checkpoint: after which batch, and the digest of the state then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointName {
    /// The number of the last batch in it.
    pub sequence: SequenceNumber,
    /// The root digest of its pages.
    pub digest: Digest,
}

/// What each of the three messages begins with.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct NameLayout {
    sequence: U64,
    digest: Digest,
}

impl From<CheckpointName> for NameLayout {
    fn from(name: CheckpointName) -> Self {
        Self { sequence: name.sequence.0.into(), digest: name.digest }
    }
}

/// The bytes of each of the messages before its items, nodes or pieces.
pub const STATE_OVERHEAD_BYTES: usize = MESSAGE_HEADER_BYTES + size_of::<NameLayout>();

fn split_name(layout: &[u8]) -> Result<(CheckpointName, &[u8]), Malformed> {
    let (name, rest) = NameLayout::ref_from_prefix(layout).map_err(|_| Malformed::Short)?;
    Ok((CheckpointName { sequence: SequenceNumber(name.sequence.get()), digest: name.digest }, rest))
}

/// One thing that a query asks for: the digests of a node's children, or units of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct StateItem {
    index: U64,
    level: u8,
    first: u8,
    count: u8,
    reserved: u8,
}

/// The bytes of an item.
pub const ITEM_BYTES: usize = size_of::<StateItem>();

impl StateItem {
    /// A node: its level from 1 on, its index in the level.
    pub fn node(level: u8, index: u64) -> Self {
        Self { index: index.into(), level, first: 0, count: 0, reserved: 0 }
    }

    /// `count` units of a page from unit `first` on.
    pub fn page(index: u64, first: u8, count: u8) -> Self {
        Self { index: index.into(), level: 0, first, count, reserved: 0 }
    }

    /// 0 for a page.
    pub fn level(&self) -> usize {
        usize::from(self.level)
    }

    /// The index of the node or page in its level.
    pub fn index(&self) -> u64 {
        self.index.get()
    }

    /// Of a page: where the units begin, and how many they are.
    pub fn units(&self) -> (usize, usize) {
        (usize::from(self.first), usize::from(self.count))
    }

    fn is_sound(&self) -> bool {
        let units = if self.level == 0 {
            self.count > 0 && usize::from(self.first) + usize::from(self.count) <= UNITS
        } else {
            (self.first, self.count) == (0, 0)
        };
        units && self.reserved == 0
    }
}

/// StateQuery(s, d, items): what the sender lacks of a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct StateQuery<'a> {
    /// The checkpoint.
    pub checkpoint: CheckpointName,
    /// What is asked for, at least one thing.
    pub items: &'a [StateItem],
}

impl<'a> StateQuery<'a> {
    pub(super) fn decode(layout: &'a [u8]) -> Result<Self, Malformed> {
        let (checkpoint, rest) = split_name(layout)?;
        let items = <[StateItem]>::ref_from_bytes(rest).map_err(|_| Malformed::Length)?;
        let sound = !items.is_empty() && items.iter().all(StateItem::is_sound);
        if sound { Ok(Self { checkpoint, items }) } else { Err(Malformed::Field) }
    }
}

/// Appends a query.
pub fn append_query(out: &mut Vec<u8>, checkpoint: CheckpointName, items: &[StateItem]) {
    framing::append(out, Kind::StateQuery, &[NameLayout::from(checkpoint).as_bytes(), items.as_bytes()]);
}

/// A node of the digest tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct NodeRecord {
    index: U64,
    level: u8,
    reserved: [u8; 7],
    /// The digests of its children.
    pub children: [Digest; FAN_OUT],
}

/// The bytes of a node.
pub const NODE_BYTES: usize = size_of::<NodeRecord>();

impl NodeRecord {
    /// A node: its level from 1 on, its index in the level.
    pub fn new(level: u8, index: u64, children: [Digest; FAN_OUT]) -> Self {
        Self { index: index.into(), level, reserved: [0; 7], children }
    }

    /// Its level, from 1 on.
    pub fn level(&self) -> usize {
        usize::from(self.level)
    }

    /// Its index in the level.
    pub fn index(&self) -> u64 {
        self.index.get()
    }
}

/// StateNodes(s, d, nodes): nodes of a checkpoint's digest tree. Without nodes it is a refusal: the checkpoint asked for is not held, and this is
/// the newest stable one that is.
#[derive(Clone, Copy, Debug)]
pub struct StateNodes<'a> {
    /// The checkpoint.
    pub checkpoint: CheckpointName,
    /// The nodes.
    pub nodes: &'a [NodeRecord],
}

impl<'a> StateNodes<'a> {
    pub(super) fn decode(layout: &'a [u8]) -> Result<Self, Malformed> {
        let (checkpoint, rest) = split_name(layout)?;
        let nodes = <[NodeRecord]>::ref_from_bytes(rest).map_err(|_| Malformed::Length)?;
        let sound = nodes.iter().all(|node| node.level > 0 && node.reserved == [0; 7]);
        if sound { Ok(Self { checkpoint, nodes }) } else { Err(Malformed::Field) }
    }
}

/// Appends nodes.
pub fn append_nodes(out: &mut Vec<u8>, checkpoint: CheckpointName, nodes: &[NodeRecord]) {
    framing::append(out, Kind::StateNodes, &[NameLayout::from(checkpoint).as_bytes(), nodes.as_bytes()]);
}

/// Before each piece's bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct PieceLayout {
    index: U64,
    first: u8,
    count: u8,
    reserved: U16,
}

/// The bytes before each piece's own.
pub const PIECE_OVERHEAD_BYTES: usize = size_of::<PieceLayout>();

/// StatePages(s, d, pieces): pieces of pages of a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct StatePages<'a> {
    /// The checkpoint.
    pub checkpoint: CheckpointName,
    pieces: &'a [u8],
}

/// Some successive units of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The page.
    pub index: u64,
    /// The first unit.
    pub first: usize,
    /// A whole number of units, at least one, none of them beyond the page.
    pub bytes: &'a [u8],
}

impl<'a> StatePages<'a> {
    pub(super) fn decode(layout: &'a [u8]) -> Result<Self, Malformed> {
        let (checkpoint, pieces) = split_name(layout)?;
        // Every piece is looked at once here, so that iteration cannot fail later.
        let mut rest = pieces;
        while !rest.is_empty() {
            (_, rest) = split_piece(rest)?;
        }
        if pieces.is_empty() { Err(Malformed::Field) } else { Ok(Self { checkpoint, pieces }) }
    }

    /// The pieces in order.
    pub fn iter(&self) -> impl Iterator<Item = Piece<'a>> + use<'a> {
        let mut rest = self.pieces;
        std::iter::from_fn(move || {
            let (piece, after) = split_piece(rest).ok()?;
            rest = after;
            Some(piece)
        })
    }
}

fn split_piece(bytes: &[u8]) -> Result<(Piece<'_>, &[u8]), Malformed> {
    let (fields, rest) = PieceLayout::ref_from_prefix(bytes).map_err(|_| Malformed::Length)?;
    let (first, count) = (usize::from(fields.first), usize::from(fields.count));
    if count == 0 || first + count > UNITS || fields.reserved.get() != 0 {
        return Err(Malformed::Field);
    }
    let (bytes, rest) = rest.split_at_checked(count * UNIT_BYTES).ok_or(Malformed::Length)?;
    Ok((Piece { index: fields.index.get(), first, bytes }, rest))
}

/// Appends a piece to a buffer that [`append_pages`] will wrap: whole units of a page.
///
/// # Panics
/// If the bytes are no whole units, or go beyond the page.
pub fn append_piece(pieces: &mut Vec<u8>, index: u64, first: usize, bytes: &[u8]) {
    assert!(bytes.len().is_multiple_of(UNIT_BYTES) && first * UNIT_BYTES + bytes.len() <= PAGE_BYTES);
    let count = (bytes.len() / UNIT_BYTES) as u8;
    let fields = PieceLayout { index: index.into(), first: first as u8, count, reserved: 0.into() };
    pieces.extend_from_slice(fields.as_bytes());
    pieces.extend_from_slice(bytes);
}

/// Appends a message of pieces.
pub fn append_pages(out: &mut Vec<u8>, checkpoint: CheckpointName, pieces: &[u8]) {
    framing::append(out, Kind::StatePages, &[NameLayout::from(checkpoint).as_bytes(), pieces]);
}

#[cfg(test)]
mod tests {
    use super::super::message::Message;
    use super::*;
    use crate::numbers::{Principal, ReplicaId};
    use proptest::prelude::*;

    const NAME: CheckpointName = CheckpointName { sequence: SequenceNumber(128), digest: Digest([4; 32]) };

    fn decode(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
        Message::decode(bytes, Principal::Replica(ReplicaId(2)))
    }

    proptest! {
        #[test]
        fn queries_round_trip(places in proptest::collection::vec((any::<u64>(), 0..9u8, 0..64u8, 1..=64u8), 1..60)) {
            let items: Vec<_> = places.into_iter().map(|(index, level, first, count)| match level {
                0 => StateItem::page(index, first, count.min(64 - first)),
                _ => StateItem::node(level, index),
            }).collect();
            let mut bytes = Vec::new();
            append_query(&mut bytes, NAME, &items);
            prop_assert_eq!(bytes.len(), STATE_OVERHEAD_BYTES + items.len() * ITEM_BYTES);
            let Ok(Message::StateQuery(query)) = decode(&bytes) else { panic!("another kind") };
            prop_assert_eq!((query.checkpoint, query.items), (NAME, &items[..]));
        }

        #[test]
        fn pieces_round_trip(pieces in proptest::collection::vec((any::<u64>(), 0..64usize, 1..=64usize, any::<u8>()), 1..9)) {
            let pieces: Vec<_> = pieces.into_iter()
                .map(|(index, first, count, byte)| (index, first, vec![byte; count.min(64 - first) * UNIT_BYTES]))
                .collect();
            let (mut encoded, mut bytes) = (Vec::new(), Vec::new());
            for (index, first, piece) in &pieces {
                append_piece(&mut encoded, *index, *first, piece);
            }
            append_pages(&mut bytes, NAME, &encoded);
            let Ok(Message::StatePages(pages)) = decode(&bytes) else { panic!("another kind") };
            let again: Vec<_> = pages.iter().map(|piece| (piece.index, piece.first, piece.bytes.to_vec())).collect();
            prop_assert_eq!((again, pages.checkpoint), (pieces, NAME));
        }

        /// `protocol.md RJ-1`, `RJ-3`: what decodes has one encoding.
        #[test]
        fn foreign_bytes_never_panic(kind in 20..=22u8, layout in proptest::collection::vec(prop_oneof![4 => Just(0u8), 1 => any::<u8>()], 0..2300)) {
            let mut bytes = Vec::new();
            framing::append(&mut bytes, Kind::from_byte(kind).unwrap(), &[&layout]);
            let mut again = Vec::new();
            match decode(&bytes) {
                Ok(Message::StateQuery(query)) => append_query(&mut again, query.checkpoint, query.items),
                Ok(Message::StateNodes(nodes)) => append_nodes(&mut again, nodes.checkpoint, nodes.nodes),
                Ok(Message::StatePages(pages)) => {
                    let mut pieces = Vec::new();
                    for piece in pages.iter() {
                        append_piece(&mut pieces, piece.index, piece.first, piece.bytes);
                    }
                    append_pages(&mut again, pages.checkpoint, &pieces);
                }
                Ok(_) => panic!("another kind"),
                Err(_) => return Ok(()),
            }
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn nodes_round_trip() {
        let nodes =
            [NodeRecord::new(1, 7, [Digest([1; 32]); FAN_OUT]), NodeRecord::new(3, 0, [Digest([2; 32]); FAN_OUT])];
        for nodes in [&nodes[..], &[]] {
            let mut bytes = Vec::new();
            append_nodes(&mut bytes, NAME, nodes);
            let Ok(Message::StateNodes(decoded)) = decode(&bytes) else { panic!("another kind") };
            assert_eq!((decoded.checkpoint, decoded.nodes), (NAME, nodes));
        }
    }

    #[test]
    fn what_is_no_place_is_malformed() {
        let malformed = |item: StateItem| {
            let mut bytes = Vec::new();
            append_query(&mut bytes, NAME, &[item]);
            decode(&bytes).unwrap_err()
        };
        for item in
            [StateItem::page(0, 0, 0), StateItem::page(0, 60, 5), StateItem { first: 1, ..StateItem::node(1, 0) }]
        {
            assert_eq!(malformed(item), Malformed::Field);
        }
        let mut bytes = Vec::new();
        append_query(&mut bytes, NAME, &[]);
        assert_eq!(decode(&bytes).unwrap_err(), Malformed::Field);
        bytes.clear();
        append_pages(&mut bytes, NAME, &[]);
        assert_eq!(decode(&bytes).unwrap_err(), Malformed::Field);
        bytes.clear();
        append_nodes(&mut bytes, NAME, &[NodeRecord::new(0, 0, [Digest::ZERO; FAN_OUT])]);
        assert_eq!(decode(&bytes).unwrap_err(), Malformed::Field);
    }
}
