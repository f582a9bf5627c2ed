//! Randomness as an argument.
//!
//! Everything here that needs random bytes takes an [`Entropy`]: production passes [`os_entropy`],
//! a simulation a seeded generator. Nothing else in the crate draws random bytes.

/// A source that fills a buffer with random bytes. For keys it must be cryptographically secure.
pub type Entropy = Box<dyn FnMut(&mut [u8]) + Send>;

/// Fills `buf` from the operating system (`getrandom`), which blocks only until the kernel is
/// seeded, early at boot.
///
/// # Panics
///
/// If the kernel cannot give random bytes: no key may be made on such a host.
pub fn os_entropy(buf: &mut [u8]) {
    if let Err(error) = getrandom::fill(buf) {
        panic!("getrandom for {} bytes: {error}; no keys can be made on this host", buf.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_the_whole_buffer_with_fresh_bytes() {
        let (mut one, mut two) = ([0; 64], [0; 64]);
        os_entropy(&mut one);
        os_entropy(&mut two);
        assert_ne!(one, two);
        assert!(one.chunks(16).all(|part| part != [0; 16]), "a part of the buffer was left untouched");
        os_entropy(&mut []);
    }
}
