//! Grouped moves leave out no state that the goals could tell from those that are left.

use super::*;
use crate::exhaustive::facts::{Fact, Facts};

/// Everything that three correct replicas may hold and have said together. Where a new view is taken before what it names, a single step does not
/// tell with which one its view is entered: that is left out.
fn reached(bound: Bound, faulty: u8, grain: Grain) -> Vec<[Facts; CORRECT]> {
    let mut search = Search::new(bound, ReplicaId(faulty), grain);
    let (counts, finding) = search.run();
    assert!(finding.is_none(), "replica {faulty} is faulty: {}", finding.unwrap());
    println!("replica {faulty} is faulty, {grain:?}: {counts}");
    let told = |id: FactsId| {
        let facts = search.edges.courses.facts.get(id);
        let said = facts.said.iter().filter(|said| !matches!(said, Fact::Entered { .. })).cloned().collect();
        Facts { said, ..facts.clone() }
    };
    search.judged.keys().map(|facts| facts.map(told)).collect()
}

/// Where batches are executed when they have committed, and where they are when they have prepared.
fn cases() -> Vec<(Bound, u8)> {
    let of = Bound::of;
    let cases =
        [(of(1, 2, 1, 1), 0), (of(1, 2, 1, 1), 1), (of(1, 2, 1, 1), 3), (of(1, 2, 0, 2), 3), (of(2, 1, 2, 0), 0)];
    let both = |(bound, faulty)| [false, true].map(|tentative| (Bound { tentative, ..bound }, faulty));
    cases.into_iter().flat_map(both).collect()
}

/// Moves that group what is only noted with what shows reach all that single letters do in any order, with no more lies: it is the same, or part of what they reach.
#[test]
fn grouped_moves_reach_what_single_letters_reach() {
    for (bound, faulty) in cases() {
        let (single, grouped) = (reached(bound, faulty, Grain::Single), reached(bound, faulty, Grain::Grouped));
        assert!(single.len() > 5 && grouped.len() <= single.len(), "{bound:?}");
        for state in &single {
            let holds = |other: &[Facts; CORRECT]| state.iter().zip(other).all(|(part, whole)| is_part(part, whole));
            assert!(grouped.iter().any(holds), "{bound:?}, replica {faulty} is faulty: lost is\n{state:#?}");
        }
    }
}

/// Whether all that a replica holds and has said is among what it does in another course.
fn is_part(part: &Facts, whole: &Facts) -> bool {
    let committed = part.committed.iter().zip(&whole.committed).all(|(part, whole)| part.is_none() || part == whole);
    let held = committed && whole.results.starts_with(&part.results);
    held && part.view == whole.view && part.blamed <= whole.blamed && part.said.iter().all(|said| whole.says(said))
}
