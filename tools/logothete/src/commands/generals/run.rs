//! One run of OM(m) or SM(m): what was decided, whether IC1 and IC2 hold, and what it cost beside the formulas.

use super::{Means, Play, Traitors};
use crate::failure::Failure;
use crate::output::{print_line, write_json, write_text};
use logothete_generals::oral::{self, Lies};
use logothete_generals::picture::{Arrow, Battle, oral_arrow, oral_tree, signed_arrow, signed_story};
use logothete_generals::problem::{Algorithm, COMMANDER, General, Generals, Problem, name};
use logothete_generals::rounds::{Outcome, Sent};
use logothete_generals::script::{Line, parse};
use logothete_generals::signed::{self, Army, Treason};
use logothete_generals::sockets::{self, Timing};
use logothete_simulator::world::random::Random;
use serde::Serialize;
use std::sync::Arc;

/// What a run came to.
#[derive(Serialize)]
struct Report {
    algorithm: &'static str,
    generals: usize,
    bears: usize,
    traitors: Vec<General>,
    order: String,
    decisions: Vec<String>,
    ic1: bool,
    ic2: bool,
    rounds: usize,
    messages: usize,
    messages_a_round: Vec<usize>,
    messages_by_formula: u64,
    messages_packed: Option<u64>,
    late: Option<usize>,
}

/// Runs OM(m).
pub fn oral(play: &Play) -> Result<(), Failure> {
    let problem = problem(play, Algorithm::Oral)?;
    let script = script(play)?;
    let lies = |traitor| -> Box<dyn Lies> {
        match (&play.strategy, &script) {
            (Means::Strategy(strategy), _) => oral::of_strategy(*strategy, &problem, traitor, play.seed),
            (Means::Script(_), lines) => oral::of_script(lines),
        }
    };
    let (outcome, late) = match play.sockets {
        true => timed(sockets::play(oral::generals(&problem, lies), problem.bears + 1, timing(play)))?,
        false => (oral::run(&problem, lies), None),
    };
    if play.show {
        for lieutenant in problem.lieutenants() {
            print_line(oral_tree(&problem, &outcome, lieutenant).trim_end())?;
        }
    }
    draw(play, &problem, &outcome, oral_arrow)?;
    let formula = oral::messages(problem.generals, problem.bears);
    let packed = Some(oral::messages_packed(problem.generals, problem.bears));
    conclude(play, &problem, Algorithm::Oral, &outcome, (formula, packed), late)
}

/// Runs SM(m).
pub fn signed(play: &Play) -> Result<(), Failure> {
    let problem = problem(play, Algorithm::Signed)?;
    let script = script(play)?;
    let treason = |traitor| -> Box<dyn Treason> {
        match (&play.strategy, &script) {
            (Means::Strategy(strategy), _) => signed::of_strategy(*strategy, &problem, traitor, play.seed),
            (Means::Script(_), lines) => signed::of_script(lines),
        }
    };
    let (outcome, late) = match play.sockets {
        true => {
            let army = Arc::new(Army::new(problem.generals, play.seed));
            timed(sockets::play(signed::generals(&problem, &army, treason), problem.bears + 1, timing(play)))?
        }
        false => (signed::run(&problem, play.seed, treason), None),
    };
    if play.show {
        print_line(signed_story(&problem, &outcome).trim_end())?;
    }
    draw(play, &problem, &outcome, signed_arrow)?;
    let orders: std::collections::BTreeSet<_> = outcome
        .sent
        .iter()
        .filter(|sent| sent.from == COMMANDER && sent.round == 1)
        .map(|sent| sent.message.order)
        .collect();
    let formula = signed::messages(problem.generals, problem.bears, orders.len());
    conclude(play, &problem, Algorithm::Signed, &outcome, (formula, None), late)
}

fn problem(play: &Play, algorithm: Algorithm) -> Result<Problem, Failure> {
    let usage = |error: logothete_generals::problem::Unsolvable| Failure::Usage(error.to_string());
    let (traitors, largest) = match play.traitors {
        None => (Generals::default(), 0),
        Some(Traitors::These(these, largest)) => (these, largest),
        Some(Traitors::Count(count)) => (drawn(count, play), 0),
    };
    if largest >= play.generals {
        return Err(usage(logothete_generals::problem::Unsolvable::Traitor {
            traitor: largest,
            generals: play.generals,
        }));
    }
    let bears = play.rounds.unwrap_or(traitors.count().max(1));
    let problem = Problem { generals: play.generals, bears, traitors, order: play.commander_order };
    problem.check(algorithm, play.any).map_err(usage)?;
    Ok(problem)
}

/// So many of the generals, by chance.
fn drawn(count: usize, play: &Play) -> Generals {
    let mut random = Random::new(play.seed);
    let mut left: Vec<General> = (0..play.generals.min(32) as General).collect();
    (0..count.min(left.len())).map(|_| left.swap_remove(random.below(left.len()))).collect()
}

