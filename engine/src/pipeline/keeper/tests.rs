//! Data directories of lives that were forgotten, and what a start makes of them.

use super::super::outbox::Outbox;
use super::*;
use crate::numbers::View;
use logothete_transport::pool::{Pool, PoolConfig};
use logothete_transport::storage::HostFileSystem;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const PAGES: u64 = 64;

fn config() -> MemoryConfig {
    let (context, replica) = (Digest([7; 32]), ReplicaId(1));
    MemoryConfig {
        journal: JournalConfig {
            segment_bytes: 64 * 1024,
            group_bytes_max: 16 * 1024,
            ..JournalConfig::new(JournalMode::Sync, context, replica)
        },
        checkpoints: CheckpointConfig { context, replica, pages: PAGES },
        checkpoint_every_bytes: 1 << 20,
    }
}

fn directory(path: &Path) -> DataDirectory {
    DataDirectory::open(HostFileSystem::shared(), path, true).unwrap().0
}

fn snapshot(byte: u8) -> Snapshot {
    let mut state = State::new(PAGES);
    state.write(5, &[byte]);
    state.snapshot()
}

/// Records that views were entered.
fn enter(memory: &mut Memory, views: &[u64]) {
    for view in views {
        let record = Record::ViewEntered { view: View(*view) };
        let mut bytes = vec![0; record.encoded_bytes()];
        record.encode(&mut bytes);
        memory.persist(&bytes);
    }
}

/// What a start finds: the number of its checkpoint, and which views were entered after it.
fn start(path: &Path) -> Result<(Option<u64>, Vec<u64>), MemoryError> {
    let begin =
        |checkpoint: Option<(SequenceNumber, Digest, State)>| (checkpoint.map(|(sequence, ..)| sequence.0), Vec::new());
    let mut visit = |found: &mut (Option<u64>, Vec<u64>), record: Record<'_>| match record {
        Record::ViewEntered { view } => found.1.push(view.0),
        other => panic!("nobody recorded {other:?}"),
    };
    Memory::open(directory(path), &config(), begin, &mut visit).map(|(_, found)| found)
}

/// A first life, which enters views 1 to 3 and writes a checkpoint to `table-1`; then it is forgotten.
fn former_life(path: &Path) {
    fs::write(DataDirectory::birth_marker(path), "").unwrap();
    let mut memory = Memory::create(directory(path), &config(), &mut |bytes| bytes.fill(1)).unwrap();
    enter(&mut memory, &[1]);
    memory.plan_checkpoint(SequenceNumber(8), snapshot(8), 1, 1);
    let pool = Pool::new(PoolConfig { frame_bytes: 2048, frames: 8 }).expect("a few kilobytes");
    let mut outbox = Outbox::new(pool, 1472);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !path.join("checkpoints/table-1").exists() {
        assert!(Instant::now() < deadline, "the checkpoint is not written");
        memory.poll(0, &mut outbox);
    }
    enter(&mut memory, &[2, 3]);
    memory.close().unwrap();
    assert_eq!(start(path).unwrap(), (Some(8), vec![1, 2, 3]));
    directory(path).disown_journal().unwrap();
}

/// `protocol.md JR-6`, `JR-7`. Found by a seeded run in which a replica recovered, and then its one table of checkpoints was damaged: it started from the
/// empty state, in whose window nothing lies of what it had promised since.
#[test]
fn a_journal_that_begins_with_a_checkpoint_is_worth_nothing_without_it() {
    for (lives_before, table) in [(0, "table-1"), (1, "table-0")] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        (0..lives_before).for_each(|_| former_life(path));
        let plan = MemoryPlan::new(directory(path), config());
        let mut memory = plan.make(SequenceNumber(48), snapshot(48), &mut |bytes| bytes.fill(2)).unwrap();
        enter(&mut memory, &[11, 12]);
        memory.close().unwrap();
        assert_eq!(start(path).unwrap(), (Some(48), vec![11, 12]));
        let table = path.join("checkpoints").join(table);
        let good = fs::read(&table).unwrap();
        let mut bad = good.clone();
        bad[100] ^= 1;
        fs::write(&table, bad).unwrap();
        assert!(matches!(start(path), Err(MemoryError::CheckpointLost)));
        fs::remove_file(&table).unwrap();
        assert!(matches!(start(path), Err(MemoryError::CheckpointLost)));
        fs::write(&table, good).unwrap();
        assert_eq!(start(path).unwrap(), (Some(48), vec![11, 12]));
    }
}
