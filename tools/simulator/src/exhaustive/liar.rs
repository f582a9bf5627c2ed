//! What the faulty replica may say, to each of the others at any time, and to each something else. It is silent where it says nothing.
//!
//! | what | of which |
//! | --- | --- |
//! | pre-prepare | batch A, batch B of each number, in the views that it leads |
//! | prepare, commit | for A, for B, for null where a new view may select it; in each view, those that it leads among them |
//! | claim of a commit | A, B |
//! | content of a batch | A, B |
//! | suspicion | in each view |
//! | view change | with P and Q empty; with A as prepared in the view before; with B as prepared in the view before |
//! | new view | made of any `2f+1` view changes that exist, its own of each kind among them; selecting nothing, A's or B's: one of them is right |

use crate::exhaustive::Bound;
use crate::exhaustive::post::{LetterId, Post, REGISTER, Said};
use crate::exhaustive::quorums::{QUORUM, REPLICAS};
use crate::exhaustive::subject::WALL_NS;
use logothete_crypto::Digest;
use logothete_engine::authentication::Signatures;
use logothete_engine::numbers::{
    ClientId, Incarnation, Principal, ReplicaId, ReplicaSet, RequestNumber, SequenceNumber, View,
};
use logothete_engine::wire::agreement::{
    Batch, BatchEntry, CheckpointVote, CommitClaim, Vote, append_pre_prepare, batch_digest, null_batch,
};
use logothete_engine::wire::request::RequestName;
use logothete_engine::wire::retransmission::{Standing, Status};
use logothete_engine::wire::view_change::{Named, NewView, Part, StatementKind, ViewChange};
use std::collections::{BTreeMap, HashMap};

/// Signed statements are of the state in which all begin.
const INITIAL: SequenceNumber = SequenceNumber(0);

/// A batch that it may propose.
#[derive(Clone)]
struct Proposal {
    timestamp_ns: u64,
    entries: [BatchEntry; 1],
}

impl Proposal {
    fn digest(&self) -> Digest {
        batch_digest(self.timestamp_ns, &self.entries)
    }
}

/// The faulty replica.
pub struct Liar {
    pub id: ReplicaId,
    epoch: u64,
    signatures: Signatures,
    views: u64,
    /// By number, from 1: A and B.
    proposals: Vec<[Proposal; 2]>,
    /// By receiver: what it may say at any time, the view changes apart.
    menu: Vec<Vec<LetterId>>,
    /// Its view changes by view and receiver, and their digests.
    view_changes: BTreeMap<(View, ReplicaId), Vec<LetterId>>,
    /// New views made so far, by view, receiver and the view changes that there were.
    new_views: HashMap<(View, ReplicaId, Vec<Statement>), Vec<LetterId>>,
}

/// A view change by its signer and digest.
pub type Statement = (ReplicaId, Digest);

/// The name of a request: the first of its client, which opens its incarnation.
pub fn request_name(client: ClientId) -> RequestName {
    RequestName { client, incarnation: Incarnation(1), number: RequestNumber::OPEN }
}

impl Liar {
    /// Replica `id` is faulty; there are these requests, one a number, in the order in which a correct primary proposes them.
    pub fn new(id: ReplicaId, bound: &Bound, requests: &[(RequestName, Digest)], post: &mut Post) -> Self {
        let batch = |at: usize, timestamp_ns| {
            let (name, digest) = requests[at % requests.len()];
            Proposal { timestamp_ns, entries: [BatchEntry::new(name, digest)] }
        };
        // B is the other order, or the other time where there is one request only.
        let pair = |at: usize| match requests.len() {
            1 => [batch(at, WALL_NS), batch(at, WALL_NS + 1)],
            _ => [batch(at, WALL_NS + at as u64), batch(at + 1, WALL_NS + at as u64)],
        };
        let mut liar = Self {
            id,
            epoch: post.epoch(id),
            signatures: REGISTER.signatures(id),
            views: bound.views,
            proposals: (0..requests.len()).map(pair).collect(),
            menu: vec![Vec::new(); REPLICAS],
            view_changes: BTreeMap::new(),
            new_views: HashMap::new(),
        };
        let statements = liar.all_view_changes();
        for to in ReplicaSet::first(REPLICAS).without(id).iter() {
            let mut letters = Vec::new();
            for body in liar.bodies() {
                letters.extend(post.write(id, Principal::Replica(to), &body, true));
            }
            liar.menu[usize::from(to.0)] = letters;
            for (view, body) in &statements {
                let letter = post.write(id, Principal::Replica(to), body, true).expect("a view change is a letter");
                liar.view_changes.entry((*view, to)).or_default().push(letter);
            }
        }
        liar
    }

    /// The digest of batch A of a number: what a correct primary proposes in view 0.
    pub fn first_batch(&self, sequence: SequenceNumber) -> Digest {
        self.proposals[sequence.0 as usize - 1][0].digest()
    }

    fn leads(&self, view: View) -> bool {
        view.0 % REPLICAS as u64 == u64::from(self.id.0)
    }

