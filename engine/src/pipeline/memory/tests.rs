//! The memory over a keeper that does what the test says, when the test says it.

use super::*;
use crate::journal::checkpoint_store::BeginError;
use crate::numbers::{ReplicaId, ReplicaSet, View};
use crate::state::State;
use logothete_transport::HostError;
use logothete_transport::pool::{Pool, PoolConfig};
use std::sync::{Arc, Mutex, MutexGuard};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// What the keeper was told, and what it is to answer.
#[derive(Default)]
struct Slate {
    taken: u64,
    written_bytes: u64,
    durable: u64,
    begun: Vec<SequenceNumber>,
    begins_nothing: bool,
    /// Why the checkpoint that was begun was not written.
    lost: Option<HostError>,
    /// The checkpoint that has become durable.
    complete: Option<SequenceNumber>,
    trimmed: Option<Mark>,
}

struct Puppet {
    slate: Arc<Mutex<Slate>>,
    state: JournalState,
}

impl Puppet {
    fn slate(&self) -> MutexGuard<'_, Slate> {
        self.slate.lock().expect("one thread")
    }
}

fn failure() -> HostError {
    HostError::from_io("fdatasync", &std::io::Error::from_raw_os_error(ENOSPC), "journal".to_owned())
}

fn final_failure() -> HostError {
    HostError::from_io("fdatasync", &std::io::Error::from_raw_os_error(EIO), "checkpoint".to_owned())
}

impl Keeper for Puppet {
    fn append(&mut self, record: &Record<'_>) -> Result<Mark, AppendError> {
        self.slate().taken += 1;
        self.slate().written_bytes += record.encoded_bytes() as u64;
        Ok(Mark(self.slate().taken))
    }

    fn poll(&mut self) -> Mark {
        Mark(self.slate().durable)
    }

    fn written_bytes(&self) -> u64 {
        self.slate().written_bytes
    }

    fn state(&self) -> &JournalState {
        &self.state
    }

    fn begin_checkpoint(&mut self, sequence: SequenceNumber, _: Snapshot, _: Mark) -> Result<(), BeginError> {
        let mut slate = self.slate();
        if slate.begins_nothing {
            return Err(BeginError::Failed(failure()));
        }
        slate.begun.push(sequence);
        Ok(())
    }

    fn poll_checkpoint(&mut self) -> Result<Option<SequenceNumber>, HostError> {
        let mut slate = self.slate();
        slate.lost.take().map_or(Ok(()), Err)?;
        Ok(slate.complete.take())
    }

    fn trim(&mut self, below: Mark) {
        self.slate().trimmed = Some(below);
    }

    fn flush(&mut self) -> Result<Mark, JournalError> {
        Ok(self.poll())
    }

    fn close(mut self: Box<Self>) -> Result<Mark, JournalError> {
        self.flush()
    }
}

struct Bench {
    memory: Memory,
    slate: Arc<Mutex<Slate>>,
    outbox: Outbox,
}

const CHECKPOINT_EVERY: u64 = 100;

fn bench(state: JournalState) -> Bench {
    let slate = Arc::new(Mutex::new(Slate::default()));
    let keeper = Puppet { slate: slate.clone(), state };
    let pool = Pool::new(PoolConfig { frame_bytes: 2048, frames: 8 }).expect("a few kilobytes");
    let memory = Memory::new(Box::new(keeper), Mark(0), Mark(1), CHECKPOINT_EVERY);
    Bench { memory, slate, outbox: Outbox::new(pool, 1472) }
}

impl Bench {
    fn persist(&mut self, count: u64) {
        let record = Record::ViewEntered { view: View(3) };
        let mut bytes = vec![0; record.encoded_bytes()];
        record.encode(&mut bytes);
        (0..count).for_each(|_| self.memory.persist(&bytes));
    }

    fn poll(&mut self, durable: u64) -> Option<u64> {
        self.slate.lock().expect("one thread").durable = durable;
        self.memory.poll(0, &mut self.outbox)
    }

    /// Everything that was taken is durable.
    fn poll_all(&mut self) -> Option<u64> {
        let taken = self.slate.lock().expect("one thread").taken;
        self.poll(taken)
    }

