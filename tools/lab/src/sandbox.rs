//! Nothing is left behind: the program runs itself once more, with all files in memory that it alone sees, and clears up
//! after that however it ended.

use crate::network::{command, own_mounts};
use logothete::failure::Failure;
use logothete::signals::stop_flag;
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Command, ExitCode};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Between two looks at the inner process.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The most that the files of a run may take: four journals and their checkpoints, and a history.
const FILES_BYTES_MAX: u64 = 8 << 30;

/// Gives this process and its children mounts of their own, and a file system in memory for temporary files. What other
/// programs do to the disk does not decide how fast the clusters are then, and the files are gone with the processes.
///
/// # Errors
///
/// When the system refuses.
pub fn files_in_memory() -> Result<(), Failure> {
    own_mounts()?;
    let place = std::env::temp_dir().display().to_string();
    command("mount", ["-t", "tmpfs", "-o", &format!("size={FILES_BYTES_MAX}"), "lab", &place])
}

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
