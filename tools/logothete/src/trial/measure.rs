//! The sequence of a measured run: look at the processes, load, look again, and compare the replicas.

use super::judge::HistoryFile;
use crate::failure::Failure;
use crate::output::Progress as ProgressLine;
use logothete_bench::history::HistoryWriter;
use logothete_bench::linearizability::register::Initial;
use logothete_bench::load::{
    self, KeyValueWorkload, LoadOptions, LoadResult, LogWorkload, NullWorkload, Outlets, Pace, Phase, Workload,
};
use logothete_bench::processes::{Sampler, Watched};
use logothete_bench::report::{Report, RunFacts, count, orders_agree, time};
use logothete_client::record::message_footprint_bytes;
use logothete_client::{Options, Session};
use logothete_crypto::os_entropy;
use logothete_engine::client::status::{ReplicaStatus, query};
use logothete_engine::cluster::{Cluster, DriverLocal, ReplicaLocal, init};
use logothete_engine::pipeline::counters_path;
use logothete_engine::service::ServiceKind;
use logothete_transport::counters::Counters;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often memory and processor time are looked at: the series of a report has one value a second.
const SAMPLE_PERIOD: Duration = Duration::from_secs(1);

/// How long the replicas may take to answer one query.
const QUERY_WAIT: Duration = Duration::from_secs(2);

/// How long the replicas may take to execute what the fastest of them has executed.
const AGREE_WAIT: Duration = Duration::from_secs(10);

/// Between two queries of replicas that do not agree yet.
const AGREE_INTERVAL: Duration = Duration::from_millis(50);

/// Bounds of a session's rings: what drivers give without being asked, and what they give at most.
const RING_BYTES_MIN: usize = 256 << 10;
const RING_BYTES_MAX: usize = 16 << 20;

/// What is measured.
pub struct Subject<'a> {
    /// The configuration that it runs.
    pub cluster: &'a Cluster,
    /// Whether nothing was stored in it before.
    pub fresh: bool,
    /// Its `cluster.toml`, beside which the operator's key is.
    pub config: PathBuf,
    /// The session socket of its driver.
    pub session: PathBuf,
    /// The counters files of its processes, as far as they are on this host.
    pub counters: Vec<PathBuf>,
    /// Processes to watch.
    pub watched: &'a [Watched],
    /// The datagram back-end in use, as reports name it.
    pub transport: String,
    /// `multicast` or `unicast`, as reports name it.
    pub fan_out: String,
    /// The arrangement in use, as reports name it.
    pub arrangement: String,
}

/// The load.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// Bytes of an operation, or of a value of the key-value service.
    pub payload_bytes: usize,
    /// Keys of the key-value service.
    pub keys: u64,
    /// Of the key-value service: how many of a hundred operations are reads.
    pub read_percent: u32,
    /// Sessions.
    pub sessions: usize,
    /// Pace, extent and window.
    pub options: LoadOptions,
    /// Keep every second's histogram.
    pub intervals_keep: bool,
    /// Where every call and answer goes.
    pub history: Option<PathBuf>,
    /// Whether the history of the key-value service is judged after the run; it is recorded for that if need be.
    pub check: bool,
}

