//! What the load generator drives: a session, or a script in its place.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One session towards the service. Nothing here blocks but [`Target::wait_any`].
pub trait Target: Sized {
    /// Hands one operation over and returns the number by which its answer will be known. Numbers of one target grow
    /// by one from operation to operation.
    ///
    /// # Errors
    /// [`Refusal::Full`] when there is no room now (the operation may be offered again), else why it failed for good.
    fn submit(&mut self, access: Access, operation: &[u8]) -> Result<u64, Refusal>;

    /// Makes everything submitted visible to the other side and gives the answers that have come to `on_answer`, in any
    /// order, each once: the operation's number and its answer. Returns how many there were.
    ///
    /// # Errors
    /// When the session has ended: no further answer will come.
    fn poll(&mut self, on_answer: impl FnMut(u64, Result<Answer<'_>, Failure>)) -> Result<usize, Failure>;

    /// Gives the processor away until one of `targets` may have an answer, at most for `timeout`. May return early.
    /// `idle_turns` counts the turns of the caller's loop since anything happened, so that waiting can begin cheaply.
    fn wait_any(targets: &mut [Self], timeout: Duration, idle_turns: u32);
}

/// How an operation is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To be ordered.
    Write,
    /// As a query, which changes nothing and is ordered only where the replicas' answers differ or are missing.
    Read,
}

/// A good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The operation's result.
    pub result: &'a [u8],
    /// Whether it took a place in the order.
    pub ordered: bool,
}

/// Why an operation was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No room at this moment.
    Full,
    /// It failed for good.
    Failed(Failure),
}

/// Why an operation failed, as far as a report tells failures apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The service or the driver refused for want of room.
    Overloaded,
    /// The operation is larger than the cluster allows.
    TooLarge,
    /// The service does not know the operation.
    Unsupported,
    /// The driver went away.
    Disconnected,
    /// The driver ended the session.
    Evicted,
    /// Too few replicas answered the driver in time.
    Unavailable,
    /// The result is not one that this operation can have.
    WrongResult,
    /// No answer came until the run's own bound.
    NotAnswered,
    /// Open loop: due within the run, but there was never room to send it.
    NotSent,
    /// Anything else.
    Other,
}

impl Failure {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Failure; 10] = [
        Failure::Overloaded,
        Failure::TooLarge,
        Failure::Unsupported,
        Failure::Disconnected,
        Failure::Evicted,
        Failure::Unavailable,
        Failure::WrongResult,
        Failure::NotAnswered,
        Failure::NotSent,
        Failure::Other,
    ];

    /// The kind's name, as reports and histories write it.
    pub fn name(self) -> &'static str {
        match self {
            Failure::Overloaded => "overloaded",
            Failure::TooLarge => "too_large",
            Failure::Unsupported => "unsupported",
            Failure::Disconnected => "disconnected",
            Failure::Evicted => "evicted",
            Failure::Unavailable => "unavailable",
            Failure::WrongResult => "wrong_result",
            Failure::NotAnswered => "not_answered",
            Failure::NotSent => "not_sent",
            Failure::Other => "other",
        }
    }

    /// Whether the operation may have taken effect all the same: a checker must allow for both.
    pub fn effect_unknown(self) -> bool {
        !matches!(self, Failure::Overloaded | Failure::TooLarge | Failure::Unsupported | Failure::NotSent)
    }
}

/// Failures counted by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures([u64; Failure::ALL.len()]);

impl Failures {
    /// Counts `count` failures of one kind.
    pub fn add(&mut self, failure: Failure, count: u64) {
        self.0[failure as usize] += count;
    }

    /// How many there were of one kind.
    pub fn count(&self, failure: Failure) -> u64 {
        self.0[failure as usize]
    }

    /// How many there were.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The kinds that occurred.
    pub fn iter(&self) -> impl Iterator<Item = (Failure, u64)> + '_ {
        Failure::ALL.into_iter().map(|kind| (kind, self.count(kind))).filter(|&(_, count)| count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_count_and_the_name_that_serde_writes() {
        for (at, kind) in Failure::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.name()));
            let mut failures = Failures::default();
            failures.add(kind, 3);
            assert_eq!(failures.iter().collect::<Vec<_>>(), [(kind, 3)]);
            assert_eq!(failures.total(), 3);
        }
    }
}
