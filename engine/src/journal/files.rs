//! The names of a journal's files.
//!
//! `segment-NUMBER.journal` is in use or made in advance; `spare-NUMBER.journal` was in use under that number and waits
//! for being used again; `making.journal` is not complete and is removed at the next start.

use logothete_transport::HostError;
use logothete_transport::storage::FileSystem;
use std::path::Path;

/// A segment that is not complete.
pub(super) const MAKING: &str = "making.journal";

/// The files found.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Numbers of segments, ascending.
    pub(super) segments: Vec<u64>,
    /// Numbers of spares, ascending.
    pub(super) spares: Vec<u64>,
}

pub(super) fn segment_name(number: u64) -> String {
    format!("segment-{number:016x}.journal")
}

pub(super) fn spare_name(number: u64) -> String {
    format!("spare-{number:016x}.journal")
}

/// Lists a journal's directory. Other files are none of its business.
pub(super) fn list(file_system: &dyn FileSystem, directory: &Path) -> Result<Listing, HostError> {
    let refused = |error| HostError::from_io("readdir", &error, directory.display().to_string());
    let mut listing = Listing::default();
    for name in file_system.names(directory).map_err(refused)? {
        if let Some(number) = number_in(&name, "segment-") {
            listing.segments.push(number);
        } else if let Some(number) = number_in(&name, "spare-") {
            listing.spares.push(number);
        }
    }
    listing.segments.sort_unstable();
    listing.spares.sort_unstable();
    Ok(listing)
}

fn number_in(name: &str, prefix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?.strip_suffix(".journal")?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_transport::storage::HostFileSystem;

    #[test]
    fn names_are_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let names = [segment_name(255), segment_name(3), spare_name(1), MAKING.into(), "segment-12.journal".into()];
        for name in names {
            std::fs::write(directory.path().join(name), b"").unwrap();
        }
        let listing = list(&HostFileSystem, directory.path()).unwrap();
        assert_eq!((listing.segments, listing.spares), (vec![3, 255], vec![1]));
    }
}
