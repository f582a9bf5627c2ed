//! The files of a disk, twice: as a process sees them, and as they would be after a power cut.
//!
//! What a process asks for it sees at once. On the disk it is in two steps: *performed*, a write or a change of a name is in the cache, where a
//! crash may leave any part of it; only waiting for the file, or for the directory, makes it durable.

use super::loss::Loss;
use crate::world::random::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const BLOCK: usize = 4096;

/// What a disk writes whole or not at all.
pub(super) const SECTOR: usize = 512;

type Block = Arc<[u8; BLOCK]>;

/// The bytes of a file; blocks that are not there are holes.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) bytes: u64,
    blocks: BTreeMap<u64, Block>,
}

impl Content {
    pub(super) fn read(&self, at: u64, into: &mut [u8]) -> usize {
        let count = self.bytes.saturating_sub(at).min(into.len() as u64) as usize;
        let mut done = 0;
        while done < count {
            let (block, from) = place(at + done as u64);
            let length = (BLOCK - from).min(count - done);
            match self.blocks.get(&block) {
                Some(bytes) => into[done..done + length].copy_from_slice(&bytes[from..from + length]),
                None => into[done..done + length].fill(0),
            }
            done += length;
        }
        count
    }

    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let (block, from) = place(at + done as u64);
            let length = (BLOCK - from).min(bytes.len() - done);
            let held = self.blocks.entry(block).or_insert_with(|| Arc::new([0; BLOCK]));
            Arc::make_mut(held)[from..from + length].copy_from_slice(&bytes[done..done + length]);
            done += length;
        }
        self.bytes = self.bytes.max(at + bytes.len() as u64);
    }

    pub(super) fn cut(&mut self, bytes: u64) {
        self.bytes = self.bytes.min(bytes);
        self.blocks.retain(|block, _| block * (BLOCK as u64) < bytes);
    }

    /// Whether every block of a range is there, so that writing to it takes no room.
    pub(super) fn has(&self, at: u64, length: usize) -> bool {
        let blocks = at / BLOCK as u64..(at + length as u64).div_ceil(BLOCK as u64);
        blocks.into_iter().all(|block| self.blocks.contains_key(&block))
    }

    pub(super) fn is(&self, at: u64, bytes: &[u8]) -> bool {
        let is_here = |(block, from, piece): (u64, usize, Range<usize>)| match self.blocks.get(&block) {
            Some(held) => held[from..from + piece.len()] == bytes[piece],
            None => bytes[piece].iter().all(|byte| *byte == 0),
        };
        at + bytes.len() as u64 <= self.bytes && pieces(at, bytes.len()).all(is_here)
    }

    /// Takes over a range of another file's bytes, which has blocks there.
    fn copy(&mut self, from: &Self, at: u64, length: usize) {
        for (block, within, piece) in pieces(at, length) {
            let held = self.blocks.entry(block).or_insert_with(|| Arc::new([0; BLOCK]));
            let place = within..within + piece.len();
            match from.blocks.get(&block) {
                Some(bytes) => Arc::make_mut(held)[place.clone()].copy_from_slice(&bytes[place]),
                None => Arc::make_mut(held)[place].fill(0),
            }
        }
        self.bytes = self.bytes.max(at + length as u64);
    }

    /// The places of the blocks that are there.
    pub(super) fn blocks(&self) -> impl Iterator<Item = u64> {
        self.blocks.keys().map(|block| block * BLOCK as u64)
    }
}

/// Cuts so many bytes from a place on where blocks end: block, offset within it, which of the bytes.
fn pieces(at: u64, length: usize) -> impl Iterator<Item = (u64, usize, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let (block, from) = place(at + done as u64);
        let piece = done..length.min(done + BLOCK - from);
        done = piece.end;
        (!piece.is_empty()).then_some((block, from, piece))
    })
}

fn place(at: u64) -> (u64, usize) {
    (at / BLOCK as u64, (at % BLOCK as u64) as usize)
}

/// A file.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    /// In which directory it is; nothing is moved to another.
    pub(super) directory: PathBuf,
    /// As a process sees it.
    pub(super) seen: Content,
    /// As it is after a power cut.
    pub(super) kept: Content,
    /// What stood in each sector of it before that was last written.
    pub(super) former: Content,
}

/// A change of a name.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Enter { path: PathBuf, file: u64 },
    Rename { from: PathBuf, to: PathBuf },
    Leave { path: PathBuf },
}

impl Change {
    fn path(&self) -> &Path {
        match self {
            Self::Enter { path, .. } | Self::Leave { path } => path,
            Self::Rename { to, .. } => to,
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Enter { path, file } => drop(names.insert(path.clone(), *file)),
            Self::Leave { path } => drop(names.remove(path)),
            Self::Rename { from, to } => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
        }
    }
}

