//! What traitors can do where messages are signed: in each round, to each loyal lieutenant, of each order, any message for which there are signatures, or
//! none. They see what the loyal send in a round before they send themselves, and everything that any of them has seen.
//!
//! It is played with paths alone: a signature of a loyal general is there where he signed, and nowhere else, which is what Ed25519 gives.

use super::{BEHAVIOURS_MAX, Found, placements};
use crate::oral::Path;
use crate::order::Order;
use crate::problem::{COMMANDER, General, Problem};
use crate::signed::{Known, Lieutenant};
use logothete_simulator::world::random::Random;

/// The orders that traitors play with.
const ORDERS: [Order; 2] = [Order::ATTACK, Order::RETREAT];

/// A moment between two rounds.
#[derive(Clone)]
struct Moment {
    lieutenants: Vec<Lieutenant>,
    known: Known,
    script: Vec<String>,
}

/// What one loyal lieutenant can be told of one order in a round.
struct Choice {
    to: usize,
    order: Order,
    paths: Vec<Path>,
}

/// Tries what traitors can do against SM(m), for all placements; where that is more than [`BEHAVIOURS_MAX`] of one placement, `tries` by chance beside.
pub fn search_signed(generals: usize, bears: usize, tries: u64, seed: u64) -> Found {
    let mut found = Found { exhaustive: true, ..Found::default() };
    let mut random = Random::new(seed);
    for problem in placements(generals, bears) {
        found.placements += 1;
        let before = found.behaviours;
        let all = everything(&problem, begin(&problem), 1, before + BEHAVIOURS_MAX, &mut found);
        if !all {
            found.exhaustive = false;
            for _ in 0..tries {
                by_chance(&problem, &mut random, &mut found);
            }
        }
    }
    found
}

fn begin(problem: &Problem) -> Moment {
    let loyal = problem.lieutenants().filter(|lieutenant| !problem.is_traitor(*lieutenant));
    let lieutenants = loyal.map(|lieutenant| Lieutenant::new(lieutenant, problem.bears)).collect();
    Moment { lieutenants, known: Known::new(problem.traitors), script: Vec::new() }
}

/// Plays all that can follow; `false` where that is more than up to `limit`.
fn everything(problem: &Problem, moment: Moment, round: usize, limit: u64, found: &mut Found) -> bool {
    if found.behaviours >= limit {
        return false;
    }
    if round > problem.bears + 1 {
        judge(problem, &moment, found);
        return true;
    }
    let (moment, loyal) = loyal_speak(problem, moment, round);
    let choices = choices(problem, &moment, round);
    let mut picks = vec![0; choices.len()];
    loop {
        let mut next = moment.clone();
        tell(problem, &mut next, round, &choices, &picks);
        hear(&mut next, round, &loyal);
        if !everything(problem, next, round + 1, limit, found) {
            return false;
        }
        // The next combination, as an odometer counts.
        let Some(turning) = (0..picks.len()).find(|at| picks[*at] < choices[*at].paths.len()) else { return true };
        picks[..turning].fill(0);
        picks[turning] += 1;
    }
}

fn by_chance(problem: &Problem, random: &mut Random, found: &mut Found) {
    let mut moment = begin(problem);
    for round in 1..=problem.bears + 1 {
        let (mut next, loyal) = loyal_speak(problem, moment, round);
        let choices = choices(problem, &next, round);
        let picks: Vec<usize> = choices.iter().map(|choice| random.below(choice.paths.len() + 1)).collect();
        tell(problem, &mut next, round, &choices, &picks);
        hear(&mut next, round, &loyal);
        moment = next;
    }
    judge(problem, &moment, found);
}

/// What loyal generals send in a round; traitors see it at once.
fn loyal_speak(problem: &Problem, mut moment: Moment, round: usize) -> (Moment, Vec<(Order, Path)>) {
    let mut sent: Vec<(Order, Path)> = Vec::new();
    if round == 1 && !problem.is_traitor(COMMANDER) {
        sent.push((problem.order, vec![COMMANDER]));
    }
    let names: Vec<General> = problem.lieutenants().filter(|general| !problem.is_traitor(*general)).collect();
    for (lieutenant, own) in moment.lieutenants.iter_mut().zip(names) {
        sent.extend(lieutenant.relays().into_iter().map(|(order, path)| (order, [&path[..], &[own]].concat())));
    }
    for (order, path) in &sent {
        // Without a traitor to hear it, nobody shows it to anybody.
        if problem.traitors.iter().any(|traitor| !path.contains(&traitor)) {
            moment.known.see_path(*order, path);
        }
    }
    (moment, sent)
}

/// All that traitors can tell in a round; what would change nothing is left out.
fn choices(problem: &Problem, moment: &Moment, round: usize) -> Vec<Choice> {
    let names: Vec<General> = problem.lieutenants().filter(|general| !problem.is_traitor(*general)).collect();
    let mut choices = Vec::new();
    if problem.traitors.count() == 0 {
        return choices;
    }
    for (to, lieutenant) in moment.lieutenants.iter().enumerate() {
        for order in ORDERS.into_iter().filter(|order| !lieutenant.orders().contains(order)) {
            let made = moment.known.paths(order, problem.bears + 1).into_iter();
            let paths: Vec<Path> = made.filter(|path| path.len() >= round && !path.contains(&names[to])).collect();
            choices.push(Choice { to, order, paths });
        }
    }
    choices.retain(|choice| !choice.paths.is_empty());
    choices
}

/// Traitors tell what they picked: 0 is nothing.
fn tell(problem: &Problem, moment: &mut Moment, round: usize, choices: &[Choice], picks: &[usize]) {
    let names: Vec<General> = problem.lieutenants().filter(|general| !problem.is_traitor(*general)).collect();
    for (choice, pick) in choices.iter().zip(picks).filter(|(_, pick)| **pick > 0) {
        let path = &choice.paths[pick - 1];
        moment.lieutenants[choice.to].take(round, choice.order, path);
        let signers: String = path.iter().map(|signer| format!(":{signer}")).collect();
        // Whichever traitor sends it: they are one.
        let from = problem.traitors.iter().next().expect("there is one who tells");
        moment.script.push(format!("round {round}: {}{signers} from {from} > {}\n", choice.order, names[choice.to]));
    }
}

/// Lieutenants hear each other, and the commander.
fn hear(moment: &mut Moment, round: usize, sent: &[(Order, Path)]) {
    for lieutenant in &mut moment.lieutenants {
        sent.iter().for_each(|(order, path)| lieutenant.take(round, *order, path));
    }
}

fn judge(problem: &Problem, moment: &Moment, found: &mut Found) {
    let mut decisions = vec![problem.order; problem.generals];
    let names = problem.lieutenants().filter(|general| !problem.is_traitor(*general));
    for (name, lieutenant) in names.zip(&moment.lieutenants) {
        decisions[usize::from(name)] = lieutenant.decide();
    }
    found.note(problem, &decisions, || moment.script.concat());
}
