//! Many appends in flight, each acknowledged once.
//!
//! Operations enter the order as they stand in the input: they are submitted in order, and the driver keeps a session's
//! order. A refusal (`Overloaded`) interrupts it: nothing more is submitted until everything in flight is answered, and
//! the refused ones go first then. What was in flight behind a refused one may have been taken, and stands before it in
//! the order; this is counted and told.

use super::input::{Batch, Batches, InputError};
use logothete_client::{ClientError, OperationError, Session};
use std::collections::VecDeque;
use std::io::Write;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

/// Operations in flight at most: enough to fill the requests of a driver, few enough for its session ring.
const OUTSTANDING_MAX: usize = 1024;

/// First and longest wait after a refusal; the wait doubles with each.
const BACK_OFF_MIN: Duration = Duration::from_millis(1);
const BACK_OFF_MAX: Duration = Duration::from_millis(200);

/// Waits for answers or input are cut up, so that the other and signals are seen in time.
const WAIT: Duration = Duration::from_millis(10);

/// How long answers to what is in flight are awaited once nothing more is submitted.
const DRAIN_WAIT: Duration = Duration::from_secs(30);

/// How long after a signal.
const DRAIN_WAIT_STOPPED: Duration = Duration::from_secs(2);

/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Operations acknowledged.
    pub acknowledged: u64,
    /// The lowest position, if any was acknowledged.
    pub position_first: Option<u64>,
    /// The highest position, if any was acknowledged.
    pub position_last: Option<u64>,
    /// Operations that were refused at first and entered the order behind some that follow them in the input.
    pub reordered: u64,
    /// Operations of which it is not known whether they entered the order.
    pub unknown: u64,
}

/// Why not everything was appended. How far it came is in the [`Summary`].
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The input.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The session.
    #[error(transparent)]
    Session(#[from] ClientError),
    /// One operation was not taken, and nothing after it was submitted.
    #[error("operation {index}: {error}")]
    Operation {
        /// Which, in the input, from 1.
        index: u64,
        /// Why.
        error: OperationError,
    },
    /// The service answered with something that is no position.
    #[error("operation {index} got an answer that is no position; the cluster's service is not the ordered log")]
    NoPosition {
        /// Which, in the input, from 1.
        index: u64,
    },
    /// Answers did not come.
    #[error("no answer within {} s; is a quorum of replicas running? (`logothete status`)", waited.as_secs())]
    NotAnswered {
        /// How long they were awaited.
        waited: Duration,
    },
    /// The file of acknowledged operations could not be written.
    #[error("acknowledged operations cannot be written: {0}")]
    Acknowledged(std::io::Error),
    /// A signal asked for the end.
    #[error("interrupted")]
    Interrupted,
}

/// One operation of the input.
struct Operation {
    /// Its number in the input, from 1.
    index: u64,
    batch: Rc<Batch>,
    /// Its place in the batch.
    place: usize,
}

impl Operation {
    fn bytes(&self) -> &[u8] {
        self.batch.operation(self.place)
    }
}

/// Appends everything that `batches` brings.
pub struct Appender<'a> {
    session: &'a mut Session,
    batches: Batches,
    /// Operations to submit, in order: refused ones first.
    queue: VecDeque<Operation>,
    input_over: bool,
    index_next: u64,
    flight: Flight<'a>,
    /// Operations in flight at most, now: less after a refusal.
    window: usize,
    back_off: Duration,
}

/// What is in flight, and what becomes of it.
struct Flight<'a> {
    /// Submitted operations by their numbers, which are consecutive from `number_first` on; none once answered.
    operations: VecDeque<Option<Operation>>,
    number_first: u64,
    /// Answered with a refusal.
    refused: Vec<Operation>,
    /// The highest index that was acknowledged.
    index_acknowledged_max: u64,
    acknowledged: Option<&'a mut dyn Write>,
    summary: Summary,
    /// The first thing that went wrong: nothing is submitted any more.
    error: Option<AppendError>,
}

