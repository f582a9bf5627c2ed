//! Three generals, one traitor, every rule.

use crate::failure::Failure;
use crate::output::{print_line, write_json};
use logothete_generals::Order;
use logothete_generals::search::three::{Rule, alike, exhaust};
use serde::Serialize;
use std::path::PathBuf;

/// Options.
#[derive(clap::Args)]
pub struct Arguments {
    /// Write one JSON object; - for standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    pairs_of_rules: usize,
    disobey_a_loyal_commander: usize,
    disagree_under_a_traitor: usize,
    satisfy_both: usize,
}

/// Tries all deterministic rules of two lieutenants.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let found = exhaust();
    let report = Report {
        pairs_of_rules: found.pairs,
        disobey_a_loyal_commander: found.disobey,
        disagree_under_a_traitor: found.disagree,
        satisfy_both: found.satisfy,
    };
    if arguments.json.as_deref() != Some(std::path::Path::new("-")) {
        let lines = [
            "Three generals, one of them a traitor. A lieutenant's rule: what to tell the other, given the commander's order; what to".to_owned(),
            "do, given that order and what the other says. Each of the two has 64 rules.".to_owned(),
            String::new(),
            format!("pairs of rules                                        {}", found.pairs),
            format!("  disobey a loyal commander in some play (IC2)        {}", found.disobey),
            format!("  obey him always, and disagree under a traitor (IC1) {}", found.disagree),
            format!("  satisfy both conditions                             {}", found.satisfy),
            String::new(),
            "Why no rule can, however long they talk. Take any rule, and three plays:".to_owned(),
            "  A  the commander is loyal and orders attack; lieutenant 1, a traitor, acts as if he had heard retreat".to_owned(),
            "  B  the commander is loyal and orders retreat; lieutenant 2, a traitor, acts as if he had heard attack".to_owned(),
            "  C  the commander is a traitor: he orders retreat of 1, and attack of 2".to_owned(),
        ];
        lines.iter().try_for_each(|line| print_line(line))?;
        // A rule that passes on what it heard; any other would do.
        let honest = Rule::all()
            .find(|rule| rule.tells(Order::ATTACK) == Order::ATTACK && rule.tells(Order::RETREAT) == Order::RETREAT)
            .expect("some rule tells the truth");
        let seen = alike([honest, honest]);
        let pair = |(ordered, told): (Order, Order)| format!("order {ordered}, then \"{told}\"");
        print_line(&format!(
            "  lieutenant 2 hears in A: {}; in C: {}",
            pair(seen.second_with_lieutenant),
            pair(seen.with_commander[1])
        ))?;
        print_line(&format!(
            "  lieutenant 1 hears in B: {}; in C: {}",
            pair(seen.first_with_lieutenant),
            pair(seen.with_commander[0])
        ))?;
        print_line(
            "In A, 2 must attack (IC2); in B, 1 must retreat (IC2). C looks to 2 like A and to 1 like B, so they do the same there:",
        )?;
        print_line("one attacks, and the other retreats, against IC1.")?;
    }
    if let Some(path) = &arguments.json {
        write_json(path, &report)?;
    }
    match found.satisfy {
        0 => Ok(()),
        count => Err(Failure::Failed(format!("{count} pairs of rules satisfy both conditions, which cannot be"))),
    }
}
