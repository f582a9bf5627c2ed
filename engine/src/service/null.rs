//! The null service: does nothing, so that what remains to be measured is the ordering itself.

use super::{OrderedRequest, QueryError, RestoreError, Results, Service};
use crate::state::{ENGINE_PAGES, PAGE_BYTES, State};
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Says whose page it is.
const FORMAT: [u8; 8] = *b"lgtnull1";

/// All the state there is, at the beginning of the page [`ENGINE_PAGES`]:
///
/// ```text
///  0        8             16         24           32
/// +--------+-------------+----------+------------+------
/// | format | reply_bytes | requests | operations | zero
/// | 8 bytes| u64         | u64      | u64        |
/// +--------+-------------+----------+------------+------
/// ```
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Counts {
    format: [u8; 8],
    reply_bytes: U64,
    requests: U64,
    operations: U64,
}

/// Answers every operation with zeros.
///
/// Its state is how much it has executed, so that a replica that lost or repeated a request is found out.
#[derive(Debug)]
pub struct Null {
    state: State,
    counts: Counts,
}

impl Null {
    /// One page, and the way to it.
    pub(super) const MEMORY_BYTES: u64 = 16 * PAGE_BYTES as u64;

    /// Results are `reply_bytes` zeros each, fewer where the reply has no room for as many.
    pub fn new(reply_bytes: usize) -> Self {
        let counts = Counts {
            format: FORMAT,
            reply_bytes: (reply_bytes as u64).into(),
            requests: 0.into(),
            operations: 0.into(),
        };
        let mut null = Self { state: State::new(ENGINE_PAGES + 1), counts };
        null.write_counts();
        null
    }

    fn write_counts(&mut self) {
        self.state.page_mut(ENGINE_PAGES)[..size_of::<Counts>()].copy_from_slice(self.counts.as_bytes());
    }

    fn push_zeros(&self, results: &mut Results<'_>) {
        let reply_bytes = self.counts.reply_bytes.get() as usize;
        results.push_with(reply_bytes.min(results.room_bytes()), |result| result.fill(0));
    }
}

impl Service for Null {
    fn execute(&mut self, request: &OrderedRequest<'_>, results: &mut Results<'_>) {
        for _ in 0..request.operations.count() {
            self.push_zeros(results);
        }
        self.counts.requests += 1;
        self.counts.operations += request.operations.count() as u64;
        self.write_counts();
    }

    fn state(&self) -> &State {
        &self.state
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    fn restored(&mut self) -> Result<(), RestoreError> {
        let (counts, _) = Counts::read_from_prefix(self.state.page(ENGINE_PAGES)).expect("a page holds the counts");
        let own = Counts { requests: counts.requests, operations: counts.operations, ..self.counts };
        if counts.as_bytes() != own.as_bytes() {
            return Err(RestoreError { page: ENGINE_PAGES, what: "no counts of a null service with these replies" });
        }
        self.counts = counts;
        Ok(())
    }

    /// Nothing here is read.
    fn query(&self, _operation: &[u8], _results: &mut Results<'_>) -> Result<(), QueryError> {
        Err(QueryError)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{REPLY_BYTES, TestRequest, digest_of, execute, query};
    use super::*;

    #[test]
    fn answers_with_zeros_as_far_as_the_reply_goes() {
        let request = TestRequest::new(b"", &[b"a", b"b", b"c"]);
        let mut small = Null::new(5);
        assert_eq!(execute(&mut small, &request.ordered(1, 1)), [[0; 5]; 3]);
        let lengths: Vec<usize> = execute(&mut Null::new(3000), &request.ordered(1, 1)).iter().map(Vec::len).collect();
        assert_eq!(lengths, [3000, REPLY_BYTES - 3000 - 3 * 4 - 8, 8]);
    }

    #[test]
    fn a_repeated_request_shows_in_the_digest() {
        let request = TestRequest::new(b"", &[b"a"]);
        let (mut once, mut twice) = (Null::new(8), Null::new(8));
        execute(&mut once, &request.ordered(1, 1));
        execute(&mut twice, &request.ordered(1, 1));
        assert_eq!(digest_of(&once), digest_of(&twice));
        execute(&mut twice, &request.ordered(1, 1));
        assert_ne!(digest_of(&once), digest_of(&twice));
    }

    #[test]
    fn a_query_counts_for_nothing() {
        let null = Null::new(5);
        let before = digest_of(&null);
        assert_eq!(query(&null, b"anything"), None);
        assert_eq!(digest_of(&null), before);
    }
}
