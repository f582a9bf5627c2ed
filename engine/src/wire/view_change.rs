//! View changes and new views: signed statements, longer than a packet, which travel in parts (`protocol.md VC-2`, PBFT-02 section 4.4).
//!
//! ```text
//!  view change                                       new view
//!  +--------------------------------------+          +--------------------------------------+
//!  | view u64 | h u64 | epoch u64         |          | view u64 | b u64 | epoch u64         |
//!  | replica u8 | 0 | C u16 | P u16 | Q u16|          | replica u8 | 0 | V u16 | X u16 | 0   |
//!  +--------------------------------------+          | digest of b's state (32)             |
//!  | C x (s u64, digest)             set C |          +--------------------------------------+
//!  | P x (view u64, s u64, digest)   set P |          | V x (replica u8, zero (7), digest)   |
//!  | Q x (view u64, s u64, digest)   set Q |          | X x digest: of b+1, b+2, ...         |
//!  +--------------------------------------+          +--------------------------------------+
//!  | Ed25519 signature (64)                |          | Ed25519 signature (64)                |
//!  +--------------------------------------+          +--------------------------------------+
//! ```
//!
//! A statement's digest is over all of it, the signature included: a new view names view changes by it.

pub use super::agreement::null_batch;
use super::agreement::{CheckpointVote, Vote};
use super::framing::{self, Kind, MESSAGE_HEADER_BYTES, Malformed};
use super::packet::{Audience, body_bytes_max};
use crate::limits;
use crate::numbers::{ReplicaId, ReplicaSet, SequenceNumber, View};
use logothete_crypto::{Digest, SIGNATURE_BYTES};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What a signed statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum StatementKind {
    /// A replica leaves a view, and says what it did in it and before.
    ViewChange = 1,
    /// A new primary opens its view.
    NewView = 2,
}

impl StatementKind {
    /// The domain under which it is signed.
    pub const fn domain(self) -> &'static str {
        match self {
            Self::ViewChange => "logothete view change",
            Self::NewView => "logothete new view",
        }
    }
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ViewChangeLayout {
    view: U64,
    stable: U64,
    epoch: U64,
    replica: u8,
    reserved: u8,
    checkpoints: U16,
    prepared: U16,
    pre_prepared: U16,
}

/// ViewChange(v, h, C, P, Q, i).
#[derive(Clone, Copy, Debug)]
pub struct ViewChange<'a> {
    /// The view that the sender wants to enter.
    pub view: View,
    /// Its last stable checkpoint, which it holds.
    pub stable: SequenceNumber,
    /// Its epoch.
    pub epoch: u64,
    /// Who it is.
    pub replica: ReplicaId,
    /// The checkpoints that it holds, the stable one included, in ascending order.
    pub checkpoints: &'a [CheckpointVote],
    /// Set P: for each number above `stable` what prepared there last; ascending by number.
    pub prepared: &'a [Vote],
    /// Set Q: for each number and batch the last view in which it was pre-prepared; ascending by number.
    pub pre_prepared: &'a [Vote],
}

fn split_signature(statement: &[u8]) -> Result<(&[u8], &[u8; SIGNATURE_BYTES]), Malformed> {
    statement.split_last_chunk().ok_or(Malformed::Short)
}

