//! The key-value service: byte strings under byte strings.
//!
//! What enters here are commands ([`command`]) that any application may have written, well-formed or not; what leaves
//! are outcomes in the same layout at every replica. A command that makes no sense, or has no room, is answered so and
//! changes nothing.
//!
//! Keys are spread over buckets by their digest; a digest tree over the buckets remembers what did not change, so that
//! the state digest costs in proportion to what did. The state digest depends on the content alone, not on how it came
//! about. Nothing here may depend on the order of a seeded hash map.

pub mod command;
mod tree;

pub use self::command::{Command, CommandError, Outcome};
use self::tree::{CHILDREN, DigestTree};
use super::{OrderedRequest, QueryError, Results, Service};
use logothete_crypto::{Digest, DigestWriter, digest};
use std::collections::BTreeMap;

/// The levels of the digest tree below its root, the buckets included.
const TREE_DEPTH: u32 = 4;

/// 15 keys a bucket at a million keys, which is what one change makes the next state digest look at again; the empty
/// buckets and the tree over them take 4.5 MB.
const BUCKETS: usize = CHILDREN.pow(TREE_DEPTH);

/// What an entry counts for beyond its key's and value's bytes: what the maps and the allocator take for it, roughly.
/// Part of the state machine: it decides when a put is refused.
pub const ENTRY_OVERHEAD_BYTES: u64 = 64;

type Bucket = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// The key-value service; see the module's own text and [`Command`] for what it is asked.
#[derive(Debug)]
pub struct KeyValue {
    buckets: Vec<Bucket>,
    tree: DigestTree,
    /// What is stored, each entry with [`ENTRY_OVERHEAD_BYTES`].
    state_bytes: u64,
    state_bytes_max: u64,
    /// A bucket as it is digested; here so that its memory is used again.
    encoded: Vec<u8>,
}

impl KeyValue {
    /// An empty service that refuses to store more than `state_bytes_max`, each entry counted as its key, its value and
    /// [`ENTRY_OVERHEAD_BYTES`].
    pub fn new(state_bytes_max: u64) -> Self {
        Self {
            buckets: vec![Bucket::new(); BUCKETS],
            tree: DigestTree::new(TREE_DEPTH, bucket_digest(&Bucket::new(), &mut Vec::new())),
            state_bytes: 0,
            state_bytes_max,
            encoded: Vec::new(),
        }
    }

    /// The value under `key`.
    pub fn value(&self, key: &[u8]) -> Option<&[u8]> {
        self.buckets[bucket_index(key)].get(key).map(|value| &**value)
    }

    /// What is stored, in bytes, each entry counted with [`ENTRY_OVERHEAD_BYTES`].
    pub fn state_bytes(&self) -> u64 {
        self.state_bytes
    }

    fn execute_command(&mut self, command: &Command<'_>) -> Outcome<'_> {
        match *command {
            Command::Get { key } => self.value(key).map_or(Outcome::Absent, Outcome::Value),
            Command::Put { key, value } => self.store(key, value),
            Command::Delete { key } => self.delete(key),
            Command::CompareAndSet { key, expected, value } => {
                if self.value(key) == expected {
                    self.store(key, value)
                } else {
                    Outcome::Different
                }
            }
        }
    }

    fn store(&mut self, key: &[u8], value: &[u8]) -> Outcome<'static> {
        let index = bucket_index(key);
        let bucket = &mut self.buckets[index];
        let old = bucket.get_mut(key);
        let old_bytes = old.as_ref().map_or(0, |old| entry_bytes(key, old));
        let state_bytes = self.state_bytes - old_bytes + entry_bytes(key, value);
        if state_bytes > self.state_bytes_max {
            return Outcome::Full;
        }
        match old {
            Some(old) if old.len() == value.len() => old.copy_from_slice(value),
            Some(old) => *old = value.into(),
            None => {
                bucket.insert(key.into(), value.into());
            }
        }
        self.state_bytes = state_bytes;
        self.tree.mark(index);
        Outcome::Done
    }

    fn delete(&mut self, key: &[u8]) -> Outcome<'static> {
        let index = bucket_index(key);
        let Some(value) = self.buckets[index].remove(key) else {
            return Outcome::Absent;
        };
        self.state_bytes -= entry_bytes(key, &value);
        self.tree.mark(index);
        Outcome::Done
    }
}

