//! The same problem given to the engine: a client is the one who orders, the primary is the commander, the backups are the lieutenants. The replicas are
//! the real cores, played in virtual time; what is told here is read off what they sent.

use logothete_simulator::scenario::command::Interpreter;
use std::fmt;
use std::str::FromStr;

/// The kinds of messages that are drawn, in the words of the scenario files.
const KINDS: [&str; 7] = ["request", "pre-prepare", "prepare", "commit", "reply", "view change", "new view"];

/// How long the replicas have, in virtual time: a silent primary is replaced within it.
const RUN: &str = "run 400ms";

/// Columns of a story at most: what comes later repeats.
const PHASES_MAX: usize = 14;

/// What the faulty replica does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It says nothing.
    Silent,
    /// It tells the upper half of the others another batch.
    Equivocates,
    /// Its tags are wrong.
    GarbageTags,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Silent, Self::Equivocates, Self::GarbageTags];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Equivocates => "equivocates",
            Self::GarbageTags => "garbage-tags",
        }
    }
}

/// No fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no fault of a replica: there are silent, equivocates and garbage-tags")]
pub struct NoFault(String);

impl FromStr for Fault {
    type Err = NoFault;

    fn from_str(name: &str) -> Result<Self, NoFault> {
        Self::ALL.into_iter().find(|fault| fault.name() == name).ok_or_else(|| NoFault(name.to_owned()))
    }
}

/// Why a story cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoStory {
    /// Not `3f+1` replicas.
    #[error(
        "{0} replicas: PBFT takes n = 3f+1, since f may be silent and f of those who are not may lie; 4, 7 or 10 are drawn"
    )]
    Replicas(usize),
    /// A faulty replica that is none.
    #[error("replica {0} is none of the {1}, which are 0 to {last}; one of them may be faulty here", last = .1 - 1)]
    Faulty(usize, usize),
    /// The checkers of the replicas found something: a bug of the engine.
    #[error("{0}")]
    Broken(String),
}

/// Somebody at a lane of the drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// The client.
    Client,
    /// A replica.
    Replica(usize),
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("client"),
            Self::Replica(id) => write!(f, "{id}"),
        }
    }
}

/// Messages of one kind at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// When they were sent, as the scenario files say it.
    pub moment: String,
    /// Of which kind they are.
    pub kind: String,
    /// From whom to whom, each with what distinguishes it where two of a kind differ.
    pub messages: Vec<(Party, Party)>,
}

/// What happened.
#[derive(Clone, Debug)]
pub struct Story {
    /// `n`.
    pub replicas: usize,
    /// The faulty one, and what it does.
    pub faulty: Option<(usize, Fault)>,
    /// What was sent, kind after kind.
    pub phases: Vec<Phase>,
    /// The replicas' own words.
    pub text: String,
    /// Whether the client accepted a result.
    pub accepted: bool,
}

/// Has `replicas` replicas order one request, one of them faulty.
///
/// # Errors
/// A number that makes no sense, or what a checker found.
pub fn play(replicas: usize, faulty: Option<(usize, Fault)>, order: &str) -> Result<Story, NoStory> {
    if !matches!(replicas, 4 | 7 | 10) {
        return Err(NoStory::Replicas(replicas));
    }
    if let Some((faulty, _)) = faulty.filter(|(faulty, _)| *faulty >= replicas) {
        return Err(NoStory::Faulty(faulty, replicas));
    }
    let mut interpreter = Interpreter::default();
    let mut say = |line: &str| interpreter.run(line).map_err(NoStory::Broken);
    say(&format!("cluster replicas={replicas}"))?;
    if let Some((faulty, fault)) = faulty {
        let others: Vec<String> =
            (0..replicas).filter(|other| *other != faulty).map(|other| other.to_string()).collect();
        let how = match fault {
            Fault::Equivocates => format!("equivocates to={}", others[others.len() / 2..].join(",")),
            other => other.name().to_owned(),
        };
        say(&format!("faulty {faulty} {how}"))?;
    }
    let mut text = say(&format!("client 0 append \"{order}\""))?;
    text += &say(RUN)?;
    let accepted = text.contains("c0: accepts");
    Ok(Story { replicas, faulty, phases: phases(&text, replicas), text, accepted })
}

