//! The operations that the generator sends, and what their results may look like.
//!
//! A workload builds each operation in a buffer of its own, so that making one costs no allocation.

use super::target::Access;
use logothete_engine::service::kv::command::COMMAND_HEADER_BYTES;
use logothete_engine::service::kv::{Command, Outcome};

/// A source of operations for one service.
pub trait Workload {
    /// The operation that is next. The same bytes until [`Workload::advance`] is called, so that one that found no room
    /// can be offered again.
    fn operation(&mut self) -> &[u8];

    /// How the next operation is asked for.
    fn access(&self) -> Access {
        Access::Write
    }

    /// The operation was handed over; goes on to another.
    fn advance(&mut self);

    /// Whether `result` is one that an operation of this workload, asked for like this, can have.
    fn accepts(&self, access: Access, result: &[u8]) -> bool;
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
        let mut unique =
            Self { serial: serial_first, bytes: (0..payload_bytes).map(|at| b'a' + (at % 26) as u8).collect() };
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

    fn accepts(&self, _: Access, result: &[u8]) -> bool {
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
        Self { payload: Unique::new(payload_bytes, 0), reply_bytes }
    }
}

impl Workload for NullWorkload {
    fn operation(&mut self) -> &[u8] {
        &self.payload.bytes
    }

    fn advance(&mut self) {
        self.payload.advance();
    }

    fn accepts(&self, _: Access, result: &[u8]) -> bool {
        result.len() == self.reply_bytes
    }
}

/// Puts and gets over a fixed number of keys, which are equally likely; values are different from each other from eight
/// bytes on. Gets are asked as queries.
#[derive(Debug)]
pub struct KeyValueWorkload {
    keys: u64,
    read_percent: u32,
    value: Unique,
    random: u64,
    /// The next command, encoded, and how it is asked for.
    command: Vec<u8>,
    access: Access,
}

impl KeyValueWorkload {
    /// Values of `payload_bytes` under `keys` keys of eight bytes; `read_percent` of the operations are gets. The same
    /// `seed` gives the same commands.
    ///
    /// # Panics
    /// When there is no key, or more than 100 percent are to be reads.
    pub fn new(payload_bytes: usize, keys: u64, read_percent: u32, seed: u64) -> Self {
        assert!(keys > 0 && read_percent <= 100, "a key at least, and 100 percent at most");
        let value = Unique::new(payload_bytes, seed << 40);
        let command = Vec::with_capacity(COMMAND_HEADER_BYTES + size_of::<u64>() + payload_bytes);
        let mut workload = Self { keys, read_percent, value, random: seed, command, access: Access::Write };
        workload.encode();
        workload
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014): one multiplication more than nothing, and no visible pattern.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn encode(&mut self) {
        let reads = self.random() % 100 < u64::from(self.read_percent);
        let key = (self.random() % self.keys).to_be_bytes();
        self.command.clear();
        if reads {
            self.access = Access::Read;
            Command::Get { key: &key }.encode(&mut self.command);
        } else {
            self.access = Access::Write;
            self.value.advance();
            Command::Put { key: &key, value: &self.value.bytes }.encode(&mut self.command);
        }
    }
}

impl Workload for KeyValueWorkload {
    fn operation(&mut self) -> &[u8] {
        &self.command
    }

    fn advance(&mut self) {
        self.encode();
    }

    fn access(&self) -> Access {
        self.access
    }

    fn accepts(&self, access: Access, result: &[u8]) -> bool {
        match (access, Outcome::decode(result)) {
            (Access::Read, Ok(Outcome::Value(value))) => value.len() == self.value.bytes.len(),
            (Access::Read, Ok(Outcome::Absent)) | (Access::Write, Ok(Outcome::Done)) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn key_value_commands_keep_the_mix_and_use_every_key() {
        use Access::{Read, Write};
        let mut workload = KeyValueWorkload::new(16, 10, 30, 7);
        let (mut gets, mut keys, mut values) = (0, HashSet::new(), HashSet::new());
        for _ in 0..10_000 {
            let access = workload.access();
            match Command::decode(workload.operation()).unwrap() {
                Command::Get { key } => {
                    assert_eq!(access, Read);
                    gets += 1;
                    keys.insert(key.to_vec());
                }
                Command::Put { key, value } => {
                    assert_eq!((access, value.len()), (Write, 16));
                    keys.insert(key.to_vec());
                    assert!(values.insert(value.to_vec()));
                }
                other => panic!("{other:?}"),
            }
            workload.advance();
        }
        assert_eq!(keys.len(), 10);
        assert!((2_800..3_200).contains(&gets), "{gets}");
        let outcome = |access: Access, outcome: Outcome<'_>| {
            let mut bytes = vec![0; outcome.size()];
            outcome.encode(&mut bytes);
            workload.accepts(access, &bytes)
        };
        assert!(outcome(Write, Outcome::Done) && outcome(Read, Outcome::Absent));
        assert!(outcome(Read, Outcome::Value(&[1; 16])) && !outcome(Read, Outcome::Value(&[1; 15])));
        assert!(!outcome(Read, Outcome::Done) && !outcome(Write, Outcome::Absent) && !outcome(Write, Outcome::Full));
        assert!(!workload.accepts(Read, &[99]));
    }

    #[test]
    fn only_reads_and_only_writes_are_possible() {
        for (read_percent, reads) in [(0, false), (100, true)] {
            let mut workload = KeyValueWorkload::new(8, 1, read_percent, 1);
            for _ in 0..100 {
                let command = Command::decode(workload.operation()).unwrap();
                assert_eq!(matches!(command, Command::Get { .. }), reads);
                workload.advance();
            }
        }
    }
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
        assert!(LogWorkload::new(8, 0).accepts(Access::Write, &[0; 8]));
        assert!(!LogWorkload::new(8, 0).accepts(Access::Write, &[0; 7]));
        assert!(NullWorkload::new(8, 0).accepts(Access::Write, &[]));
        assert!(!NullWorkload::new(8, 0).accepts(Access::Write, &[0]));
    }
}
