//! A checkpoint's table: what it is a checkpoint of, and where each of its pages is.
//!
//! ```text
//!  0                8       12      16                24               32
//!  +----------------+-------+-+-----+----------------+----------------+
//!  | LGTHCKPT       |version|r| zero| generation     | sequence       |
//!  | context digest, 32 bytes                                         |
//!  | state digest, 32 bytes                                           |
//!  | capacity, pages| map bytes      | blob bytes     | zero           |
//!  | digest of all of the file but this field, 32 bytes               |
//!  | map: two bits a page, lowest first: absent, a, b | blob
//!  +-------------------------------------------------------------------
//! ```

use super::super::foreign::{self, ForeignFile};
use super::{CheckpointConfig, CheckpointError};
use crate::limits::PAGES_MAX;
use crate::numbers::{ReplicaId, SequenceNumber};
use logothete_crypto::{Digest, DigestWriter};
use logothete_transport::HostError;
use logothete_transport::storage::{FileSystem, read_file};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The version of the files of this folder.
pub(super) const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"LGTHCKPT";
const DIGEST_OFFSET: usize = size_of::<Layout>() - size_of::<Digest>();

/// The file of a generation's table.
pub(super) fn name(generation: u64) -> String {
    format!("table-{}", generation % 2)
}

/// Where a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere: zeros.
    Absent,
    /// In `pages-a`.
    A,
    /// In `pages-b`.
    B,
}

/// For each page, where it is. Pages beyond its end are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Map(Vec<u8>);

impl Map {
    pub(super) fn place(&self, page: u64) -> Place {
        let bits = self.0.get((page / 4) as usize).map_or(0, |byte| byte >> (page % 4 * 2) & 3);
        match bits {
            0 => Place::Absent,
            1 => Place::A,
            _ => Place::B,
        }
    }

    pub(super) fn set(&mut self, page: u64, place: Place) {
        let (at, shift) = ((page / 4) as usize, page % 4 * 2);
        if at >= self.0.len() {
            if place == Place::Absent {
                return;
            }
            self.0.resize(at + 1, 0);
        }
        let bits = match place {
            Place::Absent => 0,
            Place::A => 1,
            Place::B => 2,
        };
        self.0[at] = self.0[at] & !(3 << shift) | bits << shift;
    }

    /// The pages that are somewhere, ascending.
    pub(super) fn present(&self) -> impl Iterator<Item = (u64, Place)> {
        let bytes = self.0.iter().zip(0u64..).filter(|(byte, _)| **byte != 0);
        bytes
            .flat_map(|(_, at)| at * 4..at * 4 + 4)
            .map(|page| (page, self.place(page)))
            .filter(|(_, place)| *place != Place::Absent)
    }

    /// Whether every page has a place that exists, and all are within the capacity.
    fn is_valid(&self, pages: u64) -> bool {
        self.0.iter().all(|byte| byte & byte >> 1 & 0b0101_0101 == 0)
            && self.present().last().is_none_or(|(page, _)| page < pages)
    }
}

/// A durable checkpoint, as its table describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// Whose it is.
    pub config: CheckpointConfig,
    /// The number of the last batch in it.
    pub sequence: SequenceNumber,
    /// The digest of its state.
    pub digest: Digest,
    /// The bytes that were stored with it.
    pub blob: Vec<u8>,
    pub(super) generation: u64,
    pub(super) map: Map,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Layout {
    magic: [u8; 8],
    version: U32,
    replica: u8,
    reserved: [u8; 3],
    generation: U64,
    sequence: U64,
    context: Digest,
    state: Digest,
    pages: U64,
    map_bytes: U64,
    blob_bytes: U64,
    reserved_too: U64,
    digest: Digest,
}

const _: () = assert!(size_of::<Layout>() == 160);

/// Why a table is not to be had.
#[derive(Debug)]
pub(super) enum TableFault {
    Host(HostError),
    Damaged,
    Version(u32),
}

impl TableFault {
    /// The error that it is; damage is none, since the other table may do.
    pub(super) fn into_error(self, path: PathBuf) -> Option<CheckpointError> {
        match self {
            Self::Host(error) => Some(error.into()),
            Self::Damaged => None,
            Self::Version(found) => Some(ForeignFile::Version { path, found, expected: VERSION }.into()),
        }
    }
}

impl StoredCheckpoint {
    /// One more with every checkpoint of the store.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How many pages are not absent.
    pub fn pages_present(&self) -> u64 {
        self.map.present().count() as u64
    }

