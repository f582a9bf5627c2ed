//! What must be the same at every replica and driver: `cluster.toml`.

use super::document::{Document, Section};
use super::{Active, ConfigError, Fault, Journal, ServiceKind};
use crate::limits::{self, REPLICAS_MAX};
use crate::numbers::ClientId;
use crate::replica::Quorum;
use crate::replica::bodies::{PartShape, bodies_bytes_max};
use crate::replica::engine_pages::clients_fitting;
use crate::service::RESULT_HEADER_BYTES;
use crate::service::kv::COMMAND_OVERHEAD_BYTES_MAX;
use crate::wire::reply::REPLY_OVERHEAD_BYTES;
use crate::wire::request::{lone_request_bytes, operation_bytes_max, request_bytes_max};
use crate::wire::{Audience, packet};
use logothete_crypto::{MacAlgorithm, PublicIdentity};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::str::FromStr;

/// The configuration that must agree everywhere. Its [`digest`](Cluster::digest) is part of the handshake.
///
/// A value that came from [`Cluster::load`], [`Cluster::parse`] or [`super::init::generate`] has passed every check;
/// one changed by hand can be checked again with [`Cluster::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Names the cluster on the wire, so that a packet of another cluster is foreign. Never zero.
    pub cluster_id: u64,
    /// How many replicas may behave arbitrarily: `f`.
    pub faults: u8,
    /// How many replicas take part in ordering while nothing fails.
    pub active: Active,
    /// Whether what a replica promised survives its restart.
    pub journal: Journal,
    /// What the replicas execute.
    pub service: ServiceKind,
    /// Bytes of every result of the null service.
    pub null_reply_bytes: usize,
    /// How packets are authenticated.
    pub mac: MacAlgorithm,
    /// Most bytes of one datagram's payload.
    pub datagram_bytes_max: usize,
    /// Most bytes of what one operation carries for its user: an entry of the log, or a value of the key-value service; the command around
    /// a value has room of its own.
    pub operation_bytes_max: usize,
    /// Sequence numbers from one checkpoint to the next; the window is twice as long.
    pub checkpoint_interval: u64,
    /// Most batches in flight.
    pub pipeline_depth: usize,
    /// Most requests of a batch.
    pub batch_requests_max: usize,
    /// Most outstanding requests of a client.
    pub client_window: usize,
    /// How far ahead of a backup's clock a batch's timestamp may be, in milliseconds.
    pub clock_bound_ms: u64,
    /// Bytes of the ordered log that are kept; what is older is trimmed, the same at every replica.
    pub retention_bytes: u64,
    /// How long a generation of a process's session keys lives at most, in seconds; 0: until its packets are used up.
    pub key_lifetime_s: u64,
    /// The multicast groups of the senders.
    pub multicast: MulticastGroups,
    /// The replicas, by id.
    pub replicas: Vec<Replica>,
    /// The clients' public keys, by index. The last is the operator, as which `status` asks.
    pub clients: Vec<PublicIdentity>,
}

/// One replica, as the others know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Where it receives.
    pub address: SocketAddr,
    /// Whose signatures are its own.
    pub public_key: PublicIdentity,
}

/// A run of consecutive multicast groups, one for each sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MulticastGroups {
    /// The group of replica 0; the others follow it, the clients' common group after the last replica's.
    pub group: IpAddr,
    /// The port of all groups. No replica receives unicast on it.
    pub port: u16,
}

impl MulticastGroups {
    /// The group of sender `slot`: a replica's id, or the number of replicas for all clients together.
    pub fn group(&self, slot: usize) -> IpAddr {
        assert!(slot <= REPLICAS_MAX, "sender slot {slot}");
        match self.group {
            IpAddr::V4(base) => IpAddr::V4(Ipv4Addr::from_bits(base.to_bits() + slot as u32)),
            IpAddr::V6(base) => IpAddr::V6(Ipv6Addr::from_bits(base.to_bits() + slot as u128)),
        }
    }
}

