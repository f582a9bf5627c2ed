//! Crashes, rot and full disks: what is cut, what is refused, and that nothing acknowledged is lost in between.

use super::recovery::{self, Source};
use super::*;
use crate::numbers::{SequenceNumber, View};
use logothete_transport::storage::{GroupWriter, HostFileSystem, WriteFault};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const SEGMENT_BYTES: usize = 32 * 1024;
const GROUP_BYTES: usize = 10 * 1024;
const SECTOR: usize = 512;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const CONTEXT: Digest = Digest([7; 32]);

fn config(storage: StorageChoice) -> JournalConfig {
    JournalConfig {
        segment_bytes: SEGMENT_BYTES as u64,
        segments_max: 40,
        group_bytes_max: GROUP_BYTES,
        storage,
        ..JournalConfig::new(JournalMode::Sync, CONTEXT, ReplicaId(2))
    }
}

fn create(directory: &Path, config: &JournalConfig) -> Journal {
    Journal::create(directory, config, Origin::Birth, Salt([0x5a; 16])).unwrap()
}

/// The bytes of the record with a mark: its length and content follow from it.
fn packet(mark: u64, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (mark as usize * 31 + at * 7) as u8).collect()
}

fn append(journal: &mut Journal, bytes: usize) -> Mark {
    let packet = packet(journal.appended().0 + 1, bytes);
    journal.append(&Record::Body { packet: &packet }).unwrap()
}

/// A journal's files in memory.
#[derive(Clone)]
struct Image {
    identity: Identity,
    files: BTreeMap<u64, Vec<u8>>,
    numbers: Vec<u64>,
}

impl Image {
    fn of(directory: &Path) -> Self {
        let numbers = files::list(&HostFileSystem, directory).unwrap().segments;
        let read = |number| std::fs::read(directory.join(files::segment_name(number))).unwrap();
        let files = numbers.iter().map(|&number| (number, read(number))).collect();
        Self { identity: Identity::read(&HostFileSystem, directory).unwrap(), files, numbers }
    }

    fn without(&self, number: u64) -> Self {
        let mut image = self.clone();
        image.files.remove(&number);
        image.numbers.retain(|other| *other != number);
        image
    }

    /// Reads it, checking that each record is what was written under its mark.
    fn read(&mut self) -> Result<Contents, JournalError> {
        let identity = self.identity;
        let mut seen = None;
        let contents = recovery::read(self, &identity, &mut |mark, record| {
            if let Record::Body { packet: found } = record {
                assert_eq!(found, packet(mark.0, found.len()));
            }
            assert!(seen.is_none_or(|before: Mark| before.next() == mark));
            seen = Some(mark);
        })?;
        assert_eq!(seen.unwrap_or(Mark(contents.first.0 - 1)), contents.last);
        Ok(contents)
    }

    /// The segment, and the range of bytes, in which two images differ at most: one write.
    fn written_since(&self, before: &Self) -> (u64, std::ops::Range<usize>) {
        // A segment that was not there before was made in advance since then.
        let differs = |number: &u64, bytes: &Vec<u8>| before.files.get(number).is_some_and(|old| old != bytes);
        let mut changed = self.files.iter().filter(|(number, bytes)| differs(number, bytes));
        let (&number, bytes) = changed.next().expect("something was written");
        assert!(changed.next().is_none(), "one write is one segment's");
        let old = &before.files[&number];
        let differs = |at: &usize| bytes[*at] != old[*at];
        let start = (0..bytes.len()).find(differs).unwrap() / BLOCK_BYTES * BLOCK_BYTES;
        let end = ((0..bytes.len()).rfind(differs).unwrap() + 1).next_multiple_of(BLOCK_BYTES);
        (number, start..end)
    }
}

impl Source for Image {
    fn numbers(&self) -> &[u64] {
        &self.numbers
    }

    fn read(&mut self, number: u64) -> Result<&[u8], JournalError> {
        Ok(&self.files[&number])
    }

    fn path(&self, number: u64) -> PathBuf {
        PathBuf::from(files::segment_name(number))
    }
}

