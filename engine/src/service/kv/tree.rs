//! A digest tree over a fixed number of leaves that digests again only what changed.

use logothete_crypto::{Digest, DigestWriter};
use zerocopy::IntoBytes;

/// The children of a node. Sixteen digests are half of a BLAKE3 chunk: few levels, and little to read for one change.
pub(super) const CHILDREN: usize = 16;

/// A complete tree of digests.
#[derive(Debug)]
pub(super) struct DigestTree {
    /// The leaves first, each level with a [`CHILDREN`]th of the one before, the root alone at last.
    levels: Vec<Vec<Digest>>,
    /// Leaves that changed since the root was last asked for, each once; `marked` says which are in here.
    changed: Vec<usize>,
    marked: Vec<bool>,
}

impl DigestTree {
    /// A tree over equal leaves, as many as fill `depth` levels below the root.
    pub(super) fn new(depth: u32, leaf: Digest) -> Self {
        let leaves = CHILDREN.pow(depth);
        let mut levels = vec![vec![leaf; leaves]];
        while let [first, _, ..] = levels[levels.len() - 1][..] {
            let above = levels[levels.len() - 1].len() / CHILDREN;
            levels.push(vec![parent_digest(&[first; CHILDREN]); above]);
        }
        Self { levels, changed: Vec::with_capacity(leaves), marked: vec![false; leaves] }
    }

    /// Notes that a leaf may have changed.
    pub(super) fn mark(&mut self, leaf: usize) {
        if !self.marked[leaf] {
            self.marked[leaf] = true;
            self.changed.push(leaf);
        }
    }

    /// The digest of the whole, after `leaf_digest` was asked for each marked leaf.
    pub(super) fn root(&mut self, mut leaf_digest: impl FnMut(usize) -> Digest) -> Digest {
        // In order, so that the children of one parent are neighbours on every level.
        self.changed.sort_unstable();
        for &leaf in &self.changed {
            self.marked[leaf] = false;
            self.levels[0][leaf] = leaf_digest(leaf);
        }
        for level in 1..self.levels.len() {
            for index in &mut self.changed {
                *index /= CHILDREN;
            }
            self.changed.dedup();
            let (below, above) = self.levels.split_at_mut(level);
            for &index in &self.changed {
                above[0][index] = parent_digest(&below[level - 1][CHILDREN * index..][..CHILDREN]);
            }
        }
        self.changed.clear();
        self.levels[self.levels.len() - 1][0]
    }
}

fn parent_digest(children: &[Digest]) -> Digest {
    let mut writer = DigestWriter::new("logothete kv node");
    writer.update(children.as_bytes());
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
                let children: Vec<Digest> = leaves.chunks(leaves.len() / CHILDREN).map(plain_root).collect();
                parent_digest(&children)
            }
        }
    }

    fn round() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
        vec((any::<prop::sample::Index>(), any::<u8>()), 0..9)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn equals_the_tree_computed_afresh(depth in 0_u32..4, rounds in vec(round(), 1..6)) {
            let empty = digest(b"");
            let mut plain = vec![empty; CHILDREN.pow(depth)];
            let mut tree = DigestTree::new(depth, empty);
            for round in rounds {
                for (leaf, content) in round {
                    let leaf = leaf.index(plain.len());
                    plain[leaf] = digest(&[content]);
                    tree.mark(leaf);
                }
                prop_assert_eq!(tree.root(|leaf| plain[leaf]), plain_root(&plain));
            }
        }
    }

    #[test]
    fn asks_only_for_what_changed_and_once() {
        let mut tree = DigestTree::new(2, digest(b""));
        let asked = Cell::new(0);
        let leaf = |_| {
            asked.set(asked.get() + 1);
            digest(b"x")
        };
        for index in [3, 99, 3] {
            tree.mark(index);
        }
        let root = tree.root(leaf);
        assert_eq!(asked.get(), 2);
        assert_eq!(tree.root(leaf), root);
        assert_eq!(asked.get(), 2);
    }
}
