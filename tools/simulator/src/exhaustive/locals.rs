//! The states of single replicas, by number, and their steps: each is made once by the engine itself, and looked up from then on.

use crate::exhaustive::post::{LetterId, Post};
use crate::exhaustive::subject::{Bench, Input, Sent, Standing, Subject};
use logothete_crypto::Digest;
use logothete_engine::numbers::ReplicaId;
use std::collections::HashMap;
use std::rc::Rc;

/// A state of one replica.
pub type LocalId = u32;

/// What may happen to a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Happening {
    Letter(LetterId),
    TimeOut,
}

/// What comes of it.
#[derive(Clone)]
pub struct Step {
    pub to: LocalId,
    pub sends: Rc<[LetterId]>,
    /// Others, or the goals, can tell that it happened: it is more than a vote that is noted.
    pub shows: bool,
}

/// All states that any replica was found in.
pub struct Locals {
    subjects: Vec<Subject>,
    standings: Vec<Standing>,
    owners: Vec<ReplicaId>,
    known: HashMap<(ReplicaId, Digest), LocalId>,
    steps: HashMap<(LocalId, Happening), Step>,
    bench: Bench,
    /// The replica that is faulty: nobody writes to it.
    faulty: ReplicaId,
    numbers: u64,
    sent: Vec<Sent>,
}

impl Locals {
    pub fn new(bench: Bench, faulty: ReplicaId, numbers: u64) -> Self {
        let (subjects, standings, owners) = (Vec::new(), Vec::new(), Vec::new());
        let (known, steps, sent) = (HashMap::new(), HashMap::new(), Vec::new());
        Self { subjects, standings, owners, known, steps, bench, faulty, numbers, sent }
    }

    pub fn standing(&self, id: LocalId) -> &Standing {
        &self.standings[id as usize]
    }

    pub fn owner(&self, id: LocalId) -> ReplicaId {
        self.owners[id as usize]
    }

    pub fn subject(&self, id: LocalId) -> &Subject {
        &self.subjects[id as usize]
    }

    pub fn bench(&mut self) -> &mut Bench {
        &mut self.bench
    }

    /// How many states there are, and how many steps were made.
    pub fn counts(&self) -> (usize, usize) {
        (self.subjects.len(), self.steps.len())
    }

    /// The number of a state.
    pub fn enter(&mut self, owner: ReplicaId, subject: Subject) -> LocalId {
        let fresh = self.subjects.len() as LocalId;
        let id = *self.known.entry((owner, subject.fingerprint())).or_insert(fresh);
        if id == fresh {
            self.standings.push(subject.standing(self.numbers));
            self.subjects.push(subject);
            self.owners.push(owner);
        }
        id
    }

    /// Takes a step.
    pub fn step(&mut self, at: LocalId, happening: Happening, post: &mut Post) -> Step {
        if let Some(step) = self.steps.get(&(at, happening)) {
            return step.clone();
        }
        let (owner, mut subject) = (self.owner(at), self.subject(at).clone());
        let input = match happening {
            Happening::Letter(id) => Input::Packet(post.letter(id).incoming()),
            Happening::TimeOut => Input::Leap,
        };
        subject.step(input, &mut self.bench, &mut self.sent);
        let mut sends = Vec::new();
        for Sent { audience, body } in self.sent.drain(..) {
            post.send(owner, audience, &body, self.faulty, &mut sends);
        }
        sends.sort_unstable();
        sends.dedup();
        let to = self.enter(owner, subject);
        let shows = !sends.is_empty() || self.standing(to) != self.standing(at);
        let step = Step { to, sends: sends.into(), shows };
        self.steps.insert((at, happening), step.clone());
        step
    }
}
