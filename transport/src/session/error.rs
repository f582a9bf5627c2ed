//! What can go wrong between two processes that want to share a region, and what to do about it.

use std::path::PathBuf;
use std::time::Duration;

use super::wire::SESSION_VERSION;
use crate::region::RegionError;

/// Why a driver does not serve a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The client's user is neither the driver's nor root.
    Forbidden,
    /// The driver serves as many sessions as it may, or has no memory for another.
    Exhausted,
}

/// Why there is no listener, or no session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A system call failed for a reason that nobody foresaw.
    #[error("{call} for the session socket {path} failed: {source}")]
    Host {
        /// The system call.
        call: &'static str,
        /// The socket's path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The region could not be shared.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// No socket can have this path.
    #[error("{path} cannot be a session socket: {reason}")]
    PathInvalid {
        /// The path.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: &'static str,
    },
    /// A driver that lives holds the path.
    #[error("{path} is served by a driver that runs (process {pid}); stop it, or choose another session path")]
    DriverAlive {
        /// The path.
        path: PathBuf,
        /// Its process; 0 when it is too busy to be asked, or in a process namespace out of sight.
        pid: u32,
    },
    /// Nobody listens at the path.
    #[error("no driver serves {path}; start one, or check the session path")]
    DriverAbsent {
        /// The path.
        path: PathBuf,
    },
    /// This user may not open the path.
    #[error("{path} is not accessible to this user; run as the driver's user or as root")]
    PathDenied {
        /// The path.
        path: PathBuf,
    },
    /// The driver and the client are of different versions.
    #[error(
        "the driver at {path} speaks session version {driver}, this program {SESSION_VERSION}; build both from one release"
    )]
    Version {
        /// The path.
        path: PathBuf,
        /// The driver's version.
        driver: u32,
    },
    /// The driver is there and refuses.
    #[error("the driver at {path} refuses this session: {}", refusal_text(*.refusal))]
    Refused {
        /// The path.
        path: PathBuf,
        /// Why.
        refusal: Refusal,
    },
    /// The driver's greeting makes no sense.
    #[error("what listens at {path} is no driver of this kind: {reason}")]
    Malformed {
        /// The path.
        path: PathBuf,
        /// What makes no sense.
        reason: &'static str,
    },
    /// The driver did not greet in time.
    #[error("the driver at {path} did not answer within {waited:?}; it may be stopped or overloaded")]
    TimedOut {
        /// The path.
        path: PathBuf,
        /// How long this side waited.
        waited: Duration,
    },
}

fn refusal_text(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Forbidden => "it serves its own user and root only; run as one of them",
        Refusal::Exhausted => "it serves as many sessions as it may; close one, or raise its limit",
    }
}
