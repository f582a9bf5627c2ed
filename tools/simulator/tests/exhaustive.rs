//! Small bounds of the exhaustive mode: nothing is found, whether a primary is faulty or a backup.

use logothete_engine::numbers::ReplicaId;
use logothete_simulator::exhaustive::{Bound, explore};

/// One number with a view change, and two numbers.
const SMALL: [(u8, Bound); 4] =
    [(0, Bound::of(1, 2, 1, 2)), (1, Bound::of(1, 2, 1, 2)), (0, Bound::of(2, 3, 1, 2)), (3, Bound::of(2, 2, 1, 1))];

#[test]
fn nothing_is_found_within_a_small_bound() {
    for (id, bound) in SMALL {
        let id = ReplicaId(id);
        let (counts, finding) = explore(bound, id);
        if let Some(finding) = finding {
            panic!("replica {id} is faulty: {finding}");
        }
        // It searched: both views, and more than a handful of ways to come to an end.
        assert!(counts.states > 500 && counts.ends > 10, "{counts}");
    }
}
