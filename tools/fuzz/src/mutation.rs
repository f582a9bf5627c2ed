//! New inputs from old ones, as libFuzzer makes them, by a generator of this crate: it needs no instrumented build, and its runs repeat.

use logothete_simulator::world::random::Random;

/// The longest input.
pub const INPUT_BYTES_MAX: usize = 4096;

/// Numbers at which things end.
const ENDS: [u64; 12] =
    [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, u32::MAX as u64, i64::MAX as u64, 1 << 63, u64::MAX - 1, u64::MAX];

/// An input of nothing but chance.
pub fn fresh(random: &mut Random) -> Vec<u8> {
    let bound = [16, 64, 256, INPUT_BYTES_MAX][random.below(4)];
    let mut input = vec![0; random.below(bound)];
    random.fill(&mut input);
    input
}

/// A changed copy of one of the corpus, with pieces of another in it perhaps.
pub fn mutate(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..1 + random.below(6) {
        change(&mut input, &corpus[random.below(corpus.len())], random);
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

fn change(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = if input.is_empty() { 0 } else { random.below(input.len()) };
    match random.below(9) {
        0 if !input.is_empty() => input[at] ^= 1 << random.below(8),
        1 if !input.is_empty() => input[at] = random.draw() as u8,
        2 => write(input, at, &ENDS[random.below(ENDS.len())].to_le_bytes()[..1 << random.below(4)]),
        3 if !input.is_empty() => {
            let step = random.below(9) as u8;
            input[at] = input[at].wrapping_add(step).wrapping_sub(4);
        }
        4 => input.truncate(at),
        5 => {
            let end = (at + 1 + random.below(32)).min(input.len());
            input.drain(at..end);
        }
        6 => {
            let mut more = vec![0; random.below(32)];
            random.fill(&mut more);
            input.splice(at..at, more);
        }
        7 if !other.is_empty() => {
            let from = random.below(other.len());
            let piece = &other[from..(from + 1 + random.below(64)).min(other.len())];
            if random.percent(50) {
                write(input, at, piece);
            } else {
                input.splice(at..at, piece.iter().copied());
            }
        }
        _ if !other.is_empty() => {
            let from = random.below(other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        _ => input.push(random.draw() as u8),
    }
}

fn write(input: &mut [u8], at: usize, bytes: &[u8]) {
    input.iter_mut().skip(at).zip(bytes).for_each(|(place, byte)| *place = *byte);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_inputs_again() {
        let corpus = [b"one".to_vec(), Vec::new(), vec![7; 5000]];
        let inputs = |seed| {
            let mut random = Random::new(seed);
            (0..200).map(|_| mutate(&corpus, &mut random)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(3), inputs(3));
        assert_ne!(inputs(3), inputs(4));
        assert!(inputs(3).iter().all(|input| input.len() <= INPUT_BYTES_MAX));
    }
}
