//! Child processes and their end.
//!
//! A command that starts processes leaves none behind, however it ends itself: [`Children`] ends them when it is
//! dropped (SIGTERM, and SIGKILL for those that do not follow in time), and a child of a parent that was killed is
//! killed by the kernel, because every child begins with [`die_with_parent`].
//!
//! A child that is ready prints one line `ready NAME=VALUE...` on standard output, and may print `done NAME=VALUE...`
//! at its end. What it prints on standard error is passed on or kept, and its last lines are part of the report when it
//! dies.

use rustix::process::{Pid, Signal};
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a child may take to end after SIGTERM.
const END_WAIT: Duration = Duration::from_secs(3);

/// Distance between two looks at the children: far below what a person notices, and no load.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Lines of standard error that are kept of each child.
const LAST_LINES: usize = 20;

/// Bytes of one line that are read at most; the rest of a longer line becomes the next.
const LINE_BYTES_MAX: u64 = 4096;

/// What becomes of the children's standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Diagnostics {
    /// Each line goes to this process's standard error, behind the child's name.
    PassOn,
    /// Kept, for the report when the child dies.
    Keep,
}

/// What went wrong with a child.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It could not be started.
    #[error("{name} could not be started: {source}")]
    Spawn {
        /// Which child.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It ended although nobody asked it to.
    #[error("{0}")]
    Died(Death),
    /// It runs, and did not say that it is ready.
    #[error("{name} was not ready after {} s{last_lines}", waited.as_secs())]
    NotReady {
        /// Which child.
        name: String,
        /// How long it had.
        waited: Duration,
        /// Its last lines, behind a colon; empty if it printed none.
        last_lines: String,
    },
    /// A signal asked this process to end.
    #[error("interrupted")]
    Interrupted,
}

/// The end of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// Which child.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// How it ended.
    pub status: ExitStatus,
    /// The last lines of its standard error.
    pub last_lines: Vec<String>,
}

impl std::fmt::Display for Death {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (process {}) ended ", self.name, self.pid)?;
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => write!(f, "with exit status {code}")?,
            (None, Some(signal)) => write!(f, "by signal {signal}")?,
            (None, None) => write!(f, "in an unknown way")?,
        }
        f.write_str(&joined(&self.last_lines))
    }
}

/// What a child tells of itself, by name.
pub type Facts = BTreeMap<String, String>;

/// A line of a child's standard output that is for this process.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    /// `ready NAME=VALUE...`: it serves.
    Ready(Facts),
    /// `done NAME=VALUE...`: what it did, before it ends.
    Done(Facts),
}

/// Reads such a line; none if it is another. Words without `=` are no facts.
fn parse_told(line: &str) -> Option<Told> {
    let mut words = line.split_ascii_whitespace();
    let told = match words.next()? {
        "ready" => Told::Ready,
        "done" => Told::Done,
        _ => return None,
    };
    let facts = words.filter_map(|word| word.split_once('='));
    Some(told(facts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
}

/// Ends this process when its parent ends, even by SIGKILL. A child calls it first, with its parent's process id.
///
/// # Errors
///
/// When the parent has ended already: the signal that tells it came before anybody asked for it.
pub fn die_with_parent(parent: u32) -> Result<(), String> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| format!("prctl(PR_SET_PDEATHSIG) failed: {error}"))?;
    // A parent that ended before the call will send no signal; this process has another parent then.
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if now == Some(parent) { Ok(()) } else { Err(format!("the parent process {parent} has ended")) }
}

/// What a child wrote to standard error.
#[derive(Default)]
struct Said {
    /// The last lines, and when each came.
    last: VecDeque<(Instant, String)>,
    /// How many of them [`Children::news`] has not handed out yet.
    new: usize,
}

struct Running {
    name: String,
    process: Child,
    told: Receiver<Told>,
    ready: Option<Facts>,
    done: Option<Facts>,
    said: Arc<Mutex<Said>>,
    /// The threads that read its output; they end with the pipes.
    readers: Vec<std::thread::JoinHandle<()>>,
    status: Option<ExitStatus>,
}

