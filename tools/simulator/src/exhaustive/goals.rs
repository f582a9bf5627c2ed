//! What must hold in every state, found out from what correct replicas said and hold: not from what the engine counted.

use crate::exhaustive::locals::{Happening, LocalId};
use crate::exhaustive::moves::{Move, Moves};
use crate::exhaustive::post::{Letter, LetterId, Round, Said};
use crate::exhaustive::quorums::{CORRECT, CORRECT_FINAL, CORRECT_OF_QUORUM, CORRECT_TENTATIVE};
use crate::exhaustive::sets::SetId;
use logothete_crypto::{Digest, digest};
use logothete_engine::numbers::{ClientId, ReplicaId, SequenceNumber, View};
use logothete_engine::wire::reply::Mode;
use logothete_engine::wire::view_change::null_batch;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// One batch a number.
    Agreement,
    /// No correct replica contradicts itself.
    NoContradiction,
    /// Whatever counts as prepared or committed was voted for by enough.
    Certificates,
    /// What a client accepted stays.
    Acceptance,
    /// A correct replica leaves a view only if one left it for a reason.
    Reasons,
    /// Requests complete once the network is kind.
    Completion,
}

impl Goal {
    /// The checker of the simulator whose property it is.
    pub fn label(self) -> &'static str {
        match self {
            Self::Agreement => "C1 agreement",
            Self::NoContradiction => "C9 no self-contradiction",
            Self::Certificates => "C11 ghost certificates",
            Self::Acceptance => "C12 client acceptance",
            Self::Reasons => "C6 views change for a reason",
            Self::Completion => "C6 completion",
        }
    }
}

/// A goal that a state misses, and how.
pub type Miss = (Goal, String);

/// A state of all correct replicas, and what each has sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Global {
    pub locals: [LocalId; CORRECT],
    pub sent: [SetId; CORRECT],
}

/// Looks at a state that a move of the replica at `mover` led to.
pub struct Look<'a> {
    pub moves: &'a Moves,
    pub before: Global,
    pub after: Global,
    pub mover: usize,
}

