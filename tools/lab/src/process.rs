//! Processes beside the cluster's own.

use logothete::children::{Children, Diagnostics};
use logothete::failure::Failure;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How long one may take until it serves.
const READY_WAIT: Duration = Duration::from_secs(30);

/// This program, which is `logothete` when its first argument is a command of that.
///
/// # Errors
///
/// When it does not know its own file.
pub fn program(arguments: &[&str]) -> Result<Command, Failure> {
    let file = std::env::current_exe().map_err(|error| Failure::Failed(format!("which program is this? {error}")))?;
    let mut command = Command::new(file);
    command.args(arguments);
    Ok(command)
}

/// Starts `logothete` where the calling thread is, and waits until it says that it is ready.
///
/// # Errors
///
/// When it does not.
pub fn start(arguments: &[&str], stop: &AtomicBool) -> Result<Children, Failure> {
    let mut children = Children::new(Diagnostics::Keep);
    let failed = |error: logothete::children::ChildError| Failure::Failed(error.to_string());
    children.spawn(arguments[0], &mut program(arguments)?).map_err(failed)?;
    children.wait_ready(READY_WAIT, stop).map_err(failed)?;
    Ok(children)
}