fn script(play: &Play) -> Result<Vec<Line>, Failure> {
    let Means::Script(path) = &play.strategy else { return Ok(Vec::new()) };
    let text = std::fs::read_to_string(path).map_err(|error| Failure::of_file("read", path, &error))?;
    parse(&text).map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))
}

fn timing(play: &Play) -> Timing {
    Timing { delivery: play.delivery, slow: play.slow, ..Timing::default() }
}

fn timed<M>(played: std::io::Result<sockets::Timed<M>>) -> Result<(Outcome<M>, Option<usize>), Failure> {
    let timed = played.map_err(|error| Failure::Failed(format!("generals could not talk over loopback: {error}")))?;
    Ok((timed.outcome, Some(timed.late)))
}

fn draw<M>(play: &Play, problem: &Problem, outcome: &Outcome<M>, arrow: fn(&Sent<M>) -> Arrow) -> Result<(), Failure> {
    let Some(path) = &play.svg else { return Ok(()) };
    let mut battle = Battle::new(problem);
    for round in 1..=outcome.messages_a_round().len() {
        let said: Vec<Arrow> = outcome.sent.iter().filter(|sent| sent.round == round).map(arrow).collect();
        battle = battle.panel(format!("round {round}: {} messages", said.len()), joined(said));
    }
    for lieutenant in problem.lieutenants() {
        battle = battle.conclude(lieutenant, outcome.decisions[usize::from(lieutenant)].to_string());
    }
    write_text(path, &battle.svg())
}

/// What one general says to another in a round, on one arrow; many words are counted.
fn joined(said: Vec<Arrow>) -> Vec<Arrow> {
    let mut arrows: Vec<(Arrow, usize)> = Vec::new();
    for arrow in said {
        match arrows.iter_mut().find(|(known, _)| (known.from, known.to) == (arrow.from, arrow.to)) {
            Some((known, count)) => {
                *count += 1;
                known.label =
                    if *count < 3 { format!("{},{}", known.label, arrow.label) } else { format!("{count} words") };
            }
            None => arrows.push((arrow, 1)),
        }
    }
    arrows.into_iter().map(|(arrow, _)| arrow).collect()
}

fn conclude<M>(
    play: &Play,
    problem: &Problem,
    algorithm: Algorithm,
    outcome: &Outcome<M>,
    (formula, packed): (u64, Option<u64>),
    late: Option<usize>,
) -> Result<(), Failure> {
    let verdict = problem.judge(&outcome.decisions);
    let a_round = outcome.messages_a_round();
    let report = Report {
        algorithm: name(algorithm),
        generals: problem.generals,
        bears: problem.bears,
        traitors: problem.traitors.iter().collect(),
        order: problem.order.to_string(),
        decisions: outcome.decisions.iter().map(ToString::to_string).collect(),
        ic1: verdict.agree,
        ic2: verdict.obey,
        rounds: problem.bears + 1,
        messages: outcome.sent.len(),
        messages_a_round: a_round.clone(),
        messages_by_formula: formula,
        messages_packed: packed,
        late,
    };
    if play.json.as_deref() != Some(std::path::Path::new("-")) {
        print_line(&format!("algorithm    {}({}) of {} generals", report.algorithm, problem.bears, problem.generals))?;
        let commander = match problem.is_traitor(COMMANDER) {
            true => "a traitor, says what he likes".to_owned(),
            false => format!("loyal, orders {}", problem.order),
        };
        print_line(&format!("commander    {commander}"))?;
        print_line(&format!("traitors     {}", problem.traitors))?;
        for lieutenant in problem.lieutenants() {
            let traitor = if problem.is_traitor(lieutenant) { "  (a traitor: does what he likes)" } else { "" };
            print_line(&format!("lieutenant {lieutenant:<2}{}{traitor}", outcome.decisions[usize::from(lieutenant)]))?;
        }
        print_line(&format!("IC1          {}", held(verdict.agree, "all loyal lieutenants obey the same order")))?;
        let obeys = match problem.is_traitor(COMMANDER) {
            true => "holds: it asks nothing where the commander is a traitor".to_owned(),
            false => held(verdict.obey, "the loyal obey the commander, who is loyal"),
        };
        print_line(&format!("IC2          {obeys}"))?;
        let rounds: Vec<String> = a_round.iter().map(ToString::to_string).collect();
        let packed = packed.map(|packed| format!("; {packed} if one general's words to another travel together"));
        print_line(&format!(
            "messages     {} in {} rounds ({}); by the formula {formula}, where nobody is silent{}",
            report.messages,
            report.rounds,
            rounds.join(" + "),
            packed.unwrap_or_default()
        ))?;
        if let Some(late) = late {
            print_line(&format!("late         {late} messages came after their time, and did not count"))?;
        }
    }
    if let Some(path) = &play.json {
        write_json(path, &report)?;
    }
    match verdict.is_good() {
        true => Ok(()),
        false => Err(Failure::Failed("a condition is broken: the traitors won".to_owned())),
    }
}

fn held(holds: bool, what: &str) -> String {
    if holds { format!("holds: {what}") } else { format!("BROKEN: it is not so that {what}") }
}
