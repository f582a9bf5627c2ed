//! Appending to the journal and polling it must not allocate: the orderer does both in every duty cycle.

#[path = "../../transport/tests/allocations/mod.rs"]
mod allocations;

use allocations::allocations_of;
use logothete_crypto::Digest;
use logothete_engine::journal::{Journal, JournalConfig, JournalMode, Mark, Origin, Record, Salt};
use logothete_engine::numbers::{ReplicaId, SequenceNumber, View};
use logothete_transport::storage::StorageChoice;

/// Appends a few records and polls until they are durable; what it allocated.
fn round(journal: &mut Journal) -> u64 {
    let packet = [7; 3000];
    allocations_of(|| {
        let (view, sequence, digest) = (View(1), SequenceNumber(2), Digest([3; 32]));
        journal.append(&Record::Body { packet: &packet }).unwrap();
        journal.append(&Record::Prepare { view, sequence, digest }).unwrap();
        let mark = journal.append(&Record::Commit { view, sequence, digest }).unwrap();
        while journal.poll() < mark {
            std::thread::yield_now();
        }
        journal.trim(Mark(mark.0.saturating_sub(5)));
    })
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
            Journal::create(&directory.path().join("journal"), &config, Origin::Birth, Salt([1; 16])).unwrap();
        // Channels make what they keep for a thread when it first waits.
        for _ in 0..100 {
            round(&mut journal);
        }
        let allocated: u64 = (0..200).map(|_| round(&mut journal)).sum();
        assert_eq!(allocated, 0, "{:?}", journal.backend());
    }
}
