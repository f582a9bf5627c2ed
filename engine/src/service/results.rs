//! The results of one request: one an operation, in the operations' order, packed into the reply.
//!
//! ```text
//!  0        4
//! +--------+------------------+
//! | length | bytes            |   repeated once an operation, no padding
//! | u32 LE | `length` of them |
//! +--------+------------------+
//! ```

use core::iter::FusedIterator;
use thiserror::Error;

/// Bytes in front of each result's own.
pub const RESULT_HEADER_BYTES: usize = 4;

/// What every operation may answer however long the results before it were: a log position, or a status.
pub const RESULT_BYTES_RESERVED: usize = 8;

/// Where a service writes its results: a buffer that the caller owns and that never grows.
///
/// Each operation is sure of [`RESULT_BYTES_RESERVED`] bytes; what the buffer has beyond that is there for whoever
/// comes first. The buffer's size decides what long results a service can give, so it is the same at every replica.
#[derive(Debug)]
pub struct Results<'a> {
    buffer: &'a mut [u8],
    filled_bytes: usize,
    left: usize,
}

impl<'a> Results<'a> {
    /// The size of a buffer that is sure to take `count` results of at most [`RESULT_BYTES_RESERVED`] bytes.
    pub const fn buffer_bytes_min(count: usize) -> usize {
        count * (RESULT_HEADER_BYTES + RESULT_BYTES_RESERVED)
    }

    /// Takes exactly `count` results into `buffer`.
    ///
    /// # Panics
    /// When the buffer is smaller than [`Self::buffer_bytes_min`]: a request that large should not have been ordered.
    pub fn new(buffer: &'a mut [u8], count: usize) -> Self {
        assert!(
            buffer.len() >= Self::buffer_bytes_min(count),
            "a reply of {} bytes cannot hold {count} results",
            buffer.len()
        );
        Self { buffer, filled_bytes: 0, left: count }
    }

    /// The most bytes that the next result may have.
    ///
    /// # Panics
    /// When every result was written already.
    #[inline]
    pub fn room_bytes(&self) -> usize {
        let after = self.left.checked_sub(1).expect("one result an operation, and every operation has its own");
        self.buffer.len() - self.filled_bytes - RESULT_HEADER_BYTES - Self::buffer_bytes_min(after)
    }

    /// Writes the next result.
    ///
    /// # Panics
    /// When `bytes` are more than [`Self::room_bytes`]; a service asks first when its results are longer than
    /// [`RESULT_BYTES_RESERVED`].
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) {
        self.push_with(bytes.len(), |result| result.copy_from_slice(bytes));
    }

    /// Writes the next result, `length` bytes that `fill` sets; they hold what the buffer held before.
    ///
    /// # Panics
    /// As [`Self::push`].
    #[inline]
    pub fn push_with(&mut self, length: usize, fill: impl FnOnce(&mut [u8])) {
        let room_bytes = self.room_bytes();
        assert!(length <= room_bytes, "a result of {length} bytes where {room_bytes} are free");
        let (header, rest) = self.buffer[self.filled_bytes..].split_at_mut(RESULT_HEADER_BYTES);
        header.copy_from_slice(&(length as u32).to_le_bytes());
        fill(&mut rest[..length]);
        self.filled_bytes += RESULT_HEADER_BYTES + length;
        self.left -= 1;
    }

    /// Writes all results at once: consecutive numbers from `first`, each as a u64 LE. It does what a loop over
    /// [`Self::push`] would, with one check of the bounds instead of one an operation.
    ///
    /// # Panics
    /// When a result was written before.
    pub fn push_consecutive(&mut self, first: u64) {
        assert_eq!(self.filled_bytes, 0, "consecutive numbers are all the results or none");
        let size = RESULT_HEADER_BYTES + size_of::<u64>();
        let filled_bytes = size * self.left;
        for (number, result) in (first..).zip(self.buffer[..filled_bytes].chunks_exact_mut(size)) {
            result[..RESULT_HEADER_BYTES].copy_from_slice(&(size_of::<u64>() as u32).to_le_bytes());
            result[RESULT_HEADER_BYTES..].copy_from_slice(&number.to_le_bytes());
        }
        self.filled_bytes = filled_bytes;
        self.left = 0;
    }

    /// The packed results.
    ///
    /// # Panics
    /// When an operation has no result: the service broke its contract.
    pub fn finish(self) -> &'a [u8] {
        assert_eq!(self.left, 0, "{} operations were left without a result", self.left);
        &self.buffer[..self.filled_bytes]
    }
}

/// Why bytes are not a list of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ResultsError {
    /// The bytes end before the result does.
    #[error("result {index} goes past the end of the reply")]
    Truncated {
        /// Which result, counted from 0.
        index: usize,
    },
    /// All results were read, and bytes are left.
    #[error("{bytes} bytes follow the last result of the reply")]
    Trailing {
        /// How many bytes are left.
        bytes: usize,
    },
}

