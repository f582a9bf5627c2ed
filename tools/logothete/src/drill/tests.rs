//! The load, the subscribers and the checks together, before a driver that lies.

use super::history::Violation;
use super::ledger::Ledger;
use super::load::{Load, LoadFigures, LoadPlan};
use super::readers::{Reading, accompany, check, lock, read_again};
use super::shared::{Phase, Shared};
use crate::scripted_driver::{Lie, Script, ScriptedDriver};
use logothete_client::Options;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

struct Found {
    figures: LoadFigures,
    reading: Reading,
    difference: Option<String>,
}

/// Runs a load of two sessions until a thousand entries are acknowledged, and reads the order to its end.
fn drill(script: Script) -> Found {
    let driver = ScriptedDriver::start(script);
    let (path, shared, ledger) = (driver.path(), Shared::start(), Mutex::new(Ledger::keeping(10_000)));
    let plan = LoadPlan {
        driver: path.clone(),
        options: Options::default(),
        sessions: 2,
        outstanding: 16,
        payload_bytes: 24,
        rate_per_s: None,
        lag_max: 500,
    };
    let (teller, notes) = mpsc::channel();
    std::thread::scope(|scope| {
        let (path, shared, ledger) = (&path, &shared, &ledger);
        let checker = scope.spawn(move || check(path, shared, ledger, &notes));
        let companion = scope.spawn(|| accompany(path, shared, ledger));
        let plan = &plan;
        let load = scope.spawn(move || Load::new(plan, shared, teller).run());
        shared.set_phase(Phase::Before);
        let begin = Instant::now();
        while shared.acknowledged() < 1000 && begin.elapsed() < LONG {
            std::thread::sleep(Duration::from_millis(1));
        }
        shared.drain(true);
        let figures = load.join().unwrap();
        let end = read_again(path, ledger, LONG).unwrap();
        assert_eq!(end, driver.log().len() as u64);
        shared.set_order_end(end);
        let (reading, second) = (checker.join().unwrap(), companion.join().unwrap());
        assert_eq!((reading.failure.as_deref(), second.failure), (None, None));
        assert_eq!((reading.entries, second.entries), (end, end));
        Found { figures, reading, difference: lock(ledger).verdict() }
    })
}

fn lie(lie: Lie) -> Found {
    drill(Script { lie: Some((lie, 300)), ..Script::default() })
}

#[test]
fn an_honest_driver_passes() {
    let found = drill(Script::default());
    assert_eq!(found.reading.violations.total(), 0, "{:?}", found.reading.violations);
    assert_eq!(found.difference, None);
    assert!(found.figures.latencies.count() > 0 && found.figures.latencies.count() <= found.reading.entries);
    assert_eq!((found.figures.failed, found.figures.refused, found.figures.reconnections), (0, 0, 0));
    assert!(found.figures.measured_ns > 0 && found.figures.gaps.rounds[0].length_ns() > 0);
}

#[test]
fn operations_without_an_answer_are_no_violation() {
    let found = drill(Script { refuse_every: Some(10), unavailable_at: Some(55), ..Script::default() });
    assert_eq!(found.reading.violations.total(), 0, "{:?}", found.reading.violations);
    assert_eq!(found.figures.failed, 1);
    assert!(found.figures.refused >= 100);
}

#[test]
fn what_is_acknowledged_and_lost_is_found() {
    let found = lie(Lie::Lose).reading.violations;
    assert_eq!((found.lost, found.total()), (1, 1), "{found:?}");
    assert!(matches!(found.told[0], Violation::Lost { position: 300, .. }), "{found:?}");
}

#[test]
fn what_is_there_twice_is_found() {
    let found = lie(Lie::Double).reading.violations;
    assert_eq!((found.duplicated, found.total()), (1, 1), "{found:?}");
}

#[test]
fn what_changed_places_is_found() {
    let found = lie(Lie::Swap).reading.violations;
    assert!(found.lost > 0, "{found:?}");
}

#[test]
fn what_was_damaged_is_found() {
    let found = lie(Lie::Damage).reading.violations;
    assert_eq!((found.invented, found.lost), (1, 1), "{found:?}");
}

#[test]
fn subscribers_that_read_different_orders_are_found() {
    let found = lie(Lie::Differ);
    assert_eq!(found.reading.violations.total(), 0);
    let difference = found.difference.expect("a difference");
    assert!(difference.contains("the first at positions 256 to 511"), "{difference}");
}