    /// Everything but signed statements.
    fn bodies(&self) -> Vec<Vec<u8>> {
        let mut bodies: Vec<Vec<u8>> = Vec::new();
        let mut add = |append: &dyn Fn(&mut Vec<u8>)| {
            let mut body = Vec::new();
            append(&mut body);
            bodies.push(body);
        };
        for view in (0..self.views).map(View) {
            let standing = Standing { suspects: true, ..Standing::active_in(view) };
            add(&|body| Status::new(standing, INITIAL, INITIAL, INITIAL).append(body));
        }
        for (at, pair) in self.proposals.iter().enumerate() {
            let sequence = SequenceNumber(at as u64 + 1);
            for proposal in pair {
                let Proposal { timestamp_ns, entries } = proposal.clone();
                add(&|body| CommitClaim::new(sequence, proposal.digest()).append(body));
                add(&|body| Batch { sequence, timestamp_ns, entries: &entries }.append(body));
                for view in (0..self.views).map(View).filter(|view| self.leads(*view)) {
                    add(&|body| append_pre_prepare(body, view, sequence, timestamp_ns, &entries));
                }
            }
            let null = Some(null_batch()).filter(|_| at + 1 < self.proposals.len());
            for digest in pair.iter().map(Proposal::digest).chain(null) {
                for view in (0..self.views).map(View) {
                    let vote = Vote::new(view, sequence, digest);
                    add(&|body| vote.append_prepare(body));
                    add(&|body| vote.append_commit(body));
                }
            }
        }
        bodies
    }

    /// View changes: with nothing, with all of A, with all of B.
    fn all_view_changes(&self) -> Vec<(View, Vec<u8>)> {
        let mut all = Vec::new();
        for view in (1..self.views).map(View) {
            let before = View(view.0 - 1);
            for which in [None, Some(0), Some(1)] {
                let votes: Vec<Vote> = which.map_or_else(Vec::new, |which: usize| {
                    let numbers = (1..).map(SequenceNumber);
                    let digests = self.proposals.iter().map(|pair| pair[which].digest());
                    numbers.zip(digests).map(|(sequence, digest)| Vote::new(before, sequence, digest)).collect()
                });
                let content = ViewChange {
                    view,
                    stable: INITIAL,
                    epoch: self.epoch,
                    replica: self.id,
                    checkpoints: &[CheckpointVote::new(INITIAL, Digest::ZERO)],
                    prepared: &votes,
                    pre_prepared: &votes,
                };
                let bytes = content.encode(|body| self.signatures.sign(StatementKind::ViewChange, body));
                all.push((view, self.part(StatementKind::ViewChange, view, &bytes)));
            }
        }
        all
    }

    fn part(&self, statement: StatementKind, view: View, bytes: &[u8]) -> Vec<u8> {
        let digest = logothete_crypto::digest(bytes);
        let mut body = Vec::new();
        Part { statement, replica: self.id, view, digest, total_bytes: bytes.len(), index: 0, bytes }.append(&mut body);
        body
    }

    /// What it may say to a replica at any time, the signed statements apart.
    pub fn menu(&self, to: ReplicaId) -> &[LetterId] {
        &self.menu[usize::from(to.0)]
    }

    /// Its view changes for views from this one on.
    pub fn view_changes(&self, to: ReplicaId, from: View) -> impl Iterator<Item = LetterId> {
        let of_receiver = move |((view, receiver), letters): (&(View, ReplicaId), _)| {
            (*receiver == to && *view >= from).then_some(letters)
        };
        self.view_changes.iter().filter_map(of_receiver).flat_map(|letters: &Vec<LetterId>| letters.iter().copied())
    }

    /// The new views that it may send a replica for a view that it leads, when these view changes of others exist.
    pub fn new_views(&mut self, view: View, to: ReplicaId, others: &[Statement], post: &mut Post) -> Vec<LetterId> {
        if !self.leads(view) {
            return Vec::new();
        }
        let key = (view, to, others.to_vec());
        if let Some(made) = self.new_views.get(&key) {
            return made.clone();
        }
        let own: Vec<Digest> = self
            .view_changes
            .get(&(view, to))
            .into_iter()
            .flatten()
            .map(|letter| match post.letter(*letter).said {
                Said::ViewChange { statement, .. } => statement,
                _ => unreachable!("it was written as one"),
            })
            .collect();
        let mut letters = Vec::new();
        for kept in 0..1usize << others.len() {
            let of_others =
                || others.iter().enumerate().filter(move |(at, _)| kept >> at & 1 == 1).map(|(_, named)| *named);
            for own in own.iter().map(|own| Some(*own)).chain([None]) {
                let mut named: Vec<Statement> = of_others().chain(own.map(|own| (self.id, own))).collect();
                named.sort_unstable();
                if named.len() < QUORUM {
                    continue;
                }
                let named: Vec<Named> = named.into_iter().map(|(id, digest)| Named::new(id, digest)).collect();
                for selection in self.selections() {
                    let content = NewView {
                        view,
                        epoch: self.epoch,
                        replica: self.id,
                        checkpoint: (INITIAL, Digest::ZERO),
                        named: &named,
                        selection: &selection,
                    };
                    let bytes = content.encode(|body| self.signatures.sign(StatementKind::NewView, body));
                    let body = self.part(StatementKind::NewView, view, &bytes);
                    letters.extend(post.write(self.id, Principal::Replica(to), &body, true));
                }
            }
        }
        self.new_views.insert(key, letters.clone());
        letters
    }

    /// Nothing, and each beginning of A's and of B's; with a null batch first where there are two numbers.
    fn selections(&self) -> Vec<Vec<Digest>> {
        let mut all = vec![Vec::new()];
        for length in 1..=self.proposals.len() {
            for which in 0..2 {
                let digests = self.proposals[..length].iter().map(|pair| pair[which].digest());
                all.push(digests.collect::<Vec<Digest>>());
            }
        }
        if self.proposals.len() > 1 {
            all.extend((0..2).map(|which| vec![null_batch(), self.proposals[1][which].digest()]));
        }
        all
    }
}
