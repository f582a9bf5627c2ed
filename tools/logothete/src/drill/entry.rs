//! The entries that a drill appends: numbered, and each proof of itself.
//!
//! ```text
//!   0         8          12        16
//!   ┌─────────┬──────────┬─────────┬───────────────────────────┐
//!   │ counter │ session  │ check   │ padding, the session's own│   little endian
//!   └─────────┴──────────┴─────────┴───────────────────────────┘
//! ```
//!
//! `session` is the drill's number of one connection to a driver, `counter` counts that connection's entries from 0, and
//! `check` is a fingerprint of everything else: an entry that was cut, changed or mixed with another does not verify.

/// Bytes of an entry without padding: the least that a drill appends.
pub const ENTRY_BYTES_MIN: usize = 16;

/// Where the check stands.
const CHECK: std::ops::Range<usize> = 12..16;

/// Which entry it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryName {
    /// The connection that appended it.
    pub session: u32,
    /// Its number in that connection, from 0.
    pub counter: u64,
}

/// The buffer of one connection's entries: only the number and the check change from one to the next.
#[derive(Debug)]
pub struct EntryWriter {
    session: u32,
    bytes: Vec<u8>,
}

impl EntryWriter {
    /// Entries of `length` bytes for connection `session`.
    ///
    /// # Panics
    ///
    /// When an entry does not fit into `length`.
    pub fn new(session: u32, length: usize) -> Self {
        assert!(length >= ENTRY_BYTES_MIN, "an entry has at least {ENTRY_BYTES_MIN} bytes");
        let mut bytes = vec![0; length];
        for (place, byte) in bytes[ENTRY_BYTES_MIN..].iter_mut().enumerate() {
            *byte = fold(u64::from(session), place as u64) as u8;
        }
        bytes[8..CHECK.start].copy_from_slice(&session.to_le_bytes());
        Self { session, bytes }
    }

    /// The entry with this number.
    pub fn entry(&mut self, counter: u64) -> &[u8] {
        self.bytes[..8].copy_from_slice(&counter.to_le_bytes());
        let check = check(self.session, counter, &self.bytes[ENTRY_BYTES_MIN..]);
        self.bytes[CHECK].copy_from_slice(&check.to_le_bytes());
        &self.bytes
    }
}

/// Reads an entry; none if it is not whole.
pub fn verify(bytes: &[u8]) -> Option<EntryName> {
    let counter = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let session = u32::from_le_bytes(bytes.get(8..CHECK.start)?.try_into().ok()?);
    let claimed = u32::from_le_bytes(bytes.get(CHECK)?.try_into().ok()?);
    (check(session, counter, &bytes[ENTRY_BYTES_MIN..]) == claimed).then_some(EntryName { session, counter })
}

fn check(session: u32, counter: u64, padding: &[u8]) -> u32 {
    (fingerprint(fold(counter, u64::from(session)), padding) >> 32) as u32
}

/// A fingerprint of `bytes` and their length, begun with `seed`. It tells accidents apart, not forgeries: what it is for
/// is that a checker keeps pace with millions of entries a second.
pub fn fingerprint(seed: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut state = fold(seed, bytes.len() as u64);
    for word in words {
        state = fold(state, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    fold(state, u64::from_le_bytes(last))
}

/// Mixes two words: both halves of a product of 128 bits, as in wyhash, with odd constants from the digits of π so that
/// zeros do not stay zeros.
pub fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one ^ 0x243f_6a88_85a3_08d3) * u128::from(other ^ 0x1319_8a2e_0370_7345);
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_read_back() {
        for length in [16, 17, 24, 100] {
            let mut writer = EntryWriter::new(7, length);
            for counter in [0, 1, u64::MAX] {
                let entry = writer.entry(counter);
                assert_eq!(entry.len(), length);
                assert_eq!(verify(entry), Some(EntryName { session: 7, counter }));
            }
        }
    }

    #[test]
    fn every_changed_bit_and_every_cut_shows() {
        let entry = EntryWriter::new(3, 29).entry(1234).to_vec();
        for bit in 0..entry.len() * 8 {
            let mut changed = entry.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(verify(&changed), None, "bit {bit}");
        }
        for length in 0..entry.len() {
            assert_eq!(verify(&entry[..length]), None, "{length} bytes");
        }
        let mut longer = entry;
        longer.push(0);
        assert_eq!(verify(&longer), None);
    }
}