/// A journal with a history, before and after its last write.
struct History {
    _directory: TempDir,
    before: Image,
    after: Image,
    /// Acknowledged before the last write.
    acknowledged: Mark,
    /// All that was written.
    last: Mark,
}

/// Appends records of these lengths, each with whether a group ends after it, and writes one more group at the end.
/// With `trimmed`, whatever can be is used again on the way.
fn history(records: &[(usize, bool)], tail: &[usize], trimmed: bool) -> History {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = create(directory.path(), &config(StorageChoice::Auto));
    for &(bytes, ends) in records {
        if ends || journal.room() < bytes + 64 {
            journal.flush().unwrap();
            if trimmed && journal.appended().0 > 4 {
                journal.trim(Mark(journal.appended().0 - 3));
            }
        }
        append(&mut journal, bytes);
    }
    let acknowledged = journal.flush().unwrap();
    // A journal that is dropped has no thread that renames files while they are read.
    journal.await_supply();
    drop(journal);
    let before = Image::of(directory.path());
    let open = Journal::open(directory.path(), &config(StorageChoice::Auto), acknowledged.next(), &mut |_, _| {});
    let (mut journal, _) = open.unwrap();
    assert!(tail.iter().map(|bytes| bytes + 8).sum::<usize>() <= journal.room());
    for &bytes in tail {
        append(&mut journal, bytes);
    }
    journal.await_supply();
    journal.poll();
    let last = journal.flush_write();
    drop(journal);
    let after = Image::of(directory.path());
    History { _directory: directory, before, after, acknowledged, last }
}

impl History {
    /// The image in which only `keep(at)` of the last write's bytes are new.
    fn torn(&self, keep: impl Fn(usize) -> bool) -> Image {
        let (number, range) = self.after.written_since(&self.before);
        let mut image = self.before.clone();
        let (new, old) = (&self.after.files[&number], image.files.get_mut(&number).unwrap());
        for at in range.filter(|at| keep(*at)) {
            old[at] = new[at];
        }
        image
    }
}

