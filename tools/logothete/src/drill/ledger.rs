//! Whether all subscribers read the same order: one fingerprint a block of entries, whoever reads it first.
//!
//! Every reader of a drill tells its blocks in order: the subscriber that checks, the second one beside it, and those
//! that read everything again after a restart and at the end. The first to tell a block sets it, the others are compared
//! with it. A block covers position, time, session and bytes of its entries.

use super::entry::{fingerprint, fold};
use logothete_client::Entry;
use std::collections::VecDeque;
use std::ops::Range;

/// Entries of a block.
const BLOCK_ENTRIES: u64 = 256;

/// The fingerprint of some consecutive entries of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    index: u64,
    entries: u64,
    fingerprint: u64,
}

/// Cuts one reader's entries into blocks.
#[derive(Debug)]
pub struct BlockCutter {
    block: Block,
    /// A block that the reader entered in its middle is not compared.
    whole: bool,
}

impl BlockCutter {
    /// A reader that begins at position `from`.
    pub fn new(from: u64) -> Self {
        Self { block: Block::begin(from / BLOCK_ENTRIES), whole: from.is_multiple_of(BLOCK_ENTRIES) }
    }

    /// The next entry; returns the block that it completes.
    pub fn push(&mut self, entry: &Entry<'_>) -> Option<Block> {
        let head = fold(fold(entry.position.0, entry.timestamp_ns), entry.session);
        self.block.fingerprint = fold(self.block.fingerprint, fingerprint(head, entry.bytes));
        self.block.entries += 1;
        if !(entry.position.0 + 1).is_multiple_of(BLOCK_ENTRIES) {
            return None;
        }
        let next = Block::begin(self.block.index + 1);
        let done = std::mem::replace(&mut self.block, next);
        std::mem::replace(&mut self.whole, true).then_some(done)
    }

    /// The last block, as far as it was read; none if there is nothing of it.
    pub fn rest(&self) -> Option<Block> {
        (self.whole && self.block.entries > 0).then_some(self.block)
    }
}

impl Block {
    fn begin(index: u64) -> Self {
        Self { index, entries: 0, fingerprint: 0 }
    }
}

/// The blocks told so far, and where readers differ.
#[derive(Debug)]
pub struct Ledger {
    blocks_max: usize,
    first: u64,
    blocks: VecDeque<Block>,
    differences: u64,
    difference_first: Option<Range<u64>>,
}

impl Ledger {
    /// Nothing told yet. Of the last `entries` entries the blocks are kept, which should be as many as the cluster
    /// retains: nobody can read more again.
    pub fn keeping(entries: u64) -> Self {
        // Two more for the blocks at both ends.
        let blocks_max = (entries / BLOCK_ENTRIES) as usize + 2;
        Self { blocks_max, first: 0, blocks: VecDeque::new(), differences: 0, difference_first: None }
    }

    /// One reader tells of one block.
    pub fn tell(&mut self, block: Block) {
        let Some(place) = block.index.checked_sub(self.first) else {
            // No longer kept.
            return;
        };
        let Some(known) = self.blocks.get_mut(place as usize) else {
            self.append(block);
            return;
        };
        // Readers may stop at different places of the last block; only equal lengths can be compared.
        if known.entries == block.entries && known.fingerprint != block.fingerprint {
            self.differences += 1;
            let begin = block.index * BLOCK_ENTRIES;
            self.difference_first.get_or_insert(begin..begin + block.entries);
        }
        if known.entries < block.entries {
            *known = block;
        }
    }

    fn append(&mut self, block: Block) {
        if self.blocks.back().is_some_and(|last| last.index + 1 != block.index) {
            // A reader that begins beyond everything told: what lies between is told by nobody.
            self.blocks.clear();
        }
        if self.blocks.is_empty() {
            self.first = block.index;
        }
        if self.blocks.len() == self.blocks_max {
            self.blocks.pop_front();
            self.first += 1;
        }
        self.blocks.push_back(block);
    }

    /// What readers disagree about, in words; none if they agree.
    pub fn verdict(&self) -> Option<String> {
        let range = self.difference_first.as_ref()?;
        Some(format!(
            "subscribers read different orders: {} blocks differ, the first at positions {} to {}",
            self.differences,
            range.start,
            range.end - 1
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_client::Position;

    fn entry(position: u64, timestamp_ns: u64, session: u64, bytes: &[u8]) -> Entry<'_> {
        Entry { position: Position(position), timestamp_ns, session, bytes }
    }

    /// Reads positions `range`, with `changed` in the place of the entry there.
    fn read(ledger: &mut Ledger, range: Range<u64>, changed: Option<Entry<'_>>) {
        let mut cutter = BlockCutter::new(range.start);
        for position in range {
            let usual = entry(position, 7, 1, b"entry");
            let entry = changed.filter(|entry| entry.position.0 == position).unwrap_or(usual);
            if let Some(block) = cutter.push(&entry) {
                ledger.tell(block);
            }
        }
        if let Some(block) = cutter.rest() {
            ledger.tell(block);
        }
    }

    #[test]
    fn readers_of_one_order_agree_wherever_they_begin_and_end() {
        let mut ledger = Ledger::keeping(10_000);
        read(&mut ledger, 0..1000, None);
        read(&mut ledger, 0..1000, None);
        read(&mut ledger, 300..900, None);
        read(&mut ledger, 0..2000, None);
        read(&mut ledger, 256..1500, None);
        assert_eq!(ledger.verdict(), None);
        assert_eq!(ledger.blocks.len(), 8);
    }

    #[test]
    fn every_difference_is_found() {
        for other in [entry(600, 8, 1, b"entry"), entry(600, 7, 2, b"entry"), entry(600, 7, 1, b"other")] {
            let mut ledger = Ledger::keeping(10_000);
            read(&mut ledger, 0..1000, None);
            read(&mut ledger, 100..1000, Some(other));
            let verdict = ledger.verdict().expect("a difference");
            assert!(verdict.contains("1 blocks differ, the first at positions 512 to 767"), "{verdict}");
        }
        let mut ledger = Ledger::keeping(10_000);
        read(&mut ledger, 0..1000, None);
        read(&mut ledger, 0..1000, Some(entry(999, 7, 1, b"other")));
        assert!(ledger.verdict().expect("the last block counts").contains("positions 768 to 999"));
    }

    #[test]
    fn memory_is_bounded() {
        let mut ledger = Ledger::keeping(98 * BLOCK_ENTRIES);
        for index in 0..110 {
            ledger.tell(Block { index, entries: BLOCK_ENTRIES, fingerprint: index });
        }
        assert_eq!((ledger.blocks.len(), ledger.first), (100, 10));
        ledger.tell(Block { index: 3, entries: BLOCK_ENTRIES, fingerprint: 0 });
        assert_eq!(ledger.verdict(), None, "what is no longer kept is not compared");
        ledger.tell(Block { index: 10, entries: BLOCK_ENTRIES, fingerprint: 0 });
        assert!(ledger.verdict().is_some());
    }
}
