//! Scenarios: what the protocol does, as text to be read and reviewed (`scenarios/*.txt`), and the same cluster under seeded chance.
//!
//! `REWRITE=1 cargo test -p logothete-simulator --test scenarios` writes the outputs in the files anew.

use logothete_simulator::checks::panics::caught;
use logothete_simulator::scenario::script;
use logothete_simulator::swarm::chance;
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

/// How many seeds each run of the tests plays, from 0 on; `SEEDS=FROM..TO` plays others, and `TELL=1` prints what happens.
const SEEDS: std::ops::Range<u64> = 0..150;

#[test]
fn chance_breaks_nothing() {
    let seeds = match std::env::var("SEEDS") {
        Ok(text) => {
            let (from, to) = text.split_once("..").expect("SEEDS is FROM..TO");
            from.parse().expect("a number")..to.parse().expect("a number")
        }
        Err(_) => SEEDS,
    };
    let tell = std::env::var_os("TELL").is_some();
    let failures: Vec<String> = seeds
        .filter_map(|seed| {
            let outcome = caught(&format!("seed {seed}"), || chance::play(seed, tell));
            outcome.err().map(|failure| format!("seed {seed}: {failure}"))
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
