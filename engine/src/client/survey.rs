//! Asking every replica how it fares, and what may be believed of the answers.

use crate::authentication::AuthenticatedPacket;
use crate::numbers::Principal;
use crate::wire::Message;
use crate::wire::report::{ReportQuery, ReportReply};

/// One question to all replicas.
#[derive(Clone, Debug)]
pub struct Survey {
    nonce: u64,
    answers: Vec<Option<ReportReply>>,
}

impl Survey {
    /// Of so many replicas. The nonce tells its answers from those of another survey of the same client.
    pub fn new(nonce: u64, replicas: usize) -> Self {
        Self { nonce, answers: vec![None; replicas] }
    }

    /// Appends the question.
    pub fn append_question(&self, out: &mut Vec<u8>) {
        ReportQuery { nonce: self.nonce.into() }.append(out);
    }

    /// Takes the answers in a packet.
    pub fn on_packet(&mut self, packet: &AuthenticatedPacket<'_>) {
        let Principal::Replica(from) = packet.sender() else { return };
        for (message, _) in packet.messages().flatten() {
            if let (Message::ReportReply(report), Some(answer)) = (message, self.answers.get_mut(usize::from(from.0)))
                && report.nonce.get() == self.nonce
            {
                *answer = Some(*report);
            }
        }
    }

    /// The answers so far, by replica.
    pub fn answers(&self) -> &[Option<ReportReply>] {
        &self.answers
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.answers.iter().flatten().count()
    }

    /// The bounds of the ordered log that `f+1` replicas vouch for (`protocol.md SU-6`): at least one correct replica
    /// holds everything between them.
    pub fn log_bounds(&self, weak: usize) -> Option<(u64, u64)> {
        let vouched = |value: fn(&ReportReply) -> u64| {
            let mut claims: Vec<u64> = self.answers.iter().flatten().map(value).collect();
            claims.sort_unstable_by(|a, b| b.cmp(a));
            claims.get(weak - 1).copied()
        };
        Some((vouched(|report| report.log_oldest.get())?, vouched(|report| report.log_end.get())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `protocol.md SU-6`
    #[test]
    fn one_liar_moves_no_bound() {
        let mut survey = Survey::new(1, 4);
        assert_eq!(survey.log_bounds(2), None);
        for (answer, end) in survey.answers.iter_mut().zip([100, u64::MAX, 90, 98]) {
            let mut report = ReportReply::empty(1);
            (report.log_oldest, report.log_end) = (5.into(), end.into());
            *answer = Some(report);
        }
        assert_eq!(survey.log_bounds(2), Some((5, 100)));
    }
}
