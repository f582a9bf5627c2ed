//! A run as a picture: one page of HTML with a lane for each agent, an arrow for each packet, and what happened beside it.
//!
//! *For*: people who ask why a seed failed. *Enters*: what was sent, what arrived when, what was noted, in words. *Never*: a judgement, or anything that a
//! run depends on: a run that is drawn is the run that is not.
//!
//! [`lanes`] collects, [`page`] writes.

pub mod lanes;
pub mod page;
