//! The Byzantine generals' problem and its two classic algorithms, as Lamport, Shostak and Pease defined them ("The Byzantine Generals Problem",
//! ACM TOPLAS 4(3), 1982; BGP82 below).
//!
//! *For*: seeing why `3m+1` generals are needed, why signatures change that, and what it costs; and the same faults against the real replicas.
//! *Enters*: a [`Problem`] (how many generals, which are traitors, what the commander orders) and a strategy of the traitors. *Never*: a
//! shortcut that knows who is loyal: what a loyal general does follows from what it received and from nothing else.
//!
//! ```text
//!   problem ──▶ oral   OM(m) ┐                        ┌──▶ verdict: IC1, IC2, messages, rounds
//!               signed SM(m) ┴─ rounds │ sockets ─────┴──▶ picture: text, SVG
//!                     ▲
//!               traitors: silent, random, split, collude, a script; or all there are (search)
//! ```
//!
//! | room | what |
//! | --- | --- |
//! | [`order`], [`problem`] | what is said; who says it, and what must come of it |
//! | [`rounds`] | generals that take turns in one process; [`sockets`]: each on a thread of its own, with time-outs |
//! | [`oral`], [`signed`] | the two algorithms, and their traitors |
//! | [`search`] | all that traitors can do, where that is finite; and what no rule of three generals can do |
//! | [`pbft`] | the same problem given to the replicas of the engine |
//! | [`picture`] | what happened, as text and as SVG |
#![forbid(unsafe_code)]

pub mod oral;
pub mod order;
pub mod pbft;
pub mod picture;
pub mod problem;
pub mod rounds;
pub mod script;
pub mod search;
pub mod signed;
pub mod sockets;
pub mod strategy;

pub use order::Order;
pub use problem::{Problem, Verdict};
