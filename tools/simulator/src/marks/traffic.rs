//! What became of each kind of message.

use logothete_engine::numbers::Principal;
use logothete_engine::wire::{Kind, Messages};
use std::fmt;

/// What may become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// Somebody sent it.
    Sent,
    /// It arrived at a correct replica, or at a client, under a good tag.
    Received,
    /// It was lost on its way, refused by the verifier, or rejected by the core together with what stood beside it.
    Dropped,
}

const PASSAGES: [(Passage, &str); 3] =
    [(Passage::Sent, "sent"), (Passage::Received, "received"), (Passage::Dropped, "dropped")];

/// More than there are kinds.
const KINDS: usize = 64;

/// The kinds that the links of this world do not carry: the network's agents speak them among themselves, and the operator's question is put without a link.
const ELSEWHERE: [Kind; 8] = [
    Kind::RotateKeys,
    Kind::KeyReport,
    Kind::RejectsQuery,
    Kind::RejectsReport,
    Kind::Probe,
    Kind::ProbeHeard,
    Kind::ReportQuery,
    Kind::ReportReply,
];

/// How many messages of each kind came to what.
#[derive(Clone, Debug)]
pub struct Traffic([[u64; PASSAGES.len()]; KINDS]);

impl Default for Traffic {
    fn default() -> Self {
        Self([[0; PASSAGES.len()]; KINDS])
    }
}

impl Traffic {
    pub fn count(&mut self, kind: Kind, passage: Passage) {
        self.0[kind as usize][passage as usize] += 1;
    }

    /// Counts all messages of a body.
    pub fn count_body(&mut self, body: &[u8], sender: Principal, passage: Passage) {
        for (_, bytes) in Messages::new(body, sender).flatten() {
            self.count(Kind::from_byte(bytes[0]).expect("it was decoded"), passage);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let counts = self.0.iter_mut().flatten().zip(other.0.iter().flatten());
        counts.for_each(|(sum, more)| *sum += more);
    }

    fn kinds() -> impl Iterator<Item = Kind> {
        (0..KINDS as u8).filter_map(Kind::from_byte).filter(|kind| !ELSEWHERE.contains(kind))
    }

    /// What never happened to messages of some kind.
    pub(super) fn missed(&self) -> impl Iterator<Item = String> {
        let pairs = Self::kinds().flat_map(|kind| PASSAGES.map(|(passage, name)| (kind, passage, name)));
        pairs
            .filter(|(kind, passage, _)| self.0[*kind as usize][*passage as usize] == 0)
            .map(|(kind, _, name)| format!("{kind:?} {name}"))
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>12}{:>12}{:>12}  message", "sent", "received", "dropped")?;
        for kind in Self::kinds() {
            let [sent, received, dropped] = self.0[kind as usize];
            writeln!(f, "{sent:>12}{received:>12}{dropped:>12}  {kind:?}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_crypto::Digest;
    use logothete_engine::numbers::{ReplicaId, SequenceNumber, View};
    use logothete_engine::wire::agreement::{CommitClaim, Vote};

    #[test]
    fn every_message_of_a_body_counts() {
        let mut body = Vec::new();
        Vote::new(View(0), SequenceNumber(1), Digest::default()).append_commit(&mut body);
        Vote::new(View(0), SequenceNumber(2), Digest::default()).append_commit(&mut body);
        CommitClaim::new(SequenceNumber(1), Digest::default()).append(&mut body);
        let mut traffic = Traffic::default();
        traffic.count_body(&body, Principal::Replica(ReplicaId(0)), Passage::Dropped);
        assert_eq!(traffic.0[Kind::Commit as usize], [0, 0, 2]);
        assert_eq!(traffic.0[Kind::CommitClaim as usize], [0, 0, 1]);
        let missed: Vec<String> = traffic.missed().collect();
        assert!(missed.contains(&"Commit sent".to_owned()) && !missed.contains(&"Commit dropped".to_owned()));
        assert!(!missed.iter().any(|name| name.starts_with("Probe")));
    }

    #[test]
    fn every_kind_has_its_row() {
        assert!((KINDS..256).all(|byte| Kind::from_byte(byte as u8).is_none()));
    }
}
