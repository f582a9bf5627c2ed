//! `evidence.log` in a replica's data directory: a line for each contradiction that it caught (`protocol.md EV-3`).

use crate::replica::evidence::Evidence;
use logothete_transport::HostError;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The file's name in a data directory.
const FILE: &str = "evidence.log";

/// The longest that the file gets, over all starts of the replica: some 5000 lines. A start adds a bounded number (`EV-2`).
const BYTES_MAX: u64 = 1 << 20;

/// The file, open for appending.
#[derive(Debug)]
pub struct EvidenceLog {
    file: File,
    bytes: u64,
}

impl EvidenceLog {
    /// Opens the file of a data directory, which exists.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn open(data_directory: &Path) -> Result<Self, HostError> {
        let path = evidence_path(data_directory);
        let host = |call, error: &std::io::Error| HostError::from_io(call, error, path.display().to_string());
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(|error| host("open", &error))?;
        let bytes = file.metadata().map_err(|error| host("stat", &error))?.len();
        Ok(Self { file, bytes })
    }

    /// Appends a line; whether there was room for it.
    ///
    /// # Errors
    /// The host refused to write.
    pub fn append(&mut self, evidence: &Evidence) -> Result<bool, HostError> {
        let line = format!("{evidence}\n");
        if self.bytes + line.len() as u64 > BYTES_MAX {
            return Ok(false);
        }
        // One write a line, so that no other line of the file is torn by a crash.
        self.file.write_all(line.as_bytes()).map_err(|error| HostError::from_io("write", &error, FILE))?;
        self.bytes += line.len() as u64;
        Ok(true)
    }
}

/// Where a replica with this data directory keeps its evidence.
pub fn evidence_path(data_directory: &Path) -> PathBuf {
    data_directory.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::{ReplicaId, SequenceNumber};
    use crate::replica::evidence::{EvidenceKind, Proof};
    use logothete_crypto::digest;

    /// `protocol.md EV-3`
    #[test]
    fn lines_are_appended_over_restarts_and_the_file_stays_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let piece = |sequence| Evidence {
            replica: ReplicaId(1),
            kind: EvidenceKind::Checkpoint,
            view: None,
            sequence: SequenceNumber(sequence),
            held: digest(b"a"),
            other: digest(b"b"),
            proof: Proof::Mac,
        };
        let mut log = EvidenceLog::open(directory.path()).unwrap();
        assert!(log.append(&piece(1)).unwrap() && log.append(&piece(2)).unwrap());
        let mut log = EvidenceLog::open(directory.path()).unwrap();
        assert!(log.append(&piece(3)).unwrap());
        let read = || std::fs::read_to_string(evidence_path(directory.path())).unwrap();
        let pieces: Vec<Evidence> = read().lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(pieces, [piece(1), piece(2), piece(3)]);
        let appended = (4..20_000).take_while(|sequence| log.append(&piece(*sequence)).unwrap()).count();
        assert!((1000..10_000).contains(&appended), "{appended}");
        assert!(read().len() as u64 <= BYTES_MAX);
    }
}
