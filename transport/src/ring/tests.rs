//! The ring against an oracle, between threads, and against a peer that writes garbage.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;

/// A ring whose shared words and bytes the test can spoil, as a hostile peer would.
struct Spoiled {
    region: Arc<Region>,
    producer: Producer,
    consumer: Consumer,
}

impl Spoiled {
    fn new(capacity_bytes: usize) -> Spoiled {
        let region = Arc::new(Region::heap(ring_bytes(capacity_bytes)));
        let producer = producer_at(&region, 0, capacity_bytes);
        let consumer = consumer_at(&region, 0, capacity_bytes);
        Spoiled { region, producer, consumer }
    }

    fn word(&self, offset_bytes: usize, value: u64) {
        self.region.atomic_u64(offset_bytes).store(value, Ordering::SeqCst);
    }
}

const TAIL: usize = 0;
const HEAD: usize = INDEX_STRIDE_BYTES;
const DATA: usize = 2 * INDEX_STRIDE_BYTES;

#[test]
fn nothing_is_seen_before_it_is_published() {
    let (mut producer, mut consumer) = pair(64);
    producer.try_push(b"record").unwrap();
    assert_eq!(consumer.poll(8, |_| ()), Ok(0));
    assert!(producer.publish());
    assert!(!producer.publish(), "there is nothing more to publish");
    assert_eq!(consumer.poll(8, |record| assert_eq!(record, b"record")), Ok(1));
}

/// Found by AddressSanitizer's run of a replica whose orderer panics: the descriptor in hand was given back a second time.
#[test]
fn a_record_at_which_somebody_panics_was_taken() {
    let (mut producer, mut consumer) = pair(64);
    for number in 0..3 {
        producer.try_push(&[number]).unwrap();
    }
    producer.publish();
    let mut seen = Vec::new();
    let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = consumer.poll(8, |record| {
            seen.push(record[0]);
            assert!(record[0] != 1, "in hand");
        });
    }));
    assert!(panics.is_err());
    assert_eq!(consumer.poll(8, |record| seen.push(record[0])), Ok(1));
    assert_eq!(seen, [0, 1, 2]);
    assert_eq!(producer.free_bytes(), Ok(64));
}

#[test]
fn a_full_ring_says_so_and_takes_more_after_a_poll() {
    let (mut producer, mut consumer) = pair(64);
    for _ in 0..4 {
        producer.try_push(&[1; 8]).unwrap();
    }
    assert_eq!(producer.try_push(&[]), Err(PushError::Full));
    assert_eq!(producer.free_bytes(), Ok(0));
    producer.publish();
    assert_eq!(consumer.poll(1, |_| ()), Ok(1));
    assert_eq!(producer.free_bytes(), Ok(16));
    producer.try_push(&[2; 8]).unwrap();
    assert_eq!(producer.try_push(&[]), Err(PushError::Full));
}

#[test]
fn the_longest_record_fills_the_ring_alone_and_longer_ones_are_refused() {
    let (mut producer, mut consumer) = pair(64);
    assert_eq!(producer.record_length_max(), 56);
    assert_eq!(producer.try_push(&[0; 57]), Err(PushError::TooLong { length: 57, limit: 56 }));
    producer.try_push(&[9; 56]).unwrap();
    producer.publish();
    assert_eq!(consumer.poll(8, |record| assert_eq!(record, [9; 56])), Ok(1));
}

#[test]
fn a_record_that_is_not_wanted_stays_in_the_ring() {
    let (mut producer, mut consumer) = pair(128);
    for number in 0u8..3 {
        producer.try_push(&[number]).unwrap();
    }
    producer.publish();
    assert_eq!(consumer.poll_while(8, |record| record[0] < 2), Ok(2));
    assert_eq!(consumer.poll(8, |record| assert_eq!(record, [2])), Ok(1));
}

