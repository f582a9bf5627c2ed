//! What sessions and subscriptions have in common: waiting without burning a core, and noticing that the driver is gone
//! without a system call a poll.

use std::time::{Duration, Instant};

use logothete_transport::session::ClientSession;

use crate::ClientError;
use crate::record::Eviction;

/// How often, at most, an idle poll asks the socket whether the driver lives. The question is a system call of a few
/// hundred nanoseconds: at this distance it costs an idle poller well under one percent.
const LIVENESS_INTERVAL: Duration = Duration::from_micros(200);

/// How long a wait polls and yields before it sleeps. A wake-up from sleep costs some ten microseconds on either side;
/// an answer that comes sooner than a few of those is better waited for awake.
const YIELD_TIME: Duration = Duration::from_micros(50);

/// The transport's end of a session, and when its driver was last seen alive.
pub(crate) struct Link {
    pub(crate) transport: ClientSession,
    alive_at: Instant,
}

impl Link {
    pub(crate) fn new(transport: ClientSession) -> Link {
        Link { transport, alive_at: Instant::now() }
    }

    /// To be called when there is nothing to poll: now and then asks whether the driver lives. False when it is gone:
    /// poll once more for what it published before it went, then fail with [`Link::ended`].
    #[inline]
    pub(crate) fn is_alive(&mut self) -> bool {
        let now = Instant::now();
        if now.duration_since(self.alive_at) >= LIVENESS_INTERVAL {
            self.alive_at = now;
            self.transport.is_alive();
        }
        !self.transport.is_closed()
    }

    /// Why the session is over.
    pub(crate) fn ended(&self) -> ClientError {
        match self.transport.farewell().and_then(Eviction::decode) {
            Some(eviction) => ClientError::Evicted { reason: eviction.reason(), remedy: eviction.remedy() },
            None => ClientError::Disconnected,
        }
    }
}

/// One wait: first awake, then asleep, until its deadline.
pub(crate) struct Wait {
    since: Instant,
    timeout: Duration,
}

impl Wait {
    pub(crate) fn new(timeout: Duration) -> Wait {
        Wait { since: Instant::now(), timeout }
    }

    /// Passes some time: until there may be something to poll, or `space_bytes` to write to (zero: do not care). False
    /// when the wait's time is over.
    pub(crate) fn pause(&self, link: &mut Link, space_bytes: usize) -> bool {
        let waited = self.since.elapsed();
        let Some(remaining) = self.timeout.checked_sub(waited).filter(|remaining| !remaining.is_zero()) else {
            return false;
        };
        if waited < YIELD_TIME {
            std::thread::yield_now();
        } else {
            link.transport.sleep(space_bytes, remaining);
        }
        true
    }

    /// How long it may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }
}
