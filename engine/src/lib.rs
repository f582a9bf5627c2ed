//! Logothete's engine: agreement of `3f+1` replicas on one order of operations, the services that execute it, and the driver that serves
//! the applications of a host.
//!
//! The rooms, in the order of an operation's way: [`driver`] and [`client`] make requests of operations; [`pipeline`] moves packets between the
//! network and the core; [`authentication`] proves who sent them; [`wire`] reads and writes their messages; [`replica`] agrees on an
//! order; [`service`] executes it; [`state`] holds what they agree on; [`journal`] keeps what was promised. [`cluster`] is what is configured,
//! [`limits`] what is fixed. `engine/docs/architecture.md` has the map.
#![forbid(unsafe_code)]

pub mod authentication;
pub mod client;
pub mod cluster;
pub mod driver;
pub mod journal;
pub mod limits;
pub mod numbers;
pub mod pipeline;
#[doc(hidden)]
pub mod planted;
mod reasons;
pub mod replica;
mod round_trip;
pub mod service;
pub mod state;
pub mod wire;
