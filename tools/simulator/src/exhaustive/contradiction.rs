//! C9: what a correct replica says never contradicts what it said before, to the same receiver.

use crate::exhaustive::goals::{Goal, Miss};
use crate::exhaustive::post::{Letter, Round, Said};
use logothete_engine::numbers::View;

/// How a letter that a replica sends in a view contradicts one of those that it sent, this step's among them.
pub fn contradiction(letter: &Letter, own_view: View, said: &[&Letter]) -> Option<Miss> {
    let mut own = said.iter().filter(|other| other.to == letter.to).map(|other| &other.said);
    let what = match &letter.said {
        Said::Vote { view, .. } if *view < own_view => Some(format!("votes in v{view}, which it left")),
        Said::Vote { round, view, sequence, batch } => {
            let differs = |other: &Said| {
                matches!(other, Said::Vote { round: r, view: v, sequence: s, batch: b }
                    if (r, v, s) == (round, view, sequence) && b != batch)
            };
            own.any(differs).then(|| format!("says two things in one round about s{sequence} in v{view}"))
        }
        Said::Claim { sequence, batch } => {
            let differs =
                |other: &Said| matches!(other, Said::Claim { sequence: s, batch: b } if s == sequence && b != batch);
            own.any(differs).then(|| format!("claims two commits of s{sequence}"))
        }
        Said::ViewChange { .. } => own.find_map(|other| hides(&letter.said, other)),
        Said::Suspicion { .. } | Said::NewView { .. } | Said::Content | Said::Reply { .. } => None,
    };
    what.map(|what| (Goal::NoContradiction, format!("{} {what}", letter.from)))
}

/// What a view change does not tell of a vote before it: a commit says that the batch prepared, any vote that it was pre-prepared.
fn hides(view_change: &Said, vote: &Said) -> Option<String> {
    let Said::ViewChange { view, prepared, pre_prepared, .. } = view_change else { return None };
    let Said::Vote { round, view: voted, sequence, batch } = vote else { return None };
    if voted >= view {
        return None;
    }
    if *round == Round::Commit {
        let held = prepared.iter().find(|(of, ..)| of == sequence);
        let tells = held.is_some_and(|(_, last, held)| last > voted || (last == voted && held == batch));
        return (!tells).then(|| format!("leaves for v{view} and hides that s{sequence} prepared in v{voted}"));
    }
    let tells = pre_prepared.iter().any(|(of, last, held)| (of, held) == (sequence, batch) && last >= voted);
    (!tells).then(|| format!("leaves for v{view} and hides a vote about s{sequence} in v{voted}"))
}
