//! The disk as the engine sees it.

use super::faults::DiskFault;
use super::image::{Change, Step};
use super::machine::{Course, Machine};
use logothete_transport::storage::{Access, FileSystem, Lock, OpenFile, Pace};
use std::io::{self, ErrorKind};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// The disk, shared by all that use it on the one thread.
#[derive(Clone, Debug)]
pub(super) struct Shared(pub(super) Arc<Mutex<Machine>>);

impl Shared {
    pub(super) fn machine(&self) -> MutexGuard<'_, Machine> {
        self.0.lock().expect("one thread")
    }
}

impl FileSystem for Shared {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn OpenFile>> {
        let machine = &mut *self.machine();
        if machine.image.directories.contains(path) {
            return Ok(Box::new(Handle { disk: self.clone(), of: Of::Directory(path.to_owned()) }));
        }
        let directory = path.parent().expect("a file is in a directory");
        if !machine.image.directories.contains(directory) {
            return Err(ErrorKind::NotFound.into());
        }
        let held = machine.image.names.get(path).copied();
        let file = match (held, access) {
            (Some(_), Access::Create) => return Err(ErrorKind::AlreadyExists.into()),
            (None, Access::Write | Access::Read) => return Err(ErrorKind::NotFound.into()),
            (Some(file), Access::Write | Access::Read | Access::WriteOrCreate) => file,
            (_, Access::Replace) | (None, Access::Create | Access::WriteOrCreate) => {
                if machine.is_full() {
                    return Err(io::Error::from_raw_os_error(ENOSPC));
                }
                let file = machine.image.make(directory);
                machine.ask(Step::Name(Change::Enter { path: path.to_owned(), file }));
                file
            }
        };
        Ok(Box::new(Handle { disk: self.clone(), of: Of::File(file) }))
    }

    fn open_direct(&self, path: &Path, access: Access) -> io::Result<Box<dyn OpenFile>> {
        self.open(path, access)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        if !machine.image.names.contains_key(from) {
            return Err(ErrorKind::NotFound.into());
        }
        machine.ask(Step::Name(Change::Rename { from: from.to_owned(), to: to.to_owned() }));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        if !machine.image.names.contains_key(path) {
            return Err(ErrorKind::NotFound.into());
        }
        machine.ask(Step::Name(Change::Leave { path: path.to_owned() }));
        Ok(())
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        machine.image.directories.extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        let machine = self.machine();
        let within = machine.image.names.keys().filter(|path| path.parent() == Some(directory));
        let names = within.map(|path| path.file_name().expect("a file has a name").to_string_lossy().into_owned());
        Ok(names.collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let image = &self.machine().image;
        Ok(image.names.contains_key(path) || image.directories.contains(path))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        // A process that ended holds nothing any more.
        self.open(path, Access::WriteOrCreate)?;
        Ok(Box::new(Locked))
    }

    fn pace(&self, worker: &'static str) -> Option<Box<dyn Pace>> {
        self.machine().courses.insert(worker, Course::default());
        Some(Box::new(Pacer { disk: self.clone(), worker }))
    }
}

#[derive(Debug)]
struct Locked;

impl Lock for Locked {}

#[derive(Debug)]
enum Of {
    File(u64),
    Directory(PathBuf),
}

#[derive(Debug)]
struct Handle {
    disk: Shared,
    of: Of,
}

impl Handle {
    fn file(&self) -> io::Result<u64> {
        match self.of {
            Of::File(file) => Ok(file),
            Of::Directory(_) => Err(ErrorKind::IsADirectory.into()),
        }
    }
}

impl OpenFile for Handle {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.disk.machine().image.file(self.file()?).seen.bytes)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(self.disk.machine().image.file(self.file()?).seen.read(offset, into))
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let file = self.file()?;
        let mut machine = self.disk.machine();
        if machine.is_full() && !machine.image.file(file).seen.has(offset, bytes.len()) {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        if machine.fails(DiskFault::WriteErrors) {
            let count = machine.random.below(bytes.len() + 1);
            machine.ask(Step::Write { file, at: offset, bytes: bytes.to_vec(), count });
            return Err(io::Error::from_raw_os_error(EIO));
        }
        machine.ask(Step::Write { file, at: offset, bytes: bytes.to_vec(), count: bytes.len() });
        Ok(())
    }

    fn allocate(&self, _bytes: u64) -> io::Result<()> {
        match self.disk.machine().is_full() {
            true => Err(io::Error::from_raw_os_error(ENOSPC)),
            false => Ok(()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut machine = self.disk.machine();
        match &self.of {
            Of::Directory(path) => machine.ask(Step::SyncDirectory { path: path.clone() }),
            Of::File(file) if machine.fails(DiskFault::SyncErrors) => {
                machine.ask(Step::FailedSync { file: *file });
                return Err(io::Error::from_raw_os_error(EIO));
            }
            Of::File(file) => machine.ask(Step::Sync { file: *file }),
        }
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn is_direct(&self) -> bool {
        true
    }

    fn descriptor(&self) -> Option<RawFd> {
        None
    }
}

/// How the time of one worker passes.
#[derive(Debug)]
struct Pacer {
    disk: Shared,
    worker: &'static str,
}

impl Pace for Pacer {
    fn begin(&mut self) {
        self.disk.machine().asking = Some(self.worker);
    }

    fn end(&mut self) -> u64 {
        let mut machine = self.disk.machine();
        machine.asking = None;
        let now_ns = machine.now_ns;
        let course = machine.courses.get_mut(self.worker).expect("it has a course");
        if course.steps.is_empty() {
            course.free_at_ns = course.free_at_ns.max(now_ns);
        }
        course.asked
    }

    fn is_over(&mut self, moment: u64) -> bool {
        let mut machine = self.disk.machine();
        machine.advance();
        machine.courses[self.worker].done >= moment
    }

    fn wait(&mut self, moment: u64) {
        self.disk.machine().finish(self.worker, moment);
    }

    fn rested(&mut self, pause: Duration) -> bool {
        let mut machine = self.disk.machine();
        machine.advance();
        let course = &machine.courses[self.worker];
        course.done == course.asked && machine.now_ns >= course.free_at_ns + pause.as_nanos() as u64
    }
}
