//! The adversary: up to `f` replicas and any clients, with their keys and no others (RELIABILITY 3.3).
//!
//! *For*: whatever the protocol must bear. *Enters*: the world as it is, all of it: the adversary sees everything that anybody knows. *Never*: a key that is not
//! the adversary's (asserted where it seals, signs, and, in [`ledger`], where what it made arrives), or randomness that is not the plan's.
//!
//! A [`plan`] is drawn from a seed: a level, whom the adversary owns, and [`strategy`] names. [`agent`] is the adversary in the world: what an owned replica's
//! correct inside would say goes through all strategies as a [`letter`]; they speak by themselves in its turns, and, at the last level, say what the
//! network delivers late.
//!
//! | level | where |
//! | --- | --- |
//! | A0, crash, omission, delay | [`omission`] |
//! | A1, twins | [`twins`] |
//! | A2, small-scope mutation | [`mutator`], by [`fields`] and in [`statements`] |
//! | A3, scripted strategies | [`equivocation`], [`ordering`], [`views`], [`bombs`], [`state`], [`storms`], [`recovery`], [`replies`], [`disputes`], [`impostors`] |
//! | A4, scheduler | [`scheduler`] |
//! | clients | [`byzantine_clients`], [`malformed_clients`] |
//!
//! [`faults`] and [`liar`] are the vocabulary of scenario files, which some strategies share.

pub mod agent;
pub mod bombs;
pub mod byzantine_clients;
pub mod disputes;
pub mod equivocation;
pub mod faults;
pub mod fields;
pub mod impostors;
pub mod ledger;
pub mod letter;
pub mod liar;
pub mod malformed_clients;
pub mod mutator;
pub mod omission;
pub mod ordering;
pub mod plan;
pub mod recovery;
pub mod replies;
pub mod scheduler;
pub mod state;
pub mod statements;
pub mod storms;
pub mod strategy;
pub mod twins;
pub mod views;
