//! What this machine must have.

use logothete::failure::Failure;
use std::process::{Command, Stdio};

/// Programs, how to see that they are there, and the package that has them on Debian and its relatives.
const PROGRAMS: [(&str, &str, &str); 4] = [
    ("ip", "-V", "iproute2"),
    ("tc", "-V", "iproute2"),
    ("nft", "--version", "nftables"),
    ("mount", "--version", "mount"),
];

/// Looks for everything that a run needs.
///
/// # Errors
///
/// All that is missing, each with what to do about it.
pub fn check() -> Result<(), Failure> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let list: String = missing.iter().map(|what| format!("\n  {what}")).collect();
    Err(Failure::Failed(format!("this machine cannot run the lab:{list}")))
}

/// Everything that is missing.
pub fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    if !rustix::process::geteuid().is_root() {
        missing.push(String::from("namespaces, bridges and mounts are made by root: run it as root (sudo)"));
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        missing.push(String::from("there is no /dev/net/tun: load the kernel's module (modprobe tun)"));
    }
    for (program, question, package) in PROGRAMS {
        let asked = Command::new(program).arg(question).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if asked.is_err() {
            missing.push(format!("there is no program {program}: install the package {package} of the distribution"));
        }
    }
    missing
}