    fn plan(&mut self, sequence: u64, record: u64, after: u64) {
        self.memory.plan_checkpoint(SequenceNumber(sequence), State::new(4).snapshot(), record, after);
    }
}

/// `protocol.md JR-6`: the records that a checkpoint makes superfluous say in which view the replica is; what says so anew is durable before.
#[test]
fn a_checkpoint_is_begun_when_what_was_recorded_with_it_is_durable() {
    let mut bench = bench(JournalState::Writing);
    bench.persist(5);
    bench.plan(8, 3, 5);
    assert_eq!(bench.poll(4), Some(4));
    assert_eq!(bench.slate.lock().unwrap().begun, []);
    assert_ne!(bench.memory.deadline_ns(), u64::MAX, "its turn is looked for");
    assert_eq!(bench.poll(5), Some(5));
    assert_eq!(bench.slate.lock().unwrap().begun, [SequenceNumber(8)]);
    assert_eq!(bench.slate.lock().unwrap().trimmed, None, "it is not durable yet");
    bench.slate.lock().unwrap().complete = Some(SequenceNumber(8));
    bench.poll(5);
    assert_eq!(bench.slate.lock().unwrap().trimmed, Some(Mark(3)));
    bench.poll(5);
    assert_eq!(bench.memory.deadline_ns(), u64::MAX, "nothing is under way");
}

#[test]
fn a_checkpoint_that_could_not_be_begun_is_tried_again_after_as_many_records() {
    let mut bench = bench(JournalState::Writing);
    bench.slate.lock().unwrap().begins_nothing = true;
    bench.persist(CHECKPOINT_EVERY);
    assert!(bench.memory.wants_checkpoint(SequenceNumber(8)));
    bench.plan(8, 1, CHECKPOINT_EVERY);
    bench.poll(CHECKPOINT_EVERY);
    assert_eq!(bench.memory.trouble_that_is_news(), Some(Trouble::Checkpoint));
    assert!(!bench.memory.wants_checkpoint(SequenceNumber(8)), "not at once");
    bench.persist(CHECKPOINT_EVERY);
    assert!(bench.memory.wants_checkpoint(SequenceNumber(8)));
}

/// `protocol.md JR-4`. Found by seed 36769: each checkpoint begins with records, and those of checkpoints that are never written filled the journal.
#[test]
fn checkpoints_that_failed_for_good_are_not_tried_again() {
    for (lost, again) in [(failure(), true), (final_failure(), false)] {
        let mut bench = bench(JournalState::Writing);
        bench.persist(CHECKPOINT_EVERY);
        bench.plan(8, 1, CHECKPOINT_EVERY);
        bench.poll_all();
        bench.slate.lock().unwrap().lost = Some(lost);
        bench.poll_all();
        assert_eq!(bench.memory.trouble_that_is_news(), Some(Trouble::Checkpoint));
        bench.persist(CHECKPOINT_EVERY);
        assert_eq!(bench.memory.wants_checkpoint(SequenceNumber(16)), again);
    }
}

/// `protocol.md JR-8`. Found by seed 36769: a replica whose journal can never go on says so, and does not wait for ever.
#[test]
fn a_journal_at_its_bound_without_a_checkpoint_under_way_has_failed() {
    let at = |bench: &mut Bench, now_ns: u64| {
        bench.memory.poll(now_ns, &mut bench.outbox);
        bench.memory.trouble_that_is_news()
    };
    // Somebody may make room on a disk.
    let mut disk = bench(JournalState::Full(FullReason::Disk));
    disk.persist(1);
    assert_eq!((at(&mut disk, 1), at(&mut disk, 1 + STUCK_NS)), (Some(Trouble::Full), None));
    let mut full = bench(JournalState::Full(FullReason::Bound));
    full.persist(2);
    full.plan(8, 1, 1);
    full.slate.lock().unwrap().durable = 1;
    assert_eq!((at(&mut full, 1), at(&mut full, 1 + STUCK_NS)), (Some(Trouble::Full), None), "one is under way");
    full.slate.lock().unwrap().lost = Some(failure());
    at(&mut full, 2 + STUCK_NS);
    full.plan(8, 1, 2);
    assert_eq!((at(&mut full, 3 + STUCK_NS), at(&mut full, 2 + 2 * STUCK_NS)), (None, None), "it begins with a record");
    assert_eq!(at(&mut full, 3 + 2 * STUCK_NS), Some(Trouble::Failed));
}

