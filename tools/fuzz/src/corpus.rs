//! The inputs that the tree keeps: samples, which this crate makes of what the system itself writes, and what was found, one file each
//! (`corpus/TARGET/NAME`). What was found begins with `found-`, and stays.

use crate::{Sample, Target};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// How the names of inputs begin that once made a target panic.
pub const FOUND: &str = "found-";

/// Where the corpus of a target is, in the source tree.
pub fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// What the tree keeps for a target, in the order of the names.
///
/// # Errors
/// The folder cannot be read.
pub fn read(target: &Target) -> io::Result<Vec<Sample>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder(target))? {
        let entry = entry?;
        files.push((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?));
    }
    files.sort();
    Ok(files)
}

/// Writes the samples of a target anew, and leaves what was found.
///
/// # Errors
/// The folder cannot be written.
pub fn write(target: &Target) -> io::Result<usize> {
    let folder = folder(target);
    fs::create_dir_all(&folder)?;
    for (name, _) in read(target)?.iter().filter(|(name, _)| !name.starts_with(FOUND)) {
        fs::remove_file(folder.join(name))?;
    }
    let samples = (target.samples)();
    for (name, bytes) in &samples {
        fs::write(folder.join(name), bytes)?;
    }
    Ok(samples.len())
}
