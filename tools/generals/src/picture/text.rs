//! Trees and stories as text.

use crate::oral::{Oral, Path, Received};
use crate::problem::{COMMANDER, General, Problem};
use crate::rounds::Outcome;
use crate::signed::Signed;
use std::fmt::Write;

/// What a lieutenant of OM(m) received, path by path, and what he took each recursion's value for.
pub fn oral_tree(problem: &Problem, outcome: &Outcome<Oral>, lieutenant: General) -> String {
    let received = Received::of(problem, outcome, lieutenant);
    let loyal = if problem.is_traitor(lieutenant) { "a traitor" } else { "loyal" };
    let mut text = format!("lieutenant {lieutenant}, {loyal}: {}\n", received.settled(&[COMMANDER]));
    branch(&received, problem, &vec![COMMANDER], "  ", &mut text);
    text
}

fn branch(received: &Received, problem: &Problem, path: &Path, indent: &str, text: &mut String) {
    let names: Vec<String> = path.iter().map(ToString::to_string).collect();
    let speaker = path[path.len() - 1];
    let traitor = if problem.is_traitor(speaker) { ", a traitor" } else { "" };
    let value = if received.came(path) { received.value(path).to_string() } else { "nothing, so retreat".to_owned() };
    let below = received.below(path);
    let settled = match below.is_empty() {
        true => String::new(),
        false => format!("; majority with those below: {}", received.settled(path)),
    };
    let said = if speaker == COMMANDER { "the commander".to_owned() } else { format!("lieutenant {speaker}") };
    let _ = writeln!(text, "{indent}{:<8} {said}{traitor} said {value}{settled}", names.join("."));
    for path in below {
        branch(received, problem, &path, &format!("{indent}  "), text);
    }
}

/// What was sent in each round of SM(m), and what each lieutenant had in the end.
pub fn signed_story(problem: &Problem, outcome: &Outcome<Signed>) -> String {
    let mut text = String::new();
    for (round, count) in (1..).zip(outcome.messages_a_round()) {
        let _ = writeln!(text, "round {round}: {count} messages");
        for sent in outcome.sent.iter().filter(|sent| sent.round == round) {
            let traitor = if problem.is_traitor(sent.from) { ", a traitor" } else { "" };
            let _ = writeln!(text, "  {} -> {}: {}{traitor}", sent.from, sent.to, sent.message);
        }
    }
    for lieutenant in problem.lieutenants() {
        let loyal = if problem.is_traitor(lieutenant) { "a traitor" } else { "loyal" };
        let _ = writeln!(text, "lieutenant {lieutenant}, {loyal}: {}", outcome.decisions[usize::from(lieutenant)]);
    }
    text
}