impl<'a> Appender<'a> {
    /// Appends through `session`; each acknowledged operation is written to `acknowledged`.
    pub fn new(session: &'a mut Session, batches: Batches, acknowledged: Option<&'a mut dyn Write>) -> Self {
        Self {
            session,
            batches,
            queue: VecDeque::new(),
            input_over: false,
            index_next: 1,
            flight: Flight {
                operations: VecDeque::with_capacity(OUTSTANDING_MAX),
                number_first: 0,
                refused: Vec::new(),
                index_acknowledged_max: 0,
                acknowledged,
                summary: Summary::default(),
                error: None,
            },
            window: OUTSTANDING_MAX,
            back_off: BACK_OFF_MIN,
        }
    }

    /// Runs until everything is acknowledged, something fails, or `stop` is set; tells `progress` about once a second
    /// how many operations are acknowledged. Returns how far it came, and what went wrong.
    pub fn run(mut self, stop: &AtomicBool, progress: &mut dyn FnMut(u64)) -> (Summary, Result<(), AppendError>) {
        let outcome = self.work(stop, progress);
        let mut summary = self.flight.summary;
        summary.unknown += self.flight.operations.iter().flatten().count() as u64;
        (summary, outcome)
    }

    fn work(&mut self, stop: &AtomicBool, progress: &mut dyn FnMut(u64)) -> Result<(), AppendError> {
        let mut told = Instant::now();
        let mut answered = Instant::now();
        loop {
            if stop.load(Ordering::Relaxed) {
                self.flight.error.get_or_insert(AppendError::Interrupted);
            }
            self.take_input();
            self.submit()?;
            let flight = &mut self.flight;
            let count = self.session.poll(|completion| {
                flight.complete(completion.number, completion.position(), completion.result.err())
            })?;
            if count > 0 {
                answered = Instant::now();
                self.window = (self.window + count).min(OUTSTANDING_MAX);
                self.flight.flush();
            }
            if told.elapsed() >= PROGRESS_INTERVAL {
                told = Instant::now();
                progress(self.flight.summary.acknowledged);
            }
            if !self.flight.operations.is_empty() {
                let interrupted = matches!(self.flight.error, Some(AppendError::Interrupted));
                let waited = if interrupted { DRAIN_WAIT_STOPPED } else { DRAIN_WAIT };
                if answered.elapsed() >= waited {
                    return Err(self.flight.error.take().unwrap_or(AppendError::NotAnswered { waited }));
                }
                if count == 0 {
                    self.session.wait(WAIT)?;
                }
                continue;
            }
            answered = Instant::now();
            if let Some(error) = self.flight.error.take() {
                return Err(error);
            }
            if !self.flight.refused.is_empty() {
                self.back_off();
            } else if self.queue.is_empty() && self.input_over {
                return Ok(());
            } else if self.queue.is_empty() {
                self.await_input();
            }
        }
    }

    /// Takes a batch of input that is there, if there is nothing left to submit.
    fn take_input(&mut self) {
        if !self.queue.is_empty() || self.input_over {
            return;
        }
        match self.batches.try_recv() {
            Ok(batch) => self.enqueue(batch),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => self.input_over = true,
        }
    }

    /// Waits for a batch of input, for a bounded time.
    fn await_input(&mut self) {
        match self.batches.recv_timeout(WAIT) {
            Ok(batch) => self.enqueue(batch),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.input_over = true,
        }
    }

    fn enqueue(&mut self, batch: Result<Batch, InputError>) {
        match batch {
            Ok(batch) => {
                let batch = Rc::new(batch);
                for place in 0..batch.len() {
                    self.queue.push_back(Operation { index: self.index_next, batch: Rc::clone(&batch), place });
                    self.index_next += 1;
                }
            }
            // What was read before it is appended already, or in flight.
            Err(error) => {
                self.flight.error.get_or_insert(error.into());
            }
        }
    }

