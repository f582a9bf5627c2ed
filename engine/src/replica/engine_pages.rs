//! The engine's own pages of the state: what the replicas agree on beside the service's part (`protocol.md SP-2`).
//!
//! ```text
//!  0         1                          1+p                        p: pages a client
//! +---------+--------------------------+--------------------------+---
//! | header  | client 0                 | client 1                 | ...
//! +---------+--------------------------+--------------------------+---
//!
//! the header, at the beginning of its page:
//!  0        8          16             24        32       40
//! +--------+----------+--------------+---------+--------+-----------------+-------
//! | format | sequence | timestamp_ns | clients | window | reply_bytes_max | zero
//! | 8 bytes| u64      | u64          | u64     | u64    | u64             |
//! +--------+----------+--------------+---------+--------+-----------------+-------
//! ```
//!
//! A client's pages are drawn in `clients/pages.rs`. Everything has its fixed place, and what is not in use is zero: so the pages are
//! the same at every replica after the same number, whatever was written to them on the way.

use super::clients::TableShape;
use crate::numbers::{ClientId, SequenceNumber};
use crate::state::{ENGINE_PAGES, State};
use thiserror::Error;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Says which layout the pages have; another version writes something else here.
const FORMAT: [u8; 8] = *b"lgteng 2";

/// The page of the header.
const HEADER_PAGE: u64 = 0;

/// The first page of the client table.
pub(super) const TABLE_PAGE: u64 = HEADER_PAGE + 1;

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Layout {
    format: [u8; 8],
    sequence: U64,
    timestamp_ns: U64,
    clients: U64,
    window: U64,
    reply_bytes_max: U64,
}

/// How far the state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineHeader {
    /// The number of the last batch executed.
    pub sequence: SequenceNumber,
    /// The time that the service saw with it.
    pub timestamp_ns: u64,
}

/// Pages that this engine, with its configuration, did not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EnginePagesError {
    /// Another layout, or none.
    #[error("the state has no engine pages of this version; all replicas must run the same version")]
    Format,
    /// A table of another size.
    #[error("the state is of a cluster with other clients, client window or datagram size; check the configuration")]
    Shape,
    /// A client's standing that cannot be.
    #[error(
        "what the state says of client {client} is none of what this version writes; all replicas must run the same version"
    )]
    Client {
        /// Whose.
        client: ClientId,
    },
    /// A client's replies that cannot be.
    #[error("reply place {place} of client {client} in the state contradicts the rest of it")]
    Reply {
        /// Whose.
        client: ClientId,
        /// Which of its reply places.
        place: u64,
    },
}

/// Writes the header.
pub(super) fn write_header(state: &mut State, header: EngineHeader, shape: TableShape) {
    let layout = Layout {
        format: FORMAT,
        sequence: header.sequence.0.into(),
        timestamp_ns: header.timestamp_ns.into(),
        clients: shape.clients.into(),
        window: shape.window.into(),
        reply_bytes_max: shape.reply_bytes_max.into(),
    };
    state.page_mut(HEADER_PAGE)[..size_of::<Layout>()].copy_from_slice(layout.as_bytes());
}

/// Reads the header of a state with a table of this shape.
pub(super) fn read_header(state: &State, shape: TableShape) -> Result<EngineHeader, EnginePagesError> {
    let (layout, _) = Layout::read_from_prefix(state.page(HEADER_PAGE)).expect("a page holds the header");
    if layout.format != FORMAT {
        return Err(EnginePagesError::Format);
    }
    let written = TableShape {
        clients: layout.clients.get(),
        window: layout.window.get(),
        reply_bytes_max: layout.reply_bytes_max.get(),
    };
    if written != shape {
        return Err(EnginePagesError::Shape);
    }
    Ok(EngineHeader { sequence: SequenceNumber(layout.sequence.get()), timestamp_ns: layout.timestamp_ns.get() })
}

/// The most clients whose pages fit the engine's part of the state, with so wide a window and so long replies.
pub const fn clients_fitting(window: u64, reply_bytes_max: u64) -> u64 {
    let shape = TableShape { clients: 1, window, reply_bytes_max };
    (ENGINE_PAGES - TABLE_PAGE) / shape.pages_a_client()
}
