//! Changing a directory so that it survives a power cut: what is renamed, created or removed counts only once the
//! directory itself is synchronised.

use super::file_system::{Access, FileSystem};
use crate::HostError;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Waits until the entries of a directory are on the disk.
///
/// # Errors
///
/// When it cannot be opened or synchronised.
pub fn sync_directory(file_system: &dyn FileSystem, path: &Path) -> Result<(), HostError> {
    let directory = file_system.open(path, Access::Read).map_err(|error| refused("open", &error, path))?;
    directory.sync_all().map_err(|error| refused("fsync", &error, path))
}

/// Writes a whole file so that after a crash either the old or the new content is there.
///
/// # Errors
///
/// When writing, synchronising or renaming fails; the old content is then still there.
pub fn write_durably(file_system: &dyn FileSystem, path: &Path, bytes: &[u8]) -> Result<(), HostError> {
    let temporary = beside(path, ".new");
    let file = file_system.open(&temporary, Access::Replace).map_err(|error| refused("open", &error, &temporary))?;
    file.write_all_at(bytes, 0).map_err(|error| refused("pwrite", &error, &temporary))?;
    file.sync_all().map_err(|error| refused("fsync", &error, &temporary))?;
    rename_durably(file_system, &temporary, path)
}

/// Renames a file within its directory, and waits until the directory knows.
///
/// # Errors
///
/// When the file cannot be renamed or the directory cannot be synchronised.
pub fn rename_durably(file_system: &dyn FileSystem, from: &Path, to: &Path) -> Result<(), HostError> {
    file_system.rename(from, to).map_err(|error| refused("rename", &error, from))?;
    sync_directory(file_system, parent(to))
}

/// Removes a file, and waits until the directory knows. A file that is not there is no error.
///
/// # Errors
///
/// When the file cannot be removed or the directory cannot be synchronised.
pub fn remove_durably(file_system: &dyn FileSystem, path: &Path) -> Result<(), HostError> {
    match file_system.remove(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(refused("unlink", &error, path)),
        // Even where nothing was removed just now: an earlier removal may not have reached the disk.
        _ => sync_directory(file_system, parent(path)),
    }
}

pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

pub(super) fn refused(call: &'static str, error: &std::io::Error, path: &Path) -> HostError {
    HostError::from_io(call, error, path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::super::file_system::HostFileSystem;
    use super::*;
    use std::fs;

    #[test]
    fn a_file_is_replaced_renamed_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = (directory.path().join("one"), directory.path().join("two"));
        write_durably(&HostFileSystem, &one, b"first").unwrap();
        write_durably(&HostFileSystem, &one, b"second").unwrap();
        assert_eq!(fs::read(&one).unwrap(), b"second");
        rename_durably(&HostFileSystem, &one, &two).unwrap();
        assert!(!one.exists());
        remove_durably(&HostFileSystem, &two).unwrap();
        remove_durably(&HostFileSystem, &two).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn errors_name_call_and_path() {
        let error = sync_directory(&HostFileSystem, Path::new("/nonexistent/directory")).unwrap_err();
        assert_eq!((error.call, error.errno), ("open", libc::ENOENT));
        assert!(error.to_string().contains("/nonexistent/directory"));
    }
}
