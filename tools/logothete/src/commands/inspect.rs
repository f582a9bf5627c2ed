//! `logothete inspect`: says what is in a file that a replica wrote, or in a packet capture, and whether it verifies.

use crate::failure::Failure;
use crate::inspect::{self, capture};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Says what is in a journal, a checkpoint or a packet capture, and whether it verifies.
///
/// PATH is a replica's data directory, its journal or checkpoints directory, a journal segment, a checkpoint's table, or
/// a packet capture (pcap or pcapng). Nothing is changed. While the replica is running, its journal's end may look torn.
/// The tags of captured packets are not verified: that needs the session keys, which no file holds.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  logothete inspect cluster/replica-0/journal
  logothete inspect --list capture.pcap")]
pub struct Arguments {
    /// What to read
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Print every record or packet as well
    #[arg(long)]
    list: bool,
}

/// Runs the command.
///
/// # Errors
///
/// When it does not verify, or is nothing that this command knows.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { path, list } = arguments;
    match kind_of(path)? {
        Kind::DataDirectory => inspect::journal::directory(&path.join("journal"), *list)
            .and_then(|()| if_there(&path.join("checkpoints"), inspect::checkpoint::directory)),
        Kind::Journal => inspect::journal::directory(path, *list),
        Kind::Checkpoints => inspect::checkpoint::directory(path),
        Kind::Segment => inspect::journal::segment(path, *list),
        Kind::Table => inspect::checkpoint::directory(path.parent().unwrap_or(Path::new("."))),
        Kind::Capture => inspect::packets::capture(path, *list),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    DataDirectory,
    Journal,
    Checkpoints,
    Segment,
    Table,
    Capture,
}

fn kind_of(path: &Path) -> Result<Kind, Failure> {
    if path.is_dir() {
        let has = |name: &str| path.join(name).exists();
        return match () {
            () if has("journal") => Ok(Kind::DataDirectory),
            () if has("identity") => Ok(Kind::Journal),
            () if has("table-0") || has("table-1") => Ok(Kind::Checkpoints),
            () => Err(unknown(path)),
        };
    }
    let mut beginning = [0; 8];
    let read = File::open(path).and_then(|file| {
        let mut head = Vec::with_capacity(beginning.len());
        file.take(beginning.len() as u64).read_to_end(&mut head)?;
        beginning[..head.len()].copy_from_slice(&head);
        Ok(())
    });
    read.map_err(|error| Failure::of_file("read", path, &error))?;
    let is_segment = path.extension().is_some_and(|extension| extension == "journal");
    match &beginning {
        b"LGTHJRNL" => Ok(Kind::Segment),
        b"LGTHCKPT" => Ok(Kind::Table),
        _ if is_segment => Ok(Kind::Segment),
        _ if capture::is_capture(&beginning) => Ok(Kind::Capture),
        _ => Err(unknown(path)),
    }
}

fn if_there(path: &Path, look: impl FnOnce(&Path) -> Result<(), Failure>) -> Result<(), Failure> {
    if path.exists() { look(path) } else { Ok(()) }
}

fn unknown(path: &Path) -> Failure {
    Failure::Failed(format!(
        "{} is no journal, checkpoint or packet capture; name a replica's data directory, a file in it, or a capture",
        path.display()
    ))
}
