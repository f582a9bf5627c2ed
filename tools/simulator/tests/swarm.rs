//! Seeds in virtual time: none may break anything, each repeats exactly, and one that must fail does.

use logothete_simulator::swarm::mix::Mix;
use logothete_simulator::swarm::plan::Plan;
use logothete_simulator::swarm::run::{Outcome, play};
use std::ops::Range;

/// How many seeds each run of the tests plays, from 0 on; `SEEDS=FROM..TO` plays others.
const SEEDS: Range<u64> = 0..60;

/// Operations of each.
const OPERATIONS: u32 = 100;

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("SEEDS") else { return SEEDS };
    let (from, to) = text.split_once("..").expect("SEEDS is FROM..TO");
    from.parse().expect("a number")..to.parse().expect("a number")
}

fn outcome(plan: &Plan) -> Outcome {
    play(plan, u64::MAX, None)
}

#[test]
fn chance_breaks_nothing() {
    let failure = |seed| {
        let violation = match std::panic::catch_unwind(|| outcome(&Plan::draw(seed, Mix::All, OPERATIONS, None))) {
            Ok(outcome) => outcome.violation.map(|(text, at_ns)| format!("at {at_ns} ns: {text}")),
            Err(_) => Some("an assertion failed, see above".to_owned()),
        };
        violation.map(|text| format!("seed {seed} {text}"))
    };
    let failures: Vec<String> = seeds().filter_map(failure).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_seed_repeats_exactly() {
    for seed in 0..5 {
        let plan = Plan::draw(seed, Mix::All, OPERATIONS, None);
        let (first, second) = (outcome(&plan), outcome(&plan));
        assert_eq!((first.fingerprint, first.deliveries), (second.fingerprint, second.deliveries));
    }
}

#[test]
fn telling_changes_nothing() {
    let plan = Plan::draw(1, Mix::All, OPERATIONS, None);
    let mut lines = 0;
    let mut tell = |_: &str| lines += 1;
    assert_eq!(play(&plan, u64::MAX, Some(&mut tell)).fingerprint, outcome(&plan).fingerprint);
    assert!(lines > 100, "{lines}");
}

#[test]
fn a_canary_is_heard() {
    for mix in [Mix::None, Mix::All] {
        let plan = Plan { canary: true, ..Plan::draw(2, mix, OPERATIONS, None) };
        let (violation, _) = outcome(&plan).violation.expect("the alarm works");
        assert!(violation.contains("a client was told"), "{violation}");
    }
}

#[test]
fn a_run_ends_at_its_bound_of_events() {
    let plan = Plan::draw(3, Mix::None, OPERATIONS, None);
    let outcome = play(&plan, 500, None);
    assert!(outcome.cut_short && outcome.violation.is_none());
    assert!(outcome.deliveries + outcome.turns <= 500);
}