impl<'a> ViewChange<'a> {
    /// Reads a statement: its content, the bytes under the signature, and the signature. Shape and order are checked; whether the numbers
    /// make sense is the replica's question.
    ///
    /// # Errors
    /// The bytes are no view change.
    pub fn decode(statement: &'a [u8]) -> Result<(Self, &'a [u8], &'a [u8; SIGNATURE_BYTES]), Malformed> {
        let (body, signature) = split_signature(statement)?;
        let (fields, rest) = ViewChangeLayout::ref_from_prefix(body).map_err(|_| Malformed::Short)?;
        if fields.reserved != 0 || usize::from(fields.replica) >= limits::REPLICAS_MAX {
            return Err(Malformed::Field);
        }
        let count = |count: &U16| usize::from(count.get());
        let (checkpoints, rest) = <[CheckpointVote]>::ref_from_prefix_with_elems(rest, count(&fields.checkpoints))
            .map_err(|_| Malformed::Length)?;
        let (prepared, rest) =
            <[Vote]>::ref_from_prefix_with_elems(rest, count(&fields.prepared)).map_err(|_| Malformed::Length)?;
        let pre_prepared =
            <[Vote]>::ref_from_bytes_with_elems(rest, count(&fields.pre_prepared)).map_err(|_| Malformed::Length)?;
        let ascending = checkpoints.is_sorted_by(|a, b| a.sequence() < b.sequence())
            && prepared.is_sorted_by(|a, b| a.sequence() < b.sequence())
            && pre_prepared.is_sorted_by(|a, b| (a.sequence(), a.digest) < (b.sequence(), b.digest));
        if !ascending {
            return Err(Malformed::Field);
        }
        let content = Self {
            view: View(fields.view.get()),
            stable: SequenceNumber(fields.stable.get()),
            epoch: fields.epoch.get(),
            replica: ReplicaId(fields.replica),
            checkpoints,
            prepared,
            pre_prepared,
        };
        Ok((content, body, signature))
    }

    /// The statement, signed by `sign`.
    pub fn encode(&self, sign: impl FnOnce(&[u8]) -> [u8; SIGNATURE_BYTES]) -> Vec<u8> {
        let fields = ViewChangeLayout {
            view: self.view.0.into(),
            stable: self.stable.0.into(),
            epoch: self.epoch.into(),
            replica: self.replica.0,
            reserved: 0,
            checkpoints: (self.checkpoints.len() as u16).into(),
            prepared: (self.prepared.len() as u16).into(),
            pre_prepared: (self.pre_prepared.len() as u16).into(),
        };
        let parts =
            [fields.as_bytes(), self.checkpoints.as_bytes(), self.prepared.as_bytes(), self.pre_prepared.as_bytes()];
        seal(&parts, sign)
    }
}

/// A view change that a new view is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Named {
    replica: u8,
    reserved: [u8; 7],
    /// The digest of its statement.
    pub digest: Digest,
}

impl Named {
    /// A replica's view change.
    pub fn new(replica: ReplicaId, digest: Digest) -> Self {
        Self { replica: replica.0, reserved: [0; 7], digest }
    }

    /// Whose it is.
    pub fn replica(&self) -> ReplicaId {
        ReplicaId(self.replica)
    }
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct NewViewLayout {
    view: U64,
    checkpoint: U64,
    epoch: U64,
    replica: u8,
    reserved: u8,
    named: U16,
    selection: U16,
    reserved_too: U16,
    digest: Digest,
}

/// NewView(v, V, X).
#[derive(Clone, Copy, Debug)]
pub struct NewView<'a> {
    /// The view that it opens.
    pub view: View,
    /// The new primary's epoch.
    pub epoch: u64,
    /// The new primary.
    pub replica: ReplicaId,
    /// The checkpoint from which the selection starts, and its digest.
    pub checkpoint: (SequenceNumber, Digest),
    /// The view changes that it is made of, ascending by replica.
    pub named: &'a [Named],
    /// The batches of the numbers that follow the checkpoint.
    pub selection: &'a [Digest],
}

impl<'a> NewView<'a> {
    /// Reads a statement, as [`ViewChange::decode`] does.
    ///
    /// # Errors
    /// The bytes are no new view.
    pub fn decode(statement: &'a [u8]) -> Result<(Self, &'a [u8], &'a [u8; SIGNATURE_BYTES]), Malformed> {
        let (body, signature) = split_signature(statement)?;
        let (fields, rest) = NewViewLayout::ref_from_prefix(body).map_err(|_| Malformed::Short)?;
        let reserved = fields.reserved == 0 && fields.reserved_too.get() == 0;
        if !reserved || usize::from(fields.replica) >= limits::REPLICAS_MAX {
            return Err(Malformed::Field);
        }
        let (named, rest) = <[Named]>::ref_from_prefix_with_elems(rest, usize::from(fields.named.get()))
            .map_err(|_| Malformed::Length)?;
        let selection = <[Digest]>::ref_from_bytes_with_elems(rest, usize::from(fields.selection.get()))
            .map_err(|_| Malformed::Length)?;
        let sound = named.is_sorted_by(|a, b| a.replica < b.replica)
            && named.iter().all(|named| named.reserved == [0; 7] && usize::from(named.replica) < limits::REPLICAS_MAX);
        if !sound {
            return Err(Malformed::Field);
        }
        let content = Self {
            view: View(fields.view.get()),
            epoch: fields.epoch.get(),
            replica: ReplicaId(fields.replica),
            checkpoint: (SequenceNumber(fields.checkpoint.get()), fields.digest),
            named,
            selection,
        };
        Ok((content, body, signature))
    }

