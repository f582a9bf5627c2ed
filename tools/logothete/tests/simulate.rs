//! `logothete simulate` as people and scripts use it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};

fn simulate(arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_logothete"));
    program.arg("simulate").args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn one_seed_tells_what_it_was_and_passes() {
    let output = simulate(&["--seed", "42", "--operations", "30", "--verify"]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    assert!(said.contains("seed 42\ncluster   ") && said.ends_with("passed\n"), "{said}");
}

#[test]
fn a_planted_violation_fails_with_seed_property_command_and_trace() {
    let output = simulate(&["--seeds", "5..7", "--operations", "30", "--canary", "--json", "-"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    for part in [
        "seed 5 FAILED at ",
        "a client was told",
        "again: logothete simulate --seed 5 ",
        " -> ",
        "the end of what happened in seed 5",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["seeds"], 2);
    assert_eq!(json["failures"].as_array().unwrap().len(), 2);
}

#[test]
fn what_was_played_is_reported_when_it_is_interrupted() {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("report.json");
    let seeds = ["simulate", "--seeds", "0..100000000", "--operations", "20", "--json", json.to_str().unwrap()];
    let mut program = Command::new(env!("CARGO_BIN_EXE_logothete"));
    let program = program.args(seeds).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut program = program.spawn().unwrap();
    // Until it tells how many it has played.
    let mut told = String::new();
    let mut errors = BufReader::new(program.stderr.take().unwrap());
    errors.read_line(&mut told).unwrap();
    assert!(told.contains(" of 100000000 seeds, 0 failed"), "{told}");
    assert!(Command::new("kill").args(["-INT", &program.id().to_string()]).status().unwrap().success());
    errors.read_to_string(&mut told).unwrap();
    let output = program.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("interrupted after ") && text(&output.stdout).contains("0 failed"), "{told}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert!(report["seeds"].as_u64() > Some(0) && report["deliveries"].as_u64() > Some(0));
}

#[test]
fn a_plan_can_be_printed_and_played() {
    let directory = tempfile::tempdir().unwrap();
    let (plan, trace) = (directory.path().join("plan.json"), directory.path().join("trace"));
    let (plan, trace) = (plan.to_str().unwrap(), trace.to_str().unwrap());
    let printed = simulate(&["--seed", "7", "--operations", "20", "--print-plan"]);
    assert!(printed.status.success());
    std::fs::write(plan, &printed.stdout).unwrap();
    let fingerprint = |arguments: &[&str]| {
        let output = simulate(arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        said.lines().find(|line| line.contains("fingerprint")).unwrap().to_owned()
    };
    let of_plan = fingerprint(&["--plan", plan, "--trace", trace]);
    assert_eq!(of_plan, fingerprint(&["--seed", "7", "--operations", "20"]));
    assert!(std::fs::read_to_string(trace).unwrap().lines().count() > 100);
    let page = directory.path().join("trace.html");
    assert_eq!(of_plan, fingerprint(&["--plan", plan, "--trace", page.to_str().unwrap()]));
    assert!(std::fs::read_to_string(page).unwrap().contains("<canvas"));
}

#[test]
fn a_failure_is_shrunk_to_a_plan_that_fails_again() {
    let directory = tempfile::tempdir().unwrap();
    let plan = directory.path().join("small.json");
    let shrink = format!("--shrink={}", plan.display());
    let output = simulate(&["--seeds", "1..3", "--operations", "20", "--canary", "--replicas", "4", &shrink]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("adversary has nobody"), "{}", text(&output.stdout));
    let again = simulate(&["--plan", plan.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("C12"), "{}", text(&again.stderr));
}

#[test]
fn what_does_not_exist_is_wrong_usage() {
    for arguments in [
        &["--active", "3f"][..],
        &["--fault-mix", "sunshine"],
        &["--replicas", "5"],
        &["--seeds", "3..3"],
        &["--seed", "1", "--seeds", "1..2"],
        &["--steps", "0"],
    ] {
        let output = simulate(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn steps_bound_a_seed() {
    let output = simulate(&["--seed", "1", "--steps", "500", "--json", "-"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["cut_short"], 1);
}
