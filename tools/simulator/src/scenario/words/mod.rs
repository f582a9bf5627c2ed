//! Packets and messages in the words of the protocol, with short names in place of digests: `D1` is the first batch that was ever named, `S1` the
//! first state, `C1` the first chain digest.

mod message;

use crate::checks::statements::{Seen, Statements};
use crate::world::random::Random;
use logothete_crypto::Digest;
use logothete_engine::numbers::{ClientId, Incarnation, Principal, ReplicaId, RequestNumber, View};
use logothete_engine::service::ServiceKind;
use logothete_engine::service::kv::{Command, Outcome};
use logothete_engine::wire::agreement::{BatchEntry, batch_digest};
use logothete_engine::wire::request::RequestName;
use logothete_engine::wire::view_change::{Part, StatementKind, null_batch};
use logothete_engine::wire::{Message, Messages};
use std::collections::BTreeMap;

/// Messages of one packet that are spelt out; of more the first are, and the rest counted.
const MESSAGES_SHOWN: usize = 4;

/// Entries of a view change's sets that are spelt out.
const VOTES_SHOWN: usize = 8;

/// What digests and incarnations are called.
#[derive(Debug)]
pub struct Words {
    service: ServiceKind,
    batches: Names,
    states: Names,
    chains: Names,
    entries: BTreeMap<Digest, Vec<BatchEntry>>,
    requests: BTreeMap<RequestName, Vec<Digest>>,
    incarnations: BTreeMap<ClientId, Vec<Incarnation>>,
    statements: Statements,
    /// Statements of one kind, view and signer, in the order in which they were seen whole.
    spoken: BTreeMap<(StatementKind, View, ReplicaId), Vec<Digest>>,
}

impl Words {
    /// Of a cluster with this service.
    pub fn of(service: ServiceKind) -> Self {
        let mut batches = Names::default();
        batches.known.insert(null_batch(), "null".to_owned());
        Self {
            service,
            batches,
            states: Names::default(),
            chains: Names::default(),
            entries: BTreeMap::new(),
            requests: BTreeMap::new(),
            incarnations: BTreeMap::new(),
            statements: Statements::default(),
            spoken: BTreeMap::new(),
        }
    }
}

#[derive(Debug, Default)]
struct Names {
    known: BTreeMap<Digest, String>,
    count: usize,
}

impl Names {
    fn name(&mut self, prefix: char, digest: Digest) -> String {
        self.note(prefix, digest).clone()
    }

    /// Has a digest have a name from now on.
    fn note(&mut self, prefix: char, digest: Digest) -> &String {
        let count = &mut self.count;
        let fresh = || {
            *count += 1;
            format!("{prefix}{count}")
        };
        self.known.entry(digest).or_insert_with(fresh)
    }

    /// The digest of a name; a name that nothing has yet becomes that of a digest of nothing.
    fn digest(&mut self, name: &str) -> Digest {
        if let Some((digest, _)) = self.known.iter().find(|(_, known)| *known == name) {
            return *digest;
        }
        let digest = made_up(name);
        self.known.insert(digest, name.to_owned());
        digest
    }
}

/// A digest of nothing that exists.
pub fn made_up(name: &str) -> Digest {
    let mut bytes = [0; 32];
    let seed = name.bytes().fold(1u64, |seed, byte| seed.wrapping_mul(257).wrapping_add(u64::from(byte)));
    Random::new(seed).fill(&mut bytes);
    Digest(bytes)
}

/// `3`, or `c0` for a client.
pub fn name_of(principal: Principal) -> String {
    match principal {
        Principal::Replica(id) => id.to_string(),
        Principal::Client(id) => format!("c{id}"),
    }
}

/// `0,1,c0`.
pub fn list(principals: &[Principal]) -> String {
    let mut sorted = principals.to_vec();
    sorted.sort_unstable();
    sorted.into_iter().map(name_of).collect::<Vec<_>>().join(",")
}

