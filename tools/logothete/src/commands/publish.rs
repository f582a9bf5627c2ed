//! `logothete publish`: appends a file, or standard input, to the ordered log.

use super::session::SessionOptions;
use crate::failure::Failure;
use crate::output::{Progress, print_line};
use crate::publish::appender::{Appender, Summary};
use crate::publish::input::{Cut, start};
use crate::signals::stop_flag;
use logothete_client::{Options, Session};
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::PathBuf;

/// Appends each line of FILE, or of standard input, to the ordered log.
///
/// An operation is a line with its terminator; a last line without one stays so. Many are in flight at once, and enter
/// the order as they stand in the input. Prints the count and the first and last position. A line, terminator included,
/// that is longer than the cluster's operation_bytes_max (1 MiB if it does not say less) ends the input: what precedes it is appended, it and what follows are not, and the exit status
/// is 1.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  seq 1000 | logothete publish --config /tmp/cluster/cluster.toml
  logothete publish --config /tmp/cluster/cluster.toml --binary 512 data.bin")]
pub struct Arguments {
    #[command(flatten)]
    session: SessionOptions,
    /// Each SIZE bytes are an operation, instead of each line; at most the cluster's operation_bytes_max
    #[arg(long, value_name = "SIZE")]
    binary: Option<usize>,
    /// Write each operation to FILE once it is acknowledged
    #[arg(long, value_name = "FILE")]
    acknowledged: Option<PathBuf>,
    /// What to append [default: standard input]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
///
/// When not everything was appended.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let stop = stop_flag()?;
    let mut session =
        Session::connect(arguments.session.path()?, Options::default()).map_err(super::session::failed)?;
    super::session::require_log(session.facts())?;
    let limit = session.operation_bytes_max();
    let cut = cut(arguments.binary, limit)?;
    let source: Box<dyn Read + Send> = match &arguments.file {
        None => Box::new(std::io::stdin()),
        Some(path) => Box::new(File::open(path).map_err(|error| Failure::of_file("read", path, &error))?),
    };
    let mut acknowledged = match &arguments.acknowledged {
        None => None,
        Some(path) => {
            Some(BufWriter::new(File::create(path).map_err(|error| Failure::of_file("write", path, &error))?))
        }
    };
    let batches =
        start(source, cut, limit).map_err(|error| Failure::Failed(format!("no thread for the input: {error}")))?;
    let appender = Appender::new(&mut session, batches, acknowledged.as_mut().map(|out| out as &mut dyn Write));
    let mut progress = Progress::new();
    let (summary, outcome) = appender.run(&stop, &mut |count| progress.show(&format!("{count} acknowledged")));
    progress.end();
    print_line(&text(&summary))?;
    if summary.reordered > 0 {
        eprintln!(
            "logothete: {} operations were refused at first and entered the order behind later ones",
            summary.reordered
        );
    }
    if summary.unknown > 0 {
        eprintln!("logothete: of {} operations it is not known whether they entered the order", summary.unknown);
    }
    outcome.map_err(|error| Failure::Failed(error.to_string()))
}

fn cut(binary: Option<usize>, limit: usize) -> Result<Cut, Failure> {
    match binary {
        None => Ok(Cut::Lines),
        Some(size) if (1..=limit).contains(&size) => Ok(Cut::Every(size)),
        Some(size) => {
            Err(Failure::Usage(format!("--binary {size}: an operation has 1 to {limit} bytes in this cluster")))
        }
    }
}

fn text(summary: &Summary) -> String {
    match (summary.position_first, summary.position_last) {
        (Some(first), Some(last)) => {
            format!("published {}, first position {first}, last position {last}", summary.acknowledged)
        }
        _ => String::from("published 0"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_names_count_and_positions() {
        let mut summary = Summary::default();
        assert_eq!(text(&summary), "published 0");
        summary = Summary { acknowledged: 3, position_first: Some(7), position_last: Some(9), ..summary };
        assert_eq!(text(&summary), "published 3, first position 7, last position 9");
    }

    #[test]
    fn pieces_fit_an_operation() {
        assert_eq!(cut(None, 100).unwrap(), Cut::Lines);
        assert_eq!(cut(Some(100), 100).unwrap(), Cut::Every(100));
        for size in [0, 101] {
            assert!(matches!(cut(Some(size), 100), Err(Failure::Usage(_))));
        }
    }
}
