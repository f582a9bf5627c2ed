//! Whether a configuration makes sense, setting by setting and all together.

use super::Fault;
use super::agreed::{Cluster, MulticastGroups};
use crate::limits::{self, CLIENTS_MAX, REPLICAS_MAX};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

const DATAGRAM_BYTES: RangeInclusive<usize> = limits::DATAGRAM_BYTES_MIN..=limits::DATAGRAM_BYTES_MAX;
/// The window is twice the interval. Fewer than 8 would spend more on checkpoints than on ordering.
const CHECKPOINT_INTERVAL: RangeInclusive<u64> = 8..=limits::WINDOW_MAX / 2;
/// From 1 KiB, for which every datagram has room.
const OPERATION_BYTES: RangeInclusive<usize> = 1024..=limits::OPERATION_BYTES_MAX;
const BATCH_REQUESTS: RangeInclusive<usize> = 1..=limits::BATCH_REQUESTS_MAX;
/// Every replica keeps this many replies of each client, as part of the replicated state.
const CLIENT_WINDOW: RangeInclusive<usize> = 1..=1024;
const CLOCK_BOUND_MS: RangeInclusive<u64> = 1..=60_000;
/// From 16 MiB to 1 TiB.
const RETENTION_BYTES: RangeInclusive<u64> = 1 << 24..=1 << 40;
/// Up to 30 days; 0 is for ever.
const KEY_LIFETIME_S: RangeInclusive<u64> = 0..=limits::KEY_LIFETIME_MAX_S;
const FAULTS: RangeInclusive<u8> = 1..=((REPLICAS_MAX - 1) / 3) as u8;

impl Cluster {
    /// Checks that the settings make sense, alone and together.
    ///
    /// # Errors
    ///
    /// The first fault.
    pub fn check(&self) -> Result<(), Fault> {
        self.check_ranges()?;
        self.check_operations()?;
        self.check_replies()?;
        self.check_addresses()?;
        self.check_multicast()?;
        self.check_keys()?;
        within("null_reply_bytes", self.null_reply_bytes, 0..=self.result_bytes_max())
    }

    /// Checks each number alone, so that others can be computed from them.
    pub(super) fn check_ranges(&self) -> Result<(), Fault> {
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
        within("key_lifetime_s", self.key_lifetime_s, KEY_LIFETIME_S)?;
        within("operation_bytes_max", self.operation_bytes_max, OPERATION_BYTES)?;
        self.check_counts()
    }

    fn check_counts(&self) -> Result<(), Fault> {
        let count = self.replicas.len();
        let wanted = self.quorum().replicas();
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

    /// What travels in one packet can be ordered, and what does not has the memory that it needs (`protocol.md LR-3`).
    fn check_operations(&self) -> Result<(), Fault> {
        if self.fits_bodies() {
            return Ok(());
        }
        Err(Fault::new(
            "operation_bytes_max",
            self.operation_bytes_max,
            format!("needs more than {} bytes of memory for requests at each replica", limits::BODIES_BYTES_LARGE_MAX),
            format!("write {} or less, or make checkpoint_interval smaller", self.operation_bytes_fitting()),
        ))
    }

    /// The replies that are kept have their place in the state (`protocol.md SP-2`).
    fn check_replies(&self) -> Result<(), Fault> {
        let fits = |window: usize| self.fits_replies(window);
        if fits(self.client_window) {
            return Ok(());
        }
        let clients = self.clients.len();
        let widest = (1..self.client_window).rev().find(|window| fits(*window)).unwrap_or(1);
        Err(Fault::new(
            "client_window",
            self.client_window,
            format!("keeps more replies of {clients} clients than the state has room for"),
            format!("write {widest} or less, or make operation_bytes_max or datagram_bytes_max smaller"),
        ))
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
}

/// Whether `group` is a multicast group that hosts with addresses like `host` can use: any of IPv4, and of IPv6 those
/// of link-local and site-local scope.
pub fn is_group_of_family(group: IpAddr, host: IpAddr) -> bool {
    match (group, host) {
        (IpAddr::V4(group), IpAddr::V4(_)) => group.is_multicast(),
        (IpAddr::V6(group), IpAddr::V6(_)) => matches!(group.segments()[0], 0xff02 | 0xff05),
        _ => false,
    }
}

/// Checks that `value` is in `range`.
fn within<T: PartialOrd + fmt::Display>(key: &str, value: T, range: RangeInclusive<T>) -> Result<(), Fault> {
    if range.contains(&value) {
        return Ok(());
    }
    let mend = format!("write a number from {} to {}", range.start(), range.end());
    Err(Fault::new(key, value, "is out of range", mend))
}
