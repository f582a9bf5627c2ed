//! The agents of a scenario: each replica as production runs it (orderer, executor, reader, outbox, verifier, sealer), and each client with
//! the client's half of the protocol.

use crate::adversary::faults::{Behaviour, Fault};
use crate::world::clock::LocalClock;
use crate::world::disk::Disk;
use crate::world::random::Random;
use crate::world::seat::{CLUSTER, CONTEXT, Seat};
use crate::world::settings::Settings;
use crate::world::witness::{Record, Witness};
use logothete_engine::authentication::PacketFacts;
use logothete_engine::client::{Client, ClientConfig, Follower, Queries};
use logothete_engine::journal::JournalError;
use logothete_engine::journal::birth::Opened;
use logothete_engine::limits::LARGE_BYTES_IN_FLIGHT;
use logothete_engine::numbers::{ClientId, Incarnation, Principal, ReplicaId, ReplicaSet};
use logothete_engine::pipeline::{Core, Departures, Memory, MemoryError, MemoryPlan};
use logothete_engine::pipeline::{Orderer, OrdererCounters, Outbox, Outgoing};
use logothete_engine::planted::{self, Bug};
use logothete_engine::replica::{Now, ReplicaConfig};
use logothete_engine::service::{ServiceSettings, built_in};
use logothete_engine::wire::packet::HEADER_BYTES;
use logothete_engine::wire::parts::reply_piece_bytes;
use logothete_engine::wire::report::{ReportQuery, ReportReply};
use logothete_engine::wire::{Audience, Message, Messages};
use logothete_transport::pool::{Frame, Pool, PoolConfig};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The nonce of the operator's question.
const NONCE: u64 = 1;

/// One frame pool serves all replicas of a thread: frames are held within a duty cycle only.
fn pool() -> Pool {
    thread_local! {
        static POOL: Pool = Pool::new(PoolConfig { frame_bytes: 4096, frames: 4096 }).expect("a few megabytes");
    }
    POOL.with(Pool::clone)
}

/// How a replica's process begins.
enum Start<'a> {
    /// For the first time.
    First,
    /// With what is durable.
    Resumed(Now, &'a mut Outbox),
    /// With nothing.
    Forgot,
}

/// What a replica's duty cycle sends.
#[derive(Default)]
pub struct Departed {
    pub packets: Vec<(Audience, Vec<u8>, u16)>,
    pub relays: Vec<(ReplicaId, Vec<u8>)>,
}

impl Departures for Departed {
    fn depart(&mut self, mut packet: Outgoing) {
        let body = &packet.frame.capacity_bytes_mut()[HEADER_BYTES..HEADER_BYTES + packet.body_bytes];
        self.packets.push((packet.audience, body.to_vec(), packet.message_count));
    }

    fn depart_relayed(&mut self, to: ReplicaId, frame: Frame) {
        self.relays.push((to, frame.to_vec()));
    }
}

impl Departed {
    /// Takes out the answer to the operator's question.
    pub fn take_report(&mut self, own: Principal, operator: ClientId) -> Option<ReportReply> {
        let at = self.packets.iter().position(|(audience, ..)| *audience == Audience::Client(operator))?;
        let (_, body, _) = self.packets.remove(at);
        Messages::new(&body, own).flatten().find_map(|(message, _)| match message {
            Message::ReportReply(report) => Some(*report),
            _ => None,
        })
    }
}

/// A replica with everything around it.
pub struct ReplicaHost {
    pub id: ReplicaId,
    pub disk: Disk,
    /// The epoch that its packets and its statements name.
    pub epoch: u64,
    /// It came back without memory, and may promise nothing yet.
    pub recovers: bool,
    pub seat: Seat,
    pub orderer: Orderer,
    pub outbox: Outbox,
    pub record: Record,
    pub fault: Option<Fault>,
    pub clock: LocalClock,
    /// Numbers said to be prepared in a view, and committed, so far.
    pub prepared: BTreeSet<(u64, u64)>,
    pub committed: BTreeSet<u64>,
    /// The last number executed, and the last stable one, when it was last looked at.
    pub executed: u64,
    pub stable: u64,
    /// Its disk failed: it promises nothing any more.
    pub failed: bool,
    pub question: Option<(PacketFacts, Vec<u8>)>,
    pub turns: u64,
}

