//! The commands of the key-value service and what they answer, as bytes.
//!
//! ```text
//! a command:
//!  0      1          2           4                8
//! +------+----------+-----------+----------------+-----+----------+---------------------+
//! | kind | expected | key_bytes | expected_bytes | key | expected | value               |
//! | u8   | u8       | u16 LE    | u32 LE         |     |          | all that is left    |
//! +------+----------+-----------+----------------+-----+----------+---------------------+
//!
//! an outcome:
//!  0        1
//! +--------+------------------+
//! | status | value            |   the value only with status `Value`
//! +--------+------------------+
//! ```
//!
//! `expected` at offset 1 is 1 where a compare-and-set expects a value and 0 elsewhere; fields that a kind does not use
//! are 0 and empty, so that a command has one encoding.

use thiserror::Error;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The longest key, in bytes: what its length field can say.
pub const KEY_BYTES_MAX: usize = u16::MAX as usize;

/// Bytes in front of a command's key.
pub const COMMAND_HEADER_BYTES: usize = 8;

/// The most bytes that a command has beside the values in it.
pub const COMMAND_OVERHEAD_BYTES_MAX: usize = COMMAND_HEADER_BYTES + KEY_BYTES_MAX;

const _: () = assert!(size_of::<CommandHeader>() == COMMAND_HEADER_BYTES);

const KIND_PUT: u8 = 1;
const KIND_GET: u8 = 2;
const KIND_DELETE: u8 = 3;
const KIND_COMPARE_AND_SET: u8 = 4;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct CommandHeader {
    kind: u8,
    expected: u8,
    key_bytes: U16,
    expected_bytes: U32,
}

/// What an application asks of the key-value service.
///
/// ```
/// use logothete_engine::service::kv::Command;
///
/// let command = Command::CompareAndSet { key: b"lock", expected: None, value: b"me" };
/// let bytes = command.encode_to_vec();
/// assert_eq!(Command::decode(&bytes), Ok(command));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Stores a value, in place of the one that may be there. Answers `Done`.
    Put {
        /// Where.
        key: &'a [u8],
        /// What.
        value: &'a [u8],
    },
    /// Answers with the `Value`, or `Absent`.
    Get {
        /// Where.
        key: &'a [u8],
    },
    /// Removes the value. Answers `Done`, or `Absent` when there was none.
    Delete {
        /// Where.
        key: &'a [u8],
    },
    /// Stores a value if what is there is what is expected. Answers `Done`, or `Different` and leaves it.
    CompareAndSet {
        /// Where.
        key: &'a [u8],
        /// What must be there; none when nothing must be.
        expected: Option<&'a [u8]>,
        /// What to store.
        value: &'a [u8],
    },
}

/// Why bytes are not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// The bytes end before the header, the key or the expected value does.
    #[error("the command ends before its parts do")]
    Truncated,
    /// The first byte names no command.
    #[error("there is no command of kind {kind}")]
    Kind {
        /// The first byte.
        kind: u8,
    },
    /// A field that this kind of command does not use is in use, or a flag is neither 0 nor 1.
    #[error("the command has parts that its kind does not use")]
    Surplus,
}

