//! Following the ordered log: entries from one replica, believed once `f+1` replicas give the same chain digest for the position behind
//! them (`protocol.md SU-1` to `SU-5`). A source that is slow, silent or wrong is replaced by the next.
//!
//! ```text
//!        wanted            verified            received
//!          │ held, vouched for │ held, in question │ asked for by the follow
//!   ───────┴───────────────────┴───────────────────┴────────────────────────▶ positions
//! ```

mod pending;

use crate::limits::{
    FOLLOW_CREDIT_BYTES, FOLLOW_GRANT_BYTES_MAX, FOLLOW_PATIENCE_DOUBLINGS_MAX, FOLLOW_PATIENCE_NS,
    FOLLOW_PENDING_BYTES_MAX, FOLLOW_RENEW_NS, REPLICAS_MAX,
};
use crate::numbers::{ClientId, Principal, ReplicaId, ReplicaSet};
use crate::service::log::{Entries, Entry, verify_run};
use crate::wire::operation::Operations;
use crate::wire::parts::RunPart;
use crate::wire::subscription::{ChainAnswer, ChainQuery, Follow, RUN_OVERHEAD_BYTES, Runs};
use crate::wire::{Audience, Message};
use logothete_crypto::Digest;
use pending::Pending;
use zerocopy::little_endian::U32;

/// What came of offering entries to a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// All that is verified was taken.
    Drained,
    /// The subscriber has no room now.
    Blocked,
    /// The position wanted is trimmed, and everything before it: up to here at least, as `f+1` replicas say.
    Trimmed(u64),
}

/// A message of runs does not go on from where it should.
#[derive(Debug)]
enum Unfit {
    /// Lost, doubled, reordered: nothing is wrong with the source.
    Elsewhere,
    /// No correct replica sends it.
    Wrong,
}

/// A run of which the beginning is here.
#[derive(Debug)]
struct Partial {
    position: u64,
    chain: Digest,
    timestamp_ns: u64,
    total_bytes: usize,
    bytes: Vec<u8>,
}

impl Partial {
    fn of(part: &RunPart<'_>) -> Self {
        let RunPart { position, chain, timestamp_ns, total_bytes, .. } = *part;
        Self { position, chain, timestamp_ns, total_bytes, bytes: Vec::new() }
    }

    /// Whether a piece is the next of this run.
    fn goes_on(&self, part: &RunPart<'_>) -> bool {
        (self.position, self.chain, self.timestamp_ns, self.total_bytes, self.bytes.len())
            == (part.position, part.chain, part.timestamp_ns, part.total_bytes, part.offset)
    }
}

/// One subscription.
#[derive(Debug)]
pub struct Follower {
    stream: u32,
    replicas: usize,
    weak: usize,
    source: ReplicaId,
    /// Until when the source must have brought something that is verified; none before it was asked.
    source_until_ns: Option<u64>,
    /// Whether any runs came since something was verified, or the source was chosen, even a former source's: the replicas are slow
    /// rather than silent.
    heard: bool,
    /// Sources that were replaced since something was verified, although runs came.
    fruitless: usize,
    /// The next entry that the subscriber gets.
    wanted: u64,
    /// Runs received, oldest first; those up to `verified` are vouched for.
    pending: Pending,
    /// The longest request message of a run.
    message_bytes_max: usize,
    /// The next run as far as it is here, where it comes in parts.
    partial: Option<Partial>,
    /// Up to where runs were received, and the chain digest there.
    received: Option<(u64, Digest)>,
    /// Up to where `f+1` replicas vouch, and the chain digest there.
    verified: Option<(u64, Digest)>,
    asked: Option<(u64, Digest)>,
    answers: [Option<Digest>; REPLICAS_MAX],
    /// What the source may still send.
    credit_bytes: usize,
    follow_at_ns: u64,
    ask_at_ns: u64,
    /// The subscriber had no room when it was last offered something.
    blocked: bool,
    /// What each replica said when it was the source: nothing before this is here. Zero before it said so.
    trimmed: [u64; REPLICAS_MAX],
    /// The highest position that `f+1` replicas say they have nothing before. One of them is correct, and a claim stays true.
    trimmed_oldest: u64,
}

