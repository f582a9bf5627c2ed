//! Operations that wait to become a request, and when they do (`protocol.md DR-2`, `DR-3`).
//!
//! There is no timer. A lone operation goes at once. Under load a request is held back until it is worth its datagrams: until it holds a fair
//! part of what is under way already. So requests grow with the load, and some are always under way.

use crate::limits::REQUEST_OPERATIONS_MAX;
use crate::service::{RESULT_BYTES_RESERVED, RESULT_HEADER_BYTES};
use crate::wire::operation::{OPERATION_HEADER_BYTES, Operations, OperationsWriter};

/// A request goes when it holds one in so many of the operations under way: about so many requests are then in flight.
const REQUESTS_IN_FLIGHT: usize = 4;

/// The next request.
#[derive(Debug)]
pub(super) struct Batch {
    writer: OperationsWriter,
    operations_bytes_max: usize,
    results_bytes_max: usize,
    result_bytes: usize,
    full: bool,
}

impl Batch {
    /// Of at most so many bytes of operations, or one that is longer, with at most so many bytes of results, of which each is expected to have
    /// `result_bytes`.
    pub(super) fn new(bytes_max: usize, results_bytes_max: usize, result_bytes: usize) -> Self {
        let mut batch = Self {
            writer: OperationsWriter::new(bytes_max),
            operations_bytes_max: bytes_max,
            results_bytes_max,
            result_bytes: 0,
            full: false,
        };
        batch.expect_results(result_bytes);
        batch
    }

    /// A result had so many bytes: room for as much is made for each from now on, so that a reply holds all results of its request.
    pub(super) fn expect_results(&mut self, bytes: usize) {
        self.result_bytes = self.result_bytes.max(bytes).max(RESULT_BYTES_RESERVED);
    }

    fn count_max(&self) -> usize {
        let fitting = self.results_bytes_max / (RESULT_HEADER_BYTES + self.result_bytes);
        fitting.clamp(1, REQUEST_OPERATIONS_MAX)
    }

    /// Adds an operation; `false` if it has to wait for the next request. One that fits no packet has a request of its own
    /// (`protocol.md LR-1`).
    pub(super) fn add(&mut self, session: u64, number: u64, bytes: &[u8]) -> bool {
        let large = OPERATION_HEADER_BYTES + bytes.len() > self.operations_bytes_max;
        let added = if large {
            self.writer.try_push_alone(session, number, bytes)
        } else {
            self.writer.count() < self.count_max() && self.writer.try_push(session, number, bytes)
        };
        self.full |= !added || large;
        added
    }

    /// Whether an operation had to wait.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Whether it goes now, while so many operations are under way.
    pub(super) fn is_due(&self, operations_in_flight: usize) -> bool {
        let count = self.writer.count();
        count > 0 && (self.full || count * REQUESTS_IN_FLIGHT >= operations_in_flight)
    }

    /// What it holds.
    pub(super) fn operations(&self) -> Operations<'_> {
        self.writer.operations()
    }

    /// Begins the next.
    pub(super) fn clear(&mut self) {
        self.writer.clear();
        self.full = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `protocol.md DR-2`
    #[test]
    fn a_lone_operation_goes_at_once_and_a_crowd_goes_together() {
        let mut batch = Batch::new(1 << 14, 1200, 8);
        assert!(!batch.is_due(0), "nothing to send");
        assert!(batch.add(1, 1, b"operation"));
        assert!(batch.is_due(0) && batch.is_due(4));
        assert!(!batch.is_due(400));
        for number in 2..=100 {
            assert!(batch.add(1, number, b"operation"));
        }
        assert!(batch.is_due(400));
        assert!(!batch.add(1, 101, b"operation"));
        assert!(batch.is_due(100_000), "a full request waits for nothing");
        batch.clear();
        assert!(!batch.is_due(0) && !batch.is_full());
    }

    /// `protocol.md LR-1`
    #[test]
    fn a_large_operation_has_a_request_of_its_own() {
        let mut batch = Batch::new(100, 1200, 8);
        assert!(batch.add(1, 1, b"small"));
        assert!(!batch.add(1, 2, &[7; 5000]) && batch.is_full());
        batch.clear();
        assert!(batch.add(1, 2, &[7; 5000]) && batch.is_due(100_000));
        assert!(!batch.add(1, 3, b"small") && !batch.add(1, 3, &[7; 5000]));
        assert_eq!(batch.operations().iter().map(|operation| operation.bytes.len()).collect::<Vec<_>>(), [5000]);
        batch.clear();
        assert!(batch.add(1, 3, b"small") && !batch.is_full());
    }

    #[test]
    fn bytes_fill_it_too() {
        let mut batch = Batch::new(100, 1200, 8);
        assert!(batch.add(1, 1, &[0; 60]));
        assert!(!batch.add(1, 2, &[0; 60]));
        assert!(batch.is_full() && batch.operations().count() == 1);
    }

    /// `protocol.md DR-3`
    #[test]
    fn long_results_make_short_requests() {
        let mut batch = Batch::new(1 << 14, 1200, 0);
        batch.expect_results(396);
        assert_eq!((1..10).filter(|number| batch.add(1, *number, b"get")).count(), 3);
        batch.expect_results(1 << 20);
        batch.clear();
        assert!(batch.add(1, 10, b"get") && !batch.add(1, 11, b"get"));
    }
}
