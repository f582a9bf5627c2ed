//! The agent that answers readers: subscribers of the ordered log, and the operator's questions (`protocol.md SU-1` to `SU-3`). It reads
//! committed state only, and changes nothing.

use super::ReplicaFacts;
use super::outbox::Outbox;
use crate::authentication::{AuthenticatedPacket, Refused};
use crate::limits::{FOLLOW_CREDIT_BYTES_MAX, STREAMS_MAX};
use crate::numbers::{ClientId, Principal, ReplicaId};
use crate::replica::{Now, Reject, RejectTable, Replica};
use crate::service::OrderedLog;
use crate::service::log::Run;
use crate::wire::parts::{RUN_PART_OVERHEAD_BYTES, RunPart};
use crate::wire::report::{REJECTS_LISTED_MAX, RejectEntry, RejectsReport, ReportReply};
use crate::wire::subscription::{
    ChainAnswer, RUN_OVERHEAD_BYTES, RUNS_OVERHEAD_BYTES, append_run_pieces, append_runs, append_runs_with,
};
use crate::wire::{Audience, Kind, Message};
use logothete_crypto::Digest;

/// Bytes of runs in one message; it leaves room for the packet's own parts at every datagram size.
const RUNS_BYTES_RESERVED: usize = RUNS_OVERHEAD_BYTES;

#[derive(Clone, Copy, Debug)]
struct Following {
    client: ClientId,
    stream: u32,
    from: u64,
    /// Bytes of the message of the run that begins at `from`, which the client has.
    offset: usize,
    credit_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Question {
    client: ClientId,
    stream: u32,
    position: u64,
}

/// Who reads what.
#[derive(Debug)]
pub(super) struct Reader {
    followings: Vec<Following>,
    questions: Vec<Question>,
    reports: Vec<(ClientId, u64)>,
    reject_questions: Vec<(ClientId, u64)>,
    reject_entries: Vec<RejectEntry>,
    end_served: u64,
    changed: bool,
    message: Vec<u8>,
}

impl Reader {
    /// Nobody reads yet.
    pub(super) fn new() -> Self {
        Self {
            followings: Vec::new(),
            questions: Vec::new(),
            reports: Vec::new(),
            reject_questions: Vec::new(),
            reject_entries: Vec::new(),
            end_served: 0,
            changed: false,
            message: Vec::new(),
        }
    }

    /// Takes a client's questions; everything else in the packet is others' business.
    pub(super) fn on_packet(&mut self, packet: &AuthenticatedPacket<'_>) {
        let Principal::Client(client) = packet.sender() else { return };
        // Most packets are requests, which are long to decode.
        let is_question =
            |kind| matches!(kind, Kind::Follow | Kind::ChainQuery | Kind::ReportQuery | Kind::RejectsQuery);
        if !packet.holds(is_question) {
            return;
        }
        for (message, _) in packet.messages().flatten() {
            match message {
                Message::Follow(follow) => {
                    let credit_bytes = (follow.credit_bytes.get() as usize).min(FOLLOW_CREDIT_BYTES_MAX);
                    let (stream, from) = (follow.stream.get(), follow.from.get());
                    let offset = follow.offset.get() as usize;
                    let following = Following { client, stream, from, offset, credit_bytes };
                    let same = |held: &Following| held.client == client && held.stream == following.stream;
                    let own = |held: &Following| held.client == client;
                    replace_or_push(&mut self.followings, following, same, own);
                    self.changed = true;
                }
                Message::ChainQuery(query) => {
                    let question = Question { client, stream: query.stream.get(), position: query.position.get() };
                    let same = |held: &Question| held.client == client && held.stream == question.stream;
                    let own = |held: &Question| held.client == client;
                    replace_or_push(&mut self.questions, question, same, own);
                    self.changed = true;
                }
                Message::ReportQuery(query) => {
                    // One answer a client and digest of the state.
                    self.reports.retain(|(asked, _)| *asked != client);
                    self.reports.push((client, query.nonce.get()));
                }
                Message::RejectsQuery(query) => {
                    self.reject_questions.retain(|(asked, _)| *asked != client);
                    self.reject_questions.push((client, query.nonce.get()));
                }
                _ => {}
            }
        }
    }

    /// Tells who asked whom this process rejects for what (`protocol.md EV-4`); `table` has its core's part, where it has one.
    pub(super) fn answer_rejects(&mut self, outbox: &mut Outbox, table: Option<&RejectTable>, facts: &ReplicaFacts) {
        while let Some((client, nonce)) = self.reject_questions.pop() {
            self.reject_entries.clear();
            let omitted = list_rejects(table, facts, &mut self.reject_entries);
            self.message.clear();
            RejectsReport { nonce, omitted, entries: &self.reject_entries }.append(&mut self.message);
            outbox.add(Audience::Client(client), &self.message);
        }
    }

    /// Whether the operator waits for an answer.
    pub(super) fn has_questions(&self) -> bool {
        !self.reports.is_empty()
    }

    /// Who waits for it: what it is told is to be of now, or later.
    pub(super) fn take_questions(&mut self) -> Vec<(ClientId, u64)> {
        std::mem::take(&mut self.reports)
    }

