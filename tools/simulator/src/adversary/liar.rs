//! Lies about views: signed view changes and new views that no correct replica would write, statements passed on under wrong labels, votes and claims
//! of any view, each to whomever chance picks.

use crate::adversary::letter::Letter;
use crate::checks::judge::judge;
use crate::scenario::say::{parts, seal};
use crate::scenario::words::made_up;
use crate::world::cluster::Cluster;
use crate::world::random::Random;
use logothete_crypto::Digest;
use logothete_engine::numbers::{ReplicaId, ReplicaSet, SequenceNumber, View};
use logothete_engine::wire::agreement::{CheckpointVote, CommitClaim, Vote};
use logothete_engine::wire::view_change::{Named, NewView, StatementKind, ViewChange, null_batch};

/// Says one lie.
pub fn lie(cluster: &Cluster, liar: ReplicaId, random: &mut Random) -> Vec<Letter> {
    let told = ReplicaSet(random.draw() as u16 & ReplicaSet::first(cluster.settings.replicas).without(liar).0);
    if told == ReplicaSet::EMPTY {
        return Vec::new();
    }
    let statement = |label, bytes: &[u8]| -> Vec<Letter> {
        parts(cluster, label, bytes).into_iter().map(|body| Letter::between(liar, told, body)).collect()
    };
    match random.below(8) {
        0..=2 => {
            let view = some_view(cluster, random, 1);
            let bytes = view_change(cluster, liar, view, random);
            statement((StatementKind::ViewChange, liar, view), &bytes)
        }
        3 => {
            let view = next_view_of(liar, cluster, random);
            let bytes = new_view(cluster, liar, view, random);
            statement((StatementKind::NewView, liar, view), &bytes)
        }
        4 => {
            let seen = cluster.seen.statements_seen();
            let Some(seen) = (!seen.is_empty()).then(|| seen[random.below(seen.len())]) else { return Vec::new() };
            let label = if random.percent(50) { seen.view } else { some_view(cluster, random, 0) };
            statement((seen.kind, seen.replica, label), &seen.bytes)
        }
        _ => {
            let (view, sequence) = (some_view(cluster, random, 0), some_number(cluster, random));
            let batch = some_batch(cluster, random);
            let mut body = Vec::new();
            match random.below(3) {
                0 => Vote::new(view, sequence, batch).append_prepare(&mut body),
                1 => Vote::new(view, sequence, batch).append_commit(&mut body),
                _ => CommitClaim::new(sequence, batch).append(&mut body),
            }
            vec![Letter::between(liar, told, body)]
        }
    }
}

fn correct(cluster: &Cluster, random: &mut Random) -> (View, u64, u64) {
    let mut hosts: Vec<_> = cluster.replicas.iter().filter(|host| host.is_correct()).collect();
    if hosts.is_empty() {
        // All are down: then it is the last that they were.
        hosts = cluster.replicas.iter().collect();
    }
    let host = hosts[random.below(hosts.len())];
    (host.orderer.replica().view(), host.executed, host.stable)
}

/// A view near one in which a correct replica is, `least` above it at the least; now and then far away.
pub fn some_view(cluster: &Cluster, random: &mut Random, least: u64) -> View {
    let (view, ..) = correct(cluster, random);
    let further = [0, 0, 0, 1, 2, 5, 1 << 40][random.below(7)];
    View(view.0 + least + further)
}

/// The next view from some view on whose primary it is.
pub fn next_view_of(primary: ReplicaId, cluster: &Cluster, random: &mut Random) -> View {
    let ahead = some_view(cluster, random, 1).0;
    let replicas = cluster.settings.replicas as u64;
    View(ahead + (u64::from(primary.0) + replicas - ahead % replicas) % replicas)
}

pub fn some_number(cluster: &Cluster, random: &mut Random) -> SequenceNumber {
    let (_, executed, _) = correct(cluster, random);
    SequenceNumber((executed + random.below(6) as u64).saturating_sub(2).max(1))
}

