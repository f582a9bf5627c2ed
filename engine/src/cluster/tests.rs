//! Every refusal of a configuration, by its text; and what is written reads back.

use super::init::{Generated, Plan, create, generate, operator_identity, operator_key_file};
use super::*;
use crate::limits;
use crate::wire::request::operation_bytes_max;
use logothete_crypto::{Identity, MacAlgorithm, PublicIdentity};
use proptest::prelude::*;
use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Bytes that repeat from run to run (SplitMix64), so that a failing case fails again.
fn entropy(seed: u64) -> impl FnMut(&mut [u8]) {
    let mut state = seed;
    move |out| {
        for byte in out {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *byte = (mixed ^ (mixed >> 31)) as u8;
        }
    }
}

/// A plan whose ports are given, so that nothing depends on what else runs on the host.
fn plan() -> Plan {
    Plan { port_base: Some(7400), drivers: 2, ..Plan::default() }
}

fn generated() -> Generated {
    generate(&plan(), &mut entropy(1)).unwrap()
}

fn parse(text: &str) -> Result<Cluster, ConfigError> {
    Cluster::parse(Path::new("cluster.toml"), text)
}

/// The standard file with `from` replaced by `to`, and the error that this causes.
fn refusal(from: &str, to: &str) -> String {
    let text = generated().cluster.render();
    assert!(text.contains(from), "{from:?} is not in the file");
    parse(&text.replacen(from, to, 1)).unwrap_err().to_string()
}

#[test]
fn values_out_of_range_are_refused() {
    for (from, to, wanted) in [
        ("faults = 1", "faults = 0", "cluster.toml:7: faults = 0: is out of range; write a number from 1 to 5"),
        ("faults = 1", "faults = 6", "cluster.toml:7: faults = 6: is out of range; write a number from 1 to 5"),
        (
            "datagram_bytes_max = 32768",
            "datagram_bytes_max = 1231",
            "cluster.toml:18: datagram_bytes_max = 1231: is out of range; write a number from 1232 to 61440",
        ),
        (
            "datagram_bytes_max = 32768",
            "datagram_bytes_max = 61441",
            "cluster.toml:18: datagram_bytes_max = 61441: is out of range; write a number from 1232 to 61440",
        ),
        (
            "checkpoint_interval = 128",
            "checkpoint_interval = 7",
            "cluster.toml:20: checkpoint_interval = 7: is out of range; write a number from 8 to 256",
        ),
        (
            "checkpoint_interval = 128",
            "checkpoint_interval = 257",
            "cluster.toml:20: checkpoint_interval = 257: is out of range; write a number from 8 to 256",
        ),
        (
            "pipeline_depth = 8",
            "pipeline_depth = 0",
            "cluster.toml:22: pipeline_depth = 0: is out of range; write a number from 1 to 128",
        ),
        (
            "pipeline_depth = 8",
            "pipeline_depth = 129",
            "cluster.toml:22: pipeline_depth = 129: is out of range; write a number from 1 to 128",
        ),
        (
            "batch_requests_max = 64",
            "batch_requests_max = 257",
            "cluster.toml:23: batch_requests_max = 257: is out of range; write a number from 1 to 256",
        ),
        (
            "client_window = 32",
            "client_window = 0",
            "cluster.toml:24: client_window = 0: is out of range; write a number from 1 to 1024",
        ),
        (
            "clock_bound_ms = 500",
            "clock_bound_ms = 60001",
            "cluster.toml:26: clock_bound_ms = 60001: is out of range; write a number from 1 to 60000",
        ),
        (
            "retention_bytes = 1073741824",
            "retention_bytes = 1",
            "cluster.toml:28: retention_bytes = 1: is out of range; write a number from 16777216 to 1099511627776",
        ),
        (
            "null_reply_bytes = 0",
            "null_reply_bytes = 32657",
            "cluster.toml:14: null_reply_bytes = 32657: is out of range; write a number from 0 to 32656",
        ),
        (
            "port = 7404",
            "port = 0",
            "cluster.toml:33: multicast.port = 0: is no port; write a port from 1 to 65535 that no replica uses",
        ),
        (
            "port = 7404",
            "port = 70000",
            "cluster.toml:33: multicast.port = 70000: is out of range; write a number from 0 to 65535",
        ),
    ] {
        assert_eq!(refusal(from, to), wanted);
    }
}

