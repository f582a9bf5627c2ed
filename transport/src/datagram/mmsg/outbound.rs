//! The sending half: one `sendmmsg` a flush.
//!
//! Queued datagrams that follow each other to the same address form a *run* and travel through the kernel as one
//! message that it cuts up at the far end (`UDP_SEGMENT`), for less than half the price. All of a run have one
//! length; only the last may be shorter, and ends it.

use super::super::address::RawAddress;
use super::super::{BATCH, DatagramCounters, breaks};
use super::empty_header;
use crate::HostError;
use crate::pool::Frame;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::ptr;

/// Datagrams queued before a flush happens by itself.
const SENDS_MAX: usize = 2 * BATCH;

/// Datagrams in a run; kernels before 6.9 take no more.
const SEGMENTS_MAX: usize = 64;

/// Bytes in a run: what an IPv4 packet holds, less its header and UDP's.
const RUN_BYTES_MAX: usize = 65_535 - 20 - 8;

/// Message headers, each for one run.
pub(super) struct Outbound {
    /// Whether the kernel cuts up runs.
    segmentation: bool,
    /// The frames that `vectors` point to.
    frames: Vec<Frame>,
    /// One a datagram; those of a run are neighbours.
    vectors: Box<[libc::iovec]>,
    queued: usize,
    runs: Vec<Run>,
    /// One a run, as the next two.
    headers: Box<[libc::mmsghdr]>,
    addresses: Box<[RawAddress]>,
    controls: Box<[SegmentControl]>,
}

/// Datagrams to one address that travel together.
#[derive(Clone, Copy)]
struct Run {
    to: SocketAddr,
    first: usize,
    count: usize,
    bytes: usize,
    /// The length of all but the last.
    segment_bytes: usize,
    /// Whether another datagram may join.
    open: bool,
}

/// The ancillary message that asks for segmentation.
#[derive(Clone, Copy)]
#[repr(C)]
struct SegmentControl {
    header: libc::cmsghdr,
    segment_bytes: u16,
}

impl Outbound {
    pub(super) fn new(socket: RawFd) -> Outbound {
        let mut outbound = Outbound {
            segmentation: has_segmentation(socket),
            frames: Vec::with_capacity(SENDS_MAX),
            vectors: vec![libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; SENDS_MAX].into(),
            queued: 0,
            runs: Vec::with_capacity(SENDS_MAX),
            headers: (0..SENDS_MAX).map(|_| empty_header()).collect(),
            addresses: vec![RawAddress::EMPTY; SENDS_MAX].into(),
            controls: vec![segment_control(); SENDS_MAX].into(),
        };
        for (header, address) in outbound.headers.iter_mut().zip(&mut outbound.addresses) {
            header.msg_hdr.msg_name = (&raw mut *address).cast();
        }
        outbound
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.queued == SENDS_MAX
    }

    /// Queues a datagram; the frame must then be given to `hold`, or stay alive until `flush`.
    #[inline]
    pub(super) fn queue(&mut self, frame: &Frame, to: &SocketAddr) {
        let length = frame.len();
        self.vectors[self.queued] = libc::iovec { iov_base: frame.base().cast(), iov_len: length };
        match self.runs.last_mut() {
            Some(run) if run.takes(length, to) => run.add(length),
            _ => {
                self.headers[self.runs.len()].msg_hdr.msg_namelen = self.addresses[self.runs.len()].encode(to);
                let open = self.segmentation && length > 0;
                self.runs.push(Run {
                    to: *to,
                    first: self.queued,
                    count: 1,
                    bytes: length,
                    segment_bytes: length,
                    open,
                });
            }
        }
        self.queued += 1;
    }

    #[inline]
    pub(super) fn hold(&mut self, frame: Frame) {
        // A frame without an address has no vector that points to it; so there are never more frames than vectors.
        if self.frames.len() < self.queued {
            self.frames.push(frame);
        }
    }

    /// Sends what is queued. The kernel has copied the bytes when the call returns, so the frames go back to their
    /// pool.
    #[inline]
    pub(super) fn flush(&mut self, socket: RawFd, counters: &DatagramCounters, broken: &mut Option<HostError>) {
        for index in 0..self.runs.len() {
            self.point(index);
        }
        let mut next = 0;
        // Each turn sends or gives up at least one run, or is repeated for a signal.
        while next < self.runs.len() {
            match self.call(socket, next, counters) {
                Ok(sent) => {
                    self.runs[next..next + sent].iter().for_each(|run| run.count_as_sent(counters));
                    next += sent;
                }
                Err(libc::EINTR) => {}
                Err(errno) => {
                    // The error belongs to the first run of the call.
                    if self.runs[next].count > 1 && refuses_segmentation(errno) {
                        self.send_apart(socket, next, counters);
                    } else {
                        counters.send_failed.add(self.runs[next].count as u64);
                    }
                    if breaks(errno) {
                        broken.get_or_insert_with(|| HostError::new("sendmmsg", errno, "a datagram socket"));
                    }
                    next += 1;
                }
            }
        }
        self.runs.clear();
        self.queued = 0;
        self.frames.clear();
    }

