//! A small model of replicas for the follower's tests: logs that grow, each replica a little behind the others, up to `f` that lie, and a
//! network that loses and reorders. One seed decides everything.

use super::{Delivery, Follower};
use crate::limits::FOLLOW_CREDIT_BYTES_MAX;
use crate::numbers::{ClientId, Incarnation, Principal, ReplicaId, RequestNumber};
use crate::service::log::{LogSettings, OrderedLog, verify_run};
use crate::service::{OrderedRequest, Results, Service};
use crate::wire::operation::OperationsWriter;
use crate::wire::request::{self, RequestName};
use crate::wire::subscription::{ChainAnswer, RUN_OVERHEAD_BYTES, append_run, append_runs};
use crate::wire::{Audience, Message};
use logothete_crypto::{Digest, digest};
use std::collections::BTreeMap;

/// The follower's stream.
pub(super) const STREAM: u32 = 0;
pub(super) const MILLISECOND_NS: u64 = 1_000_000;

/// A step of the simulation.
const STEP_NS: u64 = 250_000;
/// What a replica puts into one packet.
const RUNS_BYTES: usize = 1200;

/// An entry as a subscriber got it.
pub(super) type Got = (u64, u64, Vec<u8>);

/// Numbers by chance (SplitMix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// An encoded request of these operations.
pub(super) fn request(number: u64, operations: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = OperationsWriter::new(operations.iter().map(|bytes| 64 + bytes.len()).sum());
    for (operation, bytes) in (1..).zip(operations) {
        assert!(writer.try_push(7, operation, bytes));
    }
    let name = RequestName { client: ClientId(0), incarnation: Incarnation(1), number: RequestNumber(number) };
    let mut message = Vec::new();
    request::append(&mut message, name, writer.count(), writer.bytes());
    message
}

/// The operations of an encoded request.
fn operations_of(message: &[u8]) -> Vec<Vec<u8>> {
    let operations = super::operations(message).expect("the model wrote it");
    operations.iter().map(|operation| operation.bytes.to_vec()).collect()
}

/// Appends a request to a log.
pub(super) fn execute(log: &mut OrderedLog, timestamp_ns: u64, message: &[u8]) {
    let operations = super::operations(message).expect("the model wrote it");
    let (client, sequence) = (0, timestamp_ns);
    let mut results = vec![0; 16 * operations.count() + 64];
    log.execute(
        &OrderedRequest { sequence, timestamp_ns, client, digest: digest(message), message, operations },
        &mut Results::new(&mut results, operations.count()),
    );
}

/// Several runs on their way: the first position, the chain before it, and each run's time and message.
#[derive(Clone)]
pub(super) struct Stretch {
    pub(super) position: u64,
    pub(super) chain: Digest,
    pub(super) runs: Vec<(u64, Vec<u8>)>,
}

impl Stretch {
    /// Runs of the log from the one that holds a position on, as many as fit. None of them if it is trimmed or not reached.
    pub(super) fn read(log: &OrderedLog, from: u64, bytes_max: usize) -> Option<Self> {
        let (mut stretch, mut bytes) = (None, 0);
        for run in log.runs_from(from).ok()? {
            bytes += RUN_OVERHEAD_BYTES + run.message.len();
            if bytes > bytes_max {
                break;
            }
            let begun = Self { position: run.position_first, chain: run.chain_before, runs: Vec::new() };
            stretch.get_or_insert(begun).runs.push((run.timestamp_ns, run.message.to_vec()));
        }
        stretch
    }

    /// Runs that no log has, behind `position`.
    pub(super) fn fabricate(position: u64, chain: Digest, runs: usize, operation_bytes: usize) -> Self {
        let message = request(666, &[vec![6; operation_bytes], b"never appended".to_vec()]);
        Self { position, chain, runs: vec![(666, message); runs] }
    }

