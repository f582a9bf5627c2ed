//! `logothete simulate --trace`: all that happens in one seed, as lines or as a page.

use crate::failure::Failure;
use crate::simulate::alarm;
use logothete_simulator::swarm::plan::Plan;
use logothete_simulator::swarm::run::{Outcome, play, play_drawn};
use logothete_simulator::trace::page::page;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

/// Plays a plan and writes what happens: a page, where the file's name ends in `.html`.
///
/// # Errors
///
/// When the file cannot be written.
pub fn write(plan: &Plan, steps_max: u64, path: &Path) -> Result<Outcome, Failure> {
    let failed = |error: &std::io::Error| Failure::of_file("write", path, error);
    if path.extension().is_some_and(|extension| extension == "html") {
        let (outcome, lanes) = play_drawn(plan, steps_max, &mut alarm::told);
        let violation = outcome.violation.as_ref().map(|(text, _)| text.as_str());
        std::fs::write(path, page(plan, &lanes, violation)).map_err(|error| failed(&error))?;
        return Ok(outcome);
    }
    let mut file = File::create(path).map(BufWriter::new).map_err(|error| failed(&error))?;
    let mut written = Ok(());
    let mut tell = |line: &str| {
        alarm::told(line);
        if written.is_ok() {
            written = writeln!(file, "{line}");
        }
    };
    let outcome = play(plan, steps_max, Some(&mut tell));
    written.and_then(|()| file.flush()).map_err(|error| failed(&error))?;
    Ok(outcome)
}
