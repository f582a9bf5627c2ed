//! The agents at the network: the receiver and verifier on the way in, the sender on the way out. They share the endpoint and
//! the key ring, so they live on one thread, and in one structure.
//!
//! A datagram is an announcement of keys or a packet. Some packets are about the link itself (probes of the multicast path, the operator's
//! wish for new keys): they are dealt with here, and the core never sees them. What is sent and received is in this file, the handshake
//! in `handshake`, the link's own messages in `link`.

mod group_path;
mod handshake;
mod introductions;
mod link;
mod quota;
mod rotation;
#[cfg(test)]
mod tests;

pub use rotation::RotationPolicy;

use super::ReplicaFacts;
use super::outbox::{Departures, Outgoing};
use crate::authentication::{Incoming, PacketFacts, Refused, RefusedCounters, Sealer, Verifier};
use crate::numbers::{ClientId, Principal, ReplicaId, ReplicaSet};
use crate::replica::Quorum;
use crate::wire::packet::MAGIC_ANNOUNCEMENT;
use crate::wire::{Audience, Kind};
use group_path::GroupPath;
use introductions::Introductions;
use logothete_crypto::KeyRing;
use logothete_transport::HostError;
use logothete_transport::datagram::{Endpoint, Received};
use logothete_transport::pool::{Frame, Pool};
use quota::{Excess, Lane, Quotas};
use rotation::Rotation;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Whether a message's kind brings nodes or pages of a state.
fn is_of_state(kind: u8) -> bool {
    kind == Kind::StateNodes as u8 || kind == Kind::StatePages as u8
}

/// Datagrams taken from the endpoint at a time.
const RECEIVE_BATCH: usize = 64;

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
    /// How long its keys live.
    pub rotation: RotationPolicy,
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
    group_path: GroupPath,
    rotation: Option<Rotation>,
    rotation_policy: RotationPolicy,
    /// A message of the link's own, while it is made.
    message: Vec<u8>,
    announcements: AnnouncementCounts,
    received: Vec<Received>,
    /// Of those, what is verified after the replicas' packets.
    received_later: Vec<(Received, Lane)>,
    quotas: Quotas,
    unsendable: u64,
}

