//! What speaks against a replica: two authenticated messages of it that no correct replica sends both (`protocol.md EV-1` to `EV-3`). Data
//! only; the host writes it down.
//!
//! Each piece is one line of text, whose form is fixed (`v1`):
//!
//! ```text
//! v1 replica=2 kind=commit view=0 number=7 held=<64 hex digits> other=<64 hex digits> proof=mac
//! ```

use super::output::{Event, Output};
use crate::limits::REPLICAS_MAX;
use crate::numbers::{ReplicaId, SequenceNumber, View};
use logothete_crypto::Digest;
use std::fmt;
use std::str::FromStr;

/// The most pieces kept, and told, about one replica: more of them say nothing new, and a faulty replica makes as many as it likes.
pub const EVIDENCE_A_REPLICA_MAX: usize = 16;

/// The form of the line.
const FORMAT: &str = "v1";

macro_rules! words {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$inner])* $variant,)+ }

        impl $name {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its word in a line.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            fn of_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.word() == word)
            }
        }
    };
}

words! {
    /// What the two messages are.
    EvidenceKind {
        /// Pre-prepares of one view and number.
        Proposal = "proposal",
        /// Votes of the first round.
        Prepare = "prepare",
        /// Votes of the second round.
        Commit = "commit",
        /// Claims of what committed at a number.
        Claim = "claim",
        /// View changes for one view, of one epoch; the number is the view's.
        ViewChange = "view-change",
        /// Votes on the state after a number.
        Checkpoint = "checkpoint",
    }
}

words! {
    /// Whom the two messages convince.
    Proof {
        /// The replica that received them: it shares the key that made their tags, and could have made them itself.
        Mac = "mac",
        /// Everybody who knows the public keys.
        Signed = "signed",
    }
}

/// Two messages of one replica that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Whose.
    pub replica: ReplicaId,
    /// What they are.
    pub kind: EvidenceKind,
    /// Of which view; none where a view is no part of what is said.
    pub view: Option<View>,
    /// About which number.
    pub sequence: SequenceNumber,
    /// What the first one says, which is held.
    pub held: Digest,
    /// What the other one says, which was rejected.
    pub other: Digest,
    /// Whom they convince.
    pub proof: Proof,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FORMAT} replica={} kind={} view=", self.replica, self.kind.word())?;
        match self.view {
            Some(view) => write!(f, "{view}")?,
            None => f.write_str("-")?,
        }
        write!(f, " number={} held={} other={} proof={}", self.sequence, self.held, self.other, self.proof.word())
    }
}

/// A line that is no evidence of this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a line of evidence of form {FORMAT}: `{field}` is missing, misplaced or not as it should be")]
pub struct EvidenceError {
    /// The first field that is wrong.
    pub field: &'static str,
}

impl FromStr for Evidence {
    type Err = EvidenceError;

    fn from_str(line: &str) -> Result<Self, EvidenceError> {
        let mut words = line.split(' ');
        if words.next() != Some(FORMAT) {
            return Err(EvidenceError { field: FORMAT });
        }
        let evidence = Self {
            replica: ReplicaId(field(&mut words, "replica", |word| word.parse().ok())?),
            kind: field(&mut words, "kind", EvidenceKind::of_word)?,
            view: field(&mut words, "view", |word| match word {
                "-" => Some(None),
                number => number.parse().ok().map(|number| Some(View(number))),
            })?,
            sequence: SequenceNumber(field(&mut words, "number", |word| word.parse().ok())?),
            held: field(&mut words, "held", |word| word.parse().ok())?,
            other: field(&mut words, "other", |word| word.parse().ok())?,
            proof: field(&mut words, "proof", Proof::of_word)?,
        };
        match words.next() {
            None => Ok(evidence),
            Some(_) => Err(EvidenceError { field: "end" }),
        }
    }
}

fn field<'a, T>(
    words: &mut impl Iterator<Item = &'a str>,
    name: &'static str,
    read: impl FnOnce(&'a str) -> Option<T>,
) -> Result<T, EvidenceError> {
    let value = words.next().and_then(|word| word.strip_prefix(name)?.strip_prefix('='));
    value.and_then(read).ok_or(EvidenceError { field: name })
}

