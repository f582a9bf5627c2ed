//! Eight lanes with AVX-512VL: the vectors of AVX2, with a rotation instruction and twice the
//! registers.

use super::avx2::{LANES as WIDTH, load, store, store_digests, transpose};
use super::kernel::lane_kernels;
use std::arch::x86_64::*;

/// Inputs side by side.
pub(super) const LANES: usize = WIDTH;

type Vector = __m256i;

#[target_feature(enable = "avx2,avx512f,avx512vl")]
#[inline]
fn add(a: Vector, b: Vector) -> Vector {
    _mm256_add_epi32(a, b)
}

#[target_feature(enable = "avx2,avx512f,avx512vl")]
#[inline]
fn xor(a: Vector, b: Vector) -> Vector {
    _mm256_xor_si256(a, b)
}

#[target_feature(enable = "avx2,avx512f,avx512vl")]
#[inline]
fn and(a: Vector, b: Vector) -> Vector {
    _mm256_and_si256(a, b)
}

#[target_feature(enable = "avx2,avx512f,avx512vl")]
#[inline]
fn splat(word: u32) -> Vector {
    _mm256_set1_epi32(word as i32)
}

#[target_feature(enable = "avx2,avx512f,avx512vl")]
#[inline]
fn rotate_16(v: Vector) -> Vector {
    _mm256_ror_epi32::<16>(v)
}

#[target_feature(enable = "avx2,avx512f,avx512vl")]
#[inline]
fn rotate_12(v: Vector) -> Vector {
    _mm256_ror_epi32::<12>(v)
}

#[target_feature(enable = "avx2,avx512f,avx512vl")]
#[inline]
fn rotate_8(v: Vector) -> Vector {
    _mm256_ror_epi32::<8>(v)
}

#[target_feature(enable = "avx2,avx512f,avx512vl")]
#[inline]
fn rotate_7(v: Vector) -> Vector {
    _mm256_ror_epi32::<7>(v)
}

lane_kernels!("avx2,avx512f,avx512vl");