/// A checked list of results over borrowed bytes, as a client reads it from a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultsView<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> ResultsView<'a> {
    /// Checks that `bytes` are exactly `count` results; `count` is the client's own knowledge of how many operations it
    /// sent, `bytes` may come from anyone.
    ///
    /// # Errors
    /// [`ResultsError`] when they are fewer, or more.
    pub fn parse(bytes: &'a [u8], count: usize) -> Result<Self, ResultsError> {
        let mut rest = bytes;
        for index in 0..count {
            let truncated = ResultsError::Truncated { index };
            let (header, tail) = rest.split_first_chunk().ok_or(truncated)?;
            rest = tail.get(u32::from_le_bytes(*header) as usize..).ok_or(truncated)?;
        }
        if !rest.is_empty() {
            return Err(ResultsError::Trailing { bytes: rest.len() });
        }
        Ok(Self { count, bytes })
    }

    /// How many results there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The results in the order of their operations.
    pub fn iter(&self) -> ResultsIter<'a> {
        ResultsIter { left: self.count, rest: self.bytes }
    }
}

impl<'a> IntoIterator for ResultsView<'a> {
    type Item = &'a [u8];
    type IntoIter = ResultsIter<'a>;

    fn into_iter(self) -> ResultsIter<'a> {
        self.iter()
    }
}

/// Goes through a checked list; see [`ResultsView::iter`].
#[derive(Clone, Debug)]
pub struct ResultsIter<'a> {
    left: usize,
    rest: &'a [u8],
}

impl<'a> Iterator for ResultsIter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let (header, tail) = self.rest.split_first_chunk().expect("the list was checked: a length is here");
        let (bytes, rest) = tail.split_at(u32::from_le_bytes(*header) as usize);
        self.rest = rest;
        Some(bytes)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for ResultsIter<'_> {}
impl FusedIterator for ResultsIter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn results_read_back_as_written(results in vec(vec(any::<u8>(), 0..30), 0..20)) {
            let mut buffer = vec![0xAA; 1000];
            let count = results.len();
            let mut writer = Results::new(&mut buffer, count);
            for result in &results {
                writer.push(result);
            }
            let view = ResultsView::parse(writer.finish(), count).unwrap();
            prop_assert_eq!(view.count(), count);
            prop_assert_eq!(view.iter().collect::<Vec<_>>(), results);
        }

        #[test]
        fn foreign_bytes_have_one_meaning(count in 0_usize..5, mut bytes in vec(any::<u8>(), 0..40), lengths in vec(0_u32..9, 5)) {
            let mut offset = 0;
            for length in lengths {
                let Some(field) = bytes.get_mut(offset..offset + 4) else { break };
                field.copy_from_slice(&length.to_le_bytes());
                offset += RESULT_HEADER_BYTES + length as usize;
            }
            if let Ok(view) = ResultsView::parse(&bytes, count) {
                let mut buffer = [0; 200];
                let mut writer = Results::new(&mut buffer, count);
                view.iter().for_each(|result| writer.push(result));
                prop_assert_eq!(writer.finish(), &bytes[..]);
            }
        }
    }

    #[test]
    fn consecutive_numbers_are_what_single_results_would_be() {
        let (mut single, mut whole) = ([0; 36], [0; 36]);
        let mut results = Results::new(&mut single, 3);
        (1_u64 << 40..(1 << 40) + 3).for_each(|number| results.push(&number.to_le_bytes()));
        let expected = results.finish();
        let mut results = Results::new(&mut whole, 3);
        results.push_consecutive(1 << 40);
        assert_eq!(results.finish(), expected);
    }

    #[test]
    fn long_results_leave_room_for_the_others() {
        let mut buffer = [0; 40];
        let mut results = Results::new(&mut buffer, 3);
        assert_eq!(results.room_bytes(), 40 - 4 - 24);
        results.push(&[1; 12]);
        assert_eq!(results.room_bytes(), RESULT_BYTES_RESERVED);
        results.push(&[]);
        assert_eq!(results.room_bytes(), 16);
        results.push_with(2, |result| result.fill(7));
        assert_eq!(results.finish().len(), 16 + 4 + 6);
    }

    #[test]
    #[should_panic(expected = "a result of 9 bytes where 8 are free")]
    fn a_result_beyond_its_room_is_a_fault_of_the_service() {
        let mut buffer = [0; 12];
        Results::new(&mut buffer, 1).push(&[0; 9]);
    }

    #[test]
    #[should_panic(expected = "1 operations were left without a result")]
    fn a_missing_result_is_a_fault_of_the_service() {
        let mut buffer = [0; 24];
        let mut results = Results::new(&mut buffer, 2);
        results.push(b"one");
        results.finish();
    }

    #[test]
    fn foreign_lists_are_refused_by_name() {
        assert_eq!(ResultsView::parse(&[1, 0, 0], 1), Err(ResultsError::Truncated { index: 0 }));
        assert_eq!(ResultsView::parse(&[0, 0, 0, 0, 2, 0, 0, 0, 9], 2), Err(ResultsError::Truncated { index: 1 }));
        assert_eq!(ResultsView::parse(&[0], 0), Err(ResultsError::Trailing { bytes: 1 }));
    }
}
