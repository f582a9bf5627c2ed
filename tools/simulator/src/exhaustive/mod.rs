//! Bounded exhaustive mode: everything that may happen to four replicas, one of them faulty, within a bound.
//!
//! *For*: what seeds miss because it takes one schedule of millions. *Enters*: the engine's `Replica`, codec, signatures and tags as they are. *Never*: chance,
//! a clock, an order that depends on a hasher.
//!
//! **What is explored.** The clients' requests are with all replicas, and nothing is ordered. From there on, in any order and interleaving:
//! - any letter that a correct replica wrote arrives, at any time or never: the network reorders and holds back;
//! - the faulty replica says to each of the others, whenever it likes, what is in its menu ([`liar`]): it equivocates, votes both ways, lies in view changes,
//!   opens views with wrong selections, with right ones, to one receiver only, or is silent;
//! - the time-out of any replica fires.
//!
//! **How it ends within the bound.** A step of a replica is made once, by the engine, and looked up from then on ([`locals`]). How one replica got on, its state and
//! everything that it said, is its *course* ([`courses`]); three courses are a state of all, and what can happen next in one follows from a look into a table
//! ([`edges`]). The goals go by what was said and is held, not by how it came about, and are judged once for each such combination ([`facts`]).
//!
//! **What is left out** because something else stands for it:
//! - A vote that does not suffice yet shows nowhere but in the replica that notes it. It is delivered together with the one that it was lacking for ([`moves`]): it
//!   commutes with everything that others do, and whoever may deliver it now may deliver it later. Where batches are executed tentatively, the order of a quorum's commits and the
//!   prepares tells: who has heard the commits first replies for good at once, and who prepared first has replied tentatively and does not reply again. Both are followed. All
//!   that single votes reach is reached, or is part of what is reached; a test compares both.
//! - View changes are grouped likewise, and new views with what they name. No test compares that: a replica that has noted one view change and votes on in its view
//!   may answer some things otherwise than one that has noted none.
//! - A lie or a time-out that was possible already before another replica's last move is not taken up again after it: done before, the other's move follows it all
//!   the same, since nothing that one replica does takes anything from another ([`search`]).
//! - Replicas are not interchangeable, since each leads a view of its own, but for one where there are three views: there is no reduction by symmetry.
//!   Persistent sets were tried, over all that each replica might still say once lies and time-outs are used up. They leave two thirds of the states out, and
//!   take longer to find than these take to visit.
//!
//! **Goals** ([`goals`]), in every state: agreement (C1), no self-contradiction (C9), certificates with enough correct voters, new views that keep what may
//! have committed and invent nothing (C11), what a client accepts stays (C12), and views change for a correct replica's reason. And from the
//! states that lead nowhere else within the bound, or from all, with a network that is kind and a faulty replica that has fallen silent, every request completes ([`kind`]).
//!
//! **The bound** is in [`Bound`]: sequence numbers (as many as requests), views, moves in which the faulty replica has a hand, time-outs.
//! What lies beyond a view or a number, or uses up more, is not followed. States are visited by how much they use up, and then breadth first: what is found is found
//! with as few lies and time-outs together as can be, and then in as few moves.
//!
//! With two numbers, three views, one lie and two time-outs there are 49,532 states where replica 0 is faulty, 5,119,077 where replica 1 is, 53,161,841 where
//! replica 2 is, with 183 million moves, and 53,226,185 where replica 3 is: all of it takes some twenty minutes of a core that is busy otherwise, and 2.5 GB. With one number and
//! three time-outs there are 1,601,446 where replica 3 is: half a minute.
//!
//! **What it does not cover.** Seeds play what is left out here. There are no lost messages but those that are held back for ever, no restarts, journals, checkpoints, state
//! transfer, queries or disputed requests, and four replicas. Of status messages only the suspicion of a primary is delivered until the network is kind; what is said again in
//! answer to one is what was said before, claims of commits apart. A replica that noted something, and waits for the rest for ever, is not
//! told from one that noted nothing: whether requests complete is not checked from there. Times are no part of a state: a time-out fires, and then everything that waits is due.
//!
//! A replica that two paths lead to keeps the clock of the first one.

mod contradiction;
mod courses;
mod edges;
mod facts;
pub mod goals;
mod hashing;
mod kind;
mod liar;
mod locals;
mod moves;
mod post;
mod quorums;
mod search;
mod sets;
mod subject;
mod telling;

use goals::Goal;
use logothete_engine::numbers::{ReplicaId, ReplicaSet};
use moves::Grain;
use quorums::REPLICAS;
use search::Search;
use std::fmt;

/// How far is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Sequence numbers, and requests: 1 or 2.
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

impl Bound {
    /// What is searched where nothing else is said: two numbers, with as many lies and time-outs as a search of minutes can take; and one number with a time-out more, by
    /// which all enter the third view.
    pub const STANDARD: [Self; 2] = [Self::of(2, 3, 1, 2), Self::of(1, 3, 1, 3)];

    /// So many numbers, views, lies and time-outs, where batches are executed when they have prepared.
    pub const fn of(numbers: u64, views: u64, lies: u8, time_outs: u8) -> Self {
        Self { numbers, views, lies, time_outs, tentative: true, completes_everywhere: false }
    }
}

/// What a search came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// States of all three correct replicas, and moves between them.
    pub states: u64,
    pub transitions: u64,
    /// Courses of one replica: its states, and what it said on the way to them.
    pub courses: u64,
    /// States of one replica, and the engine's steps between those.
    pub locals: u64,
    pub steps: u64,
    /// States that lead nowhere else within the bound.
    pub ends: u64,
    /// From how many states completion was checked, and how many different ones those were once everything under way had arrived.
    pub completions: u64,
    pub completions_played: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, transitions, courses, locals, steps, ends, completions, completions_played } = self;
        write!(
            f,
            "{states} states, {transitions} moves, {ends} ends, {courses} courses of one replica, {locals} states of one replica, {steps} steps; "
        )?;
        write!(f, "completion from {completions} states, {completions_played} different")
    }
}

/// A state that misses a goal, and the shortest way to it.
#[derive(Clone, Debug)]
pub struct Finding {
    pub goal: Goal,
    pub what: String,
    pub steps: Vec<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.goal.label(), self.what)?;
        self.steps.iter().enumerate().try_for_each(|(at, step)| writeln!(f, "{:3}. {step}", at + 1))
    }
}

/// Searches everything that may happen within a bound when one replica is faulty, up to the first state that misses a goal.
pub fn explore(bound: Bound, faulty: ReplicaId) -> (Counts, Option<Finding>) {
    Search::new(bound, faulty, Grain::Grouped).run()
}

/// The replicas that may be faulty, one at a time.
pub fn faulty() -> impl Iterator<Item = ReplicaId> {
    ReplicaSet::first(REPLICAS).iter()
}
