//! What the services do, written once more, as plainly as can be, and with everything remembered: so that it can be said what a query would have
//! returned at any place of the order.

use crate::world::clients::END;
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
    /// Of each key its past; and how many operations were done.
    KeyValue(BTreeMap<Vec<u8>, Past>, usize),
}

impl Model {
    /// # Panics
    /// If it is of a service whose results say nothing.
    pub fn of(kind: ServiceKind) -> Self {
        match kind {
            ServiceKind::Log => Self::Log(0),
            ServiceKind::KeyValue => Self::KeyValue(BTreeMap::new(), 0),
            ServiceKind::Null => panic!("the null service has no state to see"),
        }
    }

    /// Does an operation that was ordered, and says its result. This copy knows of no limits.
    pub fn execute(&mut self, operation: &[u8]) -> Vec<u8> {
        match self {
            Self::Log(entries) => {
                *entries += 1;
                (*entries - 1).to_le_bytes().to_vec()
            }
            Self::KeyValue(keys, done) => {
                *done += 1;
                outcome(execute_command(keys, *done, operation))
            }
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
            Self::KeyValue(keys, _) => {
                let Ok(Command::Get { key }) = Command::decode(query) else { return None };
                let absent = [(0, None)];
                let values = keys.get(key).map_or(&absent[..], |values| values);
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
            Self::KeyValue(_, done) => *done,
        }
    }

    /// The digest of what there is, without how it came to be so.
    pub fn digest(&self) -> Digest {
        let text = match self {
            Self::Log(entries) => format!("{entries}"),
            Self::KeyValue(keys, _) => {
                let present = keys.iter().filter_map(|(key, past)| Some((key, past.last()?.1.as_ref()?)));
                format!("{:?}", present.collect::<Vec<_>>())
            }
        };
        digest(text.as_bytes())
    }
}

fn execute_command<'a>(keys: &'a mut BTreeMap<Vec<u8>, Past>, place: usize, operation: &[u8]) -> Outcome<'a> {
    let Ok(command) = Command::decode(operation) else { return Outcome::Malformed };
    let (Command::Put { key, .. }
    | Command::Get { key }
    | Command::Delete { key }
    | Command::CompareAndSet { key, .. }) = command;
    let values = keys.entry(key.to_vec()).or_insert_with(|| vec![(0, None)]);
    let (_, present) = values.last().expect("there is the first").clone();
    let value = match command {
        Command::Get { .. } => {
            let (_, present) = values.last().expect("there is the first");
            return present.as_deref().map_or(Outcome::Absent, Outcome::Value);
        }
        Command::Delete { .. } if present.is_none() => return Outcome::Absent,
        Command::CompareAndSet { expected, .. } if present.as_deref() != expected => return Outcome::Different,
        Command::Delete { .. } => None,
        Command::Put { value, .. } | Command::CompareAndSet { value, .. } => Some(value.to_vec()),
    };
    values.push((place, value));
    Outcome::Done
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
        let mut model = Model::of(ServiceKind::Log);
        assert_eq!(model.execute(b"a"), 0u64.to_le_bytes());
        assert_eq!(model.execute(b"b"), 1u64.to_le_bytes());
        let end = |end: u64, places| model.place_of(END, &end.to_le_bytes(), places);
        assert_eq!((end(1, 0..=2), end(2, 0..=1), end(0, 1..=2)), (Some(1), None, None));
        assert_eq!(model.place_of(b"other", &1u64.to_le_bytes(), 0..=2), None);
    }

    #[test]
    fn a_key_has_what_was_put_last() {
        let mut model = Model::of(ServiceKind::KeyValue);
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
    }
}
