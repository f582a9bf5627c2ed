//! `logothete simulate --exhaustive`: everything within a bound, instead of seeds.

use crate::failure::Failure;
use crate::output::print_line;
use logothete_engine::numbers::ReplicaId;
use logothete_simulator::exhaustive::{Bound, explore, faulty};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

/// Reads `NUMBERS,VIEWS,LIES,TIME-OUTS`.
///
/// # Errors
///
/// When it is something else, or a bound that no exploration has.
pub fn parse_bound(text: &str) -> Result<Bound, String> {
    let wanted = || {
        String::from(
            "write NUMBERS,VIEWS,LIES,TIME-OUTS, such as 2,3,1,2; there are 1 or 2 numbers, and at most 3 lies and 7 time-outs",
        )
    };
    let figures: Vec<u8> =
        text.split(',').map(|figure| figure.parse().map_err(|_| wanted())).collect::<Result<_, _>>()?;
    match figures[..] {
        [numbers @ 1..=2, views @ 1..=8, lies @ 0..=3, time_outs @ 0..=7] => {
            Ok(Bound::of(numbers.into(), views.into(), lies, time_outs))
        }
        _ => Err(wanted()),
    }
}

/// Searches a bound with each replica as the faulty one, so many searches at a time, and tells of each what it came to.
///
/// # Errors
///
/// When a state misses a goal.
pub fn search(bound: Bound, jobs: usize) -> Result<(), Failure> {
    print_line(&format!(
        "4 replicas, {} sequence numbers, {} views; in at most {} moves the faulty one has a hand, at most {} time-outs fire",
        bound.numbers, bound.views, bound.lies, bound.time_outs
    ))?;
    let (placements, next): (Vec<ReplicaId>, _) = (faulty().collect(), AtomicUsize::new(0));
    let mut findings = Vec::new();
    std::thread::scope(|scope| {
        let (done, results) = mpsc::channel();
        for _ in 0..jobs.clamp(1, placements.len()) {
            let (done, placements, next) = (done.clone(), &placements, &next);
            scope.spawn(move || {
                while let Some(id) = placements.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let begin = Instant::now();
                    let (counts, finding) = explore(bound, *id);
                    // Where nobody listens any more, printing failed.
                    let _ = done.send((*id, counts, finding, begin.elapsed()));
                }
            });
        }
        drop(done);
        for (id, counts, finding, elapsed) in results {
            print_line(&format!("replica {id} is faulty: {counts}; {:.1} s", elapsed.as_secs_f64()))?;
            findings.extend(finding.map(|finding| (id, finding)));
        }
        Ok::<(), Failure>(())
    })?;
    findings.sort_by_key(|(id, _)| *id);
    if findings.is_empty() {
        return Ok(());
    }
    let texts = findings.iter().map(|(id, finding)| format!("replica {id} is faulty: {finding}"));
    Err(Failure::Failed(texts.collect::<Vec<_>>().join("\n")))
}
