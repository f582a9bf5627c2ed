//! Hostile bytes for every place that reads foreign ones (RELIABILITY.md 2.12).
//!
//! *For*: functions that take bytes of any content, do with them what production does, and panic where something does not hold that must. *Enters*: an
//! input, which says everything: the same one does the same again. *Never*: a clock of the host, randomness without a seed, a socket that others reach.
//!
//! [`targets`] has the functions, [`choices`] reads decisions from an input, [`hostile`] says what a liar with keys of its own might say, [`table`] holds
//! everybody's keys. [`mutation`] makes inputs of others, [`run`] plays them, [`corpus`] keeps them. libFuzzer calls the same functions (`tools/fuzz/fuzz`).
#![forbid(unsafe_code)]
#![allow(missing_docs)]

pub mod choices;
pub mod corpus;
pub mod hostile;
pub mod mutation;
pub mod run;
pub mod table;
pub mod targets;

/// A place that reads foreign bytes.
pub struct Target {
    /// Also the name of its folder in the corpus, and of libFuzzer's program.
    pub name: &'static str,
    /// What is fed, in a few words.
    pub about: &'static str,
    /// Plays an input.
    ///
    /// # Panics
    /// Something does not hold that must.
    pub run: fn(&[u8]),
    /// Inputs made of what the system itself writes, with their names.
    pub samples: fn() -> Vec<Sample>,
}

/// The name and the bytes of an input.
pub type Sample = (String, Vec<u8>);

/// All targets.
pub const TARGETS: &[Target] = &[
    targets::wire::PACKET,
    targets::wire::MESSAGE,
    targets::wire::STATEMENT,
    targets::keys::ANNOUNCEMENT,
    targets::verifier::VERIFIER,
    targets::decision::DECISION,
    targets::replica::REPLICA,
    targets::client::CLIENT,
    targets::follower::FOLLOWER,
    targets::transfer::TRANSFER,
    targets::service::SERVICE,
    targets::session::HANDSHAKE,
    targets::session::SHARED_MEMORY,
    targets::records::CLIENT_RECORDS,
    targets::records::JOURNAL_RECORD,
    targets::files::CONFIGURATION,
    targets::keys::KEY_FILE,
    targets::files::JOURNAL,
    targets::files::CHECKPOINT,
];

/// The target of a name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