/// Runs the load and puts the report together. `label` stands before the progress on standard error.
///
/// # Errors
///
/// When the subject cannot be asked or loaded, and when `stop` is set before the end. That operations failed, or that
/// replicas differ, is not an error here: see [`Report::check`].
pub fn measure(
    subject: &Subject<'_>,
    plan: &LoadPlan,
    label: &str,
    stop: &AtomicBool,
) -> Result<(LoadResult, Report), Failure> {
    let failed = |error: &dyn std::error::Error| Failure::Failed(error.to_string());
    let mut sessions = load::connect(&subject.session, plan.sessions, &session_options(subject.cluster, plan))
        .map_err(|error| failed(&error))?;
    let sampler = Sampler::start(subject.watched, SAMPLE_PERIOD).map_err(|error| failed(&error))?;
    let history =
        if plan.check || plan.history.is_some() { Some(HistoryFile::create(plan.history.as_deref())?) } else { None };
    let (history, mut recorder) = history.map(|(file, to)| (file, HistoryWriter::new(to))).unzip();
    let (result, datagrams_sent) = run_load(subject, &mut sessions, plan, recorder.as_mut(), label, stop)?;
    let processes = sampler.finish();
    if result.stopped {
        return Err(Failure::Failed(String::from("interrupted")));
    }
    let after = ask_until_agreed(subject, stop)?;
    let linearizable = match (&history, recorder) {
        (Some(file), Some(recorder)) => {
            recorder.finish().map_err(|error| Failure::of_file("write", file.path(), &error))?;
            plan.check.then(|| judge(file, subject.fresh)).transpose()?
        }
        _ => None,
    };
    let reports: Vec<_> = after.iter().flatten().map(|status| (status.executed, status.state_digest)).collect();
    let cluster = subject.cluster;
    let facts = RunFacts {
        replicas: cluster.replica_count() as u32,
        faults_tolerated: u32::from(cluster.faults),
        active_replicas: cluster.replica_count() as u32,
        payload_bytes: plan.payload_bytes as u64,
        reply_bytes: reply_bytes(cluster),
        sessions: plan.sessions as u32,
        outstanding: plan.options.outstanding as u32,
        service: cluster.service.to_string(),
        read_percent: cluster.service.reads().then_some(plan.read_percent),
        journal: cluster.journal.to_string(),
        transport: subject.transport.clone(),
        fan_out: subject.fan_out.clone(),
        arrangement: subject.arrangement.clone(),
        unreplicated: cluster.faults == 0,
        null_protocol: false,
        datagrams_sent,
        view_changes: after.iter().flatten().map(|status| status.view).max().unwrap_or(0),
        replicas_reported: reports.len() as u32,
        orders_agree: orders_agree(&reports, u32::from(cluster.faults)),
        linearizable,
    };
    let report = Report::new(&result, plan.options.pace, &processes, facts);
    Ok((result, report))
}

/// Whether a history is linearizable; if not, says on standard error what is wrong with it.
fn judge(history: &HistoryFile, fresh: bool) -> Result<bool, Failure> {
    let verdict = history.judge(if fresh { Initial::Absent } else { Initial::Unknown })?;
    match &verdict {
        Ok(checked) => {
            let (operations, keys) = (count(checked.operations as u64), count(checked.keys as u64));
            eprintln!("history: {operations} reads and writes of {keys} keys are linearizable");
        }
        Err(fault) => eprintln!("{fault}"),
    }
    Ok(verdict.is_ok())
}

/// Rings that hold twice what a session has outstanding.
fn session_options(cluster: &Cluster, plan: &LoadPlan) -> Options {
    let ring = |length: usize| {
        let bytes = message_footprint_bytes(length).saturating_mul(2 * plan.options.outstanding);
        bytes.clamp(RING_BYTES_MIN, RING_BYTES_MAX).next_power_of_two() as u32
    };
    // A command of the key-value service has a header and a key beside its value.
    let operation = plan.payload_bytes + 64;
    Options {
        requests_bytes: ring(operation),
        // A get's outcome holds a value.
        responses_bytes: ring(reply_bytes(cluster) as usize + plan.payload_bytes),
        ..Options::default()
    }
}

/// Bytes of the results that the load gets.
fn reply_bytes(cluster: &Cluster) -> u64 {
    match cluster.service {
        // A position.
        ServiceKind::Log => 8,
        // An outcome without a value, as a put has it.
        ServiceKind::KeyValue => 1,
        ServiceKind::Null => cluster.null_reply_bytes as u64,
    }
}

