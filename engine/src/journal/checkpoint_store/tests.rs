use super::*;
use crate::state::PAGE_BYTES;
use logothete_transport::storage::HostFileSystem;
use proptest::prelude::*;
use std::fs;

const PAGES: u64 = 1 << 12;
const CONFIG: CheckpointConfig = CheckpointConfig { context: Digest([7; 32]), replica: ReplicaId(1), pages: PAGES };

fn open(directory: &Path) -> OpenedCheckpoints {
    CheckpointStore::open(&HostFileSystem::shared(), directory, &CONFIG).unwrap()
}

fn write(store: &mut CheckpointStore, sequence: u64, state: &State) {
    store.begin(SequenceNumber(sequence), state.snapshot(), sequence.to_le_bytes().to_vec()).unwrap();
    assert_eq!(store.wait(), Ok(Some(SequenceNumber(sequence))));
}

/// All files of a directory.
fn image(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// Writes an image back, with each file passed through `change`.
fn restore(image: &[(PathBuf, Vec<u8>)], change: impl Fn(&Path, &[u8]) -> Vec<u8>) {
    for (path, bytes) in image {
        fs::write(path, change(path, bytes)).unwrap();
    }
}

#[test]
fn a_checkpoint_is_loaded_as_it_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    assert!(opened.stored.is_empty() && opened.damaged.is_empty());
    let mut state = State::new(PAGES);
    for round in 1..6u64 {
        state.write(round * 100_000, &round.to_le_bytes());
        state.write(77, &round.to_le_bytes());
        state.clear(round * 3..round * 3 + 2);
        write(&mut opened.store, round, &state);
        assert_eq!(opened.store.durable(), Some(SequenceNumber(round)));
        // A new process.
        if round % 2 == 0 {
            drop(opened);
            opened = open(directory.path());
            let newest = opened.stored[0].clone();
            assert_eq!((newest.sequence, newest.blob), (SequenceNumber(round), round.to_le_bytes().to_vec()));
            let loaded = opened.store.load(&opened.stored[0]).unwrap();
            assert_eq!(loaded.snapshot().digest(), state.snapshot().digest());
        }
    }
}

/// `protocol.md JR-10`: the one before is whole until the next but one is begun.
#[test]
fn the_checkpoint_before_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path()).store;
    let mut state = State::new(PAGES);
    let mut digests = Vec::new();
    for round in 0..5u64 {
        for page in 0..20 {
            state.page_mut(page * (round + 1))[0] = round as u8 + 1;
        }
        digests.push(state.snapshot().digest());
        write(&mut store, round, &state);
    }
    drop(store);
    let mut opened = open(directory.path());
    let sequences: Vec<u64> = opened.stored.iter().map(|stored| stored.sequence.0).collect();
    assert_eq!(sequences, [4, 3]);
    let older = opened.store.load(&opened.stored[1]).unwrap();
    assert_eq!(older.snapshot().digest(), digests[3]);
    // What is built on the older one takes the newer one's place.
    state = older;
    state.page_mut(9)[9] = 9;
    write(&mut opened.store, 7, &state);
    drop(opened);
    let mut opened = open(directory.path());
    assert_eq!(opened.stored.iter().map(|stored| stored.sequence.0).collect::<Vec<_>>(), [7, 3]);
    for (index, digest) in [state.snapshot().digest(), digests[3]].into_iter().enumerate() {
        assert_eq!(opened.store.load(&opened.stored[index]).unwrap().snapshot().digest(), digest);
    }
}

