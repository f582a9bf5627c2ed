//! Journals and their segments.

use super::counted;
use crate::failure::Failure;
use crate::output::print_line;
use logothete_engine::journal::{Contents, Identity, JournalError, JournalMode, Mark, Origin, Record, inspection};
use logothete_transport::storage::HostFileSystem;
use std::collections::BTreeMap;
use std::path::Path;

/// Prints what is in a journal's directory.
///
/// # Errors
///
/// When it does not verify.
pub fn directory(path: &Path, list: bool) -> Result<(), Failure> {
    let mut records = Records::new(list);
    let (identity, contents) =
        inspection::journal(&HostFileSystem, path, &mut |mark, record| records.see(mark, &record))
            .map_err(|error| does_not_verify(path, &error))?;
    let mode = match identity.mode {
        JournalMode::Sync => "sync",
        JournalMode::Async => "async",
    };
    let origin = match identity.origin {
        Origin::Birth => "begun at its replica's birth",
        Origin::Checkpoint => "begun with a checkpoint",
    };
    print_line(&format!("journal {}: {mode}, {origin}, {}", path.display(), words(&identity)))?;
    print_contents(&contents)?;
    for number in &contents.prepared {
        print_line(&format!("segment {number}: made in advance, empty"))?;
    }
    records.print()?;
    print_line(&format!("ends: {}", end(&contents)))?;
    print_line("verifies")
}

/// Prints what is in one segment's file.
///
/// # Errors
///
/// When it does not verify.
pub fn segment(path: &Path, list: bool) -> Result<(), Failure> {
    let mut records = Records::new(list);
    let (identity, contents) =
        inspection::segment(&HostFileSystem, path, &mut |mark, record| records.see(mark, &record))
            .map_err(|error| does_not_verify(path, &error))?;
    print_line(&format!("journal segment {}: {}", path.display(), words(&identity)))?;
    print_contents(&contents)?;
    records.print()?;
    print_line(&format!("ends: {}", end(&contents)))?;
    print_line("verifies alone; inspect the journal's directory to see whether its neighbours continue it")
}

fn words(identity: &Identity) -> String {
    let Identity { replica, context, segment_bytes, .. } = identity;
    format!("replica {replica}, cluster configuration {context}, segments of {segment_bytes} bytes")
}

fn print_contents(contents: &Contents) -> Result<(), Failure> {
    for segment in &contents.segments {
        let marks = match segment.records {
            0 => String::from("no records"),
            count => format!("{count} records, {} to {}", segment.first, segment.first.0 + count - 1),
        };
        let (number, groups) = (segment.number, segment.groups);
        print_line(&format!("segment {number}: {groups} groups, {marks}, {} bytes used", segment.end))?;
    }
    Ok(())
}

fn end(contents: &Contents) -> String {
    match contents.torn {
        Some(torn) => format!(
            "a write that was interrupted, never acknowledged, at byte {} of segment {}; it is cut at the next start",
            torn.offset, torn.segment
        ),
        None if contents.closed => String::from("closed in good order"),
        None => String::from("not closed: the replica is running, or was killed between two writes"),
    }
}

fn does_not_verify(path: &Path, error: &JournalError) -> Failure {
    Failure::Failed(format!("{} does not verify: {error}", path.display()))
}

/// The records seen.
struct Records {
    list: bool,
    counts: BTreeMap<&'static str, u64>,
    printed: Result<(), Failure>,
}

impl Records {
    fn new(list: bool) -> Self {
        Self { list, counts: BTreeMap::new(), printed: Ok(()) }
    }

    fn see(&mut self, mark: Mark, record: &Record<'_>) {
        *self.counts.entry(record.name()).or_default() += 1;
        if self.list && self.printed.is_ok() {
            self.printed = print_line(&format!("{mark}\t{}", describe(record)));
        }
    }

    fn print(self) -> Result<(), Failure> {
        self.printed?;
        print_line(&format!("records: {}", counted(&self.counts)))
    }
}

fn describe(record: &Record<'_>) -> String {
    let name = record.name();
    match record {
        Record::Proposal { view, sequence, timestamp_ns, entries } => {
            format!("{name}\tview {view} sequence {sequence} time {timestamp_ns} requests {}", entries.len())
        }
        Record::Batch { sequence, entries, .. } => format!("{name}\tsequence {sequence}, {} requests", entries.len()),
        Record::Body { packet: bytes } | Record::ViewChange { bytes } | Record::NewView { bytes } => {
            format!("{name}\t{} bytes", bytes.len())
        }
        Record::Prepare { view, sequence, digest } | Record::Commit { view, sequence, digest } => {
            format!("{name}\tview {view} sequence {sequence} digest {digest:?}")
        }
        Record::ViewEntered { view } => format!("{name}\tview {view}"),
        Record::EpochAcknowledged { replica, epoch } => format!("{name}\treplica {} epoch {epoch:016x}", replica.0),
        Record::Committed { sequence, digest } | Record::Stable { sequence, digest } => {
            format!("{name}\tsequence {sequence} digest {digest:?}")
        }
    }
}
