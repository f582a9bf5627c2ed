//! A replica's disk in virtual time, under the engine's own journal and checkpoint store. What was written is durable a little later, or when the
//! script lets it be; what is not is lost with the process, as far as the faults of the run say ([`DiskFaults`]).
//!
//! - [`faults`]: the kinds of faults, and which of them a run has.
//! - `machine`: who asks what of the disk, when that is done, and what goes wrong meanwhile.
//! - `file_system`: the same, as the engine sees it.
//! - `image`: the files, as a process sees them and as they are after a power cut; `loss`: what that leaves.
//! - `records`: what the disk holds of the journal, found out without the engine's code.
//! - `damage`: damage to what was durable.

mod damage;
pub mod faults;
mod file_system;
mod image;
mod loss;
mod machine;
mod records;

pub use damage::Damaged;
pub use loss::Loss;

use self::faults::{DiskFault, DiskFaults};
use self::file_system::Shared;
use self::machine::Machine;
use crate::world::random::Random;
use logothete_crypto::Digest;
use logothete_engine::journal::birth::{BIRTH_TEXT, DataDirectory, DataDirectoryError, Opened};
use logothete_engine::journal::checkpoint_store::{CheckpointConfig, CheckpointStore};
use logothete_engine::journal::{JournalConfig, JournalMode, Mark, Record, inspection};
use logothete_engine::numbers::ReplicaId;
use logothete_engine::pipeline::MemoryConfig;
use logothete_transport::storage::{FileSystem, StorageChoice, write_durably};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

/// The data directory.
const DATA: &str = "/data";
const JOURNAL: &str = "/data/journal";
const CHECKPOINTS: &str = "/data/checkpoints";

/// The longest group: what waits while one group is written. A segment is four of them, so that there are many segments soon.
const GROUP_BYTES_MAX: usize = 32 << 10;

/// The bytes of the longest group and of a segment, where the longest record has so many.
fn sizes(record_bytes_max: usize) -> (usize, u64) {
    let group = GROUP_BYTES_MAX.max(2 * record_bytes_max).next_multiple_of(image::BLOCK);
    (group, 4 * group as u64)
}

/// What a journal may take on its disk: all its segments, two that a start may add, the one that is being made, and its identity (`protocol.md JR-8`).
pub fn journal_bytes_max(record_bytes_max: usize) -> u64 {
    let (_, segment_bytes) = sizes(record_bytes_max);
    (JournalConfig::SEGMENTS_MAX as u64 + 3) * segment_bytes + image::BLOCK as u64
}

/// A disk, as the harness sees it.
#[derive(Clone, Debug)]
pub struct Disk {
    shared: Shared,
    entropy: Arc<Mutex<Random>>,
}

impl Disk {
    /// One that was made ready for a new replica.
    pub fn new(seed: u64) -> Self {
        let shared = Shared(Arc::new(Mutex::new(Machine::new(seed))));
        let disk = Self { shared, entropy: Arc::new(Mutex::new(Random::new(!seed))) };
        let files = disk.file_system();
        files.make_directory(Path::new(DATA)).expect("this disk makes directories");
        let marker = DataDirectory::birth_marker(Path::new(DATA));
        write_durably(&*files, &marker, BIRTH_TEXT.as_bytes()).expect("nothing fails yet");
        disk
    }

    /// What goes wrong from now on.
    pub fn set_faults(&self, faults: DiskFaults) {
        self.machine().faults = faults;
    }

    /// From now on one kind of fault is there too, or it is over.
    pub fn set_fault(&self, kind: DiskFault, has: bool) {
        let mut machine = self.machine();
        machine.faults = machine.faults.with(kind, has);
    }

    /// Whether what a process asks for does not fail.
    pub fn is_well(&self) -> bool {
        let faults = self.machine().faults;
        !DiskFault::ERRORS.into_iter().any(|kind| faults.has(kind))
    }

    /// Nothing fails or stalls any more, and its power stays on.
    pub fn mend(&self) {
        let mut machine = self.machine();
        machine.faults = DiskFault::ERRORS.into_iter().fold(machine.faults, |faults, kind| faults.with(kind, false));
        (machine.held, machine.cut_after) = (false, u64::MAX);
    }

    /// Another disk that is in the same state, and whose chances are other ones: for trying what may happen to it.
    pub fn copy(&self, seed: u64) -> Self {
        let machine = Machine { random: Random::new(seed), ..self.machine().clone() };
        let entropy = self.entropy.lock().expect("one thread").clone();
        Self { shared: Shared(Arc::new(Mutex::new(machine))), entropy: Arc::new(Mutex::new(entropy)) }
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.shared.machine()
    }

    /// As the engine uses it.
    pub fn file_system(&self) -> Arc<dyn FileSystem> {
        Arc::new(self.shared.clone())
    }

