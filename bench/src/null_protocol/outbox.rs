//! Messages on their way into datagrams.

use std::net::SocketAddr;

use logothete_transport::pool::{Frame, Pool};

use super::packet::{ENTRY_BYTES, HEADER_BYTES, write_header};
use super::{NullError, Packing};

/// Whom a datagram is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// All other replicas; from a client all replicas.
    Replicas,
    /// One party.
    One(SocketAddr),
}

/// A datagram that is still being filled.
struct Open {
    frame: Frame,
    to: To,
    body_bytes: usize,
    /// Room that the tags will take.
    tag_bytes: usize,
}

/// Packs messages into datagrams and keeps these until they are fetched.
pub(super) struct Outbox {
    pool: Pool,
    packing: Packing,
    run: u64,
    sender: usize,
    /// How many `To::Replicas` are.
    peers: usize,
    open: Vec<Open>,
    ready: Vec<(Frame, To)>,
}

impl Outbox {
    pub(super) fn new(pool: Pool, packing: Packing, run: u64, sender: usize, peers: usize) -> Self {
        let (open, ready) = (Vec::with_capacity(4), Vec::with_capacity(256));
        Self { pool, packing, run, sender, peers, open, ready }
    }

    /// Adds a message of `message_bytes`, which `write` fills.
    pub(super) fn post(
        &mut self,
        to: To,
        message_bytes: usize,
        write: impl FnOnce(&mut [u8]),
    ) -> Result<(), NullError> {
        let room = |open: &Open| {
            HEADER_BYTES + open.body_bytes + message_bytes + open.tag_bytes <= open.frame.capacity_bytes()
        };
        let at = match self.open.iter().position(|open| open.to == to) {
            Some(at) if room(&self.open[at]) => at,
            Some(full) => {
                self.close(full);
                self.begin(to)?
            }
            None => self.begin(to)?,
        };
        let open = &mut self.open[at];
        let from = HEADER_BYTES + open.body_bytes;
        write(&mut open.frame.capacity_bytes_mut()[from..from + message_bytes]);
        open.body_bytes += message_bytes;
        if self.packing == Packing::Message {
            self.close(at);
        }
        Ok(())
    }

    /// Adds a message that must have a datagram to itself, as a request must: its packet's digest is its own.
    pub(super) fn post_alone(
        &mut self,
        to: To,
        message_bytes: usize,
        write: impl FnOnce(&mut [u8]),
    ) -> Result<(), NullError> {
        let at = self.begin(to)?;
        let open = &mut self.open[at];
        write(&mut open.frame.capacity_bytes_mut()[HEADER_BYTES..HEADER_BYTES + message_bytes]);
        open.body_bytes = message_bytes;
        self.close(at);
        Ok(())
    }

    /// All datagrams, finished.
    pub(super) fn fetch(&mut self) -> impl Iterator<Item = (Frame, To)> + '_ {
        while !self.open.is_empty() {
            self.close(0);
        }
        self.ready.drain(..)
    }

    fn begin(&mut self, to: To) -> Result<usize, NullError> {
        let frame = self.pool.take().ok_or(NullError::Pool { frames: self.pool.frames() })?;
        let addressees = if to == To::Replicas { self.peers } else { 1 };
        self.open.push(Open { frame, to, body_bytes: 0, tag_bytes: addressees * ENTRY_BYTES });
        Ok(self.open.len() - 1)
    }

    fn close(&mut self, at: usize) {
        let Open { mut frame, to, body_bytes, tag_bytes } = self.open.remove(at);
        write_header(frame.capacity_bytes_mut(), self.run, self.sender, body_bytes);
        // The tags' room is sent as it is: making tags is what the null protocol leaves out.
        frame.set_len(HEADER_BYTES + body_bytes + tag_bytes);
        self.ready.push((frame, to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_transport::pool::PoolConfig;
    use std::net::Ipv4Addr;

    const CLIENT: To = To::One(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1));

    fn lengths(packing: Packing, frame_bytes: usize) -> Vec<(usize, To)> {
        let pool = Pool::new(PoolConfig { frame_bytes, frames: 16 }).unwrap();
        let mut out = Outbox::new(pool, packing, 1, 0, 3);
        for to in [To::Replicas, CLIENT, To::Replicas] {
            out.post(to, 100, |message| message.fill(1)).unwrap();
        }
        out.post_alone(To::Replicas, 50, |message| message.fill(2)).unwrap();
        out.fetch().map(|(frame, to)| (frame.len(), to)).collect()
    }

    #[test]
    fn a_turn_packs_by_audience_and_single_messages_do_not() {
        let alone = (48 + 50 + 60, To::Replicas);
        let one = |to, tags: usize| (48 + 100 + 20 * tags, to);
        assert_eq!(lengths(Packing::Turn, 1024), [alone, (48 + 200 + 60, To::Replicas), one(CLIENT, 1)]);
        let single = [one(To::Replicas, 3), one(CLIENT, 1), one(To::Replicas, 3), alone];
        assert_eq!(lengths(Packing::Message, 1024), single);
    }

    #[test]
    fn a_full_datagram_makes_room_for_the_next() {
        let sizes = lengths(Packing::Turn, 250);
        assert_eq!(sizes.iter().filter(|(length, to)| *to == To::Replicas && *length == 208).count(), 2);
    }

    #[test]
    fn an_empty_pool_is_an_error() {
        let pool = Pool::new(PoolConfig { frame_bytes: 1024, frames: 1 }).unwrap();
        let mut out = Outbox::new(pool, Packing::Message, 1, 0, 3);
        out.post(CLIENT, 8, |_| ()).unwrap();
        assert!(matches!(out.post(CLIENT, 8, |_| ()), Err(NullError::Pool { frames: 1 })));
    }
}