impl Look<'_> {
    /// What the state misses.
    pub fn miss(&self, made: &Move) -> Option<Miss> {
        let told: Vec<Rc<[LetterId]>> = self.after.sent.iter().map(|set| self.moves.sets.get(*set)).collect();
        let earlier = self.moves.sets.get(self.before.sent[self.mover]);
        let fresh = made.sends.iter().copied().filter(|letter| earlier.binary_search(letter).is_err());
        let fresh: Vec<&Letter> = fresh.map(|letter| self.moves.post.letter(letter)).collect();
        let said: Vec<Vec<&Letter>> =
            told.iter().map(|set| set.iter().map(|letter| self.moves.post.letter(*letter)).collect()).collect();
        self.reasons()
            .or_else(|| self.entry(made, &said))
            .or_else(|| fresh.iter().find_map(|letter| self.contradiction(letter, &said[self.mover])))
            .or_else(|| fresh.iter().find_map(|letter| certificate(letter, &said)))
            .or_else(|| self.agreement(&said))
            .or_else(|| self.acceptance(&said))
    }

    /// C6: of those who are in a view, or want it, the first had a reason to leave the one before; so one faulty replica moves nobody.
    fn reasons(&self) -> Option<Miss> {
        let standing = |at: usize| self.moves.locals.standing(self.after.locals[at]);
        let view = standing(self.mover).view;
        let reason = |at: usize| standing(at).blamed.is_some_and(|blamed| blamed.0 + 1 >= view.0);
        let moved = view.0 > 0 && !(0..CORRECT).any(reason);
        moved.then(|| {
            let who = self.moves.locals.owner(self.after.locals[self.mover]);
            (
                Goal::Reasons,
                format!("{who} wants v{view}, and no correct replica has a reason to leave v{}", view.0 - 1),
            )
        })
    }

    /// C11 of a view that is entered: its new view keeps what may have committed, and invents nothing.
    fn entry(&self, made: &Move, said: &[Vec<&Letter>]) -> Option<Miss> {
        let standing = |global: &Global| self.moves.locals.standing(global.locals[self.mover]);
        let (before, after) = (standing(&self.before), standing(&self.after));
        if !after.active || (before.active && before.view == after.view) {
            return None;
        }
        let own = self.fresh_new_view(made);
        let taken = made.happenings.iter().filter_map(|happening| match happening {
            Happening::Letter(id) => Some(*id),
            Happening::TimeOut => None,
        });
        let opened = own.into_iter().chain(taken).map(|id| &self.moves.post.letter(id).said);
        let mut selection = opened.filter_map(|said| match said {
            Said::NewView { view, selection, .. } if *view == after.view => Some(selection),
            _ => None,
        });
        // Who enters with what it noted before is looked at when it votes.
        let selection = selection.next_back()?;
        let who = self.moves.locals.owner(self.after.locals[self.mover]);
        for number in 1..=after.committed.len() as u64 {
            let sequence = SequenceNumber(number);
            let selected = selection.iter().find(|(of, _)| *of == sequence).map(|(_, batch)| *batch);
            let other = |batch: Digest| selected != Some(batch);
            if let Some(locked) = locked_from(sequence, other, said).filter(|locked| *locked < after.view) {
                let text = format!(
                    "{who} enters v{}, which leaves out what may have committed at s{sequence} in v{locked}",
                    after.view
                );
                return Some((Goal::Certificates, text));
            }
            let invented =
                selected.filter(|batch| *batch != null_batch() && !is_known(sequence, *batch, after.view, said));
            if invented.is_some() {
                let text = format!(
                    "{who} enters v{}, which selects at s{sequence} what no correct replica voted for",
                    after.view
                );
                return Some((Goal::Certificates, text));
            }
        }
        None
    }

    /// The new view that the mover itself opened.
    fn fresh_new_view(&self, made: &Move) -> Option<LetterId> {
        let opens = |id: &LetterId| matches!(self.moves.post.letter(*id).said, Said::NewView { .. });
        made.sends.iter().copied().find(opens)
    }

    /// C9: what a correct replica says now contradicts what it said before.
    fn contradiction(&self, letter: &Letter, said: &[&Letter]) -> Option<Miss> {
        let own = said.iter().filter(|other| other.to == letter.to);
        let miss = |what: String| Some((Goal::NoContradiction, format!("{} {what}", letter.from)));
        match &letter.said {
            Said::Vote { round, view, sequence, batch } => {
                if *view < self.moves.locals.standing(self.before.locals[self.mover]).view {
                    return miss(format!("votes in v{view}, which it left"));
                }
                let differs = |other: &&Letter| {
                    matches!(&other.said, Said::Vote { round: r, view: v, sequence: s, batch: b }
                        if (r, v, s) == (round, view, sequence) && b != batch)
                };
                own.copied()
                    .find(|other| differs(other))
                    .and_then(|_| miss(format!("says two things in one round about s{sequence} in v{view}")))
            }
            Said::Claim { sequence, batch } => {
                let differs = |other: &&Letter| matches!(&other.said, Said::Claim { sequence: s, batch: b } if s == sequence && b != batch);
                own.copied()
                    .find(|other| differs(other))
                    .and_then(|_| miss(format!("claims two commits of s{sequence}")))
            }
            Said::ViewChange { view, prepared, pre_prepared, .. } => own.copied().find_map(|other| match &other.said {
                // Its commit says that the batch prepared; its vote, that it pre-prepared.
                Said::Vote { round: Round::Commit, view: v, sequence, batch } if v < view => {
                    let held = prepared.iter().find(|(s, ..)| s == sequence);
                    let tells = held.is_some_and(|(_, w, b)| w > v || (w == v && b == batch));
                    if tells {
                        None
                    } else {
                        miss(format!("leaves for v{view} and hides that s{sequence} prepared in v{v}"))
                    }
                }
                Said::Vote { view: v, sequence, batch, .. } if v < view => {
                    let tells = pre_prepared.iter().any(|(s, w, b)| (s, b) == (sequence, batch) && w >= v);
                    if tells {
                        None
                    } else {
                        miss(format!("leaves for v{view} and hides a vote about s{sequence} in v{v}"))
                    }
                }
                _ => None,
            }),
            _ => None,
        }
    }

    /// C1, and C11 of what committed.
    fn agreement(&self, said: &[Vec<&Letter>]) -> Option<Miss> {
        let held = |at: usize| &self.moves.locals.standing(self.after.locals[at]).committed;
        for (number, batch) in held(self.mover).iter().enumerate() {
            let Some(batch) = batch else { continue };
            let sequence = SequenceNumber(number as u64 + 1);
            let owner = |at: usize| self.moves.locals.owner(self.after.locals[at]);
            for at in (0..CORRECT).filter(|at| *at != self.mover) {
                if held(at)[number].is_some_and(|other| other != *batch) {
                    let text =
                        format!("{} and {} committed different batches at s{sequence}", owner(self.mover), owner(at));
                    return Some((Goal::Agreement, text));
                }
            }
            if locked_from(sequence, |locked| locked == *batch, said).is_none() && !is_claimed(sequence, *batch, said) {
                let text = format!("{} committed s{sequence} on fewer than f+1 correct commits", owner(self.mover));
                return Some((Goal::Certificates, text));
            }
        }
        None
    }

    /// C12: what a client may have accepted, with the faulty replica's reply beside those of correct ones, is what is final in the end.
    fn acceptance(&self, said: &[Vec<&Letter>]) -> Option<Miss> {
        type Result = (ClientId, SequenceNumber, Digest);
        let mut tentative: BTreeMap<(Result, View), BTreeSet<ReplicaId>> = BTreeMap::new();
        let mut last: BTreeMap<Result, BTreeSet<ReplicaId>> = BTreeMap::new();
        for letter in said.iter().flatten() {
            if let Said::Reply { client, sequence, result, mode, view } = letter.said {
                let result = (client, sequence, result);
                match mode {
                    Mode::Tentative => tentative.entry((result, view)).or_default().insert(letter.from),
                    Mode::Committed => last.entry(result).or_default().insert(letter.from),
                };
            }
        }
        let by_tentative = tentative.into_iter().filter(|((result, _), from)| {
            let also = last.get(result).into_iter().flatten();
            from.iter().chain(also).collect::<BTreeSet<_>>().len() >= CORRECT_TENTATIVE
        });
        let accepted: BTreeSet<Result> = by_tentative
            .map(|((result, _), _)| result)
            .chain(last.iter().filter(|(_, from)| from.len() >= CORRECT_FINAL).map(|(result, _)| *result))
            .collect();
        for (client, sequence, result) in accepted {
            for at in 0..CORRECT {
                let standing = self.moves.locals.standing(self.after.locals[at]);
                let place = sequence.0 as usize;
                if standing.final_prefix() >= place && digest(&standing.chain[place].0) != result {
                    let who = self.moves.locals.owner(self.after.locals[at]);
                    let text = format!("c{client} may have accepted a result at s{sequence} that is not {who}'s");
                    return Some((Goal::Acceptance, text));
                }
            }
        }
        None
    }
}