impl Cluster {
    /// Default of [`Cluster::checkpoint_interval`].
    pub const CHECKPOINT_INTERVAL_DEFAULT: u64 = 128;
    /// Default of [`Cluster::pipeline_depth`].
    pub const PIPELINE_DEPTH_DEFAULT: usize = 8;
    /// Default of [`Cluster::batch_requests_max`].
    pub const BATCH_REQUESTS_MAX_DEFAULT: usize = 64;
    /// Default of [`Cluster::client_window`].
    pub const CLIENT_WINDOW_DEFAULT: usize = 32;
    /// Default of [`Cluster::clock_bound_ms`].
    pub const CLOCK_BOUND_MS_DEFAULT: u64 = 500;
    /// Default of [`Cluster::key_lifetime_s`]: an hour.
    pub const KEY_LIFETIME_S_DEFAULT: u64 = 3600;
    /// Default of [`Cluster::retention_bytes`]: 1 GiB.
    pub const RETENTION_BYTES_DEFAULT: u64 = 1 << 30;

    /// Reads and checks `cluster.toml`.
    ///
    /// # Errors
    ///
    /// The first fault, with file, line, value and mend.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(path, &read_text(path)?)
    }

    /// Reads and checks the text of a `cluster.toml`; `file` is named in errors.
    ///
    /// # Errors
    ///
    /// The first fault, with file, line, value and mend.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let document = Document::parse(file, text)?;
        let cluster = Self::read(document.root())?;
        cluster.check().map_err(|fault| document.locate(fault))?;
        Ok(cluster)
    }

    fn read(mut root: Section<'_, '_>) -> Result<Self, ConfigError> {
        let id = root.parsed::<ClusterId>("cluster_id", ClusterId::WANTED)?;
        let faults = root.integer("faults")?;
        let mac = read_choice::<MacAlgorithm>(&mut root, "mac", "blake3, hmac-sha256, aes-256-gmac")?;
        let active = root.named("active")?;
        let journal = root.named("journal")?;
        let service = read_choice::<ServiceKind>(&mut root, "service", "log, kv, null")?;
        let null_reply_bytes = root.integer("null_reply_bytes")?;
        let datagram_bytes_max = root.integer("datagram_bytes_max")?;
        let operation_bytes_max = root.integer("operation_bytes_max")?;
        let checkpoint_interval = root.integer("checkpoint_interval")?;
        let pipeline_depth = root.integer("pipeline_depth")?;
        let batch_requests_max = root.integer("batch_requests_max")?;
        let client_window = root.integer("client_window")?;
        let clock_bound_ms = root.integer("clock_bound_ms")?;
        let retention_bytes = root.integer("retention_bytes")?;
        let key_lifetime_s = root.integer("key_lifetime_s")?;
        let multicast = root.table("multicast")?;
        let mut multicast = root.required("multicast", multicast)?;
        let replicas = root.tables("replica")?;
        let clients = root.tables("client")?;
        let mut cluster = Self {
            cluster_id: root.required("cluster_id", id)?.0,
            faults: root.required("faults", faults)?,
            active: active.unwrap_or(Active::All),
            journal: journal.unwrap_or(Journal::Sync),
            service: service.unwrap_or(ServiceKind::Log),
            null_reply_bytes: null_reply_bytes.unwrap_or(0),
            mac: mac.unwrap_or_default(),
            datagram_bytes_max: datagram_bytes_max.unwrap_or(limits::DATAGRAM_BYTES_DEFAULT),
            operation_bytes_max: operation_bytes_max.unwrap_or(limits::OPERATION_BYTES_MAX),
            checkpoint_interval: checkpoint_interval.unwrap_or(Self::CHECKPOINT_INTERVAL_DEFAULT),
            pipeline_depth: pipeline_depth.unwrap_or(Self::PIPELINE_DEPTH_DEFAULT),
            batch_requests_max: batch_requests_max.unwrap_or(Self::BATCH_REQUESTS_MAX_DEFAULT),
            client_window: client_window.unwrap_or(Self::CLIENT_WINDOW_DEFAULT),
            clock_bound_ms: clock_bound_ms.unwrap_or(Self::CLOCK_BOUND_MS_DEFAULT),
            retention_bytes: retention_bytes.unwrap_or(Self::RETENTION_BYTES_DEFAULT),
            key_lifetime_s: key_lifetime_s.unwrap_or(Self::KEY_LIFETIME_S_DEFAULT),
            multicast: read_multicast(&mut multicast)?,
            replicas: read_in_order(replicas, |section| {
                let address = section.parsed("address", "ADDRESS:PORT, such as 192.0.2.11:7400")?;
                let public_key = section.parsed("public_key", PUBLIC_KEY_WANTED)?;
                Ok(Replica {
                    address: section.required("address", address)?,
                    public_key: section.required("public_key", public_key)?,
                })
            })?,
            clients: read_in_order(clients, |section| {
                let public_key = section.parsed("public_key", PUBLIC_KEY_WANTED)?;
                section.required("public_key", public_key)
            })?,
        };
        multicast.finish()?;
        root.finish()?;
        if operation_bytes_max.is_none() {
            cluster.operation_bytes_max = cluster.operation_bytes_fitting();
        }
        Ok(cluster)
    }

    /// The number of replicas, `n`: `3f+1`, or 1 for the unreplicated baseline.
    pub fn replica_count(&self) -> usize {
        self.replicas.len()
    }

    /// How many replicas of it do for what.
    pub fn quorum(&self) -> Quorum {
        Quorum::bearing(usize::from(self.faults))
    }

    /// Sequence numbers between the stable checkpoint and the highest that may be ordered: two checkpoint intervals.
    pub fn window(&self) -> u64 {
        2 * self.checkpoint_interval
    }

    /// The index of the operator among the clients: the last.
    pub fn operator_index(&self) -> usize {
        self.clients.len() - 1
    }

    /// The number of drivers that the cluster knows: every client but the operator.
    pub fn driver_count(&self) -> usize {
        self.clients.len() - 1
    }

    /// Most bytes of an operation as applications submit it: what [`Cluster::operation_bytes_max`] counts, and around a value the header of
    /// its command and a key of any length.
    pub fn command_bytes_max(&self) -> usize {
        match self.service {
            ServiceKind::Log | ServiceKind::Null => self.operation_bytes_max,
            ServiceKind::KeyValue => self.operation_bytes_max + COMMAND_OVERHEAD_BYTES_MAX,
        }
    }

    /// Most bytes of a request message: what one packet carries, or the longest operation in a request of its own.
    pub fn request_bytes_max(&self) -> usize {
        self.request_packet_bytes_max().max(lone_request_bytes(self.command_bytes_max()))
    }

    /// Most bytes of a request message that travels in one packet.
    pub fn request_packet_bytes_max(&self) -> usize {
        request_bytes_max(self.datagram_bytes_max, self.replicas.len())
    }

    /// Most bytes of the results of one request. The ordered log answers each operation with a few bytes, so that one packet holds them; a
    /// result of the others may be as long as an operation.
    pub fn reply_bytes_max(&self) -> usize {
        let packet = self.reply_packet_bytes_max();
        match self.service {
            ServiceKind::Log => packet,
            ServiceKind::KeyValue | ServiceKind::Null => packet.max(RESULT_HEADER_BYTES + self.command_bytes_max()),
        }
    }

    /// Most bytes of results that travel in one packet.
    pub fn reply_packet_bytes_max(&self) -> usize {
        packet::body_bytes_max(self.datagram_bytes_max, Audience::Client(ClientId(0))) - REPLY_OVERHEAD_BYTES
    }

    /// Most bytes of the result of an operation that is alone in its request.
    pub fn result_bytes_max(&self) -> usize {
        self.reply_bytes_max() - RESULT_HEADER_BYTES
    }

    /// How requests longer than a packet are cut.
    pub fn part_shape(&self) -> PartShape {
        PartShape::of(self.datagram_bytes_max, self.replicas.len())
    }

    /// The most bytes of request bodies that a replica keeps (`protocol.md BP-3`, `LR-3`).
    pub fn bodies_bytes_max(&self) -> usize {
        bodies_bytes_max(self.window(), self.part_shape().body_bytes(self.request_bytes_max()))
    }

    /// The default of [`Cluster::operation_bytes_max`]: the largest, or half of it as often as the memory for requests and replies needs it.
    pub fn operation_bytes_fitting(&self) -> usize {
        if self.check_ranges().is_err() {
            // It is refused for another reason.
            return limits::OPERATION_BYTES_MAX;
        }
        let least = operation_bytes_max(self.datagram_bytes_max, self.replicas.len());
        let mut candidate = self.clone();
        candidate.operation_bytes_max = limits::OPERATION_BYTES_MAX;
        while candidate.operation_bytes_max > least && !candidate.fits_memory() {
            candidate.operation_bytes_max = (candidate.operation_bytes_max / 2).max(least);
        }
        candidate.operation_bytes_max
    }

    /// Whether requests of the longest size have room with the others, and replies in the state.
    pub(super) fn fits_memory(&self) -> bool {
        self.fits_bodies() && self.fits_replies(self.client_window)
    }

    /// Whether the log's windows have room for a request of the longest size in each number, and each client for one that waits and one
    /// that arrives.
    pub(super) fn fits_bodies(&self) -> bool {
        let body = self.part_shape().body_bytes(self.request_bytes_max());
        let share = limits::BODIES_BYTES_MAX / 2 / self.clients.len().max(1);
        let large = self.request_bytes_max() > self.request_packet_bytes_max();
        !large || (self.bodies_bytes_max() <= limits::BODIES_BYTES_LARGE_MAX && 2 * body <= share)
    }

    /// Whether the state has room for so many replies of each client (`protocol.md SP-2`).
    pub(super) fn fits_replies(&self, window: usize) -> bool {
        clients_fitting(window as u64, self.reply_bytes_max() as u64) >= self.clients.len() as u64
    }

    /// Whether every replica is on the loopback interface.
    pub fn is_loopback(&self) -> bool {
        self.replicas.iter().all(|replica| replica.address.ip().is_loopback())
    }

    /// The configuration of the unreplicated baseline: replica 0 of this cluster alone, with the same settings
    /// otherwise. It tolerates no fault and exists in memory only: a file with one replica is refused.
    #[must_use]
    pub fn unreplicated(&self) -> Self {
        let mut baseline = self.clone();
        baseline.faults = 0;
        baseline.replicas.truncate(1);
        baseline
    }
}

