//! Arrangement `split`: the network's agents on the calling thread, the ordering ones on a second. Descriptors of frames go over a ring each
//! way; the bytes stay where the kernel wrote them.
//!
//! A ring has room for a descriptor of every frame of the pool, so it is never full. What is in it when both threads have ended goes back to the pool.

use super::clock::Clock;
use super::counters::{DutyCounters, NetworkCounters};
use super::idle::{Idler, Pause};
use super::network::Network;
use super::opening::{Opened, ProcessError};
use super::outbox::{Departures, Outbox, Outgoing};
use super::{Core, ReplicaFacts};
use crate::authentication::{PacketFacts, Refused, RefusedCounters};
use crate::cluster::{Idle, ReplicaLocal};
use crate::limits::{POOL_FRAMES, REPLICAS_MAX};
use crate::numbers::{ClientId, ReplicaId, ReplicaSet};
use crate::replica::Event;
use crate::wire::Audience;
use logothete_transport::cores;
use logothete_transport::pool::{Frame, Pool};
use logothete_transport::ring::{self, Consumer, Producer, SleepFlag, WAKE_ON_RECORDS};
use std::io::{PipeWriter, Write, pipe};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Descriptors taken at a time.
const DESCRIPTORS_A_TURN: usize = 64;

/// From the orderer to the sender.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Departure {
    frame: U64,
    body_bytes: U32,
    message_count: U16,
    /// Whom it is for: replicas, a client, or (a client's datagram, as it is) one replica.
    kind: u8,
    reserved: u8,
    address: U16,
}

const TO_REPLICAS: u8 = 0;
const TO_CLIENT: u8 = 1;
const RELAYED: u8 = 2;

/// From the verifier to the orderer.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Arrival {
    frame: U64,
    facts: [u8; PacketFacts::BYTES],
}

/// One way of descriptors between the threads, which are lent an end each. A descriptor that nobody takes would keep its pool's memory for good.
struct Way {
    producer: Producer,
    consumer: Consumer,
    pool: Pool,
}

impl Way {
    /// For descriptors that are, with what is said of their frames, so long.
    fn new(record_bytes: usize, pool: &Pool) -> Self {
        let (producer, consumer) = ring::pair((POOL_FRAMES * ring::record_bytes(record_bytes)).next_power_of_two());
        Self { producer, consumer, pool: pool.clone() }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.producer.publish();
        let pool = &self.pool;
        let give_back = |record: &[u8]| {
            let (frame, _) = U64::read_from_prefix(record).expect("a record begins with its frame");
            drop(pool.from_raw(frame.get()));
        };
        while self.consumer.poll(DESCRIPTORS_A_TURN, give_back).expect("both ends of the ring are this process's") > 0 {
        }
    }
}

/// What one thread tells the other beside the rings.
#[derive(Debug, Default)]
struct Shared {
    /// A [`SleepFlag`] of the network's thread.
    network_sleeps: AtomicU64,
    /// The orderer's thread has ended.
    ended: AtomicBool,
    datagrams_sent: AtomicU64,
    datagrams_received: AtomicU64,
    refused: [AtomicU64; Refused::ALL.len()],
    isolated: [AtomicU64; REPLICAS_MAX],
}

/// However one thread ends, by a panic as well, the other ends: a process is never half alive.
struct EndsTheOther<'a> {
    flag: &'a AtomicBool,
    parked: Option<&'a Thread>,
}

impl Drop for EndsTheOther<'_> {
    fn drop(&mut self) {
        self.flag.store(true, Ordering::Relaxed);
        if let Some(thread) = self.parked {
            thread.unpark();
        }
    }
}

/// Stores what hardly ever changes: the other thread keeps the cache line, since nothing is written that is there already.
fn store_new(shared: &AtomicU64, value: u64) {
    if shared.load(Ordering::Relaxed) != value {
        shared.store(value, Ordering::Relaxed);
    }
}

impl Shared {
    fn publish(&self, facts: ReplicaFacts) {
        self.datagrams_sent.store(facts.datagrams_sent, Ordering::Relaxed);
        self.datagrams_received.store(facts.datagrams_received, Ordering::Relaxed);
        for (shared, reason) in self.refused.iter().zip(Refused::ALL) {
            store_new(shared, facts.refused.of(*reason));
        }
        for (shared, count) in self.isolated.iter().zip(facts.isolated) {
            store_new(shared, count);
        }
    }

    fn facts(&self) -> ReplicaFacts {
        ReplicaFacts {
            datagrams_sent: self.datagrams_sent.load(Ordering::Relaxed),
            datagrams_received: self.datagrams_received.load(Ordering::Relaxed),
            refused: RefusedCounters::from_counts(|index| self.refused[index].load(Ordering::Relaxed)),
            isolated: std::array::from_fn(|id| self.isolated[id].load(Ordering::Relaxed)),
        }
    }
}

