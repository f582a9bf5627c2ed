//! How much a replica holds of what others send it, wherever that has a bound: for whoever looks from outside whether the bounds hold.

use super::Replica;
use crate::numbers::SequenceNumber;

/// How much a replica holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Numbers of which the log knows something (`protocol.md CK-4`).
    pub slots: usize,
    /// The first and the last of them.
    pub numbers: Option<(SequenceNumber, SequenceNumber)>,
    /// The most votes of one kind that count for one number (`NC-6`).
    pub votes: usize,
    /// The most batches that are known of one number (`RB-8`).
    pub batches: usize,
    /// View changes that count, one a replica (`VC-4`).
    pub view_changes: usize,
    /// Signed statements in all: those, new views, and what these name.
    pub statements: usize,
    /// The most bytes of one client's requests that wait or are on their way (`BP-3`, `LR-3`).
    pub waiting_bytes: usize,
    /// The most queries of one client that wait (`RD-2`).
    pub queries: usize,
}

impl Replica {
    /// How much it holds.
    pub fn holdings(&self) -> Holdings {
        let (view_changes, statements) = self.view_changes.count();
        let mut holdings = Holdings {
            view_changes,
            statements,
            waiting_bytes: self.clients.waiting_bytes(),
            queries: self.reads.waiting_of_client(),
            ..Holdings::default()
        };
        for slot in self.log.slots().filter(|slot| slot.is_used()) {
            let sequence = slot.sequence();
            let (first, last) = holdings.numbers.unwrap_or((sequence, sequence));
            holdings.numbers = Some((first.min(sequence), last.max(sequence)));
            holdings.slots += 1;
            holdings.votes = holdings.votes.max(slot.votes());
            holdings.batches = holdings.batches.max(slot.batches().len());
        }
        holdings
    }
}
