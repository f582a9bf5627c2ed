//! The kind network: from a state on, everything arrives at once and the faulty replica is silent; then every request has to complete.

use crate::exhaustive::courses::Course;
use crate::exhaustive::hashing::NumberMap;
use crate::exhaustive::locals::{Happening, LocalId};
use crate::exhaustive::moves::Moves;
use crate::exhaustive::post::{LetterId, Said};
use crate::exhaustive::quorums::{ACCEPTED_FINAL, ACCEPTED_TENTATIVE, CORRECT};
use crate::exhaustive::sets::SetId;
use crate::exhaustive::subject::{Input, Sent, Subject};
use crate::world::rounds::HOP_NS;
use logothete_crypto::Digest;
use logothete_engine::authentication::PacketFacts;
use logothete_engine::numbers::{ClientId, Principal, ReplicaId, SequenceNumber, View};
use logothete_engine::wire::Audience;
use logothete_engine::wire::reply::Mode;
use std::collections::{BTreeMap, BTreeSet};

/// Within so long a time the requests have to complete: several view changes with time-outs that doubled before.
const PATIENCE_NS: u64 = 60_000_000_000;

/// When a client sends its request again.
const RETRANSMIT_NS: u64 = 50_000_000;

/// A client's packet as a replica's verifier found it.
type Request = (ReplicaId, PacketFacts, Vec<u8>);

/// Replies that are alike: to whom, of which number, with which result; of tentative ones also the view.
type Reply = (ClientId, SequenceNumber, Digest, Option<View>);

/// Checks completion, and remembers from where on it was checked.
pub struct Kind {
    requests: Vec<Request>,
    /// Where nothing is under way any more, by the replicas' states and the replies that were sent: whether the requests complete from there.
    known: NumberMap<([LocalId; CORRECT], SetId), bool>,
    pub checked: u64,
    pub played: u64,
}

/// Replicas in a kind network.
struct Play<'a> {
    moves: &'a mut Moves,
    subjects: Vec<(ReplicaId, Subject)>,
    under_way: Vec<(ReplicaId, ReplicaId, Vec<u8>)>,
    replied: BTreeMap<Reply, BTreeSet<ReplicaId>>,
    wanted: usize,
}

impl Kind {
    /// For clients with these requests.
    pub fn new(requests: Vec<Request>) -> Self {
        Self { requests, known: NumberMap::default(), checked: 0, played: 0 }
    }

    /// Whether all requests complete from a state on.
    pub fn completes(&mut self, moves: &mut Moves, courses: &[Course; CORRECT], wanted: usize) -> bool {
        self.checked += 1;
        let (locals, said) = arrive_all(moves, courses.map(|course| course.local), courses.map(|course| course.said));
        let is_reply = |moves: &Moves, id: &LetterId| matches!(moves.post.letter(*id).said, Said::Reply { .. });
        let mut replies: Vec<LetterId> = Vec::new();
        for set in said {
            replies.extend(moves.sets.get(set).iter().filter(|id| is_reply(moves, id)));
        }
        replies.sort_unstable();
        let replies = moves.sets.of(replies);
        if let Some(known) = self.known.get(&(locals, replies)) {
            return *known;
        }
        self.played += 1;
        let completes = Play::new(moves, locals, replies, wanted).complete(&self.requests);
        self.known.insert((locals, replies), completes);
        completes
    }
}

/// Whatever is on its way arrives, and what that causes, while the clocks stand still: the states in which that leaves the replicas, and what they have
/// said by then.
fn arrive_all(
    moves: &mut Moves,
    mut locals: [LocalId; CORRECT],
    mut said: [SetId; CORRECT],
) -> ([LocalId; CORRECT], [SetId; CORRECT]) {
    loop {
        let before = (locals, said);
        for place in 0..CORRECT {
            let owner = moves.locals.owner(locals[place]);
            for from in (0..CORRECT).filter(|from| *from != place) {
                for id in moves.sets.get(said[from]).iter() {
                    let (letter, standing) = (moves.post.letter(*id), moves.locals.standing(locals[place]));
                    let taken = letter.said.is_taken_in(standing.view, standing.active);
                    if letter.to == Principal::Replica(owner) && taken {
                        let step = moves.locals.step(locals[place], Happening::Letter(*id), &mut moves.post);
                        locals[place] = step.to;
                        said[place] = moves.sets.with(said[place], &step.sends);
                    }
                }
            }
        }
        if (locals, said) == before {
            return before;
        }
    }
}

