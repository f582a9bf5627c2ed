//! Which marks an observation hits.

use super::{Mark, Marks, Passage};
use crate::checks::statements::Statements;
use crate::world::settings::Settings;
use crate::world::witness::{Executed, Happened};
use logothete_crypto::Digest;
use logothete_engine::authentication::Refused;
use logothete_engine::journal::Trouble;
use logothete_engine::limits::DOUBLINGS_MAX;
use logothete_engine::numbers::{ClientId, Principal, ReplicaId, ReplicaSet};
use logothete_engine::replica::{Event, Reject};
use logothete_engine::wire::agreement::Vote;
use logothete_engine::wire::reply::{RefusalReason, Reply};
use logothete_engine::wire::view_change::{NewView, Part, StatementKind, ViewChange, null_batch};
use logothete_engine::wire::{Audience, Message, Messages};
use std::collections::{BTreeMap, BTreeSet};

/// How many executed requests are remembered, should they be undone: more than a batch has.
const EXECUTED_KEPT: usize = 512;

/// What is remembered of one correct replica.
#[derive(Debug, Default)]
struct Seen {
    /// The view that it is in or wants.
    view: u64,
    /// For which view each other asks.
    wanted: BTreeMap<ReplicaId, u64>,
    /// Views left since something was executed.
    restless: u32,
    /// The requests executed last, and those of them that were undone.
    executed: Vec<(u64, Digest)>,
    undone: BTreeSet<Digest>,
    /// The last checkpoint fetched, and the last that became stable.
    fetched: u64,
    stable: u64,
    /// Whom it replied to, about what.
    replied: BTreeSet<(ClientId, u64, u64)>,
    /// The last number that it proposed.
    proposed: u64,
    /// It asked for bodies that it lacks.
    fetches: bool,
    /// What it asked for of a state: whom last, and whether that one answered.
    asked: BTreeMap<(u64, usize, u64, usize), (ReplicaSet, bool)>,
    restarted: bool,
    /// It finds that its primary achieves too little.
    goodput_missed: bool,
}

/// Counts the marks of one run.
#[derive(Debug)]
pub struct Observer {
    settings: Settings,
    replicas: Vec<Seen>,
    signed: BTreeSet<Digest>,
    pub marks: Marks,
}

impl Observer {
    pub fn new(settings: Settings) -> Self {
        let replicas = (0..settings.replicas).map(|_| Seen::default()).collect();
        Self { settings, replicas, signed: BTreeSet::new(), marks: Marks::default() }
    }

    fn of(&mut self, id: ReplicaId) -> &mut Seen {
        &mut self.replicas[usize::from(id.0)]
    }

    /// A message that was lost, refused, or rejected.
    pub fn on_dropped(&mut self, body: &[u8], sender: Principal) {
        self.marks.traffic.count_body(body, sender, Passage::Dropped);
    }

    /// The verifier refused a packet.
    pub fn on_refused(&mut self, reason: Refused) {
        if reason == Refused::EpochOver {
            self.marks.hit(Mark::EpochOver);
        }
    }

    /// A correct replica's core rejected something of a packet.
    pub fn on_rejected(&mut self, body: &[u8], sender: Principal, reason: Reject) {
        let carries = |wanted| {
            let mut parts = Messages::new(body, sender).flatten();
            parts.any(|(message, _)| matches!(message, Message::Part(part) if part.statement == wanted))
        };
        let mark = match reason {
            Reject::Duplicate => Mark::DuplicateIgnored,
            Reject::VoteConflict | Reject::ProposalConflict => Mark::VoteConflicts,
            Reject::CheckpointDiffers => Mark::CheckpointDiffers,
            Reject::RequestSuperseded => Mark::IncarnationOver,
            Reject::NewViewWrong => Mark::NewViewWrong,
            Reject::SignatureBad if carries(StatementKind::NewView) => Mark::NewViewUnsigned,
            Reject::StatementUnsound if carries(StatementKind::NewView) => Mark::NewViewUnsound,
            Reject::StatementKnown if carries(StatementKind::NewView) => Mark::NewViewKnown,
            _ => return,
        };
        self.marks.hit(mark);
    }

    /// Somebody, correct or not, sends a packet of its own.
    pub fn on_launched(&mut self, from: Principal, body: &[u8]) {
        self.marks.traffic.count_body(body, from, Passage::Sent);
        if let Principal::Client(_) = from {
            for (message, _) in Messages::new(body, from).flatten() {
                if matches!(message, Message::Request(request) if request.signature.is_some()) {
                    self.signed.insert(logothete_crypto::digest(body));
                }
            }
        }
    }

