//! Appending to the journal and polling it must not allocate: the orderer does both in every duty cycle.

use logothete_crypto::Digest;
use logothete_engine::journal::{Journal, JournalConfig, JournalMode, Mark, Record};
use logothete_engine::numbers::{ReplicaId, SequenceNumber, View};
use logothete_transport::storage::StorageChoice;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Allocations of this thread; the harness, and the threads that make segments, allocate on others.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting.
struct Counting;

// SAFETY: every method does what the system's allocator does, with the same arguments. The counter is a
// constant-initialised `Cell` without destructor, so touching it allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`, which is `System`'s too.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above, hence from `System`, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Appends a few records and polls until they are durable; what it allocated.
fn round(journal: &mut Journal) -> u64 {
    let packet = [7; 3000];
    let before = ALLOCATIONS.get();
    let (view, sequence, digest) = (View(1), SequenceNumber(2), Digest([3; 32]));
    journal.append(&Record::Body { packet: &packet }).unwrap();
    journal.append(&Record::Prepare { view, sequence, digest }).unwrap();
    let mark = journal.append(&Record::Commit { view, sequence, digest }).unwrap();
    while journal.poll() < mark {
        std::thread::yield_now();
    }
    journal.trim(Mark(mark.0.saturating_sub(5)));
    ALLOCATIONS.get() - before
}

#[test]
fn the_steady_state_allocates_nothing() {
    for storage in [StorageChoice::IoUring, StorageChoice::Threaded] {
        let directory = tempfile::tempdir().unwrap();
        let config = JournalConfig {
            segment_bytes: 128 * 1024,
            group_bytes_max: 16 * 1024,
            storage,
            ..JournalConfig::new(JournalMode::Sync, Digest([7; 32]), ReplicaId(0))
        };
        let mut journal =
            Journal::create(&directory.path().join("journal"), &config, &mut |salt| salt.fill(1)).unwrap();
        // Channels make what they keep for a thread when it first waits.
        for _ in 0..100 {
            round(&mut journal);
        }
        let allocated: u64 = (0..200).map(|_| round(&mut journal)).sum();
        assert_eq!(allocated, 0, "{:?}", journal.backend());
        assert!(ALLOCATIONS.get() > 0, "the counter counts");
    }
}