/// The processes that a command started.
pub struct Children {
    running: Vec<Running>,
    diagnostics: Diagnostics,
}

impl Children {
    /// No children yet.
    pub fn new(diagnostics: Diagnostics) -> Self {
        Self { running: Vec::new(), diagnostics }
    }

    /// Starts a child; `name` is what reports call it. The command gets `--child-of` with this process's id, and must
    /// be one that passes it to [`die_with_parent`]. The kernel binds a child's life to the *thread* that started it:
    /// call this from a thread that lives as long as the children shall.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn spawn(&mut self, name: &str, command: &mut Command) -> Result<u32, ChildError> {
        let spawn_error = |source| ChildError::Spawn { name: name.to_owned(), source };
        command.arg("--child-of").arg(std::process::id().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().map_err(spawn_error)?;
        let pid = process.id();
        let output = process.stdout.take().expect("piped above");
        let errors = process.stderr.take().expect("piped above");
        let (teller, told) = mpsc::channel();
        let said = Arc::<Mutex<Said>>::default();
        // From here on dropping `self` ends the child, also if a thread cannot be started.
        self.running.push(Running {
            name: name.to_owned(),
            process,
            told,
            ready: None,
            done: None,
            said: Arc::clone(&said),
            readers: Vec::new(),
            status: None,
        });
        let output = std::thread::Builder::new()
            .name(format!("{name} output"))
            .spawn(move || {
                for_each_line(output, |line| {
                    if let Some(told) = parse_told(&line) {
                        // Fails when nobody asks any more.
                        let _ = teller.send(told);
                    }
                });
            })
            .map_err(spawn_error)?;
        let (label, diagnostics) = (name.to_owned(), self.diagnostics);
        let errors = std::thread::Builder::new()
            .name(format!("{name} errors"))
            .spawn(move || {
                for_each_line(errors, |line| {
                    if diagnostics == Diagnostics::PassOn {
                        eprintln!("{label}: {line}");
                    }
                    let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                    if said.last.len() == LAST_LINES {
                        said.last.pop_front();
                    }
                    said.last.push_back((Instant::now(), line));
                    said.new = (said.new + 1).min(LAST_LINES);
                });
            })
            .map_err(spawn_error)?;
        self.running.last_mut().expect("pushed above").readers = vec![output, errors];
        Ok(pid)
    }

