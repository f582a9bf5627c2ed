//! How a faulty replica behaves: a correct one runs inside, and what it says is changed on the way out, with its own keys.

use crate::scenario::words::made_up;
use logothete_crypto::{Digest, digest};
use logothete_engine::numbers::{Principal, ReplicaId, ReplicaSet, SequenceNumber};
use logothete_engine::wire::agreement::{BatchEntry, CheckpointVote, Vote, append_pre_prepare, batch_digest};
use logothete_engine::wire::dispute::Testimony;
use logothete_engine::wire::packet::PacketParts;
use logothete_engine::wire::reply::{Answer, Reply};
use logothete_engine::wire::retransmission::Status;
use logothete_engine::wire::state::{NodeRecord, append_nodes, append_pages, append_piece};
use logothete_engine::wire::subscription::{append_run, append_runs};
use logothete_engine::wire::{Audience, Message, Messages};
use std::collections::BTreeMap;

/// A kind of behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Says nothing; what the script sends in its name apart.
    Silent,
    /// Every tag it writes is wrong.
    GarbageTags,
    /// Tells these replicas, and every client, something else than the others: other batches, votes, progress and results.
    Equivocates(ReplicaSet),
    /// Hands subscribers entries that nobody appended.
    ForgesEntries,
    /// Hands those who fetch a state pages that are not the state's.
    ForgesPages,
    /// Hands those who fetch a state digests that are not the state's.
    ForgesNodes,
    /// Makes the receiver's tag wrong on every client's packet that it relays, and says that it had it so from the client itself.
    SpoilsCopies,
    /// Behaves well, apart from what the script sends in its name.
    Scripted,
    /// Does nothing any more; what the script sends in its name apart.
    Crashed,
    /// The adversary's: what it says goes through strategies.
    Owned,
}

/// A faulty replica's memory.
#[derive(Debug)]
pub struct Fault {
    pub behaviour: Behaviour,
    /// The batch told to some in place of the one told to the others.
    twins: BTreeMap<Digest, Digest>,
    /// The spoilt copy in place of each that it relays.
    copies: BTreeMap<Digest, Digest>,
}

/// A packet body for an audience.
pub struct Spoken {
    pub audience: Audience,
    pub body: Vec<u8>,
    pub message_count: u16,
}

impl Fault {
    pub fn new(behaviour: Behaviour) -> Self {
        Self { behaviour, twins: BTreeMap::new(), copies: BTreeMap::new() }
    }

    /// What leaves in place of what the correct replica inside would have said.
    pub fn speak(&mut self, own: ReplicaId, spoken: Spoken) -> Vec<Spoken> {
        match (self.behaviour, spoken.audience) {
            (Behaviour::Silent | Behaviour::Crashed, _) => Vec::new(),
            (Behaviour::GarbageTags | Behaviour::Scripted | Behaviour::Owned, _) => vec![spoken],
            (Behaviour::Equivocates(told), Audience::Replicas(all)) => {
                let lied_to = ReplicaSet(all.0 & told.0);
                let others = ReplicaSet(all.0 & !told.0);
                let lie = self.rewrite(own, &spoken);
                let split = [(others, spoken.body), (lied_to, lie)];
                let split = split.into_iter().filter(|(set, _)| *set != ReplicaSet::EMPTY);
                let message_count = spoken.message_count;
                split.map(|(set, body)| Spoken { audience: Audience::Replicas(set), body, message_count }).collect()
            }
            (_, _) => {
                let body = self.rewrite(own, &spoken);
                vec![Spoken { body, ..spoken }]
            }
        }
    }

    /// Whether it answers those who lack a client's packet.
    pub fn relays(&self) -> bool {
        !matches!(self.behaviour, Behaviour::Silent | Behaviour::Crashed | Behaviour::Equivocates(_))
    }

    /// What it is about to relay, if it will be spoilt.
    pub fn learn_copies(&mut self, relays: &[(ReplicaId, Vec<u8>)]) {
        let spoils = self.spoils_copies();
        for (to, datagram) in relays.iter().filter(|_| spoils) {
            let mut spoilt = datagram.clone();
            spoil_copy(&mut spoilt, *to);
            self.copies.insert(digest(datagram), digest(&spoilt));
        }
    }

    /// Whether it changes what it relays.
    pub fn spoils_copies(&self) -> bool {
        self.behaviour == Behaviour::SpoilsCopies
    }

    /// Whether its tags are wrong.
    pub fn spoils_tags(&self) -> bool {
        self.behaviour == Behaviour::GarbageTags
    }