#[test]
fn bounds_themselves_are_accepted() {
    let text = generated().cluster.render();
    for (from, to) in [
        ("datagram_bytes_max = 32768", "datagram_bytes_max = 1232"),
        ("datagram_bytes_max = 32768", "datagram_bytes_max = 61440"),
        ("checkpoint_interval = 128", "checkpoint_interval = 8"),
        ("checkpoint_interval = 128", "checkpoint_interval = 256"),
        ("pipeline_depth = 8", "pipeline_depth = 128"),
        ("batch_requests_max = 64", "batch_requests_max = 256"),
        ("client_window = 32", "client_window = 1024"),
        ("null_reply_bytes = 0", "null_reply_bytes = 32656"),
    ] {
        let changed = text.replacen(from, to, 1);
        parse(&changed).unwrap_or_else(|error| panic!("{to}: {error}"));
    }
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    for (from, to, wanted) in [
        (
            "journal = \"off\"",
            "journal = \"sync\"",
            "cluster.toml:11: journal = \"sync\": is not built yet; use one of: off",
        ),
        (
            "journal = \"off\"",
            "journal = \"async\"",
            "cluster.toml:11: journal = \"async\": is not built yet; use one of: off",
        ),
        ("active = \"all\"", "active = \"3f\"", "cluster.toml:9: active = \"3f\": is not built yet; use one of: all"),
        (
            "active = \"all\"",
            "active = \"2f+1\"",
            "cluster.toml:9: active = \"2f+1\": is not built yet; use one of: all",
        ),
        (
            "service = \"log\"",
            "service = \"sql\"",
            "cluster.toml:13: service = \"sql\": is not known; use one of: log, kv, null",
        ),
    ] {
        assert_eq!(refusal(from, to), wanted);
    }
}

#[test]
fn unknown_and_missing_keys_are_refused() {
    for (from, to, wanted) in [
        (
            "pipeline_depth = 8",
            "pipeline_dept = 8",
            "cluster.toml:22: pipeline_dept: is not a known key; did you mean \"pipeline_depth\"?",
        ),
        (
            "id = 1\naddress",
            "id = 1\nhostname = \"x\"\naddress",
            "cluster.toml:42: replica[1].hostname: is not a known key; remove it; the keys here are: id, address, public_key",
        ),
        (
            "port = 7404",
            "port = 7404\nttl = 1",
            "cluster.toml:34: multicast.ttl: is not a known key; remove it; the keys here are: group, port",
        ),
        ("faults = 1", "", "cluster.toml: faults: is missing; add it above the first [table]"),
        ("port = 7404", "", "cluster.toml:31: multicast.port: is missing; add it"),
        ("address = \"127.0.0.1:7401\"", "", "cluster.toml:40: replica[1].address: is missing; add it"),
    ] {
        assert_eq!(refusal(from, to), wanted);
    }
    let text = generated().cluster.render();
    let without_table = &text[..text.find("[multicast]").unwrap()];
    assert_eq!(
        parse(without_table).unwrap_err().to_string(),
        "cluster.toml: multicast: is missing; add it above the first [table]"
    );
}

#[test]
fn a_wrong_number_of_replicas_is_refused() {
    assert_eq!(
        refusal("faults = 1", "faults = 2"),
        "cluster.toml:7: faults = 2: needs n = 3f+1 = 7 replicas, and the file lists 4; write faults = 1, or list 7 replicas"
    );
    let mut cluster = generated().cluster;
    cluster.replicas.truncate(3);
    assert_eq!(
        parse(&cluster.render()).unwrap_err().to_string(),
        "cluster.toml:7: faults = 1: needs n = 3f+1 = 4 replicas, and the file lists 3; list 4 tables [[replica]]"
    );
    let baseline = generated().cluster.unreplicated();
    assert_eq!((baseline.replica_count(), baseline.quorum(), baseline.quorum_weak()), (1, 1, 1));
    assert_eq!(
        parse(&baseline.render()).unwrap_err().to_string(),
        "cluster.toml:7: faults = 0: is out of range; write a number from 1 to 5",
        "the baseline is never read from a file"
    );
}