    /// Waits until every child has said that it is ready, and returns what each said, in the order of their start.
    ///
    /// # Errors
    ///
    /// When one dies, the time is over, or `stop` is set.
    pub fn wait_ready(&mut self, timeout: Duration, stop: &AtomicBool) -> Result<Vec<Facts>, ChildError> {
        let begin = Instant::now();
        loop {
            for child in &mut self.running {
                child.hear();
            }
            let Some(waiting) = self.running.iter().find(|child| child.ready.is_none()) else {
                return Ok(self.running.iter().filter_map(|child| child.ready.clone()).collect());
            };
            if begin.elapsed() >= timeout {
                let name = waiting.name.clone();
                return Err(ChildError::NotReady { name, waited: timeout, last_lines: joined(&waiting.lines()) });
            }
            if stop.load(Ordering::Relaxed) {
                return Err(ChildError::Interrupted);
            }
            if let Some(death) = self.deaths().into_iter().next() {
                return Err(ChildError::Died(death));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// The children that have ended since the last call.
    pub fn deaths(&mut self) -> Vec<Death> {
        let mut deaths = Vec::new();
        for child in self.running.iter_mut().filter(|child| child.status.is_none()) {
            // An error would mean that somebody else waited for the child; then its end is not known here.
            if let Ok(Some(status)) = child.process.try_wait() {
                child.status = Some(status);
                // The pipe closed with the process: what it wrote last is still being read.
                child.join_readers();
                deaths.push(Death {
                    name: child.name.clone(),
                    pid: child.process.id(),
                    status,
                    last_lines: child.lines(),
                });
            }
        }
        deaths
    }

    /// The children's process ids, in the order of their start.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        self.running.iter().map(|child| child.process.id())
    }

    /// Sends a signal to one child. False when it has ended, as far as [`Children::deaths`] has seen, or is no child.
    pub fn signal_one(&self, pid: u32, signal: Signal) -> bool {
        let child = self.running.iter().find(|child| child.process.id() == pid && child.status.is_none());
        child.is_some_and(|child| child.signal(signal))
    }

    /// The last lines of standard error of every child, also of those that have ended: a block each, under its name.
    pub fn last_lines(&self) -> String {
        let block =
            |child: &Running| format!("{} (process {}){}\n", child.name, child.process.id(), joined(&child.lines()));
        self.running.iter().map(block).collect()
    }

    /// What the children wrote to standard error since the last call, in the order of time: when each line came, and the line with its child's name. Of many
    /// lines of a child only the last are kept, and what one says of itself before it is ready is no news.
    pub fn news(&self) -> Vec<(Instant, String)> {
        let mut news = Vec::new();
        for child in &self.running {
            news.extend(child.news().into_iter().map(|(at, line)| (at, format!("{}: {line}", child.name))));
        }
        news.sort_by_key(|(at, _)| *at);
        news
    }

    /// How many children have not ended, as far as [`Children::deaths`] has seen.
    pub fn living(&self) -> usize {
        self.running.iter().filter(|child| child.status.is_none()).count()
    }

    /// Ends every child: SIGTERM to all, then SIGKILL to those that still run after a bounded time.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let begin = Instant::now();
        while self.living() > 0 && begin.elapsed() < END_WAIT {
            self.deaths();
            std::thread::sleep(POLL_INTERVAL);
        }
        // Also ends children that are stopped (SIGSTOP).
        self.signal(Signal::KILL);
        for child in self.running.iter_mut().filter(|child| child.status.is_none()) {
            child.status = child.process.wait().ok();
            child.join_readers();
        }
    }

    /// What each child told of its work, in the order of their start; none of a child that did not come to it. After
    /// [`Children::stop`].
    pub fn done(&mut self) -> Vec<Option<Facts>> {
        self.running.iter_mut().for_each(Running::hear);
        self.running.iter().map(|child| child.done.clone()).collect()
    }

    fn signal(&self, signal: Signal) {
        for child in self.running.iter().filter(|child| child.status.is_none()) {
            // It may have ended, which is what we want.
            child.signal(signal);
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Running {
    /// Sends it a signal; it has not been waited for, so it keeps its id, and no other process can be hit.
    fn signal(&self, signal: Signal) -> bool {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| rustix::process::kill_process(pid, signal).is_ok())
    }

    /// Takes what it has told.
    fn hear(&mut self) {
        for told in self.told.try_iter() {
            match told {
                Told::Ready(facts) => {
                    self.ready = Some(facts);
                    self.news();
                }
                Told::Done(facts) => self.done = Some(facts),
            }
        }
    }

    /// Waits until what it wrote is read; it has ended, so the pipes are closed.
    fn join_readers(&mut self) {
        for reader in self.readers.drain(..) {
            // A reader does not panic; if it did, its lines are missing and nothing else.
            let _ = reader.join();
        }
    }

    fn lines(&self) -> Vec<String> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.last.iter().map(|(_, line)| line.clone()).collect()
    }

    fn news(&self) -> Vec<(Instant, String)> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let new = std::mem::take(&mut said.new);
        said.last.range(said.last.len() - new..).cloned().collect()
    }
}

/// Calls `each` with every line until the pipe closes. What is not UTF-8 is replaced.
fn for_each_line(pipe: impl Read, mut each: impl FnMut(String)) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut pipe).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => each(String::from_utf8_lossy(line.trim_ascii_end()).into_owned()),
        }
    }
}

/// Lines for the end of a report, each indented on its own; empty if there are none.
fn joined(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!(":\n    {}", lines.join("\n    "))
}

#[cfg(test)]
mod tests;
