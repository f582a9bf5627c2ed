//! Scenarios: what the protocol does, as text to be read and reviewed (`scenarios/*.txt`).
//!
//! `REWRITE=1 cargo test -p logothete-simulator --test scenarios` writes the outputs in the files anew.

use logothete_simulator::scenario::script;
use std::path::{Path, PathBuf};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../engine/tests/scenarios");
    let entries = std::fs::read_dir(folder).expect("the scenario files are beside this test");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    files
}

#[test]
fn the_files_tell_what_happens() {
    let rewrite = std::env::var_os("REWRITE").is_some();
    let mut failures = Vec::new();
    for path in files() {
        if let Err(failure) = script::check(&path, rewrite) {
            failures.push(format!("{}: {failure}", path.display()));
        }
    }
    assert!(failures.is_empty(), "{}\n(REWRITE=1 writes the outputs anew)", failures.join("\n\n"));
}