#[test]
fn a_hostile_producer_index_is_a_fault_and_stays_one() {
    for tail in [8 + 64 + 8, u64::MAX, u64::MAX - 7, 1 << 63, 0] {
        let mut ring = Spoiled::new(64);
        ring.producer.try_push(&[]).unwrap();
        ring.producer.publish();
        assert_eq!(ring.consumer.poll(8, |_| ()), Ok(1));
        ring.word(TAIL, tail);
        let fault = ring.consumer.poll(8, |_| ()).unwrap_err();
        assert!(matches!(fault, RingFault::IndexOutOfRange { seen, .. } if seen == tail), "{tail:#x}: {fault}");
        ring.word(TAIL, 8);
        assert_eq!(ring.consumer.is_empty(), Err(fault), "a repaired index is not believed");
        assert_eq!(ring.consumer.fault(), Some(fault));
    }
    let mut ring = Spoiled::new(64);
    ring.word(TAIL, 12);
    assert_eq!(ring.consumer.poll(8, |_| ()), Err(RingFault::IndexMisaligned { seen: 12 }));
}

#[test]
fn a_hostile_record_length_is_a_fault() {
    for length in [9, 56, 57, 64, u64::from(u32::MAX), u64::MAX - 7, u64::MAX] {
        let mut ring = Spoiled::new(64);
        ring.producer.try_push(&[1; 8]).unwrap();
        ring.producer.publish();
        ring.word(DATA, length);
        let fault = ring.consumer.poll(8, |_| panic!("a record of length {length}")).unwrap_err();
        assert_eq!(fault, RingFault::LengthOutOfRange { length, available: 16 });
    }
}

#[test]
fn good_records_before_a_bad_one_are_delivered() {
    let mut ring = Spoiled::new(64);
    ring.producer.try_push(&[1; 8]).unwrap();
    ring.producer.try_push(&[2; 8]).unwrap();
    ring.producer.publish();
    ring.word(DATA + 16, 1 << 40);
    let mut delivered = 0;
    assert!(ring.consumer.poll(8, |_| delivered += 1).is_err());
    assert_eq!(delivered, 1);
}

#[test]
fn a_hostile_consumer_index_is_a_fault_and_stays_one() {
    // Ahead of what was published; wrapped; behind where it was.
    for head in [24, u64::MAX, 1 << 63, 0] {
        let mut ring = Spoiled::new(64);
        for _ in 0..2 {
            ring.producer.try_push(&[]).unwrap();
        }
        ring.producer.publish();
        ring.word(HEAD, 8);
        assert_eq!(ring.producer.free_bytes(), Ok(56));
        ring.word(HEAD, head);
        let fault = ring.producer.free_bytes().unwrap_err();
        assert!(matches!(fault, RingFault::IndexOutOfRange { seen, .. } if seen == head), "{head:#x}: {fault}");
        ring.word(HEAD, 16);
        assert_eq!(ring.producer.try_push(&[]), Err(PushError::Fault(fault)));
        assert_eq!(ring.producer.fault(), Some(fault));
    }
    let mut ring = Spoiled::new(64);
    ring.producer.try_push(&[]).unwrap();
    ring.producer.publish();
    ring.word(HEAD, 4);
    assert_eq!(ring.producer.free_bytes(), Err(RingFault::IndexMisaligned { seen: 4 }));
}

#[test]
fn a_ring_between_two_threads_keeps_order_and_content() {
    let (mut producer, mut consumer) = pair(4096);
    let records = 200_000u64;
    let writer = std::thread::spawn(move || {
        let body = [0xA5u8; 100];
        for number in 0..records {
            let length = (number % 101) as usize;
            while let Err(error) = producer.try_push_vectored(&[&number.to_le_bytes(), &body[..length]]) {
                assert_eq!(error, PushError::Full);
                producer.publish();
                std::thread::yield_now();
            }
            if number % 7 == 0 {
                producer.publish();
            }
        }
        producer.publish();
    });
    let mut expected = 0u64;
    while expected < records {
        let taken = consumer
            .poll(64, |record| {
                assert_eq!(record[..8], expected.to_le_bytes());
                assert_eq!(record.len(), 8 + (expected % 101) as usize);
                assert!(record[8..].iter().all(|byte| *byte == 0xA5));
                expected += 1;
            })
            .unwrap();
        if taken == 0 {
            std::thread::yield_now();
        }
    }
    writer.join().unwrap();
    assert_eq!(consumer.poll(1, |_| ()), Ok(0));
}