#[test]
fn a_wrong_number_of_clients_is_refused() {
    let mut cluster = generated().cluster;
    let clients = cluster.clients.clone();
    for count in [0, 1, limits::CLIENTS_MAX + 1] {
        cluster.clients = clients.iter().copied().cycle().take(count).collect();
        assert_eq!(
            cluster.check().unwrap_err().to_string(),
            format!(
                "client: the file lists {count} clients; list 2 to 256 tables [[client]]: one a driver, and last the operator"
            )
        );
    }
}

#[test]
fn tables_out_of_order_are_refused() {
    assert_eq!(
        refusal("id = 1\naddress", "id = 2\naddress"),
        "cluster.toml:41: replica[1].id = 2: stands at place 1; list the tables by id: 0, 1, 2 and so on, none missing, none twice"
    );
}

#[test]
fn wrong_addresses_are_refused() {
    let address = "address = \"127.0.0.1:7401\"";
    for (to, wanted) in [
        (
            "address = \"127.0.0.1:7400\"",
            "cluster.toml:42: replica[1].address = 127.0.0.1:7400: is also the address of replica 0; give each replica its own address or port",
        ),
        (
            "address = \"0.0.0.0:7401\"",
            "cluster.toml:42: replica[1].address = 0.0.0.0:7401: is not the address of one host; write the address at which the others reach this replica",
        ),
        (
            "address = \"239.1.1.1:7401\"",
            "cluster.toml:42: replica[1].address = 239.1.1.1:7401: is not the address of one host; write the address at which the others reach this replica",
        ),
        (
            "address = \"127.0.0.1:0\"",
            "cluster.toml:42: replica[1].address = 127.0.0.1:0: has no port; write a port from 1 to 65535",
        ),
        (
            "address = \"[::1]:7401\"",
            "cluster.toml:42: replica[1].address = [::1]:7401: mixes IPv4 and IPv6 with the replicas before it; use one of them for all replicas",
        ),
        (
            "address = \"127.0.0.1:7404\"",
            "cluster.toml:42: replica[1].address = 127.0.0.1:7404: has the port of the multicast groups, 7404; give it another port",
        ),
        (
            "address = \"localhost:7401\"",
            "cluster.toml:42: replica[1].address = \"localhost:7401\": invalid socket address syntax; write ADDRESS:PORT, such as 192.0.2.11:7400",
        ),
    ] {
        assert_eq!(refusal(address, to), wanted);
    }
}

#[test]
fn wrong_groups_are_refused() {
    let cluster = generated().cluster;
    let group = format!("group = \"{}\"", cluster.multicast.group);
    for (to, wanted) in [
        (
            "group = \"192.0.2.1\"",
            "cluster.toml:32: multicast.group = 192.0.2.1: is not a multicast group of IPv4, as the replicas' addresses are; write a group such as 239.195.20.0",
        ),
        (
            "group = \"ff05::1\"",
            "cluster.toml:32: multicast.group = ff05::1: is not a multicast group of IPv4, as the replicas' addresses are; write a group such as 239.195.20.0",
        ),
        (
            "group = \"239.1.1.252\"",
            "cluster.toml:32: multicast.group = 239.1.1.252: leaves no room for 5 consecutive groups; write a group that ends in 0",
        ),
        (
            "group = \"one\"",
            "cluster.toml:32: multicast.group = \"one\": invalid IP address syntax; write an address such as 239.195.20.0",
        ),
    ] {
        assert_eq!(refusal(&group, to), wanted);
    }
    parse(&cluster.render().replacen(&group, "group = \"239.1.1.251\"", 1)).expect("five groups fit");
    let six = Plan { hosts: vec!["fd00::1".parse().unwrap()], multicast: Some("ff0e::1".parse().unwrap()), ..plan() };
    assert_eq!(
        generate(&six, &mut entropy(1)).err().unwrap().to_string(),
        "cluster.toml: multicast.group = ff0e::1: is not a multicast group of IPv6 (ff02::/16 or ff05::/16), as the replicas' addresses are; \
         write a group such as ff05::4c47:0"
    );
}

