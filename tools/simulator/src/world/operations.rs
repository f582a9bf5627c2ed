//! What clients ask of the services: the bytes of operations and queries.

use crate::world::random::Random;
use crate::world::settings::Settings;
use logothete_engine::service::ServiceKind;
use logothete_engine::service::kv::Command;
use logothete_engine::wire::operation::OPERATION_HEADER_BYTES;

/// The query that asks how many entries the log has. Where it has to be ordered, it is an entry like another, and its position says the same.
pub const END: &[u8] = b"end";

/// Of so many keys the first are asked for most.
const KEYS: usize = 24;

fn key(random: &mut Random) -> Vec<u8> {
    let hot = random.below(KEYS);
    format!("k{}", random.below(1 + hot)).into_bytes()
}

/// What correct clients ask: each operation says whose it is and which, so that no two values are equal.
#[derive(Debug)]
pub struct Operations {
    client: usize,
    service: ServiceKind,
    /// The longest operation.
    bytes_max: usize,
    /// What was stored last, so that others compare with something that was there.
    stored: Vec<(Vec<u8>, Vec<u8>)>,
    random: Random,
}

impl Operations {
    pub fn new(client: usize, settings: &Settings, random: Random) -> Self {
        let packet = settings.operations_bytes_max() - OPERATION_HEADER_BYTES;
        let bytes_max = settings.operation_bytes_max.max(packet);
        Self { client, service: settings.service(), bytes_max, stored: Vec::new(), random }
    }

    /// An entry of the log, or a command that stores one under a key: of about so many bytes. One that is alone in its request may ask for a value.
    pub fn operation(&mut self, number: u64, length: usize, lone: bool) -> Vec<u8> {
        let mut entry = format!("c{} {number}", self.client).into_bytes();
        entry.resize(entry.len().max(length), b'.');
        match self.service {
            ServiceKind::Log => entry,
            ServiceKind::KeyValue => self.command(entry, lone),
            ServiceKind::Null => unreachable!("no plan has the null service"),
        }
    }

    fn command(&mut self, mut value: Vec<u8>, lone: bool) -> Vec<u8> {
        let key = key(&mut self.random);
        let bare = Command::Put { key: &key, value: &[] }.encode_to_vec().len();
        value.truncate(self.bytes_max - bare);
        let held = self.stored.iter().position(|(held, _)| *held == key);
        let command = match self.random.below(20) {
            0 if lone => Command::Get { key: &key },
            0..=2 => Command::Delete { key: &key },
            3 => Command::CompareAndSet { key: &key, expected: None, value: &value },
            4..=9 => match held.map(|held| &self.stored[held].1) {
                Some(expected) if bare + expected.len() + value.len() <= self.bytes_max => {
                    Command::CompareAndSet { key: &key, expected: Some(expected), value: &value }
                }
                _ => Command::Put { key: &key, value: &value },
            },
            _ => Command::Put { key: &key, value: &value },
        };
        let bytes = command.encode_to_vec();
        if !matches!(command, Command::Get { .. }) {
            match held {
                Some(held) => self.stored[held].1 = value,
                None => self.stored.push((key, value)),
            }
        }
        bytes
    }

    /// Asks how many entries there are, or for a value.
    pub fn query(&mut self) -> Vec<u8> {
        match self.service {
            ServiceKind::KeyValue => Command::Get { key: &key(&mut self.random) }.encode_to_vec(),
            _ => END.to_vec(),
        }
    }
}

/// What a client that is not correct asks the key-value service, with such bytes: a command that others feel, mostly.
pub fn foreign(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let key = key(random);
    let command = match random.below(8) {
        0 => return bytes.to_vec(),
        1 => Command::Delete { key: &key },
        2 => Command::CompareAndSet { key: &key, expected: None, value: bytes },
        3 => Command::Put { key: bytes, value: &key },
        4 => Command::Get { key: &key },
        _ => Command::Put { key: &key, value: bytes },
    };
    command.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn operations(settings: Settings) -> Operations {
        Operations::new(3, &settings, Random::named(1, "operations"))
    }

    #[test]
    fn entries_of_the_log_say_whose_they_are() {
        let mut log = operations(Settings::default());
        assert_eq!((log.operation(7, 1, true), log.operation(8, 6, false)), (b"c3 7".to_vec(), b"c3 8..".to_vec()));
        assert_eq!(log.query(), END);
    }

    /// The longest are as long as may be and no longer; every command comes, and no value twice.
    #[test]
    fn commands_are_of_all_kinds_and_within_bounds() {
        let settings = Settings { key_value: true, operation_bytes_max: 4000, ..Settings::default() };
        let mut keys = operations(settings);
        let (mut kinds, mut values, mut longest) = (BTreeSet::new(), BTreeSet::new(), 0);
        for number in 0..1000 {
            let bytes = keys.operation(number, if number % 10 == 0 { 4000 } else { 30 }, number % 2 == 0);
            longest = longest.max(bytes.len());
            let command = Command::decode(&bytes).expect("a command");
            kinds.insert((bytes[0], matches!(command, Command::CompareAndSet { expected: Some(_), .. })));
            if let Command::Put { value, .. } | Command::CompareAndSet { value, .. } = command {
                assert!(values.insert(value.to_vec()), "{command:?}");
            }
            assert!(number % 2 == 0 || !matches!(command, Command::Get { .. }));
        }
        assert_eq!((kinds.len(), longest), (5, 4000));
        assert!(matches!(Command::decode(&keys.query()), Ok(Command::Get { .. })));
    }

    /// What others ask is well-formed mostly, and nonsense now and then.
    #[test]
    fn foreign_commands_reach_the_keys_of_others() {
        let mut random = Random::named(2, "foreign");
        let all: Vec<Vec<u8>> = (0..100).map(|_| foreign(b"anything", &mut random)).collect();
        let well_formed = all.iter().filter(|bytes| Command::decode(bytes).is_ok()).count();
        assert!((70..100).contains(&well_formed), "{well_formed}");
        let reaches = |bytes: &Vec<u8>| matches!(Command::decode(bytes), Ok(Command::Put { key: [b'k', ..], .. }));
        assert!(all.iter().filter(|bytes| reaches(bytes)).count() >= 20);
    }
}