    /// Points a run's header to its datagrams.
    #[inline]
    fn point(&mut self, index: usize) {
        let run = self.runs[index];
        let header = &mut self.headers[index].msg_hdr;
        header.msg_iov = &raw mut self.vectors[run.first];
        // This field's type and the next one's differ between C libraries.
        header.msg_iovlen = run.count as _;
        if run.count > 1 {
            self.controls[index].segment_bytes = run.segment_bytes as u16;
            header.msg_control = (&raw mut self.controls[index]).cast();
            header.msg_controllen = size_of::<SegmentControl>() as _;
        } else {
            header.msg_control = ptr::null_mut();
            header.msg_controllen = 0;
        }
    }

    /// One `sendmmsg` of the runs from `first` on: how many were sent, or the error number of the first.
    #[inline]
    fn call(&mut self, socket: RawFd, first: usize, counters: &DatagramCounters) -> Result<usize, i32> {
        counters.send_calls.add(1);
        let count = (self.runs.len() - first) as libc::c_uint;
        let headers = &mut self.headers[first..];
        // SAFETY: the headers of all runs were pointed to addresses, controls and vectors of this value, whose boxes
        // never move, and each vector to a frame that `frames`, or the caller of `queue`, keeps.
        let sent = unsafe {
            libc::sendmmsg(socket, headers.as_mut_ptr(), count, (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _)
        };
        match usize::try_from(sent) {
            Ok(sent @ 1..) => Ok(sent),
            _ => Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)),
        }
    }

    /// Sends a run's datagrams one by one. When that works, it was the run that was refused and not the address: no
    /// more of them.
    #[cold]
    fn send_apart(&mut self, socket: RawFd, index: usize, counters: &DatagramCounters) {
        let run = self.runs[index];
        let mut message = self.headers[index].msg_hdr;
        (message.msg_iovlen, message.msg_control, message.msg_controllen) = (1, ptr::null_mut(), 0);
        for vector in &mut self.vectors[run.first..run.first + run.count] {
            message.msg_iov = &raw mut *vector;
            counters.send_calls.add(1);
            // SAFETY: as in `call`.
            let sent = unsafe { libc::sendmsg(socket, &message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
            if sent < 0 {
                counters.send_failed.add(1);
            } else {
                self.segmentation = false;
                counters.sent.add(1);
                counters.sent_bytes.add(vector.iov_len as u64);
            }
        }
    }
}

impl Run {
    #[inline]
    fn takes(&self, length: usize, to: &SocketAddr) -> bool {
        self.open
            && (1..=self.segment_bytes).contains(&length)
            && self.count < SEGMENTS_MAX
            && self.bytes + length <= RUN_BYTES_MAX
            && self.to == *to
    }

    #[inline]
    fn add(&mut self, length: usize) {
        self.count += 1;
        self.bytes += length;
        self.open = length == self.segment_bytes;
    }

    #[inline]
    fn count_as_sent(&self, counters: &DatagramCounters) {
        counters.sent.add(self.count as u64);
        counters.sent_bytes.add(self.bytes as u64);
        if self.count > 1 {
            counters.segmented.add(self.count as u64);
        }
    }
}

/// Whether the kernel knows `UDP_SEGMENT`, since 4.18.
fn has_segmentation(socket: RawFd) -> bool {
    let (off, bytes) = (0 as libc::c_int, size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: the value is as large as stated; zero leaves the socket as it is.
    unsafe { libc::setsockopt(socket, libc::SOL_UDP, libc::UDP_SEGMENT, (&raw const off).cast(), bytes) == 0 }
}

/// Whether an error number may mean that the path does not carry runs: a tunnel, or a device whose packets are
/// shorter than a segment.
fn refuses_segmentation(errno: i32) -> bool {
    matches!(errno, libc::EINVAL | libc::EIO | libc::EMSGSIZE | libc::EOPNOTSUPP)
}

fn segment_control() -> SegmentControl {
    // SAFETY: zero is a valid header; its fields' types differ between C libraries, so it is filled in one by one.
    let mut header: libc::cmsghdr = unsafe { mem::zeroed() };
    header.cmsg_len = (size_of::<libc::cmsghdr>() + size_of::<u16>()) as _;
    header.cmsg_level = libc::SOL_UDP;
    header.cmsg_type = libc::UDP_SEGMENT;
    SegmentControl { header, segment_bytes: 0 }
}
