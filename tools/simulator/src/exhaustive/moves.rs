//! What one replica may do next, in moves: each ends with a step that shows, and begins with what has to be noted for it.
//!
//! A vote that is noted and does not suffice yet shows nowhere but in the replica itself. It commutes with everything that others do, and whoever may
//! deliver it now may deliver it later, for nothing is ever lost. So it is delivered only where the step that it was lacking for follows at once, and never
//! where that step never comes. Commits that suffice once the batch has prepared come before the prepares, or after them. Which votes make such a group: those of one round, number and batch; the view changes; what a new view names, and it.

use crate::exhaustive::hashing::NumberMap;
use crate::exhaustive::liar::{Liar, Statement};
use crate::exhaustive::locals::{Happening, LocalId, Locals, Step};
use crate::exhaustive::post::{LetterId, Post, Round, Said};
use crate::exhaustive::sets::{SetId, Sets};
use logothete_crypto::Digest;
use logothete_engine::numbers::{Principal, ReplicaId, SequenceNumber, View};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// So many votes, or view changes, are noted before the one that suffices: a quorum is the replica's own and two others, and a new primary may need a fourth.
const NOTED_MAX: usize = 2;

/// What one replica does.
#[derive(Clone)]
pub struct Move {
    pub happenings: Rc<[Happening]>,
    pub to: LocalId,
    pub sends: Rc<[LetterId]>,
    pub cost: Cost,
}

/// What a move uses up of a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    /// 1 where it takes anything of the faulty replica.
    pub lies: u8,
    pub time_outs: u8,
}

/// What makes a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// What shows, with what had to be noted for it.
    Grouped,
    /// One letter, view changes and new views apart: what grouped votes are measured against.
    #[cfg(test)]
    Single,
}

/// Finds moves, each once.
pub struct Moves {
    pub post: Post,
    pub locals: Locals,
    pub sets: Sets,
    pub liar: Liar,
    grain: Grain,
    known: NumberMap<(LocalId, SetId), Rc<[Move]>>,
}

/// Moves as they are found: of those that come to the same at the same cost, the shortest.
type Found = BTreeMap<(LocalId, Rc<[LetterId]>, Cost), Vec<Happening>>;

impl Moves {
    pub fn new(post: Post, locals: Locals, liar: Liar, grain: Grain) -> Self {
        Self { post, locals, sets: Sets::new(), liar, grain, known: NumberMap::default() }
    }

    /// The moves of a replica in a state, when these letters exist: those to it, and its own view changes.
    pub fn of(&mut self, at: LocalId, letters: SetId) -> Rc<[Move]> {
        if let Some(known) = self.known.get(&(at, letters)) {
            return known.clone();
        }
        let mut found = Found::new();
        let letters_here = self.sets.get(letters);
        match self.grain {
            Grain::Grouped => self.find(at, &letters_here, &mut found),
            #[cfg(test)]
            Grain::Single => self.find_single(at, &letters_here, &mut found),
        }
        let made = found.into_iter();
        let moves: Rc<[Move]> = made
            .map(|((to, sends, cost), happenings)| Move { happenings: happenings.into(), to, sends, cost })
            .collect();
        self.known.insert((at, letters), moves.clone());
        moves
    }

