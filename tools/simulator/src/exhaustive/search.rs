//! The search: by what was used up of the bound, and then breadth first, so that what is found is found by the shortest of the cheapest ways.

use crate::exhaustive::courses::{CourseId, Courses};
use crate::exhaustive::edges::{Edge, Edges, State};
use crate::exhaustive::facts::FactsId;
use crate::exhaustive::goals::{Goal, Miss, miss};
use crate::exhaustive::hashing::NumberMap;
use crate::exhaustive::kind::Kind;
use crate::exhaustive::liar::{Liar, request_name};
use crate::exhaustive::locals::Locals;
use crate::exhaustive::moves::{Cost, Grain, Move, Moves};
use crate::exhaustive::post::{CLIENTS, LetterId, Post, Said};
use crate::exhaustive::quorums::{CORRECT, REPLICAS};
use crate::exhaustive::subject::{Bench, Input, Sent, Subject};
use crate::exhaustive::telling::told;
use crate::exhaustive::{Bound, Counts, Finding};
use logothete_crypto::Digest;
use logothete_engine::numbers::{ClientId, ReplicaId, ReplicaSet};
use logothete_engine::wire::request::{self, RequestName};
use std::ops::Range;

/// What is said of a state from which not every request completes.
const INCOMPLETE: &str = "not every request completes once the network is kind";

/// A state that was reached, and how.
#[derive(Clone, Copy)]
struct Node {
    state: State,
    parent: u32,
    used: Cost,
}

/// One search.
pub struct Search {
    bound: Bound,
    grain: Grain,
    edges: Edges,
    kind: Kind,
    nodes: Vec<Node>,
    /// The nodes that are still to be looked at, by how much of the bound they used up.
    waiting: Vec<Vec<u32>>,
    /// With how little used up each state was reached: a bit for each pair of lies and time-outs that it was reached with, or with fewer of both.
    reached: NumberMap<State, u32>,
    /// The facts that were found to miss no goal.
    judged: NumberMap<[FactsId; CORRECT], ()>,
    counts: Counts,
}

impl Search {
    /// All correct replicas have the clients' requests, and nothing is ordered.
    pub fn new(bound: Bound, faulty: ReplicaId, grain: Grain) -> Self {
        let mut post = Post::new(bound.numbers);
        let correct: Vec<ReplicaId> = ReplicaSet::first(REPLICAS).without(faulty).iter().collect();
        let mut subjects: Vec<Subject> = correct.iter().map(|id| Subject::new(*id, post.epoch(*id), &bound)).collect();
        let mut locals = Locals::new(Bench::new(&subjects[0]), faulty, bound.numbers);
        // In the order in which a primary proposes them: it begins with the second client.
        let clients = (0..bound.numbers).map(|at| ClientId(((at + 1) % CLIENTS as u64) as u16));
        let requests: Vec<(RequestName, Vec<u8>)> =
            clients.map(|client| (request_name(client), request_body(client))).collect();
        let mut letters: Vec<Vec<LetterId>> = Vec::new();
        let mut packets = Vec::new();
        for (id, subject) in correct.iter().zip(&mut subjects) {
            for (name, body) in requests.iter().rev() {
                let (facts, datagram) = post.request(name.client, body, *id);
                subject.take_request(facts.incoming(&datagram), locals.bench());
                packets.push((*id, facts, datagram));
            }
            let (mut sent, mut first) = (Vec::new(), Vec::new());
            subject.step(Input::Pass(0), locals.bench(), &mut sent);
            for Sent { audience, body } in sent {
                post.send(*id, audience, &body, faulty, &mut first);
            }
            letters.push(first);
        }
        let digests: Vec<(RequestName, Digest)> =
            requests.iter().map(|(name, body)| (*name, logothete_crypto::digest(body))).collect();
        let liar = Liar::new(faulty, &bound, &digests, &mut post);
        let ids: Vec<u32> = correct.iter().zip(subjects).map(|(id, subject)| locals.enter(*id, subject)).collect();
        let mut moves = Moves::new(post, locals, liar, grain);
        let mut courses = Courses::new(correct.try_into().expect("three are correct"));
        let begun = ids.iter().zip(&letters).map(|(local, letters)| courses.begin(*local, letters, &mut moves));
        let state: State = begun.collect::<Vec<CourseId>>().try_into().expect("three are correct");
        assert_first_batches(&moves, &letters);
        let (lies, time_outs) = (usize::from(bound.lies), usize::from(bound.time_outs));
        assert!((lies + 1) * (time_outs + 1) <= u32::BITS as usize, "how a state was reached is told in one word");
        Self {
            bound,
            grain,
            edges: Edges::new(moves, courses, bound.views),
            kind: Kind::new(packets),
            nodes: vec![Node { state, parent: 0, used: Cost::default() }],
            waiting: vec![Vec::new(); lies + time_outs + 1],
            reached: NumberMap::default(),
            judged: NumberMap::default(),
            counts: Counts::default(),
        }
    }

