//! Results that fit no packet, on their way to clients (`protocol.md LR-5`).
//!
//! *For*: pace. What leaves faster than a receive buffer drains is lost, so a client's parts go a burst at a time, and all clients' share what one
//! turn sends. *Never*: a decision about a result; a client takes one for what its digest says.

use super::clients::Clients;
use crate::limits::{LARGE_BYTES_IN_FLIGHT, PARTS_BURST_BYTES, PARTS_PACE_NS, PARTS_TURN_BYTES};
use crate::numbers::ClientId;
use crate::wire::parts::{ReplyPart, ResultOf, cut_result};
use crate::wire::request::RequestName;
use logothete_crypto::{Digest, digest};
use std::collections::VecDeque;

#[derive(Clone, Debug)]
struct LongResult {
    of: ResultOf,
    whole: Digest,
    /// Of a query; the reply to a request is held by the client table.
    bytes: Option<Box<[u8]>>,
    /// The next piece to send.
    next: usize,
}

impl LongResult {
    /// The result; nothing of a reply that is no longer held, since the client has gone on.
    fn bytes<'a>(&'a self, client: ClientId, clients: &'a Clients) -> &'a [u8] {
        match (&self.bytes, self.of) {
            (Some(bytes), _) => bytes,
            (None, ResultOf::Request(incarnation, number)) => {
                clients.reply(RequestName { client, incarnation, number }).map_or(&[], |held| held.results)
            }
            (None, ResultOf::Query(_)) => &[],
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Queue {
    results: VecDeque<LongResult>,
    /// Of queries.
    bytes: usize,
    due_ns: u64,
}

/// The long results of one replica's clients.
#[derive(Clone, Debug)]
pub struct LongResults {
    piece_bytes: usize,
    /// By client.
    queues: Box<[Queue]>,
    /// The client whose turn is first, and when the next turn may begin.
    first: usize,
    turn_due_ns: u64,
    count: usize,
}

impl LongResults {
    /// None yet, for so many clients. Each part carries `piece_bytes`, the last of a result fewer.
    pub fn new(clients: usize, piece_bytes: usize) -> Self {
        assert!(piece_bytes > 0);
        Self {
            piece_bytes,
            queues: (0..clients).map(|_| Queue::default()).collect(),
            first: 0,
            turn_due_ns: 0,
            count: 0,
        }
    }

    /// The results of a request, which the client table holds, are to be sent; if they are on their way already, that goes on.
    pub fn add_reply(&mut self, name: RequestName, whole: Digest) {
        let of = ResultOf::Request(name.incarnation, name.number);
        let results = &mut self.queues[usize::from(name.client.0)].results;
        match results.iter_mut().find(|held| held.of == of) {
            Some(held) if held.whole == whole => {}
            // It was executed anew.
            Some(held) => (held.whole, held.next) = (whole, 0),
            None => {
                results.push_back(LongResult { of, whole, bytes: None, next: 0 });
                self.count += 1;
            }
        }
    }

    /// Keeps a copy of a query's result until it is sent. Where the client has too much on its way, it is dropped: the client has the query
    /// ordered.
    pub fn add_answer(&mut self, client: ClientId, nonce: u64, result: &[u8]) {
        let queue = &mut self.queues[usize::from(client.0)];
        if queue.bytes + result.len() <= LARGE_BYTES_IN_FLIGHT {
            queue.bytes += result.len();
            let (of, whole) = (ResultOf::Query(nonce), digest(result));
            queue.results.push_back(LongResult { of, whole, bytes: Some(result.into()), next: 0 });
            self.count += 1;
        }
    }

    /// Sends what is due: of each client a burst, of all together no more than a turn's.
    pub fn send(&mut self, now_ns: u64, clients: &Clients, mut send: impl FnMut(ClientId, ReplyPart<'_>)) {
        if self.count == 0 || self.turn_due_ns > now_ns {
            return;
        }
        let (count, mut turn_bytes) = (self.queues.len(), PARTS_TURN_BYTES);
        for at in 0..count {
            let client = (self.first + at) % count;
            let queue = &mut self.queues[client];
            if queue.results.is_empty() || queue.due_ns > now_ns {
                continue;
            }
            if turn_bytes == 0 {
                // It comes first in the next turn.
                self.first = client;
                self.turn_due_ns = now_ns + PARTS_PACE_NS;
                return;
            }
            let mut burst_bytes = PARTS_BURST_BYTES.min(turn_bytes);
            turn_bytes -= burst_bytes;
            while burst_bytes > 0 {
                let Some(result) = queue.results.front_mut() else { break };
                let id = ClientId(client as u16);
                let bytes = result.bytes(id, clients);
                let part = cut_result(result.of, result.whole, bytes, self.piece_bytes, result.next).next();
                let sent_bytes = |part: &ReplyPart<'_>| part.index * self.piece_bytes + part.bytes.len();
                let ended = part.is_none_or(|part| sent_bytes(&part) == part.total_bytes);
                if let Some(part) = part {
                    burst_bytes = burst_bytes.saturating_sub(part.bytes.len());
                    send(id, part);
                    result.next += 1;
                }
                if ended && let Some(ended) = queue.results.pop_front() {
                    queue.bytes -= ended.bytes.map_or(0, |bytes| bytes.len());
                    self.count -= 1;
                }
            }
            queue.due_ns = now_ns + PARTS_PACE_NS;
        }
    }

    /// When [`LongResults::send`] is to be called.
    pub fn deadline_ns(&self) -> u64 {
        if self.count == 0 {
            return u64::MAX;
        }
        let waiting = self.queues.iter().filter(|queue| !queue.results.is_empty());
        waiting.map(|queue| queue.due_ns).min().unwrap_or(u64::MAX).max(self.turn_due_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::{Incarnation, RequestNumber, SequenceNumber};
    use crate::replica::bodies::{Bodies, PartShape};

    const PIECE_BYTES: usize = 1000;

    struct Table {
        results: LongResults,
        clients: Clients,
        bodies: Bodies,
    }

    impl Table {
        fn new(clients: usize) -> Self {
            let table = Clients::new(clients, 4, 1 << 16, 1 << 20, 1000);
            let bodies = Bodies::new(1 << 20, 1024, PartShape::of(1472, 4));
            Self { results: LongResults::new(clients, PIECE_BYTES), clients: table, bodies }
        }

        /// What is sent: to whom, what of, which part.
        fn sent(&mut self, now_ns: u64) -> Vec<(u16, u64, usize)> {
            let mut all = Vec::new();
            self.results.send(now_ns, &self.clients, |client, part| {
                let (ResultOf::Query(of) | ResultOf::Request(_, RequestNumber(of))) = part.of;
                let at = |at: usize| (part.index * PIECE_BYTES + at) as u8;
                assert!(part.bytes.iter().enumerate().all(|(place, byte)| *byte == at(place)));
                all.push((client.0, of, part.index));
            });
            all
        }

        fn execute(&mut self, name: RequestName, results: &[u8]) {
            assert!(self.clients.schedule(name, &mut self.bodies, 0));
            self.clients.keep_reply(name, Digest::ZERO, SequenceNumber(1), results);
            self.results.add_reply(name, digest(results));
        }
    }

    fn name(number: u64) -> RequestName {
        RequestName { client: ClientId(0), incarnation: Incarnation(1), number: RequestNumber(number) }
    }

    fn result(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| at as u8).collect()
    }

    /// `protocol.md LR-5`: a burst at a time, in order, and to the end.
    #[test]
    fn a_client_gets_a_burst_at_a_time() {
        let mut table = Table::new(2);
        assert_eq!((table.results.deadline_ns(), table.sent(0).len()), (u64::MAX, 0));
        let long = result(PARTS_BURST_BYTES + 1500);
        table.results.add_answer(ClientId(1), 7, &long);
        table.results.add_answer(ClientId(1), 8, &long[..500]);
        let burst = PARTS_BURST_BYTES.div_ceil(PIECE_BYTES);
        assert_eq!(table.sent(5), (0..burst).map(|index| (1, 7, index)).collect::<Vec<_>>());
        assert_eq!(table.results.deadline_ns(), 5 + PARTS_PACE_NS);
        assert_eq!(table.sent(4 + PARTS_PACE_NS), []);
        let rest: Vec<_> = (burst..long.len().div_ceil(PIECE_BYTES)).map(|index| (1, 7, index)).collect();
        assert_eq!(table.sent(5 + PARTS_PACE_NS), [&rest[..], &[(1, 8, 0)]].concat());
        assert_eq!((table.results.deadline_ns(), table.results.queues[1].bytes), (u64::MAX, 0));
    }

    /// `protocol.md LR-5`: what one turn sends is bounded, and nobody is left out; what one client makes a replica keep is bounded.
    #[test]
    fn clients_share_a_turn_and_each_has_its_bound() {
        let clients = 2 * PARTS_TURN_BYTES / PARTS_BURST_BYTES;
        let mut table = Table::new(clients);
        for client in 0..clients {
            table.results.add_answer(ClientId(client as u16), 1, &result(PARTS_BURST_BYTES));
        }
        let served = |sent: Vec<(u16, u64, usize)>| -> std::collections::BTreeSet<u16> {
            sent.into_iter().map(|(client, ..)| client).collect()
        };
        let (first, between) = (served(table.sent(0)), served(table.sent(0)));
        assert_eq!((first.len(), between.len(), table.results.deadline_ns()), (clients / 2, 0, PARTS_PACE_NS));
        let second = served(table.sent(PARTS_PACE_NS));
        assert!(second.len() == clients / 2 && first.is_disjoint(&second));
        for nonce in 0..100 {
            table.results.add_answer(ClientId(0), nonce, &result(LARGE_BYTES_IN_FLIGHT / 8));
        }
        let queue = &table.results.queues[0];
        assert_eq!((queue.bytes, queue.results.len()), (LARGE_BYTES_IN_FLIGHT, 8));
    }

    /// `protocol.md LR-5`: replies are not copied. What is asked for again goes on; what was executed anew begins anew; what the client no longer
    /// waits for is dropped.
    #[test]
    fn replies_are_sent_from_the_client_table() {
        let mut table = Table::new(1);
        assert!(table.clients.schedule(name(0), &mut table.bodies, 0));
        let long = result(PARTS_BURST_BYTES + 5000);
        table.execute(name(1), &long);
        let first = table.sent(0).len();
        table.results.add_reply(name(1), digest(&long));
        assert_eq!(table.sent(PARTS_PACE_NS)[0], (0, 1, first));
        assert_eq!(table.results.count, 0);
        table.execute(name(2), &long);
        table.sent(2 * PARTS_PACE_NS);
        table.clients.keep_reply(name(2), Digest::ZERO, SequenceNumber(1), &result(1500));
        table.results.add_reply(name(2), digest(&result(1500)));
        assert_eq!(table.sent(3 * PARTS_PACE_NS), [(0, 2, 0), (0, 2, 1)]);
        table.execute(name(3), &long);
        let reopened = RequestName { incarnation: Incarnation(2), ..name(0) };
        assert!(table.clients.schedule(reopened, &mut table.bodies, 0));
        assert_eq!((table.sent(4 * PARTS_PACE_NS).len(), table.results.count), (0, 0));
    }
}
