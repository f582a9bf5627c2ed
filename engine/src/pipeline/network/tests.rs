//! Networks over real sockets and a time that the test makes; and, without sockets, key rings on their schedules over a network that loses
//! and delays.

use super::introductions::Introductions;
use super::rotation::{Change, Rotation};
use super::*;
use crate::authentication::{PacketFacts, Refused};
use crate::cluster::{Cluster, FanOut, Transport, init};
use crate::limits::{ANNOUNCE_NS, KEY_OVERLAP_NS, PROBE_MAX_NS, PROBE_NS, PROBES_MISSED_MAX};
use crate::pipeline::{Opened, open_network};
use crate::wire::keys::{KeyReport, RotateKeys};
use crate::wire::packet::{ENTRY_BYTES, HEADER_BYTES, MAGIC_ANNOUNCEMENT as ANNOUNCEMENT};
use crate::wire::{Kind, Message, framing};
use logothete_crypto::{Digest, Identity, KeyRingConfig, MacAlgorithm, digest};
use logothete_transport::counters::CounterSet;
use logothete_transport::datagram::DatagramCounters;
use logothete_transport::multicast;
use std::collections::BTreeMap;

const MILLISECOND: u64 = 1_000_000;

/// A cluster's processes at the network, on one thread: its replicas, a driver, and the operator.
struct World {
    networks: Vec<Network>,
    pool: Vec<Pool>,
    now_ns: u64,
    /// Packets that came to each process for its core.
    taken: Vec<u64>,
    reports: BTreeMap<u8, KeyReport>,
}

fn principals(cluster: &Cluster) -> Vec<Principal> {
    let replicas = (0..cluster.replica_count() as u8).map(|id| Principal::Replica(ReplicaId(id)));
    replicas.chain((0..cluster.clients.len() as u16).map(|id| Principal::Client(ClientId(id)))).collect()
}

impl World {
    fn new(fan_out: FanOut, key_lifetime_s: u64) -> Self {
        let mut generated = init::generate(&init::Plan::default(), &mut logothete_crypto::os_entropy).unwrap();
        generated.cluster.key_lifetime_s = key_lifetime_s;
        let cluster = &generated.cluster;
        let identities = generated.replicas.into_iter().chain(generated.clients);
        let opened: Vec<Opened> = principals(cluster)
            .into_iter()
            .zip(identities)
            .map(|(own, identity)| {
                open_network(cluster, own, identity, Transport::Mmsg, fan_out, DatagramCounters::private()).unwrap()
            })
            .collect();
        let (networks, pool): (Vec<_>, Vec<_>) = opened.into_iter().map(|opened| (opened.network, opened.pool)).unzip();
        let taken = vec![0; networks.len()];
        Self { networks, pool, now_ns: 0, taken, reports: BTreeMap::new() }
    }

    /// A millisecond passes, and everything that was sent arrives.
    fn turn(&mut self) {
        self.now_ns += MILLISECOND;
        let (now_ns, taken, reports) = (self.now_ns, &mut self.taken, &mut self.reports);
        self.networks.iter_mut().for_each(|network| network.on_duty_end(now_ns).unwrap());
        let mut quiet = false;
        while !quiet {
            quiet = true;
            for (index, network) in self.networks.iter_mut().enumerate() {
                let received = network.receive(now_ns, |incoming| {
                    let Incoming::Packet(packet) = incoming else { panic!("nobody relays here") };
                    taken[index] += 1;
                    if let (Principal::Replica(from), Some(Ok((Message::KeyReport(report), _)))) =
                        (packet.sender(), packet.messages().next())
                    {
                        reports.insert(from.0, *report);
                    }
                });
                quiet &= received == 0;
                network.on_duty_end(now_ns).unwrap();
            }
        }
    }

    fn turn_until(&mut self, turns_max: usize, done: impl Fn(&World) -> bool) -> bool {
        (0..turns_max).any(|_| {
            self.turn();
            done(self)
        })
    }

    fn settled(&self) -> bool {
        self.networks[..4].iter().all(|network| network.replicas_established() == 3 && network.all_replicas_confirmed())
            && self.networks[4..].iter().all(|network| network.replicas_established() == 4)
    }

