//! What a thread does while there is nothing to do.

use crate::cluster::Idle;
use std::time::Duration;

/// How long an adaptive thread polls before it sleeps: some ten wake-ups across cores, so that a busy pipeline never sleeps and
/// an idle one costs nothing.
const POLL_NS: u64 = 50_000;

/// The longest sleep: a stop is noticed within it.
const SLEEP_NS_MAX: u64 = 50_000_000;

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Poll again; the processor was given to whoever else wanted it, or to nobody.
    Poll,
    /// Sleep until something happens, at most so long.
    Sleep(Duration),
}

/// The strategy of one thread.
#[derive(Clone, Copy, Debug)]
pub struct Idler {
    strategy: Idle,
    idle_since_ns: Option<u64>,
}

impl Idler {
    /// With a strategy.
    pub fn new(strategy: Idle) -> Self {
        Self { strategy, idle_since_ns: None }
    }

    /// A duty cycle did something.
    pub fn worked(&mut self) {
        self.idle_since_ns = None;
    }

    /// A duty cycle did nothing; the next thing is due at `deadline_ns`.
    pub fn pause(&mut self, now_ns: u64, deadline_ns: u64) -> Pause {
        let sleep = Pause::Sleep(Duration::from_nanos(deadline_ns.saturating_sub(now_ns).min(SLEEP_NS_MAX)));
        match self.strategy {
            Idle::Spin => std::hint::spin_loop(),
            Idle::Yield => std::thread::yield_now(),
            Idle::Park => return sleep,
            Idle::Adaptive => {
                let since = *self.idle_since_ns.get_or_insert(now_ns);
                if now_ns.saturating_sub(since) >= POLL_NS {
                    return sleep;
                }
                std::thread::yield_now();
            }
        }
        Pause::Poll
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adaptive_polls_and_then_sleeps_until_the_deadline() {
        let mut idler = Idler::new(Idle::Adaptive);
        assert_eq!(idler.pause(1000, u64::MAX), Pause::Poll);
        assert_eq!(idler.pause(1000 + POLL_NS - 1, u64::MAX), Pause::Poll);
        assert_eq!(idler.pause(1000 + POLL_NS, 1000 + POLL_NS + 7), Pause::Sleep(Duration::from_nanos(7)));
        assert_eq!(idler.pause(1000 + POLL_NS, u64::MAX), Pause::Sleep(Duration::from_nanos(SLEEP_NS_MAX)));
        idler.worked();
        assert_eq!(idler.pause(1000 + 2 * POLL_NS, u64::MAX), Pause::Poll);
    }

    #[test]
    fn park_sleeps_at_once_and_yield_never() {
        assert!(matches!(Idler::new(Idle::Park).pause(0, 10), Pause::Sleep(_)));
        let mut idler = Idler::new(Idle::Yield);
        assert!((0..100).all(|step| idler.pause(step * POLL_NS, 0) == Pause::Poll));
    }
}
