//! Packing: all messages that one duty cycle has for one audience leave in one packet, or as few as hold them. That is batching, piggybacking and
//! the sharing of authentication vectors in one mechanism; there is no second (`protocol.md PK-9`).

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

impl Outgoing {
    fn append(&mut self, message: &[u8]) {
        let start = HEADER_BYTES + self.body_bytes;
        self.frame.capacity_bytes_mut()[start..start + message.len()].copy_from_slice(message);
        self.body_bytes += message.len();
        self.message_count += 1;
    }
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
}

impl Outbox {
    /// Fills frames of a pool to at most `datagram_bytes_max`.
    pub fn new(pool: Pool, datagram_bytes_max: usize) -> Self {
        assert!(pool.frame_bytes() >= datagram_bytes_max);
        let (open, full, relays) = (Vec::with_capacity(32), Vec::with_capacity(64), Vec::with_capacity(64));
        Self { pool, datagram_bytes_max, open, full, relays }
    }

    /// Adds a message for an audience. Without a free frame it is dropped, which the pool counts: to the others it is a lost
    /// packet (`protocol.md BP-4`).
    ///
    /// # Panics
    /// If the message fits no packet: the limits make sure that it does.
    pub fn add(&mut self, audience: Audience, message: &[u8]) {
        let room = self.room(audience);
        assert!(message.len() <= room, "a message of {} bytes fits no packet of {room}", message.len());
        let held = self.open.iter().position(|packet| packet.audience == audience);
        let fits = |packet: &Outgoing| packet.body_bytes + message.len() <= room && packet.message_count < u16::MAX;
        match held {
            Some(at) if fits(&self.open[at]) => self.open[at].append(message),
            held => {
                if let Some(at) = held {
                    self.full.push(self.open.swap_remove(at));
                }
                if let Some(mut packet) = self.begin(audience) {
                    packet.append(message);
                    self.open.push(packet);
                }
            }
        }
    }

    fn begin(&mut self, audience: Audience) -> Option<Outgoing> {
        Some(Outgoing { frame: self.pool.take()?, body_bytes: 0, audience, message_count: 0 })
    }

    /// Adds a message that shares its packet with no other: a request, which others may ask for by its packet.
    pub fn add_alone(&mut self, audience: Audience, message: &[u8]) {
        if let Some(mut packet) = self.begin(audience) {
            packet.append(message);
            self.full.push(packet);
        }
    }

    /// The longest message that fits a packet for an audience.
    pub fn room(&self, audience: Audience) -> usize {
        body_bytes_max(self.datagram_bytes_max, audience)
    }

    /// Passes a client's packet on to a replica, as it is.
    pub fn relay(&mut self, to: ReplicaId, datagram: &[u8]) {
        if let Some(mut frame) = self.pool.take() {
            frame.fill(datagram);
            self.relays.push((to, frame));
        }
    }

    /// Takes everything out, each audience's packets in the order of its messages.
    pub fn drain_into(&mut self, out: &mut impl Departures) {
        self.full.drain(..).chain(self.open.drain(..)).for_each(|packet| out.depart(packet));
        self.relays.drain(..).for_each(|(to, frame)| out.depart_relayed(to, frame));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::{ClientId, ReplicaSet};
    use logothete_transport::pool::PoolConfig;

    const FRAME_BYTES: usize = 512;

    #[derive(Default)]
    struct Left(Vec<(Audience, Vec<u8>, u16)>);

    impl Departures for Left {
        fn depart(&mut self, packet: Outgoing) {
            let mut frame = packet.frame;
            let body = frame.capacity_bytes_mut()[HEADER_BYTES..HEADER_BYTES + packet.body_bytes].to_vec();
            self.0.push((packet.audience, body, packet.message_count));
        }

        fn depart_relayed(&mut self, _: ReplicaId, _: Frame) {
            panic!("nothing was relayed");
        }
    }

    fn outbox(frames: usize) -> (Outbox, Pool) {
        let pool = Pool::new(PoolConfig { frame_bytes: FRAME_BYTES, frames }).unwrap();
        (Outbox::new(pool.clone(), FRAME_BYTES), pool)
    }

    fn drain(outbox: &mut Outbox) -> Vec<(Audience, Vec<u8>, u16)> {
        let mut left = Left::default();
        outbox.drain_into(&mut left);
        left.0
    }

    /// `protocol.md PK-9`
    #[test]
    fn what_is_for_one_audience_shares_its_packet_in_order() {
        let (mut outbox, _pool) = outbox(8);
        let (all, one) = (Audience::Replicas(ReplicaSet::first(4)), Audience::Client(ClientId(0)));
        outbox.add(all, &[1; 8]);
        outbox.add(one, &[2; 8]);
        outbox.add(all, &[3; 8]);
        outbox.add(one, &[4; 8]);
        let body = |first, second| [[first; 8], [second; 8]].concat();
        assert_eq!(drain(&mut outbox), [(all, body(1, 3), 2), (one, body(2, 4), 2)]);
        // As few packets as hold them: the one that is full goes first, and the next message begins another.
        let room = outbox.room(all);
        outbox.add(all, &vec![5; room - 8]);
        outbox.add(all, &[6; 8]);
        outbox.add(all, &[7; 8]);
        let left = drain(&mut outbox);
        assert_eq!(left.iter().map(|(_, body, count)| (body.len(), *count)).collect::<Vec<_>>(), [(room, 2), (8, 1)]);
        assert_eq!(left[1].1, [7; 8]);
        assert_eq!(drain(&mut outbox), [], "nothing leaves twice");
    }

    /// `protocol.md BP-4`
    #[test]
    fn without_a_free_frame_a_message_is_dropped() {
        let (mut outbox, pool) = outbox(1);
        let to = |client| Audience::Client(ClientId(client));
        outbox.add(to(0), b"first");
        outbox.add(to(1), b"lost");
        outbox.add_alone(to(2), b"lost as well");
        outbox.relay(ReplicaId(1), b"and this");
        outbox.add(to(0), b" and more");
        assert_eq!(pool.exhausted(), 3);
        assert_eq!(drain(&mut outbox), [(to(0), b"first and more".to_vec(), 2)]);
        outbox.add(to(1), b"there is room again");
        assert_eq!(drain(&mut outbox).len(), 1);
    }
}
