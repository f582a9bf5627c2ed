//! Seeds in place of scripts: [`plan`] is a run as data, drawn from a seed ([`draw`], [`mix`]); [`run`] plays it, in a safety phase and a phase of
//! [`liveness`]. A plan's parts are what clients ask for ([`load`]), what goes wrong when ([`fault`], [`strike`]), and whom the adversary has
//! and what it does ([`crate::adversary`]). [`shrink`] makes a plan that fails smaller.

mod describe;
pub mod draw;
pub mod fault;
pub mod liveness;
pub mod load;
pub mod mix;
pub mod plan;
pub mod run;
pub mod shrink;
pub mod strike;
