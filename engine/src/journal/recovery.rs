//! Reading a journal: what is in it, where it ends, and whether the end is a torn write or damage.
//!
//! One write is in flight at a time, and the next begins only when it is durable. So at most one group can be torn, and
//! it is the last one: an invalid group with nothing valid after it is the write that a crash interrupted, which was
//! never acknowledged, and is cut. An invalid group with anything valid after it was durable once, and is damage
//! (`protocol.md JR-3`). What looks valid can only have been written here, in this life of the file: see the salt, the
//! segment numbers and the chain in `segment`.
//!
//! *Limit:* rot of the very last group, of a journal that was not closed, looks like a torn one.

use super::error::JournalError;
use super::foreign::ForeignFile;
use super::identity::Identity;
use super::record::Record;
use super::segment::{Checksum, GROUPS_OFFSET, Group, GroupKind, HeaderFault, SegmentHeader, VERSION};
use super::segment::{is_begun, read_group};
use super::{Mark, files};
use logothete_transport::HostError;
use logothete_transport::storage::{AlignedBuffer, BLOCK_BYTES, FileSystem, SegmentFile};
use std::path::{Path, PathBuf};

/// Where a journal's segments come from: files, or a test's memory.
pub(super) trait Source {
    /// The numbers of the segments there are, ascending.
    fn numbers(&self) -> &[u64];
    /// The bytes of one.
    fn read(&mut self, number: u64) -> Result<&[u8], JournalError>;
    /// Its name in errors.
    fn path(&self, number: u64) -> PathBuf;
}

/// The segments of a directory.
pub(super) struct Files<'a> {
    file_system: &'a dyn FileSystem,
    directory: &'a Path,
    numbers: Vec<u64>,
    buffer: Option<AlignedBuffer>,
}

impl<'a> Files<'a> {
    pub(super) fn new(file_system: &'a dyn FileSystem, directory: &'a Path) -> Result<Self, HostError> {
        Ok(Self { file_system, directory, numbers: files::list(file_system, directory)?.segments, buffer: None })
    }
}

impl Source for Files<'_> {
    fn numbers(&self) -> &[u64] {
        &self.numbers
    }

    fn read(&mut self, number: u64) -> Result<&[u8], JournalError> {
        let file = SegmentFile::open_to_read(self.file_system, &self.path(number))?;
        let bytes = file.bytes() as usize;
        if self.buffer.as_ref().is_none_or(|buffer| buffer.len() != bytes) {
            self.buffer = Some(AlignedBuffer::new(bytes));
        }
        let buffer = self.buffer.as_mut().expect("there is one by now");
        file.read(0, buffer)?;
        Ok(buffer)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(files::segment_name(number))
    }
}

/// A write that a crash interrupted, and that was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// In which segment.
    pub segment: u64,
    /// Where it began.
    pub offset: u64,
}

/// A segment that holds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// Its number.
    pub number: u64,
    /// Its first record's mark, if it has records.
    pub first: Mark,
    /// Its groups.
    pub groups: u64,
    /// Its records.
    pub records: u64,
    /// Where its groups end.
    pub end: u64,
    /// Its size.
    pub bytes: u64,
}

/// What a journal holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The segments in use, in order. The last one is written to.
    pub segments: Vec<SegmentSummary>,
    /// Segments made in advance, empty yet.
    pub prepared: Vec<u64>,
    /// The mark of the first record there is, or of the next to come.
    pub first: Mark,
    /// The mark of the last record; the one before [`first`](Self::first) when there is none.
    pub last: Mark,
    /// Whether it was closed in good order: nothing was written after the closing.
    pub closed: bool,
    /// What was cut.
    pub torn: Option<Torn>,
    pub(super) chain: Checksum,
}

/// Reads a journal, and shows each record with its mark to `visit`.
///
/// Damage is found while reading: when this returns an error, what `visit` saw before is worth nothing.
pub(super) fn read(
    source: &mut dyn Source,
    identity: &Identity,
    visit: &mut dyn FnMut(Mark, Record<'_>),
) -> Result<Contents, JournalError> {
    let numbers = source.numbers().to_vec();
    let lowest = *numbers.first().ok_or(JournalError::Missing { segment: 1 })?;
    if let Some(gap) = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1) {
        return Err(JournalError::Missing { segment: gap[0] + 1 });
    }
    let mut walk = Walk {
        identity,
        visit,
        contents: Contents {
            segments: Vec::new(),
            prepared: Vec::new(),
            first: Mark(1),
            last: Mark(0),
            closed: false,
            torn: None,
            chain: Checksum::default(),
        },
        broken: None,
    };
    for &number in &numbers {
        let path = source.path(number);
        walk.segment(number, lowest, source.read(number)?, &path)?;
    }
    if let Some(Broken { segment, offset, begun }) = walk.broken {
        // Nothing valid came after it: it is where the journal ends.
        walk.contents.torn = begun.then_some(Torn { segment, offset });
    }
    Ok(walk.contents)
}

/// The first place without a valid group, in the segment that was in use last.
#[derive(Clone, Copy)]
struct Broken {
    segment: u64,
    offset: u64,
    /// Whether something was written there, as far as one can see.
    begun: bool,
}

struct Walk<'a> {
    identity: &'a Identity,
    visit: &'a mut dyn FnMut(Mark, Record<'_>),
    contents: Contents,
    broken: Option<Broken>,
}

