//! The client's half of the protocol, pure in the same way as the replica: what a driver does about replies, silence and the order.
//!
//! *For*: numbering requests, counting replies, retransmitting; asking queries; following the log and checking what replicas say of it.
//! *Enters*: operations, authenticated packets, the time. *Never*: a socket or a session of an application; those are the driver's. Only
//! what the operator asks ([`status`], [`rotation`]) opens a network of its own, for the length of one question.

mod config;
mod follower;
mod full_results;
mod operator;
mod outstanding;
mod queries;
mod requests;
mod result_parts;
pub mod rotation;
pub mod status;
mod survey;

pub use config::ClientConfig;
pub use follower::{Delivery, Follower};
pub use queries::{Finished, Queries};
pub use requests::{Client, ClientFault};
pub use survey::Survey;
