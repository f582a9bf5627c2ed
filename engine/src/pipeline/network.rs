//! The agents at the network: the receiver and verifier on the way in, the sender on the way out. They share the endpoint and
//! the key ring, so they live on one thread, and in one structure.
//!
//! A datagram is an announcement of keys, a probe of the multicast path, or a packet. Whether multicast reaches everybody is found out by
//! trying (`protocol.md PK-7`): each process sends probes to its group, and each announcement says whether the other's
//! group datagrams arrive. As long as one peer does not hear them, everything goes out by unicast.

use super::ReplicaFacts;
use super::introductions::Introductions;
use super::outbox::{Departures, Outgoing};
use crate::authentication::{Incoming, PacketFacts, Refused, RefusedCounters, Sealer, Verifier};
use crate::limits::{ANNOUNCE_MAX_NS, ANNOUNCE_NS};
use crate::numbers::{ClientId, Principal, ReplicaId, ReplicaSet};
use crate::wire::Audience;
use crate::wire::packet::{MAGIC_ANNOUNCEMENT, MAGIC_PROBE};
use logothete_crypto::{ANNOUNCEMENT_BYTES, KeyRing, Outcome};
use logothete_transport::HostError;
use logothete_transport::datagram::{Endpoint, Received};
use logothete_transport::pool::{Frame, Pool};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Datagrams taken from the endpoint at a time.
const RECEIVE_BATCH: usize = 64;

/// In an announcement: the receiver's group datagrams arrive here.
const ATTRIBUTE_HEARS_GROUP: u8 = 1;

/// A probe: magic, sender, cluster.
const PROBE_BYTES: usize = 4 + 2 + 8;

/// How many probes a peer that does not hear them gets before its silence is believed.
const PROBES_MAX: u32 = 12;

/// What a process needs at the network.
pub struct NetworkConfig {
    /// Who it is.
    pub own: Principal,
    /// The cluster.
    pub cluster: u64,
    /// Where its datagrams come and go.
    pub endpoint: Endpoint,
    /// Where frames for sending come from.
    pub pool: Pool,
    /// Its session keys.
    pub keys: KeyRing,
    /// Where the replicas receive unicasts.
    pub replicas: Vec<SocketAddr>,
    /// How many clients the cluster has.
    pub clients: usize,
    /// Where this process's own multicasts go, if there is multicast.
    pub group: Option<SocketAddr>,
}

/// Receiver, verifier and sender of one process.
pub struct Network {
    own: Principal,
    cluster: u64,
    endpoint: Endpoint,
    pool: Pool,
    keys: KeyRing,
    verifier: Verifier,
    sealer: Sealer,
    introductions: Introductions,
    replicas: Vec<SocketAddr>,
    /// Where each client's last authentic packet came from.
    clients: Vec<Option<SocketAddr>>,
    /// Where its last announcement came from, which a recording may be: only announcements go there.
    clients_announced: Vec<Option<SocketAddr>>,
    group: Option<SocketAddr>,
    /// Peers (by index) whose group datagrams arrive here.
    heard: Box<[bool]>,
    /// Replicas that say that this process's group datagrams arrive there.
    hearing: ReplicaSet,
    probe_due_ns: u64,
    probes: u32,
    received: Vec<Received>,
    unsendable: u64,
}

impl Departures for Network {
    /// Seals a packet and queues it for sending.
    fn depart(&mut self, packet: Outgoing) {
        self.seal_and_send(packet);
    }

    fn depart_relayed(&mut self, to: ReplicaId, frame: Frame) {
        self.endpoint.send(frame, self.replicas[usize::from(to.0)]);
    }
}

