//! The search: breadth first, so that what is found is found by the shortest way.

use crate::exhaustive::goals::{Global, Goal, Look, Miss};
use crate::exhaustive::kind::Kind;
use crate::exhaustive::liar::{Liar, request_name};
use crate::exhaustive::locals::{Happening, LocalId, Locals};
use crate::exhaustive::moves::{Move, Moves};
use crate::exhaustive::post::{CLIENTS, Letter, LetterId, Post, Said};
use crate::exhaustive::quorums::{CORRECT, REPLICAS};
use crate::exhaustive::sets::{NOTHING, SetId};
use crate::exhaustive::subject::{Bench, Input, Sent, Subject};
use crate::exhaustive::{Bound, Counts, Finding};
use crate::scenario::words::Words;
use logothete_crypto::Digest;
use logothete_engine::numbers::{ClientId, Principal, ReplicaId, ReplicaSet};
use logothete_engine::wire::operation::OperationsWriter;
use logothete_engine::wire::request::{self, RequestName};
use std::collections::HashMap;

/// A state that was reached, and how.
struct Node {
    global: Global,
    /// How often the faulty replica had a hand in it, and how many time-outs fired.
    lies: u8,
    time_outs: u8,
    parent: u32,
    /// The mover, and which of its moves.
    mover: u8,
    choice: u32,
}

/// A state as it is recognised: the replicas, and of what they sent what may still be taken.
type Key = ([u32; CORRECT], [SetId; CORRECT]);

/// One search.
pub struct Search {
    bound: Bound,
    moves: Moves,
    kind: Kind,
    nodes: Vec<Node>,
    /// With how little of the bound used up, lies and time-outs, each state was reached.
    seen: HashMap<Key, Vec<(u8, u8)>>,
    counts: Counts,
}

impl Search {
    /// All correct replicas have the clients' requests, and nothing is ordered.
    pub fn new(bound: Bound, faulty: ReplicaId) -> Self {
        let mut post = Post::new();
        let correct: Vec<ReplicaId> = ReplicaSet::first(REPLICAS).without(faulty).iter().collect();
        let mut subjects: Vec<Subject> = correct.iter().map(|id| Subject::new(*id, post.epoch(*id), &bound)).collect();
        let mut locals = Locals::new(Bench::new(&subjects[0]), faulty, bound.numbers);
        // In the order in which a primary proposes them: it begins with the second client.
        let clients = (0..bound.numbers).map(|at| ClientId(((at + 1) % CLIENTS as u64) as u16));
        let requests: Vec<(RequestName, Vec<u8>)> =
            clients.map(|client| (request_name(client), request_body(client))).collect();
        let mut sent: Vec<(ReplicaId, Sent)> = Vec::new();
        let mut packets = Vec::new();
        for (id, subject) in correct.iter().zip(&mut subjects) {
            for (name, body) in requests.iter().rev() {
                let (facts, datagram) = post.request(name.client, body, *id);
                subject.take_request(facts.incoming(&datagram), locals.bench());
                packets.push((*id, facts, datagram));
            }
            let mut step = Vec::new();
            subject.step(Input::Pass(0), locals.bench(), &mut step);
            sent.extend(step.into_iter().map(|sent| (*id, sent)));
        }
        let digests: Vec<(RequestName, Digest)> =
            requests.iter().map(|(name, body)| (*name, logothete_crypto::digest(body))).collect();
        let liar = Liar::new(faulty, &bound, &digests, &mut post);
        let ids: Vec<u32> = correct.iter().zip(subjects).map(|(id, subject)| locals.enter(*id, subject)).collect();
        let mut moves = Moves::new(post, locals, liar);
        let mut global = Global { locals: ids.try_into().expect("three are correct"), sent: [NOTHING; CORRECT] };
        for (id, Sent { audience, body }) in sent {
            let mut letters = Vec::new();
            moves.post.send(id, audience, &body, faulty, &mut letters);
            let place = correct.iter().position(|held| *held == id).expect("it is one of them");
            global.sent[place] = moves.sets.with(global.sent[place], &letters);
        }
        let (nodes, seen) =
            (vec![Node { global, lies: 0, time_outs: 0, parent: 0, mover: 0, choice: 0 }], HashMap::new());
        let search = Self { bound, moves, kind: Kind::new(packets), nodes, seen, counts: Counts::default() };
        search.assert_first_batches();
        search
    }

