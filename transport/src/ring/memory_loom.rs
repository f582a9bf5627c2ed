//! The memory under a ring when interleavings are explored: loom's atomics, and cells that report every data race.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;

use super::assert_capacity;

/// One end's view of a ring's memory, with the interface of the real one.
#[derive(Clone)]
pub(super) struct Memory {
    shared: Arc<Shared>,
}

struct Shared {
    tail: AtomicU64,
    head: AtomicU64,
    data: Vec<UnsafeCell<u8>>,
}

// SAFETY: the cells are guarded by the ring's indices, which is what loom is here to check.
unsafe impl Sync for Shared {}
// SAFETY: as above; the values themselves are plain bytes.
unsafe impl Send for Shared {}

impl Memory {
    pub(super) fn new(capacity_bytes: usize) -> Memory {
        assert_capacity(capacity_bytes);
        let data = (0..capacity_bytes).map(|_| UnsafeCell::new(0)).collect();
        Memory { shared: Arc::new(Shared { tail: AtomicU64::new(0), head: AtomicU64::new(0), data }) }
    }

    pub(super) fn capacity_bytes(&self) -> usize {
        self.shared.data.len()
    }

    pub(super) fn tail(&self) -> &AtomicU64 {
        &self.shared.tail
    }

    pub(super) fn head(&self) -> &AtomicU64 {
        &self.shared.head
    }

    pub(super) fn write(&self, position: u64, bytes: &[u8]) {
        for (index, byte) in bytes.iter().enumerate() {
            self.cell(position, index).with_mut(|cell| {
                // SAFETY: loom stops the test at any access that is not ordered after all conflicting ones.
                unsafe { *cell = *byte }
            });
        }
    }

    pub(super) fn read(&self, position: u64, bytes: &mut [u8]) {
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = self.cell(position, index).with(|cell| {
                // SAFETY: as in `write`.
                unsafe { *cell }
            });
        }
    }

    pub(super) fn write_word(&self, position: u64, word: u64) {
        self.write(position, &word.to_ne_bytes());
    }

    pub(super) fn read_word(&self, position: u64) -> u64 {
        let mut bytes = [0; 8];
        self.read(position, &mut bytes);
        u64::from_ne_bytes(bytes)
    }

    fn cell(&self, position: u64, index: usize) -> &UnsafeCell<u8> {
        &self.shared.data[(position as usize + index) & (self.capacity_bytes() - 1)]
    }
}
