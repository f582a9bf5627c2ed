//! Processor time and memory of the processes of a run, from `/proc`.
//!
//! `/proc/PID/stat` carries the user and system time of a whole process, threads that have ended included, in clock
//! ticks (10 ms); `/proc/PID/statm` the resident pages, `/proc/PID/status` their high-water mark. A process that ends while it is watched keeps the last values
//! that were seen, at most one period old: what it used still counts.

use std::fs;
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use thiserror::Error;

/// What one look at a process showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time since the process started, in nanoseconds (a multiple of the clock tick).
    pub cpu_ns: u64,
    /// Resident memory in bytes, shared pages included.
    pub rss_bytes: u64,
    /// The most that was ever resident, in bytes.
    pub rss_peak_bytes: u64,
}

/// Why a look at a process failed.
#[derive(Debug, Error)]
pub enum UsageError {
    /// The file could not be read: the process has ended, or `/proc` is hidden from this user.
    #[error("cannot read {path}: {source}; the process has ended, or /proc is mounted with hidepid")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file did not have the expected form.
    #[error("{path} is not in the form that proc(5) describes: {text:?}")]
    Form {
        /// The file.
        path: String,
        /// What it held.
        text: String,
    },
}

/// Reads the usage of process `pid` now.
///
/// # Errors
/// When `/proc` has no such process, or shows it in an unknown form.
pub fn usage(pid: u32) -> Result<Usage, UsageError> {
    let read = |name: &str| {
        let path = format!("/proc/{pid}/{name}");
        match fs::read_to_string(&path) {
            Ok(text) => Ok((path, text)),
            Err(source) => Err(UsageError::Read { path, source }),
        }
    };
    let (path, text) = read("stat")?;
    let Some(ticks) = cpu_ticks(&text) else {
        return Err(UsageError::Form { path, text });
    };
    let (path, text) = read("statm")?;
    let Some(pages) = resident_pages(&text) else {
        return Err(UsageError::Form { path, text });
    };
    let rss_bytes = pages * page_bytes();
    let (path, text) = read("status")?;
    let Some(peak_kib) = resident_peak_kib(&text) else {
        return Err(UsageError::Form { path, text });
    };
    Ok(Usage {
        cpu_ns: ticks * (1_000_000_000 / ticks_per_s()),
        rss_bytes,
        // The system counts both lazily, and not at the same moments.
        rss_peak_bytes: rss_bytes.max(peak_kib * 1024),
    })
}

/// User plus system ticks from the text of `/proc/PID/stat`. The command name, in brackets, may itself hold spaces and
/// brackets: fields are counted from the last closing one.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    // proc(5) numbers from 1; the state is field 3, user time 14, system time 15.
    let mut fields = fields.split_ascii_whitespace().skip(14 - 3);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Resident pages from the text of `/proc/PID/statm`: its second field.
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The high-water mark of resident memory from the text of `/proc/PID/status`. The line is missing once a process has
/// given its memory up at its end, which is no error: it has none then.
fn resident_peak_kib(status: &str) -> Option<u64> {
    if !status.starts_with("Name:") {
        return None;
    }
    let Some(line) = status.lines().find_map(|line| line.strip_prefix("VmHWM:")) else {
        return Some(0);
    };
    line.trim().strip_suffix("kB")?.trim_end().parse().ok()
}

fn ticks_per_s() -> u64 {
    // SAFETY: sysconf reads a constant of the system and touches no memory of ours.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).ok().filter(|&t| t > 0).unwrap_or(100)
}

fn page_bytes() -> u64 {
    // SAFETY: as above.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).ok().filter(|&b| b > 0).unwrap_or(4096)
}

/// What a process is in the run: reports give the memory of replicas apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A replica, by its index.
    Replica(u8),
    /// A driver.
    Driver,
    /// The process that makes the load; also anything else that belongs to the run.
    Load,
}

/// A process to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Process id.
    pub pid: u32,
    /// What it is.
    pub role: Role,
}

/// All samples of one process.
#[derive(Clone, Debug)]
pub struct ProcessSeries {
    /// Which process.
    pub watched: Watched,
    /// The first look at it, when sampling began.
    pub first: Usage,
    /// The last successful look.
    pub last: Usage,
    /// Resident memory in bytes, one value a period; stops where the process ended.
    pub rss_bytes: Vec<u64>,
}

impl ProcessSeries {
    /// Looks once more. `periodic`: the look belongs into the series.
    fn look(&mut self, periodic: bool) {
        let Ok(now) = usage(self.watched.pid) else { return };
        self.take(now, periodic);
    }

