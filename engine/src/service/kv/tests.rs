use super::super::testing::{TestRequest, digest_of, execute, query};
use super::bucket::INSIDE_BYTES_MAX;
use super::*;
use crate::state::{ENGINE_PAGES, PAGE_BYTES};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

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

/// As many keys as make buckets split, and values of all the places that a value can have: in its bucket, behind it, outside.
fn wide_step() -> impl Strategy<Value = Step> {
    let key = || {
        (0_u16..400, prop_oneof![8 => Just(0_usize), 1 => Just(INSIDE_BYTES_MAX)]).prop_map(|(number, more)| {
            let mut key = number.to_le_bytes().to_vec();
            key.resize(2 + more, 9);
            key
        })
    };
    let value = || {
        (
            any::<u8>(),
            prop_oneof![
                4 => 0_usize..100,
                2 => 1000..INSIDE_BYTES_MAX + 2,
                1 => PAGE_BYTES - 8..2 * PAGE_BYTES + 8,
                1 => 20_000..50_000_usize,
            ],
        )
            .prop_map(|(byte, length)| vec![byte; length])
    };
    prop_oneof![
        5 => (key(), value()).prop_map(|(key, value)| Step::Put(key, value)),
        3 => key().prop_map(Step::Delete),
    ]
}

fn stored(model: &Model) -> u64 {
    model.iter().map(|(key, value)| entry_bytes(key.len(), value.len())).sum()
}

/// Puts and deletes without a reply that limits their size.
fn apply(service: &mut KeyValue, steps: &[Step]) {
    for step in steps {
        let bytes = step.encode();
        let outcome = service.execute_command(&Command::decode(&bytes).unwrap());
        assert!(matches!(outcome, Outcome::Done | Outcome::Absent));
    }
}