/// What is kept, a bounded number of pieces about each replica.
#[derive(Clone, Debug)]
pub struct EvidenceBook {
    pieces: Vec<Evidence>,
    omitted: [u64; REPLICAS_MAX],
}

impl EvidenceBook {
    /// With room for so many replicas.
    pub(super) fn new(replicas: usize) -> Self {
        Self { pieces: Vec::with_capacity(replicas * EVIDENCE_A_REPLICA_MAX), omitted: [0; REPLICAS_MAX] }
    }

    /// Keeps a piece and tells of it, unless there is one of the same messages, or enough about this replica.
    pub(super) fn record(&mut self, evidence: Evidence, output: &mut Output) {
        let what = |piece: &Evidence| (piece.replica, piece.kind, piece.view, piece.sequence);
        if self.pieces.iter().any(|piece| what(piece) == what(&evidence)) {
            return;
        }
        if self.pieces.iter().filter(|piece| piece.replica == evidence.replica).count() >= EVIDENCE_A_REPLICA_MAX {
            self.omitted[usize::from(evidence.replica.0)] += 1;
            return;
        }
        self.pieces.push(evidence);
        output.event(Event::Contradiction(evidence));
    }

    /// The pieces, the oldest first.
    pub fn pieces(&self) -> &[Evidence] {
        &self.pieces
    }

    /// How many about a replica are not kept.
    pub fn omitted(&self, replica: ReplicaId) -> u64 {
        self.omitted.get(usize::from(replica.0)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_crypto::digest;

    fn piece(replica: u8, sequence: u64) -> Evidence {
        Evidence {
            replica: ReplicaId(replica),
            kind: EvidenceKind::Commit,
            view: Some(View(3)),
            sequence: SequenceNumber(sequence),
            held: digest(b"one"),
            other: digest(b"other"),
            proof: Proof::Mac,
        }
    }

    /// `protocol.md EV-3`: the form of the line does not change.
    #[test]
    fn a_line_reads_back_and_looks_as_it_always_did() {
        let zeros = "00".repeat(32);
        let line = format!("v1 replica=2 kind=commit view=0 number=7 held={zeros} other={zeros} proof=mac");
        assert_eq!(line.parse::<Evidence>().unwrap().to_string(), line);
        for kind in EvidenceKind::ALL {
            for (view, proof) in [(None, Proof::Signed), (Some(View(u64::MAX)), Proof::Mac)] {
                let evidence = Evidence { kind: *kind, view, proof, ..piece(15, u64::MAX) };
                assert_eq!(evidence.to_string().parse(), Ok(evidence));
            }
        }
        for (wrong, field) in [
            (line.replace("v1", "v2"), "v1"),
            (line.replace("commit", "comit"), "kind"),
            (line.replace("view=0", "view="), "view"),
            (line.replace(" number=7", ""), "number"),
            (line.replace("held=00", "held=0"), "held"),
            (line.clone() + " more=1", "end"),
        ] {
            assert_eq!(wrong.parse::<Evidence>(), Err(EvidenceError { field }), "{wrong}");
        }
    }

    /// `protocol.md EV-2`
    #[test]
    fn each_contradiction_is_told_once_and_no_replica_crowds_out_another() {
        let (mut book, mut output) = (EvidenceBook::new(4), Output::new());
        for _ in 0..3 {
            book.record(piece(1, 5), &mut output);
        }
        assert_eq!((book.pieces().len(), output.actions().len()), (1, 1));
        for sequence in 0..1000 {
            book.record(piece(1, sequence), &mut output);
        }
        book.record(piece(2, 5), &mut output);
        assert_eq!(book.pieces().len(), EVIDENCE_A_REPLICA_MAX + 1);
        assert_eq!(output.actions().len(), EVIDENCE_A_REPLICA_MAX + 1);
        assert_eq!((book.omitted(ReplicaId(1)), book.omitted(ReplicaId(2))), (984, 0));
        assert_eq!(book.pieces().last(), Some(&piece(2, 5)));
    }
}
