//! Packets and messages in the words of the protocol, with short names in place of digests: `D1` is the first batch that was ever named, `S1` the
//! first state, `C1` the first chain digest.

use crate::checks::statements::{Seen, Statements};
use crate::world::random::Random;
use logothete_crypto::Digest;
use logothete_engine::limits::{PARTS_MAX, WINDOW_MAX};
use logothete_engine::numbers::{ClientId, Incarnation, Principal, ReplicaId, RequestNumber, View};
use logothete_engine::wire::agreement::{BatchEntry, Vote, batch_digest};
use logothete_engine::wire::operation::Operations;
use logothete_engine::wire::parts::FetchParts;
use logothete_engine::wire::reply::{Answer, RefusalReason, Reply};
use logothete_engine::wire::request::RequestName;
use logothete_engine::wire::retransmission::{Fetch, Status, WindowBits};
use logothete_engine::wire::view_change::{NewView, Part, StatementKind, ViewChange, null_batch};
use logothete_engine::wire::{Message, Messages};
use std::collections::BTreeMap;

/// Messages of one packet that are spelt out; of more the first are, and the rest counted.
const MESSAGES_SHOWN: usize = 4;

/// Entries of a view change's sets that are spelt out.
const VOTES_SHOWN: usize = 8;

/// What digests and incarnations are called.
#[derive(Debug)]
pub struct Words {
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

impl Default for Words {
    fn default() -> Self {
        let mut batches = Names::default();
        batches.known.insert(null_batch(), "null".to_owned());
        Self {
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

    fn message(&mut self, message: &Message<'_>, bytes: &[u8], sender: Principal) -> String {
        match message {
            Message::Request(request) if request.name.client == ClientId::SYSTEM => self.request_name(request.name),
            Message::Request(request) => {
                let (name, remark) = match is_named(sender, request.name) {
                    true => (self.request(request.name, logothete_crypto::digest(bytes)), ""),
                    false => (self.request_name(request.name), " in another's name"),
                };
                let signed = if request.signature.is_some() { " signed" } else { "" };
                format!("request {name}{}{signed}{remark}", operations(request.operations))
            }
            Message::RequestPart(part) => {
                let name = match is_named(sender, part.name) {
                    true => self.request(part.name, part.digest),
                    false => self.request_name(part.name) + " in another's name",
                };
                format!("part {} of request {name}", part.index)
            }
            Message::ReplyPart(part) => format!("part {} of a result", part.index),
            Message::FetchParts(fetch) => self.fetch_parts(fetch),
            Message::RunPart(part) => {
                let (end, total) = (part.offset + part.bytes.len(), part.total_bytes);
                format!("run at {}, bytes {}..{end} of {total}", part.position, part.offset)
            }
            Message::PrePrepare(proposal) => {
                let name = self.batch(proposal.timestamp_ns, proposal.entries);
                format!(
                    "pre-prepare v{} s{} {name} {}",
                    proposal.view,
                    proposal.sequence,
                    self.entries(proposal.entries)
                )
            }
            Message::Prepare(vote) => {
                format!("prepare v{} s{} {}", vote.view(), vote.sequence(), self.batches.name('D', vote.digest))
            }
            Message::Commit(vote) => {
                format!("commit v{} s{} {}", vote.view(), vote.sequence(), self.batches.name('D', vote.digest))
            }
            Message::Checkpoint(vote) => {
                format!("checkpoint s{} {}", vote.sequence(), self.states.name('S', vote.digest))
            }
            Message::Reply(reply) => reply_text(reply),
            Message::Refusal(refusal) => match refusal.reason() {
                Some(RefusalReason::Superseded) => format!("refusal #{}: superseded", refusal.number()),
                Some(RefusalReason::Overloaded) => format!("refusal #{}: overloaded", refusal.number()),
                Some(RefusalReason::SignatureRequired) => format!("refusal #{}: to be signed", refusal.number()),
                None => format!("refusal #{}", refusal.number()),
            },
            Message::Status(status) => status_text(status),
            Message::Fetch(fetch) => self.fetch(fetch),
            Message::Forward(forward) => format!("forward {}", self.request(forward.name(), forward.digest())),
            Message::ReportQuery(_)
            | Message::ReportReply(_)
            | Message::QueryAnswer(_)
            | Message::RotateKeys(_)
            | Message::KeyReport(_)
            | Message::RejectsQuery(_)
            | Message::RejectsReport(_)
            | Message::Probe(_)
            | Message::ProbeHeard(_) => kind(message).to_owned(),
            Message::RecoveryQuery(_) => kind(message).to_owned(),
            Message::RecoveryAnswer(answer) => {
                format!(
                    "recovery-answer stable s{} prepared s{} v{}",
                    answer.stable(),
                    answer.prepared(),
                    answer.view()
                )
            }
            Message::Dispute(dispute) => {
                let (client, name) = (dispute.client(), self.request_name(dispute.name()));
                format!("dispute of c{client} about {name}")
            }
            Message::Examine(examine) => {
                let entry = self.entries_of(&examine.batch).get(examine.request()).copied();
                let name = entry.map_or_else(|| "nothing".to_owned(), |entry| self.request(entry.name(), entry.digest));
                format!("examine s{} {name}", examine.sequence())
            }
            Message::Testimony(_) => kind(message).to_owned(),
            Message::Query(query) => format!("query {}", quote(query.operation)),
            Message::Follow(follow) if follow.offset.get() > 0 => {
                format!("follow from {}, byte {}", follow.from, follow.offset)
            }
            Message::Follow(follow) => format!("follow from {}", follow.from),
            Message::Runs(runs) if runs.count == 0 => format!("runs: none, the oldest entry is {}", runs.oldest),
            Message::Runs(runs) => {
                let mut entries = String::new();
                for run in runs.iter() {
                    if let Ok(Message::Request(request)) = Message::decode(run.message, Principal::Client(ClientId(0)))
                    {
                        entries += &operations(request.operations);
                    }
                }
                format!("runs from {} after {}:{entries}", runs.position, self.chain(runs.chain))
            }
            Message::ChainQuery(query) => format!("chain-query at {}", query.position),
            Message::ChainAnswer(answer) => {
                format!("chain-answer at {}: {}", answer.position, self.chain(answer.chain))
            }
            Message::StateQuery(query) => format!("state-query s{}: {}", query.checkpoint.sequence, query.items.len()),
            Message::StateNodes(nodes) => format!("state-nodes s{}: {}", nodes.checkpoint.sequence, nodes.nodes.len()),
            Message::StatePages(pages) => {
                format!("state-pages s{}: {}", pages.checkpoint.sequence, pages.iter().count())
            }
            Message::Part(part) => self.part(part, sender),
            Message::CommitClaim(claim) => {
                format!("claim s{} {}", claim.sequence(), self.batches.name('D', claim.digest))
            }
            Message::FetchBatch(fetch) => {
                format!("fetch-batch s{} {}", fetch.sequence(), self.batches.name('D', fetch.digest))
            }
            Message::Batch(content) => {
                let name = self.batch(content.timestamp_ns, content.entries);
                format!("batch s{} {name} {}", content.sequence, self.entries(content.entries))
            }
        }
    }

    /// `c0#1`; a later incarnation as `c0/2#1`; another body under the same name as `c0#1'`.
    fn request(&mut self, name: RequestName, digest: Digest) -> String {
        let body = self.note_request(name, digest);
        self.request_name(name) + &"'".repeat(body)
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

    fn batch(&mut self, timestamp_ns: u64, entries: &[BatchEntry]) -> String {
        self.note_batch(timestamp_ns, entries).clone()
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

    fn entries(&mut self, entries: &[BatchEntry]) -> String {
        let texts: Vec<String> = entries.iter().map(|entry| self.request(entry.name(), entry.digest)).collect();
        format!("[{}]", texts.join(" "))
    }

    /// A batch by its name, as scripts give it.
    pub fn batch_named(&mut self, name: &str) -> Digest {
        self.batches.digest(name)
    }

    /// A state by its name.
    pub fn state_named(&mut self, name: &str) -> Digest {
        self.states.digest(name)
    }

    /// A statement that is here whole stands under its first part; `view change v1 (h=s0 P=[s2 v0 D2] Q=[s2 v0 D2])`, with `of 2` where
    /// another passes it on.
    fn part(&mut self, part: &Part<'_>, sender: Principal) -> String {
        let what = match part.statement {
            StatementKind::ViewChange => "view change",
            StatementKind::NewView => "new view",
        };
        let of =
            if sender == Principal::Replica(part.replica) { String::new() } else { format!(" of {}", part.replica) };
        let Some(seen) = self.statements.get(&part.digest).filter(|_| part.index == 0).cloned() else {
            return format!("part {} of {what} v{}{of}", part.index, part.view);
        };
        let tick = "'".repeat(self.spoken_at(part.statement, seen.view, seen.replica, &part.digest));
        let label = if seen.view == part.view { String::new() } else { format!(" as v{}", part.view) };
        let content = match (seen.view_change(), seen.new_view()) {
            (Some(content), _) => self.view_change(&content),
            (_, Some(content)) => self.new_view(&content),
            _ => "garbage".to_owned(),
        };
        format!("{what}{tick} v{}{label}{of} {content}", seen.view)
    }

    fn view_change(&mut self, content: &ViewChange<'_>) -> String {
        let mut text = format!("(h=s{}", content.stable);
        if content.checkpoints.len() > 1 {
            let held: Vec<String> = content.checkpoints[1..]
                .iter()
                .map(|held| format!("s{} {}", held.sequence(), self.states.name('S', held.digest)))
                .collect();
            text += &format!(" C=[{}]", held.join(", "));
        }
        let (prepared, pre_prepared) = (self.votes(content.prepared), self.votes(content.pre_prepared));
        match prepared == pre_prepared {
            true => text + &format!(" P=Q=[{prepared}])"),
            false => text + &format!(" P=[{prepared}] Q=[{pre_prepared}])"),
        }
    }

    fn votes(&mut self, votes: &[Vote]) -> String {
        let shown = votes.iter().take(VOTES_SHOWN);
        let mut texts: Vec<String> = shown
            .map(|vote| format!("s{} v{} {}", vote.sequence(), vote.view(), self.batches.name('D', vote.digest)))
            .collect();
        if votes.len() > VOTES_SHOWN {
            texts.push(format!("and {} more", votes.len() - VOTES_SHOWN));
        }
        texts.join(", ")
    }

    fn new_view(&mut self, content: &NewView<'_>) -> String {
        let named: Vec<String> = content
            .named
            .iter()
            .map(|named| {
                let which = self.spoken_at(StatementKind::ViewChange, content.view, named.replica(), &named.digest);
                format!("{}{}", named.replica(), "'".repeat(which))
            })
            .collect();
        let selection: Vec<String> = content.selection.iter().map(|digest| self.batches.name('D', *digest)).collect();
        format!("of {} from s{}: [{}]", named.join(","), content.checkpoint.0, selection.join(" "))
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

    fn chain(&mut self, digest: Digest) -> String {
        if digest == Digest::default() { "the beginning".to_owned() } else { self.chains.name('C', digest) }
    }

    fn fetch(&mut self, fetch: &Fetch) -> String {
        let entries = self.entries.get(&fetch.digest).cloned().unwrap_or_default();
        let wanted: Vec<_> = entries
            .into_iter()
            .enumerate()
            .filter(|(index, _)| fetch.contains(*index))
            .map(|(_, entry)| entry)
            .collect();
        format!("fetch s{} {} {}", fetch.sequence(), self.batches.name('D', fetch.digest), self.entries(&wanted))
    }

    fn fetch_parts(&mut self, fetch: &FetchParts) -> String {
        let entry = self.entries.get(&fetch.digest).and_then(|entries| entries.get(fetch.request())).copied();
        let name = entry.map_or_else(|| "nothing".to_owned(), |entry| self.request(entry.name(), entry.digest));
        let parts: Vec<_> = (0..PARTS_MAX).filter(|part| fetch.contains(*part)).map(|part| part.to_string()).collect();
        format!("fetch of parts {} of {name} in s{}", parts.join(" "), fetch.sequence())
    }
}

/// Whether a request is in its sender's own name.
fn is_named(sender: Principal, name: RequestName) -> bool {
    sender == Principal::Client(name.client)
}

/// `"text"`, or how long it is.
pub fn quote(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=32 => format!("\"{}\"", String::from_utf8_lossy(bytes)),
        length => format!("({length} bytes)"),
    }
}

/// ` "a" "b"`, shortened where there are many.
fn operations(operations: Operations<'_>) -> String {
    let mut text = String::new();
    for operation in operations.iter().take(3) {
        text += &format!(" {}", quote(operation.bytes));
    }
    match operations.count() {
        0..=3 => text,
        count => format!("{text} and {} more", count - 3),
    }
}

fn reply_text(reply: &Reply<'_>) -> String {
    if reply.number == RequestNumber::OPEN {
        return format!("reply #open s{}", reply.sequence);
    }
    let mut positions = Vec::new();
    let Answer::Full(mut rest) = reply.results else {
        return format!("reply #{} s{} by digest", reply.number, reply.sequence);
    };
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let Some((result, tail)) = tail.split_at_checked(u32::from_le_bytes(*length) as usize) else { break };
        positions.extend(result.first_chunk::<8>().map(|position| u64::from_le_bytes(*position)));
        rest = tail;
    }
    match positions[..] {
        [only] => format!("reply #{} s{} at {only}", reply.number, reply.sequence),
        [first, .., last] => format!("reply #{} s{} at {first}..{last}", reply.number, reply.sequence),
        [] => format!("reply #{} s{}", reply.number, reply.sequence),
    }
}

fn status_text(status: &Status) -> String {
    let (standing, stable, executed) = (status.standing(), status.stable(), status.executed());
    // Where nothing is said to be lacking, the first number that lacks is the first that the sender has not seen.
    let unseen = (0..WINDOW_MAX as usize).find(|offset| status.lacks(&WindowBits::default(), *offset));
    let seen = executed.0 + unseen.unwrap_or(WINDOW_MAX as usize) as u64;
    let has: Vec<String> = standing.view_changes.iter().map(|id| id.to_string()).collect();
    let state = match (standing.active, standing.suspects) {
        (true, false) => String::new(),
        (true, true) => " (suspects)".to_owned(),
        (false, _) => format!(" (changing, has {})", has.join(",")),
    };
    let mut text = format!("status v{}{state} stable s{stable} executed s{executed} seen s{seen}", standing.view);
    let lacks = [
        ("pre-prepare", &status.lacks_proposal),
        ("prepared", &status.lacks_prepared),
        ("committed", &status.lacks_committed),
    ];
    let mut before = ", lacks";
    for (what, bits) in lacks {
        let lacking = |offset: &usize| bits.contains(*offset);
        let numbers = (0..WINDOW_MAX as usize).filter(lacking).map(|offset| status.executed().0 + 1 + offset as u64);
        let ranges = ranges(numbers);
        if !ranges.is_empty() {
            text += &format!("{before} {what} {ranges}");
            before = ",";
        }
    }
    text
}

/// `s3..s5 s9`.
pub fn ranges(numbers: impl Iterator<Item = u64>) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, end)) if *end + 1 == number => *end = number,
            _ => ranges.push((number, number)),
        }
    }
    let text =
        |(first, last): (u64, u64)| if first == last { format!("s{first}") } else { format!("s{first}..s{last}") };
    ranges.into_iter().map(text).collect::<Vec<_>>().join(" ")
}
