//! A network namespace that nobody else can see.
//!
//! It has no name: it lives as long as a descriptor or a process in it, so that whatever becomes of this program, the
//! kernel removes it and every device in it with the last of its processes.

use logothete::failure::Failure;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

/// The calling thread's namespace.
const OF_THIS_THREAD: &str = "/proc/thread-self/ns/net";

/// A network namespace.
#[derive(Debug)]
pub struct Namespace(File);

/// The calling thread is inside a namespace until this is dropped.
#[derive(Debug)]
pub struct Inside {
    former: Namespace,
}

impl Namespace {
    /// The one that the calling thread is in.
    ///
    /// # Errors
    ///
    /// When `/proc` does not show it.
    pub fn current() -> Result<Self, Failure> {
        File::open(OF_THIS_THREAD).map(Self).map_err(|error| Failure::of_file("open", OF_THIS_THREAD.as_ref(), &error))
    }

    /// Makes a namespace without any device that is up, and goes into it.
    ///
    /// # Errors
    ///
    /// When the system refuses: it takes the right to administer the network.
    pub fn enter_new() -> Result<(Self, Inside), Failure> {
        let inside = Inside { former: Self::current()? };
        unshare(UnshareFlags::NEWNET, "network")?;
        Ok((Self::current()?, inside))
    }

    /// Goes into it.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn enter(&self) -> Result<Inside, Failure> {
        let inside = Inside { former: Self::current()? };
        self.move_into()?;
        Ok(inside)
    }

    /// Where another program finds it while this one lives.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }

    fn move_into(&self) -> Result<(), Failure> {
        move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| Failure::Failed(format!("setns failed: {error}")))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // What would go on in the wrong place must not go on.
        self.former.move_into().expect("a thread can return to where it came from");
    }
}

/// Gives the calling thread, and what it starts, a view of the mounts of its own: what is mounted then is seen by nobody
/// else, and is gone with the last of them.
///
/// # Errors
///
/// When the system refuses.
pub fn own_mounts() -> Result<(), Failure> {
    unshare(UnshareFlags::NEWNS, "mount")?;
    super::command("mount", ["--make-rprivate", "/"])
}

fn unshare(flags: UnshareFlags, what: &str) -> Result<(), Failure> {
    // SAFETY: the flags never hold `FILES`, the only one that can pull descriptors away under other threads.
    unsafe { unshare_unsafe(flags) }
        .map_err(|error| Failure::Failed(format!("no {what} namespace: unshare failed: {error}")))
}
