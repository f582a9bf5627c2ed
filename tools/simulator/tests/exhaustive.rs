//! A small bound of the exhaustive mode: nothing is found, whichever of the two primaries is faulty.

use logothete_engine::numbers::ReplicaId;
use logothete_simulator::exhaustive::{Bound, explore};

const SMALL: Bound =
    Bound { numbers: 1, views: 2, lies: 1, time_outs: 2, tentative: true, completes_everywhere: false };

#[test]
fn nothing_is_found_within_a_small_bound() {
    for id in [0, 1].map(ReplicaId) {
        let (counts, finding) = explore(SMALL, id);
        if let Some(finding) = finding {
            panic!("replica {id} is faulty: {finding}");
        }
        // It searched: both views, and more than a handful of ways to come to an end.
        assert!(counts.states > 500 && counts.ends > 10, "{counts}");
    }
}