impl<'a> Command<'a> {
    /// Reads a command. The bytes may come from anyone.
    ///
    /// # Errors
    /// [`CommandError`] when they are none; the service answers such an operation with [`Outcome::Malformed`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, CommandError> {
        let (header, rest) = CommandHeader::ref_from_prefix(bytes).map_err(|_| CommandError::Truncated)?;
        let (key, rest) = rest.split_at_checked(header.key_bytes.get().into()).ok_or(CommandError::Truncated)?;
        let (expected, value) =
            rest.split_at_checked(header.expected_bytes.get() as usize).ok_or(CommandError::Truncated)?;
        let bare = header.expected == 0 && expected.is_empty();
        match header.kind {
            KIND_PUT if bare => Ok(Self::Put { key, value }),
            KIND_GET if bare && value.is_empty() => Ok(Self::Get { key }),
            KIND_DELETE if bare && value.is_empty() => Ok(Self::Delete { key }),
            KIND_COMPARE_AND_SET if bare => Ok(Self::CompareAndSet { key, expected: None, value }),
            KIND_COMPARE_AND_SET if header.expected == 1 => {
                Ok(Self::CompareAndSet { key, expected: Some(expected), value })
            }
            KIND_PUT..=KIND_COMPARE_AND_SET => Err(CommandError::Surplus),
            kind => Err(CommandError::Kind { kind }),
        }
    }

    /// Appends the command's encoding to `out`.
    ///
    /// # Panics
    /// When the key is longer than [`KEY_BYTES_MAX`], or the expected value than a u32 can say.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (kind, key, expected, value) = match *self {
            Self::Put { key, value } => (KIND_PUT, key, None, value),
            Self::Get { key } => (KIND_GET, key, None, &[][..]),
            Self::Delete { key } => (KIND_DELETE, key, None, &[][..]),
            Self::CompareAndSet { key, expected, value } => (KIND_COMPARE_AND_SET, key, expected, value),
        };
        let key_bytes = u16::try_from(key.len()).expect("a key has at most KEY_BYTES_MAX bytes");
        let expected_bytes = u32::try_from(expected.map_or(0, <[u8]>::len)).expect("an expected value fits a request");
        let header = CommandHeader {
            kind,
            expected: u8::from(expected.is_some()),
            key_bytes: key_bytes.into(),
            expected_bytes: expected_bytes.into(),
        };
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(key);
        out.extend_from_slice(expected.unwrap_or_default());
        out.extend_from_slice(value);
    }

    /// The command's encoding in a vector of its own.
    ///
    /// # Panics
    /// As [`Self::encode`].
    pub fn encode_to_vec(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

const STATUS_DONE: u8 = 0;
const STATUS_VALUE: u8 = 1;
const STATUS_ABSENT: u8 = 2;
const STATUS_DIFFERENT: u8 = 3;
const STATUS_MALFORMED: u8 = 4;
const STATUS_FULL: u8 = 5;
const STATUS_NO_ROOM: u8 = 6;

/// What a command answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// It was done.
    Done,
    /// The value that is stored.
    Value(&'a [u8]),
    /// Nothing is stored under the key.
    Absent,
    /// What is stored is not what was expected; nothing was changed.
    Different,
    /// The operation is not a command; nothing was changed.
    Malformed,
    /// The service stores as much as it may; nothing was changed. Delete something first.
    Full,
    /// The value does not fit into the reply beside the other results. Ask with fewer operations in one request.
    NoRoom,
}

/// Bytes that are no outcome: not written by this service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("these bytes are not an outcome of the key-value service")]
pub struct OutcomeError;

impl<'a> Outcome<'a> {
    /// The size of the encoding, in bytes.
    pub fn size(&self) -> usize {
        match self {
            Self::Value(value) => 1 + value.len(),
            _ => 1,
        }
    }

    /// Encodes into exactly [`Self::size`] bytes.
    ///
    /// # Panics
    /// When `out` has another size.
    pub fn encode(&self, out: &mut [u8]) {
        let (status, value) = match *self {
            Self::Done => (STATUS_DONE, &[][..]),
            Self::Value(value) => (STATUS_VALUE, value),
            Self::Absent => (STATUS_ABSENT, &[][..]),
            Self::Different => (STATUS_DIFFERENT, &[][..]),
            Self::Malformed => (STATUS_MALFORMED, &[][..]),
            Self::Full => (STATUS_FULL, &[][..]),
            Self::NoRoom => (STATUS_NO_ROOM, &[][..]),
        };
        out[0] = status;
        out[1..].copy_from_slice(value);
    }

    /// Reads an outcome, as a client finds it in its result.
    ///
    /// # Errors
    /// [`OutcomeError`] when the bytes are none.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, OutcomeError> {
        match bytes {
            [STATUS_VALUE, value @ ..] => Ok(Self::Value(value)),
            [STATUS_DONE] => Ok(Self::Done),
            [STATUS_ABSENT] => Ok(Self::Absent),
            [STATUS_DIFFERENT] => Ok(Self::Different),
            [STATUS_MALFORMED] => Ok(Self::Malformed),
            [STATUS_FULL] => Ok(Self::Full),
            [STATUS_NO_ROOM] => Ok(Self::NoRoom),
            _ => Err(OutcomeError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn commands_read_back_as_written(
            kind in 0..4, key in vec(any::<u8>(), 0..20), expected in proptest::option::of(vec(any::<u8>(), 0..20)),
            value in vec(any::<u8>(), 0..20),
        ) {
            let (key, value) = (&key[..], &value[..]);
            let command = match kind {
                0 => Command::Put { key, value },
                1 => Command::Get { key },
                2 => Command::Delete { key },
                _ => Command::CompareAndSet { key, expected: expected.as_deref(), value },
            };
            let bytes = command.encode_to_vec();
            prop_assert_eq!(Command::decode(&bytes), Ok(command));
        }

        /// Foreign bytes either are refused or are the one encoding of a command.
        #[test]
        fn foreign_bytes_have_one_meaning(
            kind in 0_u8..6, expected in 0_u8..3, key_bytes in 0_u8..9, expected_bytes in 0_u8..9, rest in vec(any::<u8>(), 0..20),
        ) {
            let mut bytes = vec![kind, expected, key_bytes, 0, expected_bytes, 0, 0, 0];
            bytes.extend_from_slice(&rest);
            match Command::decode(&bytes) {
                Ok(command) => prop_assert_eq!(command.encode_to_vec(), bytes),
                Err(CommandError::Kind { kind: named }) => prop_assert!(named == kind && !(1..=4).contains(&kind)),
                Err(CommandError::Truncated) => prop_assert!(rest.len() < usize::from(key_bytes + expected_bytes)),
                Err(CommandError::Surplus) => prop_assert!(expected > 0 || expected_bytes > 0 || kind == KIND_GET || kind == KIND_DELETE),
            }
        }

        #[test]
        fn outcomes_have_one_encoding(bytes in vec(0_u8..9, 0..4)) {
            if let Ok(outcome) = Outcome::decode(&bytes) {
                let mut encoded = vec![0; outcome.size()];
                outcome.encode(&mut encoded);
                prop_assert_eq!(encoded, bytes);
            } else {
                prop_assert!(bytes.first().is_none_or(|&status| status > STATUS_NO_ROOM || bytes.len() > 1));
            }
        }
    }

    #[test]
    fn what_is_no_command_is_refused_by_name() {
        assert_eq!(Command::decode(&[KIND_PUT; 7]), Err(CommandError::Truncated));
        assert_eq!(Command::decode(&[0; 8]), Err(CommandError::Kind { kind: 0 }));
        let get_with_value = [&Command::Get { key: b"k" }.encode_to_vec()[..], b"v"].concat();
        assert_eq!(Command::decode(&get_with_value), Err(CommandError::Surplus));
    }
}
