//! The courses of single replicas, by number: the state that one is in, with everything that it said on the way there.
//!
//! What a replica can do next follows from its course and from the letters to it that the others' courses hold: so three courses are a state of all, and
//! what a replica's move comes to is found once for each course and looked up from then on.

use crate::exhaustive::contradiction::contradiction;
use crate::exhaustive::facts::{Fact, FactTable, Facts, FactsId};
use crate::exhaustive::goals::Miss;
use crate::exhaustive::hashing::NumberMap;
use crate::exhaustive::locals::{Happening, LocalId};
use crate::exhaustive::moves::{Move, Moves};
use crate::exhaustive::post::{Letter, LetterId, Said};
use crate::exhaustive::quorums::CORRECT;
use crate::exhaustive::sets::SetId;
use logothete_engine::numbers::{Principal, ReplicaId};

/// The number of a course.
pub type CourseId = u32;

/// How a replica got on.
#[derive(Clone, Copy)]
pub struct Course {
    pub local: LocalId,
    /// All letters that it ever sent.
    pub said: SetId,
    pub facts: FactsId,
    /// Those of them to each correct replica.
    pub said_to: [SetId; CORRECT],
}

/// All courses that any replica took.
pub struct Courses {
    correct: [ReplicaId; CORRECT],
    courses: Vec<Course>,
    known: NumberMap<(LocalId, SetId, FactsId), CourseId>,
    pub facts: FactTable,
}

impl Courses {
    pub fn new(correct: [ReplicaId; CORRECT]) -> Self {
        Self { correct, courses: Vec::new(), known: NumberMap::default(), facts: FactTable::default() }
    }

    pub fn get(&self, id: CourseId) -> Course {
        self.courses[id as usize]
    }

    pub fn count(&self) -> usize {
        self.courses.len()
    }

    /// The course of a replica that begins in a state, and has sent these letters.
    pub fn begin(&mut self, local: LocalId, letters: &[LetterId], moves: &mut Moves) -> CourseId {
        let mut said: Vec<Fact> = letters.iter().filter_map(|id| Fact::of(&moves.post.letter(*id).said)).collect();
        said.sort_unstable();
        said.dedup();
        let set = moves.sets.with(crate::exhaustive::sets::NOTHING, letters);
        self.enter(local, set, said, moves)
    }

    /// The course that a move leads to.
    pub fn after(&mut self, before: CourseId, made: &Move, moves: &mut Moves) -> CourseId {
        let Course { local, said, facts, .. } = self.get(before);
        let set = moves.sets.with(said, &made.sends);
        let more = made.sends.iter().filter_map(|id| Fact::of(&moves.post.letter(*id).said));
        let mut told: Vec<Fact> = more.chain(entry(local, made, moves)).collect();
        told.extend_from_slice(&self.facts.get(facts).said);
        told.sort_unstable();
        told.dedup();
        self.enter(made.to, set, told, moves)
    }

    fn enter(&mut self, local: LocalId, said: SetId, told: Vec<Fact>, moves: &mut Moves) -> CourseId {
        let facts = self.facts.enter(Facts::new(moves.locals.owner(local), moves.locals.standing(local), told));
        let fresh = self.courses.len() as CourseId;
        let id = *self.known.entry((local, said, facts)).or_insert(fresh);
        if id == fresh {
            let said_to = self.correct.map(|to| {
                let letters = moves.sets.get(said);
                let is_to = |id: &LetterId| moves.post.letter(*id).to == Principal::Replica(to);
                moves.sets.of(letters.iter().copied().filter(is_to).collect())
            });
            self.courses.push(Course { local, said, facts, said_to });
        }
        id
    }

    /// What a replica says in a move that contradicts what it said before.
    pub fn contradiction(&self, before: CourseId, made: &Move, moves: &Moves) -> Option<Miss> {
        let Course { local, said, .. } = self.get(before);
        let (view, set) = (moves.locals.standing(local).view, moves.sets.get(said));
        let letter = |id: &LetterId| moves.post.letter(*id);
        let fresh: Vec<&Letter> = made.sends.iter().filter(|id| set.binary_search(id).is_err()).map(letter).collect();
        let all: Vec<&Letter> = set.iter().map(letter).chain(fresh.iter().copied()).collect();
        fresh.iter().find_map(|letter| contradiction(letter, view, &all))
    }
}

/// With what a replica enters a view, if it does: the new view that it opened itself, or took last. Who enters with what it noted before is judged by
/// what it votes for.
fn entry(before: LocalId, made: &Move, moves: &Moves) -> Option<Fact> {
    let (before, after) = (moves.locals.standing(before), moves.locals.standing(made.to));
    if !after.active || (before.active && before.view == after.view) {
        return None;
    }
    let taken = made.happenings.iter().filter_map(|happening| match happening {
        Happening::Letter(id) => Some(*id),
        Happening::TimeOut => None,
    });
    let letters = made.sends.iter().copied().chain(taken);
    let selections = letters.filter_map(|id| match &moves.post.letter(id).said {
        Said::NewView { view, selection, .. } if *view == after.view => Some(selection.clone()),
        _ => None,
    });
    Some(Fact::Entered { view: after.view, selection: selections.last()? })
}