/// What is stored is what the model has, and the pages have nothing else: each chain page is in use once, or on the free list.
fn check_same(service: &KeyValue, model: &Model) {
    assert_eq!((service.entries(), service.state_bytes()), (model.len() as u64, stored(model)));
    for (key, value) in model {
        assert_eq!(service.value(key).as_deref(), Some(&value[..]));
    }
    service.pages.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn behaves_like_a_map(requests in vec(vec(step(), 0..8), 0..12), digest_after in vec(any::<bool>(), 12)) {
        let mut service = KeyValue::new(1 << 20);
        let mut twin = KeyValue::new(1 << 20);
        let mut model = Model::new();
        for (steps, digest) in requests.iter().zip(digest_after) {
            let expected: Vec<_> = steps.iter().map(|step| step.apply(&mut model)).collect();
            prop_assert_eq!(&run(&mut service, steps), &expected);
            prop_assert_eq!(run(&mut twin, steps), expected);
            if digest {
                digest_of(&service);
            }
        }
        check_same(&service, &model);

        // Whenever digests were taken on the way: the same history, the same digest. Another content, another digest.
        prop_assert_eq!(digest_of(&service), digest_of(&twin));
        if let Some((key, value)) = model.pop_first() {
            run(&mut twin, &[Step::Put(key.clone(), [&value[..], b"!"].concat())]);
            prop_assert_ne!(digest_of(&service), digest_of(&twin));
            run(&mut twin, &[Step::Delete(key)]);
            prop_assert_ne!(digest_of(&service), digest_of(&twin));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// `protocol.md SP-1`, `SP-3`: the table grows, chains come and go, and the pages alone say what is stored.
    #[test]
    fn grows_shrinks_and_is_found_again_in_its_pages(
        before in vec(wide_step(), 0..300), after in vec(wide_step(), 0..100),
    ) {
        let mut service = KeyValue::new(1 << 26);
        let mut model = Model::new();
        apply(&mut service, &before);
        before.iter().for_each(|step| drop(step.apply(&mut model)));
        check_same(&service, &model);
        let (snapshot, then) = (service.state().snapshot(), model.clone());

        apply(&mut service, &after);
        after.iter().for_each(|step| drop(step.apply(&mut model)));
        check_same(&service, &model);
        let expected = digest_of(&service);

        service.state_mut().restore(&snapshot);
        service.restored().unwrap();
        check_same(&service, &then);
        let mut other = KeyValue::new(1 << 26);
        other.state_mut().restore(&snapshot);
        other.restored().unwrap();
        for service in [&mut service, &mut other] {
            apply(service, &after);
            check_same(service, &model);
            assert_eq!(digest_of(service), expected);
        }

        // Deleting everything leaves no item, and no byte of one, anywhere.
        let keys: Vec<_> = model.keys().cloned().map(Step::Delete).collect();
        apply(&mut service, &keys);
        check_same(&service, &Model::new());
        prop_assert_eq!(service.pages.counts.item_bytes, 0);
    }
}

/// Many small items: the table splits often, and stays as wide as it is when they go.
#[test]
fn a_table_of_many_small_items_has_short_buckets() {
    let mut service = KeyValue::new(1 << 22);
    let mut model = Model::new();
    let steps: Vec<Step> =
        (0..20_000_u32).map(|number| Step::Put(number.to_le_bytes().to_vec(), vec![number as u8; 9])).collect();
    apply(&mut service, &steps);
    steps.iter().for_each(|step| drop(step.apply(&mut model)));
    check_same(&service, &model);
    let counts = service.pages.counts;
    assert_eq!(counts.item_bytes, 20_000 * (8 + 4 + 9));
    assert_eq!(counts.buckets, counts.item_bytes.div_ceil(BUCKET_BYTES_MEAN));
    let longest =
        (0..counts.buckets).map(|number| bucket::content(&service.pages, number, &mut Vec::new()).len()).max();
    assert!(longest < Some(3 * PAGE_BYTES), "{longest:?}");
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
    assert_eq!(service.value(b"a").as_deref(), Some(&b"12"[..]));
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

/// `protocol.md SP-4`: the limit is reached before the pages are used up, whatever the sizes; and what was deleted can be stored again.
#[test]
fn pages_never_run_out_before_the_limit_is_reached() {
    for value_bytes in [0, 40, 1000, INSIDE_BYTES_MAX, INSIDE_BYTES_MAX + 1, PAGE_BYTES, 20_000] {
        let mut service = KeyValue::new(1 << 20);
        let key = |number: u32| number.to_le_bytes().to_vec();
        for round in 0..3 {
            let mut count = 0;
            while service.store(&key(count), &vec![round; value_bytes]) == Outcome::Done {
                count += 1;
            }
            assert_eq!(u64::from(count), (1 << 20) / entry_bytes(4, value_bytes));
            (0..count).for_each(|number| assert_eq!(service.delete(&key(number)), Outcome::Done));
            service.pages.check();
        }
    }
}

#[test]
fn a_query_reads_and_does_nothing_else() {
    let mut service = KeyValue::new(1 << 20);
    run(&mut service, &[Step::Put(b"k".to_vec(), b"v".to_vec())]);
    let before = digest_of(&service);
    let get = |key: &[u8]| query(&service, &Command::Get { key }.encode_to_vec()).unwrap();
    assert_eq!(Outcome::decode(&get(b"k")), Ok(Outcome::Value(b"v")));
    assert_eq!(Outcome::decode(&get(b"x")), Ok(Outcome::Absent));
    for step in [
        Step::Put(b"k".to_vec(), b"w".to_vec()),
        Step::Delete(b"k".to_vec()),
        Step::CompareAndSet(b"k".to_vec(), None, b"w".to_vec()),
        Step::Noise(b"?".to_vec()),
    ] {
        assert_eq!(query(&service, &step.encode()), None);
    }
    assert_eq!(digest_of(&service), before);
}

/// `protocol.md SP-3`
#[test]
fn pages_with_other_counts_are_refused() {
    let mut service = KeyValue::new(1 << 20);
    run(&mut service, &[Step::Put(b"k".to_vec(), vec![1; 3000])]);
    let snapshot = service.state().snapshot();
    assert_eq!(service.restored(), Ok(()));
    for (offset, bytes) in [(0, 8), (8, 8), (24, 8), (32, 8), (40, 8), (48, 4), (52, 4)] {
        service.state_mut().restore(&snapshot);
        service.state_mut().write(ENGINE_PAGES * PAGE_BYTES as u64 + offset, &vec![0xff; bytes]);
        assert_eq!(service.restored().unwrap_err().page, ENGINE_PAGES, "{bytes} bytes at {offset}");
    }
}