/// `protocol.md JR-6`: a replica that is restarted again and again reads no more at each start than after what a checkpoint is due.
#[test]
fn what_a_former_life_recorded_counts_towards_the_next_checkpoint() {
    let mut bench = bench(JournalState::Writing);
    bench.slate.lock().unwrap().written_bytes = CHECKPOINT_EVERY - 1;
    assert!(!bench.memory.wants_checkpoint(SequenceNumber(8)));
    bench.persist(1);
    assert!(bench.memory.wants_checkpoint(SequenceNumber(8)));
}

/// `protocol.md JR-6`. Found in the lab (RP-27): a block was written for each record, and the journal came to its bound before its records were many.
#[test]
fn a_checkpoint_is_due_by_what_the_disk_took() {
    let mut bench = bench(JournalState::Writing);
    bench.persist(1);
    assert!(!bench.memory.wants_checkpoint(SequenceNumber(8)));
    bench.slate.lock().unwrap().written_bytes = CHECKPOINT_EVERY;
    assert!(bench.memory.wants_checkpoint(SequenceNumber(8)));
    bench.plan(8, 1, 1);
    bench.poll_all();
    bench.slate.lock().unwrap().complete = Some(SequenceNumber(8));
    bench.poll_all();
    assert!(!bench.memory.wants_checkpoint(SequenceNumber(16)));
    bench.slate.lock().unwrap().written_bytes += CHECKPOINT_EVERY;
    assert!(bench.memory.wants_checkpoint(SequenceNumber(16)));
}

/// `protocol.md JR-6`: what is recorded with a checkpoint may be more than after what a checkpoint is due; it calls for none by itself.
#[test]
fn a_checkpoint_is_written_once() {
    let mut bench = bench(JournalState::Writing);
    bench.persist(CHECKPOINT_EVERY);
    for stable in [8, 8, 8, 16, 16] {
        if bench.memory.wants_checkpoint(SequenceNumber(stable)) {
            let taken = bench.slate.lock().unwrap().taken;
            bench.plan(stable, 1, taken + 1);
            bench.persist(CHECKPOINT_EVERY);
            bench.poll_all();
            bench.slate.lock().unwrap().complete = Some(SequenceNumber(stable));
        }
        bench.poll_all();
    }
    assert_eq!(bench.slate.lock().unwrap().begun, [SequenceNumber(8), SequenceNumber(16)]);
}

/// `protocol.md JR-1`: messages wait for a disk that stalls, and not without a bound.
#[test]
fn what_waits_for_the_disk_is_bounded() {
    let mut bench = bench(JournalState::Writing);
    bench.persist(1);
    let to = Audience::Replicas(ReplicaSet::only(ReplicaId(2)));
    let message = [7; 1024];
    for _ in 0..2 * HELD_BYTES_MAX / message.len() {
        bench.memory.hold(to, &message, &mut bench.outbox);
    }
    let waits = |memory: &Memory| memory.held.iter().map(|held| held.bytes.len()).sum::<usize>();
    assert_eq!(waits(&bench.memory), HELD_BYTES_MAX);
    assert_eq!(bench.poll(1), Some(1));
    assert_eq!(waits(&bench.memory), 0);
    bench.persist(1);
    bench.memory.hold(to, &message, &mut bench.outbox);
    assert_eq!(waits(&bench.memory), message.len(), "there is room again");
}

/// `protocol.md JR-4`
#[test]
fn a_disk_that_failed_is_not_looked_at_again_and_again() {
    let mut bench = bench(JournalState::Failed(failure()));
    bench.persist(1);
    assert_eq!(bench.poll(1), None);
    assert_eq!(bench.memory.trouble_that_is_news(), Some(Trouble::Failed));
    assert_eq!(bench.memory.deadline_ns(), u64::MAX);
    let to = Audience::Replicas(ReplicaSet::only(ReplicaId(2)));
    bench.memory.hold(to, b"a promise", &mut bench.outbox);
    assert_eq!(bench.memory.held.len(), 0, "nothing is promised any more");
}