/// `protocol.md JR-3`: the last write, cut at every byte, is cut or whole; never damage, and never more is lost.
#[test]
fn a_write_torn_at_any_byte_is_cut() {
    // Within a segment; and the first of a segment, together with its header.
    for records in [&[(100, true), (200, true)][..], &[(9000, true); 5][..], &[]] {
        let history = history(records, &[300, 4000], false);
        let (_, range) = history.after.written_since(&history.before);
        let mut whole = 0;
        for cut in range.start..=range.end {
            let contents = history.torn(|at| at < cut).read().unwrap();
            if contents.last == history.last {
                whole += 1;
            } else {
                assert_eq!(contents.last, history.acknowledged, "cut at {cut}");
            }
        }
        assert!(whole >= 1);
        assert_eq!(history.after.clone().read().unwrap().last, history.last);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// `protocol.md JR-3`, `JR-6`: whichever sectors of the last write reached the disk, nothing acknowledged is lost;
    /// whatever rots before it is noticed; what is not in use does not matter.
    #[test]
    fn torn_ends_are_cut_and_damage_is_refused(
        records in proptest::collection::vec((1usize..5000, any::<bool>()), 1..60),
        tail in proptest::collection::vec(1usize..2000, 1..5),
        trimmed: bool,
        draws in proptest::collection::vec(any::<u64>(), 60),
    ) {
        let history = history(&records, &tail, trimmed);
        let mut whole = history.after.clone();
        let contents = whole.read().unwrap();
        prop_assert_eq!(contents.last, history.last);
        prop_assert!(trimmed || contents.first == Mark(1));
        let (written, range) = history.after.written_since(&history.before);

        for &draw in &draws {
            // A subset of the sectors, in any order.
            let contents = history.torn(|at| draw >> (at / SECTOR % 64) & 1 == 1).read().unwrap();
            prop_assert!(contents.last >= history.acknowledged);

            // One flipped bit, or one zeroed sector, anywhere.
            let number = whole.numbers[(draw >> 32) as usize % whole.numbers.len()];
            let at = draw as u32 as usize % SEGMENT_BYTES;
            let mut image = whole.clone();
            let file = image.files.get_mut(&number).unwrap();
            let sector = at / SECTOR * SECTOR;
            if draw >> 63 == 0 {
                file[at] ^= 1 << (draw >> 60 & 7);
            } else if file[sector..sector + SECTOR].iter().all(|byte| *byte == 0) {
                continue;
            } else {
                file[sector..sector + SECTOR].fill(0);
            }
            let in_use = contents_end(&contents_of(&mut whole), number).is_some_and(|end| at < end);
            let in_last_write = number == written && range.contains(&at);
            match image.read() {
                Ok(read) if in_last_write => prop_assert_eq!(read.last, history.acknowledged),
                Ok(read) => prop_assert!(!in_use && read.last == history.last, "segment {} byte {}", number, at),
                Err(JournalError::Corrupt { segment, offset, .. }) => {
                    prop_assert!(in_use && !in_last_write);
                    prop_assert!(segment < number || (segment == number && offset <= at as u64));
                }
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
    }

    /// A segment that is not there is noticed, unless it is the first one: then the journal says where it begins.
    #[test]
    fn a_missing_segment_is_noticed(
        records in proptest::collection::vec((3000usize..5000, any::<bool>()), 20..60),
        trimmed: bool,
    ) {
        let history = history(&records, &[100], trimmed);
        // Before the last write, when there certainly is a segment made in advance.
        let whole = contents_of(&mut history.before.clone());
        prop_assert_eq!(whole.prepared.len(), 1);
        for (index, segment) in whole.segments.iter().enumerate() {
            let read = history.before.without(segment.number).read();
            if index > 0 {
                prop_assert_eq!(read, Err(JournalError::Missing { segment: segment.number }));
            } else if whole.segments.len() > 1 {
                prop_assert!(read.unwrap().first > whole.first);
            } else {
                // Only one made in advance is left, and that is not where a journal begins.
                prop_assert!(read.is_err());
            }
        }
    }
}

fn contents_of(image: &mut Image) -> Contents {
    image.read().unwrap()
}

/// Where the bytes in use of a segment end, the header included.
fn contents_end(contents: &Contents, number: u64) -> Option<usize> {
    contents.segments.iter().find(|segment| segment.number == number).map(|segment| segment.end as usize)
}

/// Reads what `open` shows.
fn reopen(directory: &Path, config: &JournalConfig) -> (Journal, Recovered, Vec<u64>) {
    let mut marks = Vec::new();
    let (journal, recovered) = Journal::open(directory, config, Mark(1), &mut |mark, record| {
        let Record::Body { packet: found } = record else { panic!("{record:?}") };
        assert_eq!(found, packet(mark.0, found.len()));
        marks.push(mark.0);
    })
    .unwrap();
    (journal, recovered, marks)
}

/// `protocol.md JR-1`, `JR-2`, with both back-ends, over many lives.
#[test]
fn what_was_durable_is_there_again() {
    for storage in [StorageChoice::IoUring, StorageChoice::Threaded] {
        let directory = tempfile::tempdir().unwrap();
        let config = config(storage);
        if GroupWriter::new(&HostFileSystem, storage, None).is_err() {
            // A host may forbid io_uring.
            assert_eq!(storage, StorageChoice::IoUring);
            continue;
        }
        let mut journal = create(directory.path(), &config);
        let mut durable = Mark(0);
        for life in 0..6 {
            for record in 0..12 {
                append(&mut journal, 1 + record * 300);
                if record % 3 == 2 {
                    durable = journal.flush().unwrap();
                    assert_eq!((durable, journal.poll()), (journal.appended(), durable));
                }
            }
            // Not written: there may be one write in flight, and the rest is lost.
            for _ in 0..3 {
                append(&mut journal, 2000);
                assert_eq!(journal.poll().max(durable), journal.durable());
            }
            let closes = life % 2 == 1;
            if closes {
                durable = journal.close().unwrap();
            } else {
                durable = journal.durable();
                drop(journal);
            }
            let (opened, recovered, marks) = reopen(directory.path(), &config);
            assert!(recovered.last >= durable && recovered.complete, "{storage:?}");
            assert_eq!(marks, (1..=recovered.last.0).collect::<Vec<_>>());
            journal = opened;
        }
    }
}

#[test]
fn a_torn_end_is_written_over() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let config = JournalConfig { faults: Some(Arc::clone(&faults)), ..config(StorageChoice::Auto) };
    let mut journal = create(directory.path(), &config);
    for life in 1..20 {
        append(&mut journal, 500);
        let durable = journal.flush().unwrap();
        // Two blocks of three reach the disk.
        append(&mut journal, 5000);
        append(&mut journal, 5000);
        faults.fail_next_write(WriteFault { errno: EIO, bytes_kept: 2 * BLOCK_BYTES });
        assert!(journal.flush().is_err());
        drop(journal);
        let (opened, recovered, _) = reopen(directory.path(), &config);
        assert_eq!((recovered.last, durable.0), (durable, life));
        assert!(recovered.torn.is_some());
        journal = opened;
    }
}

/// `protocol.md JR-3`: the first write of a segment is torn in two lives, each time otherwise.
#[test]
fn what_an_earlier_torn_write_left_is_not_taken_for_damage() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let config = JournalConfig { faults: Some(Arc::clone(&faults)), ..config(StorageChoice::Auto) };
    let mut journal = create(directory.path(), &config);
    // Six blocks of seven are in use, so that a short group has room and a long one has not.
    for _ in 0..6 {
        append(&mut journal, 100);
        journal.flush().unwrap();
    }
    append(&mut journal, 9000);
    journal.flush().unwrap();
    drop(journal);
    // The group reached the disk and the header did not.
    let second = directory.path().join(files::segment_name(2));
    let mut bytes = std::fs::read(&second).unwrap();
    bytes[..BLOCK_BYTES].fill(0);
    std::fs::write(&second, bytes).unwrap();
    let (mut journal, recovered, _) = reopen(directory.path(), &config);
    assert_eq!(recovered.last, Mark(6));
    append(&mut journal, 50);
    assert_eq!(journal.flush().unwrap(), Mark(7));
    // Now the header reaches the disk and the group does not.
    append(&mut journal, 9000);
    faults.fail_next_write(WriteFault { errno: EIO, bytes_kept: BLOCK_BYTES });
    assert!(journal.flush().is_err());
    drop(journal);
    let (mut journal, recovered, _) = reopen(directory.path(), &config);
    assert_eq!((recovered.last, recovered.torn.map(|torn| torn.segment)), (Mark(7), Some(2)));
    append(&mut journal, 9000);
    journal.close().unwrap();
    assert_eq!(reopen(directory.path(), &config).1.last, Mark(8));
}

/// `protocol.md JR-4`
#[test]
fn a_failed_write_is_final() {
    for errno in [EIO, ENOSPC] {
        let directory = tempfile::tempdir().unwrap();
        let faults = Arc::new(Faults::default());
        let config = JournalConfig { faults: Some(Arc::clone(&faults)), ..config(StorageChoice::Auto) };
        let mut journal = create(directory.path(), &config);
        append(&mut journal, 10);
        let durable = journal.flush().unwrap();
        append(&mut journal, 10);
        faults.fail_next_write(WriteFault { errno, bytes_kept: 0 });
        journal.poll();
        for _ in 0..3 {
            assert_eq!(journal.poll(), durable);
            let JournalState::Failed(error) = journal.state() else { panic!("{:?}", journal.state()) };
            assert_eq!(error.errno, errno);
            let refused = journal.append(&Record::ViewEntered { view: View(1) }).unwrap_err();
            assert!(matches!(refused, AppendError::Failed(_)));
        }
        assert!(journal.close().is_err());
    }
}

/// `protocol.md JR-8`: nothing was begun, so writing goes on when there is room.
#[test]
fn a_full_disk_refuses_records_until_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let config = JournalConfig { faults: Some(Arc::clone(&faults)), ..config(StorageChoice::Auto) };
    let mut journal = create(directory.path(), &config);
    journal.await_supply();
    faults.fail_creation(Some(ENOSPC));
    let mut durable = Mark(0);
    let error = loop {
        append(&mut journal, 4000);
        match journal.flush() {
            Ok(mark) => durable = mark,
            Err(error) => break error,
        }
    };
    assert_eq!(error, JournalError::Full(FullReason::Disk));
    journal.poll();
    assert_eq!(journal.state(), &JournalState::Full(FullReason::Disk));
    assert_eq!(
        journal.append(&Record::Committed { sequence: SequenceNumber(1), digest: Digest::default() }),
        Err(AppendError::Full(FullReason::Disk))
    );
    assert_eq!(journal.poll(), durable);

    faults.fail_creation(None);
    journal.await_supply();
    assert_eq!(journal.flush().unwrap(), durable.next());
    assert_eq!(journal.state(), &JournalState::Writing);
    append(&mut journal, 10);
    let last = journal.close().unwrap();
    let (_, recovered, _) = reopen(directory.path(), &config);
    assert_eq!(recovered.last, last);
}

