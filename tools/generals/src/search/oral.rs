//! What traitors can say where messages are oral: each message says attack, or retreat, or is not sent.

use super::{BEHAVIOURS_MAX, Found, placements};
use crate::oral::{self, Path, Written};
use crate::order::Order;
use crate::problem::{General, Problem};
use crate::strategy::Strategy;
use logothete_simulator::world::random::Random;
use std::collections::BTreeMap;

/// What a message can say.
const SAYINGS: [Option<Order>; 3] = [Some(Order::ATTACK), Some(Order::RETREAT), None];

/// A message of a traitor: its path, and to whom.
type Place = (Path, General);

/// One behaviour: which saying each message has.
type Behaviour = BTreeMap<Place, Option<Order>>;

/// Tries all behaviours of all placements of traitors against OM(m), where a placement has at most [`BEHAVIOURS_MAX`]; of one that has more, `tries` behaviours:
/// the strategies, chance, and from each of these uphill, message by message, towards a loyal lieutenant who decides otherwise.
pub fn search_oral(generals: usize, bears: usize, tries: u64, seed: u64) -> Found {
    let mut found = Found { exhaustive: true, ..Found::default() };
    let mut random = Random::new(seed);
    for problem in placements(generals, bears) {
        found.placements += 1;
        let places = places(&problem);
        let behaviours = 3u64.checked_pow(places.len() as u32).filter(|count| *count <= BEHAVIOURS_MAX);
        match behaviours {
            Some(count) => {
                for number in 0..count {
                    try_one(&problem, &numbered(&places, number), &mut found);
                }
            }
            None => {
                found.exhaustive = false;
                climb(&problem, &places, tries, &mut random, &mut found);
            }
        }
    }
    found
}

/// The messages that traitors are to send.
fn places(problem: &Problem) -> Vec<Place> {
    let outcome = oral::run(problem, |traitor| oral::of_strategy(Strategy::Split, problem, traitor, 0));
    let sent = outcome.sent.iter().filter(|sent| problem.is_traitor(sent.from) && !problem.is_traitor(sent.to));
    sent.map(|sent| (sent.message.path.clone(), sent.to)).collect()
}

fn numbered(places: &[Place], mut number: u64) -> Behaviour {
    let saying = |place: &Place| {
        let saying = SAYINGS[(number % 3) as usize];
        number /= 3;
        (place.clone(), saying)
    };
    places.iter().map(saying).collect()
}

fn decisions(problem: &Problem, behaviour: &Behaviour) -> Vec<Order> {
    oral::run(problem, |_| Box::new(Written(behaviour.clone()))).decisions
}

fn try_one(problem: &Problem, behaviour: &Behaviour, found: &mut Found) -> Vec<Order> {
    let decisions = decisions(problem, behaviour);
    found.note(problem, &decisions, || script(behaviour));
    decisions
}

/// A behaviour in the language of scripts.
fn script(behaviour: &Behaviour) -> String {
    let line = |((path, to), saying): (&Place, &Option<Order>)| {
        let path: Vec<String> = path.iter().map(ToString::to_string).collect();
        let saying = saying.map_or_else(|| "-".to_owned(), |order| order.to_string());
        format!("{} > {to}: {saying}\n", path.join("."))
    };
    behaviour.iter().map(line).collect()
}

fn climb(problem: &Problem, places: &[Place], tries: u64, random: &mut Random, found: &mut Found) {
    let end = found.behaviours + tries;
    let mut starts = Strategy::ALL.iter();
    while found.behaviours < end {
        let mut behaviour: Behaviour = match starts.next() {
            Some(strategy) => spoken(problem, *strategy),
            None => places.iter().map(|place| (place.clone(), SAYINGS[random.below(3)])).collect(),
        };
        let mut height = discord(problem, &behaviour, found);
        for _ in 0..places.len() {
            let place = &places[random.below(places.len())];
            let before = behaviour.insert(place.clone(), SAYINGS[random.below(3)]);
            let after = discord(problem, &behaviour, found);
            if after < height {
                behaviour.insert(place.clone(), before.flatten());
            }
            height = height.max(after);
        }
    }
}

/// What a strategy says.
fn spoken(problem: &Problem, strategy: Strategy) -> Behaviour {
    let outcome = oral::run(problem, |traitor| oral::of_strategy(strategy, problem, traitor, 1));
    let sent = outcome.sent.iter().filter(|sent| problem.is_traitor(sent.from));
    sent.map(|sent| ((sent.message.path.clone(), sent.to), Some(sent.message.value))).collect()
}

/// How near a behaviour comes to a violation: over all loyal lieutenants and all that each was told of the others' words, how many values are not what most
/// of the loyal settled on.
fn discord(problem: &Problem, behaviour: &Behaviour, found: &mut Found) -> usize {
    let outcome = oral::run(problem, |_| Box::new(Written(behaviour.clone())));
    found.note(problem, &outcome.decisions, || script(behaviour));
    let loyal: Vec<General> = problem.lieutenants().filter(|lieutenant| !problem.is_traitor(*lieutenant)).collect();
    let settled: Vec<Vec<Order>> = loyal
        .iter()
        .map(|lieutenant| {
            let received = oral::Received::of(problem, &outcome, *lieutenant);
            received.below(&[0]).iter().map(|path| received.settled(path)).collect()
        })
        .collect();
    let wanted = |orders: &Vec<Order>| orders.iter().filter(|order| **order != problem.order).count();
    settled.iter().map(wanted).map(|count| count * count).sum()
}
