//! The moves of all courses, found once each, as the search follows them by the million.

use crate::exhaustive::courses::{Course, CourseId, Courses};
use crate::exhaustive::facts::Facts;
use crate::exhaustive::goals::Miss;
use crate::exhaustive::hashing::NumberMap;
use crate::exhaustive::moves::{Cost, Move, Moves};
use crate::exhaustive::post::{LetterId, Said};
use crate::exhaustive::quorums::CORRECT;
use crate::exhaustive::sets::SetId;
use std::ops::Range;
use std::rc::Rc;

/// A state of all: the course of each correct replica.
pub type State = [CourseId; CORRECT];

/// What the other two say to a replica.
type Heard = [SetId; CORRECT - 1];

/// A move of a replica.
#[derive(Clone, Copy)]
pub struct Edge {
    pub to: CourseId,
    pub cost: Cost,
    /// The replica contradicts itself in it.
    pub contradicts: bool,
}

/// All moves that were asked for.
pub struct Edges {
    pub moves: Moves,
    pub courses: Courses,
    /// So many views there are.
    views: u64,
    edges: Vec<Edge>,
    known: NumberMap<(CourseId, Heard), (u32, u32)>,
}

impl Edges {
    pub fn new(moves: Moves, courses: Courses, views: u64) -> Self {
        Self { moves, courses, views, edges: Vec::new(), known: NumberMap::default() }
    }

    pub fn get(&self, at: usize) -> Edge {
        self.edges[at]
    }

    /// Whether some edges hold one to a course at a cost.
    pub fn have(&self, range: Range<usize>, to: CourseId, cost: Cost) -> bool {
        self.edges[range].iter().any(|edge| edge.to == to && edge.cost == cost)
    }

    /// The moves of a replica in a state, within the bound's views; those that lead nowhere else are left out.
    pub fn of(&mut self, state: &State, mover: usize) -> Range<usize> {
        let heard = self.heard(state, mover);
        self.at(state[mover], heard)
    }

    fn heard(&self, state: &State, mover: usize) -> Heard {
        others(mover).map(|place| self.courses.get(state[place]).said_to[mover])
    }

    fn at(&mut self, course: CourseId, heard: Heard) -> Range<usize> {
        if let Some((from, to)) = self.known.get(&(course, heard)) {
            return *from as usize..*to as usize;
        }
        let from = self.edges.len();
        for made in self.moves_at(course, heard).iter() {
            if self.moves.locals.standing(made.to).view.0 >= self.views {
                continue;
            }
            let to = self.courses.after(course, made, &mut self.moves);
            let cheaper = |edge: &Edge| {
                edge.to == to && edge.cost.lies <= made.cost.lies && edge.cost.time_outs <= made.cost.time_outs
            };
            if to == course || self.edges[from..].iter().any(cheaper) {
                continue;
            }
            let contradicts = self.courses.contradiction(course, made, &self.moves).is_some();
            self.edges.push(Edge { to, cost: made.cost, contradicts });
        }
        let range = (from as u32, self.edges.len() as u32);
        self.known.insert((course, heard), range);
        from..self.edges.len()
    }

    /// The same with what happens in them.
    fn moves_at(&mut self, course: CourseId, heard: Heard) -> Rc<[Move]> {
        let Course { local, said, .. } = self.courses.get(course);
        let standing = self.moves.locals.standing(local);
        let (view, active) = (standing.view, standing.active);
        let mut letters: Vec<LetterId> = Vec::new();
        for set in heard {
            let set = self.moves.sets.get(set);
            letters.extend(set.iter().filter(|id| self.moves.post.letter(**id).said.is_taken_in(view, active)));
        }
        // New views name its own view changes as well.
        letters.extend(self.moves.sets.get(said).iter().filter(|id| {
            let said = &self.moves.post.letter(**id).said;
            matches!(said, Said::ViewChange { .. }) && said.is_taken_in(view, active)
        }));
        letters.sort_unstable();
        let letters = self.moves.sets.of(letters);
        self.moves.of(local, letters)
    }

    /// What is true of a course.
    pub fn facts(&self, course: CourseId) -> &Facts {
        self.courses.facts.get(self.courses.get(course).facts)
    }

    /// The move between two states, at a cost, and who makes it.
    pub fn made(&mut self, before: &State, after: &State, cost: Cost) -> (usize, Move) {
        let mover = (0..CORRECT).find(|place| before[*place] != after[*place]).expect("somebody moved");
        let heard = self.heard(before, mover);
        for made in self.moves_at(before[mover], heard).iter().filter(|made| made.cost == cost) {
            if self.courses.after(before[mover], made, &mut self.moves) == after[mover] {
                return (mover, made.clone());
            }
        }
        unreachable!("a move led from one to the other")
    }

    /// How a replica contradicts itself in a move.
    pub fn contradiction(&self, before: CourseId, made: &Move) -> Option<Miss> {
        self.courses.contradiction(before, made, &self.moves)
    }
}

/// The places of the other correct replicas.
fn others(place: usize) -> [usize; CORRECT - 1] {
    [[1, 2], [0, 2], [0, 1]][place]
}
