//! `logothete`: the command-line program, as a binary of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    logothete::run(std::env::args_os())
}
