//! The client: which requests are outstanding, and what came back. It owns no socket and no clock.

use std::net::SocketAddr;

use super::outbox::{Outbox, To};
use super::packet::{self, MessageView, PacketView};
use super::{NullError, Shape};
use crate::latency::Latencies;

/// A request and its replies.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// 0 in a place that was never used.
    number: u64,
    sent_ns: u64,
    /// Where the first replica that replied had executed it.
    sequence: u64,
    /// Replicas that replied, one bit each.
    replied: u16,
}

pub(super) struct Client {
    shape: Shape,
    places: Vec<Place>,
    number_next: u64,
    /// Requests without enough replies.
    outstanding: usize,
    /// Requests without all replies.
    incomplete: usize,
    /// Replicas that greeted back, one bit each.
    greeted: u16,
    /// Times between which results count.
    measured_ns: (u64, u64),
    requests_measured: u64,
    /// The last result that counted.
    result_last_ns: u64,
    gap_max_ns: u64,
    latencies: Latencies,
}

impl Client {
    pub(super) fn new(shape: Shape) -> Self {
        Self {
            shape,
            places: vec![Place::default(); shape.places()],
            number_next: 1,
            outstanding: 0,
            incomplete: 0,
            greeted: 0,
            measured_ns: (u64::MAX, u64::MAX),
            requests_measured: 0,
            result_last_ns: 0,
            gap_max_ns: 0,
            latencies: Latencies::new(),
        }
    }

    /// Results that come from `from_ns` on and before `to_ns` count.
    pub(super) fn measure(&mut self, from_ns: u64, to_ns: u64) {
        self.measured_ns = (from_ns, to_ns);
        self.result_last_ns = from_ns;
    }

    /// Replicas that have not greeted back.
    pub(super) fn absent(&self) -> Vec<usize> {
        (0..self.shape.replicas()).filter(|id| self.greeted & (1 << id) == 0).collect()
    }

    /// Whether every replica has answered every request.
    pub(super) fn complete(&self) -> bool {
        self.incomplete == 0
    }

    /// The oldest request that some replica has not answered, and how many have.
    pub(super) fn oldest_incomplete(&self) -> (u64, u32) {
        let incomplete = self.places.iter().filter(|place| place.number > 0 && !self.answered_by_all(place));
        let oldest = incomplete.min_by_key(|place| place.number);
        oldest.map_or((0, 0), |place| (place.number, place.replied.count_ones()))
    }

    /// What was measured: operations, the longest time without a result, and latencies.
    pub(super) fn measured(self) -> (u64, u64, Latencies) {
        let silent_ns = self.measured_ns.1.saturating_sub(self.result_last_ns);
        let operations = self.requests_measured * self.shape.operations_per_request as u64;
        (operations, self.gap_max_ns.max(silent_ns), self.latencies)
    }

    /// Sends requests while the window has room. A request waits until every replica has answered the one whose place it
    /// takes, see [`Shape::places`].
    pub(super) fn send(&mut self, now_ns: u64, out: &mut Outbox) -> Result<(), NullError> {
        let (operations, payload_bytes) = (self.shape.operations_per_request, self.shape.payload_bytes);
        while self.outstanding < self.shape.requests_outstanding {
            let number = self.number_next;
            let at = self.place(number);
            let place = &self.places[at];
            if place.number > 0 && !self.answered_by_all(place) {
                return Ok(());
            }
            self.places[at] = Place { number, sent_ns: now_ns, sequence: 0, replied: 0 };
            self.number_next += 1;
            self.outstanding += 1;
            self.incomplete += 1;
            out.post_alone(To::Replicas, packet::request_bytes(operations, payload_bytes), |message| {
                packet::write_request(message, number, operations, payload_bytes);
            })?;
        }
        Ok(())
    }

    /// Takes one datagram in that was there at `now_ns`.
    pub(super) fn on_datagram(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        run: u64,
        now_ns: u64,
    ) -> Result<(), NullError> {
        let Some(packet) = PacketView::of_run(datagram, run) else {
            return Ok(());
        };
        let damaged = |what| NullError::Damaged { from, what };
        let packet = packet.map_err(damaged)?;
        if packet.sender >= self.shape.replicas() {
            return Err(damaged("it comes from no replica"));
        }
        for message in packet.messages() {
            match message.map_err(damaged)? {
                MessageView::Greeting => self.greeted |= 1 << packet.sender,
                MessageView::Reply { sequence, number, results } => {
                    self.on_reply(packet.sender, sequence, number, results, now_ns).map_err(damaged)?;
                }
                _ => return Err(damaged("it is for a replica")),
            }
        }
        Ok(())
    }

