//! What a disk really holds of a journal, found out without the code that reads journals: the groups that were written whole.

use logothete_engine::journal::Record;
use std::collections::BTreeMap;

/// A segment's header takes the first block of its first write.
const SEGMENT_MAGIC: &[u8] = b"LGTHJRNL";
const GROUP_MAGIC: &[u8] = b"LGTG";
const GROUP_HEADER_BYTES: usize = 64;

/// A group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) file: u64,
    pub(super) at: u64,
    pub(super) bytes: usize,
    /// The segment of which it says that it is.
    pub(super) segment: u64,
    /// The place of its first record, from 1 on.
    pub(super) first: u64,
}

/// The records of the present journal, and where they are.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    /// All of them, those that were let go of among them.
    pub(super) all: Vec<Vec<u8>>,
    groups: BTreeMap<(u64, u64), Group>,
}

impl Records {
    /// Whether a write is one of a group.
    pub(super) fn is_group(bytes: &[u8]) -> bool {
        bytes.starts_with(SEGMENT_MAGIC) || bytes.starts_with(GROUP_MAGIC)
    }

    /// A write to one of the journal's files has become durable.
    ///
    /// # Panics
    /// If it is a group that does not follow the last one: the journal's own rule is broken.
    pub(super) fn take(&mut self, file: u64, at: u64, bytes: &[u8]) {
        let skipped = if bytes.starts_with(SEGMENT_MAGIC) { super::image::BLOCK } else { 0 };
        let group = &bytes[skipped..];
        if !group.starts_with(GROUP_MAGIC) {
            return;
        }
        let number = |from: usize| u64::from_le_bytes(group[from..from + 8].try_into().expect("eight bytes"));
        let short = |from: usize| u32::from_le_bytes(group[from..from + 4].try_into().expect("four bytes"));
        let (segment, first, length) = (number(8), number(16), short(4) as usize);
        if first == 1 && segment == 1 {
            *self = Self::default();
        }
        assert_eq!(first, self.all.len() as u64 + 1, "a group of segment {segment} does not follow the last one");
        let mut rest = &group[GROUP_HEADER_BYTES..GROUP_HEADER_BYTES + length];
        while !rest.is_empty() {
            let (_, after) = Record::decode(rest).expect("what the engine wrote it can read");
            self.all.push(rest[..rest.len() - after.len()].to_vec());
            rest = after;
        }
        let at = at + skipped as u64;
        self.groups.insert((file, at), Group { file, at, bytes: group.len(), segment, first });
    }

    /// So many of the last records are gone.
    pub(super) fn cut(&mut self, count: u64) {
        self.all.truncate(self.all.len() - count as usize);
        let left = self.all.len() as u64;
        self.groups.retain(|_, group| group.first <= left);
    }

    /// The groups in the order in which they were written.
    pub(super) fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = self.groups.values().copied().collect();
        groups.sort_by_key(|group| group.first);
        groups
    }
}
