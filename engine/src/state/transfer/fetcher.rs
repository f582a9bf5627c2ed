//! The fetching side: everything that differs from the state that is here, asked of several sources at once, checked piece by piece.

use super::assembly::Assembly;
use super::frontier::{Frontier, Place, Want};
use super::sources::Sources;
use super::{CheckpointName, Dropped, DroppedCounters};
use crate::limits::{DATAGRAM_BYTES_MAX, STATE_CREDIT_BYTES, STATE_QUERY_ITEMS_MAX, STATE_SEAL_STEP};
use crate::numbers::{ReplicaId, ReplicaSet};
use crate::state::digest::{BATCH, page_digest, page_digests};
use crate::state::page::ZERO_PAGE;
use crate::state::{PAGE_BYTES, PageBytes, Snapshot, State};
use crate::wire::state::{
    ITEM_BYTES, NODE_BYTES, PIECE_OVERHEAD_BYTES, Piece, STATE_OVERHEAD_BYTES, StateItem, StateNodes, StatePages,
    append_query,
};
use logothete_crypto::Digest;
use std::collections::BTreeMap;

/// How a transfer goes about it.
#[derive(Clone, Copy, Debug)]
pub struct TransferConfig {
    /// The longest message, headers of the packet and tag not counted.
    pub message_bytes_max: usize,
    /// Bytes that one source is asked for before it has answered, at least a page's. Those of all sources together should fit the receive
    /// buffer; where they do not, what is lost on the way makes each source's window smaller.
    pub credit_bytes: usize,
}

impl TransferConfig {
    /// With the usual credit.
    pub fn new(message_bytes_max: usize) -> Self {
        Self { message_bytes_max, credit_bytes: STATE_CREDIT_BYTES }
    }
}

/// What an answer showed, beyond what it brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The source sent what the digests that it must know contradict; it is asked for nothing any more (`protocol.md ST-6`).
    Misbehaved(ReplicaId),
    /// The source does not hold the checkpoint, and says which is the newest that it holds. Whether to go for that one is for those to
    /// decide who know what `f+1` say (`protocol.md ST-7`).
    Refused {
        /// Which source.
        source: ReplicaId,
        /// What it holds.
        newest: CheckpointName,
    },
}

/// How far a transfer has come, over all its targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Pages that were fetched.
    pub pages: u64,
    /// Nodes that were fetched.
    pub nodes: u64,
    /// Bytes of messages that came.
    pub bytes_received: u64,
    /// Bytes of messages that went.
    pub bytes_sent: u64,
    /// Things that were waited for in vain.
    pub expired: u64,
    /// How often a source turned out to be wrong.
    pub sources_demoted: u64,
}

/// Something that a source was asked for.
#[derive(Debug)]
struct Asked {
    want: Want,
    source: ReplicaId,
    at_ns: u64,
    expires_ns: u64,
}

/// The transfer of one checkpoint's state to here, until it is complete (`protocol.md ST-4` to `ST-7`).
///
/// To be driven like the core: messages in, then [`Transfer::on_duty_end`] after those of a duty cycle and when [`Transfer::deadline_ns`] has
/// come. What is incomplete may be dropped at any time.
#[derive(Debug)]
pub struct Transfer {
    config: TransferConfig,
    target: CheckpointName,
    /// What was here when the target was set; its digests are known.
    base: Snapshot,
    /// The base and what was fetched since.
    state: State,
    frontier: Frontier,
    asked: BTreeMap<Place, Asked>,
    sources: Sources,
    /// The first expiry of what is asked, or earlier.
    expiry_ns: u64,
    /// The complete state, while its nodes are hashed.
    sealing: Option<Snapshot>,
    finished: bool,
    progress: Progress,
    dropped: DroppedCounters,
    items: Vec<StateItem>,
    message: Vec<u8>,
}

impl Transfer {
    /// Begins the transfer of a checkpoint, on the base of what is here. If the digest of the base is not known yet, it is computed at once.
    ///
    /// # Panics
    /// If there is no source, or the configuration leaves no room for a message or a page.
    pub fn new(base: Snapshot, target: CheckpointName, sources: ReplicaSet, config: TransferConfig) -> Self {
        assert!(config.message_bytes_max >= STATE_OVERHEAD_BYTES + NODE_BYTES, "a message holds a node at least");
        assert!(config.credit_bytes >= Self::bytes_of(Place { level: 0, index: 0 }), "a credit is a page at least");
        let mut transfer = Self {
            config,
            target,
            state: State::of(&base),
            base,
            frontier: Frontier::new(),
            asked: BTreeMap::new(),
            sources: Sources::new(sources, config.credit_bytes),
            expiry_ns: u64::MAX,
            sealing: None,
            finished: false,
            progress: Progress::default(),
            dropped: DroppedCounters::new(),
            items: Vec::new(),
            message: Vec::new(),
        };
        transfer.begin();
        transfer
    }

