//! Results on standard output, and the JSON object of `--json FILE`.

use crate::failure::Failure;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
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

/// Prints a line for a parent process: `ready ...` or `done ...`. A parent that has gone does not need it.
///
/// # Errors
///
/// When standard output cannot be written to for another reason.
pub fn tell_parent(line: &str) -> Result<(), Failure> {
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
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Failure::Failed(format!("cannot write JSON: {error}")))?;
    if path == Path::new("-") {
        return print_line(&text);
    }
    write_text(path, &(text + "\n"))
}

/// Writes a file.
///
/// # Errors
///
/// When it cannot be written.
pub fn write_text(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| Failure::of_file("write", path, &error))
}

/// One line of progress on standard error: overwritten on a terminal, a line each time elsewhere.
pub struct Progress {
    terminal: bool,
    shown: bool,
}

impl Progress {
    /// Nothing shown yet.
    pub fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), shown: false }
    }

    /// Shows `text` in the place of what was shown before.
    pub fn show(&mut self, text: &str) {
        self.shown = true;
        let mut out = std::io::stderr().lock();
        // Progress that cannot be shown is no reason to fail.
        let _ = if self.terminal { write!(out, "\r{text}\x1b[K") } else { writeln!(out, "{text}") };
    }

    /// Leaves the line, so that what follows does not overwrite it.
    pub fn end(&mut self) {
        if self.terminal && std::mem::take(&mut self.shown) {
            eprintln!();
        }
    }
}