    /// An authentic packet reached a correct replica or a client.
    pub fn on_arrived(&mut self, at: Principal, from: Principal, body: &[u8], relayed: bool) {
        self.marks.traffic.count_body(body, from, Passage::Received);
        let Principal::Replica(at) = at else { return };
        if relayed && std::mem::take(&mut self.of(at).fetches) {
            self.marks.hit(Mark::BodyFetched);
        }
        let Principal::Replica(source) = from else { return };
        for (message, _) in Messages::new(body, from).flatten() {
            match message {
                Message::Batch(_) => self.marks.hit(Mark::BatchFetched),
                Message::Part(Part { statement: StatementKind::ViewChange, replica, view, .. }) if replica != at => {
                    let wanted = self.of(at).wanted.entry(replica).or_default();
                    *wanted = view.0.max(*wanted);
                }
                Message::StateNodes(nodes) => {
                    for node in nodes.nodes {
                        let place = (nodes.checkpoint.sequence.0, node.level(), node.index(), 0);
                        self.on_state_answered(at, source, place);
                    }
                }
                Message::StatePages(pages) => {
                    for piece in pages.iter() {
                        let place = (pages.checkpoint.sequence.0, 0, piece.index, piece.first);
                        self.on_state_answered(at, source, place);
                    }
                }
                _ => {}
            }
        }
    }

    fn on_state_answered(&mut self, at: ReplicaId, source: ReplicaId, place: (u64, usize, u64, usize)) {
        if let Some((from, answered)) = self.of(at).asked.get_mut(&place) {
            *answered |= from.contains(source);
        }
    }

    /// A correct replica sends a packet of its own; `statements` has what it is made of.
    pub fn on_sent(&mut self, by: ReplicaId, audience: Audience, body: &[u8], statements: &Statements) {
        for (message, _) in Messages::new(body, Principal::Replica(by)).flatten() {
            match message {
                Message::PrePrepare(proposal) => self.of(by).proposed = proposal.sequence.0,
                Message::Fetch(_) | Message::FetchParts(_) => self.of(by).fetches = true,
                Message::Reply(reply) => {
                    let Audience::Client(to) = audience else { continue };
                    self.on_replied(by, to, &reply);
                }
                Message::Refusal(refusal) if refusal.reason() == Some(RefusalReason::Overloaded) => {
                    self.marks.hit(Mark::Overloaded);
                }
                Message::Forward(_) => self.marks.hit(Mark::Forwarded),
                Message::Dispute(_) => self.marks.hit(Mark::Disputed),
                Message::Part(part) if part.replica == by && part.index == 0 => {
                    if let Some(content) = statements.get(&part.digest).and_then(|seen| seen.new_view()) {
                        self.on_new_view(&content, statements);
                    }
                }
                Message::StateQuery(query) => {
                    let Audience::Replicas(asked) = audience else { continue };
                    for item in query.items {
                        let place = (query.checkpoint.sequence.0, item.level(), item.index(), item.units().0);
                        self.on_state_asked(by, asked, place);
                    }
                }
                _ => {}
            }
        }
    }

    fn on_replied(&mut self, by: ReplicaId, to: ClientId, reply: &Reply<'_>) {
        let seen = self.of(by);
        let first = seen.replied.insert((to, reply.incarnation.0, reply.number.0));
        let executed = seen.executed.iter().any(|(sequence, _)| *sequence == reply.sequence.0);
        let fetched = reply.sequence.0 <= seen.fetched && !executed;
        if !first {
            self.marks.hit(Mark::ReplyRepeated);
        } else if fetched {
            self.marks.hit(Mark::ReplyFetched);
        }
    }

    fn on_state_asked(&mut self, by: ReplicaId, of: ReplicaSet, place: (u64, usize, u64, usize)) {
        match self.of(by).asked.insert(place, (of, false)) {
            Some((before, answered)) if before != of => {
                self.marks.hit(if answered { Mark::ChunkRejected } else { Mark::SourceSwitched });
            }
            _ => {}
        }
    }

    fn on_new_view(&mut self, content: &NewView<'_>, statements: &Statements) {
        if content.selection.is_empty() {
            self.marks.hit(Mark::NewViewEmpty);
        }
        if content.selection.contains(&null_batch()) {
            self.marks.hit(Mark::NewViewNull);
        }
        if content.selection.iter().any(|batch| *batch != null_batch()) {
            self.marks.hit(Mark::NewViewCarries);
        }
        let named = content.named.iter().filter_map(|named| statements.get(&named.digest)?.view_change());
        let named: Vec<ViewChange<'_>> = named.collect();
        let mut prepared: BTreeMap<u64, Digest> = BTreeMap::new();
        let claims = named.iter().flat_map(|message| message.prepared);
        let differs = |vote: &Vote| *prepared.entry(vote.sequence().0).or_insert(vote.digest) != vote.digest;
        if claims.filter(|vote| vote.sequence() > content.checkpoint.0).any(differs) {
            self.marks.hit(Mark::NewViewCandidates);
        }
    }

