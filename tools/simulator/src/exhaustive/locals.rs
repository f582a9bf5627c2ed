//! The states of single replicas, by number, and their steps: each is made once by the engine itself, and looked up from then on.

use crate::exhaustive::hashing::NumberMap;
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

/// How a state is kept. Most are of a replica that noted a letter and waits for more: those are made again when they are asked for.
enum Kept {
    Whole(Box<Subject>),
    /// What follows from another state.
    After(LocalId, Happening),
}

/// All states that any replica was found in.
pub struct Locals {
    kept: Vec<Kept>,
    standings: Vec<Standing>,
    owners: Vec<ReplicaId>,
    known: HashMap<(ReplicaId, Digest), LocalId>,
    steps: NumberMap<(LocalId, Happening), Step>,
    bench: Bench,
    /// The replica that is faulty: nobody writes to it.
    faulty: ReplicaId,
    numbers: u64,
    sent: Vec<Sent>,
}

impl Locals {
    pub fn new(bench: Bench, faulty: ReplicaId, numbers: u64) -> Self {
        let (kept, standings, owners) = (Vec::new(), Vec::new(), Vec::new());
        let (known, steps, sent) = (HashMap::new(), NumberMap::default(), Vec::new());
        Self { kept, standings, owners, known, steps, bench, faulty, numbers, sent }
    }

    pub fn standing(&self, id: LocalId) -> &Standing {
        &self.standings[id as usize]
    }

    pub fn owner(&self, id: LocalId) -> ReplicaId {
        self.owners[id as usize]
    }

    /// A copy of the replica in a state.
    pub fn subject(&mut self, id: LocalId, post: &Post) -> Subject {
        match self.kept[id as usize] {
            Kept::Whole(ref subject) => Subject::clone(subject),
            Kept::After(before, happening) => {
                let mut subject = self.subject(before, post);
                subject.step(input(happening, post), &mut self.bench, &mut self.sent);
                self.sent.clear();
                subject
            }
        }
    }

    pub fn bench(&mut self) -> &mut Bench {
        &mut self.bench
    }

    /// How many states there are, and how many steps were made.
    pub fn counts(&self) -> (usize, usize) {
        (self.kept.len(), self.steps.len())
    }

    /// The number of a state that a replica begins in.
    pub fn enter(&mut self, owner: ReplicaId, subject: Subject) -> LocalId {
        let (id, standing) = (self.kept.len() as LocalId, subject.standing(self.numbers));
        self.known.insert((owner, subject.fingerprint()), id);
        self.keep(owner, standing, Kept::Whole(Box::new(subject)));
        id
    }

    fn keep(&mut self, owner: ReplicaId, standing: Standing, kept: Kept) {
        self.kept.push(kept);
        self.standings.push(standing);
        self.owners.push(owner);
    }

    /// Takes a step.
    pub fn step(&mut self, at: LocalId, happening: Happening, post: &mut Post) -> Step {
        if let Some(step) = self.steps.get(&(at, happening)) {
            return step.clone();
        }
        let (owner, mut subject) = (self.owner(at), self.subject(at, post));
        subject.step(input(happening, post), &mut self.bench, &mut self.sent);
        let mut sends = Vec::new();
        for Sent { audience, body } in self.sent.drain(..) {
            post.send(owner, audience, &body, self.faulty, &mut sends);
        }
        sends.sort_unstable();
        sends.dedup();
        let standing = subject.standing(self.numbers);
        let shows = !sends.is_empty() || standing != *self.standing(at);
        let fresh = self.kept.len() as LocalId;
        let to = *self.known.entry((owner, subject.fingerprint())).or_insert(fresh);
        if to == fresh {
            let kept = if shows { Kept::Whole(Box::new(subject)) } else { Kept::After(at, happening) };
            self.keep(owner, standing, kept);
        }
        let step = Step { to, sends: sends.into(), shows };
        self.steps.insert((at, happening), step.clone());
        step
    }
}

fn input(happening: Happening, post: &Post) -> Input<'_> {
    match happening {
        Happening::Letter(id) => Input::Packet(post.letter(id).incoming()),
        Happening::TimeOut => Input::Leap,
    }
}
