//! Files that an operator edits or a disk damages: configuration, journal, checkpoints (RELIABILITY.md I-06, I-07, D-01, D-02, D-09, I-16).

use crate::choices::Choices;
use crate::hostile::request_name;
use crate::{Sample, Target};
use logothete_crypto::{Digest, DigestWriter};
use logothete_engine::cluster::init::{Plan, generate};
use logothete_engine::cluster::{Cluster, ConfigError, DriverLocal, ReplicaLocal};
use logothete_engine::journal::checkpoint_store::{CheckpointConfig, CheckpointStore};
use logothete_engine::journal::{Journal, JournalConfig, JournalMode, Origin, Record, Salt, inspection};
use logothete_engine::numbers::{ReplicaId, SequenceNumber, View};
use logothete_engine::state::State;
use logothete_engine::wire::agreement::BatchEntry;
use logothete_simulator::world::random::Random;
use logothete_transport::storage::HostFileSystem;
use logothete_transport::storage::StorageChoice;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

pub const CONFIGURATION: Target = Target {
    name: "configuration",
    about: "cluster.toml and the local files: read, rendered, read again",
    run: configuration,
    samples: configurations,
};

pub const JOURNAL: Target = Target {
    name: "journal",
    about: "a journal's files, damaged anywhere: no record but those written",
    run: journal,
    samples: damages,
};

pub const CHECKPOINT: Target = Target {
    name: "checkpoint",
    about: "the files of durable checkpoints, damaged anywhere, or made up by somebody",
    run: checkpoint,
    samples: damages,
};

/// The first byte says which file; what is read is rendered and read again.
fn configuration(bytes: &[u8]) {
    let Some((which, text)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(text);
    let (file, folder) = (Path::new("file.toml"), Path::new("/tmp"));
    match which % 3 {
        0 => {
            let Some(cluster) = read(Cluster::parse(file, &text)) else { return };
            assert!(cluster.check().is_ok(), "what is read is sound");
            let rendered = cluster.render();
            let again = Cluster::parse(file, &rendered).expect("what is rendered is read");
            assert_eq!((again.render(), again.digest()), (rendered, cluster.digest()));
        }
        1 => {
            let Some(local) = read(ReplicaLocal::parse(file, &text)) else { return };
            let rendered = local.render(folder);
            let again = ReplicaLocal::parse(file, &rendered).expect("what is rendered is read");
            assert_eq!(again.render(folder), rendered);
        }
        _ => {
            let Some(local) = read(DriverLocal::parse(file, &text)) else { return };
            let rendered = local.render(folder);
            let again = DriverLocal::parse(file, &rendered).expect("what is rendered is read");
            assert_eq!(again.render(folder), rendered);
        }
    }
}

/// A refusal names the file.
fn read<T>(outcome: Result<T, ConfigError>) -> Option<T> {
    outcome.inspect_err(|error| assert!(error.to_string().contains("file.toml"), "{error}")).ok()
}

/// Names and contents of a folder's files.
type Files = Vec<(String, Vec<u8>)>;

fn files_of(folder: &Path) -> Files {
    let entries = fs::read_dir(folder).expect("it was made here");
    let mut files: Files = entries
        .map(|entry| entry.expect("it was made here"))
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).expect("it is a file")))
        .collect();
    files.sort();
    files
}

/// Writes the files as the input damages them: bytes changed, zeroed stretches, files cut, missing, or in another's place.
fn damaged(files: &Files, folder: &Path, choices: &mut Choices<'_>) -> bool {
    let mut files = files.clone();
    let before = files.clone();
    for _ in 0..choices.below(4) {
        let (at, other) = (choices.below(files.len()), choices.below(files.len()));
        let place = usize::from(u16::from_le_bytes(choices.array()));
        let bytes = &mut files[at].1;
        match choices.byte() % 6 {
            0 => choices.spoil(&mut bytes[..]),
            1 => {
                let spoilt = place % bytes.len().max(1);
                bytes.iter_mut().skip(spoilt).take(1).for_each(|byte| *byte ^= 1 << (place % 8));
            }
            2 => bytes.truncate(place % (bytes.len() + 1)),
            3 => bytes.iter_mut().skip(place % 4096 / 512 * 512).take(512).for_each(|byte| *byte = 0),
            4 => *bytes = before[other].1.clone(),
            _ => bytes.extend_from_slice(&before[other].1[..place % (before[other].1.len() + 1)]),
        }
    }
    let missing = if choices.byte() == 9 { choices.below(files.len()) } else { files.len() };
    for (at, (name, bytes)) in files.iter().enumerate().filter(|(at, _)| *at != missing) {
        fs::write(folder.join(name), bytes).unwrap_or_else(|error| panic!("file {at}: {error}"));
    }
    files == before && missing == files.len()
}

/// A record as its encoding: what is read must be among what was written.
fn encoded(record: &Record<'_>) -> Vec<u8> {
    let mut bytes = vec![0; record.encoded_bytes()];
    record.encode(&mut bytes);
    bytes
}

/// A journal of several segments, and the records in it.
fn written() -> &'static (Files, Vec<Vec<u8>>) {
    static WRITTEN: OnceLock<(Files, Vec<Vec<u8>>)> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let folder = super::folder();
        let directory = folder.path().join("journal");
        let config = JournalConfig {
            segment_bytes: 16 * 1024,
            group_bytes_max: 4 * 1024,
            storage: StorageChoice::Threaded,
            ..JournalConfig::new(JournalMode::Sync, Digest([7; 32]), ReplicaId(0))
        };
        let mut journal = Journal::create(&directory, &config, Origin::Birth, Salt([1; 16])).expect("a journal");
        let mut records = Vec::new();
        for number in 1..30 {
            let (view, sequence, digest) = (View(1), SequenceNumber(number), Digest([number as u8; 32]));
            let entries = [BatchEntry::new(request_name(7, number), digest)];
            let proposal = Record::Proposal { view, sequence, timestamp_ns: number, entries: &entries };
            for record in [proposal, Record::Body { packet: &[3; 700] }, Record::Commit { view, sequence, digest }] {
                journal.append(&record).expect("there is room");
                records.push(encoded(&record));
            }
            journal.flush().expect("the disk is a good one");
        }
        journal.close().expect("the disk is a good one");
        (files_of(&directory), records)
    })
}