impl Network {
    /// Ready to announce itself.
    pub fn new(config: NetworkConfig) -> Self {
        let (replicas, clients) = (config.replicas.len(), config.clients);
        let announced_to = replicas;
        Self {
            own: config.own,
            cluster: config.cluster,
            endpoint: config.endpoint,
            pool: config.pool,
            keys: config.keys,
            verifier: Verifier::new(config.own, config.cluster, replicas, clients),
            sealer: Sealer::new(config.own, config.cluster),
            introductions: Introductions::new(replicas + clients, announced_to),
            replicas: config.replicas,
            clients: vec![None; clients],
            clients_announced: vec![None; clients],
            group: config.group,
            heard: vec![false; replicas + clients].into(),
            hearing: ReplicaSet::EMPTY,
            probe_due_ns: 0,
            probes: 0,
            received: Vec::with_capacity(RECEIVE_BATCH),
            unsendable: 0,
        }
    }

    /// Takes what has arrived, at most one batch, and gives what is a packet to `take`. Returns how many datagrams there were.
    pub fn receive(&mut self, now_ns: u64, mut take: impl FnMut(&Incoming<'_>)) -> usize {
        self.receive_frames(now_ns, |frame, facts| take(&facts.incoming(&frame)))
    }

    /// The same, giving away the frames.
    pub(super) fn receive_frames(&mut self, now_ns: u64, mut take: impl FnMut(Frame, PacketFacts)) -> usize {
        let mut received = std::mem::take(&mut self.received);
        let count = self.endpoint.receive(&mut received, RECEIVE_BATCH);
        for datagram in received.drain(..) {
            match datagram.frame.first_chunk::<4>() {
                Some(&MAGIC_ANNOUNCEMENT) => self.on_announcement(&datagram, now_ns),
                Some(&MAGIC_PROBE) => self.on_probe(&datagram, now_ns),
                _ => {
                    if let Some(facts) = self.verify(&datagram, now_ns) {
                        take(datagram.frame, facts);
                    }
                }
            }
        }
        self.received = received;
        count
    }

    fn verify(&mut self, datagram: &Received, now_ns: u64) -> Option<PacketFacts> {
        let from_replica = || self.replicas.contains(&datagram.from);
        let relayed = |sender| matches!(sender, Principal::Client(_)) && from_replica();
        match self.verifier.verify(&self.keys, &datagram.frame, relayed) {
            Ok(incoming) => {
                if let Incoming::Packet(packet) = incoming
                    && let Principal::Client(id) = packet.sender()
                {
                    self.clients[usize::from(id.0)] = Some(datagram.from);
                }
                Some(incoming.facts())
            }
            // Not a forgery: the ends have other keys in mind (`protocol.md PK-5`).
            Err((Refused::NoSession | Refused::KeyStale, Some(sender))) => {
                if let Some(peer) = self.peer_index(sender.code()) {
                    self.introductions.want(peer, now_ns);
                }
                None
            }
            Err(_) => None,
        }
    }

    fn seal_and_send(&mut self, mut outgoing: Outgoing) {
        let frame = &mut outgoing.frame;
        let bytes = self.sealer.seal(
            &mut self.keys,
            frame.capacity_bytes_mut(),
            outgoing.body_bytes,
            outgoing.audience,
            outgoing.message_count,
        );
        frame.set_len(bytes);
        match outgoing.audience {
            Audience::Client(id) => self.send_to_client(id, outgoing.frame),
            Audience::Replicas(set) => self.send_to_replicas(set, outgoing.frame),
        }
    }

    /// Ends a duty cycle: announces and probes where due, and hands everything queued to the kernel.
    ///
    /// # Errors
    /// The host's networking is broken.
    pub fn on_duty_end(&mut self, now_ns: u64) -> Result<(), HostError> {
        if self.introductions.deadline_ns() <= now_ns {
            self.announce(now_ns);
        }
        if self.probe_due_ns <= now_ns {
            self.probe(now_ns);
        }
        self.endpoint.flush()
    }

    /// When [`Network::on_duty_end`] is to be called at the latest.
    pub fn deadline_ns(&self) -> u64 {
        self.introductions.deadline_ns().min(self.probe_due_ns)
    }

    /// Sleeps until a datagram or a waker comes, or the time is over.
    ///
    /// # Errors
    /// The host's networking is broken.
    pub fn wait(&mut self, timeout: Duration) -> Result<(), HostError> {
        self.endpoint.wait(timeout)
    }

    /// Lets a descriptor end [`Network::wait`].
    ///
    /// # Errors
    /// The host has no room for one more.
    pub fn register_waker(&mut self, waker: BorrowedFd<'_>) -> Result<(), HostError> {
        self.endpoint.register_waker(waker)
    }

    /// This process's epoch.
    pub fn epoch(&self) -> u64 {
        self.keys.epoch()
    }

    /// How many replicas this process has a session with.
    pub fn replicas_established(&self) -> usize {
        self.replica_ids().filter(|id| self.keys.established(Principal::Replica(*id).code()).is_some()).count()
    }

    /// Whether multicast is in use now: there is a group, and every replica with a session hears it.
    pub fn multicasts(&self) -> bool {
        self.group.is_some()
            && self
                .replica_ids()
                .filter(|id| self.keys.established(Principal::Replica(*id).code()).is_some())
                .all(|id| self.hearing.contains(id))
    }

    /// What it counted.
    pub fn facts(&self) -> ReplicaFacts {
        let datagrams = self.endpoint.counters();
        ReplicaFacts {
            datagrams_sent: datagrams.sent.value(),
            datagrams_received: datagrams.received.value(),
            refused: self.verifier.refused().total(),
        }
    }

    /// Times that no frame was free.
    pub fn frames_exhausted(&self) -> u64 {
        self.pool.exhausted()
    }

    /// Packets for clients that were never heard from.
    pub fn unsendable(&self) -> u64 {
        self.unsendable
    }

    /// What the verifier refused.
    pub fn refused(&self) -> &RefusedCounters {
        self.verifier.refused()
    }

    fn send_to_client(&mut self, id: ClientId, frame: Frame) {
        match self.clients.get(usize::from(id.0)) {
            Some(Some(address)) => self.endpoint.send(frame, *address),
            // A client that was never heard from by this process; its retransmission will tell where it is.
            _ => self.unsendable += 1,
        }
    }

    fn send_to_replicas(&mut self, set: ReplicaSet, frame: Frame) {
        let everybody = match self.own {
            Principal::Replica(own) => ReplicaSet::first(self.replicas.len()).without(own),
            Principal::Client(_) => ReplicaSet::first(self.replicas.len()),
        };
        if let Some(group) = self.group
            && set == everybody
            && self.multicasts()
        {
            self.endpoint.send(frame, group);
            return;
        }
        let mut addresses = [self.replicas[0]; crate::limits::REPLICAS_MAX];
        let mut count = 0;
        for id in set.iter() {
            addresses[count] = self.replicas[usize::from(id.0)];
            count += 1;
        }
        self.endpoint.send_all(frame, &addresses[..count]);
    }

    fn on_announcement(&mut self, datagram: &Received, now_ns: u64) {
        if !self.introductions.may_check(now_ns) {
            return;
        }
        let Ok(accepted) = self.keys.accept_announcement(&datagram.frame[MAGIC_ANNOUNCEMENT.len()..]) else { return };
        let Some(peer) = self.peer_index(accepted.from) else { return };
        match Principal::from_code(accepted.from) {
            Principal::Client(id) => self.clients_announced[usize::from(id.0)] = Some(datagram.from),
            Principal::Replica(id) if accepted.outcome != Outcome::Challenged => {
                if accepted.outcome == Outcome::Established {
                    // A new process: what the former one heard says nothing of this one.
                    self.hearing = self.hearing.without(id);
                    (self.probes, self.probe_due_ns) = (0, now_ns);
                }
                if accepted.attributes & ATTRIBUTE_HEARS_GROUP != 0 {
                    self.hearing.insert(id);
                }
            }
            Principal::Replica(_) => {}
        }
        if accepted.answer_wanted {
            self.introductions.want(peer, now_ns);
        }
    }

    fn announce(&mut self, now_ns: u64) {
        for peer in 0..self.heard.len() {
            if !self.introductions.is_due(peer, now_ns) {
                continue;
            }
            let principal = self.principal(peer);
            let address = match principal {
                Principal::Replica(id) => Some(self.replicas[usize::from(id.0)]),
                Principal::Client(id) => self.clients_announced[usize::from(id.0)],
            };
            let Some(address) = address.filter(|_| principal != self.own) else {
                self.introductions.rest(peer);
                continue;
            };
            let attributes = if self.heard[peer] { ATTRIBUTE_HEARS_GROUP } else { 0 };
            let announcement = self.keys.announcement(principal.code(), attributes);
            if let (Some(announcement), Some(mut frame)) = (announcement, self.pool.take()) {
                let bytes = frame.capacity_bytes_mut();
                bytes[..4].copy_from_slice(&MAGIC_ANNOUNCEMENT);
                bytes[4..4 + ANNOUNCEMENT_BYTES].copy_from_slice(&announcement);
                frame.set_len(4 + ANNOUNCEMENT_BYTES);
                self.endpoint.send(frame, address);
            }
            if self.keys.settled(principal.code()) {
                self.introductions.rest(peer);
            } else if matches!(principal, Principal::Client(_)) {
                // A client that wants a session asks again; one that went away is not called after.
                self.introductions.rest(peer);
            } else {
                self.introductions.sent(peer, now_ns);
            }
        }
    }

    /// A peer's group datagrams arrive here: it is told so by the next announcement, which is due now.
    fn on_probe(&mut self, datagram: &Received, now_ns: u64) {
        let probe: Option<&[u8; PROBE_BYTES]> = datagram.frame.first_chunk();
        let Some(probe) = probe.filter(|_| datagram.group && datagram.frame.len() == PROBE_BYTES) else { return };
        if probe[6..] != self.cluster.to_le_bytes() {
            return;
        }
        if let Some(peer) = self.peer_index(u16::from_le_bytes([probe[4], probe[5]]))
            && !std::mem::replace(&mut self.heard[peer], true)
        {
            self.introductions.want(peer, now_ns);
        }
    }

    fn probe(&mut self, now_ns: u64) {
        self.probe_due_ns = u64::MAX;
        let Some(group) = self.group else { return };
        let others = match self.own {
            Principal::Replica(own) => ReplicaSet::first(self.replicas.len()).without(own),
            Principal::Client(_) => ReplicaSet::first(self.replicas.len()),
        };
        if self.hearing == others || self.probes >= PROBES_MAX {
            return;
        }
        self.probe_due_ns = now_ns + (ANNOUNCE_NS << self.probes.min(16)).min(ANNOUNCE_MAX_NS);
        self.probes += 1;
        if let Some(mut frame) = self.pool.take() {
            let bytes = frame.capacity_bytes_mut();
            bytes[..4].copy_from_slice(&MAGIC_PROBE);
            bytes[4..6].copy_from_slice(&self.own.code().to_le_bytes());
            bytes[6..PROBE_BYTES].copy_from_slice(&self.cluster.to_le_bytes());
            frame.set_len(PROBE_BYTES);
            self.endpoint.send(frame, group);
        }
    }

    fn peer_index(&self, code: u16) -> Option<usize> {
        let index = match Principal::from_code(code) {
            Principal::Replica(id) => Some(usize::from(id.0)).filter(|index| *index < self.replicas.len()),
            Principal::Client(id) => Some(usize::from(id.0))
                .filter(|index| *index < self.clients.len())
                .map(|index| self.replicas.len() + index),
        };
        index.filter(|_| code != self.own.code())
    }

    fn principal(&self, peer: usize) -> Principal {
        match peer.checked_sub(self.replicas.len()) {
            None => Principal::Replica(ReplicaId(peer as u8)),
            Some(client) => Principal::Client(ClientId(client as u16)),
        }
    }

    fn replica_ids(&self) -> impl Iterator<Item = ReplicaId> + use<> {
        let own = self.own;
        (0..self.replicas.len() as u8).map(ReplicaId).filter(move |id| Principal::Replica(*id) != own)
    }
}