    /// The position behind it, and the chain there.
    pub(super) fn end(&self) -> (u64, Digest) {
        self.runs.iter().fold((self.position, self.chain), |(position, chain), (timestamp_ns, message)| {
            let count = operations_of(message).len() as u64;
            (position + count, verify_run(&chain, position, *timestamp_ns, message))
        })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let (mut runs, mut message) = (Vec::new(), Vec::new());
        self.runs.iter().for_each(|(timestamp_ns, message)| append_run(&mut runs, *timestamp_ns, message));
        append_runs(&mut message, STREAM, 0, self.position, self.chain, self.runs.len(), &runs);
        message
    }
}

/// A runs message without runs: nothing before `oldest` is here.
pub(super) fn trimmed(oldest: u64, position: u64) -> Vec<u8> {
    let mut message = Vec::new();
    append_runs(&mut message, STREAM, oldest, position, Digest::default(), 0, &[]);
    message
}

pub(super) fn chain_answer(position: u64, chain: Digest) -> Vec<u8> {
    let mut message = Vec::new();
    ChainAnswer { stream: STREAM.into(), reserved: 0.into(), position: position.into(), chain }.append(&mut message);
    message
}

/// How a faulty replica lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    WrongBytes,
    WrongTimestamp,
    WrongCut,
    Future,
    Silent,
    Trimmed,
}

impl Lie {
    pub(super) const ALL: [Self; 6] =
        [Self::WrongBytes, Self::WrongTimestamp, Self::WrongCut, Self::Future, Self::Silent, Self::Trimmed];

    fn twist(self, stretch: &mut Stretch, random: &mut Random) {
        let at = random.below(stretch.runs.len() as u64) as usize;
        let (timestamp_ns, message) = stretch.runs[at].clone();
        let mut operations = operations_of(&message);
        match self {
            Self::WrongBytes => operations[0].push(b'!'),
            Self::WrongTimestamp => stretch.runs[at].0 += 1,
            Self::WrongCut => {
                // The first operation becomes a run of its own: a cut where the log has none, unless it was one before.
                let rest = operations.split_off(1);
                if !rest.is_empty() {
                    stretch.runs.insert(at + 1, (timestamp_ns, request(667, &rest)));
                }
            }
            Self::Future | Self::Silent | Self::Trimmed => return,
        }
        stretch.runs[at].1 = request(668, &operations);
    }
}

/// One replica.
struct Replica {
    log: OrderedLog,
    executed: usize,
    lag_ns: u64,
    lie: Option<Lie>,
    following: Option<(u64, usize)>,
    question: Option<u64>,
}

/// What a run of the model is made of.
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) replicas: usize,
    /// Of the first replicas, how each lies.
    pub(super) lies: Vec<Lie>,
    pub(super) requests: usize,
    pub(super) request_interval_ns: u64,
    pub(super) loss_percent: u64,
    pub(super) delay_max_ns: u64,
    pub(super) from: u64,
    /// How many entries the subscriber has room for in a step.
    pub(super) entries_a_step: usize,
}

/// A subscriber, replicas, and what is on the way between them.
pub(super) struct Model {
    plan: Plan,
    random: Random,
    now_ns: u64,
    requests: Vec<(u64, Vec<u8>)>,
    replicas: Vec<Replica>,
    /// Chains of lies by position: the faulty replicas vouch for each other.
    lies: BTreeMap<u64, Digest>,
    follower: Follower,
    to_follower: Vec<(u64, ReplicaId, Vec<u8>)>,
    to_replicas: Vec<(u64, ReplicaId, Vec<u8>)>,
    /// What the subscriber got.
    pub(super) got: Vec<Got>,
}

