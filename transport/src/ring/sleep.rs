//! How an end that is about to sleep gets woken without a lost wake-up, and an end that is awake costs no system call.
//!
//! Each side of a session, and each thread of a pipeline that sleeps until a bell rings, has one word. Before it sleeps it
//! writes there what it waits for, then looks once more at the rings; the other side, after it has published or released,
//! looks at the word. The full fences in between mean that at least one of the two sees the other's write (Dekker's
//! argument): either the sleeper sees the records and stays awake, or the other side sees the flag and rings.

use super::sync::atomic::{AtomicU64, Ordering, fence};

/// The sleeper waits for records to be published.
pub const WAKE_ON_RECORDS: u64 = 1;

/// The sleeper waits for room in a ring that it writes.
pub const WAKE_ON_SPACE: u64 = 2;

/// A word that both sides share, in which one says that it sleeps, and until when.
///
/// Its content is a hint: garbage in it costs a needless or a missing wake-up, and the sleep has a time limit.
#[derive(Clone, Copy, Debug)]
pub struct SleepFlag<'a>(&'a AtomicU64);

impl<'a> SleepFlag<'a> {
    /// The flag in `word`.
    pub fn new(word: &'a AtomicU64) -> SleepFlag<'a> {
        SleepFlag(word)
    }

    /// The sleeper's first step: announces what it waits for (`WAKE_ON_*`, or both). It must then look at its rings
    /// again, and sleep only if they still offer nothing.
    pub fn announce(self, wake_on: u64) {
        self.0.store(wake_on, Ordering::Relaxed);
        // SYNC: pairs with the fence in `take`.
        fence(Ordering::SeqCst);
    }

    /// The sleeper is awake again.
    pub fn clear(self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// The other side's step, after it published records or released room (`wake_on`): true when the sleeper waits for
    /// that and the caller must wake it. One announcement is answered once.
    #[inline]
    pub fn take(self, wake_on: u64) -> bool {
        // SYNC: pairs with the fence in `announce`.
        fence(Ordering::SeqCst);
        // The sleeper may have announced something else between the two accesses: who cleared it must ring for it.
        self.0.load(Ordering::Relaxed) & wake_on != 0 && self.0.swap(0, Ordering::Relaxed) != 0
    }
}
