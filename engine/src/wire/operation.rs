//! The operations inside a request: what applications asked for, packed one after the other by their driver.
//!
//! ```text
//!  0         8         16       20
//! +---------+---------+--------+------------------+
//! | session | number  | length | bytes            |   repeated `count` times, no padding
//! | u64     | u64     | u32    | `length` of them |
//! +---------+---------+--------+------------------+
//! ```
//!
//! All integers are little-endian. The count travels in the request's own header; a list is valid only if exactly
//! `count` operations fill exactly the bytes given, so that one list has one encoding and nothing can hide behind it.

use crate::limits::REQUEST_OPERATIONS_MAX;
use core::iter::FusedIterator;
use thiserror::Error;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes in front of each operation's own.
pub const OPERATION_HEADER_BYTES: usize = 20;

const _: () = assert!(size_of::<OperationHeader>() == OPERATION_HEADER_BYTES);

/// The fixed part of an operation as it stands on the wire.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct OperationHeader {
    session: U64,
    number: U64,
    length: U32,
}

/// One operation of one application session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation<'a> {
    /// The session that asked, as its driver numbers sessions.
    pub session: u64,
    /// The session's own number for this operation.
    pub number: u64,
    /// What is asked; only the service knows what it means.
    pub bytes: &'a [u8],
}

/// Why bytes are not a list of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OperationsError {
    /// The list claims more operations than any datagram can hold.
    #[error("{count} operations in one request, at most {REQUEST_OPERATIONS_MAX} are allowed")]
    TooMany {
        /// The count that was claimed.
        count: usize,
    },
    /// The bytes end before the operation that begins at `offset` does.
    #[error("operation {index} begins at byte {offset} and goes past the end of the request")]
    Truncated {
        /// Which operation, counted from 0.
        index: usize,
        /// Where it begins, in bytes from the beginning of the list.
        offset: usize,
    },
    /// All operations were read, and bytes are left.
    #[error("{bytes} bytes follow the last operation of the request")]
    Trailing {
        /// How many bytes are left.
        bytes: usize,
    },
}

/// A checked list of operations over borrowed bytes.
///
/// It exists only over bytes that [`Operations::parse`] found well-formed, or that this process wrote itself, so going
/// through it cannot fail.
///
/// ```
/// use logothete_engine::wire::operation::{Operations, OperationsWriter};
///
/// let mut writer = OperationsWriter::new(64);
/// assert!(writer.try_push(7, 1, b"first"));
/// assert!(writer.try_push(9, 4, b""));
///
/// let operations = Operations::parse(writer.bytes(), writer.count()).unwrap();
/// let sessions: Vec<u64> = operations.iter().map(|operation| operation.session).collect();
/// assert_eq!(sessions, [7, 9]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operations<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Operations<'a> {
    /// Checks that `bytes` are exactly `count` operations. Both may come from anyone.
    ///
    /// # Errors
    /// [`OperationsError`] says which bound is broken, and where.
    pub fn parse(bytes: &'a [u8], count: usize) -> Result<Self, OperationsError> {
        if count > REQUEST_OPERATIONS_MAX {
            return Err(OperationsError::TooMany { count });
        }
        let mut rest = bytes;
        for index in 0..count {
            let truncated = OperationsError::Truncated { index, offset: bytes.len() - rest.len() };
            let (header, tail) = OperationHeader::ref_from_prefix(rest).map_err(|_| truncated)?;
            rest = tail.get(header.length.get() as usize..).ok_or(truncated)?;
        }
        if !rest.is_empty() {
            return Err(OperationsError::Trailing { bytes: rest.len() });
        }
        Ok(Self { count, bytes })
    }

    /// A list that was checked before its bytes were stored, and is read back from the store.
    pub(crate) fn from_checked(bytes: &'a [u8], count: usize) -> Self {
        debug_assert!(
            Self::parse(bytes, count).is_ok(),
            "stored operations are no longer a list of {count} operations"
        );
        Self { count, bytes }
    }

    /// How many operations there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The encoded list.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The operations in order.
    pub fn iter(&self) -> OperationsIter<'a> {
        OperationsIter { left: self.count, rest: self.bytes }
    }
}

impl<'a> IntoIterator for Operations<'a> {
    type Item = Operation<'a>;
    type IntoIter = OperationsIter<'a>;

    fn into_iter(self) -> OperationsIter<'a> {
        self.iter()
    }
}

/// Goes through a checked list; see [`Operations::iter`].
#[derive(Clone, Debug)]
pub struct OperationsIter<'a> {
    left: usize,
    rest: &'a [u8],
}

impl<'a> Iterator for OperationsIter<'a> {
    type Item = Operation<'a>;

    #[inline]
    fn next(&mut self) -> Option<Operation<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (header, tail) =
            OperationHeader::ref_from_prefix(self.rest).expect("the list was checked: a header is here");
        let (bytes, rest) = tail.split_at(header.length.get() as usize);
        self.rest = rest;
        Some(Operation { session: header.session.get(), number: header.number.get(), bytes })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for OperationsIter<'_> {}
impl FusedIterator for OperationsIter<'_> {}

/// Collects operations until a request is made of them; its memory is taken once and used again for the next request.
#[derive(Debug)]
pub struct OperationsWriter {
    bytes: Vec<u8>,
    bytes_max: usize,
    count: usize,
}

impl OperationsWriter {
    /// An empty list that will take at most `bytes_max` encoded bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes_max), bytes_max, count: 0 }
    }

