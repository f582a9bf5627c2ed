//! What the services do, written once more, as plainly as can be, and with everything remembered: so that it can be said what a query would have
//! returned at any place of the order.

use crate::world::operations::END;
use logothete_crypto::{Digest, digest};
use logothete_engine::service::ServiceKind;
use logothete_engine::service::kv::{Command, Outcome};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// From which place on a key had which value, or none.
type Past = Vec<(usize, Option<Vec<u8>>)>;

/// One copy of a service, with its past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Model {
    /// How many entries the log has.
    Log(u64),
    KeyValue(Keys),
}

/// What is under keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    pasts: BTreeMap<Vec<u8>, Past>,
    /// How many operations were done.
    done: usize,
    /// The most that may be stored, in bytes: keys, values, and something beside each.
    bytes_max: u64,
}

/// What a value counts for beside its bytes and its key's.
const BESIDE_BYTES: u64 = 64;

impl Model {
    /// An empty one that stores so many bytes at most. The log has room for all: it lets go of what is old.
    ///
    /// # Panics
    /// If it is of a service whose results say nothing.
    pub fn of(kind: ServiceKind, bytes_max: u64) -> Self {
        match kind {
            ServiceKind::Log => Self::Log(0),
            ServiceKind::KeyValue => Self::KeyValue(Keys { pasts: BTreeMap::new(), done: 0, bytes_max }),
            ServiceKind::Null => panic!("the null service has no state to see"),
        }
    }

    /// Does an operation that was ordered, and says its result. There is room for that in the reply: nobody asks for two values at once.
    pub fn execute(&mut self, operation: &[u8]) -> Vec<u8> {
        match self {
            Self::Log(entries) => {
                *entries += 1;
                (*entries - 1).to_le_bytes().to_vec()
            }
            Self::KeyValue(keys) => outcome(keys.execute(operation)),
        }
    }

    /// The first of these places at which a query would have had this result.
    pub fn place_of(&self, query: &[u8], result: &[u8], places: RangeInclusive<usize>) -> Option<usize> {
        match self {
            // It is the place itself.
            Self::Log(_) if query == END => {
                let end = usize::try_from(u64::from_le_bytes(result.try_into().ok()?)).ok()?;
                places.contains(&end).then_some(end)
            }
            Self::Log(_) => None,
            Self::KeyValue(keys) => {
                let Ok(Command::Get { key }) = Command::decode(query) else { return None };
                let absent = [(0, None)];
                let values = keys.pasts.get(key).map_or(&absent[..], |values| values);
                let first = values.partition_point(|(from, _)| from <= places.start()).saturating_sub(1);
                let mut within = values[first..].iter().take_while(|(from, _)| from <= places.end());
                let says = |value: &Option<Vec<u8>>| outcome(value.as_deref().map_or(Outcome::Absent, Outcome::Value));
                let (from, _) = within.find(|(_, value)| says(value) == result)?;
                Some(*from.max(places.start())).filter(|place| places.contains(place))
            }
        }
    }

    /// How many operations were done.
    pub fn place(&self) -> usize {
        match self {
            Self::Log(entries) => *entries as usize,
            Self::KeyValue(keys) => keys.done,
        }
    }

    /// The digest of what there is, without how it came to be so.
    pub fn digest(&self) -> Digest {
        let text = match self {
            Self::Log(entries) => format!("{entries}"),
            Self::KeyValue(keys) => format!("{:?}", keys.present().collect::<Vec<_>>()),
        };
        digest(text.as_bytes())
    }
}

impl Keys {
    fn present(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.pasts.iter().filter_map(|(key, past)| Some((&key[..], past.last()?.1.as_deref()?)))
    }