    /// One message of a process for all replicas but itself.
    fn say(&mut self, from: usize, message: &[u8]) {
        let mut frame = self.pool[from].take().expect("frames come back");
        frame.capacity_bytes_mut()[HEADER_BYTES..HEADER_BYTES + message.len()].copy_from_slice(message);
        let audience = Audience::Replicas(self.networks[from].everybody());
        self.networks[from].depart(Outgoing { frame, body_bytes: message.len(), audience, message_count: 1 });
    }
}

fn chatter() -> Vec<u8> {
    let mut message = Vec::new();
    framing::append(&mut message, Kind::Status, &[&[0; 64]]);
    message
}

fn wish(nonce: u64) -> Vec<u8> {
    let mut message = Vec::new();
    RotateKeys { nonce: nonce.into() }.append(&mut message);
    message
}

/// `protocol.md KY-1`, `KY-2`
#[test]
fn traffic_through_scheduled_rotations_loses_nothing() {
    let mut world = World::new(FanOut::Unicast, 1);
    assert!(world.turn_until(500, World::settled));
    let (message, taken_before) = (chatter(), world.taken.clone());
    let turns = 4_000;
    for _ in 0..turns {
        (0..4).for_each(|from| world.say(from, &message));
        world.turn();
    }
    for (index, network) in world.networks[..4].iter().enumerate() {
        assert_eq!(world.taken[index] - taken_before[index], 3 * turns, "packets that came to replica {index}");
        // Each life is between 750 and 1000 ms.
        assert!(network.key_generation() >= 4, "{}", network.key_generation());
        assert_eq!(network.refused().of(Refused::KeyStale), 0);
    }
    // The driver followed, and is current everywhere (`protocol.md KY-5`).
    assert!(world.networks[4].key_generation() >= 4);
    assert!(world.turn_until(3000, |world| world.networks[4].all_replicas_confirmed()));
}

/// `protocol.md KY-4`, `KY-5`
#[test]
fn the_operators_wish_makes_new_keys_everywhere_once() {
    let mut world = World::new(FanOut::Unicast, 0);
    assert!(world.turn_until(500, World::settled));
    for _ in 0..50 {
        world.say(5, &wish(77));
        world.turn();
    }
    for (index, network) in world.networks[..5].iter().enumerate() {
        assert_eq!(network.key_generation(), 1, "process {index}");
    }
    let report = |world: &World, id: u8| {
        let report = world.reports[&id];
        let numbers = [report.replicas, report.replicas_confirmed, report.clients, report.clients_confirmed];
        (report.nonce.get(), report.generation.get(), numbers.map(|number| number.get()))
    };
    for id in 0..4 {
        assert_eq!(report(&world, id), (77, 1, [3, 3, 1, 1]));
        assert!(world.reports[&id].in_use_after_ns.get() > 0 && world.reports[&id].due_ms.get() == 0);
    }
    // The next wish waits for the overlap.
    world.say(5, &wish(78));
    world.turn();
    assert!((1..=KEY_OVERLAP_NS / MILLISECOND).contains(&u64::from(world.reports[&2].due_ms.get())));
    assert_eq!(report(&world, 2).1, 1);
    world.now_ns += KEY_OVERLAP_NS;
    world.turn();
    assert!(world.turn_until(100, |world| world.networks[..4].iter().all(|network| network.key_generation() == 2)));
}

/// `protocol.md KY-4`: what is not the operator's goes to the core, which rejects and counts it.
#[test]
fn nobody_else_rotates_keys() {
    let mut world = World::new(FanOut::Unicast, 0);
    assert!(world.turn_until(500, World::settled));
    let before = world.taken.clone();
    world.say(4, &wish(1));
    world.say(2, &wish(1));
    world.turn();
    for (id, network) in world.networks[..4].iter().enumerate() {
        assert_eq!(network.key_generation(), 0);
        let came = world.taken[id] - before[id];
        assert_eq!(came, u64::from(id != 2) + 1, "both came to the core of replica {id}");
    }
}