impl Follower {
    /// Follows from a position on. The stream number tells its answers from those of the client's other followers. Runs are of requests of at
    /// most `message_bytes_max` bytes.
    pub fn new(stream: u32, from: u64, replicas: usize, weak: usize, message_bytes_max: usize) -> Self {
        Self {
            stream,
            replicas,
            weak,
            source: ReplicaId((stream as usize % replicas) as u8),
            source_until_ns: None,
            heard: false,
            fruitless: 0,
            wanted: from,
            pending: Pending::default(),
            message_bytes_max,
            partial: None,
            received: None,
            verified: None,
            asked: None,
            answers: [None; REPLICAS_MAX],
            credit_bytes: 0,
            follow_at_ns: 0,
            ask_at_ns: 0,
            blocked: false,
            trimmed: [0; REPLICAS_MAX],
            trimmed_oldest: 0,
        }
    }

    /// Takes a message of a replica, if it is this stream's.
    pub fn on_message(&mut self, now_ns: u64, from: ReplicaId, message: &Message<'_>) {
        match message {
            Message::Runs(runs) if runs.stream == self.stream => self.on_runs(now_ns, from, runs),
            Message::RunPart(part) if part.stream == self.stream => self.on_run_part(now_ns, from, part),
            Message::ChainAnswer(answer) if answer.stream.get() == self.stream => self.on_answer(from, answer),
            _ => {}
        }
    }

    /// Asks for what is due (`SU-2`); `send` takes messages and whom they are for. Not to be called while the subscriber has no room.
    pub fn on_due(&mut self, now_ns: u64, mut send: impl FnMut(Audience, &dyn Fn(&mut Vec<u8>))) {
        if std::mem::take(&mut self.blocked) {
            // While the subscriber had no room the source was not asked for anything: that time is not held against it.
            self.source_until_ns = None;
        }
        if self.source_until_ns.is_some_and(|until_ns| until_ns <= now_ns) {
            self.replace_source();
        }
        if self.asked.is_none() && self.received != self.verified {
            // Everything received so far is asked about at once.
            self.asked = self.received;
            self.answers = [None; REPLICAS_MAX];
            self.ask_at_ns = now_ns;
            self.settle();
        }
        if let Some((position, _)) = self.asked
            && self.ask_at_ns <= now_ns
        {
            self.ask_at_ns = now_ns + FOLLOW_RENEW_NS;
            let query = ChainQuery { stream: self.stream.into(), reserved: U32::ZERO, position: position.into() };
            let others = ReplicaSet::first(self.replicas).without(self.source);
            send(Audience::Replicas(others), &|bytes| query.append(bytes));
        }
        if self.follow_at_ns <= now_ns && self.has_room() {
            self.follow_at_ns = now_ns + FOLLOW_RENEW_NS;
            self.credit_bytes = FOLLOW_CREDIT_BYTES;
            let (from, offset) = match &self.partial {
                Some(partial) => (partial.position, partial.bytes.len()),
                None => (self.received.map_or(self.wanted, |(end, _)| end), 0),
            };
            let follow = Follow {
                stream: self.stream.into(),
                credit_bytes: (FOLLOW_CREDIT_BYTES as u32).into(),
                from: from.into(),
                offset: (offset as u32).into(),
                reserved: U32::ZERO,
            };
            send(Audience::Replicas(ReplicaSet::only(self.source)), &|bytes| follow.append(bytes));
        }
        let patience_ns = self.patience_ns();
        self.source_until_ns.get_or_insert(now_ns + patience_ns);
    }

    /// When [`Follower::on_due`] is to be called.
    pub fn deadline_ns(&self) -> u64 {
        let asks_ns = match self.asked {
            Some(_) => self.ask_at_ns,
            None if self.received != self.verified => 0,
            None => u64::MAX,
        };
        let follows_ns = if self.has_room() { self.follow_at_ns } else { u64::MAX };
        asks_ns.min(follows_ns).min(self.source_until_ns.unwrap_or(0))
    }

