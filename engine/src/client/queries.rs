//! Queries under way: sent to all replicas once, answered when `2f+1` of them say the same, and otherwise ordered like any other
//! operation (`protocol.md RD-1` to `RD-4`).

use super::full_results::FullResults;
use super::result_parts::{PartTaken, ResultParts};
use crate::authentication::AuthenticatedPacket;
use crate::limits::QUERIES_MAX;
use crate::numbers::{Principal, ReplicaId};
use crate::planted::{self, Bug};
use crate::replica::Now;
use crate::round_trip::{Bounds, RoundTrip};
use crate::wire::Message;
use crate::wire::parts::{ReplyPart, ResultOf};
use crate::wire::query::{QUERY_OVERHEAD_BYTES, Query, QueryAnswer, QueryOutcome};
use crate::wire::reply::Answer;
use logothete_crypto::Digest;
use std::collections::VecDeque;

/// What one replica says of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Result(Digest),
    Refused,
    Declined,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Over: the place is free.
    #[default]
    Done,
    /// Answers are awaited.
    Asked,
    /// It is to be ordered.
    ToOrder,
}

#[derive(Debug, Default)]
struct Asked {
    stage: Stage,
    session: u64,
    number: u64,
    message: Vec<u8>,
    sent_ns: u64,
    due_ns: u64,
    verdicts: Vec<Option<Verdict>>,
    full: FullResults,
}

/// A query that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished<'a> {
    /// Whose it was.
    pub session: u64,
    /// Which of the session's.
    pub number: u64,
    /// Its result; `None` when the service answers no such query.
    pub result: Option<&'a [u8]>,
}

/// What an answer made of a query.
enum Outcome {
    Open,
    Answered(Digest),
    Refused,
    Hopeless,
}

/// The queries of one client.
#[derive(Debug)]
pub struct Queries {
    replicas: usize,
    quorum_weak: usize,
    quorum: usize,
    nonce_first: u64,
    /// Queries under way by nonce.
    places: Box<[Asked]>,
    /// The first that is not over, the first that is awaited, the first that was not sent, and the one that comes next.
    lowest: u64,
    awaited: u64,
    unsent: u64,
    next: u64,
    to_order: VecDeque<u64>,
    trips: RoundTrip,
    result_parts: ResultParts,
    answered: u64,
    ordered: u64,
    result_bytes_max: usize,
    reply_piece_bytes: usize,
}

impl Queries {
    /// None yet. Nonces count up from `nonce_first`, so that no answer to a former process of the client counts for this one. Results have at most
    /// `result_bytes_max` bytes; those that fit no packet come in pieces of `reply_piece_bytes`.
    pub fn new(
        replicas: usize,
        quorum_weak: usize,
        quorum: usize,
        nonce_first: u64,
        reply_piece_bytes: usize,
        result_bytes_max: usize,
    ) -> Self {
        assert!((1..=quorum).contains(&quorum_weak) && quorum <= replicas);
        Self {
            replicas,
            quorum_weak,
            quorum,
            nonce_first,
            places: (0..QUERIES_MAX).map(|_| Asked::default()).collect(),
            lowest: nonce_first,
            awaited: nonce_first,
            unsent: nonce_first,
            next: nonce_first,
            to_order: VecDeque::with_capacity(QUERIES_MAX),
            trips: RoundTrip::default(),
            result_parts: ResultParts::new(replicas, reply_piece_bytes, result_bytes_max),
            answered: 0,
            ordered: 0,
            result_bytes_max: 0,
            reply_piece_bytes,
        }
    }

    /// Whether there is room for another.
    pub fn may_ask(&self) -> bool {
        self.next - self.lowest < self.places.len() as u64
    }

    /// Queries taken so far.
    pub fn asked(&self) -> u64 {
        self.next - self.nonce_first
    }

    /// Queries that a quorum answered, without their being ordered.
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// Queries that had to be ordered.
    pub fn ordered(&self) -> u64 {
        self.ordered
    }

    /// The longest result of a query so far, bytes.
    pub fn result_bytes_max(&self) -> usize {
        self.result_bytes_max
    }

    /// Takes a session's query; [`Queries::send`] sends it.
    ///
    /// # Panics
    /// If [`Queries::may_ask`] does not hold.
    pub fn ask(&mut self, session: u64, number: u64, operation: &[u8]) {
        assert!(self.may_ask(), "a query is taken only when there is a place for it");
        let (nonce, replicas) = (self.next, self.replicas);
        let asked = self.at(nonce);
        (asked.stage, asked.session, asked.number) = (Stage::Asked, session, number);
        asked.message.clear();
        Query { nonce, session, operation }.append(&mut asked.message);
        asked.verdicts.clear();
        asked.verdicts.resize(replicas, None);
        asked.full.clear();
        self.next += 1;
    }

