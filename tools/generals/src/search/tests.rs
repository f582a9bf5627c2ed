//! What the theorems say, by trying.

use super::*;
use crate::oral;
use crate::script::parse;
use crate::signed;

/// BGP82 theorem 1, for one traitor: with four generals nothing goes wrong whatever he says, with three it does.
#[test]
fn one_traitor_takes_four_generals() {
    let four = search_oral(4, 1, 0, 1);
    assert!(four.exhaustive && four.violations == 0, "{four:?}");
    // Of each order: no traitor, three lieutenants who send two messages of three kinds, a commander who sends three.
    assert_eq!((four.placements, four.behaviours), (10, 2 * (1 + 3 * 9 + 27)));
    let three = search_oral(3, 1, 0, 1);
    assert!(three.exhaustive && three.violations > 0);
    let first = three.first.unwrap();
    let lines = parse(&first.script).unwrap();
    let outcome = oral::run(&first.problem, |_| oral::of_script(&lines));
    assert!(!first.problem.judge(&outcome.decisions).is_good(), "the script shows it");
}

#[test]
fn two_traitors_take_seven_generals() {
    let six = search_oral(6, 2, 300, 1);
    assert!(six.violations > 0, "{six:?}");
    let seven = search_oral(7, 2, 40, 1);
    assert_eq!(seven.violations, 0, "{seven:?}");
}

/// BGP82 theorem 2: with signatures any number of traitors is borne.
#[test]
fn signed_orders_hold_for_any_number_of_generals() {
    for (generals, bears) in [(3, 1), (4, 1), (4, 2)] {
        let found = search_signed(generals, bears, 0, 1);
        assert!(found.exhaustive && found.violations == 0 && found.behaviours > 20, "({generals}, {bears}): {found:?}");
    }
    let found = search_signed(5, 3, 500, 1);
    assert_eq!(found.violations, 0, "{found:?}");
}

/// With one relay too few a traitor shows an order to one alone in the last round: the search sees it.
#[test]
fn a_round_too_few_is_found() {
    let mut problem = Problem { generals: 4, bears: 1, traitors: [0, 3].into_iter().collect(), order: Order::ATTACK };
    let lines = parse("round 1: attack:0 from 0 > 1\nround 1: attack:0 from 0 > 2\nround 2: - from 3 > 1\nround 2: retreat:0:3 from 3 > 1\nround 2: - from 3 > 2").unwrap();
    let outcome = signed::run(&problem, 1, |_| signed::of_script(&lines));
    assert!(!problem.judge(&outcome.decisions).agree, "SM(1) bears one traitor, not two");
    problem.bears = 2;
    let outcome = signed::run(&problem, 1, |_| signed::of_script(&lines));
    assert!(problem.judge(&outcome.decisions).agree);
}

#[test]
fn no_rule_of_three_generals_satisfies_both_conditions() {
    let exhausted = three::exhaust();
    assert_eq!(exhausted, three::Exhausted { pairs: 4096, disobey: 4080, disagree: 16, satisfy: 0 });
    // Whatever the rule: what a lieutenant hears does not tell who lies.
    for one in three::Rule::all() {
        for two in three::Rule::all() {
            let alike = three::alike([one, two]);
            assert_eq!(alike.with_commander[0], alike.first_with_lieutenant);
            assert_eq!(alike.with_commander[1], alike.second_with_lieutenant);
        }
    }
}
