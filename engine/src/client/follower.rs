//! Following the ordered log: entries from one replica, believed once `f+1` replicas give the same chain digest for the position behind
//! them (`protocol.md SU-1` to `SU-5`). A source that is slow, silent or wrong is replaced by the next.

use crate::limits::{FOLLOW_CREDIT_BYTES, FOLLOW_RENEW_NS, FOLLOW_SILENCES_MAX, REPLICAS_MAX};
use crate::numbers::{ClientId, Principal, ReplicaId, ReplicaSet};
use crate::service::log::{Entries, Entry, verify_run};
use crate::wire::operation::Operations;
use crate::wire::subscription::{ChainAnswer, ChainQuery, Follow, Runs};
use crate::wire::{Audience, Message};
use logothete_crypto::Digest;
use std::collections::VecDeque;
use zerocopy::little_endian::U32;

/// What came of offering entries to a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// All that is verified was taken.
    Drained,
    /// The subscriber has no room now.
    Blocked,
    /// The position wanted is trimmed; this is the oldest that `f+1` replicas have.
    Trimmed(u64),
}

#[derive(Debug)]
struct PendingRun {
    position_first: u64,
    position_end: u64,
    timestamp_ns: u64,
    message: Vec<u8>,
}

/// One subscription.
#[derive(Debug)]
pub struct Follower {
    stream: u32,
    replicas: usize,
    weak: usize,
    source: ReplicaId,
    /// The next entry that the subscriber gets.
    wanted: u64,
    /// Runs received, oldest first; those below `verified_end` are vouched for.
    pending: VecDeque<PendingRun>,
    spare: Vec<Vec<u8>>,
    /// Up to where runs were received, and the chain digest there.
    received: Option<(u64, Digest)>,
    /// Up to where `f+1` replicas vouch, and the chain digest there.
    verified: Option<(u64, Digest)>,
    asked: Option<(u64, Digest)>,
    agreeing: ReplicaSet,
    answers: [Option<Digest>; REPLICAS_MAX],
    credit_bytes: usize,
    follow_at_ns: u64,
    ask_at_ns: u64,
    silences: u32,
    trimmed: [Option<u64>; REPLICAS_MAX],
}

impl Follower {
    /// Follows from a position on. The stream number tells its answers from those of the client's other followers.
    pub fn new(stream: u32, from: u64, replicas: usize, weak: usize) -> Self {
        Self {
            stream,
            replicas,
            weak,
            source: ReplicaId((stream as usize % replicas) as u8),
            wanted: from,
            pending: VecDeque::new(),
            spare: Vec::new(),
            received: None,
            verified: None,
            asked: None,
            agreeing: ReplicaSet::EMPTY,
            answers: [None; REPLICAS_MAX],
            credit_bytes: 0,
            follow_at_ns: 0,
            ask_at_ns: 0,
            silences: 0,
            trimmed: [None; REPLICAS_MAX],
        }
    }

    /// Takes a message of a replica, if it is this stream's.
    pub fn on_message(&mut self, now_ns: u64, from: ReplicaId, message: &Message<'_>) {
        match message {
            Message::Runs(runs) if runs.stream == self.stream => self.on_runs(now_ns, from, runs),
            Message::ChainAnswer(answer) if answer.stream.get() == self.stream => self.on_answer(now_ns, from, answer),
            _ => {}
        }
    }

    /// Asks for what is due (`SU-2`); `send` takes messages and whom they are for.
    pub fn on_due(&mut self, now_ns: u64, mut send: impl FnMut(Audience, &dyn Fn(&mut Vec<u8>))) {
        if self.asked.is_none() && self.received != self.verified {
            // Everything received so far is asked about at once.
            self.asked = self.received;
            self.agreeing = ReplicaSet::only(self.source);
            self.answers = [None; REPLICAS_MAX];
            self.ask_at_ns = now_ns;
            self.settle(now_ns);
        }
        if let Some((position, _)) = self.asked
            && self.ask_at_ns <= now_ns
        {
            self.ask_at_ns = now_ns + FOLLOW_RENEW_NS;
            let query = ChainQuery { stream: self.stream.into(), reserved: U32::ZERO, position: position.into() };
            let others = ReplicaSet::first(self.replicas).without(self.source);
            if others != ReplicaSet::EMPTY {
                send(Audience::Replicas(others), &|bytes| query.append(bytes));
            }
        }
        if self.follow_at_ns <= now_ns {
            if self.silences >= FOLLOW_SILENCES_MAX {
                self.replace_source();
            }
            self.silences += 1;
            self.follow_at_ns = now_ns + FOLLOW_RENEW_NS;
            self.credit_bytes = FOLLOW_CREDIT_BYTES;
            let from = self.received.map_or(self.wanted, |(end, _)| end);
            let credit = (FOLLOW_CREDIT_BYTES as u32).into();
            let follow = Follow { stream: self.stream.into(), credit_bytes: credit, from: from.into() };
            send(Audience::Replicas(ReplicaSet::only(self.source)), &|bytes| follow.append(bytes));
        }
    }

