//! The kill table: a line a bug, for a terminal or for `engine/docs/planted-bugs.md`.

use super::hunt::Hunted;
use crate::swarm::shrink::property;
use logothete_engine::planted::Bug;
use std::collections::BTreeMap;

/// The longest text of a failure in a line.
const FAILURE_CHARS_MAX: usize = 110;

/// One hunt as a line.
pub fn line(hunted: &Hunted) -> String {
    let (id, took) = (hunted.bug.map_or("control", Bug::id), hunted.took.as_secs_f64());
    let Some(catch) = &hunted.catch else {
        return format!("{id:<8} {:>5} seeds {took:>6.1} s  nothing failed", hunted.played);
    };
    let text: String = catch.failure.lines().next().unwrap_or("").chars().take(FAILURE_CHARS_MAX).collect();
    format!("{id:<8} {:>5} seeds {took:>6.1} s  seed {:#018x}  {text}", catch.after, catch.seed)
}

/// All hunts as a table of Markdown: a row a bug, a column a master seed.
pub fn markdown(masters: &[u64], hunts: &[Hunted]) -> String {
    let mut rows: BTreeMap<&str, (&str, Vec<&Hunted>)> = BTreeMap::new();
    for hunted in hunts {
        let (id, what) = hunted.bug.map_or(("control", "nothing is planted"), |bug| (bug.id(), bug.what()));
        rows.entry(id).or_insert((what, Vec::new())).1.push(hunted);
    }
    let columns: Vec<String> = masters.iter().map(|master| format!("master seed {master}")).collect();
    let mut text = format!("| id | what is wrong | caught by | {} |\n", columns.join(" | "));
    text += &format!("| --- | --- | --- |{}\n", " --- |".repeat(masters.len()));
    for (id, (what, hunts)) in rows {
        let mut checkers: Vec<&str> =
            hunts.iter().filter_map(|hunted| hunted.catch.as_ref()).map(|catch| property(&catch.failure)).collect();
        checkers.sort_unstable();
        checkers.dedup();
        let cell = |hunted: &&Hunted| match &hunted.catch {
            Some(catch) => format!("seed {} of it, {:.1} s", catch.after, hunted.took.as_secs_f64()),
            None => format!("nothing in {} seeds", hunted.played),
        };
        let cells: Vec<String> = hunts.iter().map(cell).collect();
        text += &format!("| {id} | {what} | {} | {} |\n", checkers.join(", "), cells.join(" | "));
    }
    text
}