/// Runs both threads until `stop`.
pub(super) fn run<C: Core + Send>(
    opened: Opened,
    core: C,
    outbox: Outbox,
    mut counters: NetworkCounters,
    local: &ReplicaLocal,
    stop: &AtomicBool,
    event: &mut (dyn FnMut(Event) + Send),
) -> Result<(), ProcessError> {
    let (mut network, pool) = (opened.network, opened.pool);
    let mut arrivals = Way::new(size_of::<Arrival>(), &pool);
    let mut departures = Way::new(size_of::<Departure>(), &pool);
    let (reader, bell) = pipe().map_err(|error| host("pipe", &error))?;
    network.register_waker(reader.as_fd())?;
    let shared = Shared::default();
    let duty: DutyCounters = counters.add("orderer")?;
    let (pool_of_orderer, shared_with_orderer) = (pool.clone(), &shared);
    let ordering = OrderingThread {
        core,
        outbox,
        pool: pool_of_orderer,
        arriving: &mut arrivals.consumer,
        departures: &mut departures.producer,
        bell,
        duty,
        shared: shared_with_orderer,
    };
    let core_of_orderer = local.cores.get(1).copied();
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("orderer".to_owned()).spawn_scoped(scope, || {
            // The network's thread finds its pipe closed, and looks.
            let _ends = EndsTheOther { flag: &shared.ended, parked: None };
            let pinned = core_of_orderer.map_or(Ok(()), |core| cores::pin_current_thread(usize::from(core)));
            pinned.map_err(ProcessError::from).map(|()| ordering.run(local.idle, stop, event))
        });
        let thread = thread.map_err(|error| host("clone", &error))?;
        let ends = EndsTheOther { flag: stop, parked: Some(thread.thread()) };
        let (arrivals, departing) = (&mut arrivals.producer, &mut departures.consumer);
        let outcome =
            run_network(&mut network, &pool, arrivals, departing, counters, thread.thread(), local.idle, stop, &shared);
        drop(ends);
        let ordered = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        outcome.and(ordered)
    })
}

#[expect(clippy::too_many_arguments, reason = "the ends of two rings, and what the loop needs")]
fn run_network(
    network: &mut Network,
    pool: &Pool,
    arrivals: &mut Producer,
    departing: &mut Consumer,
    mut counters: NetworkCounters,
    orderer: &Thread,
    idle: Idle,
    stop: &AtomicBool,
    shared: &Shared,
) -> Result<(), ProcessError> {
    let clock = Clock::start();
    let mut idler = Idler::new(idle);
    while !stop.load(Ordering::Relaxed) && !shared.ended.load(Ordering::Relaxed) {
        let now = clock.now();
        let received = network.receive_frames(now.monotonic_ns, |frame, facts| {
            let arrival = Arrival { frame: frame.into_raw().into(), facts: facts.encode() };
            arrivals.try_push(arrival.as_bytes()).expect("the ring holds a descriptor of every frame");
        });
        if arrivals.publish() {
            orderer.unpark();
        }
        let departed = departing
            .poll(DESCRIPTORS_A_TURN, |record| depart(record, pool, network))
            .expect("both ends of the ring are this process's");
        network.on_duty_end(now.monotonic_ns)?;
        shared.publish(network.facts());
        counters.publish(now.monotonic_ns, network);
        if received + departed > 0 {
            counters.worked(now.monotonic_ns, clock.now().monotonic_ns);
            idler.worked();
        } else if let Pause::Sleep(timeout) = idler.pause(now.monotonic_ns, network.deadline_ns()) {
            // SYNC: pairs with `OrderingThread::ring_the_bell`: either it sees the flag, or this sees the record.
            SleepFlag::new(&shared.network_sleeps).announce(WAKE_ON_RECORDS);
            if departing.is_empty() == Ok(true) {
                network.wait(timeout)?;
            }
            SleepFlag::new(&shared.network_sleeps).clear();
        }
    }
    Ok(())
}

fn depart(record: &[u8], pool: &Pool, network: &mut Network) {
    let departure = Departure::read_from_bytes(record).expect("the orderer writes departures");
    let frame = pool.from_raw(departure.frame.get());
    let address = departure.address.get();
    let audience = match departure.kind {
        RELAYED => return network.depart_relayed(ReplicaId(address as u8), frame),
        TO_CLIENT => Audience::Client(ClientId(address)),
        _ => Audience::Replicas(ReplicaSet(address)),
    };
    network.depart(Outgoing {
        frame,
        body_bytes: departure.body_bytes.get() as usize,
        audience,
        message_count: departure.message_count.get(),
    });
}

