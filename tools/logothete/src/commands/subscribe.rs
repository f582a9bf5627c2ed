//! `logothete subscribe`: reads the ordered log.

use super::session::{SessionOptions, failed, require_log};
use crate::failure::Failure;
use crate::signals::stop_flag;
use logothete_client::{ClientError, Entry, Options, Position, Session, Subscription};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Waits for entries are cut up, so that signals are seen in time.
const WAIT: Duration = Duration::from_millis(50);

/// Prints the entries of the ordered log, from a position on.
///
/// One line an entry: position, timestamp in nanoseconds since 1970, session and payload, with tabs between them.
/// Control bytes, backslashes and what is not UTF-8 are escaped in the payload. Without --count or --until-end it goes
/// on until SIGINT or SIGTERM.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  logothete subscribe --config /tmp/cluster/cluster.toml
  logothete subscribe --config /tmp/cluster/cluster.toml --until-end --raw > copy")]
pub struct Arguments {
    #[command(flatten)]
    session: SessionOptions,
    /// The first position to print
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    from: u64,
    /// End after N entries
    #[arg(long, value_name = "N", conflicts_with = "until_end")]
    count: Option<u64>,
    /// End with the last position that a quorum confirms at the start
    #[arg(long)]
    until_end: bool,
    /// Print the payloads alone, one behind the other, as they were published
    #[arg(long)]
    raw: bool,
}

/// Runs the command.
///
/// # Errors
///
/// When not every entry that was asked for could be printed.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let stop = stop_flag()?;
    let out = BufWriter::with_capacity(64 << 10, std::io::stdout().lock());
    print_entries(&arguments.session.path()?, &Range::of(arguments), arguments.raw, out, &stop)
}

/// Which entries.
struct Range {
    from: u64,
    end: End,
}

enum End {
    Never,
    AfterCount(u64),
    AtConfirmed,
}

impl Range {
    fn of(arguments: &Arguments) -> Self {
        let end = match (arguments.count, arguments.until_end) {
            (Some(count), _) => End::AfterCount(count),
            (None, true) => End::AtConfirmed,
            (None, false) => End::Never,
        };
        Self { from: arguments.from, end }
    }
}

fn print_entries(path: &Path, range: &Range, raw: bool, mut out: impl Write, stop: &AtomicBool) -> Result<(), Failure> {
    let from = range.from;
    // The position behind the last one wanted.
    let end = match range.end {
        End::Never => None,
        End::AfterCount(count) => Some(from.saturating_add(count)),
        End::AtConfirmed => {
            let mut session = Session::connect(path, Options::default()).map_err(failed)?;
            require_log(session.facts())?;
            let bounds = session.bounds().map_err(failed)?;
            if from < bounds.oldest.0 {
                return Err(trimmed(from, bounds.oldest));
            }
            Some(bounds.end.0)
        }
    };
    if end.is_some_and(|end| end <= from) {
        return Ok(());
    }
    let mut subscription = Subscription::connect(path, Position(from), Options::default()).map_err(failed)?;
    require_log(subscription.facts())?;
    let mut line = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let mut written = Ok(());
        let polled = subscription.poll(|entry| {
            if written.is_ok() && end.is_none_or(|end| entry.position.0 < end) {
                line.clear();
                format_entry(&entry, raw, &mut line);
                written = out.write_all(&line);
            }
        });
        match written.and_then(|()| out.flush()) {
            Ok(()) => {}
            // Whoever read has what it wanted (`| head`).
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(Failure::of_output(&error)),
        }
        match polled {
            Ok(_) => {}
            Err(ClientError::Trimmed { oldest }) => return Err(trimmed(subscription.position().0, oldest)),
            Err(error) => return Err(failed(error)),
        }
        if end.is_some_and(|end| subscription.position().0 >= end) {
            return Ok(());
        }
        subscription.wait(WAIT).map_err(failed)?;
    }
    match end {
        // A signal is the only end that it has.
        None => Ok(()),
        Some(end) => {
            Err(Failure::Failed(format!("interrupted with {} entries missing", end - subscription.position().0)))
        }
    }
}

fn trimmed(position: u64, oldest: Position) -> Failure {
    Failure::Failed(format!(
        "position {position} is trimmed; the oldest that is kept is {oldest}: use --from {oldest} or later"
    ))
}