impl Walk<'_> {
    fn segment(&mut self, number: u64, lowest: u64, bytes: &[u8], path: &Path) -> Result<(), JournalError> {
        let corrupt = |offset: u64, reason| JournalError::Corrupt { segment: number, offset, reason };
        if bytes.len() as u64 != self.identity.segment_bytes {
            let kept = self.identity.segment_bytes.min(bytes.len() as u64);
            return Err(corrupt(kept, "the file has another size than when it was made"));
        }
        let header = match SegmentHeader::read(bytes) {
            Ok(header) if header.number() == number && header.salt == self.identity.salt => header,
            Err(HeaderFault::Version(found)) => {
                return Err(ForeignFile::Version { path: path.to_owned(), found, expected: VERSION }.into());
            }
            // Damaged, or of a former life.
            _ => return self.not_begun(number, lowest, bytes),
        };
        if (header.context, header.replica()) != (self.identity.context, self.identity.replica.0) {
            return Err(corrupt(0, "its header names another journal"));
        }
        if let Some(&unused) = self.contents.prepared.first() {
            return Err(JournalError::Corrupt {
                segment: unused,
                offset: 0,
                reason: "its header is not valid, and a later segment is in use",
            });
        }
        if number == lowest {
            self.contents.first = header.first();
            self.contents.last = Mark(header.first().0.wrapping_sub(1));
        } else if header.previous != self.contents.chain || header.first() != self.contents.last.next() {
            let broken = self.broken.expect("a segment before this one was read to its end");
            return Err(JournalError::Corrupt {
                segment: broken.segment,
                offset: broken.offset,
                reason: "a group is not valid, and the next segment follows it",
            });
        }
        self.contents.chain = header.checksum;
        self.groups(number, bytes)
    }

    /// A segment without a header of this life: made in advance, or its first write was torn; or it is damaged.
    fn not_begun(&mut self, number: u64, lowest: u64, bytes: &[u8]) -> Result<(), JournalError> {
        let corrupt = |reason| Err(JournalError::Corrupt { segment: number, offset: 0, reason });
        // The header and the first group are one write, so a torn one may have left the group without the header.
        if self.valid_after(number, bytes, GROUPS_OFFSET) {
            return corrupt("its header is not valid, and groups follow it");
        }
        if number == lowest && number != 1 {
            return corrupt("its header is not valid, and it is the first segment that is kept");
        }
        if number == lowest {
            // The journal's first write never succeeded.
            self.contents.segments.push(SegmentSummary {
                number,
                first: Mark(1),
                groups: 0,
                records: 0,
                end: 0,
                bytes: bytes.len() as u64,
            });
            self.broken = Some(Broken { segment: number, offset: 0, begun: false });
        } else {
            self.contents.prepared.push(number);
        }
        Ok(())
    }

    fn groups(&mut self, number: u64, bytes: &[u8]) -> Result<(), JournalError> {
        let first = self.contents.last.next();
        let mut offset = GROUPS_OFFSET;
        let mut groups = 0;
        let broken = loop {
            let Some(group) = read_group(bytes, offset, number, &self.identity.salt) else {
                break "a group is not valid, and later ones are";
            };
            if group.place.previous != self.contents.chain || group.place.first != self.contents.last.next() {
                if offset == GROUPS_OFFSET {
                    // Of a first write whose header was lost, hence not acknowledged; then the header was written anew.
                    break "the first group is of another header, and later ones are valid";
                }
                return Err(JournalError::Corrupt {
                    segment: number,
                    offset: offset as u64,
                    reason: "a group does not continue the one before",
                });
            }
            self.group(&group)?;
            offset += group.extent;
            groups += 1;
        };
        if self.valid_after(number, bytes, offset) {
            return Err(JournalError::Corrupt { segment: number, offset: offset as u64, reason: broken });
        }
        self.broken = Some(Broken { segment: number, offset: offset as u64, begun: is_begun(bytes, offset, number) });
        self.contents.segments.push(SegmentSummary {
            number,
            first,
            groups,
            records: self.contents.last.0 + 1 - first.0,
            end: offset as u64,
            bytes: bytes.len() as u64,
        });
        Ok(())
    }

    fn group(&mut self, group: &Group<'_>) -> Result<(), JournalError> {
        let corrupt =
            |reason| JournalError::Corrupt { segment: group.place.segment, offset: group.place.offset, reason };
        let (mut rest, mut count) = (group.records, 0);
        while !rest.is_empty() {
            // The checksum is right, so this is what was written.
            let (record, after) = Record::decode(rest)
                .map_err(|_| corrupt("a record is of a kind or layout that this program does not know"))?;
            count += 1;
            (self.visit)(Mark(self.contents.last.0 + count), record);
            rest = after;
        }
        if count != group.kind.count() {
            return Err(corrupt("a group has another number of records than it says"));
        }
        self.contents.last = Mark(self.contents.last.0 + count);
        self.contents.closed = group.kind == GroupKind::Closed;
        self.contents.chain = group.checksum;
        Ok(())
    }

    /// Whether a valid group of this segment stands in a block after the one at `offset`.
    fn valid_after(&self, number: u64, bytes: &[u8], offset: usize) -> bool {
        (offset + BLOCK_BYTES..bytes.len())
            .step_by(BLOCK_BYTES)
            .any(|later| read_group(bytes, later, number, &self.identity.salt).is_some())
    }
}