    /// Offers verified entries in order, until `take` refuses one.
    pub fn deliver(&mut self, mut take: impl FnMut(Entry<'_>) -> bool) -> Delivery {
        let verified_end = self.verified_end();
        while let Some((run, message)) = self.pending.front().filter(|(run, _)| run.position_end <= verified_end) {
            let operations = operations(message).expect("it was decoded when it arrived");
            for entry in Entries::new(run.position_first, run.timestamp_ns, operations).starting_at(self.wanted) {
                let position = entry.position;
                if !take(entry) {
                    self.blocked = true;
                    return Delivery::Blocked;
                }
                self.wanted = position + 1;
            }
            self.pending.pop_front();
        }
        // What is held and in question may yet turn out to be right, and then nothing is missing.
        if self.trimmed_oldest > self.wanted && self.received == self.verified {
            return Delivery::Trimmed(self.trimmed_oldest);
        }
        Delivery::Drained
    }

    fn on_runs(&mut self, now_ns: u64, from: ReplicaId, runs: &Runs<'_>) {
        self.heard |= runs.count > 0;
        if from != self.source {
            return;
        }
        if runs.count == 0 {
            if runs.oldest > self.received.map_or(self.wanted, |(end, _)| end) {
                self.trimmed[usize::from(from.0)] = runs.oldest;
                let mut claims = self.trimmed;
                claims.sort_unstable_by(|a, b| b.cmp(a));
                self.trimmed_oldest = claims[self.weak - 1];
                // Ask the next replica whether it is so.
                self.replace_source();
            }
            return;
        }
        if self.credit_bytes == 0 {
            // More than was asked for.
            return;
        }
        match self.take_runs(runs) {
            Ok((received, received_bytes)) => {
                self.received = Some(received);
                self.partial = None;
                self.spend(now_ns, received_bytes);
            }
            Err(Unfit::Elsewhere) => {}
            Err(Unfit::Wrong) => self.replace_source(),
        }
    }

    /// So much came of what was asked for.
    fn spend(&mut self, now_ns: u64, received_bytes: usize) {
        self.credit_bytes = self.credit_bytes.saturating_sub(received_bytes);
        let renews = self.credit_bytes < FOLLOW_CREDIT_BYTES / 2;
        self.follow_at_ns = if renews { now_ns } else { now_ns + FOLLOW_RENEW_NS };
    }

    /// Takes a piece of a run that fits no packet (`protocol.md LR-6`): the next of the one that is begun, or the first. What is lost is asked for
    /// from there on.
    fn on_run_part(&mut self, now_ns: u64, from: ReplicaId, part: &RunPart<'_>) {
        self.heard = true;
        if from != self.source || self.credit_bytes == 0 {
            return;
        }
        if part.total_bytes > self.message_bytes_max {
            return self.replace_source();
        }
        if part.offset == 0 && self.partial.is_none() {
            let follows = match self.received {
                Some(received) => (part.position, part.chain) == received,
                None => part.position <= self.wanted,
            };
            if follows {
                self.partial = Some(Partial::of(part));
            }
        }
        let Some(partial) = self.partial.as_mut().filter(|partial| partial.goes_on(part)) else { return };
        // Memory grows with what came, not with what was claimed.
        partial.bytes.extend_from_slice(part.bytes);
        let whole = partial.bytes.len() == partial.total_bytes;
        self.spend(now_ns, part.bytes.len());
        if whole && let Some(partial) = self.partial.take() {
            match self.take_run(partial.position, partial.chain, partial.timestamp_ns, &partial.bytes) {
                Some(received) if received.0 > self.wanted => self.received = Some(received),
                _ => self.replace_source(),
            }
        }
    }

    /// Holds the runs of a message. Returns where they end, the chain digest there, and the bytes that they took of the credit.
    fn take_runs(&mut self, runs: &Runs<'_>) -> Result<((u64, Digest), usize), Unfit> {
        let fits = match self.received {
            Some(received) => (runs.position, runs.chain) == received,
            None => runs.position <= self.wanted,
        };
        if !fits {
            return Err(Unfit::Elsewhere);
        }
        let (mut position, mut chain, mut bytes) = (runs.position, runs.chain, 0);
        for run in runs.iter() {
            (position, chain) = self.take_run(position, chain, run.timestamp_ns, run.message).ok_or(Unfit::Wrong)?;
            bytes += RUN_OVERHEAD_BYTES + run.message.len();
        }
        // The position wanted is in the first message that a correct source sends.
        if position > self.wanted { Ok(((position, chain), bytes)) } else { Err(Unfit::Wrong) }
    }

    /// Holds one run. Returns where it ends, and the chain digest there; none if it is no run of the log.
    fn take_run(&mut self, position: u64, chain: Digest, timestamp_ns: u64, message: &[u8]) -> Option<(u64, Digest)> {
        let position_end = position.checked_add(operations(message)?.count() as u64)?;
        self.pending.push(position, position_end, timestamp_ns, message);
        Some((position_end, verify_run(&chain, position, timestamp_ns, message)))
    }

    fn on_answer(&mut self, from: ReplicaId, answer: &ChainAnswer) {
        if self.asked.is_some_and(|(position, _)| position == answer.position.get()) {
            self.answers[usize::from(from.0)] = Some(answer.chain);
            self.settle();
        }
    }

    /// Decides on what was asked, as far as the answers go.
    fn settle(&mut self) {
        let Some((position, chain)) = self.asked else { return };
        let others = self.answers.iter().enumerate().filter(|(id, _)| *id != usize::from(self.source.0));
        let answers = others.filter_map(|(_, answer)| answer.as_ref());
        let (mut agreeing, mut differing) = (1, 0);
        answers.for_each(|answer| *if *answer == chain { &mut agreeing } else { &mut differing } += 1);
        if agreeing >= self.weak {
            self.verified = Some((position, chain));
            self.asked = None;
            self.source_until_ns = None;
            (self.heard, self.fruitless) = (false, 0);
        } else if differing >= self.weak {
            // A correct replica is among them. Whatever it has there, zero for no end of a run included, the claim is wrong, or so old
            // that the next source says that it is trimmed (`SU-4`).
            self.replace_source();
        }
    }

    /// Turns to the next replica, which goes on from what is verified: it may have nothing that follows on what the source claimed.
    fn replace_source(&mut self) {
        self.pending.forget_beyond(self.verified_end());
        self.received = self.verified;
        self.partial = None;
        self.asked = None;
        self.fruitless += usize::from(std::mem::take(&mut self.heard));
        self.source = ReplicaId(((usize::from(self.source.0) + 1) % self.replicas) as u8);
        self.source_until_ns = None;
        self.credit_bytes = 0;
        self.follow_at_ns = 0;
    }

    /// How long a source may take: longer when all of them had their turn in vain and something came, so that slow replicas do not have
    /// theirs over and over again.
    fn patience_ns(&self) -> u64 {
        FOLLOW_PATIENCE_NS << (self.fruitless / self.replicas).min(FOLLOW_PATIENCE_DOUBLINGS_MAX)
    }

    fn verified_end(&self) -> u64 {
        self.verified.map_or(0, |(end, _)| end)
    }

    /// Whether all that one more follow may bring can be held: beside what is held anyway, the longest run there can be (`protocol.md LR-6`).
    fn has_room(&self) -> bool {
        let partial_bytes = self.partial.as_ref().map_or(0, |partial| partial.bytes.len());
        let held_bytes = self.pending.bytes() + partial_bytes;
        held_bytes + FOLLOW_GRANT_BYTES_MAX <= FOLLOW_PENDING_BYTES_MAX + self.message_bytes_max
    }
}

/// The operations of a request message; `None` if it is no request, or one without operations.
fn operations(message: &[u8]) -> Option<Operations<'_>> {
    // Who sent it matters to the replicas that executed it; the chain digest says that they did.
    match Message::decode(message, Principal::Client(ClientId(0))) {
        Ok(Message::Request(request)) if !request.operations.is_empty() => Some(request.operations),
        _ => None,
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
