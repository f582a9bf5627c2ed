//! A rolling fingerprint of everything that happens in a run: two runs of one seed have the same, whatever they were compiled with.

/// 128 bits, folded one word after the other. Nobody attacks it: it has to notice accidents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64, u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344)
    }
}

impl Fingerprint {
    /// Of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut own = Self::default();
        own.fold_bytes(bytes);
        own
    }

    pub fn fold(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
        self.1 = (self.1.rotate_left(27) ^ word).wrapping_mul(0xd6e8_feb8_6659_fd93).wrapping_add(self.0);
    }

    pub fn fold_bytes(&mut self, bytes: &[u8]) {
        self.fold(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.fold(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.fold(u64::from_le_bytes(last));
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}{:016x}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_length_count() {
        let of = |parts: &[&[u8]]| {
            let mut all = Fingerprint::default();
            parts.iter().for_each(|part| all.fold_bytes(part));
            all
        };
        assert_eq!(of(&[b"one", b"two"]), of(&[b"one", b"two"]));
        assert_ne!(of(&[b"one", b"two"]), of(&[b"two", b"one"]));
        assert_ne!(of(&[b"a"]), of(&[b"a\0"]));
        assert_ne!(of(&[b"12345678"]), of(&[b"12345678", b""]));
    }
}
