//! New clusters: files, keys, ports and groups.

use super::super::init::{Plan, create, generate, operator_identity, operator_key_file};
use super::super::*;
use super::{entropy, generated, plan};
use crate::journal::birth::DataDirectory;
use logothete_crypto::{Identity, PublicIdentity};
use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[test]
fn created_files_read_back() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("new/cluster");
    let plan = Plan { transport: Transport::Mmsg, fan_out: FanOut::Unicast, arrangement: Arrangement::Split, ..plan() };
    let cluster = create(&directory, &plan, &mut entropy(1)).unwrap();
    let file = directory.join("cluster.toml");
    assert_eq!(Cluster::load(&file).unwrap(), cluster);
    for id in 0..4u8 {
        let local = ReplicaLocal::load(&ReplicaLocal::file(&file, id)).unwrap();
        let wanted = ReplicaLocal {
            transport: Transport::Mmsg,
            fan_out: FanOut::Unicast,
            arrangement: Arrangement::Split,
            ..ReplicaLocal::standard(&directory, id)
        };
        assert_eq!(local, wanted);
        // `protocol.md JR-7`
        assert!(DataDirectory::birth_marker(&local.data_directory).is_file());
        assert_eq!(local.identity(&cluster, id).unwrap().public(), cluster.replicas[usize::from(id)].public_key);
    }
    for client in 0..2u16 {
        let local = DriverLocal::load(&DriverLocal::file(&file, client)).unwrap();
        assert_eq!(local.transport, Transport::Mmsg);
        assert_eq!(local.session, directory.join(format!("driver-{client}.sock")));
        assert_eq!(local.identity(&cluster, client).unwrap().public(), cluster.clients[usize::from(client)]);
    }
    assert_eq!(operator_identity(&file, &cluster).unwrap().public(), cluster.clients[2]);
}

#[test]
fn nothing_is_overwritten_and_nothing_stays_behind() {
    let place = tempfile::tempdir().unwrap();
    create(place.path(), &plan(), &mut entropy(1)).unwrap();
    let before = std::fs::read(place.path().join("cluster.toml")).unwrap();
    let error = create(place.path(), &plan(), &mut entropy(2)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}/cluster.toml: exists already and is not overwritten; name another directory, or move the old cluster away",
            place.path().display()
        )
    );
    assert_eq!(std::fs::read(place.path().join("cluster.toml")).unwrap(), before);

    // A key that exists alone is refused too, and what was written before it is removed again.
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("replica-2.key"), "kept").unwrap();
    let error = create(place.path(), &plan(), &mut entropy(1)).unwrap_err();
    assert!(error.to_string().contains("replica-2.key: exists already"), "{error}");
    let left: Vec<_> = std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["replica-2.key"]);
}

#[test]
fn keys_are_for_their_owner_only() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("own.key");
    let secret = [7u8; 32];
    let identity = Identity::from_secret_bytes(secret);
    keys::write(&path, &identity).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(*keys::read(&path, "replica 1", &identity.public()).unwrap().secret_bytes(), secret);
    let error = keys::write(&path, &identity).unwrap_err();
    assert!(error.fault.problem.starts_with("cannot be written: "), "{error}");

    let read = |public: &PublicIdentity| keys::read(&path, "replica 1", public).err().unwrap();
    let other = Identity::from_secret_bytes([8u8; 32]).public();
    let error = read(&other);
    assert_eq!(
        error.fault.problem,
        format!("holds the secret key of {}, which is not that of replica 1 ({other})", identity.public())
    );

    for mode in [0o640, 0o604, 0o660] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(
            read(&identity.public()).to_string(),
            format!(
                "{0}: the secret key of replica 1 is open to others than its owner (mode {mode:04o}); run `chmod 600 {0}`, and make new keys if others had access",
                path.display()
            )
        );
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    for (content, problem) in [
        (String::new(), "holds something else than 64 hexadecimal digits"),
        ("07".repeat(31), "holds something else than 64 hexadecimal digits"),
        ("07".repeat(64), "holds something else than 64 hexadecimal digits"),
        ("0g".repeat(32), "holds something else than hexadecimal digits"),
        ("00".repeat(32), "holds a key of zeros"),
    ] {
        std::fs::write(&path, content).unwrap();
        assert_eq!(
            read(&identity.public()).fault.problem,
            format!("{problem}, where the secret key of replica 1 is wanted")
        );
    }
    std::fs::remove_file(&path).unwrap();
    let error = read(&identity.public());
    assert!(error.fault.problem.starts_with("the secret key of replica 1 cannot be read: No such file"), "{error}");
}

