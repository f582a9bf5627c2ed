//! Queries: operations that change nothing, answered from what has committed and without being ordered (`protocol.md RD-1`, `RD-2`;
//! PBFT-99 section 5.1).
//!
//! All of them wait here until the end of the duty cycle, and longer while [`Replica::may_answer_queries`] does not hold. So the order of
//! agreement's work and of reads is the same in every arrangement, and what waits is bounded for each client.

use super::output::Output;
use super::{Reject, Replica};
use crate::limits::{QUERIES_BYTES_MAX, QUERIES_MAX};
use crate::numbers::ClientId;
use crate::wire::Audience;
use crate::wire::query::{Query, QueryAnswer, QueryOutcome};
use crate::wire::reply::abridged;
use std::ops::Range;

#[derive(Clone, Debug)]
struct Waiting {
    nonce: u64,
    operation: Range<usize>,
}

/// One client's queries, and the bytes of their operations.
#[derive(Clone, Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    bytes: Vec<u8>,
}

/// The queries that wait, by client.
#[derive(Clone, Debug)]
pub(super) struct Reads {
    queues: Box<[Queue]>,
    waiting: usize,
    served_first: usize,
}

impl Reads {
    pub(super) fn new(clients: usize) -> Self {
        Self { queues: (0..clients).map(|_| Queue::default()).collect(), waiting: 0, served_first: 0 }
    }

    /// Keeps a query until it may be answered; `false` where its client has as many waiting as it may.
    fn keep(&mut self, from: ClientId, nonce: u64, operation: &[u8]) -> bool {
        let queue = &mut self.queues[usize::from(from.0)];
        if queue.waiting.len() == QUERIES_MAX || queue.bytes.len() + operation.len() > QUERIES_BYTES_MAX {
            return false;
        }
        let start = queue.bytes.len();
        queue.bytes.extend_from_slice(operation);
        queue.waiting.push(Waiting { nonce, operation: start..queue.bytes.len() });
        self.waiting += 1;
        true
    }

    /// How many wait of the client of which most do.
    pub(super) fn waiting_of_client(&self) -> usize {
        self.queues.iter().map(|queue| queue.waiting.len()).max().unwrap_or(0)
    }

    /// Takes all out: one of each client in turn, and another client first each time.
    fn release(&mut self, mut release: impl FnMut(ClientId, u64, &[u8])) {
        let count = self.queues.len();
        let mut index = 0;
        while self.waiting > 0 {
            for step in 0..count {
                let at = (self.served_first + step) % count;
                let queue = &self.queues[at];
                if let Some(query) = queue.waiting.get(index) {
                    release(ClientId(at as u16), query.nonce, &queue.bytes[query.operation.clone()]);
                    self.waiting -= 1;
                }
            }
            index += 1;
        }
        for queue in &mut self.queues {
            queue.waiting.clear();
            queue.bytes.clear();
        }
        self.served_first = (self.served_first + 1) % count;
    }
}

impl Replica {
    pub(super) fn on_query(&mut self, from: ClientId, query: &Query<'_>, output: &mut Output) -> Result<(), Reject> {
        if !self.clients.knows(from) {
            return Err(Reject::ClientUnknown);
        }
        if self.reads.keep(from, query.nonce, query.operation) {
            return Ok(());
        }
        let answer = QueryAnswer { nonce: query.nonce, outcome: QueryOutcome::Declined };
        output.send(Audience::Client(from), |bytes| answer.append(bytes));
        Err(Reject::QueryOverload)
    }

    /// Whether the service's state is one that queries may be answered from (`protocol.md RD-2`): nothing in it may be undone, and nothing that
    /// was acknowledged elsewhere may be missing that this view has yet to commit.
    fn may_answer_queries(&self) -> bool {
        self.active
            && !self.is_silent()
            && !self.lacks_state()
            && self.undoing.is_none()
            && self.tentative.is_none()
            && self.executed >= self.carried_last.max(self.unread_last)
    }

    /// Hands the queries that wait to the host, if they may be answered from the state as it is after all actions so far.
    pub(super) fn release_queries(&mut self, output: &mut Output) {
        if self.reads.waiting > 0 && self.may_answer_queries() {
            self.reads.release(|client, nonce, operation| output.query(client, nonce, operation));
        }
    }

    /// The service answered a query that the host was handed, or refused to (`None`).
    pub fn on_query_answered(&mut self, client: ClientId, nonce: u64, result: Option<&[u8]>, output: &mut Output) {
        let audience = Audience::Client(client);
        let Some(result) = result else {
            let answer = QueryAnswer { nonce, outcome: QueryOutcome::Refused };
            return output.send(audience, |bytes| answer.append(bytes));
        };
        let full = self.config.quorum.answers_in_full(self.config.id, nonce);
        if full && result.len() > self.config.reply_packet_bytes_max {
            // The parts together are the answer: a digest beside them would only say that this replica has nothing more to say.
            return self.long_results.add_answer(client, nonce, result);
        }
        abridged(result, full, |answer| {
            let answer = QueryAnswer { nonce, outcome: QueryOutcome::Answered(answer) };
            output.send(audience, |bytes| answer.append(bytes));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn released(reads: &mut Reads) -> Vec<(u16, u64, Vec<u8>)> {
        let mut all = Vec::new();
        reads.release(|client, nonce, operation| all.push((client.0, nonce, operation.to_vec())));
        all
    }

    /// `protocol.md RD-2`
    #[test]
    fn clients_take_turns_and_each_has_its_own_bound() {
        let mut reads = Reads::new(3);
        for nonce in 0..QUERIES_MAX as u64 {
            assert!(reads.keep(ClientId(0), nonce, b"a"));
        }
        assert!(!reads.keep(ClientId(0), 9999, b"a"), "one client's queries are bounded");
        assert!(reads.keep(ClientId(2), 7, b"cc") && reads.keep(ClientId(2), 8, b""));
        let order = released(&mut reads);
        assert_eq!(order.len(), QUERIES_MAX + 2);
        let first: Vec<(u16, u64)> = order.iter().take(5).map(|(client, nonce, _)| (*client, *nonce)).collect();
        assert_eq!(first, [(0, 0), (2, 7), (0, 1), (2, 8), (0, 2)]);
        assert_eq!(order[1].2, b"cc");
        assert_eq!(reads.waiting, 0);
        // Room came back, and another client is first.
        assert!(reads.keep(ClientId(0), 1, b"a") && reads.keep(ClientId(1), 2, b"b"));
        assert_eq!(released(&mut reads), [(1, 2, b"b".to_vec()), (0, 1, b"a".to_vec())]);
    }

    /// `protocol.md RD-2`
    #[test]
    fn long_queries_are_bounded_by_their_bytes() {
        let mut reads = Reads::new(1);
        let long = vec![0; QUERIES_BYTES_MAX / 2];
        assert!(reads.keep(ClientId(0), 1, &long) && reads.keep(ClientId(0), 2, &long));
        assert!(!reads.keep(ClientId(0), 3, b"x"));
        assert_eq!(released(&mut reads).len(), 2);
        assert!(reads.keep(ClientId(0), 3, b"x"));
    }
}