    /// Answers the operator.
    pub(super) fn answer_reports(&mut self, asked: &[(ClientId, u64)], report: ReportReply, outbox: &mut Outbox) {
        for (client, nonce) in asked {
            self.message.clear();
            ReportReply { nonce: (*nonce).into(), ..report }.append(&mut self.message);
            outbox.add(Audience::Client(*client), &self.message);
        }
    }

    /// Sends what is there before a position, the end of a batch, to those who wait for it: what comes after it may be undone.
    pub(super) fn serve(&mut self, log: &OrderedLog, end: u64, outbox: &mut Outbox) {
        if end == self.end_served && !self.changed {
            return;
        }
        (self.end_served, self.changed) = (end, false);
        let message = &mut self.message;
        self.followings.retain_mut(|following| {
            while following.serve(log, end, outbox, message) {}
            following.credit_bytes > 0
        });
        self.questions.retain(|question| {
            if question.position > end {
                return true;
            }
            message.clear();
            ChainAnswer {
                stream: question.stream.into(),
                reserved: 0.into(),
                position: question.position.into(),
                chain: log.chain_at(question.position).unwrap_or_default(),
            }
            .append(message);
            outbox.add(Audience::Client(question.client), message);
            false
        });
    }
}

/// Puts an item in the place of the one that it replaces, or behind the others while its client has fewer than its share.
fn replace_or_push<T>(items: &mut Vec<T>, item: T, replaces: impl Fn(&T) -> bool, own: impl Fn(&T) -> bool) {
    if let Some(at) = items.iter().position(replaces) {
        items[at] = item;
    } else if items.iter().filter(|held| own(held)).count() < STREAMS_MAX {
        items.push(item);
    }
}

impl Following {
    /// Sends one message of runs; `false` when there is nothing more to send now, or no credit.
    fn serve(&mut self, log: &OrderedLog, end: u64, outbox: &mut Outbox, message: &mut Vec<u8>) -> bool {
        if self.credit_bytes == 0 || self.from >= end {
            return false;
        }
        let audience = Audience::Client(self.client);
        let room = outbox.room(audience) - RUNS_BYTES_RESERVED;
        message.clear();
        let Ok(available) = log.runs_from(self.from) else {
            // Trimmed: an empty message says from where on there is something, and ends the following.
            append_runs(message, self.stream, log.oldest(), self.from, Digest::default(), 0, &[]);
            outbox.add(audience, message);
            self.credit_bytes = 0;
            return false;
        };
        let next = available.clone().next().filter(|run| RUN_OVERHEAD_BYTES + run.message.len() > room);
        if let Some(run) = next {
            self.serve_part(&run, outbox, message);
            return true;
        }
        self.offset = 0;
        let (mut count, mut first, mut runs_bytes) = (0, None, 0);
        for run in available.clone() {
            if run.position_end() > end || runs_bytes + RUN_OVERHEAD_BYTES + run.message.len() > room {
                break;
            }
            first.get_or_insert((run.position_first, run.chain_before));
            runs_bytes += RUN_OVERHEAD_BYTES + run.message.len();
            self.from = run.position_end();
            count += 1;
        }
        let (position, chain) = first.expect("a run that fits no packet goes in parts");
        append_runs_with(message, self.stream, log.oldest(), position, chain, count, |message| {
            for run in available.take(count) {
                append_run_pieces(message, run.timestamp_ns, run.message.len(), run.message.pieces());
            }
        });
        outbox.add(audience, message);
        self.credit_bytes = self.credit_bytes.saturating_sub(runs_bytes);
        true
    }