    /// Hands over what was asked since the last call, to be sent to all replicas.
    pub fn send(&mut self, now: Now, mut send: impl FnMut(&[u8])) {
        let timeout_ns = self.trips.timeout_ns(Bounds::QUERIES, 1);
        for nonce in self.unsent..self.next {
            let asked = self.at(nonce);
            (asked.sent_ns, asked.due_ns) = (now.monotonic_ns, now.monotonic_ns + timeout_ns);
            send(&asked.message);
        }
        self.unsent = self.next;
    }

    /// Takes a packet of a replica. `finish` is called for each query that is over now.
    pub fn on_packet(&mut self, now: Now, packet: &AuthenticatedPacket<'_>, mut finish: impl FnMut(Finished<'_>)) {
        let Principal::Replica(from) = packet.sender() else { return };
        if self.lowest == self.next {
            return;
        }
        for (message, _) in packet.messages().flatten() {
            match message {
                Message::QueryAnswer(answer) => self.on_answer(now, from, &answer, &mut finish),
                Message::ReplyPart(part) => self.on_part(now, from, &part, &mut finish),
                _ => {}
            }
        }
    }

    /// Takes a part of a result that fits no packet (`protocol.md LR-5`): the whole counts as the answer whose digest the replica gave, or as
    /// its answer where that was lost.
    fn on_part(&mut self, now: Now, from: ReplicaId, part: &ReplyPart<'_>, finish: &mut impl FnMut(Finished<'_>)) {
        let ResultOf::Query(nonce) = part.of else { return };
        if !(self.lowest..self.unsent).contains(&nonce) || self.at(nonce).stage != Stage::Asked {
            return;
        }
        if let PartTaken::Whole(result) = self.result_parts.take(from, part) {
            let outcome = QueryOutcome::Answered(Answer::Full(&result));
            self.on_answer(now, from, &QueryAnswer { nonce, outcome }, finish);
        }
    }

    fn on_answer(
        &mut self,
        now: Now,
        from: ReplicaId,
        answer: &QueryAnswer<'_>,
        finish: &mut impl FnMut(Finished<'_>),
    ) {
        if !(self.lowest..self.unsent).contains(&answer.nonce) {
            return;
        }
        let (weak, quorum) = match self.quorum_weak {
            weak if planted::is(Bug::ReadsOfWeakQuorum) => (weak, weak),
            weak => (weak, self.quorum - usize::from(planted::is(Bug::ReadsShort))),
        };
        let asked = self.at(answer.nonce);
        if asked.stage != Stage::Asked {
            return;
        }
        match asked.count(from, &answer.outcome, weak, quorum) {
            Outcome::Open => return,
            Outcome::Hopeless => {
                asked.stage = Stage::ToOrder;
                self.to_order.push_back(answer.nonce);
            }
            Outcome::Refused => {
                asked.stage = Stage::Done;
                finish(Finished { session: asked.session, number: asked.number, result: None });
            }
            Outcome::Answered(digest) => {
                asked.stage = Stage::Done;
                let result = asked.full.find(&digest).expect("what counts as answered is held in full");
                finish(Finished { session: asked.session, number: asked.number, result: Some(result) });
                let (length, took_ns) = (result.len(), now.monotonic_ns.saturating_sub(asked.sent_ns));
                self.result_bytes_max = self.result_bytes_max.max(length);
                self.answered += 1;
                self.result_parts.forget(ResultOf::Query(answer.nonce));
                if length > self.reply_piece_bytes {
                    // What takes several packets tells little of what one takes, and its memory is not kept for the next.
                    self.at(answer.nonce).full = FullResults::default();
                } else {
                    self.trips.measured(took_ns);
                }
            }
        }
        self.pass();
    }

    /// Gives up what was not answered in time; it waits to be ordered then.
    pub fn on_due(&mut self, now: Now) {
        while self.awaited < self.unsent {
            let nonce = self.awaited;
            let asked = self.at(nonce);
            if asked.due_ns > now.monotonic_ns {
                return;
            }
            asked.stage = Stage::ToOrder;
            self.to_order.push_back(nonce);
            self.pass();
        }
    }

    /// When [`Queries::on_due`] is to be called.
    pub fn deadline_ns(&self) -> u64 {
        if self.awaited < self.unsent { self.places[self.index(self.awaited)].due_ns } else { u64::MAX }
    }

    /// Whether some wait to be ordered.
    pub fn has_to_order(&self) -> bool {
        !self.to_order.is_empty()
    }

    /// Hands over what has to be ordered, as long as `order` takes it: session, number, operation.
    pub fn order(&mut self, mut order: impl FnMut(u64, u64, &[u8]) -> bool) {
        while let Some(nonce) = self.to_order.front().copied() {
            let asked = self.at(nonce);
            if !order(asked.session, asked.number, &asked.message[QUERY_OVERHEAD_BYTES..]) {
                return;
            }
            asked.stage = Stage::Done;
            self.to_order.pop_front();
            self.ordered += 1;
            self.pass();
        }
    }

    /// Goes past what is no longer awaited, and past what is over.
    fn pass(&mut self) {
        while self.awaited < self.unsent && self.at(self.awaited).stage != Stage::Asked {
            self.awaited += 1;
        }
        while self.lowest < self.next && self.at(self.lowest).stage == Stage::Done {
            self.lowest += 1;
        }
    }

    fn index(&self, nonce: u64) -> usize {
        (nonce % self.places.len() as u64) as usize
    }

    fn at(&mut self, nonce: u64) -> &mut Asked {
        let index = self.index(nonce);
        &mut self.places[index]
    }
}

