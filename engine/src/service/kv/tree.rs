//! A digest tree over a fixed number of leaves that digests again only what changed.

use logothete_crypto::{Digest, DigestWriter};

/// A complete binary tree of digests, kept in one array: the root at 1, the children of `i` at `2i` and `2i + 1`, the
/// leaves in the second half.
#[derive(Debug)]
pub(super) struct DigestTree {
    nodes: Vec<Digest>,
    /// Leaves that changed since the root was last asked for, each once; `marked` says which are in here.
    changed: Vec<usize>,
    marked: Vec<bool>,
}

impl DigestTree {
    /// A tree over `leaves` equal leaves; a power of two.
    pub(super) fn new(leaves: usize, leaf: Digest) -> Self {
        assert!(leaves.is_power_of_two(), "a complete tree has a power of two of leaves, not {leaves}");
        let mut nodes = vec![leaf; 2 * leaves];
        let (mut level, mut same) = (leaves, leaf);
        while level > 1 {
            level /= 2;
            same = parent_digest(&same, &same);
            nodes[level..2 * level].fill(same);
        }
        Self { nodes, changed: Vec::with_capacity(leaves), marked: vec![false; leaves] }
    }

    /// Notes that a leaf may have changed.
    pub(super) fn mark(&mut self, leaf: usize) {
        if !self.marked[leaf] {
            self.marked[leaf] = true;
            self.changed.push(leaf);
        }
    }

    /// The digest of the whole, after `leaf_digest` was asked for each marked leaf.
    pub(super) fn root(&mut self, leaf_digest: impl Fn(usize) -> Digest) -> Digest {
        let leaves = self.marked.len();
        // In order, so that the two children of one parent are neighbours on every level.
        self.changed.sort_unstable();
        for changed in &mut self.changed {
            self.marked[*changed] = false;
            let node = leaves + *changed;
            self.nodes[node] = leaf_digest(*changed);
            *changed = node;
        }
        while self.changed.first().is_some_and(|&node| node > 1) {
            for node in &mut self.changed {
                *node /= 2;
            }
            self.changed.dedup();
            for &node in &self.changed {
                self.nodes[node] = parent_digest(&self.nodes[2 * node], &self.nodes[2 * node + 1]);
            }
        }
        self.changed.clear();
        self.nodes[1]
    }
}

fn parent_digest(left: &Digest, right: &Digest) -> Digest {
    let mut writer = DigestWriter::new("logothete kv node");
    writer.update(&left.0);
    writer.update(&right.0);
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_crypto::digest;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::cell::Cell;

    fn plain_root(leaves: &[Digest]) -> Digest {
        match leaves {
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len() / 2);
                parent_digest(&plain_root(left), &plain_root(right))
            }
        }
    }

    proptest! {
        #[test]
        fn equals_the_tree_computed_afresh(depth in 0_u32..5, rounds in vec(vec((any::<prop::sample::Index>(), any::<u8>()), 0..9), 1..6)) {
            let leaves = 1 << depth;
            let empty = digest(b"");
            let mut plain = vec![empty; leaves];
            let mut tree = DigestTree::new(leaves, empty);
            for round in rounds {
                for (leaf, content) in round {
                    let leaf = leaf.index(leaves);
                    plain[leaf] = digest(&[content]);
                    tree.mark(leaf);
                }
                prop_assert_eq!(tree.root(|leaf| plain[leaf]), plain_root(&plain));
            }
        }
    }

    #[test]
    fn asks_only_for_what_changed_and_once() {
        let mut tree = DigestTree::new(16, digest(b""));
        let asked = Cell::new(0);
        let leaf = |_| {
            asked.set(asked.get() + 1);
            digest(b"x")
        };
        for index in [3, 9, 3] {
            tree.mark(index);
        }
        let root = tree.root(leaf);
        assert_eq!(asked.get(), 2);
        assert_eq!(tree.root(leaf), root);
        assert_eq!(asked.get(), 2);
    }
}