/// `protocol.md PK-7`
#[test]
fn a_group_that_is_no_longer_forwarded_is_given_up_and_taken_up_again() {
    let mut world = World::new(FanOut::Auto, 0);
    let Some(group) = world.networks[0].group else {
        eprintln!("skipped: no multicast on this host");
        return;
    };
    let multicasts = |world: &World| world.networks[..5].iter().all(Network::multicasts);
    assert!(world.turn_until(1000, |world| world.settled() && multicasts(world)));
    // Replica 0's group goes nowhere from now on: nobody has joined this one.
    let dead = multicast::destination("239.255.255.250".parse().unwrap(), 9, group.ip()).unwrap_or(group);
    world.networks[0].group = Some(dead);
    let noticed = world.now_ns;
    assert!(world.turn_until(5000, |world| !world.networks[0].multicasts()), "the dead path is noticed");
    let took_ms = (world.now_ns - noticed) / MILLISECOND;
    assert!(took_ms <= (PROBES_MISSED_MAX + 2) * PROBE_NS / MILLISECOND, "{took_ms} ms of the protocol's time");
    assert!(world.networks[1].multicasts(), "the others' groups are alive");
    let (message, before) = (chatter(), world.taken.clone());
    world.say(0, &message);
    world.turn();
    assert!((1..4).all(|id| world.taken[id] == before[id] + 1), "unicast reaches all");
    world.networks[0].group = Some(group);
    let turns = (2 * PROBE_MAX_NS / MILLISECOND) as usize;
    assert!(world.turn_until(turns, |world| world.networks[0].multicasts()), "and it comes back");
}

/// `protocol.md AN-8`: forgeries in the names of all others do not keep a restarted replica out.
#[test]
fn a_flood_of_forged_announcements_does_not_keep_a_handshake_from_its_end() {
    let mut generated = init::generate(&init::Plan::default(), &mut logothete_crypto::os_entropy).unwrap();
    generated.cluster.key_lifetime_s = 0;
    let cluster = &generated.cluster;
    let copy = |identity: &Identity| Identity::from_secret_bytes(*identity.secret_bytes());
    let open = |id: usize| {
        let own = Principal::Replica(ReplicaId(id as u8));
        let identity = copy(&generated.replicas[id]);
        open_network(cluster, own, identity, Transport::Mmsg, FanOut::Unicast, DatagramCounters::private()).unwrap()
    };
    // Forgeries name the right receiver and configuration, and are signed by nobody who counts.
    let mut forgers: Vec<KeyRing> = principals(cluster)
        .into_iter()
        .filter(|own| *own != Principal::Replica(ReplicaId(0)))
        .map(|own| {
            KeyRing::new(
                KeyRingConfig {
                    context: cluster.digest(),
                    algorithm: cluster.mac,
                    own: own.code(),
                    identity: Identity::from_secret_bytes([9; 32]),
                    peers: vec![(0, cluster.replicas[0].public_key)],
                },
                Box::new(logothete_crypto::os_entropy),
            )
        })
        .collect();
    let (mut victim, mut peer) = (open(0).network, open(1).network);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut established_ns = None;
    for now_ns in (1..).map(|turn| turn * MILLISECOND).take_while(|now_ns| *now_ns < 3_000 * MILLISECOND) {
        for forger in &mut forgers {
            for _ in 0..4 {
                let bytes = [&ANNOUNCEMENT[..], &forger.announcement(0, 0).unwrap()].concat();
                socket.send_to(&bytes, cluster.replicas[0].address).unwrap();
            }
        }
        while victim.receive(now_ns, |_| ()) > 0 {}
        victim.on_duty_end(now_ns).unwrap();
        // The peer starts when every budget is used up.
        if now_ns >= 500 * MILLISECOND {
            while peer.receive(now_ns, |_| ()) > 0 {}
            peer.on_duty_end(now_ns).unwrap();
            if victim.replicas_established() == 1 && peer.replicas_established() == 1 {
                established_ns = Some(now_ns);
                break;
            }
        }
    }
    let counts = victim.announcements();
    assert!(counts.unchecked > counts.refused, "the flood was beyond the budget: {counts:?}");
    let took_ms = established_ns.expect("the handshake ends") / MILLISECOND - 500;
    assert!(took_ms <= 10 * ANNOUNCE_NS / MILLISECOND, "after {took_ms} ms of the protocol's time");
}