#[test]
fn wrong_ids_and_keys_are_refused() {
    let cluster = generated().cluster;
    let id = format!("cluster_id = \"{:016x}\"", cluster.cluster_id);
    assert_eq!(
        refusal(&id, "cluster_id = \"0\""),
        "cluster.toml:5: cluster_id = \"0\": is zero; take any other number, at random"
    );
    for bad in ["xyz", "", "+1", "12345678123456789"] {
        let error = refusal(&id, &format!("cluster_id = \"{bad}\""));
        assert!(
            error.starts_with(&format!("cluster.toml:5: cluster_id = \"{bad}\": is not a hexadecimal number")),
            "{error}"
        );
        assert!(error.ends_with("; write 1 to 16 hexadecimal digits"), "{error}");
    }
    let keys = [
        cluster.replicas[0].public_key.to_string(),
        cluster.replicas[1].public_key.to_string(),
        cluster.clients[0].to_string(),
    ];
    assert_eq!(
        refusal(&keys[1], &keys[0]),
        format!(
            "cluster.toml:43: replica[1].public_key = \"{}\": is also the key of replica 0; give every replica and client its own identity",
            keys[0]
        )
    );
    assert_eq!(
        refusal(&keys[2], &keys[0]),
        format!(
            "cluster.toml:57: client[0].public_key = \"{}\": is also the key of replica 0; give every replica and client its own identity",
            keys[0]
        )
    );
    let error = refusal(&keys[1], "abc");
    assert!(error.starts_with("cluster.toml:43: replica[1].public_key = \"abc\": "), "{error}");
    assert!(error.ends_with("; write a public key as `logothete init` writes it, 64 hexadecimal digits"), "{error}");
    assert_eq!(
        refusal("mac = \"blake3\"", "mac = \"md5\""),
        "cluster.toml:16: mac = \"md5\": is not known; use one of: blake3, hmac-sha256, aes-256-gmac"
    );
}

#[test]
fn optional_settings_have_defaults() {
    let cluster = generated().cluster;
    let kept = ["cluster_id", "faults", "datagram_bytes_max", "group", "port", "id", "address", "public_key", "["];
    let text = cluster.render();
    let short: String = text
        .lines()
        .filter(|line| kept.iter().any(|key| line.starts_with(key)))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(parse(&short).unwrap(), cluster);
    let shorter = short.replacen("datagram_bytes_max = 32768\n", "", 1);
    assert_eq!(parse(&shorter).unwrap().datagram_bytes_max, limits::DATAGRAM_BYTES_DEFAULT);
}

