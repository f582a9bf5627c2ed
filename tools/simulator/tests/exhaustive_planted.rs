//! Planted bugs that the exhaustive mode finds, each with the shortest way to it:
//! `cargo test -p logothete-simulator --features planted-bugs --test exhaustive_planted -- --nocapture`.

use logothete_engine::numbers::ReplicaId;
use logothete_engine::planted::{Bug, plant};
use logothete_simulator::exhaustive::goals::Goal;
use logothete_simulator::exhaustive::{Bound, explore};

/// One number, two views: what it takes for each of the bugs.
const fn bound(lies: u8, time_outs: u8) -> Bound {
    Bound { tentative: false, ..Bound::of(1, 2, lies, time_outs) }
}

/// One test for all, since a bug is planted in the whole process.
#[test]
fn each_planted_bug_is_found_by_a_goal_that_it_breaks() {
    let planted = [
        (Bug::QuorumShort, 0, bound(2, 0), Goal::Certificates),
        (Bug::NewViewUnchecked, 1, bound(2, 2), Goal::Certificates),
        (Bug::ClaimsDiscarded, 3, bound(1, 2), Goal::Certificates),
        (Bug::ViewChangeOfOne, 3, bound(1, 0), Goal::Reasons),
    ];
    for (bug, faulty, bound, goal) in planted {
        plant(Some(bug));
        let (counts, finding) = explore(bound, ReplicaId(faulty));
        plant(None);
        let finding = finding.unwrap_or_else(|| panic!("{} is not found in {counts}", bug.id()));
        println!("{}: {}, found in {counts}\n{finding}", bug.id(), bug.what());
        assert_eq!(finding.goal, goal, "{}", bug.id());
    }
}
