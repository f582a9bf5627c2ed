//! Transfers over a simulated network with sources of all kinds.

use super::{AnswerLimits, CheckpointName, Dropped, Finding, Transfer, TransferConfig, answer};
use crate::limits::{DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MIN, STATE_CREDIT_BYTES};
use crate::numbers::{Principal, ReplicaId, ReplicaSet, SequenceNumber};
use crate::state::{FAN_OUT, PAGE_BYTES, Snapshot, State};
use crate::wire::Message;
use crate::wire::state::{
    NODE_BYTES, NodeRecord, PIECE_OVERHEAD_BYTES, STATE_OVERHEAD_BYTES, StateItem, StateNodes, StatePages, StateQuery,
    UNIT_BYTES, append_nodes, append_pages, append_piece, append_query,
};
use logothete_crypto::Digest;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a packet around its messages: header and one tag.
const PACKET_BYTES: usize = 68;
const SECOND_NS: u64 = 1_000_000_000;

fn decode(bytes: &[u8]) -> Message<'_> {
    Message::decode(bytes, Principal::Replica(ReplicaId(0))).expect("the side under test wrote it")
}

fn nodes_of(bytes: &[u8]) -> StateNodes<'_> {
    let Message::StateNodes(nodes) = decode(bytes) else { panic!("another kind") };
    nodes
}

fn pages_of(bytes: &[u8]) -> StatePages<'_> {
    let Message::StatePages(pages) = decode(bytes) else { panic!("another kind") };
    pages
}

fn query_of(bytes: &[u8]) -> StateQuery<'_> {
    let Message::StateQuery(query) = decode(bytes) else { panic!("another kind") };
    query
}

/// Steele, Lea and Flood's SplitMix64: enough for a network's whims.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A state of which `written` pages are full of noise.
fn noise(pages: u64, written: impl Iterator<Item = u64>, seed: u64) -> State {
    let mut state = State::new(pages);
    write_noise(&mut state, written, seed);
    state
}

fn write_noise(state: &mut State, pages: impl Iterator<Item = u64>, seed: u64) {
    let mut chance = Chance(seed);
    for index in pages {
        for word in state.page_mut(index).chunks_mut(8) {
            word.copy_from_slice(&chance.next().to_le_bytes());
        }
    }
}

