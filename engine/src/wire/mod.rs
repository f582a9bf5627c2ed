//! The messages, one file a family: fixed little-endian layouts, encoding, checked decoding (`engine/docs/wire.md` draws them).
//!
//! *For*: turning bytes of a frame into views over that frame, and messages into bytes. *Enters*: foreign bytes of any content.
//! *Never*: allocates from a length that a peer names, copies a payload, panics, or interprets what it reads: whether a message makes
//! sense is the replica's question.
//!
//! There is one encoding of everything (`protocol.md RJ-3`).
//!
//! Every structure here has alignment 1 (`zerocopy`), so a message may stand at any offset of a packet.

pub mod agreement;
pub mod dispute;
pub mod forward;
pub mod framing;
pub mod keys;
pub mod message;
pub mod operation;
pub mod packet;
pub mod parts;
pub mod probe;
pub mod query;
pub mod recovery;
pub mod reply;
pub mod report;
pub mod request;
pub mod retransmission;
pub mod state;
pub mod subscription;
pub mod view_change;

pub use framing::{Kind, Malformed};
pub use message::{Message, Messages};
pub use packet::{Audience, PacketHeader};
