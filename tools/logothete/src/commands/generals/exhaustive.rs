//! All that traitors can do.

use super::Play;
use crate::failure::Failure;
use crate::output::{print_line, write_json};
use logothete_generals::problem::{Algorithm, Generals, Problem, name};
use logothete_generals::search::{Found, search_oral, search_signed};
use serde::Serialize;

#[derive(Serialize)]
struct Report {
    algorithm: &'static str,
    generals: usize,
    bears: usize,
    exhaustive: bool,
    placements: u64,
    behaviours: u64,
    violations: u64,
    violations_expected: bool,
    script: Option<String>,
}

/// Searches, and compares what is found with what the theorems say.
pub fn run(play: &Play, algorithm: Algorithm) -> Result<(), Failure> {
    let generals = play.generals;
    let bears = play.rounds.unwrap_or(match algorithm {
        Algorithm::Oral => (generals.saturating_sub(1) / 3).max(1),
        Algorithm::Signed => generals.saturating_sub(2).max(1),
    });
    let problem = Problem { generals, bears, traitors: Generals::default(), order: play.commander_order };
    problem.check(algorithm, true).map_err(|error| Failure::Usage(error.to_string()))?;
    if generals > 10 {
        return Err(Failure::Usage(format!(
            "{generals} generals can be placed and can speak in too many ways to search; take 10 at most"
        )));
    }
    let found = match algorithm {
        Algorithm::Oral => search_oral(generals, bears, play.tries, play.seed),
        Algorithm::Signed => search_signed(generals, bears, play.tries, play.seed),
    };
    // BGP82, theorem 1, and section 2 for its bound; theorem 2.
    let expected = algorithm == Algorithm::Oral && generals <= 3 * bears && generals >= 3;
    tell(play, algorithm, bears, &found, expected)?;
    match found.violations > 0 {
        violated if violated == expected => Ok(()),
        true => Err(Failure::Failed("a violation where the theorem says that there is none".to_owned())),
        false => {
            Err(Failure::Failed("no violation was found, though there are some: try more with --tries".to_owned()))
        }
    }
}

fn tell(play: &Play, algorithm: Algorithm, bears: usize, found: &Found, expected: bool) -> Result<(), Failure> {
    let (generals, traitors) = (play.generals, name(algorithm));
    let report = Report {
        algorithm: traitors,
        generals,
        bears,
        exhaustive: found.exhaustive,
        placements: found.placements,
        behaviours: found.behaviours,
        violations: found.violations,
        violations_expected: expected,
        script: found.first.as_ref().map(|first| first.script.clone()),
    };
    if play.json.as_deref() != Some(std::path::Path::new("-")) {
        let bound = match (algorithm, generals > 3 * bears) {
            (Algorithm::Oral, true) => format!("n = {generals} > 3m = {}", 3 * bears),
            (Algorithm::Oral, false) => format!("n = {generals} <= 3m = {}", 3 * bears),
            (Algorithm::Signed, _) => format!("n = {generals}, any m"),
        };
        print_line(&format!("algorithm    {traitors}({bears}) of {generals} generals: {bound}"))?;
        let how = if found.exhaustive { "all of each" } else { "all where they are few, a search elsewhere" };
        print_line(&format!(
            "tried        {} behaviours of traitors in {} placements and orders ({how})",
            found.behaviours, found.placements
        ))?;
        print_line(&format!("violations   {}", found.violations))?;
        if let Some(first) = &found.first {
            let decisions: Vec<String> =
                first.problem.lieutenants().map(|l| format!("{l}: {}", first.decisions[usize::from(l)])).collect();
            print_line(&format!(
                "the first    traitors {}, order {}; lieutenants {}",
                first.problem.traitors,
                first.problem.order,
                decisions.join(", ")
            ))?;
            print_line("             as a script for --strategy script=FILE:")?;
            for line in first.script.lines() {
                print_line(&format!("               {line}"))?;
            }
        }
    }
    play.json.as_ref().map_or(Ok(()), |path| write_json(path, &report))
}
