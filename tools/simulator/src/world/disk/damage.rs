//! Damage to what was durable, while no process looks.

use super::faults::DiskFault;
use super::image::{BLOCK, Image, SECTOR};
use super::machine::Machine;
use super::records::Group;
use super::{CHECKPOINTS, JOURNAL};
use crate::world::random::Random;
use std::fmt;
use std::path::{Path, PathBuf};

/// How often a place is drawn until damage there changes something.
const TRIES_MAX: usize = 256;

/// What was damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    pub kind: DiskFault,
    /// In which file, from which byte on.
    pub path: PathBuf,
    pub at: u64,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} from byte {} on", self.kind.name(), self.path.display(), self.at)
    }
}

/// A group of the present journal, in the file that has it.
struct Placed {
    path: PathBuf,
    group: Group,
}

impl Machine {
    /// Damages what is durable. `None` where nothing of this kind can be.
    pub(super) fn damage(&mut self, kind: DiskFault) -> Option<Damaged> {
        let groups = self.groups_in_use();
        let (last, earlier) = groups.split_last()?;
        let damaged = match kind {
            DiskFault::End => flip(&mut self.image, &mut self.random, last),
            DiskFault::Checkpoint => damage_checkpoint(&mut self.image, &mut self.random),
            DiskFault::Short => cut(&mut self.image, &mut self.random, &groups),
            DiskFault::Foreign => damage_identity(&mut self.image),
            _ => {
                let mut damaged = None;
                for _ in 0..TRIES_MAX {
                    if earlier.is_empty() || damaged.is_some() {
                        break;
                    }
                    let placed = &earlier[self.random.below(earlier.len())];
                    let other = &groups[self.random.below(groups.len())];
                    damaged = match kind {
                        DiskFault::Rot => flip(&mut self.image, &mut self.random, placed),
                        DiskFault::Misdirected => misdirect(&mut self.image, placed, other),
                        _ => replace_sector(&mut self.image, &mut self.random, placed, kind == DiskFault::Stale),
                    };
                }
                damaged
            }
        };
        let names = &self.image.names_kept;
        self.image.names.clone_from(names);
        self.image.files.values_mut().for_each(|file| file.seen = file.kept.clone());
        damaged.map(|(path, at)| Damaged { kind, path, at })
    }

    /// The groups of the segments that are in use, in the order in which they were written.
    fn groups_in_use(&self) -> Vec<Placed> {
        let named = |group: Group| {
            let path = Path::new(JOURNAL).join(format!("segment-{:016x}.journal", group.segment));
            (self.image.names_kept.get(&path) == Some(&group.file)).then_some(Placed { path, group })
        };
        self.records.groups().into_iter().filter_map(named).collect()
    }
}

/// One bit of a group flips.
fn flip(image: &mut Image, random: &mut Random, Placed { path, group }: &Placed) -> Option<(PathBuf, u64)> {
    let kept = &mut image.kept_mut(path)?.kept;
    let at = group.at + random.below(group.bytes) as u64;
    let mut byte = [0];
    kept.read(at, &mut byte);
    kept.write(at, &[byte[0] ^ 1 << random.below(8)]);
    Some((path.clone(), at))
}

/// One sector of a group reads as zeros, or as it did before.
fn replace_sector(image: &mut Image, random: &mut Random, placed: &Placed, stale: bool) -> Option<(PathBuf, u64)> {
    let Placed { path, group } = placed;
    let file = image.kept_mut(path)?;
    let at = group.at + (random.below(group.bytes / SECTOR) * SECTOR) as u64;
    let mut with = [0; SECTOR];
    if stale {
        file.former.read(at, &mut with);
    }
    if file.kept.is(at, &with) {
        return None;
    }
    file.kept.write(at, &with);
    Some((path.clone(), at))
}

/// A segment's file ends before its time, within a group or between two.
fn cut(image: &mut Image, random: &mut Random, groups: &[Placed]) -> Option<(PathBuf, u64)> {
    let path = &groups[random.below(groups.len())].path;
    let kept = &mut image.kept_mut(path)?.kept;
    let at = random.below(kept.bytes as usize) as u64;
    kept.cut(at);
    Some((path.clone(), at))
}

/// The first block of a group stands where another's belongs.
fn misdirect(image: &mut Image, placed: &Placed, other: &Placed) -> Option<(PathBuf, u64)> {
    let mut block = vec![0; BLOCK];
    image.kept_mut(&other.path)?.kept.read(other.group.at, &mut block);
    let kept = &mut image.kept_mut(&placed.path)?.kept;
    if kept.is(placed.group.at, &block) {
        return None;
    }
    kept.write(placed.group.at, &block);
    Some((placed.path.clone(), placed.group.at))
}

/// A table or a page of the checkpoints is damaged, a table is cut, or gone.
fn damage_checkpoint(image: &mut Image, random: &mut Random) -> Option<(PathBuf, u64)> {
    let names = ["table-0", "table-1", "pages-a", "pages-b"];
    let path = Path::new(CHECKPOINTS).join(names[random.below(4)]);
    let kept = &mut image.kept_mut(&path)?.kept;
    let blocks: Vec<u64> = kept.blocks().collect();
    if blocks.is_empty() {
        return None;
    }
    let at = blocks[random.below(blocks.len())] + random.below(BLOCK) as u64;
    match random.below(3) {
        0 => {
            image.names_kept.remove(&path);
            return Some((path, 0));
        }
        1 => kept.cut(at),
        _ => {
            let mut byte = [0];
            kept.read(at, &mut byte);
            kept.write(at, &[!byte[0]]);
        }
    }
    Some((path, at))
}

/// The journal says that it is another replica's: as if two machines' disks had been exchanged. Its checksum is right.
fn damage_identity(image: &mut Image) -> Option<(PathBuf, u64)> {
    let path = Path::new(JOURNAL).join("identity");
    let kept = &mut image.kept_mut(&path)?.kept;
    let mut bytes = [0; 88];
    kept.read(0, &mut bytes);
    bytes[12] ^= 1;
    let mut writer = logothete_crypto::DigestWriter::new("logothete journal identity");
    writer.update(&bytes[56..72]);
    writer.update(&bytes[..72]);
    bytes[72..].copy_from_slice(&writer.finish().0[..16]);
    kept.write(0, &bytes);
    Some((path, 12))
}
