//! The layout of a segment: a header in its first block, then groups, each a whole number of blocks.
//!
//! ```text
//!         0                8       12      16               24               32
//!         +----------------+-------+-+-----+----------------+----------------+
//! header  | LGTHJRNL       |version|r| zero| segment        | first mark     |
//!         | context digest, 32 bytes                                         |
//!         | salt, 16 bytes                 | previous, 16 bytes              |
//!         | checksum, 16 bytes             |  zero to the block's end
//!         +--------------------------------+
//!
//!         0        4        8                16               24       28   32
//!         +--------+--------+----------------+----------------+--------+-----+
//! group   | LGTG   | bytes  | segment        | first mark     | block  |count|
//!         | previous, 16 bytes               | checksum, 16 bytes            |
//!         | records, then zero to the block's end
//!         +------------------------------------------------------------------
//! ```
//!
//! `previous` is the checksum of what was written before: the group before, for a segment's first group the segment's
//! header, for a header the last group of the segment before. So nothing can be left out of the middle, and what a
//! recycled file still holds of its former life does not continue the chain.
//!
//! The checksums are BLAKE3, cut to 16 bytes, over a random salt of this journal and the whole blocks, padding
//! included. A CRC would find rot as well, but a journal holds what clients sent, byte for byte: without the salt a
//! client could send bytes that look like a valid group, so that a torn group which contains them looks like damage in
//! the middle. Hashing takes a fraction of the time of the write.

use super::Mark;
use logothete_crypto::{Digest, DigestWriter};
use logothete_transport::storage::BLOCK_BYTES;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The version of everything in this folder that is written to a disk.
pub const VERSION: u32 = 2;

/// Where a segment's groups begin.
pub(super) const GROUPS_OFFSET: usize = BLOCK_BYTES;

/// The size of a group's header, which is where its records begin.
pub(super) const GROUP_HEADER_BYTES: usize = size_of::<GroupHeader>();

const SEGMENT_MAGIC: [u8; 8] = *b"LGTHJRNL";
const GROUP_MAGIC: [u8; 4] = *b"LGTG";

/// A group of no records says by its count that the journal was opened or closed here.
const COUNT_OPENED: u32 = u32::MAX;
const COUNT_CLOSED: u32 = 0;

/// What binds a piece of the journal to everything before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Checksum(pub [u8; 16]);

/// Random bytes of one journal, under each of its checksums. They name it among all that its replica ever made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Salt(pub [u8; 16]);

impl Salt {
    /// For a new journal.
    pub fn draw(entropy: &mut dyn FnMut(&mut [u8])) -> Self {
        let mut salt = Self([0; 16]);
        entropy(&mut salt.0);
        salt
    }
}

/// A segment's header, as it stands in the file.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct SegmentHeader {
    magic: [u8; 8],
    version: U32,
    replica: u8,
    reserved: [u8; 3],
    number: U64,
    first: U64,
    pub(super) context: Digest,
    pub(super) salt: Salt,
    pub(super) previous: Checksum,
    pub(super) checksum: Checksum,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct GroupHeader {
    magic: [u8; 4],
    bytes: U32,
    segment: U64,
    first: U64,
    block: U32,
    count: U32,
    previous: Checksum,
    checksum: Checksum,
}

const CHECKSUM_BYTES: usize = size_of::<Checksum>();
const _: () = assert!(size_of::<SegmentHeader>() == 112 && GROUP_HEADER_BYTES == 64);

/// Why a block is no header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// Not one, or damaged.
    Invalid,
    /// One of another version.
    Version(u32),
}

impl SegmentHeader {
    pub(super) fn new(number: u64, first: Mark, replica: u8, context: Digest, salt: Salt, previous: Checksum) -> Self {
        let mut header = Self {
            magic: SEGMENT_MAGIC,
            version: VERSION.into(),
            replica,
            reserved: [0; 3],
            number: number.into(),
            first: first.0.into(),
            context,
            salt,
            previous,
            checksum: Checksum::default(),
        };
        header.checksum = header.computed();
        header
    }

    fn computed(&self) -> Checksum {
        let bytes = self.as_bytes();
        checksum("logothete journal segment", &self.salt, &[&bytes[..bytes.len() - CHECKSUM_BYTES]])
    }

