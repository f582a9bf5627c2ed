//! The one table of quorum sizes (`protocol.md QU-1`, PBFT-99 section 2).

use crate::limits::REPLICAS_MAX;
use crate::numbers::ReplicaId;

/// The sizes that follow from `n = 3f+1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorum {
    replicas: usize,
    faults: usize,
}

impl Quorum {
    /// Of a cluster of `replicas`, or `None` where that is no `3f+1` with `f ≥ 1`.
    pub const fn of(replicas: usize) -> Option<Self> {
        if replicas < 4 || replicas > REPLICAS_MAX || replicas % 3 != 1 {
            return None;
        }
        Some(Self::bearing((replicas - 1) / 3))
    }

    /// Of the replicas that it takes to bear `faults`. One that bears none is the baseline that replicates nothing.
    pub const fn bearing(faults: usize) -> Self {
        Self { replicas: 3 * faults + 1, faults }
    }

    /// All replicas, `n`.
    pub const fn replicas(self) -> usize {
        self.replicas
    }

    /// How many may be faulty, `f`.
    pub const fn faults(self) -> usize {
        self.faults
    }

    /// `2f+1`: any two such sets share a correct replica.
    pub const fn strong(self) -> usize {
        2 * self.faults + 1
    }

    /// `f+1`: any such set holds a correct replica.
    pub const fn weak(self) -> usize {
        self.faults + 1
    }

    /// `2f` prepares of backups, which with the pre-prepare make a strong quorum.
    pub const fn prepares(self) -> usize {
        2 * self.faults
    }

    /// Whether a replica is one of the `f+1` that answer number `number` in full (`protocol.md CL-5`): they take turns, and one of
    /// them is correct.
    pub const fn answers_in_full(self, id: ReplicaId, number: u64) -> bool {
        let first = (number % self.replicas as u64) as usize;
        (id.0 as usize + self.replicas - first) % self.replicas < self.weak()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `protocol.md QU-1`
    #[test]
    fn sizes_are_those_of_the_papers() {
        // (n, f, strong, weak, prepares), written out so that a slip in the formulas cannot hide in the test.
        for (replicas, faults, strong, weak, prepares) in
            [(4, 1, 3, 2, 2), (7, 2, 5, 3, 4), (10, 3, 7, 4, 6), (13, 4, 9, 5, 8), (16, 5, 11, 6, 10)]
        {
            let quorum = Quorum::of(replicas).unwrap();
            assert_eq!(
                (quorum.faults(), quorum.strong(), quorum.weak(), quorum.prepares()),
                (faults, strong, weak, prepares)
            );
            // Two strong quorums share more than f replicas.
            assert!(2 * strong - replicas > faults);
            assert_eq!(Quorum::bearing(faults), quorum);
        }
        let alone = Quorum::bearing(0);
        assert_eq!((alone.replicas(), alone.strong(), alone.weak(), alone.prepares()), (1, 1, 1, 0));
        for replicas in [0, 1, 2, 3, 5, 6, 8, 17, 19] {
            assert_eq!(Quorum::of(replicas), None);
        }
    }

    /// `protocol.md CL-5`
    #[test]
    fn a_weak_quorum_answers_in_full_and_all_take_turns() {
        for replicas in [4, 7, 16] {
            let quorum = Quorum::of(replicas).unwrap();
            let mut turns = vec![0; replicas];
            for number in 0..replicas as u64 {
                let full = (0..replicas).filter(|id| quorum.answers_in_full(ReplicaId(*id as u8), number));
                let full: Vec<usize> = full.collect();
                assert_eq!(full.len(), quorum.weak());
                full.iter().for_each(|id| turns[*id] += 1);
            }
            assert!(turns.iter().all(|turns| *turns == quorum.weak()));
        }
    }
}