    /// The statement, signed by `sign`.
    pub fn encode(&self, sign: impl FnOnce(&[u8]) -> [u8; SIGNATURE_BYTES]) -> Vec<u8> {
        let fields = NewViewLayout {
            view: self.view.0.into(),
            checkpoint: self.checkpoint.0.0.into(),
            epoch: self.epoch.into(),
            replica: self.replica.0,
            reserved: 0,
            named: (self.named.len() as u16).into(),
            selection: (self.selection.len() as u16).into(),
            reserved_too: 0.into(),
            digest: self.checkpoint.1,
        };
        seal(&[fields.as_bytes(), self.named.as_bytes(), self.selection.as_bytes()], sign)
    }
}

fn seal(parts: &[&[u8]], sign: impl FnOnce(&[u8]) -> [u8; SIGNATURE_BYTES]) -> Vec<u8> {
    let mut statement = parts.concat();
    let signature = sign(&statement);
    statement.extend_from_slice(&signature);
    statement
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct PartLayout {
    statement: u8,
    replica: u8,
    index: U16,
    total_bytes: U32,
    view: U64,
    digest: Digest,
}

/// The bytes of a part message before its piece of the statement.
pub const PART_OVERHEAD_BYTES: usize = MESSAGE_HEADER_BYTES + size_of::<PartLayout>();

/// How many bytes of a statement one packet to all other replicas carries.
pub const fn statement_piece_bytes(datagram_bytes_max: usize, replicas: usize) -> usize {
    let others = Audience::Replicas(ReplicaSet::first(replicas - 1));
    body_bytes_max(datagram_bytes_max, others) - PART_OVERHEAD_BYTES
}

/// A piece of a signed statement: pieces are of one size, which the cluster's datagrams give, the last apart.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// What the whole is.
    pub statement: StatementKind,
    /// Who signed it; whoever sends the part may be another.
    pub replica: ReplicaId,
    /// Of which view it is.
    pub view: View,
    /// The digest of the whole.
    pub digest: Digest,
    /// The size of the whole.
    pub total_bytes: usize,
    /// Which piece this is.
    pub index: usize,
    /// The piece.
    pub bytes: &'a [u8],
}

