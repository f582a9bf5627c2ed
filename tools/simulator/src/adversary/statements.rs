//! Mutation of what is signed: a view change or a new view is put together from its parts, changed in one place, and signed anew.

use crate::adversary::agent::Owned;
use crate::adversary::equivocation::some_replicas;
use crate::adversary::fields::Sort;
use crate::adversary::letter::Letter;
use crate::adversary::mutator::Seen;
use crate::checks::statements::{Seen as Whole, Statements};
use crate::scenario::say::parts;
use crate::world::cluster::Cluster;
use crate::world::random::Random;
use logothete_crypto::Digest;
use logothete_engine::numbers::{ReplicaId, ReplicaSet, SequenceNumber, View};
use logothete_engine::wire::Message;
use logothete_engine::wire::agreement::{CheckpointVote, Vote};
use logothete_engine::wire::view_change::{Named, NewView, Part, StatementKind, ViewChange};
use std::collections::BTreeMap;

/// What some replicas get in place of a statement.
struct Lie {
    told: ReplicaSet,
    /// The other statement and its view, when the true one is whole and it is made.
    statement: Option<(View, Vec<u8>)>,
}

/// What becomes of each statement that the owned truly make.
#[derive(Default)]
pub struct Twister {
    statements: Statements,
    lies: BTreeMap<Digest, Lie>,
}

impl Twister {
    /// Sends the parts of a true statement to those who are not lied to, and the changed one to those who are.
    pub fn twist(
        &mut self,
        cluster: &Cluster,
        owned: &Owned,
        letter: Letter,
        wanted: bool,
        (seen, random): (&Seen, &mut Random),
        out: &mut Vec<Letter>,
    ) {
        let own = letter.replica().expect("replicas make statements");
        for (message, bytes) in letter.messages() {
            let single = letter.with_body(bytes.to_vec()).expect("a message is not empty");
            let part = match message {
                Message::Part(part) if part.replica == own => part,
                _ => {
                    out.push(single);
                    continue;
                }
            };
            let told = match (wanted, random.percent(40)) {
                (false, _) => ReplicaSet::EMPTY,
                (true, false) => some_replicas(random, &cluster.settings),
                (true, true) => ReplicaSet::first(cluster.settings.replicas),
            };
            let Lie { told, statement } = self.lies.entry(part.digest).or_insert(Lie { told, statement: None });
            if self.statements.take(&part)
                && let Some(whole) = self.statements.get(&part.digest)
            {
                *statement = twisted(cluster, owned, whole, seen, random);
            }
            let (lied_to, others) = single.split(*told, false);
            out.extend(others);
            let (Some(lied_to), Some((view, bytes))) = (lied_to, statement.as_ref()) else { continue };
            let bodies = parts(cluster, (part.statement, own, *view), bytes);
            // Each part of the true one stands for one of the other; the last brings what is left.
            let last = is_last(&part);
            let some = bodies
                .into_iter()
                .enumerate()
                .filter(|(index, _)| *index == part.index || (last && *index > part.index));
            out.extend(some.filter_map(|(_, body)| lied_to.with_body(body)));
        }
    }
}

fn is_last(part: &Part<'_>) -> bool {
    (part.index + 1) * part.bytes.len() >= part.total_bytes
}

fn twisted(
    cluster: &Cluster,
    owned: &Owned,
    whole: &Whole,
    seen: &Seen,
    random: &mut Random,
) -> Option<(View, Vec<u8>)> {
    if let Some(content) = whole.view_change() {
        return Some(twisted_view_change(cluster, owned, content, seen, random));
    }
    whole.new_view().map(|content| twisted_new_view(cluster, owned, content, seen, random))
}

