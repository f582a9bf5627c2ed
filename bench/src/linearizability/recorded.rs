//! A history as it was recorded: its calls joined with their answers, by key.

use super::register::{Access, Operation};
use logothete_engine::service::kv::{Command, Outcome};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead};

/// Why a file is no history that can be checked. `line` counts from 1.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// It cannot be read.
    #[error("the history cannot be read: {0}")]
    Read(#[from] io::Error),
    /// A line is no event.
    #[error("line {line} of the history is no event: {source}")]
    Event {
        /// Which line.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Bytes that are no hexadecimal digits, no command, or no outcome of the key-value service.
    #[error("line {line} of the history: {what}")]
    Content {
        /// Which line.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// One line, as [`crate::history`] documents it.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'a> {
    Call {
        session: u64,
        number: u64,
        time_ns: u64,
        #[serde(borrow)]
        operation: Cow<'a, str>,
    },
    Answer {
        session: u64,
        number: u64,
        time_ns: u64,
        #[serde(borrow)]
        result: Cow<'a, str>,
    },
    Failure {
        session: u64,
        number: u64,
        effect: Effect,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Effect {
    None,
    Unknown,
}

/// A call without its answer.
struct Open {
    call_ns: u64,
    key: Vec<u8>,
    /// What is put; `None` for a get.
    value: Option<Vec<u8>>,
}

/// A history of puts and gets, by key.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    keys: BTreeMap<Vec<u8>, Vec<Operation>>,
}

impl Recorded {
    /// Reads a history file.
    ///
    /// # Errors
    /// [`HistoryError`] where it is none of puts and gets of the key-value service.
    pub fn read(mut reader: impl BufRead) -> Result<Self, HistoryError> {
        let mut history = Self::default();
        let mut open: HashMap<(u64, u64), Open> = HashMap::new();
        let mut text = String::new();
        for line in 1.. {
            text.clear();
            if reader.read_line(&mut text)? == 0 {
                break;
            }
            let event = serde_json::from_str(&text).map_err(|source| HistoryError::Event { line, source })?;
            history.take(&mut open, event).map_err(|what| HistoryError::Content { line, what })?;
        }
        // What was neither answered nor failed may have taken effect, or may yet.
        for ((session, number), call) in open {
            history.unanswered(session, number, call);
        }
        Ok(history)
    }

    /// The keys in their order, each with its operations.
    pub fn keys(&self) -> impl Iterator<Item = (&[u8], &[Operation])> {
        self.keys.iter().map(|(key, operations)| (&key[..], &operations[..]))
    }

    fn take(&mut self, open: &mut HashMap<(u64, u64), Open>, event: Event<'_>) -> Result<(), &'static str> {
        const NOT_CALLED: &str = "an outcome of an operation that is not under way";
        match event {
            Event::Call { session, number, time_ns, operation } => {
                let bytes = bytes_of(&operation)?;
                let (key, value) = match Command::decode(&bytes) {
                    Ok(Command::Put { key, value }) => (key.to_vec(), Some(value.to_vec())),
                    Ok(Command::Get { key }) => (key.to_vec(), None),
                    Ok(_) | Err(_) => return Err("an operation that is neither a put nor a get"),
                };
                let former = open.insert((session, number), Open { call_ns: time_ns, key, value });
                if former.is_some() { Err("an operation that is under way is called again") } else { Ok(()) }
            }
            Event::Answer { session, number, time_ns, result } => {
                let call = open.remove(&(session, number)).ok_or(NOT_CALLED)?;
                let bytes = bytes_of(&result)?;
                let access = match (call.value, Outcome::decode(&bytes)) {
                    (Some(value), Ok(Outcome::Done)) => Access::Write(value),
                    (None, Ok(Outcome::Value(value))) => Access::Read(Some(value.to_vec())),
                    (None, Ok(Outcome::Absent)) => Access::Read(None),
                    // Nothing was written, and nothing was seen.
                    (_, Ok(Outcome::Full | Outcome::NoRoom)) => return Ok(()),
                    _ => return Err("a result that its operation cannot have"),
                };
                if time_ns < call.call_ns {
                    return Err("an answer that came before its call");
                }
                let operation = Operation { session, number, call_ns: call.call_ns, return_ns: Some(time_ns), access };
                self.keys.entry(call.key).or_default().push(operation);
                Ok(())
            }
            Event::Failure { session, number, effect } => {
                let call = open.remove(&(session, number)).ok_or(NOT_CALLED)?;
                if matches!(effect, Effect::Unknown) {
                    self.unanswered(session, number, call);
                }
                Ok(())
            }
        }
    }

    fn unanswered(&mut self, session: u64, number: u64, call: Open) {
        // A get without an answer says nothing.
        if let Some(value) = call.value {
            let (call_ns, access) = (call.call_ns, Access::Write(value));
            let operation = Operation { session, number, call_ns, return_ns: None, access };
            self.keys.entry(call.key).or_default().push(operation);
        }
    }
}

fn bytes_of(digits: &str) -> Result<Vec<u8>, &'static str> {
    const NOT_HEXADECIMAL: &str = "bytes that are no pairs of hexadecimal digits";
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8).ok_or(NOT_HEXADECIMAL);
    if !digits.len().is_multiple_of(2) {
        return Err(NOT_HEXADECIMAL);
    }
    let pairs = digits.as_bytes().chunks_exact(2);
    pairs.map(|pair| Ok(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::register::Initial;
    use super::super::{Checked, check};
    use super::*;
    use crate::history::HistoryWriter;
    use crate::load::Failure;

    fn put(key: &[u8], value: &[u8]) -> Vec<u8> {
        Command::Put { key, value }.encode_to_vec()
    }

    fn get(key: &[u8]) -> Vec<u8> {
        Command::Get { key }.encode_to_vec()
    }

    fn outcome(outcome: Outcome<'_>) -> Vec<u8> {
        let mut bytes = vec![0; outcome.size()];
        outcome.encode(&mut bytes);
        bytes
    }

    fn read(write: impl FnOnce(&mut HistoryWriter<Vec<u8>>)) -> Result<Recorded, HistoryError> {
        let mut writer = HistoryWriter::new(Vec::new());
        write(&mut writer);
        Recorded::read(&writer.finish().unwrap()[..])
    }

    #[test]
    fn calls_find_their_answers_and_keys_are_apart() {
        let history = read(|file| {
            file.call(0, 1, 10, &put(b"a", b"one"));
            file.call(1, 1, 12, &get(b"a"));
            file.call(0, 2, 13, &put(b"b", b"two"));
            file.answer(1, 1, 20, &outcome(Outcome::Absent));
            file.answer(0, 1, 21, &outcome(Outcome::Done));
            file.failure(0, 2, 30, Failure::Unavailable);
            file.call(1, 2, 40, &get(b"a"));
            file.answer(1, 2, 41, &outcome(Outcome::Value(b"one")));
            file.call(1, 3, 42, &put(b"a", b"full"));
            file.answer(1, 3, 43, &outcome(Outcome::Full));
            file.call(1, 4, 44, &put(b"a", b"refused"));
            file.failure(1, 4, 45, Failure::Overloaded);
            file.call(1, 5, 46, &put(b"c", b"never answered"));
            file.call(1, 6, 47, &get(b"c"));
        })
        .unwrap();
        let counts: Vec<_> = history.keys().map(|(key, operations)| (key.to_vec(), operations.len())).collect();
        assert_eq!(counts, [(b"a".to_vec(), 3), (b"b".to_vec(), 1), (b"c".to_vec(), 1)]);
        let (_, of_b) = history.keys().nth(1).unwrap();
        assert_eq!((of_b[0].call_ns, of_b[0].return_ns), (13, None));
        assert_eq!(check(&history, Initial::Absent), Ok(Checked { keys: 3, operations: 5 }));
    }

    #[test]
    fn a_stale_read_in_a_file_is_found_and_told() {
        let history = read(|file| {
            for (number, value) in [(1, b"one"), (2, b"two")] {
                file.call(0, number, number * 10, &put(b"key", value));
                file.answer(0, number, number * 10 + 1, &outcome(Outcome::Done));
            }
            file.call(1, 1, 50, &get(b"key"));
            file.answer(1, 1, 60, &outcome(Outcome::Value(b"one")));
        })
        .unwrap();
        let found = check(&history, Initial::Absent).unwrap_err();
        assert_eq!(found.key, b"key");
        assert!(found.to_string().contains("key 6b6579"), "{found}");
    }

    #[test]
    fn what_makes_no_sense_never_passes() {
        let text = |text: &str| Recorded::read(text.as_bytes()).unwrap_err().to_string();
        assert!(text("nonsense\n").starts_with("line 1 of the history is no event"));
        assert!(
            text("{\"event\":\"answer\",\"session\":0,\"number\":1,\"time_ns\":1,\"result\":\"00\"}\n")
                .contains("under way")
        );
        let fails = |write: &dyn Fn(&mut HistoryWriter<Vec<u8>>)| read(|file| write(file)).unwrap_err().to_string();
        assert!(fails(&|file| file.call(0, 1, 1, b"no command")).contains("neither a put nor a get"));
        assert!(
            fails(&|file| {
                file.call(0, 1, 1, &put(b"a", b"b"));
                file.call(0, 1, 2, &put(b"a", b"c"));
            })
            .contains("called again")
        );
        assert!(
            fails(&|file| {
                file.call(0, 1, 5, &put(b"a", b"b"));
                file.answer(0, 1, 4, &outcome(Outcome::Done));
            })
            .contains("before its call")
        );
        assert!(
            fails(&|file| {
                file.call(0, 1, 1, &put(b"a", b"b"));
                file.answer(0, 1, 2, &outcome(Outcome::Value(b"b")));
            })
            .contains("cannot have")
        );
        assert!(bytes_of("0").is_err() && bytes_of("0g").is_err() && bytes_of("äb").is_err());
    }
}