/// Runs the load of the cluster's service; also returns how many datagrams were sent while it was measured.
fn run_load(
    subject: &Subject<'_>,
    sessions: &mut [Session],
    plan: &LoadPlan,
    history: Option<&mut HistoryWriter<File>>,
    label: &str,
    stop: &AtomicBool,
) -> Result<(LoadResult, u64), Failure> {
    let mut random = [0; 8];
    os_entropy(&mut random);
    let random = u64::from_le_bytes(random);
    let bytes = plan.payload_bytes;
    match subject.cluster.service {
        // Payloads differ from those of other runs on the same log.
        ServiceKind::Log => {
            let mut workload = LogWorkload::new(bytes, random);
            run_workload(subject, sessions, &mut workload, plan, history, label, stop)
        }
        ServiceKind::KeyValue => {
            let mut workload = KeyValueWorkload::new(bytes, plan.keys, plan.read_percent, random);
            run_workload(subject, sessions, &mut workload, plan, history, label, stop)
        }
        ServiceKind::Null => {
            let mut workload = NullWorkload::new(bytes, subject.cluster.null_reply_bytes);
            run_workload(subject, sessions, &mut workload, plan, history, label, stop)
        }
    }
}

fn run_workload(
    subject: &Subject<'_>,
    sessions: &mut [Session],
    workload: &mut impl Workload,
    plan: &LoadPlan,
    history: Option<&mut HistoryWriter<File>>,
    label: &str,
    stop: &AtomicBool,
) -> Result<(LoadResult, u64), Failure> {
    // What was sent until the last look before the measured time.
    let sent_before = Arc::new(AtomicU64::new(datagrams_sent(&subject.counters)));
    let (seen, counters) = (Arc::clone(&sent_before), subject.counters.clone());
    let (label, open) = (label.to_owned(), matches!(plan.options.pace, Pace::Open { .. }));
    let mut line = ProgressLine::new();
    let on_progress = Box::new(move |progress: &load::Progress| {
        if progress.phase == Phase::Warmup {
            seen.store(datagrams_sent(&counters), Ordering::Relaxed);
        }
        line.show(&progress_text(&label, progress, open));
        if progress.phase == Phase::Drain {
            line.end();
        }
    });
    let outlets = Outlets { on_progress, history, intervals_keep: plan.intervals_keep };
    let result = load::run(sessions, workload, &plan.options, outlets, stop)
        .map_err(|error| Failure::Failed(format!("no thread for the figures: {error}")))?;
    let sent = datagrams_sent(&subject.counters).saturating_sub(sent_before.load(Ordering::Relaxed));
    Ok((result, sent))
}

fn progress_text(label: &str, progress: &load::Progress, open: bool) -> String {
    let elapsed = progress.elapsed.as_secs_f64();
    let rate = count(progress.rate_per_s.round() as u64);
    let mut text = match progress.phase {
        Phase::Warmup => format!("{label}: {elapsed:4.1} s  {rate} operations/s, warming up"),
        Phase::Measured => format!("{label}: {elapsed:4.1} s  {rate} operations/s, median {}", time(progress.p50_ns)),
        Phase::Drain => format!("{label}: {elapsed:4.1} s  waiting for the last answers"),
    };
    if open && progress.phase == Phase::Measured {
        text.push_str(" from when they were due");
    }
    if progress.failed > 0 {
        text.push_str(&format!(", {} failed", count(progress.failed)));
    }
    text
}

/// Asks every replica of the cluster once, with the operator's key beside its `cluster.toml`.
///
/// # Errors
///
/// When the key is refused, or the host refuses a socket.
pub fn ask(config: &Path, cluster: &Cluster) -> Result<Vec<Option<ReplicaStatus>>, Failure> {
    ask_within(config, cluster, QUERY_WAIT)
}

/// The same, with `wait` for those that do not answer.
///
/// # Errors
///
/// When the key is refused, or the host refuses a socket.
pub fn ask_within(config: &Path, cluster: &Cluster, wait: Duration) -> Result<Vec<Option<ReplicaStatus>>, Failure> {
    let operator = init::operator_identity(config, cluster)?;
    query(cluster, operator, wait).map_err(|error| Failure::Failed(error.to_string()))
}

