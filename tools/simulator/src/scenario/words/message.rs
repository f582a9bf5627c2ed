//! What a message says, in words.

use super::{VOTES_SHOWN, Words, is_named, kind, quote, ranges, result_text};
use logothete_crypto::Digest;
use logothete_engine::limits::{PARTS_MAX, WINDOW_MAX};
use logothete_engine::numbers::{ClientId, Principal, RequestNumber};
use logothete_engine::service::ServiceKind;
use logothete_engine::wire::Message;
use logothete_engine::wire::agreement::{BatchEntry, Vote};
use logothete_engine::wire::operation::Operations;
use logothete_engine::wire::parts::FetchParts;
use logothete_engine::wire::reply::{Answer, RefusalReason, Reply};
use logothete_engine::wire::request::RequestName;
use logothete_engine::wire::retransmission::{Fetch, Status, WindowBits};
use logothete_engine::wire::view_change::{NewView, Part, StatementKind, ViewChange};

impl Words {
    pub(super) fn message(&mut self, message: &Message<'_>, bytes: &[u8], sender: Principal) -> String {
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
            Message::Reply(reply) => reply_text(self.service, reply),
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

    fn batch(&mut self, timestamp_ns: u64, entries: &[BatchEntry]) -> String {
        self.note_batch(timestamp_ns, entries).clone()
    }

    fn entries(&mut self, entries: &[BatchEntry]) -> String {
        let texts: Vec<String> = entries.iter().map(|entry| self.request(entry.name(), entry.digest)).collect();
        format!("[{}]", texts.join(" "))
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

fn reply_text(service: ServiceKind, reply: &Reply<'_>) -> String {
    if reply.number == RequestNumber::OPEN {
        return format!("reply #open s{}", reply.sequence);
    }
    let mut results = Vec::new();
    let Answer::Full(mut rest) = reply.results else {
        return format!("reply #{} s{} by digest", reply.number, reply.sequence);
    };
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let Some((result, tail)) = tail.split_at_checked(u32::from_le_bytes(*length) as usize) else { break };
        results.push(result_text(service, result));
        rest = tail;
    }
    let name = format!("reply #{} s{}", reply.number, reply.sequence);
    match (service, &results[..]) {
        (_, []) => name,
        (ServiceKind::Log, [only]) => format!("{name} at {only}"),
        (ServiceKind::Log, [first, .., last]) => format!("{name} at {first}..{last}"),
        (_, results) => format!("{name}: {}", results.join(", ")),
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
        let numbers = (0..WINDOW_MAX as usize)
            .filter(lacking)
            .map(|offset| status.executed().0.saturating_add(1 + offset as u64));
        let ranges = ranges(numbers);
        if !ranges.is_empty() {
            text += &format!("{before} {what} {ranges}");
            before = ",";
        }
    }
    text
}
