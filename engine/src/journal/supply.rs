//! The supply of segments: a worker that makes the next one before it is needed, and takes back those that are not
//! needed any more. Making one writes it whole, and renaming waits for the directory: neither may stop the ordering. Lack of room shows here, where
//! nothing that was promised is at stake (`protocol.md JR-8`).

use super::error::FullReason;
use super::files;
use logothete_transport::HostError;
use logothete_transport::storage::{Background, EventFd, Faults, FileSystem, SegmentFile, Worker};
use logothete_transport::storage::{remove_durably, rename_durably};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
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

/// The journal's end.
pub(super) struct Supply {
    maker: Background<Maker>,
    shortage: Arc<Mutex<Option<Shortage>>>,
}

/// What the worker works with.
pub(super) struct Stock {
    pub(super) file_system: Arc<dyn FileSystem>,
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
    pub(super) fn new(stock: Stock, waker: Option<EventFd>) -> Result<Self, HostError> {
        let shortage = Arc::new(Mutex::new(None));
        let name = "logothete-sgmt";
        let pace = stock.file_system.pace(name);
        let maker = Maker { stock, shortage: Arc::clone(&shortage), wanted: None };
        Ok(Self { maker: Background::start(name, ORDERS_MAX, maker, waker, pace)?, shortage })
    }

    /// Orders the segment of this number. One at a time.
    pub(super) fn prepare(&mut self, number: u64) {
        self.maker.send(Order::Prepare(number));
    }

    /// Gives a segment back; false when that has to wait.
    pub(super) fn recycle(&mut self, number: u64) -> bool {
        self.maker.try_send(Order::Recycle(number))
    }

    /// The segment that was ordered, if it is ready.
    pub(super) fn take(&mut self) -> Option<Prepared> {
        self.maker.poll()
    }

    /// Waits until the segment that was ordered is ready, or known to be lacking.
    pub(super) fn wait(&mut self) -> Result<Prepared, Shortage> {
        loop {
            if let Some(prepared) = self.maker.wait_for(RETRY) {
                return Ok(prepared);
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

/// Makes one segment at a time.
struct Maker {
    stock: Stock,
    shortage: Arc<Mutex<Option<Shortage>>>,
    wanted: Option<u64>,
}

impl Worker for Maker {
    type Job = Order;
    type Outcome = Prepared;

    fn work(&mut self, order: Order) -> Option<Prepared> {
        match order {
            Order::Prepare(number) => self.wanted = Some(number),
            Order::Recycle(number) => {
                if let Err(error) = self.recycle(number) {
                    self.say(Some(Shortage::Failed(error)));
                }
            }
        }
        self.supply()
    }

    fn tries_again_after(&self) -> Option<Duration> {
        self.wanted.map(|_| RETRY)
    }

    fn try_again(&mut self) -> Option<Prepared> {
        self.supply()
    }
}

impl Maker {
    fn supply(&mut self) -> Option<Prepared> {
        let number = self.wanted?;
        match self.prepare(number) {
            Ok(file) => {
                self.wanted = None;
                self.say(None);
                Some(Prepared { number, file: Arc::new(file) })
            }
            Err(shortage) => {
                if matches!(shortage, Shortage::Failed(_)) {
                    self.wanted = None;
                }
                self.say(Some(shortage));
                None
            }
        }
    }

    fn prepare(&mut self, number: u64) -> Result<SegmentFile, Shortage> {
        let file_system = Arc::clone(&self.stock.file_system);
        let target = self.stock.directory.join(files::segment_name(number));
        let from = match self.spare()? {
            Some(spare) => spare,
            None if self.stock.segments >= self.stock.segments_max => return Err(Shortage::Full(FullReason::Bound)),
            None => {
                let making = self.stock.directory.join(files::MAKING);
                remove_durably(&*file_system, &making).map_err(short)?;
                let (bytes, faults) = (self.stock.segment_bytes, self.stock.faults.as_deref());
                SegmentFile::create(&*file_system, &making, bytes, faults).map_err(short)?;
                making
            }
        };
        rename_durably(&*file_system, &from, &target).map_err(short)?;
        let file = SegmentFile::open(&*file_system, &target).map_err(short)?;
        self.stock.segments += 1;
        Ok(file)
    }

    /// A file that was in use before and has the right size; others are removed.
    fn spare(&mut self) -> Result<Option<PathBuf>, Shortage> {
        while let Some(number) = self.stock.spares.pop() {
            let path = self.stock.directory.join(files::spare_name(number));
            if SegmentFile::open(&*self.stock.file_system, &path)
                .is_ok_and(|file| file.bytes() == self.stock.segment_bytes)
            {
                return Ok(Some(path));
            }
            remove_durably(&*self.stock.file_system, &path).map_err(short)?;
        }
        Ok(None)
    }

    fn recycle(&mut self, number: u64) -> Result<(), HostError> {
        let path = self.stock.directory.join(files::segment_name(number));
        self.stock.segments -= 1;
        if self.stock.spares.len() >= SPARES_MAX {
            return remove_durably(&*self.stock.file_system, &path);
        }
        rename_durably(&*self.stock.file_system, &path, &self.stock.directory.join(files::spare_name(number)))?;
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