#[test]
fn a_state_from_elsewhere_does_not_write_over_what_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path()).store;
    let mut state = State::new(PAGES);
    state.write(0, &[1; 3 * PAGE_BYTES]);
    write(&mut store, 1, &state);
    let first = state.snapshot().digest();
    drop(store);
    // Nothing is loaded: the state came from the other replicas.
    let mut opened = open(directory.path());
    let mut other = State::new(PAGES);
    other.write(PAGE_BYTES as u64, &[2; PAGE_BYTES]);
    write(&mut opened.store, 9, &other);
    drop(opened);
    let mut opened = open(directory.path());
    let loaded = opened.store.load(&opened.stored[0]).unwrap();
    assert_eq!(loaded.snapshot().digest(), other.snapshot().digest());
    assert_eq!(opened.store.load(&opened.stored[1]).unwrap().snapshot().digest(), first);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// `protocol.md JR-10`: a crash at any point of writing leaves the last durable checkpoint, or the new one. Any
    /// subset of the pages' sectors may have been written, the table is the old or the new one.
    #[test]
    fn a_crash_leaves_one_whole_checkpoint(
        rounds in proptest::collection::vec(proptest::collection::vec((0u64..40, any::<u8>()), 1..20), 2..5),
        draws in proptest::collection::vec(any::<u64>(), 4),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path()).store;
        let mut state = State::new(PAGES);
        let (mut before, mut digest_before) = (Vec::new(), Digest::ZERO);
        for (round, writes) in rounds.iter().enumerate() {
            before = image(directory.path());
            digest_before = state.snapshot().digest();
            for &(page, value) in writes {
                if value == 0 {
                    state.clear(page..page + 1);
                } else {
                    state.page_mut(page).fill(value);
                }
            }
            write(&mut store, round as u64 + 1, &state);
        }
        drop(store);
        let after = image(directory.path());
        let old = |path: &Path| before.iter().find(|(other, _)| other == path).map(|(_, bytes)| &bytes[..]);
        for draw in draws {
            // Before the table is replaced.
            restore(&after, |path, new| {
                let old = old(path).unwrap_or_default();
                if path.to_string_lossy().contains("table") {
                    return old.to_vec();
                }
                let mut mixed = old.to_vec();
                mixed.resize(new.len().max(old.len()), 0);
                for (at, byte) in new.iter().enumerate().filter(|(at, _)| draw >> (at / 512 % 64) & 1 == 1) {
                    mixed[at] = *byte;
                }
                mixed
            });
            let mut opened = open(directory.path());
            // An empty file stands for a table that is not there yet.
            if let Some(newest) = opened.stored.first().cloned() {
                prop_assert_eq!(newest.sequence.0, rounds.len() as u64 - 1);
                prop_assert_eq!(opened.store.load(&newest).unwrap().snapshot().digest(), digest_before);
            } else {
                prop_assert_eq!(rounds.len(), 1);
            }
        }
        // After it.
        restore(&after, |_, new| new.to_vec());
        let mut opened = open(directory.path());
        let newest = opened.stored[0].clone();
        prop_assert_eq!(opened.store.load(&newest).unwrap().snapshot().digest(), state.snapshot().digest());
    }
}

#[test]
fn damage_is_noticed_and_the_older_one_still_loads() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path()).store;
    let mut state = State::new(PAGES);
    state.page_mut(3).fill(1);
    write(&mut store, 1, &state);
    let first = state.snapshot().digest();
    state.page_mut(3).fill(2);
    write(&mut store, 2, &state);
    drop(store);
    let whole = image(directory.path());

    // The page of the newer one is in the other file.
    let flipped = |name: &'static str, at: usize| {
        move |path: &Path, bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            if path.ends_with(name) {
                bytes[at] ^= 1;
            }
            bytes
        }
    };
    restore(&whole, flipped("pages-b", 3 * PAGE_BYTES + 5));
    let looked = CheckpointStore::inspect(&HostFileSystem, directory.path()).unwrap();
    let whole_ones: Vec<bool> = looked.stored.iter().map(|(stored, found)| stored.digest == *found).collect();
    assert_eq!(whole_ones, [false, true]);
    let mut opened = open(directory.path());
    let error = opened.store.load(&opened.stored[0]).unwrap_err();
    assert!(matches!(error, CheckpointError::Damaged { sequence: SequenceNumber(2), .. }), "{error}");
    assert_eq!(opened.store.load(&opened.stored[1]).unwrap().snapshot().digest(), first);
    drop(opened);

    // Generation 2 is in the table of even ones.
    restore(&whole, flipped("table-0", 165));
    let mut opened = open(directory.path());
    assert_eq!(opened.damaged, [directory.path().join("table-0")]);
    assert_eq!(opened.stored.len(), 1);
    assert_eq!(opened.store.load(&opened.stored[0]).unwrap().snapshot().digest(), first);
}

#[test]
fn a_foreign_checkpoint_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path()).store;
    write(&mut store, 1, &State::new(PAGES));
    drop(store);
    for (config, word) in [
        (CheckpointConfig { replica: ReplicaId(2), ..CONFIG }, "replica 1"),
        (CheckpointConfig { context: Digest([8; 32]), ..CONFIG }, "cluster configuration"),
        (CheckpointConfig { pages: 2 * PAGES, ..CONFIG }, "state capacity 4096"),
    ] {
        let error =
            CheckpointStore::open(&HostFileSystem::shared(), directory.path(), &config).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn one_checkpoint_at_a_time_and_the_first_failure_is_final() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path()).store;
    let state = State::new(PAGES);
    store.begin(SequenceNumber(1), state.snapshot(), Vec::new()).unwrap();
    assert_eq!(store.begin(SequenceNumber(2), state.snapshot(), Vec::new()), Err(BeginError::Busy));
    assert_eq!(store.wait(), Ok(Some(SequenceNumber(1))));
    assert_eq!((store.poll(), store.wait()), (Ok(None), Ok(None)));
    // The directory goes away under it.
    fs::remove_dir_all(directory.path()).unwrap();
    store.begin(SequenceNumber(2), state.snapshot(), Vec::new()).unwrap();
    assert!(store.wait().is_err());
    assert!(matches!(store.begin(SequenceNumber(3), state.snapshot(), Vec::new()), Err(BeginError::Failed(_))));
    assert_eq!(store.durable(), Some(SequenceNumber(1)));
}