fn twisted_view_change(
    cluster: &Cluster,
    owned: &Owned,
    mut content: ViewChange<'_>,
    seen: &Seen,
    random: &mut Random,
) -> (View, Vec<u8>) {
    let mut checkpoints: Vec<CheckpointVote> = content.checkpoints.to_vec();
    let (mut prepared, mut pre_prepared) = (content.prepared.to_vec(), content.pre_prepared.to_vec());
    match random.below(10) {
        0 => content.view = View(seen.number(Sort::View, content.view.0, random)),
        1 => content.stable = SequenceNumber(seen.number(Sort::Sequence, content.stable.0, random)),
        2 => content.epoch = content.epoch.wrapping_add(1),
        3 => mutate_checkpoint(&mut checkpoints, seen, random),
        4 => _ = checkpoints.pop(),
        5 | 6 => mutate_vote(&mut prepared, seen, random),
        7 => drop_one(&mut prepared, random),
        8 => mutate_vote(&mut pre_prepared, seen, random),
        _ => drop_one(&mut pre_prepared, random),
    }
    prepared.sort_by_key(|vote| (vote.sequence(), vote.digest));
    prepared.dedup_by_key(|vote| vote.sequence());
    pre_prepared.sort_by_key(|vote| (vote.sequence(), vote.digest));
    pre_prepared.dedup_by_key(|vote| (vote.sequence(), vote.digest));
    let content = ViewChange { checkpoints: &checkpoints, prepared: &prepared, pre_prepared: &pre_prepared, ..content };
    let bytes = content.encode(|body| owned.sign(cluster, content.replica, StatementKind::ViewChange, body));
    (content.view, bytes)
}

fn mutate_checkpoint(checkpoints: &mut [CheckpointVote], seen: &Seen, random: &mut Random) {
    if let Some(last) = checkpoints.last_mut() {
        let digest = if random.percent(50) { seen.digest(last.digest, random) } else { last.digest };
        let sequence = if random.percent(50) { last.sequence().0 } else { last.sequence().0.saturating_add(1) };
        *last = CheckpointVote::new(SequenceNumber(sequence), digest);
    }
}

fn mutate_vote(votes: &mut [Vote], seen: &Seen, random: &mut Random) {
    if votes.is_empty() {
        return;
    }
    let at = random.below(votes.len());
    let vote = votes[at];
    let (mut view, mut sequence, mut digest) = (vote.view(), vote.sequence(), vote.digest);
    match random.below(3) {
        0 => view = View(seen.number(Sort::View, view.0, random)),
        1 => sequence = SequenceNumber(seen.number(Sort::Sequence, sequence.0, random)),
        _ => digest = seen.digest(digest, random),
    }
    votes[at] = Vote::new(view, sequence, digest);
}

fn drop_one<T>(all: &mut Vec<T>, random: &mut Random) {
    if !all.is_empty() {
        all.remove(random.below(all.len()));
    }
}

fn twisted_new_view(
    cluster: &Cluster,
    owned: &Owned,
    mut content: NewView<'_>,
    seen: &Seen,
    random: &mut Random,
) -> (View, Vec<u8>) {
    let (mut named, mut selection) = (content.named.to_vec(), content.selection.to_vec());
    match random.below(8) {
        0 => content.view = View(seen.number(Sort::View, content.view.0, random)),
        1 => content.checkpoint.0 = SequenceNumber(seen.number(Sort::Sequence, content.checkpoint.0.0, random)),
        2 => content.checkpoint.1 = seen.digest(content.checkpoint.1, random),
        3 => drop_one(&mut named, random),
        4 => {
            if let Some(last) = named.last_mut() {
                let other = [last.replica().0, random.below(cluster.settings.replicas) as u8][random.below(2)];
                *last = Named::new(ReplicaId(other), seen.digest(last.digest, random));
            }
        }
        5 => _ = selection.pop(),
        6 => selection.push(seen.digest(Digest::ZERO, random)),
        _ => {
            if !selection.is_empty() {
                let at = random.below(selection.len());
                selection[at] = seen.digest(selection[at], random);
            }
        }
    }
    named.sort_by_key(Named::replica);
    named.dedup_by_key(|named| named.replica());
    let content = NewView { named: &named, selection: &selection, ..content };
    let bytes = content.encode(|body| owned.sign(cluster, content.replica, StatementKind::NewView, body));
    (content.view, bytes)
}
