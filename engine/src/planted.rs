//! Bugs on purpose: what the simulator must find (`engine/docs/planted-bugs.md`).
//!
//! Each is one line at the place of truth that it spoils: `if planted::is(Bug::QuorumShort)`. Without the feature `planted-bugs` that is the constant
//! `false`, and nothing of it is left in the program. With it one bug at a time is in force, chosen by `plant`; a release build refuses it.

#[cfg(all(feature = "planted-bugs", not(debug_assertions)))]
compile_error!("planted bugs are for the simulator's own check, `cargo run --profile planted`: no release has them");

macro_rules! bugs {
    ($($name:ident = $id:literal: $what:literal;)*) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Bug {
            $(#[doc = $what] $name,)*
        }

        #[cfg(feature = "planted-bugs")]
        impl Bug {
            /// All of them, in order.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name in the list of planted bugs; a letter tells the variants of one apart.
            pub const fn id(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)*
                }
            }

            /// What is wrong then.
            pub const fn what(self) -> &'static str {
                match self {
                    $(Self::$name => $what,)*
                }
            }
        }
    };
}

bugs! {
    QuorumShort = "PB-01": "a batch prepares and commits on 2f votes, not on 2f+1";
    TentativeWeak = "PB-02": "a client takes a result on f+1 tentative replies";
    VotesByMessage = "PB-03": "votes are counted by message, not by sender";
    ReadsOfWeakQuorum = "PB-04a": "a client takes the answer to a query on f+1 answers";
    ReadsShort = "PB-04b": "a client takes the answer to a query on 2f answers";
    NewViewUnchecked = "PB-05a": "a new view is taken without deciding again";
    ClaimsDiscarded = "PB-05b": "one claim that nobody vouches for makes a new view leave out all claims for its number";
    VotesWithoutDigest = "PB-06a": "votes are matched by view and number, whatever their digest";
    BodyUnbound = "PB-06b": "the request of an entry is looked up by its name, whatever its digest";
    SignerFromContent = "PB-07": "who signed a statement is taken from its content: anybody's signature will do";
    PrimaryVotesTwice = "PB-08": "a primary's prepare counts beside its proposal";
    ExecutionUnnumbered = "PB-09": "a request's number is checked at its admission, and not at its execution";
    WindowUnchecked = "PB-10a": "a proposal is not checked against the window";
    WindowTooLong = "PB-10b": "the window is one number too long";
    TentativeKept = "PB-11a": "what was executed tentatively is not undone";
    ClientsKept = "PB-11b": "what was executed tentatively is undone in the service, but not in the client table";
    StableWeak = "PB-12a": "a checkpoint is stable on f+1 votes";
    StateOfOne = "PB-12b": "a state is fetched on the word of one";
    CheckpointOfTentative = "PB-13": "a checkpoint is told before its batch has committed";
    ViewChangeOfOne = "PB-14": "one view change makes a replica join it";
    TimeoutConstant = "PB-15a": "time-outs of views never double";
    TimeoutUnbounded = "PB-15b": "time-outs of views double without a bound";
    TimeoutEarly = "PB-15c": "the new view is waited for before a quorum wants it";
    RepliesAcrossViews = "PB-16": "tentative replies of different views count together";
    PromiseBeforeDurable = "PB-17a": "promises leave before they are durable";
    ViewNotRestored = "PB-17b": "a replica that comes back does not remember its view";
    ProposalsNotRestored = "PB-17c": "a primary that comes back does not remember what it proposed";
    VotesWithoutMemory = "PB-18": "a replica that forgot what it promised votes at once";
    KeysOfCluster = "PB-19a": "all session keys follow from one secret of the cluster";
    VectorAtZero = "PB-19b": "every receiver checks the first tag of the vector";
    KeysSurviveRestart = "PB-20": "session keys survive a restart";
    DuplicateSpoilsVotes = "PB-21": "a vote that comes twice makes its certificate worthless";
    RepliesNotInState = "PB-22": "the reply cache is not part of the replicated state";
    BodiesNotFetched = "PB-23": "request bodies that are missing are not asked for";
    ForwardUnproven = "PB-24a": "a primary queues what a backup forwards before anything proves it";
    DisputeSuspects = "PB-24b": "a dispute over a client counts against the primary";
}

#[cfg(not(feature = "planted-bugs"))]
/// Whether a bug is planted: never.
#[inline(always)]
pub const fn is(_: Bug) -> bool {
    false
}

#[cfg(feature = "planted-bugs")]
pub use in_force::{is, plant};

#[cfg(feature = "planted-bugs")]
mod in_force {
    use super::Bug;
    use std::sync::atomic::{AtomicU8, Ordering};

    /// What a program with planted bugs contains, and no other.
    #[used]
    static MARKER: [u8; 23] = *b"logothete-planted-bugs!";

    const NONE: u8 = u8::MAX;

    /// The bug that is planted. Of the process and not of a thread, so that all threads play the same.
    static PLANTED: AtomicU8 = AtomicU8::new(NONE);

    /// Plants a bug in place of the one before, or none.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.store(bug.map_or(NONE, |bug| bug as u8), Ordering::Relaxed);
        logothete_crypto::planted::use_cluster_keys(bug == Some(Bug::KeysOfCluster));
    }

    /// Whether a bug is planted.
    pub fn is(bug: Bug) -> bool {
        PLANTED.load(Ordering::Relaxed) == bug as u8
    }
}