    /// Reads the header in a segment's first block.
    pub(super) fn read(block: &[u8]) -> Result<&Self, HeaderFault> {
        let (header, padding) = Self::ref_from_prefix(block).map_err(|_| HeaderFault::Invalid)?;
        if header.magic != SEGMENT_MAGIC || header.computed() != header.checksum {
            return Err(HeaderFault::Invalid);
        }
        if header.version.get() != VERSION {
            return Err(HeaderFault::Version(header.version.get()));
        }
        let padding = &padding[..padding.len().min(BLOCK_BYTES - size_of::<Self>())];
        if header.reserved != [0; 3] || padding.iter().any(|byte| *byte != 0) {
            return Err(HeaderFault::Invalid);
        }
        Ok(header)
    }

    /// Writes it to the segment's first block.
    pub(super) fn write(&self, block: &mut [u8]) {
        let (header, padding) = block[..BLOCK_BYTES].split_at_mut(size_of::<Self>());
        header.copy_from_slice(self.as_bytes());
        padding.fill(0);
    }

    pub(super) fn number(&self) -> u64 {
        self.number.get()
    }

    pub(super) fn first(&self) -> Mark {
        Mark(self.first.get())
    }

    pub(super) fn replica(&self) -> u8 {
        self.replica
    }
}

/// What a group is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupKind {
    /// So many records.
    Records(u32),
    /// The journal was opened by a process that does not wait for its records to be durable.
    Opened,
    /// The journal was closed: everything before it is there.
    Closed,
}

impl GroupKind {
    fn code(self) -> u32 {
        match self {
            Self::Records(count) => count,
            Self::Opened => COUNT_OPENED,
            Self::Closed => COUNT_CLOSED,
        }
    }

    /// How many records it has.
    pub(super) fn count(self) -> u64 {
        match self {
            Self::Records(count) => u64::from(count),
            Self::Opened | Self::Closed => 0,
        }
    }
}

/// Where a group stands, and what stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupPlace {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) first: Mark,
    pub(super) previous: Checksum,
}

/// A group whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group<'a> {
    pub(super) place: GroupPlace,
    pub(super) kind: GroupKind,
    /// The records.
    pub(super) records: &'a [u8],
    /// Its size in the file.
    pub(super) extent: usize,
    pub(super) checksum: Checksum,
}

/// The size in the file of a group with so many bytes of records.
pub(super) const fn group_extent(record_bytes: usize) -> usize {
    (GROUP_HEADER_BYTES + record_bytes).next_multiple_of(BLOCK_BYTES)
}

/// Writes the header in front of the records that stand in `blocks`, fills up the last block, and returns the checksum.
/// `blocks` is exactly the group's extent.
pub(super) fn seal_group(
    blocks: &mut [u8],
    record_bytes: usize,
    place: &GroupPlace,
    kind: GroupKind,
    salt: &Salt,
) -> Checksum {
    assert_eq!(blocks.len(), group_extent(record_bytes));
    assert!(record_bytes > 0 || !matches!(kind, GroupKind::Records(_)));
    blocks[GROUP_HEADER_BYTES + record_bytes..].fill(0);
    let mut header = GroupHeader {
        magic: GROUP_MAGIC,
        bytes: (record_bytes as u32).into(),
        segment: place.segment.into(),
        first: place.first.0.into(),
        block: ((place.offset / BLOCK_BYTES as u64) as u32).into(),
        count: kind.code().into(),
        previous: place.previous,
        checksum: Checksum::default(),
    };
    header.checksum = group_checksum(header.as_bytes(), &blocks[GROUP_HEADER_BYTES..], salt);
    blocks[..GROUP_HEADER_BYTES].copy_from_slice(header.as_bytes());
    header.checksum
}

/// The group at `offset` of a segment's bytes, if there is a valid one that was written there for this segment.
pub(super) fn read_group<'a>(bytes: &'a [u8], offset: usize, segment: u64, salt: &Salt) -> Option<Group<'a>> {
    let blocks = bytes.get(offset..)?;
    let (header, _) = GroupHeader::ref_from_prefix(blocks).ok()?;
    let written_here = header.magic == GROUP_MAGIC
        && header.segment.get() == segment
        && u64::from(header.block.get()) * BLOCK_BYTES as u64 == offset as u64;
    if !written_here {
        return None;
    }
    let record_bytes = header.bytes.get() as usize;
    let extent = group_extent(record_bytes);
    let body = blocks.get(GROUP_HEADER_BYTES..extent)?;
    let (header_bytes, records) = (&blocks[..GROUP_HEADER_BYTES], &body[..record_bytes]);
    if group_checksum(header_bytes, body, salt) != header.checksum {
        return None;
    }
    let kind = match header.count.get() {
        COUNT_OPENED => GroupKind::Opened,
        COUNT_CLOSED => GroupKind::Closed,
        count => GroupKind::Records(count),
    };
    let place =
        GroupPlace { segment, offset: offset as u64, first: Mark(header.first.get()), previous: header.previous };
    Some(Group { place, kind, records, extent, checksum: header.checksum })
}