/// Asks until all replicas report the same sequence number and state, or the time is over: the last to execute may be
/// behind a little. The answers are those of the last time.
fn ask_until_agreed(subject: &Subject<'_>, stop: &AtomicBool) -> Result<Vec<Option<ReplicaStatus>>, Failure> {
    let begin = Instant::now();
    loop {
        let answers = ask(&subject.config, subject.cluster)?;
        let all = answers.iter().all(Option::is_some);
        let first = answers.iter().flatten().next();
        let equal = answers.iter().flatten().all(|status| {
            first.is_some_and(|first| status.executed == first.executed && status.state_digest == first.state_digest)
        });
        if (all && equal) || begin.elapsed() >= AGREE_WAIT || stop.load(Ordering::Relaxed) {
            return Ok(answers);
        }
        std::thread::sleep(AGREE_INTERVAL);
    }
}

/// Datagrams that the processes with these counters files have sent since their start; those of processes on other
/// hosts are not seen.
fn datagrams_sent(counters: &[PathBuf]) -> u64 {
    let files = counters.iter().filter_map(|path| Counters::open(path).ok());
    let sent = files.map(|file| {
        let readings = file.readings().filter(|reading| reading.set == "datagrams" && reading.label == "sent");
        readings.map(|reading| reading.value).sum::<u64>()
    });
    sent.sum()
}

/// The counters files of the processes of a cluster that have their local files beside its `cluster.toml`.
pub fn counters_files(config: &Path, cluster: &Cluster) -> Vec<PathBuf> {
    let replicas =
        (0..cluster.replica_count() as u8).filter_map(|id| ReplicaLocal::load(&ReplicaLocal::file(config, id)).ok());
    let drivers = (0..cluster.driver_count() as u16)
        .filter_map(|client| DriverLocal::load(&DriverLocal::file(config, client)).ok());
    let directories = replicas.map(|local| local.data_directory).chain(drivers.map(|local| local.data_directory));
    directories.map(|directory| counters_path(&directory)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(phase: Phase, elapsed_ms: u64, rate_per_s: f64) -> load::Progress {
        load::Progress { phase, elapsed: Duration::from_millis(elapsed_ms), rate_per_s, p50_ns: 1500, failed: 0 }
    }

    #[test]
    fn progress_names_rate_and_median() {
        assert_eq!(
            progress_text("load", &progress(Phase::Measured, 1500, 123_456.0), false),
            "load:  1.5 s  123,456 operations/s, median 1.50 µs"
        );
        assert!(progress_text("load", &progress(Phase::Warmup, 1500, 1.0), false).ends_with("warming up"));
        let mut failing = progress(Phase::Measured, 1500, 1.0);
        failing.failed = 3;
        assert!(progress_text("load", &failing, true).ends_with("from when they were due, 3 failed"));
    }

    #[test]
    fn rings_hold_what_is_outstanding() {
        let cluster = init::generate(&init::Plan { port_base: Some(7400), ..init::Plan::default() }, &mut os_entropy)
            .unwrap()
            .cluster;
        let mut plan = LoadPlan {
            payload_bytes: 8,
            keys: 1,
            read_percent: 0,
            sessions: 1,
            options: LoadOptions::default(),
            intervals_keep: false,
            history: None,
            check: false,
        };
        assert_eq!(session_options(&cluster, &plan).requests_bytes as usize, RING_BYTES_MIN);
        plan.options.outstanding = 10_000;
        let options = session_options(&cluster, &plan);
        assert!(options.requests_bytes as usize >= 10_000 * message_footprint_bytes(8));
        assert!(options.requests_bytes.is_power_of_two());
        plan.options.outstanding = usize::MAX / 4;
        assert_eq!(session_options(&cluster, &plan).requests_bytes as usize, RING_BYTES_MAX);
    }
}
