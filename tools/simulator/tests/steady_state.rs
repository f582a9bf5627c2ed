//! In the normal case the core allocates nothing once it is warm: four real orderers, hundreds of batches. What checkpoints allocate is counted.
//!
//! Counted is what happens in [`Core::on_incoming`] and [`Core::on_duty_end`]: the replica, the service, and all that is between them. What the test
//! itself does with packets is not.

#[path = "../../../transport/tests/allocations/mod.rs"]
mod allocations;

use allocations::allocations_of;
use logothete_engine::authentication::Incoming;
use logothete_engine::limits::TIMEOUT_VIEW_MAX_NS;
use logothete_engine::numbers::{ClientId, Incarnation, Principal, ReplicaId, ReplicaSet, RequestNumber};
use logothete_engine::pipeline::{Core, Departures, Orderer, OrdererCounters, Outbox, Outgoing, ReplicaFacts};
use logothete_engine::replica::ReplicaConfig;
use logothete_engine::service::{ServiceKind, ServiceSettings, built_in};
use logothete_engine::wire::Audience;
use logothete_engine::wire::operation::OperationsWriter;
use logothete_engine::wire::packet::HEADER_BYTES;
use logothete_engine::wire::parts::reply_piece_bytes;
use logothete_engine::wire::request::{self, RequestName};
use logothete_simulator::world::clock::LocalClock;
use logothete_simulator::world::random::Random;
use logothete_simulator::world::seat::{CLUSTER, Seat};
use logothete_simulator::world::settings::Settings;
use logothete_transport::pool::{Frame, Pool, PoolConfig};

const REPLICAS: usize = 4;
const CLIENT: ClientId = ClientId(0);

/// What a checkpoint allocates at each replica: the snapshot, the copies of the tree's nodes on the way to the pages that are written next, and those pages.
const CHECKPOINT_ALLOCATIONS: u64 = 17;

/// Pages of the log that are written to beside a checkpoint: the one in which the next entry begins, and its nodes.
const LOG_PAGES_A_CHECKPOINT: u64 = 8;

/// A hop.
const HOP_NS: u64 = 100_000;

/// What left in a duty cycle.
#[derive(Default)]
struct Sent(Vec<(Audience, Vec<u8>, u16)>);

impl Departures for Sent {
    fn depart(&mut self, mut packet: Outgoing) {
        let body = &packet.frame.capacity_bytes_mut()[HEADER_BYTES..HEADER_BYTES + packet.body_bytes];
        self.0.push((packet.audience, body.to_vec(), packet.message_count));
    }

    fn depart_relayed(&mut self, _: ReplicaId, _: Frame) {
        panic!("nobody lacks anything in the normal case");
    }
}

struct Replica {
    seat: Seat,
    orderer: Orderer,
    outbox: Outbox,
}

struct Cluster {
    replicas: Vec<Replica>,
    client: Seat,
    now_ns: u64,
    next: u64,
}

fn settings() -> Settings {
    Settings { replicas: REPLICAS, clients: 1, checkpoint_interval: 8, pipeline_depth: 4, ..Settings::default() }
}

fn config(id: ReplicaId, epoch: u64, tentative: bool) -> ReplicaConfig {
    let settings = settings();
    let (packet_bytes, longest) = settings.request_bytes_max();
    ReplicaConfig {
        cluster_id: CLUSTER,
        id,
        quorum: settings.quorum(),
        clients: settings.clients + 1,
        checkpoint_interval: settings.checkpoint_interval,
        pipeline_depth: settings.pipeline_depth,
        batch_requests_max: settings.batch_requests_max,
        request_bytes_max: longest,
        request_packet_bytes_max: packet_bytes,
        parts: settings.parts(),
        reply_bytes_max: settings.datagram_bytes_max,
        reply_packet_bytes_max: settings.reply_bytes_max(),
        reply_piece_bytes: reply_piece_bytes(settings.datagram_bytes_max),
        client_window: settings.client_window,
        clock_bound_ns: 500_000_000,
        bodies_bytes_max: settings.bodies_bytes_max(),
        tentative,
        timeout_view_max_ns: TIMEOUT_VIEW_MAX_NS,
        keeps_journal: false,
        makes_journal: false,
        forgot: false,
        epoch,
        statement_piece_bytes: settings.piece_bytes(),
    }
}

impl Cluster {
    fn new(kind: ServiceKind, tentative: bool) -> Self {
        let (settings, mut random) = (settings(), Random::new(1));
        let service = ServiceSettings {
            state_bytes_max: settings.retention_bytes,
            message_bytes_max: settings.request_bytes_max().1,
            ..ServiceSettings::default()
        };
        let pool = Pool::new(PoolConfig { frame_bytes: 4096, frames: 256 }).unwrap();
        let mut client = Seat::new(Principal::Client(CLIENT), settings.register(), &mut random);
        let mut replicas: Vec<Replica> = Vec::new();
        for id in (0..REPLICAS as u8).map(ReplicaId) {
            let mut seat = Seat::new(Principal::Replica(id), settings.register(), &mut random);
            replicas.iter_mut().for_each(|other| seat.introduce(&mut other.seat));
            seat.introduce(&mut client);
            let orderer = Orderer::new(
                config(id, seat.epoch(), tentative),
                settings.register().signatures(id),
                built_in(kind, &service),
                settings.reply_bytes_max(),
                settings.datagram_bytes_max,
                OrdererCounters::private(),
            );
            replicas.push(Replica { seat, orderer, outbox: Outbox::new(pool.clone(), settings.datagram_bytes_max) });
        }
        Self { replicas, client, now_ns: 1_000_000, next: 0 }
    }