impl Service for KeyValue {
    fn execute(&mut self, request: &OrderedRequest<'_>, results: &mut Results<'_>) {
        for operation in request.operations {
            let outcome = match Command::decode(operation.bytes) {
                Ok(command) => self.execute_command(&command),
                Err(_) => Outcome::Malformed,
            };
            push(&outcome, results);
        }
    }

    fn query(&self, operation: &[u8], results: &mut Results<'_>) -> Result<(), QueryError> {
        let Ok(Command::Get { key }) = Command::decode(operation) else { return Err(QueryError) };
        push(&self.value(key).map_or(Outcome::Absent, Outcome::Value), results);
        Ok(())
    }

    fn digest(&mut self) -> Digest {
        let root = self.tree.root(|index| bucket_digest(&self.buckets[index], &mut self.encoded));
        let mut writer = DigestWriter::new("logothete kv state");
        writer.update(&self.state_bytes_max.to_le_bytes());
        writer.update(&root.0);
        writer.finish()
    }
}

fn push(outcome: &Outcome<'_>, results: &mut Results<'_>) {
    let outcome = if outcome.size() > results.room_bytes() { &Outcome::NoRoom } else { outcome };
    results.push_with(outcome.size(), |result| outcome.encode(result));
}

/// The bucket of a key. By its digest, so that keys chosen with malice cost a digest each to aim at one bucket.
fn bucket_index(key: &[u8]) -> usize {
    const { assert!(BUCKETS == 1 << u16::BITS) };
    let [low, high, ..] = digest(key).0;
    usize::from(u16::from_le_bytes([low, high]))
}

fn entry_bytes(key: &[u8], value: &[u8]) -> u64 {
    key.len() as u64 + value.len() as u64 + ENTRY_OVERHEAD_BYTES
}

