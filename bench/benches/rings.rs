//! The record rings: what a hop between threads or processes costs.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use logothete_transport::ring;

/// Records published at a time, as an agent's duty cycle would.
const BATCH: usize = 32;

fn one_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring, one thread");
    group.throughput(Throughput::Elements(BATCH as u64));
    for bytes in [8usize, 64, 1024] {
        let (mut producer, mut consumer) = ring::pair(1 << 20);
        let record = vec![7u8; bytes];
        group.bench_function(BenchmarkId::from_parameter(bytes), |bencher| {
            bencher.iter(|| {
                for _ in 0..BATCH {
                    producer.try_push(&record).expect("the ring was emptied");
                }
                producer.publish();
                let mut sum = 0;
                let taken = consumer.poll(BATCH, |record| sum += record.len()).expect("the ring is sound");
                assert_eq!(taken, BATCH);
                sum
            });
        });
    }
    group.finish();
}

fn two_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring, two threads");
    group.throughput(Throughput::Elements(1));
    for bytes in [64usize, 1024] {
        let record = vec![7u8; bytes];
        group.bench_function(BenchmarkId::from_parameter(bytes), |bencher| {
            bencher.iter_custom(|records| {
                let (mut producer, mut consumer) = ring::pair(1 << 20);
                let start = std::time::Instant::now();
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        let mut left = records;
                        while left > 0 {
                            let mut pushed = 0;
                            while pushed < BATCH as u64 && pushed < left && producer.try_push(&record).is_ok() {
                                pushed += 1;
                            }
                            producer.publish();
                            left -= pushed;
                            if pushed == 0 {
                                std::thread::yield_now();
                            }
                        }
                    });
                    let mut left = records;
                    while left > 0 {
                        match consumer.poll(BATCH, |record| assert_eq!(record.len(), bytes)) {
                            Ok(0) => std::thread::yield_now(),
                            Ok(taken) => left -= taken as u64,
                            Err(fault) => panic!("the ring is sound: {fault}"),
                        }
                    }
                });
                start.elapsed()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, one_thread, two_threads);
criterion_main!(benches);
