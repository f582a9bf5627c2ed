//! Input, cut into operations.
//!
//! A thread reads, so that answers are taken while a terminal or a pipe gives nothing. Memory is bounded: a batch is,
//! the number of batches on their way is, and a line that is too long is noticed before it is held.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{self, Receiver, SyncSender};

/// Operations of one batch at most.
const BATCH_OPERATIONS_MAX: usize = 512;

/// A batch is handed over once it holds this many bytes.
const BATCH_BYTES: usize = 64 << 10;

/// Batches between the reader and the appender.
const BATCHES_MAX: usize = 16;

/// Where one operation ends and the next begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Behind each line feed, which belongs to the operation. A last line without one stays without.
    Lines,
    /// Every so many bytes; the last operation may be shorter.
    Every(usize),
}

/// Operations, one behind the other.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Batch {
    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of one operation.
    pub fn operation(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }
}

/// Why no more input comes, other than its end.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A line that the cluster does not take. The lines before it are appended, neither it nor anything after it is.
    #[error("line {line} is longer than the {limit} bytes that an operation may have; nothing from it on was appended")]
    LineTooLong {
        /// Its number, from 1.
        line: u64,
        /// The longest that would be taken, with its terminator.
        limit: usize,
    },
    /// The system could not read.
    #[error("the input cannot be read: {0}")]
    Read(#[from] std::io::Error),
}

/// Batches as they are read; the channel closes behind the last.
pub type Batches = Receiver<Result<Batch, InputError>>;

/// Starts to read `source` on a thread of its own. `limit` is the longest operation that is taken.
///
/// # Errors
///
/// When the system refuses a thread.
pub fn start(source: Box<dyn Read + Send>, cut: Cut, limit: usize) -> std::io::Result<Batches> {
    let (sender, batches) = mpsc::sync_channel(BATCHES_MAX);
    std::thread::Builder::new().name(String::from("input")).spawn(move || {
        if let Err(error) = read(BufReader::with_capacity(BATCH_BYTES, source), cut, limit, &sender) {
            // Nobody listens any more: the program is about to end.
            let _ = sender.send(Err(error));
        }
    })?;
    Ok(batches)
}

fn read(
    mut source: BufReader<impl Read>,
    cut: Cut,
    limit: usize,
    sender: &SyncSender<Result<Batch, InputError>>,
) -> Result<(), InputError> {
    let mut batch = Batch::default();
    let mut line = 0;
    loop {
        let start = batch.bytes.len();
        let length = match cut {
            Cut::Lines => (&mut source).take(limit as u64 + 1).read_until(b'\n', &mut batch.bytes)?,
            Cut::Every(size) => (&mut source).take(size as u64).read_to_end(&mut batch.bytes)?,
        };
        if length > 0 {
            line += 1;
            batch.ends.push(start + length);
        }
        let too_long = length > limit;
        if too_long {
            batch.ends.pop();
        }
        // What is there already goes at once when the source may make us wait for the rest of the next operation.
        let next_is_here = match cut {
            Cut::Lines => source.buffer().contains(&b'\n'),
            Cut::Every(size) => source.buffer().len() >= size,
        };
        let over = length == 0 || too_long;
        let full = batch.len() == BATCH_OPERATIONS_MAX || batch.bytes.len() >= BATCH_BYTES;
        if (over || full || !next_is_here) && batch.len() > 0 && sender.send(Ok(std::mem::take(&mut batch))).is_err() {
            return Ok(());
        }
        if too_long {
            return Err(InputError::LineTooLong { line, limit });
        }
        if over {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All operations, and the error at their end.
    fn cut(input: &[u8], cut: Cut, limit: usize) -> (Vec<Vec<u8>>, Option<String>) {
        let batches = start(Box::new(std::io::Cursor::new(input.to_vec())), cut, limit).unwrap();
        let mut operations = Vec::new();
        for batch in batches {
            match batch {
                Ok(batch) => operations.extend((0..batch.len()).map(|index| batch.operation(index).to_vec())),
                Err(error) => return (operations, Some(error.to_string())),
            }
        }
        (operations, None)
    }

    #[test]
    fn lines_keep_their_terminators() {
        let (operations, error) = cut(b"one\n\ntwo\nlast", Cut::Lines, 10);
        assert_eq!(operations, [&b"one\n"[..], b"\n", b"two\n", b"last"]);
        assert_eq!(error, None);
        assert_eq!(cut(b"", Cut::Lines, 10), (vec![], None));
        assert_eq!(cut(b"", Cut::Every(3), 10), (vec![], None));
    }

    #[test]
    fn a_line_that_is_too_long_ends_the_input_before_it() {
        let text = "nothing from it on was appended";
        let (operations, error) = cut(b"fits\ntoo long\nfits\n", Cut::Lines, 5);
        assert_eq!(operations, [b"fits\n"]);
        assert_eq!(error.unwrap(), format!("line 2 is longer than the 5 bytes that an operation may have; {text}"));
        assert_eq!(cut(b"fits\n12345", Cut::Lines, 5), (vec![b"fits\n".to_vec(), b"12345".to_vec()], None));
        let (operations, error) = cut(b"123456", Cut::Lines, 5);
        assert!(operations.is_empty());
        assert!(error.unwrap().starts_with("line 1 "));
    }

    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }

    #[test]
    fn a_source_that_fails_is_reported() {
        let batches = start(Box::new(b"one\n".chain(Broken)), Cut::Lines, 10).unwrap();
        assert_eq!(batches.recv().unwrap().unwrap().operation(0), b"one\n");
        assert_eq!(batches.recv().unwrap().unwrap_err().to_string(), "the input cannot be read: the disk is gone");
    }

    proptest! {
        #[test]
        fn operations_put_together_are_the_input(input in prop::collection::vec(prop_oneof![3 => any::<u8>(), 1 => Just(b'\n')], 0..4000), size in 1usize..50) {
            let (lines, error) = cut(&input, Cut::Lines, 4000);
            prop_assert_eq!(error, None);
            prop_assert_eq!(lines.concat(), input.clone());
            let ends = lines.iter().rev().skip(1).all(|line| line.ends_with(b"\n"));
            prop_assert!(ends && lines.iter().all(|line| line.iter().filter(|byte| **byte == b'\n').count() <= 1));
            let (pieces, error) = cut(&input, Cut::Every(size), 50);
            prop_assert_eq!(error, None);
            prop_assert!(pieces.iter().rev().skip(1).all(|piece| piece.len() == size));
            prop_assert_eq!(pieces.concat(), input);
        }
    }
}
