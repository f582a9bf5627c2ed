//! What an application links to append to the replicated order of its cluster, and to read that order back.
//!
//! An application talks to the driver of its host through shared memory, never to the network: it opens a [`Session`]
//! for operations and their results, or a [`Subscription`] to the ordered entries. Both are made for one thread each.
//! What may enter this crate: the records that travel in the rings ([`record`]) and the application's view of them. What
//! must never happen here: a secret, a socket to a replica, a thread of its own.
//!
//! Appending, and waiting for the position:
//!
//! ```no_run
//! use logothete_client::{Options, Session};
//!
//! # fn main() -> Result<(), logothete_client::ClientError> {
//! let mut session = Session::connect("/run/logothete/driver-0", Options::default())?;
//! let position = session.append(b"debit 7 from account 12")?;
//! println!("ordered at {position}");
//! # Ok(())
//! # }
//! ```
//!
//! Many operations in flight, without ever blocking:
//!
//! ```no_run
//! use logothete_client::{ClientError, Options, Session};
//!
//! # fn main() -> Result<(), ClientError> {
//! let mut session = Session::connect("/run/logothete/driver-0", Options::default())?;
//! let mut acknowledged = 0;
//! while acknowledged < 1_000_000 {
//!     match session.try_append(b"tick") {
//!         Ok(_) | Err(ClientError::Overloaded) => {}
//!         Err(error) => return Err(error),
//!     }
//!     session.poll(|completion| {
//!         completion.result.expect("the service takes every operation");
//!         acknowledged += 1;
//!     })?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A service other than the log takes *calls*, which are ordered, and may answer *queries*, which change nothing and take one round trip to
//! the replicas. A query sees whatever any application was told of before it was asked. With the key-value service, whose commands the
//! engine's `service::kv::Command` encodes:
//!
//! ```no_run
//! use logothete_client::{Options, Session};
//!
//! /// A command's kind, the lengths of its parts, and the parts.
//! fn command(kind: u8, key: &[u8], value: &[u8]) -> Vec<u8> {
//!     [&[kind, 0, key.len() as u8, 0, 0, 0, 0, 0][..], key, value].concat()
//! }
//!
//! # fn main() -> Result<(), logothete_client::ClientError> {
//! let mut session = Session::connect("/run/logothete/driver-0", Options::default())?;
//! let outcome = session.call(&command(1, b"account 12", b"93"))?;
//! assert_eq!(outcome, [0], "done");
//! let outcome = session.query(&command(2, b"account 12", b""))?;
//! assert_eq!(outcome, b"\x0193", "a value, and the value");
//! # Ok(())
//! # }
//! ```
//!
//! Reading the order:
//!
//! ```no_run
//! use std::time::Duration;
//! use logothete_client::{Options, Position, Subscription};
//!
//! # fn main() -> Result<(), logothete_client::ClientError> {
//! let mut subscription = Subscription::connect("/run/logothete/driver-0", Position(0), Options::default())?;
//! loop {
//!     subscription.poll(|entry| println!("{} {:?}", entry.position, entry.bytes))?;
//!     subscription.wait(Duration::from_secs(1))?;
//! }
//! # }
//! ```
//!
//! A program that is killed loses its session and nothing else: the driver notices at once and frees it. An operation
//! that was in flight then may or may not have been ordered; the order itself tells.

mod error;
mod link;
pub mod record;
mod session;
mod subscription;

pub use error::{ClientError, OperationError};
pub use session::{Bounds, Completion, Session};
pub use subscription::{Entry, Subscription};

use std::fmt::{Display, Formatter};
use std::time::Duration;

pub use logothete_transport::session::SessionError;

/// A place in the order: the first entry ever has position 0, the next 1, without gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Display for Position {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

/// How a session is opened and used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Capacity of the request ring, bytes; zero leaves the choice to the driver, which rounds and bounds what is asked.
    pub requests_bytes: u32,
    /// Capacity of the response ring, bytes; as above.
    pub responses_bytes: u32,
    /// Capacity of a subscription's ring, bytes; as above. A larger one lets a subscriber be away for longer.
    pub subscription_bytes: u32,
    /// How long the driver may take to open the session.
    pub timeout_connect: Duration,
    /// How long a blocking call may take.
    pub timeout_call: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            requests_bytes: 0,
            responses_bytes: 0,
            subscription_bytes: 0,
            timeout_connect: Duration::from_secs(2),
            timeout_call: Duration::from_secs(10),
        }
    }
}
