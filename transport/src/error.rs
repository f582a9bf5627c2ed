//! What the host refused: the system call, the object, the likely cause and the mend.

use std::io;

/// A refusal by the operating system that the caller cannot work around by itself.
///
/// Lost datagrams, exhausted pools and full queues are no errors: they are counted. A `HostError` means that
/// something the process needs (a socket, a mapping, a file) is not to be had, and its text is written for the
/// operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call} failed for {what}: {}; {mend}", io::Error::from_raw_os_error(*errno))]
pub struct HostError {
    /// The system call, by its manual page's name.
    pub call: &'static str,
    /// The error number; 0 where the refusal came without one.
    pub errno: i32,
    /// The object that the call was about, with its address, path or size.
    pub what: String,
    /// The likely cause and what to do about it.
    pub mend: String,
}

impl HostError {
    /// An error with the usual cause of `errno` as its mend.
    pub fn new(call: &'static str, errno: i32, what: impl Into<String>) -> HostError {
        HostError { call, errno, what: what.into(), mend: usual_mend(errno).into() }
    }

    /// The calling thread's last error; call it right after the system call.
    pub fn last(call: &'static str, what: impl Into<String>) -> HostError {
        HostError::from_io(call, &io::Error::last_os_error(), what)
    }

    /// An error that the standard library reported. One without an error number becomes `EIO`.
    pub fn from_io(call: &'static str, error: &io::Error, what: impl Into<String>) -> HostError {
        HostError::new(call, error.raw_os_error().unwrap_or(libc::EIO), what)
    }

    /// Whether the file system has no room, for this user or at all: there may be room again.
    pub fn is_no_room(&self) -> bool {
        matches!(self.errno, libc::ENOSPC | libc::EDQUOT | libc::EFBIG)
    }

    /// The same error with a mend that fits its place better than the usual one.
    #[must_use]
    pub fn with_mend(mut self, mend: impl Into<String>) -> HostError {
        self.mend = mend.into();
        self
    }
}

/// What usually causes an error number in this crate's calls.
fn usual_mend(errno: i32) -> &'static str {
    match errno {
        libc::EPERM | libc::EACCES => {
            "the process lacks the permission: run it as the file's owner or grant the capability"
        }
        libc::ENOENT => "a folder or file on the path does not exist: create it",
        libc::ENOMEM => "the host has no memory left for it: make pools or buffers smaller, or raise the memory limit",
        libc::EMFILE | libc::ENFILE => "too many open files: raise `ulimit -n`",
        libc::EADDRINUSE => "another process has this address: stop it, or choose another port",
        libc::EADDRNOTAVAIL => "no interface of this host has the address: check it against `ip address`",
        libc::ENODEV | libc::ENXIO => "no interface of this host fits: check the address against `ip address`",
        libc::ENETUNREACH | libc::EHOSTUNREACH => "no route leads there: check the interface and `ip route`",
        libc::ENOBUFS => {
            "the kernel's limit for this is reached: for group memberships raise `net.ipv4.igmp_max_memberships`"
        }
        libc::ENOSYS | libc::EOPNOTSUPP => "this kernel does not offer it: use another back-end or a newer kernel",
        libc::EINVAL => "the kernel does not accept the arguments: it may be too old for them",
        libc::ENOSPC => "the file system is full: make room or choose another folder",
        _ => "see the error number's manual page, errno(3)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_call_object_cause_and_mend() {
        let text = HostError::new("bind", libc::EADDRINUSE, "udp 127.0.0.1:4000").to_string();
        for part in ["bind", "udp 127.0.0.1:4000", "os error 98", "Address already in use", "choose another port"] {
            assert!(text.contains(part), "{part:?} is missing in {text:?}");
        }
    }

    #[test]
    fn a_better_mend_replaces_the_usual_one() {
        let error = HostError::new("mmap", libc::ENOMEM, "a pool").with_mend("use fewer frames");
        assert_eq!((error.errno, error.mend.as_str()), (libc::ENOMEM, "use fewer frames"));
    }
}
