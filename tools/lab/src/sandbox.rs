//! Nothing is left behind: the program runs itself once more, and clears up after that however it ended.

use logothete::failure::Failure;
use logothete::signals::stop_flag;
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Command, ExitCode};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Between two looks at the inner process.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Runs this program with the same arguments in a process whose temporary files lie in a directory of its own, which is
/// removed in the end. A signal that ends this one ends the other first.
///
/// # Errors
///
/// When it cannot be started.
pub fn run_again_inside() -> Result<ExitCode, Failure> {
    let failed = |error: std::io::Error| Failure::Failed(format!("the lab cannot start itself: {error}"));
    let stop = stop_flag()?;
    let place = tempfile::Builder::new().prefix("logothete-lab-").tempdir().map_err(failed)?;
    let mut inner = Command::new(std::env::current_exe().map_err(failed)?)
        .args(std::env::args_os().skip(1))
        .args(["--child-of", &std::process::id().to_string()])
        .env("TMPDIR", place.path())
        .spawn()
        .map_err(failed)?;
    let mut told = false;
    loop {
        if let Some(status) = inner.try_wait().map_err(failed)? {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            return match code {
                Some(code) => Ok(ExitCode::from(code)),
                None => Err(Failure::Failed(format!("the run ended with {status}"))),
            };
        }
        if stop.load(Ordering::Relaxed) && !told {
            told = true;
            let pid = Pid::from_child(&inner);
            // It may have ended in between, which is what is wanted.
            let _ = kill_process(pid, Signal::TERM);
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}
