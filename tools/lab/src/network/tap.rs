//! TAP devices: Ethernet interfaces whose cable ends in this process.

use logothete::failure::Failure;
use rustix::fs::{Mode, OFlags, open as open_file};
use std::os::fd::{AsRawFd, OwnedFd};

/// Where they come from.
const DEVICE: &str = "/dev/net/tun";

/// Makes a TAP device of this name in the calling thread's namespace. A read from it is a frame that the interface sent,
/// a write one that it receives; neither blocks. It is gone with the descriptor.
///
/// # Errors
///
/// When the system refuses.
pub fn open(name: &str) -> Result<OwnedFd, Failure> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = open_file(DEVICE, flags, Mode::empty())
        .map_err(|error| Failure::of_file("open", DEVICE.as_ref(), &error.into()))?;
    // SAFETY: all bytes zero is a valid `ifreq`: it has integers, addresses and a pointer that is not used.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    assert!(name.len() < request.ifr_name.len(), "a device's name has at most 15 bytes");
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes the `ifreq` that is passed, which lives until the call returns.
    let status = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
    if status < 0 {
        let error = std::io::Error::last_os_error();
        return Err(Failure::Failed(format!("no TAP device {name}: ioctl(TUNSETIFF) failed: {error}")));
    }
    Ok(file)
}
