//! The subscribers of a drill: one that feeds the checker, one beside it, and one that reads everything again.

use super::entry::{EntryName, verify};
use super::history::{History, Violations};
use super::ledger::{BlockCutter, Ledger};
use super::load::Note;
use super::shared::Shared;
use logothete_client::{ClientError, Entry, Options, Position, Session, Subscription};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a reader waits for entries before it looks up.
const WAIT: Duration = Duration::from_millis(1);

/// Between two attempts to subscribe again.
const RECONNECT: Duration = Duration::from_millis(5);

/// Room for a subscriber to be away: what the driver gives at most.
const RING_BYTES: u32 = 16 << 20;

/// Notes that are taken between two looks at the order, so that neither story gets far ahead.
const NOTES_MAX: usize = 64;

/// Beginnings of a second reading that may be trimmed away under it before it is given up.
const TRIMMED_MAX: u32 = 100;

/// The ledger that all readers tell; a reader that panicked has told whole blocks only.
pub fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A subscription that is opened again when its driver goes.
struct Reader<'a> {
    driver: &'a Path,
    subscription: Option<Subscription>,
    position: u64,
    cutter: BlockCutter,
    ledger: &'a Mutex<Ledger>,
}

impl<'a> Reader<'a> {
    fn new(driver: &'a Path, from: u64, ledger: &'a Mutex<Ledger>) -> Self {
        Self { driver, subscription: None, position: from, cutter: BlockCutter::new(from), ledger }
    }

    /// Hands what has arrived to `each`, and waits a little where nothing has.
    ///
    /// # Errors
    ///
    /// Why nothing can follow.
    fn read(&mut self, mut each: impl FnMut(&Entry<'_>)) -> Result<usize, ClientError> {
        let Some(subscription) = &mut self.subscription else {
            let options = Options { subscription_bytes: RING_BYTES, ..Options::default() };
            match Subscription::connect(self.driver, Position(self.position), options) {
                Ok(subscription) => self.subscription = Some(subscription),
                // The driver is not there, or not yet.
                Err(_) => std::thread::sleep(RECONNECT),
            }
            return Ok(0);
        };
        let (cutter, ledger, position) = (&mut self.cutter, self.ledger, &mut self.position);
        let polled = subscription.poll(|entry| {
            if let Some(block) = cutter.push(&entry) {
                lock(ledger).tell(block);
            }
            each(&entry);
            *position = entry.position.0 + 1;
        });
        let waited = match polled {
            Ok(0) => subscription.wait(WAIT).map(|_| 0),
            polled => polled,
        };
        match waited {
            Err(ClientError::Disconnected | ClientError::Evicted { .. } | ClientError::SubscriptionLost) => {
                self.subscription = None;
                Ok(0)
            }
            outcome => outcome,
        }
    }

    /// Tells of the last block, as far as it was read.
    fn finish(self) {
        if let Some(block) = self.cutter.rest() {
            lock(self.ledger).tell(block);
        }
    }
}

/// How a subscriber ended.
#[derive(Debug, Default)]
pub struct Reading {
    /// What the checker found; nothing where the reader was no checker.
    pub violations: Violations,
    /// Entries read.
    pub entries: u64,
    /// Why it did not read to the end, in words.
    pub failure: Option<String>,
}

/// The subscriber that checks: reads the order from position 0 to the drill's end, and hears what the load tells.
pub fn check(driver: &Path, shared: &Shared, ledger: &Mutex<Ledger>, notes: &Receiver<Note>) -> Reading {
    let mut reader = Reader::new(driver, 0, ledger);
    let mut history = History::new();
    let mut load_ended = false;
    let failure = loop {
        if shared.ending_now() {
            break Some(unfinished(reader.position, shared));
        }
        for _ in 0..NOTES_MAX {
            match notes.try_recv() {
                Ok(note) => hear(&mut history, &note),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    load_ended = true;
                    break;
                }
            }
        }
        let ended = reader.position >= shared.order_end();
        if ended && load_ended {
            break None;
        }
        if ended {
            // Only the load's story is missing.
            match notes.recv_timeout(WAIT) {
                Ok(note) => hear(&mut history, &note),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => load_ended = true,
            }
            continue;
        }
        if let Err(error) = reader.read(|entry| history.on_ordered(entry.position.0, verify(entry.bytes))) {
            break Some(lost_track(reader.position, &error));
        }
        shared.set_read_end(0, reader.position);
    };
    // What the load told last counts also where the reader failed.
    notes.try_iter().for_each(|note| hear(&mut history, &note));
    reader.finish();
    let (violations, entries) = history.finish();
    // Behind a reader that lost track everything looks lost: its failure says what is true.
    let violations = if failure.is_some() { Violations { lost: 0, ..violations } } else { violations };
    Reading { violations, entries, failure }
}

