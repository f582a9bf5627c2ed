//! The planted-bug matrix: each bug of [`logothete_engine::planted`] is put in force in turn, and seeds are played until a checker fails. Whoever
//! finds nothing in the engine has to show that it would.
//!
//! *For*: showing that the swarm, the adversary and the checkers together find a bug of each kind soon. *Enters*: a bug, a master seed, a budget.
//! *Never*: a seed that was chosen for a bug, or a checker that knows of one.
//!
//! [`hunt`] plays, [`table`] prints.

pub mod hunt;
pub mod table;