impl Model {
    pub(super) fn new(plan: Plan) -> Self {
        let mut random = Random(plan.seed);
        let requests = (0..plan.requests)
            .map(|at| {
                let count = 1 + random.below(4);
                let operations: Vec<_> = (0..count).map(|own| vec![own as u8; random.below(60) as usize]).collect();
                (1000 + at as u64, request(1 + at as u64, &operations))
            })
            .collect();
        let settings = LogSettings { segment_bytes: 64 * 1024, segments_max: 64 };
        // Who lies is by chance; the faulty may be the first sources, or the last.
        let turn = random.below(plan.replicas as u64) as usize;
        let replicas = (0..plan.replicas)
            .map(|id| Replica {
                log: OrderedLog::new(settings),
                executed: 0,
                lag_ns: random.below(10 * MILLISECOND_NS),
                lie: plan.lies.get((id + turn) % plan.replicas).copied(),
                following: None,
                question: None,
            })
            .collect();
        let follower = Follower::new(STREAM, plan.from, plan.replicas, plan.replicas.div_ceil(3), 1 << 16);
        let (to_follower, to_replicas) = (Vec::new(), Vec::new());
        Self {
            plan,
            random,
            now_ns: 0,
            requests,
            replicas,
            lies: BTreeMap::new(),
            follower,
            to_follower,
            to_replicas,
            got: Vec::new(),
        }
    }

    /// What the subscriber must get.
    pub(super) fn entries(&self) -> Vec<Got> {
        let all = self.requests.iter().flat_map(|(timestamp_ns, message)| {
            operations_of(message).into_iter().map(move |bytes| (*timestamp_ns, bytes))
        });
        let numbered = (0..).zip(all).map(|(position, (timestamp_ns, bytes))| (position, timestamp_ns, bytes));
        numbered.filter(|(position, ..)| *position >= self.plan.from).collect()
    }

    /// Runs until the subscriber got so many entries. Returns the time that it took, or none if it took longer than `limit_ns`.
    pub(super) fn run(&mut self, entries: usize, limit_ns: u64) -> Option<u64> {
        while self.got.len() < entries {
            if self.now_ns > limit_ns {
                return None;
            }
            self.step();
        }
        Some(self.now_ns)
    }

    fn step(&mut self) {
        self.now_ns += STEP_NS;
        for (_, to, message) in take_due(&mut self.to_replicas, self.now_ns) {
            let replica = &mut self.replicas[usize::from(to.0)];
            match Message::decode(&message, Principal::Client(ClientId(0))).expect("the follower wrote it") {
                Message::Follow(follow) => {
                    let credit_bytes = follow.credit_bytes.get() as usize;
                    assert!(credit_bytes <= FOLLOW_CREDIT_BYTES_MAX);
                    replica.following = Some((follow.from.get(), credit_bytes));
                }
                Message::ChainQuery(query) => replica.question = Some(query.position.get()),
                other => panic!("a follower sends no {other:?}"),
            }
        }
        for id in 0..self.replicas.len() {
            self.grow(id);
            match self.replicas[id].lie {
                None => self.serve(id),
                Some(lie) => self.serve_lies(id, lie),
            }
        }
        for (_, from, message) in take_due(&mut self.to_follower, self.now_ns) {
            let message = Message::decode(&message, Principal::Replica(from)).expect("the model wrote it");
            self.follower.on_message(self.now_ns, from, &message);
        }
        let (got, mut room) = (&mut self.got, self.plan.entries_a_step);
        let delivery = self.follower.deliver(|entry| {
            if room > 0 {
                room -= 1;
                got.push((entry.position, entry.timestamp_ns, entry.bytes.to_vec()));
                return true;
            }
            false
        });
        assert!(!matches!(delivery, Delivery::Trimmed(_)), "nothing is trimmed here");
        if delivery == Delivery::Drained && self.follower.deadline_ns() <= self.now_ns {
            let mut sent = Vec::new();
            self.follower.on_due(self.now_ns, |audience, append| {
                let Audience::Replicas(to) = audience else { panic!("a follower asks replicas") };
                let mut message = Vec::new();
                append(&mut message);
                sent.extend(to.iter().map(|id| (id, message.clone())));
            });
            for (to, message) in sent {
                launch(&mut self.to_replicas, &mut self.random, &self.plan, self.now_ns, to, message);
            }
        }
    }

