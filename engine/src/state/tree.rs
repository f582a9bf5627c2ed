//! The tree of the current pages: persistent, path-copying (Driscoll and others, "Making Data Structures Persistent", 1989).

use super::FAN_OUT;
use super::node::{Branch, Children, Node, find};
use super::page::{Page, PageBytes, ZERO_PAGE, pieces, read};
use super::shape::Shape;
use super::snapshot::{Snapshot, compute_pages};
use crate::limits::PAGES_FREE_MAX;
use logothete_crypto::Digest;
use std::ops::Range;
use std::sync::Arc;

/// The current pages. Absent ones read as zeros.
///
/// ```
/// use logothete_engine::state::State;
/// let mut state = State::new(1 << 20);
/// state.write(5000, b"agreed");
/// let before = state.snapshot();
/// state.write(5000, b"change");
/// assert_ne!(state.snapshot().digest(), before.digest());
/// state.restore(&before);
/// let mut bytes = [0; 6];
/// state.read(5000, &mut bytes);
/// assert_eq!(&bytes, b"agreed");
/// assert_eq!(state.snapshot().digest(), before.digest());
/// ```
#[derive(Debug)]
pub struct State {
    top: Branch,
    shape: Arc<Shape>,
}

impl State {
    /// A state of zeros with room for so many pages.
    ///
    /// # Panics
    /// If `pages` is 0 or more than [`super::PAGES_MAX`].
    pub fn new(pages: u64) -> Self {
        Self { top: None, shape: Arc::new(Shape::new(pages)) }
    }

    /// A state that begins as a snapshot, and shares its memory.
    pub fn of(snapshot: &Snapshot) -> Self {
        Self { top: snapshot.top.clone(), shape: Arc::clone(&snapshot.shape) }
    }

    /// The capacity in pages.
    pub fn pages(&self) -> u64 {
        self.shape.pages
    }

    /// Makes the memory present that writes take until what they replace is let go of, so that a process does not grow under load.
    pub fn make_ready(&self) {
        self.shape.memory.make_ready(PAGES_FREE_MAX);
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// How many levels of nodes are above the pages.
    pub fn depth(&self) -> usize {
        self.shape.depth
    }

    /// A page, of zeros where nothing was written.
    ///
    /// # Panics
    /// If the index is beyond the capacity, as in all that follow.
    pub fn page(&self, index: u64) -> &PageBytes {
        self.shape.assert_holds(index);
        find(&self.top, self.shape.depth, index).map_or(&ZERO_PAGE, Page::bytes)
    }

    /// A page to write to. What a snapshot has too is copied first, and digests on the way are forgotten (`protocol.md ST-1`).
    pub fn page_mut(&mut self, index: u64) -> &mut PageBytes {
        let Self { top, shape } = self;
        let page = slot_mut(top, shape, index).get_or_insert_with(|| Arc::new(Page::zero(&shape.memory)));
        Arc::make_mut(page).bytes_mut()
    }

    /// Puts a page whose digest was computed already.
    pub(super) fn put(&mut self, index: u64, bytes: &PageBytes, digest: Digest) {
        let page = self.page_replace(index, bytes);
        page.digest.set(digest).expect("what the digest was is forgotten");
    }

    /// Puts a whole page, of which the old bytes are not looked at.
    fn page_replace(&mut self, index: u64, bytes: &PageBytes) -> &Page {
        let Self { top, shape } = self;
        let slot = slot_mut(top, shape, index);
        match slot.as_mut().and_then(Arc::get_mut) {
            Some(page) => page.bytes_mut().copy_from_slice(bytes),
            None => *slot = Some(Arc::new(Page::new(bytes, &shape.memory))),
        }
        slot.as_deref().expect("it was put")
    }

    /// Reads bytes from an offset on, across pages.
    pub fn read(&self, offset: u64, out: &mut [u8]) {
        read(offset, out, |page| self.page(page));
    }

    /// Writes bytes from an offset on, across pages.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (page, within, part) in pieces(offset, bytes.len()) {
            let bytes = &bytes[part];
            match bytes.try_into() {
                Ok(whole) => _ = self.page_replace(page, whole),
                Err(_) => self.page_mut(page)[within..within + bytes.len()].copy_from_slice(bytes),
            }
        }
    }

    /// Makes pages absent: they read as zeros, and their memory is used again once no snapshot has it.
    pub fn clear(&mut self, pages: Range<u64>) {
        assert!(pages.end <= self.shape.pages, "pages up to {} of a state of {}", pages.end, self.shape.pages);
        clear_below(&mut self.top, self.shape.depth, 0, &pages);
    }

    /// Computes the digests of pages that were just written and are not to change soon, while the processor still has them at hand: a
    /// snapshot that is hashed later finds them.
    pub fn digest_ahead(&self, pages: Range<u64>) {
        let held: Vec<&Page> = pages.filter_map(|page| find(&self.top, self.shape.depth, page)).collect();
        compute_pages(&held);
    }

    /// The state as it is now. Costs the same whatever its size.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { top: self.top.clone(), shape: Arc::clone(&self.shape) }
    }

    /// Goes back to a snapshot.
    ///
    /// # Panics
    /// If the snapshot is of a state with another capacity.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        assert!(*self.shape == *snapshot.shape, "a snapshot of a state of another capacity");
        self.top = snapshot.top.clone();
        // One memory for what there is and what will be written.
        self.shape = Arc::clone(&snapshot.shape);
    }
}

/// Where a page hangs, on a path that is this tree's alone.
fn slot_mut<'a>(top: &'a mut Branch, shape: &Shape, index: u64) -> &'a mut Option<Arc<Page>> {
    shape.assert_holds(index);
    let (mut branch, mut level) = (top, shape.depth);
    loop {
        let node = Arc::make_mut(branch.get_or_insert_with(|| Arc::new(Node::new(level))));
        node.digest.take();
        let place = Shape::place(index, level);
        match &mut node.children {
            Children::Pages(pages) => return &mut pages[place],
            Children::Nodes(nodes) => branch = &mut nodes[place],
        }
        level -= 1;
    }
}

/// Makes absent what of `pages` is below the node of `level` with this index.
fn clear_below(branch: &mut Branch, level: usize, index: u64, pages: &Range<u64>) {
    let below = Shape::pages_below(level, index);
    if branch.is_none() || pages.end <= below.start || below.end <= pages.start {
        return;
    }
    if pages.start <= below.start && below.end <= pages.end {
        *branch = None;
        return;
    }
    let node = Arc::make_mut(branch.as_mut().expect("it was looked at"));
    node.digest.take();
    let first_child = index * FAN_OUT as u64;
    match &mut node.children {
        Children::Pages(slots) => {
            for (slot, page) in slots.iter_mut().zip(first_child..) {
                if pages.contains(&page) {
                    *slot = None;
                }
            }
        }
        Children::Nodes(nodes) => {
            for (node, child) in nodes.iter_mut().zip(first_child..) {
                clear_below(node, level - 1, child, pages);
            }
        }
    }
    if node.is_empty() {
        *branch = None;
    }
}
