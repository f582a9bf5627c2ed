//! The state as it was: immutable, shared between threads, named by its digest.

use super::FAN_OUT;
use super::digest::{BATCH, Children as ChildDigests, node_digests, page_digests};
use super::node::{Branch, Children, Node, find};
use super::page::{Page, PageBytes, ZERO_PAGE, read};
use super::shape::Shape;
use logothete_crypto::Digest;
use std::sync::{Arc, OnceLock};

/// The state as it was when [`super::State::snapshot`] was called. A copy is as cheap as a snapshot; what is dropped with the last copy is what
/// no other snapshot and no state has.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) top: Branch,
    pub(super) shape: Arc<Shape>,
}

impl Snapshot {
    /// The capacity in pages.
    pub fn pages(&self) -> u64 {
        self.shape.pages
    }

    /// How many levels of nodes are above the pages.
    pub fn depth(&self) -> usize {
        self.shape.depth
    }

    /// A page, of zeros where nothing was written.
    ///
    /// # Panics
    /// If the index is beyond the capacity.
    pub fn page(&self, index: u64) -> &PageBytes {
        self.shape.assert_holds(index);
        find(&self.top, self.shape.depth, index).map_or(&ZERO_PAGE, Page::bytes)
    }

    /// Reads bytes from an offset on, across pages.
    ///
    /// # Panics
    /// If it goes beyond the capacity.
    pub fn read(&self, offset: u64, out: &mut [u8]) {
        read(offset, out, |page| self.page(page));
    }

    /// The digest of the whole, if all that it needs was computed already.
    pub fn digest_known(&self) -> Option<Digest> {
        self.digest_of_branch(&self.top, self.shape.depth).map(|top| self.shape.root(&top))
    }

    /// Computes digests that are lacking, of at most `pages_max` pages and nodes (at least one), side by side in SIMD lanes; the root
    /// digest when none is lacking any more (`protocol.md ST-3`). Any number of threads and copies may do it: what one computed, all have.
    pub fn digest_step(&self, pages_max: usize) -> Option<Digest> {
        if let Some(top) = &self.top {
            let mut lacking = Lacking::new(self.shape.depth, pages_max.max(1));
            lacking.collect(top, self.shape.depth);
            lacking.compute(self);
        }
        self.digest_known()
    }

    /// The digest of the whole; whatever is lacking is computed.
    pub fn digest(&self) -> Digest {
        loop {
            if let Some(digest) = self.digest_step(64 * BATCH) {
                return digest;
            }
        }
    }

    /// The digests of a node's children, if there is such a node: levels go from 1, just above the pages, to [`Snapshot::depth`]. An
    /// absent node's children are zeros.
    ///
    /// # Panics
    /// If the digest of the snapshot was not computed yet.
    pub fn node(&self, level: usize, index: u64) -> Option<[Digest; FAN_OUT]> {
        if level == 0 || !self.shape.contains(level, index) {
            return None;
        }
        let node = self.find_node(level, index);
        Some(node.map_or([self.shape.absent(level - 1); FAN_OUT], |node| self.child_digests(node, level)))
    }

    fn find_node(&self, level: usize, index: u64) -> Option<&Node> {
        let first_page = Shape::pages_below(level, index).start;
        let mut node = self.top.as_deref()?;
        for above in (level + 1..=self.shape.depth).rev() {
            let Children::Nodes(nodes) = &node.children else { unreachable!("pages hang on level 1 only") };
            node = nodes[Shape::place(first_page, above)].as_deref()?;
        }
        Some(node)
    }

    fn digest_of_branch(&self, branch: &Branch, level: usize) -> Option<Digest> {
        match branch {
            Some(node) => node.digest.get().copied(),
            None => Some(self.shape.absent(level)),
        }
    }

    /// The digests of the children of a node, all of which are there.
    fn child_digests(&self, node: &Node, level: usize) -> ChildDigests {
        let absent = self.shape.absent(level - 1);
        match &node.children {
            Children::Pages(pages) => {
                pages.each_ref().map(|page| page.as_ref().map_or(absent, |page| known(&page.digest)))
            }
            Children::Nodes(nodes) => {
                nodes.each_ref().map(|node| node.as_ref().map_or(absent, |node| known(&node.digest)))
            }
        }
    }

    /// Calls `visit` for each page whose bytes differ from an older snapshot's, in ascending order; with `None` for one that is absent now.
    /// What the two share is passed over without a look at it.
    ///
    /// # Panics
    /// If the other is of a state with another capacity.
    pub fn changed_since(&self, older: &Snapshot, mut visit: impl FnMut(u64, Option<&PageBytes>)) {
        assert!(*self.shape == *older.shape, "a snapshot of a state of another capacity");
        compare(self.top.as_ref(), older.top.as_ref(), self.shape.depth, 0, &mut visit);
    }
}

