//! The same problem for the replicas.

use crate::failure::Failure;
use crate::output::{print_line, write_json, write_text};
use logothete_generals::pbft::{Fault, NoStory, play};
use logothete_generals::picture::phases;
use serde::Serialize;
use std::path::PathBuf;

/// Options.
#[derive(clap::Args)]
pub struct Arguments {
    /// Replicas: 4, 7 or 10
    #[arg(long, value_name = "N", default_value_t = 4)]
    replicas: usize,
    /// The faulty one; 0 is the primary [default: none]
    #[arg(long, value_name = "I")]
    faulty: Option<usize>,
    /// What it does: silent, equivocates, garbage-tags
    #[arg(long, value_name = "FAULT", default_value = "silent", requires = "faulty")]
    strategy: Fault,
    /// What the client asks for
    #[arg(long, value_name = "ORDER", default_value = "attack")]
    order: logothete_generals::Order,
    /// Print what the replicas said, as the scenario files do
    #[arg(long)]
    show: bool,
    /// Draw the phases
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write one JSON object; - for standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    replicas: usize,
    faulty: Option<usize>,
    phases: Vec<(String, String, usize)>,
    accepted: bool,
}

/// Plays, tells, draws.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let faulty = arguments.faulty.map(|faulty| (faulty, arguments.strategy));
    let story = play(arguments.replicas, faulty, &arguments.order.to_string()).map_err(|error| match error {
        NoStory::Broken(_) => Failure::Failed(error.to_string()),
        NoStory::Replicas(_) | NoStory::Faulty(..) => Failure::Usage(error.to_string()),
    })?;
    if let Some(path) = &arguments.svg {
        write_text(path, &phases(&story))?;
    }
    if arguments.json.as_deref() != Some(std::path::Path::new("-")) {
        if arguments.show {
            print_line(story.text.trim_end())?;
        }
        for phase in &story.phases {
            print_line(&format!("{:>9}  {:<12} {} messages", phase.moment, phase.kind, phase.messages.len()))?;
        }
        let end = if story.accepted {
            "f+1 replicas said the same: the client has its result"
        } else {
            "the client has no result"
        };
        print_line(end)?;
    }
    if let Some(path) = &arguments.json {
        let told =
            |phase: &logothete_generals::pbft::Phase| (phase.moment.clone(), phase.kind.clone(), phase.messages.len());
        let (faulty, phases) = (arguments.faulty, story.phases.iter().map(told).collect());
        write_json(path, &Report { replicas: story.replicas, faulty, phases, accepted: story.accepted })?;
    }
    if story.accepted { Ok(()) } else { Err(Failure::Failed("the client got no result".to_owned())) }
}