impl<'a> Play<'a> {
    fn new(moves: &'a mut Moves, locals: [LocalId; CORRECT], replies: SetId, wanted: usize) -> Self {
        let mut subject = |at: LocalId| (moves.locals.owner(at), moves.locals.subject(at, &moves.post));
        let mut subjects: Vec<(ReplicaId, Subject)> = locals.iter().map(|at| subject(*at)).collect();
        let latest_ns = subjects.iter().map(|(_, subject)| subject.clock_ns()).max().unwrap_or(0);
        subjects.iter_mut().for_each(|(_, subject)| subject.set_clock(latest_ns));
        let mut replied: BTreeMap<Reply, BTreeSet<ReplicaId>> = BTreeMap::new();
        for letter in moves.sets.get(replies).iter().map(|id| moves.post.letter(*id)) {
            note(&mut replied, &letter.said, letter.from);
        }
        Self { moves, subjects, under_way: Vec::new(), replied, wanted }
    }

    /// What is on its way arrives; what that causes is on its way then.
    fn arrive(&mut self) {
        for (from, to, body) in std::mem::take(&mut self.under_way) {
            let (facts, datagram) = self.moves.post.pack(from, to, &body);
            self.step(to, Input::Packet(facts.incoming(&datagram)));
        }
    }

    fn step(&mut self, id: ReplicaId, input: Input<'_>) {
        let mut sent = Vec::new();
        let place =
            self.subjects.iter().position(|(owner, _)| *owner == id).expect("only correct replicas are written to");
        self.subjects[place].1.step(input, self.moves.locals.bench(), &mut sent);
        for Sent { audience, body } in sent {
            match audience {
                Audience::Client(client) => {
                    if let Some(said) = Said::of(&body, id, Principal::Client(client), false) {
                        note(&mut self.replied, &said, id);
                    }
                }
                Audience::Replicas(set) => {
                    let receivers = self.subjects.iter().map(|(owner, _)| *owner).filter(|to| set.contains(*to));
                    self.under_way.extend(receivers.map(|to| (id, to, body.clone())));
                }
            }
        }
    }

    /// Whether each client accepts a result: with f+1 final replies, or 2f+1 of which some are tentative.
    fn is_complete(&self) -> bool {
        let none = BTreeSet::new();
        let accepted = self.replied.iter().filter(|((client, sequence, result, view), from)| {
            let last = self.replied.get(&(*client, *sequence, *result, None)).unwrap_or(&none);
            match view {
                None => from.len() >= ACCEPTED_FINAL,
                Some(_) => from.union(last).count() >= ACCEPTED_TENTATIVE,
            }
        });
        accepted.map(|((client, ..), _)| *client).collect::<BTreeSet<_>>().len() >= self.wanted
    }

    fn complete(&mut self, requests: &[Request]) -> bool {
        let (mut passed_ns, mut retransmit_ns) = (0, 0);
        while passed_ns < PATIENCE_NS {
            if self.is_complete() {
                return true;
            }
            if passed_ns >= retransmit_ns {
                retransmit_ns = passed_ns + RETRANSMIT_NS;
                requests
                    .iter()
                    .for_each(|(to, facts, datagram)| self.step(*to, Input::Packet(facts.incoming(datagram))));
            }
            // Clocks go on together: to what is due next, or to what arrives.
            let due_ns = self.subjects.iter().map(|(_, subject)| subject.due_in_ns()).min().expect("there are three");
            let pass_ns = if self.under_way.is_empty() { due_ns.clamp(HOP_NS, RETRANSMIT_NS) } else { HOP_NS };
            passed_ns += pass_ns;
            for place in 0..self.subjects.len() {
                self.step(self.subjects[place].0, Input::Pass(pass_ns));
            }
            self.arrive();
        }
        false
    }
}

fn note(replied: &mut BTreeMap<Reply, BTreeSet<ReplicaId>>, said: &Said, from: ReplicaId) {
    if let Said::Reply { client, sequence, result, mode, view } = said {
        let view = Some(*view).filter(|_| *mode == Mode::Tentative);
        replied.entry((*client, *sequence, *result, view)).or_default().insert(from);
    }
}
