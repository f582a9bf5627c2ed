//! Durable checkpoints.

use crate::failure::Failure;
use crate::output::print_line;
use logothete_engine::journal::checkpoint_store::CheckpointStore;
use logothete_transport::storage::HostFileSystem;
use std::path::Path;

/// Prints what is in a directory of checkpoints.
///
/// # Errors
///
/// When the newest checkpoint does not verify, or a table is damaged.
pub fn directory(path: &Path) -> Result<(), Failure> {
    let inspected = CheckpointStore::inspect(&HostFileSystem, path)
        .map_err(|error| Failure::Failed(format!("{} does not verify: {error}", path.display())))?;
    for (stored, found) in &inspected.stored {
        let config = &stored.config;
        print_line(&format!(
            "checkpoint {}: replica {}, cluster configuration {}, {} of {} pages, {} bytes beside, state digest {}: {}",
            stored.sequence,
            config.replica,
            config.context,
            stored.pages_present(),
            config.pages,
            stored.blob.len(),
            stored.digest,
            if *found == stored.digest { "its pages verify" } else { "its pages give another digest" },
        ))?;
    }
    let failed = |what: String| Err(Failure::Failed(format!("{} does not verify: {what}", path.display())));
    if let Some(damaged) = inspected.damaged.first() {
        return failed(format!("{} is damaged", damaged.display()));
    }
    match inspected.stored.first() {
        // The one before may have been written over by a checkpoint that was not finished.
        Some((newest, found)) if *found != newest.digest => {
            failed(format!("the pages of checkpoint {} give digest {found}", newest.sequence))
        }
        Some(_) => print_line("verifies"),
        None => print_line("no checkpoint yet"),
    }
}
