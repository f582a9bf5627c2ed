//! Right histories pass in whatever interleaving; each planted wrong one is found and named.

use super::*;

fn name(session: u32, counter: u64) -> EntryName {
    EntryName { session, counter }
}

/// Tells an order from position 0 on.
fn order(history: &mut History, entries: &[(u32, u64)]) {
    for (session, counter) in entries {
        let position = history.order_end;
        history.on_ordered(position, Some(name(*session, *counter)));
    }
}

fn found(history: History) -> Violations {
    history.finish().0
}

#[test]
fn a_right_history_passes_whichever_story_is_told_first() {
    let entries = [(0, 0), (1, 0), (0, 1), (0, 2), (1, 1)];
    let acknowledge = |history: &mut History| {
        for (position, (session, counter)) in (0..).zip(entries) {
            history.on_acknowledged(name(session, counter), position);
        }
        history.on_appended(0, 3);
        history.on_appended(1, 2);
    };
    let mut order_first = History::new();
    order(&mut order_first, &entries);
    acknowledge(&mut order_first);
    let mut load_first = History::new();
    acknowledge(&mut load_first);
    order(&mut load_first, &entries);
    for history in [order_first, load_first] {
        assert!(history.sessions.iter().all(|session| session.open.is_empty()), "what is settled is forgotten");
        assert_eq!(history.finish(), (Violations::default(), 5));
    }
}

#[test]
fn an_entry_in_flight_may_be_there_once_or_not_at_all() {
    let mut history = History::new();
    history.on_appended(0, 4);
    history.on_acknowledged(name(0, 0), 0);
    // 1 is there, 2 is not, 3 nobody knows of until the end.
    for counter in 1..4 {
        history.on_unknown(name(0, counter));
    }
    order(&mut history, &[(0, 0), (0, 1)]);
    assert_eq!(history.finish(), (Violations::default(), 2));
}

#[test]
fn a_lost_entry_is_found_as_soon_as_the_order_has_passed_its_position() {
    let mut history = History::new();
    history.on_appended(0, 3);
    history.on_acknowledged(name(0, 0), 0);
    history.on_acknowledged(name(0, 1), 1);
    history.on_acknowledged(name(0, 2), 2);
    order(&mut history, &[(0, 0), (0, 2)]);
    assert_eq!(history.violations.lost, 2, "the second is lost, the third is elsewhere");
    let told = found(history).told;
    assert!(told.contains(&Violation::Lost { entry: name(0, 1), position: 1 }), "{told:?}");
    assert!(told.contains(&Violation::Misplaced { entry: name(0, 2), acknowledged: 2, position: 1 }), "{told:?}");
}

#[test]
fn an_entry_that_is_lost_at_the_end_is_found() {
    let mut history = History::new();
    history.on_appended(0, 2);
    order(&mut history, &[(0, 0)]);
    history.on_acknowledged(name(0, 0), 0);
    history.on_acknowledged(name(0, 1), 1);
    assert_eq!(found(history).told, [Violation::Lost { entry: name(0, 1), position: 1 }]);
}

#[test]
fn an_acknowledgement_of_a_position_that_another_entry_has_is_found() {
    // The order was read before the acknowledgement came.
    let mut history = History::new();
    history.on_appended(0, 1);
    history.on_appended(1, 1);
    order(&mut history, &[(0, 0)]);
    history.on_acknowledged(name(0, 0), 0);
    history.on_acknowledged(name(1, 0), 0);
    assert_eq!(found(history).told, [Violation::Lost { entry: name(1, 0), position: 0 }]);
}

#[test]
fn a_second_copy_is_found_while_it_is_open_and_after() {
    let second = Violation::Duplicated { entry: name(0, 0), position: 1 };
    let mut open = History::new();
    open.on_appended(0, 1);
    order(&mut open, &[(0, 0), (0, 0)]);
    open.on_acknowledged(name(0, 0), 0);
    assert_eq!(found(open).told, [second]);

    let mut settled = History::new();
    settled.on_appended(0, 1);
    settled.on_acknowledged(name(0, 0), 0);
    order(&mut settled, &[(0, 0), (0, 0)]);
    assert_eq!(found(settled).told, [second]);

    let mut in_flight = History::new();
    in_flight.on_appended(0, 1);
    in_flight.on_unknown(name(0, 0));
    order(&mut in_flight, &[(0, 0), (0, 0)]);
    assert_eq!(found(in_flight).told, [second]);
}

