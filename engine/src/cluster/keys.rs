//! Secret key files: one identity a file, 64 hexadecimal digits, readable by its owner alone.

use super::{ConfigError, Fault};
use logothete_crypto::{Identity, PublicIdentity};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use zeroize::Zeroizing;

/// 32 bytes in hexadecimal, and the end of the line.
const KEY_FILE_BYTES: usize = 65;

/// Writes a new key file with mode 0600.
///
/// # Errors
///
/// When the file exists, or cannot be written.
pub fn write(path: &Path, identity: &Identity) -> Result<(), ConfigError> {
    let secret = identity.secret_bytes();
    let mut text = Zeroizing::new(Vec::with_capacity(KEY_FILE_BYTES));
    for byte in secret.iter() {
        text.push(HEX_DIGITS[usize::from(byte >> 4)]);
        text.push(HEX_DIGITS[usize::from(byte & 0xf)]);
    }
    text.push(b'\n');
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(&text));
    written.map_err(|error| {
        let problem = format!("cannot be written: {error}");
        Fault::of_file(problem, "name a directory that this user may write to").at(path, None)
    })
}

/// Reads the identity of a key file and checks that it is the one whose public key is `expected`; `owner` names in
/// errors whose it should be, such as `replica 2`.
///
/// # Errors
///
/// When the file cannot be read, is readable by others than its owner, does not hold a key, or holds another's.
pub fn read(path: &Path, owner: &str, expected: &PublicIdentity) -> Result<Identity, ConfigError> {
    let refuse = |problem: String, mend: String| Fault::of_file(problem, mend).at(path, None);
    let unreadable = |error: std::io::Error| {
        refuse(
            format!("the secret key of {owner} cannot be read: {error}"),
            String::from("put the key file that `logothete init` wrote there, owned by this user"),
        )
    };
    let mut file = File::open(path).map_err(unreadable)?;
    // The open file is asked, not the path, so that what was checked is what is read.
    let mode = file.metadata().map_err(unreadable)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(refuse(
            format!("the secret key of {owner} is open to others than its owner (mode {mode:04o})"),
            format!("run `chmod 600 {}`, and make new keys if others had access", path.display()),
        ));
    }
    // One byte more than wanted shows a file that is too long. The buffer does not grow, so no copy of the secret stays
    // behind.
    let mut text = Zeroizing::new([0u8; KEY_FILE_BYTES + 1]);
    let mut length = 0;
    loop {
        match file.read(&mut text[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
    let no_key = |problem: &str| {
        refuse(
            format!("{problem}, where the secret key of {owner} is wanted"),
            String::from("put the key file that `logothete init` wrote there"),
        )
    };
    let digits = text[..length].trim_ascii_end();
    if digits.len() != 64 {
        return Err(no_key("holds something else than 64 hexadecimal digits"));
    }
    let mut secret = Zeroizing::new([0u8; 32]);
    for (byte, pair) in secret.iter_mut().zip(digits.chunks_exact(2)) {
        let (Some(high), Some(low)) = (hex_value(pair[0]), hex_value(pair[1])) else {
            return Err(no_key("holds something else than hexadecimal digits"));
        };
        *byte = high << 4 | low;
    }
    if secret.iter().all(|byte| *byte == 0) {
        return Err(no_key("holds a key of zeros"));
    }
    let identity = Identity::from_secret_bytes(*secret);
    if identity.public() != *expected {
        return Err(refuse(
            format!("holds the secret key of {}, which is not that of {owner} ({expected})", identity.public()),
            String::from("put the key file of the right identity there, or correct its public key in cluster.toml"),
        ));
    }
    Ok(identity)
}

const HEX_DIGITS: [u8; 16] = *b"0123456789abcdef";

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}
