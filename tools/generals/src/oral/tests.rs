//! OM(m) against what BGP82 and its exact counts say.

use super::*;
use crate::script::parse;
use crate::strategy::Strategy;

fn problem(generals: usize, bears: usize, traitors: &[General]) -> Problem {
    Problem { generals, bears, traitors: traitors.iter().copied().collect(), order: Order::ATTACK }
}

fn strategic(problem: &Problem, strategy: Strategy) -> Outcome<Oral> {
    run(problem, |traitor| of_strategy(strategy, problem, traitor, 7))
}

#[test]
fn the_counts_are_the_formulas() {
    for (generals, bears, total) in [(4, 1, 9), (7, 2, 156), (10, 3, 3609), (13, 4, 108_384)] {
        assert_eq!(messages(generals, bears), total);
        let outcome = strategic(&problem(generals, bears, &[]), Strategy::Silent);
        assert_eq!(outcome.sent.len() as u64, total);
        assert_eq!(outcome.messages_a_round().len(), bears + 1);
    }
    // Whatever is said, and for every size of at most a million messages.
    for generals in 2..=12 {
        for bears in 1..=4 {
            let traitors: Vec<General> = (0..bears as General).filter(|t| usize::from(*t) < generals).collect();
            if messages(generals, bears) <= 30_000 {
                let outcome = strategic(&problem(generals, bears, &traitors), Strategy::Split);
                assert_eq!(outcome.sent.len() as u64, messages(generals, bears), "({generals}, {bears})");
            }
        }
    }
    assert_eq!(messages(16, 5), 3_999_675);
    assert_eq!([(4, 1), (7, 2), (10, 3), (13, 4)].map(|(n, m)| messages_packed(n, m)), [9, 66, 225, 540]);
}

#[test]
fn every_strategy_fails_where_generals_are_enough() {
    for (generals, bears) in [(4, 1), (7, 2), (10, 3)] {
        for strategy in Strategy::ALL {
            for first in 0..2 {
                let traitors: Vec<General> = (first..first + bears as General).collect();
                let problem = problem(generals, bears, &traitors);
                let outcome = strategic(&problem, strategy);
                assert!(problem.judge(&outcome.decisions).is_good(), "{problem:?} {strategy:?}");
            }
        }
    }
}

/// The notes' first example: lieutenant 3 passes on R, to 1 and 2.
#[test]
fn a_lying_lieutenant_is_outvoted() {
    let problem = problem(4, 1, &[3]);
    let lines = parse("0.3 > 1: retreat\n0.3 > 2: retreat").unwrap();
    let outcome = run(&problem, |_| of_script(&lines));
    assert_eq!(outcome.decisions, [Order::ATTACK; 4]);
    let received = Received::of(&problem, &outcome, 1);
    let told = received.below(&[0]).into_iter().map(|path| received.value(&path)).collect::<Vec<_>>();
    assert_eq!((received.value(&[0]), told), (Order::ATTACK, vec![Order::ATTACK, Order::RETREAT]));
}

/// The notes' second example: a commander who sends X, Y and Z.
#[test]
fn three_orders_are_none() {
    let problem = problem(4, 1, &[0]);
    let lines = parse("0 > 1: X\n0 > 2: Y\n0 > 3: Z").unwrap();
    let outcome = run(&problem, |_| of_script(&lines));
    assert_eq!(outcome.decisions[1..], [Order::RETREAT; 3]);
}

#[test]
fn what_does_not_come_counts_as_retreat() {
    let problem = problem(4, 1, &[0]);
    let outcome = strategic(&problem, Strategy::Silent);
    assert_eq!(outcome.decisions[1..], [Order::RETREAT; 3]);
    assert_eq!(outcome.sent.len(), 6, "the lieutenants pass on all the same");
}

#[test]
fn a_message_counts_in_its_round_from_its_sender_and_once() {
    let mut received = Received::new(1, 4, 1);
    for (round, from, path) in
        [(2, 0, vec![0]), (1, 2, vec![0]), (2, 2, vec![0, 0]), (2, 1, vec![0, 1]), (2, 9, vec![0, 9])]
    {
        received.take(round, from, &path, Order::ATTACK);
        assert!(!received.came(&path), "{round} {from} {path:?}");
    }
    received.take(1, 0, &[0], Order::ATTACK);
    received.take(1, 0, &[0], Order::RETREAT);
    assert_eq!(received.value(&[0]), Order::ATTACK);
}
