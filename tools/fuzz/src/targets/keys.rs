//! Key announcements, which are signed and not tagged, and key files (RELIABILITY.md F-16, B-16, I-06).

use crate::choices::Choices;
use crate::{Sample, Target};
use logothete_crypto::{ANNOUNCEMENT_BYTES, Digest, Identity, KeyRing, KeyRingConfig, MacAlgorithm};
use logothete_engine::cluster::keys;
use logothete_simulator::world::random::Random;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

pub const ANNOUNCEMENT: Target = Target {
    name: "announcement",
    about: "announcements between two processes, changed on the way",
    run: announcements,
    samples,
};

pub const KEY_FILE: Target =
    Target { name: "key_file", about: "the file of a secret key", run: key_file, samples: key_files };

fn ring(own: u16, seed: u64) -> KeyRing {
    ring_of(own, seed, [own as u8 + 1; 32])
}

fn ring_of(own: u16, seed: u64, secret: [u8; 32]) -> KeyRing {
    let config = KeyRingConfig {
        context: Digest([7; 32]),
        algorithm: MacAlgorithm::Blake3,
        own,
        identity: Identity::from_secret_bytes(secret),
        peers: vec![(1 - own, Identity::from_secret_bytes([2 - own as u8; 32]).public())],
    };
    let mut random = Random::new(seed);
    KeyRing::new(config, Box::new(move |bytes| random.fill(bytes)))
}

/// Announcements go to and fro, some of them spoilt or repeated. A spoilt one changes nothing; whatever happened, honest ones settle it.
fn announcements(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let (mut here, mut there) = (ring(0, 1), ring(1, 2));
    let mut recorded: Vec<[u8; ANNOUNCEMENT_BYTES]> = Vec::new();
    for _ in 0..16 {
        if choices.is_spent() {
            break;
        }
        match choices.byte() % 6 {
            0 => there.rotate(),
            1 => there = ring(1, choices.number()),
            2 if !recorded.is_empty() => {
                let old = recorded[choices.below(recorded.len())];
                let _ = here.accept_announcement(&old);
            }
            3 => {
                let foreign = choices.bytes(2 * ANNOUNCEMENT_BYTES);
                assert!(here.accept_announcement(foreign).is_err(), "nobody signed it");
            }
            4 => {
                let answer = here.announcement(1, 0).expect("it is a peer");
                let _ = there.accept_announcement(&answer);
            }
            _ => {
                let honest = there.announcement(0, choices.byte()).expect("it is a peer");
                let mut spoilt = honest;
                choices.spoil(&mut spoilt);
                let _ = here.claim(&spoilt);
                let established = here.established(1);
                let outcome = here.accept_announcement(&spoilt);
                if spoilt != honest {
                    assert!(outcome.is_err() && here.established(1) == established, "nobody signed it so");
                }
                recorded.push(honest);
            }
        }
    }
    for _ in 0..4 {
        let _ = here.accept_announcement(&there.announcement(0, 0).expect("it is a peer"));
        let _ = there.accept_announcement(&here.announcement(1, 0).expect("it is a peer"));
    }
    assert!(here.settled(1) && there.settled(0), "honest announcements settle it");
    assert_eq!(here.established(1), Some(there.epoch()));
}

/// Only the digits of the right key are a key file.
fn key_file(bytes: &[u8]) {
    let identity = Identity::from_secret_bytes([0xab; 32]);
    let folder = super::folder();
    let path = folder.path().join("key");
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(bytes)).expect("the file is written");
    let read = keys::read(&path, "replica 2", &identity.public());
    let is_right = bytes.trim_ascii_end().eq_ignore_ascii_case("ab".repeat(32).as_bytes()) && bytes.len() <= 66;
    match read {
        Ok(read) => assert!(is_right && read.public() == identity.public(), "not the key"),
        Err(error) => assert!(!is_right && error.to_string().contains("key"), "{error}"),
    }
}

fn samples() -> Vec<Sample> {
    // Of somebody with another identity, whose keys nobody here knows.
    let foreign = ring_of(1, 2, [77; 32]).announcement(0, 0).expect("it is a peer");
    vec![
        ("honest".to_owned(), vec![5, 0, 4, 5, 0, 4, 5]),
        ("restarts".to_owned(), vec![5, 0, 4, 5, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9, 5, 0, 4, 2, 0]),
        ("rotates".to_owned(), vec![5, 0, 4, 0, 5, 0, 4, 2, 1, 0, 5]),
        ("foreign".to_owned(), [&[3, 200, 0], &foreign[..]].concat()),
    ]
}

fn key_files() -> Vec<Sample> {
    let digits = "ab".repeat(32);
    [("good", format!("{digits}\n")), ("upper", digits.to_uppercase()), ("long", format!("{digits}0\n"))]
        .into_iter()
        .chain([("zeros", "0".repeat(64)), ("empty", String::new()), ("other", "cd".repeat(32))])
        .map(|(name, text)| (name.to_owned(), text.into_bytes()))
        .collect()
}
