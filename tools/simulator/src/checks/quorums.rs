//! The sizes of quorums, written out: what the checkers count with is not what the engine computes.

/// The sizes that go with one number of replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorums {
    pub replicas: usize,
    /// How many may be faulty.
    pub faults: usize,
    /// So many hold a correct one.
    pub weak: usize,
    /// Any two sets of so many share a correct one.
    pub strong: usize,
}

const TABLE: [Quorums; 4] = [
    Quorums { replicas: 4, faults: 1, weak: 2, strong: 3 },
    Quorums { replicas: 7, faults: 2, weak: 3, strong: 5 },
    Quorums { replicas: 10, faults: 3, weak: 4, strong: 7 },
    Quorums { replicas: 13, faults: 4, weak: 5, strong: 9 },
];

impl Quorums {
    /// # Panics
    /// If the table has no such cluster.
    pub fn of(replicas: usize) -> Self {
        let row = TABLE.iter().find(|row| row.replicas == replicas);
        *row.expect("clusters of 4, 7, 10 and 13 replicas are checked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each size is for, said without a formula for it.
    #[test]
    fn the_sizes_do_what_they_are_for() {
        for Quorums { replicas, faults, weak, strong } in TABLE {
            assert!(weak > faults, "a weak quorum holds a correct replica");
            assert!(2 * strong - replicas > faults, "two quorums share a correct replica");
            assert!(strong <= replicas - faults, "the correct ones alone are a quorum");
            assert!(replicas - strong < weak, "a quorum and a weak quorum share a replica");
        }
        assert_eq!(Quorums::of(10).strong, 7);
    }
}