/// One process without a socket: key ring, schedules, sealer and verifier, as the network puts them together.
struct Process {
    keys: KeyRing,
    rotation: Rotation,
    introductions: Introductions,
    sealer: Sealer,
    verifier: Verifier,
}

/// What is on its way.
enum Flying {
    Announcement(Vec<u8>),
    Packet(Vec<u8>),
}

/// Repeatable randomness.
fn seeded(seed: u64) -> impl FnMut(&mut [u8]) + Send + 'static {
    let mut drawn = 0u64;
    move |bytes| {
        for chunk in bytes.chunks_mut(32) {
            drawn += 1;
            chunk.copy_from_slice(&digest(&[seed.to_le_bytes(), drawn.to_le_bytes()].concat()).0[..chunk.len()]);
        }
    }
}

/// `protocol.md AN-6`, `KY-2`, `KY-3`: announcements are lost and delayed, packets are delayed and overtake each other, everybody rotates, and no
/// packet is refused.
#[test]
fn no_packet_is_lost_to_rotations_under_a_seeded_network() {
    const PROCESSES: usize = 4;
    const DELAY_MAX_MS: u64 = 60;
    for seed in 0..4u64 {
        let mut random = seeded(seed);
        let mut below = |bound: u64| {
            let mut bytes = [0; 8];
            random(&mut bytes);
            u64::from_le_bytes(bytes) % bound
        };
        let identity = |id: usize| Identity::from_secret_bytes([id as u8 + 1; 32]);
        // A life of four seconds, and one of overlap.
        let policy = RotationPolicy { lifetime_ns: 4_000 * MILLISECOND, packets_max: 3_000 };
        let mut processes: Vec<Process> = (0..PROCESSES)
            .map(|id| {
                let own = Principal::Replica(ReplicaId(id as u8));
                let peers =
                    (0..PROCESSES).filter(|peer| *peer != id).map(|peer| (peer as u16, identity(peer).public()));
                let config = KeyRingConfig {
                    context: Digest([1; 32]),
                    algorithm: MacAlgorithm::Aes256Gmac,
                    own: own.code(),
                    identity: identity(id),
                    peers: peers.collect(),
                };
                Process {
                    keys: KeyRing::new(config, Box::new(seeded(1000 * seed + id as u64))),
                    rotation: Rotation::new(policy, seed ^ id as u64, PROCESSES, None, 0),
                    introductions: Introductions::new(PROCESSES, PROCESSES),
                    sealer: Sealer::new(own, 1),
                    verifier: Verifier::new(own, 1, PROCESSES, 1),
                }
            })
            .collect();
        let mut flying: BTreeMap<u64, Vec<(usize, Flying)>> = BTreeMap::new();
        let (mut sent, mut taken) = (0, 0);
        for now_ms in 0..16_000u64 {
            let now_ns = now_ms * MILLISECOND;
            for (to, datagram) in flying.remove(&now_ms).unwrap_or_default() {
                let process = &mut processes[to];
                match datagram {
                    Flying::Announcement(bytes) => {
                        let Ok(claim) = process.keys.claim(&bytes) else { continue };
                        let from = usize::from(claim.from);
                        if !process.introductions.may_check(from, claim.echoes, now_ns) {
                            continue;
                        }
                        let accepted = process.keys.accept_announcement(&bytes).expect("nobody forges");
                        if accepted.rotated {
                            process.rotation.peer_rotated(from, Some(ReplicaId(from as u8)), now_ns);
                        }
                        if accepted.answer_wanted {
                            process.introductions.want(from, now_ns);
                        }
                    }
                    Flying::Packet(bytes) => {
                        let verdict = process.verifier.verify(&process.keys, &bytes, |_| false);
                        let verdict = verdict.map(|incoming: Incoming<'_>| incoming.facts());
                        let _: PacketFacts =
                            verdict.unwrap_or_else(|refused| panic!("{refused:?}, seed {seed} at {now_ms} ms"));
                        taken += 1;
                    }
                }
            }
            for (own, process) in processes.iter_mut().enumerate() {
                while let Some(change) = process.rotation.poll(now_ns, process.sealer.sealed()) {
                    match change {
                        Change::Rotate => {
                            process.keys.rotate();
                            (0..PROCESSES).for_each(|peer| process.introductions.want(peer, now_ns));
                        }
                        Change::Retire => process.keys.retire(),
                        Change::RetireOf(peer) => process.keys.retire_of(peer as u16),
                    }
                }
                for peer in (0..PROCESSES).filter(|peer| *peer != own) {
                    if process.introductions.is_due(peer, now_ns) {
                        let bytes = process.keys.announcement(peer as u16, 0).unwrap().to_vec();
                        // One in five is lost.
                        if below(5) > 0 {
                            let arrival = now_ms + 1 + below(DELAY_MAX_MS);
                            flying.entry(arrival).or_default().push((peer, Flying::Announcement(bytes)));
                        }
                        if process.keys.settled(peer as u16) {
                            process.introductions.rest(peer);
                        } else {
                            process.introductions.sent(peer, now_ns);
                        }
                    }
                }
                // Traffic begins when the handshakes are over.
                if now_ms >= 1_000 {
                    let body = [8, 0, 0, 0, 8, 0, 0, 0];
                    let audience = Audience::Replicas(ReplicaSet::first(PROCESSES).without(ReplicaId(own as u8)));
                    let mut bytes = vec![0; HEADER_BYTES + body.len() + (PROCESSES - 1) * ENTRY_BYTES];
                    bytes[HEADER_BYTES..HEADER_BYTES + body.len()].copy_from_slice(&body);
                    process.sealer.seal(&mut process.keys, &mut bytes, body.len(), audience, 1);
                    for peer in (0..PROCESSES).filter(|peer| *peer != own) {
                        let arrival = now_ms + 1 + below(DELAY_MAX_MS);
                        flying.entry(arrival).or_default().push((peer, Flying::Packet(bytes.clone())));
                        sent += 1;
                    }
                }
            }
        }
        let waiting: usize =
            flying.values().flatten().filter(|(_, datagram)| matches!(datagram, Flying::Packet(_))).count();
        assert_eq!(taken + waiting, sent);
        for process in &processes {
            assert!(process.keys.generation() >= 4, "only {} rotations", process.keys.generation());
        }
    }
}

/// `protocol.md RB-3`, `RB-4`: a client whose tags are wrong is soon not looked at any more, and nobody else notices.
#[test]
fn bad_tags_use_up_their_clients_share_and_nobody_elses() {
    let mut world = World::new(FanOut::Unicast, 0);
    assert!(world.turn_until(500, World::settled));
    // The driver's address is known by an authentic packet of it.
    world.say(4, &chatter());
    world.turn();
    let (sent, replica) = (400, world.networks[4].replicas[0]);
    for _ in 0..sent {
        let mut frame = world.pool[4].take().expect("frames come back");
        let message = chatter();
        frame.capacity_bytes_mut()[HEADER_BYTES..HEADER_BYTES + message.len()].copy_from_slice(&message);
        let audience = Audience::Replicas(ReplicaSet::only(ReplicaId(0)));
        let outgoing = Outgoing { frame, body_bytes: message.len(), audience, message_count: 1 };
        let mut frame = world.networks[4].seal(outgoing);
        let last = frame.len() - 1;
        frame.capacity_bytes_mut()[last] ^= 1;
        world.networks[4].endpoint.send(frame, replica);
        world.networks[4].endpoint.flush().unwrap();
        world.networks[0].receive(world.now_ns, |_| panic!("its tag is wrong"));
    }
    let refused = *world.networks[0].refused();
    assert_eq!(refused.of(Refused::TagBad) + refused.of(Refused::Quota), sent);
    assert!((40..100).contains(&refused.of(Refused::TagBad)), "{}", refused.of(Refused::TagBad));
    let before = world.taken[0];
    (1..4).for_each(|from| world.say(from, &chatter()));
    world.say(5, &chatter());
    world.turn();
    assert_eq!(world.taken[0], before + 4, "the others are heard");
    (0..300).for_each(|_| world.turn());
    world.say(4, &chatter());
    world.turn();
    assert_eq!(world.taken[0], before + 5, "and so is the client, a little later");
}