impl Asked {
    fn count(&mut self, from: ReplicaId, outcome: &QueryOutcome<'_>, weak: usize, quorum: usize) -> Outcome {
        // A replica has one vote, its first, but may give in full what it gave as a digest; replicas that the cluster does not have have none.
        let Some(place) = self.verdicts.get_mut(usize::from(from.0)) else { return Outcome::Open };
        let verdict = match outcome {
            QueryOutcome::Answered(answer) => Verdict::Result(answer.digest()),
            QueryOutcome::Refused => Verdict::Refused,
            QueryOutcome::Declined => Verdict::Declined,
        };
        if *place.get_or_insert(verdict) != verdict {
            return Outcome::Open;
        }
        if let (QueryOutcome::Answered(Answer::Full(bytes)), Verdict::Result(digest)) = (outcome, verdict) {
            self.full.keep(from, digest, bytes);
        }
        let same = |verdict| self.verdicts.iter().filter(|other| **other == Some(verdict)).count();
        let silent = self.verdicts.iter().filter(|other| other.is_none()).count();
        match verdict {
            Verdict::Result(digest) if same(verdict) >= quorum && self.full.find(&digest).is_some() => {
                return Outcome::Answered(digest);
            }
            // One of them is correct, and what a service refuses it refuses at every replica.
            Verdict::Refused if same(verdict) >= weak => return Outcome::Refused,
            _ => {}
        }
        let results = self.verdicts.iter().flatten().filter(|other| matches!(other, Verdict::Result(_)));
        let best = results.map(|other| same(*other)).max().unwrap_or(0);
        if silent == 0 || best + silent < quorum { Outcome::Hopeless } else { Outcome::Open }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::RETRANSMIT_INITIAL_NS;
    use logothete_crypto::digest;

    const FIRST: u64 = 1000;

    fn at(milliseconds: u64) -> Now {
        Now { monotonic_ns: milliseconds * 1_000_000, wall_ns: 0 }
    }

    /// Of a client of four replicas.
    fn queries() -> Queries {
        Queries::new(4, 2, 3, FIRST, 1000, 4000)
    }

    fn asked(count: u64) -> Queries {
        let mut queries = queries();
        (1..=count).for_each(|number| queries.ask(7, number, b"get"));
        let mut sent = 0;
        queries.send(at(0), |_| sent += 1);
        assert_eq!(sent, count);
        queries
    }

    /// What comes of an answer: number and result.
    fn hear(queries: &mut Queries, from: u8, nonce: u64, outcome: QueryOutcome<'_>) -> Option<(u64, Option<Vec<u8>>)> {
        let mut finished = None;
        queries.on_answer(at(1), ReplicaId(from), &QueryAnswer { nonce, outcome }, &mut |over: Finished<'_>| {
            assert!(finished.is_none() && over.session == 7);
            finished = Some((over.number, over.result.map(<[u8]>::to_vec)));
        });
        finished
    }