pub fn some_batch(cluster: &Cluster, random: &mut Random) -> Digest {
    let known = cluster.seen.batches_known();
    match random.below(10) {
        0 => made_up("a batch that nobody proposed"),
        1 => null_batch(),
        _ => known[random.below(known.len())],
    }
}

/// A view change whose sets are made up of what exists.
pub fn view_change(cluster: &Cluster, liar: ReplicaId, view: View, random: &mut Random) -> Vec<u8> {
    let (_, _, stable) = correct(cluster, random);
    let state = |sequence: u64| match sequence {
        0 => Digest::default(),
        _ => cluster.checks.state_after(sequence).unwrap_or_else(|| made_up("another state")),
    };
    let interval = cluster.settings.checkpoint_interval;
    let mut checkpoints = vec![CheckpointVote::new(SequenceNumber(stable), state(stable))];
    if random.percent(30) {
        let later = stable + interval;
        checkpoints.push(CheckpointVote::new(SequenceNumber(later), state(later)));
    }
    let mut votes = |once: bool| {
        let mut votes = Vec::new();
        for sequence in stable + 1..=stable + cluster.settings.window() {
            let entries = [0, 0, 1, 1, 2][random.below(5)];
            for _ in 0..if once { entries.min(1) } else { entries } {
                let below = View(view.0.saturating_sub(1 + random.below(3) as u64));
                votes.push(Vote::new(below, SequenceNumber(sequence), some_batch(cluster, random)));
            }
        }
        votes.sort_by_key(|vote| (vote.sequence(), vote.digest));
        votes.dedup_by_key(|vote| (vote.sequence(), vote.digest));
        votes
    };
    let (prepared, pre_prepared) = (votes(true), votes(false));
    let content = ViewChange {
        view,
        stable: SequenceNumber(stable),
        epoch: cluster.replicas[usize::from(liar.0)].epoch,
        replica: liar,
        checkpoints: &checkpoints,
        prepared: &prepared,
        pre_prepared: &pre_prepared,
    };
    content.encode(|body| seal(cluster, liar, StatementKind::ViewChange, body))
}

/// Of the view changes that were seen, some; decided as they call for, or not.
pub fn new_view(cluster: &Cluster, liar: ReplicaId, view: View, random: &mut Random) -> Vec<u8> {
    let quorum = cluster.settings.quorum().strong();
    let seen = cluster.seen.statements_seen();
    let mut by_replica: Vec<_> = seen
        .into_iter()
        .filter(|seen| {
            let fits = seen.view == view || random.percent(3);
            seen.kind == StatementKind::ViewChange && fits && random.percent(80)
        })
        .collect();
    by_replica.sort_by_key(|seen| seen.replica);
    by_replica.dedup_by_key(|seen| seen.replica);
    let messages: Vec<ViewChange<'_>> = by_replica.iter().filter_map(|seen| seen.view_change()).collect();
    let (checkpoint, mut selection) = judge(&messages, cluster.settings.quorum().faults(), cluster.settings.window())
        .unwrap_or(((0, Digest::default()), Vec::new()));
    if random.percent(30) {
        selection.push(some_batch(cluster, random));
    } else if random.percent(20) {
        selection.pop();
    }
    let mut named: Vec<Named> =
        by_replica.iter().map(|seen| Named::new(seen.replica, logothete_crypto::digest(&seen.bytes))).collect();
    for replica in 0..cluster.settings.replicas as u8 {
        if named.len() < quorum && named.iter().all(|named| named.replica() != ReplicaId(replica)) {
            named.push(Named::new(ReplicaId(replica), made_up("a view change that nobody sent")));
        }
    }
    named.sort_by_key(Named::replica);
    let content = NewView {
        view,
        epoch: cluster.replicas[usize::from(liar.0)].epoch,
        replica: liar,
        checkpoint: (SequenceNumber(checkpoint.0), checkpoint.1),
        named: &named,
        selection: &selection,
    };
    content.encode(|body| seal(cluster, liar, StatementKind::NewView, body))
}