    fn rewrite(&mut self, own: ReplicaId, spoken: &Spoken) -> Vec<u8> {
        let behaviour = self.behaviour;
        let spoils = self.spoils_copies();
        let mut out = Vec::new();
        for (message, bytes) in Messages::new(&spoken.body, Principal::Replica(own)).flatten() {
            match message {
                Message::Runs(runs) if behaviour == Behaviour::ForgesEntries => {
                    let mut forged = Vec::new();
                    for run in runs.iter() {
                        append_run(&mut forged, run.timestamp_ns, &forge(run.message));
                    }
                    append_runs(&mut out, runs.stream, runs.oldest, runs.position, runs.chain, runs.count, &forged);
                }
                Message::StatePages(pages) if behaviour == Behaviour::ForgesPages => {
                    let mut pieces = Vec::new();
                    for piece in pages.iter() {
                        append_piece(&mut pieces, piece.index, piece.first, &forge(piece.bytes));
                    }
                    append_pages(&mut out, pages.checkpoint, &pieces);
                }
                Message::StateNodes(nodes) if behaviour == Behaviour::ForgesNodes => {
                    let forged = |node: &NodeRecord| {
                        let children = node.children.map(|child| Digest(forge(&child.0).try_into().expect("as long")));
                        NodeRecord::new(node.level() as u8, node.index(), children)
                    };
                    let nodes_forged: Vec<_> = nodes.nodes.iter().map(forged).collect();
                    append_nodes(&mut out, nodes.checkpoint, &nodes_forged);
                }
                Message::Testimony(testimony) if spoils => {
                    let packet = self.copies.get(&testimony.packet).copied().unwrap_or(testimony.packet);
                    Testimony { packet, ..*testimony }.append(&mut out);
                }
                _ if !matches!(behaviour, Behaviour::Equivocates(_)) => out.extend_from_slice(bytes),
                Message::PrePrepare(proposal) => {
                    let (timestamp, entries) = (proposal.timestamp_ns, proposal.entries);
                    let twin = self.twin(timestamp, entries);
                    append_pre_prepare(&mut out, proposal.view, proposal.sequence, twin, entries);
                }
                Message::Prepare(vote) => self.other(vote).append_prepare(&mut out),
                Message::Commit(vote) => self.other(vote).append_commit(&mut out),
                Message::Checkpoint(vote) => {
                    CheckpointVote::new(vote.sequence(), made_up("another state")).append(&mut out);
                }
                Message::Status(status) => {
                    let far = |number: SequenceNumber| SequenceNumber(number.0.saturating_add(64));
                    let (stable, executed) = (far(status.stable()), far(status.executed()));
                    Status::new(status.standing(), stable, executed, executed).append(&mut out);
                }
                Message::Reply(reply) => {
                    let sequence = SequenceNumber(reply.sequence.0.saturating_add(1));
                    let lie = match reply.results {
                        Answer::Full(results) => forge(results),
                        Answer::Digest(digest) => forge(&digest.0),
                    };
                    let digest = lie.first_chunk().map(|bytes| Digest(*bytes)).unwrap_or_default();
                    let results = match reply.results {
                        Answer::Full(_) => Answer::Full(&lie),
                        Answer::Digest(_) => Answer::Digest(&digest),
                    };
                    Reply { sequence, results, ..reply }.append(&mut out);
                }
                _ => out.extend_from_slice(bytes),
            }
        }
        out
    }

    /// The time of the batch that is told in place of another: the same requests a little later are another batch.
    fn twin(&mut self, timestamp_ns: u64, entries: &[BatchEntry]) -> u64 {
        let (truth, lie) = (batch_digest(timestamp_ns, entries), batch_digest(timestamp_ns.saturating_add(1), entries));
        self.twins.insert(truth, lie);
        timestamp_ns.saturating_add(1)
    }

    fn other(&self, vote: &Vote) -> Vote {
        let digest = self.twins.get(&vote.digest).copied().unwrap_or_else(|| made_up("another batch"));
        Vote::new(vote.view(), vote.sequence(), digest)
    }
}

/// The same bytes, the last one changed: of a request that is in its last operation, of a reply in its last result.
fn forge(bytes: &[u8]) -> Vec<u8> {
    let mut forged = bytes.to_vec();
    if let Some(last) = forged.last_mut() {
        *last ^= 0x20;
    }
    forged
}

/// Makes the tags of these receivers wrong.
pub fn spoil(packet: &mut [u8], audience: Audience, of: impl Fn(Principal) -> bool) {
    use logothete_engine::wire::packet::ENTRY_BYTES;
    let vector = packet.len() - audience.tag_count() * ENTRY_BYTES;
    for (position, receiver) in receivers(audience).into_iter().enumerate() {
        if of(receiver) {
            // The tag stands behind the key's number, which stays: only the tag is wrong.
            packet[vector + position * ENTRY_BYTES + 4] ^= 0xff;
        }
    }
}

/// Makes a receiver's tag wrong on a client's packet.
pub fn spoil_copy(packet: &mut [u8], to: ReplicaId) {
    let audience = PacketParts::parse(packet).expect("what is relayed was accepted").audience;
    spoil(packet, audience, |receiver| receiver == Principal::Replica(to));
}

/// Everybody in an audience, in the order of their tags.
pub fn receivers(audience: Audience) -> Vec<Principal> {
    match audience {
        Audience::Replicas(set) => set.iter().map(Principal::Replica).collect(),
        Audience::Client(id) => vec![Principal::Client(id)],
    }
}
