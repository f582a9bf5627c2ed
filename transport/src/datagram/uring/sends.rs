//! Sends in flight: a place for each, which keeps its frame and its address until the kernel is done with them.

use super::super::address::RawAddress;
use crate::pool::Frame;
use std::net::SocketAddr;

/// Places for sends and for their frames; a frame that goes to several addresses has one place and several sends.
pub(super) struct Sends {
    sends: Box<[Send]>,
    sends_free: Vec<u16>,
    frames: Box<[Option<Held>]>,
    frames_free: Vec<u16>,
}

struct Send {
    to: RawAddress,
    frame: u16,
}

struct Held {
    frame: Frame,
    /// Sends that still need it, one more while it is being queued.
    users: u32,
}

impl Sends {
    pub(super) fn new(places: u16) -> Sends {
        Sends {
            sends: (0..places).map(|_| Send { to: RawAddress::EMPTY, frame: 0 }).collect(),
            sends_free: (0..places).rev().collect(),
            // Every held frame has a send, but for the one that is being queued: so there is always a place for a
            // frame.
            frames: (0..=places).map(|_| None).collect(),
            frames_free: (0..=places).rev().collect(),
        }
    }

    /// Whether no send is in flight or queued.
    pub(super) fn is_empty(&self) -> bool {
        self.sends_free.len() == self.sends.len()
    }

    /// Whether there is a place for a send.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        !self.sends_free.is_empty()
    }

    /// Keeps a frame; [`Sends::release`] must follow when all its sends are queued.
    #[inline]
    pub(super) fn hold(&mut self, frame: Frame) -> u16 {
        let place = self.frames_free.pop().expect("one frame more than sends can be held");
        self.frames[usize::from(place)] = Some(Held { frame, users: 1 });
        place
    }

    /// Lets go of one use of a frame; with the last one it goes back to its pool.
    #[inline]
    pub(super) fn release(&mut self, place: u16) {
        let held = self.frames[usize::from(place)].as_mut().expect("a frame in use is held");
        held.users -= 1;
        if held.users == 0 {
            self.frames[usize::from(place)] = None;
            self.frames_free.push(place);
        }
    }

    /// A place for a send of the frame at `frame`, with the pointers that the kernel gets: valid until
    /// [`Sends::complete`].
    #[inline]
    pub(super) fn start(&mut self, frame: u16, to: &SocketAddr) -> Option<Started> {
        let place = self.sends_free.pop()?;
        let held = self.frames[usize::from(frame)].as_mut().expect("a frame in use is held");
        held.users += 1;
        let (bytes, length) = (held.frame.base(), held.frame.len());
        let send = &mut self.sends[usize::from(place)];
        send.frame = frame;
        let address_bytes = send.to.encode(to);
        Some(Started { place, bytes, length, address: (&raw const send.to).cast(), address_bytes })
    }

    /// Frees a send's place.
    #[inline]
    pub(super) fn complete(&mut self, place: u16) {
        self.sends_free.push(place);
        self.release(self.sends[usize::from(place)].frame);
    }
}

/// A send that has its place.
pub(super) struct Started {
    pub(super) place: u16,
    pub(super) bytes: *const u8,
    pub(super) length: usize,
    pub(super) address: *const libc::sockaddr,
    pub(super) address_bytes: libc::socklen_t,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{Pool, PoolConfig};

    #[test]
    fn a_frame_is_kept_until_its_last_send_is_done() {
        let pool = Pool::new(PoolConfig { frame_bytes: 64, frames: 1 }).expect("a small pool");
        let to = "127.0.0.1:9".parse().expect("an address");
        let mut sends = Sends::new(2);
        let frame = sends.hold(pool.take().expect("a frame"));
        let (first, second) = (sends.start(frame, &to).expect("room"), sends.start(frame, &to).expect("room"));
        assert!(sends.start(frame, &to).is_none() && !sends.has_room());
        sends.release(frame);
        sends.complete(first.place);
        assert!(pool.take().is_none(), "the second send still needs the frame");
        sends.complete(second.place);
        assert!(pool.take().is_some() && sends.is_empty() && sends.has_room());
    }
}
