//! Eight lanes with AVX2.
//!
//! Rotations by 16 and 8 bits are byte shuffles; by 12 and 7 two shifts and an or.

use super::kernel::lane_kernels;
use std::arch::x86_64::*;

/// Inputs side by side.
pub(super) const LANES: usize = 8;

type Vector = __m256i;

#[target_feature(enable = "avx2")]
#[inline]
fn add(a: Vector, b: Vector) -> Vector {
    _mm256_add_epi32(a, b)
}

#[target_feature(enable = "avx2")]
#[inline]
fn xor(a: Vector, b: Vector) -> Vector {
    _mm256_xor_si256(a, b)
}

#[target_feature(enable = "avx2")]
#[inline]
fn and(a: Vector, b: Vector) -> Vector {
    _mm256_and_si256(a, b)
}

#[target_feature(enable = "avx2")]
#[inline]
fn splat(word: u32) -> Vector {
    _mm256_set1_epi32(word as i32)
}

#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn load(words: &[u32; LANES]) -> Vector {
    // SAFETY: the array is 32 readable bytes; the load needs no alignment.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn store(words: &mut [u32; LANES], vector: Vector) {
    // SAFETY: the array is 32 writable bytes; the store needs no alignment.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), vector) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn rotate_16(v: Vector) -> Vector {
    const BYTES: [i8; 16] = [2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13];
    shuffle_bytes(v, BYTES)
}

#[target_feature(enable = "avx2")]
#[inline]
fn rotate_12(v: Vector) -> Vector {
    _mm256_or_si256(_mm256_srli_epi32::<12>(v), _mm256_slli_epi32::<20>(v))
}

#[target_feature(enable = "avx2")]
#[inline]
fn rotate_8(v: Vector) -> Vector {
    const BYTES: [i8; 16] = [1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12];
    shuffle_bytes(v, BYTES)
}

#[target_feature(enable = "avx2")]
#[inline]
fn rotate_7(v: Vector) -> Vector {
    _mm256_or_si256(_mm256_srli_epi32::<7>(v), _mm256_slli_epi32::<25>(v))
}

/// Rearranges the bytes of each half in the same way.
#[target_feature(enable = "avx2")]
#[inline]
fn shuffle_bytes(v: Vector, order: [i8; 16]) -> Vector {
    // SAFETY: the array is 16 readable bytes; the load needs no alignment.
    let half = unsafe { _mm_loadu_si128(order.as_ptr().cast()) };
    _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(half))
}

/// Word `w` of row `l` becomes lane `l` of vector `w`.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn transpose(rows: &[&[u8; 64]; LANES]) -> [Vector; 16] {
    let mut message = [splat(0); 16];
    for half in 0..2 {
        let mut r = [splat(0); LANES];
        for (vector, row) in r.iter_mut().zip(rows) {
            // SAFETY: `half` is 0 or 1, so the 32 bytes lie within the row's 64; the load needs no
            // alignment.
            *vector = unsafe { _mm256_loadu_si256(row.as_ptr().add(32 * half).cast()) };
        }
        message[8 * half..][..8].copy_from_slice(&transpose_square(r));
    }
    message
}

/// Lane `j` of vector `i` becomes lane `i` of vector `j`.
#[target_feature(enable = "avx2")]
#[inline]
fn transpose_square(r: [Vector; LANES]) -> [Vector; LANES] {
    // Pairs of rows interleaved by word, then pairs of pairs by two words: each vector then holds
    // one word of four rows in either 128-bit half.
    let mut pairs = [splat(0); LANES];
    for i in 0..4 {
        pairs[2 * i] = _mm256_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        pairs[2 * i + 1] = _mm256_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    let mut fours = [splat(0); LANES];
    for g in 0..2 {
        for j in 0..2 {
            let (low, high) = (pairs[4 * g + j], pairs[4 * g + 2 + j]);
            fours[4 * g + 2 * j] = _mm256_unpacklo_epi64(low, high);
            fours[4 * g + 2 * j + 1] = _mm256_unpackhi_epi64(low, high);
        }
    }
    let mut turned = [splat(0); LANES];
    for w in 0..4 {
        turned[w] = _mm256_permute2x128_si256::<0x20>(fours[w], fours[4 + w]);
        turned[4 + w] = _mm256_permute2x128_si256::<0x31>(fours[w], fours[4 + w]);
    }
    turned
}

/// Writes each lane's eight words as its digest.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn store_digests(chaining: [Vector; 8], out: &mut [[u8; 32]; LANES]) {
    for (digest, vector) in out.iter_mut().zip(transpose_square(chaining)) {
        // SAFETY: a digest is 32 writable bytes; the store needs no alignment.
        unsafe { _mm256_storeu_si256(digest.as_mut_ptr().cast(), vector) };
    }
}

lane_kernels!("avx2");
