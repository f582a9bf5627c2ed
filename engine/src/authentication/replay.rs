//! The replay window: which counters of a sender's epoch were seen (`protocol.md PK-3`; the scheme of RFC 4303 section 3.4.3).

use crate::limits::REPLAY_WINDOW_PACKETS;

const WORDS: usize = (REPLAY_WINDOW_PACKETS / 64) as usize;

/// The highest counter and a bitmap of those below it.
#[derive(Debug)]
pub(super) struct ReplayWindow {
    epoch: u64,
    highest: u64,
    seen: Box<[u64; WORDS]>,
}

impl ReplayWindow {
    pub(super) fn new() -> Self {
        Self { epoch: 0, highest: 0, seen: Box::new([0; WORDS]) }
    }

    /// Whether a counter of an epoch is new; changes nothing.
    pub(super) fn is_new(&self, epoch: u64, counter: u64) -> bool {
        if epoch != self.epoch || counter > self.highest {
            return true;
        }
        self.highest - counter < REPLAY_WINDOW_PACKETS && self.seen[Self::word(counter)] & Self::bit(counter) == 0
    }

    /// Marks a counter as seen, after its tag verified. Another epoch than the last begins a new window: the key ring has made sure that it is a
    /// newer one.
    pub(super) fn mark(&mut self, epoch: u64, counter: u64) {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.highest = 0;
            self.seen.fill(0);
        }
        if counter > self.highest {
            if counter - self.highest >= REPLAY_WINDOW_PACKETS {
                self.seen.fill(0);
            } else {
                for passed in self.highest + 1..counter {
                    self.seen[Self::word(passed)] &= !Self::bit(passed);
                }
            }
            self.highest = counter;
        }
        self.seen[Self::word(counter)] |= Self::bit(counter);
    }

    fn word(counter: u64) -> usize {
        (counter / 64) as usize % WORDS
    }

    fn bit(counter: u64) -> u64 {
        1 << (counter % 64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// Against a set: nothing passes twice, and nothing recent is lost (`protocol.md PK-3`).
        #[test]
        fn each_counter_passes_once(steps in proptest::collection::vec((0u64..3 * REPLAY_WINDOW_PACKETS, 0u64..200), 1..300)) {
            let mut window = ReplayWindow::new();
            let (mut seen, mut highest) = (BTreeSet::new(), 0);
            for (far, near) in steps {
                for counter in [far + 1, highest + near, highest.saturating_sub(near)] {
                    let recent = counter > highest || highest - counter < REPLAY_WINDOW_PACKETS;
                    prop_assert_eq!(window.is_new(7, counter), recent && !seen.contains(&counter));
                    if window.is_new(7, counter) {
                        window.mark(7, counter);
                        seen.insert(counter);
                        highest = highest.max(counter);
                    }
                }
            }
        }
    }

    #[test]
    fn a_new_epoch_begins_a_new_window() {
        let mut window = ReplayWindow::new();
        window.mark(1, 500);
        assert!(!window.is_new(1, 500));
        window.mark(2, 3);
        assert!(!window.is_new(2, 3) && window.is_new(2, 2));
    }
}
