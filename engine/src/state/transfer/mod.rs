//! State transfer: how a replica comes by the pages of a checkpoint that `f+1` replicas vouch for (`protocol.md ST-4` to `ST-7`, PBFT-02
//! section 6.2.2).
//!
//! *For*: asking several sources at once for what differs from the state that is here, from the root downwards, and answering such
//! questions. *Enters*: authentic messages of replicas, any of which may lie; snapshots of the own state; the time.
//! *Never*: decides which checkpoint to get, touches a network or a clock, or keeps a byte that the checkpoint's digest does not vouch for.
//!
//! ```text
//!   Transfer (the replica that lacks it)                     answer (a replica that holds it)
//!
//!   Frontier: what differs, from the top down
//!      |  wanted nodes and pages          StateQuery
//!      v                                 ------------>
//!   Sources: to whom, how much, until when                    nodes, pieces of pages of the snapshot
//!      |                                 <------------
//!      v  Assembly: pieces to a page      StateNodes, StatePages
//!   checked against its digest, then into the state
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `fetcher.rs` | [`Transfer`]: the whole of the fetching side |
//! | `frontier.rs` | which nodes are open, and what is wanted below them |
//! | `assembly.rs` | a page that arrives in pieces |
//! | `sources.rs` | how much each source is asked for, how long it is waited for, whether it is asked at all |
//! | `answer.rs` | the side that has it |

mod answer;
mod assembly;
mod fetcher;
mod frontier;
mod sources;
#[cfg(test)]
mod tests;

pub use crate::wire::state::CheckpointName;
pub use answer::{AnswerLimits, answer};
pub use fetcher::{Finding, Progress, Transfer, TransferConfig};

use crate::reasons::reasons;

reasons! {
    /// A reason for dropping what a source sent.
    Dropped,
    /// How often each reason occurred.
    DroppedCounters:
    /// Of another checkpoint than the one that is being fetched.
    Stale => "state stale",
    /// Not asked of this source, or no longer.
    Unasked => "state unasked",
    /// A piece that is there already.
    Duplicate => "state duplicate",
    /// A node or page without the digest that the checkpoint gives it.
    Wrong => "state wrong",
}