    /// Reads a table; none is no error.
    pub(super) fn read(file_system: &dyn FileSystem, path: &Path) -> Result<Option<Self>, TableFault> {
        match read_file(file_system, path) {
            Ok(bytes) => Self::decode(&bytes).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(TableFault::Host(HostError::from_io("open", &error, path.display().to_string()))),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, TableFault> {
        let version = foreign::version(bytes, MAGIC).ok_or(TableFault::Damaged)?;
        if version != VERSION {
            return Err(TableFault::Version(version));
        }
        let (layout, rest) = Layout::ref_from_prefix(bytes).map_err(|_| TableFault::Damaged)?;
        if layout.digest != digest_of(bytes) || layout.reserved != [0; 3] || layout.reserved_too.get() != 0 {
            return Err(TableFault::Damaged);
        }
        let pages = layout.pages.get();
        let (map, blob) = rest.split_at_checked(layout.map_bytes.get() as usize).ok_or(TableFault::Damaged)?;
        let map = Map(map.to_vec());
        let possible = (1..=PAGES_MAX).contains(&pages);
        if !possible || blob.len() as u64 != layout.blob_bytes.get() || !map.is_valid(pages) {
            return Err(TableFault::Damaged);
        }
        Ok(Self {
            config: CheckpointConfig { context: layout.context, replica: ReplicaId(layout.replica), pages },
            sequence: SequenceNumber(layout.sequence.get()),
            digest: layout.state,
            blob: blob.to_vec(),
            generation: layout.generation.get(),
            map,
        })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut layout = Layout {
            magic: MAGIC,
            version: VERSION.into(),
            replica: self.config.replica.0,
            reserved: [0; 3],
            generation: self.generation.into(),
            sequence: self.sequence.0.into(),
            context: self.config.context,
            state: self.digest,
            pages: self.config.pages.into(),
            map_bytes: (self.map.0.len() as u64).into(),
            blob_bytes: (self.blob.len() as u64).into(),
            reserved_too: 0.into(),
            digest: Digest::ZERO,
        };
        let mut bytes = [layout.as_bytes(), &self.map.0, &self.blob].concat();
        layout.digest = digest_of(&bytes);
        bytes[..size_of::<Layout>()].copy_from_slice(layout.as_bytes());
        bytes
    }
}

/// The digest of a table but for the field that holds it.
fn digest_of(bytes: &[u8]) -> Digest {
    let mut writer = DigestWriter::new("logothete checkpoint table");
    writer.update(&bytes[..DIGEST_OFFSET]);
    writer.update(&bytes[size_of::<Layout>()..]);
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stored(pages: &[(u64, bool)], blob: Vec<u8>) -> StoredCheckpoint {
        let mut map = Map::default();
        for &(page, a) in pages {
            map.set(page, if a { Place::A } else { Place::B });
        }
        StoredCheckpoint {
            config: CheckpointConfig { context: Digest([3; 32]), replica: ReplicaId(1), pages: 1 << 20 },
            sequence: SequenceNumber(128),
            digest: Digest([9; 32]),
            blob,
            generation: 5,
            map,
        }
    }

    proptest! {
        #[test]
        fn tables_round_trip(pages in proptest::collection::vec((0u64..5000, any::<bool>()), 0..50), blob: Vec<u8>) {
            let stored = stored(&pages, blob);
            let decoded = StoredCheckpoint::decode(&stored.encode()).unwrap();
            prop_assert_eq!(&decoded, &stored);
            let mut expected: Vec<u64> = pages.iter().map(|(page, _)| *page).collect();
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(decoded.map.present().map(|(page, _)| page).collect::<Vec<_>>(), expected);
        }

        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>, honest: bool) {
            let mut bytes = bytes;
            if honest {
                bytes.splice(..0, [&MAGIC[..], &VERSION.to_le_bytes()].concat());
            }
            prop_assert!(StoredCheckpoint::decode(&bytes).is_err());
        }
    }

    #[test]
    fn every_byte_counts() {
        let bytes = stored(&[(0, true), (9, false)], b"blob".to_vec()).encode();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(StoredCheckpoint::decode(&changed).is_err(), "byte {at}");
            assert!(StoredCheckpoint::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_place_is_set_and_cleared_alone() {
        let mut map = Map::default();
        map.set(5, Place::B);
        map.set(6, Place::A);
        map.set(5, Place::Absent);
        map.set(1 << 30, Place::Absent);
        assert_eq!((map.place(4), map.place(5), map.place(6)), (Place::Absent, Place::Absent, Place::A));
        assert_eq!(map.0.len(), 2);
    }
}