/// Reads what was sent off the text.
fn phases(text: &str, replicas: usize) -> Vec<Phase> {
    let mut phases: Vec<Phase> = Vec::new();
    let mut seen = Vec::new();
    let mut moment = "";
    for line in text.lines() {
        let Some(line) = line.strip_prefix("  ") else {
            moment = line;
            continue;
        };
        let Some((from, rest)) = line.split_once(" -> ") else { continue };
        let Some((to, said)) = rest.split_once(": ") else { continue };
        for message in said.split("; ") {
            // The longest name first: `prepare` is the end of `pre-prepare`.
            let Some(kind) = KINDS.into_iter().find(|kind| message.starts_with(kind)) else { continue };
            let messages: Vec<_> = parties(from, replicas, &[])
                .into_iter()
                .flat_map(|sender| parties(to, replicas, &[sender]).into_iter().map(move |receiver| (sender, receiver)))
                .filter(|pair| {
                    let said = (*pair, message.to_owned());
                    let new = !seen.contains(&said);
                    seen.push(said);
                    new
                })
                .collect();
            if messages.is_empty() {
                continue;
            }
            match phases.last_mut() {
                Some(last) if last.moment == moment && last.kind == kind => last.messages.extend(messages),
                _ => phases.push(Phase { moment: moment.to_owned(), kind: kind.to_owned(), messages }),
            }
        }
    }
    phases.truncate(PHASES_MAX);
    phases
}

/// Whom a list names; `others` are all replicas but the sender.
fn parties(list: &str, replicas: usize, without: &[Party]) -> Vec<Party> {
    if list == "others" {
        return (0..replicas).map(Party::Replica).filter(|party| !without.contains(party)).collect();
    }
    let party = |name: &str| match name.strip_prefix('c') {
        Some(_) => Some(Party::Client),
        None => name.parse().ok().map(Party::Replica),
    };
    list.split(',').filter_map(party).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(story: &Story) -> Vec<&str> {
        story.phases.iter().map(|phase| phase.kind.as_str()).collect()
    }

    /// The notes' figure 10: five phases, the third replica takes no part.
    #[test]
    fn five_phases_with_a_silent_backup() {
        let story = play(4, Some((3, Fault::Silent)), "attack").unwrap();
        assert_eq!(kinds(&story)[..5], ["request", "pre-prepare", "prepare", "commit", "reply"]);
        assert!(story.accepted);
        let counts: Vec<usize> = story.phases[..5].iter().map(|phase| phase.messages.len()).collect();
        // To all; to the backups; of two backups to all others; of three replicas to all others; of three to the client.
        assert_eq!(counts, [4, 3, 6, 9, 3]);
    }

    #[test]
    fn a_silent_primary_is_replaced() {
        let story = play(4, Some((0, Fault::Silent)), "attack").unwrap();
        let kinds = kinds(&story);
        assert!(kinds.contains(&"view change") && kinds.contains(&"new view") && kinds.contains(&"reply"), "{kinds:?}");
        assert!(story.accepted);
    }

    #[test]
    fn a_lying_primary_changes_nothing_that_is_accepted() {
        for (replicas, faulty) in [(4, 0), (7, 0), (7, 6)] {
            let story = play(replicas, Some((faulty, Fault::Equivocates)), "attack").unwrap();
            assert!(story.accepted, "{}", story.text);
        }
    }

    #[test]
    fn what_makes_no_sense_is_told_with_the_bound() {
        let error = play(5, None, "attack").unwrap_err().to_string();
        assert!(error.starts_with("5 replicas: PBFT takes n = 3f+1"), "{error}");
        let error = play(4, Some((4, Fault::Silent)), "attack").unwrap_err().to_string();
        assert!(error.starts_with("replica 4 is none of the 4, which are 0 to 3"), "{error}");
        assert!("asleep".parse::<Fault>().is_err());
    }
}
