//! Writing a checkpoint, and reading one.

use super::table::{self, Map, Place, StoredCheckpoint};
use super::{CheckpointConfig, CheckpointError};
use crate::numbers::SequenceNumber;
use crate::state::{PAGE_BYTES, Snapshot, State};
use logothete_transport::HostError;
use logothete_transport::storage::{self, Access, FileSystem, OpenFile, write_durably};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Neighbouring pages that are written or read in one call.
const RUN_BYTES_MAX: usize = 64 * PAGE_BYTES;

/// The disk is waited for after so much: a longer backlog would hold up the journal's writes on the same disk.
const BACKLOG_BYTES_MAX: usize = 8 << 20;

/// A checkpoint to write.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) sequence: SequenceNumber,
    pub(super) snapshot: Snapshot,
    pub(super) blob: Vec<u8>,
}

/// The two files of pages.
#[derive(Debug)]
pub(super) struct Files {
    a: (Box<dyn OpenFile>, PathBuf),
    b: (Box<dyn OpenFile>, PathBuf),
}

impl Files {
    /// Opens them, and makes them where there are none.
    pub(super) fn open(file_system: &dyn FileSystem, directory: &Path) -> Result<Self, HostError> {
        Self::open_for(file_system, directory, Access::WriteOrCreate)
    }

    /// Opens them to read them only.
    pub(super) fn open_to_read(file_system: &dyn FileSystem, directory: &Path) -> Result<Self, HostError> {
        Self::open_for(file_system, directory, Access::Read)
    }

    fn open_for(file_system: &dyn FileSystem, directory: &Path, access: Access) -> Result<Self, HostError> {
        let open = |name| {
            let path = directory.join(name);
            match file_system.open(&path, access) {
                Ok(file) => Ok((file, path)),
                Err(error) => Err(HostError::from_io("open", &error, path.display().to_string())),
            }
        };
        Ok(Self { a: open("pages-a")?, b: open("pages-b")? })
    }

    fn of(&self, place: Place) -> &(Box<dyn OpenFile>, PathBuf) {
        match place {
            Place::A => &self.a,
            Place::B => &self.b,
            Place::Absent => unreachable!("an absent page is in no file"),
        }
    }

    /// Reads the pages of a checkpoint. Whether they are the right ones its digest says.
    pub(super) fn load(&self, stored: &StoredCheckpoint, pages: u64) -> Result<State, CheckpointError> {
        let mut state = State::new(pages);
        let mut bytes = vec![0; RUN_BYTES_MAX];
        let mut present = stored.map.present().peekable();
        while let Some((first, place)) = present.next() {
            let mut count = 1;
            while count < RUN_BYTES_MAX / PAGE_BYTES && present.next_if_eq(&(first + count as u64, place)).is_some() {
                count += 1;
            }
            let run = &mut bytes[..count * PAGE_BYTES];
            self.read(place, first, run)?;
            for (page, bytes) in (first..).zip(run.chunks_exact(PAGE_BYTES)) {
                state.page_mut(page).copy_from_slice(bytes);
            }
        }
        Ok(state)
    }