    /// Submits as much as the window has room for.
    fn submit(&mut self) -> Result<(), AppendError> {
        let held = self.flight.error.is_some() || !self.flight.refused.is_empty();
        while !held && self.flight.operations.len() < self.window {
            let Some(operation) = self.queue.front() else {
                break;
            };
            match self.session.try_append(operation.bytes()) {
                Ok(number) => self.flight.launch(number, self.queue.pop_front()),
                // The ring is full; nothing was submitted, so the order is kept.
                Err(ClientError::Overloaded) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// After a refusal, with nothing in flight: waits, and puts what was refused before everything else.
    fn back_off(&mut self) {
        std::thread::sleep(self.back_off);
        self.back_off = (self.back_off * 2).min(BACK_OFF_MAX);
        self.window = (self.window / 2).max(1);
        let mut refused = std::mem::take(&mut self.flight.refused);
        refused.sort_unstable_by_key(|operation| operation.index);
        let index_acknowledged_max = self.flight.index_acknowledged_max;
        let overtaken = refused.iter().filter(|operation| operation.index < index_acknowledged_max);
        self.flight.summary.reordered += overtaken.count() as u64;
        for operation in refused.into_iter().rev() {
            self.queue.push_front(operation);
        }
    }
}

impl Flight<'_> {
    fn launch(&mut self, number: u64, operation: Option<Operation>) {
        if self.operations.is_empty() {
            self.number_first = number;
        }
        debug_assert_eq!(number, self.number_first + self.operations.len() as u64, "the session numbers consecutively");
        self.operations.push_back(operation);
    }

    fn complete(&mut self, number: u64, position: Option<logothete_client::Position>, error: Option<OperationError>) {
        let slot = number.checked_sub(self.number_first).and_then(|place| self.operations.get_mut(place as usize));
        let Some(operation) = slot.and_then(Option::take) else {
            // Not one of ours, or answered before.
            return;
        };
        while let Some(None) = self.operations.front() {
            self.operations.pop_front();
            self.number_first += 1;
        }
        let index = operation.index;
        match (position, error) {
            (Some(position), _) => self.acknowledge(&operation, position.0),
            (None, Some(OperationError::Overloaded)) => self.refused.push(operation),
            (None, Some(error)) => {
                self.summary.unknown += u64::from(error == OperationError::Unavailable);
                self.error.get_or_insert(AppendError::Operation { index, error });
            }
            (None, None) => {
                self.error.get_or_insert(AppendError::NoPosition { index });
            }
        }
    }

    fn acknowledge(&mut self, operation: &Operation, position: u64) {
        let summary = &mut self.summary;
        summary.acknowledged += 1;
        summary.position_first = Some(summary.position_first.map_or(position, |first| first.min(position)));
        summary.position_last = Some(summary.position_last.map_or(position, |last| last.max(position)));
        self.index_acknowledged_max = self.index_acknowledged_max.max(operation.index);
        if let Some(out) = &mut self.acknowledged
            && let Err(error) = out.write_all(operation.bytes())
        {
            self.error.get_or_insert(AppendError::Acknowledged(error));
        }
    }

    fn flush(&mut self) {
        if let Some(out) = &mut self.acknowledged
            && let Err(error) = out.flush()
        {
            self.error.get_or_insert(AppendError::Acknowledged(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::input::{Cut, start};
    use super::*;
    use crate::scripted_driver::{Script, ScriptedDriver};
    use logothete_client::Options;

    struct Run {
        summary: Summary,
        outcome: Result<(), AppendError>,
        /// What was written as acknowledged.
        acknowledged: Vec<u8>,
        /// What the driver has.
        log: Vec<Vec<u8>>,
    }

    fn publish(script: Script, input: &[u8]) -> Run {
        let driver = ScriptedDriver::start(script);
        let mut session = Session::connect(driver.path(), Options::default()).unwrap();
        let limit = session.operation_bytes_max();
        let batches = start(Box::new(std::io::Cursor::new(input.to_vec())), Cut::Lines, limit).unwrap();
        let mut acknowledged = Vec::new();
        let appender = Appender::new(&mut session, batches, Some(&mut acknowledged));
        let (summary, outcome) = appender.run(&AtomicBool::new(false), &mut |_| {});
        Run { summary, outcome, acknowledged, log: driver.log() }
    }

    fn lines(count: usize) -> Vec<u8> {
        (0..count).flat_map(|line| format!("line {line}\n").into_bytes()).collect()
    }

    #[test]
    fn everything_is_appended_once_and_in_order() {
        let input = lines(5000);
        let run = publish(Script::default(), &input);
        run.outcome.unwrap();
        let wanted = Summary {
            acknowledged: 5000,
            position_first: Some(0),
            position_last: Some(4999),
            reordered: 0,
            unknown: 0,
        };
        assert_eq!(run.summary, wanted);
        assert_eq!(run.log.concat(), input);
        assert_eq!(run.acknowledged, input);
    }

    #[test]
    fn nothing_to_append_is_a_success() {
        let run = publish(Script::default(), b"");
        run.outcome.unwrap();
        assert_eq!(run.summary, Summary::default());
    }

    #[test]
    fn refused_operations_are_appended_later_once() {
        let input = lines(300);
        let run = publish(Script { refuse_every: Some(50), ..Script::default() }, &input);
        run.outcome.unwrap();
        assert_eq!(run.summary.acknowledged, 300);
        let mut sorted: Vec<_> = run.log.clone();
        let mut wanted: Vec<_> = input.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        sorted.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(sorted, wanted, "each exactly once");
        // What was overtaken is told: the log differs from the input exactly if something was.
        assert_eq!(run.summary.reordered > 0, run.log.concat() != input);
    }

    #[test]
    fn an_unknown_outcome_stops_and_is_not_repeated() {
        let input = lines(100);
        let run = publish(Script { unavailable_at: Some(10), ..Script::default() }, &input);
        let error = run.outcome.unwrap_err();
        assert!(matches!(error, AppendError::Operation { index: 11, error: OperationError::Unavailable }), "{error}");
        assert_eq!(run.summary.unknown, 1);
        assert_eq!(run.summary.acknowledged as usize, run.log.len());
        assert_eq!(run.acknowledged, run.log.concat());
    }

    #[test]
    fn a_driver_that_leaves_is_reported_with_what_is_unknown() {
        let input = lines(100);
        let run = publish(Script { leave_at: Some(10), ..Script::default() }, &input);
        let error = run.outcome.unwrap_err();
        assert!(matches!(error, AppendError::Session(ClientError::Disconnected)), "{error}");
        assert!(run.summary.unknown > 0);
        assert!(run.summary.acknowledged as usize <= run.log.len());
    }

    #[test]
    fn a_line_that_is_too_long_comes_after_what_precedes_it() {
        let mut input = lines(3);
        input.extend([b'x'; 2000]);
        let run = publish(Script { operation_bytes_max: 1000, ..Script::default() }, &input);
        let error = run.outcome.unwrap_err();
        assert!(matches!(error, AppendError::Input(InputError::LineTooLong { line: 4, limit: 1000 })), "{error}");
        assert_eq!(run.summary.acknowledged, 3);
        assert_eq!(run.log.concat(), lines(3));
    }

    #[test]
    fn a_signal_ends_it_after_what_is_in_flight() {
        let driver = ScriptedDriver::start(Script::default());
        let mut session = Session::connect(driver.path(), Options::default()).unwrap();
        // Input that neither comes nor ends.
        let (_open, batches) = std::sync::mpsc::sync_channel(1);
        let appender = Appender::new(&mut session, batches, None);
        let (summary, outcome) = appender.run(&AtomicBool::new(true), &mut |_| {});
        assert!(matches!(outcome, Err(AppendError::Interrupted)));
        assert_eq!(summary, Summary::default());
    }
}
