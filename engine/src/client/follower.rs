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
