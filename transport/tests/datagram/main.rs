//! What every back-end must do, run over each back-end and each address family that the host offers.

mod allocation;
#[path = "../allocations/mod.rs"]
mod allocations;
mod delivery;
mod faults;
mod groups;
mod host;
mod waiting;