/// Something that a process asks of its disk.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Only so many of the bytes get there, if it fails.
    Write {
        file: u64,
        at: u64,
        bytes: Vec<u8>,
        count: usize,
    },
    /// Waits for what was written to a file.
    Sync {
        file: u64,
    },
    /// The same, and it fails.
    FailedSync {
        file: u64,
    },
    Name(Change),
    /// Waits for the names in a directory.
    SyncDirectory {
        path: PathBuf,
    },
}

impl Step {
    /// Whether the disk has to be waited for.
    pub(super) fn waits(&self) -> bool {
        !matches!(self, Self::Write { .. } | Self::Name(_))
    }
}

/// A write in the cache, or one that became durable.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) file: u64,
    pub(super) at: u64,
    /// What was to be written, and how much of it was.
    pub(super) bytes: Vec<u8>,
    pub(super) count: usize,
}

/// A disk's files.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    pub(super) files: BTreeMap<u64, File>,
    pub(super) directories: BTreeSet<PathBuf>,
    /// As a process sees them.
    pub(super) names: BTreeMap<PathBuf, u64>,
    /// As they are after a power cut.
    pub(super) names_kept: BTreeMap<PathBuf, u64>,
    written: Vec<Written>,
    changed: Vec<Change>,
    made: u64,
}

impl Image {
    /// A new file, under no name yet.
    pub(super) fn make(&mut self, directory: &Path) -> u64 {
        self.made += 1;
        self.files.insert(self.made, File { directory: directory.to_owned(), ..File::default() });
        self.made
    }

    pub(super) fn file(&self, file: u64) -> &File {
        &self.files[&file]
    }

    /// The file that has a name for good.
    pub(super) fn kept_mut(&mut self, path: &Path) -> Option<&mut File> {
        self.files.get_mut(self.names_kept.get(path)?)
    }

    /// What the process that asks sees at once.
    pub(super) fn ask(&mut self, step: &Step) {
        match step {
            Step::Write { file, at, bytes, count } => {
                self.files.get_mut(file).expect("files are not destroyed").seen.write(*at, &bytes[..*count]);
            }
            Step::Name(change) => change.apply(&mut self.names),
            Step::Sync { .. } | Step::FailedSync { .. } | Step::SyncDirectory { .. } => {}
        }
    }

    /// Does a step. Returns the writes that became durable with it.
    pub(super) fn perform(&mut self, step: Step, random: &mut Random) -> Vec<Written> {
        match step {
            Step::Write { file, at, bytes, count } => self.written.push(Written { file, at, bytes, count }),
            Step::Name(change) => self.changed.push(change),
            Step::SyncDirectory { path } => {
                let within = |change: &mut Change| change.path().parent() == Some(&path);
                for change in self.changed.extract_if(.., within) {
                    change.apply(&mut self.names_kept);
                }
            }
            Step::Sync { file } => return self.settle(file, Loss::Nothing, random),
            Step::FailedSync { file } => return self.settle(file, Loss::Sectors, random),
        }
        Vec::new()
    }

    /// What was written to a file leaves the cache.
    fn settle(&mut self, file: u64, loss: Loss, random: &mut Random) -> Vec<Written> {
        let all: Vec<Written> = self.written.extract_if(.., |written| written.file == file).collect();
        self.keep(all, loss, random)
    }

    fn keep(&mut self, written: Vec<Written>, loss: Loss, random: &mut Random) -> Vec<Written> {
        for (write, sector) in loss.kept(&written, random) {
            let Written { file, at, bytes, .. } = &written[write];
            let File { kept, former, .. } = self.files.get_mut(file).expect("files are not destroyed");
            let place = *at + sector.start as u64;
            former.copy(kept, place, sector.len());
            kept.write(place, &bytes[sector]);
        }
        let files = &self.files;
        written.into_iter().filter(|write| files[&write.file].kept.is(write.at, &write.bytes)).collect()
    }

    /// The power fails: what is in the cache is lost as far as `loss` says, and what a process sees next is what is left. Returns the writes
    /// that are there as a whole, and those of which the beginning is there and not all.
    pub(super) fn crash(&mut self, loss: Loss, random: &mut Random) -> (Vec<Written>, Vec<Written>) {
        let written = std::mem::take(&mut self.written);
        let mut begun = written.clone();
        let mut kept = self.keep(written, loss, random);
        let changed = std::mem::take(&mut self.changed);
        // A file system keeps the order of its names.
        for change in &changed[..loss.names_kept(changed.len(), random)] {
            change.apply(&mut self.names_kept);
        }
        self.names.clone_from(&self.names_kept);
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.files.retain(|file, _| named.contains(file));
        kept.retain(|written| named.contains(&written.file));
        begun.retain(|written| {
            let kept = self.files.get(&written.file).map(|file| &file.kept);
            let first = &written.bytes[..written.bytes.len().min(SECTOR)];
            kept.is_some_and(|kept| kept.is(written.at, first) && !kept.is(written.at, &written.bytes))
        });
        self.files.values_mut().for_each(|file| file.seen = file.kept.clone());
        (kept, begun)
    }
}