    /// Searches all states of the bound, or up to the first that misses a goal.
    pub fn run(&mut self) -> (Counts, Option<Finding>) {
        let first = self.nodes[0].state;
        self.note_reached(&first, Cost::default());
        self.waiting[0].push(0);
        let mut finding = self.miss(&first).map(|miss| self.finding(miss, 0));
        for used in 0..self.waiting.len() {
            finding = finding.or_else(|| self.expand_all(used));
        }
        let (locals, steps) = self.edges.moves.locals.counts();
        self.counts.states = self.reached.len() as u64;
        self.counts.courses = self.edges.courses.count() as u64;
        (self.counts.locals, self.counts.steps) = (locals as u64, steps as u64);
        (self.counts.completions, self.counts.completions_played) = (self.kind.checked, self.kind.played);
        (self.counts, finding)
    }

    /// All moves from the nodes that used up so much.
    fn expand_all(&mut self, used: usize) -> Option<Finding> {
        let mut at = 0;
        while let Some(node) = self.waiting[used].get(at).copied() {
            let finding = self.expand(node);
            if finding.is_some() {
                return finding;
            }
            at += 1;
        }
        self.waiting[used] = Vec::new();
        None
    }

    /// All moves from a state.
    fn expand(&mut self, at: u32) -> Option<Finding> {
        let Node { state, used, .. } = self.nodes[at as usize];
        let mut leads_on = false;
        for mover in 0..CORRECT {
            let earlier = self.earlier_moves(at, mover);
            for edge in self.edges.of(&state, mover) {
                let Edge { to, cost, contradicts, .. } = self.edges.get(edge);
                let used = Cost { lies: used.lies + cost.lies, time_outs: used.time_outs + cost.time_outs };
                if used.lies > self.bound.lies || used.time_outs > self.bound.time_outs {
                    continue;
                }
                leads_on = true;
                let later = earlier.clone().is_some_and(|earlier| self.edges.have(earlier, to, cost));
                if later && cost != Cost::default() {
                    continue;
                }
                self.counts.transitions += 1;
                let mut after = state;
                after[mover] = to;
                let node = Node { state: after, parent: at, used };
                if contradicts {
                    return Some(self.contradiction(node));
                }
                let finding = self.reach(node);
                if finding.is_some() {
                    return finding;
                }
            }
        }
        if !leads_on {
            self.counts.ends += 1;
        }
        if (!leads_on || self.bound.completes_everywhere) && !self.completes(&state) {
            return Some(self.finding((Goal::Completion, INCOMPLETE.to_owned()), at));
        }
        None
    }

    /// What a replica could do already before another one made the last move, if that cost nothing. What costs something was done there, and the other's
    /// move comes after it all the same, since nothing that one replica does takes anything from another: it need not be done here once more.
    fn earlier_moves(&mut self, at: u32, mover: usize) -> Option<Range<usize>> {
        let Node { state, parent, used } = self.nodes[at as usize];
        let before = self.nodes[parent as usize];
        let leaves_out = self.grain == Grain::Grouped;
        let other_moved = leaves_out && at != 0 && before.used == used && before.state[mover] == state[mover];
        other_moved.then(|| self.edges.of(&before.state, mover))
    }