fn format_entry(entry: &Entry<'_>, raw: bool, line: &mut Vec<u8>) {
    if raw {
        line.extend_from_slice(entry.bytes);
        return;
    }
    line.extend_from_slice(format!("{}\t{}\t{}\t", entry.position, entry.timestamp_ns, entry.session).as_bytes());
    escape(entry.bytes, line);
    line.push(b'\n');
}

/// Writes bytes so that they take one line and nothing in it acts on a terminal: control characters, backslashes and
/// bytes that are not UTF-8 are escaped as in Rust's string literals.
fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                '\\' => out.extend_from_slice(b"\\\\"),
                control if control.is_control() && control.is_ascii() => {
                    out.extend_from_slice(format!("\\x{:02x}", u32::from(control)).as_bytes())
                }
                control if control.is_control() => {
                    out.extend_from_slice(format!("\\u{{{:x}}}", u32::from(control)).as_bytes())
                }
                other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for byte in chunk.invalid() {
            out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted_driver::{Script, ScriptedDriver, TIMESTAMP_FIRST_NS};

    fn escaped(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        escape(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_could_disturb_a_line_is_escaped() {
        for (bytes, text) in [
            (&b"plain text"[..], "plain text"),
            (b"line\n", "line\\n"),
            (b"a\tb\\c\r", "a\\tb\\\\c\\r"),
            (b"\x1b[2J\x00\x7f", "\\x1b[2J\\x00\\x7f"),
            ("größe".as_bytes(), "größe"),
            (b"\xff\xfe", "\\xff\\xfe"),
            ("\u{85}".as_bytes(), "\\u{85}"),
        ] {
            assert_eq!(escaped(bytes), text);
        }
    }

    fn read(driver: &ScriptedDriver, from: u64, end: End, raw: bool) -> (String, Result<(), Failure>) {
        let mut out = Vec::new();
        let outcome = print_entries(&driver.path(), &Range { from, end }, raw, &mut out, &AtomicBool::new(false));
        (String::from_utf8(out).unwrap(), outcome)
    }

    fn driver(oldest: u64) -> ScriptedDriver {
        let log = (0..5).map(|entry| format!("entry {entry}\n").into_bytes()).collect();
        ScriptedDriver::start(Script { log, oldest, ..Script::default() })
    }

    #[test]
    fn entries_are_printed_with_their_facts() {
        let (text, outcome) = read(&driver(0), 1, End::AfterCount(2), false);
        outcome.unwrap();
        let (one, two) = (TIMESTAMP_FIRST_NS + 1, TIMESTAMP_FIRST_NS + 2);
        assert_eq!(text, format!("1\t{one}\t7\tentry 1\\n\n2\t{two}\t7\tentry 2\\n\n"));
    }

    #[test]
    fn raw_output_is_what_was_published() {
        let (text, outcome) = read(&driver(0), 0, End::AtConfirmed, true);
        outcome.unwrap();
        assert_eq!(text, "entry 0\nentry 1\nentry 2\nentry 3\nentry 4\n");
    }

    #[test]
    fn an_empty_range_is_no_failure() {
        for (from, end) in [(0, End::AfterCount(0)), (5, End::AtConfirmed), (9, End::AtConfirmed)] {
            let (text, outcome) = read(&driver(0), from, end, false);
            outcome.unwrap();
            assert_eq!(text, "");
        }
    }

    #[test]
    fn a_trimmed_position_names_the_oldest() {
        for end in [End::AtConfirmed, End::AfterCount(1)] {
            let (text, outcome) = read(&driver(3), 1, end, false);
            assert_eq!(text, "");
            let error = outcome.unwrap_err().to_string();
            assert_eq!(error, "position 1 is trimmed; the oldest that is kept is 3: use --from 3 or later");
        }
    }

    #[test]
    fn a_signal_ends_what_has_no_end() {
        let driver = driver(0);
        let read =
            |end| print_entries(&driver.path(), &Range { from: 0, end }, false, Vec::new(), &AtomicBool::new(true));
        read(End::Never).unwrap();
        let error = read(End::AfterCount(9)).unwrap_err();
        assert_eq!(error.to_string(), "interrupted with 9 entries missing");
    }

    #[test]
    fn a_missing_driver_is_named() {
        let error = print_entries(
            Path::new("/nonexistent/driver.sock"),
            &Range { from: 0, end: End::Never },
            false,
            Vec::new(),
            &AtomicBool::new(false),
        );
        assert!(error.unwrap_err().to_string().contains("/nonexistent/driver.sock"));
    }
}
