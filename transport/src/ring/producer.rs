//! The writing end of a ring.

use super::memory::Memory;
use super::sync::atomic::Ordering;
use super::{RECORD_HEADER_BYTES, RingFault, record_bytes, record_length_max};

/// Why a record was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// There is no room now; there is when the consumer has taken records. Nothing was written.
    #[error("the ring is full; try again when the consumer has taken records")]
    Full,
    /// The record can never fit.
    #[error("a record of {length} bytes is beyond the ring's limit of {limit}; use a larger ring or split the record")]
    TooLong {
        /// The record's length, bytes.
        length: usize,
        /// The longest record that this ring takes, bytes.
        limit: usize,
    },
    /// The consumer's index is garbage; final.
    #[error(transparent)]
    Fault(#[from] RingFault),
}

/// The writing end of a ring: records are written, then published together.
pub struct Producer {
    memory: Memory,
    /// Where the next record goes; the shared index follows it at `publish`.
    tail: u64,
    /// What the shared index says.
    tail_published: u64,
    /// The consumer's index when it was last looked at. It only grows, so less room is seen than there is, never more.
    head_seen: u64,
    fault: Option<RingFault>,
}

impl Producer {
    pub(super) fn new(memory: Memory) -> Producer {
        Producer { memory, tail: 0, tail_published: 0, head_seen: 0, fault: None }
    }

    /// Bytes that the ring holds, record headers included.
    pub fn capacity_bytes(&self) -> usize {
        self.memory.capacity_bytes()
    }

    /// Longest record that this ring takes, bytes.
    pub fn record_length_max(&self) -> usize {
        record_length_max(self.capacity_bytes())
    }

    /// Writes one record. The consumer sees it after [`publish`](Producer::publish).
    ///
    /// # Errors
    ///
    /// [`PushError`]; nothing was written then.
    #[inline]
    pub fn try_push(&mut self, record: &[u8]) -> Result<(), PushError> {
        self.try_push_vectored(&[record])
    }

    /// Writes one record, given in parts that follow one another. The consumer sees it after
    /// [`publish`](Producer::publish).
    ///
    /// # Errors
    ///
    /// [`PushError`]; nothing was written then.
    #[inline]
    pub fn try_push_vectored(&mut self, parts: &[&[u8]]) -> Result<(), PushError> {
        // Slices lie in one address space, and a few of them cannot sum to more than it; saturating says so cheaply.
        let length = parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.len()));
        if length > self.record_length_max() {
            return Err(PushError::TooLong { length, limit: self.record_length_max() });
        }
        let footprint = record_bytes(length);
        if footprint > self.free_seen_bytes() {
            self.look_at_head()?;
            if footprint > self.free_seen_bytes() {
                return Err(PushError::Full);
            }
        } else if let Some(fault) = self.fault {
            return Err(PushError::Fault(fault));
        }
        self.memory.write_word(self.tail, length as u64);
        let mut position = self.tail + RECORD_HEADER_BYTES as u64;
        for part in parts {
            self.memory.write(position, part);
            position += part.len() as u64;
        }
        self.tail += footprint as u64;
        Ok(())
    }

    /// Makes everything written so far visible to the consumer. True when there was anything to publish.
    #[inline]
    pub fn publish(&mut self) -> bool {
        if self.tail == self.tail_published {
            return false;
        }
        // SYNC: pairs with the acquire load in `Consumer::look_at_tail`: who sees this index sees the records.
        self.memory.tail().store(self.tail, Ordering::Release);
        self.tail_published = self.tail;
        true
    }

    /// Bytes free now, for records and their headers ([`record_bytes`]). Looks at the consumer's index.
    ///
    /// # Errors
    ///
    /// [`RingFault`] when that index is garbage.
    pub fn free_bytes(&mut self) -> Result<usize, RingFault> {
        self.look_at_head()?;
        Ok(self.free_seen_bytes())
    }

    /// The fault that stopped this end, if one did.
    pub fn fault(&self) -> Option<RingFault> {
        self.fault
    }

    #[inline]
    fn free_seen_bytes(&self) -> usize {
        self.memory.capacity_bytes() - (self.tail - self.head_seen) as usize
    }

    /// Reads the consumer's index, once, and believes it only where a correct consumer can be: between where it was
    /// and what was published to it.
    #[cold]
    fn look_at_head(&mut self) -> Result<(), RingFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        // SYNC: pairs with the release store in `Consumer::poll_while`: bytes behind this index are no longer read.
        let seen = self.memory.head().load(Ordering::Acquire);
        let fault = if seen < self.head_seen || seen > self.tail_published {
            RingFault::IndexOutOfRange { seen, low: self.head_seen, high: self.tail_published }
        } else if !seen.is_multiple_of(8) {
            RingFault::IndexMisaligned { seen }
        } else {
            self.head_seen = seen;
            return Ok(());
        };
        self.fault = Some(fault);
        Err(fault)
    }
}
