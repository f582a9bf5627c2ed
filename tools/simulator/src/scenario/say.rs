//! What a script puts in the mouths of the faulty: any message, with their own keys and signatures.

use crate::checks::statements::Seen;
use crate::scenario::command::{
    number, numbered, principal, principals, quoted, replicas, request_name, signed_duration,
};
use crate::scenario::words::made_up;
use crate::world::cluster::Cluster;
use logothete_crypto::{Digest, SIGNATURE_BYTES, digest};
use logothete_engine::limits::REQUEST_OPERATIONS_MAX;
use logothete_engine::numbers::{Principal, ReplicaId, SequenceNumber, View};
use logothete_engine::wire::agreement::{BatchEntry, CheckpointVote, CommitClaim, Vote, append_pre_prepare};
use logothete_engine::wire::dispute::Dispute;
use logothete_engine::wire::forward::Forward;
use logothete_engine::wire::operation::OperationsWriter;
use logothete_engine::wire::parts::RequestPart;
use logothete_engine::wire::reply::{Answer, Mode, Refusal, RefusalReason, Reply};
use logothete_engine::wire::request::{self, RequestName};
use logothete_engine::wire::retransmission::{Fetch, Standing, Status};
use logothete_engine::wire::view_change::{Named, NewView, Part, StatementKind, ViewChange};
use logothete_engine::wire::{Audience, Message};

/// `3 -> 0,1 [spoilt=1]: MESSAGE`
pub fn send(cluster: &mut Cluster, rest: &str) -> Result<(), String> {
    let (route, message) = rest.split_once(": ").ok_or("what is sent stands behind a colon")?;
    let (from, to) = route.split_once(" -> ").ok_or("a message goes from -> to")?;
    let (to, spoilt) =
        to.split_once(" spoilt=").map_or((to, Vec::new()), |(to, of)| (to, principals(of).unwrap_or_default()));
    let (from, to) = (principal(from)?, principals(to)?);
    if let Principal::Replica(id) = from
        && cluster.replicas[usize::from(id.0)].is_correct()
    {
        return Err(format!("{id} is correct: it says what the protocol says"));
    }
    let audience = match to[..] {
        [Principal::Client(id)] => Audience::Client(id),
        _ => Audience::Replicas(replicas(&to)?),
    };
    let bodies = match from {
        Principal::Replica(id) => statement_parts(cluster, id, message)?,
        Principal::Client(_) => None,
    };
    let bodies = bodies.map_or_else(|| message_body(cluster, from, message).map(|body| vec![body]), Ok)?;
    for body in bodies {
        cluster.send_scripted(from, audience, &body, &spoilt);
    }
    Ok(())
}

/// The packets of a signed statement, if the text is one.
fn statement_parts(cluster: &mut Cluster, from: ReplicaId, text: &str) -> Result<Option<Vec<Vec<u8>>>, String> {
    let (text, forged) = text.strip_suffix(" forged").map_or((text, false), |text| (text, true));
    let (kind, label, signer, mut bytes) = if let Some(rest) = text.strip_prefix("view change ") {
        let (view, bytes) = view_change(cluster, from, rest)?;
        (StatementKind::ViewChange, view, from, bytes)
    } else if let Some(rest) = text.strip_prefix("new view ") {
        let (view, bytes) = new_view(cluster, from, rest)?;
        (StatementKind::NewView, view, from, bytes)
    } else if let Some(rest) = text.strip_prefix("pass on ") {
        let (rest, kind) = match (rest.strip_prefix("view change "), rest.strip_prefix("new view ")) {
            (Some(rest), _) => (rest, StatementKind::ViewChange),
            (_, Some(rest)) => (rest, StatementKind::NewView),
            _ => return Err("what is passed on is a view change or a new view".to_owned()),
        };
        let words: Vec<&str> = rest.split_whitespace().collect();
        let (view, of, label) = match words[..] {
            [view, "of", of] => (view, of, view),
            [view, "of", of, "as", label] => (view, of, label),
            _ => return Err(format!("`{rest}` names no statement")),
        };
        let (signer, which) = which(of)?;
        let (_, seen) = seen(cluster, kind, View(numbered('v', view)?), signer, which)?;
        (kind, View(numbered('v', label)?), signer, seen.bytes)
    } else {
        return Ok(None);
    };
    if forged {
        *bytes.last_mut().expect("a statement ends with its signature") ^= 1;
    }
    Ok(Some(parts(cluster, (kind, signer, label), &bytes)))
}

