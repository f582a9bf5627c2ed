//! Hexadecimal for 32-byte values: how digests and identities are written in files and on
//! terminals.

use std::fmt;

/// Why a text is not the hexadecimal form of 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// The number of characters is not 64.
    #[error("{characters} characters where 64 hexadecimal digits (32 bytes) are needed")]
    Length {
        /// Characters found.
        characters: usize,
    },
    /// A character is not one of `0-9`, `a-f`, `A-F`.
    #[error("character {position} (counted from 1) is not a hexadecimal digit")]
    Character {
        /// Where, counted from 1.
        position: usize,
    },
    /// The bytes are well written but are not a public key that can be used.
    #[error("the 32 bytes are no usable Ed25519 public key; copy the key again from the file that `init` wrote")]
    Key,
}

/// Writes bytes as lower-case hexadecimal.
pub(crate) fn write(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Reads 32 bytes from exactly 64 hexadecimal digits of either case.
pub(crate) fn parse(text: &str) -> Result<[u8; 32], HexError> {
    let characters = text.chars().count();
    if characters != 64 {
        return Err(HexError::Length { characters });
    }
    let mut bytes = [0; 32];
    for (index, character) in text.chars().enumerate() {
        let position = index + 1;
        let digit = character.to_digit(16).ok_or(HexError::Character { position })?;
        bytes[index / 2] = bytes[index / 2] << 4 | digit as u8;
    }
    Ok(bytes)
}

#[cfg(test)]
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "odd number of digits");
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hexadecimal digits")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_cases_and_names_the_fault() {
        let lower = "00ff10".to_owned() + &"ab".repeat(29);
        assert_eq!(parse(&lower).unwrap()[..3], [0x00, 0xff, 0x10]);
        assert_eq!(parse(&lower.to_uppercase()), parse(&lower));
        assert_eq!(parse(&lower[1..]), Err(HexError::Length { characters: 63 }));
        assert_eq!(parse(""), Err(HexError::Length { characters: 0 }));
        assert_eq!(parse(&lower.replace("10", "1g")), Err(HexError::Character { position: 6 }));
        assert_eq!(parse(&"é".repeat(64)), Err(HexError::Character { position: 1 }));
        assert_eq!(
            parse(&"é".repeat(32)),
            Err(HexError::Length { characters: 32 }),
            "counted in characters, not bytes"
        );
    }
}
