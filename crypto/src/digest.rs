//! Digests: BLAKE3, 32 bytes.
//!
//! [`digest`](fn@digest) names bytes. [`DigestWriter`] names a structure: its domain keeps one
//! structure's digest from standing for another's. [`digest_many`] is [`digest`](fn@digest) for
//! many inputs, side by side in SIMD lanes.

use crate::hex::{self, HexError};
use crate::lanes::{self, CHUNK_BYTES, InstructionSet, LANES_MAX};
use std::fmt;
use std::str::FromStr;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Size of a [`Digest`] in bytes.
pub const DIGEST_BYTES: usize = 32;

/// A BLAKE3 digest. The default, all zero, is no input's digest in practice and stands for "none".
///
/// `Display` writes 64 hexadecimal digits, `Debug` the first eight.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct Digest(pub [u8; DIGEST_BYTES]);

const _: () = assert!(size_of::<Digest>() == DIGEST_BYTES && align_of::<Digest>() == 1);

impl Digest {
    /// The digest of which all bytes are zero.
    pub const ZERO: Digest = Digest([0; DIGEST_BYTES]);

    /// Reads 64 hexadecimal digits of either case.
    ///
    /// # Errors
    ///
    /// [`HexError`] says which character, or how many there are.
    pub fn from_hex(text: &str) -> Result<Digest, HexError> {
        hex::parse(text).map(Digest)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; DIGEST_BYTES] {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Digest, HexError> {
        Digest::from_hex(text)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0, f)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0[..4], f)
    }
}

/// The BLAKE3 digest of `bytes`.
///
/// ```
/// use logothete_crypto::digest;
/// assert_eq!(
///     digest(b"").to_string(),
///     "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
/// );
/// ```
pub fn digest(bytes: &[u8]) -> Digest {
    Digest(*blake3::hash(bytes).as_bytes())
}

/// The digests of many inputs: `out[i]` becomes `digest(inputs[i])`.
///
/// Inputs of at most 1024 bytes are hashed side by side where that is faster; the best case is many
/// inputs of about the same length. Longer ones are hashed one by one, each with the parallelism
/// inside the input. Allocates nothing.
///
/// # Panics
///
/// If `out` is not as long as `inputs`.
pub fn digest_many(inputs: &[&[u8]], out: &mut [Digest]) {
    digest_many_with(InstructionSet::detect(), inputs, out);
}

fn digest_many_with(set: InstructionSet, inputs: &[&[u8]], out: &mut [Digest]) {
    assert_eq!(inputs.len(), out.len(), "digest_many: inputs and places for digests");
    let width = lanes::width(set);
    let mut waiting = Waiting { indices: [0; LANES_MAX], count: 0 };
    for (index, input) in inputs.iter().enumerate() {
        if input.len() > CHUNK_BYTES {
            out[index] = digest(input);
            continue;
        }
        waiting.indices[waiting.count] = index;
        waiting.count += 1;
        if waiting.count == width {
            waiting.flush(set, inputs, out);
        }
    }
    waiting.flush(set, inputs, out);
}

/// Short inputs that wait until they fill the lanes.
struct Waiting {
    indices: [usize; LANES_MAX],
    count: usize,
}

impl Waiting {
    fn flush(&mut self, set: InstructionSet, inputs: &[&[u8]], out: &mut [Digest]) {
        let indices = &self.indices[..self.count];
        let mut group = [&[][..]; LANES_MAX];
        for (input, index) in group.iter_mut().zip(indices) {
            *input = inputs[*index];
        }
        let digests = lanes::digests(set, &group[..self.count]);
        for (bytes, index) in digests.into_iter().zip(indices) {
            out[*index] = Digest(bytes);
        }
        self.count = 0;
    }
}

/// An incremental digest with a domain: equal bytes under different domains have unrelated digests.
///
/// It is BLAKE3 in its `derive_key` mode with the domain as the context. Fields are concatenated as
/// given, so a structure of varying lengths must write its lengths too.
///
/// ```
/// use logothete_crypto::DigestWriter;
/// let mut writer = DigestWriter::new("logothete example");
/// writer.update(&7u64.to_le_bytes());
/// writer.update(b"bytes");
/// assert_ne!(writer.finish(), DigestWriter::new("logothete another example").finish());
/// ```
pub struct DigestWriter(blake3::Hasher);