/// The packets of a statement of a kind and a signer; its parts say that it is of the view `label`.
pub fn parts(cluster: &Cluster, (kind, signer, label): (StatementKind, ReplicaId, View), bytes: &[u8]) -> Vec<Vec<u8>> {
    let whole = digest(bytes);
    let pieces = bytes.chunks(cluster.settings.piece_bytes()).enumerate();
    let parts = pieces.map(|(index, piece)| {
        let part = Part {
            statement: kind,
            replica: signer,
            view: label,
            digest: whole,
            total_bytes: bytes.len(),
            index,
            bytes: piece,
        };
        let mut body = Vec::new();
        part.append(&mut body);
        body
    });
    parts.collect()
}

/// A replica's signature.
pub fn seal(cluster: &Cluster, by: ReplicaId, kind: StatementKind, body: &[u8]) -> [u8; SIGNATURE_BYTES] {
    cluster.settings.register().signatures(by).sign(kind, body)
}

/// `v1 h=0 C=[s8 S1] P=[s2 v0 D2] Q=[]`
fn view_change(cluster: &mut Cluster, from: ReplicaId, text: &str) -> Result<(View, Vec<u8>), String> {
    let (view, rest) = text.split_once(' ').ok_or("a view change is for a view")?;
    let view = View(numbered('v', view)?);
    let list = |name: &str| -> Vec<Vec<&str>> {
        let inside = rest.split_once(&format!("{name}=[")).and_then(|(_, rest)| rest.split_once(']'));
        let items = inside.map_or("", |(inside, _)| inside).split(',');
        items.map(|item| item.split_whitespace().collect()).filter(|words: &Vec<&str>| !words.is_empty()).collect()
    };
    let stable: u64 = rest.split_whitespace().find_map(|word| word.strip_prefix("h=")).map_or(Ok(0), number)?;
    let mut checkpoints = Vec::new();
    if stable == 0 {
        checkpoints.push(CheckpointVote::new(SequenceNumber(0), Digest::default()));
    }
    for words in list("C") {
        let [sequence, state] = words[..] else { return Err("a checkpoint is `s8 S1`".to_owned()) };
        let digest = cluster.words.state_named(state);
        checkpoints.push(CheckpointVote::new(SequenceNumber(numbered('s', sequence)?), digest));
    }
    let mut votes = |name: &str| -> Result<Vec<Vote>, String> {
        let mut votes = Vec::new();
        for words in list(name) {
            let [sequence, view, batch] = words[..] else { return Err("an entry is `s2 v0 D2`".to_owned()) };
            let digest = cluster.words.batch_named(batch);
            votes.push(Vote::new(View(numbered('v', view)?), SequenceNumber(numbered('s', sequence)?), digest));
        }
        votes.sort_by_key(|vote| (vote.sequence(), vote.digest));
        Ok(votes)
    };
    let (prepared, pre_prepared) = (votes("P")?, votes("Q")?);
    let content = ViewChange {
        view,
        stable: SequenceNumber(stable),
        epoch: cluster.replicas[usize::from(from.0)].epoch,
        replica: from,
        checkpoints: &checkpoints,
        prepared: &prepared,
        pre_prepared: &pre_prepared,
    };
    Ok((view, content.encode(|body| seal(cluster, from, StatementKind::ViewChange, body))))
}

/// `v1 from s0 of 0,1,2' [D2 null]`, or `v1 from s8 S1 of ...`
fn new_view(cluster: &mut Cluster, from: ReplicaId, text: &str) -> Result<(View, Vec<u8>), String> {
    let (head, selection) = text.split_once('[').ok_or("a new view has a selection")?;
    let words: Vec<&str> = head.split_whitespace().collect();
    let (view, sequence, state, of) = match words[..] {
        [view, "from", sequence, "of", of] => (view, sequence, Digest::default(), of),
        [view, "from", sequence, state, "of", of] => (view, sequence, cluster.words.state_named(state), of),
        _ => return Err(format!("`{head}` is no head of a new view")),
    };
    let view = View(numbered('v', view)?);
    let mut named = Vec::new();
    for of in of.split(',') {
        if let Some(unseen) = of.strip_suffix('?') {
            named.push(Named::new(ReplicaId(number(unseen)?), made_up("a view change that nobody sent")));
            continue;
        }
        let (signer, which) = which(of)?;
        named.push(Named::new(signer, seen(cluster, StatementKind::ViewChange, view, signer, which)?.0));
    }
    let selection: Vec<Digest> =
        selection.trim_end_matches(']').split_whitespace().map(|batch| cluster.words.batch_named(batch)).collect();
    let content = NewView {
        view,
        epoch: cluster.replicas[usize::from(from.0)].epoch,
        replica: from,
        checkpoint: (SequenceNumber(numbered('s', sequence)?), state),
        named: &named,
        selection: &selection,
    };
    Ok((view, content.encode(|body| seal(cluster, from, StatementKind::NewView, body))))
}

