//! The replication engine: the protocol, the services it replicates and the parts that put them on threads.
#![forbid(unsafe_code)]

pub mod cluster;
pub mod limits;
pub mod numbers;
pub mod service;
pub mod wire;
