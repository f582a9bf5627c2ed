//! A subscription: the ordered entries, from a position on.

use std::path::Path;
use std::time::Duration;

use logothete_transport::session::{ClientSession, ConnectOptions};

use crate::link::{Link, Wait};
use crate::record::{Facts, FaultReason, Notice, RecordError, Request};
use crate::{ClientError, Options, Position};

/// Entries handed out by one poll at most, so that an application in a loop of its own gets its turn.
const POLL_MAX: usize = 256;

/// One entry of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its place: one after that of the entry before.
    pub position: Position,
    /// When it was ordered, nanoseconds since 1970, as the replicas agreed.
    pub timestamp_ns: u64,
    /// The session that appended it.
    pub session: u64,
    /// What was appended.
    pub bytes: &'a [u8],
}

/// A subscription to the order, for one thread: gap-free, duplicate-free, and the same for every subscriber.
///
/// A subscriber that is slow fills its ring, and the driver waits for it; nothing is skipped. One that is so slow that
/// the order moves beyond what the replicas keep gets [`ClientError::Trimmed`].
pub struct Subscription {
    link: Link,
    position_next: Position,
    over: Option<Over>,
}

/// Why nothing follows, once that is so.
#[derive(Clone, Copy)]
enum Over {
    Trimmed { oldest: Position },
    Fault(FaultReason),
    Malformed(RecordError),
}

impl Subscription {
    /// Subscribes to the entries from `from` on, at the driver whose socket is at `path`.
    ///
    /// # Errors
    ///
    /// [`ClientError::Connect`].
    pub fn connect(path: impl AsRef<Path>, from: Position, options: Options) -> Result<Subscription, ClientError> {
        let mut transport = ClientSession::connect(
            path,
            &ConnectOptions {
                requests_bytes: options.requests_bytes,
                responses_bytes: options.responses_bytes,
                subscription_bytes: options.subscription_bytes,
                subscribes: true,
                timeout: options.timeout_connect,
            },
        )?;
        Request::SubscribeFrom { position: from.0 }.push(&mut transport.requests).map_err(|_| {
            ClientError::ApiMisuse { reason: "the request ring holds no request; ask for a larger one" }
        })?;
        transport.publish();
        Ok(Subscription { link: Link::new(transport), position_next: from, over: None })
    }

    /// What the driver told about the cluster.
    pub fn facts(&self) -> Facts {
        Facts::decode(self.link.transport.facts())
    }

    /// The position of the next entry: where to subscribe from after a reconnection.
    pub fn position(&self) -> Position {
        self.position_next
    }

    /// Hands the entries that have arrived to `each`, in order, some hundreds at most. Returns how many there were.
    /// Never blocks.
    ///
    /// # Errors
    ///
    /// When nothing follows: [`ClientError::Trimmed`] when the position wanted is no longer kept,
    /// [`ClientError::Unsupported`] when the service keeps no ordered log, [`ClientError::SubscriptionLost`];
    /// [`ClientError::Disconnected`] or [`ClientError::Evicted`] once the driver is gone and everything that it
    /// published has been handed out; [`ClientError::Ring`] or [`ClientError::Record`] when it wrote garbage.
    #[inline]
    pub fn poll(&mut self, mut each: impl FnMut(Entry<'_>)) -> Result<usize, ClientError> {
        let count = self.take(&mut each)?;
        if count > 0 || self.link.is_alive() {
            return Ok(count);
        }
        match self.take(&mut each)? {
            0 => Err(self.link.ended()),
            count => Ok(count),
        }
    }

    /// Waits until there is something to poll (true) or `timeout` is over (false).
    ///
    /// # Errors
    ///
    /// [`ClientError::Disconnected`], [`ClientError::Evicted`] or [`ClientError::Ring`], as [`poll`](Subscription::poll).
    pub fn wait(&mut self, timeout: Duration) -> Result<bool, ClientError> {
        let wait = Wait::new(timeout);
        loop {
            if self.over.is_some() || !self.link.transport.is_idle()? {
                return Ok(true);
            }
            if !self.link.is_alive() {
                // What it published before it went is still there to poll.
                return if self.link.transport.is_idle()? { Err(self.link.ended()) } else { Ok(true) };
            }
            if !wait.pause(&mut self.link, 0) {
                return Ok(false);
            }
        }
    }

    /// Takes entries out of the ring. An error only where no entry precedes it.
    #[inline]
    fn take(&mut self, each: &mut impl FnMut(Entry<'_>)) -> Result<usize, ClientError> {
        let mut count = 0;
        if self.over.is_none() {
            let (position_next, over) = (&mut self.position_next, &mut self.over);
            self.link.transport.poll_entries(POLL_MAX, |record| {
                if over.is_some() {
                    return;
                }
                match Notice::decode(record) {
                    Ok(Notice::Entry { position, timestamp_ns, session, bytes }) => {
                        if position != position_next.0 {
                            *over = Some(Over::Malformed(RecordError { reason: "an entry out of order" }));
                            return;
                        }
                        each(Entry { position: *position_next, timestamp_ns, session, bytes });
                        position_next.0 += 1;
                        count += 1;
                    }
                    Ok(Notice::Trimmed { oldest }) => *over = Some(Over::Trimmed { oldest: Position(oldest) }),
                    Ok(Notice::Fault { reason }) => *over = Some(Over::Fault(reason)),
                    Err(error) => *over = Some(Over::Malformed(error)),
                }
            })?;
        }
        match self.over {
            Some(over) if count == 0 => Err(over.into()),
            _ => Ok(count),
        }
    }
}

impl From<Over> for ClientError {
    fn from(over: Over) -> ClientError {
        match over {
            Over::Trimmed { oldest } => ClientError::Trimmed { oldest },
            Over::Fault(FaultReason::Unsupported) => ClientError::Unsupported,
            Over::Fault(FaultReason::Unavailable) => ClientError::SubscriptionLost,
            Over::Malformed(error) => ClientError::Record(error),
        }
    }
}
