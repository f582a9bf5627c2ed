//! The nodes of the tree: what hangs below them, and the way to a page.

use super::FAN_OUT;
use super::page::Page;
use super::shape::Shape;
use logothete_crypto::Digest;
use std::sync::{Arc, OnceLock};

/// An inner node, with its digest once that was asked for.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) digest: OnceLock<Digest>,
    pub(super) children: Children,
}

/// What is below a node; `None` is a subtree of zeros.
#[derive(Clone, Debug)]
pub(super) enum Children {
    /// At level 1.
    Pages([Option<Arc<Page>>; FAN_OUT]),
    /// Above.
    Nodes([Option<Arc<Node>>; FAN_OUT]),
}

/// The way to a subtree.
pub(super) type Branch = Option<Arc<Node>>;

impl Node {
    pub(super) fn new(level: usize) -> Self {
        let none_below = || Children::Pages([const { None }; FAN_OUT]);
        let children = if level == 1 { none_below() } else { Children::Nodes([const { None }; FAN_OUT]) };
        Self { digest: OnceLock::new(), children }
    }

    pub(super) fn is_empty(&self) -> bool {
        match &self.children {
            Children::Pages(pages) => pages.iter().all(Option::is_none),
            Children::Nodes(nodes) => nodes.iter().all(Option::is_none),
        }
    }
}

impl Clone for Node {
    /// A copy that is about to change, hence without the digest.
    fn clone(&self) -> Self {
        Self { digest: OnceLock::new(), children: self.children.clone() }
    }
}

/// Finds a page below a branch of `level`.
pub(super) fn find(branch: &Branch, level: usize, page: u64) -> Option<&Page> {
    let (mut branch, mut level) = (branch, level);
    loop {
        let place = Shape::place(page, level);
        match &branch.as_deref()?.children {
            Children::Pages(pages) => return pages[place].as_deref(),
            Children::Nodes(nodes) => branch = &nodes[place],
        }
        level -= 1;
    }
}