/// Of all entries in the order of their keys, each part with its length in front. Encoded in one piece first: a digest
/// takes one long piece several times as fast as many short ones.
fn bucket_digest(bucket: &Bucket, encoded: &mut Vec<u8>) -> Digest {
    encoded.clear();
    for part in bucket.iter().flat_map(|(key, value)| [key, value]) {
        encoded.extend_from_slice(&(part.len() as u64).to_le_bytes());
        encoded.extend_from_slice(part);
    }
    let mut writer = DigestWriter::new("logothete kv bucket");
    writer.update(encoded);
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{TestRequest, execute};
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    type Model = BTreeMap<Vec<u8>, Vec<u8>>;

    #[derive(Clone, Debug)]
    enum Step {
        Put(Vec<u8>, Vec<u8>),
        Get(Vec<u8>),
        Delete(Vec<u8>),
        CompareAndSet(Vec<u8>, Option<Vec<u8>>, Vec<u8>),
        Noise(Vec<u8>),
    }

    impl Step {
        fn encode(&self) -> Vec<u8> {
            match self {
                Self::Put(key, value) => Command::Put { key, value }.encode_to_vec(),
                Self::Get(key) => Command::Get { key }.encode_to_vec(),
                Self::Delete(key) => Command::Delete { key }.encode_to_vec(),
                Self::CompareAndSet(key, expected, value) => {
                    Command::CompareAndSet { key, expected: expected.as_deref(), value }.encode_to_vec()
                }
                Self::Noise(bytes) => bytes.clone(),
            }
        }

        /// What the step does to the simplest thing that could be right, which has room for everything.
        fn apply(&self, model: &mut Model) -> Vec<u8> {
            let outcome = match self {
                Self::Put(key, value) => {
                    model.insert(key.clone(), value.clone());
                    Outcome::Done
                }
                Self::Get(key) => match model.get(key) {
                    Some(value) => Outcome::Value(value),
                    None => Outcome::Absent,
                },
                Self::Delete(key) => model.remove(key).map_or(Outcome::Absent, |_| Outcome::Done),
                Self::CompareAndSet(key, expected, value) if model.get(key) == expected.as_ref() => {
                    model.insert(key.clone(), value.clone());
                    Outcome::Done
                }
                Self::CompareAndSet(..) => Outcome::Different,
                Self::Noise(_) => Outcome::Malformed,
            };
            let mut result = vec![0; outcome.size()];
            outcome.encode(&mut result);
            result
        }
    }

    /// Few keys and values, so that steps meet.
    fn step() -> impl Strategy<Value = Step> {
        let key = || vec(0_u8..3, 0..3);
        let value = || vec(0_u8..2, 0..3);
        prop_oneof![
            (key(), value()).prop_map(|(key, value)| Step::Put(key, value)),
            key().prop_map(Step::Get),
            key().prop_map(Step::Delete),
            (key(), proptest::option::of(value()), value()).prop_map(|(k, e, v)| Step::CompareAndSet(k, e, v)),
            vec(any::<u8>(), 0..4).prop_map(Step::Noise),
        ]
    }

    fn run(service: &mut KeyValue, steps: &[Step]) -> Vec<Vec<u8>> {
        let operations: Vec<Vec<u8>> = steps.iter().map(Step::encode).collect();
        let operations: Vec<&[u8]> = operations.iter().map(|bytes| &**bytes).collect();
        execute(service, &TestRequest::new(b"", &operations).ordered(1, 1))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn behaves_like_a_map(requests in vec(vec(step(), 0..8), 0..12), digest_after in vec(any::<bool>(), 12)) {
            let mut service = KeyValue::new(1 << 20);
            let mut model = Model::new();
            for (steps, digest) in requests.iter().zip(digest_after) {
                let expected: Vec<_> = steps.iter().map(|step| step.apply(&mut model)).collect();
                prop_assert_eq!(run(&mut service, steps), expected);
                if digest {
                    service.digest();
                }
            }
            let stored: u64 = model.iter().map(|(key, value)| entry_bytes(key, value)).sum();
            prop_assert_eq!(service.state_bytes(), stored);

            // However it came about, and whenever digests were taken on the way: the same content, the same digest.
            let mut rebuilt = KeyValue::new(1 << 20);
            for (key, value) in model.iter().rev() {
                run(&mut rebuilt, &[Step::Put(key.clone(), value.clone())]);
            }
            prop_assert_eq!(service.digest(), rebuilt.digest());
            if let Some((key, value)) = model.pop_first() {
                run(&mut rebuilt, &[Step::Put(key.clone(), [&value[..], b"!"].concat())]);
                prop_assert_ne!(service.digest(), rebuilt.digest());
                run(&mut rebuilt, &[Step::Delete(key)]);
                prop_assert_ne!(service.digest(), rebuilt.digest());
            }
        }
    }

    #[test]
    fn a_full_store_refuses_growth_and_nothing_else() {
        let (a, b) = (b"a".to_vec(), b"b".to_vec());
        let mut service = KeyValue::new(2 * ENTRY_OVERHEAD_BYTES + 4);
        let results = run(
            &mut service,
            &[
                Step::Put(a.clone(), b"1".to_vec()),
                Step::Put(b.clone(), b"1".to_vec()),
                Step::Put(a.clone(), b"12".to_vec()),
                Step::Put(a.clone(), b"2".to_vec()),
                Step::CompareAndSet(b.clone(), Some(b"1".to_vec()), b"12".to_vec()),
                Step::Delete(b.clone()),
                Step::Put(a.clone(), b"12".to_vec()),
            ],
        );
        let outcomes: Vec<Outcome<'_>> = results.iter().map(|result| Outcome::decode(result).unwrap()).collect();
        use Outcome::{Done, Full};
        assert_eq!(outcomes, [Done, Done, Full, Done, Full, Done, Done]);
        assert_eq!(service.value(b"a"), Some(&b"12"[..]));
        assert_eq!(service.value(b"b"), None);
    }

    #[test]
    fn a_value_too_long_for_the_reply_is_answered_so() {
        let mut service = KeyValue::new(1 << 20);
        let key = b"k".to_vec();
        run(&mut service, &[Step::Put(key.clone(), vec![5; 3000])]);
        let results = run(&mut service, &[Step::Get(key.clone()), Step::Get(key.clone()), Step::Get(b"x".to_vec())]);
        assert_eq!(Outcome::decode(&results[0]), Ok(Outcome::Value(&[5; 3000])));
        assert_eq!(Outcome::decode(&results[1]), Ok(Outcome::NoRoom));
        assert_eq!(Outcome::decode(&results[2]), Ok(Outcome::Absent));
    }
}
