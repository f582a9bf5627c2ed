//! Coverage marks: what a run has to have come through for its seeds to mean anything. A swarm that is green because nothing happened is worth nothing,
//! so that every mark is to be hit by every swarm (RELIABILITY.md section 3.5), and one that no seed hits fails it.
//!
//! *For*: counting what happened, over one run and over many. *Enters*: observations from outside (what was sent and arrived, events, what clients
//! were told). *Never*: a judgement of what happened; that is [`crate::checks`]'.
//!
//! What has no mark here because this world does not have it: a shared-memory client that is cut off belongs to `driver/`; probes, key reports and the
//! operator's questions belong to the network's agents, whose own tests play them (`engine/src/pipeline/network/tests.rs`).

mod observer;
mod traffic;

pub use observer::Observer;
pub use traffic::{Passage, Traffic};

use std::fmt;

macro_rules! marks {
    ($($(#[doc = $doc:literal])+ $mark:ident => $name:literal,)*) => {
        /// Something that a swarm has to have come through.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mark {
            $($(#[doc = $doc])+ $mark,)*
        }

        impl Mark {
            /// Every mark.
            pub const ALL: &'static [Self] = &[$(Self::$mark,)*];

            /// How tables and the command line name it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$mark => $name,)* }
            }

            /// What it means.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$mark => concat!($($doc),+).trim_ascii(),)* }
            }
        }
    };
}

marks! {
    /// A replica left its view when the view changes of f+1 others for later views were there.
    ViewChangeJoined => "view change joined by f+1",
    /// A correct primary's new view takes nothing over.
    NewViewEmpty => "new view with empty selection",
    /// One leaves a number empty.
    NewViewNull => "new view with null batch",
    /// One takes over a batch that prepared in an earlier view.
    NewViewCarries => "new view with batch of older view",
    /// One had two batches to choose from for a number.
    NewViewCandidates => "new view with two candidates",
    /// A new view was refused since it does not follow from what it names.
    NewViewWrong => "new view refused: wrong",
    /// One was refused since its primary did not sign it.
    NewViewUnsigned => "new view refused: signature",
    /// One was refused since no correct replica writes such.
    NewViewUnsound => "new view refused: unsound",
    /// One was refused since it was there already, or is past.
    NewViewKnown => "new view refused: known",
    /// A replica left more views in a row, with nothing executed meanwhile, than double the time-outs up to their cap.
    TimeoutCapped => "view time-out capped",
    /// What was executed tentatively was undone.
    RolledBack => "tentative batch rolled back",
    /// A request that was undone was executed again.
    RolledBackReordered => "rolled back request executed again",
    /// A replica got a stable checkpoint from others.
    CheckpointFetched => "checkpoint stabilised by others",
    /// A replica refused a checkpoint of another state than its own.
    CheckpointDiffers => "checkpoint of another state refused",
    /// A primary proposed for the last number of its window.
    WindowFull => "window full",
    /// A body that a batch names by digest came from another replica.
    BodyFetched => "body fetched",
    /// The content of a batch that is known by digest came from another replica.
    BatchFetched => "batch content fetched",
    /// A replica committed a batch on the claims of others.
    CommittedOnClaims => "left out replica caught up on claims",
    /// A reply left once more.
    ReplyRepeated => "reply from cache",
    /// A reply to a request left that the replica did not execute itself, but fetched the state after.
    ReplyFetched => "reply after state transfer",
    /// A client took the answer of a quorum to a query.
    ReadFast => "read accepted fast",
    /// A query had to be ordered.
    ReadOrdered => "read fell back to order",
    /// A replica disputed a client's tags.
    Disputed => "client disputed",
    /// A client was demoted.
    Demoted => "client demoted",
    /// A signed request was executed.
    SignedExecuted => "signed request executed",
    /// A proposal or vote was ignored that was there already.
    DuplicateIgnored => "duplicate vote ignored",
    /// A vote or proposal was rejected since its replica had said something else for the number before.
    VoteConflicts => "conflicting vote rejected",
    /// A replica was caught contradicting itself.
    Contradiction => "contradiction caught",
    /// What one source of a state was asked for another was asked for later.
    SourceSwitched => "state source switched",
    /// It had answered, and was not believed.
    ChunkRejected => "state chunk rejected",
    /// A replica without memory learned from where on it may vote.
    RecoveryBounded => "recovery point learned",
    /// It recovered.
    Recovered => "recovered after amnesia",
    /// A packet sealed under keys that a rotation had replaced was taken, while both generations counted.
    KeysOverlapped => "packet under a former key taken",
    /// One was dropped when only the later counted.
    KeyRetired => "packet under a former key dropped",
    /// A packet of a former epoch was dropped.
    EpochOver => "packet of a former epoch dropped",
    /// A request of a former incarnation was refused.
    IncarnationOver => "request of a former incarnation refused",
    /// A replica came back with its journal.
    Resumed => "resumed from journal",
    /// One found a group of records of which a power cut had left a part, and cut it.
    TornEndCut => "torn end of a journal cut",
    /// One found its disk damaged, refused it, and recovered from the others.
    DamageRefused => "damaged disk refused",
    /// A replica's disk failed, and it promised nothing more.
    DiskFailed => "disk failed",
    /// All replicas were restarted, and went on.
    AllRestarted => "all restarted and went on",
    /// A backup passed a request on to the primary.
    Forwarded => "request forwarded",
    /// A backup found that its primary achieves less than it owes.
    GoodputMissed => "goodput watch fired",
    /// A replica had no room for a request, and said so.
    Overloaded => "overload refused",
}

/// How often each mark was hit, and what became of each kind of message.
#[derive(Clone, Debug)]
pub struct Marks {
    hits: [u64; Mark::ALL.len()],
    pub traffic: Traffic,
}

impl Default for Marks {
    fn default() -> Self {
        Self { hits: [0; Mark::ALL.len()], traffic: Traffic::default() }
    }
}

impl Marks {
    pub fn hit(&mut self, mark: Mark) {
        self.hits[mark as usize] += 1;
    }

    pub fn hits(&self, mark: Mark) -> u64 {
        self.hits[mark as usize]
    }

    /// Adds what another run hit.
    pub fn merge(&mut self, other: &Self) {
        self.hits.iter_mut().zip(other.hits).for_each(|(sum, more)| *sum += more);
        self.traffic.merge(&other.traffic);
    }

    /// What nothing hit, by name.
    pub fn missed(&self) -> Vec<String> {
        let marks = Mark::ALL.iter().filter(|mark| self.hits(**mark) == 0).map(|mark| mark.name().to_owned());
        marks.chain(self.traffic.missed()).collect()
    }
}

/// A table of all marks: those that were missed are marked so.
impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mark in Mark::ALL {
            match self.hits(*mark) {
                0 => writeln!(f, "{:>12}  {}", "missed", mark.name())?,
                hits => writeln!(f, "{hits:>12}  {}", mark.name())?,
            }
        }
        write!(f, "{}", self.traffic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_engine::wire::Kind;
    use std::collections::BTreeSet;

    #[test]
    fn marks_of_many_runs_add_up_and_what_nobody_hit_is_told() {
        let (mut first, mut second) = (Marks::default(), Marks::default());
        first.hit(Mark::RolledBack);
        second.hit(Mark::RolledBack);
        second.traffic.count(Kind::Prepare, Passage::Sent);
        first.merge(&second);
        assert_eq!((first.hits(Mark::RolledBack), first.hits(Mark::ReadFast)), (2, 0));
        let missed = first.missed();
        assert!(
            !missed.contains(&Mark::RolledBack.name().to_owned()) && missed.contains(&Mark::ReadFast.name().to_owned())
        );
        assert!(!missed.contains(&"Prepare sent".to_owned()) && missed.contains(&"Prepare dropped".to_owned()));
        let table = first.to_string();
        assert!(table.contains("           2  tentative batch rolled back\n"), "{table}");
        assert!(table.contains("      missed  read accepted fast\n"), "{table}");
    }

    #[test]
    fn each_mark_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = Mark::ALL.iter().map(|mark| mark.name()).collect();
        assert_eq!(names.len(), Mark::ALL.len());
        assert!(Mark::ALL.iter().all(|mark| mark.meaning().ends_with('.')));
    }
}