/// C11 of what a correct replica says now: a commit tells of a certificate; a vote respects what f+1 correct replicas committed to before.
fn certificate(letter: &Letter, said: &[Vec<&Letter>]) -> Option<Miss> {
    let Said::Vote { round, view, sequence, batch } = letter.said else { return None };
    let who = letter.from;
    if round == Round::Commit {
        let agrees = |said: &Said| match said {
            Said::Vote { round: Round::PrePrepare | Round::Prepare, view: v, sequence: s, batch: b } => {
                (*v, *s, *b) == (view, sequence, batch)
            }
            // Who opens a view proposes what it selects.
            Said::NewView { view: v, selection, .. } => *v == view && selection.contains(&(sequence, batch)),
            _ => false,
        };
        let correct = said.iter().filter(|set| set.iter().any(|letter| agrees(&letter.said))).count();
        if correct < CORRECT_OF_QUORUM {
            let text = format!("s{sequence} prepared at {who} in v{view} with {correct} correct votes");
            return Some((Goal::Certificates, text));
        }
        return None;
    }
    let locked = locked_from(sequence, |locked| locked != batch, said).filter(|locked| *locked < view)?;
    let text = format!("{who} votes for another batch at s{sequence} in v{view} than may have committed in v{locked}");
    Some((Goal::Certificates, text))
}

/// The first view in which so many correct replicas committed to a batch of a kind that it may have committed with a faulty one's help.
fn locked_from(sequence: SequenceNumber, is: impl Fn(Digest) -> bool, said: &[Vec<&Letter>]) -> Option<View> {
    let mut commits: BTreeMap<(View, Digest), BTreeSet<ReplicaId>> = BTreeMap::new();
    for letter in said.iter().flatten() {
        if let Said::Vote { round: Round::Commit, view, sequence: of, batch } = letter.said
            && of == sequence
            && is(batch)
        {
            commits.entry((view, batch)).or_default().insert(letter.from);
        }
    }
    commits.into_iter().find(|(_, from)| from.len() >= CORRECT_OF_QUORUM).map(|((view, _), _)| view)
}

/// Whether a correct replica voted for a batch before a view, or proposed it.
fn is_known(sequence: SequenceNumber, batch: Digest, before: View, said: &[Vec<&Letter>]) -> bool {
    let votes = |letter: &&Letter| match &letter.said {
        Said::Vote { view, sequence: of, batch: voted, .. } => (*of, *voted) == (sequence, batch) && *view < before,
        Said::NewView { view, selection, .. } => *view < before && selection.contains(&(sequence, batch)),
        _ => false,
    };
    said.iter().flatten().any(votes)
}

/// Whether a correct replica claims to have committed a batch.
fn is_claimed(sequence: SequenceNumber, batch: Digest, said: &[Vec<&Letter>]) -> bool {
    let claims = |letter: &&Letter| letter.said == Said::Claim { sequence, batch };
    said.iter().flatten().any(claims)
}
