//! Every call and every answer with its time, one JSON object a line, for a linearizability checker
//! ([`crate::linearizability`] has one).
//!
//! | `event` | further fields |
//! | --- | --- |
//! | `call` | `session`, `number`: which operation; `time_ns`: read before it was handed over; `operation`: its bytes in hexadecimal |
//! | `answer` | `session`, `number`; `time_ns`: read after the answer was there; `result`: its bytes in hexadecimal |
//! | `failure` | `session`, `number`; `time_ns`; `failure`: the kind; `effect`: `none` when the operation certainly did not take place, `unknown` when it may have, or may yet |
//!
//! All times of a file are of one monotonic clock, in nanoseconds from an arbitrary start. Lines are in the order in
//! which the generator saw the events. A call without an answer or failure is one whose outcome is unknown.

use std::io::{self, BufWriter, Write};

use super::target::Failure;

/// Writes a history. Errors of the writer are kept until [`HistoryWriter::finish`], so that the load is not disturbed.
#[derive(Debug)]
pub struct HistoryWriter<W: Write> {
    writer: BufWriter<W>,
    line: Vec<u8>,
    error: Option<io::Error>,
}

/// Bytes gathered before the file is touched.
const BUFFER_BYTES: usize = 1 << 20;

impl<W: Write> HistoryWriter<W> {
    /// Writes to `writer`, buffered here.
    pub fn new(writer: W) -> Self {
        Self { writer: BufWriter::with_capacity(BUFFER_BYTES, writer), line: Vec::with_capacity(1024), error: None }
    }

    /// An operation is about to be handed over.
    pub fn call(&mut self, session: usize, number: u64, time_ns: u64, operation: &[u8]) {
        self.begin("call", session, number, time_ns);
        self.line.extend_from_slice(b",\"operation\":\"");
        self.hexadecimal(operation);
        self.end();
    }

    /// Its result came.
    pub fn answer(&mut self, session: usize, number: u64, time_ns: u64, result: &[u8]) {
        self.begin("answer", session, number, time_ns);
        self.line.extend_from_slice(b",\"result\":\"");
        self.hexadecimal(result);
        self.end();
    }

    /// It failed.
    pub fn failure(&mut self, session: usize, number: u64, time_ns: u64, failure: Failure) {
        self.begin("failure", session, number, time_ns);
        let effect = if failure.effect_unknown() { "unknown" } else { "none" };
        self.line.extend_from_slice(b",\"failure\":\"");
        self.line.extend_from_slice(failure.name().as_bytes());
        self.line.extend_from_slice(b"\",\"effect\":\"");
        self.line.extend_from_slice(effect.as_bytes());
        self.end();
    }

    /// Writes what is still buffered and gives the writer back.
    ///
    /// # Errors
    /// The first error of the writer since the start: the file is incomplete.
    pub fn finish(mut self) -> io::Result<W> {
        match self.error.take() {
            Some(error) => Err(error),
            None => self.writer.into_inner().map_err(io::IntoInnerError::into_error),
        }
    }

    fn begin(&mut self, event: &str, session: usize, number: u64, time_ns: u64) {
        self.line.clear();
        // Writing to a vector cannot fail.
        let _ = write!(
            self.line,
            "{{\"event\":\"{event}\",\"session\":{session},\"number\":{number},\"time_ns\":{time_ns}"
        );
    }

    fn hexadecimal(&mut self, bytes: &[u8]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for byte in bytes {
            self.line.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }

    fn end(&mut self) {
        self.line.extend_from_slice(b"\"}\n");
        if self.error.is_none() {
            self.error = self.writer.write_all(&self.line).err();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn every_line_is_an_object_with_the_documented_fields() {
        let mut history = HistoryWriter::new(Vec::new());
        history.call(0, 7, 100, b"\x00\xffa");
        history.answer(0, 7, 250, b"");
        history.failure(3, 8, 300, Failure::Overloaded);
        history.failure(3, 9, 301, Failure::Disconnected);
        let text = String::from_utf8(history.finish().unwrap()).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            lines,
            [
                json!({"event": "call", "session": 0, "number": 7, "time_ns": 100, "operation": "00ff61"}),
                json!({"event": "answer", "session": 0, "number": 7, "time_ns": 250, "result": ""}),
                json!({"event": "failure", "session": 3, "number": 8, "time_ns": 300, "failure": "overloaded", "effect": "none"}),
                json!({"event": "failure", "session": 3, "number": 9, "time_ns": 301, "failure": "disconnected", "effect": "unknown"}),
            ]
        );
    }

    #[test]
    fn an_error_of_the_writer_is_told_at_the_end() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut history = HistoryWriter::new(Full);
        history.call(0, 1, 1, &[0; 2 * BUFFER_BYTES]);
        history.call(0, 2, 2, &[]);
        assert_eq!(history.finish().err().unwrap().kind(), io::ErrorKind::StorageFull);
    }
}
