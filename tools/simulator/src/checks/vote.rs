//! Proposals and votes of the normal case, as the checkers note them.

use logothete_crypto::Digest;
use logothete_engine::wire::Message;
use logothete_engine::wire::agreement::{Vote as WireVote, batch_digest};
use std::fmt;

/// What is said of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Round {
    Proposal,
    Prepare,
    Commit,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Proposal => "pre-prepare",
            Self::Prepare => "prepare",
            Self::Commit => "commit",
        })
    }
}

/// What a vote is about; in the order of the numbers, so that those of a window stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ballot {
    pub sequence: u64,
    pub round: Round,
    pub view: u64,
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in view {} for s{}", self.round, self.view, self.sequence)
    }
}

/// A vote for a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vote {
    pub ballot: Ballot,
    pub batch: Digest,
}

impl Vote {
    pub fn new(round: Round, view: u64, sequence: u64, batch: Digest) -> Self {
        Self { ballot: Ballot { sequence, round, view }, batch }
    }

    /// Of a message, if it is one.
    pub fn of(message: &Message<'_>) -> Option<Self> {
        let vote = |round, vote: &WireVote| Self::new(round, vote.view().0, vote.sequence().0, vote.digest);
        match message {
            Message::PrePrepare(proposal) => {
                let batch = batch_digest(proposal.timestamp_ns, proposal.entries);
                Some(Self::new(Round::Proposal, proposal.view.0, proposal.sequence.0, batch))
            }
            Message::Prepare(prepare) => Some(vote(Round::Prepare, prepare)),
            Message::Commit(commit) => Some(vote(Round::Commit, commit)),
            _ => None,
        }
    }
}
