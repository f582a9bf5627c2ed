//! BLAKE3 over several short inputs at once, one input a SIMD lane.
//!
//! The `blake3` crate is fast for one input, and its many-input routine takes one key for all. A
//! vector of tags is the opposite: one message of 32 bytes under many keys. And requests are many
//! inputs of a few dozen bytes, of different lengths. Both are the one compression function of
//! BLAKE3 with its 16 state words held in 16 vectors, lane `l` of each belonging to input `l`.
//!
//! What may enter: the compression function for one more vector type. What must never enter: keys'
//! meaning, or any choice but "how many inputs side by side". The kernels are written in
//! intrinsics: left to the compiler, the same loops over `[u32; 8]` spill every word and end up
//! slower than one input at a time.
//!
//! | file | lanes | needs |
//! | --- | --- | --- |
//! | `avx2` | 8 | AVX2; rotations by byte shuffles and shifts |
//! | `avx512vl` | 8 | AVX-512F + VL: the same width, one instruction a rotation, 32 registers |
//! | `avx512` | 16 | AVX-512F |
//!
//! Everything is equal to the `blake3` crate bit for bit; the tests force every set of instructions
//! that the host has.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512vl;
#[cfg(target_arch = "x86_64")]
mod kernel;

use zeroize::Zeroizing;

/// Lanes of a [`KeyBlock`]: the widest kernel.
pub(crate) const LANES_MAX: usize = 16;

/// Inputs up to this length are one BLAKE3 chunk, hence a chain of blocks without a tree: what a
/// lane can do.
pub(crate) const CHUNK_BYTES: usize = 1024;

#[cfg(target_arch = "x86_64")]
const BLOCK_BYTES: usize = 64;

/// The vector instructions to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum InstructionSet {
    /// No lanes: one input at a time by the `blake3` crate.
    Scalar,
    /// Eight lanes.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Eight or sixteen lanes.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl InstructionSet {
    /// The best set of this host. The detection is cached by the standard library: a load and a
    /// test a call.
    pub(crate) fn detect() -> InstructionSet {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl");
            return if wide { InstructionSet::Avx512 } else { InstructionSet::Avx2 };
        }
        InstructionSet::Scalar
    }

    /// Every set that this host can run, for tests that force each.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<InstructionSet> {
        let sets = [
            InstructionSet::Scalar,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512,
        ];
        sets.into_iter().filter(|set| *set <= InstructionSet::detect()).collect()
    }
}

/// Up to sixteen 256-bit keys, transposed: `words[w][l]` is word `w` of the key in lane `l`. Unused
/// lanes are zero. Wiped when dropped.
#[repr(C, align(64))]
pub(crate) struct KeyBlock {
    words: Zeroizing<[[u32; LANES_MAX]; 8]>,
}

impl KeyBlock {
    pub(crate) fn new() -> KeyBlock {
        KeyBlock { words: Zeroizing::new([[0; LANES_MAX]; 8]) }
    }

    /// Puts `key` into `lane`.
    pub(crate) fn set(&mut self, lane: usize, key: &[u8; 32]) {
        for (row, word) in self.words.iter_mut().zip(words_of(key)) {
            row[lane] = word;
        }
    }

    /// The key in `lane`.
    fn key(&self, lane: usize) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        for (part, row) in key.chunks_exact_mut(4).zip(self.words.iter()) {
            part.copy_from_slice(&row[lane].to_le_bytes());
        }
        key
    }
}

/// The first 16 bytes of keyed BLAKE3 for each lane, transposed as the key block is.
#[repr(C, align(64))]
pub(crate) struct TagBlock {
    words: [[u32; LANES_MAX]; 4],
}

impl TagBlock {
    pub(crate) fn new() -> TagBlock {
        TagBlock { words: [[0; LANES_MAX]; 4] }
    }

    /// Takes the tag of `lane` from a whole hash.
    fn set(&mut self, lane: usize, hash: &[u8; 32]) {
        for (row, word) in self.words.iter_mut().zip(words_of(hash)) {
            row[lane] = word;
        }
    }

    /// The tag of `lane`.
    pub(crate) fn tag(&self, lane: usize) -> [u8; 16] {
        let mut tag = [0; 16];
        for (part, row) in tag.chunks_exact_mut(4).zip(&self.words) {
            part.copy_from_slice(&row[lane].to_le_bytes());
        }
        tag
    }
}

