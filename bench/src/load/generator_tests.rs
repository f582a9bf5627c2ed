//! The generator against a scripted service in virtual time: nothing here depends on the machine's speed.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::*;
use crate::load::{Answer, Collector, Extent, LoadResult, LogWorkload, Pace};

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// Virtual time, shared by the clock and the service.
#[derive(Clone, Default)]
struct Time(Rc<Cell<u64>>);

impl Clock for Time {
    fn now_ns(&self) -> u64 {
        self.0.get()
    }
}

/// What the service does with the operation numbered so, handed over at this time.
type Script = Rc<dyn Fn(u64, u64) -> Fate>;

enum Fate {
    /// Answers at this time.
    Answer(u64),
    /// Fails at this time.
    Fail(u64, Failure),
    /// Answers with this result.
    Wrong(u64),
    /// Never answers.
    Swallow,
    /// Refuses at once.
    Refuse(Refusal),
    /// Ends the session.
    End,
}

/// When it comes, to which operation, and what it is.
type Planned = (u64, u64, Result<Vec<u8>, Failure>);

struct Scripted {
    time: Time,
    script: Script,
    number_next: u64,
    answers: RefCell<VecDeque<Planned>>,
    ended: bool,
}

fn sessions(count: usize, time: &Time, script: impl Fn(u64, u64) -> Fate + 'static) -> Vec<Scripted> {
    let script: Script = Rc::new(script);
    let session = |_| Scripted {
        time: time.clone(),
        script: Rc::clone(&script),
        number_next: 1,
        answers: RefCell::default(),
        ended: false,
    };
    (0..count).map(session).collect()
}

impl Target for Scripted {
    fn submit(&mut self, _: Access, operation: &[u8]) -> Result<u64, Refusal> {
        assert_eq!(operation.len(), 8);
        let number = self.number_next;
        let answer = match (self.script)(number, self.time.now_ns()) {
            Fate::Answer(at) => Some((at, number, Ok(vec![0; 8]))),
            Fate::Wrong(at) => Some((at, number, Ok(vec![0; 3]))),
            Fate::Fail(at, failure) => Some((at, number, Err(failure))),
            Fate::Swallow => None,
            Fate::Refuse(refusal) => return Err(refusal),
            Fate::End => {
                self.ended = true;
                None
            }
        };
        self.answers.borrow_mut().extend(answer);
        self.number_next += 1;
        Ok(number)
    }

