//! `logothete doctor`: what this host offers, and how to mend what it does not.

use crate::doctor::{Check, State, examine};
use crate::failure::Failure;
use crate::output::{print_line, write_json};
use std::path::PathBuf;

/// Checks this host: each check with what it found, what is wanted and the command that mends it.
///
/// Advice is no failure: everything works without, slower or less evenly. With --config the cluster's files, addresses
/// and keys are checked too.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  logothete doctor
  logothete doctor --config /tmp/cluster/cluster.toml")]
pub struct Arguments {
    /// A cluster to check against
    #[arg(long, value_name = "DIR/cluster.toml")]
    config: Option<PathBuf>,
    /// Write the findings to FILE as JSON (- for standard output, instead of the text)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
///
/// When a finding means that the cluster will not work here.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let checks = examine(arguments.config.as_deref());
    if let Some(path) = &arguments.json {
        write_json(path, &serde_json::json!({ "checks": checks }))?;
    }
    if arguments.json.as_deref() != Some(std::path::Path::new("-")) {
        for check in &checks {
            print_line(&text(check))?;
        }
    }
    let faults = checks.iter().filter(|check| check.state == State::Fault).count();
    let advice = checks.iter().filter(|check| check.state == State::Advice).count();
    if faults > 0 {
        return Err(Failure::Failed(format!("{faults} of {} checks failed", checks.len())));
    }
    eprintln!("{} checks, none failed, {advice} with advice", checks.len());
    Ok(())
}

fn text(check: &Check) -> String {
    let state = match check.state {
        State::Good => "good  ",
        State::Advice => "advice",
        State::Fault => "FAULT ",
    };
    let mut text = format!("{state}  {:<15} {}", check.name, check.found);
    if check.state != State::Good {
        text.push_str(&format!(
            "\n          wanted: {}\n          why:    {}\n          mend:   {}",
            check.wanted, check.why, check.mend
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_good_takes_one_line_and_the_rest_says_how_to_mend_it() {
        let mut check = Check {
            name: "cores",
            state: State::Good,
            found: "4".into(),
            wanted: "2".into(),
            why: "because",
            mend: String::new(),
        };
        assert_eq!(text(&check), "good    cores           4");
        check.state = State::Advice;
        check.mend = "buy some".into();
        assert_eq!(
            text(&check),
            "advice  cores           4\n          wanted: 2\n          why:    because\n          mend:   buy some"
        );
    }
}