impl ReplicaHost {
    pub fn new(id: ReplicaId, settings: &Settings, random: &mut Random) -> Self {
        let disk = Disk::new(settings.seed ^ (0xd15c_0000 + u64::from(id.0)));
        let seat = Seat::new(Principal::Replica(id), settings.register(), random);
        let epoch = seat.epoch();
        let (orderer, record) = orderer(id, settings, epoch, &disk, Start::First).expect("a new disk does not fail");
        Self {
            id,
            disk,
            epoch,
            recovers: false,
            seat,
            orderer,
            outbox: no_outbox(settings),
            record,
            fault: None,
            clock: LocalClock::default(),
            prepared: BTreeSet::new(),
            committed: BTreeSet::new(),
            executed: 0,
            stable: 0,
            failed: false,
            question: None,
            turns: 0,
        }
    }

    /// Another process begins with what is durable: new keys, a new epoch. What its memory is refused for, it says; then the operator has it
    /// recover from the others.
    pub fn restart(&mut self, settings: &Settings, virtual_ns: u64, random: &mut Random) -> Option<String> {
        let seat = Seat::new(Principal::Replica(self.id), settings.register(), random);
        let former = std::mem::replace(&mut self.seat, seat);
        if planted::is(Bug::KeysSurviveRestart) {
            self.seat.keep_keys_of(former);
        }
        self.epoch = self.seat.epoch();
        self.outbox = no_outbox(settings);
        (self.fault, self.failed) = (None, false);
        self.prepared.clear();
        self.committed.clear();
        self.question = None;
        let now = self.clock.now(virtual_ns);
        let resumed = match self.disk.remembers() {
            true => orderer(self.id, settings, self.epoch, &self.disk, Start::Resumed(now, &mut self.outbox)),
            false => Err(MemoryError::Lost { path: "/data".into() }),
        };
        let refusal = resumed.as_ref().err().filter(|_| self.disk.remembers()).map(MemoryError::to_string);
        self.recovers = resumed.is_err();
        (self.orderer, self.record) = resumed.unwrap_or_else(|error| {
            // Another's disk is not relied on, nor written to.
            match error {
                MemoryError::Journal(JournalError::Foreign(_)) => self.disk.replace(),
                _ => self.disk.forget(),
            }
            orderer(self.id, settings, self.epoch, &self.disk, Start::Forgot).expect("nothing is read yet")
        });
        let replica = self.orderer.replica();
        (self.executed, self.stable) = (replica.executed().0, replica.stable().0);
        refusal
    }

    /// New keys and a new epoch, as a process that begins has them; the rest of it goes on. Only a faulty one does that.
    pub fn renew_seat(&mut self, settings: &Settings, random: &mut Random) {
        self.seat = Seat::new(Principal::Replica(self.id), settings.register(), random);
        self.epoch = self.seat.epoch();
        self.question = None;
    }

    /// Keeps a question of the operator, which is put after each duty cycle: so the state is looked at as an operator would.
    pub fn keep_question(&mut self, operator: &mut Seat, of: ClientId) {
        let mut body = Vec::new();
        ReportQuery { nonce: NONCE.into() }.append(&mut body);
        let to = Audience::Replicas(ReplicaSet::only(self.id));
        let datagram = operator.seal(to, &body, 1);
        let incoming = self.seat.verify(Principal::Client(of), &datagram).expect("the operator is known");
        self.question = Some((incoming.facts(), datagram.clone()));
    }

    /// Whether it is one of those that the protocol promises something about.
    pub fn is_correct(&self) -> bool {
        self.fault.is_none()
    }

    /// When it has something to do at the latest, in virtual time.
    pub fn deadline_ns(&self) -> u64 {
        if self.is_crashed() { u64::MAX } else { self.clock.virtual_ns(self.orderer.deadline_ns()) }
    }