    fn poll(&mut self, mut on_answer: impl FnMut(u64, Result<Answer<'_>, Failure>)) -> Result<usize, Failure> {
        if self.ended {
            return Err(Failure::Disconnected);
        }
        let now = self.time.now_ns();
        let mut count = 0;
        self.answers.borrow_mut().retain(|(at, number, result)| {
            if *at > now {
                return true;
            }
            // Of the reads every third has to be ordered.
            let answer = |result| Answer { result, ordered: *number % 3 == 0 };
            on_answer(*number, result.as_ref().map(Vec::as_slice).map(answer).map_err(|&failure| failure));
            count += 1;
            false
        });
        Ok(count)
    }

    fn wait_any(targets: &mut [Self], timeout: Duration, _: u32) {
        let time = targets[0].time.clone();
        let answers = targets.iter().flat_map(|t| t.answers.borrow().iter().map(|a| a.0).collect::<Vec<_>>());
        let answer = answers.min().unwrap_or(u64::MAX);
        let until = time.now_ns().saturating_add(timeout.as_nanos() as u64);
        time.0.set(until.min(answer).max(time.now_ns() + 1));
    }
}

fn run(targets: &mut [Scripted], options: &LoadOptions) -> LoadResult {
    run_with(targets, options, None, &AtomicBool::new(false))
}

fn run_with(
    targets: &mut [Scripted],
    options: &LoadOptions,
    history: Option<&mut HistoryWriter<Vec<u8>>>,
    stop: &AtomicBool,
) -> LoadResult {
    let time = targets[0].time.clone();
    let mut collector = Collector::new(true, Box::new(|_| ()));
    let mut workload = LogWorkload::new(8, 0);
    let figures = Generator::new(targets, &mut workload, options, &time, history).run(stop, &mut collector);
    figures.with(collector.finish())
}

fn closed(outstanding: usize, extent: Extent) -> LoadOptions {
    LoadOptions { outstanding, extent, warmup: Duration::from_secs(1), ..LoadOptions::default() }
}

fn open(rate_per_s: f64, outstanding: usize, duration: Duration) -> LoadOptions {
    LoadOptions { pace: Pace::Open { rate_per_s }, ..closed(outstanding, Extent::Duration(duration)) }
}

fn close_to(got: u64, expected: u64) {
    assert!(got.abs_diff(expected) * 500 <= expected, "{got} is not {expected}");
}

#[test]
fn a_closed_loop_goes_as_fast_as_the_service() {
    let time = Time::default();
    let mut targets = sessions(2, &time, |_, now| Fate::Answer(now + 100 * MICROSECOND));
    let result = run(&mut targets, &closed(4, Extent::Duration(Duration::from_secs(3))));
    // Two sessions of four, each answered after 100 µs.
    close_to(result.acknowledged, 3 * 80_000);
    close_to(result.throughput_per_s() as u64, 80_000);
    let summary = result.latencies.summary();
    close_to(summary.p50, 100 * MICROSECOND);
    close_to(summary.max, 100 * MICROSECOND);
    assert_eq!(result.latencies.count(), result.acknowledged);
    assert_eq!((result.failures.total(), result.failures_warmup.total()), (0, 0));
    close_to(result.acknowledgement_gap_max_ns, 100 * MICROSECOND);
    assert_eq!(result.seconds.len(), 3);
    for second in &result.seconds {
        close_to(second.acknowledged, 80_000);
        close_to(second.duration_ns, SECOND);
    }
    assert_eq!(result.intervals.len(), 3);
    assert!(!result.stopped);
}

#[test]
fn a_number_of_operations_is_met_exactly() {
    let time = Time::default();
    let mut targets = sessions(3, &time, |number, now| Fate::Answer(now + (1 + number % 7) * MICROSECOND));
    let options = LoadOptions { warmup: Duration::ZERO, ..closed(5, Extent::Operations(10_001)) };
    let result = run(&mut targets, &options);
    assert_eq!((result.acknowledged, result.failures.total()), (10_001, 0));
    assert_eq!(result.latencies.count(), 10_001);
    assert_eq!(result.duration_ns, time.now_ns());
}

/// Stalls for the third second of the run; otherwise answers after 100 µs.
fn stalling(_: u64, now: u64) -> Fate {
    let stalled = (2 * SECOND..3 * SECOND).contains(&now);
    Fate::Answer(if stalled { 3 * SECOND } else { now } + 100 * MICROSECOND)
}

#[test]
fn an_open_loop_charges_a_stall_with_everything_that_was_due_in_it() {
    let time = Time::default();
    let mut targets = sessions(1, &time, stalling);
    let result = run(&mut targets, &open(1_000.0, 10, Duration::from_secs(5)));
    // The measured time is 1 to 6 s; of 5,000 operations 1,000 were due in the stall, and waited 0 to 1 s, evenly.
    assert_eq!((result.acknowledged, result.failures.total()), (5_000, 0));
    let latencies = &result.latencies;
    close_to(latencies.quantile_ns(0.5), 100 * MICROSECOND);
    for (quantile, expected) in [(0.9, 500 * MILLISECOND), (0.96, 800 * MILLISECOND), (1.0, SECOND)] {
        let got = latencies.quantile_ns(quantile);
        // The backlog of 990 leaves ten at a time, which adds up to 10 ms.
        assert!(got.abs_diff(expected) < 12 * MILLISECOND, "{quantile}: {got} for {expected}");
    }
    close_to(result.acknowledgement_gap_max_ns, SECOND);
    let by_second: Vec<u64> = result.seconds.iter().map(|s| s.acknowledged).collect();
    assert_eq!(by_second.len(), 5);
    assert!(by_second[1] < 20 && by_second[2] > 1_900, "{by_second:?}");
}

#[test]
fn a_closed_loop_sees_only_what_it_had_outstanding() {
    let time = Time::default();
    let mut targets = sessions(1, &time, stalling);
    let result = run(&mut targets, &closed(10, Extent::Duration(Duration::from_secs(5))));
    let slow = (1.0 - 10.0 / result.acknowledged as f64) - 1e-6;
    close_to(result.latencies.quantile_ns(slow), 100 * MICROSECOND);
    close_to(result.latencies.summary().max, SECOND);
    close_to(result.acknowledgement_gap_max_ns, SECOND);
}

#[test]
fn an_open_loop_keeps_its_rate_and_spreads_over_sessions() {
    let time = Time::default();
    let mut targets = sessions(4, &time, |_, now| Fate::Answer(now + 10 * MICROSECOND));
    let options = LoadOptions { warmup: Duration::ZERO, ..open(3_000.0, 2, Duration::from_secs(2)) };
    let result = run(&mut targets, &options);
    assert_eq!(result.acknowledged, 6_000);
    assert!(targets.iter().all(|t| t.number_next == 1_501));
    close_to(result.latencies.summary().max, 10 * MICROSECOND);
}

#[test]
fn a_stall_at_the_end_is_not_hidden() {
    let time = Time::default();
    // Answers nothing from 1.5 s on, for ever: half of the measured second.
    let silent = |_, now| {
        if now < 1_500 * MILLISECOND { Fate::Answer(now + MICROSECOND) } else { Fate::Swallow }
    };
    let mut targets = sessions(1, &time, silent);
    let options = LoadOptions { silence_max: Duration::from_secs(2), ..open(1_000.0, 10, Duration::from_secs(1)) };
    let result = run(&mut targets, &options);
    assert_eq!(result.acknowledged, 500);
    assert_eq!(result.failures.count(Failure::NotAnswered), 10);
    assert_eq!(result.failures.count(Failure::NotSent), 490);
    assert_eq!(result.duration_ns, SECOND);
    assert!(result.acknowledgement_gap_max_ns > 2 * SECOND);
    assert!(time.now_ns() < 7 * SECOND, "the drain is bounded");
}

#[test]
fn silence_ends_a_run_that_only_counts_operations() {
    let time = Time::default();
    let mut targets = sessions(2, &time, |_, _| Fate::Swallow);
    let options = LoadOptions { silence_max: Duration::from_secs(3), ..closed(4, Extent::Operations(1_000)) };
    let result = run(&mut targets, &options);
    assert_eq!((result.acknowledged, result.failures_warmup.count(Failure::NotAnswered)), (0, 8));
    assert!(time.now_ns() < 8 * SECOND);
}

#[test]
fn failures_are_counted_by_kind_and_not_timed() {
    let time = Time::default();
    let mut targets = sessions(1, &time, |number, now| match number % 4 {
        0 => Fate::Fail(now + MICROSECOND, Failure::Overloaded),
        1 => Fate::Wrong(now + MICROSECOND),
        _ => Fate::Answer(now + MICROSECOND),
    });
    let options = LoadOptions { warmup: Duration::ZERO, ..closed(4, Extent::Operations(4_000)) };
    let result = run(&mut targets, &options);
    assert_eq!(result.acknowledged, 2_000);
    assert_eq!(result.failures.count(Failure::Overloaded), 1_000);
    assert_eq!(result.failures.count(Failure::WrongResult), 1_000);
    assert_eq!(result.latencies.count(), 2_000);
}

#[test]
fn a_refusal_for_good_fails_the_operation_and_a_full_ring_does_not() {
    let time = Time::default();
    let offered = Rc::new(Cell::new(0u64));
    let mut targets = sessions(1, &time, move |_, now| {
        offered.set(offered.get() + 1);
        match offered.get() % 3 {
            0 => Fate::Refuse(Refusal::Full),
            1 => Fate::Refuse(Refusal::Failed(Failure::TooLarge)),
            _ => Fate::Answer(now + MICROSECOND),
        }
    });
    let options = LoadOptions { warmup: Duration::ZERO, ..closed(4, Extent::Operations(1_000)) };
    let result = run(&mut targets, &options);
    assert_eq!(result.acknowledged + result.failures.count(Failure::TooLarge), 1_000);
    assert_eq!(result.failures.total(), result.failures.count(Failure::TooLarge));
    assert!(result.failures.total() >= 499);
}

#[test]
fn a_session_that_ends_fails_what_it_had_and_the_others_go_on() {
    let time = Time::default();
    let mut targets = sessions(2, &time, |number, now| match number {
        50 => Fate::End,
        _ => Fate::Answer(now + MILLISECOND),
    });
    // The second session never reaches its fiftieth operation.
    targets[1].number_next = 1_000;
    let options = LoadOptions { warmup: Duration::ZERO, ..closed(4, Extent::Operations(400)) };
    let result = run(&mut targets, &options);
    assert_eq!(result.acknowledged + result.failures.count(Failure::Disconnected), 400);
    assert!((1..=4).contains(&result.failures.count(Failure::Disconnected)));
}

#[test]
fn a_run_ends_when_every_session_has_ended() {
    let time = Time::default();
    let mut targets = sessions(2, &time, |_, _| Fate::End);
    let result = run(&mut targets, &closed(4, Extent::Operations(1_000)));
    assert_eq!((result.acknowledged, result.failures_warmup.count(Failure::Disconnected)), (0, 8));
}

#[test]
fn an_answer_that_overtakes_many_others_finds_its_place() {
    let time = Time::default();
    // Every hundredth answer comes after a thousand later ones: the lane must wait for its place, and lose nothing.
    let mut targets = sessions(1, &time, |number, now| {
        Fate::Answer(now + if number % 100 == 0 { 10 * MILLISECOND } else { 10 * MICROSECOND })
    });
    let options = LoadOptions { warmup: Duration::ZERO, ..closed(8, Extent::Operations(5_000)) };
    let result = run(&mut targets, &options);
    assert_eq!((result.acknowledged, result.failures.total()), (5_000, 0));
    assert_eq!(result.latencies.quantile_ns(0.995) / MILLISECOND, 10);
}

#[test]
fn the_stop_flag_ends_the_sending_and_outstanding_answers_still_count() {
    let time = Time::default();
    let mut targets = sessions(1, &time, |_, now| Fate::Answer(now + MILLISECOND));
    let stop = AtomicBool::new(true);
    let result = run_with(&mut targets, &closed(4, Extent::Operations(1_000)), None, &stop);
    assert!(result.stopped);
    assert_eq!((result.acknowledged, result.duration_ns), (0, 0));
}

/// Every other operation is a read; results are of eight bytes.
struct Alternating {
    bytes: [u8; 8],
    reads: bool,
}

impl Workload for Alternating {
    fn operation(&mut self) -> &[u8] {
        &self.bytes
    }

