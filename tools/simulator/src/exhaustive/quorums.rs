//! The sizes that the goals go by, written out: they are to find out whether the engine's own are wrong.

/// Replicas, `n`.
pub const REPLICAS: usize = 4;

/// Correct ones.
pub const CORRECT: usize = 3;

/// A quorum, `2f+1`.
pub const QUORUM: usize = 3;

/// Of any certificate of `2f+1` so many are correct.
pub const CORRECT_OF_QUORUM: usize = 2;

/// So many tentative replies of correct replicas that are alike make, with a faulty one's, the `2f+1` that a client accepts.
pub const CORRECT_TENTATIVE: usize = 2;

/// So many final replies of correct replicas make, with a faulty one's, the `f+1` that a client accepts.
pub const CORRECT_FINAL: usize = 1;

/// So many final replies that are alike make a client accept: `f+1`.
pub const ACCEPTED_FINAL: usize = 2;

/// So many that are alike, tentative ones among them: `2f+1`.
pub const ACCEPTED_TENTATIVE: usize = QUORUM;
