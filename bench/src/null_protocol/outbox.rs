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
        let mut at = match self.open.iter().position(|open| open.to == to) {
            Some(at) if room(&self.open[at]) => at,
            Some(full) => {
                self.close(full);
                self.begin(to)?
            }
            None => self.begin(to)?,
        };
        if self.packing == Packing::Message && self.open[at].body_bytes > 0 {
            self.close(at);
            at = self.begin(to)?;
        }
        let open = &mut self.open[at];
        let from = HEADER_BYTES + open.body_bytes;
        write(&mut open.frame.capacity_bytes_mut()[from..from + message_bytes]);
        open.body_bytes += message_bytes;
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
