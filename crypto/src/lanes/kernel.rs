//! The compression function, written once for every vector type.
//!
//! A module that invokes [`lane_kernels!`] has in scope: the vector type `Vector`, its width
//! `LANES`, and `add`, `xor`, `and`, `splat`, `load`, `store`, `transpose`, `store_digests` and the
//! rotations `rotate_16`, `rotate_12`, `rotate_8`, `rotate_7`. Source of the algorithm: the BLAKE3
//! paper (O'Connor, Aumasson, Neves, Wilcox-O'Hearn), section 2.

use super::BLOCK_BYTES;

/// The initial chaining value, and the constants in words 8 to 11 of the state.
pub(super) const IV: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

pub(super) const FLAG_CHUNK_START: u32 = 1;
pub(super) const FLAG_CHUNK_END: u32 = 2;
pub(super) const FLAG_ROOT: u32 = 8;
pub(super) const FLAG_KEYED_HASH: u32 = 16;

/// Which message word each round takes at each place.
pub(super) const SCHEDULE: [[usize; 16]; 7] = schedule();

const fn schedule() -> [[usize; 16]; 7] {
    const PERMUTATION: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
    let mut rounds = [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]; 7];
    let mut round = 1;
    while round < 7 {
        let mut place = 0;
        while place < 16 {
            rounds[round][place] = rounds[round - 1][PERMUTATION[place]];
            place += 1;
        }
        round += 1;
    }
    rounds
}

/// Block `block` of an input that holds it whole.
pub(super) fn whole_block(input: &[u8], block: usize) -> &[u8; BLOCK_BYTES] {
    input[block * BLOCK_BYTES..].first_chunk().expect("a block before the last is whole")
}

