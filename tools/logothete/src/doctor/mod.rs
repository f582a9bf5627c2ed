//! The checks of `logothete doctor`.
//!
//! What this room is for: finding out what this host offers, by trying where that tells more than asking. Each check
//! says what it found, what is wanted and why, and the command that mends it. What must never be here: changing the
//! host.

mod cluster;
mod host;
mod network;

use logothete_engine::cluster::Cluster;
use serde::Serialize;
use std::path::Path;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As wanted.
    Good,
    /// It works, slower or less evenly than it could.
    Advice,
    /// It will not work.
    Fault,
}

/// One check and its finding.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How much the finding matters.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What would be good.
    pub wanted: String,
    /// Why that is wanted.
    pub why: &'static str,
    /// The command that mends it; empty where there is nothing to mend.
    pub mend: String,
}

impl Check {
    /// A finding that is as wanted, or is mended by `mend`.
    fn new(
        name: &'static str,
        state: State,
        found: impl Into<String>,
        wanted: impl Into<String>,
        why: &'static str,
        mend: impl Into<String>,
    ) -> Self {
        let mend = if state == State::Good { String::new() } else { mend.into() };
        Self { name, state, found: found.into(), wanted: wanted.into(), why, mend }
    }
}

/// Looks at the host, and at the cluster of `config` as far as it concerns this host.
pub fn examine(config: Option<&Path>) -> Vec<Check> {
    let loaded = config.map(|path| (path, Cluster::load(path)));
    let cluster = loaded.as_ref().and_then(|(_, cluster)| cluster.as_ref().ok());
    let mut checks = host::checks();
    checks.extend(network::checks(cluster));
    if let Some((path, cluster)) = &loaded {
        checks.extend(cluster::checks(path, cluster.as_ref()));
    }
    checks
}

/// Bytes for a person: in the largest unit that divides well enough.
fn bytes_text(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) if bytes.is_multiple_of(*size) => format!("{} {unit}", bytes / size),
        Some((unit, size)) => format!("{:.1} {unit}", bytes as f64 / *size as f64),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_in_the_largest_unit() {
        for (bytes, text) in
            [(0, "0 bytes"), (1023, "1023 bytes"), (4 << 20, "4 MiB"), (212_992, "208 KiB"), (3 << 29, "1.5 GiB")]
        {
            assert_eq!(bytes_text(bytes), text);
        }
    }

    #[test]
    fn this_host_is_examined_completely() {
        let checks = examine(None);
        for name in [
            "kernel",
            "io_uring",
            "multicast",
            "receive buffer",
            "locked memory",
            "huge pages",
            "cores",
            "isolated cores",
            "clock source",
        ] {
            let check = checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("{name} is missing"));
            assert!(!check.found.is_empty() && !check.wanted.is_empty() && !check.why.is_empty(), "{check:?}");
            assert_eq!(check.state == State::Good, check.mend.is_empty(), "{check:?}");
        }
    }

    #[test]
    fn a_cluster_that_cannot_be_read_is_a_fault() {
        let checks = examine(Some(Path::new("/nonexistent/cluster.toml")));
        let check = checks.iter().find(|check| check.name == "configuration").unwrap();
        assert_eq!(check.state, State::Fault);
        assert!(check.found.contains("/nonexistent/cluster.toml"), "{check:?}");
    }
}
