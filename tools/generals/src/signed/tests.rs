//! SM(m) against what BGP82 and its exact counts say, with real signatures.

use super::*;
use crate::script::parse;
use crate::strategy::Strategy;

fn problem(generals: usize, bears: usize, traitors: &[General]) -> Problem {
    Problem { generals, bears, traitors: traitors.iter().copied().collect(), order: Order::ATTACK }
}

fn strategic(problem: &Problem, strategy: Strategy) -> Outcome<Signed> {
    run(problem, 7, |traitor| of_strategy(strategy, problem, traitor, 7))
}

#[test]
fn the_counts_are_the_formulas() {
    for generals in 2..=10 {
        for bears in 1..=4 {
            let sent = strategic(&problem(generals, bears, &[]), Strategy::Silent).sent.len();
            assert_eq!(sent, (generals - 1).pow(2), "a loyal commander: ({generals}, {bears})");
            assert_eq!(sent as u64, messages(generals, bears, 1));
        }
    }
    // A commander of two orders, each of which reaches somebody first.
    for (generals, total) in [(4, 12), (7, 60)] {
        let problem = problem(generals, 2, &[0]);
        let outcome = strategic(&problem, Strategy::Split);
        assert_eq!((outcome.sent.len(), messages(generals, 2, 2)), (total, total as u64));
        assert!(problem.judge(&outcome.decisions).is_good());
    }
    // As many orders as lieutenants.
    for (generals, total) in [(4, 15), (7, 156)] {
        let text: String = (1..generals).map(|to| format!("round 1: v{to}:0 from 0 > {to}\n")).collect();
        let lines = parse(&text).unwrap();
        let outcome = run(&problem(generals, 2, &[0]), 7, |_| of_script(&lines));
        assert_eq!((outcome.sent.len(), messages(generals, 2, generals - 1)), (total, total as u64));
    }
}

#[test]
fn every_strategy_fails_with_any_number_of_traitors() {
    for (generals, bears) in [(3, 1), (4, 1), (4, 2), (5, 3), (6, 4)] {
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

/// The notes' figures 8 and 9: three generals, a commander of two orders, and lieutenants who see both signatures.
#[test]
fn three_generals_suffice() {
    let problem = problem(3, 1, &[0]);
    let lines = parse("round 1: attack:0 from 0 > 1\nround 1: retreat:0 from 0 > 2").unwrap();
    let outcome = run(&problem, 7, |_| of_script(&lines));
    assert_eq!(outcome.decisions[1..], [Order::RETREAT; 2]);
    let said: Vec<String> = outcome.sent.iter().map(|sent| sent.message.to_string()).collect();
    assert_eq!(said, ["attack:0", "retreat:0", "attack:0:1", "retreat:0:2"]);
}

#[test]
fn a_signature_is_of_one_signer_one_order_one_path_and_one_run() {
    let army = Army::new(4, 1);
    let signed = army.sign(Order::ATTACK, &vec![], &[], 0);
    let relayed = army.sign(signed.order, &signed.path, &signed.signatures, 2);
    assert!(army.verifies(&signed) && army.verifies(&relayed));
    assert!(!army.verifies(&Signed { order: Order::RETREAT, ..relayed.clone() }));
    assert!(!army.verifies(&Signed { path: vec![0, 3], ..relayed.clone() }));
    assert!(!army.verifies(&Signed { path: vec![0, 9], ..relayed.clone() }));
    assert!(!army.verifies(&Signed { path: vec![2], signatures: vec![relayed.signatures[1]], ..relayed.clone() }));
    assert!(!Army::new(4, 2).verifies(&relayed), "another run");
    let twice = army.sign(relayed.order, &relayed.path, &relayed.signatures, 2);
    assert!(!army.verifies(&twice), "nobody signs twice");
}

#[test]
fn traitors_make_what_they_have_seen_and_no_more() {
    let mut known = Known::new([0, 3].into_iter().collect());
    assert!(known.can_make(Order::RETREAT, &[0, 3]) && !known.can_make(Order::RETREAT, &[0, 1]));
    known.see_path(Order::RETREAT, &[0, 1]);
    assert!(known.can_make(Order::RETREAT, &[0, 1, 3]) && !known.can_make(Order::ATTACK, &[0, 1]));
    assert!(!known.can_make(Order::RETREAT, &[0, 3, 1]), "1 signed behind 0 alone");
    let paths: Vec<_> = known.paths(Order::RETREAT, 3).into_iter().collect();
    assert_eq!(paths, [vec![0], vec![0, 1], vec![0, 1, 3], vec![0, 3]]);
}

#[test]
fn a_late_order_does_not_count() {
    let mut lieutenant = Lieutenant::new(1, 1);
    lieutenant.take(2, Order::ATTACK, &[0]);
    assert_eq!((lieutenant.orders().len(), lieutenant.relays()), (0, vec![]));
    lieutenant.take(2, Order::ATTACK, &[0, 2]);
    assert_eq!((lieutenant.decide(), lieutenant.relays()), (Order::ATTACK, vec![]), "it is too late to pass it on");
    lieutenant.take(2, Order::RETREAT, &[0, 1]);
    lieutenant.take(1, Order::RETREAT, &[0, 2, 3]);
    assert_eq!(lieutenant.orders().len(), 1, "its own signature; more than all rounds bring");
}
