//! A look at a journal that somebody else may own: nothing is changed, nothing is locked. While a replica writes to it,
//! the end may look torn.

use super::identity::{Identity, Origin};
use super::record::Record;
use super::recovery::{self, Contents, Files, Source};
use super::segment::SegmentHeader;
use super::{JournalError, JournalMode, Mark};
use crate::numbers::ReplicaId;
use logothete_transport::HostError;
use logothete_transport::storage::{FileSystem, read_file};
use std::path::{Path, PathBuf};

/// Reads a journal's directory, and shows each record with its mark to `visit`.
///
/// # Errors
///
/// When it is no journal, damaged, or of another version. What `visit` saw before a damage is what stands there.
pub fn journal(
    file_system: &dyn FileSystem,
    directory: &Path,
    visit: &mut dyn FnMut(Mark, Record<'_>),
) -> Result<(Identity, Contents), JournalError> {
    let identity = Identity::read(file_system, directory)?;
    let contents = recovery::read(&mut Files::new(file_system, directory)?, &identity, visit)?;
    Ok((identity, contents))
}

/// Reads one segment's file alone, and shows each record with its mark to `visit`. Whether it is the end of what was
/// written is not known then: damage behind which nothing valid follows looks like a torn write.
///
/// # Errors
///
/// When its header or what follows it is damaged, or of another version.
pub fn segment(
    file_system: &dyn FileSystem,
    path: &Path,
    visit: &mut dyn FnMut(Mark, Record<'_>),
) -> Result<(Identity, Contents), JournalError> {
    let refused = |error| HostError::from_io("open", &error, path.display().to_string());
    let bytes = read_file(file_system, path).map_err(refused)?;
    let Ok(header) = SegmentHeader::read(&bytes) else {
        let reason = "its header is not valid: it was never written to, or is damaged";
        return Err(JournalError::Corrupt { segment: 0, offset: 0, reason });
    };
    let identity = Identity {
        context: header.context,
        replica: ReplicaId(header.replica()),
        mode: JournalMode::Sync,
        segment_bytes: bytes.len() as u64,
        origin: Origin::Birth,
        salt: header.salt,
    };
    let mut alone = Alone { number: [header.number()], bytes, path };
    let contents = recovery::read(&mut alone, &identity, visit)?;
    Ok((identity, contents))
}

/// One segment without its neighbours.
struct Alone<'a> {
    number: [u64; 1],
    bytes: Vec<u8>,
    path: &'a Path,
}

impl Source for Alone<'_> {
    fn numbers(&self) -> &[u64] {
        &self.number
    }

    fn read(&mut self, _number: u64) -> Result<&[u8], JournalError> {
        Ok(&self.bytes)
    }

    fn path(&self, _number: u64) -> PathBuf {
        self.path.to_owned()
    }
}
