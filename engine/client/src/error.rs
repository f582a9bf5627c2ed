//! What can go wrong for an application, and what it can do about it.

use std::time::Duration;

use logothete_transport::ring::RingFault;
use logothete_transport::session::SessionError;

use crate::Position;
use crate::record::RecordError;

/// Why a call of this library failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No session could be opened.
    #[error(transparent)]
    Connect(#[from] SessionError),
    /// The request ring is full, or the cluster refused for lack of capacity. Nothing was submitted, or nothing was
    /// ordered: poll for completions, then try again.
    #[error("the cluster has more to do than it can now; poll for completions, then try again")]
    Overloaded,
    /// The operation can never be taken. Nothing was submitted.
    #[error("an operation of {bytes} bytes is beyond the limit of {limit}; split it")]
    TooLarge {
        /// Its length, bytes.
        bytes: usize,
        /// The longest operation that this cluster and session take, bytes.
        limit: usize,
    },
    /// The service knows no such operation, does not answer it as a query, or keeps no ordered log to read.
    #[error(
        "the cluster's service does not support this; check which service it runs, and that a query changes nothing"
    )]
    Unsupported,
    /// Too few replicas answered the driver in time. The operation may or may not have been ordered, now or later.
    #[error("too few replicas answered; the operation may still be ordered, check the order before trying again")]
    Unavailable,
    /// The driver is gone. Operations in flight may or may not have been ordered.
    #[error("the driver is gone; reconnect, and check the order for operations that were in flight")]
    Disconnected,
    /// The driver ended this session on purpose.
    #[error("the driver ended this session: {reason}; {remedy}")]
    Evicted {
        /// Why.
        reason: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The position wanted is no longer kept.
    #[error("entries before position {oldest} are no longer kept; subscribe from there or later")]
    Trimmed {
        /// The oldest position that can still be read.
        oldest: Position,
    },
    /// The driver lost touch with the order and cannot vouch for what follows.
    #[error("the driver lost touch with the order; subscribe again from the next position")]
    SubscriptionLost,
    /// A blocking call took too long.
    #[error("no answer within {waited:?}; the operation may still be ordered, its completion comes by `poll`")]
    TimedOut {
        /// How long it waited.
        waited: Duration,
        /// The operation's number, if it was submitted: its completion still comes by [`poll`](crate::Session::poll).
        number: Option<u64>,
    },
    /// The calling program uses this library in a way that cannot work.
    #[error("misuse of the client library: {reason}")]
    ApiMisuse {
        /// What is wrong, and what to do instead.
        reason: &'static str,
    },
    /// The driver's end of the shared memory holds garbage.
    #[error(transparent)]
    Ring(#[from] RingFault),
    /// The driver wrote a record that makes no sense.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Why one operation has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// It is longer than the cluster takes. It was not ordered.
    #[error("the operation is beyond the limit of {limit} bytes; split it")]
    TooLarge {
        /// The longest operation that this cluster takes, bytes.
        limit: usize,
    },
    /// The cluster has more to do than it can. It was not ordered.
    #[error("the cluster has more to do than it can now; try again")]
    Overloaded,
    /// The service knows no such operation. It was not ordered.
    #[error("the cluster's service does not support this operation")]
    Unsupported,
    /// Too few replicas answered in time. It may or may not have been ordered, now or later.
    #[error("too few replicas answered; the operation may still be ordered, check the order before trying again")]
    Unavailable,
}