fn name(sequence: u64, snapshot: &Snapshot) -> CheckpointName {
    CheckpointName { sequence: SequenceNumber(sequence), digest: snapshot.digest() }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conduct {
    Honest,
    Silent,
    /// Sends pages with a byte of some piece changed.
    WrongPages,
    /// Sends nodes with a digest changed.
    WrongNodes,
    /// Sends what nobody asked for, besides what was.
    Unasked,
    /// Says that it holds another checkpoint only.
    Refuses,
}

impl Conduct {
    fn lies(self) -> bool {
        matches!(self, Self::WrongPages | Self::WrongNodes)
    }
}

/// The sources, and the way to and from them.
struct Network {
    conducts: Vec<Conduct>,
    /// What all of them hold.
    held: BTreeMap<u64, Snapshot>,
    loss_percent: u64,
    message_bytes_max: usize,
    chance: Chance,
    now_ns: u64,
    /// By time of arrival and number; `true` for what goes to a source.
    under_way: BTreeMap<(u64, u64), (bool, ReplicaId, Vec<u8>)>,
    count: u64,
    findings: Vec<Finding>,
}

impl Network {
    fn new(conducts: &[Conduct], datagram_bytes: usize, loss_percent: u64, seed: u64) -> Self {
        Self {
            conducts: conducts.to_vec(),
            held: BTreeMap::new(),
            loss_percent,
            message_bytes_max: datagram_bytes - PACKET_BYTES,
            chance: Chance(seed),
            now_ns: 0,
            under_way: BTreeMap::new(),
            count: 0,
            findings: Vec::new(),
        }
    }

    fn hold(&mut self, sequence: u64, snapshot: &Snapshot) -> CheckpointName {
        self.held.insert(sequence, snapshot.clone());
        name(sequence, snapshot)
    }

    fn transfer(&self, base: Snapshot, target: CheckpointName) -> Transfer {
        let sources = ReplicaSet::first(self.conducts.len());
        Transfer::new(base, target, sources, TransferConfig::new(self.message_bytes_max))
    }

    fn post(&mut self, to_source: bool, who: ReplicaId, bytes: &[u8]) {
        assert!(bytes.len() <= self.message_bytes_max);
        if self.chance.percent(self.loss_percent) {
            return;
        }
        // Packets overtake each other now and then.
        let spread_ns = if self.chance.percent(5) { 400_000 } else { 20_000 };
        let delay = 50_000 + self.chance.below(spread_ns);
        self.count += 1;
        self.under_way.insert((self.now_ns + delay, self.count), (to_source, who, bytes.to_vec()));
    }

    fn duty_end(&mut self, transfer: &mut Transfer) {
        let mut queries = Vec::new();
        transfer.on_duty_end(self.now_ns, &mut |to, bytes: &[u8]| queries.push((to, bytes.to_vec())));
        for (to, bytes) in queries {
            self.post(true, to, &bytes);
        }
    }

    /// One event; `false` when the transfer is finished.
    fn step(&mut self, transfer: &mut Transfer) -> bool {
        self.duty_end(transfer);
        if transfer.finished().is_some() {
            return false;
        }
        let deadline = transfer.deadline_ns();
        match self.under_way.first_key_value() {
            Some((&(at, _), _)) if at <= deadline => {
                let ((at, _), (to_source, who, bytes)) = self.under_way.pop_first().expect("it was looked at");
                self.now_ns = self.now_ns.max(at);
                if to_source {
                    self.serve(who, &bytes);
                } else {
                    let finding = match decode(&bytes) {
                        Message::StateNodes(nodes) => transfer.on_nodes(self.now_ns, who, &nodes),
                        Message::StatePages(pages) => transfer.on_pages(self.now_ns, who, &pages),
                        other => panic!("no answer: {other:?}"),
                    };
                    self.findings.extend(finding);
                }
            }
            _ => {
                assert!(deadline < u64::MAX, "there is always something to wait for");
                self.now_ns = self.now_ns.max(deadline);
            }
        }
        true
    }

    fn run(&mut self, transfer: &mut Transfer) -> Snapshot {
        while self.step(transfer) {
            assert!(self.now_ns < 600 * SECOND_NS, "{:?}", transfer.progress());
        }
        transfer.finished().expect("it said so").clone()
    }

    fn serve(&mut self, source: ReplicaId, bytes: &[u8]) {
        let query = query_of(bytes);
        let conduct = self.conducts[usize::from(source.0)];
        let newest = self.held.last_key_value().map(|(sequence, held)| name(*sequence, held)).expect("something");
        let held = self.held.get(&query.checkpoint.sequence.0).cloned();
        let mut messages = Vec::new();
        if conduct == Conduct::Refuses {
            let other = CheckpointName { sequence: SequenceNumber(3), digest: Digest::ZERO };
            append_nodes(&mut messages, other, &[]);
            return self.post(false, source, &messages);
        }
        let limits = AnswerLimits { message_bytes_max: self.message_bytes_max, bytes_max: 1 << 20 };
        let mut messages: Vec<Vec<u8>> = Vec::new();
        answer(&query, held.as_ref(), newest, limits, &mut |bytes: &[u8]| messages.push(bytes.to_vec()));
        for mut message in messages {
            let is_pages = matches!(decode(&message), Message::StatePages(_));
            let last = message.len() - 1;
            match conduct {
                Conduct::Silent => continue,
                Conduct::WrongPages if is_pages => message[last] ^= 1,
                Conduct::WrongNodes if !is_pages => message[last] ^= 1,
                Conduct::Unasked => {
                    let mut unasked = Vec::new();
                    let index = self.chance.below(1 << 12);
                    let (mut pieces, length) = (Vec::new(), UNIT_BYTES);
                    append_piece(&mut pieces, index << 20, 0, &vec![1; length]);
                    append_pages(&mut unasked, query.checkpoint, &pieces);
                    self.post(false, source, &unasked);
                    unasked.clear();
                    append_nodes(&mut unasked, query.checkpoint, &[NodeRecord::new(9, index, [Digest::ZERO; FAN_OUT])]);
                    self.post(false, source, &unasked);
                }
                _ => {}
            }
            self.post(false, source, &message);
        }
    }
}

/// Nodes on the way to some pages.
fn nodes_above(pages: &[u64], depth: usize) -> usize {
    let above = |level: usize| pages.iter().map(|page| page >> (5 * level)).collect::<BTreeSet<_>>().len();
    (1..=depth).map(above).sum()
}

/// `protocol.md ST-4`: what moves is what differs, and the digests on the way to it.
#[test]
fn a_hundredth_stale_moves_a_hundredth() {
    let pages = (16 << 20) / PAGE_BYTES as u64;
    let mut state = noise(pages, 0..pages, 1);
    let base = state.snapshot();
    let mut chance = Chance(2);
    let stale: BTreeSet<u64> = (0..pages / 100).map(|_| chance.below(pages)).collect();
    write_noise(&mut state, stale.iter().copied(), 3);
    let stale: Vec<u64> = stale.into_iter().collect();
    let mut network = Network::new(&[Conduct::Honest; 3], 8192, 0, 4);
    let target = network.hold(128, &state.snapshot());
    let mut transfer = network.transfer(base, target);
    assert_eq!(network.run(&mut transfer).digest(), target.digest);
    let progress = transfer.progress();
    let nodes = nodes_above(&stale, state.depth());
    assert_eq!((progress.pages, progress.nodes), (stale.len() as u64, nodes as u64));
    let bound = stale.len() * PAGE_BYTES * 12 / 10 + nodes * (NODE_BYTES + STATE_OVERHEAD_BYTES);
    assert!(progress.bytes_received <= bound as u64, "{progress:?}, not {bound}");
    assert_eq!((transfer.dropped().total(), progress.expired), (0, 0));
}

/// `protocol.md ST-5`
#[test]
fn every_datagram_size_and_a_lossy_network() {
    for datagram_bytes in [DATAGRAM_BYTES_MIN, 1472, 1500, 4200, 9000, 32 * 1024, DATAGRAM_BYTES_MAX] {
        let state = noise(3000, 100..500, 5);
        let mut network = Network::new(&[Conduct::Honest; 3], datagram_bytes, 10, 6);
        let target = network.hold(128, &state.snapshot());
        let mut transfer = network.transfer(State::new(3000).snapshot(), target);
        let got = network.run(&mut transfer);
        assert_eq!(got.digest(), target.digest, "{datagram_bytes}");
        assert!((0..3000).all(|index| got.page(index) == state.page(index)));
        // By the simulated clock: what a page in three lacks comes in a few more rounds of 20 ms.
        assert!(network.now_ns < SECOND_NS, "{} ns", network.now_ns);
        assert_eq!(network.findings, []);
    }
}

/// `protocol.md ST-4`
#[test]
fn nothing_is_asked_for_what_is_here_or_absent() {
    let state = noise(100_000, (0..100_000).step_by(97), 1);
    let full = state.snapshot();
    let mut network = Network::new(&[Conduct::Honest], 1472, 0, 1);
    let target = network.hold(128, &full);
    let mut transfer = network.transfer(full.clone(), target);
    network.run(&mut transfer);
    assert_eq!(transfer.progress().bytes_sent, 0);
    // All but a few pages of it are cleared: no page is fetched, and the nodes above those that stay.
    let mut cleared = State::of(&full);
    cleared.clear(5000..100_000);
    let target = network.hold(256, &cleared.snapshot());
    transfer.retarget(target, ReplicaSet::EMPTY);
    assert!(transfer.finished().is_none());
    let got = network.run(&mut transfer);
    assert_eq!((got.digest(), transfer.progress().pages), (target.digest, 0));
    assert!(transfer.progress().nodes <= 4, "{:?}", transfer.progress());
}

/// `protocol.md ST-6`
#[test]
fn one_silent_and_one_lying_source_are_replaced() {
    let state = noise(5000, 0..1500, 8);
    let conducts = [Conduct::Silent, Conduct::WrongPages, Conduct::Honest, Conduct::Honest];
    let mut network = Network::new(&conducts, 9000, 0, 9);
    let target = network.hold(128, &state.snapshot());
    let mut transfer = network.transfer(State::new(5000).snapshot(), target);
    assert_eq!(network.run(&mut transfer).digest(), target.digest);
    assert_eq!(network.findings, [Finding::Misbehaved(ReplicaId(1))]);
    // By the simulated clock: the silent one cost a few waits.
    assert!(network.now_ns < SECOND_NS / 2, "{} ns", network.now_ns);
    assert_eq!(transfer.progress().sources_demoted, 1);
    assert!(transfer.dropped().of(Dropped::Wrong) >= 1 && transfer.progress().expired > 0);
}

/// `protocol.md ST-6`: pieces of one page from two sources, of which one lies. Neither is blamed for the page; who sends it whole is.
#[test]
fn a_page_of_several_sources_blames_nobody() {
    let state = noise(1, 0..1, 8);
    let target = name(128, &state.snapshot());
    let sources = ReplicaSet::first(2);
    let mut transfer = Transfer::new(State::new(1).snapshot(), target, sources, TransferConfig::new(2000));
    let mut now_ns = 0;
    let ask = |transfer: &mut Transfer, now_ns: u64| {
        let mut asked = None;
        transfer.on_duty_end(now_ns, &mut |to, bytes: &[u8]| asked = Some((to, query_of(bytes).items[0])));
        asked.expect("one thing is lacking")
    };
    let send = |transfer: &mut Transfer, now_ns, from, units: std::ops::Range<usize>, wrong: u8| {
        let (mut pieces, mut message) = (Vec::new(), Vec::new());
        let mut bytes = state.page(0)[units.start * UNIT_BYTES..units.end * UNIT_BYTES].to_vec();
        bytes[0] ^= wrong;
        append_piece(&mut pieces, 0, units.start, &bytes);
        append_pages(&mut message, target, &pieces);
        transfer.on_pages(now_ns, from, &pages_of(&message))
    };
    let (first, item) = ask(&mut transfer, now_ns);
    assert_eq!(item, StateItem::node(1, 0));
    let mut message = Vec::new();
    append_nodes(&mut message, target, &[NodeRecord::new(1, 0, state.snapshot().node(1, 0).unwrap())]);
    assert_eq!(transfer.on_nodes(now_ns, first, &nodes_of(&message)), None);
    let (liar, item) = ask(&mut transfer, now_ns);
    assert_eq!(item, StateItem::page(0, 0, 64));
    assert_eq!(send(&mut transfer, now_ns, liar, 0..30, 1), None);
    // The rest is asked of the other.
    now_ns = transfer.deadline_ns();
    let (other, item) = ask(&mut transfer, now_ns);
    assert_eq!(item, StateItem::page(0, 30, 34));
    assert_ne!(other, liar);
    assert_eq!(send(&mut transfer, now_ns, liar, 30..64, 0), None);
    assert_eq!(transfer.dropped().of(Dropped::Unasked), 1);
    assert_eq!(send(&mut transfer, now_ns, other, 30..64, 0), None);
    assert_eq!(transfer.dropped().of(Dropped::Wrong), 1);
    // The whole is asked again, of one.
    let (source, item) = ask(&mut transfer, now_ns);
    assert_eq!(item, StateItem::page(0, 0, 64));
    assert_eq!(send(&mut transfer, now_ns, source, 0..64, 1), Some(Finding::Misbehaved(source)));
    let (source, _) = ask(&mut transfer, now_ns);
    assert_eq!(send(&mut transfer, now_ns, source, 0..64, 0), None);
    transfer.on_duty_end(now_ns, &mut |_, _: &[u8]| panic!("nothing is lacking"));
    assert_eq!(transfer.finished().unwrap().digest(), target.digest);
}

/// `protocol.md ST-5`: what is under way from one source stays within its credit.
#[test]
fn credit_bounds_what_is_under_way() {
    let state = noise(1 << 12, 0..1 << 12, 8);
    let mut network = Network::new(&[Conduct::Honest; 2], 9000, 0, 9);
    let target = network.hold(128, &state.snapshot());
    let mut transfer = network.transfer(State::new(1 << 12).snapshot(), target);
    let mut most = 0;
    while network.step(&mut transfer) {
        let answers = network.under_way.values().filter(|(to_source, who, _)| !to_source && *who == ReplicaId(0));
        let bytes: usize = answers.map(|(_, _, bytes)| bytes.len()).sum();
        most = most.max(bytes);
    }
    // Messages' own headers and the seams of pages are beyond it.
    assert!(most > STATE_CREDIT_BYTES / 4 && most < STATE_CREDIT_BYTES * 21 / 20, "{most}");
}

/// `protocol.md ST-7`
#[test]
fn a_target_that_moves_keeps_what_was_fetched() {
    let pages = 4000;
    let mut state = noise(pages, 0..pages, 11);
    let mut network = Network::new(&[Conduct::Honest; 3], 9000, 1, 12);
    let first = network.hold(128, &state.snapshot());
    let mut transfer = network.transfer(State::new(pages).snapshot(), first);
    while transfer.progress().pages < pages / 2 {
        assert!(network.step(&mut transfer));
    }
    write_noise(&mut state, (0..pages).step_by(100), 13);
    network.held.clear();
    let second = network.hold(256, &state.snapshot());
    // Those that no longer hold the first say so, with the second's name.
    while network.findings.is_empty() {
        assert!(network.step(&mut transfer));
    }
    assert!(matches!(network.findings[0], Finding::Refused { newest, .. } if newest == second));
    transfer.retarget(second, ReplicaSet::EMPTY);
    assert_eq!(transfer.target(), second);
    let got = network.run(&mut transfer);
    assert_eq!(got.digest(), second.digest);
    // Half of the changed pages may have been fetched in their old form; what was under way was lost.
    let lost = 3 * STATE_CREDIT_BYTES / PAGE_BYTES;
    let fetched = transfer.progress().pages;
    assert!(fetched <= pages + pages / 100 + lost as u64, "{fetched}");
    assert!(transfer.dropped().of(Dropped::Wrong) == 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// `protocol.md ST-6`: as long as one source is honest, the transfer ends, with the right state, and nobody else is blamed.
    #[test]
    fn any_sources_any_loss(
        conducts in proptest::collection::vec(prop_oneof![
            Just(Conduct::Honest), Just(Conduct::Silent), Just(Conduct::WrongPages), Just(Conduct::WrongNodes),
            Just(Conduct::Unasked), Just(Conduct::Refuses),
        ], 0..4),
        honest_at in 0..4usize,
        datagram_bytes in prop_oneof![Just(DATAGRAM_BYTES_MIN), Just(1472), DATAGRAM_BYTES_MIN..20_000],
        loss_percent in 0..25u64,
        seed: u64,
    ) {
        let mut conducts = conducts;
        conducts.insert(honest_at.min(conducts.len()), Conduct::Honest);
        let mut chance = Chance(seed);
        let mut state = noise(4000, (0..100).map(|_| chance.below(4000)), seed);
        let base = state.snapshot();
        state.clear(100..700);
        write_noise(&mut state, (0..100).map(|_| chance.below(4000)), seed + 1);
        let mut network = Network::new(&conducts, datagram_bytes, loss_percent, seed);
        let target = network.hold(128, &state.snapshot());
        let mut transfer = network.transfer(base, target);
        let got = network.run(&mut transfer);
        prop_assert_eq!(got.digest(), target.digest);
        prop_assert!((0..4000).all(|index| got.page(index) == state.page(index)));
        for finding in &network.findings {
            match finding {
                Finding::Misbehaved(source) => prop_assert!(conducts[usize::from(source.0)].lies()),
                Finding::Refused { source, .. } => prop_assert_eq!(conducts[usize::from(source.0)], Conduct::Refuses),
            }
        }
    }

    /// `protocol.md RJ-1`
    #[test]
    fn foreign_places_and_bytes_never_panic(
        places in proptest::collection::vec((prop_oneof![0..40u64, any::<u64>()], 0..12u8, 0..64usize, any::<u8>()), 1..20),
        asked_first: bool,
    ) {
        let state = noise(3000, 0..40, 1);
        let snapshot = state.snapshot();
        let target = name(128, &snapshot);
        let sources = ReplicaSet::first(3);
        let mut transfer = Transfer::new(State::new(3000).snapshot(), target, sources, TransferConfig::new(2000));
        if asked_first {
            transfer.on_duty_end(0, &mut |_, _: &[u8]| {});
        }
        let mut items = Vec::new();
        for (index, level, first, byte) in places {
            let mut message = Vec::new();
            if level == 0 {
                let mut pieces = Vec::new();
                append_piece(&mut pieces, index, first, &vec![byte; (64 - first) * UNIT_BYTES]);
                append_pages(&mut message, target, &pieces);
                transfer.on_pages(1, ReplicaId(byte), &pages_of(&message));
                items.push(StateItem::page(index, first as u8, 64 - first as u8));
            } else {
                append_nodes(&mut message, target, &[NodeRecord::new(level, index, [Digest([byte; 32]); FAN_OUT])]);
                transfer.on_nodes(1, ReplicaId(byte % 4), &nodes_of(&message));
                items.push(StateItem::node(level, index));
            }
        }
        let limits = AnswerLimits { message_bytes_max: 1200, bytes_max: 10_000 };
        let (mut query, mut sent) = (Vec::new(), 0);
        append_query(&mut query, target, &items);
        let said = answer(&query_of(&query), Some(&snapshot), target, limits, &mut |bytes: &[u8]| sent += bytes.len());
        prop_assert!(said == sent && sent <= 10_000);
    }
}

/// `protocol.md ST-5`
#[test]
fn an_answer_is_no_more_than_was_listed_and_allowed() {
    let state = noise(3000, 0..200, 1);
    let snapshot = state.snapshot();
    let target = name(128, &snapshot);
    let ask = |items: &[StateItem], held: Option<&Snapshot>, bytes_max: usize| {
        let (mut query, mut messages) = (Vec::new(), Vec::new());
        append_query(&mut query, target, items);
        let limits = AnswerLimits { message_bytes_max: 1404, bytes_max };
        let newest = CheckpointName { sequence: SequenceNumber(256), digest: Digest([5; 32]) };
        let bytes = answer(&query_of(&query), held, newest, limits, &mut |bytes: &[u8]| messages.push(bytes.to_vec()));
        assert_eq!(bytes, messages.iter().map(Vec::len).sum::<usize>());
        messages
    };
    let pages: Vec<_> = (0..50).map(|index| StateItem::page(index, 0, 64)).collect();
    let all = ask(&pages, Some(&snapshot), usize::MAX);
    let bytes: usize = all.iter().map(Vec::len).sum();
    let listed = 50 * PAGE_BYTES;
    assert!(bytes > listed && bytes < listed + all.len() * (STATE_OVERHEAD_BYTES + 2 * PIECE_OVERHEAD_BYTES));
    assert_eq!(ask(&pages, Some(&snapshot), 14_040), all[..10]);
    assert_eq!(ask(&pages, Some(&snapshot), 0).len(), 0);
    // Parts of a page, and a node.
    let some = ask(&[StateItem::page(7, 60, 4), StateItem::node(1, 0)], Some(&snapshot), usize::MAX);
    assert_eq!(nodes_of(&some[0]).nodes[0].children, snapshot.node(1, 0).unwrap());
    let piece = pages_of(&some[1]).iter().next().unwrap();
    assert_eq!((piece.index, piece.first, piece.bytes), (7, 60, &state.page(7)[60 * UNIT_BYTES..]));
    // What is not held is refused, whatever was asked.
    let refusal = ask(&pages, None, usize::MAX);
    assert_eq!(refusal.len(), 1);
    let refusal = nodes_of(&refusal[0]);
    assert_eq!((refusal.nodes.len(), refusal.checkpoint.sequence.0), (0, 256));
}
