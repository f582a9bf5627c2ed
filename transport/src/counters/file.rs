//! The counters file's layout and its writer.
//!
//! ```text
//! 0        | magic 8 | version u32 | pid u32 | started u64 | heartbeat u64 | count u64 | capacity u64 |
//! 4096     | capacity descriptions of 256 bytes: set 32 | label 48 | unit 16 | docs 160 |, zero padded
//! 4096 + 256 * capacity | capacity values of 8 bytes |
//! ```
//!
//! Numbers are in the host's byte order: the file never leaves its host. An entry without a label is padding, which
//! keeps sets apart by whole pairs of cache lines, so that two threads never write to one line.

use super::{CounterSet, Description, Memory, set_of};
use crate::HostError;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) const MAGIC: u64 = u64::from_ne_bytes(*b"lgt-cntr");
pub(super) const VERSION: u32 = 1;
/// Room for some thirty agents with thirty counters each.
pub(super) const CAPACITY: usize = 1024;
pub(super) const HEADER_BYTES: usize = 4096;
pub(super) const DESCRIPTION_BYTES: usize = 256;
/// Counters of different sets are 128 bytes apart: hardware fetches cache lines in pairs.
const SET_ALIGNMENT: usize = 16;

/// The first page of the file, as far as it is used.
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: u64,
    pub(super) version: u32,
    pub(super) pid: u32,
    /// Nanoseconds since 1970 at the start of the process's counting.
    pub(super) started_ns: u64,
    /// `CLOCK_MONOTONIC` at the last sign of life; this clock is one for all processes of a host.
    pub(super) heartbeat_ns: AtomicU64,
    /// How many entries are complete.
    pub(super) count: AtomicU64,
    pub(super) capacity: u64,
}

/// One entry's texts, zero padded.
#[repr(C)]
pub(super) struct Entry {
    pub(super) set: [u8; 32],
    pub(super) label: [u8; 48],
    pub(super) unit: [u8; 16],
    pub(super) docs: [u8; 160],
}

const _: () = assert!(size_of::<Entry>() == DESCRIPTION_BYTES && size_of::<Header>() <= HEADER_BYTES);

pub(super) const fn file_bytes(capacity: usize) -> usize {
    HEADER_BYTES + capacity * (DESCRIPTION_BYTES + size_of::<u64>())
}

/// A shared mapping of a counters file.
pub(super) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
    /// Holds the writer's lock; a reader's mapping keeps none.
    _file: Option<File>,
}