/// `protocol.md JR-6`, `JR-8`: the bound holds, and trimming makes room.
#[test]
fn segments_are_bounded_and_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let config = JournalConfig { segments_max: 4, ..config(StorageChoice::Auto) };
    let mut journal = create(directory.path(), &config);
    let files = || std::fs::read_dir(directory.path()).unwrap().count();
    let full = loop {
        append(&mut journal, 6000);
        if let Err(error) = journal.flush() {
            break error;
        }
        assert!(files() <= 5, "four segments and the identity");
    };
    assert_eq!(full, JournalError::Full(FullReason::Bound));
    // Found by seed 36769: a start has room for what makes room, and no more than that.
    drop(journal);
    let (mut journal, _, _) = reopen(directory.path(), &config);
    append(&mut journal, 6000);
    journal.flush().unwrap();
    while files() <= 5 || journal.flush().is_ok() {
        append(&mut journal, 6000);
    }
    assert_eq!(files(), 7, "two more segments");
    for _ in 0..200 {
        journal.trim(journal.durable());
        if journal.append(&Record::Body { packet: &packet(journal.appended().0 + 1, 6000) }).is_ok() {
            journal.await_supply();
            journal.flush().unwrap();
        } else {
            journal.await_supply();
            journal.poll();
        }
        assert!(files() <= 7);
    }
    let kept = journal.durable();
    drop(journal);
    let mut first = None;
    let opened = Journal::open(directory.path(), &config, kept, &mut |mark, _| {
        first.get_or_insert(mark);
    });
    let (_, recovered) = opened.unwrap();
    assert!(recovered.first > Mark(100) && recovered.last == kept && first == Some(recovered.first));
    // What was trimmed is not needed; had it been, this would say so.
    let late = Journal::open(directory.path(), &config, Mark(1), &mut |_, _| {}).unwrap_err();
    assert_eq!(late, JournalError::BeginsLate { first: recovered.first, needed: Mark(1) });
}