/// The second subscriber: reads the same order, for the ledger to compare.
pub fn accompany(driver: &Path, shared: &Shared, ledger: &Mutex<Ledger>) -> Reading {
    let mut reader = Reader::new(driver, 0, ledger);
    let mut entries = 0;
    let failure = loop {
        if reader.position >= shared.order_end() {
            break None;
        }
        if shared.ending_now() {
            break Some(unfinished(reader.position, shared));
        }
        match reader.read(|_| {}) {
            Ok(count) => entries += count as u64,
            Err(error) => break Some(lost_track(reader.position, &error)),
        }
        shared.set_read_end(1, reader.position);
    };
    reader.finish();
    Reading { violations: Violations::default(), entries, failure }
}

/// Reads everything that is retained once more, up to where a quorum says that the order ends, for the ledger to compare
/// with what was read before. Returns where the order ends.
///
/// # Errors
///
/// In words, when it cannot be read.
pub fn read_again(driver: &Path, ledger: &Mutex<Ledger>, patience: Duration) -> Result<u64, String> {
    let begin = Instant::now();
    let bounds = || -> Result<_, ClientError> {
        let options = Options { timeout_connect: patience, timeout_call: patience, ..Options::default() };
        Session::connect(driver, options)?.bounds()
    };
    let bounds = bounds().map_err(|error| format!("the cluster does not say where its order ends: {error}"))?;
    let (mut from, end) = (bounds.oldest.0, bounds.end.0);
    for _ in 0..TRIMMED_MAX {
        let mut reader = Reader::new(driver, from, ledger);
        let trimmed = loop {
            if reader.position >= end {
                break None;
            }
            if begin.elapsed() > patience {
                let waited = patience.as_secs_f64();
                return Err(format!("position {} of {end} was not read within {waited} s", reader.position));
            }
            match reader.read(|_| {}) {
                Ok(_) => {}
                Err(ClientError::Trimmed { oldest }) => break Some(oldest.0),
                Err(error) => return Err(lost_track(reader.position, &error)),
            }
        };
        let Some(oldest) = trimmed else {
            reader.finish();
            return Ok(end);
        };
        // The load goes on beside it, and has pushed the oldest entries out.
        from = oldest;
    }
    Err(String::from("the order is trimmed faster than it can be read; use a larger --retention"))
}

fn hear(history: &mut History, note: &Note) {
    let name = |counter: u64| EntryName { session: note.session, counter };
    history.on_appended(note.session, note.appended);
    for (counter, position) in &note.acknowledged {
        history.on_acknowledged(name(*counter), *position);
    }
    for counter in &note.unknown {
        history.on_unknown(name(*counter));
    }
}

fn unfinished(position: u64, shared: &Shared) -> String {
    match shared.order_end() {
        u64::MAX => format!("a subscriber was ended at position {position}"),
        end => format!("a subscriber read up to position {position}, and not to the end of the order at {end}"),
    }
}

fn lost_track(position: u64, error: &ClientError) -> String {
    format!("a subscriber could not read position {position}: {error}")
}
