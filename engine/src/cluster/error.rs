//! What is wrong with a configuration, where, and how to mend it.

use std::fmt;
use std::path::{Path, PathBuf};

/// A configuration that was refused: the file, the line, the key with its value, what is wrong and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file that holds the fault, or would have held it had the configuration been written.
    pub file: PathBuf,
    /// The line in the file, counted from 1; none where the fault is not in a line (a missing file, a missing key).
    pub line: Option<usize>,
    /// What is wrong.
    pub fault: Box<Fault>,
}

/// What is wrong with one setting, apart from where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The setting, as a path: `replica[2].address`. Empty where the whole file is meant.
    pub key: String,
    /// The offending value as written. Never a secret. Empty where there is none.
    pub value: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do about it.
    pub mend: String,
}

impl Fault {
    /// A fault of `key`, whose value is `value`.
    pub fn new(
        key: impl Into<String>,
        value: impl fmt::Display,
        problem: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { key: key.into(), value: value.to_string(), problem: problem.into(), mend: mend.into() }
    }

    /// A fault of a whole file.
    pub fn of_file(problem: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new("", "", problem, mend)
    }

    /// The same fault, placed in a file.
    pub fn at(self, file: &Path, line: Option<usize>) -> ConfigError {
        ConfigError { file: file.to_path_buf(), line, fault: Box::new(self) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            formatter.write_str(&self.key)?;
            if !self.value.is_empty() {
                write!(formatter, " = {}", self.value)?;
            }
            formatter.write_str(": ")?;
        }
        write!(formatter, "{}; {}", self.problem, self.mend)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(formatter, ":{line}")?;
        }
        write!(formatter, ": {}", self.fault)
    }
}

impl std::error::Error for ConfigError {}