    /// When [`Follower::on_due`] is to be called: at once when there is something received that nobody was asked about.
    pub fn deadline_ns(&self) -> u64 {
        let asks = match self.asked {
            Some(_) => self.ask_at_ns,
            None if self.received != self.verified => 0,
            None => u64::MAX,
        };
        self.follow_at_ns.min(asks)
    }

    /// Offers verified entries in order, until `take` refuses one.
    pub fn deliver(&mut self, mut take: impl FnMut(Entry<'_>) -> bool) -> Delivery {
        let verified_end = self.verified.map_or(0, |(end, _)| end);
        while let Some(run) = self.pending.front().filter(|run| run.position_end <= verified_end) {
            for entry in run.entries().starting_at(self.wanted) {
                let position = entry.position;
                if !take(entry) {
                    return Delivery::Blocked;
                }
                self.wanted = position + 1;
            }
            let run = self.pending.pop_front().expect("it was just looked at");
            self.spare.push(run.message);
        }
        match self.trimmed_oldest() {
            Some(oldest) if self.received.is_none() => Delivery::Trimmed(oldest),
            _ => Delivery::Drained,
        }
    }

    fn on_runs(&mut self, now_ns: u64, from: ReplicaId, runs: &Runs<'_>) {
        if runs.count == 0 {
            if self.received.is_none() && runs.oldest > self.wanted {
                self.trimmed[usize::from(from.0)] = Some(runs.oldest);
                // Ask the next replica whether it is so.
                self.replace_source();
                self.follow_at_ns = now_ns;
            }
            return;
        }
        if from != self.source {
            return;
        }
        let expected = match self.received {
            Some(received) => (runs.position, runs.chain) == received,
            None => runs.position <= self.wanted,
        };
        if !expected {
            return;
        }
        let (mut position, mut chain) = (runs.position, runs.chain);
        let (before, mut received_bytes) = (self.pending.len(), 0);
        for run in runs.iter() {
            let Some(count) = operation_count(run.message) else {
                // No correct replica has such a run.
                self.forget_unverified();
                self.replace_source();
                self.follow_at_ns = now_ns;
                return;
            };
            chain = verify_run(&chain, position, run.timestamp_ns, run.message);
            let mut message = self.spare.pop().unwrap_or_default();
            message.clear();
            message.extend_from_slice(run.message);
            received_bytes += message.len();
            let position_end = position + count as u64;
            self.pending.push_back(PendingRun {
                position_first: position,
                position_end,
                timestamp_ns: run.timestamp_ns,
                message,
            });
            position = position_end;
        }
        if self.received.is_none() && position <= self.wanted {
            // Not what was asked for: the position wanted is not in it.
            self.pending.truncate(before);
            self.replace_source();
            return;
        }
        self.received = Some((position, chain));
        self.silences = 0;
        self.credit_bytes = self.credit_bytes.saturating_sub(received_bytes);
        self.follow_at_ns = if self.credit_bytes < FOLLOW_CREDIT_BYTES / 2 { now_ns } else { now_ns + FOLLOW_RENEW_NS };
    }

    fn on_answer(&mut self, now_ns: u64, from: ReplicaId, answer: &ChainAnswer) {
        if self.asked.is_some_and(|(position, _)| position == answer.position.get()) {
            self.answers[usize::from(from.0)] = Some(answer.chain);
            self.settle(now_ns);
        }
    }

    /// Decides on what was asked, as far as the answers go.
    fn settle(&mut self, now_ns: u64) {
        let Some((position, chain)) = self.asked else { return };
        for (id, answer) in self.answers.iter().enumerate() {
            if *answer == Some(chain) {
                self.agreeing.insert(ReplicaId(id as u8));
            }
        }
        if self.agreeing.count() >= self.weak {
            self.verified = Some((position, chain));
            self.asked = None;
            return;
        }
        // `f+1` others that agree on something else include a correct one: the source lied (`SU-4`).
        let contradicts = |digest: &Digest| {
            *digest != Digest::default()
                && *digest != chain
                && self.answers.iter().filter(|answer| **answer == Some(*digest)).count() >= self.weak
        };
        if self.answers.iter().flatten().any(contradicts) {
            self.forget_unverified();
            self.replace_source();
            self.follow_at_ns = now_ns;
        }
    }

    /// Drops what nobody has vouched for; the next source goes on from what is verified.
    fn forget_unverified(&mut self) {
        let verified_end = self.verified.map_or(0, |(end, _)| end);
        self.pending.retain(|run| run.position_end <= verified_end);
        self.received = self.verified;
        self.asked = None;
    }

    fn replace_source(&mut self) {
        self.source = ReplicaId((usize::from(self.source.0) + 1) as u8 % self.replicas as u8);
        self.silences = 0;
    }

    fn trimmed_oldest(&self) -> Option<u64> {
        let mut claims: Vec<u64> = self.trimmed.iter().flatten().copied().collect();
        claims.sort_unstable();
        (claims.len() >= self.weak).then(|| claims[0])
    }
}

/// How many operations a request message holds; `None` if it is no request.
fn operation_count(message: &[u8]) -> Option<usize> {
    operations(message).map(|operations| operations.count())
}

fn operations(message: &[u8]) -> Option<Operations<'_>> {
    // Who sent it matters to the replicas that executed it; the chain digest says that they did.
    match Message::decode(message, Principal::Client(ClientId(0))) {
        Ok(Message::Request(request)) if !request.operations.is_empty() => Some(request.operations),
        _ => None,
    }
}