    /// Randomness for the engine, which repeats.
    pub fn entropy(&self) -> impl FnMut(&mut [u8]) + Send + 'static {
        let entropy = Arc::clone(&self.entropy);
        move |bytes| entropy.lock().expect("one thread").fill(bytes)
    }

    /// How a replica keeps its memory on it. Its longest record has so many bytes.
    pub fn config(&self, replica: ReplicaId, context: Digest, pages: u64, record_bytes_max: usize) -> MemoryConfig {
        let (group_bytes_max, segment_bytes) = sizes(record_bytes_max);
        MemoryConfig {
            journal: JournalConfig {
                file_system: self.file_system(),
                storage: StorageChoice::Threaded,
                segment_bytes,
                group_bytes_max,
                ..JournalConfig::new(JournalMode::Sync, context, replica)
            },
            checkpoints: CheckpointConfig { context, replica, pages },
            // As outside.
            checkpoint_every_bytes: 2 * segment_bytes,
        }
    }

    /// The data directory, as a process opens it that keeps a journal.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn open(&self) -> Result<(DataDirectory, Opened), DataDirectoryError> {
        DataDirectory::open(self.file_system(), Path::new(DATA), true)
    }

    /// The time as it is now.
    pub fn set_time(&self, now_ns: u64) {
        self.machine().set_time(now_ns);
    }

    /// From now on nothing becomes durable, or it does again.
    pub fn hold(&self, held: bool) {
        self.machine().held = held;
    }

    /// Whether records are on their way to it and will arrive.
    pub fn is_busy(&self) -> bool {
        self.machine().is_writing()
    }

    /// Whether there is a journal.
    pub fn remembers(&self) -> bool {
        self.machine().image.names_kept.contains_key(&Path::new(JOURNAL).join("identity"))
    }

    /// The process ended: what is not durable is lost, as far as the faults of the run say.
    pub fn crash(&self) {
        let mut machine = self.machine();
        let loss = machine.draw_loss();
        machine.crash(loss);
    }

    /// The process ended, and this is lost.
    pub fn crash_with(&self, loss: Loss) {
        self.machine().crash(loss);
    }

    /// The power fails after so many more steps; [`Disk::is_cut`] says when it has.
    pub fn cut_after(&self, steps: u64) {
        let mut machine = self.machine();
        machine.cut_after = machine.steps + steps;
    }

    /// The power does not fail after all, unless it has.
    pub fn cut_never(&self) {
        let mut machine = self.machine();
        if !machine.is_cut() {
            machine.cut_after = u64::MAX;
        }
    }

    /// Whether the power failed: what the process believes since then is worth nothing.
    pub fn is_cut(&self) -> bool {
        self.machine().is_cut()
    }

    /// How many steps it has done.
    pub fn steps(&self) -> u64 {
        self.machine().steps
    }

    /// Whether the process that begins now finds a part of a group that the last power cut left.
    pub fn take_torn(&self) -> bool {
        std::mem::take(&mut self.machine().torn)
    }

    /// How many bytes the files of the journal take, spare ones among them.
    pub fn journal_bytes(&self) -> u64 {
        let machine = self.machine();
        let image = &machine.image;
        let of_journal = image.names.iter().filter(|(path, _)| path.parent() == Some(Path::new(JOURNAL)));
        of_journal.map(|(_, file)| image.file(*file).seen.bytes).sum()
    }

    /// Another disk is put in its place, which is not new to the cluster.
    pub fn replace(&self) {
        let mut machine = self.machine();
        let (now_ns, faults, seed) = (machine.now_ns, machine.faults, machine.random.draw());
        *machine = Machine::new(seed);
        (machine.now_ns, machine.faults) = (now_ns, faults);
        machine.image.directories.extend(Path::new(DATA).ancestors().map(Path::to_owned));
    }

    /// The operator has the journal forgotten: what is on the disk is not relied on any more.
    pub fn forget(&self) {
        self.machine().records = records::Records::default();
    }

    /// Damages what is durable, while no process runs. `None` where there is nothing of the kind.
    pub fn damage(&self, kind: DiskFault) -> Option<Damaged> {
        self.machine().damage(kind)
    }

    /// The number of the newest checkpoint on it; 0 where there is none.
    pub fn checkpoint(&self) -> u64 {
        let inspected = CheckpointStore::inspect(&self.shared, Path::new(CHECKPOINTS));
        let stored = inspected.ok().and_then(|inspected| inspected.stored.into_iter().next());
        stored.map_or(0, |(stored, _)| stored.sequence.0)
    }

    /// How many of the last durable records the engine does not read from it.
    ///
    /// # Errors
    /// It reads something else than what is there.
    pub fn unread(&self) -> Result<u64, String> {
        let held = self.durable_from(0);
        let mut wrong = None;
        let mut compare = |mark: Mark, record: Record<'_>| {
            let mut bytes = vec![0; record.encoded_bytes()];
            record.encode(&mut bytes);
            if held.get(mark.0 as usize - 1) != Some(&bytes) {
                wrong.get_or_insert(mark);
            }
        };
        let read = inspection::journal(&self.shared, Path::new(JOURNAL), &mut compare);
        let (_, contents) = read.map_err(|error| error.to_string())?;
        match wrong {
            Some(mark) => Err(format!("record {mark} is not what was written")),
            None => Ok(held.len() as u64 - contents.last.0),
        }
    }

    /// So many of the last records are lost for good.
    pub fn forget_unread(&self, unread: u64) {
        self.machine().records.cut(unread);
    }

    /// The durable records from a place on, counted from 0.
    pub fn durable_from(&self, place: usize) -> Vec<Vec<u8>> {
        self.machine().records.all.get(place..).map(<[_]>::to_vec).unwrap_or_default()
    }
}
