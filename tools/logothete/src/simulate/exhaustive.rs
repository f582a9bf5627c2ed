//! `logothete simulate --exhaustive`: everything within a bound, instead of seeds.

use crate::failure::Failure;
use crate::output::print_line;
use logothete_simulator::exhaustive::{Bound, explore, faulty};
use std::time::Instant;

/// Reads `NUMBERS,VIEWS,LIES,TIME-OUTS`.
///
/// # Errors
///
/// When it is something else, or a bound that no exploration has.
pub fn parse_bound(text: &str) -> Result<Bound, String> {
    let wanted = || String::from("write NUMBERS,VIEWS,LIES,TIME-OUTS, such as 1,2,2,2; there are 1 or 2 numbers");
    let figures: Vec<u8> =
        text.split(',').map(|figure| figure.parse().map_err(|_| wanted())).collect::<Result<_, _>>()?;
    match figures[..] {
        [numbers @ 1..=2, views @ 1..=8, lies, time_outs] => {
            Ok(Bound { numbers: numbers.into(), views: views.into(), lies, time_outs, ..Bound::STANDARD })
        }
        _ => Err(wanted()),
    }
}

/// Searches a bound with one replica after the other as the faulty one.
///
/// # Errors
///
/// When a state misses a goal.
pub fn search(bound: Bound) -> Result<(), Failure> {
    print_line(&format!(
        "4 replicas, {} sequence numbers, {} views; in at most {} moves the faulty one has a hand, at most {} time-outs fire",
        bound.numbers, bound.views, bound.lies, bound.time_outs
    ))?;
    for id in faulty() {
        let begin = Instant::now();
        let (counts, finding) = explore(bound, id);
        print_line(&format!("replica {id} is faulty: {counts}; {:.1} s", begin.elapsed().as_secs_f64()))?;
        if let Some(finding) = finding {
            return Err(Failure::Failed(finding.to_string()));
        }
    }
    print_line("passed")
}