    fn find(&mut self, at: LocalId, letters: &[LetterId], found: &mut Found) {
        let (owner, view) = (self.locals.owner(at), self.locals.standing(at).view);
        let to_owner = |moves: &Self, letter: &LetterId| moves.post.letter(*letter).to == Principal::Replica(owner);
        let said: Vec<LetterId> = letters.iter().copied().filter(|letter| to_owner(self, letter)).collect();
        let mut votes: BTreeMap<(Round, SequenceNumber, Digest), Vec<LetterId>> = BTreeMap::new();
        let mut new_views = Vec::new();
        let menu = self.liar.menu(owner).to_vec();
        for letter in said.iter().copied().chain(menu) {
            match &self.post.letter(letter).said {
                Said::Vote { round, view: of, sequence, batch } if *of == view => match round {
                    Round::PrePrepare => self.try_path(at, &[Happening::Letter(letter)], found),
                    round => votes.entry((*round, *sequence, *batch)).or_default().push(letter),
                },
                // Who claims a commit counts with those who vote for it.
                Said::Claim { sequence, batch } => {
                    votes.entry((Round::Commit, *sequence, *batch)).or_default().push(letter);
                }
                Said::Suspicion { view: of } if *of >= view => self.try_path(at, &[Happening::Letter(letter)], found),
                Said::Content => self.try_path(at, &[Happening::Letter(letter)], found),
                Said::NewView { view: of, .. } if *of >= view => new_views.push(letter),
                _ => {}
            }
        }
        for group in votes.values() {
            self.try_groups(at, &[], &mut Vec::new(), group, false, found);
        }
        for ((round, sequence, batch), prepares) in &votes {
            if *round == Round::Prepare
                && let Some(commits) = votes.get(&(Round::Commit, *sequence, *batch))
            {
                self.find_commits_first(at, commits, prepares, found);
            }
        }
        self.try_path(at, &[Happening::TimeOut], found);
        self.find_view_changes(at, &said, letters, new_views, found);
    }

    /// Moves of view changes and new views.
    fn find_view_changes(
        &mut self,
        at: LocalId,
        said: &[LetterId],
        letters: &[LetterId],
        mut new_views: Vec<LetterId>,
        found: &mut Found,
    ) {
        let (owner, view) = (self.locals.owner(at), self.locals.standing(at).view);
        let is_view_change = |letter: &LetterId| match self.post.letter(*letter).said {
            Said::ViewChange { view: of, .. } => of >= view,
            _ => false,
        };
        let own: Vec<LetterId> = self.liar.view_changes(owner, view).collect();
        let group: Vec<LetterId> = said.iter().copied().filter(is_view_change).chain(own).collect();
        self.try_groups(at, &[], &mut Vec::new(), &group, true, found);
        new_views.extend(self.liars_new_views(owner, view, letters));
        for new_view in new_views {
            let Said::NewView { named, .. } = &self.post.letter(new_view).said else { unreachable!("it is one") };
            let names = |letter: &&LetterId| match &self.post.letter(**letter).said {
                Said::ViewChange { statement, .. } => named.contains(statement),
                _ => false,
            };
            let named: Vec<Happening> = group.iter().filter(names).map(|letter| Happening::Letter(*letter)).collect();
            // What it names comes before it; what it names and somebody contradicted is taken after it only.
            let path = [&named[..], &[Happening::Letter(new_view)], &named[..]].concat();
            self.try_path(at, &path, found);
        }
    }

    /// The new views that the liar can make of the view changes that there are, for views from this one on.
    fn liars_new_views(&mut self, owner: ReplicaId, view: View, letters: &[LetterId]) -> Vec<LetterId> {
        let mut others: BTreeMap<View, BTreeSet<Statement>> = BTreeMap::new();
        for letter in letters {
            let letter = self.post.letter(*letter);
            if let Said::ViewChange { view: of, statement, .. } = letter.said
                && of >= view
            {
                others.entry(of).or_default().insert((letter.from, statement));
            }
        }
        let mut new_views = Vec::new();
        for (of, statements) in others {
            let statements: Vec<Statement> = statements.into_iter().collect();
            new_views.extend(self.liar.new_views(of, owner, &statements, &mut self.post));
        }
        new_views
    }