/// Damage makes a journal shorter at its end, or unreadable; it never makes another record of one.
fn journal(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let (files, records) = written();
    let folder = super::folder();
    let whole = damaged(files, folder.path(), &mut choices);
    let mut seen = Vec::new();
    let outcome = inspection::journal(&HostFileSystem, folder.path(), &mut |_, record| seen.push(encoded(&record)));
    match outcome {
        // Without its first segments it is a journal that was trimmed.
        Ok(_) => assert!(
            seen.is_empty() || records.windows(seen.len()).any(|written| written == seen),
            "what is read was written, in this order"
        ),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    assert!(!whole || seen.len() == records.len(), "nothing of a whole journal is missing");
    for (name, _) in files.iter().filter(|(name, _)| name.starts_with("segment")) {
        let _ = inspection::segment(&HostFileSystem, &folder.path().join(name), &mut |_, _| {});
    }
}

const PAGES: u64 = 64;

fn checkpoint_config() -> CheckpointConfig {
    CheckpointConfig { context: Digest([7; 32]), replica: ReplicaId(0), pages: PAGES }
}

/// Two checkpoints, and the digests of their states.
fn stored() -> &'static (Files, [Digest; 2]) {
    static STORED: OnceLock<(Files, [Digest; 2])> = OnceLock::new();
    STORED.get_or_init(|| {
        let folder = super::folder();
        let mut store = CheckpointStore::open(&HostFileSystem::shared(), folder.path(), &checkpoint_config())
            .expect("a store")
            .store;
        let mut state = State::new(PAGES);
        let digests = [1u8, 2].map(|round| {
            state.write(u64::from(round) * 4096, &[round; 100]);
            let snapshot = state.snapshot();
            let digest = snapshot.digest();
            store.begin(SequenceNumber(u64::from(round)), snapshot, vec![round; 20]).expect("it is idle");
            store.wait().expect("the disk is a good one");
            digest
        });
        drop(store);
        (files_of(folder.path()), digests)
    })
}

/// What loads is a checkpoint that was stored.
fn checkpoint(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let (files, digests) = stored();
    let folder = super::folder();
    let whole = damaged(files, folder.path(), &mut choices);
    let made_up = choices.byte() % 4 == 3;
    if made_up {
        make_up(folder.path(), &mut choices);
    }
    if let Ok(inspected) = CheckpointStore::inspect(&HostFileSystem, folder.path()) {
        assert!(inspected.stored.len() + inspected.damaged.len() <= 2);
    }
    let Ok(mut opened) = CheckpointStore::open(&HostFileSystem::shared(), folder.path(), &checkpoint_config()) else {
        return assert!(!whole || made_up, "whole files open");
    };
    let newest = opened.stored.first().cloned();
    let Some(newest) = newest else { return assert!(!whole || made_up) };
    match opened.store.load(&newest) {
        Ok(state) => {
            let digest = state.snapshot().digest();
            assert!(digest == newest.digest && (made_up || digests.contains(&digest)), "what loads was stored");
        }
        Err(error) => assert!((!whole || made_up) && !error.to_string().is_empty(), "{error}"),
    }
}

/// A table of somebody who knows how its digest is made.
fn make_up(folder: &Path, choices: &mut Choices<'_>) {
    const DIGEST_AT: usize = 128;
    const HEADER_BYTES: usize = 160;
    let path = folder.join("table-0");
    let Ok(mut table) = fs::read(&path) else { return };
    choices.spoil(&mut table);
    if table.len() < HEADER_BYTES {
        return;
    }
    let mut writer = DigestWriter::new("logothete checkpoint table");
    writer.update(&table[..DIGEST_AT]);
    writer.update(&table[HEADER_BYTES..]);
    table[DIGEST_AT..HEADER_BYTES].copy_from_slice(&writer.finish().0);
    fs::write(&path, &table).expect("the folder is this input's");
}

fn configurations() -> Vec<Sample> {
    let mut random = Random::new(1);
    let plan = Plan { port_base: Some(20_000), ..Plan::default() };
    let cluster = generate(&plan, &mut |bytes| random.fill(bytes)).expect("a plan like any").cluster;
    let folder = Path::new("/tmp");
    let file = |which: u8, text: String| [&[which], text.as_bytes()].concat();
    vec![
        ("cluster".to_owned(), file(0, cluster.render())),
        ("replica".to_owned(), file(1, ReplicaLocal::standard(folder, 2).render(folder))),
        ("driver".to_owned(), file(2, DriverLocal::standard(folder, 0).render(folder))),
        ("table-unknown".to_owned(), file(0, "[nothing]\nof = 'this'\n".to_owned())),
    ]
}

fn damages() -> Vec<Sample> {
    let mut samples = vec![("whole".to_owned(), vec![0, 0])];
    for how in 0..6u8 {
        samples.push((format!("one-{how}"), vec![1, 1, 0, 200, 16, how, 7, 7]));
        samples.push((format!("two-{how}"), vec![2, 2, 1, 3, 0, how, 0, 1, 1, 0, 40, how, 0, 0, 3, 1, 8, 0, 1]));
    }
    samples
}