    fn execute(&mut self, operation: &[u8]) -> Outcome<'_> {
        self.done += 1;
        let Ok(command) = Command::decode(operation) else { return Outcome::Malformed };
        let (Command::Put { key, .. }
        | Command::Get { key }
        | Command::Delete { key }
        | Command::CompareAndSet { key, .. }) = command;
        let present = self.pasts.get(key).and_then(|past| past.last()?.1.as_deref());
        let value = match command {
            Command::Get { .. } => {
                let past = self.pasts.get(key).and_then(|past| past.last());
                return past.and_then(|(_, value)| value.as_deref()).map_or(Outcome::Absent, Outcome::Value);
            }
            Command::Delete { .. } if present.is_none() => return Outcome::Absent,
            Command::CompareAndSet { expected, .. } if present != expected => return Outcome::Different,
            Command::Delete { .. } => None,
            Command::Put { value, .. } | Command::CompareAndSet { value, .. } => Some(value.to_vec()),
        };
        if let Some(value) = &value {
            let bytes = |key: &[u8], value: &[u8]| key.len() as u64 + value.len() as u64 + BESIDE_BYTES;
            let others = self.present().filter(|(other, _)| *other != key);
            let others: u64 = others.map(|(key, value)| bytes(key, value)).sum();
            if others + bytes(key, value) > self.bytes_max {
                return Outcome::Full;
            }
        }
        self.pasts.entry(key.to_vec()).or_insert_with(|| vec![(0, None)]).push((self.done, value));
        Outcome::Done
    }
}

fn outcome(outcome: Outcome<'_>) -> Vec<u8> {
    let mut bytes = vec![0; outcome.size()];
    outcome.encode(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &[u8], value: &[u8]) -> Vec<u8> {
        Command::Put { key, value }.encode_to_vec()
    }

    #[test]
    fn an_append_answers_with_its_position_and_the_end_is_the_place() {
        let mut model = Model::of(ServiceKind::Log, 0);
        assert_eq!(model.execute(b"a"), 0u64.to_le_bytes());
        assert_eq!(model.execute(b"b"), 1u64.to_le_bytes());
        let end = |end: u64, places| model.place_of(END, &end.to_le_bytes(), places);
        assert_eq!((end(1, 0..=2), end(2, 0..=1), end(0, 1..=2)), (Some(1), None, None));
        assert_eq!(model.place_of(b"other", &1u64.to_le_bytes(), 0..=2), None);
    }

    #[test]
    fn a_key_has_what_was_put_last() {
        let mut model = Model::of(ServiceKind::KeyValue, 3 * 64 + 12);
        let get = Command::Get { key: b"k" }.encode_to_vec();
        let set = |expected, value| Command::CompareAndSet { key: b"k", expected, value }.encode_to_vec();
        let delete = Command::Delete { key: b"k" }.encode_to_vec();
        let steps: [(Vec<u8>, Outcome<'_>); 9] = [
            (get.clone(), Outcome::Absent),
            (put(b"k", b"one"), Outcome::Done),
            (put(b"other", b"x"), Outcome::Done),
            (set(Some(b"two"), b"three"), Outcome::Different),
            (set(Some(b"one"), b"three"), Outcome::Done),
            (get.clone(), Outcome::Value(b"three")),
            (delete.clone(), Outcome::Done),
            (delete, Outcome::Absent),
            (b"nonsense".to_vec(), Outcome::Malformed),
        ];
        for (operation, wanted) in steps {
            assert_eq!(model.execute(&operation), outcome(wanted), "{wanted:?}");
        }
        let place = |wanted, places| model.place_of(&get, &outcome(wanted), places);
        assert_eq!(place(Outcome::Absent, 0..=9), Some(0));
        assert_eq!(place(Outcome::Absent, 2..=6), None);
        assert_eq!(place(Outcome::Absent, 2..=9), Some(7));
        assert_eq!(place(Outcome::Value(b"one"), 0..=9), Some(2));
        assert_eq!(place(Outcome::Value(b"one"), 3..=9), Some(3));
        assert_eq!(place(Outcome::Value(b"one"), 5..=9), None);
        assert_eq!(place(Outcome::Value(b"three"), 0..=4), None);
        assert_eq!(place(Outcome::Value(b"four"), 0..=9), None);
        // There is room for twelve bytes and three values.
        for (operation, wanted) in [
            (put(b"k", b"one"), Outcome::Done),
            (put(b"l", b""), Outcome::Done),
            (put(b"m", b""), Outcome::Full),
            (put(b"l", b"x"), Outcome::Done),
            (put(b"l", b"xy"), Outcome::Full),
            (Command::Delete { key: b"k" }.encode_to_vec(), Outcome::Done),
            (put(b"l", b"xy"), Outcome::Done),
        ] {
            assert_eq!(model.execute(&operation), outcome(wanted), "{wanted:?}");
        }
    }
}