    /// Moves of one letter each, whether they show or not, but for view changes and new views.
    #[cfg(test)]
    fn find_single(&mut self, at: LocalId, letters: &[LetterId], found: &mut Found) {
        let (owner, view) = (self.locals.owner(at), self.locals.standing(at).view);
        let is_to_owner = |letter: &LetterId| self.post.letter(*letter).to == Principal::Replica(owner);
        let said: Vec<LetterId> = letters.iter().copied().filter(is_to_owner).collect();
        let mut new_views = Vec::new();
        let singles = said.iter().chain(self.liar.menu(owner)).copied().map(Happening::Letter);
        for happening in singles.chain([Happening::TimeOut]).collect::<Vec<_>>() {
            if let Happening::Letter(letter) = happening {
                match self.post.letter(letter).said {
                    Said::NewView { view: of, .. } if of >= view => new_views.push(letter),
                    _ => {}
                }
                if matches!(self.post.letter(letter).said, Said::NewView { .. } | Said::ViewChange { .. }) {
                    continue;
                }
            }
            let step = self.locals.step(at, happening, &mut self.post);
            if step.to != at || step.shows {
                self.keep(found, &[], happening, step);
            }
        }
        self.find_view_changes(at, &said, letters, new_views, found);
    }

    /// Moves that prepare a batch whose commits have been heard: it replies for good at once, and not tentatively before.
    fn find_commits_first(&mut self, at: LocalId, commits: &[LetterId], prepares: &[LetterId], found: &mut Found) {
        for (place, first) in commits.iter().enumerate() {
            let one = self.locals.step(at, Happening::Letter(*first), &mut self.post);
            if one.shows || one.to == at {
                continue;
            }
            for second in &commits[place + 1..] {
                let both = self.locals.step(one.to, Happening::Letter(*second), &mut self.post);
                if !both.shows && both.to != one.to {
                    self.try_groups(both.to, &[*first, *second], &mut Vec::new(), prepares, false, found);
                }
            }
        }
    }

    /// Tries every way of noting some letters of a group, in one order, after what was noted `before` them, and before the one that shows. The same letter may come again: who counts it twice is found out.
    fn try_groups(
        &mut self,
        at: LocalId,
        before: &[LetterId],
        noted: &mut Vec<LetterId>,
        group: &[LetterId],
        with_time_out: bool,
        found: &mut Found,
    ) {
        for (place, letter) in group.iter().enumerate() {
            let step = self.locals.step(at, Happening::Letter(*letter), &mut self.post);
            if step.shows {
                self.keep(found, &[before, &noted[..]].concat(), Happening::Letter(*letter), step);
            } else if step.to != at
                && noted.len() < NOTED_MAX
                && noted
                    .last()
                    .is_none_or(|last| group.iter().position(|held| held == last).is_some_and(|held| held <= place))
            {
                noted.push(*letter);
                self.try_groups(step.to, before, noted, group, with_time_out, found);
                if with_time_out {
                    let late = self.locals.step(step.to, Happening::TimeOut, &mut self.post);
                    if late.shows {
                        self.keep(found, &[before, &noted[..]].concat(), Happening::TimeOut, late);
                    }
                }
                noted.pop();
            }
        }
    }

    /// Tries happenings one after the other, up to the one that shows; only the last kind may.
    fn try_path(&mut self, mut at: LocalId, path: &[Happening], found: &mut Found) {
        let mut noted = Vec::new();
        for happening in path {
            let step = self.locals.step(at, *happening, &mut self.post);
            if step.shows {
                self.keep(found, &noted, *happening, step);
                return;
            }
            if step.to != at
                && let Happening::Letter(letter) = happening
            {
                noted.push(*letter);
            }
            at = step.to;
        }
    }

    fn keep(&self, found: &mut Found, noted: &[LetterId], last: Happening, step: Step) {
        let mut happenings: Vec<Happening> = noted.iter().map(|letter| Happening::Letter(*letter)).collect();
        happenings.push(last);
        let of_faulty = |happening: &Happening| match happening {
            Happening::Letter(letter) => self.post.letter(*letter).from == self.liar.id,
            Happening::TimeOut => false,
        };
        let lies = u8::from(happenings.iter().any(of_faulty));
        let cost = Cost { lies, time_outs: u8::from(last == Happening::TimeOut) };
        let held = found.entry((step.to, step.sends, cost)).or_insert_with(|| happenings.clone());
        if happenings.len() < held.len() {
            *held = happenings;
        }
    }
}
