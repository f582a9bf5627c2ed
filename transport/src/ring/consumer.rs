//! The reading end of a ring.

use super::memory::Memory;
use super::sync::atomic::Ordering;
use super::{RECORD_HEADER_BYTES, RingFault, record_bytes, record_length_max};

/// The reading end of a ring: takes runs of records, each copied to private memory before it is handed on.
pub struct Consumer {
    memory: Memory,
    /// Where the next record starts; what the shared index says between polls.
    head: u64,
    /// The producer's index when it was last looked at.
    tail_seen: u64,
    /// The record in hand. As long as the longest possible one; the system backs with memory only what was used.
    record: Box<[u8]>,
    fault: Option<RingFault>,
}

impl Consumer {
    pub(super) fn new(memory: Memory) -> Consumer {
        let record = vec![0; record_length_max(memory.capacity_bytes())].into_boxed_slice();
        Consumer { memory, head: 0, tail_seen: 0, record, fault: None }
    }

    /// Bytes that the ring holds, record headers included.
    pub fn capacity_bytes(&self) -> usize {
        self.memory.capacity_bytes()
    }

    /// Hands up to `count_max` records to `each`, oldest first, and releases their room. Returns how many there were;
    /// zero means that nothing is published. A record at which `each` panics was taken; its room is released with the next one's.
    ///
    /// # Errors
    ///
    /// [`RingFault`] when the producer wrote garbage. Records before it were handed on; nothing is after it.
    #[inline]
    pub fn poll(&mut self, count_max: usize, mut each: impl FnMut(&[u8])) -> Result<usize, RingFault> {
        self.poll_while(count_max, |record| {
            each(record);
            true
        })
    }

    /// As [`poll`](Consumer::poll), but stops at the first record for which `each` says `false`: it stays in the ring,
    /// is not counted, and comes again at the next poll.
    ///
    /// # Errors
    ///
    /// As [`poll`](Consumer::poll).
    #[inline]
    pub fn poll_while(&mut self, count_max: usize, mut each: impl FnMut(&[u8]) -> bool) -> Result<usize, RingFault> {
        self.look_at_tail()?;
        let head_before = self.head;
        let mut count = 0;
        let mut outcome = Ok(());
        while count < count_max && self.head != self.tail_seen {
            let available = self.tail_seen - self.head;
            let length = self.memory.read_word(self.head);
            // Compared before it is added to, so that no length can overflow; `available` is at most the capacity.
            if length > available - RECORD_HEADER_BYTES as u64 || record_bytes(length as usize) as u64 > available {
                outcome = Err(RingFault::LengthOutOfRange { length, available });
                break;
            }
            let record = &mut self.record[..length as usize];
            self.memory.read(self.head + RECORD_HEADER_BYTES as u64, record);
            // Should `each` panic, the record has been taken: whoever looks on must not see it twice.
            let next = self.head + record_bytes(length as usize) as u64;
            let start = std::mem::replace(&mut self.head, next);
            if !each(record) {
                self.head = start;
                break;
            }
            count += 1;
        }
        if self.head != head_before {
            // SYNC: pairs with the acquire load in `Producer::look_at_head`: the records have been copied out.
            self.memory.head().store(self.head, Ordering::Release);
        }
        match outcome {
            Ok(()) => Ok(count),
            Err(fault) => {
                self.fault = Some(fault);
                Err(fault)
            }
        }
    }

    /// True when nothing is published beyond what was taken.
    ///
    /// # Errors
    ///
    /// [`RingFault`] when the producer's index is garbage.
    pub fn is_empty(&mut self) -> Result<bool, RingFault> {
        self.look_at_tail()?;
        Ok(self.head == self.tail_seen)
    }

    /// The fault that stopped this end, if one did.
    pub fn fault(&self) -> Option<RingFault> {
        self.fault
    }

    /// Reads the producer's index, once, and believes it only where a correct producer can be: not behind where it
    /// was, and not further ahead than the ring is long.
    #[inline]
    fn look_at_tail(&mut self) -> Result<(), RingFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        // SYNC: pairs with the release store in `Producer::publish`: the records before this index are complete.
        let seen = self.memory.tail().load(Ordering::Acquire);
        let high = self.head + self.memory.capacity_bytes() as u64;
        let fault = if seen < self.tail_seen || seen > high {
            RingFault::IndexOutOfRange { seen, low: self.tail_seen, high }
        } else if !seen.is_multiple_of(8) {
            RingFault::IndexMisaligned { seen }
        } else {
            self.tail_seen = seen;
            return Ok(());
        };
        self.fault = Some(fault);
        Err(fault)
    }
}