    /// What a correct primary proposes first is what the liar calls A.
    fn assert_first_batches(&self) {
        for set in self.nodes[0].global.sent {
            for letter in self.moves.sets.get(set).iter() {
                if let Said::Vote { sequence, batch, .. } = self.moves.post.letter(*letter).said {
                    assert_eq!(batch, self.moves.liar.first_batch(sequence));
                }
            }
        }
    }

    /// Searches all states of the bound, or up to the first that misses a goal.
    pub fn run(mut self) -> (Counts, Option<Finding>) {
        let mut at = 0;
        let mut finding = None;
        let first = self.nodes[0].global;
        self.is_new(&first, (0, 0));
        while at < self.nodes.len() && finding.is_none() {
            finding = self.expand(at as u32);
            at += 1;
        }
        let (locals, steps) = self.moves.locals.counts();
        self.counts.states = self.nodes.len() as u64;
        (self.counts.locals, self.counts.steps) = (locals as u64, steps as u64);
        (self.counts.completions, self.counts.completions_played) = (self.kind.checked, self.kind.played);
        (self.counts, finding)
    }

    /// All moves from a state.
    fn expand(&mut self, at: u32) -> Option<Finding> {
        let Node { global, lies, time_outs, .. } = self.nodes[at as usize];
        let mut leads_on = false;
        for mover in 0..CORRECT {
            for (choice, made) in self.moves_of(&global, mover).iter().enumerate() {
                let lies = lies + u8::from(self.moves.takes_of_faulty(made));
                let time_outs = time_outs + u8::from(made.happenings.contains(&Happening::TimeOut));
                let ends = self.moves.locals.standing(made.to).view.0 >= self.bound.views;
                if ends || lies > self.bound.lies || time_outs > self.bound.time_outs {
                    continue;
                }
                self.counts.transitions += 1;
                let after = self.after(&global, mover, made);
                let node =
                    Node { global: after, lies, time_outs, parent: at, mover: mover as u8, choice: choice as u32 };
                let look = Look { moves: &self.moves, before: global, after, mover };
                if let Some(miss) = look.miss(made) {
                    self.nodes.push(node);
                    return Some(self.finding(miss));
                }
                leads_on |= after != global;
                if self.is_new(&after, (lies, time_outs)) {
                    self.nodes.push(node);
                }
            }
        }
        if !leads_on {
            self.counts.ends += 1;
        }
        if (!leads_on || self.bound.completes_everywhere)
            && !self.kind.completes(&mut self.moves, &global, self.bound.numbers as usize)
        {
            let text = "not every request completes once the network is kind".to_owned();
            let path = self.path(at);
            return Some(self.told((Goal::Completion, text), path));
        }
        None
    }

    fn after(&mut self, global: &Global, mover: usize, made: &Move) -> Global {
        let mut after = *global;
        after.locals[mover] = made.to;
        after.sent[mover] = self.moves.sets.with(global.sent[mover], &made.sends);
        after
    }

    fn moves_of(&mut self, global: &Global, mover: usize) -> std::rc::Rc<[Move]> {
        let owner = self.moves.locals.owner(global.locals[mover]);
        let standing = self.moves.locals.standing(global.locals[mover]);
        let (view, active) = (standing.view, standing.active);
        let takes = |letter: &Letter| letter.said.is_taken_in(view, active);
        let mut letters: Vec<LetterId> = Vec::new();
        for place in 0..CORRECT {
            let set = self.moves.sets.get(global.sent[place]);
            letters.extend(set.iter().copied().filter(|id| {
                let letter = self.moves.post.letter(*id);
                let own = place == mover && matches!(letter.said, Said::ViewChange { .. });
                (own || letter.to == Principal::Replica(owner)) && takes(letter)
            }));
        }
        letters.sort_unstable();
        let letters = self.moves.sets.of(letters);
        self.moves.of(global.locals[mover], letters)
    }