    /// Something that a correct replica says happened.
    pub fn on_event(&mut self, by: ReplicaId, event: &Event) {
        let weak = self.settings.replicas.div_ceil(3);
        let seen = self.of(by);
        match event {
            Event::ViewLeft { wanted, .. } => {
                let others = seen.wanted.values().filter(|view| **view > seen.view).count();
                seen.view = wanted.0;
                seen.restless += 1;
                let capped = seen.restless > DOUBLINGS_MAX;
                if others >= weak {
                    self.marks.hit(Mark::ViewChangeJoined);
                }
                if capped {
                    self.marks.hit(Mark::TimeoutCapped);
                }
            }
            Event::ViewEntered(view) => seen.view = view.0,
            Event::RolledBack { from, .. } => {
                let undone = seen.executed.iter().filter(|(sequence, _)| *sequence >= from.0);
                seen.undone.extend(undone.map(|(_, digest)| *digest));
                self.marks.hit(Mark::RolledBack);
            }
            Event::StateFetched(sequence) => {
                seen.fetched = sequence.0;
                seen.asked.clear();
                if seen.stable == sequence.0 {
                    self.marks.hit(Mark::CheckpointFetched);
                }
            }
            Event::Stable(sequence) => seen.stable = sequence.0,
            Event::Contradiction(_) => self.marks.hit(Mark::Contradiction),
            Event::Demoted { .. } => self.marks.hit(Mark::Demoted),
            Event::RecoveryPoint(_) => self.marks.hit(Mark::RecoveryBounded),
            Event::Recovered => self.marks.hit(Mark::Recovered),
            Event::MemoryTrouble(Trouble::Failed) => self.marks.hit(Mark::DiskFailed),
            _ => {}
        }
    }

    /// What a correct replica's service executed.
    pub fn on_executed(&mut self, by: ReplicaId, happened: &Happened) {
        if happened.executed.is_empty() {
            return;
        }
        if self.replicas.iter().all(|seen| seen.restarted) {
            self.marks.hit(Mark::AllRestarted);
            self.replicas.iter_mut().for_each(|seen| seen.restarted = false);
        }
        let seen = &mut self.replicas[usize::from(by.0)];
        seen.restless = 0;
        for Executed { sequence, digest, .. } in &happened.executed {
            if seen.undone.remove(digest) {
                self.marks.hit(Mark::RolledBackReordered);
            }
            if self.signed.contains(digest) {
                self.marks.hit(Mark::SignedExecuted);
            }
            seen.executed.push((*sequence, *digest));
        }
        if seen.executed.len() > 2 * EXECUTED_KEPT {
            seen.executed.drain(..EXECUTED_KEPT);
        }
    }

    /// A client was told of the log without its being ordered, or with.
    pub fn on_read(&mut self, fast: bool) {
        self.marks.hit(if fast { Mark::ReadFast } else { Mark::ReadOrdered });
    }

    /// A correct replica committed a batch that others claimed to have committed.
    pub fn on_claimed(&mut self) {
        self.marks.hit(Mark::CommittedOnClaims);
    }

    /// Whether a correct replica finds that its primary achieves less than it owes.
    pub fn on_goodput(&mut self, by: ReplicaId, missed: bool) {
        let before = std::mem::replace(&mut self.of(by).goodput_missed, missed);
        if missed && !before {
            self.marks.hit(Mark::GoodputMissed);
        }
    }

    /// How far a correct replica's last stable checkpoint is, after a duty cycle.
    pub fn on_stable(&mut self, by: ReplicaId, stable: u64) {
        let window = self.settings.window();
        let proposed = &mut self.of(by).proposed;
        if *proposed == stable + window {
            *proposed = 0;
            self.marks.hit(Mark::WindowFull);
        }
    }

    /// A correct replica's process ended, and another began.
    pub fn on_restarted(&mut self, by: ReplicaId, forgot: bool) {
        let seen = self.of(by);
        *seen = Seen { restarted: true, view: seen.view, ..Seen::default() };
        if !forgot {
            self.marks.hit(Mark::Resumed);
        }
    }
}
