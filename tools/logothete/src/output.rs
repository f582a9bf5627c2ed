//! Results on standard output, and the JSON object of `--json FILE`.

use crate::failure::Failure;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

/// Prints a line of results.
///
/// # Errors
///
/// When standard output cannot be written to: results that nobody got are no success.
pub fn print_line(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| Failure::of_output(&error))
}

/// Prints the line that tells a parent process that this one is ready. A parent that has gone does not need it.
///
/// # Errors
///
/// When standard output cannot be written to for another reason.
pub fn print_ready(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::of_output(&error)),
        _ => Ok(()),
    }
}

/// Writes `value` to `path` as one JSON object; `-` is standard output.
///
/// # Errors
///
/// When it cannot be written.
pub fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Failed(format!("cannot write JSON: {error}")))?;
    if path == Path::new("-") {
        return print_line(&text);
    }
    std::fs::write(path, text + "\n").map_err(|error| Failure::of_file("write", path, &error))
}
