//! A client that speaks the handshake by hand and then writes what it likes where it likes.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{MapFlags, ProtFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendFlags,
    SocketAddrUnix, SocketType,
};

/// Offset of the request ring's producer index in the region.
pub const REQUESTS_TAIL: usize = 256;
/// Offset of the request ring's records.
pub const REQUESTS_DATA: usize = REQUESTS_TAIL + 256;

pub struct RawClient {
    pub socket: OwnedFd,
    base: *mut u8,
    length_bytes: usize,
    requests_bytes: usize,
}

impl RawClient {
    /// Opens a session with rings of 4096 bytes.
    pub fn connect(path: &Path, subscribes: bool) -> RawClient {
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
        rustix::net::connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
        let mut hello = b"LOGOSESS".to_vec();
        for word in [1u32, u32::from(subscribes), 4096, 4096, 4096, 0] {
            hello.extend_from_slice(&word.to_le_bytes());
        }
        rustix::net::sendmsg(
            &socket,
            &[IoSlice::new(&hello)],
            &mut SendAncillaryBuffer::default(),
            SendFlags::NOSIGNAL,
        )
        .unwrap();
        let mut welcome = [0u8; 128];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let message =
            rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(&mut welcome)], &mut control, RecvFlags::CMSG_CLOEXEC)
                .unwrap();
        assert_eq!((message.bytes, welcome[12]), (72, 0), "a welcome");
        let file = control
            .drain()
            .find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut files) => files.next(),
                _ => None,
            })
            .unwrap();
        let length_bytes = rustix::fs::fstat(&file).unwrap().st_size as usize;
        // SAFETY: a fresh mapping of a sealed file of this size.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                length_bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &file,
                0,
            )
        }
        .unwrap();
        RawClient { socket, base: base.cast(), length_bytes, requests_bytes: 4096 }
    }

    pub fn length_bytes(&self) -> usize {
        self.length_bytes
    }

    /// Offset of the response ring's consumer index.
    pub fn responses_head(&self) -> usize {
        REQUESTS_DATA + self.requests_bytes + 128
    }

    /// Offset of the subscription ring's consumer index.
    pub fn subscription_head(&self) -> usize {
        REQUESTS_DATA + self.requests_bytes + 256 + 4096 + 128
    }

    pub fn write(&self, offset_bytes: usize, value: u64) {
        assert!(offset_bytes.is_multiple_of(8) && offset_bytes + 8 <= self.length_bytes);
        // SAFETY: an aligned word within the mapping, which lives as long as `self`; accessed atomically only.
        unsafe { &*self.base.add(offset_bytes).cast::<AtomicU64>() }.store(value, Ordering::SeqCst);
    }

    /// Wakes the driver, asleep or not.
    pub fn ring_bell(&self) {
        let _ = rustix::net::send(&self.socket, &[1], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }

    /// Blocks until the driver's next packet, or its end: the farewell's code.
    pub fn farewell(&self) -> Option<u32> {
        loop {
            let mut packet = [0u8; 128];
            match rustix::net::recv(&self.socket, &mut packet[..], RecvFlags::empty()) {
                Ok((5, _)) if packet[0] == 2 => {
                    return Some(u32::from_le_bytes(packet[1..5].try_into().unwrap()));
                }
                Ok((0, _)) => return None,
                Ok(_) | Err(rustix::io::Errno::CONNRESET) => {}
                Err(errno) => panic!("recv: {errno}"),
            }
        }
    }
}

impl Drop for RawClient {
    fn drop(&mut self) {
        // SAFETY: mapped in `connect` with this length; nobody else has the address.
        unsafe { rustix::mm::munmap(self.base.cast(), self.length_bytes) }.unwrap();
    }
}
