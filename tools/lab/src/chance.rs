//! Seeded randomness: one seed, one sequence of choices.

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next word.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound as u64) as usize
    }

    /// Whether something happens that has this chance in a thousand.
    pub fn per_mille(&mut self, chance: u32) -> bool {
        self.word() % 1000 < u64::from(chance)
    }

    /// A time with this mean, exponentially distributed, and at most ten times it.
    pub fn exponential_ns(&mut self, mean_ns: u64) -> u64 {
        // 53 bits make a float in (0, 1].
        let uniform = ((self.word() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        (-uniform.ln() * mean_ns as f64).min(mean_ns as f64 * 10.0) as u64
    }

    /// The numbers below `count` in a random order (Fisher and Yates).
    pub fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_choices_and_they_have_the_right_shape() {
        let (mut one, mut other) = (Chance::new(7), Chance::new(7));
        let mut sum_ns = 0;
        let mut hits = 0;
        for _ in 0..10_000 {
            assert_eq!(one.word(), other.word());
            sum_ns += one.exponential_ns(1000);
            hits += u32::from(one.per_mille(100));
            other = one.clone();
        }
        assert!((9_000_000..11_000_000).contains(&sum_ns), "{sum_ns}");
        assert!((900..1100).contains(&hits), "{hits}");
        let mut order = one.order(10);
        assert_ne!(order, (0..10).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..10).collect::<Vec<_>>());
    }
}
