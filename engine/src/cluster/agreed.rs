//! What must be the same at every replica and driver: `cluster.toml`.

use super::document::{Document, Section};
use super::{Active, ConfigError, Fault, Journal, ServiceKind};
use crate::limits::{self, CLIENTS_MAX, REPLICAS_MAX};
use crate::numbers::ClientId;
use crate::service::RESULT_HEADER_BYTES;
use crate::wire::reply::REPLY_OVERHEAD_BYTES;
use crate::wire::request::operation_bytes_max;
use crate::wire::{Audience, packet};
use logothete_crypto::{Digest, DigestWriter, MacAlgorithm, PublicIdentity};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

const DATAGRAM_BYTES: RangeInclusive<usize> = limits::DATAGRAM_BYTES_MIN..=limits::DATAGRAM_BYTES_MAX;
/// The window is twice the interval. Fewer than 8 would spend more on checkpoints than on ordering.
const CHECKPOINT_INTERVAL: RangeInclusive<u64> = 8..=limits::WINDOW_MAX / 2;
const BATCH_REQUESTS: RangeInclusive<usize> = 1..=limits::BATCH_REQUESTS_MAX;
/// Every replica keeps this many replies of each client, as part of the replicated state.
const CLIENT_WINDOW: RangeInclusive<usize> = 1..=1024;
const CLOCK_BOUND_MS: RangeInclusive<u64> = 1..=60_000;
/// From 16 MiB to 1 TiB.
const RETENTION_BYTES: RangeInclusive<u64> = 1 << 24..=1 << 40;
const FAULTS: RangeInclusive<u8> = 1..=((REPLICAS_MAX - 1) / 3) as u8;