/// Reads a text file, with an error that says what to do.
pub(super) fn read_text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| {
        let mend = match error.kind() {
            std::io::ErrorKind::NotFound => "make a cluster with `logothete init DIR`, or name the right file",
            std::io::ErrorKind::InvalidData => "write it as UTF-8 text",
            _ => "make it readable for this user",
        };
        Fault::of_file(format!("cannot be read: {error}"), mend).at(path, None)
    })
}

fn read_multicast(section: &mut Section<'_, '_>) -> Result<MulticastGroups, ConfigError> {
    let group = section.parsed("group", "an address such as 239.195.20.0")?;
    let port = section.integer("port")?;
    Ok(MulticastGroups { group: section.required("group", group)?, port: section.required("port", port)? })
}

/// Reads one of a choice that another room of the engine owns, whose names are `choices`.
fn read_choice<T: FromStr>(
    section: &mut Section<'_, '_>,
    key: &'static str,
    choices: &str,
) -> Result<Option<T>, ConfigError> {
    let Some(name) = section.text(key)? else {
        return Ok(None);
    };
    name.parse().map(Some).map_err(|_| {
        let quoted = format!("\"{}\"", name.escape_default());
        section.refuse(key, quoted, "is not known", format!("use one of: {choices}"))
    })
}

/// Reads tables whose `id`s are their places: 0, 1, 2...
fn read_in_order<T>(
    sections: Vec<Section<'_, '_>>,
    mut read: impl FnMut(&mut Section<'_, '_>) -> Result<T, ConfigError>,
) -> Result<Vec<T>, ConfigError> {
    let entries = sections.into_iter().enumerate().map(|(place, mut section)| {
        let id = section.integer::<u16>("id")?;
        let id = section.required("id", id)?;
        if usize::from(id) != place {
            let problem = format!("stands at place {place}");
            let mend = "list the tables by id: 0, 1, 2 and so on, none missing, none twice";
            return Err(section.refuse("id", id, problem, mend));
        }
        let entry = read(&mut section)?;
        section.finish()?;
        Ok(entry)
    });
    entries.collect()
}

const PUBLIC_KEY_WANTED: &str = "a public key as `logothete init` writes it, 64 hexadecimal digits";

/// A cluster id as files hold it: 16 hexadecimal digits.
pub(super) struct ClusterId(pub(super) u64);

impl ClusterId {
    const WANTED: &'static str = "1 to 16 hexadecimal digits";
}

impl fmt::Display for ClusterId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl FromStr for ClusterId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A sign would be accepted by the parser of integers.
        if text.starts_with('+') {
            return Err("is not a hexadecimal number");
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| "is not a hexadecimal number of 64 bits")
    }
}