struct OrderingThread<'a, C> {
    core: C,
    outbox: Outbox,
    pool: Pool,
    arriving: &'a mut Consumer,
    departures: &'a mut Producer,
    bell: PipeWriter,
    duty: DutyCounters,
    shared: &'a Shared,
}

impl<C: Core> OrderingThread<'_, C> {
    fn run(mut self, idle: Idle, stop: &AtomicBool, event: &mut (dyn FnMut(Event) + Send)) {
        let clock = Clock::start();
        let mut idler = Idler::new(idle);
        while !stop.load(Ordering::Relaxed) {
            let now = clock.now();
            let (core, pool) = (&mut self.core, &self.pool);
            let taken = self
                .arriving
                .poll(DESCRIPTORS_A_TURN, |record| {
                    let arrival = Arrival::read_from_bytes(record).expect("the verifier writes arrivals");
                    let frame = pool.from_raw(arrival.frame.get());
                    core.on_incoming(now, &PacketFacts::decode(&arrival.facts).incoming(&frame));
                })
                .expect("both ends of the ring are this process's");
            if taken > 0 || self.core.deadline_ns() <= now.monotonic_ns {
                self.core.on_duty_end(now, &self.shared.facts(), &mut self.outbox);
                self.outbox.drain_into(&mut RingDepartures(self.departures));
                if self.departures.publish() {
                    self.ring_the_bell();
                }
                self.core.take_events(event);
            }
            if taken > 0 {
                self.duty.worked(now.monotonic_ns, clock.now().monotonic_ns);
                idler.worked();
            } else if let Pause::Sleep(timeout) = idler.pause(now.monotonic_ns, self.core.deadline_ns()) {
                // An unpark that came since the poll makes this return at once.
                std::thread::park_timeout(timeout);
            }
        }
        self.core.on_stop();
    }

    /// Wakes the network's thread if it sleeps.
    fn ring_the_bell(&mut self) {
        // SYNC: pairs with the announcement in `run_network`.
        if SleepFlag::new(&self.shared.network_sleeps).take(WAKE_ON_RECORDS) {
            // A full pipe rings already.
            let _ = self.bell.write(&[0]);
        }
    }
}

struct RingDepartures<'a>(&'a mut Producer);

impl RingDepartures<'_> {
    fn push(&mut self, departure: Departure) {
        self.0.try_push(departure.as_bytes()).expect("the ring holds a descriptor of every frame");
    }
}

impl Departures for RingDepartures<'_> {
    fn depart(&mut self, packet: Outgoing) {
        let (kind, address) = match packet.audience {
            Audience::Replicas(set) => (TO_REPLICAS, set.0),
            Audience::Client(id) => (TO_CLIENT, id.0),
        };
        self.push(Departure {
            frame: packet.frame.into_raw().into(),
            body_bytes: (packet.body_bytes as u32).into(),
            message_count: packet.message_count.into(),
            kind,
            reserved: 0,
            address: address.into(),
        });
    }

    fn depart_relayed(&mut self, to: ReplicaId, frame: Frame) {
        self.push(Departure {
            frame: frame.into_raw().into(),
            body_bytes: 0.into(),
            message_count: 0.into(),
            kind: RELAYED,
            reserved: 0,
            address: u16::from(to.0).into(),
        });
    }
}

fn host(call: &'static str, error: &std::io::Error) -> logothete_transport::HostError {
    logothete_transport::HostError::from_io(call, error, "the second thread of arrangement split")
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_transport::pool::PoolConfig;

    /// Found by AddressSanitizer: a replica that was stopped, or panicked, while something was on its way between its threads kept its pool for good.
    #[test]
    fn what_is_on_its_way_at_the_end_goes_back_to_its_pool() {
        const FRAMES: usize = 8;
        let pool = Pool::new(PoolConfig { frame_bytes: 100, frames: FRAMES }).expect("a small pool");
        let mut way = Way::new(size_of::<Arrival>(), &pool);
        let arrival =
            || Arrival { frame: pool.take().expect("a frame").into_raw().into(), facts: [0; PacketFacts::BYTES] };
        for published in [2, 3, 1] {
            way.producer.publish();
            for _ in 0..published {
                way.producer.try_push(arrival().as_bytes()).expect("there is room");
            }
        }
        way.consumer
            .poll(1, |record| drop(pool.from_raw(Arrival::read_from_bytes(record).unwrap().frame.get())))
            .unwrap();
        let free = || std::iter::from_fn(|| pool.take()).collect::<Vec<Frame>>().len();
        assert_eq!(free(), FRAMES - 5);
        drop(way);
        assert_eq!(free(), FRAMES);
    }
}
