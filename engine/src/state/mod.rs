//! The replicated state: pages under a digest tree, of which a copy costs nothing to take (`protocol.md ST-1` to `ST-3`).
//!
//! *For*: holding what the service and the engine agree on, naming it by one digest, keeping it as it was at a checkpoint, and finding
//! what differs between two of them. *Enters*: page indices and byte offsets of the own process, pages of any content.
//! *Never*: knows what a page means, does input or output, or reads a clock.
//!
//! ```text
//!              root digest = H(depth, capacity, digest of the top node)
//!                                  |
//!  level 2                    [ 32 children ]                       Arc<Node>, with its digest once that was asked for
//!                            /       |       \
//!  level 1      [ 32 children ]   absent   [ 32 children ]          absent: all zero, with a digest known for each level
//!                 /   |   \                   /   |   \
//!  level 0     page  page absent           page page  page          Arc<Page> of 4 KiB, with its digest
//! ```
//!
//! A snapshot shares all of it. A write copies the path to its page as far as a snapshot holds it too ([`State::page_mut`]), so that a
//! checkpoint costs what is written after it, and what two snapshots share is recognised by its address.
//!
//! | file | what |
//! | --- | --- |
//! | `shape.rs` | capacity, depth, which node is where; the digests of absent subtrees |
//! | `digest.rs` | what the digests of pages, nodes and roots are over; many at a time |
//! | `page.rs` | a page, and bytes across several |
//! | `node.rs` | an inner node, and the way down to a page |
//! | `tree.rs` | [`State`] |
//! | `snapshot.rs` | [`Snapshot`]: digests in steps, differences |
//! | `transfer/` | getting a checkpoint's pages from other replicas |

mod digest;
mod node;
mod page;
mod shape;
mod snapshot;
#[cfg(test)]
mod tests;
pub mod transfer;
mod tree;

pub use crate::limits::{FAN_OUT, PAGE_BYTES, PAGES_MAX};
pub use page::PageBytes;
pub use snapshot::Snapshot;
pub use tree::State;

/// Pages `[0, ENGINE_PAGES)` are the engine's: header, client table, replies. A service's own pages begin here.
///
/// They are 1 GiB of addresses, 4 MiB for each of the most clients that can be configured; only what is written of it costs memory.
pub const ENGINE_PAGES: u64 = 1 << 18;