    /// The checkpoint that is being fetched.
    pub fn target(&self) -> CheckpointName {
        self.target
    }

    /// Goes for another checkpoint, as the old one is discarded by those that have it. What was fetched is kept: it is asked for again
    /// only where the new one differs. These `sources` are asked besides those that were.
    pub fn retarget(&mut self, target: CheckpointName, sources: ReplicaSet) {
        self.sources.include(sources);
        if target == self.target {
            return;
        }
        self.target = target;
        self.asked.clear();
        self.sources.begin_again();
        self.base = self.state.snapshot();
        self.begin();
    }

    fn begin(&mut self) {
        (self.sealing, self.finished, self.expiry_ns) = (None, false, u64::MAX);
        self.frontier.begin(self.target.digest, &self.base, &mut self.state);
        self.note_completion();
    }

    /// The state of the target, once it is complete.
    pub fn finished(&self) -> Option<&Snapshot> {
        self.sealing.as_ref().filter(|_| self.finished)
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// How often what was dropped.
    pub fn dropped(&self) -> &DroppedCounters {
        &self.dropped
    }

    /// When [`Transfer::on_duty_end`] is to be called at the latest. It may lie in the past: at once.
    pub fn deadline_ns(&self) -> u64 {
        if self.finished {
            u64::MAX
        } else if self.sealing.is_some() {
            0
        } else if self.asked.is_empty() {
            self.sources.rested_ns()
        } else {
            self.expiry_ns
        }
    }

    /// Ends a duty cycle: gives up on what is overdue, and asks for what is wanted as far as the credit of the sources goes. `send` gets
    /// whole messages and to whom they go.
    pub fn on_duty_end(&mut self, now_ns: u64, send: &mut impl FnMut(ReplicaId, &[u8])) {
        if let Some(snapshot) = &self.sealing {
            if !self.finished
                && let Some(digest) = snapshot.digest_step(STATE_SEAL_STEP)
            {
                // Every part was checked against it.
                assert_eq!(digest, self.target.digest, "what was fetched has the digest by which it was fetched");
                self.finished = true;
            }
            return;
        }
        if now_ns >= self.expiry_ns {
            self.expire(now_ns);
        }
        // Sources take turns until all of them in a row have taken nothing.
        let mut in_vain = 0;
        while in_vain < self.sources.len() {
            in_vain = if self.ask_next(now_ns, send) { 0 } else { in_vain + 1 };
        }
    }

    /// Bytes that the answer to one question weighs.
    fn bytes_of(place: Place) -> usize {
        if place.level == 0 { PAGE_BYTES + PIECE_OVERHEAD_BYTES } else { NODE_BYTES }
    }

    /// Takes back what has been waited for long enough.
    fn expire(&mut self, now_ns: u64) {
        let before = self.asked.len();
        for asked in self.asked.values().filter(|asked| now_ns >= asked.expires_ns) {
            if let Some(source) = self.sources.of(asked.source) {
                source.gave_up(asked.at_ns);
            }
        }
        let overdue = self.take_back(|asked| now_ns >= asked.expires_ns);
        self.progress.expired += (before - self.asked.len()) as u64;
        for id in overdue.iter() {
            if let Some(source) = self.sources.of(id) {
                source.was_overdue(now_ns);
            }
        }
        self.expiry_ns = self.asked.values().map(|asked| asked.expires_ns).min().unwrap_or(u64::MAX);
    }

    /// Wants again what was asked for and is chosen. Returns of whom it was asked.
    fn take_back(&mut self, chosen: impl Fn(&Asked) -> bool) -> ReplicaSet {
        let mut of = ReplicaSet::EMPTY;
        let taken: Vec<Place> =
            self.asked.iter().filter(|(_, asked)| chosen(asked)).map(|(place, _)| *place).rev().collect();
        for place in taken {
            let mut asked = self.asked.remove(&place).expect("it was found");
            of.insert(asked.source);
            if let Some(source) = self.sources.of(asked.source) {
                source.relieved(Self::bytes_of(place));
            }
            asked.want.last = Some(asked.source);
            if asked.want.undivided {
                asked.want.assembly = None;
            }
            self.frontier.push(asked.want);
        }
        of
    }

    /// Asks the next source in turn for some of what is wanted; whether there was something to ask it for.
    fn ask_next(&mut self, now_ns: u64, send: &mut impl FnMut(ReplicaId, &[u8])) -> bool {
        let (id, room) = {
            let source = self.sources.next();
            (source.id, source.has_room(now_ns))
        };
        if !room {
            return false;
        }
        let (others, patience_ns) = (self.sources.has_other_than(id, now_ns), self.sources.patience_ns(id));
        let source = self.sources.of(id).expect("it had its turn");
        let room = (self.config.message_bytes_max - STATE_OVERHEAD_BYTES) / ITEM_BYTES;
        let (items_max, mut not_for_it) = (room.min(STATE_QUERY_ITEMS_MAX), Vec::new());
        self.items.clear();
        while self.items.len() < items_max {
            let Some(want) = self.frontier.pop() else { break };
            let (place, bytes) = (want.place, Self::bytes_of(want.place));
            if want.last == Some(id) && others {
                not_for_it.push(want);
                if not_for_it.len() == STATE_QUERY_ITEMS_MAX {
                    break;
                }
                continue;
            }
            if !source.fits(bytes) {
                self.frontier.push(want);
                break;
            }
            let (first, count) = want.assembly.as_ref().map_or((0, 64), |assembly| assembly.missing());
            self.items.push(match place.level {
                0 => StateItem::page(place.index, first, count),
                level => StateItem::node(level as u8, place.index),
            });
            source.asked(bytes);
            let expires_ns = now_ns + patience_ns;
            self.expiry_ns = self.expiry_ns.min(expires_ns);
            self.asked.insert(place, Asked { want, source: id, at_ns: now_ns, expires_ns });
        }
        for want in not_for_it.into_iter().rev() {
            self.frontier.push(want);
        }
        if self.items.is_empty() {
            return false;
        }
        self.message.clear();
        append_query(&mut self.message, self.target, &self.items);
        self.progress.bytes_sent += self.message.len() as u64;
        send(id, &self.message);
        true
    }

    /// Takes nodes, or a refusal.
    pub fn on_nodes(&mut self, now_ns: u64, from: ReplicaId, nodes: &StateNodes<'_>) -> Option<Finding> {
        self.progress.bytes_received += (STATE_OVERHEAD_BYTES + size_of_val(nodes.nodes)) as u64;
        if nodes.nodes.is_empty() {
            return self.on_refusal(now_ns, from, nodes.checkpoint);
        }
        if !self.is_current(nodes.checkpoint) {
            return None;
        }
        for node in nodes.nodes {
            let place = Place { level: node.level(), index: node.index() };
            let Some(asked) = asked_of(&mut self.asked, from, place, &mut self.dropped) else { continue };
            let digest = asked.want.digest;
            if !Frontier::vouches(place, &digest, &node.children, self.state.shape()) {
                return Some(self.on_wrong(now_ns, from));
            }
            self.settle(now_ns, place);
            self.progress.nodes += 1;
            self.frontier.open(place, digest, node.children, &self.base, &mut self.state);
        }
        self.note_completion();
        None
    }

    /// Takes pieces of pages.
    pub fn on_pages(&mut self, now_ns: u64, from: ReplicaId, pages: &StatePages<'_>) -> Option<Finding> {
        self.progress.bytes_received += STATE_OVERHEAD_BYTES as u64;
        let current = self.is_current(pages.checkpoint);
        let mut digests = if current { WholePages::of(pages) } else { WholePages::none() };
        let mut finding = None;
        for piece in pages.iter() {
            self.progress.bytes_received += (PIECE_OVERHEAD_BYTES + piece.bytes.len()) as u64;
            let whole = digests.next(&piece);
            if current && finding.is_none() {
                finding = self.on_piece(now_ns, from, &piece, whole);
            }
        }
        self.note_completion();
        finding
    }

    fn on_piece(
        &mut self,
        now_ns: u64,
        from: ReplicaId,
        piece: &Piece<'_>,
        whole: Option<(&PageBytes, Digest)>,
    ) -> Option<Finding> {
        let place = Place { level: 0, index: piece.index };
        let want = &mut asked_of(&mut self.asked, from, place, &mut self.dropped)?.want;
        let digest = want.digest;
        let (page, computed, answers_for_it) = match whole {
            Some((page, computed)) => (page, computed, true),
            None => {
                let assembly = want.assembly.get_or_insert_with(Assembly::new);
                if !assembly.add(from, piece) {
                    self.dropped.count(Dropped::Duplicate);
                    return None;
                }
                if let Some(source) = self.sources.of(from) {
                    source.heard(now_ns);
                }
                let page = assembly.page()?;
                (page, page_digest(page), assembly.is_only_from(from))
            }
        };
        if computed == digest {
            self.state.put(piece.index, page, digest);
            self.settle(now_ns, place);
            self.progress.pages += 1;
            self.frontier.have(place, self.base.depth());
            return None;
        }
        if answers_for_it {
            return Some(self.on_wrong(now_ns, from));
        }
        // One of several lied; who it was will show when one alone has to send the whole.
        self.dropped.count(Dropped::Wrong);
        let mut asked = self.asked.remove(&place).expect("it was found");
        if let Some(source) = self.sources.of(from) {
            source.relieved(Self::bytes_of(place));
        }
        (asked.want.assembly, asked.want.undivided) = (None, true);
        self.frontier.push(asked.want);
        None
    }

    fn is_current(&mut self, checkpoint: CheckpointName) -> bool {
        let current = checkpoint == self.target;
        if !current {
            self.dropped.count(Dropped::Stale);
        }
        current
    }

    /// A right answer came.
    fn settle(&mut self, now_ns: u64, place: Place) {
        let asked = self.asked.remove(&place).expect("only what is asked for is settled");
        self.sources.answered(asked.source, now_ns, asked.at_ns, Self::bytes_of(place));
    }

    /// A source lied: nothing of it is waited for or kept.
    fn on_wrong(&mut self, now_ns: u64, from: ReplicaId) -> Finding {
        self.dropped.count(Dropped::Wrong);
        self.progress.sources_demoted += 1;
        self.sources.misbehaved(from, now_ns);
        self.take_back(|asked| asked.source == from);
        let wanted = self.frontier.wanted_mut().iter_mut();
        for want in wanted.chain(self.asked.values_mut().map(|asked| &mut asked.want)) {
            // What others sent of the same page goes with it, and is asked for again.
            want.assembly.take_if(|assembly| assembly.has_from(from));
        }
        Finding::Misbehaved(from)
    }

    fn on_refusal(&mut self, now_ns: u64, from: ReplicaId, newest: CheckpointName) -> Option<Finding> {
        let waits = self.asked.values().any(|asked| asked.source == from);
        if !waits || newest == self.target {
            self.dropped.count(Dropped::Unasked);
            return None;
        }
        self.sources.refused(from, now_ns);
        self.take_back(|asked| asked.source == from);
        Some(Finding::Refused { source: from, newest })
    }

    fn note_completion(&mut self) {
        if self.sealing.is_none() && self.frontier.is_done() {
            assert!(self.asked.is_empty(), "what is complete lacks nothing");
            self.sealing = Some(self.state.snapshot());
        }
    }
}

/// What was asked of this source at a place.
fn asked_of<'a>(
    asked: &'a mut BTreeMap<Place, Asked>,
    from: ReplicaId,
    place: Place,
    dropped: &mut DroppedCounters,
) -> Option<&'a mut Asked> {
    let asked = asked.get_mut(&place).filter(|asked| asked.source == from);
    if asked.is_none() {
        dropped.count(Dropped::Unasked);
    }
    asked
}

/// The digests of those pieces of a message that are whole pages, computed side by side.
struct WholePages {
    digests: [Digest; BATCH],
    /// Whose page comes next.
    next: usize,
}

const _: () = assert!(DATAGRAM_BYTES_MAX / PAGE_BYTES <= BATCH);

impl WholePages {
    fn none() -> Self {
        Self { digests: [Digest::ZERO; BATCH], next: BATCH }
    }

    fn of(message: &StatePages<'_>) -> Self {
        let (mut pages, mut count) = ([&ZERO_PAGE; BATCH], 0);
        for page in message.iter().filter_map(|piece| piece.bytes.try_into().ok()).take(BATCH) {
            pages[count] = page;
            count += 1;
        }
        let mut digests = [Digest::ZERO; BATCH];
        page_digests(&pages[..count], &mut digests[..count]);
        Self { digests, next: 0 }
    }

    /// The page and its digest, if the next piece is a whole one.
    fn next<'a>(&mut self, piece: &Piece<'a>) -> Option<(&'a PageBytes, Digest)> {
        let page = piece.bytes.try_into().ok()?;
        let digest = *self.digests.get(self.next)?;
        self.next += 1;
        Some((page, digest))
    }
}