/// What became of the announcements that arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnnouncementCounts {
    /// Taken in.
    pub accepted: u64,
    /// Refused: forged, repeated, for somebody else.
    pub refused: u64,
    /// Dropped without a look at their signature: too many came (`protocol.md AN-8`).
    pub unchecked: u64,
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
        let isolated_max = match config.own {
            Principal::Replica(_) => Quorum::of(replicas).map_or(0, Quorum::faults),
            // One replica sends a subscriber all entries, and the others hardly anything.
            Principal::Client(_) => 0,
        };
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
            group_path: GroupPath::new(),
            rotation: None,
            rotation_policy: config.rotation,
            message: Vec::new(),
            announcements: AnnouncementCounts::default(),
            received: Vec::with_capacity(RECEIVE_BATCH),
            received_later: Vec::with_capacity(RECEIVE_BATCH),
            quotas: Quotas::new(clients, isolated_max),
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
        let mut later = std::mem::take(&mut self.received_later);
        for datagram in received.drain(..) {
            if datagram.frame.first_chunk::<4>() == Some(&MAGIC_ANNOUNCEMENT) {
                self.on_announcement(&datagram, now_ns);
                continue;
            }
            // What replicas say is verified before what clients say (`protocol.md RB-3`).
            let lane = Lane::of(&datagram, &self.replicas, &self.clients);
            if lane.goes_first() {
                self.receive_one(datagram, lane, now_ns, &mut take);
            } else {
                later.push((datagram, lane));
            }
        }
        later.drain(..).for_each(|(datagram, lane)| self.receive_one(datagram, lane, now_ns, &mut take));
        (self.received, self.received_later) = (received, later);
        count
    }

    fn receive_one(&mut self, datagram: Received, lane: Lane, now_ns: u64, take: &mut impl FnMut(Frame, PacketFacts)) {
        if let Err(excess) = self.quotas.take(lane, datagram.frame.len(), now_ns) {
            self.verifier.count(match excess {
                Excess::Quota => Refused::Quota,
                Excess::Isolated => Refused::Isolated,
            });
            return;
        }
        if let Some(facts) = self.verify(&datagram, lane, now_ns)
            && !self.on_link_packet(&datagram, facts, now_ns)
        {
            take(datagram.frame, facts);
        }
    }

    fn verify(&mut self, datagram: &Received, lane: Lane, now_ns: u64) -> Option<PacketFacts> {
        let from_replica = || self.replicas.contains(&datagram.from);
        let relayed = |sender| matches!(sender, Principal::Client(_)) && from_replica();
        match self.verifier.verify(&self.keys, &datagram.frame, relayed) {
            Ok(incoming) => {
                if let Incoming::Packet(packet) = incoming {
                    match packet.sender() {
                        Principal::Client(id) => self.clients[usize::from(id.0)] = Some(datagram.from),
                        // Pages of a state come because they were asked for, and may be many.
                        Principal::Replica(id) if !packet.body().first().is_some_and(|kind| is_of_state(*kind)) => {
                            self.quotas.on_authentic(id);
                        }
                        Principal::Replica(_) => {}
                    }
                }
                Some(incoming.facts())
            }
            // Not a forgery: the ends have other keys in mind (`protocol.md PK-5`).
            Err((Refused::NoSession | Refused::KeyStale, Some(sender))) => {
                // A client that does not know that this process is a new one announces itself to nobody: it is told where its packet came
                // from, should that be a forgery at most an announcement goes astray (`protocol.md AN-7`).
                if let Principal::Client(id) = sender
                    && self.keys.established(sender.code()).is_none()
                {
                    self.clients_announced[usize::from(id.0)] = Some(datagram.from);
                }
                if let Some(peer) = self.peer_index(sender.code()) {
                    self.introductions.want(peer, now_ns);
                }
                None
            }
            Err((Refused::TagBad, _)) => {
                self.quotas.on_tag_bad(lane, now_ns);
                None
            }
            Err(_) => None,
        }
    }

    fn seal_and_send(&mut self, outgoing: Outgoing) {
        let audience = outgoing.audience;
        let frame = self.seal(outgoing);
        match audience {
            Audience::Client(id) => self.send_to_client(id, frame),
            Audience::Replicas(set) => self.send_to_replicas(set, frame),
        }
    }

    fn seal(&mut self, outgoing: Outgoing) -> Frame {
        let mut frame = outgoing.frame;
        let bytes = self.sealer.seal(
            &mut self.keys,
            frame.capacity_bytes_mut(),
            outgoing.body_bytes,
            outgoing.audience,
            outgoing.message_count,
        );
        frame.set_len(bytes);
        frame
    }

    /// Ends a duty cycle: rotates keys, announces and probes where due, and hands everything queued to the kernel.
    ///
    /// # Errors
    /// The host's networking is broken.
    pub fn on_duty_end(&mut self, now_ns: u64) -> Result<(), HostError> {
        self.quotas.on_duty_end(now_ns);
        self.rotate_where_due(now_ns);
        if self.introductions.deadline_ns() <= now_ns {
            self.announce(now_ns);
        }
        if self.group.is_some() && self.group_path.deadline_ns() <= now_ns {
            self.probe(now_ns);
        }
        self.endpoint.flush()
    }

    /// When [`Network::on_duty_end`] is to be called at the latest.
    pub fn deadline_ns(&self) -> u64 {
        let probe_ns = if self.group.is_some() { self.group_path.deadline_ns() } else { u64::MAX };
        let rotation_ns = self.rotation.as_ref().map_or(0, Rotation::deadline_ns);
        self.introductions.deadline_ns().min(probe_ns).min(rotation_ns)
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
        self.established().count()
    }

    /// Whether multicast is in use now: there is a group, and it reaches every replica with a session (`protocol.md PK-7`).
    pub fn multicasts(&self) -> bool {
        self.group.is_some() && self.group_path.reaches(self.established())
    }

    /// The generation of this process's key.
    pub fn key_generation(&self) -> u32 {
        self.keys.generation()
    }

    /// What became of the announcements that arrived.
    pub fn announcements(&self) -> AnnouncementCounts {
        self.announcements
    }

    /// What it counted.
    pub fn facts(&self) -> ReplicaFacts {
        let datagrams = self.endpoint.counters();
        ReplicaFacts {
            datagrams_sent: datagrams.sent.value(),
            datagrams_received: datagrams.received.value(),
            refused: *self.verifier.refused(),
            isolated: self.quotas.isolated(),
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
        if let Some(group) = self.group
            && set == self.everybody()
            && self.multicasts()
        {
            self.endpoint.send(frame, group);
            return;
        }
        self.unicast_to_replicas(set, frame);
    }

    fn unicast_to_replicas(&mut self, set: ReplicaSet, frame: Frame) {
        let mut addresses = [self.replicas[0]; crate::limits::REPLICAS_MAX];
        let mut count = 0;
        for id in set.iter() {
            addresses[count] = self.replicas[usize::from(id.0)];
            count += 1;
        }
        self.endpoint.send_all(frame, &addresses[..count]);
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

    /// The replicas with which there is a session.
    fn established(&self) -> ReplicaSet {
        let mut set = ReplicaSet::EMPTY;
        for id in self.everybody().iter() {
            if self.keys.established(Principal::Replica(id).code()).is_some() {
                set.insert(id);
            }
        }
        set
    }

    /// All replicas but this process.
    fn everybody(&self) -> ReplicaSet {
        let all = ReplicaSet::first(self.replicas.len());
        match self.own {
            Principal::Replica(own) => all.without(own),
            Principal::Client(_) => all,
        }
    }
}