#[test]
fn who_is_not_in_the_cluster_has_no_identity() {
    let cluster = generated().cluster;
    let directory = Path::new("nowhere");
    let error = ReplicaLocal::standard(directory, 4).identity(&cluster, 4).err().unwrap();
    assert_eq!(error.fault.to_string(), "id = 4: is not a replica of this cluster of 4; use 0 to 3");
    let error = DriverLocal::standard(directory, 2).identity(&cluster, 2).err().unwrap();
    assert_eq!(error.fault.to_string(), "client = 2: is not a driver of this cluster, which has 2; use 0 to 1");
}

#[test]
fn missing_files_say_what_to_do() {
    let error = Cluster::load(Path::new("/nonexistent/cluster.toml")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nonexistent/cluster.toml: cannot be read: No such file or directory (os error 2); \
         make a cluster with `logothete init DIR`, or name the right file"
    );
    assert_eq!(operator_key_file(Path::new("cluster.toml")), Path::new("operator.key"));
}

#[test]
fn plans_that_make_no_sense_are_refused() {
    let host = |text: &str| text.parse::<IpAddr>().unwrap();
    for (plan, wanted) in [
        (Plan { faults: 0, ..plan() }, "cluster.toml: faults = 0: is out of range; write a number from 1 to 5"),
        (Plan { faults: 6, ..plan() }, "cluster.toml: faults = 6: is out of range; write a number from 1 to 5"),
        (
            Plan { hosts: vec![host("10.0.0.1"), host("10.0.0.2")], ..plan() },
            "cluster.toml: hosts = 2: is the number of hosts, and there are 4 replicas; name one host for all replicas, or 4",
        ),
        (
            Plan { port_base: Some(65532), ..plan() },
            "cluster.toml: base port = 65532: leaves no room for the ports of 4 replicas and the multicast groups; use a base port from 1 to 65531",
        ),
        (
            Plan { drivers: 0, ..plan() },
            "cluster.toml: client: the file lists 1 clients; list 2 to 256 tables [[client]]: one a driver, and last the operator",
        ),
    ] {
        assert_eq!(generate(&plan, &mut entropy(1)).err().unwrap().to_string(), wanted);
    }
}

#[test]
fn ports_found_are_free() {
    for host in ["127.0.0.1", "::1"] {
        let host: IpAddr = host.parse().unwrap();
        if UdpSocket::bind((host, 0)).is_err() {
            continue; // A host without IPv6.
        }
        let cluster = generate(&Plan { hosts: vec![host], ..Plan::default() }, &mut entropy(9)).unwrap().cluster;
        let sockets: Vec<_> = cluster.replicas.iter().map(|replica| UdpSocket::bind(replica.address)).collect();
        assert!(sockets.iter().all(Result::is_ok));
        // The same entropy would find the same ports, and they are taken now.
        let other = generate(&Plan { hosts: vec![host], ..Plan::default() }, &mut entropy(9)).unwrap().cluster;
        assert!(cluster.replicas.iter().zip(&other.replicas).all(|(one, two)| one.address != two.address));
    }
}

#[test]
fn groups_follow_each_other() {
    let groups = MulticastGroups { group: "239.200.7.0".parse().unwrap(), port: 1 };
    assert_eq!(groups.group(0), "239.200.7.0".parse::<IpAddr>().unwrap());
    assert_eq!(groups.group(16), "239.200.7.16".parse::<IpAddr>().unwrap());
    let groups = MulticastGroups { group: "ff05::1:0".parse().unwrap(), port: 1 };
    assert_eq!(groups.group(4), "ff05::1:4".parse::<IpAddr>().unwrap());
    for (host, scope) in [("::1", 0xff02), ("fe80::1", 0xff02), ("fd00::1", 0xff05)] {
        let plan = Plan { hosts: vec![host.parse().unwrap()], ..plan() };
        let cluster = generate(&plan, &mut entropy(3)).unwrap().cluster;
        let IpAddr::V6(group) = cluster.multicast.group else { panic!("an IPv6 group") };
        assert_eq!(group.segments()[0], scope, "{host}");
    }
}