    fn take(&mut self, now: Usage, periodic: bool) {
        self.last.cpu_ns = now.cpu_ns;
        // A process that has ended and is not yet waited for still shows its time, but no memory any more.
        if now.rss_bytes > 0 {
            self.last.rss_bytes = now.rss_bytes;
            self.last.rss_peak_bytes = self.last.rss_peak_bytes.max(now.rss_peak_bytes);
            if periodic {
                self.rss_bytes.push(now.rss_bytes);
            }
        }
    }
}

/// What a whole run used.
#[derive(Clone, Debug, Default)]
pub struct ProcessReport {
    /// One a watched process, in the order given.
    pub processes: Vec<ProcessSeries>,
}

impl ProcessReport {
    /// Processor seconds of all processes since they started, user and system.
    pub fn cpu_seconds(&self) -> f64 {
        self.processes.iter().map(|p| p.last.cpu_ns).sum::<u64>() as f64 / 1e9
    }

    /// Processor seconds of all processes while they were watched.
    pub fn cpu_seconds_watched(&self) -> f64 {
        let watched = self.processes.iter().map(|p| p.last.cpu_ns.saturating_sub(p.first.cpu_ns));
        watched.sum::<u64>() as f64 / 1e9
    }

    /// The most memory that any replica ever had resident, in bytes; 0 without replicas.
    pub fn replica_rss_bytes_peak(&self) -> u64 {
        let replicas = self.processes.iter().filter(|p| matches!(p.watched.role, Role::Replica(_)));
        replicas.map(|p| p.last.rss_peak_bytes.max(p.rss_bytes.iter().copied().max().unwrap_or(0))).max().unwrap_or(0)
    }

    /// Resident memory of each replica, one value a period.
    pub fn replica_rss_bytes(&self) -> Vec<Vec<u64>> {
        let replicas = self.processes.iter().filter(|p| matches!(p.watched.role, Role::Replica(_)));
        replicas.map(|p| p.rss_bytes.clone()).collect()
    }

    /// Resident memory of the largest replica, one value a period; empty without replicas.
    pub fn replica_rss_bytes_max(&self) -> Vec<u64> {
        let series =
            || self.processes.iter().filter(|p| matches!(p.watched.role, Role::Replica(_))).map(|p| &p.rss_bytes);
        let periods = series().map(Vec::len).max().unwrap_or(0);
        (0..periods).map(|at| series().filter_map(|s| s.get(at).copied()).max().unwrap_or(0)).collect()
    }
}

/// Watches processes from a thread of its own until [`Sampler::finish`].
#[derive(Debug)]
pub struct Sampler {
    stop: Sender<()>,
    thread: JoinHandle<ProcessReport>,
}

impl Sampler {
    /// Starts to look at every process of `watched` once a `period` (reports want one second). The first look happens
    /// before this returns.
    ///
    /// # Errors
    /// When one of the processes cannot be seen even once, or no thread can be started.
    pub fn start(watched: &[Watched], period: Duration) -> Result<Sampler, SamplerError> {
        let mut processes = Vec::with_capacity(watched.len());
        for &watched in watched {
            let first = usage(watched.pid)?;
            processes.push(ProcessSeries { watched, first, last: first, rss_bytes: vec![first.rss_bytes] });
        }
        let (stop, stopped) = mpsc::channel();
        let watch = move || {
            let mut report = ProcessReport { processes };
            let mut due = Instant::now() + period;
            loop {
                let over = stopped.recv_timeout(due.saturating_duration_since(Instant::now()));
                for process in &mut report.processes {
                    process.look(over == Err(RecvTimeoutError::Timeout));
                }
                if over != Err(RecvTimeoutError::Timeout) {
                    return report;
                }
                due += period;
            }
        };
        let thread = std::thread::Builder::new().name("sampler".into()).spawn(watch).map_err(SamplerError::Thread)?;
        Ok(Sampler { stop, thread })
    }

    /// Takes the last look and returns everything seen. Call it while the processes still run.
    pub fn finish(self) -> ProcessReport {
        // The thread cannot have ended by itself; a send that fails would only mean that it is already at its end.
        let _ = self.stop.send(());
        self.thread.join().expect("the sampler's thread does not panic")
    }
}