/// A moment or a length of time: `3.2ms`.
pub fn duration(ns: u64) -> String {
    let (unit, per) = if ns >= 1_000_000_000 { ("s", 1_000_000_000) } else { ("ms", 1_000_000) };
    let thousandths = ns * 1000 / per;
    let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// The kind of a message as filters and scripts name it.
pub fn kind(message: &Message<'_>) -> &'static str {
    match message {
        Message::Request(_) => "request",
        Message::PrePrepare(_) => "pre-prepare",
        Message::Prepare(_) => "prepare",
        Message::Commit(_) => "commit",
        Message::Checkpoint(_) => "checkpoint",
        Message::Reply(_) => "reply",
        Message::Refusal(_) => "refusal",
        Message::Status(_) => "status",
        Message::Fetch(_) => "fetch",
        Message::Forward(_) => "forward",
        Message::ReportQuery(_) => "report-query",
        Message::RotateKeys(_) => "rotate-keys",
        Message::KeyReport(_) => "key-report",
        Message::RejectsQuery(_) => "rejects-query",
        Message::RejectsReport(_) => "rejects-report",
        Message::Probe(_) => "probe",
        Message::ProbeHeard(_) => "probe-heard",
        Message::ReportReply(_) => "report",
        Message::Follow(_) => "follow",
        Message::Runs(_) => "runs",
        Message::ChainQuery(_) => "chain-query",
        Message::ChainAnswer(_) => "chain-answer",
        Message::StateQuery(_) => "state-query",
        Message::StateNodes(_) => "state-nodes",
        Message::StatePages(_) => "state-pages",
        Message::Part(Part { statement: StatementKind::ViewChange, .. }) => "view-change",
        Message::Part(Part { statement: StatementKind::NewView, .. }) => "new-view",
        Message::CommitClaim(_) => "claim",
        Message::FetchBatch(_) => "fetch-batch",
        Message::Batch(_) => "batch",
        Message::RecoveryQuery(_) => "recovery-query",
        Message::RecoveryAnswer(_) => "recovery-answer",
        Message::Dispute(_) => "dispute",
        Message::Examine(_) => "examine",
        Message::Testimony(_) => "testimony",
        Message::Query(_) => "query",
        Message::QueryAnswer(_) => "query-answer",
        Message::RequestPart(_) => "request-part",
        Message::ReplyPart(_) => "reply-part",
        Message::FetchParts(_) => "fetch-parts",
        Message::RunPart(_) => "run-part",
    }
}

impl Words {
    /// All messages of a body.
    pub fn body(&mut self, body: &[u8], sender: Principal) -> String {
        let texts: Vec<String> = Messages::new(body, sender)
            .map(|message| match message {
                Ok((message, bytes)) => self.message(&message, bytes, sender),
                Err(malformed) => format!("garbage ({malformed})"),
            })
            .collect();
        let shown = texts.len().min(if texts.len() > MESSAGES_SHOWN { MESSAGES_SHOWN - 1 } else { MESSAGES_SHOWN });
        let mut text = texts[..shown].join("; ");
        if texts.len() > shown {
            text += &format!("; and {} more", texts.len() - shown);
        }
        text
    }

    /// Notes what a body names, in the order in which it names it, so that names do not depend on what is printed.
    pub fn learn(&mut self, body: &[u8], sender: Principal) {
        for (message, bytes) in Messages::new(body, sender).flatten() {
            match message {
                Message::Request(request) if is_named(sender, request.name) => {
                    self.incarnation(request.name);
                    self.note_request(request.name, logothete_crypto::digest(bytes));
                }
                Message::RequestPart(part) if is_named(sender, part.name) => {
                    self.incarnation(part.name);
                    self.note_request(part.name, part.digest);
                }
                Message::PrePrepare(proposal) => {
                    self.note_batch(proposal.timestamp_ns, proposal.entries);
                }
                Message::Prepare(vote) | Message::Commit(vote) => {
                    self.batches.note('D', vote.digest);
                }
                Message::Checkpoint(vote) => {
                    self.states.note('S', vote.digest);
                }
                Message::Part(part) if self.statements.take(&part) => {
                    let seen = self.statements.get(&part.digest).expect("it was just completed");
                    self.spoken.entry((seen.kind, seen.view, seen.replica)).or_default().push(part.digest);
                    let selection = seen.new_view().into_iter().flat_map(|content| content.selection);
                    let votes =
                        seen.view_change().into_iter().flat_map(|content| [content.prepared, content.pre_prepared]);
                    for digest in votes.flatten().map(|vote| &vote.digest).chain(selection) {
                        self.batches.note('D', *digest);
                    }
                }
                Message::Batch(content) => {
                    self.note_batch(content.timestamp_ns, content.entries);
                }
                _ => {}
            }
        }
    }

    /// The digest of a request that was sent; of one that never was, that of nothing.
    pub fn request_digest(&self, name: RequestName) -> Digest {
        self.requests.get(&name).and_then(|digests| digests.first()).copied().unwrap_or_else(|| made_up("no request"))
    }

    /// Which of the bodies under its name a request is.
    fn note_request(&mut self, name: RequestName, digest: Digest) -> usize {
        let digests = self.requests.entry(name).or_default();
        digests.iter().position(|known| *known == digest).unwrap_or_else(|| {
            digests.push(digest);
            digests.len() - 1
        })
    }

    /// `c0#1`, whatever its body.
    pub fn request_name(&mut self, name: RequestName) -> String {
        if name.client == ClientId::SYSTEM {
            return format!("demotion of c{}", name.incarnation.0 - 1);
        }
        let incarnation = match self.incarnation(name) {
            1 => String::new(),
            later => format!("/{later}"),
        };
        if name.number == RequestNumber::OPEN {
            format!("c{}{incarnation}#open", name.client)
        } else {
            format!("c{}{incarnation}#{}", name.client, name.number)
        }
    }

    /// Which incarnation of its client a request is of, counted from 1.
    fn incarnation(&mut self, name: RequestName) -> usize {
        let known = self.incarnations.entry(name.client).or_default();
        match known.iter().position(|incarnation| *incarnation == name.incarnation) {
            Some(at) => at + 1,
            None => {
                known.push(name.incarnation);
                known.len()
            }
        }
    }

    /// The entry that a script calls `c0#1`: its client, which incarnation, number, and which body.
    pub fn entry(&mut self, client: ClientId, incarnation: usize, number: RequestNumber, body: usize) -> BatchEntry {
        let name = self.name(client, incarnation, number);
        let held = self.requests.get(&name).and_then(|digests| digests.get(body)).copied();
        BatchEntry::new(name, held.unwrap_or_else(|| made_up("a request that nobody sent")))
    }

    /// The name of a request of a client's incarnation, counted from 1; one that is not known yet is the next.
    pub fn name(&self, client: ClientId, incarnation: usize, number: RequestNumber) -> RequestName {
        let known = self.incarnations.get(&client).map_or(&[][..], |known| known);
        let next = || Incarnation(known.iter().max().map_or(1, |incarnation| incarnation.0.saturating_add(1)));
        let incarnation = known.get(incarnation - 1).copied().unwrap_or_else(next);
        RequestName { client, incarnation, number }
    }

    fn note_batch(&mut self, timestamp_ns: u64, entries: &[BatchEntry]) -> &String {
        let digest = batch_digest(timestamp_ns, entries);
        self.entries.entry(digest).or_insert_with(|| entries.to_vec());
        self.batches.note('D', digest)
    }

    /// The requests of a batch, where it was ever proposed.
    pub fn entries_of(&self, batch: &Digest) -> &[BatchEntry] {
        self.entries.get(batch).map_or(&[], |entries| entries)
    }

    /// A batch by its name, as scripts give it.
    pub fn batch_named(&mut self, name: &str) -> Digest {
        self.batches.digest(name)
    }

    /// A state by its name.
    pub fn state_named(&mut self, name: &str) -> Digest {
        self.states.digest(name)
    }

    /// Which of the statements of one kind, view and signer it is.
    fn spoken_at(&self, kind: StatementKind, view: View, replica: ReplicaId, digest: &Digest) -> usize {
        let spoken = self.spoken.get(&(kind, view, replica)).map_or(&[][..], |spoken| spoken);
        spoken.iter().position(|known| known == digest).unwrap_or(0)
    }

    /// All statements that were seen whole.
    pub fn statements_seen(&self) -> Vec<&Seen> {
        self.spoken.values().flatten().filter_map(|digest| self.statements.get(digest)).collect()
    }

    /// All batches that were ever named, the null batch among them.
    pub fn batches_known(&self) -> Vec<Digest> {
        self.batches.known.keys().copied().collect()
    }

    /// The statement that a script calls by kind, view, signer and which.
    pub fn statement(
        &self,
        kind: StatementKind,
        view: View,
        replica: ReplicaId,
        which: usize,
    ) -> Option<(Digest, Seen)> {
        let digest = *self.spoken.get(&(kind, view, replica))?.get(which)?;
        Some((digest, self.statements.get(&digest)?.clone()))
    }
}

/// Whether a request is in its sender's own name.
fn is_named(sender: Principal, name: RequestName) -> bool {
    sender == Principal::Client(name.client)
}

/// `"text"`, or how long it is; and a command of the key-value service as what it asks for.
pub fn quote(bytes: &[u8]) -> String {
    match Command::decode(bytes) {
        Ok(Command::Put { key, value }) => return format!("[put {} {}]", quote(key), quote(value)),
        Ok(Command::Get { key }) => return format!("[get {}]", quote(key)),
        Ok(Command::Delete { key }) => return format!("[delete {}]", quote(key)),
        Ok(Command::CompareAndSet { key, expected, value }) => {
            let expected = expected.map_or_else(|| "nothing".to_owned(), quote);
            return format!("[set {} from {expected} to {}]", quote(key), quote(value));
        }
        Err(_) => {}
    }
    match bytes.len() {
        0..=32 => format!("\"{}\"", String::from_utf8_lossy(bytes)),
        length => format!("({length} bytes)"),
    }
}

/// A result: a position in the log, or an outcome.
pub fn result_text(service: ServiceKind, result: &[u8]) -> String {
    match (service, <[u8; 8]>::try_from(result)) {
        (ServiceKind::Log, Ok(position)) => u64::from_le_bytes(position).to_string(),
        _ => match Outcome::decode(result) {
            Ok(Outcome::Value(value)) => quote(value),
            Ok(outcome) => format!("{outcome:?}").to_lowercase(),
            Err(_) => quote(result),
        },
    }
}

/// `s3..s5 s9`.
pub fn ranges(numbers: impl Iterator<Item = u64>) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(number) => *end = number,
            _ => ranges.push((number, number)),
        }
    }
    let text =
        |(first, last): (u64, u64)| if first == last { format!("s{first}") } else { format!("s{first}..s{last}") };
    ranges.into_iter().map(text).collect::<Vec<_>>().join(" ")
}