    /// Notes a state for the time when it is its turn, unless it is known.
    fn reach(&mut self, node: Node) -> Option<Finding> {
        let Node { state, used, .. } = node;
        if self.was_reached(&state, used) {
            return None;
        }
        self.note_reached(&state, used);
        let at = self.nodes.len() as u32;
        self.nodes.push(node);
        if let Some(miss) = self.miss(&state) {
            return Some(self.finding(miss, at));
        }
        self.waiting[usize::from(used.lies) + usize::from(used.time_outs)].push(at);
        None
    }

    fn was_reached(&self, state: &State, used: Cost) -> bool {
        let bit = used.lies * (self.bound.time_outs + 1) + used.time_outs;
        self.reached.get(state).is_some_and(|held| held >> bit & 1 == 1)
    }

    /// Notes that a state was reached, with so much used up or more.
    fn note_reached(&mut self, state: &State, used: Cost) {
        let budgets = u32::from(self.bound.time_outs) + 1;
        let held = self.reached.entry(*state).or_default();
        let row = ((1u64 << budgets) - (1 << used.time_outs)) as u32;
        (used.lies..=self.bound.lies).for_each(|lies| *held |= row << (u32::from(lies) * budgets));
    }

    /// What a state misses.
    fn miss(&mut self, state: &State) -> Option<Miss> {
        let facts = state.map(|course| self.edges.courses.get(course).facts);
        if self.judged.contains_key(&facts) {
            return None;
        }
        let missed = miss(state.map(|course| self.edges.facts(course)));
        if missed.is_none() {
            self.judged.insert(facts, ());
        }
        missed
    }

    /// Whether every request completes from a state on.
    fn completes(&mut self, state: &State) -> bool {
        let courses = state.map(|course| self.edges.courses.get(course));
        self.kind.completes(&mut self.edges.moves, &courses, self.bound.numbers as usize)
    }

    /// The finding that a replica contradicts itself in the move to a node.
    fn contradiction(&mut self, node: Node) -> Finding {
        self.nodes.push(node);
        let at = self.nodes.len() as u32 - 1;
        let (mover, made) = self.last_move(at);
        let miss = self.edges.contradiction(self.nodes[node.parent as usize].state[mover], &made);
        self.finding(miss.expect("it was seen to contradict itself"), at)
    }

    fn finding(&mut self, miss: Miss, mut at: u32) -> Finding {
        let mut path = Vec::new();
        while at > 0 {
            let (mover, made) = self.last_move(at);
            let Node { state, parent, .. } = self.nodes[at as usize];
            path.push((self.edges.facts(state[mover]).owner, made));
            at = parent;
        }
        path.reverse();
        told(miss, &path, &self.edges.moves)
    }

    /// The move that led to a node, and the place of who made it.
    fn last_move(&mut self, at: u32) -> (usize, Move) {
        let Node { state, parent, used } = self.nodes[at as usize];
        let before = self.nodes[parent as usize];
        let cost = Cost { lies: used.lies - before.used.lies, time_outs: used.time_outs - before.used.time_outs };
        self.edges.made(&before.state, &state, cost)
    }
}

/// What a correct primary proposes first is what the liar calls A.
fn assert_first_batches(moves: &Moves, letters: &[Vec<LetterId>]) {
    for letter in letters.iter().flatten() {
        if let Said::Vote { sequence, batch, .. } = moves.post.letter(*letter).said {
            assert_eq!(batch, moves.liar.first_batch(sequence));
        }
    }
}

/// A client's request.
fn request_body(client: ClientId) -> Vec<u8> {
    let mut body = Vec::new();
    request::append(&mut body, request_name(client), 0, &[]);
    body
}

#[cfg(test)]
mod tests;
