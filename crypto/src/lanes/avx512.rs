//! Sixteen lanes with AVX-512F.

use super::avx2;
use super::kernel::lane_kernels;
use std::arch::x86_64::*;

/// Inputs side by side.
pub(super) const LANES: usize = 16;

type Vector = __m512i;

#[target_feature(enable = "avx512f")]
#[inline]
fn add(a: Vector, b: Vector) -> Vector {
    _mm512_add_epi32(a, b)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn xor(a: Vector, b: Vector) -> Vector {
    _mm512_xor_si512(a, b)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn and(a: Vector, b: Vector) -> Vector {
    _mm512_and_si512(a, b)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn splat(word: u32) -> Vector {
    _mm512_set1_epi32(word as i32)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(words: &[u32; LANES]) -> Vector {
    // SAFETY: the array is 64 readable bytes; the load needs no alignment.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store(words: &mut [u32; LANES], vector: Vector) {
    // SAFETY: the array is 64 writable bytes; the store needs no alignment.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), vector) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn rotate_16(v: Vector) -> Vector {
    _mm512_ror_epi32::<16>(v)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn rotate_12(v: Vector) -> Vector {
    _mm512_ror_epi32::<12>(v)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn rotate_8(v: Vector) -> Vector {
    _mm512_ror_epi32::<8>(v)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn rotate_7(v: Vector) -> Vector {
    _mm512_ror_epi32::<7>(v)
}

/// Word `w` of row `l` becomes lane `l` of vector `w`.
#[target_feature(enable = "avx512f")]
#[inline]
fn transpose(rows: &[&[u8; 64]; LANES]) -> [Vector; 16] {
    let mut r = [splat(0); LANES];
    for (vector, row) in r.iter_mut().zip(rows) {
        // SAFETY: a row is 64 readable bytes; the load needs no alignment.
        *vector = unsafe { _mm512_loadu_si512(row.as_ptr().cast()) };
    }
    // Interleave by word, then by two words: vector 4 g + j then holds, in its 128-bit quarter q,
    // word 4 q + j of the four rows of group g.
    let mut pairs = [splat(0); LANES];
    for i in 0..8 {
        pairs[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        pairs[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    let mut fours = [splat(0); LANES];
    for g in 0..4 {
        for j in 0..2 {
            fours[4 * g + 2 * j] = _mm512_unpacklo_epi64(pairs[4 * g + j], pairs[4 * g + 2 + j]);
            fours[4 * g + 2 * j + 1] = _mm512_unpackhi_epi64(pairs[4 * g + j], pairs[4 * g + 2 + j]);
        }
    }
    // Then a 4 x 4 transposition of the quarters: groups 0, 1 and 2, 3 first, even and odd quarters
    // after.
    let mut message = [splat(0); 16];
    for j in 0..4 {
        let low_01 = _mm512_shuffle_i32x4::<0x88>(fours[j], fours[4 + j]);
        let high_01 = _mm512_shuffle_i32x4::<0xdd>(fours[j], fours[4 + j]);
        let low_23 = _mm512_shuffle_i32x4::<0x88>(fours[8 + j], fours[12 + j]);
        let high_23 = _mm512_shuffle_i32x4::<0xdd>(fours[8 + j], fours[12 + j]);
        message[j] = _mm512_shuffle_i32x4::<0x88>(low_01, low_23);
        message[4 + j] = _mm512_shuffle_i32x4::<0x88>(high_01, high_23);
        message[8 + j] = _mm512_shuffle_i32x4::<0xdd>(low_01, low_23);
        message[12 + j] = _mm512_shuffle_i32x4::<0xdd>(high_01, high_23);
    }
    message
}

/// Writes each lane's eight words as its digest: the lower and the upper eight lanes, as with AVX2.
#[target_feature(enable = "avx2,avx512f")]
#[inline]
fn store_digests(chaining: [Vector; 8], out: &mut [[u8; 32]; LANES]) {
    let (lower, upper) = out.split_at_mut(avx2::LANES);
    let mut lanes = [_mm256_setzero_si256(); 8];
    for (half, vector) in lanes.iter_mut().zip(chaining) {
        *half = _mm512_castsi512_si256(vector);
    }
    avx2::store_digests(lanes, lower.first_chunk_mut().expect("half of sixteen is eight"));
    for (half, vector) in lanes.iter_mut().zip(chaining) {
        *half = _mm512_extracti64x4_epi64::<1>(vector);
    }
    avx2::store_digests(lanes, upper.first_chunk_mut().expect("half of sixteen is eight"));
}

lane_kernels!("avx2,avx512f");
