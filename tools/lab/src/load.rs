//! The load of a run: clients that put and get, every call and answer of which is recorded and judged.
//!
//! What may enter: what `logothete_bench` has, its generator, its histories and its judge. What must never: a second
//! opinion on any of them.

use logothete::failure::Failure;
use logothete_bench::history::HistoryWriter;
use logothete_bench::linearizability::register::Initial;
use logothete_bench::linearizability::{Recorded, check};
use logothete_bench::load::{
    Extent, KeyValueWorkload, LoadOptions, LoadResult, Outlets, Pace, Progress, Workload, connect, run,
};
use logothete_client::Options;
use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How fine goodput is known.
const SLICE: Duration = Duration::from_millis(50);

/// How long a slice may take to be counted: it is handed over within one.
const COUNTED_WAIT: Duration = Duration::from_secs(2);

/// Longer than any scenario: the load ends when it is told to.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

/// What the clients do.
#[derive(Clone, Copy, Debug)]
pub struct LoadPlan {
    /// How many clients.
    pub clients: usize,
    /// Operations in flight a client.
    pub outstanding: usize,
    /// When they send.
    pub pace: Pace,
    /// How long they go on without any answer.
    pub silence_max: Duration,
}

impl Default for LoadPlan {
    fn default() -> Self {
        Self { clients: 8, outstanding: 1, pace: Pace::Closed, silence_max: Duration::from_secs(60) }
    }
}

/// Keys that they share, and bytes of a value: few, so that clients meet.
const KEYS: u64 = 64;
const VALUE_BYTES: usize = 32;

/// Of a hundred operations so many are reads.
const READ_PERCENT: u32 = 30;

/// Good answers, slice by slice.
#[derive(Debug, Default)]
struct Timeline {
    /// The ends of slices, and the good answers in them.
    slices: Vec<(Instant, f64)>,
    elapsed_last: Duration,
}

impl Timeline {
    fn add(&mut self, started: Instant, progress: &Progress) {
        let length = progress.elapsed.saturating_sub(self.elapsed_last);
        self.elapsed_last = progress.elapsed;
        self.slices.push((started + progress.elapsed, progress.rate_per_s * length.as_secs_f64()));
    }

    fn until(&self) -> Option<Instant> {
        self.slices.last().map(|(end, _)| *end)
    }

    /// Good answers a second in the slices that ended between two moments.
    fn goodput(&self, from: Instant, to: Instant) -> f64 {
        let within = self.slices.iter().filter(|(end, _)| *end > from && *end <= to + SLICE);
        within.map(|(_, count)| count).sum::<f64>() / (to - from).as_secs_f64().max(SLICE.as_secs_f64())
    }

    /// The first slice with a good answer that began after `from`.
    fn first_after(&self, from: Instant) -> Option<Instant> {
        self.slices.iter().find(|(end, count)| *end > from + SLICE && *count > 0.0).map(|(end, _)| *end)
    }
}

/// A load that runs.
#[derive(Debug)]
pub struct Load {
    timeline: Arc<Mutex<Timeline>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<LoadResult, Failure>>>,
    history: Option<File>,
}

/// What a load found.
#[derive(Debug)]
pub struct Loaded {
    /// Its figures.
    pub result: LoadResult,
    /// How many reads and writes were judged, or why no single copy could have answered like this.
    pub judged: Result<usize, String>,
}

impl Load {
    /// Starts the judged clients at the driver that listens at `session`. `seed` determines what they do.
    ///
    /// # Errors
    ///
    /// When the driver does not take them, or there is no file for the history.
    pub fn start(session: &Path, plan: LoadPlan, seed: u64) -> Result<Self, Failure> {
        let history =
            tempfile::tempfile().map_err(|error| Failure::Failed(format!("no file for a history: {error}")))?;
        let copy = history.try_clone().map_err(|error| Failure::Failed(format!("no file for a history: {error}")))?;
        // Values are numbered from the seed's low bits on.
        let workload = KeyValueWorkload::new(VALUE_BYTES, KEYS, READ_PERCENT, seed % (1 << 20));
        let mut load = Self::spawn(session, plan, workload, Some(copy))?;
        load.history = Some(history);
        Ok(load)
    }

    /// Starts clients that nobody judges.
    ///
    /// # Errors
    ///
    /// When the driver does not take them.
    pub fn start_unjudged(
        session: &Path,
        plan: LoadPlan,
        workload: impl Workload + Send + 'static,
    ) -> Result<Self, Failure> {
        Self::spawn(session, plan, workload, None)
    }