impl PendingRun {
    fn entries(&self) -> Entries<'_> {
        let operations = operations(&self.message).expect("it was decoded when it arrived");
        Entries::new(self.position_first, self.timestamp_ns, operations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::{Incarnation, RequestNumber};
    use crate::service::log::CHAIN_INITIAL;
    use crate::wire::operation::OperationsWriter;
    use crate::wire::request::{self, RequestName};
    use crate::wire::subscription::{append_run, append_runs};

    const STREAM: u32 = 9;
    const MILLISECOND: u64 = 1_000_000;

    /// The log of a replica: each run has two entries, `0`, `1` and so on; and what the replica says of it.
    struct Log {
        messages: Vec<Vec<u8>>,
        chains: Vec<Digest>,
    }

    impl Log {
        fn of(runs: u64) -> Self {
            let (mut messages, mut chains) = (Vec::new(), vec![CHAIN_INITIAL]);
            for run in 0..runs {
                let mut writer = OperationsWriter::new(1000);
                for position in [2 * run, 2 * run + 1] {
                    assert!(writer.try_push(1, position, position.to_string().as_bytes()));
                }
                let number = RequestNumber(run + 1);
                let name = RequestName { client: ClientId(0), incarnation: Incarnation(1), number };
                let mut message = Vec::new();
                request::append(&mut message, name, writer.count(), writer.bytes());
                chains.push(verify_run(chains.last().unwrap(), 2 * run, run, &message));
                messages.push(message);
            }
            Self { messages, chains }
        }

        /// Another log, which differs in its last run only.
        fn forged(runs: u64) -> Self {
            let mut log = Self::of(runs);
            *log.messages.last_mut().unwrap().last_mut().unwrap() ^= 1;
            let (last, message) = (runs - 1, log.messages.last().unwrap());
            *log.chains.last_mut().unwrap() = verify_run(&log.chains[last as usize], 2 * last, last, message);
            log
        }

        fn send(&self, follower: &mut Follower, from: u8, runs: std::ops::Range<usize>) {
            let (mut encoded, mut bytes) = (Vec::new(), Vec::new());
            for at in runs.clone() {
                append_run(&mut encoded, at as u64, &self.messages[at]);
            }
            let (position, chain) = (2 * runs.start as u64, self.chains[runs.start]);
            append_runs(&mut bytes, STREAM, 0, position, chain, runs.len(), &encoded);
            hear(follower, from, &bytes);
        }

        fn vouch(&self, follower: &mut Follower, from: u8, runs: usize) {
            answer(follower, from, 2 * runs as u64, self.chains[runs]);
        }
    }

    fn answer(follower: &mut Follower, from: u8, position: u64, chain: Digest) {
        let answer = ChainAnswer { stream: STREAM.into(), reserved: U32::ZERO, position: position.into(), chain };
        let mut bytes = Vec::new();
        answer.append(&mut bytes);
        hear(follower, from, &bytes);
    }

    fn hear(follower: &mut Follower, from: u8, bytes: &[u8]) {
        let from = ReplicaId(from);
        let message = Message::decode(bytes, Principal::Replica(from)).unwrap();
        follower.on_message(0, from, &message);
    }

    /// A follower of four replicas that believes two; its first source is replica 1.
    fn follower(from: u64) -> Follower {
        Follower::new(STREAM, from, 4, 2)
    }

    /// What it sends when it is asked to: to whom, and `follow from` or `chain at` which position.
    fn due(follower: &mut Follower, now_ns: u64) -> Vec<(ReplicaSet, &'static str, u64)> {
        let mut sent = Vec::new();
        follower.on_due(now_ns, |audience, append| {
            let Audience::Replicas(to) = audience else { panic!("a follower asks replicas") };
            let mut bytes = Vec::new();
            append(&mut bytes);
            sent.push(match Message::decode(&bytes, Principal::Client(ClientId(0))).unwrap() {
                Message::Follow(follow) => (to, "follow", follow.from.get()),
                Message::ChainQuery(query) => (to, "chain", query.position.get()),
                other => panic!("a follower does not say {other:?}"),
            });
        });
        sent
    }

    fn read(follower: &mut Follower) -> Vec<u64> {
        let mut positions = Vec::new();
        let delivery = follower.deliver(|entry| {
            assert_eq!(entry.bytes, entry.position.to_string().as_bytes());
            positions.push(entry.position);
            true
        });
        assert_eq!(delivery, Delivery::Drained);
        positions
    }

    fn only(id: u8) -> ReplicaSet {
        ReplicaSet::only(ReplicaId(id))
    }

    /// `protocol.md SU-1`
    #[test]
    fn entries_count_once_enough_replicas_vouch_for_them() {
        let (log, mut follower) = (Log::of(3), follower(0));
        assert_eq!(due(&mut follower, 0), [(only(1), "follow", 0)]);
        log.send(&mut follower, 1, 0..2);
        assert!(read(&mut follower).is_empty(), "so far it is the source's word alone");
        assert_eq!(follower.deadline_ns(), 0, "the others are asked at once");
        let others = ReplicaSet::first(4).without(ReplicaId(1));
        assert_eq!(due(&mut follower, MILLISECOND), [(others, "chain", 4)]);
        // What arrives meanwhile is asked about next.
        log.send(&mut follower, 1, 2..3);
        log.vouch(&mut follower, 3, 2);
        assert_eq!(read(&mut follower), [0, 1, 2, 3]);
        assert_eq!(due(&mut follower, MILLISECOND), [(others, "chain", 6)]);
        log.vouch(&mut follower, 0, 3);
        assert_eq!(read(&mut follower), [4, 5]);
    }

    #[test]
    fn reading_begins_in_the_middle_of_a_run() {
        let (log, mut follower) = (Log::of(3), follower(3));
        due(&mut follower, 0);
        log.send(&mut follower, 1, 1..3);
        due(&mut follower, 0);
        log.vouch(&mut follower, 2, 3);
        assert_eq!(read(&mut follower), [3, 4, 5]);
    }

    #[test]
    fn runs_of_others_or_out_of_place_are_ignored() {
        let (log, mut follower) = (Log::of(4), follower(2));
        due(&mut follower, 0);
        log.send(&mut follower, 2, 1..2);
        log.send(&mut follower, 1, 2..3);
        assert_eq!(follower.received, None, "not from the source, and not from what was asked for");
        log.send(&mut follower, 1, 1..2);
        log.send(&mut follower, 1, 3..4);
        assert_eq!(follower.received, Some((4, log.chains[2])), "the run between is missing");
        Log::forged(2).send(&mut follower, 1, 1..2);
        assert_eq!(follower.received, Some((4, log.chains[2])), "a repetition changes nothing");
    }

    /// `protocol.md SU-4`
    #[test]
    fn a_source_that_enough_others_contradict_is_replaced() {
        let (truth, lie, mut follower) = (Log::of(3), Log::forged(3), follower(0));
        due(&mut follower, 0);
        truth.send(&mut follower, 1, 0..2);
        due(&mut follower, 0);
        truth.vouch(&mut follower, 0, 2);
        lie.send(&mut follower, 1, 2..3);
        due(&mut follower, 0);
        truth.vouch(&mut follower, 0, 3);
        assert_eq!(follower.source, ReplicaId(1), "one replica that says otherwise may itself be the liar");
        truth.vouch(&mut follower, 2, 3);
        assert_eq!(due(&mut follower, 0), [(only(2), "follow", 4)]);
        truth.send(&mut follower, 2, 2..3);
        due(&mut follower, 0);
        truth.vouch(&mut follower, 0, 3);
        assert_eq!(read(&mut follower), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn answers_that_differ_or_know_of_nothing_vouch_for_nothing() {
        let (log, mut follower) = (Log::of(1), follower(0));
        due(&mut follower, 0);
        log.send(&mut follower, 1, 0..1);
        due(&mut follower, 0);
        answer(&mut follower, 0, 2, Digest([1; 32]));
        answer(&mut follower, 2, 2, Digest::default());
        answer(&mut follower, 3, 4, log.chains[1]);
        assert!(read(&mut follower).is_empty());
        assert_eq!(follower.source, ReplicaId(1));
        answer(&mut follower, 3, 2, log.chains[1]);
        assert_eq!(read(&mut follower), [0, 1]);
    }

    #[test]
    fn a_silent_source_is_replaced_and_questions_are_repeated() {
        let mut follower = follower(0);
        let mut asked = Vec::new();
        for time in 0..4 {
            asked.extend(due(&mut follower, time * FOLLOW_RENEW_NS));
        }
        let sources: Vec<_> = asked.iter().map(|(to, ..)| *to).collect();
        assert_eq!(sources, [only(1), only(1), only(2), only(2)]);
        Log::of(1).send(&mut follower, 2, 0..1);
        assert_eq!(due(&mut follower, 0)[0].1, "chain");
        assert!(due(&mut follower, FOLLOW_RENEW_NS - 1).iter().all(|(_, what, _)| *what != "chain"));
        assert_eq!(due(&mut follower, FOLLOW_RENEW_NS)[0].1, "chain");
    }

    /// `protocol.md SU-5`
    #[test]
    fn a_position_is_trimmed_when_enough_replicas_say_so() {
        let mut follower = follower(5);
        due(&mut follower, 0);
        let trimmed = |oldest| {
            let mut bytes = Vec::new();
            append_runs(&mut bytes, STREAM, oldest, 5, Digest::default(), 0, &[]);
            bytes
        };
        hear(&mut follower, 1, &trimmed(1000));
        hear(&mut follower, 1, &trimmed(1000));
        assert_eq!(follower.deliver(|_| true), Delivery::Drained, "one replica's word");
        assert_eq!(due(&mut follower, 0), [(only(3), "follow", 5)], "the next is asked");
        hear(&mut follower, 3, &trimmed(8));
        assert_eq!(follower.deliver(|_| true), Delivery::Trimmed(8), "the least that two say is there");
    }

    #[test]
    fn an_entry_without_room_is_offered_again() {
        let (log, mut follower) = (Log::of(2), follower(0));
        due(&mut follower, 0);
        log.send(&mut follower, 1, 0..2);
        due(&mut follower, 0);
        log.vouch(&mut follower, 2, 2);
        let mut room = 3;
        let mut first = Vec::new();
        let delivery = follower.deliver(|entry| {
            room -= 1;
            let fits = room >= 0;
            if fits {
                first.push(entry.position);
            }
            fits
        });
        assert_eq!((delivery, first), (Delivery::Blocked, vec![0, 1, 2]));
        assert_eq!(read(&mut follower), [3]);
    }
}