impl<'a> Part<'a> {
    pub(super) fn decode(layout: &'a [u8]) -> Result<Self, Malformed> {
        let (fields, bytes) = PartLayout::ref_from_prefix(layout).map_err(|_| Malformed::Short)?;
        let statement = match fields.statement {
            1 => StatementKind::ViewChange,
            2 => StatementKind::NewView,
            _ => return Err(Malformed::Field),
        };
        let total_bytes = fields.total_bytes.get() as usize;
        let sound = usize::from(fields.replica) < limits::REPLICAS_MAX
            && (1..=limits::STATEMENT_BYTES_MAX).contains(&total_bytes)
            && !bytes.is_empty();
        if !sound {
            return Err(Malformed::Field);
        }
        Ok(Self {
            statement,
            replica: ReplicaId(fields.replica),
            view: View(fields.view.get()),
            digest: fields.digest,
            total_bytes,
            index: usize::from(fields.index.get()),
            bytes,
        })
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        let fields = PartLayout {
            statement: self.statement as u8,
            replica: self.replica.0,
            index: (self.index as u16).into(),
            total_bytes: (self.total_bytes as u32).into(),
            view: self.view.0.into(),
            digest: self.digest,
        };
        framing::append(out, Kind::Part, &[fields.as_bytes(), self.bytes]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::Message;
    use super::*;
    use crate::numbers::Principal;
    use proptest::prelude::*;

    fn vote(view: u64, sequence: u64, tag: u8) -> Vote {
        Vote::new(View(view), SequenceNumber(sequence), Digest([tag; 32]))
    }

    #[test]
    fn statements_round_trip() {
        let checkpoints = [CheckpointVote::new(SequenceNumber(8), Digest([1; 32]))];
        let (prepared, pre_prepared) = ([vote(2, 9, 1), vote(1, 11, 2)], [vote(2, 9, 1), vote(1, 9, 3)]);
        let view_change = ViewChange {
            view: View(3),
            stable: SequenceNumber(8),
            epoch: 77,
            replica: ReplicaId(2),
            checkpoints: &checkpoints,
            prepared: &prepared,
            pre_prepared: &pre_prepared,
        };
        let statement = view_change.encode(|body| [body.len() as u8; SIGNATURE_BYTES]);
        let (decoded, body, signature) = ViewChange::decode(&statement).unwrap();
        assert_eq!(signature, &[body.len() as u8; SIGNATURE_BYTES]);
        assert_eq!(
            (decoded.view, decoded.stable, decoded.epoch, decoded.replica),
            (View(3), SequenceNumber(8), 77, ReplicaId(2))
        );
        assert_eq!(decoded.prepared.as_bytes(), prepared.as_bytes());
        assert_eq!(decoded.pre_prepared.as_bytes(), pre_prepared.as_bytes());

        let named = [Named::new(ReplicaId(0), Digest([4; 32])), Named::new(ReplicaId(2), Digest([5; 32]))];
        let selection = [Digest([6; 32]), null_batch()];
        let new_view = NewView {
            view: View(3),
            epoch: 1,
            replica: ReplicaId(3),
            checkpoint: (SequenceNumber(8), Digest([1; 32])),
            named: &named,
            selection: &selection,
        };
        let statement = new_view.encode(|_| [9; SIGNATURE_BYTES]);
        let (decoded, _, _) = NewView::decode(&statement).unwrap();
        assert_eq!(
            (decoded.checkpoint, decoded.named, decoded.selection),
            (new_view.checkpoint, &named[..], &selection[..])
        );
    }

    /// `protocol.md RJ-3`: one encoding; sets out of order, or with a number twice in P, are refused.
    #[test]
    fn sets_out_of_order_are_refused() {
        let encode = |prepared: &[Vote], pre_prepared: &[Vote]| {
            let content = ViewChange {
                view: View(3),
                stable: SequenceNumber(0),
                epoch: 0,
                replica: ReplicaId(0),
                checkpoints: &[],
                prepared,
                pre_prepared,
            };
            content.encode(|_| [0; SIGNATURE_BYTES])
        };
        assert!(ViewChange::decode(&encode(&[vote(1, 1, 1), vote(1, 2, 1)], &[])).is_ok());
        assert!(ViewChange::decode(&encode(&[vote(1, 2, 1), vote(1, 1, 1)], &[])).is_err());
        assert!(ViewChange::decode(&encode(&[vote(1, 1, 1), vote(2, 1, 2)], &[])).is_err());
        assert!(ViewChange::decode(&encode(&[], &[vote(1, 1, 1), vote(2, 1, 1)])).is_err());
    }

    proptest! {
        #[test]
        fn foreign_statements_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = ViewChange::decode(&bytes);
            let _ = NewView::decode(&bytes);
        }

        #[test]
        fn parts_round_trip(piece in proptest::collection::vec(any::<u8>(), 1..100), index: u16, view: u64) {
            let part = Part {
                statement: StatementKind::NewView,
                replica: ReplicaId(1),
                view: View(view),
                digest: Digest([3; 32]),
                total_bytes: 1000,
                index: usize::from(index),
                bytes: &piece,
            };
            let mut bytes = Vec::new();
            part.append(&mut bytes);
            let Message::Part(decoded) = Message::decode(&bytes, Principal::Replica(ReplicaId(0))).unwrap() else {
                panic!("another kind")
            };
            prop_assert_eq!((decoded.bytes, decoded.index, decoded.view), (&piece[..], usize::from(index), View(view)));
        }
    }
}
