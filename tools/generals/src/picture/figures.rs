//! The ten figures of the lecture notes, redrawn from runs.

use super::{Battle, message_tree, oral_arrow, phases, signed_arrow};
use crate::oral::{self, Oral, Received};
use crate::order::Order;
use crate::pbft::{self, Fault};
use crate::problem::{COMMANDER, General, Problem};
use crate::rounds::Outcome;
use crate::script::parse;
use crate::signed::{self, Signed};

fn problem(generals: usize, traitor: General) -> Problem {
    Problem { generals, bears: 1, traitors: [traitor].into_iter().collect(), order: Order::ATTACK }
}

fn scripted_oral(problem: &Problem, script: &str) -> Outcome<Oral> {
    let lines = parse(script).expect("the figures' scripts are well formed");
    oral::run(problem, |_| oral::of_script(&lines))
}

/// One panel of a round.
fn oral_round(problem: &Problem, outcome: &Outcome<Oral>, round: usize, title: &str) -> String {
    let sent = outcome.sent.iter().filter(|sent| sent.round == round);
    let mut battle = Battle::new(problem).panel(title, sent.map(oral_arrow).collect());
    if round > 1 {
        for lieutenant in problem.lieutenants() {
            let received = Received::of(problem, outcome, lieutenant);
            let told = received.below(&[COMMANDER]).into_iter().map(|path| received.value(&path));
            let values: Vec<String> =
                std::iter::once(received.value(&[COMMANDER])).chain(told).map(|value| value.letter()).collect();
            let decision = outcome.decisions[usize::from(lieutenant)];
            battle = battle.conclude(lieutenant, format!("{{{}}}: {decision}", values.join(",")));
        }
    }
    battle.svg()
}

/// Three generals: the commander's orders, and what lieutenant 1 tells lieutenant 2.
fn three(traitor: General, script: &str, title: &str) -> String {
    let problem = problem(3, traitor);
    let outcome = scripted_oral(&problem, script);
    let sent = outcome.sent.iter().filter(|sent| sent.round == 1 || (sent.from, sent.to) == (1, 2));
    let arrows = sent.map(|sent| {
        let mut arrow = oral_arrow(sent);
        if sent.round == 2 {
            arrow.label = format!("he said {}", sent.message.value);
        }
        arrow
    });
    Battle::new(&problem).panel(title, arrows.collect()).svg()
}

fn signed_round(problem: &Problem, outcome: &Outcome<Signed>, round: usize, title: &str) -> String {
    let sent = outcome.sent.iter().filter(|sent| sent.round == round);
    let mut battle = Battle::new(problem).panel(title, sent.map(signed_arrow).collect());
    if round > 1 {
        for lieutenant in problem.lieutenants() {
            let decision = outcome.decisions[usize::from(lieutenant)];
            battle = battle.conclude(lieutenant, format!("V{lieutenant} = {{A, R}}: {decision}"));
        }
    }
    battle.svg()
}

/// The figures, each with its file's name.
pub fn figures() -> Vec<(&'static str, String)> {
    let lieutenant = problem(4, 3);
    let lies = scripted_oral(&lieutenant, "0.3 > 1: retreat\n0.3 > 2: retreat");
    let commander = problem(4, 0);
    let orders = scripted_oral(&commander, "0 > 1: X\n0 > 2: Y\n0 > 3: Z");
    let twofold = problem(3, 0);
    let lines = parse("round 1: attack:0 from 0 > 1\nround 1: retreat:0 from 0 > 2").expect("it is well formed");
    let signatures = signed::run(&twofold, 1, |_| signed::of_script(&lines));
    let story = pbft::play(4, Some((3, Fault::Silent)), "attack").expect("four replicas bear a silent one");
    vec![
        ("01_lieutenant_1_is_a_traitor.svg", three(1, "0.1 > 2: retreat", "Figure 1: lieutenant 1 is a traitor")),
        (
            "02_commander_is_a_traitor.svg",
            three(0, "0 > 1: retreat\n0 > 2: attack", "Figure 2: the commander is a traitor"),
        ),
        (
            "03_om_1_round_1.svg",
            oral_round(&lieutenant, &lies, 1, "Figure 3: OM(1), lieutenant 3 is a traitor, round 1"),
        ),
        ("04_om_1_round_2.svg", oral_round(&lieutenant, &lies, 2, "Figure 4: round 2, each passes on what he heard")),
        (
            "05_om_1_commander_round_1.svg",
            oral_round(&commander, &orders, 1, "Figure 5: OM(1), the commander is a traitor, round 1"),
        ),
        (
            "06_om_1_commander_round_2.svg",
            oral_round(&commander, &orders, 2, "Figure 6: round 2, no value has a majority"),
        ),
        ("07_message_tree.svg", message_tree(4, 1).expect("it has six leaves")),
        ("08_sm_1_round_1.svg", signed_round(&twofold, &signatures, 1, "Figure 8: SM(1), three generals, round 1")),
        (
            "09_sm_1_round_2.svg",
            signed_round(&twofold, &signatures, 2, "Figure 9: round 2, the commander is found out"),
        ),
        ("10_pbft.svg", phases(&story)),
    ]
}