    fn spawn(
        session: &Path,
        plan: LoadPlan,
        mut workload: impl Workload + Send + 'static,
        history: Option<File>,
    ) -> Result<Self, Failure> {
        let mut sessions = connect(session, plan.clients, &Options::default())
            .map_err(|error| Failure::Failed(format!("no session at {}: {error}", session.display())))?;
        let timeline = Arc::new(Mutex::new(Timeline::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let options = LoadOptions {
            outstanding: plan.outstanding,
            pace: plan.pace,
            extent: Extent::Duration(FOR_EVER),
            warmup: Duration::ZERO,
            silence_max: plan.silence_max,
            slice: SLICE,
        };
        let (its_timeline, its_stop) = (Arc::clone(&timeline), Arc::clone(&stop));
        let work = move || {
            let started = Instant::now();
            let mut recorder = history.map(HistoryWriter::new);
            let on_progress = Box::new(move |progress: &Progress| {
                its_timeline.lock().unwrap_or_else(PoisonError::into_inner).add(started, progress);
            });
            let outlets = Outlets { on_progress, history: recorder.as_mut(), intervals_keep: false };
            let result = run(&mut sessions, &mut workload, &options, outlets, &its_stop);
            let result = result.map_err(|error| Failure::Failed(format!("no thread for the figures: {error}")))?;
            if let Some(recorder) = recorder {
                recorder.finish().map_err(|error| Failure::Failed(format!("the history was not written: {error}")))?;
            }
            Ok(result)
        };
        let thread = std::thread::Builder::new().name(String::from("load")).spawn(work);
        let thread = thread.map_err(|error| Failure::Failed(format!("no thread for the load: {error}")))?;
        Ok(Self { timeline, stop, thread: Some(thread), history: None })
    }

    /// Good answers a second between two moments, of which the later has just passed.
    ///
    /// # Errors
    ///
    /// When the load has ended before.
    pub fn goodput(&self, from: Instant, to: Instant) -> Result<f64, Failure> {
        let begin = Instant::now();
        loop {
            let timeline = self.timeline.lock().unwrap_or_else(PoisonError::into_inner);
            if timeline.until().is_some_and(|until| until >= to) {
                return Ok(timeline.goodput(from, to));
            }
            drop(timeline);
            if begin.elapsed() > COUNTED_WAIT {
                return Err(Failure::Failed(String::from("the load has ended before it was told to")));
            }
            std::thread::sleep(SLICE / 5);
        }
    }

    /// When, after a moment, an answer came first; if one has.
    pub fn first_answer_after(&self, from: Instant) -> Option<Instant> {
        self.timeline.lock().unwrap_or_else(PoisonError::into_inner).first_after(from)
    }

    /// Ends it, when what is in flight is answered, and judges what it recorded.
    ///
    /// # Errors
    ///
    /// When the history could not be written, or is none.
    pub fn finish(mut self) -> Result<Loaded, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is taken here alone");
        let result = thread.join().map_err(|_| Failure::Failed(String::from("the load's thread failed")))??;
        let judged = self.history.take().map_or(Ok(Ok(0)), judge)?;
        Ok(Loaded { result, judged })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // A run that failed waits for nobody: the thread ends with the process.
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn judge(mut history: File) -> Result<Result<usize, String>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("the history cannot be judged: {error}"));
    history.seek(SeekFrom::Start(0)).map_err(|error| failed(&error))?;
    let recorded = Recorded::read(BufReader::with_capacity(1 << 20, history)).map_err(|error| failed(&error))?;
    let checked = check(&recorded, Initial::Absent);
    Ok(checked.map(|checked| checked.operations).map_err(|violation| violation.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goodput_is_that_of_the_slices_between() {
        let started = Instant::now();
        let mut timeline = Timeline::default();
        for slice in 1..=40u32 {
            let silent = (10..20).contains(&slice);
            let progress = Progress {
                phase: logothete_bench::load::Phase::Measured,
                elapsed: SLICE * slice,
                rate_per_s: if silent { 0.0 } else { 1000.0 },
                p50_ns: 0,
                failed: 0,
            };
            timeline.add(started, &progress);
        }
        let at = |slice: u32| started + SLICE * slice;
        let near = |goodput: f64, wanted: f64| assert!((goodput - wanted).abs() < 110.0, "{goodput}");
        near(timeline.goodput(at(20), at(40)), 1000.0);
        near(timeline.goodput(at(9), at(19)), 0.0);
        near(timeline.goodput(at(0), at(40)), 750.0);
        assert_eq!(timeline.first_after(at(10)), Some(at(20)));
        assert_eq!(timeline.first_after(at(39)), None);
    }
}
