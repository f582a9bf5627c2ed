//! Configuration, identities and key files.
//!
//! What this room is for: everything that is decided before a process starts. [`Cluster`] is what must agree everywhere
//! (`cluster.toml`, its digest is part of the handshake); [`ReplicaLocal`] and [`DriverLocal`] are what one process
//! decides for itself (`replica-I.toml`, `driver-C.toml`); [`keys`] reads and writes the secret key files; [`init`]
//! makes a new cluster.
//!
//! What may enter: text files of the operator, checked completely before anything else sees them. Every refusal is a
//! [`ConfigError`] that names file, line, value and mend.
//!
//! What this room must never do: open a network socket that stays open, start a thread, guess what the operator meant,
//! accept a key that it does not know, or print a secret.

mod agreed;
mod canonical;
mod check;
mod document;
mod error;
pub mod init;
pub mod keys;
mod local;
mod settings;
#[cfg(test)]
mod tests;

pub use crate::service::ServiceKind;
pub use agreed::{Cluster, MulticastGroups, Replica};
pub use check::is_group_of_family;
pub use error::{ConfigError, Fault};
pub use local::{DriverLocal, ReplicaLocal, SESSION_PATH_BYTES_MAX};
pub use settings::{Active, Arrangement, FanOut, Idle, Journal, SettingError, Transport};