/// A part of a request with one operation of 5000 bytes, as the client would cut it; but what is told otherwise: `fill=y` other bytes, `like=y` the
/// digest of the request that is filled so, `total=1` another length, `piece=1` fewer bytes.
fn part_of_request(cluster: &Cluster, name: RequestName, index: usize, told: &[&str]) -> Result<Cut, String> {
    let (mut fill, mut like, mut total_bytes, mut piece_bytes) = (b'x', None, None, None);
    for word in told {
        let first = |value: &str| value.bytes().next().ok_or("a filling is a letter");
        match word.split_once('=') {
            Some(("fill", value)) => fill = first(value)?,
            Some(("like", value)) => like = Some(first(value)?),
            Some(("total", value)) => total_bytes = Some(number(value)?),
            Some(("piece", value)) => piece_bytes = Some(number(value)?),
            _ => return Err(format!("`{word}` is nothing that a part can have")),
        }
    }
    let message = |fill: u8| {
        let mut writer = OperationsWriter::new(0);
        assert!(writer.try_push_alone(u64::from(name.client.0), 1_000_000 + name.number.0 * 100, &[fill; 5000]));
        let mut message = Vec::new();
        request::append(&mut message, name, 1, writer.bytes());
        message
    };
    let (shape, whole) = (cluster.settings.parts(), message(fill));
    let mut bytes = whole[shape.piece(whole.len(), index)].to_vec();
    bytes.truncate(piece_bytes.unwrap_or(bytes.len()));
    let total_bytes = total_bytes.unwrap_or(whole.len());
    Ok(Cut { name, digest: digest(&message(like.unwrap_or(fill))), total_bytes, index, bytes })
}

/// A part that owns its bytes.
struct Cut {
    name: RequestName,
    digest: Digest,
    total_bytes: usize,
    index: usize,
    bytes: Vec<u8>,
}

impl Cut {
    fn append(&self, out: &mut Vec<u8>) {
        let Self { name, digest, total_bytes, index, ref bytes } = *self;
        RequestPart { name, digest, total_bytes, index, bytes }.append(out);
    }
}

/// `2''`: replica 2, its third.
fn which(text: &str) -> Result<(ReplicaId, usize), String> {
    Ok((ReplicaId(number(text.trim_end_matches('\''))?), text.matches('\'').count()))
}

fn seen(
    cluster: &Cluster,
    kind: StatementKind,
    view: View,
    signer: ReplicaId,
    which: usize,
) -> Result<(Digest, Seen), String> {
    let found = cluster.words.statement(kind, view, signer, which);
    found.ok_or_else(|| format!("{signer} was not seen to say that for v{view}"))
}