    /// Reads pages; what is beyond the file's end is zeros, which the digest will not agree with.
    fn read(&self, place: Place, first: u64, mut into: &mut [u8]) -> Result<(), HostError> {
        let (file, path) = self.of(place);
        let mut offset = first * PAGE_BYTES as u64;
        while !into.is_empty() {
            match file.read_at(into, offset) {
                Ok(0) => {
                    into.fill(0);
                    return Ok(());
                }
                Ok(count) => {
                    into = &mut into[count..];
                    offset += count as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(HostError::from_io("pread", &error, path.display().to_string())),
            }
        }
        Ok(())
    }

    fn write(&self, place: Place, first: u64, bytes: &[u8]) -> Result<(), HostError> {
        let (file, path) = self.of(place);
        file.write_all_at(bytes, first * PAGE_BYTES as u64)
            .map_err(|error| HostError::from_io("pwrite", &error, path.display().to_string()))
    }

    fn sync(&self) -> Result<(), HostError> {
        for (file, path) in [&self.a, &self.b] {
            file.sync_data().map_err(|error| HostError::from_io("fdatasync", &error, path.display().to_string()))?;
        }
        Ok(())
    }
}

/// Writes one checkpoint at a time.
#[derive(Debug)]
pub(super) struct Scribe {
    file_system: Arc<dyn FileSystem>,
    config: CheckpointConfig,
    directory: PathBuf,
    files: Files,
    /// The last durable checkpoint, whose pages must stay.
    kept: Map,
    generation: u64,
    /// Its snapshot, where this process has it.
    base: Option<Snapshot>,
}

impl Scribe {
    pub(super) fn new(
        file_system: Arc<dyn FileSystem>,
        config: CheckpointConfig,
        directory: &Path,
        files: Files,
        kept: Option<&StoredCheckpoint>,
        base: Option<Snapshot>,
    ) -> Self {
        let (kept, generation) = kept.map_or((Map::default(), 0), |kept| (kept.map.clone(), kept.generation));
        Self { file_system, config, directory: directory.to_owned(), files, kept, generation, base }
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    /// Writes a checkpoint; when this returns its number it is durable.
    fn write(&mut self, job: Job) -> Result<SequenceNumber, HostError> {
        let digest = job.snapshot.digest();
        let map = self.write_pages(&job.snapshot)?;
        // The pages first: a table never names a page that is not on the disk.
        self.files.sync()?;
        let stored = StoredCheckpoint {
            config: self.config,
            sequence: job.sequence,
            digest,
            blob: job.blob,
            generation: self.generation + 1,
            map,
        };
        write_durably(&*self.file_system, &self.directory.join(table::name(stored.generation)), &stored.encode())?;
        self.kept = stored.map;
        self.generation = stored.generation;
        self.base = Some(job.snapshot);
        Ok(stored.sequence)
    }

    /// Writes what changed since the last durable checkpoint, each page to the place that is not kept.
    fn write_pages(&self, snapshot: &Snapshot) -> Result<Map, HostError> {
        // Without a base every page is written, and no other one is there.
        let nothing;
        let (base, mut map) = match &self.base {
            Some(base) => (base, self.kept.clone()),
            None => {
                nothing = State::new(self.config.pages).snapshot();
                (&nothing, Map::default())
            }
        };
        let mut run = Run { files: &self.files, place: Place::Absent, first: 0, bytes: Vec::new(), backlog: 0 };
        let mut outcome = Ok(());
        snapshot.changed_since(base, |page, bytes| {
            let Some(bytes) = bytes else {
                map.set(page, Place::Absent);
                return;
            };
            let place = if self.kept.place(page) == Place::A { Place::B } else { Place::A };
            map.set(page, place);
            if outcome.is_ok() {
                outcome = run.push(page, place, bytes);
            }
        });
        outcome.and_then(|()| run.write()).map(|()| map)
    }
}

impl storage::Worker for Scribe {
    type Job = Job;
    type Outcome = Result<SequenceNumber, HostError>;

    fn work(&mut self, job: Job) -> Option<Self::Outcome> {
        Some(self.write(job))
    }
}

/// Neighbouring pages that wait for being written in one call.
struct Run<'a> {
    files: &'a Files,
    place: Place,
    first: u64,
    bytes: Vec<u8>,
    /// Bytes written since the disk was waited for.
    backlog: usize,
}

impl Run<'_> {
    fn push(&mut self, page: u64, place: Place, bytes: &[u8; PAGE_BYTES]) -> Result<(), HostError> {
        let next = self.first + (self.bytes.len() / PAGE_BYTES) as u64;
        if (page, place) != (next, self.place) || self.bytes.len() >= RUN_BYTES_MAX {
            self.write()?;
            (self.place, self.first) = (place, page);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn write(&mut self) -> Result<(), HostError> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        self.files.write(self.place, self.first, &self.bytes)?;
        self.backlog += self.bytes.len();
        self.bytes.clear();
        if self.backlog >= BACKLOG_BYTES_MAX {
            self.backlog = 0;
            self.files.sync()?;
        }
        Ok(())
    }
}