#[test]
fn local_files_are_refused_with_line_and_mend() {
    let directory = Path::new("/etc/logothete");
    let replica = ReplicaLocal::standard(directory, 0).render(directory);
    let driver = DriverLocal::standard(directory, 0).render(directory);
    for (from, to, wanted) in [
        (
            "arrangement = \"auto\"",
            "arrangement = \"dedicated\"",
            "replica-0.toml:9: arrangement = \"dedicated\": is not built yet; use one of: auto, shared, split",
        ),
        (
            "cores = []",
            "cores = [1, 2, 1]",
            "replica-0.toml:13: cores = 1: is named twice; name each core once, or none for no pinning",
        ),
        ("key = \"replica-0.key\"\n", "", "replica-0.toml: key: is missing; add it above the first [table]"),
        ("key = \"replica-0.key\"", "key = \"\"", "replica-0.toml:2: key = \"\": is empty; write a path"),
        ("idle", "idel", "replica-0.toml:11: idel: is not a known key; did you mean \"idle\"?"),
        (
            "transport = \"auto\"",
            "transport = \"dpdk\"",
            "replica-0.toml:5: transport = \"dpdk\": is not known; use one of: auto, io_uring, mmsg",
        ),
    ] {
        let replaced = match from {
            "idle" => replica.replacen("\nidle", "\nidel", 1),
            from => replica.replacen(from, to, 1),
        };
        let error = ReplicaLocal::parse(Path::new("replica-0.toml"), &replaced).unwrap_err();
        assert_eq!(error.to_string(), wanted);
    }
    let long = format!("/{}", "s".repeat(SESSION_PATH_BYTES_MAX));
    let replaced = driver.replacen("driver-0.sock", &long, 1);
    assert_eq!(
        DriverLocal::parse(Path::new("driver-0.toml"), &replaced).unwrap_err().to_string(),
        format!(
            "driver-0.toml:5: session = \"{long}\": is a path of 108 bytes, and a Unix socket's has at most 107; \
             write a shorter path, such as /run/logothete/driver-0.sock"
        )
    );
    let fits = driver.replacen("driver-0.sock", &long[..SESSION_PATH_BYTES_MAX], 1);
    DriverLocal::parse(Path::new("driver-0.toml"), &fits).unwrap();
}

#[test]
fn local_paths_start_at_the_files_directory() {
    let local =
        ReplicaLocal::parse(Path::new("/a/b/replica-0.toml"), "key = \"k\"\ndata_directory = \"/var/x\"").unwrap();
    assert_eq!(local.key, Path::new("/a/b/k"));
    assert_eq!(local.data_directory, Path::new("/var/x"));
}

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
        assert!(local.data_directory.is_dir());
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

#[test]
fn the_digest_depends_on_every_setting_and_on_no_formatting() {
    let cluster = generated().cluster;
    let digest = cluster.digest();
    let spaced = cluster.render().replace(" = ", "   =   ").replace("# ", "#! ");
    assert_eq!(parse(&spaced).unwrap().digest(), digest);

    let other = generate(&plan(), &mut entropy(2)).unwrap().cluster;
    type Change = fn(&mut Cluster, &Cluster);
    let changes: [(&str, Change); 18] = [
        ("cluster_id", |cluster, other| cluster.cluster_id = other.cluster_id),
        ("faults", |cluster, _| cluster.faults += 1),
        ("service", |cluster, _| cluster.service = ServiceKind::KeyValue),
        ("null_reply_bytes", |cluster, _| cluster.null_reply_bytes += 1),
        ("mac", |cluster, _| cluster.mac = MacAlgorithm::Aes256Gmac),
        ("datagram_bytes_max", |cluster, _| cluster.datagram_bytes_max += 1),
        ("checkpoint_interval", |cluster, _| cluster.checkpoint_interval += 1),
        ("pipeline_depth", |cluster, _| cluster.pipeline_depth += 1),
        ("batch_requests_max", |cluster, _| cluster.batch_requests_max += 1),
        ("client_window", |cluster, _| cluster.client_window += 1),
        ("clock_bound_ms", |cluster, _| cluster.clock_bound_ms += 1),
        ("retention_bytes", |cluster, _| cluster.retention_bytes += 1),
        ("group", |cluster, other| cluster.multicast.group = other.multicast.group),
        ("port", |cluster, _| cluster.multicast.port += 1),
        ("address", |cluster, _| cluster.replicas[2].address.set_port(1)),
        ("replica key", |cluster, other| cluster.replicas[2].public_key = other.replicas[2].public_key),
        ("client key", |cluster, other| cluster.clients[0] = other.clients[0]),
        ("client count", |cluster, _| cluster.clients.truncate(1)),
    ];
    for (name, change) in changes {
        let mut changed = cluster.clone();
        change(&mut changed, &other);
        assert_ne!(changed.digest(), digest, "{name}");
    }
}

