//! The supply of segments: a thread that makes the next one before it is needed, and takes back those that are not
//! needed any more. Making one writes it whole, and renaming waits for the directory: neither may stop the ordering. Lack of room shows here, where
//! nothing that was promised is at stake (`protocol.md JR-8`).

use super::error::FullReason;
use super::files;
use logothete_transport::HostError;
use logothete_transport::storage::{EventFd, Faults, SegmentFile, remove_durably, rename_durably};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How many files that are not needed are kept for being used again; more are removed.
const SPARES_MAX: usize = 2;

/// A segment that could not be made for lack of space is tried again after this.
const RETRY: Duration = Duration::from_millis(100);

/// Orders that may wait; each is a rename, so they seldom do.
const ORDERS_MAX: usize = 16;

/// A segment's file, ready for its first write.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) number: u64,
    pub(super) file: Arc<SegmentFile>,
}

/// Why there is no next segment.
#[derive(Clone, Debug)]
pub(super) enum Shortage {
    /// No room; it is tried again.
    Full(FullReason),
    /// The disk or the directory failed; it is not tried again.
    Failed(HostError),
}

enum Order {
    /// Make the segment of this number.
    Prepare(u64),
    /// The segment of this number is not needed.
    Recycle(u64),
}

/// This thread's end.
pub(super) struct Supply {
    orders: Option<SyncSender<Order>>,
    prepared: Receiver<Prepared>,
    shortage: Arc<Mutex<Option<Shortage>>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread works with.
pub(super) struct Stock {
    pub(super) directory: PathBuf,
    pub(super) segment_bytes: u64,
    pub(super) segments_max: usize,
    /// Numbers of files kept for being used again.
    pub(super) spares: Vec<u64>,
    /// Segments in use or made in advance.
    pub(super) segments: usize,
    pub(super) faults: Option<Arc<Faults>>,
}

impl Supply {
    pub(super) fn new(stock: Stock, waker: EventFd) -> Result<Self, HostError> {
        let (orders, taken) = sync_channel(ORDERS_MAX);
        // The next one is ordered only when the last one was taken.
        let (done, prepared) = sync_channel(1);
        let shortage = Arc::new(Mutex::new(None));
        let mut worker = Worker { stock, done, shortage: Arc::clone(&shortage), waker, wanted: None };
        let thread = std::thread::Builder::new().name("logothete-sgmt".into()).spawn(move || worker.run(&taken));
        let thread = thread.map_err(|error| HostError::from_io("clone", &error, "a thread that makes segments"))?;
        Ok(Self { orders: Some(orders), prepared, shortage, thread: Some(thread) })
    }

    /// Orders the segment of this number. One at a time.
    pub(super) fn prepare(&self, number: u64) {
        let orders = self.orders.as_ref().expect("it is closed by drop only");
        orders.send(Order::Prepare(number)).expect("the thread ends only when this end is dropped");
    }

    /// Gives a segment back; false when that has to wait.
    pub(super) fn recycle(&self, number: u64) -> bool {
        let orders = self.orders.as_ref().expect("it is closed by drop only");
        match orders.try_send(Order::Recycle(number)) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => false,
            Err(TrySendError::Disconnected(_)) => panic!("the thread that makes segments has died"),
        }
    }

    /// The segment that was ordered, if it is ready.
    pub(super) fn take(&self) -> Option<Prepared> {
        self.prepared.try_recv().ok()
    }

    /// Waits until the segment that was ordered is ready, or known to be lacking.
    pub(super) fn wait(&self) -> Result<Prepared, Shortage> {
        loop {
            match self.prepared.recv_timeout(RETRY) {
                Ok(prepared) => return Ok(prepared),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("the thread that makes segments has died"),
            }
            if let Some(shortage) = self.shortage() {
                return Err(shortage);
            }
        }
    }

    /// Why it is not ready, where it cannot be.
    pub(super) fn shortage(&self) -> Option<Shortage> {
        self.shortage.lock().expect("nobody panics while holding it").clone()
    }
}

impl Drop for Supply {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic of it was reported where it happened.
            let _ = thread.join();
        }
    }
}

struct Worker {
    stock: Stock,
    done: SyncSender<Prepared>,
    shortage: Arc<Mutex<Option<Shortage>>>,
    waker: EventFd,
    wanted: Option<u64>,
}

impl Worker {
    fn run(&mut self, orders: &Receiver<Order>) {
        loop {
            let order = match self.wanted {
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(_) => orders.recv_timeout(RETRY),
            };
            match order {
                Ok(Order::Prepare(number)) => self.wanted = Some(number),
                Ok(Order::Recycle(number)) => {
                    if let Err(error) = self.recycle(number) {
                        self.say(Some(Shortage::Failed(error)));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.supply();
        }
    }

    fn supply(&mut self) {
        let Some(number) = self.wanted else { return };
        match self.prepare(number) {
            Ok(file) => {
                self.wanted = None;
                self.say(None);
                let _ = self.done.send(Prepared { number, file: Arc::new(file) });
            }
            Err(shortage) => {
                if matches!(shortage, Shortage::Failed(_)) {
                    self.wanted = None;
                }
                self.say(Some(shortage));
            }
        }
        self.waker.signal();
    }

    fn prepare(&mut self, number: u64) -> Result<SegmentFile, Shortage> {
        let target = self.stock.directory.join(files::segment_name(number));
        let from = match self.spare()? {
            Some(spare) => spare,
            None if self.stock.segments >= self.stock.segments_max => return Err(Shortage::Full(FullReason::Bound)),
            None => {
                let making = self.stock.directory.join(files::MAKING);
                remove_durably(&making).map_err(short)?;
                SegmentFile::create(&making, self.stock.segment_bytes, self.stock.faults.as_deref()).map_err(short)?;
                making
            }
        };
        rename_durably(&from, &target).map_err(short)?;
        let file = SegmentFile::open(&target).map_err(short)?;
        self.stock.segments += 1;
        Ok(file)
    }

    /// A file that was in use before and has the right size; others are removed.
    fn spare(&mut self) -> Result<Option<PathBuf>, Shortage> {
        while let Some(number) = self.stock.spares.pop() {
            let path = self.stock.directory.join(files::spare_name(number));
            if SegmentFile::open(&path).is_ok_and(|file| file.bytes() == self.stock.segment_bytes) {
                return Ok(Some(path));
            }
            remove_durably(&path).map_err(short)?;
        }
        Ok(None)
    }

    fn recycle(&mut self, number: u64) -> Result<(), HostError> {
        let path = self.stock.directory.join(files::segment_name(number));
        self.stock.segments -= 1;
        if self.stock.spares.len() >= SPARES_MAX {
            return remove_durably(&path);
        }
        rename_durably(&path, &self.stock.directory.join(files::spare_name(number)))?;
        self.stock.spares.push(number);
        Ok(())
    }

    fn say(&self, shortage: Option<Shortage>) {
        *self.shortage.lock().expect("nobody panics while holding it") = shortage;
    }
}

fn short(error: HostError) -> Shortage {
    if error.is_no_room() { Shortage::Full(FullReason::Disk) } else { Shortage::Failed(error) }
}
