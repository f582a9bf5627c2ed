//! Putting statements together from their parts (`protocol.md VC-2`).
//!
//! What one peer sends of one statement is kept apart from what the others send of it, so that a peer that sends wrong pieces spoils nobody's
//! but its own.

use crate::numbers::{ReplicaId, View};
use crate::wire::view_change::{Part, StatementKind};
use logothete_crypto::{Digest, digest};
use std::hash::{Hash, Hasher};

#[derive(Clone, Debug, Hash)]
struct Assembly {
    view: View,
    digest: Digest,
    bytes: Vec<u8>,
    missing: Vec<bool>,
    missing_count: usize,
}

/// The statements that are on their way.
#[derive(Clone, Debug)]
pub struct Parts {
    replicas: usize,
    piece_bytes: usize,
    /// By sender, kind and signer.
    assemblies: Vec<Option<Assembly>>,
}

impl Hash for Parts {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let begun = self.assemblies.iter().enumerate().filter_map(|(at, assembly)| Some((at, assembly.as_ref()?)));
        begun.for_each(|begun| begun.hash(state));
    }
}

impl Parts {
    /// Nothing yet, among so many replicas; pieces are of `piece_bytes` bytes.
    pub fn new(replicas: usize, piece_bytes: usize) -> Self {
        assert!(piece_bytes > 0);
        Self { replicas, piece_bytes, assemblies: vec![None; 2 * replicas * replicas] }
    }

