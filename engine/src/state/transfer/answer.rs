//! The side that has it: answering a query from a snapshot (`protocol.md ST-5`, `ST-7`).

use super::CheckpointName;
use crate::state::Snapshot;
use crate::wire::state::{
    NODE_BYTES, NodeRecord, PIECE_OVERHEAD_BYTES, STATE_OVERHEAD_BYTES, StateQuery, UNIT_BYTES, append_nodes,
    append_pages, append_piece,
};

/// How much an answer may be.
#[derive(Clone, Copy, Debug)]
pub struct AnswerLimits {
    /// The longest message, headers of the packet and tag not counted.
    pub message_bytes_max: usize,
    /// All messages together: what is left of the asker's allowance.
    pub bytes_max: usize,
}

/// Answers a query with what it lists, each thing once, as far as the limits go; `send` gets whole messages. Returns their bytes.
///
/// `held` is the snapshot of exactly the checkpoint that the query names, if there is one; otherwise the answer is a refusal that names
/// `newest`, the newest stable checkpoint held here. Places that the state does not have are passed over.
///
/// # Panics
/// If the snapshot has not the digest that the query names, or a message has no room for a node.
pub fn answer(
    query: &StateQuery<'_>,
    held: Option<&Snapshot>,
    newest: CheckpointName,
    limits: AnswerLimits,
    send: &mut impl FnMut(&[u8]),
) -> usize {
    assert!(limits.message_bytes_max >= STATE_OVERHEAD_BYTES + NODE_BYTES, "a message holds a node at least");
    let mut answer = Answer {
        checkpoint: query.checkpoint,
        room: limits.message_bytes_max - STATE_OVERHEAD_BYTES,
        bytes_max: limits.bytes_max,
        bytes: 0,
        nodes: Vec::new(),
        pieces: Vec::new(),
        message: Vec::new(),
        send,
    };
    let Some(snapshot) = held else {
        answer.checkpoint = newest;
        answer.send_nodes();
        return answer.bytes;
    };
    assert_eq!(snapshot.digest_known(), Some(query.checkpoint.digest), "a checkpoint is held under its digest");
    for item in query.items {
        if answer.bytes >= answer.bytes_max {
            break;
        }
        if item.level() == 0 {
            answer.add_page(snapshot, item.index(), item.units());
        } else if let Some(children) = snapshot.node(item.level(), item.index()) {
            answer.add_node(NodeRecord::new(item.level() as u8, item.index(), children));
        }
    }
    answer.finish()
}

/// An answer in the making.
struct Answer<'a, S> {
    checkpoint: CheckpointName,
    /// Bytes of nodes or pieces in a message.
    room: usize,
    bytes_max: usize,
    /// Of what was sent.
    bytes: usize,
    nodes: Vec<NodeRecord>,
    pieces: Vec<u8>,
    message: Vec<u8>,
    send: &'a mut S,
}

impl<S: FnMut(&[u8])> Answer<'_, S> {
    fn add_node(&mut self, node: NodeRecord) {
        if (self.nodes.len() + 1) * NODE_BYTES > self.room {
            self.send_nodes();
        }
        self.nodes.push(node);
    }

    /// Pieces fill the messages: a page begins in the message in which the one before it ends.
    fn add_page(&mut self, snapshot: &Snapshot, index: u64, (mut first, mut count): (usize, usize)) {
        if index >= snapshot.pages() {
            return;
        }
        let page = snapshot.page(index);
        while count > 0 {
            let room = self.room - self.pieces.len();
            let fitting = (room.saturating_sub(PIECE_OVERHEAD_BYTES) / UNIT_BYTES).min(count);
            if fitting == 0 {
                self.send_pages();
                if self.bytes >= self.bytes_max {
                    return;
                }
                continue;
            }
            append_piece(&mut self.pieces, index, first, &page[first * UNIT_BYTES..][..fitting * UNIT_BYTES]);
            first += fitting;
            count -= fitting;
        }
    }

    fn send_nodes(&mut self) {
        self.message.clear();
        append_nodes(&mut self.message, self.checkpoint, &self.nodes);
        self.nodes.clear();
        self.send_message();
    }

    fn send_pages(&mut self) {
        self.message.clear();
        append_pages(&mut self.message, self.checkpoint, &self.pieces);
        self.pieces.clear();
        self.send_message();
    }

    /// A message is sent whole or not at all.
    fn send_message(&mut self) {
        if self.bytes + self.message.len() <= self.bytes_max {
            self.bytes += self.message.len();
            (self.send)(&self.message);
        } else {
            self.bytes_max = self.bytes;
        }
    }

    fn finish(mut self) -> usize {
        if !self.nodes.is_empty() {
            self.send_nodes();
        }
        if !self.pieces.is_empty() {
            self.send_pages();
        }
        self.bytes
    }
}
