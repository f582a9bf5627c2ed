//! What a cluster's files say about this host.

use super::network::is_here;
use super::{Check, State};
use logothete_engine::cluster::{Cluster, ConfigError, DriverLocal, ReplicaLocal, init};
use rustix::net::sockopt::ip_mtu;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;

/// Every check of this file.
pub fn checks(path: &Path, cluster: Result<&Cluster, &ConfigError>) -> Vec<Check> {
    let cluster = match cluster {
        Ok(cluster) => cluster,
        Err(error) => return vec![configuration(Err(error.to_string()))],
    };
    let found = format!(
        "{} replicas, {} drivers, digest {:?}",
        cluster.replica_count(),
        cluster.driver_count(),
        cluster.digest()
    );
    let mut checks = vec![configuration(Ok(found)), identities(path, cluster)];
    let peers = cluster.replicas.iter().map(|replica| replica.address);
    checks.extend(
        peers.clone().enumerate().filter(|(_, address)| is_here(address.ip())).map(|(id, address)| port(id, address)),
    );
    let mtu = peers.filter_map(|address| path_mtu(address).map(|mtu| (mtu, address))).min_by_key(|(mtu, _)| *mtu);
    checks.extend(mtu.map(|(mtu, address)| datagram_size(cluster.datagram_bytes_max, mtu, address)));
    checks
}

fn configuration(read: Result<String, String>) -> Check {
    let state = if read.is_ok() { State::Good } else { State::Fault };
    let found = read.unwrap_or_else(|error| error);
    let why =
        "every replica and driver must run the same configuration; peers with another digest do not talk to each other";
    Check::new("configuration", state, found, "readable and consistent", why, "correct the file as its message says")
}

/// The local files and keys that are on this host: each must be usable if it is there.
fn identities(path: &Path, cluster: &Cluster) -> Check {
    let replicas = (0..cluster.replica_count() as u8).map(|id| (ReplicaLocal::file(path, id), format!("replica {id}")));
    let drivers =
        (0..cluster.driver_count() as u16).map(|client| (DriverLocal::file(path, client), format!("driver {client}")));
    let mut usable = Vec::new();
    let mut refused = Vec::new();
    for (index, (file, owner)) in replicas.chain(drivers).enumerate() {
        if !file.exists() {
            continue;
        }
        let identity = match index.checked_sub(cluster.replica_count()) {
            None => ReplicaLocal::load(&file).and_then(|local| local.identity(cluster, index as u8)),
            Some(client) => DriverLocal::load(&file).and_then(|local| local.identity(cluster, client as u16)),
        };
        match identity {
            Ok(_) => usable.push(owner),
            Err(error) => refused.push(error.to_string()),
        }
    }
    if init::operator_key_file(path).exists() {
        match init::operator_identity(path, cluster) {
            Ok(_) => usable.push(String::from("operator")),
            Err(error) => refused.push(error.to_string()),
        }
    }
    let (state, found) = match (refused.is_empty(), usable.is_empty()) {
        (false, _) => (State::Fault, refused.join("; ")),
        (true, true) => (State::Advice, String::from("none")),
        (true, false) => (State::Good, usable.join(", ")),
    };
    let why = "a process proves with its key who it is; a key that others can read proves nothing";
    Check::new(
        "identities",
        state,
        found,
        "local files and keys that fit cluster.toml",
        why,
        "put the files that `logothete init` wrote beside cluster.toml, with mode 0600",
    )
}

fn port(id: usize, address: SocketAddr) -> Check {
    let bound = UdpSocket::bind(address);
    let (state, found) = match &bound {
        Ok(_) => (State::Good, format!("{address} is free for replica {id}")),
        Err(error) => (State::Advice, format!("{address} of replica {id}: {error}")),
    };
    let why = "a replica that cannot bind its address does not start; one that runs already holds it";
    Check::new(
        "port",
        state,
        found,
        "free, or held by the replica",
        why,
        format!("ss -ulpn sport = :{}", address.port()),
    )
}

/// The MTU of the route to `address`, if the host has one.
fn path_mtu(address: SocketAddr) -> Option<u32> {
    let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    // Connecting a datagram socket sends nothing; it chooses the route.
    socket.connect(address).ok()?;
    if address.is_ipv4() { ip_mtu(&socket).ok() } else { rustix::net::sockopt::ipv6_mtu(&socket).ok() }
}

fn datagram_size(datagram_bytes_max: usize, mtu: u32, address: SocketAddr) -> Check {
    // IPv4 or IPv6 without options, and UDP.
    let headers = if address.is_ipv4() { 20 + 8 } else { 40 + 8 };
    let needed = datagram_bytes_max + headers;
    let state = if needed <= mtu as usize { State::Good } else { State::Advice };
    Check::new(
        "datagram size",
        state,
        format!("packets of up to {needed} bytes, and the route to {} carries {mtu}", address.ip()),
        "packets that fit the route",
        "longer ones are cut up by IP, and one lost piece loses the packet",
        format!(
            "set datagram_bytes_max = {} in every cluster.toml, or raise the interface's MTU",
            (mtu as usize).saturating_sub(headers)
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_engine::cluster::init::{Plan, create};

    fn cluster() -> (tempfile::TempDir, Cluster) {
        let directory = tempfile::tempdir().unwrap();
        let cluster = create(directory.path(), &Plan::default(), &mut logothete_crypto::os_entropy).unwrap();
        (directory, cluster)
    }

    #[test]
    fn a_fresh_cluster_has_no_faults() {
        let (directory, cluster) = cluster();
        let checks = checks(&directory.path().join("cluster.toml"), Ok(&cluster));
        assert!(checks.iter().all(|check| check.state != State::Fault), "{checks:#?}");
        let identities = checks.iter().find(|check| check.name == "identities").unwrap();
        assert_eq!(identities.found, "replica 0, replica 1, replica 2, replica 3, driver 0, operator");
        assert_eq!(checks.iter().filter(|check| check.name == "port").count(), 4);
    }

    #[test]
    fn a_key_of_another_and_a_missing_one_are_told() {
        let (directory, cluster) = cluster();
        let file = directory.path().join("cluster.toml");
        std::fs::copy(directory.path().join("replica-1.key"), directory.path().join("replica-0.key")).unwrap();
        let check = identities(&file, &cluster);
        assert_eq!(check.state, State::Fault);
        assert!(check.found.contains("which is not that of replica 0"), "{check:?}");
        let elsewhere = tempfile::tempdir().unwrap();
        assert_eq!(identities(&elsewhere.path().join("cluster.toml"), &cluster).found, "none");
    }

    #[test]
    fn a_port_in_use_is_told() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let check = port(2, socket.local_addr().unwrap());
        assert_eq!(check.state, State::Advice);
        assert!(check.found.contains("of replica 2: Address already in use"), "{check:?}");
    }

    #[test]
    fn datagrams_are_compared_with_the_route() {
        let address = "192.0.2.1:7400".parse().unwrap();
        assert_eq!(datagram_size(1472, 1500, address).state, State::Good);
        let check = datagram_size(1473, 1500, address);
        assert_eq!(check.state, State::Advice);
        assert!(check.mend.starts_with("set datagram_bytes_max = 1472 "), "{check:?}");
        assert!(path_mtu("127.0.0.1:9".parse().unwrap()).unwrap() >= 1500);
    }
}
