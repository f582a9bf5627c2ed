//! The history of a run: where it is recorded, and whether it is linearizable.

use crate::failure::Failure;
use logothete_bench::linearizability::register::Initial;
use logothete_bench::linearizability::{Checked, NotLinearizable, Recorded, check};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use tempfile::TempPath;

/// A file for a run's history; one that nobody asked to keep is removed when this is dropped.
pub struct HistoryFile {
    path: PathBuf,
    _temporary: Option<TempPath>,
}

impl HistoryFile {
    /// The file that was asked for, or a temporary one, opened for writing.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn create(wanted: Option<&Path>) -> Result<(Self, File), Failure> {
        if let Some(path) = wanted {
            let file = File::create(path).map_err(|error| Failure::of_file("write", path, &error))?;
            return Ok((Self { path: path.to_path_buf(), _temporary: None }, file));
        }
        let made = tempfile::Builder::new().prefix("logothete-history-").tempfile();
        let made = made.map_err(|error| Failure::of_file("make a file in", &std::env::temp_dir(), &error))?;
        let (file, temporary) = made.into_parts();
        Ok((Self { path: temporary.to_path_buf(), _temporary: Some(temporary) }, file))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what was written, and judges it.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is no history of puts and gets.
    pub fn judge(&self, initial: Initial) -> Result<Result<Checked, NotLinearizable>, Failure> {
        let file = File::open(&self.path).map_err(|error| Failure::of_file("read", &self.path, &error))?;
        let history = Recorded::read(BufReader::with_capacity(1 << 20, file));
        let history = history.map_err(|error| Failure::Failed(format!("{}: {error}", self.path.display())))?;
        Ok(check(&history, initial))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const PUT_A: &str = "01000100000000006131"; // put "a" "1"
    const GET_A: &str = "020001000000000061"; // get "a"

    #[test]
    fn a_history_is_judged_and_a_temporary_one_is_removed() {
        let (history, mut file) = HistoryFile::create(None).unwrap();
        let mut event = |name: &str, session: u64, time_ns: u64, field: &str, bytes: &str| {
            let fixed = format!("\"event\":\"{name}\",\"session\":{session},\"number\":1,\"time_ns\":{time_ns}");
            writeln!(file, "{{{fixed},\"{field}\":\"{bytes}\"}}").unwrap();
        };
        event("call", 0, 1, "operation", PUT_A);
        event("answer", 0, 2, "result", "00");
        event("call", 1, 3, "operation", GET_A);
        event("answer", 1, 4, "result", "0131");
        assert_eq!(history.judge(Initial::Absent).unwrap(), Ok(Checked { keys: 1, operations: 2 }));
        event("call", 2, 5, "operation", GET_A);
        event("answer", 2, 6, "result", "02");
        assert!(history.judge(Initial::Absent).unwrap().is_err(), "the value was lost");
        event("call", 3, 7, "operation", "ff");
        assert!(history.judge(Initial::Absent).is_err());
        let path = history.path().to_path_buf();
        drop(history);
        assert!(!path.exists());
    }
}
