//! What is refused: one case an error, with its text.

use super::super::init::{Plan, generate};
use super::super::*;
use super::{entropy, generated, parse, plan, refusal};
use crate::limits;
use std::path::Path;

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
            "cluster.toml:22: checkpoint_interval = 7: is out of range; write a number from 8 to 256",
        ),
        (
            "checkpoint_interval = 128",
            "checkpoint_interval = 257",
            "cluster.toml:22: checkpoint_interval = 257: is out of range; write a number from 8 to 256",
        ),
        (
            "pipeline_depth = 8",
            "pipeline_depth = 0",
            "cluster.toml:24: pipeline_depth = 0: is out of range; write a number from 1 to 128",
        ),
        (
            "pipeline_depth = 8",
            "pipeline_depth = 129",
            "cluster.toml:24: pipeline_depth = 129: is out of range; write a number from 1 to 128",
        ),
        (
            "batch_requests_max = 64",
            "batch_requests_max = 257",
            "cluster.toml:25: batch_requests_max = 257: is out of range; write a number from 1 to 256",
        ),
        (
            "client_window = 32",
            "client_window = 0",
            "cluster.toml:26: client_window = 0: is out of range; write a number from 1 to 1024",
        ),
        (
            "clock_bound_ms = 500",
            "clock_bound_ms = 60001",
            "cluster.toml:28: clock_bound_ms = 60001: is out of range; write a number from 1 to 60000",
        ),
        (
            "retention_bytes = 1073741824",
            "retention_bytes = 1",
            "cluster.toml:30: retention_bytes = 1: is out of range; write a number from 16777216 to 1099511627776",
        ),
        (
            "key_lifetime_s = 3600",
            "key_lifetime_s = 2592001",
            "cluster.toml:32: key_lifetime_s = 2592001: is out of range; write a number from 0 to 2592000",
        ),
        (
            "null_reply_bytes = 0",
            "null_reply_bytes = 32617",
            "cluster.toml:14: null_reply_bytes = 32617: is out of range; write a number from 0 to 32616",
        ),
        (
            "port = 7404",
            "port = 0",
            "cluster.toml:37: multicast.port = 0: is no port; write a port from 1 to 65535 that no replica uses",
        ),
        (
            "port = 7404",
            "port = 70000",
            "cluster.toml:37: multicast.port = 70000: is out of range; write a number from 0 to 65535",
        ),
    ] {
        assert_eq!(refusal(from, to), wanted);
    }
}

/// `protocol.md SP-2`
#[test]
fn more_replies_than_the_state_has_room_for_are_refused() {
    let mut cluster = generated().cluster;
    cluster.clients = vec![cluster.clients[0]; limits::CLIENTS_MAX];
    cluster.client_window = 1024;
    cluster.operation_bytes_max = cluster.operation_bytes_fitting();
    let fault = cluster.check().unwrap_err();
    assert_eq!(
        (&*fault.key, &*fault.problem, &*fault.mend),
        (
            "client_window",
            "keeps more replies of 256 clients than the state has room for",
            "write 127 or less, or make operation_bytes_max or datagram_bytes_max smaller"
        )
    );
    cluster.client_window = 127;
    assert_ne!(cluster.check().unwrap_err().key, "client_window");
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    for (from, to, wanted) in [
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
            "cluster.toml:24: pipeline_dept: is not a known key; did you mean \"pipeline_depth\"?",
        ),
        (
            "id = 1\naddress",
            "id = 1\nhostname = \"x\"\naddress",
            "cluster.toml:46: replica[1].hostname: is not a known key; remove it; the keys here are: id, address, public_key",
        ),
        (
            "port = 7404",
            "port = 7404\nttl = 1",
            "cluster.toml:38: multicast.ttl: is not a known key; remove it; the keys here are: group, port",
        ),
        ("faults = 1", "", "cluster.toml: faults: is missing; add it above the first [table]"),
        ("port = 7404", "", "cluster.toml:35: multicast.port: is missing; add it"),
        ("address = \"127.0.0.1:7401\"", "", "cluster.toml:44: replica[1].address: is missing; add it"),
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
    assert_eq!((baseline.replica_count(), baseline.quorum().strong(), baseline.quorum().weak()), (1, 1, 1));
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
        "cluster.toml:45: replica[1].id = 2: stands at place 1; list the tables by id: 0, 1, 2 and so on, none missing, none twice"
    );
}

#[test]
fn wrong_addresses_are_refused() {
    let address = "address = \"127.0.0.1:7401\"";
    for (to, wanted) in [
        (
            "address = \"127.0.0.1:7400\"",
            "cluster.toml:46: replica[1].address = 127.0.0.1:7400: is also the address of replica 0; give each replica its own address or port",
        ),
        (
            "address = \"0.0.0.0:7401\"",
            "cluster.toml:46: replica[1].address = 0.0.0.0:7401: is not the address of one host; write the address at which the others reach this replica",
        ),
        (
            "address = \"239.1.1.1:7401\"",
            "cluster.toml:46: replica[1].address = 239.1.1.1:7401: is not the address of one host; write the address at which the others reach this replica",
        ),
        (
            "address = \"127.0.0.1:0\"",
            "cluster.toml:46: replica[1].address = 127.0.0.1:0: has no port; write a port from 1 to 65535",
        ),
        (
            "address = \"[::1]:7401\"",
            "cluster.toml:46: replica[1].address = [::1]:7401: mixes IPv4 and IPv6 with the replicas before it; use one of them for all replicas",
        ),
        (
            "address = \"127.0.0.1:7404\"",
            "cluster.toml:46: replica[1].address = 127.0.0.1:7404: has the port of the multicast groups, 7404; give it another port",
        ),
        (
            "address = \"localhost:7401\"",
            "cluster.toml:46: replica[1].address = \"localhost:7401\": invalid socket address syntax; write ADDRESS:PORT, such as 192.0.2.11:7400",
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
            "cluster.toml:36: multicast.group = 192.0.2.1: is not a multicast group of IPv4, as the replicas' addresses are; write a group such as 239.195.20.0",
        ),
        (
            "group = \"ff05::1\"",
            "cluster.toml:36: multicast.group = ff05::1: is not a multicast group of IPv4, as the replicas' addresses are; write a group such as 239.195.20.0",
        ),
        (
            "group = \"239.1.1.252\"",
            "cluster.toml:36: multicast.group = 239.1.1.252: leaves no room for 5 consecutive groups; write a group that ends in 0",
        ),
        (
            "group = \"one\"",
            "cluster.toml:36: multicast.group = \"one\": invalid IP address syntax; write an address such as 239.195.20.0",
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
            "cluster.toml:47: replica[1].public_key = \"{}\": is also the key of replica 0; give every replica and client its own identity",
            keys[0]
        )
    );
    assert_eq!(
        refusal(&keys[2], &keys[0]),
        format!(
            "cluster.toml:61: client[0].public_key = \"{}\": is also the key of replica 0; give every replica and client its own identity",
            keys[0]
        )
    );
    let error = refusal(&keys[1], "abc");
    assert!(error.starts_with("cluster.toml:47: replica[1].public_key = \"abc\": "), "{error}");
    assert!(error.ends_with("; write a public key as `logothete init` writes it, 64 hexadecimal digits"), "{error}");
    assert_eq!(
        refusal("mac = \"blake3\"", "mac = \"md5\""),
        "cluster.toml:16: mac = \"md5\": is not known; use one of: blake3, hmac-sha256, aes-256-gmac"
    );
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