/// Why sampling could not start.
#[derive(Debug, Error)]
pub enum SamplerError {
    /// A process could not be seen.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The system refused a thread.
    #[error("cannot start the sampler's thread: {0}; look at the limit of processes (ulimit -u)")]
    Thread(io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_cannot_shift_the_fields() {
        let stat = "4242 (a) 1 (b c) S 1 4242 4242 0 -1 4194560 100 0 0 0 7 5 0 0 20 0 3 0 12345 1000 250 18446744073709551615";
        assert_eq!(cpu_ticks(stat), Some(12));
        assert_eq!(cpu_ticks("4242 (a"), None);
        assert_eq!(cpu_ticks("4242 (a) S 1 2"), None);
        assert_eq!(cpu_ticks("4242 (a) S 1 2 3 4 5 6 7 8 9 10 x y"), None);
    }

    #[test]
    fn resident_memory_is_the_second_field() {
        assert_eq!(resident_pages("2500 611 300 20 0 400 0\n"), Some(611));
        assert_eq!(resident_pages(""), None);
        assert_eq!(resident_pages("2500"), None);
    }

    #[test]
    fn the_high_water_mark_is_a_line_of_the_status() {
        assert_eq!(resident_peak_kib("Name:\ta\nVmPeak:\t  900 kB\nVmHWM:\t    1234 kB\nVmRSS:\t 12 kB\n"), Some(1234));
        assert_eq!(resident_peak_kib("Name:\tzombie\nState:\tZ\n"), Some(0));
        assert_eq!(resident_peak_kib("Name:\ta\nVmHWM:\t many kB\n"), None);
        assert_eq!(resident_peak_kib(""), None);
    }

    #[test]
    fn this_process_is_seen() {
        let pid = std::process::id();
        let before = usage(pid).unwrap();
        assert!(before.rss_bytes > 100_000);
        let mut spent = 0u64;
        // Works until at least one clock tick shows, bounded.
        for round in 0..100_000_000u64 {
            spent = spent.wrapping_mul(31).wrapping_add(round);
            if round % 1_000_000 == 0 && usage(pid).unwrap().cpu_ns > before.cpu_ns {
                break;
            }
        }
        assert!(usage(pid).unwrap().cpu_ns > before.cpu_ns, "{spent}");
    }

    #[test]
    fn a_missing_process_is_an_error_that_names_the_file() {
        // Process ids end at 2^22.
        let error = usage(1 << 30).unwrap_err().to_string();
        assert!(error.contains("/proc/1073741824/stat"), "{error}");
    }

    #[test]
    fn an_ended_process_keeps_its_last_values() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let own = Watched { pid: std::process::id(), role: Role::Load };
        let watched = [own, Watched { pid: child.id(), role: Role::Replica(2) }];
        let sampler = Sampler::start(&watched, Duration::from_millis(5)).unwrap();
        // Between the two, the process has ended but still shows in /proc.
        child.kill().unwrap();
        child.wait().unwrap();
        let report = sampler.finish();
        assert_eq!(report.processes.len(), 2);
        assert!(report.processes[1].last.rss_bytes > 0);
        let largest = report.replica_rss_bytes_max();
        assert_eq!(largest, report.processes[1].rss_bytes);
        assert!(report.cpu_seconds() >= report.cpu_seconds_watched());
    }

    #[test]
    fn a_process_that_ended_keeps_its_memory_and_its_last_time() {
        let usage = |cpu_ns, rss_bytes, rss_peak_bytes| Usage { cpu_ns, rss_bytes, rss_peak_bytes };
        let first = usage(10, 500, 900);
        let watched = Watched { pid: 1, role: Role::Replica(0) };
        let mut series = ProcessSeries { watched, first, last: first, rss_bytes: vec![500] };
        series.take(usage(20, 600, 950), true);
        series.take(usage(30, 0, 0), true);
        assert_eq!((series.last, series.rss_bytes), (usage(30, 600, 950), vec![500, 600]));
    }

    #[test]
    fn the_largest_replica_counts_and_others_do_not() {
        let series = |role, rss_bytes: &[u64]| ProcessSeries {
            watched: Watched { pid: 1, role },
            first: Usage::default(),
            last: Usage { cpu_ns: 1_500_000_000, rss_bytes: 0, rss_peak_bytes: 7 },
            rss_bytes: rss_bytes.to_vec(),
        };
        let report = ProcessReport {
            processes: vec![
                series(Role::Replica(0), &[10, 20, 15]),
                series(Role::Replica(1), &[12, 5]),
                series(Role::Driver, &[900, 900, 900]),
            ],
        };
        assert_eq!(report.replica_rss_bytes_max(), [12, 20, 15]);
        assert_eq!(report.replica_rss_bytes().len(), 2);
        assert_eq!(report.replica_rss_bytes_peak(), 20);
        assert_eq!(report.cpu_seconds(), 4.5);
    }
}
