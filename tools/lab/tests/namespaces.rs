//! One short scenario in real namespaces, where the machine has what that takes.

use serde_json::Value;
use std::process::Command;

fn lab(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_lab")).args(arguments).output().expect("the lab starts")
}

#[test]
fn halves_order_nothing_and_lose_nothing() {
    let output = lab(&["run", "halves", "--ci", "--seed", "3", "--json", "-"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("this machine cannot run the lab") {
        eprintln!("skipped: {errors}");
        return;
    }
    assert!(output.status.success(), "{errors}");
    let line: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert_eq!((&line["scenario"], &line["seed"]), (&Value::from("RP-10"), &Value::from(3)));
    assert_eq!(line["verdict"], "passed");
    assert!(line["operations_acknowledged"].as_u64() > Some(0));
    // They were apart for five seconds.
    assert!(line["acknowledgement_gap_max_ns"].as_u64() > Some(0), "{line}");
}

#[test]
fn wrong_usage_is_told_from_failure() {
    let output = lab(&["run", "no-such-scenario"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no scenario is called no-such-scenario"));
    assert_eq!(lab(&["run", "--times", "0"]).status.code(), Some(2));
}
