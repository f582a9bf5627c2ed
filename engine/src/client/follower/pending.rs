//! Runs that were received and not yet delivered: their messages lie behind each other in one buffer, so that what is held takes no more
//! memory than its bytes, however a source cuts them, and nothing is allocated for a run.

use crate::wire::subscription::RUN_OVERHEAD_BYTES;
use std::collections::VecDeque;

/// One run that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingRun {
    pub(super) position_first: u64,
    pub(super) position_end: u64,
    pub(super) timestamp_ns: u64,
    message_bytes: usize,
}

/// The runs that wait, oldest first.
#[derive(Debug, Default)]
pub(super) struct Pending {
    runs: VecDeque<PendingRun>,
    /// The messages of the runs, from `begin` on.
    messages: Vec<u8>,
    begin: usize,
}

impl Pending {
    /// What is held, counted as a replica counts what it sends.
    pub(super) fn bytes(&self) -> usize {
        self.messages.len() - self.begin + self.runs.len() * RUN_OVERHEAD_BYTES
    }

    /// Puts a run behind the others.
    pub(super) fn push(&mut self, position_first: u64, position_end: u64, timestamp_ns: u64, message: &[u8]) {
        self.messages.extend_from_slice(message);
        self.runs.push_back(PendingRun { position_first, position_end, timestamp_ns, message_bytes: message.len() });
    }

    /// The oldest run, and its message.
    pub(super) fn front(&self) -> Option<(PendingRun, &[u8])> {
        let run = *self.runs.front()?;
        Some((run, &self.messages[self.begin..][..run.message_bytes]))
    }

    /// Lets go of the oldest run.
    pub(super) fn pop_front(&mut self) {
        let Some(run) = self.runs.pop_front() else { return };
        self.begin += run.message_bytes;
        // What is left moves to the front once that is the smaller part: each byte moves once at most for one that left.
        if self.begin * 2 >= self.messages.len() {
            self.messages.copy_within(self.begin.., 0);
            self.messages.truncate(self.messages.len() - self.begin);
            self.begin = 0;
        }
    }

    /// Drops the runs that reach beyond a position.
    pub(super) fn forget_beyond(&mut self, position: u64) {
        while let Some(run) = self.runs.back().filter(|run| run.position_end > position) {
            self.messages.truncate(self.messages.len() - run.message_bytes);
            self.runs.pop_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_keep_their_messages_wherever_these_move() {
        let mut pending = Pending::default();
        let message = |position: u64| vec![position as u8; (position * 7 % 40) as usize];
        let (mut first, mut end) = (0, 0);
        for step in 0..500_u64 {
            for _ in 0..step * 5 % 4 {
                pending.push(end, end + 1, end * 3, &message(end));
                end += 1;
            }
            for _ in 0..step * 3 % 4 {
                if let Some((run, bytes)) = pending.front() {
                    assert_eq!((run.position_first, run.timestamp_ns, bytes), (first, first * 3, &message(first)[..]));
                    pending.pop_front();
                    first += 1;
                }
            }
            if step % 50 == 49 {
                end = end.min(first + 2);
                pending.forget_beyond(end);
            }
            let bytes: usize = (first..end).map(|position| RUN_OVERHEAD_BYTES + message(position).len()).sum();
            assert_eq!(pending.bytes(), bytes);
            assert!(pending.messages.len() <= 2 * bytes, "at most half of the buffer is behind the reader");
        }
        pending.forget_beyond(0);
        assert!(pending.bytes() == 0 && pending.front().is_none());
    }
}