/// `protocol.md JR-6`: what a checkpoint needs was durable when it was begun, so the journal is an older one.
#[test]
fn a_journal_that_ends_before_what_is_needed_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(StorageChoice::Auto);
    let mut journal = create(directory.path(), &config);
    append(&mut journal, 100);
    let last = journal.close().unwrap();
    let open = |needed| Journal::open(directory.path(), &config, needed, &mut |_, _| {});
    let needed = last.next().next();
    assert_eq!(open(needed).unwrap_err(), JournalError::EndsEarly { last, needed });
    assert_eq!(open(last.next()).unwrap().1.last, last);
}

/// `protocol.md JR-5`
#[test]
fn a_foreign_journal_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let ours = config(StorageChoice::Auto);
    create(directory.path(), &ours).close().unwrap();
    let open = |config: &JournalConfig| Journal::open(directory.path(), config, Mark(0), &mut |_, _| {}).unwrap_err();
    let other_replica = open(&JournalConfig { replica: ReplicaId(3), ..ours.clone() }).to_string();
    assert!(other_replica.contains("replica 2") && other_replica.contains("replica 3"), "{other_replica}");
    let other_cluster = open(&JournalConfig { context: Digest([8; 32]), ..ours.clone() }).to_string();
    assert!(other_cluster.contains(&CONTEXT.to_string()), "{other_cluster}");
    let again = Journal::create(directory.path(), &ours, Origin::Birth, Salt([0; 16])).unwrap_err();
    assert!(matches!(again, JournalError::Exists { .. }));

    let path = directory.path().join("identity");
    let good = std::fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&path, &bytes).unwrap();
        let error = open(&ours);
        let version = (8..12).contains(&at);
        assert_eq!(matches!(error, JournalError::Foreign(ForeignFile::Version { .. })), version, "byte {at}: {error}");
        assert_eq!(matches!(error, JournalError::Identity { .. }), !version, "byte {at}: {error}");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(open(&ours), JournalError::Absent { .. }));
}