/// A thread that scribbles over everything while the other polls: whatever comes, records stay within their bounds and
/// the end either works or is at fault. (A peer in another process is what this stands for: there the compiler knows of
/// no second thread, and here it cannot see that there is one.)
#[test]
fn a_racing_scribbler_can_only_cause_faults() {
    let region = Arc::new(Region::heap(ring_bytes(256)));
    let scribbled = Arc::clone(&region);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stop_scribbler = Arc::clone(&stop);
    let scribbler = std::thread::spawn(move || {
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        while !stop_scribbler.load(Ordering::Relaxed) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let offset = (state >> 33) as usize % (ring_bytes(256) / 8) * 8;
            // Small multiples of eight pass the first checks and reach the later ones.
            let value = if state & 1 == 0 { (state >> 50) & 0xF8 } else { state };
            scribbled.atomic_u64(offset).store(value, Ordering::Relaxed);
        }
    });
    let mut faults = 0;
    for _ in 0..2_000 {
        let mut consumer = consumer_at(&region, 0, 256);
        let mut producer = producer_at(&region, 0, 256);
        for _ in 0..50 {
            if consumer.poll(16, |record| assert!(record.len() <= 248)).is_err() {
                faults += 1;
                break;
            }
            if matches!(producer.try_push(&[3; 40]), Err(PushError::Fault(_))) {
                faults += 1;
                break;
            }
            producer.publish();
        }
    }
    stop.store(true, Ordering::Relaxed);
    scribbler.join().unwrap();
    assert!(faults > 0, "the scribbler was noticed");
}

#[derive(Clone, Debug)]
enum Step {
    Push(Vec<u8>),
    Publish,
    Poll(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..=140).prop_map(Step::Push),
        2 => Just(Step::Publish),
        3 => (0usize..6).prop_map(Step::Poll),
    ]
}

proptest! {
    /// Two queues are the oracle: what was written and not yet published, and what was published and not yet taken.
    #[test]
    fn behaves_like_a_queue(steps in proptest::collection::vec(step(), 0..200)) {
        let capacity = 128;
        let (mut producer, mut consumer) = pair(capacity);
        let mut written: VecDeque<Vec<u8>> = VecDeque::new();
        let mut published: VecDeque<Vec<u8>> = VecDeque::new();
        for step in steps {
            match step {
                Step::Push(record) => {
                    let used: usize = written.iter().chain(&published).map(|record| record_bytes(record.len())).sum();
                    let expected = if record.len() > record_length_max(capacity) {
                        Err(PushError::TooLong { length: record.len(), limit: record_length_max(capacity) })
                    } else if used + record_bytes(record.len()) > capacity {
                        Err(PushError::Full)
                    } else {
                        Ok(())
                    };
                    let (front, back) = record.split_at(record.len() / 2);
                    prop_assert_eq!(producer.try_push_vectored(&[front, back]), expected);
                    if expected.is_ok() {
                        written.push_back(record);
                    }
                }
                Step::Publish => {
                    prop_assert_eq!(producer.publish(), !written.is_empty());
                    published.append(&mut written);
                }
                Step::Poll(count_max) => {
                    let mut seen = Vec::new();
                    let taken = consumer.poll(count_max, |record| seen.push(record.to_vec()));
                    prop_assert_eq!(taken, Ok(seen.len()));
                    prop_assert_eq!(seen.len(), count_max.min(published.len()));
                    for record in seen {
                        prop_assert_eq!(Some(record), published.pop_front());
                    }
                }
            }
        }
    }
}
