//! Why a command ends without success, and the exit status that says so.

use std::process::ExitCode;

/// A command that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line asks for something that does not exist: status 2.
    #[error("{0}")]
    Usage(String),
    /// Anything else, with what to do about it: status 1.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    /// The exit status.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Failed(_) => ExitCode::from(1),
        }
    }

    /// The failure to do `action` with a file.
    pub fn of_file(action: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::Failed(format!("cannot {action} {}: {error}", path.display()))
    }

    /// The failure to write results.
    pub fn of_output(error: &std::io::Error) -> Self {
        Self::Failed(format!("cannot write to standard output: {error}"))
    }
}

impl From<logothete_engine::cluster::ConfigError> for Failure {
    fn from(error: logothete_engine::cluster::ConfigError) -> Self {
        Self::Failed(error.to_string())
    }
}
