//! Decisions read from an input: whoever changes a byte of it changes a decision, so that what mutates inputs searches among decisions.

/// What is left of an input. When nothing is, all decisions are zero.
#[derive(Clone, Debug)]
pub struct Choices<'a> {
    rest: &'a [u8],
}

impl<'a> Choices<'a> {
    pub fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// Whether nothing is left.
    pub fn is_spent(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub fn number(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below `bound`, which is at least 1 and at most 65,536.
    pub fn below(&mut self, bound: usize) -> usize {
        let drawn = if bound <= 256 { usize::from(self.byte()) } else { usize::from(u16::from_le_bytes(self.array())) };
        drawn % bound
    }

    /// One of several.
    pub fn of<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.below(among.len())]
    }

    /// A number that means something beside `around`, or is an end of the range (RELIABILITY.md I-15).
    pub fn near(&mut self, around: u64) -> u64 {
        match self.byte() % 10 {
            0..=2 => around,
            3 => around.wrapping_add(1),
            4 => around.wrapping_sub(1),
            5 => around.wrapping_add(u64::from(self.byte())),
            6 => around.wrapping_sub(u64::from(self.byte())),
            7 => self.of(&[0, 1, u64::MAX, u64::MAX - 1, i64::MAX as u64, 1 << 32]),
            8 => 1 << (self.byte() % 64),
            _ => self.number(),
        }
    }

    /// Up to `most` bytes of the input.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let wanted = if most < 256 { usize::from(self.byte()) } else { usize::from(u16::from_le_bytes(self.array())) };
        let (taken, rest) = self.rest.split_at(wanted.min(most).min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Changes some bytes of what the system wrote: places and values are the input's.
    pub fn spoil(&mut self, bytes: &mut [u8]) {
        for _ in 0..self.below(4) {
            let at = u16::from_le_bytes(self.array());
            let value = self.byte();
            if let Some(place) = usize::from(at).checked_rem(bytes.len()).map(|at| &mut bytes[at]) {
                *place ^= value;
            }
        }
    }

    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut drawn = [0; N];
        let (taken, rest) = self.rest.split_at(N.min(self.rest.len()));
        drawn[..taken.len()].copy_from_slice(taken);
        self.rest = rest;
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_that_is_spent_decides_zero() {
        let mut choices = Choices::new(&[5, 1, 2, 3]);
        assert_eq!(choices.byte(), 5);
        assert_eq!(choices.number(), 0x03_0201);
        assert!(choices.is_spent());
        assert_eq!((choices.number(), choices.below(7), choices.bytes(300)), (0, 0, &[][..]));
    }

    #[test]
    fn bytes_are_those_of_the_input_and_no_more_than_wanted() {
        let mut choices = Choices::new(&[9, 1, 2, 3, 4]);
        assert_eq!(choices.bytes(2), [1, 2]);
        assert_eq!(choices.rest(), [3, 4]);
    }
}