impl DigestWriter {
    /// A digest of nothing yet, in `domain`.
    pub fn new(domain: &str) -> DigestWriter {
        DigestWriter(blake3::Hasher::new_derive_key(domain))
    }

    /// Appends bytes; returns the writer so that calls chain.
    pub fn update(&mut self, bytes: &[u8]) -> &mut DigestWriter {
        self.0.update(bytes);
        self
    }

    /// The digest of everything written.
    pub fn finish(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Length of the input 0, 1, …, 250, 0, 1, … and the first 32 bytes of its hash, keyed hash and
    /// derived key, from `test_vectors.json` of the BLAKE3 reference implementation.
    const OFFICIAL: [(usize, &str, &str, &str); 4] = [
        (
            0,
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
            "92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26",
            "2cc39783c223154fea8dfb7c1b1660f2ac2dcbd1c1de8277b0b0dd39b7e50d7d",
        ),
        (
            1,
            "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
            "6d7878dfff2f485635d39013278ae14f1454b8c0a3a2d34bc1ab38228a80c95b",
            "b3e2e340a117a499c6cf2398a19ee0d29cca2bb7404c73063382693bf66cb06c",
        ),
        (
            1024,
            "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
            "75c46f6f3d9eb4f55ecaaee480db732e6c2105546f1e675003687c31719c7ba4",
            "7356cd7720d5b66b6d0697eb3177d9f8d73a4a5c5e968896eb6a689684302706",
        ),
        (
            2049,
            "5f4d72f40d7a5f82b15ca2b2e44b1de3c2ef86c426c95c1af0b6879522563030",
            "9f29700902f7c86e514ddc4df1e3049f258b2472b6dd5267f61bf13983b78dd5",
            "2ea477c5515cc3dd606512ee72bb3e0e758cfae7232826f35fb98ca1bcbdf273",
        ),
    ];

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i % 251) as u8).collect()
    }

    #[test]
    fn official_vectors() {
        for (length, hash, keyed_hash, derived_key) in OFFICIAL {
            let input = pattern(length);
            assert_eq!(digest(&input).to_string(), hash, "{length} bytes");
            let keyed = blake3::keyed_hash(b"whats the Elvish word for friend", &input);
            assert_eq!(keyed.to_string(), keyed_hash, "{length} bytes, keyed");
            let mut writer = DigestWriter::new("BLAKE3 2019-12-27 16:29:52 test vectors context");
            assert_eq!(writer.update(&input).finish().to_string(), derived_key, "{length} bytes, derived");
            for set in InstructionSet::available() {
                let mut out = [Digest::ZERO; 20];
                digest_many_with(set, &[input.as_slice(); 20], &mut out);
                assert!(out.iter().all(|digest| digest.to_string() == hash), "{set:?}, {length} bytes");
            }
        }
    }

    #[test]
    fn the_writer_concatenates_and_separates_domains() {
        let one = DigestWriter::new("logothete test").update(b"ab").update(b"c").finish();
        assert_eq!(one, DigestWriter::new("logothete test").update(b"abc").finish());
        assert_ne!(one, DigestWriter::new("logothete other").update(b"abc").finish());
        assert_ne!(one, digest(b"abc"));
    }

    #[test]
    fn text_forms() {
        let full = "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7";
        let value = Digest::from_hex(full).unwrap();
        assert_eq!((value.to_string().as_str(), format!("{value:?}").as_str()), (full, "42214739"));
        assert_eq!(full.parse(), Ok(value));
        assert_eq!(Digest::from_hex(&full[2..]), Err(HexError::Length { characters: 62 }));
    }

    proptest! {
        #[test]
        fn many_equals_one_by_one(
            lengths in prop::collection::vec(prop_oneof![0usize..200, 0usize..3000], 0..40)
        ) {
            let bytes = pattern(3000 + lengths.len());
            let inputs: Vec<&[u8]> =
                lengths.iter().enumerate().map(|(i, length)| &bytes[i..i + length]).collect();
            let expected: Vec<Digest> = inputs.iter().map(|input| digest(input)).collect();
            for set in InstructionSet::available() {
                let mut out = vec![Digest::ZERO; inputs.len()];
                digest_many_with(set, &inputs, &mut out);
                prop_assert_eq!(&out, &expected, "{:?}", set);
            }
        }
    }
}
