//! Reading another process's counters.

use super::file::{CAPACITY, Entry, HEADER_BYTES, MAGIC, Mapping, VERSION, file_bytes, monotonic_ns};
use crate::HostError;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A counters file, opened for reading; values are as fresh as the memory.
pub struct Counters {
    mapping: Mapping,
    capacity: usize,
}

/// One counter and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading<'a> {
    /// The name of its writer.
    pub set: &'a str,
    /// Its name inside the set.
    pub label: &'a str,
    /// What one of it is.
    pub unit: &'a str,
    /// What it means.
    pub docs: &'a str,
    /// Its value now.
    pub value: u64,
}

/// Whether a counters file's process still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It runs and gave a sign of life recently.
    Alive,
    /// It exists but has been silent for this long: it is paused, stuck, or its number belongs to another process now.
    Silent {
        /// Time since its last sign of life.
        age: Duration,
    },
    /// It is gone.
    Dead,
}

impl Counters {
    /// Maps a counters file, whether its process is alive or not.
    ///
    /// # Errors
    ///
    /// There is no such file, or it is not a counters file of this version.
    pub fn open(path: &Path) -> Result<Counters, HostError> {
        let what = || path.display().to_string();
        let foreign = |mend: &str| Err(HostError::new("mmap", libc::EINVAL, what()).with_mend(mend));
        let file = File::open(path).map_err(|e| HostError::from_io("open", &e, what()))?;
        let bytes = file.metadata().map_err(|e| HostError::from_io("stat", &e, what()))?.len() as usize;
        if bytes < HEADER_BYTES {
            return foreign("this is no counters file: check the path");
        }
        // Writers never shorten a file, they replace it; so this mapping stays readable.
        let mapping = Mapping::new(file, bytes, false, path)?;
        let header = mapping.header();
        if header.magic != MAGIC {
            return foreign("this is no counters file: check the path");
        }
        if header.version != VERSION {
            return foreign("another version wrote this counters file: read it with the program that belongs to it");
        }
        let capacity = header.capacity as usize;
        if capacity != CAPACITY || file_bytes(capacity) > bytes {
            return foreign("the counters file is damaged: restart its process");
        }
        Ok(Counters { mapping, capacity })
    }

    /// The process that writes or wrote the file.
    pub fn pid(&self) -> u32 {
        self.mapping.header().pid
    }

    /// When the process made the file, in nanoseconds since 1970.
    pub fn started_ns(&self) -> u64 {
        self.mapping.header().started_ns
    }

    /// Whether the process runs; one that gave no sign of life for `silence_max` counts as silent.
    pub fn liveness(&self, silence_max: Duration) -> Liveness {
        // SAFETY: signal 0 is never delivered; the call only asks whether the process exists.
        let found = unsafe { libc::kill(self.pid() as libc::pid_t, 0) } == 0;
        // EPERM: it exists and is somebody else's.
        if !found && std::io::Error::last_os_error().raw_os_error() != Some(libc::EPERM) {
            return Liveness::Dead;
        }
        let heartbeat_ns = self.mapping.header().heartbeat_ns.load(Ordering::Relaxed);
        let age = Duration::from_nanos(monotonic_ns().saturating_sub(heartbeat_ns));
        if age <= silence_max { Liveness::Alive } else { Liveness::Silent { age } }
    }

    /// Every counter with its current value, in the order of their placing.
    pub fn readings(&self) -> impl Iterator<Item = Reading<'_>> {
        // SYNC: pairs with the release in `CountersFile::add`.
        let count = self.mapping.header().count.load(Ordering::Acquire) as usize;
        (0..count.min(self.capacity)).filter_map(|index| self.reading(index))
    }

    fn reading(&self, index: usize) -> Option<Reading<'_>> {
        // SAFETY: entries in front of `count` are complete and never change again.
        let entry: &Entry = unsafe { self.mapping.entry(index, self.capacity).as_ref() };
        // SAFETY: the cell lies in the mapping and is only ever accessed atomically.
        let value = unsafe { self.mapping.value(index, self.capacity).as_ref() }.load(Ordering::Relaxed);
        let label = text(&entry.label);
        // Padding between sets has none.
        (!label.is_empty()).then(|| Reading {
            set: text(&entry.set),
            label,
            unit: text(&entry.unit),
            docs: text(&entry.docs),
            value,
        })
    }
}

/// The text in front of the zeros; what is not UTF-8 was not written by us and shows as nothing.
fn text(padded: &[u8]) -> &str {
    let end = padded.iter().position(|&b| b == 0).unwrap_or(padded.len());
    std::str::from_utf8(&padded[..end]).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_files_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        assert_eq!(Counters::open(&path).err().expect("missing").errno, libc::ENOENT);
        for content in [vec![], vec![1; 100], vec![1; file_bytes(CAPACITY)], MAGIC.to_ne_bytes().repeat(1000)] {
            std::fs::write(&path, content).expect("a written file");
            assert_eq!(Counters::open(&path).err().expect("foreign").errno, libc::EINVAL);
        }
    }

    #[test]
    fn a_process_that_is_gone_is_dead() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("counters");
        drop(super::super::CountersFile::create(&path).expect("a new file"));
        let mut child = std::process::Command::new("true").spawn().expect("a process that ends at once");
        child.wait().expect("it ended");
        let mut bytes = std::fs::read(&path).expect("the file");
        bytes[12..16].copy_from_slice(&child.id().to_ne_bytes());
        std::fs::write(&path, bytes).expect("a written file");
        assert_eq!(Counters::open(&path).expect("a counters file").liveness(Duration::MAX), Liveness::Dead);
    }
}
