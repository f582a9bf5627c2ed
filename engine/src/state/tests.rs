//! The tree against a plain list of pages.

use super::digest::{node_digest, page_digest};
use super::page::PageBytes;
use super::{FAN_OUT, PAGE_BYTES, Snapshot, State};
use logothete_crypto::Digest;
use proptest::prelude::*;
use std::collections::HashMap;
use std::ops::Range;

/// What a state is by definition.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Model(Vec<PageBytes>);

impl Model {
    fn new(pages: u64) -> Self {
        Self(vec![[0; PAGE_BYTES]; pages as usize])
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (at, byte) in (offset as usize..).zip(bytes) {
            self.0[at / PAGE_BYTES][at % PAGE_BYTES] = *byte;
        }
    }

    fn changed_since(&self, older: &Self) -> Vec<u64> {
        let pages = self.0.iter().zip(&older.0).enumerate();
        pages.filter(|(_, (new, old))| new != old).map(|(index, _)| index as u64).collect()
    }

    /// The same contents written into a new state in one order, with no history.
    fn rebuild(&self) -> State {
        let mut state = State::new(self.0.len() as u64);
        for (index, page) in self.0.iter().enumerate().rev() {
            if page.iter().any(|byte| *byte != 0) {
                state.page_mut(index as u64).copy_from_slice(page);
            }
        }
        state
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write { offset: u64, length: usize, byte: u8 },
    Page { index: u64, byte: u8 },
    Clear(Range<u64>),
    Snapshot,
    Restore(usize),
    Hash(usize),
    Ahead(Range<u64>),
}

/// Three levels of nodes, and a last page that is nobody's thirty-second.
const PAGES: u64 = (FAN_OUT * FAN_OUT + 70) as u64;

/// Some pages near each other and some far, so that paths are shared and not.
fn index() -> impl Strategy<Value = u64> {
    prop_oneof![0..40u64, (FAN_OUT * FAN_OUT) as u64 - 20..PAGES, 0..PAGES]
}

fn step() -> impl Strategy<Value = Step> {
    // Few different bytes, zero among them, so that contents come to be equal by different ways.
    let byte = prop_oneof![Just(0u8), Just(1), any::<u8>()];
    prop_oneof![
        4 => (index(), 0..PAGE_BYTES as u64, 0..10_000usize, byte.clone()).prop_map(|(page, within, length, byte)| {
            let offset = page * PAGE_BYTES as u64 + within;
            let length = length.min((PAGES * PAGE_BYTES as u64 - offset) as usize);
            Step::Write { offset, length, byte }
        }),
        3 => (index(), byte).prop_map(|(index, byte)| Step::Page { index, byte }),
        1 => (index(), index()).prop_map(|(a, b)| Step::Clear(a.min(b)..a.max(b))),
        1 => Just(Step::Clear(0..PAGES)),
        2 => Just(Step::Snapshot),
        1 => any::<usize>().prop_map(Step::Restore),
        2 => (1..40usize).prop_map(Step::Hash),
        2 => (index(), 1..20u64).prop_map(|(first, count)| Step::Ahead(first..PAGES.min(first + count))),
    ]
}

fn contents(snapshot: &Snapshot) -> Vec<PageBytes> {
    (0..snapshot.pages()).map(|index| *snapshot.page(index)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// `protocol.md ST-1` to `ST-3`
    #[test]
    fn a_state_is_a_list_of_pages(steps in proptest::collection::vec(step(), 1..60)) {
        let (mut state, mut model) = (State::new(PAGES), Model::new(PAGES));
        let mut taken: Vec<(Snapshot, Model)> = Vec::new();
        for step in steps {
            match step {
                Step::Write { offset, length, byte } => {
                    let bytes = vec![byte; length];
                    state.write(offset, &bytes);
                    model.write(offset, &bytes);
                    let mut again = vec![!byte; length];
                    state.read(offset, &mut again);
                    prop_assert_eq!(again, bytes);
                }
                Step::Page { index, byte } => {
                    state.page_mut(index)[7] = byte;
                    model.0[index as usize][7] = byte;
                }
                Step::Clear(pages) => {
                    state.clear(pages.clone());
                    model.0[pages.start as usize..pages.end as usize].fill([0; PAGE_BYTES]);
                }
                Step::Snapshot => taken.push((state.snapshot(), model.clone())),
                Step::Restore(which) if !taken.is_empty() => {
                    let (snapshot, then) = &taken[which % taken.len()];
                    state.restore(snapshot);
                    model = then.clone();
                }
                Step::Restore(_) => {}
                Step::Hash(pages) => {
                    let (snapshot, _) = taken.last().cloned().unwrap_or((state.snapshot(), model.clone()));
                    let mut done = None;
                    while done.is_none() {
                        done = snapshot.digest_step(pages);
                    }
                    prop_assert_eq!(done.unwrap(), snapshot.digest());
                }
                Step::Ahead(pages) => state.digest_ahead(pages),
            }
        }
        taken.push((state.snapshot(), model));
        for window in taken.windows(2) {
            let [(old, old_model), (new, new_model)] = window else { unreachable!("windows of two") };
            let mut changed = Vec::new();
            new.changed_since(old, |index, page| {
                let equal = *page.unwrap_or(&[0; PAGE_BYTES]) == new_model.0[index as usize];
                assert!(equal, "page {index} is visited with other bytes");
                changed.push(index);
            });
            prop_assert_eq!(changed, new_model.changed_since(old_model));
        }
        let mut digests: HashMap<Digest, &Model> = HashMap::new();
        for (snapshot, model) in &taken {
            prop_assert!(contents(snapshot) == model.0);
            let digest = snapshot.digest();
            prop_assert_eq!(digest, model.rebuild().snapshot().digest());
            prop_assert!(*digests.entry(digest).or_insert(model) == model);
        }
    }
}

#[test]
fn depth_follows_capacity() {
    for (pages, depth) in [(1, 1), (32, 1), (33, 2), (1024, 2), (1025, 3), (1 << 20, 4), (1 << 40, 8)] {
        assert_eq!(State::new(pages).depth(), depth, "{pages} pages");
    }
}

/// `protocol.md ST-2`
#[test]
fn capacity_is_part_of_the_digest() {
    assert_ne!(State::new(1024).snapshot().digest(), State::new(1023).snapshot().digest());
    assert_ne!(State::new(1024).snapshot().digest(), State::new(1025).snapshot().digest());
}

/// `protocol.md ST-3`
#[test]
fn a_step_is_bounded_and_each_gets_on() {
    let mut state = State::new(PAGES);
    for index in 0..100 {
        state.page_mut(index * 11)[0] = 1;
    }
    let snapshot = state.snapshot();
    let mut steps = 1;
    while snapshot.digest_step(1).is_none() {
        steps += 1;
    }
    // One page a step; the nodes above the last page of a step are for nothing, the others are steps of their own at most.
    assert!((100..=100 + 36).contains(&steps), "{steps} steps");
    assert_eq!(snapshot.digest_known(), Some(snapshot.digest()));
    // One page written: the next digest needs that page and its path only.
    state.page_mut(5)[0] = 2;
    let next = state.snapshot();
    assert_eq!(next.digest_known(), None);
    assert!(next.digest_step(1).is_some());
}

#[test]
fn nodes_have_the_digests_of_their_children() {
    let mut state = State::new(PAGES);
    state.page_mut(1027)[9] = 9;
    let snapshot = state.snapshot();
    let root = snapshot.digest();
    assert_eq!(snapshot.node(0, 0), None);
    assert_eq!(snapshot.node(1, PAGES.div_ceil(32)), None);
    assert_eq!(snapshot.node(4, 0), None);
    let absent = snapshot.node(1, 0).unwrap();
    let leaf = snapshot.node(1, 32).unwrap();
    assert!(absent.iter().all(|digest| *digest == absent[0]) && leaf[3] != absent[0] && leaf[4] == absent[0]);
    assert_eq!(leaf[3], page_digest(snapshot.page(1027)));
    assert_eq!(snapshot.node(2, 1).unwrap()[0], node_digest(1, &leaf));
    assert_eq!(snapshot.shape.root(&node_digest(3, &snapshot.node(3, 0).unwrap())), root);
}

#[test]
fn snapshots_share_what_was_not_written() {
    let mut state = State::new(PAGES);
    state.write(0, &vec![1; 200 * PAGE_BYTES]);
    let before = state.snapshot();
    state.page_mut(3)[0] = 2;
    let after = state.snapshot();
    assert!(std::ptr::eq(before.page(4), after.page(4)));
    assert!(!std::ptr::eq(before.page(3), after.page(3)));
    // A page that nobody else has is written where it is.
    let address = state.page(900).as_ptr();
    state.page_mut(900)[0] = 1;
    let written = state.page(900).as_ptr();
    state.page_mut(900)[1] = 1;
    assert!(address != written && written == state.page(900).as_ptr());
}

#[test]
fn snapshots_go_to_other_threads() {
    fn goes<T: Send + Sync + Clone>(_: &T) {}
    let mut state = State::new(PAGES);
    state.write(4000, &[5; 70_000]);
    let snapshot = state.snapshot();
    goes(&snapshot);
    let digests: Vec<Digest> = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..5)
            .map(|pages| {
                let snapshot = snapshot.clone();
                scope.spawn(move || {
                    loop {
                        if let Some(digest) = snapshot.digest_step(pages) {
                            return digest;
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(digests.iter().all(|digest| *digest == snapshot.digest()));
}