// SAFETY: plain shared memory; what changes after set-up is accessed atomically.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `bytes` of `file`, which must be at least that long; `writable` keeps the file and its lock.
    pub(super) fn new(file: File, bytes: usize, writable: bool, path: &Path) -> Result<Mapping, HostError> {
        let protection = if writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        match NonNull::new(start.cast::<u8>()) {
            Some(pointer) if start != libc::MAP_FAILED => {
                Ok(Mapping { start: pointer, bytes, _file: writable.then_some(file) })
            }
            _ => Err(HostError::last("mmap", path.display().to_string())),
        }
    }

    pub(super) fn header(&self) -> &Header {
        // SAFETY: the mapping is at least a header long, page-aligned, and the plain fields change only before it is
        // shared.
        unsafe { self.start.cast::<Header>().as_ref() }
    }

    pub(super) fn entry(&self, index: usize, capacity: usize) -> NonNull<Entry> {
        assert!(index < capacity && file_bytes(capacity) <= self.bytes);
        // SAFETY: inside the mapping by the assertion.
        unsafe { self.start.add(HEADER_BYTES + index * DESCRIPTION_BYTES).cast() }
    }

    pub(super) fn value(&self, index: usize, capacity: usize) -> NonNull<AtomicU64> {
        assert!(index < capacity && file_bytes(capacity) <= self.bytes);
        // SAFETY: inside the mapping by the assertion; 8-byte aligned since the parts before it are.
        unsafe { self.start.add(HEADER_BYTES + capacity * DESCRIPTION_BYTES + index * size_of::<u64>()).cast() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own and nothing that points into it outlives it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// The counters file of this process. It stays behind when the process ends, for whoever asks what happened.
///
/// Put it on a memory file system (`/dev/shm`, `/run`): on a disk, the kernel now and then write-protects a page to
/// store it, and the next count waits for that.
pub struct CountersFile {
    memory: Arc<Memory>,
    header: NonNull<Header>,
    path: PathBuf,
}

// SAFETY: the header lies in `memory`, which moves along; `&mut self` guards its only writer.
unsafe impl Send for CountersFile {}

impl CountersFile {
    /// Makes the file, in place of one that a dead process left.
    ///
    /// It is written beside `path` and renamed, so that a reader sees the old file or the new one and never half of
    /// one.
    ///
    /// # Errors
    ///
    /// Another live process holds the file (the error names it), or the folder is missing or full.
    pub fn create(path: &Path) -> Result<CountersFile, HostError> {
        let what = || path.display().to_string();
        // Held until the new file is in place, so that of two processes starting at once only one wins.
        let _previous = lock_previous(path)?;
        let fresh = path.with_extension(format!("{}.new", std::process::id()));
        // Left by an earlier process of the same number.
        let _ = fs::remove_file(&fresh);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o644).open(&fresh);
        let file = file.map_err(|e| HostError::from_io("open", &e, fresh.display().to_string()))?;
        let mapping = prepare(file, &fresh).inspect_err(|_| {
            let _ = fs::remove_file(&fresh);
        })?;
        fs::rename(&fresh, path).map_err(|e| HostError::from_io("rename", &e, what()))?;
        let header = mapping.start.cast();
        Ok(CountersFile { memory: Arc::new(Memory::Mapped { _mapping: mapping }), header, path: path.to_owned() })
    }

    /// Places a set in the file under the name of its writer, such as `replica-2.receiver`.
    ///
    /// # Errors
    ///
    /// The file is full.
    pub fn add<S: CounterSet>(&mut self, set: &str) -> Result<S, HostError> {
        let first = self.header().count.load(Ordering::Relaxed) as usize;
        let end = first + S::DESCRIPTIONS.len();
        if end > CAPACITY {
            let error = HostError::new("mmap", libc::ENOSPC, format!("set {set} in {}", self.path.display()));
            return Err(
                error.with_mend(format!("a counters file holds {CAPACITY} counters: run fewer agents in this process"))
            );
        }
        let mapping = self.mapping();
        for (index, description) in (first..end).zip(S::DESCRIPTIONS) {
            // SAFETY: this entry is behind `count`, so no reader looks at it yet, and `&mut self` is the only writer.
            unsafe { mapping.entry(index, CAPACITY).write(entry(set, description)) };
        }
        let cells: Vec<_> = (first..end).map(|index| mapping.value(index, CAPACITY)).collect();
        let counters = set_of(&cells, &self.memory);
        let next = end.next_multiple_of(SET_ALIGNMENT).min(CAPACITY);
        // SYNC: pairs with the acquire in `Counters::readings`: the entries are complete.
        self.header().count.store(next as u64, Ordering::Release);
        Ok(counters)
    }

    /// Says that the process is alive; call it several times a second, off the hot path.
    pub fn heartbeat(&mut self) {
        self.header().heartbeat_ns.store(monotonic_ns(), Ordering::Relaxed);
    }

    fn header(&self) -> &Header {
        // SAFETY: lies at the start of the mapping that `memory` keeps.
        unsafe { self.header.as_ref() }
    }

    fn mapping(&self) -> &Mapping {
        match &*self.memory {
            Memory::Mapped { _mapping } => _mapping,
            Memory::Heap { .. } => unreachable!("a counters file is mapped"),
        }
    }
}

/// Locks what is at `path` now; `None` when nothing is.
fn lock_previous(path: &Path) -> Result<Option<File>, HostError> {
    // Between opening and locking, the holder may have put a new file in place; then that one counts. Each turn lost
    // means that another process started, so a few suffice.
    for _ in 0..16 {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(HostError::from_io("open", &e, path.display().to_string())),
        };
        if !lock(&file) {
            break;
        }
        let same = |a: &fs::Metadata, b: &fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        match (file.metadata(), fs::metadata(path)) {
            (Ok(a), Ok(b)) if same(&a, &b) => return Ok(Some(file)),
            _ => continue,
        }
    }
    let holder =
        super::Counters::open(path).map_or_else(|_| "another process".into(), |c| format!("process {}", c.pid()));
    Err(HostError::new("flock", libc::EWOULDBLOCK, path.display().to_string())
        .with_mend(format!("{holder} is using the file: stop it, or give this process another data folder")))
}

/// Takes the lock that lives as long as the file is open; false when somebody else has it.
fn lock(file: &File) -> bool {
    // SAFETY: the descriptor is open.
    unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) == 0 }
}

