//! Writing a journal: group commit.
//!
//! Records collect in one buffer while the group before them is written from the other. Exactly one write is in flight,
//! and the next one starts only when it is durable: so a valid group proves that every group before it was durable
//! (`protocol.md JR-2`), which is what recovery tells a torn end from damage by.
//!
//! A segment's header is written together with its first group. The next segment is made in advance; when it is not there
//! because the disk is full, nothing was begun that could be half done: records that were taken wait in the buffer, new
//! ones are refused, and writing goes on when there is room. A write that fails is another thing, even for lack of space:
//! what of it is on the disk is unknown, and the journal has failed for good (`JR-4`).

use super::error::{AppendError, FullReason, JournalError};
use super::identity::{Identity, Origin};
use super::record::Record;
use super::recovery::{self, Contents, Files, Torn};
use super::segment::{Checksum, GROUP_HEADER_BYTES, GROUPS_OFFSET, GroupKind, GroupPlace, Salt, SegmentHeader};
use super::segment::{group_extent, seal_group};
use super::supply::{Prepared, Shortage, Stock, Supply};
use super::{JournalConfig, JournalMode, Mark, files};
use logothete_transport::HostError;
use logothete_transport::storage::{AlignedBuffer, FileSystem, GroupWriter, SegmentFile, StorageBackend, Written};
use logothete_transport::storage::{remove_durably, sync_directory};
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The segment that is written to when a journal is opened, and two more, however many there are.
const SEGMENTS_AT_START: usize = 3;

/// Where the records begin in a buffer: behind room for a segment's header and the group's.
const RECORDS_OFFSET: usize = GROUPS_OFFSET + GROUP_HEADER_BYTES;

/// Whether a journal takes records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalState {
    /// It does.
    Writing,
    /// There is no room for the next segment: records are refused until there is.
    Full(FullReason),
    /// The disk failed: records are refused for good.
    Failed(HostError),
}

/// What was found when a journal was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The mark of the first record there is, or of the next to come.
    pub first: Mark,
    /// The mark of the last record there is.
    pub last: Mark,
    /// Whether everything that the replica promised is in it. It is not when a process that did not wait for the disk
    /// ended without closing: then the replica has to recover from the others.
    pub complete: bool,
    /// The write that a crash interrupted, and that was cut.
    pub torn: Option<Torn>,
}

/// An open journal. Dropping it without [`close`](Self::close) is what a crash is, except that a write in flight ends.
pub struct Journal {
    mode: JournalMode,
    directory: PathBuf,
    identity: Identity,
    writer: GroupWriter,
    supply: Supply,
    /// Records since the last group.
    collecting: AlignedBuffer,
    collected_bytes: usize,
    collected: u32,
    /// The other buffer, while no write is in flight.
    idle: Option<AlignedBuffer>,
    current: Current,
    next: Option<Prepared>,
    /// Segments before the current one, with the mark of their last record.
    older: VecDeque<(u64, Mark)>,
    chain: Checksum,
    appended: Mark,
    /// Up to where groups were begun.
    begun: Mark,
    durable: Mark,
    written_bytes: u64,
    state: JournalState,
}

/// The segment that is written to.
struct Current {
    number: u64,
    file: Arc<SegmentFile>,
    /// Where the next group goes; zero while the header is not written.
    offset: u64,
}

