//! Maps whose keys are numbers that a search gave out: millions of look-ups, and nobody who would choose keys that collide.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map of such keys. Nothing may depend on the order of its entries.
pub type NumberMap<K, V> = HashMap<K, V, BuildHasherDefault<Mixer>>;

/// An odd number without pattern: the golden ratio's fraction, in 64 bits.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes words by multiplication, high half and low half of the product folded together.
#[derive(Default)]
pub struct Mixer(u64);

impl Mixer {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word).wrapping_mul(u128::from(FACTOR));
        // A product of zero must not swallow what comes next.
        self.0 = (product as u64 ^ (product >> 64) as u64).wrapping_add(FACTOR);
    }
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.mix(number.into());
    }

    fn write_usize(&mut self, number: usize) {
        self.mix(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