    fn full(bytes: &[u8]) -> QueryOutcome<'_> {
        QueryOutcome::Answered(Answer::Full(bytes))
    }

    fn to_order(queries: &mut Queries) -> Vec<(u64, Vec<u8>)> {
        let mut orders = Vec::new();
        queries.order(|_, number, operation| {
            orders.push((number, operation.to_vec()));
            true
        });
        orders
    }

    /// `protocol.md RD-3`
    #[test]
    fn a_quorum_of_equal_answers_is_believed_and_less_is_not() {
        let mut queries = asked(1);
        assert_eq!(hear(&mut queries, 0, FIRST, full(b"value")), None);
        for _ in 0..3 {
            assert_eq!(hear(&mut queries, 0, FIRST, full(b"value")), None, "a replica has one vote");
        }
        assert_eq!(hear(&mut queries, 9, FIRST, full(b"value")), None, "there is no such replica");
        assert_eq!(hear(&mut queries, 3, FIRST, full(b"value")), None);
        assert_eq!(hear(&mut queries, 1, FIRST, full(b"value")), Some((1, Some(b"value".to_vec()))));
        assert_eq!(hear(&mut queries, 2, FIRST, full(b"value")), None, "it is over");
        assert_eq!((queries.answered(), queries.ordered(), queries.deadline_ns()), (1, 0, u64::MAX));
    }

    /// `protocol.md CL-5`
    #[test]
    fn digests_count_and_one_full_result_is_needed() {
        let value = digest(b"value");
        let mut queries = asked(1);
        for from in [0, 1, 3] {
            let outcome = QueryOutcome::Answered(Answer::Digest(&value));
            assert_eq!(hear(&mut queries, from, FIRST, outcome), None);
        }
        assert_eq!(hear(&mut queries, 2, FIRST, full(b"value")), Some((1, Some(b"value".to_vec()))));
        // A result that only a liar gives is not taken for the one that the others mean.
        let mut queries = asked(1);
        hear(&mut queries, 3, FIRST, full(b"other"));
        for from in [0, 1, 2] {
            assert_eq!(hear(&mut queries, from, FIRST, QueryOutcome::Answered(Answer::Digest(&value))), None);
        }
        assert_eq!(to_order(&mut queries), [(1, b"get".to_vec())], "nobody is left to give it in full");
    }

    /// `protocol.md RD-4`
    #[test]
    fn answers_that_can_no_longer_match_have_the_query_ordered_at_once() {
        let mut queries = asked(1);
        hear(&mut queries, 0, FIRST, full(b"old"));
        hear(&mut queries, 1, FIRST, full(b"new"));
        assert!(!queries.has_to_order(), "three may still be equal");
        hear(&mut queries, 2, FIRST, QueryOutcome::Declined);
        assert_eq!(to_order(&mut queries), [(1, b"get".to_vec())]);
        assert_eq!((queries.answered(), queries.ordered()), (0, 1));
        assert!(queries.may_ask() && !queries.has_to_order());
    }

    /// `protocol.md RD-4`
    #[test]
    fn silence_has_the_query_ordered_in_time() {
        let mut queries = asked(2);
        hear(&mut queries, 0, FIRST, full(b"value"));
        assert_eq!(queries.deadline_ns(), RETRANSMIT_INITIAL_NS);
        queries.on_due(Now { monotonic_ns: RETRANSMIT_INITIAL_NS - 1, wall_ns: 0 });
        assert!(!queries.has_to_order());
        queries.on_due(Now { monotonic_ns: RETRANSMIT_INITIAL_NS, wall_ns: 0 });
        assert_eq!(hear(&mut queries, 1, FIRST, full(b"value")), None, "the order answers now");
        assert_eq!(queries.deadline_ns(), u64::MAX);
        // What finds no room is offered again.
        let mut room = 1;
        let offered = |queries: &mut Queries, room: &mut i32| {
            queries.order(|_, _, _| {
                *room -= 1;
                *room >= 0
            });
        };
        offered(&mut queries, &mut room);
        assert!(queries.has_to_order());
        assert_eq!(to_order(&mut queries), [(2, b"get".to_vec())]);
    }

    #[test]
    fn a_service_that_refuses_says_so_through_enough_replicas() {
        let mut queries = asked(1);
        assert_eq!(hear(&mut queries, 3, FIRST, QueryOutcome::Refused), None);
        assert_eq!(hear(&mut queries, 0, FIRST, QueryOutcome::Refused), Some((1, None)));
        assert!(!queries.has_to_order());
    }

    #[test]
    fn the_places_are_bounded_and_come_back() {
        let mut queries = asked(QUERIES_MAX as u64);
        assert!(!queries.may_ask());
        for from in [0, 1, 2] {
            hear(&mut queries, from, FIRST + 5, full(b"value"));
        }
        assert!(!queries.may_ask(), "the first is still under way");
        for from in [0, 1, 2] {
            hear(&mut queries, from, FIRST, full(b"value"));
        }
        assert!(queries.may_ask());
        queries.ask(7, 9999, b"next");
        let mut sent = Vec::new();
        queries.send(at(3), |message| sent.push(message.to_vec()));
        assert_eq!(sent.len(), 1);
        assert_eq!(queries.deadline_ns(), RETRANSMIT_INITIAL_NS);
    }

    #[test]
    fn answers_to_what_was_not_asked_do_not_count() {
        let mut queries = asked(1);
        for nonce in [0, FIRST - 1, FIRST + 1, FIRST + QUERIES_MAX as u64, u64::MAX] {
            for from in 0..4 {
                assert_eq!(hear(&mut queries, from, nonce, full(b"value")), None);
            }
        }
        assert_eq!(queries.lowest, FIRST);
    }
}