    /// Executes what is agreed by now.
    fn grow(&mut self, id: usize) {
        let replica = &mut self.replicas[id];
        while let Some((timestamp_ns, message)) = self.requests.get(replica.executed)
            && replica.executed as u64 * self.plan.request_interval_ns + replica.lag_ns <= self.now_ns
        {
            execute(&mut replica.log, *timestamp_ns, message);
            replica.executed += 1;
        }
    }

    fn send(&mut self, id: usize, message: Vec<u8>) {
        let from = ReplicaId(id as u8);
        launch(&mut self.to_follower, &mut self.random, &self.plan, self.now_ns, from, message);
    }

    /// What is to be sent of the log now.
    fn read(&mut self, id: usize) -> Vec<Stretch> {
        let replica = &mut self.replicas[id];
        let mut stretches = Vec::new();
        while let Some((from, credit_bytes)) = &mut replica.following
            && *credit_bytes > 0
            && let Some(stretch) = Stretch::read(&replica.log, *from, RUNS_BYTES)
        {
            let bytes: usize = stretch.runs.iter().map(|(_, message)| RUN_OVERHEAD_BYTES + message.len()).sum();
            (*from, *credit_bytes) = (stretch.end().0, credit_bytes.saturating_sub(bytes));
            stretches.push(stretch);
        }
        stretches
    }

    fn serve(&mut self, id: usize) {
        for stretch in self.read(id) {
            self.send(id, stretch.encode());
        }
        let replica = &mut self.replicas[id];
        if let Some(position) = replica.question.take_if(|position| *position <= replica.log.end()) {
            let chain = replica.log.chain_at(position).unwrap_or_default();
            self.send(id, chain_answer(position, chain));
        }
    }

    fn serve_lies(&mut self, id: usize, lie: Lie) {
        if lie == Lie::Silent {
            return;
        }
        // Unasked, and never true.
        if self.random.below(50) == 0 {
            let oldest = self.random.below(u64::MAX);
            self.send(id, trimmed(oldest, self.plan.from));
        }
        if let Some(position) = self.replicas[id].question.take() {
            let wrong = [Digest::default(), Digest([7; 32])][self.random.below(2) as usize];
            let chain = self.lies.get(&position).copied().unwrap_or(wrong);
            self.send(id, chain_answer(position, chain));
        }
        let Some((from, credit_bytes)) = self.replicas[id].following else { return };
        if lie == Lie::Trimmed {
            self.replicas[id].following = None;
            self.send(id, trimmed(from + 1 + self.random.0 % 1000, from));
            return;
        }
        let mut stretches = self.read(id);
        if lie == Lie::Future && credit_bytes > 0 {
            // More than was asked for, and beyond what is.
            let log = &self.replicas[id].log;
            let (mut position, mut chain) = (log.end(), log.chain());
            for _ in 0..4 {
                stretches.push(Stretch::fabricate(position, chain, 3, 100));
                (position, chain) = stretches[stretches.len() - 1].end();
            }
        }
        for mut stretch in stretches {
            if self.random.below(2) == 0 {
                lie.twist(&mut stretch, &mut self.random);
            }
            let (position, chain) = stretch.end();
            self.lies.insert(position, chain);
            self.send(id, stretch.encode());
        }
    }
}

/// Puts a message on its way, unless it gets lost.
fn launch(
    way: &mut Vec<(u64, ReplicaId, Vec<u8>)>,
    random: &mut Random,
    plan: &Plan,
    now_ns: u64,
    peer: ReplicaId,
    message: Vec<u8>,
) {
    if random.below(100) >= plan.loss_percent {
        way.push((now_ns + random.below(plan.delay_max_ns), peer, message));
    }
}

/// Takes what has arrived, in the order of arrival.
fn take_due(way: &mut Vec<(u64, ReplicaId, Vec<u8>)>, now_ns: u64) -> Vec<(u64, ReplicaId, Vec<u8>)> {
    let mut due: Vec<_> = way.extract_if(.., |(at_ns, ..)| *at_ns <= now_ns).collect();
    due.sort_by_key(|(at_ns, ..)| *at_ns);
    due
}