    /// Appends one operation. Returns false, and changes nothing, when the list has no room for it.
    #[inline]
    pub fn try_push(&mut self, session: u64, number: u64, bytes: &[u8]) -> bool {
        let size = OPERATION_HEADER_BYTES + bytes.len();
        let Ok(length) = u32::try_from(bytes.len()) else { return false };
        if self.bytes.len() + size > self.bytes_max || self.count == REQUEST_OPERATIONS_MAX {
            return false;
        }
        self.push(session, number, length, bytes);
        true
    }

    /// Makes an empty list one of a single operation of any size. Returns false, and changes nothing, when the list is not empty.
    pub fn try_push_alone(&mut self, session: u64, number: u64, bytes: &[u8]) -> bool {
        let Some(length) = u32::try_from(bytes.len()).ok().filter(|_| self.count == 0) else { return false };
        self.push(session, number, length, bytes);
        true
    }

    #[inline]
    fn push(&mut self, session: u64, number: u64, length: u32, bytes: &[u8]) {
        let header = OperationHeader { session: session.into(), number: number.into(), length: length.into() };
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(bytes);
        self.count += 1;
    }

    /// How many operations are in the list.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The encoded list.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The list as it reads.
    pub fn operations(&self) -> Operations<'_> {
        Operations::from_checked(&self.bytes, self.count)
    }

    /// Makes the list empty and keeps its memory, but for what a single long operation took.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(self.bytes_max);
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn encode(list: &[(u64, u64, Vec<u8>)]) -> Vec<u8> {
        let size = list.iter().map(|(_, _, bytes)| OPERATION_HEADER_BYTES + bytes.len()).sum();
        let mut writer = OperationsWriter::new(size);
        for (session, number, bytes) in list {
            assert!(writer.try_push(*session, *number, bytes));
        }
        assert_eq!((writer.count(), writer.bytes().len()), (list.len(), size));
        writer.bytes().to_vec()
    }

    fn list() -> impl Strategy<Value = Vec<(u64, u64, Vec<u8>)>> {
        vec((any::<u64>(), any::<u64>(), vec(any::<u8>(), 0..40)), 0..20)
    }

    proptest! {
        #[test]
        fn a_list_reads_back_as_written(list in list()) {
            let bytes = encode(&list);
            let operations = Operations::parse(&bytes, list.len()).unwrap();
            prop_assert_eq!(operations.iter().len(), list.len());
            let read: Vec<_> = operations.iter().map(|o| (o.session, o.number, o.bytes.to_vec())).collect();
            prop_assert_eq!(read, list);
        }

        #[test]
        fn no_other_count_and_no_cut_is_accepted(list in list(), cut in any::<prop::sample::Index>(), wrong in 0_usize..30) {
            let bytes = encode(&list);
            let count = list.len();
            if wrong != count {
                prop_assert!(Operations::parse(&bytes, wrong).is_err());
            }
            if !bytes.is_empty() {
                prop_assert!(Operations::parse(&bytes[..cut.index(bytes.len())], count).is_err());
            }
            let longer = [&bytes[..], &[0]].concat();
            prop_assert_eq!(Operations::parse(&longer, count), Err(OperationsError::Trailing { bytes: 1 }));
        }

        /// Foreign bytes either are refused or read back as exactly what they encode.
        #[test]
        fn foreign_bytes_have_one_meaning(count in 0_usize..6, mut bytes in vec(any::<u8>(), 0..160), lengths in vec(0_u32..40, 6)) {
            // Plausible lengths where the first headers would be: pure noise almost never gets past one.
            let mut offset = 0;
            for length in lengths {
                let Some(field) = bytes.get_mut(offset + 16..offset + 20) else { break };
                field.copy_from_slice(&length.to_le_bytes());
                offset += OPERATION_HEADER_BYTES + length as usize;
            }
            if let Ok(operations) = Operations::parse(&bytes, count) {
                let read: Vec<_> = operations.iter().map(|o| (o.session, o.number, o.bytes.to_vec())).collect();
                prop_assert_eq!(read.len(), count);
                prop_assert_eq!(encode(&read), bytes);
            }
        }
    }

    #[test]
    fn bounds_are_reported_by_name() {
        assert_eq!(Operations::parse(&[], 0).unwrap().count(), 0);
        assert_eq!(
            Operations::parse(&[], REQUEST_OPERATIONS_MAX + 1),
            Err(OperationsError::TooMany { count: REQUEST_OPERATIONS_MAX + 1 })
        );
        assert_eq!(Operations::parse(&[0; 19], 1), Err(OperationsError::Truncated { index: 0, offset: 0 }));
        let mut bytes = encode(&[(1, 2, vec![3]), (4, 5, vec![])]);
        bytes[37..41].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Operations::parse(&bytes, 2), Err(OperationsError::Truncated { index: 1, offset: 21 }));
        bytes[37..41].copy_from_slice(&1_u32.to_le_bytes());
        assert_eq!(Operations::parse(&bytes, 2), Err(OperationsError::Truncated { index: 1, offset: 21 }));
    }

    #[test]
    fn a_full_writer_refuses_and_stays_as_it_was() {
        let mut writer = OperationsWriter::new(50);
        assert!(writer.try_push(1, 1, b"0123456789"));
        assert!(!writer.try_push(2, 1, b"x"));
        assert!(writer.try_push(3, 1, b""));
        let sessions: Vec<u64> = writer.operations().iter().map(|o| o.session).collect();
        assert_eq!(sessions, [1, 3]);
        writer.clear();
        assert!(writer.is_empty() && writer.bytes().is_empty());
        assert!(writer.try_push(2, 1, &[7; 30]));

        let mut writer = OperationsWriter::new(OPERATION_HEADER_BYTES * (REQUEST_OPERATIONS_MAX + 1));
        assert!((0..REQUEST_OPERATIONS_MAX).all(|number| writer.try_push(0, number as u64, b"")));
        assert!(!writer.try_push(0, 0, b""));
    }
}