/// The configuration that must agree everywhere. Its [`digest`](Cluster::digest) is part of the handshake.
///
/// A value that came from [`Cluster::load`], [`Cluster::parse`] or [`super::init::generate`] has passed every check; one changed by
/// hand can be checked again with [`Cluster::check`].
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
        let checkpoint_interval = root.integer("checkpoint_interval")?;
        let pipeline_depth = root.integer("pipeline_depth")?;
        let batch_requests_max = root.integer("batch_requests_max")?;
        let client_window = root.integer("client_window")?;
        let clock_bound_ms = root.integer("clock_bound_ms")?;
        let retention_bytes = root.integer("retention_bytes")?;
        let multicast = root.table("multicast")?;
        let mut multicast = root.required("multicast", multicast)?;
        let replicas = root.tables("replica")?;
        let clients = root.tables("client")?;
        let cluster = Self {
            cluster_id: root.required("cluster_id", id)?.0,
            faults: root.required("faults", faults)?,
            active: active.unwrap_or(Active::All),
            journal: journal.unwrap_or(Journal::Off),
            service: service.unwrap_or(ServiceKind::Log),
            null_reply_bytes: null_reply_bytes.unwrap_or(0),
            mac: mac.unwrap_or_default(),
            datagram_bytes_max: datagram_bytes_max.unwrap_or(limits::DATAGRAM_BYTES_DEFAULT),
            checkpoint_interval: checkpoint_interval.unwrap_or(Self::CHECKPOINT_INTERVAL_DEFAULT),
            pipeline_depth: pipeline_depth.unwrap_or(Self::PIPELINE_DEPTH_DEFAULT),
            batch_requests_max: batch_requests_max.unwrap_or(Self::BATCH_REQUESTS_MAX_DEFAULT),
            client_window: client_window.unwrap_or(Self::CLIENT_WINDOW_DEFAULT),
            clock_bound_ms: clock_bound_ms.unwrap_or(Self::CLOCK_BOUND_MS_DEFAULT),
            retention_bytes: retention_bytes.unwrap_or(Self::RETENTION_BYTES_DEFAULT),
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
        Ok(cluster)
    }

    /// Checks that the settings make sense, alone and together.
    ///
    /// # Errors
    ///
    /// The first fault.
    pub fn check(&self) -> Result<(), Fault> {
        if self.cluster_id == 0 {
            let mend = "take any other number, at random";
            return Err(Fault::new("cluster_id", "\"0\"", "is zero", mend));
        }
        within("faults", self.faults, FAULTS)?;
        within("datagram_bytes_max", self.datagram_bytes_max, DATAGRAM_BYTES)?;
        within("checkpoint_interval", self.checkpoint_interval, CHECKPOINT_INTERVAL)?;
        // A batch in flight has a slot of the window below the next checkpoint but one.
        within("pipeline_depth", self.pipeline_depth as u64, 1..=self.checkpoint_interval)?;
        within("batch_requests_max", self.batch_requests_max, BATCH_REQUESTS)?;
        within("client_window", self.client_window, CLIENT_WINDOW)?;
        within("clock_bound_ms", self.clock_bound_ms, CLOCK_BOUND_MS)?;
        within("retention_bytes", self.retention_bytes, RETENTION_BYTES)?;
        self.check_counts()?;
        self.check_addresses()?;
        self.check_multicast()?;
        self.check_keys()?;
        within("null_reply_bytes", self.null_reply_bytes, 0..=self.result_bytes_max())
    }

    fn check_counts(&self) -> Result<(), Fault> {
        let count = self.replicas.len();
        let wanted = 3 * usize::from(self.faults) + 1;
        if count != wanted {
            return Err(Fault::new(
                "faults",
                self.faults,
                format!("needs n = 3f+1 = {wanted} replicas, and the file lists {count}"),
                match count {
                    4..=REPLICAS_MAX if count % 3 == 1 => {
                        format!("write faults = {}, or list {wanted} replicas", (count - 1) / 3)
                    }
                    _ => format!("list {wanted} tables [[replica]]"),
                },
            ));
        }
        if self.clients.len() < 2 || self.clients.len() > CLIENTS_MAX {
            return Err(Fault::new(
                "client",
                "",
                format!("the file lists {} clients", self.clients.len()),
                format!("list 2 to {CLIENTS_MAX} tables [[client]]: one a driver, and last the operator"),
            ));
        }
        Ok(())
    }

    fn check_addresses(&self) -> Result<(), Fault> {
        let mut seen = BTreeMap::new();
        let family_first = self.replicas[0].address.is_ipv4();
        for (id, replica) in self.replicas.iter().enumerate() {
            let key = format!("replica[{id}].address");
            let address = replica.address;
            let refuse = |problem: String, mend: &str| Err(Fault::new(key.as_str(), address, problem, mend));
            if address.ip().is_unspecified() || address.ip().is_multicast() {
                return refuse(
                    String::from("is not the address of one host"),
                    "write the address at which the others reach this replica",
                );
            }
            if address.port() == 0 {
                return refuse(String::from("has no port"), "write a port from 1 to 65535");
            }
            if address.is_ipv4() != family_first {
                return refuse(
                    String::from("mixes IPv4 and IPv6 with the replicas before it"),
                    "use one of them for all replicas",
                );
            }
            if address.port() == self.multicast.port {
                return refuse(
                    format!("has the port of the multicast groups, {}", self.multicast.port),
                    "give it another port",
                );
            }
            if let Some(other) = seen.insert(address, id) {
                return refuse(
                    format!("is also the address of replica {other}"),
                    "give each replica its own address or port",
                );
            }
        }
        Ok(())
    }

    fn check_multicast(&self) -> Result<(), Fault> {
        let MulticastGroups { group, port } = self.multicast;
        let refuse = |problem: &str, mend: String| Err(Fault::new("multicast.group", group, problem, mend));
        let family = self.replicas[0].address;
        if !is_group_of_family(group, family.ip()) {
            let (name, example) = match family {
                SocketAddr::V4(_) => ("IPv4", "239.195.20.0"),
                SocketAddr::V6(_) => ("IPv6 (ff02::/16 or ff05::/16)", "ff05::4c47:0"),
            };
            return refuse(
                &format!("is not a multicast group of {name}, as the replicas' addresses are"),
                format!("write a group such as {example}"),
            );
        }
        let offset_last = match group {
            IpAddr::V4(group) => usize::from(group.octets()[3]),
            IpAddr::V6(group) => usize::from(group.octets()[15]),
        };
        let groups = self.replicas.len() + 1;
        if offset_last + groups > 256 {
            return refuse(
                &format!("leaves no room for {groups} consecutive groups"),
                String::from("write a group that ends in 0"),
            );
        }
        if port == 0 {
            let mend = "write a port from 1 to 65535 that no replica uses";
            return Err(Fault::new("multicast.port", port, "is no port", mend));
        }
        Ok(())
    }

    fn check_keys(&self) -> Result<(), Fault> {
        let mut seen = BTreeMap::new();
        let replicas = self.replicas.iter().map(|replica| replica.public_key);
        let named = replicas
            .enumerate()
            .map(|(id, key)| ("replica", id, key))
            .chain(self.clients.iter().enumerate().map(|(id, key)| ("client", id, *key)));
        for (kind, id, public_key) in named {
            if let Some((kind_other, id_other)) = seen.insert(public_key.0, (kind, id)) {
                return Err(Fault::new(
                    format!("{kind}[{id}].public_key"),
                    format!("\"{public_key}\""),
                    format!("is also the key of {kind_other} {id_other}"),
                    "give every replica and client its own identity",
                ));
            }
        }
        Ok(())
    }

    /// The file that reads back as this configuration, with a comment on every setting.
    pub fn render(&self) -> String {
        let mut text = String::new();
        self.write_to(&mut text).expect("writing to a String does not fail");
        text
    }

    fn write_to(&self, out: &mut String) -> fmt::Result {
        writeln!(
            out,
            "# A Logothete cluster. This file must be identical at every replica and every driver: the digest of what it"
        )?;
        writeln!(out, "# says is part of the handshake. It holds no secret.\n")?;
        writeln!(out, "# Names the cluster on the wire.")?;
        writeln!(out, "cluster_id = \"{}\"", ClusterId(self.cluster_id))?;
        writeln!(out, "# Replicas that may behave arbitrarily, f. There are n = 3f+1 replicas.")?;
        writeln!(out, "faults = {}", self.faults)?;
        writeln!(out, "# Replicas that take part in ordering while nothing fails: all.")?;
        writeln!(out, "active = \"{}\"", self.active)?;
        writeln!(out, "# off: a restarted replica counts as faulty.")?;
        writeln!(out, "journal = \"{}\"", self.journal)?;
        writeln!(out, "# What is replicated: log, kv or null; the null service answers with null_reply_bytes bytes.")?;
        writeln!(out, "service = \"{}\"", self.service)?;
        writeln!(out, "null_reply_bytes = {}", self.null_reply_bytes)?;
        writeln!(out, "# Packet authentication: blake3, hmac-sha256 or aes-256-gmac.")?;
        writeln!(out, "mac = \"{}\"", self.mac)?;
        writeln!(
            out,
            "# Payload of one datagram: 1472 for Ethernet, 8952 for jumbo frames, more on loopback (32768 is a good choice)."
        )?;
        writeln!(out, "datagram_bytes_max = {}", self.datagram_bytes_max)?;
        writeln!(out, "# Sequence numbers from checkpoint to checkpoint; the window is twice as long.")?;
        writeln!(out, "checkpoint_interval = {}", self.checkpoint_interval)?;
        writeln!(out, "# Batches in flight, requests a batch, outstanding requests a client.")?;
        writeln!(out, "pipeline_depth = {}", self.pipeline_depth)?;
        writeln!(out, "batch_requests_max = {}", self.batch_requests_max)?;
        writeln!(out, "client_window = {}", self.client_window)?;
        writeln!(out, "# How far ahead of a backup's clock a batch's timestamp may be.")?;
        writeln!(out, "clock_bound_ms = {}", self.clock_bound_ms)?;
        writeln!(out, "# Bytes of the ordered log that are kept before the oldest are trimmed.")?;
        writeln!(out, "retention_bytes = {}\n", self.retention_bytes)?;
        writeln!(out, "# One group for each replica from this one on, and one more for all clients.")?;
        writeln!(out, "[multicast]")?;
        writeln!(out, "group = \"{}\"", self.multicast.group)?;
        writeln!(out, "port = {}", self.multicast.port)?;
        for (id, replica) in self.replicas.iter().enumerate() {
            writeln!(out, "\n[[replica]]\nid = {id}\naddress = \"{}\"", replica.address)?;
            writeln!(out, "public_key = \"{}\"", replica.public_key)?;
        }
        for (id, public_key) in self.clients.iter().enumerate() {
            if id == self.operator_index() {
                writeln!(out, "\n# The last client is the operator: `logothete status` asks with its key.")?;
                writeln!(out, "[[client]]\nid = {id}\npublic_key = \"{public_key}\"")?;
            } else {
                writeln!(out, "\n[[client]]\nid = {id}\npublic_key = \"{public_key}\"")?;
            }
        }
        Ok(())
    }

    /// Digest of what the configuration says, whatever the file looks like: the settings in a fixed order, integers little-endian,
    /// texts and lists preceded by their length.
    pub fn digest(&self) -> Digest {
        let mut writer = DigestWriter::new("logothete cluster configuration 1");
        let mut number = |value: u64| {
            writer.update(&value.to_le_bytes());
        };
        number(self.cluster_id);
        number(u64::from(self.faults));
        number(self.null_reply_bytes as u64);
        number(self.datagram_bytes_max as u64);
        number(self.checkpoint_interval);
        number(self.pipeline_depth as u64);
        number(self.batch_requests_max as u64);
        number(self.client_window as u64);
        number(self.clock_bound_ms);
        number(self.retention_bytes);
        number(u64::from(self.multicast.port));
        number(self.replicas.len() as u64);
        number(self.clients.len() as u64);
        let mut text = |value: &str| {
            writer.update(&(value.len() as u64).to_le_bytes());
            writer.update(value.as_bytes());
        };
        text(self.active.name());
        text(self.journal.name());
        text(&self.service.to_string());
        text(&self.mac.to_string());
        text(&self.multicast.group.to_string());
        for replica in &self.replicas {
            text(&replica.address.to_string());
        }
        for replica in &self.replicas {
            writer.update(&replica.public_key.0);
        }
        for public_key in &self.clients {
            writer.update(&public_key.0);
        }
        writer.finish()
    }

    /// The number of replicas, `n`: `3f+1`, or 1 for the unreplicated baseline.
    pub fn replica_count(&self) -> usize {
        self.replicas.len()
    }

    /// Replicas of which any two sets share a correct one: `2f+1`.
    pub fn quorum(&self) -> usize {
        2 * usize::from(self.faults) + 1
    }

    /// Replicas of which one is correct: `f+1`.
    pub fn quorum_weak(&self) -> usize {
        usize::from(self.faults) + 1
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

    /// Most bytes of an operation.
    pub fn operation_bytes_max(&self) -> usize {
        operation_bytes_max(self.datagram_bytes_max, self.replicas.len())
    }

    /// Most bytes of the result of an operation that is alone in its request.
    pub fn result_bytes_max(&self) -> usize {
        let reply = packet::body_bytes_max(self.datagram_bytes_max, Audience::Client(ClientId(0)));
        reply - REPLY_OVERHEAD_BYTES - RESULT_HEADER_BYTES
    }

    /// Whether every replica is on the loopback interface.
    pub fn is_loopback(&self) -> bool {
        self.replicas.iter().all(|replica| replica.address.ip().is_loopback())
    }

    /// The configuration of the unreplicated baseline: replica 0 of this cluster alone, with the same settings otherwise. It tolerates
    /// no fault and exists in memory only: a file with one replica is refused.
    #[must_use]
    pub fn unreplicated(&self) -> Self {
        let mut baseline = self.clone();
        baseline.faults = 0;
        baseline.replicas.truncate(1);
        baseline
    }
}

/// Whether `group` is a multicast group that hosts with addresses like `host` can use: any of IPv4, and of IPv6 those of link-local and
/// site-local scope.
pub fn is_group_of_family(group: IpAddr, host: IpAddr) -> bool {
    match (group, host) {
        (IpAddr::V4(group), IpAddr::V4(_)) => group.is_multicast(),
        (IpAddr::V6(group), IpAddr::V6(_)) => matches!(group.segments()[0], 0xff02 | 0xff05),
        _ => false,
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

/// Checks that `value` is in `range`.
fn within<T: PartialOrd + fmt::Display>(key: &str, value: T, range: RangeInclusive<T>) -> Result<(), Fault> {
    if range.contains(&value) {
        return Ok(());
    }
    let mend = format!("write a number from {} to {}", range.start(), range.end());
    Err(Fault::new(key, value, "is out of range", mend))
}

const PUBLIC_KEY_WANTED: &str = "a public key as `logothete init` writes it, 64 hexadecimal digits";

/// A cluster id as files hold it: 16 hexadecimal digits.
struct ClusterId(u64);

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