/// The tags of `message` under the first `lanes` keys of `keys`, at most [`LANES_MAX`].
pub(crate) fn tags(set: InstructionSet, keys: &KeyBlock, lanes: usize, message: &[u8; 32], out: &mut TagBlock) {
    assert!(lanes <= LANES_MAX, "{lanes} lanes of {LANES_MAX}");
    match set {
        InstructionSet::Scalar => {
            for lane in 0..lanes {
                out.set(lane, blake3::keyed_hash(&keys.key(lane), message).as_bytes());
            }
        }
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => {
            for lane_first in (0..lanes).step_by(avx2::LANES) {
                // SAFETY: `Avx2` exists only where detection found AVX2.
                unsafe { avx2::tags(&keys.words, lane_first, &words_of(message), &mut out.words) };
            }
        }
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Avx512` exists only where detection found AVX2, AVX-512F and AVX-512VL.
        InstructionSet::Avx512 if lanes <= avx512vl::LANES => unsafe {
            avx512vl::tags(&keys.words, 0, &words_of(message), &mut out.words);
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        InstructionSet::Avx512 => unsafe {
            avx512::tags(&keys.words, 0, &words_of(message), &mut out.words);
        },
    }
}

/// How many inputs [`digests`] takes at once at most.
pub(crate) fn width(set: InstructionSet) -> usize {
    match set {
        InstructionSet::Scalar => 1,
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => avx2::LANES,
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 => avx512::LANES,
    }
}

/// BLAKE3 of each input; the first `inputs.len()` places of the result. Each input is at most
/// [`CHUNK_BYTES`] long, and there are at most [`width`] of them.
///
/// Lanes run to the longest input. Where that would be more work than one input after the other (a
/// long one among short ones, or few inputs), they are hashed one by one.
pub(crate) fn digests(set: InstructionSet, inputs: &[&[u8]]) -> [[u8; 32]; LANES_MAX] {
    assert!(inputs.len() <= width(set), "{} inputs for {} lanes", inputs.len(), width(set));
    assert!(inputs.iter().all(|input| input.len() <= CHUNK_BYTES), "an input exceeds a chunk");
    let mut out = [[0; 32]; LANES_MAX];
    #[cfg(target_arch = "x86_64")]
    if digest_lanes(set, inputs, &mut out) {
        return out;
    }
    for (digest, input) in out.iter_mut().zip(inputs) {
        *digest = *blake3::hash(input).as_bytes();
    }
    out
}

/// Hashes side by side where that pays; false, and nothing done, where it does not.
#[cfg(target_arch = "x86_64")]
fn digest_lanes(set: InstructionSet, inputs: &[&[u8]], out: &mut [[u8; 32]; LANES_MAX]) -> bool {
    /// A step of eight lanes, transposing its input included, costs about as much as this many
    /// compressions one by one.
    const EIGHT_LANES_COST: usize = 2;
    /// A step of sixteen lanes, likewise.
    const SIXTEEN_LANES_COST: usize = 3;

    let wide = inputs.len() > avx2::LANES;
    let step_cost = if wide { SIXTEEN_LANES_COST } else { EIGHT_LANES_COST };
    let blocks_sum: usize = inputs.iter().map(|input| block_count(input)).sum();
    let blocks_max = inputs.iter().map(|input| block_count(input)).max().unwrap_or(0);
    if blocks_sum <= step_cost * blocks_max {
        return false;
    }
    let mut padded = [&[][..]; LANES_MAX];
    padded[..inputs.len()].copy_from_slice(inputs);
    let eight = padded.first_chunk().expect("sixteen inputs hold eight");
    let out_eight = out.first_chunk_mut().expect("sixteen digests hold eight");
    match set {
        InstructionSet::Scalar => return false,
        // SAFETY: `Avx2` exists only where detection found AVX2.
        InstructionSet::Avx2 => unsafe { avx2::digests(eight, out_eight) },
        // SAFETY: `Avx512` exists only where detection found AVX2, AVX-512F and AVX-512VL.
        InstructionSet::Avx512 if wide => unsafe { avx512::digests(&padded, out) },
        // SAFETY: as above.
        InstructionSet::Avx512 => unsafe { avx512vl::digests(eight, out_eight) },
    }
    true
}

/// Blocks of an input's chunk; an empty input is one block of no bytes.
#[cfg(target_arch = "x86_64")]
fn block_count(input: &[u8]) -> usize {
    input.len().div_ceil(BLOCK_BYTES).max(1)
}

/// Little-endian words of 32 bytes.
fn words_of(bytes: &[u8; 32]) -> [u32; 8] {
    std::array::from_fn(|w| u32::from_le_bytes([bytes[4 * w], bytes[4 * w + 1], bytes[4 * w + 2], bytes[4 * w + 3]]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(lane: usize) -> [u8; 32] {
        std::array::from_fn(|i| (i * 7 + lane * 31 + 3) as u8)
    }

    #[test]
    fn tags_equal_keyed_blake3_for_every_number_of_lanes() {
        let mut keys = KeyBlock::new();
        (0..LANES_MAX).for_each(|lane| keys.set(lane, &key(lane)));
        for set in InstructionSet::available() {
            for lanes in 1..=LANES_MAX {
                let message: [u8; 32] = std::array::from_fn(|i| (i * i + lanes) as u8);
                let mut out = TagBlock::new();
                tags(set, &keys, lanes, &message, &mut out);
                for lane in 0..lanes {
                    let expected = blake3::keyed_hash(&key(lane), &message);
                    assert_eq!(out.tag(lane), expected.as_bytes()[..16], "{set:?}, lane {lane} of {lanes}");
                }
            }
        }
    }

    #[test]
    fn digests_equal_blake3_at_every_length_up_to_a_chunk() {
        let bytes: Vec<u8> = (0..CHUNK_BYTES + LANES_MAX).map(|i| (i % 251) as u8).collect();
        for set in InstructionSet::available() {
            for length in 0..=CHUNK_BYTES {
                // Every lane starts elsewhere, so that a lane that took another's bytes would show.
                let inputs: Vec<&[u8]> = (0..width(set)).map(|lane| &bytes[lane..lane + length]).collect();
                let out = digests(set, &inputs);
                for (input, digest) in inputs.iter().zip(&out) {
                    assert_eq!(digest, blake3::hash(input).as_bytes(), "{set:?}, {length} bytes");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn digests_of_mixed_lengths_equal_blake3(
            inputs in prop::collection::vec(
                prop::collection::vec(any::<u8>(), 0..=CHUNK_BYTES),
                0..=LANES_MAX,
            )
        ) {
            for set in InstructionSet::available() {
                for part in inputs.chunks(width(set)) {
                    let part: Vec<&[u8]> = part.iter().map(Vec::as_slice).collect();
                    let out = digests(set, &part);
                    for (input, digest) in part.iter().zip(&out) {
                        prop_assert_eq!(*digest, *blake3::hash(input).as_bytes(), "{:?}", set);
                    }
                }
            }
        }
    }
}
