//! Taking a socket path: a stale one is replaced, a live one is not, and two drivers that start together cannot both win.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::error::SessionError;
use super::socket::{self, host};

/// Connections that the kernel keeps for the driver until it looks.
const BACKLOG: i32 = 64;

/// A socket file that this process made; it goes when this does, unless somebody else has replaced it.
pub(super) struct BoundPath {
    path: PathBuf,
    identity: (u64, u64),
}

impl BoundPath {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for BoundPath {
    fn drop(&mut self) {
        if identity(&self.path) == Some(self.identity) {
            let _ = rustix::fs::unlink(&self.path);
        }
    }
}

/// Binds a listening socket to `path`, for this user only.
pub(super) fn bind(path: &Path) -> Result<(OwnedFd, BoundPath), SessionError> {
    let address = socket::address(path)?;
    // The lock on the folder makes "is it stale? then remove and bind" one step among drivers; it leaves no file behind.
    let _lock = lock_folder(path)?;
    let listener = socket::open(path)?;
    match rustix::net::bind(&listener, &address) {
        Err(Errno::ADDRINUSE) => {
            remove_stale(path)?;
            rustix::net::bind(&listener, &address).map_err(|errno| host("bind", path, errno))?;
        }
        outcome => outcome.map_err(|errno| host("bind", path, errno))?,
    }
    let identity = identity(path).ok_or_else(|| host("stat", path, Errno::NOENT))?;
    let bound = BoundPath { path: path.to_owned(), identity };
    // Nobody can connect before `listen`, so nobody can slip in before the mode is set.
    rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR).map_err(|errno| host("chmod", path, errno))?;
    rustix::net::listen(&listener, BACKLOG).map_err(|errno| host("listen", path, errno))?;
    Ok((listener, bound))
}

fn lock_folder(path: &Path) -> Result<OwnedFd, SessionError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let folder = rustix::fs::open(folder, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| host("opening the folder", path, errno))?;
    rustix::fs::flock(&folder, FlockOperation::LockExclusive).map_err(|errno| host("flock", path, errno))?;
    Ok(folder)
}

/// Removes what is at `path` if it is a socket that nobody serves any more.
fn remove_stale(path: &Path) -> Result<(), SessionError> {
    let status = match rustix::fs::lstat(path) {
        Err(Errno::NOENT) => return Ok(()),
        outcome => outcome.map_err(|errno| host("stat", path, errno))?,
    };
    let occupied = SessionError::PathInvalid {
        path: path.to_owned(),
        reason: "something else is there; move it or choose another",
    };
    if FileType::from_raw_mode(status.st_mode) != FileType::Socket {
        return Err(occupied);
    }
    let probe = socket::open(path)?;
    match rustix::net::connect(&probe, &socket::address(path)?) {
        Err(Errno::CONNREFUSED) => {
            rustix::fs::unlink(path).map_err(|errno| host("unlink", path, errno))?;
            Ok(())
        }
        Ok(()) => {
            let pid = socket::peer(probe.as_fd()).map_or(0, |peer| peer.pid);
            Err(SessionError::DriverAlive { path: path.to_owned(), pid })
        }
        // Its queue of connections is full: it listens.
        Err(Errno::AGAIN) => Err(SessionError::DriverAlive { path: path.to_owned(), pid: 0 }),
        Err(Errno::PROTOTYPE) => Err(occupied),
        Err(errno) => Err(host("connect", path, errno)),
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let status = rustix::fs::lstat(path).ok()?;
    Some((status.st_dev, status.st_ino))
}
