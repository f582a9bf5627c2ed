//! The tree's shape, which follows from its capacity alone: the depth, the place of every node, the digests of what is absent.

use super::digest::{node_digest, page_digest, root_digest};
use super::page::ZERO_PAGE;
use super::{FAN_OUT, PAGES_MAX};
use crate::limits::PAGES_FREE_MAX;
use logothete_crypto::Digest;
use logothete_transport::pages::PageStore;
use std::ops::Range;

/// Bits of a page's index that choose the child of one node.
const FAN_OUT_BITS: u32 = FAN_OUT.trailing_zeros();

/// What all trees of one capacity share, and the memory of one of them.
#[derive(Debug)]
pub(super) struct Shape {
    /// The capacity.
    pub(super) pages: u64,
    /// The level of the top node; its pages are at level 0.
    pub(super) depth: usize,
    /// The digest of an absent subtree, for each level up to the top.
    absent: Vec<Digest>,
    pub(super) memory: PageStore,
}

impl Shape {
    /// # Panics
    /// If there is no page, or more than [`PAGES_MAX`].
    pub(super) fn new(pages: u64) -> Self {
        assert!((1..=PAGES_MAX).contains(&pages), "a state of {pages} pages: 1 to {PAGES_MAX} are possible");
        let depth = (1..).find(|&level| Self::span(level) >= pages).expect("the levels go on");
        let mut absent = vec![page_digest(&ZERO_PAGE)];
        for level in 1..=depth {
            let children = [*absent.last().expect("the page's is there"); FAN_OUT];
            absent.push(node_digest(level, &children));
        }
        Self { pages, depth, absent, memory: PageStore::new(PAGES_FREE_MAX) }
    }

    /// How many pages are below a node of `level`.
    pub(super) const fn span(level: usize) -> u64 {
        1 << (FAN_OUT_BITS * level as u32)
    }

    /// Which child of the node of `level` above a page leads to it.
    pub(super) const fn place(page: u64, level: usize) -> usize {
        (page >> (FAN_OUT_BITS * (level as u32 - 1))) as usize % FAN_OUT
    }

    /// The pages below a node.
    pub(super) const fn pages_below(level: usize, index: u64) -> Range<u64> {
        index * Self::span(level)..(index + 1) * Self::span(level)
    }

    /// Whether there is a node (at level 0: a page) with this index.
    pub(super) fn contains(&self, level: usize, index: u64) -> bool {
        level <= self.depth && index < self.pages.div_ceil(Self::span(level))
    }

    /// The digest of a subtree without any page that is not zero.
    pub(super) fn absent(&self, level: usize) -> Digest {
        self.absent[level]
    }

    /// The digest of the whole, given that of the top node.
    pub(super) fn root(&self, top: &Digest) -> Digest {
        root_digest(self.depth, self.pages, top)
    }

    /// # Panics
    /// If the page is beyond the capacity: an index that was not checked.
    pub(super) fn assert_holds(&self, page: u64) {
        assert!(page < self.pages, "page {page} of a state of {} pages", self.pages);
    }
}

impl PartialEq for Shape {
    fn eq(&self, other: &Self) -> bool {
        self.pages == other.pages
    }
}