/// Two subtrees that differ, or may.
fn compare(
    new: Option<&Arc<Node>>,
    old: Option<&Arc<Node>>,
    level: usize,
    index: u64,
    visit: &mut impl FnMut(u64, Option<&PageBytes>),
) {
    if is_same(new, old, |node| node.digest.get()) {
        return;
    }
    for (place, child) in (0..FAN_OUT).zip(index * FAN_OUT as u64..) {
        if level > 1 {
            compare(node_below(new, place), node_below(old, place), level - 1, child, visit);
            continue;
        }
        let (new, old) = (page_below(new, place), page_below(old, place));
        if !is_same(new, old, |page| page.digest.get()) && page_bytes(new) != page_bytes(old) {
            visit(child, new.map(|page| page.bytes()));
        }
    }
}

/// Whether two subtrees are known to be the same without a look at them: one memory, or one digest.
fn is_same<T>(new: Option<&Arc<T>>, old: Option<&Arc<T>>, digest: impl Fn(&T) -> Option<&Digest>) -> bool {
    match (new, old) {
        (None, None) => true,
        (Some(new), Some(old)) => {
            Arc::ptr_eq(new, old) || digest(new).is_some_and(|computed| Some(computed) == digest(old))
        }
        _ => false,
    }
}

fn page_bytes(page: Option<&Arc<Page>>) -> &PageBytes {
    page.map_or(&ZERO_PAGE, |page| page.bytes())
}

fn node_below(node: Option<&Arc<Node>>, place: usize) -> Option<&Arc<Node>> {
    match &node?.children {
        Children::Nodes(nodes) => nodes[place].as_ref(),
        Children::Pages(_) => unreachable!("pages hang on level 1 only"),
    }
}

fn page_below(node: Option<&Arc<Node>>, place: usize) -> Option<&Arc<Page>> {
    match &node?.children {
        Children::Pages(pages) => pages[place].as_ref(),
        Children::Nodes(_) => unreachable!("nodes hang above level 1 only"),
    }
}

fn known(digest: &OnceLock<Digest>) -> Digest {
    *digest.get().expect("the digests below are computed first")
}

/// What one step computes: pages, and the nodes all of whose children then have digests, by level.
struct Lacking<'a> {
    pages: Vec<&'a Page>,
    nodes: Vec<Vec<&'a Node>>,
    room: usize,
}

impl<'a> Lacking<'a> {
    fn new(depth: usize, room: usize) -> Self {
        Self { pages: Vec::with_capacity(room.min(64 * BATCH)), nodes: vec![Vec::new(); depth + 1], room }
    }

    /// Looks below a node, the leftmost first; whether it has its digest after this step. A node is taken when its children are, so each
    /// step takes something, and the next one finds its way past what is done in a look at each child on one path.
    fn collect(&mut self, node: &'a Node, level: usize) -> bool {
        if node.digest.get().is_some() {
            return true;
        }
        if self.room == 0 {
            return false;
        }
        let complete = match &node.children {
            Children::Pages(pages) => pages.iter().flatten().all(|page| self.take_page(page)),
            Children::Nodes(nodes) => nodes.iter().flatten().all(|node| self.collect(node, level - 1)),
        };
        // The nodes above the last page of a step are taken without room: they are no more than the levels.
        if complete {
            self.room = self.room.saturating_sub(1);
            self.nodes[level].push(node);
        }
        complete
    }

    fn take_page(&mut self, page: &'a Page) -> bool {
        if page.digest.get().is_some() {
            return true;
        }
        if self.room == 0 {
            return false;
        }
        self.room -= 1;
        self.pages.push(page);
        true
    }

    /// Pages first, then level by level: each level's inputs are the digests of the one below.
    fn compute(self, snapshot: &Snapshot) {
        compute_pages(&self.pages);
        let mut digests = [Digest::ZERO; BATCH];
        for (level, nodes) in self.nodes.iter().enumerate() {
            for batch in nodes.chunks(BATCH) {
                let mut children = [[Digest::ZERO; FAN_OUT]; BATCH];
                for (children, node) in children.iter_mut().zip(batch) {
                    *children = snapshot.child_digests(node, level);
                }
                node_digests(level, &children[..batch.len()], &mut digests[..batch.len()]);
                for (node, digest) in batch.iter().zip(&digests) {
                    keep(&node.digest, digest);
                }
            }
        }
    }
}

/// Computes the digests of pages.
pub(super) fn compute_pages(pages: &[&Page]) {
    let mut digests = [Digest::ZERO; BATCH];
    for batch in pages.chunks(BATCH) {
        let mut bytes = [&ZERO_PAGE; BATCH];
        for (bytes, page) in bytes.iter_mut().zip(batch) {
            *bytes = page.bytes();
        }
        page_digests(&bytes[..batch.len()], &mut digests[..batch.len()]);
        for (page, digest) in batch.iter().zip(&digests) {
            keep(&page.digest, digest);
        }
    }
}

/// Two threads may compute one digest: they computed the same.
fn keep(place: &OnceLock<Digest>, digest: &Digest) {
    assert_eq!(place.get_or_init(|| *digest), digest, "one subtree has one digest");
}