    /// Whether a state was not reached before, at least not with so much of the bound left.
    fn is_new(&mut self, global: &Global, used: (u8, u8)) -> bool {
        let key = self.key(global);
        let held = self.seen.entry(key).or_default();
        let new = !held.iter().any(|(lies, time_outs)| *lies <= used.0 && *time_outs <= used.1);
        if new {
            held.retain(|(lies, time_outs)| *lies < used.0 || *time_outs < used.1);
            held.push(used);
        }
        new
    }

    /// A state as it is recognised.
    fn key(&mut self, global: &Global) -> Key {
        let owned = global.locals.map(|at| (self.moves.locals.owner(at), at));
        let sent = global.sent.map(|set| {
            let set = self.moves.sets.get(set);
            let letters = set.iter().copied().filter(|id| self.lives(*id, &owned)).collect();
            self.moves.sets.of(letters)
        });
        (global.locals, sent)
    }

    /// Whether a letter may still be taken, or answered for; all replicas are `owned`.
    fn lives(&self, id: LetterId, owned: &[(ReplicaId, LocalId); CORRECT]) -> bool {
        let letter = self.moves.post.letter(id);
        let Principal::Replica(to) = letter.to else { return !letter.said.is_final() };
        let (_, at) = owned.iter().find(|(owner, _)| *owner == to).expect("letters are to the correct");
        let standing = self.moves.locals.standing(*at);
        if let Said::Claim { sequence, .. } = letter.said {
            return standing.committed.get(sequence.0 as usize - 1).is_none_or(Option::is_none);
        }
        letter.said.is_taken_in(standing.view, standing.active)
    }

    fn finding(&mut self, miss: Miss) -> Finding {
        let path = self.path(self.nodes.len() as u32 - 1);
        self.told(miss, path)
    }

    /// The moves that lead to a state.
    fn path(&mut self, mut at: u32) -> Vec<(ReplicaId, Move)> {
        let mut path = Vec::new();
        while at > 0 {
            let (parent, mover, choice) = {
                let node = &self.nodes[at as usize];
                (node.parent, usize::from(node.mover), node.choice as usize)
            };
            let before = self.nodes[parent as usize].global;
            let owner = self.moves.locals.owner(before.locals[mover]);
            path.push((owner, self.moves_of(&before, mover)[choice].clone()));
            at = parent;
        }
        path.reverse();
        path
    }

    /// A finding in words.
    fn told(&self, (goal, what): Miss, path: Vec<(ReplicaId, Move)>) -> Finding {
        let mut words = Words::default();
        let faulty = self.moves.liar.id;
        let mut steps = Vec::new();
        for (owner, made) in path {
            let mut took = Vec::new();
            for happening in made.happenings.iter() {
                took.push(match happening {
                    Happening::TimeOut => "its time-out fires".to_owned(),
                    Happening::Letter(id) => {
                        let letter = self.moves.post.letter(*id);
                        words.learn(&letter.body, Principal::Replica(letter.from));
                        let text = words.body(&letter.body, Principal::Replica(letter.from));
                        let remark = if letter.from == faulty { " (faulty)" } else { "" };
                        format!("of {}{remark}: {text}", letter.from)
                    }
                });
            }
            steps.push(format!("{owner} takes {}", took.join("; then ")));
        }
        Finding { goal, what, steps }
    }
}

/// A client's request.
fn request_body(client: ClientId) -> Vec<u8> {
    let (mut operations, mut body) = (OperationsWriter::new(64), Vec::new());
    assert!(operations.try_push(0, 1, b"append"), "it has room");
    request::append(&mut body, request_name(client), operations.count(), operations.bytes());
    body
}
