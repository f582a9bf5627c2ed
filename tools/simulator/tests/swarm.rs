//! Seeds in virtual time: none may break anything, each repeats exactly, and one that must fail does.

use logothete_simulator::adversary::plan::Level;
use logothete_simulator::swarm::mix::Mix;
use logothete_simulator::swarm::plan::Plan;
use logothete_simulator::swarm::run::{Outcome, play, play_drawn};
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

/// What is wrong with the run of a plan, if anything is.
fn failure(plan: &Plan) -> Option<String> {
    let violation = match std::panic::catch_unwind(|| outcome(plan)) {
        Ok(outcome) => outcome.violation.map(|(text, at_ns)| format!("at {at_ns} ns: {text}")),
        Err(_) => Some("an assertion failed, see above".to_owned()),
    };
    violation.map(|text| {
        let adversary = plan.adversary.as_ref().map_or(String::new(), |adversary| format!(" ({adversary})"));
        format!("seed {}{adversary} {text}", plan.seed)
    })
}

#[test]
fn chance_breaks_nothing() {
    let failures: Vec<String> =
        seeds().filter_map(|seed| failure(&Plan::draw(seed, Mix::All, OPERATIONS, None))).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// How many seeds of each level are played when `SEEDS` says nothing.
const SEEDS_OF_LEVEL: u64 = 10;

/// `LEVEL=twins` plays one level of the adversary, `OFF=storm,starve` leaves strategies out, `MIX=byzantine` leaves out what else goes wrong.
#[test]
fn no_level_of_the_adversary_breaks_anything() {
    let variable = |name: &str| std::env::var(name).ok();
    let level = variable("LEVEL").map(|name| Level::named(&name).expect("LEVEL is a level of the adversary"));
    let off = variable("OFF").unwrap_or_default();
    let mixes = variable("MIX").map(|mix| mix.parse().expect("MIX is a mix"));
    let seeds = variable("SEEDS").map_or(0..SEEDS_OF_LEVEL, |_| seeds());
    let mut failures = Vec::new();
    for level in Level::all().filter(|other| level.is_none_or(|level| level == *other)) {
        for seed in seeds.clone() {
            let mix = mixes.unwrap_or([Mix::All, Mix::Byzantine][seed as usize % 2]);
            let mut plan = Plan::draw(seed, mix, OPERATIONS, None);
            plan.besiege(level, if level == Level::Client { 2 } else { seed as usize % 3 });
            let adversary = plan.adversary.take().expect("it was just drawn");
            plan.adversary = Some(off.split(',').fold(adversary, |adversary, name| adversary.without(name)));
            failures.extend(failure(&plan));
        }
    }
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
    // In the last three the adversary makes up names of requests: it has to take those that are in use from what was said, not from what was told of it.
    for seed in [1, 10_001, 10_017, 10_394] {
        let plan = Plan::draw(seed, Mix::All, 300, None);
        let mut lines = 0;
        let mut tell = |_: &str| lines += 1;
        assert_eq!(play(&plan, u64::MAX, Some(&mut tell)).fingerprint, outcome(&plan).fingerprint, "{seed}");
        assert!(lines > 100, "{lines}");
    }
    let plan = Plan::draw(1, Mix::All, OPERATIONS, None);
    let (drawn, lanes) = play_drawn(&plan, u64::MAX, &mut |_| {});
    assert_eq!(drawn.fingerprint, outcome(&plan).fingerprint);
    let arrived: usize = lanes.sent.iter().map(|sent| sent.arrived.len()).sum();
    assert!(arrived as u64 > drawn.deliveries / 2, "{arrived} of {} are drawn", drawn.deliveries);
}

#[test]
fn a_canary_is_heard() {
    for mix in [Mix::None, Mix::All] {
        let plan = Plan { canary: true, ..Plan::draw(2, mix, OPERATIONS, None) };
        let (violation, _) = outcome(&plan).violation.expect("the alarm works");
        assert!(violation.contains("told"), "{violation}");
    }
}

#[test]
fn a_run_ends_at_its_bound_of_events() {
    let plan = Plan::draw(3, Mix::None, OPERATIONS, None);
    let outcome = play(&plan, 500, None);
    assert!(outcome.cut_short && outcome.violation.is_none());
    assert!(outcome.deliveries + outcome.turns <= 500);
}
