//! The fault catalogue has every fault, and each names what covers it, which exists, or says why nothing does.
//!
//! In backticks in a row's last cell: `lab:NAME` is a scenario of the lab, `swarm:NAME` a fault of the simulator's plans, `adversary:NAME` a strategy of its
//! adversary, `fuzz:NAME` a target with a corpus, a name with a file's ending the end of a path in the workspace, any other name with an underscore a test.

mod sources;

use sources::{Source, root, sources};
use std::fs;

/// The groups, and how many faults each has.
const GROUPS: [(char, usize); 13] = [
    ('N', 21),
    ('C', 19),
    ('D', 17),
    ('T', 7),
    ('P', 21),
    ('B', 20),
    ('K', 16),
    ('X', 11),
    ('M', 17),
    ('O', 13),
    ('F', 18),
    ('I', 16),
    ('R', 10),
];

/// The strategy that is how a replica is built, not what it says.
const TWINS: &str = "twins";

/// The cells of each row: what the fault is called, and what covers it.
fn rows(text: &str) -> Vec<(&str, &str)> {
    let is_fault =
        |line: &&str| line.starts_with("| ") && line[2..].starts_with(char::is_uppercase) && line[3..].starts_with('-');
    text.lines()
        .filter(is_fault)
        .map(|line| {
            let row = line.trim_start_matches("| ").trim_end_matches(" |");
            (&row[..4], row.rsplit(" | ").next().expect("a row has cells"))
        })
        .collect()
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn exists(name: &str, sources: &[Source], lab: &str) -> bool {
    if let Some(scenario) = name.strip_prefix("lab:") {
        lab.contains(&format!("name: \"{scenario}\""))
    } else if let Some(fault) = name.strip_prefix("swarm:") {
        let plans = sources.iter().find(|source| source.path.ends_with("swarm/fault.rs")).expect("the plans' faults");
        [" {", ","].iter().any(|end| plans.tests.contains(&format!("\n    {fault}{end}")))
    } else if let Some(strategy) = name.strip_prefix("adversary:") {
        let adversary = sources.iter().filter(|source| source.path.ends_with("adversary/strategy.rs"));
        strategy == TWINS || adversary.into_iter().any(|source| source.tests.contains(&format!("entry(\"{strategy}\"")))
    } else if let Some(target) = name.strip_prefix("fuzz:") {
        root().join("tools/fuzz/corpus").join(target).is_dir()
    } else if name.ends_with(".rs") || name.ends_with(".txt") {
        sources.iter().any(|source| source.path.ends_with(name))
    } else if name.ends_with(".sh") {
        root().join("scripts").join(name).is_file()
    } else if name.ends_with(".md") {
        root().join("engine/docs").join(name).is_file()
    } else {
        // A test, and not what it tests.
        let begins = format!("fn {name}(");
        let is_test = |source: &Source| source.tests.contains(&begins) && !source.program.contains(&begins);
        !name.contains('_') || sources.iter().any(is_test)
    }
}

/// All sources of the lab's scenarios, one after the other.
fn lab() -> String {
    let folder = fs::read_dir(root().join("tools/lab/src/scenario")).unwrap();
    folder.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
}

#[test]
fn each_fault_names_what_covers_it() {
    let text = fs::read_to_string(root().join("engine/docs/fault-catalogue.md")).unwrap();
    let (sources, lab, rows) = (sources(), lab(), rows(&text));
    let mut expected = GROUPS.iter().flat_map(|(group, count)| (1..=*count).map(move |at| format!("{group}-{at:02}")));
    for (id, covered) in &rows {
        assert_eq!(Some(*id), expected.next().as_deref(), "the faults stand in their order");
        let reason = covered.starts_with("does not apply");
        let named = quoted(covered).any(|name| name.contains([':', '_', '.']));
        assert!(named || reason, "{id}: nothing is named, and no reason is given");
        for name in quoted(covered) {
            assert!(exists(name, &sources, &lab), "{id}: there is no `{name}`");
        }
    }
    assert_eq!(expected.next(), None, "a fault is missing");
    assert_eq!(rows.len(), 206);
}

#[test]
fn what_does_not_exist_is_noticed() {
    let (sources, lab) = (sources(), lab());
    for name in [
        "lab:no-such-scenario",
        "swarm:Nothing",
        "adversary:nothing",
        "fuzz:nothing",
        "99_no_story.txt",
        "no_such_test",
        "no.sh",
        "none.md",
    ] {
        assert!(!exists(name, &sources, &lab), "{name}");
    }
    assert!(exists("lab:clean", &sources, &lab) && exists("fuzz:packet", &sources, &lab));
    assert!(exists("adversary:equivocate", &sources, &lab) && exists("adversary:twins", &sources, &lab));
    assert!(exists("swarm:Burst", &sources, &lab) && exists("swarm:PowerLoss", &sources, &lab));
    assert!(exists("01_normal_case.txt", &sources, &lab) && exists("f+1", &sources, &lab));
}
