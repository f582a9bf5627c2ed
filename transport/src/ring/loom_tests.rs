//! Every interleaving of small cases: what a stress test meets by luck.

use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use loom::thread;

use super::{PushError, SleepFlag, WAKE_ON_RECORDS, WAKE_ON_SPACE, pair};

/// A ring that holds two one-word records, and three of them: the third waits for room, and all arrive in order.
#[test]
fn ring_delivers_in_order_through_a_full_ring() {
    loom::model(|| {
        let (mut producer, mut consumer) = pair(32);
        let writer = thread::spawn(move || {
            for number in 1u64..=3 {
                while producer.try_push(&number.to_ne_bytes()) == Err(PushError::Full) {
                    thread::yield_now();
                }
                producer.publish();
            }
        });
        let mut expected = 1u64;
        while expected <= 3 {
            let taken = consumer.poll(2, |record| {
                assert_eq!(record, expected.to_ne_bytes());
                expected += 1;
            });
            if taken == Ok(0) {
                thread::yield_now();
            }
        }
        writer.join().unwrap();
        assert_eq!(consumer.poll(1, |_| ()), Ok(0));
    });
}

/// A batch becomes visible as a whole, never in part.
#[test]
fn ring_publishes_a_batch_at_once() {
    loom::model(|| {
        let (mut producer, mut consumer) = pair(64);
        let writer = thread::spawn(move || {
            producer.try_push(b"a").unwrap();
            producer.try_push(b"b").unwrap();
            producer.publish();
        });
        let taken = consumer.poll(8, |_| ()).unwrap();
        assert!(taken == 0 || taken == 2, "saw {taken} records of a batch of two");
        writer.join().unwrap();
    });
}

/// A consumer that goes to sleep either sees the record or is rung for; both are fine, neither is a lost wake-up.
#[test]
fn ring_sleep_loses_no_wake_up_for_records() {
    loom::model(|| {
        let (mut producer, mut consumer) = pair(32);
        let word = Arc::new(AtomicU64::new(0));
        let word_writer = Arc::clone(&word);
        let writer = thread::spawn(move || {
            producer.try_push(b"a").unwrap();
            producer.publish();
            SleepFlag::new(&word_writer).take(WAKE_ON_RECORDS)
        });
        SleepFlag::new(&word).announce(WAKE_ON_RECORDS);
        let sleeps = consumer.is_empty().unwrap();
        let rung = writer.join().unwrap();
        SleepFlag::new(&word).clear();
        assert!(!sleeps || rung, "asleep over a published record");
    });
}

/// The same for a producer that sleeps because the ring is full.
#[test]
fn ring_sleep_loses_no_wake_up_for_space() {
    loom::model(|| {
        let (mut producer, mut consumer) = pair(32);
        producer.try_push(b"a").unwrap();
        producer.try_push(b"b").unwrap();
        producer.publish();
        let word = Arc::new(AtomicU64::new(0));
        let word_reader = Arc::clone(&word);
        let reader = thread::spawn(move || {
            assert_eq!(consumer.poll(8, |_| ()), Ok(2));
            SleepFlag::new(&word_reader).take(WAKE_ON_SPACE)
        });
        SleepFlag::new(&word).announce(WAKE_ON_SPACE);
        let sleeps = producer.free_bytes().unwrap() == 0;
        let rung = reader.join().unwrap();
        SleepFlag::new(&word).clear();
        assert!(!sleeps || rung, "asleep over a ring with room");
    });
}

/// A sleeper that waits for either of two things is rung for whichever comes, and one announcement is answered once.
#[test]
fn ring_sleep_flag_answers_an_announcement_once() {
    loom::model(|| {
        let (mut producer, mut consumer) = pair(32);
        let word = Arc::new(AtomicU64::new(0));
        let word_other = Arc::clone(&word);
        let other = thread::spawn(move || {
            producer.try_push(b"a").unwrap();
            producer.publish();
            let flag = SleepFlag::new(&word_other);
            // The second is for room that it released elsewhere.
            [flag.take(WAKE_ON_RECORDS), flag.take(WAKE_ON_SPACE)]
        });
        SleepFlag::new(&word).announce(WAKE_ON_RECORDS | WAKE_ON_SPACE);
        let sleeps = consumer.is_empty().unwrap();
        let rung = other.join().unwrap();
        assert!(rung != [true, true], "one announcement, two bells");
        assert!(!sleeps || rung[0] || rung[1], "asleep over a published record");
    });
}
