//! Signed statements as they are seen on the network: put together from their parts, whoever sent those, and found again by their digest.

use logothete_crypto::{Digest, digest};
use logothete_engine::numbers::{ReplicaId, View};
use logothete_engine::wire::view_change::{NewView, Part, StatementKind, ViewChange};
use std::collections::BTreeMap;

/// A statement that was seen whole.
#[derive(Clone, Debug)]
pub struct Seen {
    pub kind: StatementKind,
    pub view: View,
    pub replica: ReplicaId,
    pub bytes: Vec<u8>,
}

impl Seen {
    pub fn view_change(&self) -> Option<ViewChange<'_>> {
        let whole = Some(&self.bytes).filter(|_| self.kind == StatementKind::ViewChange)?;
        ViewChange::decode(whole).ok().map(|(content, ..)| content)
    }

    pub fn new_view(&self) -> Option<NewView<'_>> {
        let whole = Some(&self.bytes).filter(|_| self.kind == StatementKind::NewView)?;
        NewView::decode(whole).ok().map(|(content, ..)| content)
    }
}

/// All statements seen so far.
#[derive(Debug, Default)]
pub struct Statements {
    pieces: BTreeMap<Digest, BTreeMap<usize, Vec<u8>>>,
    whole: BTreeMap<Digest, Seen>,
}

impl Statements {
    /// Takes a part. `true` when the statement became whole by it.
    pub fn take(&mut self, part: &Part<'_>) -> bool {
        if self.whole.contains_key(&part.digest) {
            return false;
        }
        let pieces = self.pieces.entry(part.digest).or_default();
        pieces.insert(part.index, part.bytes.to_vec());
        let bytes: Vec<u8> = pieces.values().flatten().copied().collect();
        if bytes.len() != part.total_bytes || digest(&bytes) != part.digest {
            return false;
        }
        self.pieces.remove(&part.digest);
        let mut seen = Seen { kind: part.statement, view: part.view, replica: part.replica, bytes };
        // What the statement says of itself counts, where it says anything.
        let said = match part.statement {
            StatementKind::ViewChange => seen.view_change().map(|content| (content.view, content.replica)),
            StatementKind::NewView => seen.new_view().map(|content| (content.view, content.replica)),
        };
        (seen.view, seen.replica) = said.unwrap_or((seen.view, seen.replica));
        self.whole.insert(part.digest, seen);
        true
    }

    pub fn get(&self, digest: &Digest) -> Option<&Seen> {
        self.whole.get(digest)
    }
}