#[test]
fn a_session_out_of_its_order_is_found() {
    let late = Violation::OutOfOrder { entry: name(0, 0), position: 1 };
    let mut acknowledged = History::new();
    acknowledged.on_appended(0, 2);
    order(&mut acknowledged, &[(0, 1), (0, 0)]);
    acknowledged.on_acknowledged(name(0, 1), 0);
    acknowledged.on_acknowledged(name(0, 0), 1);
    assert_eq!(found(acknowledged).told, [late]);

    // Passed over, given up, and there after all: once, but late.
    let mut given_up = History::new();
    given_up.on_appended(0, 2);
    given_up.on_unknown(name(0, 0));
    given_up.on_acknowledged(name(0, 1), 0);
    order(&mut given_up, &[(0, 1), (0, 0)]);
    assert_eq!(found(given_up).told, [late]);
}

#[test]
fn what_nobody_appended_is_found() {
    let mut history = History::new();
    history.on_appended(0, 1);
    order(&mut history, &[(0, 0), (0, 1), (5, 0)]);
    history.on_acknowledged(name(0, 0), 0);
    history.on_ordered(3, None);
    history.on_ordered(4, Some(name(u32::MAX, 0)));
    history.on_ordered(5, Some(name(0, u64::MAX)));
    let violations = found(history);
    assert_eq!((violations.invented, violations.total()), (5, 5), "{violations:?}");
    assert!(violations.told.contains(&Violation::Invented { session: 0, appended: 1, ordered: 2 }));
    assert!(violations.told.contains(&Violation::Damaged { position: 3 }));
}

#[test]
fn gaps_and_repeated_positions_are_found() {
    let mut history = History::new();
    history.on_appended(0, 3);
    for (position, counter) in [(0, 0), (2, 1), (2, 2)] {
        history.on_ordered(position, Some(name(0, counter)));
        history.on_acknowledged(name(0, counter), position);
    }
    let told = found(history).told;
    assert_eq!(told[..], [Violation::Gap { expected: 1, found: 2 }, Violation::Gap { expected: 3, found: 2 }]);
}

#[test]
fn a_second_acknowledgement_is_found() {
    let mut history = History::new();
    history.on_appended(0, 2);
    history.on_acknowledged(name(0, 0), 0);
    history.on_acknowledged(name(0, 0), 0);
    order(&mut history, &[(0, 0)]);
    history.on_acknowledged(name(0, 0), 0);
    history.on_unknown(name(0, 1));
    history.on_acknowledged(name(0, 1), 1);
    let violations = found(history);
    assert_eq!(violations.duplicated, 3, "{violations:?}");
}

#[test]
fn violations_have_words() {
    for (violation, part) in [
        (Violation::Lost { entry: name(1, 2), position: 3 }, "entry 2 of session 1 was acknowledged at position 3"),
        (Violation::Misplaced { entry: name(1, 2), acknowledged: 3, position: 4 }, "in the order at 4"),
        (Violation::Duplicated { entry: name(1, 2), position: 3 }, "again at position 3"),
        (Violation::OutOfOrder { entry: name(1, 2), position: 3 }, "after a later entry"),
        (Violation::Invented { session: 1, appended: 2, ordered: 4 }, "entry 3 of session 1"),
        (Violation::Damaged { position: 3 }, "position 3"),
        (Violation::Gap { expected: 3, found: 4 }, "position 4 came where 3 follows"),
        (Violation::AcknowledgedAgain { entry: name(1, 2), position: 3 }, "acknowledged again"),
    ] {
        assert!(violation.to_string().contains(part), "{violation}");
    }
}