    /// Whether something of it will be durable soon.
    pub fn awaits_disk(&self) -> bool {
        !self.is_crashed() && self.disk.is_busy()
    }

    /// Whether the power failed: then it is down, and what it did since is worth nothing.
    pub fn is_cut_off(&mut self) -> bool {
        if self.disk.is_cut() && !self.is_crashed() {
            self.fault = Some(Fault::new(Behaviour::Crashed));
        }
        self.disk.is_cut()
    }

    /// Whether it does nothing any more.
    pub fn is_crashed(&self) -> bool {
        self.fault.as_ref().is_some_and(|fault| fault.behaviour == Behaviour::Crashed)
    }

    /// Whether what it does inside is that of a correct replica, whether or not it says so.
    pub fn is_checked(&self) -> bool {
        self.fault.as_ref().is_none_or(|fault| fault.behaviour == Behaviour::Silent)
    }
}

/// An outbox with nothing in it.
pub fn no_outbox(settings: &Settings) -> Outbox {
    Outbox::new(pool(), settings.datagram_bytes_max)
}

/// A replica that starts for the first time.
pub fn first_orderer(id: ReplicaId, settings: &Settings, epoch: u64, disk: &Disk) -> (Orderer, Record) {
    orderer(id, settings, epoch, disk, Start::First).expect("a new disk does not fail")
}

/// A replica's state machine with its service, as production puts them together.
fn orderer(
    id: ReplicaId,
    settings: &Settings,
    epoch: u64,
    disk: &Disk,
    start: Start<'_>,
) -> Result<(Orderer, Record), MemoryError> {
    let config = ReplicaConfig {
        cluster_id: CLUSTER,
        id,
        quorum: settings.quorum(),
        clients: settings.clients + 1,
        checkpoint_interval: settings.checkpoint_interval,
        pipeline_depth: settings.pipeline_depth,
        batch_requests_max: settings.batch_requests_fitting(),
        request_bytes_max: settings.request_bytes_max().1,
        request_packet_bytes_max: settings.request_bytes_max().0,
        parts: settings.parts(),
        reply_bytes_max: settings.reply_bytes_max().max(settings.datagram_bytes_max),
        reply_packet_bytes_max: settings.reply_packet_bytes_max(),
        reply_piece_bytes: reply_piece_bytes(settings.datagram_bytes_max),
        client_window: settings.client_window,
        clock_bound_ns: 500_000_000,
        bodies_bytes_max: settings.bodies_bytes_max(),
        tentative: settings.tentative,
        timeout_view_max_ns: settings.timeout_view_max_ns,
        keeps_journal: settings.journal && matches!(start, Start::First),
        makes_journal: settings.journal,
        forgot: matches!(start, Start::Forgot),
        epoch,
        statement_piece_bytes: settings.piece_bytes(),
    };
    let service = ServiceSettings {
        state_bytes_max: settings.retention_bytes,
        message_bytes_max: settings.request_bytes_max().1,
        ..ServiceSettings::default()
    };
    let (witness, record) = Witness::new(built_in(settings.service(), &service));
    let orderer = Orderer::new(
        config,
        settings.register().signatures(id),
        Box::new(witness),
        settings.reply_bytes_max(),
        settings.datagram_bytes_max,
        OrdererCounters::private(),
    );
    if !settings.journal {
        return Ok((orderer, record));
    }
    let (directory, found) = disk.open()?;
    let memory = disk.config(id, CONTEXT, orderer.state_pages(), settings.record_bytes_max());
    let mut entropy = disk.entropy();
    let orderer = match start {
        Start::First => orderer.with_memory(Memory::create(directory, &memory, &mut entropy)?),
        Start::Resumed(now, outbox) => orderer.resumed(now, directory, &memory, outbox)?,
        Start::Forgot => {
            if found == Opened::Resumed {
                directory.disown_journal()?;
            }
            let plan = MemoryPlan::new(directory, memory);
            orderer.with_plan(move |sequence, snapshot| plan.make(sequence, snapshot, &mut entropy))
        }
    };
    Ok((orderer, record))
}

