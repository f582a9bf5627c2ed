//! Packing: all messages that one duty cycle has for one audience leave in one packet, or as few as hold them. That is batching, piggybacking and
//! the sharing of authentication vectors in one mechanism; there is no second (DESIGN section 2).

use crate::numbers::ReplicaId;
use crate::wire::Audience;
use crate::wire::packet::{HEADER_BYTES, body_bytes_max};
use logothete_transport::pool::{Frame, Pool};

/// A packet whose body is complete: room for the header in front, room for the vector behind.
#[derive(Debug)]
pub struct Outgoing {
    /// Header room, then the body.
    pub frame: Frame,
    /// How long the body is.
    pub body_bytes: usize,
    /// Whom it is for.
    pub audience: Audience,
    /// How many messages the body holds.
    pub message_count: u16,
}

/// Where packets go when they are complete: the sender, or the ring on the way to it.
pub trait Departures {
    /// To be sealed and sent.
    fn depart(&mut self, packet: Outgoing);
    /// A client's datagram, to be sent as it is.
    fn depart_relayed(&mut self, to: ReplicaId, frame: Frame);
}

/// Packets being filled, and those that are full.
#[derive(Debug)]
pub struct Outbox {
    pool: Pool,
    datagram_bytes_max: usize,
    open: Vec<Outgoing>,
    full: Vec<Outgoing>,
    relays: Vec<(ReplicaId, Frame)>,
    dropped: u64,
}

impl Outbox {
    /// Fills frames of a pool to at most `datagram_bytes_max`.
    pub fn new(pool: Pool, datagram_bytes_max: usize) -> Self {
        assert!(pool.frame_bytes() >= datagram_bytes_max);
        let (open, full, relays) = (Vec::with_capacity(32), Vec::with_capacity(64), Vec::with_capacity(64));
        Self { pool, datagram_bytes_max, open, full, relays, dropped: 0 }
    }

    /// Adds a message for an audience. Without a free frame it is dropped and counted: to the others it is a lost packet.
    ///
    /// # Panics
    /// If the message fits no packet: the limits make sure that it does.
    pub fn add(&mut self, audience: Audience, message: &[u8]) {
        let room = self.room(audience);
        assert!(message.len() <= room, "a message of {} bytes fits no packet of {room}", message.len());
        let mut at = self.open.iter().position(|packet| packet.audience == audience);
        if let Some(index) = at
            && (self.open[index].body_bytes + message.len() > room || self.open[index].message_count == u16::MAX)
        {
            self.full.push(self.open.swap_remove(index));
            at = None;
        }
        let index = match at {
            Some(index) => index,
            None => {
                let Some(frame) = self.pool.take() else {
                    self.dropped += 1;
                    return;
                };
                self.open.push(Outgoing { frame, body_bytes: 0, audience, message_count: 0 });
                self.open.len() - 1
            }
        };
        let packet = &mut self.open[index];
        let start = HEADER_BYTES + packet.body_bytes;
        packet.frame.capacity_bytes_mut()[start..start + message.len()].copy_from_slice(message);
        packet.body_bytes += message.len();
        packet.message_count += 1;
    }

    /// The longest message that fits a packet for an audience.
    pub fn room(&self, audience: Audience) -> usize {
        body_bytes_max(self.datagram_bytes_max, audience)
    }

    /// Passes a client's packet on to a replica, as it is.
    pub fn relay(&mut self, to: ReplicaId, datagram: &[u8]) {
        match self.pool.take() {
            Some(mut frame) => {
                frame.fill(datagram);
                self.relays.push((to, frame));
            }
            None => self.dropped += 1,
        }
    }

    /// Takes everything out, each audience's packets in the order of its messages.
    pub fn drain_into(&mut self, out: &mut impl Departures) {
        self.full.drain(..).chain(self.open.drain(..)).for_each(|packet| out.depart(packet));
        self.relays.drain(..).for_each(|(to, frame)| out.depart_relayed(to, frame));
    }

    /// Messages dropped for want of a frame.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}
