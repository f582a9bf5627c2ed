//! A replica's disk in virtual time: what was written is durable a little later, or when the script lets it be, and what is not is lost with the
//! process. The rest of a replica's memory is production's.

use logothete_engine::journal::checkpoint_store::BeginError;
use logothete_engine::journal::{AppendError, JournalError, JournalState, Mark, Record};
use logothete_engine::numbers::SequenceNumber;
use logothete_engine::pipeline::{Keeper, Memory};
use logothete_engine::state::Snapshot;
use logothete_transport::HostError;
use std::sync::{Arc, Mutex, MutexGuard};

/// How long a group of records takes to become durable.
const WRITE_NS: u64 = 50_000;

/// A checkpoint is written when so many bytes of records came after the last one: so few that scenarios have some.
const CHECKPOINT_EVERY_BYTES: u64 = 4096;

/// What is durable: all that is left when the process ends.
#[derive(Clone, Default)]
struct Durable {
    /// All records of this journal, those that were let go of among them.
    records: Vec<Vec<u8>>,
    /// The first record that is needed, counted from 1.
    trimmed: u64,
    checkpoint: Option<(SequenceNumber, Snapshot, Vec<u8>)>,
}

#[derive(Default)]
struct Platter {
    now_ns: u64,
    held: bool,
    /// There is none before the replica remembers something.
    durable: Option<Durable>,
    /// Records that were taken and are not durable, and how many of them are being written until when.
    waiting: Vec<Vec<u8>>,
    writing: Option<(usize, u64)>,
    checkpoint: Option<(SequenceNumber, Snapshot, Vec<u8>)>,
}

impl Platter {
    /// The time goes on.
    fn turn(&mut self) {
        if self.held {
            return;
        }
        let Some(durable) = &mut self.durable else { return };
        if let Some((count, due_ns)) = self.writing
            && due_ns <= self.now_ns
        {
            durable.records.extend(self.waiting.drain(..count));
            self.writing = None;
        }
        if self.writing.is_none() && !self.waiting.is_empty() {
            self.writing = Some((self.waiting.len(), self.now_ns + WRITE_NS));
        }
    }
}

/// A disk, as the harness sees it.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Platter>>);

impl Disk {
    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().expect("one thread")
    }

    /// The time as it is now.
    pub fn set_time(&self, now_ns: u64) {
        self.platter().now_ns = now_ns;
    }

    /// From now on nothing becomes durable, or it does again.
    pub fn hold(&self, held: bool) {
        self.platter().held = held;
    }

    /// Whether something is on its way to it and will arrive.
    pub fn is_busy(&self) -> bool {
        let platter = self.platter();
        !platter.held && (platter.writing.is_some() || !platter.waiting.is_empty())
    }

    /// Whether there is a journal.
    pub fn remembers(&self) -> bool {
        self.platter().durable.is_some()
    }

    /// The process ended: what is not durable never will be.
    pub fn crash(&self) {
        let mut platter = self.platter();
        platter.waiting.clear();
        platter.writing = None;
        platter.checkpoint = None;
    }

    /// Another disk is put in its place.
    pub fn replace(&self) {
        let mut platter = self.platter();
        let now_ns = platter.now_ns;
        *platter = Platter { now_ns, ..Platter::default() };
    }

    /// An empty journal, with the checkpoint that it begins with.
    pub fn create(&self, checkpoint: Option<(SequenceNumber, Snapshot)>) -> Memory {
        let mark = Mark(1).0.to_le_bytes().to_vec();
        let checkpoint = checkpoint.map(|(sequence, snapshot)| (sequence, snapshot, mark));
        self.platter().durable = Some(Durable { trimmed: 1, checkpoint, ..Durable::default() });
        Memory::new(Box::new(self.clone()), Mark(0), Mark(1), CHECKPOINT_EVERY_BYTES)
    }

    /// The last durable checkpoint, and the records that are needed with it.
    ///
    /// # Panics
    /// If records were let go of that are needed.
    pub fn read(&self) -> (Option<(SequenceNumber, Snapshot)>, Vec<Vec<u8>>) {
        let platter = self.platter();
        let durable = platter.durable.as_ref().expect("there is a journal");
        let needed = durable.needed();
        assert!(durable.trimmed <= needed, "records from {needed} on are needed, and gone below {}", durable.trimmed);
        let records = durable.records[needed as usize - 1..].to_vec();
        (durable.checkpoint.as_ref().map(|(sequence, snapshot, _)| (*sequence, snapshot.clone())), records)
    }

    /// The memory of a replica that comes back with what [`Disk::read`] gave.
    pub fn open(&self) -> Memory {
        let (base, needed) = {
            let platter = self.platter();
            let durable = platter.durable.as_ref().expect("there is a journal");
            (durable.records.len() as u64, durable.needed())
        };
        Memory::new(Box::new(self.clone()), Mark(base), Mark(needed), CHECKPOINT_EVERY_BYTES)
    }

    /// The durable records from a place on, counted from 0.
    pub fn durable_from(&self, place: usize) -> Vec<Vec<u8>> {
        let platter = self.platter();
        platter.durable.as_ref().and_then(|durable| durable.records.get(place..)).map(<[_]>::to_vec).unwrap_or_default()
    }
}

impl Durable {
    fn needed(&self) -> u64 {
        let blob = self.checkpoint.as_ref().map(|(_, _, blob)| blob[..].try_into().expect("a mark"));
        blob.map_or(1, u64::from_le_bytes)
    }
}

impl Keeper for Disk {
    fn append(&mut self, record: &Record<'_>) -> Result<Mark, AppendError> {
        let mut bytes = vec![0; record.encoded_bytes()];
        record.encode(&mut bytes);
        let mut platter = self.platter();
        platter.waiting.push(bytes);
        let durable = platter.durable.as_ref().map_or(0, |durable| durable.records.len());
        Ok(Mark((durable + platter.waiting.len()) as u64))
    }

    fn poll(&mut self) -> Mark {
        let mut platter = self.platter();
        platter.turn();
        Mark(platter.durable.as_ref().map_or(0, |durable| durable.records.len()) as u64)
    }

    fn state(&self) -> &JournalState {
        &JournalState::Writing
    }

    fn begin_checkpoint(
        &mut self,
        sequence: SequenceNumber,
        snapshot: Snapshot,
        blob: Vec<u8>,
    ) -> Result<(), BeginError> {
        let mut platter = self.platter();
        assert!(platter.checkpoint.is_none(), "one checkpoint is written at a time");
        platter.checkpoint = Some((sequence, snapshot, blob));
        Ok(())
    }

    fn poll_checkpoint(&mut self) -> Result<Option<SequenceNumber>, HostError> {
        let mut platter = self.platter();
        if platter.held {
            return Ok(None);
        }
        let Some(written) = platter.checkpoint.take() else { return Ok(None) };
        let sequence = written.0;
        platter.durable.as_mut().expect("there is a journal").checkpoint = Some(written);
        Ok(Some(sequence))
    }

    fn trim(&mut self, below: Mark) {
        let mut platter = self.platter();
        let durable = platter.durable.as_mut().expect("there is a journal");
        durable.trimmed = durable.trimmed.max(below.0);
    }

    fn flush(&mut self) -> Result<Mark, JournalError> {
        unreachable!("the processes of a scenario are killed")
    }

    fn close(self: Box<Self>) -> Result<Mark, JournalError> {
        unreachable!("the processes of a scenario are killed")
    }
}