    fn on_reply(
        &mut self,
        sender: usize,
        sequence: u64,
        number: u64,
        results: &[u8],
        now_ns: u64,
    ) -> Result<(), &'static str> {
        let at = self.place(number);
        let place = &mut self.places[at];
        if place.number != number || place.replied & (1 << sender) != 0 {
            return Err("a reply that nobody waits for");
        }
        if !packet::results_right(results, number, self.shape.operations_per_request, self.shape.payload_bytes) {
            return Err("a result is wrong");
        }
        if place.replied == 0 {
            place.sequence = sequence;
        } else if place.sequence != sequence {
            return Err("replicas executed a request at different places");
        }
        place.replied |= 1 << sender;
        if place.replied.count_ones() == self.shape.replies_needed() {
            self.outstanding -= 1;
            if (self.measured_ns.0..self.measured_ns.1).contains(&now_ns) {
                self.requests_measured += 1;
                self.gap_max_ns = self.gap_max_ns.max(now_ns - self.result_last_ns);
                self.result_last_ns = now_ns;
                self.latencies.record(now_ns.saturating_sub(place.sent_ns));
            }
        }
        if place.replied.count_ones() as usize == self.shape.replicas() {
            self.incomplete -= 1;
        }
        Ok(())
    }

    fn place(&self, number: u64) -> usize {
        number as usize & (self.places.len() - 1)
    }

    fn answered_by_all(&self, place: &Place) -> bool {
        place.replied.count_ones() as usize == self.shape.replicas()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::null_protocol::Packing;
    use logothete_transport::pool::{Pool, PoolConfig};
    use std::net::Ipv4Addr;

    const RUN: u64 = 5;

    fn outbox(sender: usize) -> Outbox {
        let pool = Pool::new(PoolConfig { frame_bytes: 4096, frames: 256 }).unwrap();
        Outbox::new(pool, Packing::Message, RUN, sender, 4)
    }

    fn hear(client: &mut Client, datagram: &[u8], now_ns: u64) -> Result<(), NullError> {
        client.on_datagram(datagram, SocketAddr::from((Ipv4Addr::LOCALHOST, 9)), RUN, now_ns)
    }

    /// The reply of replica `sender` to a request datagram.
    fn reply(sender: usize, sequence: u64, request: &[u8]) -> Vec<u8> {
        let packet = PacketView::of_run(request, RUN).unwrap().unwrap();
        let Some(Ok(MessageView::Request(request))) = packet.messages().next() else { panic!("no request") };
        let mut out = outbox(sender);
        out.post(To::Replicas, packet::reply_bytes(1, 8), |m| packet::write_reply(m, sequence, &request)).unwrap();
        out.fetch().next().unwrap().0.to_vec()
    }

    fn send(client: &mut Client, now_ns: u64) -> Vec<Vec<u8>> {
        let mut out = outbox(4);
        client.send(now_ns, &mut out).unwrap();
        out.fetch().map(|(frame, _)| frame.to_vec()).collect()
    }

    #[test]
    fn a_result_needs_its_quorum_and_is_timed_at_it() {
        for (tentative, needed) in [(false, 2), (true, 3)] {
            let mut client = Client::new(Shape::latency(tentative));
            client.measure(0, 1_000);
            let request = send(&mut client, 100).remove(0);
            for sender in 0..4 {
                let results = usize::from(client.latencies.count() == 1);
                assert_eq!(results, usize::from(sender >= needed));
                hear(&mut client, &reply(sender, 1, &request), 200 + sender as u64).unwrap();
            }
            assert!(client.complete());
            let (operations, gap_max_ns, latencies) = client.measured();
            assert_eq!((operations, latencies.summary().max), (1, 99 + needed as u64));
            assert_eq!(gap_max_ns, 1_000 - (199 + needed as u64));
        }
    }

    #[test]
    fn a_place_is_not_used_again_before_every_replica_has_answered() {
        let shape = Shape::latency(false);
        let mut client = Client::new(shape);
        for number in 1..=shape.places() as u64 {
            let request = send(&mut client, 0).remove(0);
            // The last replica never answers the first request.
            for sender in 0..if number == 1 { 3 } else { 4 } {
                hear(&mut client, &reply(sender, number, &request), 1).unwrap();
            }
        }
        let next = send(&mut client, 2);
        // Request 65 takes the place of request 1, whose fourth reply is missing.
        assert!(next.is_empty());
        assert_eq!(client.oldest_incomplete(), (1, 3));
        assert!(!client.complete());
    }

    #[test]
    fn wrong_double_and_contradicting_replies_fail_the_run() {
        let mut client = Client::new(Shape::latency(false));
        let request = send(&mut client, 0).remove(0);
        hear(&mut client, &reply(0, 7, &request), 1).unwrap();
        let mut changed = reply(1, 7, &request);
        let last = changed.len() - packet::ENTRY_BYTES * 4 - 1;
        changed[last] ^= 1;
        let mut out = outbox(0);
        let write = |message: &mut [u8]| packet::write_vote(message, packet::Kind::Commit, 7);
        out.post(To::Replicas, packet::vote_bytes(), write).unwrap();
        let vote = out.fetch().next().unwrap().0.to_vec();
        for (what, datagram) in [
            ("a result is wrong", changed),
            ("a reply that nobody waits for", reply(0, 7, &request)),
            ("replicas executed a request at different places", reply(1, 8, &request)),
            ("it comes from no replica", reply(4, 7, &request)),
            ("it comes from no replica", request),
            ("it is for a replica", vote),
        ] {
            match hear(&mut client, &datagram, 2) {
                Err(NullError::Damaged { what: told, .. }) => assert_eq!(told, what),
                other => panic!("{what}: {other:?}"),
            }
        }
    }
}