#[test]
fn room_for_an_operation() {
    let mut cluster = generated().cluster;
    assert_eq!(cluster.operation_bytes_max(), operation_bytes_max(32768, 4));
    assert!(cluster.result_bytes_max() < 32768 && cluster.result_bytes_max() > 32768 - 256);
    cluster.datagram_bytes_max = 1472;
    assert!(cluster.operation_bytes_max() > 1472 - 256 && cluster.operation_bytes_max() < 1472);
    assert_eq!((cluster.quorum(), cluster.quorum_weak(), cluster.window()), (3, 2, 256));
    assert_eq!((cluster.driver_count(), cluster.operator_index()), (2, 2));
    assert!(cluster.is_loopback());
    let away =
        generate(&Plan { hosts: vec!["192.0.2.1".parse().unwrap()], ..plan() }, &mut entropy(1)).unwrap().cluster;
    assert!(!away.is_loopback());
    assert_eq!(away.datagram_bytes_max, limits::DATAGRAM_BYTES_DEFAULT);
}

fn any_plan() -> impl Strategy<Value = (Plan, u64)> {
    let host = prop_oneof![Just("127.0.0.1"), Just("10.1.2.3"), Just("::1"), Just("fd00::7")];
    let service = prop::sample::select(&[ServiceKind::Log, ServiceKind::KeyValue, ServiceKind::Null][..]);
    let mac = prop::sample::select(&[MacAlgorithm::Blake3, MacAlgorithm::HmacSha256, MacAlgorithm::Aes256Gmac][..]);
    let transport = prop::sample::select(Transport::ALL);
    let fan_out = prop::sample::select(FanOut::ALL);
    let arrangement = prop::sample::select(Arrangement::ALL);
    (1u8..=5, host, 1u16..5, service, 0usize..900, mac, 1u16..65000, (transport, fan_out, arrangement), any::<u64>())
        .prop_map(
            |(faults, host, drivers, service, null_reply_bytes, mac, port, (transport, fan_out, arrangement), seed)| {
                let hosts = vec![host.parse().unwrap()];
                let plan = Plan {
                    faults,
                    hosts,
                    drivers,
                    service,
                    null_reply_bytes,
                    mac,
                    port_base: Some(port),
                    transport,
                    fan_out,
                    arrangement,
                    ..Plan::default()
                };
                (plan, seed)
            },
        )
}

proptest! {
    #[test]
    fn every_cluster_reads_back((plan, seed) in any_plan()) {
        let cluster = generate(&plan, &mut entropy(seed)).unwrap().cluster;
        let read = parse(&cluster.render()).unwrap();
        prop_assert_eq!(&read, &cluster);
        prop_assert_eq!(read.digest(), cluster.digest());
    }

    #[test]
    fn a_damaged_file_is_read_or_refused_with_a_line_of_it(position in any::<prop::sample::Index>(), length in 0usize..40, insert in "\\PC{0,6}") {
        let mut text = generated().cluster.render();
        let start = position.index(text.len());
        let end = (start + length).min(text.len());
        text.replace_range(start..end, &insert);
        if let Err(error) = parse(&text) {
            prop_assert!(error.line.unwrap_or(1) <= text.lines().count() + 1, "{}", error);
            prop_assert!(!error.fault.problem.is_empty() && !error.fault.mend.is_empty());
        }
    }

    #[test]
    fn every_local_file_reads_back(names in prop::collection::vec("[a-z \"\\\\]{1,8}", 3), cores in prop::collection::btree_set(0u16..1024, 0..6)) {
        let directory = Path::new("/srv/cluster");
        let replica = ReplicaLocal {
            key: directory.join(&names[0]),
            data_directory: directory.join(&names[1]),
            idle: Idle::Park,
            cores: cores.iter().copied().collect(),
            ..ReplicaLocal::standard(directory, 3)
        };
        let read = ReplicaLocal::parse(&directory.join("replica-3.toml"), &replica.render(directory));
        prop_assert_eq!(read, Ok(replica));
        let driver = DriverLocal { session: directory.join(&names[2]), cores: cores.into_iter().collect(), ..DriverLocal::standard(directory, 1) };
        let read = DriverLocal::parse(&directory.join("driver-1.toml"), &driver.render(directory));
        prop_assert_eq!(read, Ok(driver));
    }
}