    /// Sends the next piece of a run that fits no packet (`protocol.md LR-6`).
    fn serve_part(&mut self, run: &Run<'_>, outbox: &mut Outbox, message: &mut Vec<u8>) {
        let (audience, total_bytes) = (Audience::Client(self.client), run.message.len());
        if run.position_first != self.from || self.offset >= total_bytes {
            (self.from, self.offset) = (run.position_first, 0);
        }
        let piece_bytes = (outbox.room(audience) - RUN_PART_OVERHEAD_BYTES).min(total_bytes - self.offset);
        let part = RunPart {
            stream: self.stream,
            position: run.position_first,
            timestamp_ns: run.timestamp_ns,
            chain: run.chain_before,
            total_bytes,
            offset: self.offset,
            bytes: &[],
        };
        message.clear();
        part.append_with(message, run.message.range(self.offset, piece_bytes).pieces());
        outbox.add(audience, message);
        self.offset += piece_bytes;
        if self.offset == total_bytes {
            (self.from, self.offset) = (run.position_end(), 0);
        }
        self.credit_bytes = self.credit_bytes.saturating_sub(piece_bytes);
    }
}

/// Lists what was rejected, the most frequent first; returns how many rejects found no room.
fn list_rejects(table: Option<&RejectTable>, facts: &ReplicaFacts, entries: &mut Vec<RejectEntry>) -> u64 {
    let entry = |about: u16, by: u8, reason: usize, count: u64| RejectEntry {
        about: about.into(),
        by,
        reason: reason as u8,
        reserved: [0; 4],
        count: count.into(),
    };
    // Who is isolated was proven to flood; of what else the verifier refuses nobody is proven to have sent it.
    let unnamed = |reason: &Refused| *reason != Refused::Isolated && facts.refused.of(*reason) > 0;
    for (index, reason) in Refused::ALL.iter().enumerate().filter(|(_, reason)| unnamed(reason)) {
        entries.push(entry(RejectEntry::NOBODY, RejectEntry::BY_VERIFIER, index, facts.refused.of(*reason)));
    }
    for (id, count) in (0..).map(ReplicaId).zip(facts.isolated).filter(|(_, count)| *count > 0) {
        let about = Principal::Replica(id).code();
        entries.push(entry(about, RejectEntry::BY_VERIFIER, Refused::Isolated as usize, count));
    }
    for (sender, row) in table.into_iter().flat_map(RejectTable::rows) {
        let about = sender.map_or(RejectEntry::NOBODY, Principal::code);
        for (index, reason) in Reject::ALL.iter().enumerate().filter(|(_, reason)| row.of(**reason) > 0) {
            entries.push(entry(about, RejectEntry::BY_CORE, index, row.of(*reason)));
        }
    }
    entries.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.count.get()));
    let omitted = entries.iter().skip(REJECTS_LISTED_MAX).map(|entry| entry.count.get()).sum();
    entries.truncate(REJECTS_LISTED_MAX);
    omitted
}

/// Writes how a replica fares, but for the digest of its state.
pub(super) fn fill_report(report: &mut ReportReply, replica: &Replica, now: Now, facts: &ReplicaFacts) {
    report.view = replica.view().0.into();
    report.executed = replica.executed().0.into();
    report.checkpoint_stable = replica.stable().0.into();
    report.datagrams_sent = facts.datagrams_sent.into();
    report.datagrams_received = facts.datagrams_received.into();
    report.rejects = (facts.refused.total() + replica.rejects().total()).into();
    report.peers_reachable = replica.peers_reachable(now).0.into();
    report.progress = replica.progress(now) as u8;
    replica.demoted_clients().for_each(|client| report.set_demoted(client));
}

#[cfg(test)]
mod tests {
    use super::super::outbox::{Departures, Outgoing};
    use super::*;
    use crate::limits::DATAGRAM_BYTES_DEFAULT;
    use crate::service::log::LogSettings;
    use crate::service::testing::{TestRequest, execute};
    use crate::wire::packet::HEADER_BYTES;
    use logothete_transport::pool::{Frame, Pool, PoolConfig};

    /// The first position and the number of the runs that a client is sent, and the positions of which it is told the chain.
    #[derive(Debug, Default, PartialEq)]
    struct Told {
        runs: Vec<(u64, usize)>,
        chains: Vec<u64>,
    }

    impl Departures for Told {
        fn depart(&mut self, packet: Outgoing) {
            let mut frame = packet.frame;
            let body = &frame.capacity_bytes_mut()[HEADER_BYTES..HEADER_BYTES + packet.body_bytes];
            for message in crate::wire::Messages::new(body, Principal::Replica(ReplicaId(0))) {
                match message.unwrap().0 {
                    Message::Runs(runs) => self.runs.push((runs.position, runs.count)),
                    Message::ChainAnswer(answer) => self.chains.push(answer.position.get()),
                    other => panic!("{other:?}"),
                }
            }
        }

        fn depart_relayed(&mut self, _: ReplicaId, _: Frame) {
            panic!("nothing was relayed");
        }
    }

    /// `protocol.md EX-1`, `SU-1`: an entry that was executed before it committed may be undone.
    #[test]
    fn who_follows_is_shown_what_lasts() {
        let pool = Pool::new(PoolConfig { frame_bytes: DATAGRAM_BYTES_DEFAULT, frames: 8 }).unwrap();
        let mut outbox = Outbox::new(pool, DATAGRAM_BYTES_DEFAULT);
        let mut log = OrderedLog::new(LogSettings { segment_bytes: 4096, segments_max: 2 });
        let request = TestRequest::new(b"", &[b"one", b"other"]);
        (1..=3).for_each(|sequence| drop(execute(&mut log, &request.ordered(sequence, sequence))));
        let mut reader = Reader::new();
        reader.followings.push(Following { client: ClientId(0), stream: 1, from: 0, offset: 0, credit_bytes: 10_000 });
        let question = |position| Question { client: ClientId(0), stream: 1, position };
        reader.questions.extend([2, 4, 6].map(question));
        let mut told = |reader: &mut Reader, end| {
            reader.serve(&log, end, &mut outbox);
            let mut told = Told::default();
            outbox.drain_into(&mut told);
            told
        };
        reader.changed = true;
        assert_eq!(told(&mut reader, 4), Told { runs: vec![(0, 2)], chains: vec![2, 4] });
        assert_eq!(told(&mut reader, 4), Told::default());
        assert_eq!(told(&mut reader, 6), Told { runs: vec![(4, 1)], chains: vec![6] });
    }
}