    /// Cuts a statement into parts.
    pub fn cut<'a>(
        &self,
        statement: StatementKind,
        replica: ReplicaId,
        view: View,
        whole: Digest,
        bytes: &'a [u8],
    ) -> impl Iterator<Item = Part<'a>> + use<'a> {
        bytes.chunks(self.piece_bytes).enumerate().map(move |(index, piece)| Part {
            statement,
            replica,
            view,
            digest: whole,
            total_bytes: bytes.len(),
            index,
            bytes: piece,
        })
    }

    /// Takes a part; returns the whole when it was the last one missing. A part that fits nothing is ignored.
    pub fn take(&mut self, from: ReplicaId, part: &Part<'_>) -> Option<Vec<u8>> {
        let kind = usize::from(part.statement == StatementKind::NewView);
        let at = (usize::from(from.0) * 2 + kind) * self.replicas + usize::from(part.replica.0);
        let place = &mut self.assemblies[at];
        let pieces = part.total_bytes.div_ceil(self.piece_bytes);
        let start = part.index * self.piece_bytes;
        let expected = part.total_bytes.saturating_sub(start).min(self.piece_bytes);
        if part.index >= pieces || part.bytes.len() != expected {
            return None;
        }
        let same = |held: &Assembly| held.digest == part.digest && held.bytes.len() == part.total_bytes;
        // An older view's statement does not displace a newer one's.
        if place.as_ref().is_some_and(|held| !same(held) && held.view > part.view) {
            return None;
        }
        let assembly = match place {
            Some(held) if same(held) => held,
            _ => place.insert(Assembly {
                view: part.view,
                digest: part.digest,
                bytes: vec![0; part.total_bytes],
                missing: vec![true; pieces],
                missing_count: pieces,
            }),
        };
        if !std::mem::replace(&mut assembly.missing[part.index], false) {
            return None;
        }
        assembly.bytes[start..start + expected].copy_from_slice(part.bytes);
        assembly.missing_count -= 1;
        if assembly.missing_count > 0 {
            return None;
        }
        let whole = place.take().expect("it was just completed");
        (digest(&whole.bytes) == whole.digest).then_some(whole.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: ReplicaId = ReplicaId(1);

    fn statement(length: usize) -> (Vec<u8>, Digest) {
        let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
        let whole = digest(&bytes);
        (bytes, whole)
    }

    /// `protocol.md VC-2`
    #[test]
    fn parts_make_the_whole_in_any_order_and_once() {
        let mut parts = Parts::new(4, 10);
        for length in [1, 9, 10, 11, 95] {
            let (bytes, whole) = statement(length);
            let mut cut: Vec<_> = parts.cut(StatementKind::ViewChange, OWNER, View(2), whole, &bytes).collect();
            cut.reverse();
            let last = cut.pop().unwrap();
            for part in &cut {
                assert_eq!(parts.take(ReplicaId(3), part), None);
                assert_eq!(parts.take(ReplicaId(3), part), None, "again");
            }
            assert_eq!(parts.take(ReplicaId(3), &last), Some(bytes));
        }
    }

    /// `protocol.md VC-2`: a peer's wrong pieces spoil its own copy only, and a whole with another digest is nothing.
    #[test]
    fn wrong_pieces_spoil_nobody_elses() {
        let mut parts = Parts::new(4, 10);
        let (bytes, whole) = statement(25);
        let wrong = [0xff; 25];
        let (mut good, mut bad) = (None, None);
        let cut = parts.cut(StatementKind::NewView, OWNER, View(2), whole, &bytes);
        for (part, wrong) in cut.zip(wrong.chunks(10)) {
            bad = parts.take(ReplicaId(2), &Part { bytes: wrong, ..part });
            good = parts.take(ReplicaId(3), &part);
        }
        assert_eq!((good, bad), (Some(bytes), None));
    }

    /// `protocol.md VC-2`: what each sends of each signer's statement of each kind has a place of its own.
    #[test]
    fn nothing_on_its_way_is_displaced_by_another() {
        let mut parts = Parts::new(4, 10);
        let mut begun = Vec::new();
        for (from, signer) in (0..16).map(|pair| (ReplicaId(pair / 4), ReplicaId(pair % 4))) {
            for kind in [StatementKind::ViewChange, StatementKind::NewView] {
                let bytes = vec![begun.len() as u8; 15];
                let cut: Vec<_> = parts.cut(kind, signer, View(2), digest(&bytes), &bytes).collect();
                assert_eq!(parts.take(from, &cut[0]), None);
                begun.push((from, kind, signer, bytes));
            }
        }
        for (from, kind, signer, bytes) in begun {
            let last = parts.cut(kind, signer, View(2), digest(&bytes), &bytes).last().unwrap();
            assert_eq!(parts.take(from, &last).as_ref(), Some(&bytes));
        }
    }

    /// `protocol.md VC-2`: of two statements that one peer sends of one signer, the newer stays.
    #[test]
    fn an_older_views_statement_displaces_no_newer_ones() {
        let mut parts = Parts::new(4, 10);
        let from = ReplicaId(3);
        let (old, new) = (vec![1; 15], vec![2; 15]);
        let cut = Parts::new(4, 10);
        let mut take = |view, bytes: &Vec<u8>, index| {
            let mut cut = cut.cut(StatementKind::ViewChange, OWNER, View(view), digest(bytes), bytes);
            parts.take(from, &cut.nth(index).unwrap())
        };
        assert_eq!(take(3, &new, 0), None);
        assert_eq!((take(2, &old, 0), take(2, &old, 1)), (None, None), "the older is not begun");
        assert_eq!(take(3, &new, 1), Some(new.clone()));
        assert_eq!((take(2, &old, 0), take(3, &new, 0)), (None, None));
        assert_eq!(take(2, &old, 1), None, "the newer took its place");
        assert_eq!(take(3, &new, 1), Some(new.clone()));
        // Of one view the later comes to stand there: a signer that says two things of it is heard at least in one.
        assert_eq!((take(3, &old, 0), take(3, &new, 0), take(3, &new, 1)), (None, None, Some(new)));
    }

    /// `protocol.md RJ-1`
    #[test]
    fn parts_that_fit_nothing_are_ignored() {
        let mut parts = Parts::new(4, 10);
        let (bytes, whole) = statement(25);
        let part = parts.cut(StatementKind::NewView, OWNER, View(2), whole, &bytes).last().unwrap();
        for odd in [
            Part { index: 3, ..part },
            Part { index: usize::from(u16::MAX), ..part },
            Part { bytes: &bytes[..6], ..part },
            Part { total_bytes: 26, ..part },
            Part { total_bytes: 1, ..part },
        ] {
            assert_eq!(parts.take(ReplicaId(0), &odd), None);
        }
    }
}