/// Locks, sizes and maps a fresh file and writes its header.
fn prepare(file: File, path: &Path) -> Result<Mapping, HostError> {
    lock(&file);
    let bytes = file_bytes(CAPACITY);
    // Real blocks, not holes: a full file system shows here and not as a SIGBUS at the first count.
    // SAFETY: the descriptor is open.
    let errno = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, bytes as libc::off_t) };
    if errno != 0 {
        return Err(HostError::new("posix_fallocate", errno, path.display().to_string()));
    }
    let mapping = Mapping::new(file, bytes, true, path)?;
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let header = Header {
        magic: MAGIC,
        version: VERSION,
        pid: std::process::id(),
        started_ns: started.as_nanos() as u64,
        heartbeat_ns: AtomicU64::new(monotonic_ns()),
        count: AtomicU64::new(0),
        capacity: CAPACITY as u64,
    };
    // SAFETY: the mapping is fresh, large enough and known to nobody else.
    unsafe { mapping.start.cast::<Header>().write(header) };
    Ok(mapping)
}

fn entry(set: &str, description: &Description) -> Entry {
    let Description { label, unit, docs } = description;
    Entry { set: padded(set), label: padded(label), unit: padded(unit), docs: padded(docs.trim()) }
}

/// `text` cut at a character's end where it does not fit, zero padded.
fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let end = (0..=N.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    bytes[..end].copy_from_slice(&text.as_bytes()[..end]);
    bytes
}

/// `CLOCK_MONOTONIC` in nanoseconds.
pub(super) fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::{Counters, Liveness};
    use std::time::Duration;

    crate::counter_set! {
        /// For the tests.
        struct Mail {
            /// Letters that came.
            letters: letters,
            /// What they weighed.
            weight: grams,
        }
    }

    fn readings(path: &Path) -> Vec<(String, String, u64)> {
        let counters = Counters::open(path).expect("a counters file");
        counters.readings().map(|r| (r.set.to_owned(), r.label.to_owned(), r.value)).collect()
    }

    #[test]
    fn a_reader_sees_every_set_and_the_values_as_they_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("counters");
        let mut file = CountersFile::create(&path).expect("a new file");
        let (home, office): (Mail, Mail) = (file.add("home").expect("room"), file.add("office").expect("room"));
        home.letters.add(1);
        office.weight.add(40);
        let expected = |letters| {
            [("home", "letters", letters), ("home", "weight", 0), ("office", "letters", 0), ("office", "weight", 40)]
                .map(|(set, label, value)| (set.to_owned(), label.to_owned(), value))
        };
        assert_eq!(readings(&path), expected(1));
        home.letters.add(2);
        assert_eq!(readings(&path), expected(3));
    }

    #[test]
    fn a_live_file_is_refused_and_names_its_process_and_a_left_one_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("counters");
        let file = CountersFile::create(&path).expect("a new file");
        let error = CountersFile::create(&path).err().expect("the file is in use").to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(file);
        let mut file = CountersFile::create(&path).expect("the former holder is gone");
        let _mail: Mail = file.add("second").expect("room");
        assert_eq!(readings(&path).len(), 2);
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1, "no fresh file is left behind");
    }

    #[test]
    fn counters_outlive_the_file_handle() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("counters");
        let mut file = CountersFile::create(&path).expect("a new file");
        let mail: Mail = file.add("late").expect("room");
        drop(file);
        mail.letters.add(9);
        assert_eq!(readings(&path)[0].2, 9);
    }

    #[test]
    fn a_full_file_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut file = CountersFile::create(&folder.path().join("counters")).expect("a new file");
        for i in 0..CAPACITY / SET_ALIGNMENT {
            let _mail: Mail = file.add(&format!("set {i}")).expect("room");
        }
        assert_eq!(file.add::<Mail>("one too many").expect_err("full").errno, libc::ENOSPC);
    }

    #[test]
    fn a_heartbeat_shows_life_until_it_is_too_old() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("counters");
        let mut file = CountersFile::create(&path).expect("a new file");
        file.heartbeat();
        let counters = Counters::open(&path).expect("a counters file");
        assert_eq!(counters.liveness(Duration::from_secs(3600)), Liveness::Alive);
        assert!(matches!(counters.liveness(Duration::ZERO), Liveness::Silent { .. }));
    }

    #[test]
    fn texts_are_cut_at_a_characters_end() {
        assert_eq!(padded::<4>("aßßß"), *b"a\xc3\x9f\0");
    }
}
