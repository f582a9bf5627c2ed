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
