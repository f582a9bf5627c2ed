//! The operations that the generator sends, and what their results may look like.
//!
//! A workload builds each operation in a buffer of its own, so that making one costs no allocation.

/// A source of operations for one service.
pub trait Workload {
    /// The operation that is next. The same bytes until [`Workload::advance`] is called, so that one that found no room
    /// can be offered again.
    fn operation(&mut self) -> &[u8];

    /// The operation was handed over; goes on to another.
    fn advance(&mut self);

    /// Whether `result` is one that an operation of this workload can have.
    fn accepts(&self, result: &[u8]) -> bool;
}

/// Bytes that no other operation of the run carries, as far as they fit: a serial number, little endian, and a filling.
#[derive(Debug)]
struct Unique {
    serial: u64,
    bytes: Vec<u8>,
}

impl Unique {
    /// `payload_bytes` of filling whose first eight hold the serial number, its low bytes when there are fewer.
    fn new(payload_bytes: usize, serial_first: u64) -> Self {
        let mut unique = Self {
            serial: serial_first,
            bytes: (0..payload_bytes)
                .map(|at| b'a' + (at % 26) as u8)
                .collect(),
        };
        unique.stamp();
        unique
    }

    fn stamp(&mut self) {
        let serial = self.serial.to_le_bytes();
        let length = self.bytes.len().min(serial.len());
        self.bytes[..length].copy_from_slice(&serial[..length]);
    }

    fn advance(&mut self) {
        self.serial = self.serial.wrapping_add(1);
        self.stamp();
    }
}

/// Appends to the ordered log: opaque payloads, different from each other from eight bytes on. A result is the entry's
/// position, eight bytes.
#[derive(Debug)]
pub struct LogWorkload(Unique);

impl LogWorkload {
    /// Payloads of `payload_bytes`, numbered from `serial_first` (choose it apart from that of other generators of the
    /// same log, and payloads are unique among them all).
    pub fn new(payload_bytes: usize, serial_first: u64) -> Self {
        Self(Unique::new(payload_bytes, serial_first))
    }
}

impl Workload for LogWorkload {
    fn operation(&mut self) -> &[u8] {
        &self.0.bytes
    }

    fn advance(&mut self) {
        self.0.advance();
    }

    fn accepts(&self, result: &[u8]) -> bool {
        result.len() == size_of::<u64>()
    }
}

/// Operations for the null service, which answers each with a fixed number of bytes.
#[derive(Debug)]
pub struct NullWorkload {
    payload: Unique,
    reply_bytes: usize,
}

impl NullWorkload {
    /// Payloads of `payload_bytes`; the service is set up to answer with `reply_bytes`.
    pub fn new(payload_bytes: usize, reply_bytes: usize) -> Self {
        Self {
            payload: Unique::new(payload_bytes, 0),
            reply_bytes,
        }
    }
}

impl Workload for NullWorkload {
    fn operation(&mut self) -> &[u8] {
        &self.payload.bytes
    }

    fn advance(&mut self) {
        self.payload.advance();
    }

    fn accepts(&self, result: &[u8]) -> bool {
        result.len() == self.reply_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn payloads_have_the_size_asked_for_and_differ() {
        for payload_bytes in [8, 9, 64, 1024] {
            let mut workload = LogWorkload::new(payload_bytes, 1 << 40);
            let mut seen = HashSet::new();
            for _ in 0..1_000 {
                assert_eq!(workload.operation().len(), payload_bytes);
                assert_eq!(workload.operation().to_vec(), workload.operation().to_vec());
                assert!(seen.insert(workload.operation().to_vec()));
                workload.advance();
            }
        }
    }

    #[test]
    fn short_payloads_are_cut_not_lengthened() {
        let mut workload = NullWorkload::new(3, 4096);
        workload.advance();
        assert_eq!(workload.operation(), [1, 0, 0]);
        assert_eq!(NullWorkload::new(0, 0).operation(), [0u8; 0]);
    }

    #[test]
    fn results_of_another_size_are_wrong() {
        assert!(LogWorkload::new(8, 0).accepts(&[0; 8]));
        assert!(!LogWorkload::new(8, 0).accepts(&[0; 7]));
        assert!(NullWorkload::new(8, 0).accepts(&[]));
        assert!(!NullWorkload::new(8, 0).accepts(&[0]));
    }
}