/// Whether a group was begun at `offset`, valid or not: for words about a torn one.
pub(super) fn is_begun(bytes: &[u8], offset: usize, segment: u64) -> bool {
    let header = bytes.get(offset..).and_then(|blocks| GroupHeader::ref_from_prefix(blocks).ok());
    header.is_some_and(|(header, _)| header.magic == GROUP_MAGIC && header.segment.get() == segment)
}

fn group_checksum(header: &[u8], body: &[u8], salt: &Salt) -> Checksum {
    checksum("logothete journal group", salt, &[&header[..GROUP_HEADER_BYTES - CHECKSUM_BYTES], body])
}

pub(super) fn checksum(domain: &'static str, salt: &Salt, parts: &[&[u8]]) -> Checksum {
    let mut writer = DigestWriter::new(domain);
    writer.update(&salt.0);
    for part in parts {
        writer.update(part);
    }
    Checksum(*writer.finish().0.first_chunk().expect("a digest is longer than a checksum"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = Salt([5; 16]);

    fn place() -> GroupPlace {
        GroupPlace { segment: 3, offset: 8192, first: Mark(7), previous: Checksum([1; 16]) }
    }

    fn sealed() -> (Vec<u8>, Checksum) {
        let mut file = vec![0xee; 4 * BLOCK_BYTES];
        let checksum = seal_group(&mut file[8192..12288], 100, &place(), GroupKind::Records(2), &SALT);
        (file, checksum)
    }

    #[test]
    fn groups_round_trip() {
        let (file, checksum) = sealed();
        let group = read_group(&file, 8192, 3, &SALT).unwrap();
        assert_eq!((group.place, group.kind, group.extent), (place(), GroupKind::Records(2), BLOCK_BYTES));
        assert_eq!((group.records, group.checksum), (&[0xee; 100][..], checksum));
        assert!(is_begun(&file, 8192, 3) && !is_begun(&file, 8192, 4) && !is_begun(&file, 4096, 3));
    }

    #[test]
    fn every_bit_of_a_group_counts() {
        let (file, _) = sealed();
        for at in (8192..12288).step_by(7).chain(8192..8192 + 200) {
            let mut changed = file.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(read_group(&changed, 8192, 3, &SALT).is_none(), "byte {at}");
        }
    }

    #[test]
    fn a_group_is_valid_at_its_place_in_its_journal_only() {
        let (file, _) = sealed();
        assert!(read_group(&file, 8192, 4, &SALT).is_none());
        assert!(read_group(&file, 8192, 3, &Salt([6; 16])).is_none());
        assert!(read_group(&file[4096..], 4096, 3, &SALT).is_none());
        assert!(read_group(&file[..12287], 8192, 3, &SALT).is_none());
        assert!(read_group(&file, 16384, 3, &SALT).is_none());
    }

    #[test]
    fn headers_round_trip_and_every_bit_counts() {
        let header = SegmentHeader::new(9, Mark(77), 2, Digest([4; 32]), SALT, Checksum([8; 16]));
        let mut block = vec![0xcc; BLOCK_BYTES];
        header.write(&mut block);
        let read = SegmentHeader::read(&block).unwrap();
        assert!(*read == header);
        assert_eq!((read.number(), read.first(), read.replica()), (9, Mark(77), 2));
        for at in 0..BLOCK_BYTES {
            let mut changed = block.clone();
            changed[at] ^= 1 << (at % 8);
            assert_eq!(SegmentHeader::read(&changed).err(), Some(HeaderFault::Invalid), "byte {at}");
        }
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let mut header = SegmentHeader::new(9, Mark(77), 2, Digest([4; 32]), SALT, Checksum([8; 16]));
        header.version = (VERSION + 1).into();
        header.checksum = header.computed();
        let mut block = vec![0; BLOCK_BYTES];
        header.write(&mut block);
        assert_eq!(SegmentHeader::read(&block).err(), Some(HeaderFault::Version(VERSION + 1)));
    }
}
