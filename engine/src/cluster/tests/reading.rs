//! What is accepted, and what it means.

use super::super::init::{Plan, generate};
use super::super::*;
use super::{entropy, generated, parse, plan};
use crate::limits;
use crate::service::kv::Command;
use crate::wire::request::{lone_request_bytes, request_bytes_max};
use logothete_crypto::MacAlgorithm;
use proptest::prelude::*;
use std::path::Path;

#[test]
fn bounds_themselves_are_accepted() {
    let text = generated().cluster.render();
    for (from, to) in [
        ("datagram_bytes_max = 32768", "datagram_bytes_max = 1232"),
        ("datagram_bytes_max = 32768", "datagram_bytes_max = 61440"),
        ("checkpoint_interval = 128", "checkpoint_interval = 8"),
        ("operation_bytes_max = 1048576", "operation_bytes_max = 1024"),
        ("operation_bytes_max = 1048576\n", ""),
        ("pipeline_depth = 8", "pipeline_depth = 128"),
        ("batch_requests_max = 64", "batch_requests_max = 256"),
        ("client_window = 32", "client_window = 1024"),
        ("null_reply_bytes = 0", "null_reply_bytes = 32616"),
    ] {
        let changed = text.replacen(from, to, 1);
        parse(&changed).unwrap_or_else(|error| panic!("{to}: {error}"));
    }
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
fn local_paths_start_at_the_files_directory() {
    let local =
        ReplicaLocal::parse(Path::new("/a/b/replica-0.toml"), "key = \"k\"\ndata_directory = \"/var/x\"").unwrap();
    assert_eq!(local.key, Path::new("/a/b/k"));
    assert_eq!(local.data_directory, Path::new("/var/x"));
}

#[test]
fn the_digest_depends_on_every_setting_and_on_no_formatting() {
    let cluster = generated().cluster;
    let digest = cluster.digest();
    let spaced = cluster.render().replace(" = ", "   =   ").replace("# ", "#! ");
    assert_eq!(parse(&spaced).unwrap().digest(), digest);

    let other = generate(&plan(), &mut entropy(2)).unwrap().cluster;
    type Change = fn(&mut Cluster, &Cluster);
    let changes: [(&str, Change); 20] = [
        ("cluster_id", |cluster, other| cluster.cluster_id = other.cluster_id),
        ("faults", |cluster, _| cluster.faults += 1),
        ("service", |cluster, _| cluster.service = ServiceKind::KeyValue),
        ("null_reply_bytes", |cluster, _| cluster.null_reply_bytes += 1),
        ("mac", |cluster, _| cluster.mac = MacAlgorithm::Aes256Gmac),
        ("datagram_bytes_max", |cluster, _| cluster.datagram_bytes_max += 1),
        ("operation_bytes_max", |cluster, _| cluster.operation_bytes_max -= 1),
        ("checkpoint_interval", |cluster, _| cluster.checkpoint_interval += 1),
        ("pipeline_depth", |cluster, _| cluster.pipeline_depth += 1),
        ("batch_requests_max", |cluster, _| cluster.batch_requests_max += 1),
        ("client_window", |cluster, _| cluster.client_window += 1),
        ("clock_bound_ms", |cluster, _| cluster.clock_bound_ms += 1),
        ("retention_bytes", |cluster, _| cluster.retention_bytes += 1),
        ("key_lifetime_s", |cluster, _| cluster.key_lifetime_s += 1),
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
    assert_eq!(cluster.request_packet_bytes_max(), request_bytes_max(32768, 4));
    assert!(cluster.result_bytes_max() < 32768 && cluster.result_bytes_max() > 32768 - 256);
    cluster.datagram_bytes_max = 1472;
    assert!(cluster.request_packet_bytes_max() > 1472 - 256 && cluster.request_packet_bytes_max() < 1472);
    assert_eq!(cluster.operation_bytes_max, limits::OPERATION_BYTES_MAX);
    assert_eq!(cluster.request_bytes_max(), lone_request_bytes(limits::OPERATION_BYTES_MAX));
    cluster.service = ServiceKind::KeyValue;
    // The longest value has room under the longest key, in a put and in the result of a get.
    let put = Command::Put { key: &[0; 65535], value: &[0; limits::OPERATION_BYTES_MAX] }.encode_to_vec();
    assert_eq!(cluster.command_bytes_max(), put.len());
    assert_eq!(cluster.request_bytes_max(), lone_request_bytes(put.len()));
    assert_eq!(cluster.result_bytes_max(), put.len());
    cluster.check().unwrap();
    // `protocol.md LR-3`: less where the windows, or the clients, leave less memory to each.
    cluster.checkpoint_interval = limits::WINDOW_MAX / 2;
    assert_eq!(cluster.operation_bytes_fitting(), limits::OPERATION_BYTES_MAX / 2);
    assert!(cluster.check().unwrap_err().to_string().contains("write 524288 or less"));
    cluster.operation_bytes_max = cluster.operation_bytes_fitting();
    cluster.check().unwrap();
    cluster.checkpoint_interval = Cluster::CHECKPOINT_INTERVAL_DEFAULT;
    assert_eq!((cluster.quorum().strong(), cluster.quorum().weak(), cluster.window()), (3, 2, 256));
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