    fn access(&self) -> Access {
        if self.reads { Access::Read } else { Access::Write }
    }

    fn advance(&mut self) {
        self.reads = !self.reads;
    }

    fn accepts(&self, _: Access, result: &[u8]) -> bool {
        result.len() == 8
    }
}

#[test]
fn reads_and_writes_are_told_apart() {
    let time = Time::default();
    // Numbers begin with 1, a write: the even ones are the reads, and are faster.
    let mut targets = sessions(1, &time, |number, now| {
        Fate::Answer(now + if number % 2 == 0 { 10 * MICROSECOND } else { 100 * MICROSECOND })
    });
    let options = LoadOptions { warmup: Duration::ZERO, ..closed(1, Extent::Operations(600)) };
    let mut collector = Collector::new(false, Box::new(|_| ()));
    let mut workload = Alternating { bytes: [0; 8], reads: false };
    let none: Option<&mut HistoryWriter<Vec<u8>>> = None;
    let figures =
        Generator::new(&mut targets, &mut workload, &options, &time, none).run(&AtomicBool::new(false), &mut collector);
    let result = figures.with(collector.finish());
    assert_eq!((result.acknowledged, result.reads.latencies.count()), (600, 300));
    assert_eq!(result.reads.one_round_trip, 200);
    close_to(result.reads.latencies.summary().max, 10 * MICROSECOND);
    let writes = result.latencies.without(&result.reads.latencies);
    assert_eq!(writes.count(), 300);
    close_to(writes.quantile_ns(0.01), 100 * MICROSECOND);
}

#[test]
fn a_history_holds_every_call_and_its_outcome_in_time_order() {
    let time = Time::default();
    let mut targets = sessions(2, &time, |number, now| match number % 10 {
        3 => Fate::Fail(now + MICROSECOND, Failure::Overloaded),
        7 if number < 40 => Fate::Swallow,
        _ => Fate::Answer(now + number % 5 * MICROSECOND),
    });
    let options = LoadOptions {
        warmup: Duration::ZERO,
        silence_max: Duration::from_millis(5),
        ..closed(8, Extent::Operations(500))
    };
    let mut history = HistoryWriter::new(Vec::new());
    let result = run_with(&mut targets, &options, Some(&mut history), &AtomicBool::new(false));
    let text = String::from_utf8(history.finish().unwrap()).unwrap();
    let mut open = std::collections::HashMap::new();
    let (mut answers, mut failures) = (0, 0);
    for line in text.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let id = (event["session"].as_u64().unwrap(), event["number"].as_u64().unwrap());
        let time_ns = event["time_ns"].as_u64().unwrap();
        match event["event"].as_str().unwrap() {
            "call" => assert!(open.insert(id, time_ns).is_none()),
            "answer" => {
                answers += 1;
                assert!(open.remove(&id).unwrap() <= time_ns);
            }
            _ => {
                failures += 1;
                assert!(open.remove(&id).unwrap() <= time_ns);
            }
        }
    }
    assert!(open.is_empty(), "every call has an outcome: {open:?}");
    assert_eq!((answers, failures), (result.acknowledged, result.failures.total()));
    assert_eq!(result.failures.count(Failure::NotAnswered), 8);
}