/// What an application asked of a client, until there is room to submit it.
pub type Waiting = Vec<(u64, Vec<u8>)>;

/// A client, as a driver runs it.
pub struct ClientHost {
    pub id: ClientId,
    pub seat: Seat,
    pub clock: LocalClock,
    pub client: Client,
    pub queries: Queries,
    /// Queries that wait for an answer, and how many entries the log must have at least by it.
    pub reading: BTreeMap<u64, (Vec<u8>, u64)>,
    pub follower: Option<Follower>,
    pub entries_delivered: u64,
    pub waiting: VecDeque<Waiting>,
    pub open: bool,
    pub stopped: bool,
    /// Its tags for these are wrong.
    pub spoils: Vec<Principal>,
    /// Operations asked for so far, those answered, and those that a process that ended took with it.
    pub submitted: u64,
    pub accepted: u64,
    pub forgotten: u64,
}

impl ClientHost {
    pub fn new(id: ClientId, settings: &Settings, random: &mut Random) -> Self {
        let clock = LocalClock::default();
        let Now { wall_ns, .. } = clock.now(0);
        Self {
            id,
            seat: Seat::new(Principal::Client(id), settings.register(), random),
            clock,
            client: Self::incarnate(id, settings, wall_ns),
            queries: Self::no_queries(settings, wall_ns),
            reading: BTreeMap::new(),
            follower: None,
            entries_delivered: 0,
            waiting: VecDeque::new(),
            open: false,
            stopped: false,
            spoils: Vec::new(),
            submitted: 0,
            accepted: 0,
            forgotten: 0,
        }
    }

    fn incarnate(id: ClientId, settings: &Settings, incarnation: u64) -> Client {
        let config = ClientConfig {
            id,
            replicas: settings.replicas,
            quorum_weak: settings.quorum().weak(),
            quorum: settings.quorum().strong(),
            reads: settings.reads,
            window: settings.client_window,
            incarnation: Incarnation(incarnation),
            request_packet_bytes_max: settings.request_bytes_max().0,
            request_piece_bytes: settings.parts().piece_bytes,
            large_bytes_max: LARGE_BYTES_IN_FLIGHT,
            reply_piece_bytes: reply_piece_bytes(settings.datagram_bytes_max),
            reply_bytes_max: settings.reply_bytes_max(),
        };
        Client::new(config, settings.register().signer(id))
    }

    fn no_queries(settings: &Settings, nonce_first: u64) -> Queries {
        let (quorum, piece_bytes) = (settings.quorum(), reply_piece_bytes(settings.datagram_bytes_max));
        Queries::new(
            settings.replicas,
            quorum.weak(),
            quorum.strong(),
            nonce_first,
            piece_bytes,
            settings.reply_bytes_max(),
        )
    }

    /// The process ended and another began, which finds the clock off by so much: new keys, a new incarnation, nothing remembered.
    pub fn restart(&mut self, settings: &Settings, virtual_ns: u64, skew_ns: i64, random: &mut Random) {
        let wall_ns = self.clock.now(virtual_ns).wall_ns.saturating_add_signed(skew_ns);
        self.seat = Seat::new(Principal::Client(self.id), settings.register(), random);
        self.client = Self::incarnate(self.id, settings, wall_ns);
        self.queries = Self::no_queries(settings, wall_ns);
        self.reading.clear();
        self.waiting.clear();
        (self.open, self.stopped) = (false, false);
        // Its applications were told so when their sessions ended.
        self.forgotten += self.outstanding();
    }

    /// Operations that wait for an answer.
    pub fn outstanding(&self) -> u64 {
        self.submitted - self.accepted - self.forgotten
    }

    /// When it has something to do at the latest, in virtual time.
    pub fn deadline_ns(&self) -> u64 {
        if self.stopped {
            return u64::MAX;
        }
        let client_ns = self.client.deadline_ns().min(self.queries.deadline_ns());
        self.clock.virtual_ns(client_ns.min(self.follower.as_ref().map_or(u64::MAX, Follower::deadline_ns)))
    }
}
