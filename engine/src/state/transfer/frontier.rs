//! How far down the digest tree the transfer has come: the nodes that are open, and what is wanted below them.
//!
//! The way is depth first, so that the open nodes are few: about a path for each question under way.

use super::assembly::Assembly;
use crate::limits::STATE_NODES_KEPT_MAX;
use crate::numbers::ReplicaId;
use crate::state::digest::node_digest;
use crate::state::shape::Shape;
use crate::state::{FAN_OUT, Snapshot, State};
use logothete_crypto::Digest;
use std::collections::BTreeMap;

/// The place of a node, or at level 0 of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) level: usize,
    pub(super) index: u64,
}

impl Place {
    fn parent(self) -> Self {
        Self { level: self.level + 1, index: self.index / FAN_OUT as u64 }
    }

    fn child(self, place: usize) -> Self {
        Self { level: self.level - 1, index: self.index * FAN_OUT as u64 + place as u64 }
    }
}

/// A node or page to be asked for.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) place: Place,
    /// What it must have; of the top node the root's.
    pub(super) digest: Digest,
    /// What is here of a page.
    pub(super) assembly: Option<Box<Assembly>>,
    /// The page was wrong when several had sent pieces of it: the next one that is asked answers for all of it.
    pub(super) undivided: bool,
    /// Who was asked for it in vain.
    pub(super) last: Option<ReplicaId>,
}

/// A node whose children's digests are known, and not all of whose children are here.
#[derive(Debug)]
struct Open {
    digest: Digest,
    children: [Digest; FAN_OUT],
    /// A bit for each child that is not here.
    missing: u32,
}

/// What is to be fetched.
#[derive(Debug)]
pub(super) struct Frontier {
    open: BTreeMap<Place, Open>,
    wanted: Vec<Want>,
    /// Nodes that were open when the target moved; below most of them the new target is the same.
    kept: BTreeMap<Place, (Digest, [Digest; FAN_OUT])>,
    done: bool,
}

impl Frontier {
    pub(super) fn new() -> Self {
        Self { open: BTreeMap::new(), wanted: Vec::new(), kept: BTreeMap::new(), done: false }
    }

    /// Goes for a root digest, given what is here already: from the top, by way of what was known on the last way.
    pub(super) fn begin(&mut self, root: Digest, base: &Snapshot, state: &mut State) {
        self.wanted.clear();
        if self.kept.len() + self.open.len() > STATE_NODES_KEPT_MAX {
            self.kept.clear();
        }
        let open = std::mem::take(&mut self.open);
        self.kept.extend(open.into_iter().map(|(place, open)| (place, (open.digest, open.children))));
        self.done = base.digest() == root;
        if !self.done {
            self.want(Place { level: base.depth(), index: 0 }, root, base, state);
        }
    }

    /// Whether the top is here.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    pub(super) fn pop(&mut self) -> Option<Want> {
        self.wanted.pop()
    }

    pub(super) fn push(&mut self, want: Want) {
        self.wanted.push(want);
    }

    /// What is wanted and not asked for.
    pub(super) fn wanted_mut(&mut self) -> &mut [Want] {
        &mut self.wanted
    }

    fn want(&mut self, place: Place, digest: Digest, base: &Snapshot, state: &mut State) {
        match self.kept.remove(&place) {
            Some((known, children)) if known == digest => self.open(place, digest, children, base, state),
            _ => self.push(Want { place, digest, assembly: None, undivided: false, last: None }),
        }
    }

    /// Whether these are the children of a node with a digest, and lie where the state has room for any.
    pub(super) fn vouches(place: Place, digest: &Digest, children: &[Digest; FAN_OUT], shape: &Shape) -> bool {
        let computed = node_digest(place.level, children);
        let computed = if place.level == shape.depth { shape.root(&computed) } else { computed };
        let absent = shape.absent(place.level - 1);
        let exists = |at| {
            let child = place.child(at);
            shape.contains(child.level, child.index)
        };
        computed == *digest && children.iter().enumerate().all(|(at, child)| *child == absent || exists(at))
    }

    /// Takes a node that [`Frontier::vouches`] for: what differs below it from what is here is wanted, but for what is absent there.
    pub(super) fn open(
        &mut self,
        place: Place,
        digest: Digest,
        children: [Digest; FAN_OUT],
        base: &Snapshot,
        state: &mut State,
    ) {
        let here = base.node(place.level, place.index).expect("only nodes that exist are wanted");
        let absent = state.shape().absent(place.level - 1);
        let differs = |at: &usize| children[*at] != here[*at];
        let missing = (0..FAN_OUT).filter(differs).fold(0, |bits, at| bits | 1 << at);
        // Another digest than what is here has, so something below it differs.
        assert!(missing != 0, "a node of level {} that is here is wanted", place.level);
        self.open.insert(place, Open { digest, children, missing });
        // The last is wanted first, as what was pushed last is asked for first.
        for at in (0..FAN_OUT).filter(differs).rev() {
            let child = place.child(at);
            if children[at] == absent {
                let below = Shape::pages_below(child.level, child.index);
                state.clear(below.start..below.end.min(state.pages()));
                self.have(child, base.depth());
            } else {
                self.want(child, children[at], base, state);
            }
        }
    }

    /// A node or page is here, with everything below it.
    pub(super) fn have(&mut self, place: Place, depth: usize) {
        if place.level == depth {
            self.done = true;
            return;
        }
        let parent = place.parent();
        let open = self.open.get_mut(&parent).expect("what is below an open node is wanted");
        open.missing &= !(1 << (place.index % FAN_OUT as u64));
        if open.missing == 0 {
            self.open.remove(&parent);
            self.have(parent, depth);
        }
    }
}