/// `protocol.md JR-9`: a journal whose promises did not wait for it is complete only if it was closed.
#[test]
fn an_asynchronous_journal_is_complete_only_when_closed() {
    let directory = tempfile::tempdir().unwrap();
    let sync = config(StorageChoice::Auto);
    let relaxed = JournalConfig { mode: JournalMode::Async, ..sync.clone() };
    let mut journal = create(directory.path(), &relaxed);
    let mark = append(&mut journal, 100);
    assert_eq!(journal.poll(), mark);
    journal.close().unwrap();
    let (journal, recovered, marks) = reopen(directory.path(), &relaxed);
    assert!(recovered.complete && marks == [1]);
    // A process that was killed before it wrote anything.
    drop(journal);
    let (journal, recovered, _) = reopen(directory.path(), &relaxed);
    assert!(!recovered.complete);
    drop(journal);
    // Waiting from now on does not bring back what was lost before.
    for _ in 0..2 {
        let (mut journal, recovered, _) = reopen(directory.path(), &sync);
        assert!(!recovered.complete);
        append(&mut journal, 5);
        journal.flush().unwrap();
    }
}

#[test]
fn a_record_that_finds_no_room_is_not_taken() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = create(directory.path(), &config(StorageChoice::Auto));
    let long = vec![1; GROUP_BYTES + BLOCK_BYTES];
    assert!(matches!(journal.append(&Record::Body { packet: &long }), Err(AppendError::TooLong { .. })));
    let mut taken = 0;
    let refused = loop {
        let packet = packet(taken + 1, 1000);
        match journal.append(&Record::Body { packet: &packet }) {
            Ok(mark) => taken = mark.0,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, AppendError::Busy);
    assert_eq!((journal.flush().unwrap(), taken), (Mark(taken), taken));
    assert!(journal.room() > 1000 && journal.append(&Record::ViewEntered { view: View(2) }).is_ok());
}

/// `protocol.md JR-6`: what has to be let go of in time is what lies on the disk, and a record that is written by itself fills a block.
#[test]
fn what_the_disk_took_is_counted_in_blocks() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(StorageChoice::Auto);
    let mut journal = create(directory.path(), &config);
    // Three segments of a header and seven groups each, and two groups in a fourth.
    for _ in 0..3 * 7 + 2 {
        append(&mut journal, 10);
        journal.flush().unwrap();
    }
    let block = BLOCK_BYTES as u64;
    assert_eq!(journal.written_bytes(), (3 * 8 + 3) * block);
    drop(journal);
    // What a former life wrote counts as far as it was still needed.
    for (needed, blocks) in [(Mark(1), 3 * 8 + 3), (Mark(8), 2 * 8 + 3), (Mark(23), 3)] {
        let (journal, _) = Journal::open(directory.path(), &config, needed, &mut |_, _| {}).unwrap();
        assert_eq!(journal.written_bytes(), blocks * block);
    }
}
