//! Randomness that repeats: one seed, one run. Whoever draws has a stream of its own, derived from the seed and a name that stays, so that what one
//! stops to draw changes nothing for the others.

use logothete_crypto::digest;

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The stream of this name under a seed.
    pub fn named(seed: u64, name: &str) -> Self {
        let named = digest(&[&seed.to_le_bytes(), name.as_bytes()].concat());
        Self(u64::from_le_bytes(*named.0.first_chunk().expect("a digest is longer")))
    }

    /// The stream of one event out of many: the same whatever came before it.
    pub fn of_event(&self, number: u64) -> Self {
        Self(Self(self.0 ^ number.wrapping_mul(0xd134_2543_de82_ef95)).draw())
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.draw() % bound as u64) as usize
    }

    /// A number from `low` to `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.draw() % (high - low + 1)
    }

    /// One of several, each as likely.
    pub fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.below(among.len())]
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, chance: u32) -> bool {
        self.below(100) < chance as usize
    }

    /// True so many times in a thousand.
    pub fn per_mille(&mut self, chance: u32) -> bool {
        self.below(1000) < chance as usize
    }

    /// Exponentially distributed with this mean, below 2^48: in integers, so that it is the same everywhere.
    pub fn exponential(&mut self, mean: u64) -> u64 {
        // -log2 of a uniform word as a fraction, its mantissa taken linearly, times ln 2.
        let word = self.draw();
        let zeros = u64::from(word.leading_zeros());
        let mantissa = word.checked_shl(word.leading_zeros() + 1).unwrap_or(0) >> 54;
        mean * ((zeros * 1024 + 1024 - mantissa) * 710 / 1024) / 1024
    }

    /// The numbers below `count` in any order, each as likely (Fisher and Yates).
    pub fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.draw().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_depend_on_seed_and_name_alone() {
        let draw = |seed, name| Random::named(seed, name).draw();
        assert_eq!(draw(1, "link 0 1"), draw(1, "link 0 1"));
        assert_ne!(draw(1, "link 0 1"), draw(1, "link 1 0"));
        assert_ne!(draw(1, "link 0 1"), draw(2, "link 0 1"));
    }

    #[test]
    fn an_event_draws_the_same_whatever_others_draw() {
        let stream = Random::named(1, "link 0 1");
        let mut seventh = stream.of_event(7);
        let drawn = [seventh.draw(), seventh.draw()];
        assert_ne!(stream.of_event(8).draw(), drawn[0]);
        let mut again = stream.of_event(7);
        assert_eq!([again.draw(), again.draw()], drawn);
    }

    #[test]
    fn what_is_drawn_has_the_shape_that_is_said() {
        let mut random = Random::new(7);
        let sum: u64 = (0..10_000).map(|_| random.exponential(1000)).sum();
        assert!((9_000_000..11_000_000).contains(&sum), "{sum}");
        let hits = (0..10_000).filter(|_| random.per_mille(100)).count();
        assert!((900..1100).contains(&hits), "{hits}");
        let mut order = random.order(10);
        assert_ne!(order, (0..10).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..10).collect::<Vec<_>>());
    }
}
