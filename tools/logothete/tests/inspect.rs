//! `logothete inspect` on files that the engine wrote, whole and damaged.

use logothete_crypto::Digest;
use logothete_engine::journal::checkpoint_store::{CheckpointConfig, CheckpointStore};
use logothete_engine::journal::{Journal, JournalConfig, JournalMode, Origin, Record, Salt};
use logothete_engine::numbers::{ClientId, ReplicaId, SequenceNumber, View};
use logothete_engine::state::State;
use logothete_engine::wire::agreement::Vote;
use logothete_engine::wire::packet::{Audience, ENTRY_BYTES, Envelope, HEADER_BYTES, write_header};
use logothete_transport::storage::HostFileSystem;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

fn inspect(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_logothete");
    Command::new(program).arg("inspect").args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Runs it on a path, and returns whether it succeeded, with all that it said.
fn said(path: &Path, options: &[&str]) -> (bool, String) {
    let output = inspect(&[&[path.to_str().unwrap()], options].concat());
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// A data directory with a journal of three groups, closed, and a checkpoint.
fn data_directory() -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (journal_path, checkpoints) = (folder.path().join("journal"), folder.path().join("checkpoints"));
    let context = Digest([7; 32]);
    let config = JournalConfig {
        segment_bytes: 64 * 1024,
        group_bytes_max: 16 * 1024,
        ..JournalConfig::new(JournalMode::Sync, context, ReplicaId(2))
    };
    let mut journal = Journal::create(&journal_path, &config, Origin::Birth, Salt([3; 16])).unwrap();
    for sequence in 1..=3 {
        let (view, sequence, digest) = (View(1), SequenceNumber(sequence), Digest([9; 32]));
        journal.append(&Record::Prepare { view, sequence, digest }).unwrap();
        journal.append(&Record::Body { packet: b"a client's packet" }).unwrap();
        journal.flush().unwrap();
    }
    journal.close().unwrap();

    let config = CheckpointConfig { context, replica: ReplicaId(2), pages: 64 };
    let mut store = CheckpointStore::open(&HostFileSystem::shared(), &checkpoints, &config).unwrap().store;
    let mut state = State::new(64);
    state.page_mut(5).fill(1);
    store.begin(SequenceNumber(128), state.snapshot(), vec![1, 2, 3]).unwrap();
    store.wait().unwrap();
    (folder, journal_path, checkpoints)
}

#[test]
fn a_journal_is_described_and_verifies() {
    let (folder, journal, _) = data_directory();
    for path in [folder.path(), &journal] {
        let (verifies, text) = said(path, &[]);
        assert!(verifies, "{text}");
        for part in [
            "replica 2",
            "segment 1: 4 groups, 6 records, 1 to 6",
            "records: 3 body, 3 prepare",
            "closed in good order",
            "\nverifies\n",
        ] {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
    }
    let segment = journal.join("segment-0000000000000001.journal");
    let (verifies, text) = said(&segment, &["--list"]);
    assert!(verifies && text.contains("5\tprepare\tview 1 sequence 3 digest 09090909"), "{text}");
}

#[test]
fn damage_in_a_journal_is_named_with_status_1() {
    let (_folder, journal, _) = data_directory();
    let segment = journal.join("segment-0000000000000001.journal");
    // In the second group: the header and each group are a block.
    flip(&segment, 2 * 4096 + 70);
    for path in [&journal, &segment] {
        let (verifies, text) = said(path, &[]);
        assert!(!verifies && text.contains("segment 1 is damaged at byte 8192"), "{text}");
    }
    // In the last one: a write that may have been interrupted.
    flip(&segment, 2 * 4096 + 70);
    flip(&segment, 4 * 4096 + 70);
    let (verifies, text) = said(&journal, &[]);
    assert!(verifies && text.contains("interrupted, never acknowledged, at byte 16384 of segment 1"), "{text}");
}

#[test]
fn a_checkpoint_is_described_and_its_pages_are_checked() {
    let (_folder, _, checkpoints) = data_directory();
    for path in [checkpoints.clone(), checkpoints.join("table-1")] {
        let (verifies, text) = said(&path, &[]);
        assert!(verifies && text.contains("checkpoint 128: replica 2"), "{text}");
        assert!(text.contains("1 of 64 pages, 3 bytes beside"), "{text}");
    }
    flip(&checkpoints.join("pages-a"), 5 * 4096);
    let (verifies, text) = said(&checkpoints, &[]);
    assert!(!verifies && text.contains("does not verify: the pages of checkpoint 128"), "{text}");
    flip(&checkpoints.join("table-1"), 100);
    let (verifies, text) = said(&checkpoints, &[]);
    assert!(!verifies && text.contains("table-1 is damaged"), "{text}");
}

/// A packet of replica 1 to a client with two votes in it.
fn packet() -> Vec<u8> {
    let mut packet = vec![0; HEADER_BYTES];
    let vote = Vote::new(View(0), SequenceNumber(9), Digest([1; 32]));
    vote.append_prepare(&mut packet);
    vote.append_commit(&mut packet);
    let body_bytes = packet.len() - HEADER_BYTES;
    let audience = Audience::Client(ClientId(3));
    let envelope = Envelope { sender: 1, cluster: 7, epoch: 255, counter: 11, audience, message_count: 2 };
    write_header(&mut packet, body_bytes, &envelope);
    packet.resize(packet.len() + ENTRY_BYTES, 0);
    packet
}

/// A classic capture of raw IPv4, each payload a UDP datagram on loopback.
fn capture(payloads: &[&[u8]]) -> Vec<u8> {
    let mut file: Vec<u8> = [0xa1b2_c3d4u32, 0, 0, 0, 65536, 101].into_iter().flat_map(u32::to_le_bytes).collect();
    for payload in payloads {
        let length = 28 + payload.len() as u32;
        file.extend([0, 0, length, length].into_iter().flat_map(u32::to_le_bytes));
        let mut headers = [0; 28];
        (headers[0], headers[9]) = (0x45, 17);
        (headers[12], headers[15]) = (127, 1);
        (headers[16], headers[19]) = (127, 1);
        headers[24..26].copy_from_slice(&(8 + payload.len() as u16).to_be_bytes());
        file.extend_from_slice(&headers);
        file.extend_from_slice(payload);
    }
    file
}

#[test]
fn a_capture_is_described_and_malformed_packets_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.pcap");
    let packet = packet();
    // The kernel may carry several datagrams as one.
    let together = [&packet[..], &packet].concat();
    std::fs::write(&path, capture(&[&packet, b"something else", &together])).unwrap();
    let (verifies, text) = said(&path, &["--list"]);
    assert!(verifies, "{text}");
    for part in [
        "3 frames",
        "packets: 3, announcements: 0",
        "messages: 3 Commit, 3 Prepare",
        "passed over: 1 other UDP",
        "replica 1 to client 3, epoch ff packet 11: Prepare, Commit",
        "tags are not verified",
    ] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    let mut damaged = packet.clone();
    damaged[HEADER_BYTES] = 200;
    std::fs::write(&path, capture(&[&packet, &damaged])).unwrap();
    let (verifies, text) = said(&path, &[]);
    assert!(!verifies && text.contains("frame 2: a malformed packet: unknown message kind"), "{text}");
}

#[test]
fn what_is_unknown_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letter");
    std::fs::write(&path, "Dear reader").unwrap();
    for path in [folder.path(), &path, &folder.path().join("none")] {
        let (verifies, text) = said(path, &[]);
        assert!(!verifies && text.starts_with("logothete: "), "{text}");
    }
    assert_eq!(inspect(&[]).status.code(), Some(2));
}