impl Journal {
    /// Makes a journal in a directory, which is made where there is none. Its salt is drawn for it alone; a checkpoint with which it begins is durable and
    /// names it already.
    ///
    /// # Errors
    ///
    /// When there is a journal in it, or the host refuses.
    ///
    /// # Panics
    ///
    /// When the configuration's sizes do not fit together.
    pub fn create(directory: &Path, config: &JournalConfig, origin: Origin, salt: Salt) -> Result<Self, JournalError> {
        config.check();
        let file_system: &dyn FileSystem = &*config.file_system;
        let refused = |call, error: &std::io::Error| HostError::from_io(call, error, directory.display().to_string());
        file_system.make_directory(directory).map_err(|error| refused("mkdir", &error))?;
        if Identity::exists(file_system, directory)? {
            return Err(JournalError::Exists { path: directory.to_owned() });
        }
        if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_directory(file_system, parent)?;
        }
        // Without an identity nothing was promised from here.
        let left = files::list(file_system, directory)?;
        let names = left.segments.iter().map(|number| files::segment_name(*number));
        let names = names.chain(left.spares.iter().map(|number| files::spare_name(*number)));
        for name in names.chain([files::MAKING.to_owned()]) {
            remove_durably(file_system, &directory.join(name))?;
        }
        let JournalConfig { context, replica, mode, segment_bytes, .. } = *config;
        let identity = Identity { context, replica, mode, segment_bytes, origin, salt };
        let path = directory.join(files::segment_name(1));
        let file = Arc::new(SegmentFile::create(file_system, &path, config.segment_bytes, config.faults.as_deref())?);
        identity.write(file_system, directory)?;
        let current = Current { number: 1, file, offset: 0 };
        Self::start(directory, config, identity, current, None, &[], Mark(0), Checksum::default(), Mark(1))
    }

    /// Opens a journal, and shows each of its records with its mark to `visit`. Records from `needed` on must be there; all before it
    /// were when it became known that they are not.
    /// Its segments keep the size with which the journal was made.
    ///
    /// # Errors
    ///
    /// [`JournalError`]; what `visit` saw is then worth nothing.
    ///
    /// # Panics
    ///
    /// As [`create`](Self::create).
    pub fn open(
        directory: &Path,
        config: &JournalConfig,
        needed: Mark,
        visit: &mut dyn FnMut(Mark, Record<'_>),
    ) -> Result<(Self, Recovered), JournalError> {
        config.check();
        let file_system: &dyn FileSystem = &*config.file_system;
        let mut identity = Identity::read(file_system, directory)?;
        identity.check(directory, config)?;
        remove_durably(file_system, &directory.join(files::MAKING))?;
        let contents = recovery::read(&mut Files::new(file_system, directory)?, &identity, visit)?;
        if contents.first > needed.max(Mark(1)) {
            return Err(JournalError::BeginsLate { first: contents.first, needed });
        }
        let complete = identity.mode == JournalMode::Sync || contents.closed;
        if complete && needed > contents.last.next() {
            return Err(JournalError::EndsEarly { last: contents.last, needed });
        }
        // A journal that has gaps stays marked as such; see `Identity::mode`.
        if complete && identity.mode != config.mode {
            identity.mode = config.mode;
            identity.write(file_system, directory)?;
        }
        let Contents { first, last, torn, .. } = contents;
        let journal = Self::resume(directory, config, identity, &contents, needed)?;
        Ok((journal, Recovered { first, last, complete, torn }))
    }

    fn resume(
        directory: &Path,
        config: &JournalConfig,
        identity: Identity,
        contents: &Contents,
        needed: Mark,
    ) -> Result<Self, JournalError> {
        let open = |number| {
            SegmentFile::open(&*config.file_system, &directory.join(files::segment_name(number))).map(Arc::new)
        };
        let (used, older) = contents.segments.split_last().expect("a journal that was read has a segment");
        let file = open(used.number)?;
        // What was read may not be on the disk yet: from now on it is relied on.
        file.sync()?;
        let next = match contents.prepared.first() {
            Some(&number) => Some(Prepared { number, file: open(number)? }),
            None => None,
        };
        let current = Current { number: used.number, file, offset: used.end };
        let older: Vec<_> =
            older.iter().map(|segment| (segment.number, Mark(segment.first.0 + segment.records - 1))).collect();
        let mut journal =
            Self::start(directory, config, identity, current, next, &older, contents.last, contents.chain, needed)?;
        if config.mode == JournalMode::Async {
            // A crash must not find the closing of the process before as the last thing that was written.
            journal.write_marker(GroupKind::Opened)?;
        }
        Ok(journal)
    }

    #[expect(clippy::too_many_arguments, reason = "what recovery found, once")]
    fn start(
        directory: &Path,
        config: &JournalConfig,
        identity: Identity,
        current: Current,
        next: Option<Prepared>,
        older: &[(u64, Mark)],
        last: Mark,
        chain: Checksum,
        needed: Mark,
    ) -> Result<Self, JournalError> {
        let file_system = &config.file_system;
        // A journal that is found at its bound has room for the checkpoint that makes room.
        let segments_max = config.segments_max.max(older.len() + SEGMENTS_AT_START);
        let writer = GroupWriter::new(&**file_system, config.storage, config.faults.clone())?;
        let stock = Stock {
            file_system: Arc::clone(file_system),
            directory: directory.to_owned(),
            segment_bytes: identity.segment_bytes,
            segments_max,
            spares: files::list(&**file_system, directory)?.spares,
            segments: older.len() + 1 + usize::from(next.is_some()),
            faults: config.faults.clone(),
        };
        let mut supply = Supply::new(stock, writer.share_waker()?)?;
        if next.is_none() {
            supply.prepare(current.number + 1);
        }
        let mut kept = VecDeque::with_capacity(segments_max);
        kept.extend(older);
        let needed_before = older.iter().filter(|(_, last)| *last >= needed).count() as u64;
        let written_bytes = needed_before * identity.segment_bytes + current.offset;
        let longest = (GROUPS_OFFSET + group_extent(config.group_bytes_max)).min(identity.segment_bytes as usize);
        let buffer = || AlignedBuffer::new(longest);
        Ok(Self {
            mode: config.mode,
            directory: directory.to_owned(),
            identity,
            writer,
            supply,
            collecting: buffer(),
            collected_bytes: 0,
            collected: 0,
            idle: Some(buffer()),
            current,
            next,
            older: kept,
            chain,
            appended: last,
            begun: last,
            durable: last,
            written_bytes,
            state: JournalState::Writing,
        })
    }

    /// Takes a record, to be written with the next group, and returns its mark. Never waits.
    ///
    /// # Errors
    ///
    /// [`AppendError`]; the record was then not taken, and what it stands for must not be promised.
    pub fn append(&mut self, record: &Record<'_>) -> Result<Mark, AppendError> {
        match &self.state {
            JournalState::Writing => {}
            JournalState::Full(reason) => return Err(AppendError::Full(*reason)),
            JournalState::Failed(error) => return Err(AppendError::Failed(error.clone())),
        }
        let (bytes, bytes_max) = (record.encoded_bytes(), self.collecting.len() - RECORDS_OFFSET);
        if bytes > bytes_max {
            return Err(AppendError::TooLong { bytes, bytes_max });
        }
        if bytes > self.room() {
            return Err(AppendError::Busy);
        }
        let at = RECORDS_OFFSET + self.collected_bytes;
        self.collected_bytes += record.encode(&mut self.collecting[at..]);
        self.collected += 1;
        self.appended = self.appended.next();
        Ok(self.appended)
    }

    /// How many bytes of records are taken before [`AppendError::Busy`].
    pub fn room(&self) -> usize {
        self.collecting.len() - RECORDS_OFFSET - self.collected_bytes
    }

    /// Takes the outcome of the write in flight, starts the next one, and returns up to where everything is kept: on the
    /// disk, or in [`JournalMode::Async`] taken. Never waits.
    pub fn poll(&mut self) -> Mark {
        if let Some(written) = self.writer.poll() {
            self.on_written(written);
        }
        self.begin();
        match self.mode {
            JournalMode::Sync => self.durable,
            JournalMode::Async => self.appended,
        }
    }

    /// Up to where everything is on the disk, whatever the mode.
    pub fn durable(&self) -> Mark {
        self.durable
    }

    /// What it has taken of its disk, in whole blocks: since it was opened, and before that with the segments that were needed then.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Which one of its replica's it is.
    pub fn salt(&self) -> Salt {
        self.identity.salt
    }

    /// The mark of the last record that was taken.
    pub fn appended(&self) -> Mark {
        self.appended
    }

    /// Whether it takes records. [`poll`](Self::poll) finds out.
    pub fn state(&self) -> &JournalState {
        &self.state
    }

    /// How it reaches the disk.
    pub fn backend(&self) -> StorageBackend {
        self.writer.backend()
    }

    /// Becomes readable when [`poll`](Self::poll) has something to do; for `Endpoint::register_waker`. In
    /// [`JournalMode::Async`] as well: the next group is started then.
    pub fn waker(&self) -> Option<BorrowedFd<'_>> {
        self.writer.waker()
    }

    /// Segments of which all records are below a mark may be used again. Their records may be gone from now on, so what
    /// they stand for must be durable elsewhere (`protocol.md JR-6`).
    pub fn trim(&mut self, below: Mark) {
        while let Some(&(number, last)) = self.older.front() {
            if last >= below || !self.supply.recycle(number) {
                return;
            }
            self.older.pop_front();
        }
    }

    /// Writes everything that was taken, waiting for the disk, and returns the last durable mark.
    ///
    /// # Errors
    ///
    /// When the disk fails or is full.
    pub fn flush(&mut self) -> Result<Mark, JournalError> {
        loop {
            self.poll();
            if let JournalState::Failed(error) = &self.state {
                return Err(error.clone().into());
            }
            if let Some(written) = self.writer.wait() {
                self.on_written(written);
                continue;
            }
            if self.collected == 0 {
                return Ok(self.durable);
            }
            self.await_segment()?;
        }
    }

    /// Writes everything that was taken and that the journal is closed.
    ///
    /// # Errors
    ///
    /// When the disk fails or is full: then it is not closed.
    pub fn close(mut self) -> Result<Mark, JournalError> {
        self.flush()?;
        self.write_marker(GroupKind::Closed)?;
        Ok(self.durable)
    }

    /// Writes a group without records, and waits for it.
    fn write_marker(&mut self, kind: GroupKind) -> Result<(), JournalError> {
        assert!(self.collected == 0 && !self.writer.is_in_flight());
        while !self.begin_group(kind) {
            self.await_segment()?;
        }
        let written = self.writer.wait().expect("it was begun just now");
        self.on_written(written);
        match &self.state {
            JournalState::Failed(error) => Err(error.clone().into()),
            _ => Ok(()),
        }
    }

    fn await_segment(&mut self) -> Result<(), JournalError> {
        match self.supply.wait() {
            Ok(prepared) => {
                self.next = Some(prepared);
                Ok(())
            }
            Err(Shortage::Full(reason)) => Err(JournalError::Full(reason)),
            Err(Shortage::Failed(error)) => Err(error.into()),
        }
    }

    fn on_written(&mut self, written: Written) {
        self.idle = Some(written.buffer);
        match written.outcome {
            Ok(()) => self.durable = self.begun,
            Err(error) => self.state = JournalState::Failed(error),
        }
    }

    /// Starts to write what has collected, unless a write is in flight or has failed.
    fn begin(&mut self) {
        let waits = self.writer.is_in_flight() || self.collected == 0;
        if !waits && !matches!(self.state, JournalState::Failed(_)) {
            self.begin_group(GroupKind::Records(self.collected));
        }
    }

    /// Starts to write a group; false when there is no segment for it yet.
    fn begin_group(&mut self, kind: GroupKind) -> bool {
        let extent = group_extent(self.collected_bytes);
        if self.current.offset + extent as u64 > self.current.file.bytes() && !self.advance() {
            return false;
        }
        let end = GROUPS_OFFSET + extent;
        let (offset, start) = if self.current.offset == 0 {
            let Identity { context, replica, salt, .. } = self.identity;
            let number = self.current.number;
            let header = SegmentHeader::new(number, self.begun.next(), replica.0, context, salt, self.chain);
            header.write(&mut self.collecting);
            self.chain = header.checksum;
            (0, 0)
        } else {
            (self.current.offset, GROUPS_OFFSET)
        };
        let place = GroupPlace {
            segment: self.current.number,
            offset: offset + (GROUPS_OFFSET - start) as u64,
            first: self.begun.next(),
            previous: self.chain,
        };
        let blocks = &mut self.collecting[GROUPS_OFFSET..end];
        self.chain = seal_group(blocks, self.collected_bytes, &place, kind, &self.identity.salt);
        let empty = self.idle.take().expect("no write is in flight, so one buffer is idle");
        let full = std::mem::replace(&mut self.collecting, empty);
        self.writer.submit(&self.current.file, offset, full, start..end);
        self.current.offset = offset + (end - start) as u64;
        self.written_bytes += (end - start) as u64;
        self.begun = self.appended;
        self.collected_bytes = 0;
        self.collected = 0;
        true
    }

    /// Goes on to the next segment; false when it is not there.
    fn advance(&mut self) -> bool {
        let Some(next) = self.next.take().or_else(|| self.supply.take()) else {
            match self.supply.shortage() {
                Some(Shortage::Full(reason)) => self.state = JournalState::Full(reason),
                Some(Shortage::Failed(error)) => self.state = JournalState::Failed(error),
                None => {}
            }
            return false;
        };
        self.state = JournalState::Writing;
        self.older.push_back((self.current.number, self.begun));
        self.current = Current { number: next.number, file: next.file, offset: 0 };
        self.supply.prepare(self.current.number + 1);
        true
    }
}

#[cfg(test)]
impl Journal {
    /// Waits until the next segment is there.
    pub(super) fn await_supply(&mut self) {
        while self.next.is_none() {
            self.next = self.supply.wait().ok();
        }
    }

    /// Waits for the write in flight and starts none.
    pub(super) fn flush_write(&mut self) -> Mark {
        if let Some(written) = self.writer.wait() {
            self.on_written(written);
        }
        self.durable
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("directory", &self.directory)
            .field("appended", &self.appended)
            .field("durable", &self.durable)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