    /// The client's next request goes to all, and everything that follows arrives; what the orderers allocated.
    fn round(&mut self) -> u64 {
        let name = RequestName { client: CLIENT, incarnation: Incarnation(7), number: RequestNumber(self.next) };
        let mut writer = OperationsWriter::new(512);
        if self.next > 0 {
            for number in 0..4 {
                assert!(writer.try_push(1, number, &[number as u8; 64]));
            }
        }
        self.next += 1;
        let mut message = Vec::new();
        request::append(&mut message, name, writer.count(), writer.bytes());
        let everybody = Audience::Replicas(ReplicaSet::first(REPLICAS));
        let datagram = self.client.seal(everybody, &message, 1);
        let mut arriving: Vec<(Principal, Audience, Vec<u8>)> = vec![(Principal::Client(CLIENT), everybody, datagram)];
        let mut allocated = 0;
        while !arriving.is_empty() {
            self.now_ns += HOP_NS;
            let mut sent = Vec::new();
            for (at, replica) in self.replicas.iter_mut().enumerate() {
                allocated += replica.turn(ReplicaId(at as u8), self.now_ns, &arriving, &mut sent);
            }
            arriving = sent;
        }
        allocated
    }

    fn executed(&self) -> Vec<u64> {
        self.replicas.iter().map(|replica| replica.orderer.replica().executed().0).collect()
    }

    fn stable(&self) -> u64 {
        self.replicas.iter().map(|replica| replica.orderer.replica().stable().0).min().expect("there are some")
    }
}

impl Replica {
    fn turn(
        &mut self,
        id: ReplicaId,
        now_ns: u64,
        arriving: &[(Principal, Audience, Vec<u8>)],
        sent: &mut Vec<(Principal, Audience, Vec<u8>)>,
    ) -> u64 {
        let (now, own) = (LocalClock::default().now(now_ns), Principal::Replica(id));
        let mut allocated = 0;
        for (from, audience, datagram) in arriving.iter().filter(|(from, ..)| *from != own) {
            if audience.position_of_replica(id).is_none() {
                continue;
            }
            let incoming = self.seat.verify(*from, datagram).expect("it is in order");
            assert!(matches!(incoming, Incoming::Packet(_)));
            allocated += allocations_of(|| self.orderer.on_incoming(now, &incoming));
        }
        let facts = ReplicaFacts::default();
        loop {
            allocated += allocations_of(|| self.orderer.on_duty_end(now, &facts, &mut self.outbox));
            self.orderer.take_events(&mut |_| {});
            let mut departed = Sent::default();
            self.outbox.drain_into(&mut departed);
            for (audience, body, count) in departed.0 {
                let datagram = self.seat.seal(audience, &body, count);
                sent.push((own, audience, datagram));
            }
            // A state is hashed a few pages a cycle.
            if self.orderer.deadline_ns() > now_ns {
                return allocated;
            }
        }
    }
}

/// What is allocated where no checkpoint is taken, and by each checkpoint, all replicas together.
struct Allocated {
    between: u64,
    checkpoints: Vec<u64>,
}

/// Four hundred rounds of a batch each, once as many have made everything warm.
fn steady(kind: ServiceKind, tentative: bool) -> Allocated {
    let mut cluster = Cluster::new(kind, tentative);
    for _ in 0..400 {
        cluster.round();
    }
    let executed = cluster.executed();
    let mut allocated = Allocated { between: 0, checkpoints: Vec::new() };
    for _ in 0..400 {
        let stable = cluster.stable();
        let counted = cluster.round();
        let interval = settings().checkpoint_interval;
        // The round of the checkpoint, and the next one: what is written first then is a copy.
        match cluster.executed()[0] % interval {
            0 => {
                assert_eq!(cluster.stable(), stable + interval, "a checkpoint is stable in the round of its batch");
                allocated.checkpoints.push(counted);
            }
            // What came before the first one measured does not count.
            1 => allocated.checkpoints.last_mut().into_iter().for_each(|checkpoint| *checkpoint += counted),
            _ => allocated.between += counted,
        }
    }
    assert!(cluster.executed().iter().zip(&executed).all(|(after, before)| after - before == 400));
    allocated
}

/// Ordering and executing allocate nothing. A checkpoint does, in its own round and the next: the snapshot and what the tree copies of itself when it is
/// written to beside it, always as much.
#[test]
fn ordering_allocates_nothing_between_checkpoints() {
    for tentative in [false, true] {
        let Allocated { between, checkpoints } = steady(ServiceKind::Null, tentative);
        assert_eq!(between, 0, "tentative: {tentative}");
        let most = checkpoints.iter().max().expect("there were checkpoints");
        assert!(*most <= CHECKPOINT_ALLOCATIONS * REPLICAS as u64, "tentative: {tentative}: {checkpoints:?}");
    }
}

/// The log writes to pages that it has not written to before, one every so many entries: each is one allocation, since the page before it may
/// be a snapshot's.
#[test]
fn the_log_allocates_its_new_pages_only() {
    let Allocated { between, checkpoints } = steady(ServiceKind::Log, false);
    // 400 requests of 4 times 84 bytes of operations, and the headers of runs.
    let pages = 400 * 500 / 4096 + 1;
    assert!(between <= pages * REPLICAS as u64, "{between}");
    let most = checkpoints.iter().max().expect("there were checkpoints");
    assert!(*most <= (CHECKPOINT_ALLOCATIONS + LOG_PAGES_A_CHECKPOINT) * REPLICAS as u64, "{checkpoints:?}");
}
