//! Bounded exhaustive mode.

pub mod goals;
mod kind;
mod liar;
mod locals;
mod moves;
mod post;
mod quorums;
mod search;
mod sets;
mod subject;

use goals::Goal;
use logothete_engine::numbers::ReplicaId;
use search::Search;

/// How far is searched.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Sequence numbers, and requests.
    pub numbers: u64,
    /// Views, the first included.
    pub views: u64,
    /// In so many moves the faulty replica may have a hand.
    pub lies: u8,
    /// So many time-outs may fire.
    pub time_outs: u8,
    /// Whether batches are executed when they have prepared.
    pub tentative: bool,
    /// Whether completion is checked from every state, or from those only that lead nowhere else.
    pub completes_everywhere: bool,
}

/// What a search came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub states: u64,
    pub transitions: u64,
    pub locals: u64,
    pub steps: u64,
    pub ends: u64,
    pub completions: u64,
    pub completions_played: u64,
}

/// A state that misses a goal, and the way to it.
#[derive(Clone, Debug)]
pub struct Finding {
    pub goal: Goal,
    pub what: String,
    pub steps: Vec<String>,
}

/// Searches everything that may happen within a bound when one replica is faulty.
pub fn explore(bound: Bound, faulty: ReplicaId) -> (Counts, Option<Finding>) {
    Search::new(bound, faulty).run()
}
