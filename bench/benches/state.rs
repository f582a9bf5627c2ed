//! The state's pages: what a write costs, and what a checkpoint's digest costs a service that writes 180 MB/s.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use logothete_engine::state::{PAGE_BYTES, Snapshot, State};
use std::hint::black_box;

/// Pages of a state of 4 GiB.
const CAPACITY: u64 = 1 << 20;

/// What is written between two checkpoints: 3 MiB, as at 180 MB/s with 60 checkpoints a second.
const INTERVAL_PAGES: u64 = (3 << 20) / PAGE_BYTES as u64;

/// A ring of pages that the writer goes round in, as a retained log does.
const RING_PAGES: u64 = 1 << 14;

/// Pages hashed between two duties of an orderer.
const STEP_PAGES: usize = 32;

fn writes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("state, write to a page that no snapshot has");
    let mut state = State::new(CAPACITY);
    state.write(0, &vec![1; RING_PAGES as usize * PAGE_BYTES]);
    for stride in [1u64, 1031] {
        let mut index = 0;
        group.bench_function(BenchmarkId::new("8 bytes, pages apart", stride), |bencher| {
            bencher.iter(|| {
                index = (index + stride) % RING_PAGES;
                state.page_mut(black_box(index))[..8].copy_from_slice(&index.to_le_bytes());
            });
        });
    }
    group.finish();
}

/// The writes of one interval, as records of `bytes` each.
fn write_interval(state: &mut State, round: u64, record: &[u8]) {
    let first = round * INTERVAL_PAGES % RING_PAGES * PAGE_BYTES as u64;
    for at in 0..INTERVAL_PAGES * PAGE_BYTES as u64 / record.len() as u64 {
        state.write(first + at * record.len() as u64, record);
    }
}

fn digest_in_steps(snapshot: &Snapshot) {
    while snapshot.digest_step(STEP_PAGES).is_none() {}
}

fn checkpoints(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("state, 3 MiB written sequentially");
    group.throughput(Throughput::Bytes(INTERVAL_PAGES * PAGE_BYTES as u64));
    let record = [7; 256];
    for digests in [false, true] {
        let (mut state, mut round) = (State::new(CAPACITY), 0);
        state.write(0, &vec![1; RING_PAGES as usize * PAGE_BYTES]);
        // The last checkpoints are kept, as they are until the next ones are stable.
        let mut kept = [state.snapshot(), state.snapshot()];
        kept[0].digest();
        let name = if digests { "with a snapshot and its digest" } else { "with a snapshot" };
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                round += 1;
                write_interval(&mut state, round, &record);
                let snapshot = state.snapshot();
                if digests {
                    digest_in_steps(&snapshot);
                }
                kept[round as usize % 2] = snapshot;
            });
        });
    }
    group.finish();
}

criterion_group!(benches, writes, checkpoints);
criterion_main!(benches);