/// Defines `tags` and `digests` for the vector type in scope, under the given target features.
macro_rules! lane_kernels {
    ($features:literal) => {
        /// One compression in every lane: the chaining value after `message`, a block of
        /// `block_bytes` bytes. The chunk counter is zero: an input is one chunk.
        #[target_feature(enable = $features)]
        #[inline]
        fn compress(chaining: &[Vector; 8], message: &[Vector; 16], block_bytes: Vector, flags: Vector) -> [Vector; 8] {
            use $crate::lanes::kernel::{IV, SCHEDULE};
            let [c0, c1, c2, c3, c4, c5, c6, c7] = *chaining;
            let constant: [Vector; 4] = [splat(IV[0]), splat(IV[1]), splat(IV[2]), splat(IV[3])];
            let [k0, k1, k2, k3] = constant;
            let counter = splat(0);
            let mut s = [c0, c1, c2, c3, c4, c5, c6, c7, k0, k1, k2, k3, counter, counter, block_bytes, flags];
            macro_rules! mix {
                ($a:literal, $b:literal, $c:literal, $d:literal, $x:expr, $y:expr) => {
                    s[$a] = add(add(s[$a], s[$b]), $x);
                    s[$d] = rotate_16(xor(s[$d], s[$a]));
                    s[$c] = add(s[$c], s[$d]);
                    s[$b] = rotate_12(xor(s[$b], s[$c]));
                    s[$a] = add(add(s[$a], s[$b]), $y);
                    s[$d] = rotate_8(xor(s[$d], s[$a]));
                    s[$c] = add(s[$c], s[$d]);
                    s[$b] = rotate_7(xor(s[$b], s[$c]));
                };
            }
            // Unrolled by hand: with the words' indices known, state and message stay in registers.
            macro_rules! round {
                ($r:literal) => {
                    mix!(0, 4, 8, 12, message[SCHEDULE[$r][0]], message[SCHEDULE[$r][1]]);
                    mix!(1, 5, 9, 13, message[SCHEDULE[$r][2]], message[SCHEDULE[$r][3]]);
                    mix!(2, 6, 10, 14, message[SCHEDULE[$r][4]], message[SCHEDULE[$r][5]]);
                    mix!(3, 7, 11, 15, message[SCHEDULE[$r][6]], message[SCHEDULE[$r][7]]);
                    mix!(0, 5, 10, 15, message[SCHEDULE[$r][8]], message[SCHEDULE[$r][9]]);
                    mix!(1, 6, 11, 12, message[SCHEDULE[$r][10]], message[SCHEDULE[$r][11]]);
                    mix!(2, 7, 8, 13, message[SCHEDULE[$r][12]], message[SCHEDULE[$r][13]]);
                    mix!(3, 4, 9, 14, message[SCHEDULE[$r][14]], message[SCHEDULE[$r][15]]);
                };
            }
            round!(0);
            round!(1);
            round!(2);
            round!(3);
            round!(4);
            round!(5);
            round!(6);
            [
                xor(s[0], s[8]),
                xor(s[1], s[9]),
                xor(s[2], s[10]),
                xor(s[3], s[11]),
                xor(s[4], s[12]),
                xor(s[5], s[13]),
                xor(s[6], s[14]),
                xor(s[7], s[15]),
            ]
        }

        /// The first four words of keyed BLAKE3 over a message of 32 bytes, for the keys in the
        /// lanes from `lane_first`.
        ///
        /// # Panics
        ///
        /// If the rows do not hold `lane_first + LANES` lanes.
        #[target_feature(enable = $features)]
        pub(super) fn tags(
            keys: &[[u32; $crate::lanes::LANES_MAX]; 8],
            lane_first: usize,
            message: &[u32; 8],
            out: &mut [[u32; $crate::lanes::LANES_MAX]; 4],
        ) {
            use $crate::lanes::kernel::{FLAG_CHUNK_END, FLAG_CHUNK_START, FLAG_KEYED_HASH, FLAG_ROOT};
            let zero = splat(0);
            let mut chaining = [zero; 8];
            for (vector, row) in chaining.iter_mut().zip(keys) {
                *vector = load(row[lane_first..].first_chunk().expect("the row holds the lanes"));
            }
            // Half of the block is padding; the compiler leaves out the additions of these zeros.
            let mut block = [zero; 16];
            for (vector, word) in block.iter_mut().zip(message) {
                *vector = splat(*word);
            }
            let flags = FLAG_CHUNK_START | FLAG_CHUNK_END | FLAG_ROOT | FLAG_KEYED_HASH;
            let tag = compress(&chaining, &block, splat(32), splat(flags));
            for (row, vector) in out.iter_mut().zip(tag) {
                store(row[lane_first..].first_chunk_mut().expect("the row holds the lanes"), vector);
            }
        }

        /// BLAKE3 of each input, at most one chunk each, into `out` at the same index.
        #[target_feature(enable = $features)]
        pub(super) fn digests(inputs: &[&[u8]; LANES], out: &mut [[u8; 32]; LANES]) {
            use $crate::lanes::kernel::{FLAG_CHUNK_END, FLAG_CHUNK_START, FLAG_ROOT, IV, whole_block};
            use $crate::lanes::{BLOCK_BYTES, block_count};
            const PADDING: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

            let mut block_last = [0; LANES];
            for (last, input) in block_last.iter_mut().zip(inputs) {
                *last = block_count(input) - 1;
            }
            let shortest = block_last.into_iter().min().unwrap_or(0);
            let longest = block_last.into_iter().max().unwrap_or(0);
            let mut chaining = [splat(0); 8];
            for (vector, word) in chaining.iter_mut().zip(IV) {
                *vector = splat(word);
            }
            let first = |block: usize| if block == 0 { FLAG_CHUNK_START } else { 0 };

            // Blocks that no input ends with are whole, and the same in all lanes but for their
            // bytes.
            for block in 0..shortest {
                let mut rows = [&PADDING; LANES];
                for (row, input) in rows.iter_mut().zip(inputs) {
                    *row = whole_block(input, block);
                }
                let bytes = splat(BLOCK_BYTES as u32);
                chaining = compress(&chaining, &transpose(&rows), bytes, splat(first(block)));
            }
            // From here on each lane has its own length and its own end.
            let mut tails = [PADDING; LANES];
            for block in shortest..=longest {
                let mut rows = [&PADDING; LANES];
                let mut block_bytes = [0; LANES];
                let mut flags = [first(block); LANES];
                let mut active = [u32::MAX; LANES];
                for (lane, tail) in tails.iter_mut().enumerate() {
                    if block < block_last[lane] {
                        rows[lane] = whole_block(inputs[lane], block);
                        block_bytes[lane] = BLOCK_BYTES as u32;
                    } else if block == block_last[lane] {
                        let bytes = &inputs[lane][block * BLOCK_BYTES..];
                        tail[..bytes.len()].copy_from_slice(bytes);
                        rows[lane] = tail;
                        block_bytes[lane] = bytes.len() as u32;
                        flags[lane] |= FLAG_CHUNK_END | FLAG_ROOT;
                    } else {
                        active[lane] = 0;
                    }
                }
                let (bytes, flags) = (load(&block_bytes), load(&flags));
                let next = compress(&chaining, &transpose(&rows), bytes, flags);
                // A lane whose input has ended keeps its value.
                let active = load(&active);
                for (kept, new) in chaining.iter_mut().zip(next) {
                    *kept = xor(*kept, and(xor(*kept, new), active));
                }
            }
            store_digests(chaining, out);
        }
    };
}
pub(super) use lane_kernels;