fn message_body(cluster: &mut Cluster, from: Principal, text: &str) -> Result<Vec<u8>, String> {
    let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
    let words: Vec<&str> = rest.split_whitespace().collect();
    let mut body = Vec::new();
    match (kind, &words[..]) {
        ("dispute", [about, forged @ ..]) => {
            let Principal::Replica(by) = from else { return Err("a replica disputes".to_owned()) };
            let (client, incarnation, number, _) = request_name(about)?;
            let name = cluster.words.name(client, incarnation, number);
            let (signatures, digest) = (cluster.settings.register().signatures(by), cluster.words.request_digest(name));
            let epoch = cluster.replicas[usize::from(by.0)].epoch;
            let mut dispute = Dispute::new(by, epoch, name, digest, |content| signatures.sign_dispute(content));
            dispute.signature[0] ^= u8::from(*forged == ["forged"]);
            dispute.append(&mut body);
        }
        ("signed", ["request", ..] | ["forged", "request", ..]) => {
            let rest = rest.strip_prefix("forged ").unwrap_or(rest);
            let plain = message_body(cluster, from, rest)?;
            let (Principal::Client(id), Ok(Message::Request(request))) = (from, Message::decode(&plain, from)) else {
                return Err("a client signs its requests".to_owned());
            };
            let signer = cluster.settings.register().signer(id);
            let (count, operations) = (request.operations.count(), request.operations.bytes());
            request::append_signed(&mut body, request.name, count, operations, |parts| {
                let mut signature = signer.sign(parts);
                signature[0] ^= u8::from(words[0] == "forged");
                signature
            });
        }
        ("request", [name, ..]) => {
            let (client, incarnation, number, _) = request_name(name)?;
            let name = cluster.words.name(client, incarnation, number);
            let operations = rest.split_once(' ').map_or(Ok(Vec::new()), |(_, operations)| quoted(operations))?;
            let mut writer = OperationsWriter::new(REQUEST_OPERATIONS_MAX);
            for (at, bytes) in operations.iter().enumerate() {
                // Far from the numbers that clients give their operations themselves.
                writer.try_push(u64::from(client.0), 1_000_000 + number.0 * 100 + at as u64, bytes);
            }
            request::append(&mut body, name, writer.count(), writer.bytes());
        }
        ("part", [index, "of", name, told @ ..]) => {
            let (client, incarnation, number, _) = request_name(name)?;
            let name = cluster.words.name(client, incarnation, number);
            part_of_request(cluster, name, self::number(index)?, told)?.append(&mut body);
        }
        ("pre-prepare", [view, sequence, entries @ ..]) => {
            let mut batch: Vec<BatchEntry> = Vec::new();
            let mut later_ns = 0;
            for word in entries {
                if let Some(time) = word.strip_prefix("time=") {
                    later_ns = signed_duration(time)?;
                    continue;
                }
                let (client, incarnation, number, body) = request_name(word.trim_matches(['[', ']']))?;
                batch.push(cluster.words.entry(client, incarnation, number, body));
            }
            let time = cluster.wall_ns().saturating_add_signed(later_ns);
            append_pre_prepare(
                &mut body,
                View(numbered('v', view)?),
                SequenceNumber(numbered('s', sequence)?),
                time,
                &batch,
            );
        }
        ("prepare" | "commit", [view, sequence, batch]) => {
            let digest = cluster.words.batch_named(batch);
            let vote = Vote::new(View(numbered('v', view)?), SequenceNumber(numbered('s', sequence)?), digest);
            if kind == "prepare" { vote.append_prepare(&mut body) } else { vote.append_commit(&mut body) }
        }
        ("checkpoint", [sequence, state]) => {
            let digest = cluster.words.state_named(state);
            CheckpointVote::new(SequenceNumber(numbered('s', sequence)?), digest).append(&mut body);
        }
        ("status", [view, "stable", stable, "executed", executed, "seen", seen, suspects @ ..]) => {
            let sequence = |text| numbered('s', text).map(SequenceNumber);
            let (stable, executed) = (sequence(stable)?, sequence(executed)?);
            let standing =
                Standing { suspects: *suspects == ["suspects"], ..Standing::active_in(View(numbered('v', view)?)) };
            Status::new(standing, stable, executed, sequence(seen)?).append(&mut body);
        }
        ("claim", [sequence, batch]) => {
            let digest = cluster.words.batch_named(batch);
            CommitClaim::new(SequenceNumber(numbered('s', sequence)?), digest).append(&mut body);
        }
        ("forward", [name]) => {
            let (client, incarnation, number, body_of) = request_name(name)?;
            let entry = cluster.words.entry(client, incarnation, number, body_of);
            Forward::new(entry.name(), entry.digest).append(&mut body);
        }
        ("fetch", [sequence, batch]) => {
            let digest = cluster.words.batch_named(batch);
            let mut fetch = Fetch::new(SequenceNumber(numbered('s', sequence)?), digest);
            fetch.set(0);
            fetch.append(&mut body);
        }
        ("reply", [name, sequence, "at", position]) => {
            let (client, incarnation, number, _) = request_name(name)?;
            let name = cluster.words.name(client, incarnation, number);
            let sequence = SequenceNumber(numbered('s', sequence)?);
            let position: u64 = self::number(position)?;
            let results = [&8u32.to_le_bytes()[..], &position.to_le_bytes()].concat();
            let reply = Reply {
                view: View(0),
                sequence,
                incarnation: name.incarnation,
                number,
                request: cluster.words.request_digest(name),
                mode: Mode::Committed,
                results: Answer::Full(&results),
            };
            reply.append(&mut body);
        }
        ("refusal", [name, "superseded", "by", incarnation]) => {
            let (client, named, number, _) = request_name(name)?;
            let name = cluster.words.name(client, named, number);
            let (reason, detail) = (RefusalReason::Superseded, self::number(incarnation)?);
            Refusal::new(name.incarnation, number, reason, detail).append(&mut body);
        }
        _ => return Err(format!("{from:?} cannot say `{text}`")),
    }
    Ok(body)
}
